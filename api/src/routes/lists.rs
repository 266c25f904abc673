//! Uploaded lists: members named one by one, as identifiers or ids.
//!
//! Entries are kept as fingerprints (see [`cdp::list`]) and mean whoever has the identifier, today or later. A list is
//! `loading` until all of it is there; a JSON list of some hundred thousand fits one request, a file streams in.

mod load;
mod report;

use std::time::Duration;

use actors::machine::Rows;
use actors::model::{BrandSet, MemberId, MemberNo};
use actors::registry::{Item, ItemChange, NewItem, Print, ResourceKind};
use axum::Json;
use axum::extract::State;
use cdp::identity::row;
use pipelines::dictionary::LIST;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::app::Shared;
use crate::error::ApiError;
use crate::http::page::{ListQuery, cursor, cursor_form};
use crate::http::{Caller, Input, Page, Permission, Query, Routes, Segment, Written, doc};
use crate::resource::{
    Answer, Checked, Context, Draft, Paths, Resource, answer, author, note_item, read,
    routes as resource_routes,
};
use load::{LoadReport, Loader};

/// The routes of this topic.
pub fn routes() -> Routes {
    let tag = "Lists";
    resource_routes::<List>()
        .post(
            "/api/v1/lists",
            Permission::ListsWrite,
            create,
            doc(tag, "Upload a list").enters_itself()
                .more("Members are ids or `kind[@scope]:value`. An entry that nobody has matches whoever gets the identifier later. Larger lists: `POST /api/v1/lists/upload`.")
                .body::<ListInput>()
                .written::<ListMade>(),
        )
        .post(
            "/api/v1/lists/upload",
            Permission::ListsWrite,
            upload,
            doc(tag, "Upload a list as a file").enters_itself()
                .more("The body is CSV or plain lines, streamed; the first column counts. A first line that names a kind of identifier (`phone`), `member` or `identifier` is a head.")
                .query::<Upload>()
                .written::<ListMade>(),
        )
        .get(
            "/api/v1/lists/{id}/members",
            Permission::MembersRead,
            members,
            doc(tag, "Entries and who they mean today")
                .more("In no meaningful order. `member` is `null` for an entry that nobody has, or whose member this key may not see.")
                .query::<ListQuery>()
                .lists::<EntryView>()
                .reads(),
        )
        .and(report::routes(tag))
}

/// Lists.
pub enum List {}

/// What a list holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListBody {
    /// Different entries.
    #[serde(default)]
    pub entries: u64,
    /// How many of them meant somebody when they were uploaded; `…/report` says how many do today.
    #[serde(default)]
    pub matched: u64,
    /// Entries that stood there twice.
    #[serde(default)]
    pub duplicates: u64,
    /// Entries that are no identifiers and were left out.
    #[serde(default)]
    pub invalid: u64,
}

/// How long an upload waits for the list to be at work.
const AT_WORK_WAIT: Duration = Duration::from_secs(2);

impl Resource for List {
    type Body = ListBody;

    const KIND: ResourceKind = LIST;
    const PATHS: Paths = crate::paths!("/api/v1/lists");
    const TAG: &'static str = "Lists";
    const READ: Permission = Permission::ListsRead;
    const WRITE: Permission = Permission::ListsWrite;
    const STATES: &'static [&'static str] = &["loading", "enabled", "disabled"];
    const STATE: &'static str = "loading";
    const OWN_FIELDS: &'static [&'static str] = &["entries", "matched", "duplicates", "invalid"];
    const CREATABLE: bool = false;

    async fn check(
        _: &Context<'_>,
        draft: Draft<'_, ListBody>,
    ) -> Result<Checked<ListBody>, ApiError> {
        Ok(Checked::plain(draft.body))
    }

    async fn removed(shared: &Shared, item: &Item) -> Result<(), ApiError> {
        Ok(shared.registry().list_entry_clear(item.id).await?)
    }
}

/// A list to upload.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListInput {
    /// Name.
    pub name: String,
    /// Ids or identifiers.
    #[schema(example = json!(["phone:13800000000", "openid@wxabc:o1"]))]
    pub members: Vec<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Its folder.
    pub folder: Option<String>,
    /// The brand that owns it; left out: the group, or the only brand of the key.
    pub brand: Option<u32>,
}

/// Name and form of a file.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Upload {
    /// Name of the list.
    name: String,
    /// Kind, with scope where it needs one, of entries that do not say: `phone`, `openid@wxabc`.
    kind: Option<String>,
    /// The brand that owns it.
    brand: Option<u32>,
}

/// A list with what came of its upload.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListMade {
    /// The list.
    #[serde(flatten)]
    pub list: Answer<ListBody>,
    /// What came of the entries.
    pub report: LoadReport,
}

/// An entry.
#[derive(Debug, Serialize, ToSchema)]
pub struct EntryView {
    /// The member that it means today.
    #[schema(example = "m1k7x9q2")]
    pub member: Option<String>,
}

async fn create(
    State(shared): State<Shared>,
    caller: Caller,
    Input(input): Input<ListInput>,
) -> Result<Written<ListMade>, ApiError> {
    let mut fields = Map::new();
    for (name, value) in [("description", input.description), ("folder", input.folder)] {
        fields.extend(value.map(|value| (name.to_owned(), Value::String(value))));
    }
    let (item, new) = begin(&shared, &caller, input.name, input.brand, fields).await?;
    let mut loader = Loader::new(&shared, &caller, item.id, None).await?;
    let loaded = async {
        let mut sent = (1u32..).zip(input.members).peekable();
        while sent.peek().is_some() {
            loader
                .add(sent.by_ref().take(load::CHUNK).collect())
                .await?;
        }
        Ok(())
    };
    let loaded = loaded.await;
    finish(&shared, &caller, item, new, loader, loaded).await
}

async fn upload(
    State(shared): State<Shared>,
    caller: Caller,
    Query(upload): Query<Upload>,
    request: axum::extract::Request,
) -> Result<Written<ListMade>, ApiError> {
    let (item, new) = begin(&shared, &caller, upload.name, upload.brand, Map::new()).await?;
    let mut loader = Loader::new(&shared, &caller, item.id, upload.kind).await?;
    let loaded = loader.stream(request.into_body()).await;
    finish(&shared, &caller, item, new, loader, loaded).await
}

/// Makes the list, still without entries.
async fn begin(
    shared: &Shared,
    caller: &Caller,
    name: String,
    brand: Option<u32>,
    mut fields: Map<String, Value>,
) -> Result<(Item, NewItem), ApiError> {
    fields.insert("name".into(), name.into());
    fields.extend(brand.map(|brand| ("brand".to_owned(), brand.into())));
    let context = Context::new(shared, caller);
    let new = read::<List>(&context, None, fields).await?;
    let item = shared
        .registry()
        .resource_create(author(shared, caller), LIST, &new)
        .await?;
    Ok((item, new))
}

/// Puts the list to work, or takes it away again if it could not be read.
async fn finish(
    shared: &Shared,
    caller: &Caller,
    item: Item,
    mut new: NewItem,
    loader: Loader,
    loaded: Result<(), ApiError>,
) -> Result<Written<ListMade>, ApiError> {
    let registry = shared.registry();
    let author = author(shared, caller);
    if let Err(error) = loaded {
        registry
            .resource_delete(author, LIST, item.id, None)
            .await?;
        registry.list_entry_clear(item.id).await?;
        return Err(error);
    }
    let report = loader.report();
    let body = ListBody {
        entries: report.entries,
        matched: report.matched,
        duplicates: report.duplicates,
        invalid: report.invalid_count,
    };
    new.body = serde_json::to_string(&body).expect("a body is plain JSON");
    new.state = "enabled".to_owned();
    let change = ItemChange::Whole(new);
    let item = registry
        .resource_update(author, LIST, item.id, None, &change)
        .await?;
    let token = note_item(shared, &item).await;
    // Whoever counts next counts with it; a large one may take longer, and is at work a moment later.
    shared.audience().looked(AT_WORK_WAIT).await;
    let made = ListMade {
        list: answer::<List>(&item)?,
        report,
    };
    Ok(Written::created(token, made))
}

async fn members(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<i64>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<EntryView>>, ApiError> {
    let registry = shared.registry();
    registry.resource_get(&caller.scope, LIST, id).await?;
    let paging = query.paging();
    let limit = paging.limit()?;
    let after: Option<Print> = match paging.cursor()? {
        Some(bytes) => Some(bytes.try_into().map_err(|_| cursor_form())?),
        None => None,
    };
    let more = u32::try_from(limit).unwrap_or(u32::MAX).saturating_add(1);
    let mut entries = registry.list_entry_page(id, after, more).await?;
    let next = (entries.len() > limit).then(|| {
        entries.truncate(limit);
        entries.last().map(|last| cursor(&last.print))
    });
    let snapshot = shared.snapshot()?;
    let mut items = Vec::with_capacity(entries.len());
    for entry in entries {
        let member = match entry.ident {
            Some(ident) => row::member_of(&snapshot, ident)?,
            None => None,
        };
        let member = match member {
            Some(member) if sees(&shared, &snapshot, &caller, member)? => {
                Some(MemberId(member).to_string())
            }
            _ => None,
        };
        items.push(EntryView { member });
    }
    Ok(Json(Page {
        items,
        next_cursor: next.flatten(),
    }))
}

/// Whether the caller may know of a member. Who sees all brands sees everybody.
fn sees(
    shared: &Shared,
    snapshot: &crate::app::Snapshot,
    caller: &Caller,
    member: MemberNo,
) -> Result<bool, ApiError> {
    if caller.scope.brands == BrandSet::All {
        let found = snapshot.get(row::MEMBER, &row::key32(member.0))?;
        return Ok(found.is_some());
    }
    let found = crate::routes::members::load(shared, snapshot, &caller.scope, member)?;
    Ok(found.is_some())
}
