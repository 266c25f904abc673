//! Answers: counts, members, distributions, overlaps; exact at the engine's time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use actors::model::{IdentNo, MemberNo, Time};

use super::super::bits::{Set, Words, each_bit, join, new_words};
use super::super::column::{Column, Lane};
use super::super::kernel;
use super::super::query::{Query, Scratch, over_blocks};
use super::super::view::View;
use super::Engine;
use super::prepare::{Clause, NotReady, Prepared};
use crate::profile::Value;
use crate::rule::{Leaf, Node, Plan};

/// Plans that [`Engine::overlap`] takes at most: more regions than thirty-one nobody reads.
pub const OVERLAP_MAX: usize = 5;

/// A count and the time at which it is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Members.
    pub count: u64,
    /// The engine's time.
    pub at: Time,
}

/// A count, clause by clause, with some of the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previewed {
    /// Members.
    pub count: u64,
    /// Members of each node, in the order of [`Plan::nodes`].
    pub clauses: Vec<u64>,
    /// Some of them.
    pub sample: Vec<MemberNo>,
    /// The engine's time.
    pub at: Time,
}

/// How the values of an attribute or tag are spread within an audience.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Distribution {
    /// The most frequent values, ties by value; of lists each element counts.
    pub values: Vec<(Value, u64)>,
    /// How many different values there are.
    pub distinct: u64,
    /// Members with a value.
    pub present: u64,
    /// Members without.
    pub absent: u64,
}

impl Distribution {
    /// Joins what was counted among other members.
    fn join(&mut self, other: Distribution, limit: usize) {
        let mut values: BTreeMap<Value, u64> = BTreeMap::new();
        for (value, count) in self.values.drain(..).chain(other.values) {
            *values.entry(value).or_default() += count;
        }
        self.distinct = values.len() as u64;
        self.values = values.into_iter().collect();
        sort_values(&mut self.values, limit);
        self.present += other.present;
        self.absent += other.absent;
    }
}

/// What has become of the entries of an uploaded list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListFigures {
    /// Entries whose identifier somebody has, visitors too.
    pub known: u64,
    /// Entries that mean a member who counts.
    pub matched: u64,
    /// Such members: several entries may mean one.
    pub members: u64,
}

/// Bytes in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// Who counts, and whose fragments are whose.
    pub people: usize,
    /// Attributes.
    pub attributes: usize,
    /// Tags.
    pub tags: usize,
    /// Uploaded lists.
    pub lists: usize,
    /// Events of measures.
    pub measures: usize,
    /// Computed columns.
    pub derived: usize,
    /// Places.
    pub places: usize,
    /// What those see who may see some brands only.
    pub views: usize,
    /// Members of segments.
    pub segments: usize,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> usize {
        self.people
            + self.attributes
            + self.tags
            + self.lists
            + self.measures
            + self.derived
            + self.places
            + self.views
            + self.segments
    }
}

impl Engine {
    /// Who counts for the question that is being answered.
    pub(super) fn visible(&self) -> &Set {
        match &self.seen_as {
            Some((_, who)) => who,
            None => &self.store.people.universe,
        }
    }

    /// Members that count.
    pub fn universe(&self) -> u64 {
        self.visible().len()
    }

    /// Names of attributes that members have or had, in order.
    pub fn attribute_names(&self) -> Vec<Box<str>> {
        self.store.attributes.keys().cloned().collect()
    }

    /// How many satisfy a plan at `now` (or at the engine's time, if that is later).
    pub fn count(&mut self, plan: &Plan, now: Time) -> Result<Counted, NotReady> {
        let prepared = self.ready(plan, now)?;
        Ok(Counted {
            count: self.count_node(plan, &prepared, plan.root()),
            at: self.now,
        })
    }

    /// How many satisfy each node of a plan, in the order of [`Plan::nodes`].
    pub fn clause_counts(&mut self, plan: &Plan, now: Time) -> Result<Vec<u64>, NotReady> {
        Ok(self.preview(plan, now, 0, 0)?.clauses)
    }

    /// How many satisfy a plan and each of its nodes, and some of them, in one pass.
    pub fn preview(
        &mut self,
        plan: &Plan,
        now: Time,
        size: usize,
        seed: u64,
    ) -> Result<Previewed, NotReady> {
        let prepared = self.ready(plan, now)?;
        let leaves: Vec<Query<'_>> = (0..plan.leaves.len())
            .map(|number| self.leaf(plan, &prepared, number))
            .collect();
        let parts = over_blocks(
            self.visible(),
            self.threads,
            &|| (vec![0u64; plan.nodes.len()], Vec::new()),
            &|(counts, found): &mut (Vec<u64>, Vec<_>), block, within, scratch| {
                let each = Each {
                    plan,
                    leaves: &leaves,
                    block,
                    within,
                };
                let out = each.node(plan.root(), counts, scratch);
                match size > 0 && !kernel::is_empty(&out) {
                    true => found.push((block, out)),
                    false => scratch.give(out),
                }
            },
        );
        let mut clauses = vec![0; plan.nodes.len()];
        let mut found = Vec::new();
        for (counts, blocks) in parts {
            (clauses.iter_mut().zip(counts)).for_each(|(sum, it)| *sum += it);
            found.extend(blocks);
        }
        Ok(Previewed {
            count: clauses[plan.root()],
            clauses,
            sample: sample(&found, size, seed),
            at: self.now,
        })
    }

    /// Members who satisfy a plan, by number, behind `after`.
    pub fn members(
        &mut self,
        plan: &Plan,
        now: Time,
        after: Option<MemberNo>,
        limit: usize,
    ) -> Result<Vec<MemberNo>, NotReady> {
        let prepared = self.ready(plan, now)?;
        let query = self.ordered(plan, &prepared);
        let from = after.map_or(0, |after| u64::from(after.0) + 1);
        let mut found = Vec::new();
        let (mut scratch, mut within, mut out) = (Scratch::default(), new_words(), new_words());
        let universe = self.visible();
        for block in (from >> 16) as usize..universe.blocks() {
            let Some(part) = universe.part(block) else {
                continue;
            };
            within.fill(0);
            part.or_into(&mut within);
            query.eval(block, &within, &mut out, &mut scratch);
            each_bit(&out, |place| {
                let ordinal = join(block, place);
                if u64::from(ordinal) >= from && found.len() < limit {
                    found.push(MemberNo(ordinal));
                }
            });
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    /// Members of a segment as of the last transitions or as restored, by number, behind `after`. `None`: no such segment,
    /// or not computed yet.
    pub fn segment_members(
        &self,
        segment: &str,
        after: Option<MemberNo>,
        limit: usize,
    ) -> Option<Vec<MemberNo>> {
        let live = self.segments.by_id.get(segment)?;
        if !live.serves() {
            return None;
        }
        let from = after.map_or(0, |after| u64::from(after.0) + 1);
        let mut found = Vec::new();
        for block in (from >> 16) as usize..live.members.blocks() {
            if let Some(part) = live.members.part(block) {
                part.each(|place| {
                    let ordinal = join(block, place);
                    let seen = self
                        .seen_as
                        .as_ref()
                        .is_none_or(|(_, who)| who.has(ordinal));
                    if seen && u64::from(ordinal) >= from && found.len() < limit {
                        found.push(MemberNo(ordinal));
                    }
                });
            }
            if found.len() >= limit {
                break;
            }
        }
        Some(found)
    }

    /// Some members who satisfy a plan, each with the same chance; the same ones for the same seed and state.
    pub fn sample(
        &mut self,
        plan: &Plan,
        now: Time,
        size: usize,
        seed: u64,
    ) -> Result<Vec<MemberNo>, NotReady> {
        Ok(self.preview(plan, now, size, seed)?.sample)
    }

    /// How the values of the attribute or tag that `leaf` reads are spread among those who satisfy a plan. The leaf's own
    /// condition does not count; for behaviour it is the aggregate whose values are counted.
    pub fn distribution(
        &mut self,
        plan: &Plan,
        leaf: &Leaf,
        now: Time,
        limit: usize,
    ) -> Result<Distribution, NotReady> {
        let asked = Plan::of_leaf(leaf.clone());
        let of = self.ready(&asked, now)?;
        let prepared = self.ready(plan, now)?;
        let column = match self.clause(leaf, of.derived[0]) {
            Clause::Column(column, ..) | Clause::Apart(column, ..) => column,
            _ => &self.empty,
        };
        let query = self.ordered(plan, &prepared);
        let mut answer = match self.told_apart(leaf, of.derived[0]) {
            None => self.spread(&query, column, None).answer(column, limit),
            Some(told) => {
                let mine = self.spread(&query, column, Some((&told.who, false)));
                let others = self.spread(&query, &told.column, Some((&told.who, true)));
                let mut answer = mine.answer(column, usize::MAX);
                answer.join(others.answer(&told.column, usize::MAX), limit);
                answer
            }
        };
        // A default, such as the count 0, is the value of those of whom the column says nothing.
        let default = of.derived[0].and_then(|it| self.derived[it].as_ref()?.default.clone());
        if let Some(default) = default.filter(|_| answer.absent > 0) {
            answer.present += answer.absent;
            answer.distinct += 1;
            answer
                .values
                .push((default, std::mem::take(&mut answer.absent)));
            sort_values(&mut answer.values, limit);
        }
        Ok(answer)
    }

    /// How all values of a clause are spread among those of a plan.
    pub(super) fn spread_of(
        &self,
        plan: &Plan,
        prepared: &Prepared,
        clause: &Clause<'_>,
    ) -> Distribution {
        let query = self.ordered(plan, prepared);
        match clause {
            Clause::Column(column, ..) => {
                self.spread(&query, column, None).answer(column, usize::MAX)
            }
            Clause::Apart(..) | Clause::Set(_) | Clause::Nobody => Distribution::default(),
        }
    }

    /// Values of a column among those of a query; `only`: who are in a set, or who are not.
    fn spread(&self, query: &Query<'_>, column: &Column, only: Option<(&Set, bool)>) -> Spread {
        let parts = over_blocks(
            self.visible(),
            self.threads,
            &Spread::default,
            &|spread: &mut Spread, block, within, scratch| {
                let mut out = scratch.take();
                query.eval(block, within, &mut out, scratch);
                if let Some((set, inside)) = only {
                    let mut some = scratch.take();
                    some.fill(0);
                    if let Some(part) = set.part(block) {
                        part.or_into(&mut some);
                    }
                    match inside {
                        true => kernel::and(&mut out, &some),
                        false => kernel::and_not(&mut out, &some),
                    }
                    scratch.give(some);
                }
                spread.add(column, block, &out, scratch);
                scratch.give(out);
            },
        );
        let mut all = Spread::default();
        parts.into_iter().for_each(|part| all.join(part));
        all
    }

    /// How many are in exactly which of up to five plans: the entry at `mask` counts those who satisfy the plans whose bits
    /// are set in it and no other. Unions, intersections and differences are sums of these. The first entry (in none) is
    /// there as well.
    pub fn overlap(&mut self, plans: &[&Plan], now: Time) -> Result<Vec<u64>, NotReady> {
        let plans = &plans[..plans.len().min(OVERLAP_MAX)];
        let mut prepared = Vec::new();
        for plan in plans {
            prepared.push(self.ready(plan, now)?);
        }
        // Preparing one may let go of what another needs only if they are many: ask again, now that all are known.
        let prepared: Vec<Prepared> = match plans.len() {
            0 | 1 => prepared,
            _ => plans
                .iter()
                .map(|plan| self.ready(plan, now))
                .collect::<Result<_, _>>()?,
        };
        let queries: Vec<Query<'_>> = (plans.iter().zip(&prepared))
            .map(|(plan, prepared)| self.ordered(plan, prepared))
            .collect();
        let regions = 1usize << plans.len();
        let parts = over_blocks(
            self.visible(),
            self.threads,
            &|| vec![0u64; regions],
            &|counts: &mut Vec<u64>, block, within, scratch| {
                let sets: Vec<_> = queries
                    .iter()
                    .map(|query| {
                        let mut out = scratch.take();
                        query.eval(block, within, &mut out, scratch);
                        out
                    })
                    .collect();
                let mut region = scratch.take();
                for (mask, count) in counts.iter_mut().enumerate() {
                    *region = *within;
                    for (bit, set) in sets.iter().enumerate() {
                        match mask >> bit & 1 {
                            0 => kernel::and_not(&mut region, set),
                            _ => kernel::and(&mut region, set),
                        }
                    }
                    *count += u64::from(kernel::count(&region));
                }
                scratch.give(region);
                sets.into_iter().for_each(|set| scratch.give(set));
            },
        );
        let mut counts = vec![0; regions];
        for part in parts {
            counts.iter_mut().zip(part).for_each(|(sum, it)| *sum += it);
        }
        Ok(counts)
    }

    /// What has become of the entries of an uploaded list. `None`: it was never told.
    pub fn list_figures(&self, list: &str) -> Option<ListFigures> {
        let listed = self.store.lists.get(list)?;
        let mut figures = ListFigures::default();
        listed.fragments(|fragment| {
            figures.known += 1;
            let member = self.store.people.member_of(fragment);
            figures.matched += u64::from(member.is_some_and(|it| self.visible().has(it.0)));
        });
        figures.members = listed.members.both(self.visible());
        Some(figures)
    }

    /// Which of some identifiers belong to a member who counts.
    pub fn whose(&self, idents: &[Option<IdentNo>]) -> Vec<bool> {
        let who = self.visible();
        let seen = |ident: &Option<IdentNo>| {
            let member = ident.and_then(|ident| self.store.people.member_of(ident));
            member.is_some_and(|member| who.has(member.0))
        };
        idents.iter().map(seen).collect()
    }

    /// Bytes in memory.
    pub fn memory(&self) -> Memory {
        let columns = |columns: &std::collections::BTreeMap<Box<str>, Column>| {
            columns.values().map(Column::bytes).sum::<usize>()
        };
        Memory {
            people: self.store.people.bytes(),
            attributes: columns(&self.store.attributes) + self.store.told.bytes(),
            tags: columns(&self.store.tags),
            lists: self.store.lists.values().map(|set| set.bytes()).sum(),
            measures: self.store.series.iter().map(|it| it.bytes()).sum(),
            derived: self.derived.iter().flatten().map(|it| it.bytes()).sum(),
            places: self.store.places.values().map(|it| it.bytes()).sum(),
            views: self.views.iter().map(View::bytes).sum(),
            segments: self
                .segments
                .by_id
                .values()
                .map(|it| it.members.bytes())
                .sum(),
        }
    }

    /// Brings everything that a plan reads to the time of the question.
    fn ready(&mut self, plan: &Plan, now: Time) -> Result<Prepared, NotReady> {
        self.set_now(self.now.max(now));
        if plan.leaves.iter().any(|leaf| self.is_kept(leaf)) {
            // Segments and tags are what they are, whoever asks.
            let seen_as = self.seen_as.take();
            self.settle();
            self.seen_as = seen_as;
        }
        let prepared = self.prepare(plan)?;
        for number in prepared.derived.iter().flatten() {
            self.complete(*number);
        }
        Ok(prepared)
    }

    fn ordered<'a>(&'a self, plan: &Plan, prepared: &Prepared) -> Query<'a> {
        let mut query = self.query(plan, prepared, plan.root());
        self.order(&mut query);
        query
    }

    /// Orders a query by a sample from the middle.
    pub(super) fn order(&self, query: &mut Query<'_>) {
        let universe = &self.store.people.universe;
        let middle = universe.blocks() / 2;
        if let Some(part) = universe.part(middle) {
            let mut within = new_words();
            part.or_into(&mut within);
            query.order(middle, &within);
        }
    }

    fn count_node(&self, plan: &Plan, prepared: &Prepared, node: usize) -> u64 {
        let mut query = self.query(plan, prepared, node);
        self.order(&mut query);
        let counts = over_blocks(
            self.visible(),
            self.threads,
            &|| 0u64,
            &|sum: &mut u64, block, within, scratch| {
                *sum += u64::from(query.count(block, within, scratch));
            },
        );
        counts.into_iter().sum()
    }
}

/// Every node of a plan in one block.
struct Each<'a> {
    plan: &'a Plan,
    leaves: &'a [Query<'a>],
    block: usize,
    within: &'a Words,
}

impl Each<'_> {
    /// Who satisfies a node; counts it and all below it.
    fn node(&self, node: usize, counts: &mut [u64], scratch: &mut Scratch) -> Box<Words> {
        let mut out = scratch.take();
        match &self.plan.nodes[node] {
            Node::Leaf(leaf) => {
                self.leaves[*leaf].eval(self.block, self.within, &mut out, scratch);
            }
            Node::And(nodes) => {
                *out = *self.within;
                for node in nodes {
                    let some = self.node(*node, counts, scratch);
                    kernel::and(&mut out, &some);
                    scratch.give(some);
                }
            }
            Node::Or(nodes) => {
                out.fill(0);
                for node in nodes {
                    let some = self.node(*node, counts, scratch);
                    kernel::or(&mut out, &some);
                    scratch.give(some);
                }
            }
            Node::Not(inner) => {
                let some = self.node(*inner, counts, scratch);
                *out = *self.within;
                kernel::and_not(&mut out, &some);
                scratch.give(some);
            }
        }
        counts[node] += u64::from(kernel::count(&out));
        out
    }
}

/// Some of those in a set, each with the same chance; most of them stay when others come and go.
///
/// A member's rank is how many coins in a row it wins, ties by a hash; the highest win. Coins are thrown for a word at a
/// time, so that of millions only some hundreds are looked at.
fn sample(found: &[(usize, Box<Words>)], size: usize, seed: u64) -> Vec<MemberNo> {
    let mut best: BinaryHeap<Reverse<(u32, u64, u32)>> = BinaryHeap::with_capacity(size + 1);
    if size == 0 {
        return Vec::new();
    }
    for (block, words) in found {
        for (at, &word) in words.iter().enumerate() {
            if word == 0 {
                continue;
            }
            let first = join(*block, at as u16 * 64);
            let coins = |round: u32| mix(seed ^ mix(u64::from(round) << 32 | u64::from(first)));
            // Whoever has not won so many cannot be among the best.
            let least = match best.peek() {
                Some(Reverse((won, ..))) if best.len() == size => *won,
                _ => 0,
            };
            let mut left = word;
            for round in 0..least {
                left &= coins(round);
                if left == 0 {
                    break;
                }
            }
            while left != 0 {
                let bit = left.trailing_zeros();
                left &= left - 1;
                let more = (least..ROUNDS_MAX).take_while(|it| coins(*it) >> bit & 1 != 0);
                let ordinal = first + bit;
                let hash = mix(seed ^ u64::from(ordinal).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                best.push(Reverse((least + more.count() as u32, hash, ordinal)));
                if best.len() > size {
                    best.pop();
                }
            }
        }
    }
    let best = best.into_sorted_vec();
    best.into_iter()
        .map(|Reverse((_, _, ordinal))| MemberNo(ordinal))
        .collect()
}

/// Coins that are thrown for a member at most: nobody of four thousand million wins more in a row, nearly.
const ROUNDS_MAX: u32 = 32;

/// Counts of values, by lane and number; elements of lists behind the lanes.
#[derive(Debug, Default)]
struct Spread {
    lanes: [HashMap<i64, u64>; 7],
    elements: HashMap<i64, u64>,
    objects: u64,
    present: u64,
    all: u64,
}

impl Spread {
    fn add(&mut self, column: &Column, block: usize, who: &Words, scratch: &mut Scratch) {
        self.all += u64::from(kernel::count(who));
        let inside = |place: u16| who[place as usize >> 6] >> (place & 63) & 1 != 0;
        for lane in Lane::ALL {
            if let Some(cells) = column.lane(lane, block) {
                let counts = &mut self.lanes[lane as usize];
                cells.count_values(who, &mut |value, count| {
                    *counts.entry(value).or_default() += count
                });
            }
        }
        for (code, part) in column
            .lists
            .iter()
            .flat_map(|lists| lists.elements_in(block))
        {
            let mut count = 0;
            part.each(|place| count += u64::from(inside(place)));
            if count > 0 {
                *self.elements.entry(code.into()).or_default() += count;
            }
        }
        column
            .objects
            .each_in(block, |place, _| self.objects += u64::from(inside(place)));
        let mut exists = scratch.take();
        column.exists(block, &mut exists);
        self.present += u64::from(kernel::count_and(&exists, who));
        scratch.give(exists);
    }

    fn join(&mut self, other: Spread) {
        let mine = self.lanes.iter_mut().chain([&mut self.elements]);
        for (mine, theirs) in mine.zip(other.lanes.into_iter().chain([other.elements])) {
            for (value, count) in theirs {
                *mine.entry(value).or_default() += count;
            }
        }
        self.objects += other.objects;
        self.present += other.present;
        self.all += other.all;
    }

    fn answer(self, column: &Column, limit: usize) -> Distribution {
        let mut counted: Vec<(u64, Option<Lane>, i64)> = Vec::new();
        for (lane, counts) in Lane::ALL.into_iter().zip(self.lanes) {
            counted.extend(
                counts
                    .into_iter()
                    .map(|(value, count)| (count, Some(lane), value)),
            );
        }
        counted.extend(
            self.elements
                .into_iter()
                .map(|(code, count)| (count, None, code)),
        );
        let distinct = counted.len() as u64;
        // Ties are settled by value, so all that tie with the last are kept until values are known.
        counted.sort_unstable_by_key(|(count, ..)| std::cmp::Reverse(*count));
        if let Some((last, ..)) = counted.get(limit.saturating_sub(1)).copied() {
            counted.truncate(counted.partition_point(|(count, ..)| *count >= last));
        }
        let mut values: Vec<(Value, u64)> = counted
            .into_iter()
            .map(|(count, lane, number)| {
                let value = match (lane, &column.lists) {
                    (Some(lane), _) => column.value(lane, number),
                    (None, Some(lists)) => lists.element(number as u32),
                    (None, None) => Value::Cleared,
                };
                (value, count)
            })
            .collect();
        sort_values(&mut values, limit);
        Distribution {
            values,
            distinct,
            present: self.present,
            absent: self.all - self.present,
        }
    }
}

fn sort_values(values: &mut Vec<(Value, u64)>, limit: usize) {
    values.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    values.truncate(limit);
}

/// The finaliser of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
