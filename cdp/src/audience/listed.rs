//! Members by something that their fragments have: entries of an uploaded list, events of a brand.
//!
//! Kept by fragment, so that a merge or an unmerge moves whoever it concerns and nothing is told again.

use actors::model::{IdentNo, MemberNo};

use super::bits::Set;
use super::people::People;

/// Fragments with a mark, and the members who have one of them.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    fragments: Set,
    /// Members with such a fragment; whether they count is the universe's matter.
    pub members: Set,
}

impl Listed {
    /// Marks just these fragments. `each` hears of members who came or went.
    pub fn replace(
        &mut self,
        people: &People,
        fragments: impl IntoIterator<Item = IdentNo>,
        mut each: impl FnMut(u32),
    ) {
        let (mut marked, mut members) = (Set::default(), Set::default());
        for fragment in fragments {
            marked.insert(fragment.0);
            if let Some(member) = people.member_of(fragment) {
                members.insert(member.0);
            }
        }
        self.members.diff(&members, |member, _| each(member));
        (self.fragments, self.members) = (marked, members);
    }

    /// Marks a fragment; answers the member who came by it.
    pub fn insert(&mut self, people: &People, fragment: IdentNo) -> Option<MemberNo> {
        self.fragments.insert(fragment.0);
        let member = people.member_of(fragment)?;
        self.members.insert(member.0).then_some(member)
    }

    /// Takes a mark away; answers the member who went by it.
    pub fn remove(&mut self, people: &People, fragment: IdentNo) -> Option<MemberNo> {
        self.fragments.remove(fragment.0);
        let member = people.member_of(fragment)?;
        self.look(people, member).then_some(member)
    }

    /// Looks at a member whose fragments have changed; answers whether it came or went.
    pub fn look(&mut self, people: &People, member: MemberNo) -> bool {
        let mut fragments = people.fragments(member);
        let inside = fragments.any(|fragment| self.fragments.has(fragment.0));
        self.members.put(member.0, inside)
    }

    /// The marked fragments, ascending.
    pub fn fragments(&self, mut each: impl FnMut(IdentNo)) {
        for block in 0..self.fragments.blocks() {
            if let Some(part) = self.fragments.part(block) {
                part.each(|place| each(IdentNo(super::bits::join(block, place))));
            }
        }
    }

    pub fn bytes(&self) -> usize {
        self.fragments.bytes() + self.members.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_stay_with_fragments_whoever_has_them() {
        let (a, b) = (MemberNo(1), MemberNo(2));
        let mut people = People::default();
        people.set_fragments(a, &[IdentNo(10), IdentNo(11)]);
        let mut listed = Listed::default();
        let mut heard = Vec::new();
        // 12 is nobody's yet.
        listed.replace(&people, [IdentNo(11), IdentNo(12)], |it| heard.push(it));
        assert_eq!(heard, [1]);
        for member in people.set_fragments(b, &[IdentNo(12)]) {
            assert!(listed.look(&people, member));
        }
        assert!(listed.members.has(1) && listed.members.has(2));
        // One takes all: the other goes.
        let changed = people.set_fragments(b, &[IdentNo(10), IdentNo(11), IdentNo(12)]);
        let moved: Vec<_> = changed
            .into_iter()
            .filter(|member| listed.look(&people, *member))
            .collect();
        assert_eq!(moved, [a]);
        assert_eq!(listed.remove(&people, IdentNo(11)), None, "12 is left");
        assert_eq!(listed.remove(&people, IdentNo(12)), Some(b));
        assert_eq!(listed.insert(&people, IdentNo(10)), Some(b));
        assert_eq!(listed.insert(&people, IdentNo(10)), None);
    }
}
