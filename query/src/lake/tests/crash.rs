//! What a crash leaves: the old lake or the new one, each event once.

use std::fs;

use actors::history::History;
use actors::model::Offset;

use super::model::*;
use crate::lake::manifest;

fn three_files() -> (tempfile::TempDir, Frames) {
    let folder = tempfile::tempdir().unwrap();
    let frames = Frames::default();
    let lake = open(folder.path(), &frames);
    for part in 0..3 {
        let mut events: Vec<_> = (0..100).map(|n| event(part * 100 + n)).collect();
        // All within one month: merged, not taken apart.
        for event in &mut events {
            event.time = NOW;
        }
        frames.add(events);
        follow(&lake, &frames);
        lake.flush().unwrap();
    }
    (folder, frames)
}

#[test]
fn files_without_a_manifest_are_written_again() {
    let (folder, frames) = three_files();
    let before = fs::read(folder.path().join(manifest::NAME)).unwrap();
    frames.add((1000..1100).map(event).collect());
    let lake = open(folder.path(), &frames);
    follow(&lake, &frames);
    lake.flush().unwrap();
    drop(lake);
    // As if the process had died between the files and the manifest, with a half written one beside it.
    fs::write(folder.path().join(manifest::NAME), before).unwrap();
    fs::write(folder.path().join("manifest.tmp"), b"half").unwrap();
    let lake = open(folder.path(), &frames);
    assert_eq!(lake.position(), Offset(3));
    let named = lake.stats().files as usize;
    assert_eq!(count(folder.path(), ".parquet"), named);
    assert_eq!(count(folder.path(), ".tmp"), 0);
    follow(&lake, &frames);
    same(&lake, &frames, &all());
}

#[test]
fn a_merge_without_its_manifest_leaves_its_inputs() {
    let (folder, frames) = three_files();
    let lake = open(folder.path(), &frames);
    // A reader keeps the inputs alive, as the disk keeps them when the process dies.
    let reader = lake.view();
    let before = fs::read(folder.path().join(manifest::NAME)).unwrap();
    tend(&lake, NOW);
    assert_ne!(
        before,
        fs::read(folder.path().join(manifest::NAME)).unwrap()
    );
    std::mem::forget(reader);
    drop(lake);
    fs::write(folder.path().join(manifest::NAME), before).unwrap();
    let lake = open(folder.path(), &frames);
    same(&lake, &frames, &all());
}

#[test]
fn replaced_files_go_when_their_last_reader_lets_go() {
    let (folder, frames) = three_files();
    let lake = open(folder.path(), &frames);
    let files = lake.stats().files as usize;
    let reader = lake.view();
    tend(&lake, NOW);
    let merged = lake.stats().files as usize;
    assert!(merged < files, "{merged} of {files}");
    assert_eq!(count(folder.path(), ".parquet"), files + merged);
    drop(reader);
    assert_eq!(count(folder.path(), ".parquet"), merged);
    assert_eq!(count(folder.path(), ".sums"), merged);
    same(&lake, &frames, &all());
}

#[test]
fn without_a_readable_manifest_the_lake_is_made_again() {
    let (folder, frames) = three_files();
    let path = folder.path().join(manifest::NAME);
    let mut text = fs::read(&path).unwrap();
    let middle = text.len() / 2;
    text[middle] ^= 1;
    fs::write(&path, text).unwrap();
    let lake = open(folder.path(), &frames);
    assert_eq!((lake.position(), lake.stats().files), (Offset(0), 0));
    follow(&lake, &frames);
    same(&lake, &frames, &all());
}

#[test]
fn a_lake_ahead_of_its_log_is_made_again() {
    let (folder, _) = three_files();
    let frames = Frames::default();
    frames.add((0..10).map(event).collect());
    let lake = open(folder.path(), &frames);
    follow(&lake, &frames);
    same(&lake, &frames, &all());
}

#[test]
fn a_stopped_rewrite_leaves_nothing() {
    let (folder, frames) = three_files();
    let lake = open(folder.path(), &frames);
    let files = count(folder.path(), ".parquet");
    let stop = std::sync::atomic::AtomicBool::new(true);
    assert!(lake.tend(NOW, &stop).is_err());
    assert_eq!(count(folder.path(), ".parquet"), files);
    assert_eq!(lake.stats().progress, None);
    same(&lake, &frames, &all());
}
