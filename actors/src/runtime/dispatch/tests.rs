use bytes::Bytes;

use super::*;
use crate::machine::{Effect, WriteSet};
use crate::store::{MemoryStore, Overlay};

const POLICY: Policy = Policy {
    attempts_max: 3,
    wait_first_ms: 100,
    wait_max_ms: 10_000,
    breaker_failures: 2,
    breaker_open_ms: 1_000,
    lane_calls_max: 2,
    calls_max: 3,
};

/// A dispatcher over rows that are committed at once.
struct Bench {
    overlay: Overlay,
    batch: u64,
    dispatcher: Dispatcher,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            overlay: Overlay::default(),
            batch: 0,
            dispatcher: Dispatcher::new(POLICY),
        }
    }

    fn write(&mut self, now: i64, change: impl FnOnce(&mut WriteSet)) {
        let below = MemoryStore::default();
        let mut out = WriteSet::default();
        change(&mut out);
        effects::write(&mut out, &self.overlay.view(&below), Time(now)).unwrap();
        self.batch += 1;
        self.overlay
            .push(self.batch, crate::result::Inner::of(&out.rows));
    }

    fn make(&mut self, now: i64, target: u64, keys: &[u64], at_most_once: bool) {
        let effects = keys.iter().map(|&key| Effect {
            key,
            channel: "webhook".into(),
            target,
            at_most_once,
            payload: Bytes::new(),
        });
        let effects = effects.collect();
        self.write(now, |out| out.effects = effects);
    }

    fn plan(&mut self, now: i64) -> Vec<Step> {
        let below = MemoryStore::default();
        let rows = self.overlay.view(&below);
        self.dispatcher.plan(&rows, Time(now), &|_| false).unwrap()
    }

    fn calls(&mut self, now: i64) -> Vec<EffectRow> {
        let calls = self.plan(now).into_iter().map(|step| match step {
            Step::Call(row) => row,
            other => panic!("{other:?}"),
        });
        calls.collect()
    }

    fn keys(&mut self, now: i64) -> Vec<u64> {
        let calls = self.calls(now);
        calls.iter().map(|row| row.effect.key).collect()
    }

    fn settle(&mut self, now: i64, key: u64, mark: EffectMark) -> Option<EffectRow> {
        self.write(now, |out| out.effect_marks = vec![(key, mark)]);
        let below = MemoryStore::default();
        let rows = self.overlay.view(&below);
        self.dispatcher.settled(&rows, key).unwrap()
    }

    /// The call of `row` ends, and its mark is committed.
    fn end(&mut self, now: i64, row: &EffectRow, outcome: Outcome) -> Option<EffectMark> {
        let mark = self.dispatcher.ended(row, outcome, Time(now))?;
        assert_eq!(self.settle(now, row.effect.key, mark.clone()), None);
        Some(mark)
    }

    fn restart(&mut self) {
        self.dispatcher = Dispatcher::new(POLICY);
    }
}

fn retry(after_ms: Option<i64>) -> Outcome {
    Outcome::Retry {
        after_ms,
        reason: "500".into(),
    }
}

#[test]
fn each_lane_has_its_room_and_one_is_called_once_at_a_time() {
    let mut bench = Bench::new();
    bench.make(0, 1, &[1, 2, 3, 4], false);
    bench.make(0, 2, &[5, 6], false);
    let calls = bench.calls(10);
    let keys: Vec<u64> = calls.iter().map(|row| row.effect.key).collect();
    assert_eq!(keys, [1, 2, 5], "two of the first lane, three in all");
    assert_eq!(bench.keys(10), [0; 0], "they are on their way");
    assert_eq!(
        bench.end(20, &calls[0], Outcome::Done),
        Some(EffectMark::Done)
    );
    assert_eq!(bench.keys(20), [3]);
    // Marked, but the rows do not show it yet: still on its way.
    let mark = bench
        .dispatcher
        .ended(&calls[1], Outcome::Done, Time(20))
        .unwrap();
    assert_eq!(bench.keys(20), [0; 0]);
    bench.settle(20, 2, mark);
    assert_eq!(bench.keys(20), [4]);
}

#[test]
fn a_call_that_fails_waits_longer_each_time_and_is_given_up() {
    let mut bench = Bench::new();
    bench.make(0, 1, &[1], false);
    let mut now = 0;
    for (attempt, plain) in [(1, 100), (2, 400)] {
        let row = bench.calls(now).remove(0);
        let Some(EffectMark::Failed { attempts, due, .. }) = bench.end(now, &row, retry(None))
        else {
            panic!("it waits");
        };
        assert_eq!(attempts, attempt);
        let wait = due.0 - now;
        assert!((plain * 4 / 5..=plain * 6 / 5).contains(&wait), "{wait}");
        // The breaker opens with the second failure; it is longer than the wait.
        now = due.0 + POLICY.breaker_open_ms;
    }
    let row = bench.calls(now).remove(0);
    let mark = bench.end(now, &row, retry(None));
    assert!(matches!(mark, Some(EffectMark::Dead { attempts: 3, .. })));
    assert_eq!(bench.keys(i64::MAX / 2), [0; 0]);
}

#[test]
fn the_receiver_may_ask_for_more_time_within_bounds() {
    for (asked, least) in [(5_000, 5_000), (99_999_999, POLICY.wait_max_ms)] {
        let mut bench = Bench::new();
        bench.make(0, 1, &[1], false);
        let row = bench.calls(0).remove(0);
        let mark = bench.end(0, &row, retry(Some(asked)));
        assert!(matches!(mark, Some(EffectMark::Failed { due, .. }) if due.0 == least));
    }
}

#[test]
fn a_breaker_opens_for_its_lane_alone_and_tries_with_one() {
    let mut bench = Bench::new();
    bench.make(0, 1, &[1, 2, 3, 4], false);
    let calls = bench.calls(0);
    for row in &calls {
        bench.end(0, row, retry(None));
    }
    bench.make(0, 2, &[9], false);
    assert_eq!(bench.keys(500), [9], "open: only the other lane");
    assert_eq!(bench.dispatcher.broken(Time(500)).len(), 1);
    let probe = bench.calls(1_000);
    assert_eq!(probe.len(), 1);
    assert_eq!(bench.keys(1_000), [0; 0]);
    bench.end(1_000, &probe[0], Outcome::Done);
    assert_eq!(bench.keys(1_000).len(), 2, "closed again");
    // A clock set back by a day does not keep it open.
    let mut breaker = Breaker::default();
    breaker.failed(Time(86_400_000), &POLICY);
    breaker.failed(Time(86_400_000), &POLICY);
    assert_eq!(breaker.admits(Time(86_400_500), &POLICY), 0);
    assert_eq!(breaker.admits(Time(0), &POLICY), 1);
}

#[test]
fn at_least_once_is_called_again_after_a_crash_with_the_same_key() {
    let mut bench = Bench::new();
    bench.make(0, 1, &[7], false);
    let first = bench.calls(0);
    bench.restart();
    assert_eq!(bench.calls(0), first);
}

#[test]
fn i10_at_most_once_is_marked_first_and_given_up_after_a_crash() {
    let mut bench = Bench::new();
    bench.make(0, 1, &[7], true);
    assert_eq!(bench.plan(0), [Step::Mark(7, EffectMark::Sending)]);
    assert_eq!(bench.plan(0), [], "until the mark is committed");
    let row = bench
        .settle(0, 7, EffectMark::Sending)
        .expect("now it goes");
    assert_eq!(bench.plan(0), []);
    // Switched off meanwhile: nothing was sent, so it waits again.
    bench.end(0, &row, Outcome::Paused);
    assert_eq!(bench.plan(0), []);
    assert_eq!(bench.plan(PAUSE_MS), [Step::Mark(7, EffectMark::Sending)]);
    bench
        .settle(PAUSE_MS, 7, EffectMark::Sending)
        .expect("again");
    bench.restart();
    let steps = bench.plan(PAUSE_MS);
    assert!(
        matches!(
            &steps[..],
            [Step::Mark(7, EffectMark::Dead { attempts: 1, .. })]
        ),
        "{steps:?}"
    );
}

#[test]
fn discarded_while_marking_is_never_called() {
    let mut bench = Bench::new();
    bench.make(0, 1, &[7], true);
    bench.plan(0);
    bench.write(0, |out| out.effect_marks = vec![(7, EffectMark::Discard)]);
    assert_eq!(bench.settle(0, 7, EffectMark::Sending), None);
    assert_eq!(bench.dispatcher.flying(), 0);
}

#[test]
fn held_effects_stay_but_for_those_released() {
    let mut bench = Bench::new();
    bench.make(0, 1, &[1, 2], false);
    bench.write(0, |out| out.effect_marks = vec![(2, EffectMark::Release)]);
    let below = MemoryStore::default();
    let rows = bench.overlay.view(&below);
    let steps = bench
        .dispatcher
        .plan(&rows, Time(5), &|channel| channel == "webhook")
        .unwrap();
    assert!(matches!(&steps[..], [Step::Call(row)] if row.effect.key == 2));
    let steps = bench.dispatcher.plan(&rows, Time(5), &|_| false).unwrap();
    assert!(matches!(&steps[..], [Step::Call(row)] if row.effect.key == 1));
}
