use std::fs;
use std::path::Path;

use super::file::Step;
use super::*;
use crate::model::{Offset, PartitionId, Position};

const CELLS: MemVec<[u32; 2], 2> = MemVec::new(0);
const OTHER: MemVec<[u32; 4], 4> = MemVec::new(1);

fn at(offset: u64) -> Position {
    Position {
        partition: PartitionId(1),
        offset: Offset(offset),
    }
}

fn open(dir: &Path) -> Opened {
    MemFile::open(dir, "memory", 2).unwrap()
}

fn fresh(dir: &Path) -> MemFile {
    match open(dir) {
        Opened::Fresh(file) => file,
        _ => panic!("expected no checkpoint"),
    }
}

fn ready(dir: &Path) -> (MemFile, u64, Vec<u8>) {
    match open(dir) {
        Opened::Ready {
            file,
            position,
            blob,
        } => (file, position.offset.0, blob),
        Opened::Fresh(_) => panic!("no checkpoint"),
        Opened::Damaged { what, .. } => panic!("damaged: {what}"),
    }
}

/// Writes a recognisable generation of values over several chunks.
fn fill(file: &mut MemFile, generation: u32) {
    for i in 0..40_000u32 {
        if i % (generation + 1) == 0 {
            CELLS.set(file, u64::from(i), [i + 1, generation]);
        }
    }
    OTHER.set(file, 7, [generation; 4]);
}

fn holds(file: &MemFile, generations: u32) {
    let mut wanted = MemFile::in_memory(2);
    for generation in 0..generations {
        fill(&mut wanted, generation);
    }
    for i in 0..45_000 {
        assert_eq!(CELLS.get(file, i), CELLS.get(&wanted, i), "cell {i}");
    }
    assert_eq!(OTHER.get(file, 7), OTHER.get(&wanted, 7));
}

#[test]
fn rollback_restores_every_word_in_reverse_order() {
    let mut file = MemFile::in_memory(2);
    fill(&mut file, 0);
    file.begin();
    fill(&mut file, 1);
    CELLS.set(&mut file, 3, [9, 9]);
    CELLS.set(&mut file, 3, [8, 8]);
    CELLS.set(&mut file, 1_000_000, [1, 1]);
    file.rollback();
    holds(&file, 1);
    assert_eq!(CELLS.get(&file, 1_000_000), [0, 0]);
    file.begin();
    fill(&mut file, 1);
    file.commit();
    file.rollback();
    holds(&file, 2);
}

#[test]
fn a_checkpoint_reads_back_with_position_and_blob() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = fresh(dir.path());
    for generation in 0..3 {
        fill(&mut file, generation);
        let position = at(u64::from(generation));
        file.checkpoint(position, vec![generation as u8; 3])
            .unwrap();
        assert_eq!(file.dirty_bytes(), 0);
        let (read, offset, blob) = ready(dir.path());
        assert_eq!(
            (offset, blob),
            (u64::from(generation), vec![generation as u8; 3])
        );
        holds(&read, generation + 1);
    }
}

#[test]
fn a_checkpoint_cut_short_opens_as_the_old_one_and_as_the_new_one_when_its_meta_file_is_there() {
    for (step, expected) in [(Step::Pages, 1), (Step::Meta, 2)] {
        let dir = tempfile::tempdir().unwrap();
        let mut file = fresh(dir.path());
        fill(&mut file, 0);
        file.checkpoint(at(1), Vec::new()).unwrap();
        fill(&mut file, 1);
        let job = file.start_checkpoint(at(2), Vec::new()).unwrap();
        job.run_until(step);
        drop(file);
        let (mut read, offset, _) = ready(dir.path());
        assert_eq!(offset, expected, "{step:?}");
        holds(&read, expected as u32);
        // And goes on from there.
        fill(&mut read, 1);
        fill(&mut read, 2);
        read.checkpoint(at(3), Vec::new()).unwrap();
        holds(&ready(dir.path()).0, 3);
    }
}

#[test]
fn torn_pages_of_a_checkpoint_that_was_cut_short_are_nobodys() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = fresh(dir.path());
    // The third one writes where the first one's pages were.
    for generation in 0..2 {
        fill(&mut file, generation);
        file.checkpoint(at(u64::from(generation)), Vec::new())
            .unwrap();
    }
    let path = dir.path().join("memory.base");
    let before = fs::read(&path).unwrap();
    fill(&mut file, 2);
    file.start_checkpoint(at(2), Vec::new())
        .unwrap()
        .run_until(Step::Pages);
    let after = fs::read(&path).unwrap();
    assert_ne!(before, after[..before.len()], "places are used again");
    for cut in (0..before.len()).step_by(before.len() / 40 + 1) {
        let torn = [&after[..cut], &before[cut..]].concat();
        fs::write(&path, torn).unwrap();
        let (read, offset, _) = ready(dir.path());
        assert_eq!(offset, 1, "cut at {cut}");
        holds(&read, 2);
    }
}

#[test]
fn a_checkpoint_that_fails_early_takes_no_places() {
    let dir = tempfile::tempdir().unwrap();
    let size = || fs::metadata(dir.path().join("memory.base")).unwrap().len();
    let mut file = fresh(dir.path());
    fill(&mut file, 0);
    file.checkpoint(at(1), Vec::new()).unwrap();
    // The new meta file cannot be made.
    let new = dir.path().join("memory.meta-new");
    fs::create_dir(&new).unwrap();
    let mut sizes = Vec::new();
    for generation in 1..4 {
        fill(&mut file, generation);
        assert!(file.checkpoint(at(2), Vec::new()).is_err());
        sizes.push(size());
    }
    assert!(sizes.iter().all(|it| *it == sizes[0]), "{sizes:?}");
    holds(&ready(dir.path()).0, 1);
    fs::remove_dir(&new).unwrap();
    file.checkpoint(at(3), Vec::new()).unwrap();
    holds(&ready(dir.path()).0, 4);
}

/// Nobody knows which meta file a power cut leaves then: both must stay right.
#[test]
fn what_a_failed_checkpoint_wrote_is_not_written_over_while_it_may_count() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let mut file = fresh(dir.path());
    fill(&mut file, 0);
    file.checkpoint(at(1), Vec::new()).unwrap();
    let old = fs::read(path("memory.meta")).unwrap();
    fill(&mut file, 1);
    let job = file.start_checkpoint(at(2), Vec::new()).unwrap();
    assert!(file.end_checkpoint(job.run_until(Step::Renamed)).is_err());
    let new = fs::read(path("memory.meta")).unwrap();
    assert_ne!(old, new);
    fill(&mut file, 2);
    let job = file.start_checkpoint(at(3), Vec::new()).unwrap();
    file.end_checkpoint(job.run_until(Step::Pages)).unwrap();
    for (meta, generations) in [(old, 1), (new, 2)] {
        fs::write(path("memory.meta"), meta).unwrap();
        holds(&ready(dir.path()).0, generations);
    }
}

#[test]
fn places_of_a_failed_checkpoint_are_free_once_another_one_has_come_through() {
    let dir = tempfile::tempdir().unwrap();
    let size = || fs::metadata(dir.path().join("memory.base")).unwrap().len();
    let mut file = fresh(dir.path());
    fill(&mut file, 0);
    file.checkpoint(at(1), Vec::new()).unwrap();
    let first = size();
    fill(&mut file, 1);
    let job = file.start_checkpoint(at(2), Vec::new()).unwrap();
    assert!(file.end_checkpoint(job.run_until(Step::Renamed)).is_err());
    let failed = size();
    file.checkpoint(at(3), Vec::new()).unwrap();
    let all = size();
    assert!(first < failed);
    assert_eq!(all - failed, failed - first, "old, doubtful and new");
    // More than the places of the old ones.
    fill(&mut file, 2);
    for number in 40_000..60_000 {
        CELLS.set(&mut file, number, [1, 1]);
    }
    file.checkpoint(at(4), Vec::new()).unwrap();
    assert_eq!(size(), all);
    assert_eq!(CELLS.get(&ready(dir.path()).0, 59_999), [1, 1]);
}

#[test]
fn a_meta_file_of_before_that_names_a_place_per_chunk_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = fresh(dir.path());
    fill(&mut file, 0);
    file.checkpoint(at(1), Vec::new()).unwrap();
    // The first checkpoint lays chunk after chunk, as they were laid before. The first place is free.
    let base = fs::read(dir.path().join("memory.base")).unwrap();
    let base = [vec![0xEE; 65_536], base].concat();
    fs::write(dir.path().join("memory.base"), &base).unwrap();
    let chunks = (0..5).map(|chunk| (0u32, chunk)).chain([(1, 0)]);
    let mut meta = b"trbmeta1".to_vec();
    meta.extend(7u64.to_le_bytes());
    meta.extend(1u16.to_le_bytes());
    meta.extend(42u64.to_le_bytes());
    // Three bytes of the owner's, seven places of which one is free.
    for bytes in [&3u32.to_le_bytes()[..], b"own", &7u32.to_le_bytes()] {
        meta.extend(bytes);
    }
    for number in [1u32, 0, 6] {
        meta.extend(number.to_le_bytes());
    }
    for (slot, (section, chunk)) in (1u32..).zip(chunks) {
        for number in [section, chunk, slot] {
            meta.extend(number.to_le_bytes());
        }
        for page in base[slot as usize * 65_536..][..65_536].chunks(4_096) {
            meta.extend(crc32c::crc32c(page).to_le_bytes());
        }
    }
    let crc = crc32c::crc32c(&meta);
    meta.extend(crc.to_le_bytes());
    fs::write(dir.path().join("memory.meta"), meta).unwrap();
    let (mut read, offset, blob) = ready(dir.path());
    assert_eq!((offset, blob), (42, b"own".to_vec()));
    holds(&read, 1);
    fill(&mut read, 1);
    read.checkpoint(at(43), Vec::new()).unwrap();
    holds(&ready(dir.path()).0, 2);
    let after = fs::read(dir.path().join("memory.base")).unwrap();
    assert_ne!(after[..65_536], base[..65_536], "what was free is used");
}

#[test]
fn a_damaged_page_or_meta_is_found_at_open_and_the_next_checkpoint_heals() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = fresh(dir.path());
    fill(&mut file, 0);
    file.checkpoint(at(1), Vec::new()).unwrap();
    for name in ["memory.base", "memory.meta"] {
        let path = dir.path().join(name);
        let good = fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(good.len() / 50 + 1) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            fs::write(&path, &bad).unwrap();
            assert!(
                matches!(open(dir.path()), Opened::Damaged { .. }),
                "{name} byte {at}"
            );
        }
        fs::write(&path, &good[..good.len() / 2]).unwrap();
        assert!(matches!(open(dir.path()), Opened::Damaged { .. }));
        fs::write(&path, &good).unwrap();
    }
    fs::write(dir.path().join("memory.base"), b"short").unwrap();
    let Opened::Damaged { mut file, .. } = open(dir.path()) else {
        panic!("expected damage");
    };
    fill(&mut file, 0);
    fill(&mut file, 1);
    file.checkpoint(at(9), Vec::new()).unwrap();
    let (read, offset, _) = ready(dir.path());
    assert_eq!(offset, 9);
    holds(&read, 2);
}

#[test]
fn deciding_goes_on_while_a_checkpoint_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = fresh(dir.path());
    fill(&mut file, 0);
    let job = file.start_checkpoint(at(1), Vec::new()).unwrap();
    assert!(file.start_checkpoint(at(1), Vec::new()).is_none());
    fill(&mut file, 1);
    file.end_checkpoint(job.run()).unwrap();
    holds(&ready(dir.path()).0, 1);
    file.checkpoint(at(2), Vec::new()).unwrap();
    holds(&ready(dir.path()).0, 2);
}

#[test]
fn a_failed_checkpoint_is_written_by_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("data");
    let mut file = fresh(&home);
    fill(&mut file, 0);
    file.checkpoint(at(1), Vec::new()).unwrap();
    fill(&mut file, 1);
    fs::rename(&home, dir.path().join("away")).unwrap();
    assert!(file.checkpoint(at(2), Vec::new()).is_err());
    fs::rename(dir.path().join("away"), &home).unwrap();
    file.checkpoint(at(3), Vec::new()).unwrap();
    let (read, offset, _) = ready(&home);
    assert_eq!(offset, 3);
    holds(&read, 2);
}

#[test]
fn the_base_file_is_at_most_twice_as_large_as_the_memory() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = fresh(dir.path());
    fill(&mut file, 0);
    file.checkpoint(at(1), Vec::new()).unwrap();
    let size = || fs::metadata(dir.path().join("memory.base")).unwrap().len();
    let all = size();
    assert_eq!(all, file.bytes());
    for round in 2..6 {
        file.clear(0);
        fill(&mut file, 0);
        file.checkpoint(at(round), Vec::new()).unwrap();
        assert!(size() <= 2 * all);
    }
    holds(&ready(dir.path()).0, 1);
    file.clear(0);
    file.checkpoint(at(9), Vec::new()).unwrap();
    let (read, ..) = ready(dir.path());
    assert_eq!(CELLS.get(&read, 0), [0, 0]);
    assert_eq!(OTHER.get(&read, 7), [0; 4]);
}

/// A machine that takes the place of another one opens the files while that one's checkpoint is still to be written.
#[test]
fn who_opens_while_a_checkpoint_is_written_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = fresh(dir.path());
    fill(&mut file, 0);
    file.checkpoint(at(1), Vec::new()).unwrap();
    fill(&mut file, 1);
    let job = file.start_checkpoint(at(2), Vec::new()).unwrap();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| ready(dir.path()));
        file.end_checkpoint(job.run()).unwrap();
        let (file, offset, _) = other.join().unwrap();
        assert_eq!(offset, 2, "whatever the threads did first");
        holds(&file, 2);
    });
}
