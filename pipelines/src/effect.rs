//! Effects leave here: what units have decided to do outside is done, and what became of it goes back through the log.
//!
//! The decisions (what is due, how long to wait, when to give up) are [`actors::runtime::dispatch`]'s, which is pure. This is
//! its shell: it reads committed rows, asks before every round whether this process still owns the units and whether effects
//! are held, calls channels, and appends marks. A mark that cannot be appended is tried until the process ends; what was sent
//! and not marked is sent again with the same key.
//!
//! To add a channel (SMS, WeChat, e-mail): implement [`Channel`] in a file of its own under `effect/`, list it where the
//! service starts [`run`].

pub mod address;
pub mod call;
pub mod erase;
pub mod hold;
pub mod kafka;
pub mod sign;
pub mod webhook;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actors::machine::EffectMark;
use actors::model::{Offset, Time, Unit};
use actors::runtime::core::read_state;
use actors::runtime::dispatch::{Dispatcher, Outcome, Policy, Step};
use actors::runtime::effects::EffectRow;
use actors::runtime::runner::RowCache;
use cdp::control::Control;
use cdp::routed::ERASE_CHANNEL;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::platform::{Platform, PlatformError};

/// Delivers the effects of one sort.
pub trait Channel: Send + Sync + 'static {
    /// Its name in effects.
    fn name(&self) -> &'static str;

    /// Delivers one effect, or says why not. Must end by itself: the dispatcher sets no time limit.
    fn send<'a>(&'a self, row: &'a EffectRow) -> Sending<'a>;
}

/// A call on its way.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// Between two looks at the rows while they change.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// And while they do not: what fails waits at least this long anyway.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_millis(250);
/// After an append that failed.
const APPEND_AGAIN: Duration = Duration::from_millis(500);
/// One wait for a mark to become visible; repeated.
const VISIBLE_WAIT: Duration = Duration::from_secs(10);
/// Calls on the way get this long to end when the process stops; what is not marked by then is sent again.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Marks of one record.
const MARKS_MAX: usize = 256;

/// Sends effects until `stop` says so.
pub async fn run(
    platform: Arc<Platform>,
    channels: Vec<Arc<dyn Channel>>,
    policy: Policy,
    mut stop: watch::Receiver<bool>,
) {
    let mut shell = Shell {
        platform,
        channels,
        dispatcher: Dispatcher::new(policy),
        calls: JoinSet::new(),
        appends: JoinSet::new(),
        marks: Vec::new(),
        looked: None,
        fenced: false,
    };
    let mut beat = tokio::time::interval(LOOK_EVERY);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            _ = beat.tick() => shell.look(),
            Some(ended) = shell.calls.join_next() => shell.ended(ended),
            Some(settled) = shell.appends.join_next() => shell.settled(settled),
        }
        shell.append();
    }
    let finish = async {
        while let Some(ended) = shell.calls.join_next().await {
            shell.ended(ended);
            shell.append();
        }
        while let Some(settled) = shell.appends.join_next().await {
            // No new calls: what is marked "sending" and was not called is given up at the next start.
            drop(settled);
        }
    };
    if tokio::time::timeout(STOP_GRACE, finish).await.is_err() {
        tracing::warn!("calls were still on their way: their effects are sent again");
    }
}

/// Whether effects of a channel leave the house: those are held after a restore, and a person may discard them.
pub fn leaves(channel: &str) -> bool {
    channel != ERASE_CHANNEL
}

/// What stands around the dispatcher.
struct Shell {
    platform: Arc<Platform>,
    channels: Vec<Arc<dyn Channel>>,
    dispatcher: Dispatcher,
    calls: JoinSet<(EffectRow, Outcome)>,
    appends: JoinSet<Vec<u64>>,
    marks: Vec<(u64, EffectMark)>,
    /// When rows were looked at, and how far they were.
    looked: Option<(Instant, Offset)>,
    fenced: bool,
}

impl Shell {
    /// Takes what is due.
    fn look(&mut self) {
        let end = self.platform.rows().end();
        if self
            .looked
            .is_some_and(|(at, seen)| seen == end && at.elapsed() < LOOK_AT_LEAST_EVERY)
        {
            return;
        }
        self.looked = Some((Instant::now(), end));
        match self.plan() {
            Ok(steps) => {
                for step in steps {
                    match step {
                        Step::Mark(key, mark) => self.marks.push((key, mark)),
                        Step::Call(row) => self.call(row),
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "effects cannot be read"),
        }
    }

    fn plan(&mut self) -> Result<Vec<Step>, PlatformError> {
        let rows = self.platform.snapshot()?;
        let identity = read_state(&rows, Unit::IDENTITY)?.unwrap_or_default();
        let own = self.platform.node().shared().epoch;
        if identity.epoch > own {
            if !self.fenced {
                tracing::error!(
                    own,
                    found = identity.epoch,
                    "another owner has taken over: nothing is sent any more"
                );
            }
            self.fenced = true;
            return Ok(Vec::new());
        }
        self.fenced = false;
        let now = self.now(identity.now);
        let held = self.platform.effect_hold().held().is_some();
        let holds = |channel: &str| held && leaves(channel);
        let steps = self.dispatcher.plan(&rows, now, &holds)?;
        metrics::gauge!("tributary_effects_flying").set(self.dispatcher.flying() as f64);
        metrics::gauge!("tributary_effect_breakers_open")
            .set(self.dispatcher.broken(now).len() as f64);
        Ok(steps)
    }

    /// The wall clock, but never before what units take for now: their time does not go back when a clock is set back.
    fn now(&self, units: Time) -> Time {
        self.platform.clock().now().max(units)
    }

    fn call(&mut self, row: EffectRow) {
        let channel = self
            .channels
            .iter()
            .find(|channel| channel.name() == &*row.effect.channel)
            .cloned();
        self.calls.spawn(async move {
            let outcome = match channel {
                Some(channel) => channel.send(&row).await,
                None => Outcome::Refused {
                    reason: format!("there is no channel `{}`", row.effect.channel).into(),
                },
            };
            actors::crash::point("effect-after-call");
            (row, outcome)
        });
    }

    fn ended(&mut self, ended: Result<(EffectRow, Outcome), tokio::task::JoinError>) {
        let (row, outcome) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                // A bug of a channel: its effect stays on the way until the next start, and hurts nobody else.
                tracing::error!(%error, "a call of an effect failed");
                return;
            }
        };
        let word = match &outcome {
            Outcome::Done => "done",
            Outcome::Retry { .. } => "retry",
            Outcome::Refused { .. } => "refused",
            Outcome::Paused => "paused",
        };
        let channel = row.effect.channel.to_string();
        metrics::counter!("tributary_effect_calls", "channel" => channel, "outcome" => word)
            .increment(1);
        let now = self.platform.clock().now().max(row.due);
        if let Some(mark) = self.dispatcher.ended(&row, outcome, now) {
            if let EffectMark::Dead { attempts, reason } = &mark {
                let (channel, target) = (&row.effect.channel, row.effect.target);
                tracing::warn!(%channel, target, attempts, reason = &**reason, "effect given up");
            }
            self.marks.push((row.effect.key, mark));
        }
    }

    fn settled(&mut self, keys: Result<Vec<u64>, tokio::task::JoinError>) {
        let Ok(keys) = keys else {
            return;
        };
        let rows = match self.platform.snapshot() {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(%error, "effects cannot be read");
                return;
            }
        };
        for key in keys {
            match self.dispatcher.settled(&rows, key) {
                Ok(Some(row)) => self.call(row),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "an effect cannot be read"),
            }
        }
        self.looked = None;
    }

    /// Appends the marks that have gathered, as one record, and waits (aside) until rows show them.
    fn append(&mut self) {
        while !self.marks.is_empty() {
            let rest = self.marks.split_off(self.marks.len().min(MARKS_MAX));
            let marks = std::mem::replace(&mut self.marks, rest);
            let keys = marks.iter().map(|(key, _)| *key).collect();
            let platform = self.platform.clone();
            self.appends.spawn(async move {
                let record = Control::Effects(marks);
                let token = loop {
                    match platform.publish(&record).await {
                        Ok(token) => break token,
                        Err(error) => {
                            tracing::warn!(%error, "marks of effects wait");
                            tokio::time::sleep(APPEND_AGAIN).await;
                        }
                    }
                };
                while platform.wait(token, VISIBLE_WAIT).await.is_err() {}
                keys
            });
        }
    }
}
