//! A position that only grows, for everybody to read, wait for or be told of.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::watch;

use crate::model::Offset;

/// Called after a position has moved. Runs on the thread that moved it: hand over, never block.
type Listener = Arc<dyn Fn(Offset) + Send + Sync>;

/// A position that only grows. Cheap to clone.
#[derive(Clone)]
pub struct Progress {
    shared: Arc<Shared>,
}

struct Shared {
    watch: watch::Sender<Option<Offset>>,
    moved: Condvar,
    lock: Mutex<()>,
    listeners: RwLock<Vec<Listener>>,
}

impl Progress {
    /// Starts at `at`.
    pub fn new(at: Option<Offset>) -> Progress {
        Progress {
            shared: Arc::new(Shared {
                watch: watch::Sender::new(at),
                moved: Condvar::new(),
                lock: Mutex::new(()),
                listeners: RwLock::default(),
            }),
        }
    }

    /// The present position; `None` before the first.
    pub fn get(&self) -> Option<Offset> {
        *self.shared.watch.borrow()
    }

    /// For async waiting: `watch().wait_for(|at| *at >= Some(offset))`.
    pub fn watch(&self) -> watch::Receiver<Option<Offset>> {
        self.shared.watch.subscribe()
    }

    /// Blocks until the position has reached `at` or `patience` is over. Answers whether it has.
    pub fn wait(&self, at: Offset, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        let mut lock = self.shared.lock.lock();
        while self.get() < Some(at) {
            if self.shared.moved.wait_until(&mut lock, end).timed_out() {
                return self.get() >= Some(at);
            }
        }
        true
    }

    /// Calls `listener` after each move. Listeners live as long as the position.
    pub fn on_move(&self, listener: impl Fn(Offset) + Send + Sync + 'static) {
        self.shared.listeners.write().push(Arc::new(listener));
    }

    /// Moves it forward; a position that it has passed is ignored.
    pub(super) fn advance(&self, at: Option<Offset>) {
        let moved = {
            let _lock = self.shared.lock.lock();
            self.shared.watch.send_if_modified(|now| {
                let forward = at > *now;
                if forward {
                    *now = at;
                }
                forward
            })
        };
        if let (true, Some(at)) = (moved, at) {
            self.shared.moved.notify_all();
            for listener in self.shared.listeners.read().iter() {
                listener(at);
            }
        }
    }
}
