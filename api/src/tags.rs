//! The thread that computes tags when somebody asks, one after the other.
//!
//! A job that a stop or a crash interrupted begins again after the next start: computing twice changes nothing.

use std::thread::JoinHandle;
use std::time::Duration;

use actors::model::TagId;
use pipelines::audience::{AudienceError, Sees};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use crate::app::Shared;
use crate::error::chain;
use crate::jobs::Taken;

/// What these jobs are called.
pub const KIND: &str = "tag_compute";

/// How often to look how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long the audience may take to look at definitions before it is asked again, and a stop is noticed.
const LOOKED_MAX: Duration = Duration::from_secs(1);

/// How long members may take to hear of their values once these are computed: telling ten million takes minutes.
const TOLD_MAX: Duration = Duration::from_secs(3_600);

/// What is to be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// The tag's number.
    pub tag: u32,
}

/// Starts the thread. It ends when [`crate::jobs::Jobs::stop`] is called.
pub fn start(shared: Shared) -> std::io::Result<JoinHandle<()>> {
    let runtime = Handle::current();
    std::thread::Builder::new()
        .name("tag-compute".into())
        .spawn(move || {
            while let Some(taken) = shared.jobs.take(KIND) {
                // `None`: the process stops, and it goes on after the next start.
                if let Some(result) = compute(&shared, &runtime, &taken) {
                    shared.jobs.end(taken.id, result, shared.now());
                }
            }
        })
}

fn compute(shared: &Shared, runtime: &Handle, taken: &Taken) -> Option<Result<String, String>> {
    let Ok(Detail { tag }) = serde_json::from_value(taken.detail.clone()) else {
        return Some(Err("the job does not say which tag".to_owned()));
    };
    let (tag, audience) = (TagId(tag), shared.audience());
    // What was acknowledged before somebody asked counts, also while deciding lags behind.
    let mut unseen = shared.platform().newest_writes();
    let mut begun = false;
    loop {
        if taken.ticket.cancelled() {
            audience.tag_cancel(tag);
            return Some(Err("cancelled: members keep what they had".to_owned()));
        }
        if shared.jobs.stopping() {
            return None;
        }
        if let Some(token) = unseen.last() {
            if runtime
                .block_on(shared.platform().wait(*token, LOOKED_MAX))
                .is_ok()
            {
                unseen.pop();
            }
            continue;
        }
        let state = match begun {
            // It may be younger than what the audience has seen of definitions.
            false if !runtime.block_on(audience.looked(LOOKED_MAX)) => continue,
            false => audience.tag_compute(tag).map(|()| None),
            true => audience.tag(tag).map(Some),
        };
        match state {
            Ok(None) => begun = true,
            Ok(Some(now)) if now.building.is_none() && now.broken_off => {
                let what = "the history that its rules ask about was not read to the end: members keep what they had";
                return Some(Err(what.to_owned()));
            }
            Ok(Some(now)) if now.building.is_none() => break,
            Ok(Some(now)) => {
                let (done, of) = now.progress.unwrap_or_default();
                taken.ticket.progress(done, of);
            }
            // After a start, until it is loaded.
            Err(AudienceError::Loading { .. }) => {}
            Err(error) => return Some(Err(chain(&error))),
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
    let told = async {
        tokio::select! {
            told = audience.wait(Sees::Memberships, TOLD_MAX) => told.map_err(|error| chain(&error)),
            () = cancelled(shared, taken) => Ok(()),
        }
    };
    Some(runtime.block_on(told).map(|()| "computed".to_owned()))
}

/// Waits until nobody needs the job any more.
async fn cancelled(shared: &Shared, taken: &Taken) {
    while !taken.ticket.cancelled() && !shared.jobs.stopping() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
