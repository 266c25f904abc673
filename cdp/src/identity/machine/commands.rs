//! Control records: commands are decided once per idempotency key, everything else is passed on.

use std::sync::Arc;

use actors::machine::{
    EffectMark, Fired, Outgoing, Personal, Record, RecordAt, Rows, RowsError, To, WriteSet,
};
use actors::model::{BrandId, PartitionId, Position, ShardId, SourceId, UnitKind};
use bytes::Bytes;

use super::{IdentityMachine, Taken};
use crate::control::{Control, DeadLetterReplay, DefinitionChange, Regroup};
use crate::dead::{self, DeadId, DeadRow, DeadStatus};
use crate::definition::DefinitionKind;
use crate::dictionary::NameRules;
use crate::identity::port::{RawInput, Reject};
use crate::identity::row::{self, DecisionRow, Outcome};
use crate::identity::rules::Rules;
use crate::identity::settle::{Cause, Decide};
use crate::identity::view::View;
use crate::routed::{self, schema};

impl IdentityMachine {
    pub(super) fn control(
        &mut self,
        rows: &dyn Rows,
        at: Position,
        control: Control,
        out: &mut WriteSet,
    ) -> Result<(), RowsError> {
        match control {
            Control::Unmerge(command) => {
                self.decide_once(rows, at, &command.request, out, |this, out| {
                    this.regroup(rows, at, &command, out, true)
                })
            }
            Control::Rejoin(command) => {
                self.decide_once(rows, at, &command.request, out, |this, out| {
                    this.regroup(rows, at, &command, out, false)
                })
            }
            Control::DeadLetterReplay(command) => {
                self.decide_once(rows, at, &command.request, out, |this, out| {
                    this.replay(rows, at, &command, out)
                })
            }
            Control::DeadLetterDrop { request, dead } => {
                self.decide_once(rows, at, &request, out, |this, out| {
                    this.close(rows, dead, DeadStatus::Dropped, out)
                })
            }
            Control::Definition(definition) => self.define(rows, definition, out),
            Control::TimerFired {
                shard,
                id,
                at,
                payload,
            } => {
                let fired = Fired { id, at, payload };
                pass(To::Shard(shard), schema::FIRED, routed::encode(&fired), out);
                Ok(())
            }
            Control::EffectMark { key, finished } => {
                let mark = match finished {
                    true => EffectMark::Done,
                    false => EffectMark::Sending,
                };
                out.effect_marks.push((key, mark));
                Ok(())
            }
            Control::Unpark { unit, key } => {
                match unit.kind {
                    UnitKind::Identity => out.unparked.push(key),
                    UnitKind::Member => {
                        let to = To::Partition(unit.partition);
                        pass(to, schema::UNPARK, routed::encode(&key), out);
                    }
                }
                Ok(())
            }
            Control::Alert(change) => {
                let part = routed::AlertPart { change, cause: at };
                // Whichever unit: alerts are about no member.
                let to = To::Partition(PartitionId(0));
                pass(to, schema::ALERT, routed::encode(&part), out);
                Ok(())
            }
            Control::Effects(marks) => {
                out.effect_marks.extend(marks);
                Ok(())
            }
            Control::Erase(command) => {
                self.decide_once(rows, at, &command.request, out, |this, out| {
                    let mut decide = this.deciding(rows, at, out);
                    decide.erase(&command)
                })
            }
            Control::Membership(change) => {
                self.membership(at, change, out);
                Ok(())
            }
            Control::Tagged(change) => {
                self.tagged(at, change, out);
                Ok(())
            }
        }
    }

    /// Decides a command whose key was not seen; the same key again changes nothing.
    fn decide_once(
        &mut self,
        rows: &dyn Rows,
        at: Position,
        request: &str,
        out: &mut WriteSet,
        decide: impl FnOnce(&mut Self, &mut WriteSet) -> Result<Outcome, RowsError>,
    ) -> Result<(), RowsError> {
        let key = Bytes::copy_from_slice(request.as_bytes());
        let view = View::new(rows, &mut self.overlay, out);
        if view.get(row::DECISION, &key)?.is_some() {
            out.count("duplicates", 1);
            return Ok(());
        }
        let outcome = decide(self, out)?;
        let decision = DecisionRow {
            time: self.memory.small.now,
            cause: at,
            outcome,
        };
        let mut view = View::new(rows, &mut self.overlay, out);
        view.put(row::DECISION, key, row::encode(&decision));
        Ok(())
    }

    fn regroup(
        &mut self,
        rows: &dyn Rows,
        at: Position,
        command: &Regroup,
        out: &mut WriteSet,
        apart: bool,
    ) -> Result<Outcome, RowsError> {
        let mut decide = self.deciding(rows, at, out);
        match apart {
            true => decide.unmerge(command),
            false => decide.rejoin(command),
        }
    }

    /// A decision that a command causes.
    fn deciding<'a>(
        &'a mut self,
        rows: &'a dyn Rows,
        at: Position,
        out: &'a mut WriteSet,
    ) -> Decide<'a> {
        Decide {
            cause: Cause {
                position: at,
                now: self.memory.small.now,
                source: SourceId(0),
                brand: BrandId(0),
                test: false,
            },
            memory: &mut self.memory,
            view: View::new(rows, &mut self.overlay, out),
        }
    }

    fn replay(
        &mut self,
        rows: &dyn Rows,
        at: Position,
        command: &DeadLetterReplay,
        out: &mut WriteSet,
    ) -> Result<Outcome, RowsError> {
        if let Some(refused) = self.not_open(rows, command.dead, out)? {
            return Ok(refused);
        }
        let record = Record {
            at: RecordAt {
                position: at,
                index: 0,
            },
            schema: command.schema,
            shard: ShardId(0),
            envelope: command.envelope.clone(),
            personal: match command.personal.is_empty() {
                true => Personal::None,
                false => Personal::Open(command.personal.clone()),
            },
        };
        let rejected = match self.decoder.decode(&record) {
            RawInput::Event { event } => match self.take(rows, at, *event, out)? {
                Taken::Applied => {
                    return self.close(rows, command.dead, DeadStatus::Replayed, out);
                }
                Taken::Duplicate => {
                    return Ok(refused(
                        "already_counted",
                        "a message with this id was counted since",
                        "drop the dead letter",
                    ));
                }
                Taken::Refused(reject) => reject,
                Taken::Dropped => {
                    return Ok(refused(
                        "event_blocked",
                        "the dictionary blocks events of this name",
                        "unblock the name, or drop the dead letter",
                    ));
                }
            },
            RawInput::Rejected(reject) => reject,
            RawInput::Control(_) | RawInput::Unknown => {
                return Ok(refused(
                    "not_an_event",
                    "the record is no event, or its key is gone",
                    "send the event again",
                ));
            }
        };
        let Reject { code, reason, .. } = rejected;
        Ok(refused(
            &code,
            &reason,
            "mend the event and replay it again",
        ))
    }

    /// Closes an open dead letter.
    fn close(
        &mut self,
        rows: &dyn Rows,
        dead: DeadId,
        status: DeadStatus,
        out: &mut WriteSet,
    ) -> Result<Outcome, RowsError> {
        if let Some(refused) = self.not_open(rows, dead, out)? {
            return Ok(refused);
        }
        let mut view = View::new(rows, &mut self.overlay, out);
        if let Some(letter) = DeadRow::get(&view, dead)? {
            let closed = DeadRow {
                status,
                decided: self.memory.small.now,
                ..letter
            };
            view.put(dead::SPACE, dead.key().to_vec(), closed.encode());
            view.out.count("dead_letters", -1);
        }
        Ok(Outcome::Done {
            members: Vec::new(),
        })
    }

    fn not_open(
        &mut self,
        rows: &dyn Rows,
        dead: DeadId,
        out: &mut WriteSet,
    ) -> Result<Option<Outcome>, RowsError> {
        let view = View::new(rows, &mut self.overlay, out);
        Ok(match DeadRow::get(&view, dead)? {
            None => Some(refused(
                "dead_letter_unknown",
                "there is no such dead letter",
                "list the dead letters",
            )),
            Some(letter) => match letter.status {
                DeadStatus::Open => None,
                DeadStatus::Replayed => Some(refused(
                    "dead_letter_replayed",
                    "it was replayed before",
                    "nothing is left to do",
                )),
                DeadStatus::Dropped => Some(refused(
                    "dead_letter_dropped",
                    "it was dropped before",
                    "send the event again",
                )),
            },
        })
    }

    fn define(
        &mut self,
        rows: &dyn Rows,
        definition: DefinitionChange,
        out: &mut WriteSet,
    ) -> Result<(), RowsError> {
        let DefinitionChange {
            kind,
            version,
            body,
        } = definition;
        if &*kind == DefinitionKind::IdentityRules.as_str()
            && version > self.memory.small.rules_version
        {
            match Rules::parse(&body) {
                Ok(rules) => self.memory.set_rules(version, rules),
                Err(errors) => {
                    tracing::error!(version, errors = ?errors, "identity rules do not read");
                    out.count("definitions_refused", 1);
                    return Ok(());
                }
            }
        }
        if &*kind == DefinitionKind::Dictionary.as_str() {
            self.names(rows)?;
            let known = self.names.as_ref().map_or(0, |(version, _)| *version);
            if version <= known {
                return Ok(());
            }
            match NameRules::parse(&body) {
                Ok(names) => {
                    let value = [&version.to_be_bytes(), body.as_bytes()].concat();
                    out.put(row::RULES, Bytes::from_static(row::NAMES), value);
                    self.names = Some((version, Arc::new(names)));
                }
                Err(error) => {
                    tracing::error!(version, error, "merged and blocked names do not read");
                    out.count("definitions_refused", 1);
                }
            }
            // Members never ask for names: what reaches them has its name already.
            return Ok(());
        }
        let kind = serde_json::Value::from(&*kind);
        let json = format!(r#"{{"kind":{kind},"version":{version},"body":{body}}}"#);
        pass(To::EveryPartition, schema::DEFINITION, json.into(), out);
        Ok(())
    }
}

fn pass(to: To, schema: u16, envelope: Bytes, out: &mut WriteSet) {
    out.outgoing.push(Outgoing {
        to,
        schema,
        envelope,
        personal: None,
    });
}

fn refused(code: &str, message: &str, hint: &str) -> Outcome {
    Outcome::Refused {
        code: code.into(),
        message: message.into(),
        hint: hint.into(),
    }
}
