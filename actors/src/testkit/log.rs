//! A log in memory whose appends become durable only when the simulator says so.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Random;
use crate::log::{Log, LogError, LogRecord, OnDurable, Stored};
use crate::model::{Offset, PartitionId};

type Listener = Arc<dyn Fn(PartitionId, Offset) + Send + Sync>;

#[derive(Default)]
struct Partition {
    durable: Vec<LogRecord>,
    queue: VecDeque<(Vec<LogRecord>, OnDurable)>,
}

/// A simulated log.
pub struct SimLog {
    partitions: Vec<Mutex<Partition>>,
    listeners: Mutex<Vec<Listener>>,
}

impl SimLog {
    /// An empty log.
    pub fn new(partitions: u16) -> Self {
        SimLog {
            partitions: (0..partitions).map(|_| Mutex::default()).collect(),
            listeners: Mutex::default(),
        }
    }

    /// Groups that wait to become durable.
    pub fn waiting(&self) -> usize {
        self.partitions.iter().map(|p| p.lock().queue.len()).sum()
    }

    /// Makes the oldest waiting group of each partition durable and says so.
    pub fn sync(&self) {
        for index in 0..self.partitions.len() {
            let Some((group, done)) = self.partitions[index].lock().queue.pop_front() else {
                continue;
            };
            let partition = PartitionId(index as u16);
            let first = self.end(partition);
            self.partitions[index].lock().durable.extend(group);
            done(Ok(first));
            let end = self.end(partition);
            for listener in self.listeners.lock().iter() {
                listener(partition, end);
            }
        }
    }

    /// Refuses the oldest waiting group of each partition: the disk is full.
    pub fn refuse(&self) {
        for partition in &self.partitions {
            let waiting = partition.lock().queue.pop_front();
            if let Some((_, done)) = waiting {
                done(Err(LogError::Full));
            }
        }
    }

    /// The power fails: of what waits, some whole groups at the front were written, the rest is gone. Nobody is told.
    pub fn crash(&self, random: &mut Random) {
        for partition in &self.partitions {
            let mut partition = partition.lock();
            let written = random.below(partition.queue.len() as u64 + 1);
            for _ in 0..written {
                if let Some((group, _)) = partition.queue.pop_front() {
                    partition.durable.extend(group);
                }
            }
            partition.queue.clear();
        }
        self.listeners.lock().clear();
    }
}

impl Log for SimLog {
    fn partitions(&self) -> u16 {
        self.partitions.len() as u16
    }

    fn append(&self, partition: PartitionId, group: Vec<LogRecord>, done: OnDurable) {
        self.partitions[usize::from(partition.0)]
            .lock()
            .queue
            .push_back((group, done));
    }

    fn read(
        &self,
        partition: PartitionId,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Vec<Stored>, LogError> {
        let log = self.partitions[usize::from(partition.0)].lock();
        let mut bytes = 0;
        let mut found = Vec::new();
        for (index, record) in log.durable.iter().enumerate().skip(from.0 as usize) {
            if bytes >= bytes_max {
                break;
            }
            bytes += record.payload.len();
            found.push(Stored {
                offset: Offset(index as u64),
                record: record.clone(),
            });
        }
        Ok(found)
    }

    fn end(&self, partition: PartitionId) -> Offset {
        Offset(
            self.partitions[usize::from(partition.0)]
                .lock()
                .durable
                .len() as u64,
        )
    }

    fn start(&self, _: PartitionId) -> Offset {
        Offset(0)
    }

    fn on_advance(&self, wake: Listener) {
        self.listeners.lock().push(wake);
    }
}
