//! Who counts, and whose facts are whose.

use actors::model::{IdentNo, MemberNo};

use super::bits::Set;
use super::blobs::{Blobs, push_varint, take_varint};

/// No member has the fragment.
const NOBODY: u32 = u32::MAX;

/// Members and their fragments.
#[derive(Debug, Default)]
pub(crate) struct People {
    /// Members that count: known persons, not from tests.
    pub universe: Set,
    /// The member of each fragment.
    member_of: Vec<u32>,
    /// The fragments of each member.
    fragments: Blobs,
    /// One more than the highest member number seen.
    pub ordinals: u32,
}

impl People {
    /// The member that a fragment belongs to.
    pub fn member_of(&self, fragment: IdentNo) -> Option<MemberNo> {
        let member = *self.member_of.get(fragment.0 as usize)?;
        (member != NOBODY).then_some(MemberNo(member))
    }

    /// The fragments of a member, ascending.
    pub fn fragments(&self, member: MemberNo) -> impl Iterator<Item = IdentNo> {
        let mut bytes = self.fragments.get(member.0);
        let mut last = 0;
        std::iter::from_fn(move || {
            if bytes.is_empty() {
                return None;
            }
            last += take_varint(&mut bytes) as u32;
            Some(IdentNo(last))
        })
    }

    /// Takes a member's fragments as they are now; a fragment leaves whoever had it. Answers whose fragments changed.
    pub fn set_fragments(&mut self, member: MemberNo, fragments: &[IdentNo]) -> Vec<MemberNo> {
        self.ordinals = self.ordinals.max(member.0.saturating_add(1));
        let mut new = fragments.to_vec();
        new.sort_unstable();
        new.dedup();
        let old: Vec<IdentNo> = self.fragments(member).collect();
        if old == new {
            return Vec::new();
        }
        let mut changed = vec![member];
        for &fragment in &new {
            let at = fragment.0 as usize;
            if self.member_of.len() <= at {
                self.member_of.resize(at + 1, NOBODY);
            }
            let before = std::mem::replace(&mut self.member_of[at], member.0);
            if before != NOBODY && before != member.0 {
                let before = MemberNo(before);
                let rest: Vec<IdentNo> = self
                    .fragments(before)
                    .filter(|other| *other != fragment)
                    .collect();
                self.store(before, &rest);
                if !changed.contains(&before) {
                    changed.push(before);
                }
            }
        }
        for fragment in old {
            if new.binary_search(&fragment).is_err()
                && self.member_of[fragment.0 as usize] == member.0
            {
                self.member_of[fragment.0 as usize] = NOBODY;
            }
        }
        self.store(member, &new);
        changed
    }

    pub fn bytes(&self) -> usize {
        self.universe.bytes() + self.member_of.capacity() * 4 + self.fragments.bytes()
    }

    fn store(&mut self, member: MemberNo, fragments: &[IdentNo]) {
        let mut bytes = Vec::with_capacity(fragments.len() * 4);
        let mut last = 0;
        for (at, fragment) in fragments.iter().enumerate() {
            push_varint(&mut bytes, u64::from(fragment.0 - last));
            // The first distance may be 0: then the entry is one byte, which is not nothing.
            last = fragment.0;
            debug_assert!(at == 0 || fragment.0 > 0);
        }
        self.fragments.set(member.0, &bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(people: &People, member: u32) -> Vec<u32> {
        people.fragments(MemberNo(member)).map(|it| it.0).collect()
    }

    #[test]
    fn fragments_move_whichever_member_is_told_first() {
        let list = |numbers: &[u32]| numbers.iter().copied().map(IdentNo).collect::<Vec<_>>();
        let mut people = People::default();
        people.set_fragments(MemberNo(1), &list(&[0, 5]));
        people.set_fragments(MemberNo(2), &list(&[900, 7]));
        let changed = people.set_fragments(MemberNo(2), &list(&[7, 900, 5]));
        assert_eq!(changed, [MemberNo(2), MemberNo(1)]);
        assert_eq!((of(&people, 1), of(&people, 2)), (vec![0], vec![5, 7, 900]));
        people.set_fragments(MemberNo(1), &list(&[]));
        assert_eq!(people.member_of(IdentNo(0)), None);
        people.set_fragments(MemberNo(2), &list(&[0, 5, 7, 900]));
        assert_eq!(people.member_of(IdentNo(0)), Some(MemberNo(2)));
        // Apart again: the one who gives is told first.
        people.set_fragments(MemberNo(2), &list(&[7, 900]));
        assert_eq!(people.member_of(IdentNo(5)), None);
        people.set_fragments(MemberNo(1), &list(&[0, 5]));
        assert_eq!((of(&people, 1), of(&people, 2)), (vec![0, 5], vec![7, 900]));
        assert!(people.set_fragments(MemberNo(1), &list(&[5, 0])).is_empty());
    }
}
