//! The timeline of a member: events with their bodies, and changes of who the member is.

use actors::model::{EventKind, FieldClass, MemberId, MemberNo, Place, RawJson, Scope, Time};
use axum::Json;
use axum::extract::State;
use cdp::profile::row::{Flags, TAG_NEW, TAG_OLD, TimelineRow, What};
use cdp::profile::view::{
    ChangeKind, TimelineFilter, TimelineItem, is_timeline_cursor, timeline_page,
};
use cdp::routed::EventBody;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::orders::word;
use super::view::shown;
use crate::app::{Shared, Snapshot};
use crate::error::ApiError;
use crate::http::page::cursor_form;
use crate::http::{Caller, Page, Paging, Permission, Query, Routes, Segment, doc};

/// The routes of this topic.
pub fn routes(tag: &'static str) -> Routes {
    crate::http::routes().get(
        "/api/v1/members/{id}/events",
        Permission::MembersRead,
        list,
        doc(tag, "Timeline of a member, newest first")
            .more(
                "Events by the time at which they happened, and changes of the member: of who it is (`kind` is `note`), of \
                 segments (`segment_entered`, `segment_left`) and of tags (`tag_changed`). Pages are stable: what arrives later never shifts what comes behind a cursor. A page may be short of its \
                 limit and still have a cursor.",
            )
            .query::<EventsQuery>()
            .lists::<EventAnswer>()
            .reads(),
    )
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventsQuery {
    /// Items of a page, 1 to 500; 50 when left out.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only events of these names, separated by commas.
    name: Option<String>,
    /// Only these sorts, separated by commas: `track identify page screen group alias order scan` and `note
    /// segment_entered segment_left tag_changed`.
    kind: Option<String>,
    /// Not before: RFC 3339.
    from: Option<String>,
    /// Before: RFC 3339.
    to: Option<String>,
}

/// An event or a change of who the member is.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventAnswer {
    /// Where it stands in the raw log; for a change, the event that caused it.
    pub position: String,
    /// `track identify page screen group alias order scan`; `note` for a change of who the member is; `segment_entered
    /// segment_left tag_changed`.
    pub kind: &'static str,
    /// The event's name, or `linked merged conflict unmerged rejoined`, or the kind again.
    pub name: String,
    /// When it happened.
    pub time: String,
    /// When we received it.
    pub received: Option<String>,
    /// The sender's id of the message.
    pub message_id: Option<String>,
    /// Source; 0 for notes.
    pub source: u32,
    /// Brand; 0 for notes.
    pub brand: u32,
    /// From a test source.
    pub test: bool,
    /// The person was erased: only what is not personal is left.
    pub erased: bool,
    /// The caller may not see personal fields: they are masked or left out.
    pub masked: bool,
    /// Identifiers, normalised, strongest first.
    pub identifiers: Vec<String>,
    /// Attributes told, as sent.
    pub traits: Option<Value>,
    /// Properties, as sent.
    pub properties: Option<Value>,
    /// Context, as sent.
    pub context: Option<Value>,
    /// Where it happened.
    pub place: Option<PlaceAnswer>,
    /// What it said of an order.
    pub order: Option<OrderPartAnswer>,
    /// Attributes that it changed.
    pub changes: Vec<ChangeAnswer>,
    /// The other member of a merge or unmerge.
    pub other: Option<String>,
    /// The segment that was entered or left.
    pub segment: Option<SegmentPartAnswer>,
    /// The tag that changed.
    pub tag: Option<TagPartAnswer>,
}

/// A segment that was entered or left.
#[derive(Debug, Serialize, ToSchema)]
pub struct SegmentPartAnswer {
    /// Its number.
    pub id: u32,
    /// The version of its rule.
    pub version: u32,
    /// Because the rule was edited or computed for the first time.
    pub rebuilt: bool,
}

/// A tag that changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct TagPartAnswer {
    /// Its number.
    pub id: u32,
    /// The version of its definition.
    pub version: u32,
    /// Because the definition was edited or computed for the first time.
    pub rebuilt: bool,
    /// Before; null: no value.
    pub old: Value,
    /// From then on; null: no value.
    pub new: Value,
}

/// A place, WGS-84.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlaceAnswer {
    /// Latitude.
    pub lat: f64,
    /// Longitude.
    pub lon: f64,
    /// Uncertainty in metres.
    pub accuracy_m: Option<f32>,
}

/// Which order an event spoke of.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderPartAnswer {
    /// The order's id.
    pub order_id: String,
    /// The shop.
    pub shop: String,
    /// The status that it told.
    pub status: Option<String>,
    /// The total that it told, in main units.
    pub total: Option<String>,
    /// Currency.
    pub currency: String,
    /// How many lines it told.
    pub lines: usize,
}

/// A changed attribute.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangeAnswer {
    /// Its name.
    pub attribute: String,
    /// Before; null: nothing, or longer ago than a page looks back.
    pub old: Value,
    /// Now; null: cleared.
    pub new: Value,
    /// Both are masked.
    pub masked: bool,
}

/// The latest of a member's timeline.
pub async fn latest(
    shared: &Shared,
    snapshot: Snapshot,
    scope: &Scope,
    member: MemberNo,
    limit: usize,
) -> Result<Vec<EventAnswer>, ApiError> {
    let schema = shared.attributes(&snapshot)?.1;
    let filter = TimelineFilter::default();
    let page = timeline_page(&snapshot, member, &schema, scope, &filter, limit, None)?;
    drop(snapshot);
    answers(shared, &page.items, scope).await
}

/// A page of the whole timeline, newest first.
pub async fn page(
    shared: &Shared,
    scope: &Scope,
    member: MemberNo,
    limit: usize,
    cursor: Option<String>,
) -> Result<Page<EventAnswer>, ApiError> {
    let page = {
        let snapshot = shared.snapshot()?;
        let schema = shared.attributes(&snapshot)?.1;
        let filter = TimelineFilter::default();
        let cursor = cursor.as_deref();
        timeline_page(&snapshot, member, &schema, scope, &filter, limit, cursor)?
    };
    Ok(Page {
        items: answers(shared, &page.items, scope).await?,
        next_cursor: page.next_cursor,
    })
}

async fn answers(
    shared: &Shared,
    items: &[TimelineItem],
    scope: &Scope,
) -> Result<Vec<EventAnswer>, ApiError> {
    let places: Vec<_> = items.iter().map(|item| item.row.at).collect();
    let bodies = shared.event_bodies(places).await?;
    let both = items.iter().zip(bodies);
    Ok(both.map(|(item, body)| answer(item, body, scope)).collect())
}

async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<String>,
    Query(query): Query<EventsQuery>,
) -> Result<Json<Page<EventAnswer>>, ApiError> {
    let filter = filter(&query)?;
    let paging = Paging {
        limit: query.limit,
        cursor: query.cursor,
    };
    let limit = paging.limit()?;
    if let Some(cursor) = &paging.cursor
        && !is_timeline_cursor(cursor)
    {
        return Err(cursor_form());
    }
    let snapshot = shared.snapshot()?;
    let found = super::by_id(&shared, &snapshot, &caller.scope, &id)?;
    let page = timeline_page(
        &snapshot,
        found.member,
        &shared.attributes(&snapshot)?.1,
        &caller.scope,
        &filter,
        limit,
        paging.cursor.as_deref(),
    )?;
    drop(snapshot);
    Ok(Json(Page {
        items: answers(&shared, &page.items, &caller.scope).await?,
        next_cursor: page.next_cursor,
    }))
}

fn filter(query: &EventsQuery) -> Result<TimelineFilter, ApiError> {
    let words = |text: &Option<String>| -> Vec<String> {
        let text = text.as_deref().unwrap_or_default();
        let words = text.split(',').map(str::trim);
        words
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let (mut kinds, mut changes) = (Vec::new(), Vec::new());
    for text in words(&query.kind) {
        if let Some(change) = ChangeKind::ALL.iter().find(|kind| kind.as_str() == text) {
            changes.push(*change);
            continue;
        }
        let kind: EventKind =
            serde_json::from_value(Value::String(text.clone())).map_err(|_| {
                ApiError::new("parameter_form", format!("`{text}` is no sort of event"))
                    .field("kind")
            })?;
        kinds.push(kind);
    }
    Ok(TimelineFilter {
        fragments: Vec::new(),
        names: words(&query.name).into_iter().map(Into::into).collect(),
        kinds,
        changes,
        from: instant(query.from.as_deref(), "from")?,
        to: instant(query.to.as_deref(), "to")?,
    })
}

/// An instant of a query. A `+` that came unencoded has turned into a space.
pub fn instant(text: Option<&str>, field: &'static str) -> Result<Option<Time>, ApiError> {
    text.map(|text| {
        Time::from_rfc3339(&text.replace(' ', "+")).ok_or_else(|| {
            let message = format!("{field} is no instant such as 2026-11-22T08:00:00+08:00");
            ApiError::new("parameter_form", message).field(field)
        })
    })
    .transpose()
}

fn answer(
    item: &TimelineItem,
    body: Option<crate::app::EventRecord>,
    scope: &Scope,
) -> EventAnswer {
    let row = &item.row;
    let personal = scope.fields >= FieldClass::P2;
    let (kind, order) = match row.what {
        What::Event(kind) => (kind.as_str(), true),
        what => (
            ChangeKind::of(what).map_or("note", ChangeKind::as_str),
            false,
        ),
    };
    let mut answer = EventAnswer {
        position: item.position.to_string(),
        kind,
        name: row.name().to_owned(),
        time: item.time.rfc3339(),
        received: None,
        message_id: None,
        source: row.source.0,
        brand: row.brand.0,
        test: row.flags.has(Flags::TEST),
        erased: row.flags.has(Flags::ERASED),
        masked: !personal,
        identifiers: Vec::new(),
        traits: None,
        properties: None,
        context: None,
        place: None,
        order: None,
        changes: item
            .changes
            .iter()
            .map(|change| ChangeAnswer {
                attribute: change.attribute.to_string(),
                old: change.old.as_ref().map_or(Value::Null, |old| old.to_json()),
                new: change.new.to_json(),
                masked: change.masked,
            })
            .collect(),
        other: row.other.map(|other| MemberId(other).to_string()),
        segment: match row.what {
            What::Segment(note) => Some(SegmentPartAnswer {
                id: note.segment.0,
                version: note.version,
                rebuilt: note.rebuilt,
            }),
            _ => None,
        },
        tag: match row.what {
            What::Tag(note) => Some(TagPartAnswer {
                id: note.tag.0,
                version: note.version,
                rebuilt: note.rebuilt,
                old: told(row, TAG_OLD),
                new: told(row, TAG_NEW),
            }),
            _ => None,
        },
    };
    let Some(record) = body else {
        return answer;
    };
    answer.received = record.received.map(Time::rfc3339);
    if order && let Some(part) = &record.order {
        answer.order = Some(OrderPartAnswer {
            order_id: part.order_id.to_string(),
            shop: part.shop.to_string(),
            status: part.status.as_ref().map(word),
            total: part
                .total
                .map(|total| super::view::amount(part.currency, total)),
            currency: part.currency.to_string(),
            lines: part.lines.len(),
        });
    }
    match record.body {
        Some(body) => fill(&mut answer, body, scope, personal),
        None => answer.erased |= order,
    }
    answer
}

/// A value that a row of a tag tells.
fn told(row: &TimelineRow, name: &str) -> Value {
    let found = row.told.iter().find(|(told, _)| **told == *name);
    found.map_or(Value::Null, |(_, value)| value.to_json())
}

fn fill(answer: &mut EventAnswer, body: EventBody, scope: &Scope, personal: bool) {
    answer.message_id = Some(body.message_id.to_string());
    answer.identifiers = body
        .identifiers
        .iter()
        .map(|identifier| shown(identifier, scope).0.to_string())
        .collect();
    answer.place = body.place.map(|place: Place| PlaceAnswer {
        lat: place.lat,
        lon: place.lon,
        accuracy_m: place.accuracy_m,
    });
    if personal {
        answer.traits = body.traits.as_ref().map(json);
        answer.properties = body.properties.as_ref().map(json);
        answer.context = body.context.as_ref().map(json);
    }
}

/// JSON as sent; what the decoder accepted parses.
fn json(raw: &RawJson) -> Value {
    Value::Object(raw.parse())
}
