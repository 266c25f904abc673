//! A flipped bit is found, never lent, and its file is made again.

use std::fs;
use std::path::{Path, PathBuf};

use actors::history::HistoryError;
use actors::model::Offset;

use super::model::*;
use crate::lake::{LakeError, Results};

fn parquet_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "parquet"))
        .collect();
    paths.sort();
    paths
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at % bytes.len();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

fn filled(folder: &Path) -> Frames {
    let frames = Frames::default();
    let lake = open(folder, &frames);
    for part in 0..4 {
        frames.add((0..150).map(|n| event(part * 1000 + n)).collect());
        follow(&lake, &frames);
        lake.flush().unwrap();
    }
    tend(&lake, NOW);
    frames
}

#[test]
fn a_flipped_bit_anywhere_is_found_and_healed() {
    let folder = tempfile::tempdir().unwrap();
    let frames = filled(folder.path());
    let some = fs::metadata(&parquet_files(folder.path())[0])
        .unwrap()
        .len() as usize;
    for at in (0..some).step_by(some / 23) {
        flip(&parquet_files(folder.path())[0], at);
        let lake = open(folder.path(), &frames);
        let shown = seen(&lake, &all());
        assert!(
            matches!(shown, Err(HistoryError::Damaged { .. })),
            "byte {at}: {shown:?}"
        );
        assert_eq!(lake.stats().damaged, 1);
        assert_eq!(lake.heal(&frames).unwrap(), 1);
        assert_eq!(lake.stats().damaged, 0);
        same(&lake, &frames, &all());
    }
    assert!(folder.path().join("damaged").is_dir());
}

#[test]
fn verify_finds_what_no_reader_has_met() {
    let folder = tempfile::tempdir().unwrap();
    let frames = filled(folder.path());
    let lake = open(folder.path(), &frames);
    assert_eq!(lake.verify(), Vec::<String>::new());
    let files = parquet_files(folder.path());
    flip(&files[0], 1000);
    fs::remove_file(&files[1]).unwrap();
    drop(lake);
    let lake = open(folder.path(), &frames);
    assert_eq!(lake.verify().len(), 2);
    assert_eq!(lake.heal(&frames).unwrap(), 2);
    same(&lake, &frames, &all());
}

#[test]
fn damage_in_front_of_the_log_is_told() {
    struct Cut<'a>(&'a Frames);
    impl Results for Cut<'_> {
        fn start(&self) -> Offset {
            Offset(3)
        }
        fn end(&self) -> Offset {
            self.0.end()
        }
        fn read(
            &self,
            range: std::ops::Range<Offset>,
            pick: &mut dyn FnMut(&actors::history::HistoryEvent<'_>) -> bool,
            each: &mut dyn FnMut(&actors::history::HistoryEvent<'_>),
        ) -> Result<(), String> {
            self.0.read(range, pick, each)
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let frames = filled(folder.path());
    flip(&parquet_files(folder.path())[0], 500);
    let lake = open(folder.path(), &frames);
    assert!(seen(&lake, &all()).is_err());
    let healed = lake.heal(&Cut(&frames));
    assert!(
        matches!(healed, Err(LakeError::Damaged { .. })),
        "{healed:?}"
    );
}
