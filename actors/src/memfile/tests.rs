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
fn a_checkpoint_cut_short_at_any_step_opens_as_the_old_or_the_new_one() {
    for step in [Step::Journal, Step::Base, Step::Meta, Step::Done] {
        let dir = tempfile::tempdir().unwrap();
        let mut file = fresh(dir.path());
        fill(&mut file, 0);
        file.checkpoint(at(1), Vec::new()).unwrap();
        fill(&mut file, 1);
        let job = file.start_checkpoint(at(2), Vec::new()).unwrap();
        job.run_until(step);
        drop(file);
        // The journal is complete from the first step on, so all of these are the new one, twice.
        for _ in 0..2 {
            let (read, offset, _) = ready(dir.path());
            assert_eq!(offset, 2, "{step:?}");
            holds(&read, 2);
        }
    }
}

#[test]
fn a_torn_journal_is_ignored_and_a_torn_base_is_repaired_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = fresh(dir.path());
    fill(&mut file, 0);
    file.checkpoint(at(1), Vec::new()).unwrap();
    fill(&mut file, 1);
    file.start_checkpoint(at(2), Vec::new())
        .unwrap()
        .run_until(Step::Journal);
    let journal = fs::read(dir.path().join("memory.journal")).unwrap();
    let base = fs::read(dir.path().join("memory.base")).unwrap();
    let meta = fs::read(dir.path().join("memory.meta")).unwrap();
    let restore = |journal: &[u8], base: &[u8]| {
        fs::write(dir.path().join("memory.journal"), journal).unwrap();
        fs::write(dir.path().join("memory.base"), base).unwrap();
        fs::write(dir.path().join("memory.meta"), &meta).unwrap();
    };
    for cut in (0..journal.len()).step_by(journal.len() / 40 + 1) {
        restore(&journal[..cut], &base);
        let (read, offset, _) = ready(dir.path());
        assert_eq!(offset, 1, "journal cut at {cut}");
        holds(&read, 1);
        let mut flipped = journal.clone();
        flipped[cut] ^= 4;
        restore(&flipped, &base);
        assert_eq!(ready(dir.path()).1, 1, "journal flipped at {cut}");
    }
    for cut in (0..base.len()).step_by(base.len() / 40 + 1) {
        let mut torn = base.clone();
        torn[cut..].fill(0xEE);
        // Pages outside the journal stay as they were: only those that the journal writes may be torn.
        let mut file = restore_pages(&journal, &base, &torn);
        file.truncate(base.len());
        restore(&journal, &file);
        let (read, offset, _) = ready(dir.path());
        assert_eq!(offset, 2, "base torn at {cut}");
        holds(&read, 2);
    }
}

/// `base` with those pages that the journal holds taken from `torn`.
fn restore_pages(journal: &[u8], base: &[u8], torn: &[u8]) -> Vec<u8> {
    let meta_len = u32::from_le_bytes(journal[8..12].try_into().unwrap()) as usize;
    let mut mixed = base.to_vec();
    for page in journal[20 + meta_len..journal.len() - 4].chunks_exact(8 + 4096) {
        let start = u64::from_le_bytes(page[..8].try_into().unwrap()) as usize * 4096;
        if let Some(to) = mixed.get_mut(start..start + 4096) {
            to.copy_from_slice(&torn[start..start + 4096]);
        }
    }
    mixed
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
fn a_cleared_section_gives_its_place_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = fresh(dir.path());
    fill(&mut file, 0);
    file.checkpoint(at(1), Vec::new()).unwrap();
    let size = fs::metadata(dir.path().join("memory.base")).unwrap().len();
    for round in 2..6 {
        file.clear(0);
        fill(&mut file, 0);
        file.checkpoint(at(round), Vec::new()).unwrap();
    }
    holds(&ready(dir.path()).0, 1);
    file.clear(0);
    file.checkpoint(at(9), Vec::new()).unwrap();
    let (read, ..) = ready(dir.path());
    assert_eq!(CELLS.get(&read, 0), [0, 0]);
    assert_eq!(OTHER.get(&read, 7), [0; 4]);
    assert_eq!(
        fs::metadata(dir.path().join("memory.base")).unwrap().len(),
        size
    );
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
