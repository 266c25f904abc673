//! Files in over HTTP: bring a file, have a mapping guessed, look at the first rows, import, watch.

use std::fs::File;
use std::path::PathBuf;

use actors::model::{BrandSet, SourceId};
use actors::registry::Source;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use ingest::file::{Content, FileError, Mapping, suggest};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::Shared;
use crate::error::ApiError;
use crate::http::page::ListQuery;
use crate::http::{
    Caller, Input, Page, Permission, Query, Routes, Segment, Written, doc, read_to_file,
};
use crate::import::dry::{self, DryRun};
use crate::import::object::{From, LookError, Looked, look};
use crate::import::sink::find_or_make;
use crate::import::uploads::{Upload, below};
use crate::import::worker::{self, Detail, KIND};
use crate::jobs::{JobState, JobView};
use crate::objects::{Location, ObjectError};

/// The routes of this topic.
pub fn routes() -> Routes {
    let tag = "Imports";
    let write = Permission::SourcesWrite;
    crate::http::routes()
        .post(
            "/api/v1/imports/files",
            write,
            upload,
            doc(tag, "Bring a file").enters("import_file", "create")
                .more(
                    "The body is the file itself: CSV, XLSX, Parquet or JSON lines, packed with gzip or not. It waits \
                     two days for its import and goes away with it.",
                )
                .query::<UploadQuery>()
                .body::<Vec<u8>>()
                .written::<UploadAnswer>(),
        )
        .post(
            "/api/v1/imports/suggest",
            write,
            suggest_mapping,
            doc(tag, "Guess a mapping for a file").changes_nothing()
                .more("From the names of the columns, in Chinese and English, the attributes in force and the first values.")
                .body::<SuggestInput>()
                .answers::<SuggestAnswer>(),
        )
        .post(
            "/api/v1/imports/dry-run",
            write,
            dry_run,
            doc(tag, "Show what the first hundred rows would become").changes_nothing()
                .more("Nothing is written.")
                .body::<DryRunInput>()
                .answers::<DryRun>(),
        )
        .post(
            "/api/v1/imports",
            write,
            start,
            doc(tag, "Import a file").enters("import", "start")
                .more(
                    "Imports are done one after the other. One that a crash interrupted goes on by itself; importing a \
                     file again changes nothing. An object is copied to the server's disk first (`counts.copied_bytes`); one \
                     that changes meanwhile is refused.",
                )
                .body::<ImportInput>()
                .written::<ImportAnswer>(),
        )
        .get(
            "/api/v1/imports",
            write,
            list,
            doc(tag, "Imports, newest first")
                .query::<ListQuery>()
                .lists::<ImportAnswer>(),
        )
        .get(
            "/api/v1/imports/{id}",
            write,
            get,
            doc(tag, "One import and how far it is").answers::<ImportAnswer>(),
        )
        .post(
            "/api/v1/imports/{id}/cancel",
            write,
            cancel,
            doc(tag, "Stop an import").enters("import", "cancel")
                .more("Rows that were sent stay.")
                .written::<ImportAnswer>(),
        )
        .post(
            "/api/v1/imports/{id}/resume",
            write,
            resume,
            doc(tag, "Let an import that failed or was cancelled go on").enters("import", "resume")
                .written::<ImportAnswer>(),
        )
        .get(
            "/api/v1/imports/{id}/rejects",
            write,
            rejects,
            doc(tag, "Rows that were set aside, as CSV")
                .more(
                    "With number, reason and the row itself. A leading `'` guards cells that a spreadsheet would \
                     calculate.",
                )
                .media("text/csv"),
        )
}

/// What a file is called.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UploadQuery {
    /// For people: 1 to 200 characters.
    name: Option<String>,
}

/// A file that waits for its import.
#[derive(Debug, Serialize, ToSchema)]
pub struct UploadAnswer {
    /// Its number, for the other calls.
    pub file: u64,
    /// What it is called.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// Its format.
    #[schema(example = "xlsx")]
    pub format: String,
}

/// Which file.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SuggestInput {
    /// Number of a file that was brought.
    pub file: Option<u64>,
    /// Or the path of one below the folder `import.folder` of the server.
    pub path: Option<String>,
    /// Or an object of the configured object store.
    #[schema(example = "s3://crm-files/2026/orders.csv.gz")]
    pub object: Option<String>,
}

/// A guessed mapping.
#[derive(Debug, Serialize, ToSchema)]
pub struct SuggestAnswer {
    /// Format and what was found out about the file.
    #[schema(example = "csv, gb18030")]
    pub about: String,
    /// The mapping as TOML.
    pub mapping: String,
    /// The file's columns.
    pub columns: Vec<SuggestedColumn>,
}

/// A column.
#[derive(Debug, Serialize, ToSchema)]
pub struct SuggestedColumn {
    /// As the file calls it.
    pub name: String,
    /// Where it goes.
    #[schema(example = "order.line.sku")]
    pub place: String,
    /// Some of its values.
    pub samples: Vec<String>,
}

/// Which file, read how.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DryRunInput {
    /// Number of a file that was brought.
    pub file: Option<u64>,
    /// Or the path of one below the folder `import.folder` of the server.
    pub path: Option<String>,
    /// Or an object of the configured object store.
    #[schema(example = "s3://crm-files/2026/orders.csv.gz")]
    pub object: Option<String>,
    /// The mapping as TOML; left out: its lines are events of our own JSON.
    pub mapping: Option<String>,
}

/// An import to start.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportInput {
    /// Number of a file that was brought.
    pub file: Option<u64>,
    /// Or the path of one below the folder `import.folder` of the server.
    pub path: Option<String>,
    /// Or an object of the configured object store.
    #[schema(example = "s3://crm-files/2026/orders.csv.gz")]
    pub object: Option<String>,
    /// The mapping as TOML; left out: its lines are events of our own JSON.
    pub mapping: Option<String>,
    /// The source that the events come from; left out: the group's source `import`, made if it is not there.
    pub source: Option<u32>,
}

/// An import.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImportAnswer {
    /// The job. Its `counts` are `rows` read and `rejected`, both also while it runs.
    #[serde(flatten)]
    pub job: JobView,
    /// The source that the events come from.
    pub source: u32,
    /// The mapping.
    pub mapping: Option<String>,
}

/// Characters of a file's name.
const NAME_CHARS_MAX: usize = 200;

async fn upload(
    State(shared): State<Shared>,
    caller: Caller,
    Query(query): Query<UploadQuery>,
    request: Request,
) -> Result<Written<UploadAnswer>, ApiError> {
    let name = query.name.unwrap_or_else(|| "file".to_owned());
    if name.is_empty()
        || name.chars().count() > NAME_CHARS_MAX
        || name.chars().any(char::is_control)
    {
        let message = "a name of a file has 1 to 200 characters without control characters";
        return Err(ApiError::new("name_form", message).field("name"));
    }
    let uploads = worker::uploads(&shared);
    let (parts, body) = request.into_parts();
    let max = shared.config.import.upload_bytes_max;
    let within = shared.config.http.body_timeout;
    let id = uploads
        .begin(shared.now(), || shared.nonce())
        .map_err(disk)?;
    let content = uploads.content(id);
    let stored = match read_to_file(&parts.headers, body, &content, max, within).await {
        Ok(bytes) => {
            blocking(move || {
                let content = Content::file(File::open(&content).map_err(disk)?).map_err(disk)?;
                let format = ingest::file::format_of(content)?;
                Ok((bytes, format))
            })
            .await
        }
        Err(error) => Err(error),
    };
    let stored = stored.and_then(|(bytes, format)| {
        let upload = Upload {
            id,
            name,
            bytes,
            format: format.to_owned(),
            key: caller.key,
            at_ms: shared.now().0,
        };
        uploads.finish(&upload).map_err(disk)?;
        Ok(upload)
    });
    let upload = stored.inspect_err(|_| uploads.remove(id))?;
    worker::clean(&shared);
    let answer = UploadAnswer {
        file: upload.id,
        name: upload.name,
        bytes: upload.bytes,
        format: upload.format,
    };
    Ok(Written::created(None, answer).about(upload.id))
}

/// A file that a caller may use.
struct Chosen {
    path: PathBuf,
    name: String,
    upload: Option<u64>,
    object: Option<Looked>,
}

impl Chosen {
    /// For a look at its begin. Blocks its thread.
    fn open(&self) -> Result<Content, ApiError> {
        match &self.object {
            Some(looked) => looked
                .content(&tokio::runtime::Handle::current())
                .map_err(|error| match error {
                    LookError::Object(error) => ApiError::from(error).field("object"),
                    LookError::File(error) => error.into(),
                }),
            None => File::open(&self.path).and_then(Content::file).map_err(disk),
        }
    }
}

async fn choose(
    shared: &Shared,
    caller: &Caller,
    file: Option<u64>,
    path: Option<String>,
    object: Option<String>,
) -> Result<Chosen, ApiError> {
    match (file, path, object) {
        (None, None, Some(name)) => {
            caller.needs_everything("objects of the object store")?;
            let wrong = |error: ObjectError| ApiError::from(error).field("object");
            let location = Location::parse_one(&name).map_err(wrong)?;
            let looked = look(shared.config.object_store.as_ref(), &location).await;
            Ok(Chosen {
                path: PathBuf::new(),
                name: location.to_string(),
                upload: None,
                object: Some(looked.map_err(wrong)?),
            })
        }
        (Some(id), None, None) => {
            let uploads = worker::uploads(shared);
            let upload = uploads.get(id, caller.key);
            let upload = upload.ok_or_else(|| ApiError::not_found("file"))?;
            Ok(Chosen {
                path: uploads.content(id),
                name: upload.name,
                upload: Some(id),
                object: None,
            })
        }
        (None, Some(name), None) => {
            caller.needs_everything("files of the server")?;
            let root = shared.config.import.folder.as_deref().ok_or_else(|| {
                let message = "the server has no `import.folder`: bring the file instead";
                ApiError::new("parameter_form", message).field("path")
            })?;
            let path = below(root, &name).ok_or_else(|| ApiError::not_found("file"))?;
            Ok(Chosen {
                path,
                name,
                upload: None,
                object: None,
            })
        }
        _ => {
            let message = "say one of `file`, `path` and `object`";
            Err(ApiError::new("body_invalid", message).field("file"))
        }
    }
}

async fn suggest_mapping(
    State(shared): State<Shared>,
    caller: Caller,
    Input(input): Input<SuggestInput>,
) -> Result<Json<SuggestAnswer>, ApiError> {
    let chosen = choose(&shared, &caller, input.file, input.path, input.object).await?;
    let known = super::dictionary::known(&shared).await?;
    let found = blocking(move || {
        // What the store says is told as such, not as a file that cannot be read.
        let first = chosen.open()?;
        let first = std::cell::Cell::new(Some(first));
        let open = || match first.take() {
            Some(content) => Ok(content),
            None => chosen
                .open()
                .map_err(|error| std::io::Error::other(error.message().to_owned())),
        };
        Ok(suggest(open, &known)?)
    })
    .await?;
    Ok(Json(SuggestAnswer {
        about: found.about,
        mapping: found.mapping,
        columns: found
            .columns
            .into_iter()
            .map(|column| SuggestedColumn {
                name: column.name,
                place: column.place,
                samples: column.samples,
            })
            .collect(),
    }))
}

async fn dry_run(
    State(shared): State<Shared>,
    caller: Caller,
    Input(input): Input<DryRunInput>,
) -> Result<Json<DryRun>, ApiError> {
    let chosen = choose(&shared, &caller, input.file, input.path, input.object).await?;
    let mapping = checked(input.mapping.as_deref())?;
    let now = shared.now();
    let run = blocking(move || {
        let content = chosen.open()?;
        Ok(dry::run(content, mapping.as_ref(), now)?)
    });
    Ok(Json(run.await?))
}

fn checked(mapping: Option<&str>) -> Result<Option<Mapping>, ApiError> {
    let parsed = mapping.map(Mapping::parse).transpose();
    parsed.map_err(|errors| ApiError::new("mapping", errors.to_string()).field("mapping"))
}

async fn start(
    State(shared): State<Shared>,
    caller: Caller,
    Input(input): Input<ImportInput>,
) -> Result<Written<ImportAnswer>, ApiError> {
    let chosen = choose(&shared, &caller, input.file, input.path, input.object).await?;
    let mapping = checked(input.mapping.as_deref())?;
    // What can be told now is not told later: the format, and whether the mapping fits the columns.
    let now = shared.now();
    let settings = shared.config.object_store.as_ref();
    let spool_bytes_max = settings.map_or(0, |settings| settings.spool_bytes_max);
    let chosen = blocking(move || {
        let large = match &chosen.object {
            None => false,
            Some(looked) => {
                looked.fits(spool_bytes_max)?;
                // A table too large for a look is looked at when it is here.
                looked.is_large_table(&tokio::runtime::Handle::current())?
            }
        };
        if !large {
            dry::check(chosen.open()?, mapping.as_ref(), now)?;
        }
        Ok(chosen)
    })
    .await?;
    let source = source(&shared, &caller, input.source).await?;
    let detail = Detail {
        input: chosen.path,
        object: chosen.object.map(|looked| From {
            location: looked.object.location().clone(),
            pin: looked.pin,
        }),
        upload: chosen.upload,
        mapping: input.mapping,
        source: source.id.0,
        brand: source.brand.0,
        key: caller.key,
    };
    let value = serde_json::to_value(&detail).map_err(|error| {
        ApiError::new("body_invalid", format!("the path is no text: {error}")).field("path")
    })?;
    tracing::info!(by = caller.name, file = chosen.name, "import asked for");
    let job = shared.jobs.enqueue(KIND, chosen.name, value, shared.now());
    let job = job.map_err(disk)?;
    let item = job.id;
    let brand = source.brand;
    Ok(Written::created(None, answer(job, detail))
        .about(item)
        .of_brand(brand))
}

async fn source(shared: &Shared, caller: &Caller, id: Option<u32>) -> Result<Source, ApiError> {
    let registry = shared.registry();
    let id = match id {
        Some(id) => SourceId(id),
        None => find_or_make(registry, "import").await?.id,
    };
    let source = registry.source_get(&caller.scope, id).await?;
    if !source.enabled {
        return Err(ApiError::new("source_disabled", "this source is disabled"));
    }
    Ok(source)
}

fn answer(job: JobView, detail: Detail) -> ImportAnswer {
    ImportAnswer {
        job,
        source: detail.source,
        mapping: detail.mapping,
    }
}

/// Whether a caller may see an import: who asked for it, who sees everything, and who sees the brand that owns its source.
fn sees(caller: &Caller, detail: &Detail) -> bool {
    let brand = actors::model::BrandId(detail.brand);
    detail.key == caller.key
        || caller.scope.brands == BrandSet::All
        || (brand.0 != 0 && caller.scope.sees(brand))
}

async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<ImportAnswer>>, ApiError> {
    let all = shared
        .jobs
        .list_details(Some(KIND))
        .into_iter()
        .filter_map(|(job, detail)| Some((job, serde_json::from_value(detail).ok()?)))
        .filter(|(_, detail)| sees(&caller, detail))
        .map(|(job, detail)| answer(job, detail))
        .collect();
    Page::slice(all, &query.paging()).map(Json)
}

fn known(shared: &Shared, caller: &Caller, id: u64) -> Result<(JobView, Detail), ApiError> {
    shared
        .jobs
        .detail(id)
        .filter(|(job, _)| job.kind == KIND)
        .and_then(|(job, detail)| Some((job, serde_json::from_value(detail).ok()?)))
        .filter(|(_, detail)| sees(caller, detail))
        .ok_or_else(|| ApiError::not_found("import"))
}

async fn get(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<u64>,
) -> Result<Json<ImportAnswer>, ApiError> {
    let (job, detail) = known(&shared, &caller, id)?;
    Ok(Json(answer(job, detail)))
}

async fn cancel(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<u64>,
) -> Result<Written<ImportAnswer>, ApiError> {
    let (_, detail) = known(&shared, &caller, id)?;
    let job = shared.jobs.cancel(id, shared.now());
    let job = job.ok_or_else(|| ApiError::not_found("import"))?;
    Ok(Written::changed(None, answer(job, detail)))
}

async fn resume(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<u64>,
) -> Result<Written<ImportAnswer>, ApiError> {
    let (job, detail) = known(&shared, &caller, id)?;
    let again = match job.state {
        JobState::Failed | JobState::Cancelled => {
            if let Some(upload) = detail.upload
                && !worker::uploads(&shared).content(upload).exists()
            {
                let message = "the file of this import is gone";
                return Err(ApiError::new("file_gone", message));
            }
            shared.jobs.again(id)
        }
        _ => None,
    };
    let job = again.ok_or_else(|| {
        ApiError::new(
            "conflict",
            "only an import that failed or was cancelled can go on",
        )
    })?;
    Ok(Written::changed(None, answer(job.map_err(disk)?, detail)))
}

async fn rejects(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<u64>,
) -> Result<Response, ApiError> {
    let (job, _) = known(&shared, &caller, id)?;
    let path = worker::rejects(&shared.jobs, id);
    let path = path.ok_or_else(|| ApiError::not_found("import"))?;
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"rejects.csv\"",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    // No file: nothing was set aside.
    let body = match tokio::fs::File::open(path).await {
        Ok(file) => crate::http::file_body(file),
        Err(_) if job.ended.is_some() && job.counts.get("rejected").is_some_and(|it| *it > 0) => {
            return Err(ApiError::new(
                "rejects_gone",
                "the rejected rows of this import are gone",
            ));
        }
        Err(_) => crate::import::rejects::HEADER.into(),
    };
    Ok((headers, body).into_response())
}

/// Runs what reads files where blocking is allowed.
async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(call).await;
    done.map_err(|error| {
        tracing::error!(%error, "reading a file failed");
        ApiError::new("internal", "the server could not do this")
    })?
}

/// A file of ours cannot be read or written.
fn disk(source: std::io::Error) -> ApiError {
    match source.kind() {
        std::io::ErrorKind::StorageFull => ApiError::new("disk_full", "the disk is full"),
        std::io::ErrorKind::QuotaExceeded => ApiError::new("busy", "too many imports are waiting"),
        _ => ApiError::from(FileError::Io { byte: 0, source }),
    }
}
