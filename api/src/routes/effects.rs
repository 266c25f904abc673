//! Effects that wait, failed or are held, and what a person does about them.

use actors::machine::EffectMark;
use actors::model::Token;
use actors::runtime::effects::{self, EffectRow, EffectState, Which};
use axum::Json;
use axum::extract::State;
use cdp::control::Control;
use cdp::webhook::{CHANNEL, Notice};
use pipelines::effect::leaves;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::Shared;
use crate::error::ApiError;
use crate::http::page::cursor;
use crate::http::{Caller, Input, Page, Paging, Permission, Query, Routes, Segment, Written, doc};

/// The routes of this topic.
pub fn routes() -> Routes {
    let tag = "Effects";
    let manage = Permission::OperationsManage;
    crate::http::routes()
        .get(
            "/api/v1/effects",
            manage,
            list,
            doc(tag, "What is to be done outside and is not done yet")
                .query::<EffectsQuery>()
                .lists::<EffectAnswer>()
                .reads(),
        )
        .get(
            "/api/v1/effects/hold",
            manage,
            hold,
            doc(tag, "Whether effects wait for a person, and why").answers::<HoldAnswer>(),
        )
        .post(
            "/api/v1/effects/release",
            manage,
            release,
            doc(tag, "Let held effects go: all of them, or chosen ones").enters("effects", "release")
                .more(
                    "After a restore effects are held: what the backup had not sent may have been sent since. Without \
                     `keys` the hold ends.",
                )
                .body::<ChoiceInput>()
                .written::<ChoiceAnswer>(),
        )
        .post(
            "/api/v1/effects/discard",
            manage,
            discard,
            doc(tag, "Forget effects: chosen ones, or (without `keys`) all that are held").enters("effects", "discard")
                .body::<ChoiceInput>()
                .written::<ChoiceAnswer>(),
        )
        .post(
            "/api/v1/effects/{key}/retry",
            manage,
            retry,
            doc(tag, "Try one again that was given up").enters("effect", "retry").written::<EffectAnswer>(),
        )
        .post(
            "/api/v1/effects/{key}/discard",
            manage,
            discard_one,
            doc(tag, "Forget one").enters("effect", "discard").written::<EffectAnswer>(),
        )
}

/// Rows that one page reads at most: a filter that rarely matches answers a short page with a cursor.
const PAGE_READS_MAX: usize = 10_000;
/// Effects that one request names.
const KEYS_MAX: usize = 1_000;
/// Marks of one record.
const MARKS_MAX: usize = 256;

/// Which effects.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EffectsQuery {
    /// Items of a page, 1 to 500; 50 when left out.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only `waiting`, `sending`, `held` or `dead`; left out: all.
    #[param(value_type = Option<String>)]
    state: Option<EffectPhase>,
    /// Only those for this target of a channel, e.g. a webhook's number.
    target: Option<u64>,
}

/// How far an effect has come, as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EffectPhase {
    /// It goes at its due time.
    Waiting,
    /// It is being sent.
    Sending,
    /// It waits for a person, after a restore.
    Held,
    /// Given up.
    Dead,
}

/// An effect.
#[derive(Debug, Serialize, ToSchema)]
pub struct EffectAnswer {
    /// Its key; a webhook gets it as `webhook-id: msg_KEY`.
    pub key: String,
    /// Which channel.
    pub channel: String,
    /// Whom, e.g. the webhook's number.
    pub target: u64,
    /// What it tells, e.g. `event`, `member.merged`.
    pub what: String,
    /// How far it has come.
    pub state: EffectPhase,
    /// Calls so far.
    pub attempts: u32,
    /// Not sent before; of a dead one: since when.
    pub due: String,
    /// When it was decided.
    pub created: String,
    /// Why the last call did not work.
    pub reason: Option<String>,
}

/// Whether effects are held.
#[derive(Debug, Serialize, ToSchema)]
pub struct HoldAnswer {
    /// They are.
    pub held: bool,
    /// Since when.
    pub since: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// Which effects are meant.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChoiceInput {
    /// These; left out: all that are held.
    pub keys: Option<Vec<String>>,
}

/// What was done.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChoiceAnswer {
    /// Effects that were marked; the end of a hold marks none.
    pub effects: usize,
    /// Effects are held now.
    pub held: bool,
}

async fn list(
    State(shared): State<Shared>,
    Query(query): Query<EffectsQuery>,
) -> Result<Json<Page<EffectAnswer>>, ApiError> {
    let paging = Paging {
        limit: query.limit,
        cursor: query.cursor.clone(),
    };
    let limit = paging.limit()?;
    let from = paging.cursor()?.unwrap_or_default();
    let rows = shared.snapshot()?;
    let held = shared.platform().effect_hold().held().is_some();
    let which = match query.state {
        Some(EffectPhase::Dead) => Which::Dead,
        _ => Which::All,
    };
    let found = effects::list(&rows, which, &from, PAGE_READS_MAX + 1)?;
    let mut items = Vec::new();
    let mut next = None;
    for (read, (place, key)) in found.into_iter().enumerate() {
        if items.len() == limit || read == PAGE_READS_MAX {
            next = Some(cursor(&place));
            break;
        }
        if let Some(row) = effects::get(&rows, key)? {
            let item = answer(&row, held);
            if query.state.is_none_or(|state| state == item.state)
                && query.target.is_none_or(|target| target == item.target)
            {
                items.push(item);
            }
        }
    }
    Ok(Json(Page {
        items,
        next_cursor: next,
    }))
}

async fn hold(State(shared): State<Shared>) -> Json<HoldAnswer> {
    let hold = shared.platform().effect_hold().held();
    Json(HoldAnswer {
        held: hold.is_some(),
        since: hold.as_ref().map(|hold| hold.since.rfc3339()),
        reason: hold.map(|hold| hold.reason),
    })
}

async fn release(
    State(shared): State<Shared>,
    caller: Caller,
    Input(input): Input<ChoiceInput>,
) -> Result<Written<ChoiceAnswer>, ApiError> {
    let Some(keys) = input.keys else {
        tracing::warn!(by = caller.name, "held effects released");
        let released = shared.platform().effect_hold().release();
        released.map_err(|error| {
            tracing::error!(%error, "the hold of effects cannot be removed");
            ApiError::new("internal", "the hold of effects cannot be removed")
        })?;
        return Ok(Written::changed(shared.token(), done(&shared, 0)));
    };
    let keys = read_keys(&keys)?;
    let count = keys.len();
    let marks = keys.into_iter().map(|key| (key, EffectMark::Release));
    let token = mark(&shared, marks.collect()).await?;
    Ok(Written::changed(token, done(&shared, count)))
}

async fn discard(
    State(shared): State<Shared>,
    caller: Caller,
    Input(input): Input<ChoiceInput>,
) -> Result<Written<ChoiceAnswer>, ApiError> {
    let keys = match input.keys {
        Some(keys) => {
            let keys = read_keys(&keys)?;
            let rows = shared.snapshot()?;
            for &key in &keys {
                if let Some(row) = effects::get(&rows, key)? {
                    discardable(&row)?;
                }
            }
            keys
        }
        None => held_keys(&shared)?,
    };
    tracing::warn!(by = caller.name, count = keys.len(), "effects discarded");
    let count = keys.len();
    let marks = keys.into_iter().map(|key| (key, EffectMark::Discard));
    let token = mark(&shared, marks.collect()).await?;
    Ok(Written::changed(token, done(&shared, count)))
}

async fn retry(
    State(shared): State<Shared>,
    Segment(key): Segment<String>,
) -> Result<Written<EffectAnswer>, ApiError> {
    let row = one(&shared, &key)?;
    if row.state != EffectState::Dead {
        let message = "it has not been given up: it goes by itself";
        return Err(ApiError::new("command_refused", message));
    }
    one_mark(&shared, row, EffectMark::Retry).await
}

async fn discard_one(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(key): Segment<String>,
) -> Result<Written<EffectAnswer>, ApiError> {
    let row = one(&shared, &key)?;
    discardable(&row)?;
    tracing::warn!(by = caller.name, key, "effect discarded");
    one_mark(&shared, row, EffectMark::Discard).await
}

/// Marks one effect and answers it as it was.
async fn one_mark(
    shared: &Shared,
    row: EffectRow,
    wanted: EffectMark,
) -> Result<Written<EffectAnswer>, ApiError> {
    let token = mark(shared, vec![(row.effect.key, wanted)]).await?;
    let held = shared.platform().effect_hold().held().is_some();
    Ok(Written::changed(token, answer(&row, held)))
}

/// What was promised to a person who wanted to be forgotten is not for others to give up.
fn discardable(row: &EffectRow) -> Result<(), ApiError> {
    match leaves(&row.effect.channel) {
        true => Ok(()),
        false => {
            let message = "an erase is not discarded: retry it";
            Err(ApiError::new("command_refused", message))
        }
    }
}

fn one(shared: &Shared, key: &str) -> Result<EffectRow, ApiError> {
    let found = effects::get(&shared.snapshot()?, read_key(key)?)?;
    found.ok_or_else(|| ApiError::not_found("effect"))
}

/// Everything that waits for a person now.
fn held_keys(shared: &Shared) -> Result<Vec<u64>, ApiError> {
    if shared.platform().effect_hold().held().is_none() {
        return Err(ApiError::new("command_refused", "no effects are held"));
    }
    let rows = shared.snapshot()?;
    let mut keys = Vec::new();
    for (_, key) in effects::list(&rows, Which::All, &[], usize::MAX)? {
        if let Some(row) = effects::get(&rows, key)?
            && answer(&row, true).state == EffectPhase::Held
        {
            keys.push(key);
        }
    }
    Ok(keys)
}

async fn mark(shared: &Shared, marks: Vec<(u64, EffectMark)>) -> Result<Option<Token>, ApiError> {
    let mut token = None;
    for marks in marks.chunks(MARKS_MAX) {
        let record = Control::Effects(marks.to_vec());
        token = Some(shared.platform().publish(&record).await?);
    }
    Ok(token)
}

fn done(shared: &Shared, effects: usize) -> ChoiceAnswer {
    ChoiceAnswer {
        effects,
        held: shared.platform().effect_hold().held().is_some(),
    }
}

fn read_keys(keys: &[String]) -> Result<Vec<u64>, ApiError> {
    if keys.len() > KEYS_MAX {
        let message = format!("at most {KEYS_MAX} keys at once");
        return Err(ApiError::new("body_invalid", message).field("keys"));
    }
    keys.iter()
        .map(|key| read_key(key).map_err(|error| error.field("keys")))
        .collect()
}

fn read_key(key: &str) -> Result<u64, ApiError> {
    let hex = key.strip_prefix("msg_").unwrap_or(key);
    let read = u64::from_str_radix(hex, 16).ok();
    read.filter(|_| hex.len() == 16)
        .ok_or_else(|| ApiError::new("path_form", "a key of an effect has 16 hex digits"))
}

fn answer(row: &EffectRow, held: bool) -> EffectAnswer {
    let effect = &row.effect;
    let notice = match &*effect.channel {
        CHANNEL => Notice::read(&effect.payload),
        _ => None,
    };
    EffectAnswer {
        key: format!("{:016x}", effect.key),
        channel: effect.channel.to_string(),
        target: effect.target,
        what: notice
            .map(|notice| notice.word().to_owned())
            .unwrap_or_default(),
        state: match row.state {
            EffectState::Dead => EffectPhase::Dead,
            _ if held && !row.released && leaves(&effect.channel) => EffectPhase::Held,
            EffectState::Sending => EffectPhase::Sending,
            EffectState::Waiting => EffectPhase::Waiting,
        },
        attempts: row.attempts,
        due: row.due.rfc3339(),
        created: row.created.rfc3339(),
        reason: row.reason.as_deref().map(str::to_owned),
    }
}
