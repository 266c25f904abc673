//! What `/metrics` says of the lake: every applied event is in it, once.

use crate::{Sandbox, wait};

/// A gauge of `/metrics`.
fn gauge(text: &str, name: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse::<f64>().ok().map(|value| value as u64)
}

/// Waits until the lake has read all results; answers its events and files.
pub fn caught_up(sandbox: &Sandbox) -> (u64, u64) {
    wait::until("the lake to have read all results", || {
        let text = sandbox.http().get("/metrics").ok("the metrics").text();
        let lag = gauge(&text, "tributary_lake_lag_results")?;
        let events = gauge(&text, "tributary_lake_events")?;
        let files = gauge(&text, "tributary_lake_files")?;
        (lag == 0).then_some((events, files))
    })
}

/// Every event that was applied is in the lake, once.
pub fn check(sandbox: &Sandbox) {
    let stats = sandbox.stats();
    let (events, _) = caught_up(sandbox);
    assert_eq!(
        stats["applied"].as_u64(),
        Some(events),
        "events in the lake"
    );
}
