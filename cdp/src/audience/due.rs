//! Whom to look at again when: members by the minute from which on time alone may change what is known of them.
//!
//! An entry says *not before*; who is looked at and has not changed is simply entered again, and then waits for the exact
//! instant. Entries that became needless are met once and dropped, so a change of mind costs nothing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use actors::model::Time;
use roaring::RoaringBitmap;

/// Width of a bucket: one minute. Midnights are whole minutes in every zone of today.
const BUCKET_MS: i64 = 60_000;

/// Members by the bucket of their next change.
#[derive(Debug, Default)]
pub(crate) struct Due {
    buckets: BTreeMap<i64, RoaringBitmap>,
    /// Those of buckets that have begun, by the exact instant.
    soon: BinaryHeap<Reverse<(Time, u32)>>,
    /// Buckets up to this one have begun.
    begun: Option<i64>,
}

impl Due {
    /// Enters a member.
    pub fn enter(&mut self, member: u32, at: Time) {
        let bucket = Due::bucket(at);
        match self.begun {
            Some(begun) if bucket <= begun => self.soon.push(Reverse((at, member))),
            _ => drop(self.buckets.entry(bucket).or_default().insert(member)),
        }
    }

    /// Enters members of one bucket ([`Due::bucket`]), ascending. Nobody else of the bucket has a higher number.
    pub fn enter_all(&mut self, bucket: i64, members: &[u32]) {
        if self.begun.is_some_and(|begun| bucket <= begun) {
            let at = Time(bucket.saturating_mul(BUCKET_MS));
            return members.iter().for_each(|it| self.enter(*it, at));
        }
        let entered = self.buckets.entry(bucket).or_default();
        if entered.append(members.iter().copied()).is_err() {
            entered.extend(members.iter().copied());
        }
    }

    /// The bucket of an instant.
    pub fn bucket(at: Time) -> i64 {
        at.0.div_euclid(BUCKET_MS)
    }

    /// Takes up to `limit` members whose instant, or whose bucket's first, is not after `now`.
    pub fn take(&mut self, now: Time, limit: usize) -> Vec<u32> {
        let last = now.0.div_euclid(BUCKET_MS);
        self.begun = self.begun.max(Some(last));
        let mut taken = Vec::new();
        while taken.len() < limit
            && let Some(Reverse((at, member))) = self.soon.peek().copied()
            && at <= now
        {
            self.soon.pop();
            taken.push(member);
        }
        while taken.len() < limit
            && let Some(mut first) = self.buckets.first_entry()
            && *first.key() <= last
        {
            let members = first.get_mut();
            let room = limit - taken.len();
            if members.len() as usize <= room {
                taken.extend(members.iter());
                first.remove();
            } else {
                let some: Vec<u32> = members.iter().take(room).collect();
                let next = some.last().map_or(0, |last| last + 1);
                members.remove_range(..next);
                taken.extend(some);
            }
        }
        taken
    }

    /// Whether anybody is due.
    pub fn is_due(&self, now: Time) -> bool {
        let last = now.0.div_euclid(BUCKET_MS);
        let soon = self.soon.peek().is_some_and(|Reverse((at, _))| *at <= now);
        soon || self
            .buckets
            .first_key_value()
            .is_some_and(|(at, _)| *at <= last)
    }

    #[cfg(test)]
    fn len(&self) -> u64 {
        let buckets = self.buckets.values().map(RoaringBitmap::len);
        buckets.sum::<u64>() + self.soon.len() as u64
    }

    pub fn clear(&mut self) {
        *self = Due::default();
    }

    pub fn bytes(&self) -> usize {
        let sizes = self.buckets.values().map(RoaringBitmap::serialized_size);
        sizes.sum::<usize>() + self.buckets.len() * 64 + self.soon.capacity() * 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_in_slices_and_never_early() {
        let mut due = Due::default();
        for member in 0..10 {
            due.enter(member, Time(i64::from(member) * BUCKET_MS + 5));
        }
        assert!(due.take(Time(-1), 9).is_empty());
        assert_eq!(due.take(Time(3 * BUCKET_MS), 3), [0, 1, 2]);
        assert_eq!(due.take(Time(3 * BUCKET_MS), 3), [3]);
        assert!(!due.is_due(Time(4 * BUCKET_MS - 1)));
        due.enter(100, Time(4 * BUCKET_MS));
        due.enter(101, Time(4 * BUCKET_MS));
        assert_eq!(due.take(Time(4 * BUCKET_MS), 2), [4, 100]);
        assert_eq!(due.take(Time(4 * BUCKET_MS), 2), [101]);
        // Entered again within the minute: the exact instant counts.
        due.enter(4, Time(4 * BUCKET_MS + 30));
        assert!(due.take(Time(4 * BUCKET_MS + 29), 2).is_empty());
        assert_eq!(due.take(Time(4 * BUCKET_MS + 30), 2), [4]);
        assert_eq!(due.len(), 5);
    }
}
