//! A breaker: after calls that failed in a row nobody is called for a while; then one call tries.

use super::Policy;
use crate::model::Time;

/// The breaker of one lane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Failures since the last call that worked.
    failures: u32,
    /// Open until then; afterwards one call at a time tries.
    until: Option<Time>,
}

impl Breaker {
    /// How many calls may be on the way.
    pub fn admits(&self, now: Time, policy: &Policy) -> usize {
        match self.until {
            None => usize::MAX,
            // A clock that was set back must not keep it open for longer than it was meant to be.
            Some(until) if now < until && until.0 - now.0 <= policy.breaker_open_ms => 0,
            Some(_) => 1,
        }
    }

    /// Whether something is wrong.
    pub fn failing(&self) -> bool {
        self.failures > 0
    }

    /// The endpoint answered.
    pub fn worked(&mut self) {
        *self = Breaker::default();
    }

    /// It did not.
    pub fn failed(&mut self, now: Time, policy: &Policy) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= policy.breaker_failures {
            self.until = Some(now.plus_ms(policy.breaker_open_ms));
        }
    }
}
