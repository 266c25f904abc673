use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::seal::day_of;

const NOON: Time = Time(20_000 * 86_400_000 + 43_200_000);

fn ring(folder: &Path) -> KeyRing {
    KeyRing::open(&folder.join("keys")).unwrap()
}

fn seal_fragment(ring: &KeyRing, fragment: u32, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    ring.seal_fragment(IdentNo(fragment), plain, &mut out)
        .unwrap();
    out
}

fn seal_day(ring: &KeyRing, now: Time, plain: &[u8]) -> Vec<u8> {
    let mut out = b"before".to_vec();
    ring.seal_day(now, plain, &mut out).unwrap();
    out.split_off(6)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push(path);
        }
    }
    all
}

#[test]
fn what_is_sealed_opens_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = ring(folder.path());
    let fingerprint = first.fingerprint_key();
    let day = seal_day(&first, NOON, b"raw");
    let fragments: Vec<_> = [0, 1, 4095, 4096, 1_000_000, u32::MAX]
        .map(|no| {
            (
                no,
                seal_fragment(&first, no, format!("person {no}").as_bytes()),
            )
        })
        .into();
    drop(first);

    let again = ring(folder.path());
    assert_eq!(again.fingerprint_key(), fingerprint);
    assert_eq!(again.open_day(&day).unwrap().unwrap(), b"raw");
    for (no, sealed) in fragments {
        let plain = again.open_fragment(IdentNo(no), &sealed).unwrap().unwrap();
        assert_eq!(plain, format!("person {no}").as_bytes());
    }
}

#[test]
fn equal_content_never_seals_to_equal_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let ring = ring(folder.path());
    assert_ne!(seal_fragment(&ring, 1, b"x"), seal_fragment(&ring, 1, b"x"));
    assert_ne!(seal_day(&ring, NOON, b"x"), seal_day(&ring, NOON, b"x"));
}

#[test]
fn a_flipped_bit_anywhere_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let ring = ring(folder.path());
    let sealed = seal_fragment(&ring, 7, b"a person");
    for at in 0..sealed.len() {
        let mut bad = sealed.clone();
        bad[at] ^= 1;
        let opened = ring.open_fragment(IdentNo(7), &bad);
        assert!(matches!(opened, Err(SealError::Damaged)), "byte {at}");
    }
    assert!(
        ring.open_fragment(IdentNo(8), &sealed).is_err(),
        "another fragment's key"
    );
    assert!(ring.open_fragment(IdentNo(7), &sealed[..5]).is_err());
    assert!(ring.open_day(b"").is_err());
    let other_home = tempfile::tempdir().unwrap();
    let other = self::ring(other_home.path());
    seal_fragment(&other, 7, b"");
    assert!(
        other.open_fragment(IdentNo(7), &sealed).is_err(),
        "another installation"
    );
}

#[test]
fn destroyed_days_read_as_gone_and_lost_ones_as_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let first = ring(folder.path());
    let day = day_of(NOON);
    let old = seal_day(&first, NOON, b"old");
    let new = seal_day(&first, NOON.plus_ms(86_400_000), b"new");
    assert_eq!(first.destroy_days_before(day + 1).unwrap(), 1);
    assert_eq!(first.destroy_days_before(day + 1).unwrap(), 0, "idempotent");
    assert_eq!(first.open_day(&old).unwrap(), None);
    assert_eq!(first.open_day(&new).unwrap().unwrap(), b"new");

    // A clock set back seals with the first day that is left, so that the record stays readable.
    let late = seal_day(&first, NOON, b"late");
    assert_eq!(first.open_day(&late).unwrap().unwrap(), b"late");
    drop(first);

    let again = ring(folder.path());
    assert_eq!(again.open_day(&old).unwrap(), None);
    drop(again);
    fs::remove_file(folder.path().join(format!("keys/day/{}.key", day + 1))).unwrap();
    let again = ring(folder.path());
    assert!(matches!(again.open_day(&new), Err(SealError::Io { .. })));
}

#[test]
fn an_erase_leaves_no_salt_on_disk_and_touches_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let ring = ring(folder.path());
    let erased = [3u32, 4, 4097];
    let kept = [2u32, 5, 4098];
    let sealed: Vec<_> = erased
        .iter()
        .chain(&kept)
        .map(|no| (*no, seal_fragment(&ring, *no, b"a person")))
        .collect();
    let salts: Vec<Salt> = erased
        .iter()
        .map(|no| {
            ring.shared
                .fragments
                .salt(IdentNo(*no), false)
                .unwrap()
                .unwrap()
        })
        .collect();

    assert_eq!(ring.erase_fragments(&erased.map(IdentNo)).unwrap(), 3);
    assert_eq!(
        ring.erase_fragments(&erased.map(IdentNo)).unwrap(),
        0,
        "idempotent"
    );

    for path in files(folder.path()) {
        let bytes = fs::read(&path).unwrap();
        for salt in &salts {
            let found = bytes.windows(SALT).any(|window| window == salt);
            assert!(!found, "{} holds an erased salt", path.display());
        }
    }
    for (no, sealed) in &sealed {
        let opened = ring.open_fragment(IdentNo(*no), sealed).unwrap();
        assert_eq!(opened.is_some(), kept.contains(no), "fragment {no}");
    }
    let late = seal_fragment(&ring, 3, b"late event of an erased person");
    assert!(late.is_empty());
    assert_eq!(ring.open_fragment(IdentNo(3), &late).unwrap(), None);
    // A fragment that never sealed anything stays unreadable too.
    ring.erase_fragments(&[IdentNo(900_000)]).unwrap();
    assert!(seal_fragment(&ring, 900_000, b"x").is_empty());
    let all = ring.erased_fragments().unwrap();
    assert_eq!(all, [3, 4, 4097, 900_000].map(IdentNo));
}

const SALT: usize = super::super::fragment::SALT_BYTES;

#[test]
fn damaged_or_missing_key_files_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let first = ring(folder.path());
    let sealed = seal_fragment(&first, 1, b"x");
    drop(first);
    let keys = folder.path().join("keys");

    for (name, at) in [
        ("installation.key", 5),
        ("fragment/0.keys", 40_000),
        ("fragment/0.keys", 9),
    ] {
        let path = keys.join(name);
        let whole = fs::read(&path).unwrap();
        let mut bad = whole.clone();
        bad[at] ^= 4;
        fs::write(&path, &bad).unwrap();
        let message = match KeyRing::open(&keys) {
            Err(error) => error.to_string(),
            Ok(ring) => ring
                .open_fragment(IdentNo(1), &sealed)
                .unwrap_err()
                .to_string(),
        };
        assert!(message.contains(name), "{message}");
        fs::write(&path, &whole).unwrap();
    }
    fs::remove_file(keys.join("fragment/0.keys")).unwrap();
    let ring = KeyRing::open(&keys).unwrap();
    assert!(matches!(
        ring.open_fragment(IdentNo(1), &sealed),
        Err(SealError::Io { .. })
    ));
    drop(ring);
    fs::remove_file(keys.join("installation.key")).unwrap();
    assert!(
        KeyRing::open(&keys).is_err(),
        "never a new installation key beside old ones"
    );
}

#[test]
fn few_maps_serve_many_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let fragments = Fragments::open(folder.path().join("f"), 4).unwrap();
    let numbers: Vec<IdentNo> = (0..20)
        .map(|block| IdentNo(block * BLOCK_SALTS + block))
        .collect();
    let salts: Vec<_> = numbers
        .iter()
        .map(|no| fragments.salt(*no, true).unwrap())
        .collect();
    for (no, salt) in numbers.iter().zip(&salts) {
        assert_eq!(fragments.salt(*no, false).unwrap(), *salt);
    }
}

#[test]
fn readers_never_see_a_neighbour_as_erased() {
    let folder = tempfile::tempdir().unwrap();
    let ring = ring(folder.path());
    let sealed = seal_fragment(&ring, 4000, b"kept");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for no in 0..100 {
                ring.erase_fragments(&[IdentNo(no)]).unwrap();
            }
        });
        for _ in 0..20_000 {
            assert!(
                ring.open_fragment(IdentNo(4000), &sealed)
                    .unwrap()
                    .is_some()
            );
        }
    });
}

/// Prints ns per operation: `cargo test -p actors --lib seal::ring -- bench --nocapture`.
#[test]
fn bench() {
    let folder = tempfile::tempdir().unwrap();
    let ring = ring(folder.path());
    let rounds: u32 = if cfg!(debug_assertions) {
        20_000
    } else {
        1_000_000
    };
    let plain = vec![7u8; 500];
    let mut out = Vec::with_capacity(600);
    let timed = |name: &str, work: &mut dyn FnMut(u32)| {
        let start = std::time::Instant::now();
        for round in 0..rounds {
            work(round);
        }
        let ns = start.elapsed().as_nanos() / u128::from(rounds);
        println!("{name}: {ns} ns");
    };
    // Numbers spread over 25 blocks, as fragments of members do.
    let number = |round: u32| IdentNo(round.wrapping_mul(2_654_435_761) % 100_000);
    for no in (0..100_000).step_by(BLOCK_SALTS as usize) {
        seal_fragment(&ring, no, b"");
    }
    timed("salt lookup", &mut |round| {
        ring.shared.fragments.salt(number(round), false).unwrap();
    });
    timed("derive fragment key", &mut |round| {
        std::hint::black_box(ring.shared.fragment_key(IdentNo(round), &[3; 16]));
    });
    timed("seal_fragment 500 B", &mut |round| {
        out.clear();
        ring.seal_fragment(number(round), &plain, &mut out).unwrap();
    });
    let sealed = seal_fragment(&ring, 5, &plain);
    timed("open_fragment 500 B", &mut |_| {
        ring.open_fragment(IdentNo(5), &sealed).unwrap();
    });
    timed("seal_day 500 B", &mut |_| {
        out.clear();
        ring.seal_day(NOON, &plain, &mut out).unwrap();
    });
    let sealed = seal_day(&ring, NOON, &plain);
    timed("open_day 500 B", &mut |_| {
        ring.open_day(&sealed).unwrap();
    });
}
