//! Transitions on their way into the log.
//!
//! Found changes are grouped into records of one segment each, kept until they are appended, and appended a few at a time:
//! a new segment of millions must not make identity's batches large. What a crash loses here is found again at the next
//! start, when the audience compares what it computes with what members hold.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use actors::model::{BrandId, MemberNo, SegmentId, TagId, Time};
use cdp::control::{CHANGE_MEMBERS_MAX, Control, MembershipChange, TagChange};
use cdp::profile::Value;

/// Members in records on their way that identity has not consumed. It decides a record whole and reads thousands of them
/// at once: more would make its batches large.
pub const IN_FLIGHT_MEMBERS_MAX: usize = 64 << 10;

/// Records appended together.
const GROUP_MAX: usize = 1_024;

/// A member entered or left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The segment.
    pub segment: SegmentId,
    /// The version of its rule.
    pub version: u32,
    /// Its brand.
    pub brand: BrandId,
    /// Not because of the member.
    pub rebuilt: bool,
    /// As of when.
    pub at: Time,
    /// Who.
    pub member: MemberNo,
    /// Entered, or left.
    pub entered: bool,
}

/// A member's value of a tag is another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundTag {
    /// The tag.
    pub tag: TagId,
    /// The version of its definition.
    pub version: u32,
    /// Its brand.
    pub brand: BrandId,
    /// Not because of the member.
    pub rebuilt: bool,
    /// As of when.
    pub at: Time,
    /// Who.
    pub member: MemberNo,
    /// The value from now on.
    pub value: Option<Arc<Value>>,
}

/// What the members of one record have in common: version, brand, whether it was rebuilt, as of when.
type Head = (u32, BrandId, bool, Time);

/// A record that waits. Values are shared until it is appended: a new tag of millions has few.
#[derive(Debug)]
enum Waiting {
    Membership(SegmentId, Head, Vec<(MemberNo, bool)>),
    Tagged(TagId, Head, Vec<(MemberNo, Option<Arc<Value>>)>),
}

/// Records that wait to be appended, oldest first.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: VecDeque<Waiting>,
}

impl Outbox {
    /// Takes changes in the order in which they were found. Changes of one member in one segment stay in order.
    pub fn add(&mut self, found: impl IntoIterator<Item = Found>) {
        let found = found.into_iter().map(|it| {
            let head = (it.version, it.brand, it.rebuilt, it.at);
            (it.segment, head, it.member, it.entered)
        });
        let records = grouped(found).into_iter();
        self.waiting.extend(
            records.map(|(segment, head, members)| Waiting::Membership(segment, head, members)),
        );
    }

    /// As [`Outbox::add`], of tags.
    pub fn add_tags(&mut self, found: impl IntoIterator<Item = FoundTag>) {
        let found = found.into_iter().map(|it| {
            let head = (it.version, it.brand, it.rebuilt, it.at);
            (it.tag, head, it.member, it.value)
        });
        let records = grouped(found).into_iter();
        self.waiting
            .extend(records.map(|(tag, head, members)| Waiting::Tagged(tag, head, members)));
    }

    /// The next records to append, with about `room` members at most, and how many members they have. They stay until
    /// [`Outbox::sent`].
    pub fn next(&self, room: usize) -> (Vec<Control>, usize) {
        let mut members = 0;
        let mut next = Vec::new();
        for change in self.waiting.iter().take(GROUP_MAX) {
            if members >= room {
                break;
            }
            members += change.len();
            next.push(change.control());
        }
        (next, members)
    }

    /// So many of [`Outbox::next`] are durable.
    pub fn sent(&mut self, count: usize) {
        self.waiting.drain(..count.min(self.waiting.len()));
    }

    /// Records that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Waiting {
    fn len(&self) -> usize {
        match self {
            Waiting::Membership(_, _, members) => members.len(),
            Waiting::Tagged(_, _, members) => members.len(),
        }
    }

    fn control(&self) -> Control {
        match self {
            Waiting::Membership(segment, head, members) => {
                let (version, brand, rebuilt, at) = *head;
                Control::Membership(MembershipChange {
                    segment: *segment,
                    version,
                    brand,
                    rebuilt,
                    at,
                    members: members.clone(),
                })
            }
            Waiting::Tagged(tag, head, members) => {
                let (version, brand, rebuilt, at) = *head;
                let members = members.iter();
                Control::Tagged(TagChange {
                    tag: *tag,
                    version,
                    brand,
                    rebuilt,
                    at,
                    members: members
                        .map(|(member, value)| (*member, value.as_deref().cloned()))
                        .collect(),
                })
            }
        }
    }
}

/// A record: what it is about, what its members have in common, and they.
type Grouped<K, T> = (K, Head, Vec<(MemberNo, T)>);

/// Changes by what they are about and what they have in common; a member stands in a record once.
fn grouped<K: Ord + Copy, T>(
    found: impl Iterator<Item = (K, Head, MemberNo, T)>,
) -> Vec<Grouped<K, T>> {
    struct Open<T> {
        head: Head,
        members: Vec<(MemberNo, T)>,
        known: HashSet<MemberNo>,
    }
    let mut open: BTreeMap<K, Open<T>> = BTreeMap::new();
    let mut done = Vec::new();
    for (key, head, member, change) in found {
        let fits = |open: &Open<T>| {
            open.head == head
                && open.members.len() < CHANGE_MEMBERS_MAX
                && !open.known.contains(&member)
        };
        if open.get(&key).is_some_and(|open| !fits(open))
            && let Some(full) = open.remove(&key)
        {
            done.push((key, full.head, full.members));
        }
        let open = open.entry(key).or_insert_with(|| Open {
            head,
            members: Vec::new(),
            known: HashSet::new(),
        });
        open.known.insert(member);
        open.members.push((member, change));
    }
    done.extend((open.into_iter()).map(|(key, open)| (key, open.head, open.members)));
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(segment: u32, member: u32, entered: bool) -> Found {
        Found {
            segment: SegmentId(segment),
            version: 1,
            brand: BrandId(0),
            rebuilt: false,
            at: Time(0),
            member: MemberNo(member),
            entered,
        }
    }

    fn shape(outbox: &Outbox) -> Vec<(u32, Vec<(u32, bool)>)> {
        let records = outbox.next(usize::MAX).0.into_iter();
        records
            .map(|record| match record {
                Control::Membership(change) => {
                    let members = change.members.iter();
                    let members = members.map(|(member, entered)| (member.0, *entered));
                    (change.segment.0, members.collect())
                }
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn one_record_a_segment_unless_a_member_comes_again() {
        let mut outbox = Outbox::default();
        outbox.add([
            found(1, 7, true),
            found(2, 7, true),
            found(1, 8, true),
            found(1, 7, false),
            Found {
                rebuilt: true,
                ..found(2, 9, true)
            },
        ]);
        assert_eq!(
            shape(&outbox),
            [
                (1, vec![(7, true), (8, true)]),
                (2, vec![(7, true)]),
                (1, vec![(7, false)]),
                (2, vec![(9, true)]),
            ]
        );
        outbox.sent(2);
        assert_eq!(outbox.len(), 2);
        let (next, members) = outbox.next(1);
        assert_eq!((next.len(), members), (1, 1));
        assert!(outbox.next(0).0.is_empty());
    }

    #[test]
    fn values_of_one_tag_stand_together_in_order() {
        let found = |member: u32, value: Option<&str>| FoundTag {
            tag: TagId(4),
            version: 2,
            brand: BrandId(0),
            rebuilt: false,
            at: Time(0),
            member: MemberNo(member),
            value: value.map(|text| Arc::new(Value::Text(text.into()))),
        };
        let mut outbox = Outbox::default();
        outbox.add_tags([
            found(1, Some("a")),
            found(2, Some("a")),
            found(1, Some("b")),
            found(2, None),
        ]);
        let (records, members) = outbox.next(usize::MAX);
        assert_eq!((records.len(), members), (2, 4));
        let Control::Tagged(last) = &records[1] else {
            panic!("{records:?}");
        };
        let b = Some(Value::Text("b".into()));
        assert_eq!(last.members, [(MemberNo(1), b), (MemberNo(2), None)]);
        assert_eq!((last.tag, last.version), (TagId(4), 2));
    }

    #[test]
    fn a_large_segment_goes_in_several_records() {
        let mut outbox = Outbox::default();
        outbox.add((0..2 * CHANGE_MEMBERS_MAX as u32 + 1).map(|member| found(1, member, true)));
        let sizes: Vec<usize> = shape(&outbox).iter().map(|it| it.1.len()).collect();
        assert_eq!(sizes, [CHANGE_MEMBERS_MAX, CHANGE_MEMBERS_MAX, 1]);
    }
}
