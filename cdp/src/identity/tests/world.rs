//! A machine with rows in memory, a shadow that only absorbs, and a check that moves lead every fragment home.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use actors::machine::{
    Machine, Outgoing, Personal, Record, RecordAt, Rows, RowsError, Space, WriteSet,
};
use actors::model::{
    BrandId, Currency, Event, EventKind, IdSpace, IdentNo, Identifier, MemberNo, Offset,
    OrderChange, PartitionId, Position, ShardId, SourceId, Time,
};
use bytes::Bytes;

use crate::control::{Control, Regroup};
use crate::identity::machine::{Found, IdentityMachine, Setup};
use crate::identity::memory::{Dedup, Ident};
use crate::identity::port::{RawDecoder, RawInput};
use crate::identity::row::{self, IdentRow, MemberRow, Outcome};
use crate::identity::rules::order_identifier;
use crate::routed::{self, EventBody, EventHead, Expect, Moved, schema};

/// Rows in a map.
#[derive(Default, Clone)]
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
        for ((of, key), value) in self.0.range((space.0, prefix.to_vec())..) {
            if *of != space.0 || !key.starts_with(prefix) || !each(key, value) {
                break;
            }
        }
        Ok(())
    }
}

/// Records are indexes into a script.
#[derive(Default, Clone)]
struct Script(Arc<Mutex<Vec<RawInput>>>);

impl RawDecoder for Script {
    fn decode(&self, record: &Record) -> RawInput {
        let index = u64::from_le_bytes(record.envelope[..].try_into().unwrap()) as usize;
        let input = self.0.lock().unwrap()[index].clone();
        if let RawInput::Event { event } = &input {
            assert_ne!(&*event.name, "poison", "a poisoned record");
        }
        input
    }
}

/// Where members' shards think that fragments and orders are.
#[derive(Default)]
struct Homes {
    fragments: BTreeMap<IdentNo, MemberNo>,
    orders: BTreeMap<IdentNo, IdentNo>,
    /// Members that ever got something.
    members: BTreeSet<MemberNo>,
}

/// See the module.
pub struct World {
    pub dir: tempfile::TempDir,
    pub rows: MapRows,
    pub machine: IdentityMachine,
    shadow: IdentityMachine,
    script: Script,
    pub now: Time,
    pub offset: u64,
    deltas: Vec<Vec<u8>>,
    homes: Homes,
    pub counters: BTreeMap<Box<str>, i64>,
    /// Owner of each event by message id, as sent: identifier text.
    pub owners: BTreeMap<Box<str>, String>,
    /// The last batch.
    pub last: WriteSet,
    requests: u64,
}

pub const START: Time = Time(1_700_000_000_000);

impl World {
    pub fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let script = Script::default();
        let (machine, found) = IdentityMachine::open(setup(dir.path().join("a"), &script)).unwrap();
        assert_eq!(found, Found::Nothing);
        let (shadow, _) = IdentityMachine::open(setup(dir.path().join("b"), &script)).unwrap();
        World {
            dir,
            rows: MapRows::default(),
            machine,
            shadow,
            script,
            now: START,
            offset: 0,
            deltas: Vec::new(),
            homes: Homes::default(),
            counters: BTreeMap::new(),
            owners: BTreeMap::new(),
            last: WriteSet::default(),
            requests: 0,
        }
    }

    pub fn record(&mut self, input: RawInput) -> Record {
        let mut script = self.script.0.lock().unwrap();
        script.push(input);
        let index = script.len() as u64 - 1;
        self.offset += 1;
        Record {
            at: RecordAt {
                position: Position {
                    partition: PartitionId(1),
                    offset: Offset(self.offset),
                },
                index: 0,
            },
            schema: 0,
            shard: ShardId(0),
            envelope: index.to_le_bytes().to_vec().into(),
            personal: Personal::None,
        }
    }

    /// Decides a batch, and checks absorb, rollback and moves on the way.
    pub fn batch(&mut self, inputs: Vec<RawInput>) {
        let records: Vec<Record> = inputs.into_iter().map(|input| self.record(input)).collect();
        self.now = self.now.plus_ms(1_000);

        // Half of it, taken back, leaves no trace.
        self.machine.begin(self.now);
        let before = self.machine.memory().digest();
        let mut lost = WriteSet::default();
        for record in &records[..records.len().div_ceil(2)] {
            self.machine.apply(&self.rows, record, &mut lost).unwrap();
        }
        self.machine.rollback();
        assert_eq!(self.machine.memory().digest(), before, "rollback");

        let mut out = WriteSet::default();
        self.machine.begin(self.now);
        for record in &records {
            self.machine.apply(&self.rows, record, &mut out).unwrap();
        }
        self.machine.finish(&self.rows, &mut out).unwrap();
        for row in &out.rows {
            let key = (row.space.0, row.key.to_vec());
            match &row.value {
                Some(value) => self.rows.0.insert(key, value.clone()),
                None => self.rows.0.remove(&key),
            };
        }
        for (name, by) in &out.counters {
            *self.counters.entry(name.clone()).or_default() += by;
        }
        self.deltas.push(out.delta.clone());
        self.shadow.absorb(&out.delta).unwrap();
        assert_eq!(
            self.shadow.memory().digest(),
            self.machine.memory().digest(),
            "absorb"
        );
        for outgoing in &out.outgoing {
            self.deliver(outgoing);
        }
        self.check_homes();
        self.last = out;
    }

    fn deliver(&mut self, outgoing: &Outgoing) {
        match outgoing.schema {
            schema::EVENT => {
                let head: EventHead = routed::decode(&outgoing.envelope).unwrap();
                let (_, personal) = outgoing.personal.as_ref().unwrap();
                let body: EventBody = routed::decode(personal).unwrap();
                self.arrive(head.fragment, head.member);
                if let Some(part) = &head.order {
                    let holder = *self.homes.orders.entry(part.order).or_insert(part.holder);
                    assert_eq!(holder, part.holder, "holder of an order");
                    self.arrive(part.holder, head.member);
                }
                if !head.order_only {
                    let owner = self.text(head.fragment);
                    let twice = self.owners.insert(body.message_id, owner);
                    assert_eq!(twice, None, "an event is sent once");
                }
            }
            schema::EXPECT => {
                let expect: Expect = routed::decode(&outgoing.envelope).unwrap();
                self.homes.members.insert(expect.member);
                match expect.moved {
                    Moved::Fragment(fragment) => {
                        let home = self.homes.fragments.insert(fragment, expect.member);
                        assert_eq!(home, Some(expect.from), "old home of a fragment");
                    }
                    Moved::Order { order, from, to } => {
                        let holder = self.homes.orders.insert(order, to);
                        assert_eq!(holder, Some(from), "old holder of an order");
                        assert_eq!(self.homes.fragments[&from], expect.from);
                        self.arrive(to, expect.member);
                    }
                }
            }
            schema::NOTE => {
                let note: routed::IdentityNote = routed::decode(&outgoing.envelope).unwrap();
                self.arrive(note.fragment, note.member);
            }
            _ => {}
        }
    }

    /// Something comes for a fragment at a member: it must be at home there.
    fn arrive(&mut self, fragment: IdentNo, member: MemberNo) {
        self.homes.members.insert(member);
        let home = *self.homes.fragments.entry(fragment).or_insert(member);
        assert_eq!(home, member, "home of fragment {}", self.text(fragment));
    }

    fn check_homes(&self) {
        for (fragment, home) in &self.homes.fragments {
            let member = row::member_of(&self.rows, *fragment).unwrap();
            assert_eq!(member, Some(*home), "moves of {}", self.text(*fragment));
        }
        for (order, holder) in &self.homes.orders {
            let state = row::state_of(&self.rows, *order).unwrap().unwrap();
            assert_eq!(state.attached().unwrap_or(*order), *holder);
        }
        for member in &self.homes.members {
            let now = row::resolve(&self.rows, *member).unwrap().unwrap();
            let row = self.member(now);
            assert_ne!(row.state, row::MemberState::Absorbed, "{member} resolves");
        }
    }

    /// Stops, opens the files again and absorbs what came after the last checkpoint.
    pub fn reopen(&mut self) {
        let digest = self.machine.memory().digest();
        let (machine, found) =
            IdentityMachine::open(setup(self.dir.path().join("a"), &self.script)).unwrap();
        self.machine = machine;
        let from = match found {
            Found::Checkpoint(from) => from.0,
            Found::Nothing => 0,
            Found::Damaged(what) => panic!("{what}"),
        };
        for delta in &self.deltas[from as usize..] {
            self.machine.absorb(delta).unwrap();
        }
        assert_eq!(self.machine.memory().digest(), digest, "reopen");
    }

    /// Opens damaged files: memory comes from rows and nothing is left to absorb.
    pub fn reopen_rebuilt(&mut self) {
        let digest = self.machine.memory().digest();
        let open = || setup(self.dir.path().join("a"), &self.script);
        let (_, found) = IdentityMachine::open(open()).unwrap();
        assert!(matches!(found, Found::Damaged(_)), "{found:?}");
        let mut made = IdentityMachine::make(open(), &self.rows).unwrap();
        assert_eq!(made.absorbed, None);
        let end = Offset(self.deltas.len() as u64);
        made.machine.checkpoint(end).unwrap();
        let (machine, found) = IdentityMachine::open(open()).unwrap();
        assert_eq!(found, Found::Checkpoint(end));
        assert_eq!(machine.memory().digest(), digest);
    }

    pub fn checkpoint(&mut self) {
        self.machine
            .checkpoint(Offset(self.deltas.len() as u64))
            .unwrap();
    }

    /// Memory rebuilt from rows is the same.
    pub fn rebuild(&mut self) {
        let dir = tempfile::tempdir().unwrap();
        let (mut machine, _) =
            IdentityMachine::open(setup(dir.path().to_owned(), &self.script)).unwrap();
        machine.rebuild(&self.rows).unwrap();
        assert_eq!(
            machine.memory().digest(),
            self.machine.memory().digest(),
            "rebuild"
        );
    }

    pub fn text(&self, ident: IdentNo) -> String {
        let row: Option<IdentRow> = row::get(&self.rows, row::IDENT, &row::key32(ident.0)).unwrap();
        row.map_or("new".to_owned(), |row| row.identifier.to_string())
    }

    pub fn member(&self, member: MemberNo) -> MemberRow {
        row::get(&self.rows, row::MEMBER, &row::key32(member.0))
            .unwrap()
            .unwrap()
    }

    pub fn ident(&self, identifier: &Identifier) -> Option<IdentNo> {
        let normal = self.machine.memory().rules.normalise(identifier).unwrap();
        row::ident_of(&self.rows, &normal).unwrap()
    }

    pub fn order_ident(&self, id: &str) -> Option<IdentNo> {
        row::ident_of(&self.rows, &order_identifier(&order(id)).unwrap()).unwrap()
    }

    pub fn member_of(&self, identifier: &Identifier) -> Option<MemberNo> {
        row::member_of(&self.rows, self.ident(identifier)?).unwrap()
    }

    /// Sends an unmerge or rejoin and answers the outcome.
    pub fn regroup(
        &mut self,
        member: MemberNo,
        identifiers: Vec<Identifier>,
        apart: bool,
    ) -> Outcome {
        self.requests += 1;
        let request: Box<str> = format!("r{}", self.requests).into();
        let command = Regroup {
            request: request.clone(),
            member,
            identifiers,
            by: "test".into(),
            reason: "because".into(),
        };
        let control = match apart {
            true => Control::Unmerge(command),
            false => Control::Rejoin(command),
        };
        // Twice in one batch and once again: one decision.
        self.batch(vec![
            RawInput::Control(control.clone()),
            RawInput::Control(control.clone()),
        ]);
        self.batch(vec![RawInput::Control(control)]);
        assert!(self.last.outgoing.is_empty());
        let decision: row::DecisionRow = row::get(&self.rows, row::DECISION, request.as_bytes())
            .unwrap()
            .unwrap();
        decision.outcome
    }

    /// Identifiers by member.
    pub fn partition(&self) -> BTreeSet<BTreeSet<IdentNo>> {
        let mut members: BTreeMap<MemberNo, BTreeSet<IdentNo>> = BTreeMap::new();
        self.rows
            .scan(row::IDENT_STATE, &[], &mut |key, value| {
                let ident = IdentNo(u32::from_be_bytes(key.try_into().unwrap()));
                let state = Ident::from_row(value).unwrap();
                if !state.is_order() {
                    let member = state.member().unwrap();
                    members.entry(member).or_default().insert(ident);
                }
                true
            })
            .unwrap();
        for (member, idents) in &members {
            let row = self.member(*member);
            let listed: BTreeSet<IdentNo> = row.identifiers.iter().copied().collect();
            assert_eq!(&listed, idents, "the member's row lists its identifiers");
            assert!(idents.contains(&row.anchor));
        }
        members.into_values().collect()
    }
}

fn setup(dir: PathBuf, script: &Script) -> Setup {
    Setup {
        dir,
        key: [7; 32],
        decoder: Box::new(script.clone()),
        dedup: Dedup::default(),
    }
}

pub fn event(message: &str, identifiers: Vec<Identifier>) -> Event {
    Event {
        message_id: message.into(),
        kind: EventKind::Track,
        name: "e".into(),
        time: START,
        received: START,
        source: SourceId(1),
        id_space: IdSpace(0),
        brand: BrandId(1),
        test: false,
        identifiers,
        linking: Default::default(),
        traits: None,
        properties: None,
        context: None,
        order: None,
        place: None,
    }
}

pub fn order(id: &str) -> OrderChange {
    OrderChange {
        order_id: id.into(),
        shop: "s".into(),
        status: None,
        currency: "CNY".parse::<Currency>().unwrap(),
        total: Some(1),
        lines: Vec::new(),
    }
}

pub fn input(event: Event) -> RawInput {
    RawInput::Event {
        event: Box::new(event),
    }
}
