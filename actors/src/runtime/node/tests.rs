//! The node with real threads, a real log and a real store.

use std::path::Path;

use super::*;
use crate::log::segment::{SegmentLog, SegmentOptions};
use crate::machine::Rows;
use crate::model::{ManualClock, Time};
use crate::runtime::core::tests::{Ledger, event, total};
use crate::runtime::rows::DiskRows;
use crate::seal::TestSealer;
use crate::store::{RowStore, StoreConfig, WriteBehindConfig};

struct Bench {
    node: Node,
    rows: Arc<DiskRows>,
}

fn start(dir: &Path) -> Bench {
    start_with(dir, |rows| rows)
}

/// `wrap` stands between the node and its store.
fn start_with(dir: &Path, wrap: impl FnOnce(Arc<DiskRows>) -> Arc<dyn RowCache>) -> Bench {
    let log = |name: &str, partitions| {
        SegmentLog::open(&dir.join(name), SegmentOptions::new(partitions)).expect("log opens")
    };
    let opened = RowStore::open_or_set_aside(&dir.join("rows"), &StoreConfig::default());
    let store = opened.expect("store opens").store;
    let rows = Arc::new(DiskRows::start(store, WriteBehindConfig::default()).expect("starts"));
    let node = Node::start(
        Parts {
            raw: Arc::new(log("raw", 2)),
            results: Arc::new(log("results", 1)),
            sealer: Arc::new(TestSealer::new(7)),
            store: wrap(rows.clone()),
            clock: Arc::new(ManualClock::new(Time(1_700_000_000_000))),
            machines: Arc::new(Ledger::default()),
            partitions: 4,
            workers: 2,
            limits: Limits::default(),
            dir: dir.to_path_buf(),
            on_fatal: Arc::new(|| panic!("the node gave up")),
        },
        |_, _| (),
    )
    .expect("node starts");
    Bench { node, rows }
}

impl Bench {
    /// Sends ids with one key and waits until they are visible.
    async fn send(&self, ids: std::ops::Range<u64>, key: u8) {
        let records: Vec<RawRecord> = ids.map(|id| event(id, key)).collect();
        let token = self.node.append(&records).await.expect("admitted");
        self.visible(token).await;
    }

    async fn visible(&self, token: Token) {
        self.node
            .wait(token, Duration::from_secs(60))
            .await
            .expect("visible");
    }

    fn total(&self, key: u8) -> u64 {
        let rows = self.rows.snapshot().expect("a snapshot");
        total(&rows as &dyn Rows, key).expect("reads")
    }
}

#[tokio::test]
async fn i17_a_read_with_the_token_sees_the_write_and_its_hops() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = start(dir.path());
    for round in 0..20u64 {
        bench.send(round * 10..round * 10 + 10, 7).await;
        assert_eq!(bench.total(7), (round + 1) * 10);
        assert_eq!(
            bench.total(248),
            (round + 1) * 10,
            "sent on by a member unit"
        );
    }
}

#[tokio::test]
async fn a_restart_goes_on_where_it_stood_and_drops_what_it_knows() {
    let dir = tempfile::tempdir().expect("a folder");
    for round in 0..3 {
        let bench = start(dir.path());
        bench.send(0..500, 9).await;
        bench.send(500..500 + (round + 1) * 100, 9).await;
        assert_eq!(bench.total(9), 500 + (round + 1) * 100);
        bench.node.drain();
    }
}

#[tokio::test]
async fn row_6_a_lost_store_is_filled_from_the_log() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = start(dir.path());
    bench.send(0..300, 5).await;
    drop(bench);
    std::fs::remove_dir_all(dir.path().join("rows")).expect("removed");
    let bench = start(dir.path());
    assert_eq!(bench.total(5), 300);
    bench.send(300..400, 5).await;
    assert_eq!(bench.total(5), 400);
}

#[tokio::test]
async fn row_28_a_worker_that_dies_is_rebuilt_from_the_store() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = start(dir.path());
    bench.send(0..50, 3).await;
    for place in &bench.node.workers {
        assert!(place.pulse.ask(Ask::Panic));
    }
    bench.send(50..100, 3).await;
    assert_eq!((bench.total(3), bench.total(252)), (100, 100));
}

/// A store that lets listeners in only when nothing more is stored for a moment.
struct LateListeners(Arc<DiskRows>);

impl RowCache for LateListeners {
    fn rows(&self) -> Box<dyn Rows + '_> {
        self.0.rows()
    }
    fn push(&self, result: crate::store::Committed) {
        self.0.push(result);
    }
    fn end(&self) -> Offset {
        self.0.end()
    }
    fn on_advance(&self, listener: Arc<dyn Fn(Offset) + Send + Sync>) {
        let moment = Duration::from_millis(200);
        while self.0.writer().applied().wait(self.end(), moment) {}
        self.0.on_advance(listener);
    }
    fn backlog_bytes(&self) -> u64 {
        self.0.backlog_bytes()
    }
}

#[tokio::test]
async fn what_is_decided_at_the_start_is_visible_without_another_write() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = start(dir.path());
    let records = [event(1, 6), event(2, 6)];
    let token = bench.node.append(&records).await.expect("admitted");
    bench.visible(token).await;
    bench.node.drain();
    drop(bench);
    // As after a kill right behind the acknowledgement: all is to be decided.
    for name in ["results", "rows"] {
        std::fs::remove_dir_all(dir.path().join(name)).expect("removed");
    }
    let bench = start_with(dir.path(), |rows| Arc::new(LateListeners(rows)));
    bench.visible(token).await;
    assert_eq!(bench.total(6), 2);
}
