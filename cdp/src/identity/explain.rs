//! Why two identifiers are one member: the events that link them.

use std::collections::{BTreeMap, VecDeque};

use actors::machine::{Rows, RowsError};
use actors::model::{IdentNo, MemberNo, Position, SourceId, Time};
use serde::Serialize;

use super::fold::Reason;
use super::row::{self, LinkRow};

/// Identifiers that a search visits at most; a member has at most 200, so this is never the reason for `None`.
const VISITS_MAX: usize = 1_000;

/// One step of a path: an event that named both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// From this identifier …
    pub from: IdentNo,
    /// … to this one.
    pub to: IdentNo,
    /// The first event that named them together.
    pub cause: Position,
    /// Its source.
    pub source: SourceId,
    /// When it was received.
    pub time: Time,
}

/// The shortest path of links from `a` to `b`, of equally short ones that over older links. `None`: they are not one
/// member. Empty: they are the same identifier.
pub fn explain(rows: &dyn Rows, a: IdentNo, b: IdentNo) -> Result<Option<Vec<Step>>, RowsError> {
    let Some(member) = row::member_of(rows, a)? else {
        return Ok(None);
    };
    let mut came: BTreeMap<IdentNo, Option<Step>> = BTreeMap::from([(a, None)]);
    let mut open = VecDeque::from([a]);
    while let Some(at) = open.pop_front() {
        if at == b {
            let mut path = Vec::new();
            let mut no = b;
            while let Some(Some(step)) = came.get(&no) {
                no = step.from;
                path.push(step.clone());
            }
            path.reverse();
            return Ok(Some(path));
        }
        for (_, link) in links_of(rows, at)? {
            for to in joined_with(rows, &link, at, member)? {
                if came.len() < VISITS_MAX && !came.contains_key(&to) {
                    let step = Step {
                        from: at,
                        to,
                        cause: link.cause,
                        source: link.source,
                        time: link.time,
                    };
                    came.insert(to, Some(step));
                    open.push_back(to);
                }
            }
        }
    }
    Ok(None)
}

/// The links that name an identifier, oldest first.
pub fn links_of(rows: &dyn Rows, ident: IdentNo) -> Result<Vec<(u64, LinkRow)>, RowsError> {
    let mut numbers = Vec::new();
    rows.scan(row::LINK_BY_IDENT, &row::key32(ident.0), &mut |key, _| {
        if let Some((_, link)) = key.split_last_chunk() {
            numbers.push(u64::from_be_bytes(*link));
        }
        true
    })?;
    let mut links = Vec::with_capacity(numbers.len());
    for number in numbers {
        if let Some(link) = row::get(rows, row::LINK, &row::link_key(number))? {
            links.push((number, link));
        }
    }
    Ok(links)
}

/// The identifiers that a link joined with one of its own.
fn joined_with(
    rows: &dyn Rows,
    link: &LinkRow,
    ident: IdentNo,
    member: MemberNo,
) -> Result<Vec<IdentNo>, RowsError> {
    // Joined with the first identifier, passed over because of a separation (those were joined among themselves if
    // nothing stood against it), or neither.
    let side = |place: u8| match link.left.iter().find(|(of, _)| *of == place) {
        None => Some(true),
        Some((_, Reason::Separated)) => Some(false),
        Some(_) => None,
    };
    let places = link.linking();
    let own = places
        .iter()
        .find(|place| link.identifiers[usize::from(**place)] == ident)
        .and_then(|place| side(*place));
    let Some(own) = own else {
        return Ok(Vec::new());
    };
    let mut joined = Vec::new();
    for place in places {
        let other = link.identifiers[usize::from(place)];
        if other != ident
            && side(place) == Some(own)
            && row::member_of(rows, other)? == Some(member)
        {
            joined.push(other);
        }
    }
    Ok(joined)
}
