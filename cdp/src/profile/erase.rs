//! Forgetting a person: the rows of its fragments lose what is personal, and what was concluded of it goes.
//!
//! Counts, times, names of events and orders stay. Facts of a fragment that are still on their way here when the person is
//! forgotten lose the same when they arrive, even if they were opened before the key was destroyed.

use actors::machine::{Rows, RowsError, WriteSet};
use actors::model::{IdentNo, MemberNo};
use bytes::Bytes;

use super::concluded::{memberships, tags};
use super::machine::MemberMachine;
use super::row::{self, FRONT, Flags, TIMELINE_KEY, TimelineRow};
use crate::routed::Erased;

impl MemberMachine {
    pub(super) fn erase(
        &mut self,
        rows: &dyn Rows,
        erased: Erased,
        out: &mut WriteSet,
    ) -> Result<(), RowsError> {
        let member = erased.member;
        for fragment in erased.fragments {
            let cell = self.batch.cell(rows, member, fragment)?;
            cell.value.forget();
            cell.dirty = true;
            self.erase_timeline(rows, member, fragment)?;
            if !self.batch.queue(rows, member, fragment)?.is_empty() {
                let key = row::front(member, fragment).to_vec();
                self.batch.forgotten.insert(key.clone().into());
                out.put(row::FORGOTTEN, key, Bytes::from_static(&[1]));
            }
        }
        for (segment, _) in memberships(rows, member)? {
            let slot = self.batch.membership(rows, member, segment)?;
            slot.dirty = true;
            if slot.value.take().is_some() {
                out.count(&format!("segment_members.{segment}"), -1);
            }
        }
        for (tag, _) in tags(rows, member)? {
            let slot = self.batch.tag(rows, member, tag)?;
            slot.dirty = true;
            if slot.value.take().is_some() {
                out.count(&format!("tag_members.{tag}"), -1);
            }
        }
        Ok(())
    }

    fn erase_timeline(
        &mut self,
        rows: &dyn Rows,
        member: MemberNo,
        fragment: IdentNo,
    ) -> Result<(), RowsError> {
        let front = row::front(member, fragment);
        let mut found: Vec<([u8; TIMELINE_KEY], Bytes)> = Vec::new();
        rows.scan(row::TIMELINE, &front, &mut |key, value| {
            if let Ok(key) = key.try_into() {
                found.push((key, Bytes::copy_from_slice(value)));
            }
            true
        })?;
        let mut first = [0; TIMELINE_KEY];
        first[..FRONT].copy_from_slice(&front);
        let new = self.batch.timeline.range(first..);
        let new = new.take_while(|(key, _)| key.starts_with(&front));
        found.extend(new.map(|(key, value)| (*key, value.clone())));
        for (key, value) in found {
            let mut line = TimelineRow::decode(&value)?;
            line.told.clear();
            line.message = [0; 8];
            line.flags = line.flags.with(Flags::ERASED, true);
            self.batch.timeline.insert(key, line.encode().into());
        }
        Ok(())
    }

    /// Whether the person of a fragment was forgotten while its facts were on their way here.
    pub(super) fn was_forgotten(
        &self,
        rows: &dyn Rows,
        member: MemberNo,
        fragment: IdentNo,
    ) -> Result<bool, RowsError> {
        let key = row::front(member, fragment);
        let now = self.batch.forgotten.contains(&key[..]);
        Ok(now || rows.get(row::FORGOTTEN, &key)?.is_some())
    }
}
