use super::*;
use crate::store::{MemoryStore, Overlay};

#[derive(Default)]
struct Bench {
    overlay: Overlay,
    batch: u64,
    counted: BTreeMap<Box<str>, i64>,
}

impl Bench {
    fn write(&mut self, now: i64, change: impl FnOnce(&mut WriteSet)) {
        let below = MemoryStore::default();
        let mut out = WriteSet::default();
        change(&mut out);
        write(&mut out, &self.overlay.view(&below), Time(now)).expect("memory reads");
        self.batch += 1;
        self.overlay
            .push(self.batch, crate::result::Inner::of(&out.rows));
        for (name, by) in out.counters {
            *self.counted.entry(name).or_default() += by;
        }
    }

    fn make(&mut self, now: i64, keys: &[(u64, u64)]) {
        let effects = keys.iter().map(|&(key, target)| effect(key, target));
        let effects = effects.collect();
        self.write(now, |out| out.effects = effects);
    }

    fn mark(&mut self, now: i64, key: u64, mark: EffectMark) {
        self.write(now, |out| out.effect_marks = vec![(key, mark)]);
    }

    fn due(&self, released: bool, target: u64, now: i64) -> Vec<u64> {
        let below = MemoryStore::default();
        let lane = Lane {
            channel: "webhook".into(),
            target,
        };
        let mut keys = Vec::new();
        due(
            &self.overlay.view(&below),
            released,
            &lane,
            Time(now),
            &mut |key| {
                keys.push(key);
                true
            },
        )
        .unwrap();
        keys
    }

    fn list(&self, which: Which) -> Vec<u64> {
        let below = MemoryStore::default();
        let listed = list(&self.overlay.view(&below), which, &[], 100).unwrap();
        listed.into_iter().map(|(_, key)| key).collect()
    }
}

fn effect(key: u64, target: u64) -> Effect {
    Effect {
        key,
        channel: "webhook".into(),
        target,
        at_most_once: false,
        payload: Bytes::from_static(b"p"),
    }
}

fn failed(attempts: u32, due: i64) -> EffectMark {
    EffectMark::Failed {
        attempts,
        due: Time(due),
        reason: "x".repeat(2_000).into(),
    }
}

#[test]
fn effects_wait_by_lane_and_time_and_go_when_done() {
    let mut bench = Bench::default();
    bench.make(20, &[(9, 1), (7, 2)]);
    bench.make(10, &[(8, 1), (9, 1)]);
    assert_eq!(bench.due(false, 1, 100), [8, 9]);
    assert_eq!(bench.due(false, 1, 15), [8]);
    assert_eq!(bench.due(false, 2, 100), [7]);
    let below = MemoryStore::default();
    let found = lanes(&bench.overlay.view(&below), false).unwrap();
    assert_eq!(
        found.iter().map(|lane| lane.target).collect::<Vec<_>>(),
        [1, 2]
    );
    bench.mark(30, 9, EffectMark::Done);
    bench.mark(30, 9, EffectMark::Done);
    bench.mark(30, 99, EffectMark::Retry);
    assert_eq!(bench.list(Which::All), [7, 8]);
    assert_eq!(
        bench.counted["effects_made"], 3,
        "the same key is the same effect"
    );
    assert_eq!(bench.counted["effects_done"], 1);
}

#[test]
fn a_failed_one_waits_and_a_dead_one_is_for_people() {
    let mut bench = Bench::default();
    bench.make(0, &[(1, 1)]);
    bench.mark(5, 1, failed(1, 50));
    assert_eq!(bench.due(false, 1, 49), [0; 0]);
    assert_eq!(bench.due(false, 1, 50), [1]);
    let below = MemoryStore::default();
    let row = get(&bench.overlay.view(&below), 1).unwrap().unwrap();
    assert_eq!(row.reason.unwrap().len(), REASON_BYTES_MAX);
    let dead = EffectMark::Dead {
        attempts: 2,
        reason: "no".into(),
    };
    bench.mark(60, 1, dead.clone());
    bench.mark(61, 1, failed(3, 70));
    bench.mark(61, 1, dead);
    assert_eq!(bench.due(false, 1, 1_000), [0; 0]);
    assert_eq!(bench.list(Which::Dead), [1]);
    bench.mark(80, 1, EffectMark::Retry);
    assert_eq!(
        (bench.due(false, 1, 80), bench.list(Which::Dead)),
        (vec![1], vec![])
    );
    bench.mark(90, 1, EffectMark::Discard);
    assert_eq!(bench.list(Which::All), [0; 0]);
    assert_eq!(bench.counted["effects_given_up"], 1);
    // Every place went with it.
    assert_eq!(bench.due(false, 1, i64::MAX), [0; 0]);
}

#[test]
fn a_released_one_stands_apart() {
    let mut bench = Bench::default();
    bench.make(0, &[(1, 1), (2, 1)]);
    bench.mark(5, 2, EffectMark::Release);
    assert_eq!(
        (bench.due(true, 1, 9), bench.due(false, 1, 9)),
        (vec![2], vec![1])
    );
    bench.mark(6, 2, failed(1, 8));
    assert_eq!(bench.due(true, 1, 9), [2], "it stays released");
    bench.mark(7, 2, EffectMark::Done);
    assert_eq!(bench.due(true, 1, 9), [0; 0]);
}
