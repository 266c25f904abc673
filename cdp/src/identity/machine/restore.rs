//! From disk to a machine: the last checkpoint, or, if there is none or it is damaged, the rows.

use actors::machine::{Made, Rows, RowsError};
use actors::memfile::{MemFile, Opened};
use actors::model::Offset;

use super::{IdentityMachine, Setup};
use crate::identity::memory::{Ident, Member, Memory, SECTIONS, Small};
use crate::identity::row::{self, ConflictRow, IdentRow, LinkRow, MemberRow, SeparationRow};
use crate::identity::view::Overlay;

/// Name of the memory's files.
const FILE: &str = "identity";

/// What [`IdentityMachine::open`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing: a new installation, or the files are gone. Memory is empty.
    Nothing,
    /// A checkpoint: results below this offset of the result log are in memory.
    Checkpoint(Offset),
    /// Files that are of no use, and why. Memory is empty.
    Damaged(String),
}

impl IdentityMachine {
    /// Opens the memory file.
    pub fn open(setup: Setup) -> Result<(IdentityMachine, Found), String> {
        let Setup {
            dir,
            key,
            decoder,
            dedup,
        } = setup;
        let opened = MemFile::open(&dir, FILE, SECTIONS).map_err(|error| error.to_string())?;
        let (memory, found) = match opened {
            Opened::Fresh(file) => (Memory::new(file, key), Found::Nothing),
            Opened::Damaged { file, what } => (Memory::new(file, key), Found::Damaged(what)),
            Opened::Ready {
                file,
                position,
                blob,
            } => {
                let mut memory = Memory::new(file, key);
                match memory.restore(&blob) {
                    Ok(()) => (memory, Found::Checkpoint(position.offset)),
                    Err(what) => {
                        memory.wipe();
                        (memory, Found::Damaged(what))
                    }
                }
            }
        };
        let machine = IdentityMachine {
            memory,
            decoder,
            dedup,
            overlay: Overlay::new(),
            names: None,
            dropped_early: 0,
            writing: None,
            writing_at: Offset(0),
            checkpointed: match found {
                Found::Checkpoint(at) => at,
                Found::Nothing | Found::Damaged(_) => Offset(0),
            },
        };
        Ok((machine, found))
    }

    /// Opens the memory file and, if need be, rebuilds memory from rows (which then must hold all results): what
    /// [`actors::machine::Machines::make`] answers for the identity unit.
    pub fn make(setup: Setup, rows: &dyn Rows) -> Result<Made, String> {
        let (mut machine, found) = IdentityMachine::open(setup)?;
        let absorbed = match found {
            Found::Checkpoint(at) => Some(at),
            Found::Nothing | Found::Damaged(_) => {
                if let Found::Damaged(what) = &found {
                    tracing::warn!(what, "identity memory is rebuilt from rows");
                }
                machine.rebuild(rows).map_err(|error| error.to_string())?;
                None
            }
        };
        Ok(Made {
            machine: Box::new(machine),
            absorbed,
        })
    }

    /// Rebuilds empty memory from rows: all of it, the de-duplication memory as well.
    pub fn rebuild(&mut self, rows: &dyn Rows) -> Result<(), RowsError> {
        let memory = &mut self.memory;
        let Some(small) = row::get::<Small>(rows, row::STATE, &[])? else {
            return Ok(());
        };
        let (_, rules) = row::rules(rows)?;
        memory.put_small(small, rules);
        // Two runs of neighbours, and no look for one row by another: there are tens of millions.
        let (mut states, mut texts) = (0u64, 0u64);
        each(rows, row::IDENT_STATE, |key, value| {
            let no = row::number(row::IDENT_STATE, key)?;
            let state = Ident::from_row(value)
                .ok_or_else(|| RowsError(format!("the state of identifier {no} is damaged")))?;
            // Those that were erased have a state only.
            states += u64::from(!state.has(Ident::ERASED));
            memory.put_ident(no, state);
            Ok(())
        })?;
        each(rows, row::IDENT, |key, value| {
            let no = row::number(row::IDENT, key)?;
            let IdentRow { identifier, .. } = row::decode(row::IDENT, value)?;
            let fp = memory.fp_of(&identifier);
            texts += 1;
            memory.put_fp(&fp, no);
            Ok(())
        })?;
        if states != texts {
            let what = format!("{texts} identifiers have {states} states");
            return Err(RowsError(what));
        }
        each(rows, row::MEMBER, |key, value| {
            let no = row::number(row::MEMBER, key)?;
            let row: MemberRow = row::decode(row::MEMBER, value)?;
            let entry = Member::from_row(&row.entry);
            memory.put_member(no, entry);
            Ok(())
        })?;
        each(rows, row::LINK, |_, value| {
            let link: LinkRow = row::decode(row::LINK, value)?;
            let list: Vec<u32> = link.identifiers.iter().map(|no| no.0).collect();
            let fp = memory.link_fp(&list, link.once);
            memory.put_link(&fp);
            Ok(())
        })?;
        each(rows, row::CONFLICT, |_, value| {
            let conflict: ConflictRow = row::decode(row::CONFLICT, value)?;
            if conflict.counted {
                let fp = memory.conflict_fp(conflict.owner.0, conflict.identifier.0);
                memory.put_link(&fp);
            }
            Ok(())
        })?;
        each(rows, row::SEPARATION, |key, value| {
            let separation: SeparationRow = row::decode(row::SEPARATION, value)?;
            let (a, b) = key.split_at(key.len() / 2);
            let pair = (
                row::number(row::SEPARATION, a)?,
                row::number(row::SEPARATION, b)?,
            );
            memory.separations.insert(pair, separation.unmerge);
            Ok(())
        })?;
        let live: Vec<u32> = memory.small.seen.live.iter().map(|g| g.number).collect();
        for generation in live {
            let mut wrong = None;
            rows.scan(row::SEEN, &row::key32(generation), &mut |_, value| {
                for entry in value.chunks(12) {
                    let word = |at: usize| row::word(entry, at);
                    match (word(0), word(4), word(8)) {
                        (Some(a), Some(b), Some(d)) => memory.put_seen(generation, &[a, b, 0, d]),
                        _ => wrong = Some(RowsError("a row of messages is damaged".to_owned())),
                    }
                }
                wrong.is_none()
            })?;
            if let Some(error) = wrong {
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Every row of a space, until one fails.
fn each(
    rows: &dyn Rows,
    space: actors::machine::Space,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), RowsError>,
) -> Result<(), RowsError> {
    let mut outcome = Ok(());
    rows.scan(space, &[], &mut |key, value| {
        outcome = visit(key, value);
        outcome.is_ok()
    })?;
    outcome
}
