//! A result log in memory, events made from a number, and what a scan shows as a sorted list.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use actors::history::{
    Columns, Each, History, HistoryError, HistoryEvent, MemoryHistory, OwnedEvent, OwnedOrder,
    Wanted,
};
use actors::machine::RecordAt;
use actors::model::{
    BrandId, Currency, EventKind, IdentNo, Offset, OrderStatus, PartitionId, Place, Position,
    SourceId, Time,
};
use jiff::tz::TimeZone;
use parking_lot::RwLock;

use crate::lake::{Followed, Lake, LakeConfig, Results};

/// 2026-11-22T00:00 in Shanghai.
pub const NOW: Time = Time(1_795_276_800_000);
pub const DAY_MS: i64 = 86_400_000;

/// Frames of events, as a result log has them, and who is erased.
#[derive(Default)]
pub struct Frames {
    frames: RwLock<Vec<Vec<OwnedEvent>>>,
    erased: RwLock<BTreeSet<IdentNo>>,
    pub naive: MemoryHistory,
}

impl Frames {
    /// Adds a frame of these events; their places are given here.
    pub fn add(&self, mut events: Vec<OwnedEvent>) {
        let mut frames = self.frames.write();
        let offset = Offset(frames.len() as u64);
        for (event, index) in events.iter_mut().zip(0..) {
            event.at = RecordAt {
                position: Position {
                    partition: PartitionId(0),
                    offset,
                },
                index,
            };
            if self.erased.read().contains(&event.fragment) {
                event.erase();
            }
        }
        self.naive.extend(events.clone(), Offset(offset.0 + 1));
        frames.push(events);
    }

    /// Destroys the keys of a fragment.
    pub fn erase(&self, fragment: IdentNo) {
        self.erased.write().insert(fragment);
        self.naive.erase(&[fragment]);
    }
}

impl Results for Frames {
    fn start(&self) -> Offset {
        Offset(0)
    }

    fn end(&self) -> Offset {
        Offset(self.frames.read().len() as u64)
    }

    fn read(
        &self,
        range: Range<Offset>,
        pick: &mut dyn FnMut(&HistoryEvent<'_>) -> bool,
        each: &mut dyn FnMut(&HistoryEvent<'_>),
    ) -> Result<(), String> {
        let frames = self.frames.read();
        for event in frames[range.start.0 as usize..range.end.0 as usize]
            .iter()
            .flatten()
        {
            let mut event = event.clone();
            if self.erased.read().contains(&event.fragment) {
                event.erase();
            }
            let mut scratch = Vec::new();
            if pick(&event.lend(Columns::NONE, &mut Vec::new())) {
                each(&event.lend(Columns::ALL, &mut scratch));
            }
        }
        Ok(())
    }
}

/// A lake that writes often and merges early.
pub fn config(folder: &Path) -> LakeConfig {
    LakeConfig {
        group_rows: 64,
        file_rows_max: 200,
        merge_files: 3,
        erase_after_ms: 0,
        ..LakeConfig::new(folder, TimeZone::get("Asia/Shanghai").unwrap())
    }
}

pub fn open(folder: &Path, frames: &Frames) -> Lake {
    Lake::open(config(folder), frames).unwrap()
}

pub fn follow(lake: &Lake, frames: &Frames) {
    while lake.follow(frames, NOW).unwrap() == Followed::More {}
}

/// Does all rewrites that are due.
pub fn tend(lake: &Lake, now: Time) {
    while lake.tend(now, &AtomicBool::new(false)).unwrap() {}
}

/// An event whose every column follows from a number.
pub fn event(seed: u64) -> OwnedEvent {
    let pick = |of: u64, salt: u64| mix(seed ^ salt.wrapping_mul(0x9e37)) % of;
    let kind = [EventKind::Track, EventKind::Scan, EventKind::Order][pick(3, 1) as usize];
    let name = match kind {
        EventKind::Track => ["viewed", "added to cart", "浏览"][pick(3, 2) as usize],
        kind => kind.as_str(),
    };
    let time = Time(NOW.0 - (pick(100, 3) * pick(100, 4)) as i64 * DAY_MS / 50);
    let some = |salt| pick(4, salt) > 0;
    let text = |text: String| Some(text.into_boxed_str());
    OwnedEvent {
        raw: Position {
            partition: PartitionId(1),
            offset: Offset(seed),
        },
        received: Time(NOW.0 + pick(1000, 5) as i64),
        kind,
        source: SourceId(pick(3, 6) as u32),
        brand: BrandId(pick(2, 7) as u32),
        test: pick(10, 8) == 0,
        order_only: kind == EventKind::Order && pick(5, 9) == 0,
        message_id: text(format!("message {seed}")),
        identifiers: (0..pick(3, 10))
            .map(|n| format!("phone:{seed}{n}").into())
            .collect(),
        properties: some(11)
            .then(|| format!(r#"{{"price":{},"商品":"啤酒"}}"#, pick(100, 12)).into()),
        traits: some(13).then(|| format!(r#"{{"name":"{seed}"}}"#).into()),
        context: some(14).then(|| r#"{"os":"ios"}"#.into()),
        place: some(15).then(|| Place {
            lat: pick(90, 16) as f64,
            lon: 120.5,
            accuracy_m: some(17).then_some(12.5),
        }),
        order: (kind == EventKind::Order).then(|| OwnedOrder {
            order: IdentNo(pick(1000, 18) as u32),
            holder: IdentNo(pick(50, 19) as u32),
            order_id: format!("E{seed}").into(),
            shop: "shop".into(),
            status: some(20).then_some(OrderStatus::Paid),
            currency: Currency::CNY,
            total: some(21).then_some(pick(100_000, 22) as i64),
            lines: if some(23) {
                r#"[{"line_id":"1"}]"#.into()
            } else {
                "".into()
            },
        }),
        ..OwnedEvent::new(
            IdentNo(pick(50, 24) as u32),
            RecordAt::default(),
            time,
            name,
        )
    }
}

/// Everything of everybody.
pub fn all() -> Wanted {
    Wanted {
        columns: Columns::ALL,
        order_only: true,
        ..Wanted::default()
    }
}

/// What a scan shows, by place.
pub fn seen(history: &dyn History, wanted: &Wanted) -> Result<Vec<OwnedEvent>, HistoryError> {
    let mut parts = [Vec::new(), Vec::new()];
    let [first, second] = &mut parts;
    let mut one = |event: &HistoryEvent<'_>| {
        first.push(OwnedEvent::of(event));
        ControlFlow::Continue(())
    };
    let mut two = |event: &HistoryEvent<'_>| {
        second.push(OwnedEvent::of(event));
        ControlFlow::Continue(())
    };
    let mut sinks: [&mut Each<'_>; 2] = [&mut one, &mut two];
    let scanned = history.scan(wanted, &mut sinks)?;
    let mut events = parts.concat();
    assert_eq!(scanned.shown, events.len() as u64);
    events.sort_by_key(|event| event.at);
    Ok(events)
}

/// Lake and list show the same.
pub fn same(lake: &Lake, frames: &Frames, wanted: &Wanted) {
    let shown = seen(lake, wanted).unwrap();
    let naive = seen(&frames.naive, wanted).unwrap();
    assert_eq!(shown.len(), naive.len(), "{wanted:?}");
    for (shown, naive) in shown.iter().zip(&naive) {
        assert_eq!(shown, naive, "{wanted:?}");
    }
}

/// Files of a folder by the end of their name.
pub fn count(folder: &Path, end: &str) -> usize {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(end)).count()
}

pub fn mix(x: u64) -> u64 {
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}
