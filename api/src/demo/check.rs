//! Asks the platform, over its public API, which member every identifier belongs to, and judges the answers.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::DemoError;
use super::client::{Client, api_key};
use super::people::{Key, Kind};
use super::truth::{Links, Truth};

/// Connections that ask at the same time.
const ASKERS: usize = 4;

/// The judgement, and what it took.
#[derive(Debug, Clone, Default)]
pub struct Judged {
    /// How well members agree with people.
    pub links: Links,
    /// Questions asked: about one per member, since an answer lists all identifiers of a member.
    pub questions: u64,
    /// How long they took.
    pub took: Duration,
    /// A member who is worth a look: the identifier to ask by.
    pub example: String,
}

/// What is known so far of which identifier belongs to which member.
#[derive(Debug)]
struct Board {
    /// By text form: place in the truth's list.
    places: HashMap<String, u32>,
    found: Mutex<Findings>,
    next: AtomicUsize,
    keys: Vec<Key>,
}

#[derive(Debug, Default)]
struct Findings {
    members: HashMap<String, u32>,
    of_key: Vec<Option<u32>>,
    questions: u64,
}

/// Asks for every identifier of the truth that no answer has named yet.
pub(super) async fn judge(
    server: SocketAddr,
    admin_key: &str,
    truth: &mut Truth,
) -> Result<Judged, DemoError> {
    let begun = Instant::now();
    let keys = truth.keys().to_vec();
    let mut places = HashMap::with_capacity(keys.len() * 2);
    for (at, key) in keys.iter().enumerate() {
        places.insert(key.canonical(), at as u32);
        if key.kind() == Kind::Phone {
            places.insert(national(*key), at as u32);
        }
    }
    let board = Arc::new(Board {
        places,
        found: Mutex::new(Findings {
            of_key: vec![None; keys.len()],
            ..Findings::default()
        }),
        next: AtomicUsize::new(0),
        keys,
    });
    let askers: Vec<_> = (0..ASKERS)
        .map(|_| {
            let board = Arc::clone(&board);
            let key = api_key(admin_key);
            tokio::spawn(async move { board.ask(Client::new(server), &key).await })
        })
        .collect();
    for asker in askers {
        asker
            .await
            .map_err(|error| DemoError::Task(error.to_string()))??;
    }
    let found = board.found.lock().expect("askers do not panic holding it");
    Ok(Judged {
        links: truth.links(&found.of_key),
        questions: found.questions,
        took: begun.elapsed(),
        example: example(truth.keys(), &found.of_key),
    })
}

impl Board {
    async fn ask(&self, mut client: Client, authorization: &str) -> Result<(), DemoError> {
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(key) = self.keys.get(at) else {
                return Ok(());
            };
            let known = self.lock().of_key[at].is_some();
            if known {
                continue;
            }
            let member = ask_member(&mut client, authorization, &key.canonical()).await?;
            let mut found = self.lock();
            found.questions += 1;
            let Some((id, identifiers)) = member else {
                continue;
            };
            let next = found.members.len() as u32;
            let number = *found.members.entry(id).or_insert(next);
            found.of_key[at] = Some(number);
            for text in identifiers {
                if let Some(place) = self.places.get(&text) {
                    found.of_key[*place as usize] = Some(number);
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Findings> {
        self.found.lock().expect("askers do not panic holding it")
    }
}

/// The member of an identifier: id and identifiers in text form; `None` if there is none.
pub async fn ask_member(
    client: &mut Client,
    authorization: &str,
    identifier: &str,
) -> Result<Option<(String, Vec<String>)>, DemoError> {
    let path = format!("/api/v1/members?identifier={}", encoded(identifier));
    let answer = client.get(&path, authorization).await?;
    // Nobody has it, or it points to nobody by the rules.
    if matches!(answer.status, 400 | 404 | 422) {
        return Ok(None);
    }
    let json = answer.json();
    let member = json["items"].get(0).unwrap_or(&json);
    let Some(id) = member["id"].as_str().filter(|_| answer.is_good()) else {
        if answer.is_good() {
            return Ok(None);
        }
        return Err(DemoError::Refused {
            what: path,
            status: answer.status,
            body: answer.text(),
        });
    };
    let identifiers = member["identifiers"].as_array();
    let identifiers = identifiers.into_iter().flatten().filter_map(text_form);
    Ok(Some((id.to_owned(), identifiers.collect())))
}

/// An identifier of an answer: its text form itself, or an object with it or its parts.
fn text_form(value: &Value) -> Option<String> {
    if let Some(text) = value.as_str().or(value["identifier"].as_str()) {
        return Some(text.to_owned());
    }
    let kind = value["kind"].as_str()?;
    let text = value["value"].as_str()?;
    Some(match value["scope"].as_str().filter(|s| !s.is_empty()) {
        Some(scope) => format!("{kind}@{scope}:{text}"),
        None => format!("{kind}:{text}"),
    })
}

/// A phone without its country.
fn national(key: Key) -> String {
    key.canonical().replacen("+86", "", 1)
}

/// Everything but letters, digits and `-._~` as `%XX`.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").expect("writing to a string cannot fail"),
        }
    }
    out
}

/// The phone of the member with the most identifiers among the first: somebody to show.
fn example(keys: &[Key], found: &[Option<u32>]) -> String {
    /// Enough to find somebody with all sorts of identifiers.
    const LOOKED_AT: usize = 20_000;
    let mut counts: HashMap<u32, (u32, Option<Key>)> = HashMap::new();
    for (key, member) in keys.iter().zip(found).take(LOOKED_AT) {
        let Some(member) = member else { continue };
        let entry = counts.entry(*member).or_default();
        entry.0 += 1;
        if key.kind() == Kind::Phone {
            entry.1 = Some(*key);
        }
    }
    // Ten is rich enough; more are clerks and farmers.
    let best = counts
        .iter()
        .filter(|(_, (count, phone))| *count <= 10 && phone.is_some())
        .max_by_key(|(member, (count, _))| (*count, std::cmp::Reverse(**member)));
    match best {
        Some((_, (_, Some(phone)))) => national(*phone),
        _ => keys.first().map(|key| key.canonical()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_read_in_every_form_of_the_api() {
        let check = |json: Value, expected: &str| {
            assert_eq!(text_form(&json).as_deref(), Some(expected), "{json}");
        };
        check(serde_json::json!("phone:1"), "phone:1");
        check(serde_json::json!({"identifier": "phone:1"}), "phone:1");
        check(
            serde_json::json!({"kind": "openid", "scope": "wx", "value": "o:1"}),
            "openid@wx:o:1",
        );
        check(
            serde_json::json!({"kind": "phone", "scope": "", "value": "1"}),
            "phone:1",
        );
    }

    #[test]
    fn identifiers_survive_a_query() {
        assert_eq!(encoded("phone:+86 1"), "phone%3A%2B86%201");
        assert_eq!(encoded("a-b_c.d~e"), "a-b_c.d~e");
    }
}
