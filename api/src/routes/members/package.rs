//! Everything that is known of a person, in one document: for the person, who has a right to it (PIPL, article 45).
//!
//! The document streams out page by page, however long the life in it is. Whoever gets half of it holds no valid JSON.

use actors::model::{BrandId, BrandSet, FieldClass, MemberId, MemberNo};
use actors::registry::Act;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use pipelines::audience::Sees;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::view::MemberAnswer;
use super::{events, orders};
use crate::app::Shared;
use crate::error::ApiError;
use crate::http::file::{Chunk, channel_body};
use crate::http::{Caller, Permission, Routes, Segment, doc};
use crate::routes::audience::person::{segments_held, tags_held};

/// Version of the document's form.
const VERSION: u32 = 1;
/// Orders or events of one part.
const PAGE: usize = 200;
/// Parts that wait for a slow reader.
const PARTS_AHEAD: usize = 4;

pub fn routes(tag: &'static str) -> Routes {
    crate::http::routes().get(
        "/api/v1/members/{id}/package",
        Permission::MembersErase,
        package,
        doc(tag, "Everything known of a person, as one document")
            .more(
                "For a person who asks for a copy: identifiers, attributes with their source and time, consents, tags, \
                 segments, all orders and the whole timeline, newest first. It streams and has no limit; `counts` at its \
                 end says how much it is. A key that sees personal fields masked is refused; one that sees some brands \
                 gets what belongs to them, and `brands` says so. Each package is in the audit chain.",
            )
            .media("application/json")
            .sees(Sees::Memberships),
    )
}

async fn package(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<String>,
) -> Result<Response, ApiError> {
    if caller.scope.fields < FieldClass::P3 {
        let message = "this key sees personal fields masked: a person gets them in full";
        return Err(ApiError::new("permission_missing", message));
    }
    let snapshot = shared.snapshot()?;
    let found = super::by_id(&shared, &snapshot, &caller.scope, &id)?;
    let member = found.member;
    let begins = json!({
        "package": "tributary.person",
        "version": VERSION,
        "made": shared.now().rfc3339(),
        "brands": match &caller.scope.brands {
            BrandSet::All => Value::from("all"),
            BrandSet::Only(brands) => brands.iter().map(|brand| brand.0).collect(),
        },
        "tags": to_json(&tags_held(&shared, &snapshot, &caller.scope, member)?),
        "segments": to_json(&segments_held(&shared, &snapshot, &caller.scope, member)?),
        "member": to_json(&MemberAnswer::of(&shared, &snapshot, &caller.scope, found)?),
    });
    drop(snapshot);
    let act = Act {
        detail: "everything known of the person was handed out".into(),
        ..caller.act("member", "package", MemberId(member), BrandId(0))
    };
    shared.registry().audit(&act, shared.now()).await?;
    let (send, parts) = mpsc::channel(PARTS_AHEAD);
    let writer = Writer {
        shared,
        caller,
        member,
        send,
    };
    tokio::spawn(writer.run(begins));
    let mut response = channel_body(parts).into_response();
    let name = format!("attachment; filename=\"member-{}.json\"", MemberId(member));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let name = HeaderValue::try_from(name).expect("ids of members are ASCII");
    headers.insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}

fn to_json(form: &impl Serialize) -> Value {
    serde_json::to_value(form).expect("our own answers always serialise")
}

/// Why writing ends early.
enum Stop {
    /// Nobody reads any more.
    Gone,
    /// It cannot be read.
    Failed(ApiError),
}

impl From<ApiError> for Stop {
    fn from(error: ApiError) -> Stop {
        Stop::Failed(error)
    }
}

/// Writes the document, as fast as it is read.
struct Writer {
    shared: Shared,
    caller: Caller,
    member: MemberNo,
    send: mpsc::Sender<Chunk>,
}

impl Writer {
    async fn run(self, begins: Value) {
        match self.write(begins).await {
            Ok(()) | Err(Stop::Gone) => {}
            Err(Stop::Failed(error)) => {
                tracing::error!(error = error.message(), "a package breaks off");
                let broken = std::io::Error::other("the package breaks off");
                // Whoever has gone misses nothing.
                let _ = self.send.send(Err(broken)).await;
            }
        }
    }

    async fn write(&self, begins: Value) -> Result<(), Stop> {
        let mut head = begins.to_string();
        // The object stays open for what follows.
        head.pop();
        self.part(format!("{head},\"orders\":[")).await?;
        let mut orders = List::default();
        loop {
            let (scope, cursor) = (&self.caller.scope, orders.cursor.take());
            let page = orders::page(&self.shared, scope, self.member, PAGE, cursor.as_deref())?;
            self.part(orders.text(&page.items)).await?;
            orders.cursor = page.next_cursor;
            if orders.cursor.is_none() {
                break;
            }
        }
        self.part("],\"timeline\":[".to_owned()).await?;
        let mut timeline = List::default();
        loop {
            let (scope, cursor) = (&self.caller.scope, timeline.cursor.take());
            let page = events::page(&self.shared, scope, self.member, PAGE, cursor).await?;
            self.part(timeline.text(&page.items)).await?;
            timeline.cursor = page.next_cursor;
            if timeline.cursor.is_none() {
                break;
            }
        }
        let counts = json!({"orders": orders.count, "timeline": timeline.count});
        self.part(format!("],\"counts\":{counts}}}\n")).await
    }

    async fn part(&self, text: String) -> Result<(), Stop> {
        let sent = self.send.send(Ok(Bytes::from(text))).await;
        sent.map_err(|_| Stop::Gone)
    }
}

/// A list that is written page by page.
#[derive(Default)]
struct List {
    count: u64,
    cursor: Option<String>,
}

impl List {
    fn text(&mut self, items: &[impl Serialize]) -> String {
        let mut text = String::new();
        for item in items {
            if self.count > 0 {
                text.push(',');
            }
            self.count += 1;
            text.push_str(&to_json(item).to_string());
        }
        text
    }
}
