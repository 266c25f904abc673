//! The scaled-out form of a node, simulated: a changelog per unit, owners with epochs, a relay, and zombies.
//!
//! What the embedded form gets from one process and one log, this one must earn. A new owner writes `Epoch n` into the
//! unit's changelog before it reads it, so that everything behind the mark that carries a lower epoch is ignored by every
//! reader. An owner whose frame did not land at last + 1 is fenced: it drops its state. Owners that were replaced go on
//! deciding and producing until they notice. Outgoing records are carried to the receivers' topics by relays, which may be
//! behind, double, or both; receivers drop what they heard.
//!
//! One seed decides everything. No broker is in it: this says nothing about the durability of one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::Random;
use crate::machine::{Machines, Personal, Record, RecordAt, Rows, RowsError, Space, To};
use crate::model::{Offset, PartitionId, Position, ShardId, Time, Unit, UnitKind};
use crate::raw::RawRecord;
use crate::result::{BatchResult, Slice};
use crate::runtime::core::{Batch, Input, UnitCore, numbering, read_state};
use crate::store::{MemoryStore, Overlay};

/// The one partition of events, and of a unit's topic.
const INPUT: PartitionId = PartitionId(1);
/// Owners of one unit that are alive at once: one is right, the others do not know yet that they are not.
const OWNERS_MAX: usize = 3;

/// What stands in a changelog.
enum Entry {
    /// From here on only this epoch and higher ones count.
    Epoch(u64),
    /// A batch, and the numbers of its outgoing records.
    Frame(Box<BatchResult>, Vec<u64>),
}

/// Somebody who takes itself for the owner of a unit.
struct Owner {
    epoch: u64,
    core: UnitCore,
    rows: Overlay,
    /// Where its next frame must land.
    next: usize,
}

/// A relay of one changelog: how far it has read.
#[derive(Default)]
struct Relay {
    next: usize,
    epoch: u64,
}

/// A record on its way to a unit: sender, number, record.
type Sent = (Unit, u64, Record);

/// A simulated cluster.
pub struct Cluster {
    random: Random,
    partitions: u16,
    machines: Arc<dyn Machines>,
    raw: Vec<RawRecord>,
    changelogs: BTreeMap<Unit, Vec<Entry>>,
    topics: BTreeMap<Unit, Vec<Sent>>,
    owners: BTreeMap<Unit, VecDeque<Owner>>,
    relays: Vec<(Unit, Relay)>,
    fenced: u64,
    lost_replies: u64,
}

impl Cluster {
    /// A cluster with one identity unit and `partitions` member units, each with its first owner.
    pub fn new(seed: u64, partitions: u16, machines: Arc<dyn Machines>) -> Cluster {
        let mut cluster = Cluster {
            random: Random::new(seed),
            partitions,
            machines,
            raw: Vec::new(),
            changelogs: BTreeMap::new(),
            topics: BTreeMap::new(),
            owners: BTreeMap::new(),
            relays: Vec::new(),
            fenced: 0,
            lost_replies: 0,
        };
        for unit in cluster.units() {
            cluster.take_over(unit);
            // Two relays each: one took over from the other, which does not know.
            cluster.relays.push((unit, Relay::default()));
            cluster.relays.push((unit, Relay::default()));
        }
        cluster
    }

    /// A record is durable in the raw log.
    pub fn send(&mut self, record: RawRecord) {
        self.raw.push(record);
    }

    /// Takes `steps` random steps: turns of owners (zombies too), takeovers, relays, relays that start again.
    pub fn run(&mut self, steps: u64) {
        let units = self.units();
        for _ in 0..steps {
            let unit = units[self.random.below(units.len() as u64) as usize];
            match self.random.below(20) {
                0 => self.take_over(unit),
                1 => {
                    // A relay is started again from what it had noted: it repeats itself.
                    let index = self.random.below(self.relays.len() as u64) as usize;
                    let back = self.random.below(1 + self.relays[index].1.next as u64);
                    self.relays[index].1 = Relay::default();
                    for _ in 0..back {
                        self.skip(index);
                    }
                }
                2..=8 => {
                    let index = self.random.below(self.relays.len() as u64) as usize;
                    self.relay(index);
                }
                _ => {
                    let owners = self.owners[&unit].len() as u64;
                    let index = self.random.below(owners) as usize;
                    self.turn(unit, index);
                }
            }
        }
    }

    /// New owners, and everything is read, decided and carried to its end.
    pub fn settle(&mut self) {
        let units = self.units();
        for unit in &units {
            self.take_over(*unit);
        }
        loop {
            let mut moved = false;
            for unit in &units {
                let newest = self.owners[unit].len() - 1;
                moved |= self.turn(*unit, newest);
            }
            for index in 0..self.relays.len() {
                moved |= self.relay(index);
            }
            if !moved {
                return;
            }
        }
    }

    /// Rows of a unit: the fold of what counts in its changelog. Panics if two epochs committed the same range (I4).
    pub fn rows(&self, unit: Unit) -> impl Rows + use<> {
        let mut rows = Overlay::default();
        for (last, frame) in (1..).zip(self.accepted(unit)) {
            assert_eq!(
                frame.header.batch, last,
                "{unit}: one epoch commits per range"
            );
            rows.push(frame.header.batch, Arc::new(frame.inner.clone()));
        }
        Folded(rows)
    }

    /// Frames that were produced and do not count.
    pub fn ignored(&self) -> usize {
        let all = self.changelogs.values().flatten();
        let frames = all
            .filter(|entry| matches!(entry, Entry::Frame(..)))
            .count();
        let units = self.units().into_iter();
        frames - units.map(|unit| self.accepted(unit).count()).sum::<usize>()
    }

    /// Owners that noticed that they were none any more, and replies that were lost.
    pub fn troubles(&self) -> (u64, u64) {
        (self.fenced, self.lost_replies)
    }

    fn units(&self) -> Vec<Unit> {
        let members = (0..self.partitions).map(|partition| Unit::member(PartitionId(partition)));
        std::iter::once(Unit::IDENTITY).chain(members).collect()
    }

    /// The frames of a changelog that count.
    fn accepted(&self, unit: Unit) -> impl Iterator<Item = &BatchResult> {
        let mut epoch = 0;
        let entries = self.changelogs.get(&unit).into_iter().flatten();
        entries.filter_map(move |entry| match entry {
            Entry::Epoch(new) => {
                epoch = epoch.max(*new);
                None
            }
            Entry::Frame(frame, _) => (frame.header.epoch >= epoch).then_some(&**frame),
        })
    }

    /// A new owner: its mark first, then the fold of what counts. Those before it are not told.
    fn take_over(&mut self, unit: Unit) {
        let changelog = self.changelogs.entry(unit).or_default();
        let marks = changelog.iter().filter_map(|entry| match entry {
            Entry::Epoch(epoch) => Some(*epoch),
            Entry::Frame(..) => None,
        });
        let epoch = 1 + marks.max().unwrap_or(0);
        changelog.push(Entry::Epoch(epoch));
        let next = changelog.len();
        let below = MemoryStore::default();
        let made = self.machines.make(unit, &below).expect("machines are made");
        let mut machine = made.machine;
        let mut rows = Overlay::default();
        for frame in self.accepted(unit) {
            rows.push(frame.header.batch, Arc::new(frame.inner.clone()));
            machine.absorb(&frame.inner.delta).expect("deltas absorb");
        }
        let state = read_state(&rows.view(&below), unit)
            .expect("rows read")
            .unwrap_or_default();
        let owner = Owner {
            epoch,
            core: UnitCore::new(unit, self.partitions, machine, state),
            rows,
            next,
        };
        let owners = self.owners.entry(unit).or_default();
        owners.push_back(owner);
        if owners.len() > OWNERS_MAX {
            owners.pop_front();
        }
    }

    /// An owner decides a batch and produces it. Answers whether there was one.
    fn turn(&mut self, unit: Unit, index: usize) -> bool {
        let records = 1 + self.random.below(10) as usize;
        let owner = &self.owners[&unit][index];
        let batch = self.input(unit, owner, records);
        if batch.inputs.is_empty() {
            return false;
        }
        let owners = self.owners.get_mut(&unit).expect("every unit has owners");
        let owner = &mut owners[index];
        let before = owner.core.state().sent.clone();
        let below = MemoryStore::default();
        let rows = owner.rows.view(&below);
        let decided = owner.core.step(&rows, &batch, Time(0), owner.epoch);
        let result = decided.unwrap_or_else(|error| panic!("{unit}: {error}"));
        let mut number = numbering(before, self.partitions);
        let numbers = result.outgoing.iter().map(|out| number(&out.to)).collect();
        let (batch, inner) = (result.header.batch, Arc::new(result.inner.clone()));
        let changelog = self.changelogs.entry(unit).or_default();
        let landed = changelog.len();
        changelog.push(Entry::Frame(Box::new(result), numbers));
        // The broker's answer: where it landed. Lost now and then; then the end is read, which says the same.
        let mut at = Some(landed);
        if self.random.chance(10) {
            self.lost_replies += 1;
            at = changelog.iter().rposition(|entry| match entry {
                Entry::Frame(frame, _) => {
                    (frame.header.epoch, frame.header.batch) == (owner.epoch, batch)
                }
                Entry::Epoch(_) => false,
            });
        }
        if at == Some(owner.next) {
            owner.next += 1;
            owner.rows.push(batch, inner);
        } else {
            self.fenced += 1;
            owners.remove(index);
            if owners.is_empty() {
                self.take_over(unit);
            }
        }
        true
    }

    fn input(&self, unit: Unit, owner: &Owner, records: usize) -> Batch {
        let consumed = owner.core.state().consumed.get(&INPUT);
        let from = consumed.map_or(0, |offset| offset.0 as usize);
        let inputs: Vec<Input> = match unit.kind {
            UnitKind::Identity => {
                let raw = self.raw.iter().enumerate().skip(from).take(records);
                raw.map(|(offset, record)| Input {
                    record: Record {
                        at: place(offset, 0),
                        schema: record.schema,
                        shard: ShardId(0),
                        envelope: record.envelope.clone(),
                        personal: Personal::Open(record.personal.clone()),
                    },
                    from: None,
                })
                .collect()
            }
            UnitKind::Member => {
                let topic = self.topics.get(&unit).into_iter().flatten();
                topic
                    .skip(from)
                    .take(records)
                    .map(|(sender, number, record)| Input {
                        record: record.clone(),
                        from: Some((*sender, *number)),
                    })
                    .collect()
            }
        };
        let to = Offset((from + inputs.len()) as u64);
        Batch {
            slices: vec![Slice {
                partition: INPUT,
                from: Offset(from as u64),
                to,
            }],
            inputs,
            retried: 0,
        }
    }

    /// Carries the outgoing records of one entry. Answers whether there was one.
    fn relay(&mut self, index: usize) -> bool {
        let (unit, relay) = &mut self.relays[index];
        let entry = self
            .changelogs
            .get(unit)
            .and_then(|log| log.get(relay.next));
        let Some(entry) = entry else {
            return false;
        };
        let offset = relay.next;
        relay.next += 1;
        match entry {
            Entry::Epoch(epoch) => relay.epoch = relay.epoch.max(*epoch),
            Entry::Frame(frame, numbers) if frame.header.epoch >= relay.epoch => {
                for (place_in, (out, number)) in frame.outgoing.iter().zip(numbers).enumerate() {
                    let record = Record {
                        at: place(offset, place_in),
                        schema: out.schema,
                        shard: match out.to {
                            To::Shard(shard) => shard,
                            To::Partition(_) | To::EveryPartition => ShardId(0),
                        },
                        envelope: out.envelope.clone(),
                        personal: match &out.personal {
                            Some((_, bytes)) => Personal::Open(bytes.clone()),
                            None => Personal::None,
                        },
                    };
                    let receiver = out.to.receiver(self.partitions);
                    let topic = self.topics.entry(receiver).or_default();
                    topic.push((*unit, *number, record));
                }
            }
            Entry::Frame(..) => {}
        }
        true
    }

    /// A relay passes over what it had carried before it was started again.
    fn skip(&mut self, index: usize) {
        let (unit, relay) = &mut self.relays[index];
        if let Some(Entry::Epoch(epoch)) = self.changelogs[&*unit].get(relay.next) {
            relay.epoch = relay.epoch.max(*epoch);
        }
        relay.next += 1;
    }
}

/// Rows of one unit, all in memory.
struct Folded(Overlay);

impl Rows for Folded {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<bytes::Bytes>, RowsError> {
        self.0.view(&MemoryStore::default()).get(space, key)
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), RowsError> {
        self.0
            .view(&MemoryStore::default())
            .scan(space, prefix, each)
    }
}

fn place(offset: usize, index: usize) -> RecordAt {
    RecordAt {
        position: Position {
            partition: INPUT,
            offset: Offset(offset as u64),
        },
        index: index as u32,
    }
}
