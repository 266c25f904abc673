//! A node in one thread: all units, both logs, the store, the clock and a client that resends what was not acknowledged.
//!
//! One seed decides every interleaving and every fault. After the schedule the world is let run dry; then it must show
//! exactly what the client got acknowledged (the caller checks the facts).

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Random, SimLog, SimStore};
use crate::log::Log;
use crate::machine::Machines;
use crate::model::{Clock, ManualClock, PartitionId, Time, Unit};
use crate::raw::RawRecord;
use crate::runtime::feed::Feeds;
use crate::runtime::progress::Progress;
use crate::runtime::restore;
use crate::runtime::runner::{Runner, Shared, Turn};
use crate::seal::Sealer;

/// How often what goes wrong, in percent of steps.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// The process dies (kill or power cut) and starts again.
    pub crash: u64,
    /// The client resends a group although it was acknowledged.
    pub duplicate: u64,
    /// The disk is full for a moment.
    pub full: u64,
    /// The clock jumps, by up to a day, in either direction.
    pub clock: u64,
    /// At a crash, the store is lost and rebuilt from the log.
    pub lose_store: u64,
}

impl Faults {
    /// Nothing goes wrong.
    pub const NONE: Faults = Faults {
        crash: 0,
        duplicate: 0,
        full: 0,
        clock: 0,
        lose_store: 0,
    };
    /// Everything goes wrong now and then.
    pub const SOME: Faults = Faults {
        crash: 2,
        duplicate: 10,
        full: 3,
        clock: 2,
        lose_store: 20,
    };
}

/// Groups of the client: waiting to be sent, sent and unanswered, acknowledged.
#[derive(Default)]
struct Client {
    waiting: VecDeque<(PartitionId, Vec<RawRecord>)>,
    sent: Vec<(PartitionId, Vec<RawRecord>)>,
    answers: Arc<Mutex<Vec<(usize, bool)>>>,
    acknowledged: Vec<(PartitionId, Vec<RawRecord>)>,
}

/// A simulated node.
pub struct World {
    random: Random,
    faults: Faults,
    partitions: u16,
    clock: Arc<ManualClock>,
    raw: Arc<SimLog>,
    results: Arc<SimLog>,
    store: Arc<SimStore>,
    sealer: Arc<dyn Sealer>,
    machines: Arc<dyn Machines>,
    runners: Vec<Runner>,
    client: Client,
    crashes: u64,
}

impl World {
    /// A node with one identity unit and `partitions` member units.
    pub fn new(
        seed: u64,
        faults: Faults,
        partitions: u16,
        machines: Arc<dyn Machines>,
        sealer: Arc<dyn Sealer>,
    ) -> Self {
        let mut world = World {
            random: Random::new(seed),
            faults,
            partitions,
            clock: Arc::new(ManualClock::new(Time(1_700_000_000_000))),
            raw: Arc::new(SimLog::new(2)),
            results: Arc::new(SimLog::new(1)),
            store: Arc::default(),
            sealer,
            machines,
            runners: Vec::new(),
            client: Client::default(),
            crashes: 0,
        };
        world.start();
        world
    }

    /// The client will send this group.
    pub fn send(&mut self, partition: PartitionId, group: Vec<RawRecord>) {
        self.client.waiting.push_back((partition, group));
    }

    /// Takes `steps` random steps.
    pub fn run(&mut self, steps: u64) {
        for _ in 0..steps {
            self.step();
        }
    }

    /// No more faults: everything is sent, acknowledged, decided, committed and stored.
    pub fn settle(&mut self) {
        self.faults = Faults::NONE;
        for _ in 0..1_000_000 {
            let idle = self.client.waiting.is_empty()
                && self.client.sent.is_empty()
                && self.raw.waiting() == 0
                && self.results.waiting() == 0;
            self.client_sends();
            self.raw.sync();
            self.results.sync();
            self.client_hears();
            let mut moved = self.store.apply();
            for index in 0..self.runners.len() {
                moved |= self.turn(index);
            }
            if idle && !moved {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    /// Sends everything that the client has, durably.
    pub fn deliver(&mut self) {
        while !self.client.waiting.is_empty() || self.raw.waiting() > 0 {
            self.client_sends();
            self.raw.sync();
            self.client_hears();
        }
    }

    /// The first unit decides one record; what it decided before becomes durable.
    pub fn decide_one(&mut self) {
        self.runners[0].batch_records_max(1);
        self.turn(0);
        self.results.sync();
    }

    /// Memory of units is to go to disk.
    pub fn want_checkpoints(&mut self) {
        self.runners.iter_mut().for_each(Runner::want_checkpoint);
    }

    /// The store.
    pub fn store(&self) -> &SimStore {
        &self.store
    }

    /// The raw log.
    pub fn raw(&self) -> &SimLog {
        &self.raw
    }

    /// The result log.
    pub fn results(&self) -> &SimLog {
        &self.results
    }

    /// Units.
    pub fn runners(&self) -> &[Runner] {
        &self.runners
    }

    /// Acknowledged groups.
    pub fn acknowledged(&self) -> &[(PartitionId, Vec<RawRecord>)] {
        &self.client.acknowledged
    }

    /// How often the process died.
    pub fn crashes(&self) -> u64 {
        self.crashes
    }

    /// What runners share, for replays.
    pub fn shared(&self, store: Arc<SimStore>) -> Shared {
        let raw: Arc<dyn Log> = self.raw.clone();
        let results: Arc<dyn Log> = self.results.clone();
        Shared {
            feeds: Feeds::new(raw, results.clone(), self.sealer.clone(), self.partitions),
            results,
            sealer: self.sealer.clone(),
            store,
            progress: Arc::default(),
            partitions: self.partitions,
            epoch: 1 + self.crashes,
            appending: Mutex::default(),
        }
    }

    fn step(&mut self) {
        let faults = self.faults;
        if self.random.chance(faults.crash) {
            self.crash();
            return;
        }
        if self.random.chance(faults.clock) {
            let jump = self.random.below(172_800_000) as i64 - 86_400_000;
            self.clock.set(self.clock.now().plus_ms(jump));
        }
        match self.random.below(10) {
            0 | 1 => self.client_sends(),
            2 if self.random.chance(faults.full) => self.raw.refuse(),
            2 => self.raw.sync(),
            3 if self.random.chance(faults.full) => self.results.refuse(),
            3 | 4 => self.results.sync(),
            5 => {
                self.store.apply();
            }
            6 if self.random.chance(20) => self.store.persist(),
            6 if self.random.chance(10) => self.want_checkpoints(),
            _ => {
                let index = self.random.below(self.runners.len() as u64) as usize;
                let records = 1 + self.random.below(20) as usize;
                self.runners[index].batch_records_max(records);
                self.turn(index);
            }
        }
        self.client_hears();
        let tick = self.random.below(50) as i64;
        self.clock.set(self.clock.now().plus_ms(tick));
    }

    fn turn(&mut self, index: usize) -> bool {
        match self.runners[index].turn(self.clock.now(), true) {
            Ok(turn) => turn == Turn::Moved,
            Err(error) if error.passes() => true,
            Err(error) => panic!("{}: {error}", self.runners[index].unit()),
        }
    }

    fn client_sends(&mut self) {
        let Some((partition, group)) = self.client.waiting.pop_front() else {
            return;
        };
        let index = self.client.sent.len();
        let answers = self.client.answers.clone();
        let records = group
            .iter()
            .map(|record| {
                record
                    .seal(self.clock.now(), &*self.sealer)
                    .expect("the test sealer seals")
            })
            .collect();
        self.raw.append(
            partition,
            records,
            Box::new(move |answer| answers.lock().push((index, answer.is_ok()))),
        );
        self.client.sent.push((partition, group));
    }

    /// Takes acks; what was refused goes again; what was acknowledged goes again now and then.
    fn client_hears(&mut self) {
        let mut answers = std::mem::take(&mut *self.client.answers.lock());
        answers.sort_unstable_by(|a, b| b.cmp(a));
        for (index, ok) in answers {
            // Indexes name places in `sent` at the time of sending; answered places are emptied, not removed.
            let group = std::mem::take(&mut self.client.sent[index].1);
            let partition = self.client.sent[index].0;
            if !ok || self.random.chance(self.faults.duplicate) {
                self.client.waiting.push_back((partition, group.clone()));
            }
            if ok {
                self.client.acknowledged.push((partition, group));
            }
        }
        if self.client.sent.iter().all(|(_, group)| group.is_empty()) {
            self.client.sent.clear();
        }
    }

    /// The process dies and starts again; the client resends what it has no answer to.
    fn crash(&mut self) {
        self.crashes += 1;
        self.runners.clear();
        self.raw.crash(&mut self.random);
        self.results.crash(&mut self.random);
        self.store.crash(&mut self.random);
        if self.random.chance(self.faults.lose_store) {
            self.store.lose();
        }
        self.client.answers = Arc::default();
        for (partition, group) in std::mem::take(&mut self.client.sent) {
            if !group.is_empty() {
                self.client.waiting.push_back((partition, group));
            }
        }
        self.start();
    }

    fn start(&mut self) {
        let shared = Arc::new(self.shared(self.store.clone()));
        restore::fill_store(&shared, |_, _| ()).expect("the simulated log is whole");
        while self.store.apply() {}
        let _: &Progress = &shared.progress;
        let units = std::iter::once(Unit::IDENTITY)
            .chain((0..self.partitions).map(|p| Unit::member(PartitionId(p))));
        for unit in units {
            let core = restore::unit(unit, &shared, &*self.machines).expect("units restore");
            self.runners
                .push(Runner::new(core, shared.clone(), Arc::new(|| ())));
        }
    }
}
