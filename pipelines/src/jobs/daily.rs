//! A backup every day: which name it has, whether it is due, which old ones go.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use actors::model::Time;
use jiff::tz::TimeZone;

use crate::backup::Manifest;

/// Front of the names of backups that are taken by themselves.
const FRONT: &str = "daily-";
/// Hour of the installation's day from which on a backup is due: when shops sleep.
const HOUR: i8 = 3;

/// The name of today's backup, if it is due: its hour has come and there is none of today.
pub fn due(folder: &Path, zone: &TimeZone, now: Time) -> Option<String> {
    let at = jiff::Timestamp::from_millisecond(now.0).ok()?;
    let local = at.to_zoned(zone.clone());
    let name = format!("{FRONT}{}", local.date());
    (local.hour() >= HOUR && !folder.join(&name).exists()).then_some(name)
}

/// When the newest complete backup of a folder was taken, by whomever.
pub fn newest(folder: &Path) -> Option<Time> {
    let taken = complete(folder).into_iter().filter_map(|path| {
        let text = fs::read(path.join("manifest.json")).ok()?;
        let manifest: Manifest = serde_json::from_slice(&text).ok()?;
        Time::from_rfc3339(&manifest.taken)
    });
    taken.max()
}

/// Daily backups beyond the newest `keep`, each with its keys: to be removed. 0 keeps all.
pub fn superfluous(folder: &Path, keep: usize) -> Vec<PathBuf> {
    let mut daily: Vec<PathBuf> = complete(folder)
        .into_iter()
        .filter(|path| name(path).is_some_and(|name| name.starts_with(FRONT)))
        .collect();
    // Names sort by date.
    daily.sort();
    match keep {
        0 => Vec::new(),
        keep => {
            daily.truncate(daily.len().saturating_sub(keep));
            daily
        }
    }
}

/// Removes a backup and its keys, the manifest first: what is left of a removal that breaks off is no backup.
pub fn remove(backup: &Path, keys: &Path) -> io::Result<()> {
    fs::remove_file(backup.join("manifest.json"))?;
    if keys.is_dir() {
        fs::remove_dir_all(keys)?;
    }
    fs::remove_dir_all(backup)
}

/// Backups that were written to their end: the manifest comes last.
fn complete(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let folders = entries.filter_map(|entry| Some(entry.ok()?.path()));
    folders
        .filter(|path| path.join("manifest.json").is_file())
        .collect()
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(folder: &Path, name: &str, taken: &str) {
        let backup = folder.join(name);
        fs::create_dir_all(&backup).unwrap();
        fs::create_dir_all(folder.join(format!("{name}-keys"))).unwrap();
        let manifest =
            serde_json::json!({"form": 1, "program": "0", "taken": taken, "rows": 0, "files": {}});
        fs::write(backup.join("manifest.json"), manifest.to_string()).unwrap();
    }

    #[test]
    fn one_is_due_each_day_and_old_ones_go_with_their_keys() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        let at = |text| Time::from_rfc3339(text).unwrap();
        assert_eq!(
            due(folder, &zone, at("2026-06-10T18:59:00Z")),
            None,
            "too early"
        );
        let name = due(folder, &zone, at("2026-06-10T19:00:00Z")).unwrap();
        assert_eq!(name, "daily-2026-06-11");
        assert_eq!(newest(folder), None);
        for day in ["09", "10", "11"] {
            put(
                folder,
                &format!("daily-2026-06-{day}"),
                &format!("2026-06-{day}T03:00:00Z"),
            );
        }
        put(folder, "monday", "2026-06-12T00:00:00Z");
        fs::create_dir(folder.join("daily-2026-06-08")).unwrap();
        assert_eq!(due(folder, &zone, at("2026-06-11T10:00:00Z")), None);
        assert_eq!(newest(folder), Some(at("2026-06-12T00:00:00Z")));
        let old = superfluous(folder, 2);
        assert_eq!(old, [folder.join("daily-2026-06-09")]);
        assert!(superfluous(folder, 0).is_empty());
        remove(&old[0], &folder.join("daily-2026-06-09-keys")).unwrap();
        assert!(!folder.join("daily-2026-06-09").exists());
        assert!(!folder.join("daily-2026-06-09-keys").exists());
        assert!(superfluous(folder, 2).is_empty());
    }
}
