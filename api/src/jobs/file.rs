//! The files of jobs: `ID.json` with its state, beside a folder `ID` of its own, if it has one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::JobView;

/// What is kept of a job.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    pub view: JobView,
    #[serde(default)]
    pub detail: Value,
}

/// All jobs of a folder, the oldest first. A file that does not read is left alone and said.
pub(super) fn read_all(folder: &Path) -> Vec<Kept> {
    let mut jobs = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|end| end != "json") {
            continue;
        }
        let read = fs::read(&path)
            .and_then(|text| serde_json::from_slice::<Kept>(&text).map_err(io::Error::other));
        match read {
            Ok(kept) => jobs.push(kept),
            Err(error) => {
                tracing::warn!(%error, file = %path.display(), "a job's file does not read");
            }
        }
    }
    jobs.sort_by_key(|kept| kept.view.id);
    jobs
}

/// Writes a job's file; durable when it returns.
pub(super) fn write(folder: &Path, view: &JobView, detail: &Value) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let kept = Kept {
        view: view.clone(),
        detail: detail.clone(),
    };
    let text = serde_json::to_vec(&kept).map_err(io::Error::other)?;
    let path = folder.join(format!("{}.json", view.id));
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    File::open(folder)?.sync_all()
}

/// Removes a job's file and folder.
pub(super) fn remove(folder: &Path, id: u64) {
    let path = folder.join(format!("{id}.json"));
    if let Err(error) = fs::remove_file(&path) {
        tracing::warn!(%error, file = %path.display(), "a job's file cannot be removed");
    }
    // Most jobs have none.
    let _ = fs::remove_dir_all(folder.join(id.to_string()));
}
