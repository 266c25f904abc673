use super::*;
use crate::machine::Misfire;
use crate::store::{MemoryStore, Overlay};

/// Rows after a run of batches.
#[derive(Default)]
struct Bench {
    overlay: Overlay,
    batch: u64,
}

impl Bench {
    fn write(&mut self, change: impl FnOnce(&mut WriteSet)) {
        let below = MemoryStore::default();
        let mut out = WriteSet::default();
        change(&mut out);
        write(&mut out, &self.overlay.view(&below)).expect("memory reads");
        self.batch += 1;
        self.overlay
            .push(self.batch, crate::result::Inner::of(&out.rows));
    }

    fn due(&self, now: i64, max: usize) -> Vec<(u64, i64)> {
        let below = MemoryStore::default();
        let due = due_timers(&self.overlay.view(&below), Time(now), max).expect("memory reads");
        due.iter().map(|timer| (timer.id, timer.at.0)).collect()
    }

    fn acts(&self, id: u64, at: i64, now: i64) -> Option<bool> {
        let below = MemoryStore::default();
        let fired = Fired {
            id,
            at: Time(at),
            payload: Bytes::new(),
        };
        due(&self.overlay.view(&below), ShardId(3), &fired, Time(now)).expect("memory reads")
    }
}

fn timer(id: u64, at: i64) -> Timer {
    Timer {
        shard: ShardId(3),
        id,
        at: Time(at),
        misfire: Misfire::SkipAfterMs(1_000),
        payload: Bytes::from_static(b"p"),
    }
}

#[test]
fn timers_are_replaced_cancelled_and_found_when_due() {
    let mut bench = Bench::default();
    bench.write(|out| out.timers = vec![timer(1, 50), timer(2, -5), timer(3, 70)]);
    assert_eq!(bench.due(60, 10), [(2, -5), (1, 50)]);
    bench.write(|out| out.timers = vec![timer(1, 20), timer(1, 30)]);
    bench.write(|out| {
        out.cancelled = vec![(ShardId(3), 2), (ShardId(3), 3), (ShardId(3), 99)];
        out.timers = vec![timer(3, 90)];
    });
    assert_eq!(bench.due(100, 10), [(1, 30), (3, 90)]);
    assert_eq!(bench.due(100, 1), [(1, 30)]);
}

#[test]
fn i11_a_timer_that_moved_or_fired_finds_nothing() {
    let mut bench = Bench::default();
    bench.write(|out| out.timers = vec![timer(1, 50)]);
    assert_eq!(bench.acts(1, 50, 60), Some(true));
    assert_eq!(
        bench.acts(1, 50, 5_000),
        Some(false),
        "overdue beyond its policy"
    );
    bench.write(|out| out.timers = vec![timer(1, 80)]);
    assert_eq!(bench.acts(1, 50, 60), None, "moved");
    bench.write(|out| out.cancelled = vec![(ShardId(3), 1)]);
    assert_eq!(bench.acts(1, 80, 90), None, "fired or cancelled");
}

#[test]
fn a_list_of_due_timers_goes_on_behind_the_last_one() {
    let mut bench = Bench::default();
    bench.write(|out| out.timers = vec![timer(1, 50), timer(2, -5), timer(3, 50)]);
    let below = MemoryStore::default();
    let rows = bench.overlay.view(&below);
    let first = due_timers_behind(&rows, Time(60), None, 2).unwrap();
    let last = first.last().map(|last| (last.at, last.shard, last.id));
    assert_eq!(last, Some((Time(50), ShardId(3), 1)));
    let next = due_timers_behind(&rows, Time(60), last, 2).unwrap();
    assert_eq!(next.iter().map(|timer| timer.id).collect::<Vec<_>>(), [3]);
}
