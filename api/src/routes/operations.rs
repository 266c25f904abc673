//! Operation: backups of the running platform, and the jobs that take long.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::app::Shared;
use crate::error::ApiError;
use crate::http::{Caller, Input, Page, Paging, Permission, Query, Routes, Segment, Written, doc};
use crate::jobs::JobView;

/// The routes of this topic.
pub fn routes() -> Routes {
    let tag = "Operation";
    let manage = Permission::OperationsManage;
    crate::http::routes()
        .get(
            "/api/v1/backups",
            manage,
            backups,
            doc(tag, "Backups, newest first")
                .query::<JobsQuery>()
                .lists::<JobView>(),
        )
        .post(
            "/api/v1/backups",
            manage,
            start_backup,
            doc(tag, "Start a backup").enters("backup", "start")
                .more(
                    "It goes into the folder of `backup.folder`, its keys apart in `NAME-keys`. Nothing stops meanwhile. \
                     Restore it with `tributary restore`.",
                )
                .body::<BackupInput>()
                .written::<JobView>(),
        )
        .get(
            "/api/v1/jobs",
            manage,
            jobs,
            doc(tag, "Long-running work, newest first")
                .query::<JobsQuery>()
                .lists::<JobView>(),
        )
        .get(
            "/api/v1/jobs/{id}",
            manage,
            job,
            doc(tag, "One job and how far it is").answers::<JobView>(),
        )
        .post(
            "/api/v1/jobs/{id}/cancel",
            manage,
            cancel,
            doc(tag, "Ask a job to stop").enters("job", "cancel").written::<JobView>(),
        )
}

/// Which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct JobsQuery {
    /// Items of a page, 1 to 500; 50 when left out.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A backup to start.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupInput {
    /// Name of its folder: letters, digits, `-` and `_`; left out: the time.
    pub name: Option<String>,
}

/// Characters of a backup's name.
const NAME_CHARS_MAX: usize = 100;

async fn backups(
    State(shared): State<Shared>,
    Query(query): Query<JobsQuery>,
) -> Result<Json<Page<JobView>>, ApiError> {
    page(shared.jobs.list(Some("backup")), query)
}

async fn jobs(
    State(shared): State<Shared>,
    Query(query): Query<JobsQuery>,
) -> Result<Json<Page<JobView>>, ApiError> {
    page(shared.jobs.list(None), query)
}

fn page(all: Vec<JobView>, query: JobsQuery) -> Result<Json<Page<JobView>>, ApiError> {
    let paging = Paging {
        limit: query.limit,
        cursor: query.cursor,
    };
    Page::slice(all, &paging).map(Json)
}

async fn job(
    State(shared): State<Shared>,
    Segment(id): Segment<u64>,
) -> Result<Json<JobView>, ApiError> {
    let job = shared.jobs.get(id);
    job.map(Json).ok_or_else(|| ApiError::not_found("job"))
}

async fn cancel(
    State(shared): State<Shared>,
    Segment(id): Segment<u64>,
) -> Result<Written<JobView>, ApiError> {
    let job = shared.jobs.cancel(id, shared.now());
    let job = job.ok_or_else(|| ApiError::not_found("job"))?;
    Ok(Written::changed(shared.token(), job))
}

async fn start_backup(
    State(shared): State<Shared>,
    caller: Caller,
    Input(input): Input<BackupInput>,
) -> Result<Written<JobView>, ApiError> {
    let name = match input.name {
        Some(name) => checked(name)?,
        // Colons are not for folders everywhere.
        None => shared.now().rfc3339().replace([':', '.'], "-"),
    };
    tracing::info!(by = caller.name, name, "backup asked for");
    let job = crate::backup::start(&shared, &name)?;
    Ok(Written::created(shared.token(), job).about(name))
}

/// A name becomes a folder: nothing of a path may be in it.
fn checked(name: String) -> Result<String, ApiError> {
    let fine = (1..=NAME_CHARS_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if fine {
        return Ok(name);
    }
    let message = "a name of a backup has 1 to 100 letters, digits, - and _";
    Err(ApiError::new("name_form", message).field("name"))
}

#[cfg(test)]
mod tests {
    use super::checked;

    #[test]
    fn a_name_is_no_path() {
        for name in ["", "..", "a/b", "a\\b", "a b", ".", &"x".repeat(101)] {
            assert!(checked(name.to_owned()).is_err(), "{name}");
        }
        assert!(checked("nightly-2026_11".to_owned()).is_ok());
    }
}
