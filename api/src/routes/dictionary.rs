//! The dictionary: names of events, properties and attributes; what is seen in them, what changed, what people say of them.
//!
//! Names appear by themselves, with status `new`, when an event brings them. What people write of a name is a resource of
//! the group; what of that changes events (merging, blocking) is published as a definition in the same transaction.

mod answer;
mod list;
mod save;

use std::collections::{BTreeMap, BTreeSet};

use actors::model::{BrandId, Scope};
use actors::registry::{Item, ResourceKind};
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use cdp::dictionary::{Drift, Naming, Status, attribute_drift, drift};
use pipelines::dictionary::{ATTRIBUTE_NAME, EVENT_NAME};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use self::answer::{
    AttributeAnswer, AttributeDetail, DriftAnswer, EventAnswer, EventDetail, NamingAnswer,
    NamingInput,
};
use self::list::ListQuery;
use self::save::Edit;
use crate::app::Shared;
use crate::error::ApiError;
use crate::http::page::Paging;
use crate::http::{Caller, Input, Page, Permission, Query, Routes, Segment, Written, doc};

/// The routes of this topic.
pub fn routes() -> Routes {
    let tag = "Dictionary";
    let (read, write) = (Permission::DefinitionsRead, Permission::DefinitionsWrite);
    let merging = "`alias_of` merges the name into another: from then on events under it are recorded as that one, with the \
         property `$original_name`. `status: blocked` turns events away: into the dead-letter list with the reason \
         `event_blocked`, or (`on_block: drop`) nowhere, counted as `events_blocked`. A property that is blocked is left out \
         of events. `If-Match` or `version` refuses the change if another has come since.";
    let attribute = "`alias_of` and `status: blocked` rename an attribute in what events tell, or leave it out. \
         `If-Match` or `version` refuses the change if another has come since.";
    crate::http::routes()
        .get(
            "/api/v1/dictionary/events",
            read,
            events,
            doc(tag, "Names of events, seen or named")
                .more("Events of test sources are not counted.")
                .query::<ListQuery>()
                .answers::<Page<EventAnswer>>()
                .counts(),
        )
        .get(
            "/api/v1/dictionary/events/{name}",
            read,
            event,
            doc(tag, "One event with its properties")
                .more("Values are shown once five different people had them; of what is personal only the shape.")
                .answers::<EventDetail>()
                .counts(),
        )
        .put(
            "/api/v1/dictionary/events/{name}",
            write,
            put_event,
            doc(tag, "Say what an event is")
                .more(merging)
                .body::<NamingInput>()
                .answers::<Written<NamingAnswer>>(),
        )
        .patch(
            "/api/v1/dictionary/events/{name}",
            write,
            patch_event,
            doc(tag, "Change some of what is said of an event")
                .more("Objects are changed field by field; `null` takes one out.")
                .body::<NamingInput>()
                .answers::<Written<NamingAnswer>>(),
        )
        .get(
            "/api/v1/dictionary/attributes",
            read,
            attributes,
            doc(tag, "Attributes, seen, named or defined")
                .query::<ListQuery>()
                .answers::<Page<AttributeAnswer>>()
                .counts(),
        )
        .get(
            "/api/v1/dictionary/attributes/{name}",
            read,
            attribute_one,
            doc(tag, "One attribute")
                .answers::<AttributeDetail>()
                .counts(),
        )
        .put(
            "/api/v1/dictionary/attributes/{name}",
            write,
            put_attribute,
            doc(tag, "Say what an attribute is")
                .more(attribute)
                .body::<NamingInput>()
                .answers::<Written<NamingAnswer>>(),
        )
        .patch(
            "/api/v1/dictionary/attributes/{name}",
            write,
            patch_attribute,
            doc(tag, "Change some of what is said of an attribute")
                .more("Objects are changed field by field; `null` takes one out.")
                .body::<NamingInput>()
                .answers::<Written<NamingAnswer>>(),
        )
        .get(
            "/api/v1/dictionary/drift",
            read,
            drifts,
            doc(tag, "What has changed, the latest first")
                .more(
                    "Types that changed or are not what people expect; properties that a known event did not have; events \
                     that stopped; days with three times more or fewer events than the week before.",
                )
                .query::<DriftQuery>()
                .answers::<Page<DriftAnswer>>()
                .counts(),
        )
}

/// Which changes.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DriftQuery {
    /// Items of a page, 1 to 500; 50 when left out.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only of this event.
    event: Option<String>,
    /// Only of this attribute.
    attribute: Option<String>,
    /// Only `type_changed`, `type_unexpected`, `new_property`, `stopped`, `volume_fell` or `volume_rose`; several by comma.
    #[param(example = "stopped,volume_fell")]
    kind: Option<String>,
}

/// What people say of one name.
pub(super) struct Said {
    pub item: Item,
    pub status: Status,
    pub naming: Naming,
}

/// What people say of all names of a kind.
pub(super) type AllSaid = BTreeMap<String, Said>;

/// Reads what people say of names. A body of a later version of ours reads as empty.
pub(super) async fn said(shared: &Shared, kind: ResourceKind) -> Result<AllSaid, ApiError> {
    let items = shared
        .registry()
        .resource_all(&Scope::installation(), kind)
        .await?;
    Ok(items
        .into_iter()
        .map(|item| (item.name.clone(), understood(item)))
        .collect())
}

fn understood(item: Item) -> Said {
    Said {
        status: Status::of(&item.state),
        naming: serde_json::from_str(&item.body).unwrap_or_default(),
        item,
    }
}

/// Names merged into each name.
fn merged(all: &AllSaid) -> BTreeMap<&str, Vec<String>> {
    let mut merged: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, said) in all {
        if let Some(into) = &said.naming.alias_of {
            merged.entry(into).or_default().push(name.clone());
        }
    }
    merged
}

async fn events(
    State(shared): State<Shared>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<EventAnswer>>, ApiError> {
    let all = said(&shared, EVENT_NAME).await?;
    let merged = merged(&all);
    let rows = {
        let catalogue = shared.dictionary().read();
        let seen = catalogue.events(|brand| caller.scope.sees(brand));
        let names: BTreeSet<&str> = seen
            .keys()
            .copied()
            .chain(all.keys().map(String::as_str))
            .collect();
        let row = |name: &str| {
            EventAnswer::of(
                name,
                seen.get(name),
                all.get(name),
                merged.get(name).cloned().unwrap_or_default(),
            )
        };
        names.into_iter().map(row).collect::<Vec<_>>()
    };
    list::page(rows, &query).map(Json)
}

async fn event(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(name): Segment<String>,
) -> Result<Json<EventDetail>, ApiError> {
    let all = said(&shared, EVENT_NAME).await?;
    let merged = merged(&all).remove(name.as_str()).unwrap_or_default();
    let known = all.get(&name);
    let entry = shared
        .dictionary()
        .read()
        .event_named(|brand| caller.scope.sees(brand), &name);
    if entry.is_none() && known.is_none() && merged.is_empty() {
        return Err(ApiError::not_found("name of an event"));
    }
    let row = EventAnswer::of(&name, entry.as_ref(), known, merged);
    let changes = match &entry {
        Some(entry) => changes(&shared, entry, known),
        None => Vec::new(),
    };
    let changes = changes.iter().map(|it| DriftAnswer::event(&name, it));
    Ok(Json(EventDetail::of(
        row,
        entry.as_ref(),
        known,
        changes.collect(),
        shared.dictionary().day_of(shared.now()),
        caller.scope.fields,
    )))
}

fn changes(shared: &Shared, entry: &cdp::dictionary::Entry, known: Option<&Said>) -> Vec<Drift> {
    let (now, names) = (shared.now(), shared.dictionary());
    let naming = known.map(|said| &said.naming);
    drift(
        entry,
        naming,
        now,
        names.day_of(now),
        &|at| names.day_of(at),
        &|day| names.day_start(day),
    )
}

async fn attributes(
    State(shared): State<Shared>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<AttributeAnswer>>, ApiError> {
    let all = said(&shared, ATTRIBUTE_NAME).await?;
    let merged = merged(&all);
    let (_, schema) = shared.attributes(&shared.snapshot()?)?;
    let defined: BTreeMap<&str, _> = schema
        .iter()
        .filter(|attribute| caller.scope.sees(attribute.brand))
        .map(|attribute| (&*attribute.name, attribute))
        .collect();
    let rows: Vec<_> = {
        let catalogue = shared.dictionary().read();
        let seen = catalogue.attributes(|brand| caller.scope.sees(brand));
        let names = seen.keys().copied().chain(defined.keys().copied());
        let names: BTreeSet<&str> = names.chain(all.keys().map(String::as_str)).collect();
        let row = |name: &str| {
            AttributeAnswer::of(
                name,
                seen.get(name),
                defined.get(name).copied(),
                all.get(name),
                merged.get(name).cloned().unwrap_or_default(),
            )
        };
        names.into_iter().map(row).collect()
    };
    list::page(rows, &query).map(Json)
}

async fn attribute_one(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(name): Segment<String>,
) -> Result<Json<AttributeDetail>, ApiError> {
    let all = said(&shared, ATTRIBUTE_NAME).await?;
    let merged = merged(&all).remove(name.as_str()).unwrap_or_default();
    let (_, schema) = shared.attributes(&shared.snapshot()?)?;
    let defined = schema
        .get(&name)
        .filter(|attribute| caller.scope.sees(attribute.brand));
    let seen = shared
        .dictionary()
        .read()
        .attributes(|brand| caller.scope.sees(brand))
        .remove(name.as_str());
    let known = all.get(&name);
    if seen.is_none() && defined.is_none() && known.is_none() && merged.is_empty() {
        return Err(ApiError::not_found("attribute"));
    }
    let changes = match &seen {
        Some(seen) => attribute_drift(
            seen,
            answer::expected(defined, known).as_deref(),
            shared.now(),
        ),
        None => Vec::new(),
    };
    let changes = changes.iter().map(|it| DriftAnswer::attribute(&name, it));
    let row = AttributeAnswer::of(&name, seen.as_ref(), defined, known, merged);
    Ok(Json(AttributeDetail::of(
        row,
        seen.as_ref(),
        changes.collect(),
        caller.scope.fields,
    )))
}

async fn drifts(
    State(shared): State<Shared>,
    caller: Caller,
    Query(query): Query<DriftQuery>,
) -> Result<Json<Page<DriftAnswer>>, ApiError> {
    let kinds = answer::kinds(query.kind.as_deref())?;
    let said_events = said(&shared, EVENT_NAME).await?;
    let said_attributes = said(&shared, ATTRIBUTE_NAME).await?;
    let (_, schema) = shared.attributes(&shared.snapshot()?)?;
    let wanted = |wish: &Option<String>, other: &Option<String>, name: &str| match wish {
        Some(wish) => wish == name,
        None => other.is_none(),
    };
    let blocked = |said: Option<&Said>| said.is_some_and(|said| said.status == Status::Blocked);
    let visible = |brand: BrandId| caller.scope.sees(brand);
    let mut found = Vec::new();
    let catalogue = shared.dictionary().read();
    let names: Vec<&str> = catalogue.events(visible).into_keys().collect();
    for name in names {
        let known = said_events.get(name);
        if !wanted(&query.event, &query.attribute, name) || blocked(known) {
            continue;
        }
        if let Some(entry) = catalogue.event_named(visible, name) {
            let all = changes(&shared, &entry, known);
            found.extend(
                all.iter()
                    .map(|it| (it.since, DriftAnswer::event(name, it))),
            );
        }
    }
    for (name, seen) in catalogue.attributes(visible) {
        let known = said_attributes.get(name);
        if !wanted(&query.attribute, &query.event, name) || blocked(known) {
            continue;
        }
        let defined = schema.get(name).filter(|it| caller.scope.sees(it.brand));
        let expected = answer::expected(defined, known);
        let all = attribute_drift(&seen, expected.as_deref(), shared.now());
        found.extend(
            all.iter()
                .map(|it| (it.since, DriftAnswer::attribute(name, it))),
        );
    }
    drop(catalogue);
    found.retain(|(_, it)| kinds.as_ref().is_none_or(|kinds| kinds.contains(&it.kind)));
    found.sort_by_key(|(since, _)| std::cmp::Reverse(*since));
    let paging = Paging {
        limit: query.limit,
        cursor: query.cursor,
    };
    let items = found.into_iter().map(|(_, it)| it).collect();
    Page::slice(items, &paging).map(Json)
}

async fn put_event(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(name): Segment<String>,
    headers: HeaderMap,
    Input(body): Input<Value>,
) -> Result<Written<NamingAnswer>, ApiError> {
    save::save(
        &shared,
        &caller,
        EVENT_NAME,
        &name,
        &headers,
        Edit::Put(body),
    )
    .await
}

async fn patch_event(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(name): Segment<String>,
    headers: HeaderMap,
    Input(body): Input<Value>,
) -> Result<Written<NamingAnswer>, ApiError> {
    save::save(
        &shared,
        &caller,
        EVENT_NAME,
        &name,
        &headers,
        Edit::Patch(body),
    )
    .await
}

async fn put_attribute(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(name): Segment<String>,
    headers: HeaderMap,
    Input(body): Input<Value>,
) -> Result<Written<NamingAnswer>, ApiError> {
    save::save(
        &shared,
        &caller,
        ATTRIBUTE_NAME,
        &name,
        &headers,
        Edit::Put(body),
    )
    .await
}

async fn patch_attribute(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(name): Segment<String>,
    headers: HeaderMap,
    Input(body): Input<Value>,
) -> Result<Written<NamingAnswer>, ApiError> {
    save::save(
        &shared,
        &caller,
        ATTRIBUTE_NAME,
        &name,
        &headers,
        Edit::Patch(body),
    )
    .await
}
