//! The port between the runtime and the business crates: which machine a unit runs.

use std::path::PathBuf;
use std::sync::Arc;

use actors::machine::{Machines, Made, Rows, Timer};
use actors::model::{Unit, UnitKind};
use actors::raw::RawRecord;
use actors::seal::KeyRing;
use cdp::control::Control;
use cdp::identity::{Dedup, IdentityMachine, Setup};
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
                let setup = Setup {
                    dir: self.identity.clone(),
                    key: self.keys.fingerprint_key(),
                    decoder: Box::new(Decoder),
                    dedup: Dedup::default(),
                };
                IdentityMachine::make(setup, rows)
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

#[cfg(test)]
mod tests;
