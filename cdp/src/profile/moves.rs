//! Moves of fragments and orders between members: what is awaited, and what waits for it.
//!
//! Every (member, fragment) with an unfinished move has a queue of steps in the order in which identity told them; orders
//! that come to or leave a holder stand in the holder's queue. A release is carried out when it is first: whatever was to
//! arrive before it has arrived. Identity's order makes this free of deadlocks: a step waits only for earlier ones.

use std::collections::VecDeque;

use actors::machine::{Rows, RowsError};
use actors::model::{IdentNo, MemberNo};
use serde::{Deserialize, Serialize};

use super::{form, row};
use crate::routed::Moved;

/// One step of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Data will come.
    Expect {
        /// The move.
        movement: u64,
        /// From which member.
        from: MemberNo,
    },
    /// Hand over.
    Release {
        /// The move.
        movement: u64,
        /// What goes.
        moved: Moved,
        /// To which member.
        to: MemberNo,
        /// A part has gone; a `CONTINUE` record is on its way.
        started: bool,
    },
}

/// The unfinished moves of one fragment at one member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// In identity's order.
    pub steps: VecDeque<Step>,
    /// Moves whose data came before their `Expect` (possible only with several result logs).
    pub early: Vec<u64>,
}

impl Queue {
    /// Data will come.
    pub(crate) fn expect(&mut self, movement: u64, from: MemberNo) {
        match self.early.iter().position(|early| *early == movement) {
            Some(at) => {
                self.early.swap_remove(at);
            }
            None => self.steps.push_back(Step::Expect { movement, from }),
        }
    }

    /// All data of a move has come.
    pub(crate) fn arrived(&mut self, movement: u64) {
        let awaited = self.steps.iter().position(
            |step| matches!(step, Step::Expect { movement: awaited, .. } if *awaited == movement),
        );
        match awaited {
            Some(at) => {
                self.steps.remove(at);
            }
            None => self.early.push(movement),
        }
    }

    /// The release to carry out now, if it is its turn. One that has started belongs to its `CONTINUE` record.
    pub(crate) fn due(&self, continuing: Option<u64>) -> Option<(u64, Moved, MemberNo)> {
        match self.steps.front()? {
            &Step::Release {
                movement,
                moved,
                to,
                started,
            } if !started || continuing == Some(movement) => Some((movement, moved, to)),
            _ => None,
        }
    }

    /// Data will come.
    fn awaits(&self) -> bool {
        let awaits = |step: &Step| matches!(step, Step::Expect { .. });
        self.steps.iter().any(awaits)
    }

    /// Nothing is open.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.early.is_empty()
    }

    /// Reads a row.
    pub fn decode(row: &[u8]) -> Result<Queue, RowsError> {
        form::decode(row, "a row of moves")
    }

    /// The row.
    pub fn encode(&self) -> Vec<u8> {
        form::encode(self, 64)
    }
}

/// Where a move is queued: at the new home under the fragment that receives, at the old one under the one that gives.
pub(crate) fn receiver(moved: Moved) -> IdentNo {
    match moved {
        Moved::Fragment(fragment) => fragment,
        Moved::Order { to, .. } => to,
    }
}

/// See [`receiver`].
pub(crate) fn giver(moved: Moved) -> IdentNo {
    match moved {
        Moved::Fragment(fragment) => fragment,
        Moved::Order { from, .. } => from,
    }
}

/// Whether facts of a fragment are on their way to a member.
pub fn is_awaited(rows: &dyn Rows, member: MemberNo, fragment: IdentNo) -> Result<bool, RowsError> {
    let row = rows.get(row::MOVES, &row::front(member, fragment))?;
    let queue = row.as_deref().map(Queue::decode).transpose()?;
    Ok(queue.is_some_and(|queue| queue.awaits()))
}

/// Whether facts of the member are on their way to it.
pub fn is_merging(rows: &dyn Rows, member: MemberNo) -> Result<bool, RowsError> {
    let mut merging = Ok(false);
    rows.scan(
        row::MOVES,
        &row::member_front(member),
        &mut |_, value| match Queue::decode(value) {
            Ok(queue) => {
                merging = Ok(queue.awaits());
                !queue.awaits()
            }
            Err(error) => {
                merging = Err(error);
                false
            }
        },
    )?;
    merging
}
