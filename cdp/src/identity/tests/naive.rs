//! The naive model: every question is answered by folding the whole history again, with sets and loops.
//!
//! Written apart from the machine on purpose: it shares no code with it.

use std::collections::{BTreeMap, BTreeSet};

/// An identifier in the model: rank, kind, value.
pub type Id = (u8, String, String);

pub struct Limits {
    pub kind: BTreeMap<String, usize>,
    pub total: usize,
    pub shared_after: usize,
}

pub struct Naive {
    limits: Limits,
    messages: BTreeSet<String>,
    ids: BTreeSet<Id>,
    /// Full lists that were seen.
    lists: BTreeSet<Vec<Id>>,
    /// What they linked, in order.
    links: Vec<Vec<Id>>,
    apart: BTreeMap<(Id, Id), usize>,
    unmerges: usize,
    refused: BTreeMap<Id, BTreeSet<Id>>,
    /// Each order and the identifier that it is attached to.
    pub orders: BTreeMap<String, Option<Id>>,
    /// Expected owner by message: an identifier's text or an order's.
    pub owners: BTreeMap<String, String>,
}

impl Naive {
    pub fn new(limits: Limits) -> Naive {
        Naive {
            limits,
            messages: BTreeSet::new(),
            ids: BTreeSet::new(),
            lists: BTreeSet::new(),
            links: Vec::new(),
            apart: BTreeMap::new(),
            unmerges: 0,
            refused: BTreeMap::new(),
            orders: BTreeMap::new(),
            owners: BTreeMap::new(),
        }
    }

    fn shared(&self, id: &Id) -> bool {
        let refused = self.refused.get(id).map_or(0, BTreeSet::len);
        self.limits.shared_after != 0 && refused >= self.limits.shared_after
    }

    pub fn event(&mut self, message: &str, list: Vec<Id>, order: Option<&str>) {
        if list.is_empty() && order.is_none() || !self.messages.insert(message.to_owned()) {
            return;
        }
        let mut distinct: Vec<Id> = Vec::new();
        for id in list {
            if !distinct.contains(&id) {
                distinct.push(id);
            }
        }
        distinct.sort_by_key(|id| id.0);
        let list = distinct;
        self.ids.extend(list.iter().cloned());
        if list.len() > 1 && self.lists.insert(list.clone()) {
            let mut linking: Vec<Id> = list.iter().filter(|id| !self.shared(id)).cloned().collect();
            if linking.is_empty() {
                linking.push(list[0].clone());
            }
            self.links.push(linking.clone());
            let (_, cut) = self.fold();
            if let Some(id) = cut {
                let owner = linking[0].clone();
                self.refused.entry(id).or_default().insert(owner);
            }
        }
        let owner = list
            .iter()
            .find(|id| !self.shared(id))
            .or(list.first())
            .cloned();
        if let Some(order) = order {
            let attached = self.orders.entry(order.to_owned()).or_default();
            match (&attached, &owner) {
                (None, Some(owner)) => *attached = Some(owner.clone()),
                (Some(old), Some(new)) if new.0 < old.0 => *attached = Some(new.clone()),
                _ => {}
            }
        }
        let owner = match (owner, order) {
            (Some(owner), _) => text(&owner),
            (None, Some(order)) => match &self.orders[order] {
                Some(attached) => text(attached),
                None => format!("order@s:{order}"),
            },
            (None, None) => return,
        };
        self.owners.insert(message.to_owned(), owner);
    }

    /// The partition, and what the last link was cut at by a limit.
    pub fn fold(&self) -> (Vec<BTreeSet<Id>>, Option<Id>) {
        let singles = self.ids.iter().map(|id| BTreeSet::from([id.clone()]));
        let mut sets: Vec<BTreeSet<Id>> = singles.collect();
        let mut last_cut = None;
        for link in &self.links {
            last_cut = None;
            let mut todo = link.clone();
            let mut round = 0;
            while !todo.is_empty() {
                let lead = todo.remove(0);
                let mut passed = Vec::new();
                for id in todo {
                    let mine = sets.iter().position(|set| set.contains(&lead)).unwrap();
                    let other = sets.iter().position(|set| set.contains(&id)).unwrap();
                    if mine == other {
                        continue;
                    }
                    let (a, b) = (sets[mine].clone(), sets[other].clone());
                    if a.iter().any(|x| b.iter().any(|y| self.is_apart(x, y))) {
                        passed.push(id);
                        continue;
                    }
                    let both: BTreeSet<Id> = a.union(&b).cloned().collect();
                    let too_many = self.limits.kind.iter().any(|(kind, limit)| {
                        let count =
                            |set: &BTreeSet<Id>| set.iter().filter(|id| id.1 == *kind).count();
                        count(&a) > 0 && count(&b) > 0 && count(&both) > *limit
                    });
                    if too_many || both.len() > self.limits.total {
                        if round == 0 {
                            last_cut = Some(id);
                        }
                        break;
                    }
                    sets[mine] = both;
                    sets.remove(other);
                }
                todo = passed;
                round += 1;
            }
        }
        (sets, last_cut)
    }

    fn is_apart(&self, x: &Id, y: &Id) -> bool {
        self.apart.contains_key(&(x.clone(), y.clone()))
            || self.apart.contains_key(&(y.clone(), x.clone()))
    }

    /// The identifiers that are with one.
    pub fn with(&self, id: &Id) -> Option<BTreeSet<Id>> {
        self.fold().0.into_iter().find(|set| set.contains(id))
    }

    /// Takes `out` out of the set of `of`; `false`: refused.
    pub fn unmerge(&mut self, of: &Id, out: &BTreeSet<Id>) -> bool {
        let Some(set) = self.with(of) else {
            return false;
        };
        if out.is_empty() || !out.is_subset(&set) || out.len() == set.len() {
            return false;
        }
        self.unmerges += 1;
        for a in out {
            for b in set.difference(out) {
                if !self.is_apart(a, b) {
                    self.apart.insert((a.clone(), b.clone()), self.unmerges);
                }
            }
        }
        true
    }

    /// Lets `back` rejoin the set of `of`; `false`: refused.
    pub fn rejoin(&mut self, of: &Id, back: &BTreeSet<Id>) -> bool {
        let (Some(set), true) = (self.with(of), back.is_subset(&self.ids)) else {
            return false;
        };
        let mut lift = BTreeSet::new();
        for ((a, b), unmerge) in &self.apart {
            let across = |x: &Id, y: &Id| back.contains(x) && set.contains(y);
            if across(a, b) || across(b, a) {
                lift.insert(*unmerge);
            }
        }
        let before = self.apart.len();
        self.apart.retain(|(a, b), unmerge| {
            !(lift.contains(unmerge) && (back.contains(a) || back.contains(b)))
        });
        self.apart.len() < before
    }
}

pub fn text(id: &Id) -> String {
    format!("{}:{}", id.1, id.2)
}
