//! Members: found by identifier or id, listed, and everything known of one of them.

mod consents;
pub mod events;
mod link;
mod orders;
mod package;
mod privacy;
pub use orders::word;
mod regroup;
mod search;
pub mod view;

use actors::machine::Rows;
use actors::model::{Identifier, MemberId, MemberNo, Scope};
use axum::Json;
use axum::extract::State;
use cdp::identity::row::{self, MemberRow, MemberState};
use cdp::profile::view::{View, member_view};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::{App, Shared, Snapshot};
use crate::error::ApiError;
use crate::http::page::{cursor, cursor_form};
use crate::http::{Caller, Page, Paging, Permission, Query, Routes, Segment, doc};
use view::MemberAnswer;

/// Rows of members that one page reads at most, so that a narrow scope cannot make a request endless. Such a page is
/// short and has a cursor.
const PAGE_READS_MAX: usize = 5_000;

/// The routes of this topic.
pub fn routes() -> Routes {
    let tag = "Members";
    crate::http::routes()
        .get(
            "/api/v1/members",
            Permission::MembersRead,
            list,
            doc(tag, "Find a member by identifier, or list members")
                .more(
                    "`identifier` is normalised by the rules in force: `phone:138 0000 0000` finds \
                     `phone:+8613800000000`. Nobody has it: an empty list.",
                )
                .query::<Find>()
                .lists::<MemberAnswer>()
                .reads(),
        )
        .get(
            "/api/v1/members/{id}",
            Permission::MembersRead,
            get,
            doc(tag, "Everything known of a member at a glance")
                .more("The id of a member that was merged answers with the member of today.")
                .answers::<MemberAnswer>()
                .reads(),
        )
        .and(events::routes(tag))
        .and(orders::routes(tag))
        .and(consents::routes(tag))
        .and(link::routes(tag))
        .and(package::routes(tag))
        .and(privacy::routes(tag))
        .and(regroup::routes(tag))
        .and(search::routes(tag))
}

/// Which members.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Find {
    /// `kind[@scope]:value`.
    #[param(example = "phone:13800000000")]
    identifier: Option<String>,
    /// `member` (when left out) or `visitor`.
    #[param(inline)]
    status: Option<Status>,
    /// Items of a page, 1 to 500; 50 when left out.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What somebody is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// A person that we know.
    Member,
    /// Device or anonymous identifiers only.
    Visitor,
}

impl Status {
    /// Of a member of today; `None`: there is nobody any more.
    pub fn of(state: MemberState) -> Option<Status> {
        match state {
            MemberState::Member => Some(Status::Member),
            MemberState::Visitor => Some(Status::Visitor),
            MemberState::Nobody | MemberState::Absorbed => None,
        }
    }

    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Status::Member => "member",
            Status::Visitor => "visitor",
        }
    }
}

/// A member of today, as the caller may see it.
pub struct Found {
    /// Its number.
    pub member: MemberNo,
    /// What identity knows.
    pub row: MemberRow,
    /// What it is.
    pub status: Status,
    /// What the profile knows.
    pub view: View,
}

async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(find): Query<Find>,
) -> Result<Json<Page<MemberAnswer>>, ApiError> {
    let snapshot = shared.snapshot()?;
    if let Some(text) = &find.identifier {
        let found = by_identifier(&shared, &snapshot, &caller.scope, text)?;
        let items = match found {
            Some(found) => vec![MemberAnswer::of(&shared, &snapshot, &caller.scope, found)?],
            None => Vec::new(),
        };
        return Ok(Json(Page {
            items,
            next_cursor: None,
        }));
    }
    let paging = Paging {
        limit: find.limit,
        cursor: find.cursor.clone(),
    };
    let limit = paging.limit()?;
    let from = match paging.cursor()? {
        Some(bytes) if bytes.len() == 4 => bytes,
        Some(_) => return Err(cursor_form()),
        None => Vec::new(),
    };
    let wanted = find.status.unwrap_or(Status::Member);
    let (numbers, mut next) = candidates(&snapshot, &from, wanted)?;
    let mut items = Vec::new();
    for number in numbers {
        if items.len() == limit {
            next = Some(number);
            break;
        }
        if let Some(found) = load(&shared, &snapshot, &caller.scope, number)? {
            items.push(MemberAnswer::of(&shared, &snapshot, &caller.scope, found)?);
        }
    }
    Ok(Json(Page {
        items,
        next_cursor: next.map(|number| cursor(&row::key32(number.0))),
    }))
}

/// Numbers of members of this status from a key on, and the number at which reading stopped.
fn candidates(
    rows: &dyn Rows,
    from: &[u8],
    wanted: Status,
) -> Result<(Vec<MemberNo>, Option<MemberNo>), ApiError> {
    let mut numbers = Vec::new();
    let mut next = None;
    let mut reads = 0;
    rows.scan_from(row::MEMBER, &[], from, &mut |key, value| {
        let Ok(key) = <[u8; 4]>::try_from(key) else {
            return true;
        };
        let number = MemberNo(u32::from_be_bytes(key));
        if reads == PAGE_READS_MAX || numbers.len() > crate::http::page::LIMIT_MAX {
            next = Some(number);
            return false;
        }
        reads += 1;
        let state = row::decode::<MemberRow>(row::MEMBER, value).map(|row| row.state);
        if state.is_ok_and(|state| Status::of(state) == Some(wanted)) {
            numbers.push(number);
        }
        true
    })?;
    Ok((numbers, next))
}

async fn get(
    State(shared): State<Shared>,
    caller: Caller,
    Segment(id): Segment<String>,
) -> Result<Json<MemberAnswer>, ApiError> {
    let snapshot = shared.snapshot()?;
    let found = by_id(&shared, &snapshot, &caller.scope, &id)?;
    MemberAnswer::of(&shared, &snapshot, &caller.scope, found).map(Json)
}

/// The member of an id as the outside writes it; absorbed ids answer with the member of today.
pub fn by_id(app: &App, snapshot: &Snapshot, scope: &Scope, id: &str) -> Result<Found, ApiError> {
    let unknown = || ApiError::not_found("member");
    let MemberId(number) = id.parse().map_err(|()| unknown())?;
    let today = row::resolve(snapshot, number)?.ok_or_else(unknown)?;
    load(app, snapshot, scope, today)?.ok_or_else(unknown)
}

/// The member that has an identifier, however it is written.
fn by_identifier(
    app: &App,
    snapshot: &Snapshot,
    scope: &Scope,
    text: &str,
) -> Result<Option<Found>, ApiError> {
    let normal = normal_identifier(snapshot, text).map_err(|error| error.field("identifier"))?;
    let Some(ident) = row::ident_of(snapshot, &normal)? else {
        return Ok(None);
    };
    match row::member_of(snapshot, ident)? {
        Some(member) => load(app, snapshot, scope, member),
        None => Ok(None),
    }
}

/// The member that an id or an identifier stands for.
pub fn find_any(
    app: &App,
    snapshot: &Snapshot,
    scope: &Scope,
    text: &str,
) -> Result<Option<Found>, ApiError> {
    let text = text.trim();
    match text.parse() {
        Ok(MemberId(number)) => match row::resolve(snapshot, number)? {
            Some(today) => load(app, snapshot, scope, today),
            None => Ok(None),
        },
        Err(()) => by_identifier(app, snapshot, scope, text),
    }
}

/// Reads and normalises an identifier by the rules in force; orders are named `order@shop:id` and stay as they are.
pub fn normal_identifier(snapshot: &Snapshot, text: &str) -> Result<Identifier, ApiError> {
    let sent: Identifier = text
        .parse()
        .map_err(|error| ApiError::new("identifier_form", format!("{error}")))?;
    if &*sent.kind == cdp::identity::rules::ORDER_KIND {
        return Ok(sent);
    }
    let (_, rules) = row::rules(snapshot)?;
    rules.normalise(&sent).map_err(|unusable| {
        let message = format!("`{}` points to nobody by the rules", sent.kind);
        ApiError::new(unusable.code(), message)
    })
}

/// A member of today, unless the scope hides it.
pub fn load(
    app: &App,
    snapshot: &Snapshot,
    scope: &Scope,
    member: MemberNo,
) -> Result<Option<Found>, ApiError> {
    let Some(row) = row::get::<MemberRow>(snapshot, row::MEMBER, &row::key32(member.0))? else {
        return Ok(None);
    };
    let Some(status) = Status::of(row.state) else {
        return Ok(None);
    };
    let view = member_view(snapshot, member, &app.attributes(snapshot)?.1, scope)?;
    Ok(view.map(|view| Found {
        member,
        row,
        status,
        view,
    }))
}
