//! The demo brand's world as a stream of messages with ground truth: what its sources would send, and who it was.
//!
//! Pure and seeded: the same [`World`] gives the same bytes on every machine. Streaming: memory grows with the orders
//! that are under way, not with people or messages. It is also the load generator of `tributary bench`, so it writes
//! JSON straight into the caller's buffer.
//!
//! The world is made hard on purpose: households with one phone, store clerks who type their own, reward farmers with
//! one device, bots, visitors who never log in, repeated and late messages, wrong clocks, values such as `null` where an
//! identifier should be, orders that get their person later.

mod behaviour;
mod order;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::catalog;
use super::json::{hex, raw};
use super::people::{BOTS, CLERKS, Key, PEOPLE_MAX, Person, channel};
use super::place::Picker;
use super::random::{Random, scale};
use super::rhythm::Rhythm;
pub use order::Status;
use order::{Pending, Plan};

/// What to generate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    /// Everything follows from it.
    pub seed: u64,
    /// How many people there are at the end, visitors included; at most [`PEOPLE_MAX`].
    pub people: u32,
    /// When the first message arrives, milliseconds since 1970.
    pub start_ms: i64,
    /// When the last one arrives.
    pub end_ms: i64,
    /// Messages between the two, repeated ones included.
    pub messages: u64,
    /// Part of all message and order ids: two streams of one world never collide.
    pub stream: u16,
}

/// The brand's systems that send; each is a source of its own on the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Club mini-program, over the Segment API.
    Club,
    /// Web shop, over the Segment API.
    Web,
    /// Scan mini-program, over the scan API.
    Scan,
    /// Tmall shop, own JSON.
    Tmall,
    /// Youzan shop, own JSON.
    Youzan,
    /// Tills of the stores, own JSON.
    Store,
}

impl Source {
    /// All of them; the index of a source in it is `source as usize`.
    pub const ALL: [Source; 6] = [
        Source::Club,
        Source::Web,
        Source::Scan,
        Source::Tmall,
        Source::Youzan,
        Source::Store,
    ];
}

/// Identifiers of one message that ought to count, strongest first or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    len: u8,
    keys: [Key; Keys::MAX],
}

impl Keys {
    const MAX: usize = 6;

    fn none() -> Keys {
        Keys {
            len: 0,
            keys: [Key::new(super::people::Kind::Anonymous, 0, 0); Keys::MAX],
        }
    }

    fn push(&mut self, key: Key) {
        self.keys[usize::from(self.len)] = key;
        self.len += 1;
    }

    /// The identifiers.
    pub fn as_slice(&self) -> &[Key] {
        &self.keys[..usize::from(self.len)]
    }
}

/// What a message says of an order, in truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderFact {
    /// Dense number of the order within the stream, from 0.
    pub order: u64,
    /// The order's amount in fen as of this message.
    pub amount: i64,
    /// Its state as of this message.
    pub status: Status,
}

/// The truth about one message that was just written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Who sends it.
    pub source: Source,
    /// Dense number of the message within the stream, from 0.
    pub number: u64,
    /// It repeats this earlier message byte for byte.
    pub repeats: Option<u64>,
    /// The person who acted.
    pub person: u32,
    /// The time that the message says, milliseconds since 1970.
    pub said_ms: i64,
    /// When it is sent.
    pub sent_ms: i64,
    /// Its identifiers, without those that must be ignored (`null` and the like).
    pub keys: Keys,
    /// What it says of an order.
    pub order: Option<OrderFact>,
}

/// Shares, per million messages unless said otherwise.
mod share {
    /// The last messages are sent again.
    pub const REPEATED: u32 = 10_000;
    /// A bot looks at a page.
    pub const BOT: u32 = 8_000;
    /// Of the behaviour: arrives an hour to three weeks late.
    pub const LATE: u32 = 20_000;
    /// Of identifiers of some sorts: a value that means nothing stands there.
    pub const BLOCKED: u32 = 7_000;
}

/// Messages that may be repeated are kept in a ring of this many; one in 16 gets there.
const ECHOES: usize = 64;

/// The stream of messages. See the module.
#[derive(Debug, Clone)]
pub struct Generator {
    world: World,
    random: Random,
    rhythm: Rhythm,
    /// Messages that earlier spans gave.
    number: u64,
    orders: u64,
    pending: BinaryHeap<Reverse<Pending>>,
    echoes: Vec<(Message, Vec<u8>)>,
    echo_next: usize,
    cities: Picker,
    products: Picker,
    channels: Box<[Picker]>,
    repeated: bool,
    /// Everybody is there; before, people come at an even pace.
    grown: bool,
}

impl Generator {
    /// A stream of `world`, at its start.
    pub fn new(world: World) -> Generator {
        // Club, web, scan, Tmall, Youzan, store: how much of the activity of somebody who uses all.
        const ACTIVITY: [u32; 6] = [34, 13, 27, 11, 8, 7];
        let channels = (0..64u32)
            .map(|mask| {
                let mut weights = ACTIVITY;
                for (at, weight) in weights.iter_mut().enumerate() {
                    *weight *= mask >> at & 1;
                }
                Picker::by_weight(if mask == 0 { &ACTIVITY } else { &weights })
            })
            .collect();
        let world = World {
            people: world.people.clamp(4, PEOPLE_MAX),
            ..world
        };
        Generator {
            random: Random::new(world.seed ^ u64::from(world.stream) << 48),
            rhythm: Rhythm::new(world.start_ms, world.end_ms, world.messages),
            world,
            number: 0,
            orders: 0,
            pending: BinaryHeap::new(),
            echoes: Vec::with_capacity(ECHOES),
            echo_next: 0,
            cities: Picker::cities(),
            products: catalog::by_popularity(),
            channels,
            repeated: true,
            grown: false,
        }
    }

    /// Never sends a message twice, for a load where every message counts.
    pub fn without_repeats(mut self) -> Generator {
        self.repeated = false;
        self
    }

    /// Everybody is there from the start: for a load over many people.
    pub fn grown(mut self) -> Generator {
        self.grown = true;
        self
    }

    /// Goes on with another span of the same world: people, orders under way and numbers stay.
    pub fn go_on(&mut self, start_ms: i64, end_ms: i64, messages: u64) {
        self.rhythm = Rhythm::new(start_ms, end_ms, messages);
        self.grown = true;
    }

    /// Appends the next message to `out`, one JSON object without anything around it, and says the truth about it.
    /// `None` at the end of the span.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Option<Message> {
        let now = self.rhythm.next_ms()?;
        let start = out.len();
        if self.pending.peek().is_some_and(|p| p.0.due_ms <= now)
            && let Some(Reverse(pending)) = self.pending.pop()
        {
            let message = self.follow_up(pending, now, out);
            return Some(self.finish(message, &out[start..]));
        }
        if self.repeated && !self.echoes.is_empty() && self.random.chance(share::REPEATED) {
            return Some(self.repeat(now, out));
        }
        let message = if self.random.chance(share::BOT) {
            self.bot(now, out)
        } else {
            self.somebody(now, out)
        };
        Some(self.finish(message, &out[start..]))
    }

    fn somebody(&mut self, now: i64, out: &mut Vec<u8>) -> Message {
        let person = self.person();
        let bits = self.random.bits();
        match Source::ALL[self.channels[usize::from(person.channels())].pick(bits)] {
            Source::Club => self.club(person, now, out),
            Source::Web => self.web(person, now, out),
            Source::Scan => self.scan(person, now, out),
            shop => {
                let plan = Plan::new(&self.world, self.orders, person.no, shop);
                self.orders += 1;
                self.open_order(plan, now, out)
            }
        }
    }

    /// Somebody of those who are there by now. Few are very active: the density falls with the root of the number.
    fn person(&mut self) -> Person {
        let all = u64::from(self.world.people);
        // A third is there at the start, the others come at an even pace.
        let here = if self.grown {
            all
        } else {
            all / 3 + ((all * 2 / 3 * u64::from(self.rhythm.passed())) >> 16)
        };
        let bits = self.random.bits();
        let (a, b) = (bits >> 32, bits & 0xffff_ffff);
        let skewed = a * b;
        Person::new(self.world.seed, scale(skewed, here.max(4) as u32))
    }

    fn repeat(&mut self, now: i64, out: &mut Vec<u8>) -> Message {
        let at = self.random.below(self.echoes.len() as u32) as usize;
        let (message, bytes) = &self.echoes[at];
        out.extend_from_slice(bytes);
        let repeat = Message {
            repeats: Some(message.number),
            number: self.number,
            sent_ms: now,
            ..*message
        };
        self.number += 1;
        repeat
    }

    /// Counts the message, and remembers one in 16 for a repeat.
    fn finish(&mut self, message: Message, bytes: &[u8]) -> Message {
        self.number += 1;
        if self.repeated && message.number % 16 == 3 {
            if self.echoes.len() < ECHOES {
                self.echoes.push((message, bytes.to_vec()));
            } else {
                let (old, buffer) = &mut self.echoes[self.echo_next];
                *old = message;
                buffer.clear();
                buffer.extend_from_slice(bytes);
                self.echo_next = (self.echo_next + 1) % ECHOES;
            }
        }
        message
    }

    fn message(&self, source: Source, person: u32, now: i64) -> Message {
        Message {
            source,
            number: self.number,
            repeats: None,
            person,
            said_ms: now,
            sent_ms: now,
            keys: Keys::none(),
            order: None,
        }
    }

    fn write_message_id(&self, out: &mut Vec<u8>) {
        raw(out, "hm-");
        hex(out, u64::from(self.world.stream), 4);
        out.push(b'-');
        hex(out, self.number, 10);
    }

    /// How late the message arrives: mostly 0, else an hour to three weeks, short delays more often.
    fn lateness_ms(&mut self) -> i64 {
        if !self.random.chance(share::LATE) {
            return 0;
        }
        let hours = 1u32 << self.random.below(9);
        let minutes = hours * 60 + self.random.below(hours * 60);
        i64::from(minutes) * 60_000
    }

    /// A value that stands where nothing is known, now and then.
    fn blocked(&mut self) -> Option<&'static str> {
        const VALUES: [&str; 6] = ["null", "000000", "00000000000", "undefined", "NULL", "0"];
        if !self.random.chance(share::BLOCKED) {
            return None;
        }
        Some(VALUES[self.random.below(VALUES.len() as u32) as usize])
    }

    /// The phone as systems write it: plain mostly; with country code, spaces or full-width digits at times.
    fn write_phone(&mut self, key: Key, out: &mut Vec<u8>) {
        match self.random.below(64) {
            0..=2 => {
                raw(out, "+86");
                key.write(out);
            }
            3 => {
                let start = out.len();
                key.write(out);
                out.splice(start + 7..start + 7, *b" ");
                out.splice(start + 3..start + 3, *b" ");
            }
            4 => {
                let start = out.len();
                key.write(out);
                let plain = out.split_off(start);
                for digit in plain {
                    // U+FF10 is the full-width zero: EF BC 90.
                    out.extend_from_slice(&[0xef, 0xbc, 0x90 + (digit - b'0')]);
                }
            }
            _ => key.write(out),
        }
    }

    fn clerk_of(&self, person: Person) -> u32 {
        CLERKS + scale(person.facet(7), 300)
    }

    fn bot_no(&mut self) -> u32 {
        BOTS + self.random.below(24)
    }

    fn uses(person: Person, channel: u8) -> bool {
        person.channels() & channel != 0
    }
}

#[cfg(test)]
pub(crate) mod tests;
