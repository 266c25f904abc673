//! Which effects go now, and what follows from how a call ended. Pure: no clock, no thread, no network.
//!
//! An effect is sent **at least once**: it is called, and only then marked as done; a crash in between calls again with the
//! same key. Or, if it says so, **at most once**: the mark "sending" is committed before the call; a crash in between gives
//! it up, and a person decides. Either way everything that a restart needs is in committed rows; what is in here (who is on
//! the way, which endpoint is down) may be lost.
//!
//! The shell asks [`Dispatcher::plan`] for [`Step`]s, does them, and tells [`Dispatcher::ended`] and
//! [`Dispatcher::settled`]. A channel is whatever answers an [`Outcome`].

mod breaker;

use std::collections::{BTreeMap, BTreeSet};

pub use breaker::Breaker;

use super::effects::{self, EffectRow, EffectState, Lane};
use crate::machine::{EffectMark, Rows, RowsError};
use crate::model::Time;

/// How patient the dispatcher is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Calls of one effect before it is given up.
    pub attempts_max: u32,
    /// Wait after the first call that did not work; four times as long after each further one.
    pub wait_first_ms: i64,
    /// Longest wait, also when the endpoint asks for more.
    pub wait_max_ms: i64,
    /// Calls of one lane that fail in a row before its breaker opens.
    pub breaker_failures: u32,
    /// How long it stays open; then one call tries.
    pub breaker_open_ms: i64,
    /// Calls of one lane at a time.
    pub lane_calls_max: usize,
    /// Calls in all at a time.
    pub calls_max: usize,
}

impl Default for Policy {
    /// Ten calls within about two days, as a receiver that is mended on Monday needs it.
    fn default() -> Self {
        Policy {
            attempts_max: 10,
            wait_first_ms: 5_000,
            wait_max_ms: 12 * 3_600_000,
            breaker_failures: 5,
            breaker_open_ms: 30_000,
            lane_calls_max: 8,
            calls_max: 128,
        }
    }
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Done,
    /// It did not work now: again later, and not before so many milliseconds if the receiver said so.
    Retry {
        /// What the receiver asked for.
        after_ms: Option<i64>,
        /// What went wrong.
        reason: Box<str>,
    },
    /// It will never work as it is.
    Refused {
        /// Why.
        reason: Box<str>,
    },
    /// The target is switched off: its effects wait, and this was no attempt.
    Paused,
}

/// What the shell does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Append a mark; tell [`Dispatcher::settled`] once its rows are visible.
    Mark(u64, EffectMark),
    /// Call the channel; tell [`Dispatcher::ended`].
    Call(EffectRow),
}

/// Where an effect is that rows do not show yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flight {
    /// The mark "sending" is on its way into the log.
    Marking,
    /// The channel is being called.
    Calling,
    /// The mark of its end is on its way.
    Ending,
}

/// Remembers what is on the way. See the module.
#[derive(Debug, Default)]
pub struct Dispatcher {
    policy: Policy,
    flying: BTreeMap<u64, (Lane, Flight)>,
    lanes: BTreeMap<Lane, LaneState>,
}

#[derive(Debug, Default)]
struct LaneState {
    breaker: Breaker,
    paused: Option<Time>,
}

/// A target that is switched off is asked again after this time.
const PAUSE_MS: i64 = 5_000;

impl Dispatcher {
    /// A dispatcher that has nothing on the way.
    pub fn new(policy: Policy) -> Dispatcher {
        Dispatcher {
            policy,
            ..Dispatcher::default()
        }
    }

    /// What to do now. `rows` are the committed ones; `held`: of which channels only effects that a person released may
    /// go.
    pub fn plan(
        &mut self,
        rows: &dyn Rows,
        now: Time,
        held: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<Step>, RowsError> {
        let mut steps = Vec::new();
        let mut seen = BTreeSet::new();
        for released in [true, false] {
            for lane in effects::lanes(rows, released)? {
                if !released && held(&lane.channel) {
                    continue;
                }
                self.plan_lane(rows, released, &lane, now, &mut steps)?;
                seen.insert(lane);
            }
        }
        // What nothing waits for and nothing is wrong with is forgotten.
        self.lanes
            .retain(|lane, state| seen.contains(lane) || state.breaker.failing());
        Ok(steps)
    }

    fn plan_lane(
        &mut self,
        rows: &dyn Rows,
        released: bool,
        lane: &Lane,
        now: Time,
        steps: &mut Vec<Step>,
    ) -> Result<(), RowsError> {
        let flying = self.flying.values().filter(|(of, _)| of == lane).count();
        let total = self.flying.len();
        let state = self.lanes.entry(lane.clone()).or_default();
        if state.paused.is_some_and(|until| now.0 < until.0) {
            return Ok(());
        }
        state.paused = None;
        let admits = state.breaker.admits(now, &self.policy);
        let room = admits
            .min(self.policy.lane_calls_max)
            .saturating_sub(flying)
            .min(self.policy.calls_max.saturating_sub(total));
        if room == 0 {
            return Ok(());
        }
        let mut keys = Vec::with_capacity(room);
        effects::due(rows, released, lane, now, &mut |key| {
            if !self.flying.contains_key(&key) {
                keys.push(key);
            }
            keys.len() < room
        })?;
        for key in keys {
            let Some(row) = effects::get(rows, key)? else {
                continue;
            };
            let (flight, step) = match (row.state, row.effect.at_most_once) {
                (EffectState::Dead, _) => continue,
                // Nobody of this life has marked it: the process ended during the call.
                (EffectState::Sending, _) => (
                    Flight::Ending,
                    Step::Mark(
                        key,
                        EffectMark::Dead {
                            attempts: row.attempts + 1,
                            reason: "the process ended while it was being sent: nobody knows whether it arrived"
                                .into(),
                        },
                    ),
                ),
                (EffectState::Waiting, true) => {
                    (Flight::Marking, Step::Mark(key, EffectMark::Sending))
                }
                (EffectState::Waiting, false) => (Flight::Calling, Step::Call(row)),
            };
            self.flying.insert(key, (lane.clone(), flight));
            steps.push(step);
        }
        Ok(())
    }

    /// A call has ended. Answers the mark to append; none if the effect just waits on.
    pub fn ended(&mut self, row: &EffectRow, outcome: Outcome, now: Time) -> Option<EffectMark> {
        let key = row.effect.key;
        let (lane, flight) = self.flying.get_mut(&key)?;
        *flight = Flight::Ending;
        let state = self.lanes.entry(lane.clone()).or_default();
        let attempts = row.attempts + 1;
        match outcome {
            Outcome::Done => {
                state.breaker.worked();
                Some(EffectMark::Done)
            }
            Outcome::Refused { reason } => {
                // The endpoint answers: it is this effect that is wrong.
                state.breaker.worked();
                Some(EffectMark::Dead { attempts, reason })
            }
            Outcome::Retry { after_ms, reason } => {
                state.breaker.failed(now, &self.policy);
                Some(match attempts >= self.policy.attempts_max {
                    true => EffectMark::Dead { attempts, reason },
                    false => {
                        let wait = wait_ms(&self.policy, key, attempts);
                        let asked = after_ms.unwrap_or(0).min(self.policy.wait_max_ms);
                        EffectMark::Failed {
                            attempts,
                            due: now.plus_ms(wait.max(asked)),
                            reason,
                        }
                    }
                })
            }
            Outcome::Paused => {
                state.paused = Some(now.plus_ms(PAUSE_MS));
                if row.state == EffectState::Sending {
                    // Nothing was sent: it may wait again.
                    return Some(EffectMark::Failed {
                        attempts: row.attempts,
                        due: now,
                        reason: "the target is switched off".into(),
                    });
                }
                self.flying.remove(&key);
                None
            }
        }
    }

    /// The mark of an effect is visible in `rows`. Answers the call that it was for, if it was "sending".
    pub fn settled(&mut self, rows: &dyn Rows, key: u64) -> Result<Option<EffectRow>, RowsError> {
        let Some((_, flight)) = self.flying.get_mut(&key) else {
            return Ok(None);
        };
        if *flight == Flight::Marking
            && let Some(row) = effects::get(rows, key)?
            && row.state == EffectState::Sending
        {
            *flight = Flight::Calling;
            return Ok(Some(row));
        }
        // Done with, or somebody discarded it meanwhile.
        self.flying.remove(&key);
        Ok(None)
    }

    /// Effects on the way.
    pub fn flying(&self) -> usize {
        self.flying.len()
    }

    /// Lanes whose breaker is open at `now`.
    pub fn broken(&self, now: Time) -> Vec<Lane> {
        let broken = self.lanes.iter();
        broken
            .filter(|(_, state)| state.breaker.admits(now, &self.policy) == 0)
            .map(|(lane, _)| lane.clone())
            .collect()
    }
}

/// How long an effect waits after so many calls: four times as long with each, and up to a fifth less or more, so that what
/// failed together does not come back together. Derived from the key: the same effect always waits the same.
fn wait_ms(policy: &Policy, key: u64, attempts: u32) -> i64 {
    let steps = attempts.saturating_sub(1).min(20);
    let plain = policy
        .wait_first_ms
        .saturating_mul(4i64.saturating_pow(steps))
        .min(policy.wait_max_ms);
    let fifth = plain / 5;
    let spread = mix(key ^ u64::from(attempts)) % (2 * fifth as u64 + 1);
    plain - fifth + spread as i64
}

/// SplitMix64's last step: spreads neighbouring numbers.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
