//! The port between the runtime and the business crates: which machine a unit runs.

use std::path::PathBuf;
use std::sync::Arc;

use actors::machine::{Made, Machines, Rows, Timer};
use actors::model::{Unit, UnitKind};
use actors::raw::RawRecord;
use actors::seal::KeyRing;
use cdp::control::Control;
use cdp::identity::IdentityMachine;
use cdp::profile::MemberMachine;
use jiff::tz::TimeZone;

use crate::decode::Decoder;

/// Makes identity and member machines.
pub struct CdpMachines {
    /// Where identity keeps its memory.
    pub identity: PathBuf,
    /// Keys: identity hashes identifiers with one of them.
    pub keys: Arc<KeyRing>,
    /// The installation's time zone.
    pub zone: TimeZone,
}

impl Machines for CdpMachines {
    fn make(&self, unit: Unit, rows: &dyn Rows) -> Result<Made, String> {
        match unit.kind {
            UnitKind::Identity => {
                let (machine, absorbed) = IdentityMachine::open(
                    &self.identity,
                    self.keys.fingerprint_key(),
                    Box::new(Decoder),
                    rows,
                )
                .map_err(|error| error.to_string())?;
                Ok(Made {
                    machine: Box::new(machine),
                    absorbed: Some(absorbed),
                })
            }
            UnitKind::Member => Ok(Made {
                machine: Box::new(MemberMachine::new(unit.partition, self.zone.clone())),
                absorbed: None,
            }),
        }
    }

    fn timer_record(&self, timer: &Timer) -> RawRecord {
        Control::TimerFired {
            shard: timer.shard,
            id: timer.id,
            at: timer.at,
            payload: timer.payload.clone(),
        }
        .to_raw()
    }
}
