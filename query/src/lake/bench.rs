//! What the lake does on this machine: writing, merging, and scans as backfill and explain make them.

use std::fmt::Write;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use actors::history::{Columns, Each, History, HistoryEvent, NameWanted, Wanted};
use actors::machine::RecordAt;
use actors::model::{BrandId, EventKind, IdentNo, Offset, PartitionId, Position, SourceId, Time};
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::{Followed, Lake, LakeConfig, LakeError, Packing, Results};

/// Events of one result.
const FRAME_EVENTS: u64 = 2_048;

/// First event: 2026-09-01T00:00Z.
const FIRST_MS: i64 = 1_788_220_800_000;

/// Days that the events spread over.
const DAYS: i64 = 60;

const NAMES: [&str; 8] = [
    "product_viewed",
    "product_added",
    "checkout_started",
    "order_paid",
    "coupon_opened",
    "浏览商品",
    "签到",
    "video_watched",
];

/// What was measured.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Events.
    pub events: u64,
    /// Followed and written, on one core.
    pub written_per_s: f64,
    /// Bytes of an event on disk before merges.
    pub bytes_per_event: f64,
    /// Rows rewritten in a second, on one core.
    pub merged_per_s: f64,
    /// Bytes of an event on disk after merges.
    pub merged_bytes_per_event: f64,
    /// Files before and after merges.
    pub files: (u64, u64),
    /// Scans: what, how many threads, events in the range a second, events shown.
    pub scans: Vec<(String, usize, f64, u64)>,
    /// Milliseconds to find the events of one fragment: median, longest.
    pub one_fragment_ms: (f64, f64),
}

/// Fills a lake in `folder` with `events` events of `people` and reads it in several ways.
pub fn run(
    folder: &Path,
    events: u64,
    people: u32,
    packing: Packing,
) -> Result<Figures, LakeError> {
    let made = Made {
        frames: events.div_ceil(FRAME_EVENTS),
        events,
        people,
    };
    let config = LakeConfig {
        packing,
        ..LakeConfig::new(folder, TimeZone::fixed(jiff::tz::offset(8)))
    };
    let lake = Lake::open(config, &made)?;
    let mut figures = Figures {
        events,
        ..Figures::default()
    };
    let now = Time(FIRST_MS + 200 * 86_400_000);
    let begun = Instant::now();
    while lake.follow(&made, now)? == Followed::More {}
    lake.flush()?;
    figures.written_per_s = events as f64 / begun.elapsed().as_secs_f64();
    let stats = lake.stats();
    figures.bytes_per_event = stats.bytes as f64 / events as f64;
    figures.files.0 = stats.files;
    // Merging counts the rows of all rounds, the same row several times.
    let begun = Instant::now();
    let mut merged = 0;
    let stop = AtomicBool::new(false);
    loop {
        let before = lake.number();
        if !lake.tend(now, &stop)? {
            break;
        }
        let view = lake.view();
        let new = view.files.iter().filter(|file| file.entry.number > before);
        merged += new.map(|file| file.entry.rows).sum::<u64>();
    }
    figures.merged_per_s = merged as f64 / begun.elapsed().as_secs_f64();
    let stats = lake.stats();
    figures.merged_bytes_per_event = stats.bytes as f64 / events as f64;
    figures.files.1 = stats.files;
    scans(&lake, &mut figures)?;
    fragments(&lake, people, &mut figures)?;
    Ok(figures)
}

fn scans(lake: &Lake, figures: &mut Figures) -> Result<(), LakeError> {
    let one = |name: &str| Some(vec![NameWanted::Is(name.into())]);
    let properties = Columns {
        properties: true,
        ..Columns::NONE
    };
    let facts = |names| Wanted {
        names,
        columns: properties,
        ..Wanted::default()
    };
    let bare = Wanted::default();
    let runs = [
        ("all events, fixed columns", bare, false),
        ("all events, properties lent", facts(None), false),
        (
            "all events, a field of the properties read",
            facts(None),
            true,
        ),
        (
            "one name in eight, a field read",
            facts(one(NAMES[3])),
            true,
        ),
    ];
    for (what, wanted, read) in &runs {
        for threads in [1, 2] {
            let total = AtomicU64::new(0);
            let sink = |event: &HistoryEvent<'_>| {
                if *read {
                    let price = event.properties.and_then(price_of).unwrap_or_default();
                    total.fetch_add(price, Ordering::Relaxed);
                }
                ControlFlow::Continue(())
            };
            let (mut first, mut second) = (sink, sink);
            let mut sinks: Vec<&mut Each<'_>> = vec![&mut first, &mut second];
            let begun = Instant::now();
            let seen = lake
                .scan(wanted, &mut sinks[..threads])
                .map_err(|error| LakeError::Form(error.to_string()))?;
            let rate = figures.events as f64 / begun.elapsed().as_secs_f64();
            figures
                .scans
                .push(((*what).to_owned(), threads, rate, seen.shown));
        }
    }
    Ok(())
}

/// One number out of a JSON object, without building the object.
fn price_of(properties: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Price {
        price: u64,
    }
    let found: Option<Price> = serde_json::from_str(properties).ok();
    found.map(|found| found.price)
}

fn fragments(lake: &Lake, people: u32, figures: &mut Figures) -> Result<(), LakeError> {
    let mut times = Vec::new();
    for n in 0..200u64 {
        let fragment = IdentNo((mix(n) % u64::from(people.max(1))) as u32);
        let wanted = Wanted {
            fragments: Some([fragment].into()),
            columns: Columns::ALL,
            ..Wanted::default()
        };
        let begun = Instant::now();
        lake.scan(&wanted, &mut [&mut |_| ControlFlow::Continue(())])
            .map_err(|error| LakeError::Form(error.to_string()))?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    figures.one_fragment_ms = (times[times.len() / 2], times[times.len() - 1]);
    Ok(())
}

/// A result log of events made from their number.
struct Made {
    frames: u64,
    events: u64,
    people: u32,
}

impl Results for Made {
    fn start(&self) -> Offset {
        Offset(0)
    }

    fn end(&self) -> Offset {
        Offset(self.frames)
    }

    fn read(
        &self,
        range: Range<Offset>,
        _: &mut dyn FnMut(&HistoryEvent<'_>) -> bool,
        each: &mut dyn FnMut(&HistoryEvent<'_>),
    ) -> Result<(), String> {
        let (mut properties, mut context, mut id, mut phone) =
            (String::new(), String::new(), String::new(), String::new());
        for frame in range.start.0..range.end.0 {
            let first = frame * FRAME_EVENTS;
            for number in first..self.events.min(first + FRAME_EVENTS) {
                let random = mix(number);
                let kind = match random % 10 {
                    0..=6 => EventKind::Track,
                    7 | 8 => EventKind::Page,
                    _ => EventKind::Scan,
                };
                let name = match kind {
                    EventKind::Track => NAMES[(random >> 8) as usize % NAMES.len()],
                    kind => kind.as_str(),
                };
                for text in [&mut properties, &mut context, &mut id, &mut phone] {
                    text.clear();
                }
                let sku = (random >> 16) % 5_000;
                write!(
                    properties,
                    r#"{{"sku":"SKU-{sku:05}","title":"青岛啤酒 经典{} 500ml","category":"啤酒/{}","price":{},"quantity":{},"page":"/product/{sku}?from=home","session":"{:016x}"}}"#,
                    sku % 12,
                    sku % 7,
                    990 + sku % 9_000,
                    1 + random % 4,
                    mix(random)
                )
                .and_then(|()| {
                    write!(
                        context,
                        r#"{{"os":{{"name":"iOS","version":"17.{}"}},"ip":"10.{}.{}.{}","app":"mini-program"}}"#,
                        random % 6,
                        random % 256,
                        (random >> 8) % 256,
                        (random >> 24) % 256
                    )
                })
                .and_then(|()| write!(id, "{:016x}-{number}", mix(number ^ 7)))
                .and_then(|()| write!(phone, "phone:+86138{:08}", random % 100_000_000))
                .map_err(|error| error.to_string())?;
                // Time goes on with the number; people act at random.
                let at = FIRST_MS
                    + (number as i128 * i128::from(DAYS * 86_400_000)
                        / i128::from(self.events.max(1))) as i64;
                each(&HistoryEvent {
                    fragment: IdentNo((mix(random) % u64::from(self.people.max(1))) as u32),
                    at: RecordAt {
                        position: Position {
                            partition: PartitionId(0),
                            offset: Offset(frame),
                        },
                        index: (number - first) as u32,
                    },
                    raw: Position {
                        partition: PartitionId(1),
                        offset: Offset(number),
                    },
                    time: Time(at),
                    received: Time(at + 300),
                    kind,
                    name,
                    source: SourceId(1 + (random % 3) as u32),
                    brand: BrandId(1),
                    test: false,
                    erased: false,
                    order_only: false,
                    message_id: Some(&id),
                    identifiers: &[&phone],
                    properties: Some(&properties),
                    traits: None,
                    context: Some(&context),
                    place: None,
                    order: None,
                });
            }
        }
        Ok(())
    }
}

fn mix(x: u64) -> u64 {
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}
