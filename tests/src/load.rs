//! Load: writers that send numbered events of known people and repeat every batch until it is acknowledged.
//!
//! What writer `w` sends as its `n`-th event depends on the plan alone, so that a run that was killed a hundred times and
//! one that never was must end in the same facts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::http::{Http, basic};
use crate::journal::Journal;
use crate::sandbox::Sandbox;
use crate::wait;

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Writers at once, each with a connection of its own.
    pub writers: usize,
    /// Batches of each writer.
    pub batches: usize,
    /// Events of each batch.
    pub events: usize,
    /// People, over all writers.
    pub people: usize,
}

impl Plan {
    /// A load of about two thousand events that touches every part of the way in.
    pub const SMALL: Plan = Plan {
        writers: 4,
        batches: 25,
        events: 20,
        people: 60,
    };

    /// All events.
    pub fn total(&self) -> usize {
        self.writers * self.batches * self.events
    }

    /// One batch.
    pub fn batch(&self, writer: usize, batch: usize) -> Vec<Value> {
        (0..self.events)
            .map(|place| self.event(writer, batch * self.events + place))
            .collect()
    }

    /// The identifier by which a person can always be asked for.
    pub fn person(&self, number: usize) -> String {
        format!("user_id:u{number}")
    }

    /// One event: orders, attributes, visits of a device before and after it is linked.
    fn event(&self, writer: usize, number: usize) -> Value {
        let serial = writer * self.batches * self.events + number;
        let person = serial % self.people;
        let id = message_id(writer, number);
        let minute = serial % (60 * 24);
        let time = format!(
            "2026-03-01T{:02}:{:02}:{:02}+08:00",
            minute / 60,
            minute % 60,
            serial % 60
        );
        let user = format!("user_id:u{person}");
        match serial % 5 {
            0 => json!({
                "message_id": id, "type": "identify", "time": time,
                "identifiers": [user, format!("phone:139{person:08}")],
                "traits": {"name": format!("name {}", serial / self.people), "city": "上海"},
            }),
            1 => json!({
                "message_id": id, "type": "order", "time": time, "identifiers": [user],
                "order": {
                    "order_id": format!("o{serial}"), "shop": "shop-1", "status": "paid", "currency": "CNY",
                    "total": format!("{}.{:02}", serial % 97, serial % 100),
                    "lines": [{"line_id": "1", "sku": "S1", "quantity": 1, "unit_price": "1.00"}],
                },
            }),
            2 => json!({
                "message_id": id, "type": "track", "name": "visited", "time": time,
                "identifiers": [user, format!("device_id:d{person}")],
                "properties": {"n": serial},
            }),
            _ => json!({
                "message_id": id, "type": "track", "name": "looked", "time": time,
                "identifiers": [user], "properties": {"n": serial},
            }),
        }
    }
}

fn message_id(writer: usize, number: usize) -> String {
    format!("w{writer}-{number:06}")
}

/// Writers that run.
pub struct Load {
    plan: Plan,
    /// What they know.
    pub journal: Arc<Journal>,
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts the writers. They go on over restarts of the server, whose address must stay.
    pub fn start(plan: Plan, base: &str, write_key: &str) -> Load {
        let journal = Arc::new(Journal::default());
        let stop = Arc::new(AtomicBool::new(false));
        let writers = (0..plan.writers)
            .map(|writer| {
                let journal = Arc::clone(&journal);
                let stop = Arc::clone(&stop);
                let base = base.to_owned();
                let key = basic(write_key);
                std::thread::spawn(move || {
                    let http = Http::new(&base, Some(key));
                    for batch in 0..plan.batches {
                        if !write(&http, &journal, &stop, &plan.batch(writer, batch)) {
                            return;
                        }
                    }
                })
            })
            .collect();
        Load {
            plan,
            journal,
            stop,
            writers,
        }
    }

    /// Whether all writers are through.
    pub fn is_over(&self) -> bool {
        self.writers.iter().all(JoinHandle::is_finished)
    }

    /// Waits until so many events are acknowledged or the load is over.
    pub fn wait_for_acked(&self, wanted: usize) {
        self.journal.wait_for_acked(wanted, || self.is_over());
    }

    /// Waits until everything is acknowledged.
    pub fn finish(&mut self) {
        for writer in self.writers.drain(..) {
            writer.join().expect("no writer panics");
        }
    }

    /// Stops the writers where they are: what had no answer stays unknown.
    pub fn halt(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.finish();
    }

    /// Compares the journal with the timelines of all people: message id by message id.
    pub fn check(&self, sandbox: &Sandbox) {
        let found = found(&self.plan, sandbox);
        let wrong = self.journal.compare(&found);
        assert!(
            wrong.is_empty(),
            "{} of {} events are wrong: {:#?}",
            wrong.len(),
            self.journal.lines().len(),
            &wrong[..wrong.len().min(20)]
        );
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // A test that failed must not wait for writers whose server is gone.
        self.stop.store(true, Ordering::Release);
    }
}

/// Sends one batch until it is acknowledged; false if told to stop.
fn write(http: &Http, journal: &Journal, stop: &AtomicBool, batch: &[Value]) -> bool {
    let ids: Vec<String> = batch
        .iter()
        .map(|event| event["message_id"].as_str().expect("it has one").to_owned())
        .collect();
    let body = Value::from(batch.to_vec()).to_string();
    let headers = [("content-type", "application/json")];
    journal.sent(&ids);
    while !stop.load(Ordering::Acquire) {
        match http.send("POST", "/v1/events", &headers, body.clone()) {
            Ok(answer) if answer.status == 200 => {
                let rejected = answer.value()["rejected"].clone();
                assert_eq!(rejected, json!([]), "load is valid");
                journal.acked(&ids);
                return true;
            }
            // Told to come again, or nobody knows: the same again, with the same message ids.
            Ok(answer) if matches!(answer.status, 429 | 503 | 507 | 500) => wait::pause(),
            Ok(answer) => panic!("load is refused: {} {}", answer.status, answer.text()),
            Err(_) => wait::pause(),
        }
    }
    false
}

/// Message ids in the timelines of all people of the plan, and how often each is there.
pub fn found(plan: &Plan, sandbox: &Sandbox) -> BTreeMap<String, usize> {
    sandbox.stats();
    let http = sandbox.http();
    let mut found = BTreeMap::new();
    for number in 0..plan.people {
        let Some(member) = sandbox.find(&plan.person(number), "") else {
            continue;
        };
        let id = member["id"]
            .as_str()
            .expect("a member has an id")
            .to_owned();
        for event in http.list(&format!("/api/v1/members/{id}/events?limit=200")) {
            if let Some(message) = event["message_id"].as_str() {
                *found.entry(message.to_owned()).or_insert(0) += 1;
            }
        }
    }
    found
}
