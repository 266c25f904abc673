//! Dead letters: events that could not be taken. Listed, grouped by reason, mended one by one or by rule, replayed, dropped.

pub mod alert;
mod answer;
mod command;
mod filter;
mod fix;
mod groups;

use actors::model::{FieldClass, Scope};
use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cdp::dead::{DeadId, DeadRow};

use self::answer::{DeadAnswer, DeadDetail, GroupAnswer, ManyAnswer};
use self::command::{ManyInput, ReplayInput};
use self::filter::{DeadQuery, walk};
use self::fix::{FixInput, FixPreview};
use crate::app::{Shared, Snapshot};
use crate::error::ApiError;
use crate::http::page::ListQuery;
use crate::http::{Caller, Page, Paging, Permission, Query, Routes, Segment, doc};
use crate::jobs::JobView;

pub use self::alert::{Alerts, run as run_alerts};
pub use self::fix::start as start_fixes;

/// Rows that a list reads at most: a filter that rarely matches answers a short page with a cursor.
const READS_MAX: usize = 20_000;

/// The routes of this topic.
pub fn routes() -> Routes {
    let tag = "Dead letters";
    let (read, write) = (Permission::DeadLettersRead, Permission::DeadLettersWrite);
    let changes = "`changes` are applied in order: `rename` (`field`, `to`), `set` (`field`, `value`), `remove`, `cast` (`field`, \
         `to`: text, number, bool, json) and `unwrap` (the object, or its JSON as text, in `field` becomes the event, or \
         replaces `into`). A field is written `properties.items.0.price`.";
    crate::http::routes()
        .get(
            "/api/v1/dead-letters",
            read,
            list,
            doc(tag, "Events that could not be taken, oldest first")
                .query::<DeadQuery>()
                .lists::<DeadAnswer>()
                .reads(),
        )
        .get(
            "/api/v1/dead-letters/groups",
            read,
            groups::groups,
            doc(tag, "How many for which reason, source, event and field")
                .more("The largest first. A group answers the id of one of its letters.")
                .query::<DeadQuery>()
                .lists::<GroupAnswer>()
                .reads(),
        )
        .get(
            "/api/v1/dead-letters/{id}",
            read,
            get,
            doc(tag, "One event with its original bytes")
                .answers::<DeadDetail>()
                .reads(),
        )
        .post(
            "/api/v1/dead-letters/{id}/replay",
            write,
            command::replay_one,
            doc(tag, "Decide it again, mended or as it was").enters("dead_letter", "replay")
                .more("With `body` the event is replaced by that JSON; its message id stays unless the body brings one.")
                .body::<ReplayInput>()
                .written::<ManyAnswer>()
                .writes(),
        )
        .post(
            "/api/v1/dead-letters/{id}/drop",
            write,
            command::drop_one,
            doc(tag, "It is not wanted any more").enters("dead_letter", "drop")
                .written::<ManyAnswer>()
                .writes(),
        )
        .post(
            "/api/v1/dead-letters/replay",
            write,
            command::replay_many,
            doc(tag, "Decide several again as they were").enters("dead_letters", "replay")
                .more("At most 200 at once; `more` says that others match.")
                .body::<ManyInput>()
                .written::<ManyAnswer>()
                .writes(),
        )
        .post(
            "/api/v1/dead-letters/drop",
            write,
            command::drop_many,
            doc(tag, "Several are not wanted any more").enters("dead_letters", "drop")
                .body::<ManyInput>()
                .written::<ManyAnswer>()
                .writes(),
        )
        .post(
            "/api/v1/dead-letters/fixes/preview",
            write,
            fix::preview,
            doc(tag, "What a rule would make of the first letters that match").changes_nothing()
                .more(changes)
                .body::<FixInput>()
                .answers::<FixPreview>(),
        )
        .post(
            "/api/v1/dead-letters/fixes",
            write,
            fix::begin,
            doc(tag, "Mend all letters that match by a rule, and replay them").enters("dead_letters", "fix")
                .more(
                    "A job: each letter is replayed once, also over a crash. What a rule does not fit, and what is still \
                     wrong afterwards, stays open.",
                )
                .body::<FixInput>()
                .written::<JobView>(),
        )
        .get(
            "/api/v1/dead-letters/fixes",
            read,
            fix::list,
            doc(tag, "Mending by rule, newest first")
                .query::<ListQuery>()
                .lists::<JobView>(),
        )
        .get(
            "/api/v1/dead-letters/fixes/{id}",
            read,
            fix::get,
            doc(tag, "How far it is").answers::<JobView>(),
        )
        .post(
            "/api/v1/dead-letters/fixes/{id}/cancel",
            write,
            fix::cancel,
            doc(tag, "Stop it; what is replayed stays replayed").enters("dead_letters", "cancel_fix").written::<JobView>(),
        )
        .and(alert::routes())
}

async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(query): Query<DeadQuery>,
) -> Result<Json<Page<DeadAnswer>>, ApiError> {
    let paging = Paging {
        limit: query.limit,
        cursor: None,
    };
    let limit = paging.limit()?;
    let filter = query.filter()?;
    let mut items = Vec::new();
    let next_cursor = walk(&shared.snapshot()?, &query.from()?, READS_MAX, |id, row| {
        if !filter.takes(id, &row, &caller.scope) {
            return true;
        }
        if items.len() == limit {
            return false;
        }
        items.push(DeadAnswer::of(id, &row, &caller.scope));
        true
    })?;
    Ok(Json(Page { items, next_cursor }))
}

async fn get(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<String>,
) -> Result<Json<DeadDetail>, ApiError> {
    let (id, row) = letter(&shared.snapshot()?, &caller.scope, &id)?;
    let original = shared.raw_event(id.position).await?;
    let original_gone = original.is_none();
    let original = original.filter(|_| caller.scope.fields >= FieldClass::P2);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    Ok(Json(DeadDetail {
        letter: DeadAnswer::of(id, &row, &caller.scope),
        body: original.as_ref().and_then(|raw| text(&raw.body)),
        body_base64: original.as_ref().map(|raw| STANDARD.encode(&raw.body)),
        shared: original
            .as_ref()
            .and_then(|raw| text(raw.shared.as_deref()?)),
        protocol: original.as_ref().map(|raw| match raw.protocol {
            ingest::Protocol::Segment => "segment",
            ingest::Protocol::CloudEvents => "cloud_events",
            ingest::Protocol::Scan => "scan",
            ingest::Protocol::Own => "own",
            ingest::Protocol::Sensors => "sensors",
        }),
        original_gone,
    }))
}

fn letter(snapshot: &Snapshot, scope: &Scope, id: &str) -> Result<(DeadId, DeadRow), ApiError> {
    let unknown = || ApiError::not_found("dead letter");
    let id: DeadId = id.parse().map_err(|()| unknown())?;
    match DeadRow::get(snapshot, id)? {
        Some(row) if scope.sees(row.brand) => Ok((id, row)),
        _ => Err(unknown()),
    }
}
