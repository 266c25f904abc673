//! Calculated tags: who has which value, kept in the tag's column, so that segments and other tags read it like any tag.
//!
//! The engine is the authority for such a column: what members hold follows it through the log, and what comes back of it
//! is ignored. A member has the value of the first case that holds, or, of a tag with several values, those of all.

use std::collections::BTreeMap;
use std::sync::Arc;

use actors::model::MemberNo;

use super::super::bits::{Words, each_bit, join, new_words};
use super::super::column::{Column, Lane, normal};
use super::super::derived::What;
use super::super::kernel;
use super::super::live::{Input, Live, Retag, Rules, tag_id};
use super::super::query::{Query, Scratch, over_blocks};
use super::Engine;
use super::prepare::{Clause, Prepared};
use crate::profile::Value;
use crate::rule::{Leaf, Node, Plan};
use crate::tag::formula::Reads;
use crate::tag::quantile::{Cuts, count};
use crate::tag::{PlannedCase, TagPlan};

/// A member and the value that it is to have from now on.
type Given = (u32, Option<Arc<Value>>);

impl Engine {
    /// Lets a tag be calculated. What its column holds is what members hold now; only differences are told. The old
    /// edition serves until this one is computed. `on_demand`: computed once, now, and then left alone; without `plan` not
    /// even that: it stays as it is.
    pub fn tag_put(
        &mut self,
        code: &str,
        version: u32,
        plan: Option<Arc<TagPlan>>,
        on_demand: bool,
    ) {
        let id = tag_id(code);
        let live = (self.segments.by_id)
            .entry(id.clone())
            .or_insert_with(|| Live::new(&id));
        live.tag.get_or_insert_with(|| code.into());
        live.on_demand = on_demand;
        live.broken_off = false;
        live.next = plan.map(|plan| (version, Rules::Tag(plan)));
        if on_demand && let Some(edition) = &mut live.edition {
            edition.inputs.clear();
            live.look_at = None;
        }
        self.store.tags.entry(code.into()).or_default();
        self.segments.index();
    }

    /// A tag is not calculated any more; its column stays as it is. Answers whether it was.
    pub fn tag_release(&mut self, code: &str) -> bool {
        let was = self.segments.by_id.remove(&tag_id(code)).is_some();
        self.segments.index();
        was
    }

    /// Takes a tag away from everybody, and answers who had it. Nobody is told here.
    pub fn tag_remove(&mut self, code: &str) -> Vec<MemberNo> {
        self.tag_release(code);
        self.retags.retain(|it| *it.code != *code);
        let Some(column) = self.store.tags.remove(code) else {
            return Vec::new();
        };
        let mut had = Vec::new();
        let mut exists = new_words();
        for block in 0..=(self.store.people.ordinals >> 16) as usize {
            column.exists(block, &mut exists);
            each_bit(&exists, |place| had.push(MemberNo(join(block, place))));
        }
        self.segments.mark_all(&Input::Tag(code.into()));
        had
    }

    /// Gives up an edition that is being computed; answers whether there was one.
    pub fn tag_cancel(&mut self, code: &str) -> bool {
        let live = self.segments.by_id.get_mut(&tag_id(code));
        live.is_some_and(|live| {
            live.broken_off |= live.next.is_some();
            live.next.take().is_some()
        })
    }

    /// Whether what was to be computed last was given up.
    pub fn tag_broken_off(&self, code: &str) -> bool {
        let live = self.segments.by_id.get(&tag_id(code));
        live.is_some_and(|live| live.broken_off)
    }

    /// How far an edition that is being computed is: values of members that are computed, of how many. `None`: none is.
    pub fn tag_progress(&self, code: &str) -> Option<(u64, u64)> {
        let live = self.segments.by_id.get(&tag_id(code))?;
        let (_, rules) = live.next.as_ref()?;
        let columns = rules.plan().leaves.iter();
        let columns = columns.filter_map(|leaf| What::of(leaf, &self.store));
        let (mut done, mut all) = (0, 0);
        for what in columns {
            let number = self.by_key.get(&*what.key());
            let column = number.and_then(|number| self.derived[*number].as_ref());
            done += column.map_or(0, |column| u64::from(column.built()));
            all += u64::from(self.store.people.ordinals);
        }
        Some((done, all))
    }

    /// The version of a tag's definition in force, and that of one that is still being computed. `None`: it is not
    /// calculated here.
    pub fn tag_versions(&self, code: &str) -> Option<(Option<u32>, Option<u32>)> {
        self.segment_versions(&tag_id(code))
    }

    /// Changes of values so far, in the order in which they were found.
    pub fn take_retags(&mut self) -> Vec<Retag> {
        std::mem::take(&mut self.retags)
    }

    /// Whether a tag is calculated here.
    pub(super) fn is_calculated(&self, code: &str) -> bool {
        self.segments.calculates(code)
    }

    /// Whether a leaf reads what is kept here: then everything has to be brought to the time of a question first.
    pub(super) fn is_kept(&self, leaf: &Leaf) -> bool {
        match leaf {
            Leaf::Segment(_) => true,
            Leaf::Tag { code, .. } => self.is_calculated(code),
            _ => false,
        }
    }

    /// Looks at everybody.
    pub(super) fn tag_all(&mut self, id: &str, tag: &TagPlan, prepared: &Prepared, rebuilt: bool) {
        let given = self.values_of_all(id, tag, prepared);
        self.give(id, given, rebuilt);
    }

    /// Looks at some members.
    pub(super) fn tag_some(&mut self, id: &str, tag: &TagPlan, prepared: &Prepared, who: &[u32]) {
        let given = self.values_of(id, tag, prepared, who);
        self.give(id, given, false);
    }

    /// Takes the tag from those who count no more; answers at how many it looked.
    pub(super) fn tag_gone(&mut self, id: &str, who: Vec<u32>) -> usize {
        let looked = who.len();
        let universe = self.visible();
        let column = self.tag_column(id);
        let gone: Vec<Given> = (who.into_iter())
            .filter(|it| !universe.has(*it) && column.get(*it).is_some())
            .map(|it| (it, None))
            .collect();
        self.give(id, gone, false);
        looked
    }

    /// Takes the tag from everybody: what its rules ask cannot be asked any more.
    pub(super) fn tag_nobody(&mut self, id: &str) -> usize {
        let nobody = TagPlan {
            plan: Arc::new(Plan {
                rule: crate::rule::Rule::Or(Vec::new()),
                nodes: Vec::new(),
                places: Vec::new(),
                leaves: Vec::new(),
                brands: None,
            }),
            cases: Vec::new(),
            multi: false,
            formula: None,
            quantiles: None,
        };
        let prepared = Prepared {
            derived: Vec::new(),
        };
        self.tag_all(id, &nobody, &prepared, false);
        1
    }

    fn tag_column(&self, id: &str) -> &Column {
        let code = self.segments.by_id[id].tag.as_deref();
        let column = code.and_then(|code| self.store.tags.get(code));
        column.unwrap_or(&self.empty)
    }

    /// Puts new values in place and notes them to be told.
    fn give(&mut self, id: &str, mut given: Vec<Given>, rebuilt: bool) {
        let live = &self.segments.by_id[id];
        let (Some(code), version) = (
            live.tag.clone(),
            live.edition.as_ref().map_or(0, |it| it.version),
        ) else {
            return;
        };
        given.sort_unstable_by_key(|(ordinal, _)| *ordinal);
        let input = Input::Tag((&*code).into());
        for (ordinal, value) in given {
            if let Some(column) = self.store.tags.get_mut(&*code) {
                column.set(ordinal, value.as_deref());
            }
            self.segments.mark(&input, ordinal);
            self.retags.push(Retag {
                code: code.clone(),
                version,
                member: MemberNo(ordinal),
                value,
                rebuilt,
                at: self.now,
            });
        }
    }

    /// Members among `who` whose value is another one.
    fn values_of(&self, id: &str, tag: &TagPlan, prepared: &Prepared, who: &[u32]) -> Vec<Given> {
        let plan = &tag.plan;
        let clauses: Vec<Clause<'_>> = (plan.leaves.iter().zip(&prepared.derived))
            .map(|(leaf, derived)| self.clause(leaf, *derived))
            .collect();
        let column = self.tag_column(id);
        let universe = self.visible();
        let cases = Cases::new(tag, column);
        let mut known: Vec<Option<bool>> = vec![None; clauses.len()];
        let mut given = Vec::new();
        for &ordinal in who {
            known.fill(None);
            if let Some(quantiles) = &tag.quantiles {
                let value = quantiles.value(&mut |leaf| clauses[leaf].value(ordinal));
                given.extend(news(
                    column,
                    ordinal,
                    value.filter(|_| universe.has(ordinal)),
                ));
                continue;
            }
            if let Some(formula) = &tag.formula {
                let mut one = One::new(plan, &clauses, ordinal, &mut known);
                let value = formula.value(&mut one).filter(|_| universe.has(ordinal));
                given.extend(news(column, ordinal, value));
                continue;
            }
            let mut hold = (tag.cases.iter().enumerate())
                .filter(|(_, case)| {
                    universe.has(ordinal)
                        && holds(&plan.nodes, case.node, &clauses, ordinal, &mut known)
                })
                .map(|(at, _)| at);
            match tag.multi {
                true => given.extend(cases.several(ordinal, hold.collect())),
                false => given.extend(cases.one(ordinal, hold.next())),
            }
        }
        given
    }

    /// Members whose value is another one.
    fn values_of_all(&self, id: &str, tag: &TagPlan, prepared: &Prepared) -> Vec<Given> {
        let column = self.tag_column(id);
        if tag.formula.is_some() || tag.quantiles.is_some() {
            return self.figures_of_all(tag, prepared, column);
        }
        let leaves: Vec<Query<'_>> = (0..tag.plan.leaves.len())
            .map(|leaf| self.leaf(&tag.plan, prepared, leaf))
            .collect();
        let cases = Cases::new(tag, column);
        let universe = self.visible();
        let found = over_blocks(
            universe,
            self.threads,
            &Vec::new,
            &|given: &mut Vec<Given>, block, within, scratch| {
                let mut pass = Pass {
                    nodes: &tag.plan.nodes,
                    leaves: &leaves,
                    block,
                    known: leaves.iter().map(|_| None).collect(),
                };
                cases.block(&mut pass, within, scratch, given);
                pass.end(scratch);
            },
        );
        let mut given: Vec<Given> = found.into_iter().flatten().collect();
        self.strangers(column, &mut given);
        given
    }

    /// Adds those who have a value in blocks where nobody counts.
    fn strangers(&self, column: &Column, given: &mut Vec<Given>) {
        let universe = self.visible();
        let mut exists = new_words();
        for block in 0..=(self.store.people.ordinals >> 16) as usize {
            if universe.part(block).is_none() {
                column.exists(block, &mut exists);
                each_bit(&exists, |place| given.push((join(block, place), None)));
            }
        }
    }

    /// What a tag by quantiles was cut at when it was computed last. Whoever wants it after a restart keeps it.
    pub fn tag_cuts(&self, code: &str) -> Option<&Cuts> {
        let live = self.segments.by_id.get(&tag_id(code))?;
        match &live.edition.as_ref()?.rules {
            Rules::Tag(tag) => tag.quantiles.as_ref()?.cuts.as_ref(),
            Rules::Segment(_) => None,
        }
    }

    /// A tag by quantiles with the cuts of now; others as they are.
    pub(super) fn tag_cut(&self, tag: &Arc<TagPlan>, prepared: &Prepared) -> Arc<TagPlan> {
        let Some(quantiles) = &tag.quantiles else {
            return tag.clone();
        };
        let counted = quantiles.leaves.map(|leaf| {
            let mut counted = BTreeMap::new();
            // Those with an order in the window: others have a count and a sum as well, of 0.
            let bought = Plan::of_leaf(tag.plan.leaves[quantiles.leaves[1]].clone());
            let of = Prepared {
                derived: vec![prepared.derived[quantiles.leaves[1]]],
            };
            let clause = self.clause(&tag.plan.leaves[leaf], prepared.derived[leaf]);
            let spread = self.spread_of(&bought, &of, &clause);
            for (value, members) in spread.values {
                count(&mut counted, &value, members);
            }
            if let Clause::Column(.., Some(default)) = clause {
                count(&mut counted, default, spread.absent);
            }
            counted
        });
        Arc::new(TagPlan {
            quantiles: Some(quantiles.cut(counted, self.now)),
            ..TagPlan::clone(tag)
        })
    }

    /// Members whose value of a formula, or by quantiles, is another one.
    fn figures_of_all(&self, tag: &TagPlan, prepared: &Prepared, column: &Column) -> Vec<Given> {
        let plan = &tag.plan;
        let clauses: Vec<Clause<'_>> = (plan.leaves.iter().zip(&prepared.derived))
            .map(|(leaf, derived)| self.clause(leaf, *derived))
            .collect();
        let found = over_blocks(
            self.visible(),
            self.threads,
            &Vec::new,
            &|given: &mut Vec<Given>, block, within, scratch| {
                let mut known: Vec<Option<bool>> = vec![None; clauses.len()];
                each_bit(within, |place| {
                    let ordinal = join(block, place);
                    known.fill(None);
                    let value = match (&tag.formula, &tag.quantiles) {
                        (Some(formula), _) => {
                            formula.value(&mut One::new(plan, &clauses, ordinal, &mut known))
                        }
                        (None, Some(quantiles)) => {
                            quantiles.value(&mut |leaf| clauses[leaf].value(ordinal))
                        }
                        (None, None) => None,
                    };
                    given.extend(news(column, ordinal, value));
                });
                let mut exists = scratch.take();
                column.exists(block, &mut exists);
                kernel::and_not(&mut exists, within);
                each_bit(&exists, |place| given.push((join(block, place), None)));
                scratch.give(exists);
            },
        );
        let mut given: Vec<Given> = found.into_iter().flatten().collect();
        self.strangers(column, &mut given);
        given
    }
}

/// Cases with what tells fast whether a member has their value already.
struct Cases<'a> {
    tag: &'a TagPlan,
    column: &'a Column,
    /// Where the value of each case stands in the column; `None`: nobody has it, or it is a list.
    keys: Vec<Option<(Lane, i64)>>,
}

impl<'a> Cases<'a> {
    fn new(tag: &'a TagPlan, column: &'a Column) -> Cases<'a> {
        let keys = tag.cases.iter().map(|case| column.find(&case.value));
        Cases {
            tag,
            column,
            keys: keys.collect(),
        }
    }

    /// A member who is to have the value of a case, if that is news.
    fn one(&self, ordinal: u32, case: Option<usize>) -> Option<Given> {
        let Some(case) = case else {
            return self.column.get(ordinal).map(|_| (ordinal, None));
        };
        let has = self.keys[case]
            .is_some_and(|(lane, key)| self.column.number(lane, ordinal) == Some(key));
        (!has).then(|| (ordinal, Some(self.tag.cases[case].value.clone())))
    }

    /// A member who is to have the values of several cases, if that is news.
    fn several(&self, ordinal: u32, cases: Vec<usize>) -> Option<Given> {
        let mut values: Vec<Value> = Vec::new();
        for case in cases {
            let more: &PlannedCase = &self.tag.cases[case];
            let more = match &*more.value {
                Value::List(more) => &more[..],
                one => std::slice::from_ref(one),
            };
            for value in more {
                if !values.contains(value) {
                    values.push(value.clone());
                }
            }
        }
        let new = (!values.is_empty()).then_some(Value::List(values));
        let mut normal = Column::default();
        normal.set(0, new.as_ref());
        (normal.get(0) != self.column.get(ordinal)).then(|| (ordinal, new.map(Arc::new)))
    }

    /// Members of a block whose value is another one.
    fn block(
        &self,
        pass: &mut Pass<'_>,
        within: &Words,
        scratch: &mut Scratch,
        given: &mut Vec<Given>,
    ) {
        let block = pass.block;
        let mut exists = scratch.take();
        self.column.exists(block, &mut exists);
        let mut out = scratch.take();
        if self.tag.multi {
            let mut sets = Vec::with_capacity(self.tag.cases.len());
            for case in &self.tag.cases {
                pass.eval(case.node, within, &mut out, scratch);
                kernel::or(&mut exists, &out);
                sets.push(super::super::bits::Part::of_words(&out));
            }
            each_bit(&exists, |place| {
                let hold = sets.iter().enumerate().filter(|(_, set)| set.has(place));
                let hold = hold.map(|(at, _)| at).collect();
                given.extend(self.several(join(block, place), hold));
            });
        } else {
            let mut left = scratch.take();
            *left = *within;
            for (at, case) in self.tag.cases.iter().enumerate() {
                if kernel::is_empty(&left) {
                    break;
                }
                pass.eval(case.node, &left, &mut out, scratch);
                kernel::and_not(&mut left, &out);
                kernel::and_not(&mut exists, &out);
                each_bit(&out, |place| {
                    given.extend(self.one(join(block, place), Some(at)));
                });
            }
            // Whoever is left of those with a value has it no more.
            each_bit(&exists, |place| given.push((join(block, place), None)));
            scratch.give(left);
        }
        scratch.give(out);
        scratch.give(exists);
    }
}

/// All cases over one block: each leaf is evaluated once.
struct Pass<'a> {
    nodes: &'a [Node],
    leaves: &'a [Query<'a>],
    block: usize,
    known: Vec<Option<Box<Words>>>,
}

impl Pass<'_> {
    /// Who satisfies a node, of those `within`.
    fn eval(&mut self, node: usize, within: &Words, out: &mut Words, scratch: &mut Scratch) {
        match &self.nodes[node] {
            Node::And(nodes) => {
                *out = *within;
                let mut left = scratch.take();
                for node in nodes {
                    if kernel::is_empty(out) {
                        break;
                    }
                    *left = *out;
                    self.eval(*node, &left, out, scratch);
                }
                scratch.give(left);
            }
            Node::Or(nodes) => {
                out.fill(0);
                let mut some = scratch.take();
                for node in nodes {
                    self.eval(*node, within, &mut some, scratch);
                    kernel::or(out, &some);
                }
                scratch.give(some);
            }
            Node::Not(node) => {
                let mut some = scratch.take();
                self.eval(*node, within, &mut some, scratch);
                *out = *within;
                kernel::and_not(out, &some);
                scratch.give(some);
            }
            Node::Leaf(leaf) => {
                let (leaves, block) = (self.leaves, self.block);
                let words = self.known[*leaf].get_or_insert_with(|| {
                    let (mut all, mut words) = (scratch.take(), scratch.take());
                    all.fill(u64::MAX);
                    leaves[*leaf].eval(block, &all, &mut words, scratch);
                    scratch.give(all);
                    words
                });
                *out = **words;
                kernel::and(out, within);
            }
        }
    }

    fn end(self, scratch: &mut Scratch) {
        self.known
            .into_iter()
            .flatten()
            .for_each(|words| scratch.give(words));
    }
}

/// A member who is to have a value, if that is news.
fn news(column: &Column, ordinal: u32, value: Option<Value>) -> Option<Given> {
    let had = column.get(ordinal);
    let same = match (&had, &value) {
        (Some(Value::Text(had)), Some(Value::Text(new))) => **had == *normal(new),
        _ => had == value,
    };
    (!same).then(|| (ordinal, value.map(Arc::new)))
}

/// One member as a formula sees it.
struct One<'a, 'c> {
    plan: &'a Plan,
    clauses: &'a [Clause<'c>],
    ordinal: u32,
    known: &'a mut [Option<bool>],
}

impl<'a, 'c> One<'a, 'c> {
    fn new(
        plan: &'a Plan,
        clauses: &'a [Clause<'c>],
        ordinal: u32,
        known: &'a mut [Option<bool>],
    ) -> One<'a, 'c> {
        One {
            plan,
            clauses,
            ordinal,
            known,
        }
    }
}

impl Reads for One<'_, '_> {
    fn leaf(&mut self, leaf: usize) -> Option<Value> {
        self.clauses[leaf].value(self.ordinal)
    }

    fn holds(&mut self, node: usize) -> bool {
        holds(
            &self.plan.nodes,
            node,
            self.clauses,
            self.ordinal,
            self.known,
        )
    }
}

/// A node for one member; each leaf is looked at once.
fn holds(
    nodes: &[Node],
    node: usize,
    clauses: &[Clause<'_>],
    ordinal: u32,
    known: &mut [Option<bool>],
) -> bool {
    match &nodes[node] {
        Node::And(parts) => (parts.iter()).all(|part| holds(nodes, *part, clauses, ordinal, known)),
        Node::Or(parts) => (parts.iter()).any(|part| holds(nodes, *part, clauses, ordinal, known)),
        Node::Not(part) => !holds(nodes, *part, clauses, ordinal, known),
        Node::Leaf(leaf) => *known[*leaf].get_or_insert_with(|| clauses[*leaf].holds(ordinal)),
    }
}
