//! A plan over all members, block by block.
//!
//! Each step of an *and* only looks at who is left; a block where nobody is left is done. Blocks are shared out between
//! threads; nothing is kept but what the caller counts or collects.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::bits::{Part, Set, Words, new_words};
use super::column::Column;
use super::filter::Filter;
use super::kernel;
use crate::rule::{Node, Plan};

/// Blocks below which another thread costs more than it brings: starting one takes as long as some blocks.
const BLOCKS_PER_THREAD: usize = 8;

/// A node with the columns that it reads.
#[derive(Debug)]
pub(crate) enum Query<'a> {
    And(Vec<Query<'a>>),
    Or(Vec<Query<'a>>),
    Not(Box<Query<'a>>),
    Column(&'a Column, Box<Filter>),
    Set(&'a Set),
    /// A set or column that nobody ever was put into.
    Nobody,
}

/// Words to calculate with, so that no query allocates twice.
#[derive(Default)]
pub(crate) struct Scratch(Vec<Box<Words>>);

impl Scratch {
    pub fn take(&mut self) -> Box<Words> {
        self.0.pop().unwrap_or_else(new_words)
    }

    pub fn give(&mut self, words: Box<Words>) {
        self.0.push(words);
    }
}

impl<'a> Query<'a> {
    /// A node of a plan; `leaf` makes its leaves.
    pub fn new(plan: &Plan, node: usize, leaf: &dyn Fn(usize) -> Query<'a>) -> Query<'a> {
        let each = |nodes: &[usize]| {
            nodes
                .iter()
                .map(|node| Query::new(plan, *node, leaf))
                .collect()
        };
        match &plan.nodes[node] {
            Node::And(nodes) => Query::And(each(nodes)),
            Node::Or(nodes) => Query::Or(each(nodes)),
            Node::Not(node) => Query::Not(Box::new(Query::new(plan, *node, leaf))),
            Node::Leaf(number) => leaf(*number),
        }
    }

    /// Puts what is cheap and lets few pass first; `block` is looked at for a sample.
    pub fn order(&mut self, block: usize, within: &Words) {
        let mut scratch = Scratch::default();
        self.order_with(block, within, &mut scratch);
    }

    fn order_with(&mut self, block: usize, within: &Words, scratch: &mut Scratch) {
        let (Query::And(nodes) | Query::Or(nodes)) = self else {
            if let Query::Not(node) = self {
                node.order_with(block, within, scratch);
            }
            return;
        };
        nodes
            .iter_mut()
            .for_each(|node| node.order_with(block, within, scratch));
        let mut out = scratch.take();
        nodes.sort_by_cached_key(|node| {
            node.eval(block, within, &mut out, scratch);
            // What is left decides how often the rest runs; in most blocks it runs anyway, so the cost counts as well.
            let left = match kernel::count(&out) {
                0 => 0,
                few if few < 64 => 1,
                _ => 2,
            };
            (left, node.cost(block))
        });
        scratch.give(out);
    }

    fn cost(&self, block: usize) -> u32 {
        match self {
            Query::And(nodes) | Query::Or(nodes) => nodes.iter().map(|node| node.cost(block)).sum(),
            Query::Not(node) => node.cost(block),
            Query::Column(column, filter) => filter.cost(column, block),
            Query::Set(_) | Query::Nobody => 1,
        }
    }

    /// How many are in, of those `within`.
    pub fn count(&self, block: usize, within: &Words, scratch: &mut Scratch) -> u32 {
        let mut out = scratch.take();
        self.eval(block, within, &mut out, scratch);
        let count = kernel::count(&out);
        scratch.give(out);
        count
    }

    /// Who is in, of those `within`.
    pub fn eval(&self, block: usize, within: &Words, out: &mut Words, scratch: &mut Scratch) {
        match self {
            Query::And(nodes) => {
                let Some((first, rest)) = nodes.split_first() else {
                    *out = *within;
                    return;
                };
                first.eval(block, within, out, scratch);
                if rest.is_empty() {
                    return;
                }
                let mut left = scratch.take();
                for node in rest {
                    if kernel::is_empty(out) {
                        break;
                    }
                    *left = *out;
                    node.eval(block, &left, out, scratch);
                }
                scratch.give(left);
            }
            Query::Or(nodes) => {
                out.fill(0);
                let mut some = scratch.take();
                for node in nodes {
                    node.eval(block, within, &mut some, scratch);
                    kernel::or(out, &some);
                }
                scratch.give(some);
            }
            Query::Not(node) => {
                let mut some = scratch.take();
                node.eval(block, within, &mut some, scratch);
                *out = *within;
                kernel::and_not(out, &some);
                scratch.give(some);
            }
            Query::Column(column, filter) => filter.eval(column, block, within, out),
            Query::Set(set) => match set.part(block) {
                Some(part) => of_part(part, within, out),
                None => out.fill(0),
            },
            Query::Nobody => out.fill(0),
        }
    }
}

/// The places of a part that are also `within`.
pub(crate) fn of_part(part: &Part, within: &Words, out: &mut Words) {
    match part {
        Part::Dense(words, _) => {
            for ((out, word), within) in out.iter_mut().zip(&**words).zip(within) {
                *out = word & within;
            }
        }
        Part::List(_) => {
            out.fill(0);
            part.or_into(out);
            kernel::and(out, within);
        }
    }
}

/// Runs `each` over the blocks of a universe and joins what the threads made. `each` gets the block and who counts in it.
pub(crate) fn over_blocks<T: Send>(
    universe: &Set,
    threads: usize,
    make: &(dyn Fn() -> T + Sync),
    each: &(dyn Fn(&mut T, usize, &Words, &mut Scratch) + Sync),
) -> Vec<T> {
    let blocks = universe.blocks();
    let next = AtomicUsize::new(0);
    let work = || {
        let (mut made, mut scratch, mut words) = (make(), Scratch::default(), new_words());
        loop {
            let block = next.fetch_add(1, Ordering::Relaxed);
            if block >= blocks {
                break made;
            }
            let Some(part) = universe.part(block) else {
                continue;
            };
            match part {
                Part::Dense(dense, _) => each(&mut made, block, dense, &mut scratch),
                Part::List(_) => {
                    words.fill(0);
                    part.or_into(&mut words);
                    each(&mut made, block, &words, &mut scratch);
                }
            }
        }
    };
    let threads = threads.min(blocks / BLOCKS_PER_THREAD).max(1);
    if threads == 1 {
        return vec![work()];
    }
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut made = vec![work()];
        for other in others {
            match other.join() {
                Ok(it) => made.push(it),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        made
    })
}
