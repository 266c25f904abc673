//! Member machines over a map of rows and a list of records: no threads, no log, no clock.

use std::collections::BTreeMap;
use std::ops::Bound;

use actors::machine::{
    Machine, Outgoing, Personal, Record, RecordAt, Rows, RowsError, Space, To, WriteSet,
};
use actors::model::{
    BrandId, Currency, EventKind, IdentNo, MemberNo, Offset, OrderChange, OrderLine, OrderStatus,
    PartitionId, Position, RawJson, SourceId, Time, UnitPrice,
};
use bytes::Bytes;
use jiff::tz::TimeZone;

use crate::definition::{Definition, DefinitionKind};
use crate::profile::{Activity, Cell, Limits, MemberMachine, row};
use crate::routed::{self, EventBody, EventHead, OrderPart, schema};

pub const PARTITIONS: u16 = 4;

#[derive(Default, Clone, PartialEq, Debug)]
pub struct MapRows(pub BTreeMap<(u8, Vec<u8>), Bytes>);

impl Rows for MapRows {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, RowsError> {
        Ok(self.0.get(&(space.0, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), RowsError> {
        self.scan_from(space, prefix, prefix, each)
    }

    fn scan_from(
        &self,
        space: Space,
        prefix: &[u8],
        from: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), RowsError> {
        let from = (space.0, from.to_vec());
        for ((of, key), value) in self.0.range((Bound::Included(from), Bound::Unbounded)) {
            if *of != space.0 || !key.starts_with(prefix) || !each(key, value) {
                break;
            }
        }
        Ok(())
    }
}

pub struct World {
    pub rows: MapRows,
    pub counters: BTreeMap<Box<str>, i64>,
    pub log: Vec<(PartitionId, Record)>,
    machines: Vec<MemberMachine>,
    read: Vec<usize>,
    /// Every batch is first decided, rolled back and decided again, and then the machine starts anew from its rows.
    pub twice: bool,
    limits: Limits,
}

impl World {
    pub fn new(limits: Limits) -> World {
        let machine = |p| MemberMachine::with_limits(PartitionId(p), zone(), limits);
        World {
            limits,
            rows: MapRows::default(),
            counters: BTreeMap::new(),
            log: Vec::new(),
            machines: (0..PARTITIONS).map(machine).collect(),
            read: vec![0; usize::from(PARTITIONS)],
            twice: false,
        }
    }

    pub fn send(&mut self, outgoing: Outgoing, open: bool) {
        let partitions: Vec<PartitionId> = match outgoing.to {
            To::Shard(shard) => vec![shard.partition(PARTITIONS)],
            To::Partition(partition) => vec![partition],
            To::EveryPartition => (0..PARTITIONS).map(PartitionId).collect(),
        };
        for partition in partitions {
            let at = RecordAt {
                position: Position {
                    partition: PartitionId(0),
                    offset: Offset(self.log.len() as u64),
                },
                index: self.log.len() as u32,
            };
            let personal = match &outgoing.personal {
                None => Personal::None,
                Some(_) if !open => Personal::Erased,
                Some((_, bytes)) => Personal::Open(bytes.clone()),
            };
            let record = Record {
                at,
                schema: outgoing.schema,
                shard: Default::default(),
                envelope: outgoing.envelope.clone(),
                personal,
            };
            self.log.push((partition, record));
        }
    }

    pub fn tell<T: serde::Serialize>(&mut self, member: MemberNo, schema: u16, form: &T) {
        let outgoing = Outgoing {
            to: To::Shard(member.shard()),
            schema,
            envelope: routed::encode(form),
            personal: None,
        };
        self.send(outgoing, true);
    }

    /// One batch of at most `count` records of one partition. `false`: there was nothing to do.
    pub fn step(&mut self, partition: u16, count: usize) -> bool {
        let of = usize::from(partition);
        let mut batch = Vec::new();
        while batch.len() < count && self.read[of] < self.log.len() {
            let (to, record) = &self.log[self.read[of]];
            self.read[of] += 1;
            if *to == PartitionId(partition) {
                batch.push(record.clone());
            }
        }
        if batch.is_empty() {
            return false;
        }
        let machine = &mut self.machines[of];
        if self.twice {
            let mut nothing = WriteSet::default();
            machine.begin(Time(0));
            for record in &batch {
                machine.apply(&self.rows, record, &mut nothing).unwrap();
            }
            machine.rollback();
        }
        let mut out = WriteSet::default();
        machine.begin(Time(0));
        for record in &batch {
            machine.apply(&self.rows, record, &mut out).unwrap();
            assert_eq!(
                machine.key(record).is_none(),
                matches!(record.schema, schema::DEFINITION | schema::MEMBERSHIP)
            );
        }
        machine.finish(&self.rows, &mut out).unwrap();
        if self.twice {
            *machine = MemberMachine::with_limits(PartitionId(partition), zone(), self.limits);
        }
        for write in out.rows {
            let key = (write.space.0, write.key.to_vec());
            match write.value {
                Some(value) => self.rows.0.insert(key, value),
                None => self.rows.0.remove(&key),
            };
        }
        for (name, by) in out.counters {
            *self.counters.entry(name).or_default() += by;
        }
        self.counters.retain(|_, total| *total != 0);
        for outgoing in out.outgoing {
            self.send(outgoing, true);
        }
        true
    }

    /// Until nothing is left to do.
    pub fn drain(&mut self, count: usize) {
        while (0..PARTITIONS).fold(false, |any, partition| self.step(partition, count) | any) {}
    }

    /// Makes the rows those of before activity had rows of its own.
    pub fn age(&mut self) {
        let mut old = MapRows::default();
        for ((space, key), value) in std::mem::take(&mut self.rows.0) {
            if space != row::ACTIVITY.0 {
                old.0.insert((space, key), value);
                continue;
            }
            let known = old.0.remove(&(row::CELLS.0, key.clone()));
            let mut cell = known.map_or_else(Cell::default, |row| Cell::decode(&row).unwrap());
            cell.activity.merge(Activity::decode(&value).unwrap());
            old.0.insert((row::CELLS.0, key), cell.encode().into());
        }
        self.rows = old;
    }

    pub fn counter(&self, name: &str) -> i64 {
        self.counters.get(name).copied().unwrap_or(0)
    }
}

pub fn zone() -> TimeZone {
    TimeZone::get("Asia/Shanghai").unwrap()
}

/// An attribute schema, to everybody.
pub fn definition(version: u32, body: serde_json::Value) -> Outgoing {
    let definition = Definition {
        kind: DefinitionKind::Attributes,
        version,
        body,
    };
    Outgoing {
        to: To::EveryPartition,
        schema: schema::DEFINITION,
        envelope: definition.to_json().into_bytes().into(),
        personal: None,
    }
}

/// An event in the making.
#[derive(Clone, Debug)]
pub struct Made {
    pub head: EventHead,
    pub traits: Option<String>,
    pub erased: bool,
}

impl Made {
    /// A track event; `n` is its raw offset, `time` in seconds.
    pub fn new(n: u64, member: u32, fragment: u32, time: i64) -> Made {
        Made {
            head: EventHead {
                member: MemberNo(member),
                fragment: IdentNo(fragment),
                raw: Position {
                    partition: PartitionId(1),
                    offset: Offset(n),
                },
                kind: EventKind::Track,
                name: "viewed".into(),
                time: Time(time * 1000),
                received: Time(n as i64),
                source: SourceId(1),
                brand: BrandId(0),
                test: false,
                order: None,
                order_only: false,
            },
            traits: None,
            erased: false,
        }
    }

    pub fn traits(mut self, json: &str) -> Made {
        self.traits = Some(json.into());
        self
    }

    pub fn order(mut self, order: u32, holder: u32, change: OrderChange) -> Made {
        self.head.kind = EventKind::Order;
        self.head.name = "order".into();
        self.head.order = Some(OrderPart {
            order: IdentNo(order),
            holder: IdentNo(holder),
            change,
        });
        self
    }

    pub fn send(&self, world: &mut World) {
        let body = EventBody {
            message_id: format!("message-{}", self.head.raw.offset).into(),
            identifiers: vec!["phone:13800000000".parse().unwrap(); 2],
            traits: self
                .traits
                .as_ref()
                .map(|json| RawJson::object(json).unwrap()),
            properties: Some(RawJson::object(r#"{"a":1}"#).unwrap()),
            context: None,
            place: None,
        };
        let outgoing = Outgoing {
            to: To::Shard(self.head.member.shard()),
            schema: schema::EVENT,
            envelope: routed::encode(&self.head),
            personal: Some((self.head.fragment, routed::encode(&body))),
        };
        world.send(outgoing, !self.erased);
    }
}

/// An order change: lines as (id, amount).
pub fn change(
    order: u32,
    status: Option<OrderStatus>,
    total: Option<i64>,
    lines: &[(&str, i64)],
) -> OrderChange {
    OrderChange {
        order_id: format!("o{order}").into(),
        shop: "shop".into(),
        status,
        currency: Currency::CNY,
        total,
        lines: lines
            .iter()
            .map(|&(id, amount)| OrderLine {
                line_id: id.into(),
                sku: format!("sku-{id}").into(),
                name: "".into(),
                quantity_milli: 1000,
                unit_price: UnitPrice(amount * 10_000),
                amount,
            })
            .collect(),
    }
}
