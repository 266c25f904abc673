//! Orders: from the cart over payment and shipping to refunds, as three shops push them.
//!
//! An order's contents follow from its number, so an order under way is one small entry of a heap.

use super::super::catalog::PRODUCTS;
use super::super::json::{decimal, instant, instant_beijing, number, padded, raw, text};
use super::super::people::{Key, Kind, Person, TMALL_SHOP, YOUZAN_SHOP};
use super::super::place::CITIES;
use super::super::random::{Random, derive};
use super::{Generator, Message, OrderFact, Reverse, Source, World};

const MINUTE_MS: i64 = 60_000;
/// Most lines of an order.
const LINES_MAX: usize = 6;

/// What state an order is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Status {
    /// Not yet paid.
    Created,
    /// Paid.
    Paid,
    /// On its way.
    Shipped,
    /// Finished.
    Completed,
    /// Money went back, all or a part.
    Refunded,
    /// Called off.
    Cancelled,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Paid => "paid",
            Status::Shipped => "shipped",
            Status::Completed => "completed",
            Status::Refunded => "refunded",
            Status::Cancelled => "cancelled",
        }
    }

    fn event(self) -> &'static str {
        match self {
            Status::Created => "Order Created",
            Status::Paid => "Order Paid",
            Status::Shipped => "Order Shipped",
            Status::Completed => "Order Completed",
            Status::Refunded => "Order Refunded",
            Status::Cancelled => "Order Cancelled",
        }
    }
}

/// A message about an order that is due later. Ordered by time, then number: the heap decides nothing by chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pending {
    /// When it is sent.
    pub due_ms: i64,
    order: u64,
    status: Status,
    person: u32,
    source: Source,
    /// How long before `due_ms` it happened.
    late_ms: i64,
}

/// How an order ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Completed,
    Cancelled,
    RefundedWhole,
    RefundedPart,
}

/// One line, in the units of the wire.
#[derive(Debug, Clone, Copy)]
struct Line {
    product: usize,
    quantity_milli: i64,
    price_micro: i64,
    amount: i64,
}

/// Everything about an order, derived from its number.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    order: u64,
    person: u32,
    source: Source,
    bits: u64,
    /// Nobody is named at first …
    faceless: bool,
    /// … and a later message names somebody.
    joins: bool,
    /// The seller's system sends `created` before `paid`.
    says_created: bool,
    /// … or only after it.
    created_late: bool,
    fate: Fate,
}

impl Plan {
    pub(super) fn new(world: &World, order: u64, person: u32, source: Source) -> Plan {
        let bits = derive(world.seed ^ u64::from(world.stream) << 48 ^ 0x0de2, order);
        let mut random = Random::new(bits);
        let faceless = random.chance(if source == Source::Store {
            180_000
        } else {
            50_000
        });
        let joins = random.chance(500_000);
        let says_created = source != Source::Store && random.chance(300_000);
        let created_late = !says_created && source != Source::Store && random.chance(20_000);
        let fate = match random.below(1_000) {
            0..=34 => Fate::Cancelled,
            35..=54 => Fate::RefundedWhole,
            55..=84 => Fate::RefundedPart,
            _ => Fate::Completed,
        };
        Plan {
            order,
            person,
            source,
            bits,
            faceless,
            joins,
            says_created,
            created_late,
            fate,
        }
    }

    fn lines(&self, products: &super::Picker, lines: &mut [Line; LINES_MAX]) -> usize {
        let mut random = Random::new(self.bits ^ 1);
        let count = 1 + (random.below(4) * random.below(4) / 2) as usize;
        for line in &mut lines[..count.min(LINES_MAX)] {
            let bits = random.bits();
            let product = products.pick(bits);
            // Every 32nd line at a till is weighed.
            let weighed = self.source == Source::Store && bits >> 20 & 31 == 0;
            let quantity_milli = if weighed {
                i64::from(random.between(180, 2_600))
            } else {
                [1, 1, 1, 2, 1, 2, 3, 6][(bits >> 12) as usize & 7] * 1_000
            };
            let discount = [100, 100, 95, 90, 100, 88, 85, 100][(bits >> 16) as usize & 7];
            let price_micro = i64::from(PRODUCTS[product].price) * 100 * discount;
            *line = Line {
                product,
                quantity_milli,
                price_micro,
                amount: (quantity_milli * price_micro + 5_000_000) / 10_000_000,
            };
        }
        count.min(LINES_MAX)
    }

    /// Postage in fen, part of the total and no line.
    fn postage(&self) -> i64 {
        if self.source == Source::Youzan && self.bits & 3 == 0 {
            800
        } else {
            0
        }
    }

    /// Whether messages say a total; tills leave it to the lines.
    fn says_total(&self) -> bool {
        self.source != Source::Store
    }
}

impl Generator {
    /// The first message of a new order.
    pub(super) fn open_order(&mut self, plan: Plan, now: i64, out: &mut Vec<u8>) -> Message {
        let first = if plan.says_created || (plan.fate == Fate::Cancelled) {
            Status::Created
        } else {
            Status::Paid
        };
        let after_paid = plan.created_late && first == Status::Paid;
        if after_paid {
            let late_ms = i64::from(self.random.between(5, 50)) * MINUTE_MS;
            self.later(&plan, Status::Created, now, late_ms, late_ms + MINUTE_MS);
        }
        self.schedule_next(&plan, first, now);
        self.write_order(&plan, first, now, now, out)
    }

    /// A message of an order that became due.
    pub(super) fn follow_up(&mut self, due: Pending, now: i64, out: &mut Vec<u8>) -> Message {
        let plan = Plan::new(&self.world, due.order, due.person, due.source);
        // What arrives late was no step of the order: that went on without it.
        if due.late_ms == 0 {
            self.schedule_next(&plan, due.status, now);
        }
        self.write_order(&plan, due.status, due.due_ms - due.late_ms, now, out)
    }

    fn later(&mut self, plan: &Plan, status: Status, now: i64, in_ms: i64, late_ms: i64) {
        self.pending.push(Reverse(Pending {
            due_ms: now + in_ms,
            order: plan.order,
            status,
            person: plan.person,
            source: plan.source,
            late_ms,
        }));
    }

    /// What comes after `status`, if anything, and when.
    fn schedule_next(&mut self, plan: &Plan, status: Status, now: i64) {
        let till = plan.source == Source::Store;
        let (next, low_hours, high_hours) = match (status, plan.fate) {
            (Status::Created, Fate::Cancelled) => (Status::Cancelled, 1, 24),
            (Status::Created, _) if plan.says_created => {
                let minutes = i64::from(self.random.between(1, 20));
                return self.later(plan, Status::Paid, now, minutes * MINUTE_MS, 0);
            }
            (Status::Paid, Fate::Completed) if till && !(plan.faceless && plan.joins) => return,
            (Status::Paid, _) if till => (Status::Completed, 1, 30),
            (Status::Paid, _) => (Status::Shipped, 3, 40),
            (Status::Shipped, _) => (Status::Completed, 40, 160),
            (Status::Completed, Fate::RefundedPart | Fate::RefundedWhole) => {
                (Status::Refunded, 5, 120)
            }
            _ => return,
        };
        let minutes = i64::from(self.random.between(low_hours * 60, high_hours * 60));
        self.later(plan, next, now, minutes * MINUTE_MS, 0);
    }

    fn write_order(
        &mut self,
        plan: &Plan,
        status: Status,
        said: i64,
        now: i64,
        out: &mut Vec<u8>,
    ) -> Message {
        let mut message = self.message(plan.source, plan.person, now);
        message.said_ms = said;
        let person = Person::new(self.world.seed, plan.person);

        raw(out, "{\"message_id\":\"");
        self.write_message_id(out);
        raw(out, "\",\"type\":\"order\",\"name\":\"");
        raw(out, status.event());
        raw(out, "\",\"time\":");
        if plan.source == Source::Store {
            instant_beijing(out, said);
        } else {
            instant(out, said);
        }
        raw(out, ",\"identifiers\":[");
        let first = matches!(status, Status::Created | Status::Paid);
        if !plan.faceless || (plan.joins && status == Status::Completed) {
            self.write_buyer(plan, person, first, &mut message, out);
        }
        out.push(b']');
        if first && !plan.faceless {
            raw(out, ",\"traits\":{\"name\":\"");
            person.write_name(out);
            raw(out, "\",\"city\":");
            text(out, CITIES[self.cities.pick(person.facet(2))].name);
            out.push(b'}');
        }
        raw(out, ",\"properties\":{\"channel\":");
        text(
            out,
            match plan.source {
                Source::Tmall => "tmall",
                Source::Youzan => "youzan",
                _ => "store",
            },
        );
        raw(out, "},\"order\":{\"order_id\":\"");
        self.write_order_id(plan, out);
        raw(out, "\",\"shop\":");
        self.write_shop(plan, out);
        raw(out, ",\"status\":\"");
        raw(out, status.word());
        raw(out, "\",\"currency\":\"CNY\"");
        let amount = self.write_amounts(plan, status, out);
        raw(out, "}}");

        message.order = Some(OrderFact {
            order: plan.order,
            amount,
            status,
        });
        message
    }

    /// Total and lines, where this message says them. Returns the order's amount as of this message.
    fn write_amounts(&mut self, plan: &Plan, status: Status, out: &mut Vec<u8>) -> i64 {
        let mut lines = [Line {
            product: 0,
            quantity_milli: 0,
            price_micro: 0,
            amount: 0,
        }; LINES_MAX];
        let count = plan.lines(&self.products, &mut lines);
        let lines = &lines[..count];
        let sum: i64 = lines.iter().map(|l| l.amount).sum();
        let partly = status == Status::Refunded && plan.fate == Fate::RefundedPart;
        let amount = sum + plan.postage() - if partly { lines[0].amount } else { 0 };
        let first = matches!(status, Status::Created | Status::Paid);
        if !first && !partly {
            return amount;
        }
        if plan.says_total() {
            raw(out, ",\"total\":");
            decimal(out, amount, 2);
        }
        raw(out, ",\"lines\":[");
        if partly {
            let back = Line {
                quantity_milli: -lines[0].quantity_milli,
                amount: -lines[0].amount,
                ..lines[0]
            };
            write_line(out, "r1", &back);
        } else {
            const LINE_IDS: [&str; LINES_MAX] = ["1", "2", "3", "4", "5", "6"];
            for (line, id) in lines.iter().zip(LINE_IDS) {
                write_line(out, id, line);
                out.push(b',');
            }
            out.pop();
        }
        out.push(b']');
        amount
    }

    fn write_buyer(
        &mut self,
        plan: &Plan,
        person: Person,
        first: bool,
        message: &mut Message,
        out: &mut Vec<u8>,
    ) {
        let mut comma = false;
        let mut add = |out: &mut Vec<u8>, message: &mut Message, key: Key| {
            if comma {
                out.push(b',');
            }
            comma = true;
            out.push(b'"');
            raw(out, key.kind().prefix());
            key.write(out);
            out.push(b'"');
            message.keys.push(key);
        };
        let phone = person.phone(self.world.seed);
        let gives_phone = match plan.source {
            Source::Tmall => {
                add(out, message, person.key(Kind::Ouid));
                // Only those who joined the club there.
                first && plan.bits >> 40 & 3 == 0
            }
            Source::Youzan => {
                add(out, message, person.key(Kind::YouzanId));
                if plan.bits >> 42 & 1 == 0 && Self::uses(person, super::channel::CLUB) {
                    add(out, message, person.key(Kind::ClubOpenId));
                }
                first && plan.bits >> 40 & 3 != 0
            }
            _ => {
                add(out, message, person.key(Kind::Card));
                first && plan.bits >> 40 & 3 != 0
            }
        };
        let Some(phone) = phone.filter(|_| gives_phone) else {
            return;
        };
        raw(out, ",\"phone:");
        if let Some(nothing) = self.blocked() {
            raw(out, nothing);
        } else {
            let clerk = plan.source == Source::Store && plan.bits >> 44 & 63 == 0;
            let phone = if clerk {
                Key::new(Kind::Phone, self.clerk_of(person), 0)
            } else {
                phone
            };
            self.write_phone(phone, out);
            message.keys.push(phone);
        }
        out.push(b'"');
    }

    fn write_order_id(&self, plan: &Plan, out: &mut Vec<u8>) {
        let number = u64::from(self.world.stream) * 1_000_000_000_000 + plan.order;
        match plan.source {
            Source::Tmall => {
                raw(out, "48");
                padded(out, number, 17);
            }
            Source::Youzan => {
                out.push(b'E');
                padded(out, number, 19);
            }
            _ => {
                out.push(b'P');
                padded(out, number, 17);
            }
        }
    }

    fn write_shop(&self, plan: &Plan, out: &mut Vec<u8>) {
        match plan.source {
            Source::Tmall => text(out, TMALL_SHOP),
            Source::Youzan => text(out, YOUZAN_SHOP),
            _ => {
                let person = Person::new(self.world.seed, plan.person);
                raw(out, "\"store-");
                number(out, self.cities.pick(person.facet(2)) as u64 + 100);
                out.push(b'"');
            }
        }
    }
}

fn write_line(out: &mut Vec<u8>, id: &str, line: &Line) {
    let product = &PRODUCTS[line.product];
    raw(out, "{\"line_id\":\"");
    raw(out, id);
    raw(out, "\",\"sku\":\"");
    raw(out, product.sku);
    raw(out, "\",\"name\":");
    text(out, product.name);
    raw(out, ",\"quantity\":");
    if line.quantity_milli % 1_000 == 0 {
        decimal(out, line.quantity_milli / 1_000, 0);
    } else {
        decimal(out, line.quantity_milli, 3);
    }
    raw(out, ",\"unit_price\":");
    decimal(out, line.price_micro / 100, 4);
    raw(out, ",\"amount\":");
    decimal(out, line.amount, 2);
    out.push(b'}');
}
