//! Prints what a scan costs: `cargo test --release -p query lake_figures -- --nocapture`.

use crate::lake::{Packing, bench};

#[test]
fn lake_figures() {
    let (events, people) = match cfg!(debug_assertions) {
        true => (5_000, 200),
        false => (2_000_000, 100_000),
    };
    for packing in [Packing::Zstd, Packing::Lz4] {
        let folder = tempfile::tempdir().unwrap();
        let figures = bench::run(folder.path(), events, people, packing).unwrap();
        println!("{packing:?}: {figures:#?}");
        assert_eq!(figures.scans[0].3, events);
    }
}
