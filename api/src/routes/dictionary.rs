//! The dictionary: names of events, properties and attributes; what is seen in them, what changed, what people say of them.
//!
//! Names appear by themselves, with status `new`, when an event brings them. What people write of a name is a resource of
//! the group; what of that changes events (merging, blocking) is published as a definition in the same transaction.

mod answer;
mod changes;
mod list;
mod save;
mod users;

use std::collections::{BTreeMap, BTreeSet};

use actors::model::Scope;
use actors::registry::{Item, ResourceKind};
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use cdp::dictionary::{Naming, Status, attribute_drift};
use ingest::file::Known;
use pipelines::dictionary::{ATTRIBUTE_NAME, EVENT_NAME};
use serde_json::Value;

use self::answer::{
    AttributeDetail, AttributeNameAnswer, DriftAnswer, EventDetail, EventNameAnswer, NamingAnswer,
    NamingInput,
};
use self::changes::{DriftQuery, changes, drifts};
use self::list::ListQuery;
use self::save::Edit;
use crate::app::Shared;
use crate::error::ApiError;
use crate::http::{Caller, Input, Page, Permission, Query, Routes, Segment, Written, doc};

/// The routes of this topic.
pub fn routes() -> Routes {
    let tag = "Dictionary";
    let (read, write) = (Permission::DefinitionsRead, Permission::DefinitionsWrite);
    let merging = "`alias_of` merges the name into another: from then on events under it are recorded as that one, with the \
         property `$original_name`. `status: blocked` turns events away: into the dead-letter list with the reason \
         `event_blocked`, or (`on_block: drop`) nowhere, counted as `events_blocked`. A property that is blocked is left out \
         of events. While rules of segments or tags ask about the name or the property, merging and blocking are refused \
         (`409 in_use`, with them). `If-Match` or `version` refuses the change if another has come since.";
    let attribute = "`alias_of` and `status: blocked` rename an attribute in what events tell, or leave it out; both are \
         refused while rules of segments or tags ask about it (`409 in_use`, with them). \
         `If-Match` or `version` refuses the change if another has come since.";
    crate::http::routes()
        .get(
            "/api/v1/dictionary/events",
            read,
            events,
            doc(tag, "Names of events, seen or named")
                .more("Events of test sources are not counted.")
                .query::<ListQuery>()
                .lists::<EventNameAnswer>()
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
            put::<Events>,
            doc(tag, "Say what an event is").enters_itself()
                .more(merging)
                .body::<NamingInput>()
                .written::<NamingAnswer>(),
        )
        .patch(
            "/api/v1/dictionary/events/{name}",
            write,
            patch::<Events>,
            doc(tag, "Change some of what is said of an event").enters_itself()
                .more("Objects are changed field by field; `null` takes one out.")
                .body::<NamingInput>()
                .written::<NamingAnswer>(),
        )
        .get(
            "/api/v1/dictionary/attributes",
            read,
            attributes,
            doc(tag, "Attributes, seen, named or defined")
                .query::<ListQuery>()
                .lists::<AttributeNameAnswer>()
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
            put::<Attributes>,
            doc(tag, "Say what an attribute is").enters_itself()
                .more(attribute)
                .body::<NamingInput>()
                .written::<NamingAnswer>(),
        )
        .patch(
            "/api/v1/dictionary/attributes/{name}",
            write,
            patch::<Attributes>,
            doc(tag, "Change some of what is said of an attribute").enters_itself()
                .more("Objects are changed field by field; `null` takes one out.")
                .body::<NamingInput>()
                .written::<NamingAnswer>(),
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
                .lists::<DriftAnswer>()
                .counts(),
        )
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

/// What the dictionary knows, for mappings of files: names and what people call them. Blocked ones are not offered.
pub async fn known(shared: &Shared) -> Result<Known, ApiError> {
    fn titles<'t>(texts: impl IntoIterator<Item = &'t str>) -> Vec<String> {
        let texts = texts.into_iter().filter(|text| !text.is_empty());
        texts.map(str::to_owned).collect()
    }
    let (_, schema) = shared.attributes(&shared.snapshot()?)?;
    let mut known = Known::default();
    for attribute in schema.iter() {
        let called = titles([&*attribute.title.zh, &*attribute.title.en]);
        known.traits.push((attribute.name.to_string(), called));
    }
    for (name, said) in said(shared, ATTRIBUTE_NAME).await? {
        if said.status != Status::Blocked {
            let into = said.naming.alias_of.unwrap_or(name);
            let called = titles([&*said.naming.title.zh, &*said.naming.title.en]);
            known.traits.push((into, called));
        }
    }
    for said in said(shared, EVENT_NAME).await?.into_values() {
        for (name, property) in said.naming.properties {
            if property.status != Status::Blocked {
                let into = property.alias_of.unwrap_or(name);
                let called = titles([&*property.title.zh, &*property.title.en]);
                known.properties.push((into, called));
            }
        }
    }
    Ok(known)
}

async fn events(
    State(shared): State<Shared>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<EventNameAnswer>>, ApiError> {
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
            EventNameAnswer::of(
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
    let row = EventNameAnswer::of(&name, entry.as_ref(), known, merged);
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

async fn attributes(
    State(shared): State<Shared>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<AttributeNameAnswer>>, ApiError> {
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
            AttributeNameAnswer::of(
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
    let row = AttributeNameAnswer::of(&name, seen.as_ref(), defined, known, merged);
    Ok(Json(AttributeDetail::of(
        row,
        seen.as_ref(),
        changes.collect(),
        caller.scope.fields,
    )))
}

/// Names of one kind of thing.
trait Names: Send + 'static {
    /// What people say of them.
    const KIND: ResourceKind;
}

/// Of events.
enum Events {}

impl Names for Events {
    const KIND: ResourceKind = EVENT_NAME;
}

/// Of attributes.
enum Attributes {}

impl Names for Attributes {
    const KIND: ResourceKind = ATTRIBUTE_NAME;
}

async fn put<N: Names>(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(name): Segment<String>,
    headers: HeaderMap,
    Input(body): Input<Value>,
) -> Result<Written<NamingAnswer>, ApiError> {
    save::save(&shared, &caller, N::KIND, &name, &headers, Edit::Put(body)).await
}

async fn patch<N: Names>(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(name): Segment<String>,
    headers: HeaderMap,
    Input(body): Input<Value>,
) -> Result<Written<NamingAnswer>, ApiError> {
    save::save(
        &shared,
        &caller,
        N::KIND,
        &name,
        &headers,
        Edit::Patch(body),
    )
    .await
}
