//! The identity writer as a machine: de-duplication, rules, owners, orders, commands.
//!
//! One record after the other: what was seen before is dropped; the event's identifiers are read and normalised; its owner
//! is found or made; the event goes to its member's shard, its order facts to the order's holder. Rows, memory and what is
//! told to shards follow from the same decision.

mod commands;
mod concluded;
mod items;
mod restore;

pub use restore::Found;

use std::sync::Arc;
use std::thread::JoinHandle;

use actors::machine::{Machine, Outgoing, Record, Rows, RowsError, To, WriteSet};
use actors::memfile::CheckpointDone;
use actors::model::{
    Event, EventKind, IdentNo, Identifier, MemberNo, Offset, PartitionId, Position, Time,
};
use bytes::Bytes;
use smallvec::SmallVec;

use super::memory::{Dedup, Ident, Memory};
use super::observe::Owner;
use super::order::Holder;
use super::port::{RawDecoder, RawInput, Reject};
use super::row::{self, MemberRow, MemberState};
use super::rules::order_identifier;
use super::settle::{Cause, Decide};
use super::view::{Overlay, View};
use crate::dead::{self, DeadId, DeadRow, DeadStatus};
use crate::dictionary::{Blocked, Decided, NameRules};
use crate::routed::{self, EventBody, EventHead, OrderPart, schema};

/// Logic that decides; grows with every change of what the same records lead to. 2: dead letters know their event's name.
const LOGIC_VERSION: u16 = 2;
/// Rows of forgotten messages that one batch deletes at most: a day of them must not stop the writer.
const FORGET_ROWS_MAX: u32 = 256;

/// Counter of events that were dropped because of their name; the same with a dot and the name: of one name.
pub const BLOCKED: &str = "events_blocked";

/// Up to here a checkpoint is written while the writer waits: some tens of milliseconds.
const CHECKPOINT_AT_ONCE_BYTES_MAX: u64 = 4 << 20;

/// What the writer is made of.
pub struct Setup {
    /// Folder of the memory file.
    pub dir: std::path::PathBuf,
    /// The installation's key for fingerprints.
    pub key: [u8; 32],
    /// Reads raw records.
    pub decoder: Box<dyn RawDecoder>,
    /// De-duplication window and budget.
    pub dedup: Dedup,
}

/// The identity writer. See the module.
pub struct IdentityMachine {
    memory: Memory,
    decoder: Box<dyn RawDecoder>,
    dedup: Dedup,
    overlay: Overlay,
    /// Merged and blocked names with their version; read from the row when first needed.
    names: Option<(u32, Arc<NameRules>)>,
    dropped_early: u64,
    /// A checkpoint that is being written.
    writing: Option<JoinHandle<CheckpointDone>>,
    /// Results below are in the checkpoint that is being written.
    writing_at: Offset,
    /// And these in the last whole one.
    checkpointed: Offset,
}

/// What became of an event.
enum Taken {
    Applied,
    Duplicate,
    Refused(Reject),
    /// Its name is blocked, and nobody wants to see it.
    Dropped,
}

impl Machine for IdentityMachine {
    fn begin(&mut self, now: Time) {
        self.overlay.clear();
        self.dropped_early = self.memory.begin(now, &self.dedup);
    }

    fn apply(
        &mut self,
        rows: &dyn Rows,
        record: &Record,
        out: &mut WriteSet,
    ) -> Result<(), RowsError> {
        let at = record.at.position;
        match self.decoder.decode(record) {
            RawInput::Event { event } => match self.take(rows, at, *event, out)? {
                Taken::Applied => {}
                Taken::Duplicate => out.count("duplicates", 1),
                Taken::Refused(reject) => self.bury(at, reject, out),
                Taken::Dropped => {}
            },
            RawInput::Rejected(reject) => self.bury(at, reject, out),
            RawInput::Control(control) => self.control(rows, at, control, out)?,
            RawInput::Unknown => out.count("unreadable", 1),
        }
        Ok(())
    }

    fn finish(&mut self, _: &dyn Rows, out: &mut WriteSet) -> Result<(), RowsError> {
        self.write_rows(out);
        self.write_seen(out);
        self.memory.count(&mut out.counters);
        let early = i64::try_from(self.dropped_early).unwrap_or(i64::MAX);
        out.count("message_generations_dropped_early", early);
        out.delta = self.memory.delta();
        self.memory.commit();
        self.overlay.clear();
        Ok(())
    }

    fn rollback(&mut self) {
        self.memory.rollback();
        self.overlay.clear();
        self.names = None;
    }

    fn key(&self, _: &Record) -> Option<u64> {
        // A poisoned record waits alone: identity's order is that of arrival, and nothing else hangs on one record.
        None
    }

    fn absorb(&mut self, delta: &[u8]) -> Result<(), RowsError> {
        self.names = None;
        self.memory.absorb(delta)
    }

    fn logic_version(&self) -> u16 {
        LOGIC_VERSION
    }

    /// Small ones are written at once. A large one is written by a thread of its own while deciding goes on; until it is
    /// done, calls change nothing, and its failure is told by the next call.
    fn checkpoint(&mut self, at: Offset) -> Result<(), String> {
        if let Some(writing) = self.writing.take_if(|writing| writing.is_finished()) {
            self.end_checkpoint(writing)?;
        }
        if self.writing.is_some() {
            return Ok(());
        }
        let position = Position {
            partition: PartitionId(0),
            offset: at,
        };
        let large = self.memory.dirty_bytes() > CHECKPOINT_AT_ONCE_BYTES_MAX;
        let blob = self.memory.blob();
        let Some(job) = self.memory.file.start_checkpoint(position, blob) else {
            return Err("identity has no memory file".to_owned());
        };
        self.writing_at = at;
        let writing = std::thread::spawn(move || job.run());
        match large {
            true => self.writing = Some(writing),
            false => self.end_checkpoint(writing)?,
        }
        Ok(())
    }

    fn checkpointed(&self) -> Option<Offset> {
        Some(self.checkpointed)
    }

    fn checkpoint_wait(&mut self) -> Result<(), String> {
        self.wait_for_checkpoint()
    }
}

impl Drop for IdentityMachine {
    fn drop(&mut self) {
        // Whoever opens the files next must not meet a writer.
        if let Err(error) = self.wait_for_checkpoint() {
            tracing::error!(error, "checkpoint failed");
        }
    }
}

impl IdentityMachine {
    /// The memory, for digests and figures.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Waits until no checkpoint is being written, and says how the last one went.
    pub fn wait_for_checkpoint(&mut self) -> Result<(), String> {
        match self.writing.take() {
            Some(writing) => self.end_checkpoint(writing),
            None => Ok(()),
        }
    }

    fn end_checkpoint(&mut self, writing: JoinHandle<CheckpointDone>) -> Result<(), String> {
        let done = writing
            .join()
            .map_err(|_| "the thread that writes the checkpoint panicked".to_owned())?;
        let written = self.memory.file.end_checkpoint(done);
        written.map_err(|error| error.to_string())?;
        self.checkpointed = self.writing_at;
        Ok(())
    }

    fn take(
        &mut self,
        rows: &dyn Rows,
        at: Position,
        mut event: Event,
        out: &mut WriteSet,
    ) -> Result<Taken, RowsError> {
        let fp = (self.memory).message_fp(event.source.0, &event.message_id, false);
        if self.memory.was_seen(&fp) {
            return Ok(Taken::Duplicate);
        }
        match self.names(rows)?.apply(&mut event) {
            Decided::Pass { left_out: 0 } => {}
            Decided::Pass { left_out } => out.count("fields_blocked", i64::from(left_out)),
            Decided::Blocked(Blocked::DeadLetter) => {
                let reason = format!(
                    "the dictionary blocks events named `{}`: unblock the name, or give the event another one",
                    event.name
                );
                return Ok(Taken::Refused(refusal(&event, "event_blocked", reason)));
            }
            Decided::Blocked(Blocked::Drop) => {
                // Remembered as a dead letter is: a repeat is a duplicate, and the message may come again once unblocked.
                let fp = (self.memory).message_fp(event.source.0, &event.message_id, true);
                if self.memory.was_seen(&fp) {
                    return Ok(Taken::Duplicate);
                }
                self.memory.see(fp);
                out.count(BLOCKED, 1);
                out.count(&format!("{BLOCKED}.{}", event.name), 1);
                return Ok(Taken::Dropped);
            }
        }
        self.memory.tell_apart(&mut event.identifiers);
        let named = self.memory.rules.named(&event);
        let order = match event.order.as_ref().map(order_identifier) {
            Some(None) => {
                return Ok(Taken::Refused(refusal(
                    &event,
                    "order_id_invalid",
                    "the order's id or shop is empty or longer than 256 bytes".to_owned(),
                )));
            }
            Some(order) => order,
            None => None,
        };
        if event.kind == EventKind::Item {
            return self.item(rows, at, &event, out);
        }
        if named.identifiers.is_empty() && order.is_none() {
            let (code, reason) = match named.unusable {
                Some((identifier, why)) => (
                    why.code(),
                    format!(
                        "none of its identifiers points to somebody, e.g. `{identifier}`: send another one, or change the identity rules"
                    ),
                ),
                None => (
                    "identifier_missing",
                    "it names nobody: send an identifier, e.g. userId or anonymousId".to_owned(),
                ),
            };
            return Ok(Taken::Refused(refusal(&event, code, reason)));
        }
        self.memory.see(fp);
        let mut decide = Decide {
            cause: Cause {
                position: at,
                now: self.memory.small.now,
                source: event.source,
                brand: event.brand,
                test: event.test,
            },
            memory: &mut self.memory,
            view: View::new(rows, &mut self.overlay, out),
        };
        let owner = decide.identify(&named.identifiers, event.linking)?;
        let holder = match &order {
            Some(order) => Some(decide.order(order, owner)?),
            None => None,
        };
        decide.send_event(event, named.identifiers, owner, holder);
        out.count("applied", 1);
        Ok(Taken::Applied)
    }

    /// Merged and blocked names in force.
    fn names(&mut self, rows: &dyn Rows) -> Result<Arc<NameRules>, RowsError> {
        if let Some((_, names)) = &self.names {
            return Ok(names.clone());
        }
        let (version, names) = row::names(rows)?;
        let names = Arc::new(names);
        self.names = Some((version, names.clone()));
        Ok(names)
    }

    /// Keeps a dead letter; the same bad message sent again is one letter.
    fn bury(&mut self, at: Position, reject: Reject, out: &mut WriteSet) {
        if !reject.message_id.is_empty() {
            let fp = (self.memory).message_fp(reject.source.0, &reject.message_id, true);
            if self.memory.was_seen(&fp) {
                out.count("duplicates", 1);
                return;
            }
            self.memory.see(fp);
        }
        let id = DeadId {
            received: reject.received,
            position: at,
        };
        let letter = DeadRow {
            code: reject.code,
            reason: reject.reason,
            field: reject.field,
            source: reject.source,
            brand: reject.brand,
            message_id: reject.message_id,
            status: DeadStatus::Open,
            decided: reject.received,
            event: reject.event,
        };
        // Also for this batch's own eyes: a replay may follow at once.
        let (key, value): (Bytes, Bytes) = (id.key().to_vec().into(), letter.encode().into());
        self.overlay
            .insert((dead::SPACE.0, key.clone()), Some(value.clone()));
        out.put(dead::SPACE, key, value);
        out.count("dead_letters", 1);
    }

    fn write_rows(&mut self, out: &mut WriteSet) {
        let (idents, numbers) = self.memory.touched();
        let mut members: Vec<u32> = Vec::with_capacity(idents.len() + numbers.len());
        for &no in &idents {
            let ident = self.memory.ident(no);
            out.put(
                row::IDENT_STATE,
                row::key32(no).to_vec(),
                ident.to_row().to_vec(),
            );
            members.extend(ident.member().map(|MemberNo(no)| no));
        }
        for &no in &numbers {
            members.push(no);
            members.extend(self.memory.resolve(MemberNo(no)));
        }
        members.sort_unstable();
        members.dedup();
        for no in members {
            let row = self.member_row(no);
            out.put(row::MEMBER, row::key32(no).to_vec(), row::encode(&row));
        }
        if self.memory.rules_changed() {
            let version = self.memory.small.rules_version.to_be_bytes();
            let json = self.memory.rules.to_json();
            out.put(
                row::RULES,
                Bytes::new(),
                [&version, json.as_bytes()].concat(),
            );
        }
    }

    fn member_row(&self, no: u32) -> MemberRow {
        let entry = self.memory.member(no);
        let mut row = MemberRow {
            state: entry.state(),
            anchor: IdentNo(entry.anchor),
            since: Time(i64::from(entry.since) * 1_000),
            test: entry.flags & super::memory::Member::REAL == 0,
            identifiers: Vec::new(),
            absorbed: Vec::new(),
            entry: entry.to_row(false),
        };
        if matches!(row.state, MemberState::Member | MemberState::Visitor) {
            let mut idents: Vec<u32> = self.memory.ring(no).to_vec();
            idents.sort_by_key(|&no| (self.memory.kind_rule(self.memory.ident(no).kind).rank, no));
            let mut idents_of = idents.iter().map(|&no| self.memory.ident(no));
            row.entry = entry.to_row(idents_of.any(|ident| ident.has(Ident::ORDERS)));
            row.identifiers = idents.into_iter().map(IdentNo).collect();
            for number in self.memory.numbers(no) {
                let since = i64::from(self.memory.member(number).since) * 1_000;
                row.since = row.since.min(Time(since));
                if number != no {
                    row.absorbed.push(MemberNo(number));
                }
            }
        }
        row
    }

    fn write_seen(&mut self, out: &mut WriteSet) {
        let mut bytes = Vec::with_capacity(self.memory.batch_seen().len() * 12);
        for fp in self.memory.batch_seen() {
            for word in [fp[0], fp[1], fp[3]] {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
        }
        let seen = &mut self.memory.small.seen;
        if let Some(current) = seen.live.back_mut()
            && !bytes.is_empty()
        {
            let key = row::seen_key(current.number, current.rows);
            out.put(row::SEEN, key.to_vec(), bytes);
            current.rows += 1;
        }
        let mut budget = FORGET_ROWS_MAX;
        while let Some((number, first, rows)) = seen.dropped.front_mut() {
            let until = (*first + budget).min(*rows);
            for row in *first..until {
                out.delete(row::SEEN, row::seen_key(*number, row).to_vec());
            }
            budget -= until - *first;
            *first = until;
            if until < *rows {
                break;
            }
            seen.dropped.pop_front();
        }
        let small = row::encode(&self.memory.small);
        out.put(row::STATE, Bytes::new(), small);
    }
}

impl Decide<'_> {
    /// Sends an event to its owner's member, and its order facts to the holder's, in one record or two.
    fn send_event(
        &mut self,
        event: Event,
        identifiers: SmallVec<[Identifier; 4]>,
        owner: Option<Owner>,
        holder: Option<Holder>,
    ) {
        let fragment = match (owner, holder) {
            (Some(owner), _) => owner.ident,
            (None, Some(holder)) => holder.holder,
            (None, None) => return,
        };
        self.memory.mark(fragment, Ident::FACTS);
        let member = MemberNo(self.memory.member_of(fragment));
        let part = event.order.zip(holder).map(|(change, holder)| OrderPart {
            order: IdentNo(holder.order),
            holder: IdentNo(holder.holder),
            change,
        });
        let home = holder.map_or(member, |holder| MemberNo(holder.member));
        let (with, apart) = match home == member {
            true => (part, None),
            false => (None, part),
        };
        let head = EventHead {
            member,
            fragment: IdentNo(fragment),
            raw: self.cause.position,
            kind: event.kind,
            name: event.name,
            time: event.time,
            received: event.received,
            source: event.source,
            brand: event.brand,
            test: event.test,
            order: with,
            order_only: false,
        };
        let body = EventBody {
            message_id: event.message_id,
            identifiers: identifiers.into_vec(),
            traits: event.traits,
            properties: event.properties,
            context: event.context,
            place: event.place,
        };
        self.send_part(&head, &body);
        if let Some(part) = apart {
            let fragment = part.holder;
            let head = EventHead {
                member: home,
                fragment,
                order: Some(part),
                order_only: true,
                ..head
            };
            let body = EventBody {
                identifiers: Vec::new(),
                traits: None,
                properties: None,
                context: None,
                place: None,
                ..body
            };
            self.send_part(&head, &body);
        }
    }

    fn send_part(&mut self, head: &EventHead, body: &EventBody) {
        self.view.out.outgoing.push(Outgoing {
            to: To::Shard(head.member.shard()),
            schema: schema::EVENT,
            envelope: routed::encode(head),
            personal: Some((head.fragment, routed::encode(body))),
        });
    }
}

fn refusal(event: &Event, code: &str, reason: String) -> Reject {
    Reject {
        code: code.into(),
        reason: reason.into(),
        field: None,
        event: Some(event.name.clone()),
        message_id: event.message_id.clone(),
        source: event.source,
        brand: event.brand,
        received: event.received,
    }
}
