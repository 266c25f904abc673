//! Exports of a segment's members: start one, watch it, fetch its file.

use actors::model::{BrandSet, SegmentId, Time};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use pipelines::audience::Sees;
use pipelines::effect::kafka::SCHEME;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::Shared;
use crate::error::ApiError;
use crate::export::columns::Known;
use crate::export::table::{SHEET_ROWS_MAX, SHEETS_MAX};
use crate::export::{self, Detail, Format, KIND, kept_until, worker};
use crate::http::page::ListQuery;
use crate::http::{Caller, Input, Page, Permission, Query, Routes, Segment, Written, doc};
use crate::jobs::{JobState, JobView};
use crate::objects::{Location, Object, ObjectError, Patience};
use crate::resource::load;

/// The routes of this topic.
pub fn routes() -> Routes {
    let tag = "Segments";
    let allowed = Permission::MembersExport;
    crate::http::routes()
        .post(
            "/api/v1/segments/{id}/exports",
            allowed,
            start,
            doc(tag, "Export the members of a segment").enters_itself()
                .more(
                    "A job writes a file, which is kept for 24 hours and goes away. Columns: `id status since first_seen \
                     last_seen event_count order_count identifier.KIND identifiers.other attribute.NAME tag.CODE`; without \
                     `columns` all of them but the counts. Personal fields are masked by the key's field class, and the \
                     audit chain has an entry. In CSV, texts that a spreadsheet would calculate (first character `=`, `+`, \
                     `-`, `@`, tab, return) begin with `'` unless `raw` is true; cells of XLSX are texts. Members are read \
                     page by page: who enters or leaves meanwhile may be in it or not. With `to` the finished file is written to \
                     the object store as well, all of it or nothing; with `to` `kafka:TOPIC` each line of a `jsonl` export is then a message, \
                     the member its key (an export that is interrupted is made anew, so some may come twice).",
                )
                .body::<ExportInput>()
                .written::<ExportAnswer>()
                .sees(Sees::Segments),
        )
        .get(
            "/api/v1/segments/{id}/exports",
            allowed,
            list,
            doc(tag, "Exports of a segment, newest first")
                .query::<ListQuery>()
                .lists::<ExportAnswer>(),
        )
        .get(
            "/api/v1/segments/{id}/exports/{export}",
            allowed,
            get,
            doc(tag, "One export and how far it is").answers::<ExportAnswer>(),
        )
        .post(
            "/api/v1/segments/{id}/exports/{export}/cancel",
            allowed,
            cancel,
            doc(tag, "Stop an export").enters("segment_export", "cancel")
                .more("Nothing is left of it.")
                .written::<ExportAnswer>(),
        )
        .get(
            "/api/v1/segments/{id}/exports/{export}/file",
            allowed,
            download,
            doc(tag, "The file of an export")
                .more("For the key that asked for it, and for keys that see at least as much. Each fetch is in the audit chain.")
                .media("text/csv"),
        )
}

/// An export to start.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportInput {
    /// `csv` when left out.
    #[serde(default)]
    #[schema(inline)]
    pub format: Format,
    /// Names of columns in their order; everything when left out.
    #[schema(example = json!(["id", "identifier.phone", "attribute.city", "tag.level"]))]
    pub columns: Option<Vec<String>>,
    /// CSV with texts as they are: for programs, not for spreadsheets.
    #[serde(default)]
    pub raw: bool,
    /// A folder of the configured object store, with `/` at its end, that the finished file is written to as well; or
    /// `kafka:TOPIC`, and each line of it (`jsonl`) is a message.
    #[schema(example = "s3://exports/crm/")]
    pub to: Option<String>,
}

/// An export. `counts` has `rows` and `bytes`, `uploaded_bytes` while it is written to the object store, `sent` while lines go
/// to a topic.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExportAnswer {
    /// How far it is.
    #[serde(flatten)]
    pub job: JobView,
    /// The segment.
    pub segment: u32,
    /// Format.
    #[schema(inline)]
    pub format: Format,
    /// Columns, in their order.
    pub columns: Vec<String>,
    /// Personal fields are masked.
    pub masked: bool,
    /// Where the file is, while there is one.
    pub file: Option<String>,
    /// Until when it is kept.
    pub kept_until: Option<String>,
    /// The topic that its lines are sent to, if `to` was one.
    pub topic: Option<String>,
    /// The object that it is written to, if `to` was said; there once the export is done.
    #[schema(example = "s3://exports/crm/segment-7-export-12.csv")]
    pub object: Option<String>,
}

impl ExportAnswer {
    fn of(job: JobView, detail: Detail, now: Time) -> ExportAnswer {
        let until = kept_until(&job).filter(|until| job.state == JobState::Done && now < *until);
        ExportAnswer {
            segment: detail.segment,
            format: detail.format,
            masked: export::masks(&detail.scope),
            columns: detail.columns.clone(),
            file: until.map(|_| {
                format!(
                    "/api/v1/segments/{}/exports/{}/file",
                    detail.segment, job.id
                )
            }),
            kept_until: until.map(Time::rfc3339),
            topic: detail.topic.clone(),
            object: detail.object(job.id).map(|object| object.to_string()),
            job,
        }
    }
}

async fn start(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<u32>,
    Input(input): Input<ExportInput>,
) -> Result<Written<ExportAnswer>, ApiError> {
    let segment = load::<super::Segment>(&shared, &caller, &id.to_string()).await?;
    let brands = caller.scope.brands.clone();
    let now = shared
        .ask(move |audience| audience.segment(&brands, SegmentId(id)))
        .await?;
    let rows_max = SHEET_ROWS_MAX * SHEETS_MAX;
    if input.format == Format::Xlsx && now.count.unwrap_or(0) > rows_max {
        let message = format!("a workbook takes {rows_max} members: take csv");
        return Err(ApiError::new("body_invalid", message).field("format"));
    }
    let known = {
        let (shared, scope) = (shared.clone(), caller.scope.clone());
        let read = tokio::task::spawn_blocking(move || Known::read(&shared, &scope)).await;
        read.map_err(|error| {
            tracing::error!(%error, "columns cannot be read");
            ApiError::new("internal", "the server could not do this")
        })??
    };
    let columns = input.columns.unwrap_or_else(|| known.all());
    known.check(&columns)?;
    let (mut to, mut topic) = (None, None);
    if let Some(text) = &input.to {
        match text.strip_prefix(SCHEME) {
            Some(name) => topic = Some(checked_topic(&shared, &caller, name, input.format)?),
            None => to = Some(folder(&shared, &caller, text).await?),
        }
    }
    let detail = Detail {
        segment: id,
        format: input.format,
        columns,
        raw: input.raw,
        scope: caller.scope.clone(),
        key: caller.key,
        by: caller.name.clone(),
        from: caller.address.clone(),
        to,
        topic,
    };
    let value = serde_json::to_value(&detail).expect("texts and numbers always serialise");
    tracing::info!(by = caller.name, segment = id, "export asked for");
    let job = shared
        .jobs
        .enqueue(KIND, segment.name, value, shared.now())
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::StorageFull => ApiError::new("disk_full", "the disk is full"),
            std::io::ErrorKind::QuotaExceeded => {
                ApiError::new("busy", "too many exports are waiting")
            }
            _ => {
                tracing::error!(%error, "an export cannot be noted");
                ApiError::new("file_io", "the server could not do this")
            }
        })?;
    let answer = ExportAnswer::of(job, detail, shared.now());
    Ok(Written::created(None, answer))
}

/// Whether who sees `all` sees everything that `some` shows.
fn covers(all: &BrandSet, some: &BrandSet) -> bool {
    match (all, some) {
        (BrandSet::All, _) => true,
        (BrandSet::Only(_), BrandSet::All) => false,
        (BrandSet::Only(all), BrandSet::Only(some)) => some.iter().all(|it| all.contains(it)),
    }
}

/// The folder of the object store that a caller names. What can be told now is not told later: whether the store is there,
/// has the bucket and takes our keys.
async fn folder(shared: &Shared, caller: &Caller, text: &str) -> Result<Location, ApiError> {
    let buckets = caller.needs_everything("exports into the object store");
    buckets.map_err(|error| error.field("to"))?;
    let wrong = |error: ObjectError| ApiError::from(error).field("to");
    let folder = Location::parse_folder(text).map_err(wrong)?;
    let settings = shared.config.object_store.as_ref();
    let probe = folder.below("segment-0-export-0.csv");
    let probe = Object::open(settings, &probe, Patience::Asked).map_err(wrong)?;
    match probe.look().await {
        // Keys that write only may not look.
        Ok(_) | Err(ObjectError::NoObject { .. } | ObjectError::Denied { .. }) => Ok(folder),
        Err(error) => Err(wrong(error)),
    }
}

/// The topic that a caller names.
fn checked_topic(
    shared: &Shared,
    caller: &Caller,
    name: &str,
    format: Format,
) -> Result<String, ApiError> {
    let topics = caller.needs_everything("exports to Kafka");
    topics.map_err(|error| error.field("to"))?;
    super::super::webhooks::topic(shared, name)
        .map_err(|message| ApiError::new("body_invalid", message).field("to"))?;
    if format != Format::Jsonl {
        let message = "a message is a line of a jsonl export: say \"format\": \"jsonl\"";
        return Err(ApiError::new("body_invalid", message).field("format"));
    }
    Ok(name.to_owned())
}

/// Whether a caller may know of an export: who asked for it, and who sees everything.
fn sees(caller: &Caller, detail: &Detail) -> bool {
    detail.key == caller.key || caller.scope.brands == BrandSet::All
}

async fn known(
    shared: &Shared,
    caller: &Caller,
    segment: u32,
    id: u64,
) -> Result<(JobView, Detail), ApiError> {
    load::<super::Segment>(shared, caller, &segment.to_string()).await?;
    shared
        .jobs
        .detail(id)
        .filter(|(job, _)| job.kind == KIND)
        .and_then(|(job, detail)| Some((job, serde_json::from_value::<Detail>(detail).ok()?)))
        .filter(|(_, detail)| detail.segment == segment && sees(caller, detail))
        .ok_or_else(|| ApiError::not_found("export"))
}

async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<u32>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<ExportAnswer>>, ApiError> {
    load::<super::Segment>(&shared, &caller, &id.to_string()).await?;
    let now = shared.now();
    let all = shared
        .jobs
        .list_details(Some(KIND))
        .into_iter()
        .filter_map(|(job, detail)| Some((job, serde_json::from_value::<Detail>(detail).ok()?)))
        .filter(|(_, detail)| detail.segment == id && sees(&caller, detail))
        .map(|(job, detail)| ExportAnswer::of(job, detail, now))
        .collect();
    Page::slice(all, &query.paging()).map(Json)
}

async fn get(
    State(shared): State<Shared>,
    caller: Caller,
    Segment((segment, id)): Segment<(u32, u64)>,
) -> Result<Json<ExportAnswer>, ApiError> {
    let (job, detail) = known(&shared, &caller, segment, id).await?;
    Ok(Json(ExportAnswer::of(job, detail, shared.now())))
}

async fn cancel(
    State(shared): State<Shared>,
    caller: Caller,
    Segment((segment, id)): Segment<(u32, u64)>,
) -> Result<Written<ExportAnswer>, ApiError> {
    let (_, detail) = known(&shared, &caller, segment, id).await?;
    let job = shared.jobs.cancel(id, shared.now());
    let job = job.ok_or_else(|| ApiError::not_found("export"))?;
    let answer = ExportAnswer::of(job, detail, shared.now());
    Ok(Written::changed(None, answer))
}

async fn download(
    State(shared): State<Shared>,
    caller: Caller,
    Segment((segment, id)): Segment<(u32, u64)>,
) -> Result<Response, ApiError> {
    let (job, mut detail) = known(&shared, &caller, segment, id).await?;
    if job.state != JobState::Done {
        let message = "this export has no file: it is not done";
        return Err(ApiError::new("export_not_ready", message));
    }
    // Its key may see less today than when it asked.
    let brands = covers(&caller.scope.brands, &detail.scope.brands);
    if caller.scope.fields < detail.scope.fields || !brands {
        let message = "this file shows more than this key may see: start an export with it";
        return Err(ApiError::new("permission_missing", message));
    }
    let gone = || {
        ApiError::new(
            "export_gone",
            "the file has been removed after its time was up",
        )
    };
    if kept_until(&job).is_none_or(|until| until <= shared.now()) {
        return Err(gone());
    }
    let path = export::file(&shared.jobs, id, detail.format).ok_or_else(gone)?;
    let file = tokio::fs::File::open(path).await.map_err(|_| gone())?;
    let bytes = file.metadata().await.map_err(|_| gone())?.len();
    (detail.by, detail.from) = (caller.name, caller.address);
    let rows = job.counts.get("rows").copied().unwrap_or(0);
    worker::audit(&shared, &detail, id, "download", rows).await?;
    let mut response = crate::http::file_body(file).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(detail.format.media()),
    );
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let name = format!(
        "attachment; filename=\"segment-{segment}-export-{id}.{}\"",
        detail.format.ending()
    );
    let name = HeaderValue::try_from(name).expect("numbers are ASCII");
    headers.insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}
