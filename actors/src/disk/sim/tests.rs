use std::path::Path;

use super::*;
use crate::disk::{is_full, read_whole, replace, write_all_at};

const FILE: &str = "/d/f";

fn disk_with_file() -> (SimDisk, Arc<dyn DiskFile>) {
    let disk = SimDisk::new();
    disk.create_dir(Path::new("/d")).unwrap();
    let file = disk.create(Path::new(FILE)).unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    (disk, file)
}

#[test]
fn synced_bytes_survive_every_cut_and_others_come_in_sectors() {
    let (disk, file) = disk_with_file();
    write_all_at(&*file, &[1; 1000], 0).unwrap();
    file.sync_data().unwrap();
    write_all_at(&*file, &[2; 3000], 1000).unwrap();
    let mut shapes = BTreeSet::new();
    for seed in 0..300 {
        let found = disk.power_cut(seed).content(Path::new(FILE)).unwrap();
        assert_eq!(found[..1000], [1; 1000], "seed {seed}");
        for sector in found.get(1024..).unwrap_or_default().chunks(512) {
            assert!(
                sector.iter().all(|b| *b == sector[0]),
                "seed {seed}: a sector is whole or not there"
            );
        }
        shapes.insert(found);
    }
    assert!(shapes.len() > 30, "cuts differ: {}", shapes.len());
    assert_eq!(
        disk.power_cut(5).content(Path::new(FILE)),
        disk.power_cut(5).content(Path::new(FILE)),
        "the same seed finds the same bytes"
    );
}

#[test]
fn a_name_survives_once_its_folder_is_synced() {
    let (disk, _) = disk_with_file();
    let other = disk.create(Path::new("/d/g")).unwrap();
    write_all_at(&*other, b"x", 0).unwrap();
    other.sync_data().unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..50 {
        seen.insert(disk.power_cut(seed).files().len());
    }
    assert_eq!(seen, BTreeSet::from([1, 2]));
    disk.sync_dir(Path::new("/d")).unwrap();
    for seed in 0..50 {
        assert_eq!(disk.power_cut(seed).files().len(), 2);
    }
}

#[test]
fn replace_leaves_the_old_or_the_new() {
    let (disk, _) = disk_with_file();
    replace(&disk, Path::new(FILE), b"old").unwrap();
    let before = disk.stats().operations;
    for at in 0..6 {
        for seed in 0..20 {
            let run = disk.copy();
            let start = run.stats().operations;
            run.cut_before(start + at, seed);
            replace(&run, Path::new(FILE), b"newer").unwrap();
            let Some(found) = run.found() else { continue };
            let content = found.content(Path::new(FILE)).unwrap();
            assert!(content == b"old" || content == b"newer", "{content:?}");
        }
    }
    assert_eq!(disk.stats().operations, before);
}

#[test]
fn a_full_disk_takes_what_fits_and_recovers() {
    let (disk, file) = disk_with_file();
    disk.full_at(Some(10));
    assert_eq!(file.write_at(&[1; 8], 0).unwrap(), 8);
    assert_eq!(file.write_at(&[1; 8], 8).unwrap(), 2);
    assert!(is_full(&file.write_at(&[1; 8], 10).unwrap_err()));
    file.truncate(4).unwrap();
    assert_eq!(file.write_at(&[1; 8], 4).unwrap(), 6);
    disk.full_at(None);
    assert_eq!(file.write_at(&[1; 8], 10).unwrap(), 8);
}

#[test]
fn a_failed_sync_is_not_made_good_by_the_next() {
    let (disk, file) = disk_with_file();
    disk.fail_sync(1);
    write_all_at(&*file, &[1; 512], 0).unwrap();
    file.sync_data().unwrap();
    write_all_at(&*file, &[2; 5120], 512).unwrap();
    assert!(file.sync_data().is_err());
    assert_eq!(read_whole(&disk, Path::new(FILE)).unwrap().len(), 5632);
    file.sync_data().unwrap();
    let found = disk.power_cut(1).content(Path::new(FILE)).unwrap();
    assert_eq!(found[..512], [1; 512]);
    assert_ne!(found[512..], [2; 5120], "this seed lost something");
}

#[test]
fn an_unsynced_truncation_may_be_undone() {
    let (disk, file) = disk_with_file();
    write_all_at(&*file, &[1; 2000], 0).unwrap();
    file.sync_data().unwrap();
    file.truncate(100).unwrap();
    let lengths: BTreeSet<_> = (0..50)
        .map(|seed| disk.power_cut(seed).content(Path::new(FILE)).unwrap().len())
        .collect();
    assert_eq!(lengths, BTreeSet::from([100, 2000]));
}
