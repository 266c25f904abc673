//! Keeping up: the clock, members to look at again, new editions of segments.

use std::sync::Arc;

use actors::model::{MemberNo, Time};

use super::super::bits::{Part, Set};
use super::super::live::{Edition, Input, Rules, Transition};
use super::super::query::over_blocks;
use super::Engine;
use super::prepare::{Clause, NotReady, Prepared};
use crate::rule::{Node, Plan};

/// Members that one call of [`Engine::tick`] looks at: some milliseconds.
const SLICE: usize = 10_000;

/// Members of a new column that one call of [`Engine::warm`] computes: some milliseconds on two cores.
const WARM_MEMBERS: u32 = 4 << 16;

/// Members per block from which on a pass over all blocks is cheaper than looking at each.
const PASS_FROM: usize = 50;

impl Engine {
    /// Lets time pass and does a slice of what is to be done: members whose time has come, new editions, segments. Answers
    /// whether more is left: then call again soon, with the same or a later time.
    ///
    /// The clock may go back; then everything is computed anew in this call.
    pub fn tick(&mut self, now: Time) -> bool {
        self.set_now(now);
        let mut room = SLICE;
        let kept: Vec<usize> = self.kept().into_iter().collect();
        for number in &kept {
            room -= self.advance(*number, room).min(room);
            if room == 0 {
                return true;
            }
        }
        // Others as well, with what is left: who asks again finds them nearly done.
        for number in 0..self.derived.len() {
            if !kept.contains(&number) {
                room -= self.advance(number, room).min(room);
            }
        }
        if self.build_next(&mut room) {
            return true;
        }
        let segments = std::mem::take(&mut self.segments.order);
        let mut left = false;
        for id in &segments {
            if room == 0 {
                left = true;
                break;
            }
            room -= self.refresh(id).min(room);
        }
        self.segments.order = segments;
        left || self.derived.iter().flatten().any(|it| it.is_due(self.now))
    }

    /// Does a slice of what questions about these plans still need at `now`: columns that are computed for the first time,
    /// members whose time has come. Answers whether more is left; whoever shares the engine lets others in meanwhile.
    /// Without it a question does all of this at once.
    pub fn warm(&mut self, plans: &[&Plan], now: Time) -> Result<bool, NotReady> {
        let now = self.now.max(now);
        self.set_now(now);
        let mut leaves = plans.iter().flat_map(|plan| &plan.leaves);
        if leaves.any(|leaf| self.is_kept(leaf)) && self.tick(now) {
            return Ok(true);
        }
        for plan in plans {
            let prepared = self.prepare(plan)?;
            for number in prepared.derived.into_iter().flatten() {
                if let Some(column) = &mut self.derived[number]
                    && !column.is_built(&self.store)
                {
                    column.build(&self.store, now, WARM_MEMBERS, self.threads);
                    return Ok(true);
                }
                if self.advance(number, SLICE) == SLICE {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Finishes everything that is to be done at the engine's time and takes the transitions so far, in the order in which
    /// they were found.
    pub fn drain_transitions(&mut self) -> Vec<Transition> {
        self.settle();
        std::mem::take(&mut self.transitions)
    }

    /// The transitions so far, without looking for more: those of [`Engine::tick`].
    pub fn take_transitions(&mut self) -> Vec<Transition> {
        std::mem::take(&mut self.transitions)
    }

    /// Brings every segment to the engine's time.
    pub(super) fn settle(&mut self) {
        let mut room = usize::MAX;
        for number in self.kept() {
            self.advance(number, usize::MAX);
        }
        self.build_next(&mut room);
        let segments = std::mem::take(&mut self.segments.order);
        for id in &segments {
            self.refresh(id);
        }
        self.segments.order = segments;
        // An edition that became ready may be what another waits for.
        while self.build_next(&mut room) {}
    }

    /// Sets the time.
    pub(super) fn set_now(&mut self, now: Time) {
        if now < self.now {
            self.derived
                .iter_mut()
                .flatten()
                .for_each(|it| it.rebuild());
            self.now = now;
            for number in 0..self.derived.len() {
                self.complete(number);
            }
            self.segments
                .by_id
                .values_mut()
                .for_each(|live| live.mark_all());
        }
        self.now = now;
    }

    /// Computes a column for every member at the engine's time.
    pub(super) fn complete(&mut self, number: usize) {
        if let Some(column) = &mut self.derived[number] {
            column.build(&self.store, self.now, u32::MAX, self.threads);
        }
        self.advance(number, usize::MAX);
    }

    /// Looks again at members of a column whose time has come; answers how many.
    fn advance(&mut self, number: usize, limit: usize) -> usize {
        let Some(column) = &mut self.derived[number] else {
            return 0;
        };
        let (segments, input) = (&mut self.segments, Input::Derived(number));
        column.advance(&self.store, self.now, limit, &mut |member| {
            segments.mark(&input, member);
        })
    }

    /// Goes on with one new edition; answers whether more is left to do.
    fn build_next(&mut self, room: &mut usize) -> bool {
        let waiting: Vec<Box<str>> = (self.segments.by_id.values())
            .filter(|live| live.next.is_some())
            .map(|live| live.id.clone())
            .collect();
        let mut left = false;
        for id in waiting {
            let Some((version, rules)) = self.segments.by_id[&id].next.clone() else {
                continue;
            };
            let plan = rules.plan().clone();
            let built = self.as_owner(&plan, |engine| engine.build(&id, version, rules, room));
            // What lacks history, another segment or what its owner sees waits, and is no work.
            match built.and_then(|built| built) {
                Ok(true) => left = true,
                Ok(false) => return true,
                Err(_) => {}
            }
        }
        left
    }

    /// Goes on with an edition; answers whether it is in force now.
    fn build(
        &mut self,
        id: &str,
        version: u32,
        rules: Rules,
        room: &mut usize,
    ) -> Result<bool, NotReady> {
        let prepared = self.prepare(rules.plan())?;
        for number in prepared.derived.iter().flatten() {
            let limit = u32::try_from(*room).unwrap_or(u32::MAX);
            if let Some(column) = &mut self.derived[*number] {
                let before = column.built();
                let done = column.build(&self.store, self.now, limit, self.threads);
                *room -= ((column.built() - before) as usize).min(*room);
                if !done {
                    return Ok(false);
                }
            }
            let looked = self.advance(*number, *room);
            *room -= looked.min(*room);
            if *room == 0 {
                return Ok(false);
            }
        }
        self.swap(id, version, rules, &prepared);
        Ok(true)
    }

    /// Puts a computed edition in force.
    fn swap(&mut self, id: &str, version: u32, rules: Rules, prepared: &Prepared) {
        let rules = match &rules {
            Rules::Tag(tag) => Rules::Tag(self.tag_cut(tag, prepared)),
            Rules::Segment(_) => rules,
        };
        let plan = rules.plan();
        let leaves = plan.leaves.iter().zip(&prepared.derived);
        let mut inputs: Vec<Input> = leaves
            .filter_map(|(leaf, it)| Self::input(leaf, *it))
            .collect();
        inputs.sort();
        inputs.dedup();
        let look_at = self.next_look(plan);
        let live = self
            .segments
            .by_id
            .get_mut(id)
            .expect("asked for by its id");
        let before = live.edition.as_ref().map(|it| it.version);
        if live.on_demand {
            // Nothing concerns it until somebody asks again.
            inputs.clear();
        }
        live.next = None;
        live.look_at = look_at.filter(|_| !live.on_demand);
        live.edition = Some(Edition {
            version,
            rules: rules.clone(),
            inputs,
        });
        live.dirty.clear();
        live.all = false;
        match &rules {
            Rules::Segment(plan) => {
                let new = self.select(plan, prepared);
                self.replace_members(id, new, true);
                self.segments.index();
                // Whoever reads it reads another set now; those without an edition look by themselves.
                self.segments.mark_all(&Input::Segment(id.into()));
            }
            Rules::Tag(tag) => {
                self.tag_all(id, tag, prepared, before != Some(version));
                self.segments.index();
            }
        }
    }

    /// Looks again at those of a segment whom something concerns; answers what that cost, in members.
    pub(super) fn refresh(&mut self, id: &str) -> usize {
        let live = self.segments.by_id.get(id);
        let Some(live) = live.filter(|live| !live.rests(self.now)) else {
            return 0;
        };
        let plan = live.edition.as_ref().map(|it| it.rules.plan().clone());
        match plan.filter(|plan| plan.brands.is_some()) {
            None => self.look_again(id),
            // An edition came into force in a view, which stays: without one nothing is known to be otherwise.
            Some(plan) => self
                .as_owner(&plan, |engine| engine.look_again(id))
                .unwrap_or(0),
        }
    }

    fn look_again(&mut self, id: &str) -> usize {
        let now = self.now;
        let blocks = self.store.people.universe.blocks().max(1);
        let Some(live) = self.segments.by_id.get_mut(id) else {
            return 0;
        };
        if live.on_demand {
            live.all = false;
            let dirty = std::mem::take(&mut live.dirty);
            return self.tag_gone(id, dirty);
        }
        let Some(edition) = live.edition.clone() else {
            return 0;
        };
        let all = std::mem::take(&mut live.all) || live.look_at.is_some_and(|at| at <= now);
        let mut dirty = std::mem::take(&mut live.dirty);
        if !all && dirty.is_empty() {
            return 0;
        }
        // So many are looked at by a pass over all of them, whoever they are.
        if dirty.len() <= blocks * PASS_FROM {
            dirty.sort_unstable();
            dirty.dedup();
        }
        let Ok(prepared) = self.prepare(edition.rules.plan()) else {
            // A segment that it reads was taken away: nobody is in that one.
            return self.refresh_without(id);
        };
        let plan = match &edition.rules {
            Rules::Segment(plan) => plan,
            Rules::Tag(tag) => {
                let all = all || dirty.len() > blocks * PASS_FROM;
                match all {
                    true => self.tag_all(id, tag, &prepared, false),
                    false => self.tag_some(id, tag, &prepared, &dirty),
                }
                let look_at = self.next_look(&tag.plan);
                let live = self.segments.by_id.get_mut(id).expect("found above");
                live.look_at = look_at;
                return if all { blocks * PASS_FROM } else { dirty.len() };
            }
        };
        if all || dirty.len() > blocks * PASS_FROM {
            let new = self.select(plan, &prepared);
            let changes = self.replace_members(id, new, false);
            let look_at = self.next_look(plan);
            let live = self.segments.by_id.get_mut(id).expect("found above");
            live.look_at = look_at;
            return blocks * PASS_FROM + changes;
        }
        let changes = self.look(id, plan, &prepared, &dirty);
        if let Some(live) = self.segments.by_id.get_mut(id) {
            for &(ordinal, inside) in &changes {
                live.members.put(ordinal, inside);
            }
        }
        self.tell(id, edition.version, &changes, false);
        dirty.len()
    }

    /// Empties a segment whose rule cannot be asked any more.
    fn refresh_without(&mut self, id: &str) -> usize {
        if self.segments.by_id[id].tag.is_some() {
            return self.tag_nobody(id);
        }
        self.replace_members(id, Set::default(), false);
        1
    }

    /// Members whose answer is another one now.
    fn look(&self, id: &str, plan: &Plan, prepared: &Prepared, dirty: &[u32]) -> Vec<(u32, bool)> {
        let clauses: Vec<Clause<'_>> = (plan.leaves.iter().zip(&prepared.derived))
            .map(|(leaf, derived)| self.clause(leaf, *derived))
            .collect();
        let members = &self.segments.by_id[id].members;
        let universe = self.visible();
        dirty
            .iter()
            .map(|&it| {
                (
                    it,
                    universe.has(it) && holds(plan, plan.root(), &clauses, it),
                )
            })
            .filter(|(it, inside)| members.has(*it) != *inside)
            .collect()
    }

    /// Who satisfies a plan.
    fn select(&self, plan: &Plan, prepared: &Prepared) -> Set {
        let mut query = self.query(plan, prepared, plan.root());
        self.order(&mut query);
        let found = over_blocks(
            self.visible(),
            self.threads,
            &Vec::new,
            &|found: &mut Vec<(usize, Part)>, block, within, scratch| {
                let mut out = scratch.take();
                query.eval(block, within, &mut out, scratch);
                found.push((block, Part::of_words(&out)));
                scratch.give(out);
            },
        );
        let mut set = Set::default();
        for (block, part) in found.into_iter().flatten() {
            *set.part_mut(block) = part;
        }
        set
    }

    /// Puts other members in; answers how many enter and leave.
    fn replace_members(&mut self, id: &str, new: Set, rebuilt: bool) -> usize {
        let live = &self.segments.by_id[id];
        let version = live.edition.as_ref().map_or(0, |it| it.version);
        let mut changes = Vec::new();
        live.members
            .diff(&new, |ordinal, inside| changes.push((ordinal, inside)));
        self.tell(id, version, &changes, rebuilt);
        if let Some(live) = self.segments.by_id.get_mut(id) {
            live.members = new;
        }
        changes.len()
    }

    /// Tells who enters and leaves, and marks them in segments that read this one. There may be millions.
    fn tell(&mut self, id: &str, version: u32, changes: &[(u32, bool)], rebuilt: bool) {
        let input = Input::Segment(id.into());
        if self.segments.is_read(&input) {
            for (ordinal, _) in changes {
                self.segments.mark(&input, *ordinal);
            }
        }
        let (segment, at): (Arc<str>, Time) = (id.into(), self.now);
        let told = changes.iter().map(|&(ordinal, entered)| Transition {
            segment: segment.clone(),
            version,
            member: MemberNo(ordinal),
            entered,
            rebuilt,
            at,
        });
        self.transitions.extend(told);
    }
}

fn holds(plan: &Plan, node: usize, clauses: &[Clause<'_>], ordinal: u32) -> bool {
    let each = |node: &usize| holds(plan, *node, clauses, ordinal);
    match &plan.nodes[node] {
        Node::And(nodes) => nodes.iter().all(each),
        Node::Or(nodes) => nodes.iter().any(each),
        Node::Not(node) => !each(node),
        Node::Leaf(leaf) => clauses[*leaf].holds(ordinal),
    }
}
