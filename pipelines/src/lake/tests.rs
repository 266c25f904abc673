//! The lake of a whole platform: what is committed is in it once, after restarts, restores and erasures.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use actors::history::{Columns, History, OwnedEvent, Wanted};
use actors::log::Log;
use actors::model::{BrandId, EventKind, IdSpace, ManualClock, OrderStatus, SourceId, Time};
use actors::runtime::feed::RESULTS;
use ingest::{OrderDefaults, Protocol, SourceInfo};

use super::*;
use crate::backup;
use crate::platform::{Platform, PlatformConfig};

const NOW: Time = Time(1_795_276_800_000);

/// Longer than any of these tests takes.
const PATIENCE: Duration = Duration::from_secs(60);

async fn start(folder: &Path, lake: Option<LakeOptions>) -> Platform {
    let mut config = PlatformConfig::new(folder);
    config.wish.partitions = Some(2);
    config.lake = lake;
    let clock = Arc::new(ManualClock::new(NOW));
    Platform::start(config, clock, |_, _| {}).await.unwrap()
}

/// Sends events `from..to`, two of three of them orders of one of seven people.
async fn send(platform: &Platform, from: u64, to: u64) {
    let events: Vec<String> = (from..to)
        .map(|n| {
            let (kind, order) = match n % 3 {
                0 => ("track", String::new()),
                _ => (
                    "order",
                    format!(
                        r#","order":{{"order_id":"E{n}","status":"paid","currency":"CNY","lines":[{{"line_id":"1","sku":"S","quantity":"2","unit_price":"1.50"}}]}}"#
                    ),
                ),
            };
            let identifiers = format!(r#"["user_id:u{}","phone:1380000{:04}"]"#, n % 7, n % 7);
            format!(
                r#"{{"message_id":"m{n}","type":"{kind}","name":"viewed","time":"{}","identifiers":{identifiers},"properties":{{"n":{n}}}{order}}}"#,
                Time(NOW.0 - n as i64 * 1_000).rfc3339()
            )
        })
        .collect();
    let source = SourceInfo {
        id: SourceId(1),
        id_space: IdSpace(0),
        brand: BrandId(0),
        test: false,
        orders: OrderDefaults::default(),
        sensors: Default::default(),
    };
    let request = ingest::Request {
        path: "/v1/events",
        headers: &[],
        received: NOW,
        query: "",
        nonce: 0,
        body: format!("[{}]", events.join(",")).into_bytes().into(),
    };
    let admitted = ingest::admit(Protocol::Own, &source, request).unwrap();
    assert_eq!(admitted.rejected().count(), 0);
    let token = platform.append(&admitted.records).await.unwrap();
    platform.wait(token, PATIENCE).await.unwrap();
}

/// All events of the lake once it has read everything, by message id.
fn seen(platform: &Platform) -> Vec<OwnedEvent> {
    let service = platform.lake().unwrap();
    assert!(service.wait(platform.logs().1.end(RESULTS), PATIENCE));
    let mut events = Vec::new();
    let wanted = Wanted {
        columns: Columns::ALL,
        ..Wanted::default()
    };
    // The lake alone: behind its end the platform would ask the log.
    let history = service.lake();
    history
        .scan(
            &wanted,
            &mut [&mut |event| {
                events.push(OwnedEvent::of(event));
                ControlFlow::Continue(())
            }],
        )
        .unwrap();
    events.sort_by_key(|event| event.raw);
    events
}

fn ids(events: &[OwnedEvent]) -> Vec<String> {
    let mut ids: Vec<String> = events
        .iter()
        .map(|event| event.message_id.as_deref().unwrap_or("erased").to_owned())
        .collect();
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_whole_and_once_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let platform = start(folder.path(), Some(LakeOptions::default())).await;
    send(&platform, 0, 100).await;
    let events = seen(&platform);
    let expected: Vec<String> = {
        let mut ids: Vec<String> = (0..100).map(|n| format!("m{n}")).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&events), expected);
    let of = |id: &str| {
        let found = events
            .iter()
            .find(|event| event.message_id.as_deref() == Some(id));
        found.unwrap().clone()
    };
    let (track, order) = (of("m9"), of("m10"));
    assert_eq!((track.kind, &*track.name), (EventKind::Track, "viewed"));
    assert_eq!(track.properties.as_deref(), Some(r#"{"n":9}"#));
    assert_eq!(
        (track.time, track.received, track.erased),
        (Time(NOW.0 - 9_000), NOW, false)
    );
    assert_eq!(
        track.identifiers,
        ["user_id:u2".into(), "phone:+8613800000002".into()] as [Box<str>; 2]
    );
    let facts = order.order.unwrap();
    assert_eq!(
        (&*facts.order_id, facts.status),
        ("E10", Some(OrderStatus::Paid))
    );
    assert!(facts.lines.contains(r#""amount":300"#), "{}", facts.lines);

    // Drained: all of it is in files, and the next start reads nothing again.
    platform.drain();
    let stats = platform.lake().unwrap().stats();
    assert_eq!((stats.tail_rows, stats.events), (0, 100));
    drop(platform);
    let platform = start(folder.path(), Some(LakeOptions::default())).await;
    assert_eq!(platform.lake().unwrap().stats().events, 100);
    send(&platform, 100, 120).await;
    assert_eq!(seen(&platform).len(), 120);

    // The platform's history reaches to the end of the log wherever the lake stands, each event once.
    let count = |wanted: &Wanted| {
        let mut count = 0;
        let history = platform.history();
        let mut sink = |_: &actors::history::HistoryEvent<'_>| {
            count += 1;
            ControlFlow::Continue(())
        };
        history.scan(wanted, &mut [&mut sink]).unwrap();
        count
    };
    assert_eq!(count(&Wanted::default()), 120);
    let named = Wanted {
        kinds: Some([EventKind::Order].into()),
        ..Wanted::default()
    };
    assert_eq!(count(&named), 80);

    // Without a drain the end is read again.
    drop(platform);
    let platform = start(folder.path(), Some(LakeOptions::default())).await;
    assert_eq!(seen(&platform).len(), 120);

    // Lost altogether it is made again.
    drop(platform);
    std::fs::remove_dir_all(folder.path().join("lake")).unwrap();
    let platform = start(folder.path(), Some(LakeOptions::default())).await;
    assert_eq!(ids(&seen(&platform)).len(), 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_erased_after_a_backup_does_not_come_back_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let platform = start(&at("data"), Some(LakeOptions::default())).await;
    send(&platform, 0, 70).await;
    seen(&platform);
    platform.lake().unwrap().lake().flush().unwrap();
    backup::backup(&platform, &at("backup"), &at("keys"), |_| Ok(()), &()).unwrap();
    let who = seen(&platform)[0].fragment;
    platform.erase_fragments(&[who]).unwrap();
    let gone = |events: Vec<OwnedEvent>| -> (usize, usize) {
        let of = events.iter().filter(|event| event.fragment == who);
        (
            of.clone().count(),
            of.filter(|event| event.erased && event.properties.is_none())
                .count(),
        )
    };
    let (all, without) = gone(seen(&platform));
    assert!(all > 0 && all == without, "{without} of {all}");
    platform.drain();
    drop(platform);

    // The older files with the newer keys.
    backup::restore(&at("backup"), &at("keys"), &at("again"), &()).unwrap();
    std::fs::copy(at("data/registry.db"), at("again/registry.db")).unwrap();
    std::fs::remove_dir_all(at("again/keys")).unwrap();
    copy(&at("data/keys"), &at("again/keys"));
    // Not even by way of a platform that keeps no lake.
    let without = start(&at("again"), None).await;
    without.drain();
    drop(without);
    let platform = start(&at("again"), Some(LakeOptions::default())).await;
    assert_eq!(gone(seen(&platform)), (all, all));
    assert!(!at("again/lake").join(RESTORED).exists());
    assert_eq!(seen(&platform).len(), 70);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &target),
            false => {
                std::fs::copy(&path, &target).unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_lake_has_not_read_comes_from_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let platform = start(folder.path(), None).await;
    send(&platform, 0, 30).await;
    let shared = platform.node().shared().clone();
    let events = Arc::new(ResultEvents::new(
        shared.results.clone(),
        shared.sealer.clone(),
    ));
    let zone = jiff::tz::TimeZone::UTC;
    let config = LakeConfig::new(folder.path().join("apart"), zone);
    let lake = Arc::new(Lake::open(config, &*events).unwrap());
    let past = Past::new(lake.clone(), events.clone());
    let ids = |wanted: &Wanted| {
        let mut ids = Vec::new();
        let mut sink = |event: &actors::history::HistoryEvent<'_>| {
            assert!(event.properties.is_none(), "it was not asked for");
            ids.push(event.message_id.unwrap_or_default().to_owned());
            ControlFlow::Continue(())
        };
        past.scan(wanted, &mut [&mut sink]).unwrap();
        ids.sort();
        ids
    };
    let wanted = Wanted {
        columns: Columns {
            message_id: true,
            ..Columns::NONE
        },
        ..Wanted::default()
    };
    let from_log = ids(&wanted);
    assert_eq!((from_log.len(), lake.stats().events), (30, 0));
    while lake.follow(&*events, NOW).unwrap() == Followed::More {}
    assert_eq!(ids(&wanted), from_log);
    send(&platform, 30, 50).await;
    assert_eq!((ids(&wanted).len(), lake.stats().events), (50, 30));
    let mut seen = 0;
    let mut first = |_: &actors::history::HistoryEvent<'_>| {
        seen += 1;
        ControlFlow::Break(())
    };
    let behind = Wanted {
        from: lake.stats().position,
        ..wanted
    };
    let scanned = past.scan(&behind, &mut [&mut first]).unwrap();
    assert_eq!((seen, scanned.stopped), (1, true));
}
