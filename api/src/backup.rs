//! Backups of the running platform as jobs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipelines::Platform;
use pipelines::backup::{self, Manifest, Watch};

use crate::app::Shared;
use crate::error::{ApiError, chain};
use crate::jobs::{JobView, Ticket};

/// Starts a backup named `name` in the configured folder. Its keys go beside it, apart.
pub fn start(shared: &Shared, name: &str) -> Result<JobView, ApiError> {
    let folder = shared.config.backup_dir.join(name);
    let target = folder.display().to_string();
    let started = shared.jobs.start("backup", target, shared.now());
    let (id, ticket) = started.map_err(|running| {
        ApiError::new("job_running", format!("backup {running} is still running"))
    })?;
    let owner = shared.clone();
    let keys = keys_beside(&folder);
    // A thread of its own: hours of copying must not hold a place of the short calls.
    let spawned = std::thread::Builder::new()
        .name("backup".into())
        .spawn(move || {
            let taken = take(owner.platform(), &folder, &keys, &Progress(ticket));
            let result = match taken {
                Ok(manifest) => Ok(format!("{} files", manifest.files.len())),
                Err(error) => Err(chain(&error)),
            };
            if let Err(error) = &result {
                tracing::error!(error, "backup failed");
            }
            owner.jobs.end(id, result, owner.now());
        });
    if let Err(error) = spawned {
        let message = format!("cannot start a thread: {error}");
        shared.jobs.end(id, Err(message.clone()), shared.now());
        return Err(ApiError::new("unavailable", message));
    }
    shared
        .jobs
        .get(id)
        .ok_or_else(|| ApiError::not_found("job"))
}

/// Where the keys of a backup go when nobody says: beside it, so that they can be kept elsewhere.
pub fn keys_beside(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push("-keys");
    folder.with_file_name(name)
}

/// Takes a backup; blocks its thread.
pub fn take(
    platform: &Arc<Platform>,
    folder: &Path,
    keys: &Path,
    watch: &dyn Watch,
) -> Result<Manifest, backup::BackupError> {
    let registry = platform.registry().clone();
    let copy = |to: &Path| -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let copied = runtime.block_on(registry.backup(to));
        copied.map_err(|error| error.to_string())
    };
    backup::backup(platform, folder, keys, copy, watch)
}

/// A job's ticket as the backup's watch.
struct Progress(Ticket);

impl Watch for Progress {
    fn copied(&self, bytes: u64, _: &str) {
        self.0.progress(bytes, 0);
    }
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}
