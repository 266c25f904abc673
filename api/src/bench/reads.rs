//! How long reads of single members take: their 360 views, and searches.

use std::time::Instant;

use crate::demo::DemoError;
use crate::demo::client::{Answer, Client, api_key};

use super::BenchError;
use super::child::ADMIN_KEY;
use super::table::Times;

/// Reads the 360 views of `ids` and searches for `words` (as they stand in an address) in turn, over one connection, until an
/// instant. Answers the times of both.
pub(super) async fn views_and_searches(
    client: &mut Client,
    ids: &[String],
    words: &[String],
    until: Instant,
) -> Result<(Times, Times), BenchError> {
    let (mut views, mut finds) = (Times::default(), Times::default());
    for (id, word) in ids.iter().cycle().zip(words.iter().cycle()) {
        if Instant::now() >= until {
            break;
        }
        let reads = [
            (&mut views, format!("/api/v1/members/{id}/360")),
            (&mut finds, format!("/api/v1/members/search?q={word}")),
        ];
        for (times, path) in reads {
            let one = Instant::now();
            get_patiently(client, &path).await?;
            times.push(one.elapsed());
        }
    }
    Ok((views, finds))
}

/// Asks as the admin until the server does not ask for patience any more; it waits by itself before it does.
pub(super) async fn get_patiently(client: &mut Client, path: &str) -> Result<Answer, BenchError> {
    loop {
        let answer = client.get(path, &api_key(ADMIN_KEY)).await;
        let answer = answer.map_err(DemoError::from)?;
        if answer.is_good() {
            return Ok(answer);
        }
        if !answer.asks_patience() {
            return Err(DemoError::Refused {
                what: path.to_owned(),
                status: answer.status,
                body: answer.text(),
            }
            .into());
        }
    }
}
