//! The loop that asks housekeeping jobs what is due, and records what they did.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pipelines::Platform;
use pipelines::jobs::day_keys::{DayKeys, World};
use pipelines::jobs::{EVERY, Ran, archive, daily};
use tokio::sync::watch;

use crate::app::Shared;
use crate::error::chain;
use crate::{export, import};

/// A job that waits says so this often.
const REMIND_EVERY: Duration = Duration::from_secs(6 * 3_600);

/// Asks until `stopped` says so.
pub async fn run(shared: Shared, mut stopped: watch::Receiver<bool>) {
    let started = Instant::now();
    let mut reminded: Option<Instant> = None;
    let mut beat = tokio::time::interval(EVERY);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
        backup(&shared);
        let cleaned = shared.clone();
        // What is left is removed with the next beat.
        let _ = tokio::task::spawn_blocking(move || {
            export::worker::clean(&cleaned);
            import::worker::clean(&cleaned);
        })
        .await;
        let up = started.elapsed();
        if !shared.config.archive_dir.as_os_str().is_empty() {
            record(&shared, "archive", &mut None, |platform| {
                archive::run(platform).map_err(|error| chain(&error))
            })
            .await;
        }
        let config = shared.config.day_keys;
        let folder = shared.config.backup_dir.clone();
        record(&shared, "day_keys", &mut reminded, move |platform| {
            let world = World {
                now: platform.clock().now(),
                up,
                jumped: platform.node().timers_held(),
                backup: daily::newest(&folder),
            };
            keys(&config, platform, world)
        })
        .await;
    }
}

fn keys(config: &DayKeys, platform: &Platform, world: World) -> Result<Ran, String> {
    config.run(platform, world).map_err(|error| chain(&error))
}

/// Starts today's backup if it is due, and removes old ones.
fn backup(shared: &Shared) {
    let config = &shared.config;
    if !config.backup_daily {
        return;
    }
    let folder = &config.backup_dir;
    if let Some(name) = daily::due(folder, shared.platform().zone(), shared.now())
        && let Err(error) = crate::backup::start(shared, &name)
    {
        tracing::warn!(error = error.message(), "today's backup waits");
    }
    for old in daily::superfluous(folder, config.backups_kept) {
        match daily::remove(&old, &crate::backup::keys_beside(&old)) {
            Ok(()) => tracing::info!(backup = %old.display(), "old backup removed"),
            Err(error) => {
                tracing::error!(%error, backup = %old.display(), "old backup not removed");
            }
        }
    }
}

/// Runs a job where blocking is allowed. What it did is a job of the list; that it waits is said now and then.
async fn record(
    shared: &Shared,
    kind: &'static str,
    reminded: &mut Option<Instant>,
    job: impl FnOnce(&Platform) -> Result<Ran, String> + Send + 'static,
) {
    let platform: Arc<Platform> = shared.platform().clone();
    let begun = shared.now();
    let done = tokio::task::spawn_blocking(move || job(&platform)).await;
    let result = match done {
        Ok(Ok(Ran::Nothing)) => return,
        Ok(Ok(Ran::Did(what))) => {
            tracing::info!(job = kind, what, "housekeeping");
            Ok(what)
        }
        Ok(Ok(Ran::Waits(why))) => {
            if reminded.is_some_and(|at| at.elapsed() < REMIND_EVERY) {
                return;
            }
            *reminded = Some(Instant::now());
            tracing::warn!(job = kind, why, "housekeeping waits");
            Err(why)
        }
        Ok(Err(error)) => {
            tracing::error!(job = kind, error, "housekeeping failed");
            Err(error)
        }
        Err(error) => Err(error.to_string()),
    };
    if let Ok((id, _)) = shared.jobs.start(kind, "housekeeping".into(), begun) {
        shared.jobs.end(id, result, shared.now());
    }
}
