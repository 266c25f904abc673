//! The decider of one partition of member shards.
//!
//! A batch loads every cell, order and queue it touches once, changes them in memory, and writes each once in `finish`.
//! Between batches nothing is kept but the schema, which is a row too: memory is only a cache.

use std::sync::Arc;

use actors::machine::{Machine, Personal, Record, Rows, RowsError, WriteSet};
use actors::model::{MemberNo, PartitionId, Time};
use jiff::tz::TimeZone;

use super::activity::Seen;
use super::attribute::{Facts, Operation, Told};
use super::batch::Batch;
use super::left_out;
use super::order::{Cause, Order, Stamp};
use super::row::{self, Flags, Suffix, TimelineRow, What};
use super::traits::{self, BodyFront};
use super::value::Value;
use crate::definition::{AttributeSchema, Definition, DefinitionKind, Survivorship};
use crate::routed::{self, EventHead, IdentityNote, OrderPart, schema};
use crate::webhook::{Hooks, Occurrence};

/// Version of the logic in this file and those it calls; raise it when the same records would give other rows.
const LOGIC: u16 = 2;

/// Sizes of a hand-over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one part on the move. A part has one row at least.
    pub part_bytes_max: usize,
    /// Bytes that one batch hands over; a release goes on in the next batch.
    pub batch_bytes_max: usize,
}

impl Default for Limits {
    /// 1 MiB a part, so that no receiver's batch is dominated by one; 4 MiB a batch, about 60,000 timeline rows, so that a
    /// bot's fragment delays its partition by milliseconds.
    fn default() -> Self {
        Limits {
            part_bytes_max: 1 << 20,
            batch_bytes_max: 4 << 20,
        }
    }
}

/// Decides for one partition of the member shards.
pub struct MemberMachine {
    partition: PartitionId,
    zone: TimeZone,
    pub(super) limits: Limits,
    /// In force; `None`: to be read from its row.
    schema: Option<Arc<AttributeSchema>>,
    /// In force; `None`: to be read from their row.
    hooks: Option<Arc<Hooks>>,
    pub(super) batch: Batch,
}

impl MemberMachine {
    /// The machine of one partition. `zone` is the installation's, fixed at its first start: it decides which calendar day
    /// an instant is.
    pub fn new(partition: PartitionId, zone: TimeZone) -> MemberMachine {
        MemberMachine::with_limits(partition, zone, Limits::default())
    }

    /// As [`MemberMachine::new`] with other sizes of hand-overs.
    pub fn with_limits(partition: PartitionId, zone: TimeZone, limits: Limits) -> MemberMachine {
        MemberMachine {
            partition,
            zone,
            limits,
            schema: None,
            hooks: None,
            batch: Batch::default(),
        }
    }

    fn event(
        &mut self,
        rows: &dyn Rows,
        record: &Record,
        head: EventHead,
        out: &mut WriteSet,
    ) -> Result<(), RowsError> {
        let test = head.test;
        if !head.order_only {
            self.behaviour(rows, record, &head, out)?;
            let counter = match test {
                true => &mut self.batch.counts.applied_test,
                false => &mut self.batch.counts.applied,
            };
            *counter += 1;
            let hooks = self.hooks(rows)?;
            hooks.tell(Occurrence::Event(&head, record.at), out);
        }
        let cause = Cause {
            stamp: Stamp {
                time: head.time,
                position: head.raw,
            },
            brand: head.brand,
            source: head.source,
            test,
        };
        match head.order {
            Some(part) => self.order(rows, head.member, part, cause),
            None => Ok(()),
        }
    }

    /// Activity, cell and timeline.
    fn behaviour(
        &mut self,
        rows: &dyn Rows,
        record: &Record,
        head: &EventHead,
        out: &mut WriteSet,
    ) -> Result<(), RowsError> {
        let operation = Operation::of(head.kind, &head.name);
        let mut told = Vec::new();
        let mut message = [0; 8];
        let schema = match &record.personal {
            Personal::Open(body) => {
                let Some(front) = BodyFront::read(body) else {
                    unreadable(record)
                };
                message = row::fingerprint(front.message_id);
                match front.traits {
                    Some(traits) => {
                        let schema = self.schema(rows)?;
                        let read = traits::read(traits, &schema, &self.zone);
                        told = read.told;
                        left_out::write(head, front.message_id, &read.left_out, out);
                        Some(schema)
                    }
                    None => None,
                }
            }
            Personal::None | Personal::Erased => None,
        };
        let activity = self.batch.activity(rows, head.member, head.fragment)?;
        activity.dirty = true;
        activity.value.see(Seen {
            brand: head.brand,
            source: head.source,
            kind: head.kind,
            count: 1,
            first: head.time,
            last: head.time,
        });
        let telling = |value| Told {
            value,
            time: head.time,
            position: head.raw,
            source: head.source,
        };
        let taken = told.iter().filter(|(_, value)| operation.takes(value));
        let mut taken = taken.peekable();
        if operation == Operation::Delete {
            let cell = self.batch.cell(rows, head.member, head.fragment)?;
            cell.dirty = true;
            cell.value.delete_all(head.brand, telling(Value::Cleared))?;
        } else if let Some(schema) = schema
            && taken.peek().is_some()
        {
            let cell = self.batch.cell(rows, head.member, head.fragment)?;
            cell.dirty = true;
            for (name, value) in taken {
                let union = schema
                    .get(name)
                    .is_some_and(|it| it.survivorship == Survivorship::Union);
                let facts = Facts::done(operation, telling(value.clone()), union);
                cell.value.tell(name, head.brand, facts)?;
            }
        }
        let mut line = TimelineRow::new(
            What::Event(head.kind),
            &head.name,
            head.source,
            head.brand,
            record.at,
        );
        line.flags = Flags::default()
            .with(Flags::TEST, head.test)
            .with(Flags::ERASED, record.personal == Personal::Erased);
        line.message = message;
        line.told = told;
        let suffix = Suffix::event(head.time, head.raw).to_bytes();
        self.batch.timeline.insert(
            row::timeline_key(head.member, head.fragment, &suffix),
            line.encode().into(),
        );
        Ok(())
    }

    fn order(
        &mut self,
        rows: &dyn Rows,
        member: MemberNo,
        part: OrderPart,
        cause: Cause,
    ) -> Result<(), RowsError> {
        let told = Order::of(part.change, cause);
        self.batch
            .join_order(rows, member, part.holder, part.order, told)
    }

    fn note(
        &mut self,
        rows: &dyn Rows,
        record: &Record,
        note: IdentityNote,
        out: &mut WriteSet,
    ) -> Result<(), RowsError> {
        let hooks = self.hooks(rows)?;
        hooks.tell(Occurrence::Identity(&note), out);
        let activity = self.batch.activity(rows, note.member, note.fragment)?;
        activity.dirty = true;
        activity.value.notes += 1;
        let mut line = TimelineRow::new(
            What::Note(note.what),
            "",
            Default::default(),
            Default::default(),
            record.at,
        );
        line.other = note.other;
        line.flags = Flags::default().with(Flags::ERASED, record.personal == Personal::Erased);
        let suffix = Suffix::note(note.time, note.cause, record.at).to_bytes();
        self.batch.timeline.insert(
            row::timeline_key(note.member, note.fragment, &suffix),
            line.encode().into(),
        );
        Ok(())
    }

    /// A new version takes effect at once for what is told from here on; an older one is ignored.
    fn definition(&mut self, rows: &dyn Rows, record: &Record) -> Result<(), RowsError> {
        let definition = match Definition::parse(&record.envelope) {
            Ok(definition) => definition,
            Err(_) => return Ok(()), // Of a newer version, for somebody else.
        };
        let kind = definition.kind;
        if !matches!(kind, DefinitionKind::Attributes | DefinitionKind::Webhooks) {
            return Ok(());
        }
        let known = match self.batch.definitions.get(&kind) {
            Some(known) => Some(known.version),
            None => self.stored(rows, kind)?.map(|known| known.version),
        };
        if known.is_some_and(|known| known >= definition.version) {
            return Ok(());
        }
        let taken = match kind {
            DefinitionKind::Webhooks => Hooks::check(&definition.body)
                .map(|hooks| self.hooks = Some(Arc::new(hooks)))
                .map_err(|error| error.to_string()),
            _ => AttributeSchema::check(&definition.body)
                .map(|schema| self.schema = Some(Arc::new(schema)))
                .map_err(|errors| errors[0].to_string()),
        };
        match taken {
            Ok(()) => {
                self.batch.definitions.insert(kind, definition);
            }
            // The registry checks before it publishes: only another version's form gets here. What is in force stays.
            Err(error) => tracing::error!(
                kind = kind.as_str(),
                version = definition.version,
                error,
                "a definition does not read"
            ),
        }
        Ok(())
    }

    fn stored(
        &self,
        rows: &dyn Rows,
        kind: DefinitionKind,
    ) -> Result<Option<Definition>, RowsError> {
        let key = row::definition_key(self.partition, kind);
        match rows.get(row::DEFINITIONS, &key)? {
            None => Ok(None),
            Some(json) => Definition::parse(&json)
                .map(Some)
                .map_err(|error| RowsError(error.to_string())),
        }
    }

    pub(super) fn hooks(&mut self, rows: &dyn Rows) -> Result<Arc<Hooks>, RowsError> {
        if let Some(hooks) = &self.hooks {
            return Ok(hooks.clone());
        }
        let hooks = match self.stored(rows, DefinitionKind::Webhooks)? {
            Some(definition) => Hooks::check(&definition.body)
                .map_err(|error| RowsError(format!("stored webhooks: {error}")))?,
            None => Hooks::default(),
        };
        let hooks = Arc::new(hooks);
        self.hooks = Some(hooks.clone());
        Ok(hooks)
    }

    fn schema(&mut self, rows: &dyn Rows) -> Result<Arc<AttributeSchema>, RowsError> {
        if let Some(schema) = &self.schema {
            return Ok(schema.clone());
        }
        let schema = match self.stored(rows, DefinitionKind::Attributes)? {
            Some(definition) => AttributeSchema::check(&definition.body)
                .map_err(|errors| RowsError(format!("stored attribute schema: {}", errors[0])))?,
            None => AttributeSchema::default(),
        };
        let schema = Arc::new(schema);
        self.schema = Some(schema.clone());
        Ok(schema)
    }
}

impl Machine for MemberMachine {
    fn begin(&mut self, _now: Time) {
        self.batch = Batch::default();
    }

    fn apply(
        &mut self,
        rows: &dyn Rows,
        record: &Record,
        out: &mut WriteSet,
    ) -> Result<(), RowsError> {
        match record.schema {
            schema::EVENT => self.event(rows, record, read(record), out),
            schema::NOTE => self.note(rows, record, read(record), out),
            schema::EXPECT => self.expect(rows, read(record)),
            schema::RELEASE => self.release(rows, read(record), out),
            schema::CONTINUE => self.go_on(rows, read(record), out),
            schema::DATA => self.data(rows, record, read(record), out),
            schema::DEFINITION => self.definition(rows, record),
            schema::UNPARK => {
                out.unparked.push(read(record));
                Ok(())
            }
            schema::MEMBERSHIP => self.membership(rows, record, read(record), out),
            schema::TAGGED => self.tagged(rows, record, read(record), out),
            schema::ERASED => self.erase(rows, read(record), out),
            schema::ALERT => {
                let hooks = self.hooks(rows)?;
                hooks.tell(Occurrence::Alert(&read(record)), out);
                Ok(())
            }
            // The profile sets no timers; other machines of the unit may.
            schema::FIRED => Ok(()),
            _ => unreadable(record),
        }
    }

    fn finish(&mut self, _rows: &dyn Rows, out: &mut WriteSet) -> Result<(), RowsError> {
        let batch = std::mem::take(&mut self.batch);
        batch.write(self.partition, out);
        Ok(())
    }

    fn rollback(&mut self) {
        self.batch = Batch::default();
        self.schema = None;
        self.hooks = None;
    }

    fn key(&self, record: &Record) -> Option<u64> {
        let member: MemberNo = match record.schema {
            schema::EVENT | schema::NOTE | schema::TAGGED => {
                postcard::take_from_bytes(&record.envelope).ok()?.0
            }
            schema::EXPECT | schema::RELEASE | schema::CONTINUE | schema::DATA => {
                postcard::take_from_bytes::<(u64, MemberNo)>(&record.envelope)
                    .ok()?
                    .0
                    .1
            }
            schema::ERASED => postcard::take_from_bytes(&record.envelope).ok()?.0,
            _ => return None,
        };
        Some(member.0.into())
    }

    fn absorb(&mut self, _delta: &[u8]) -> Result<(), RowsError> {
        self.schema = None;
        self.hooks = None;
        Ok(())
    }

    fn logic_version(&self) -> u16 {
        LOGIC
    }
}

fn read<'a, T: serde::Deserialize<'a>>(record: &'a Record) -> T {
    match routed::decode(&record.envelope) {
        Some(form) => form,
        None => unreadable(record),
    }
}

/// Identity wrote it and it does not read: a bug or damage. The shell parks the record with its member's later ones, so
/// nothing is lost and nothing is decided on half of it.
pub(super) fn unreadable(record: &Record) -> ! {
    panic!(
        "the record at {} ({}) does not read as its schema {:#06x}",
        record.at.position, record.at.index, record.schema
    )
}
