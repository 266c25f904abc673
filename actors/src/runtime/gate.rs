//! The gate at the door: bounded events and bytes between admission and the log, bounded lag between log and decision.
//!
//! Units pull, so lag costs disk and not memory; but a caller must learn that it is too fast before a read would wait
//! for minutes. The gate answers that with [`Busy`], which HTTP turns into 429 with `Retry-After`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::{ErrorKind, Fault, Retry};

/// Bounds of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes admitted and not yet durable.
    pub bytes_in_flight_max: u64,
    /// Raw records durable and not yet decided by identity.
    pub lag_records_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            // Twice the largest groups that the log writes at once; more would only queue.
            bytes_in_flight_max: 64 << 20,
            // About half a minute of applying on two cores. It is disk that a burst takes meanwhile, not memory.
            lag_records_max: 1_000_000,
        }
    }
}

/// Too much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more arrives than can be applied: {lag} events wait. Try again in {retry_after_s} s")]
pub struct Busy {
    /// Events that wait.
    pub lag: u64,
    /// Seconds after which to try again.
    pub retry_after_s: u32,
}

impl Fault for Busy {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Busy
    }
    fn code(&self) -> &'static str {
        "busy"
    }
    fn retry(&self) -> Retry {
        Retry::After(self.retry_after_s)
    }
}

/// Counts what is on its way.
#[derive(Debug, Default)]
pub struct Gate {
    limits: Limits,
    bytes: Arc<AtomicU64>,
}

/// Room for one admission; gives it back when dropped.
#[derive(Debug)]
pub struct Permit {
    bytes: u64,
    held: Arc<AtomicU64>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl Gate {
    /// A gate with these bounds.
    pub fn new(limits: Limits) -> Self {
        Gate {
            limits,
            bytes: Arc::default(),
        }
    }

    /// Room for `bytes`, given the present lag in records. One oversized request passes when nothing else is on its
    /// way, so that a bound below a request's limit cannot shut it out for ever.
    pub fn admit(&self, bytes: u64, lag: u64) -> Result<Permit, Busy> {
        if lag > self.limits.lag_records_max {
            // The applied rate is at least 30 k/s by design: the answer is proportional to what waits beyond the bound.
            let over = lag - self.limits.lag_records_max;
            return Err(Busy {
                lag,
                retry_after_s: 1 + u32::try_from(over / 30_000).unwrap_or(60).min(60),
            });
        }
        let before = self.bytes.fetch_add(bytes, Ordering::AcqRel);
        let permit = Permit {
            bytes,
            held: self.bytes.clone(),
        };
        if before > 0 && before + bytes > self.limits.bytes_in_flight_max {
            return Err(Busy {
                lag,
                retry_after_s: 1,
            });
        }
        Ok(permit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_when_a_permit_is_dropped() {
        let gate = Gate::new(Limits {
            bytes_in_flight_max: 100,
            lag_records_max: 10,
        });
        let first = gate.admit(90, 0).expect("room");
        assert!(gate.admit(20, 0).is_err());
        drop(first);
        assert!(gate.admit(20, 0).is_ok());
    }

    #[test]
    fn one_oversized_request_passes_alone() {
        let gate = Gate::new(Limits {
            bytes_in_flight_max: 100,
            lag_records_max: 10,
        });
        assert!(gate.admit(500, 0).is_ok());
    }

    #[test]
    fn lag_closes_the_gate_and_says_for_how_long() {
        let gate = Gate::new(Limits {
            bytes_in_flight_max: 100,
            lag_records_max: 10,
        });
        let busy = gate.admit(1, 90_010).expect_err("too far behind");
        assert_eq!(busy.retry_after_s, 4);
    }
}
