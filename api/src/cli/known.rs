//! The names of a server's dictionary, for guessing a mapping.

use ingest::file::Known;
use serde_json::Value;

use super::Failure;
use super::remote::Remote;

/// Attributes of a server, and properties of the events that people have named there.
pub async fn of_server(server: &Remote) -> Result<Known, Failure> {
    let mut known = Known::default();
    for attribute in all(server, "/api/v1/dictionary/attributes?limit=500").await? {
        known.traits.extend(named(&attribute));
    }
    for event in all(server, "/api/v1/dictionary/events?limit=500").await? {
        // Nobody has said anything of it, so nothing of its properties either.
        if event["version"] == 0 {
            continue;
        }
        let name = segment(event["name"].as_str().unwrap_or_default());
        let whole = server
            .get(&format!("/api/v1/dictionary/events/{name}"))
            .await?;
        let properties = whole["properties"].as_array().into_iter().flatten();
        known.properties.extend(properties.filter_map(named));
    }
    Ok(known)
}

/// A name, or the one it is recorded as, with its titles. Blocked ones are not offered.
fn named(entry: &Value) -> Option<(String, Vec<String>)> {
    if entry["status"] == "blocked" {
        return None;
    }
    let name = entry["alias_of"].as_str().or(entry["name"].as_str())?;
    let titles = ["zh", "en"].into_iter();
    let titles = titles.filter_map(|word| {
        entry["title"][word]
            .as_str()
            .filter(|text| !text.is_empty())
    });
    Some((name.to_owned(), titles.map(str::to_owned).collect()))
}

async fn all(server: &Remote, path: &str) -> Result<Vec<Value>, Failure> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = match cursor.is_empty() {
            true => server.get(path).await?,
            false => server.get(&format!("{path}&cursor={cursor}")).await?,
        };
        items.extend(page["items"].as_array().into_iter().flatten().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return Ok(items),
        }
    }
}

/// A name as a segment of a path.
fn segment(name: &str) -> String {
    let mut segment = String::new();
    for byte in name.bytes() {
        match byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            true => segment.push(char::from(byte)),
            false => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    segment
}
