//! The actor shell: one worker actor per core runs many units; a supervisor keeps workers alive.
//!
//! actix serves the mailbox before timers and bounds nothing once an address is cloned, so workers get only two cheap,
//! idempotent messages: [`Wake`] (at most one waits at a time) and [`Tick`]. All real input is pulled by the runners.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use actix::{Actor, ActorContext, Addr, Arbiter, AsyncContext, Context, Handler, Message};
use parking_lot::Mutex;

use super::progress::Progress;
use super::runner::{Runner, Turn};
use crate::model::{Clock, Time, Unit};

/// Something can be done.
#[derive(Debug)]
pub struct Wake;

impl Message for Wake {
    type Result = ();
}

/// Time passes: units that wait for a passing fault try again.
#[derive(Debug)]
pub struct Tick;

impl Message for Tick {
    type Result = ();
}

/// Asks something of the units, on their thread.
pub enum Ask {
    /// Stop deciding; answer when nothing is on its way any more and memory is on disk.
    Drain(Box<dyn FnOnce() + Send>),
    /// Panic outside of any decision, as a bug in the shell would.
    #[cfg(test)]
    Panic,
    /// End: the units are rebuilt elsewhere.
    Stop,
    /// Write memory to disk where no batch is in between.
    Checkpoint,
    /// Try parked records of a unit again: of one key, or all.
    RetryParked(Unit, Option<u64>),
}

impl Message for Ask {
    type Result = ();
}

/// What the outside knows of a worker.
pub struct Pulse {
    addr: Mutex<Option<Addr<Worker>>>,
    wake_waits: AtomicBool,
    /// Wall time in ms at which the worker last did something.
    beat: AtomicI64,
}

impl Default for Pulse {
    fn default() -> Self {
        Pulse {
            addr: Mutex::new(None),
            wake_waits: AtomicBool::new(false),
            beat: AtomicI64::new(i64::MIN),
        }
    }
}

impl Pulse {
    /// Wakes the worker, unless a wake waits already. From any thread.
    pub fn wake(&self) {
        if self.wake_waits.swap(true, Ordering::AcqRel) {
            return;
        }
        match &*self.addr.lock() {
            Some(addr) => addr.do_send(Wake),
            None => self.wake_waits.store(false, Ordering::Release),
        }
    }

    /// Sends a tick.
    pub fn tick(&self) {
        if let Some(addr) = &*self.addr.lock() {
            addr.do_send(Tick);
        }
    }

    /// Asks; answers whether there is somebody to ask.
    pub fn ask(&self, ask: Ask) -> bool {
        match &*self.addr.lock() {
            Some(addr) if addr.connected() => {
                addr.do_send(ask);
                true
            }
            _ => false,
        }
    }

    /// Whether the actor is there. A panic inside an actix task ends it without a word.
    pub fn alive(&self) -> bool {
        self.addr.lock().as_ref().is_some_and(Addr::connected)
    }

    /// When it last did something.
    pub fn last_beat(&self) -> Time {
        Time(self.beat.load(Ordering::Acquire))
    }
}

/// A worker: units that share one thread.
pub struct Worker {
    units: Vec<Slot>,
    pulse: Arc<Pulse>,
    clock: Arc<dyn Clock>,
    progress: Arc<Progress>,
    drained: Option<Box<dyn FnOnce() + Send>>,
    draining: bool,
}

struct Slot {
    runner: Runner,
    state: Running,
    /// The passing fault that was told last: a full disk is told once, not ten times a second.
    told: Option<String>,
}

#[derive(PartialEq, Eq)]
enum Running {
    Yes,
    /// A passing fault: again at the next tick.
    UntilTick,
    /// A lasting one: the supervisor rebuilds the worker.
    Stopped,
}

impl Worker {
    /// Starts a worker with these units on an arbiter's thread.
    pub fn start_on(
        arbiter: &actix::ArbiterHandle,
        runners: Vec<Runner>,
        pulse: Arc<Pulse>,
        clock: Arc<dyn Clock>,
        progress: Arc<Progress>,
    ) {
        pulse.wake_waits.store(false, Ordering::Release);
        let units = runners
            .into_iter()
            .map(|runner| Slot {
                runner,
                state: Running::Yes,
                told: None,
            })
            .collect();
        let worker = Worker {
            units,
            pulse: pulse.clone(),
            clock,
            progress,
            drained: None,
            draining: false,
        };
        let addr = Worker::start_in_arbiter(arbiter, move |_| worker);
        *pulse.addr.lock() = Some(addr);
        pulse.wake();
    }

    fn turn_all(&mut self) -> bool {
        let now = self.clock.now();
        self.pulse.beat.store(now.0, Ordering::Release);
        let mut moved = false;
        for slot in &mut self.units {
            if slot.state != Running::Yes {
                continue;
            }
            crate::crash::point("worker-turn");
            match slot.runner.turn(now, !self.draining) {
                Ok(Turn::Moved) => {
                    moved = true;
                    if slot.told.take().is_some() {
                        tracing::info!(unit = %slot.runner.unit(), "unit goes on");
                    }
                }
                Ok(Turn::Idle) => {}
                Err(error) if error.passes() => {
                    let what = error.to_string();
                    if slot.told.as_ref() != Some(&what) {
                        tracing::warn!(unit = %slot.runner.unit(), error = what, "unit waits");
                        slot.told = Some(what);
                    }
                    slot.state = Running::UntilTick;
                }
                Err(error) => {
                    tracing::error!(unit = %slot.runner.unit(), error = %error, "unit stopped");
                    slot.state = Running::Stopped;
                    let what = error.to_string();
                    self.progress
                        .report(slot.runner.unit(), |unit| unit.stopped = Some(what));
                }
            }
        }
        moved
    }

    fn finish_drain(&mut self) {
        let settled = self
            .units
            .iter()
            .all(|slot| slot.runner.settled() || slot.state == Running::Stopped);
        if self.draining && settled {
            // One may be under way; the last one must be whole before the process ends.
            self.checkpoint_wait();
            self.checkpoint();
            self.checkpoint_wait();
            if let Some(answer) = self.drained.take() {
                answer();
            }
        }
    }

    fn checkpoint_wait(&mut self) {
        for slot in &mut self.units {
            if let Err(error) = slot.runner.checkpoint_wait() {
                tracing::error!(unit = %slot.runner.unit(), error, "checkpoint failed");
            }
        }
    }

    fn checkpoint(&mut self) {
        for slot in &mut self.units {
            slot.runner.checkpoint();
        }
    }
}

/// How far deciding stands back behind answering clients when both want the processor (see `setpriority(2)`): a burst is
/// acknowledged first and decided after it, within the bound that the gate puts on lag.
const NICE: libc::c_int = 5;

impl Actor for Worker {
    type Context = Context<Self>;

    /// Gives the worker's thread its name and priority.
    fn started(&mut self, _: &mut Self::Context) {
        let name = match self.units.first() {
            Some(slot) if slot.runner.unit() == Unit::IDENTITY => c"identity",
            _ => c"members",
        };
        // SAFETY: the name is a C string of fewer than 16 bytes; the call concerns only the calling thread.
        unsafe {
            libc::prctl(libc::PR_SET_NAME, name.as_ptr());
        }
        stand_back();
    }
}

/// Lets the calling thread give way to those that answer clients. Failing changes nothing.
pub fn stand_back() {
    // SAFETY: on Linux a thread's id is a process id for `setpriority`: it concerns only the calling thread.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, NICE);
    }
}

impl Handler<Wake> for Worker {
    type Result = ();
    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        self.pulse.wake_waits.store(false, Ordering::Release);
        let moved = self.turn_all();
        self.finish_drain();
        if moved && !self.pulse.wake_waits.swap(true, Ordering::AcqRel) {
            ctx.notify(Wake);
        }
    }
}

impl Handler<Tick> for Worker {
    type Result = ();
    fn handle(&mut self, _: Tick, _: &mut Self::Context) {
        for slot in &mut self.units {
            if slot.state == Running::UntilTick {
                slot.state = Running::Yes;
            }
        }
        self.pulse.beat.store(self.clock.now().0, Ordering::Release);
        self.pulse.wake();
    }
}

impl Handler<Ask> for Worker {
    type Result = ();
    fn handle(&mut self, ask: Ask, ctx: &mut Self::Context) {
        match ask {
            #[cfg(test)]
            Ask::Panic => panic!("asked to"),
            Ask::Stop => ctx.stop(),
            Ask::Drain(answer) => {
                self.draining = true;
                self.drained = Some(answer);
            }
            Ask::Checkpoint => {
                for slot in &mut self.units {
                    slot.runner.want_checkpoint();
                }
            }
            Ask::RetryParked(unit, key) => {
                for slot in &mut self.units {
                    if slot.runner.unit() == unit {
                        slot.runner.retry_parked(key);
                    }
                }
            }
        }
        self.pulse.wake();
    }
}

/// The thread that runs the actix system; arbiters live as long as it.
pub struct System {
    handle: actix::System,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl System {
    /// Starts the system's thread.
    pub fn start() -> std::io::Result<System> {
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("actors".into())
            .spawn(move || {
                let system = actix::System::new();
                let _ = tell.send(actix::System::current());
                if let Err(error) = system.run() {
                    tracing::error!(error = %error, "actor system ended");
                }
            })?;
        let handle = told
            .recv()
            .map_err(|_| std::io::Error::other("the actor system did not start"))?;
        Ok(System {
            handle,
            thread: Some(thread),
        })
    }

    /// A new thread for a worker.
    pub fn arbiter(&self) -> actix::ArbiterHandle {
        let system = self.handle.clone();
        // An arbiter registers with the system of the thread that makes it.
        std::thread::spawn(move || {
            actix::System::set_current(system);
            Arbiter::new().handle()
        })
        .join()
        .expect("making an arbiter does not panic")
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.handle.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
