//! Random histories (links, conflicts, limits, unmerges, rejoins, duplicates, orders, restarts): I12 by a naive model.

use std::collections::BTreeSet;

use actors::model::{IdentNo, Identifier};
use actors::testkit::{Random, seeds};

use super::naive::{Id, Limits, Naive, text};
use super::world::{World, event, input, order};
use crate::control::{Control, DefinitionChange};
use crate::identity::explain::explain;
use crate::identity::port::RawInput;
use crate::identity::row::{self, Outcome};

const RULES: &str = r#"{
    "kinds": [
        {"kind": "user_id", "limit": 1},
        {"kind": "phone", "limit": 2},
        {"kind": "card", "limit": 1},
        {"kind": "device_id", "limit": 2, "person": false},
        {"kind": "anonymous_id", "limit": 3, "person": false}
    ],
    "other": {"limit": 3, "person": true},
    "identifiers_max": 6,
    "shared_after": SHARED,
    "region": "CN"
}"#;

const KINDS: [(&str, usize); 5] = [
    ("user_id", 1),
    ("phone", 2),
    ("card", 1),
    ("device_id", 2),
    ("anonymous_id", 3),
];

struct Game {
    random: Random,
    world: World,
    naive: Naive,
    spread: u64,
    messages: u64,
}

#[test]
fn identity_agrees_with_a_naive_model() {
    for seed in seeds(60, 3_000) {
        println!("seed {seed}: TRIBUTARY_SEEDS={seed}..{}", seed + 1);
        Game::new(seed).play();
    }
}

impl Game {
    fn new(seed: u64) -> Game {
        let mut random = Random::new(seed);
        let shared_after = [0, 2, 3][random.below(3) as usize];
        let spread = [3, 5, 12][random.below(3) as usize];
        let mut world = World::new();
        let rules = DefinitionChange {
            kind: "identity_rules".into(),
            version: 1,
            body: RULES.replace("SHARED", &shared_after.to_string()).into(),
        };
        world.batch(vec![RawInput::Control(Control::Definition(rules))]);
        assert_eq!(world.last.outgoing.len(), 1);
        let limit = |(kind, limit): &(&str, usize)| ((*kind).to_owned(), *limit);
        let naive = Naive::new(Limits {
            kind: KINDS.iter().map(limit).collect(),
            total: 6,
            shared_after,
        });
        Game {
            random,
            world,
            naive,
            spread,
            messages: 0,
        }
    }

    fn play(&mut self) {
        for _ in 0..self.random.below(40) + 10 {
            match self.random.below(12) {
                0 => self.unmerge(),
                1 => self.rejoin(),
                2 => self.world.checkpoint(),
                3 => self.world.reopen(),
                _ => self.events(),
            }
            self.check();
        }
        self.world.rebuild();
        self.explain_all();
    }

    fn id(&mut self) -> Id {
        let kind = self.random.below(KINDS.len() as u64);
        let value = self.random.below(self.spread);
        let name = KINDS[kind as usize].0.to_owned();
        (kind as u8, name, format!("v{value}"))
    }

    fn events(&mut self) {
        let mut batch = Vec::new();
        for _ in 0..self.random.below(6) + 1 {
            let repeat = self.messages > 0 && self.random.chance(10);
            let message = match repeat {
                true => self.random.below(self.messages),
                false => {
                    self.messages += 1;
                    self.messages
                }
            };
            let message = format!("m{message}");
            let orders = self.random.chance(25);
            let count = match orders {
                true => self.random.below(3),
                false => self.random.below(4) + 1,
            };
            let ids: Vec<Id> = (0..count).map(|_| self.id()).collect();
            let of = orders.then(|| format!("o{}", self.random.below(8)));
            let mut event = event(&message, ids.iter().map(identifier).collect());
            event.order = of.as_deref().map(order);
            self.naive.event(&message, ids, of.as_deref());
            batch.push(input(event));
        }
        self.world.batch(batch);
    }

    fn known(&mut self) -> Option<Id> {
        let id = self.id();
        self.world.ident(&identifier(&id)).map(|_| id)
    }

    fn unmerge(&mut self) {
        let Some(of) = self.known() else {
            return;
        };
        let with = self.naive.with(&of).unwrap();
        let mut out: BTreeSet<Id> = with
            .iter()
            .filter(|_| self.random.chance(40))
            .cloned()
            .collect();
        if self.random.chance(10) {
            out.extend(self.known());
        }
        let member = self.world.member_of(&identifier(&of)).unwrap();
        let named = out.iter().map(identifier).collect();
        let outcome = self.world.regroup(member, named, true);
        let done = self.naive.unmerge(&of, &out);
        assert_eq!(done, matches!(outcome, Outcome::Done { .. }), "{outcome:?}");
        if let Outcome::Done { members } = outcome {
            assert_eq!(members[0], member);
            let stay = with.difference(&out);
            let strongest = stay.min_by_key(|id| (id.0, self.world.ident(&identifier(id))));
            let kept = self.world.member_of(&identifier(strongest.unwrap()));
            assert_eq!(
                kept,
                Some(member),
                "the id stays with what was not taken out"
            );
            for id in &out {
                assert_ne!(self.world.member_of(&identifier(id)), Some(member));
            }
        }
    }

    fn rejoin(&mut self) {
        let (Some(of), Some(back)) = (self.known(), self.known()) else {
            return;
        };
        let back = BTreeSet::from([back]);
        let member = self.world.member_of(&identifier(&of)).unwrap();
        let named = back.iter().map(identifier).collect();
        let outcome = self.world.regroup(member, named, false);
        let done = self.naive.rejoin(&of, &back);
        assert_eq!(done, matches!(outcome, Outcome::Done { .. }), "{outcome:?}");
    }

    fn check(&mut self) {
        let number = |id: &Id| self.world.ident(&identifier(id)).unwrap();
        let sets = self.naive.fold().0;
        let wanted: BTreeSet<BTreeSet<IdentNo>> = sets
            .iter()
            .map(|set| set.iter().map(number).collect())
            .collect();
        assert_eq!(self.world.partition(), wanted);
        let owners = self.world.owners.iter();
        let owners: Vec<(&str, &str)> = owners.map(|(m, o)| (&**m, &**o)).collect();
        let expected = self.naive.owners.iter();
        let expected: Vec<(&str, &str)> = expected.map(|(m, o)| (&**m, &**o)).collect();
        assert_eq!(owners, expected);
        for (order, attached) in &self.naive.orders {
            let ident = self.world.order_ident(order).unwrap();
            let state = row::state_of(&self.world.rows, ident).unwrap().unwrap();
            let attached_to = state.attached().map(|no| self.world.text(no));
            assert_eq!(attached_to, attached.as_ref().map(text), "order {order}");
        }
        let members = sets
            .iter()
            .filter(|set| set.iter().any(|id| id.0 < 3))
            .count();
        let counter = |name: &str| self.world.counters.get(name).copied().unwrap_or(0);
        assert_eq!(counter("members"), members as i64);
        assert_eq!(counter("visitors"), (sets.len() - members) as i64);
    }

    fn explain_all(&mut self) {
        for set in self.world.partition() {
            let first = *set.first().unwrap();
            for &other in &set {
                let path = explain(&self.world.rows, first, other).unwrap();
                let path = path.expect("members of one set hang together over links");
                let mut at = first;
                for step in path {
                    assert_eq!(step.from, at);
                    at = step.to;
                }
                assert_eq!(at, other);
            }
        }
    }
}

fn identifier(id: &Id) -> Identifier {
    Identifier::new(&id.1, "", &id.2)
}
