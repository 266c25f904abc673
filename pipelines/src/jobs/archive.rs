//! Sealed segments of the logs go to the archive; here they go away once nobody needs them at a start.

use actors::log::Log;
use actors::log::segment::SegmentLog;
use actors::model::{Offset, PartitionId, Unit};
use actors::runtime::feed::RESULTS;

use super::Ran;
use crate::platform::{Platform, PlatformError};

/// Sealed segments that stay here besides what caches need: the last half gigabyte is read often.
pub const HOT_SEGMENTS_KEPT: usize = 8;

/// Archives what is sealed.
pub fn run(platform: &Platform) -> Result<Ran, PlatformError> {
    let (raw, results) = platform.logs();
    let consumed = platform.units().remove(&Unit::IDENTITY);
    let consumed = consumed.map(|unit| unit.consumed).unwrap_or_default();
    let mut done = [0; 3];
    for partition in (0..raw.partitions()).map(PartitionId) {
        // What identity has consumed in the store's state: behind it a start reads nothing but what it is asked for.
        let below = match platform.durable() >= results.end(RESULTS) {
            true => consumed.get(&partition).copied().unwrap_or_default(),
            // Behind with storing: copy, and keep all of it here for now.
            false => Offset(0),
        };
        add(&mut done, raw, partition, below)?;
    }
    add(&mut done, results, RESULTS, platform.durable())?;
    let [copied, bytes, removed] = done;
    Ok(match (copied, removed) {
        (0, 0) => Ran::Nothing,
        _ => Ran::Did(format!(
            "{copied} segments ({bytes} bytes) copied, {removed} removed here"
        )),
    })
}

fn add(
    done: &mut [u64; 3],
    log: &SegmentLog,
    partition: PartitionId,
    below: Offset,
) -> Result<(), PlatformError> {
    let archived = log.archive_below(partition, HOT_SEGMENTS_KEPT, below);
    let archived = archived.map_err(actors::runtime::feed::FeedError::from)?;
    done[0] += archived.copied;
    done[1] += archived.bytes;
    done[2] += archived.removed;
    Ok(())
}
