//! The audience over a real platform in a temporary folder: rules, changes in the log, restarts, merges, the clock.

use std::sync::Arc;
use std::time::Duration;

use actors::history::{Each, Scanned, Wanted};
use actors::log::LogError;
use actors::machine::Rows;
use actors::model::{
    BrandId, BrandSet, IdSpace, Identifier, ManualClock, MemberNo, Scope, SegmentId, SourceId, Time,
};
use actors::registry::{Author, ItemChange, ListEntry, NewItem};
use cdp::control::{Control, Regroup};
use cdp::definition::AttributeSchema;
use cdp::identity::row;
use cdp::profile::concluded::memberships;
use cdp::profile::view::{TimelineFilter, timeline_page};
use cdp::rule::Plan;
use ingest::{OrderDefaults, Protocol, SourceInfo};
use tempfile::TempDir;

use super::person::{Person, Question};
use super::*;
use crate::PlatformConfig;
use crate::audience::book::{LIST, SEGMENT, TAG};

mod brands;
mod measures;
mod orders;

/// 2026-11-22 12:00 in Shanghai.
const NOON: &str = "2026-11-22T12:00:00+08:00";
const PATIENCE: Duration = Duration::from_secs(20);

/// A history that keeps whoever asks for events by name waiting while it is shut: a backfill that takes long.
struct Gate {
    history: Tail,
    shut: Arc<AtomicBool>,
    /// Reading by name fails so many times; counted down.
    broken: Arc<AtomicU64>,
}

impl History for Gate {
    fn position(&self) -> Offset {
        self.history.position()
    }

    fn scan(&self, wanted: &Wanted, sinks: &mut [&mut Each<'_>]) -> Result<Scanned, HistoryError> {
        let position = self.position();
        if wanted.names.is_some() && self.shut.load(Ordering::Acquire) {
            return Err(HistoryError::Behind {
                position,
                wanted: position,
            });
        }
        let less = |left: u64| left.checked_sub(1);
        if wanted.names.is_some()
            && (self.broken)
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, less)
                .is_ok()
        {
            return Err(HistoryError::Io("planned".into()));
        }
        self.history.scan(wanted, sinks)
    }
}

struct World {
    dir: TempDir,
    clock: Arc<ManualClock>,
    /// No history by name is read.
    shut: Arc<AtomicBool>,
    /// Reading by name fails so many times.
    broken: Arc<AtomicU64>,
    running: Option<(Arc<Platform>, Audience)>,
    messages: u64,
    /// Of the source that sends.
    brand: BrandId,
}

impl World {
    async fn new() -> World {
        let mut world = World {
            dir: tempfile::tempdir().unwrap(),
            clock: Arc::new(ManualClock::new(time(NOON))),
            shut: Arc::default(),
            broken: Arc::default(),
            running: None,
            messages: 0,
            brand: BrandId(0),
        };
        world.start().await;
        world
    }

    async fn start(&mut self) {
        let config = PlatformConfig::new(self.dir.path());
        let platform = loop {
            match Platform::start(config.clone(), self.clock.clone(), |_, _| ()).await {
                Ok(platform) => break Arc::new(platform),
                // Threads of the one before let go of its files a moment after it is dropped.
                Err(StartError::Log(LogError::Locked(_))) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        let history = Arc::new(Gate {
            history: Tail::new(platform.node().shared().clone()),
            shut: self.shut.clone(),
            broken: self.broken.clone(),
        });
        let audience = Audience::start(platform.clone(), history).unwrap();
        self.running = Some((platform, audience));
    }

    /// Ends and begins again. `clean`: what is on its way is finished first.
    async fn restart(&mut self, clean: bool) {
        let (platform, audience) = self.running.take().unwrap();
        let done = tokio::task::spawn_blocking(move || {
            if clean {
                audience.stop();
                platform.drain();
            }
            drop(audience);
            drop(platform);
        });
        done.await.unwrap();
        self.start().await;
    }

    fn platform(&self) -> &Platform {
        &self.running.as_ref().unwrap().0
    }

    fn audience(&self) -> &Audience {
        &self.running.as_ref().unwrap().1
    }

    async fn send(&mut self, identifiers: &[&str], rest: &str) {
        let records = self.admit(identifiers, rest);
        self.append(&records).await;
    }

    async fn append(&self, records: &[ingest::RawRecord]) {
        let token = self.platform().append(records).await.unwrap();
        self.platform().wait(token, PATIENCE).await.unwrap();
    }

    fn admit(&mut self, identifiers: &[&str], rest: &str) -> Vec<ingest::RawRecord> {
        self.messages += 1;
        let identifiers: Vec<String> = identifiers.iter().map(|it| format!("{it:?}")).collect();
        let json = format!(
            r#"{{"message_id":"m{}","identifiers":[{}],{rest}}}"#,
            self.messages,
            identifiers.join(",")
        );
        let source = SourceInfo {
            id: SourceId(1),
            id_space: IdSpace(0),
            brand: self.brand,
            test: false,
            orders: OrderDefaults::default(),
            sensors: Default::default(),
        };
        let request = ingest::Request {
            path: "/v1/events",
            headers: &[],
            received: actors::model::Clock::now(&*self.clock),
            query: "",
            nonce: self.messages,
            body: json.as_bytes().to_vec().into(),
        };
        let admitted = ingest::admit(Protocol::Own, &source, request).unwrap();
        assert_eq!(admitted.rejected().count(), 0, "{json}");
        admitted.records
    }

    async fn identify(&mut self, identifiers: &[&str], traits: &str) {
        let rest = format!(r#""type":"identify","traits":{traits}"#);
        self.send(identifiers, &rest).await;
    }

    async fn track(&mut self, identifiers: &[&str], name: &str, at: &str, properties: &str) {
        let rest =
            format!(r#""type":"track","name":{name:?},"time":{at:?},"properties":{properties}"#);
        self.send(identifiers, &rest).await;
    }

    /// A row of an order file: one line of an order.
    async fn order(&mut self, who: &[&str], order: &str, status: &str, line: u32, amount: &str) {
        let records = self.admit_order(who, order, status, line, amount);
        self.append(&records).await;
    }

    fn admit_order(
        &mut self,
        who: &[&str],
        order: &str,
        status: &str,
        line: u32,
        amount: &str,
    ) -> Vec<ingest::RawRecord> {
        let rest = format!(
            r#""type":"order","time":{NOON:?},"order":{{"order_id":{order:?},"shop":"s","status":{status:?},"currency":"CNY","lines":[{{"line_id":"{line}","sku":"milk","quantity":1,"unit_price":{amount},"amount":{amount}}}]}}"#
        );
        self.admit(who, &rest)
    }

    async fn segment(&self, name: &str, rule: &str) -> SegmentId {
        let new = item(name, rule);
        let scope = Scope::installation();
        let made = self.platform().registry();
        let item = made.resource_create(author(&scope), SEGMENT, &new).await;
        self.audience().look();
        SegmentId(item.unwrap().id as u32)
    }

    async fn edit(&self, segment: SegmentId, name: &str, rule: &str) {
        let change = ItemChange::Whole(item(name, rule));
        let scope = Scope::installation();
        let registry = self.platform().registry();
        let id = segment.0.into();
        let edited = registry.resource_update(author(&scope), SEGMENT, id, None, &change);
        edited.await.unwrap();
        self.audience().look();
    }

    fn plan(&self, rule: &str) -> Plan {
        let schema = AttributeSchema::default();
        book::compile(rule, &schema).unwrap()
    }

    /// Counts, asking again while history is read.
    async fn count(&self, rule: &str) -> u64 {
        let plan = self.plan(rule);
        self.audience().wait(Sees::Counts, PATIENCE).await.unwrap();
        loop {
            match self.audience().preview(&BrandSet::All, &plan, 3, 1) {
                Ok(preview) => {
                    assert_eq!(preview.sample.len() as u64, preview.count.min(3));
                    return preview.count;
                }
                Err(AudienceError::Building { .. }) => {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Waits until a segment's rule of this version is in force and told.
    async fn serving(&self, segment: SegmentId, version: i64) {
        let scope = Scope::installation();
        loop {
            let registry = self.platform().registry();
            let item = registry.resource_get(&scope, SEGMENT, segment.0.into());
            if item.await.unwrap().serving == version {
                break;
            }
            tokio::task::yield_now().await;
        }
        self.settled().await;
    }

    async fn settled(&self) {
        let audience = self.audience();
        audience.wait(Sees::Memberships, PATIENCE).await.unwrap();
    }

    fn member(&self, identifier: &str) -> MemberNo {
        let rows = self.platform().snapshot().unwrap();
        let (_, rules) = row::rules(&rows).unwrap();
        let sent: Identifier = identifier.parse().unwrap();
        let normal = rules.normalise(&sent).unwrap();
        let ident = row::ident_of(&rows, &normal).unwrap().unwrap();
        row::member_of(&rows, ident).unwrap().unwrap()
    }

    fn members(&self, segment: SegmentId) -> Vec<MemberNo> {
        let members = self
            .audience()
            .segment_members(&BrandSet::All, segment, None, 100);
        members.unwrap()
    }

    /// What the rows of members say, which must be what the engine says.
    fn held(&self, segment: SegmentId) -> Vec<MemberNo> {
        let rows = self.platform().snapshot().unwrap();
        let mut held = Vec::new();
        let each = &mut |key: &[u8], _: &[u8]| {
            held.push(MemberNo(u32::from_be_bytes(key.try_into().unwrap())));
            true
        };
        rows.scan(row::MEMBER, &[], each).unwrap();
        held.retain(|member| {
            let of = memberships(&rows, *member).unwrap();
            of.iter().any(|(of, _)| *of == segment)
        });
        held
    }

    /// Changes of segments on a member's timeline, oldest first: name and whether rebuilt.
    fn changes(&self, identifier: &str) -> Vec<String> {
        let rows = self.platform().snapshot().unwrap();
        let filter = TimelineFilter {
            changes: vec![
                cdp::profile::view::ChangeKind::SegmentEntered,
                cdp::profile::view::ChangeKind::SegmentLeft,
            ],
            ..TimelineFilter::default()
        };
        let member = self.member(identifier);
        let schema = AttributeSchema::default();
        let scope = Scope::installation();
        let page = timeline_page(&rows, member, &schema, &scope, &filter, 100, None).unwrap();
        let mut lines: Vec<String> = page
            .items
            .iter()
            .map(|item| match item.row.what {
                cdp::profile::row::What::Segment(note) => format!(
                    "{}{} {}",
                    if note.entered { "+" } else { "-" },
                    note.segment,
                    if note.rebuilt { "rebuilt" } else { "live" }
                ),
                other => panic!("{other:?}"),
            })
            .collect();
        lines.reverse();
        lines
    }

    /// The rule held against one person's facts, read apart from the engine.
    fn explains(&self, identifier: &str, rule: &str, then: Option<Time>) -> bool {
        let rows = self.platform().snapshot().unwrap();
        let schema = book::schema_of(&rows).unwrap();
        let plan = self.plan(rule);
        let question = Question {
            rows: &rows,
            history: &**self.audience().history(),
            schema: &schema,
            zone: self.audience().zone(),
            codes: &self.audience().codes(),
            scope: &Scope::installation(),
            then,
        };
        let member = self.member(identifier);
        let person = Person::read(&question, member, Default::default(), &[&plan]).unwrap();
        let now = then.unwrap_or(actors::model::Clock::now(&*self.clock));
        cdp::rule::evaluate(&plan, &person, now, self.audience().zone())
    }
}

fn time(text: &str) -> Time {
    Time::from_rfc3339(text).unwrap()
}

fn author(scope: &Scope) -> Author<'_> {
    Author {
        scope,
        by: "test",
        from: "",
        now: Time(0),
    }
}

fn item(name: &str, rule: &str) -> NewItem {
    NewItem {
        name: name.into(),
        state: "enabled".into(),
        body: format!(r#"{{"rule":{rule}}}"#),
        ..NewItem::default()
    }
}

fn tag_item(brand: u32, code: &str, rule: &str) -> NewItem {
    NewItem {
        brand: BrandId(brand),
        code: code.into(),
        body: format!(
            r#"{{"value_type":"text","calculation":{{"type":"rule","cases":[{{"value":"yes","rule":{rule}}}]}}}}"#
        ),
        ..item(code, rule)
    }
}

const SHANGHAI: &str = r#"{"attr":"city","op":"eq","value":"上海"}"#;
const BUYERS: &str = r#"{"event":"paid","agg":"count","op":"gte","value":2,"within":"7d"}"#;
const QUIET: &str = r#"{"event":"paid","agg":"count","op":"lt","value":1,"within":"24h"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn counts_agree_with_one_person_at_a_time() {
    let mut world = World::new().await;
    let people = ["user_id:a", "user_id:b", "user_id:c", "user_id:d"];
    for (index, person) in people.iter().enumerate() {
        let city = ["上海", "北京"][index % 2];
        world
            .identify(
                &[person],
                &format!(r#"{{"city":"{city}","age":{}}}"#, 20 + index),
            )
            .await;
        for day in 0..index {
            let at = format!("2026-11-{:02}T10:00:00+08:00", 22 - day);
            world
                .track(&[person], "paid", &at, r#"{"amount":5,"sku":"S1"}"#)
                .await;
        }
    }
    // A visitor counts for nobody.
    world.track(&["anonymous_id:x"], "paid", NOON, "{}").await;
    let rules = [
        (SHANGHAI, 2),
        (BUYERS, 2),
        (QUIET, 1),
        (r#"{"and":[]}"#, 4),
        (r#"{"or":[]}"#, 0),
        (r#"{"not":{"attr":"city","op":"eq","value":"上海"}}"#, 2),
        (r#"{"attr":"age","op":"between","value":[21,22]}"#, 2),
        (
            r#"{"event":"paid","agg":"sum","field":"amount","op":"gte","value":10}"#,
            2,
        ),
        (
            r#"{"event":"paid","where":[{"attr":"sku","op":"eq","value":"S2"}],"op":"eq","value":0}"#,
            4,
        ),
        (
            r#"{"and":[{"attr":"city","op":"eq","value":"北京"},{"event":"paid","agg":"count","op":"gte","value":1,"within":"7d"}]}"#,
            2,
        ),
    ];
    for (rule, wanted) in rules {
        assert_eq!(world.count(rule).await, wanted, "{rule}");
        let each = people
            .iter()
            .filter(|person| world.explains(person, rule, None));
        assert_eq!(each.count() as u64, wanted, "{rule}, one by one");
    }
    // Known before the events of today had come: nothing was received then.
    assert!(!world.explains("user_id:a", SHANGHAI, Some(time("2026-11-21T00:00:00Z"))));
    assert!(world.explains("user_id:a", SHANGHAI, Some(time(NOON))));
}

#[tokio::test(flavor = "multi_thread")]
async fn members_enter_and_leave_live_and_a_restart_changes_nothing() {
    let mut world = World::new().await;
    world.identify(&["user_id:a"], r#"{"city":"上海"}"#).await;
    world.identify(&["user_id:b"], r#"{"city":"北京"}"#).await;
    let segment = world.segment("Shanghai", SHANGHAI).await;
    world.serving(segment, 1).await;
    let (a, b) = (world.member("user_id:a"), world.member("user_id:b"));
    assert_eq!(world.members(segment), [a]);
    assert_eq!(world.changes("user_id:a"), ["+1 rebuilt"]);

    world.identify(&["user_id:b"], r#"{"city":"上海"}"#).await;
    world.identify(&["user_id:a"], r#"{"city":"广州"}"#).await;
    world.settled().await;
    assert_eq!(world.members(segment), [b]);
    assert_eq!(world.held(segment), [b]);
    assert_eq!(world.changes("user_id:a"), ["+1 rebuilt", "-1 live"]);
    assert_eq!(world.changes("user_id:b"), ["+1 live"]);

    for clean in [true, false] {
        world.restart(clean).await;
        world.settled().await;
        assert_eq!(world.members(segment), [b], "clean {clean}");
        assert_eq!(world.changes("user_id:a"), ["+1 rebuilt", "-1 live"]);
        assert_eq!(world.changes("user_id:b"), ["+1 live"]);
    }
    // What changed while nobody looked is a change like any other.
    let (platform, audience) = world.running.take().unwrap();
    audience.stop();
    world.running = Some((platform, audience));
    world.identify(&["user_id:a"], r#"{"city":"上海"}"#).await;
    world.restart(true).await;
    world.settled().await;
    assert_eq!(world.held(segment), [a, b]);
    assert_eq!(
        world.changes("user_id:a"),
        ["+1 rebuilt", "-1 live", "+1 live"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_a_place() {
    const NEAR: &str = r#"{"near":{"lat":31.23,"lon":121.47,"km":5,"of":"home"}}"#;
    let mut world = World::new().await;
    let live = world.segment("near", NEAR).await;
    world.serving(live, 1).await;
    let homes = [
        (
            "user_id:a",
            r#"{"lat":31.24,"lon":121.47,"street":"南京东路"}"#,
        ),
        ("user_id:b", r#"{"latitude":31.2,"lng":121.5}"#),
        ("user_id:c", r#"{"lat":39.9,"lon":116.4}"#),
        ("user_id:d", r#"{"lat":"31.23","lon":121.47}"#),
        ("user_id:e", r#""南京东路""#),
    ];
    for (who, home) in homes {
        world
            .identify(&[who], &format!(r#"{{"home":{home}}}"#))
            .await;
    }
    world.settled().await;
    let near = |who: &str| ["user_id:a", "user_id:b"].contains(&who);
    let members: Vec<MemberNo> = homes
        .map(|(who, _)| who)
        .into_iter()
        .filter(|who| near(who))
        .map(|who| world.member(who))
        .collect();
    assert_eq!(world.members(live), members);
    assert_eq!(world.count(NEAR).await, 2);
    for (who, _) in homes {
        assert_eq!(world.explains(who, NEAR, None), near(who), "{who}");
        assert_eq!(
            world.explains(who, NEAR, Some(time(NOON))),
            near(who),
            "{who} then"
        );
    }
    let moved = r#"{"home":{"lat":39.9,"lon":116.4}}"#;
    world.clock.set(time("2026-11-22T13:00:00+08:00"));
    world.identify(&["user_id:a"], moved).await;
    world.settled().await;
    assert_eq!(world.members(live), [world.member("user_id:b")]);
    assert!(world.explains("user_id:a", NEAR, Some(time(NOON))));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_rule_swaps_whole_and_says_rebuilt() {
    let mut world = World::new().await;
    for person in 0..20 {
        let id = format!("user_id:p{person}");
        let city = ["上海", "北京"][person % 2];
        world
            .identify(&[&id], &format!(r#"{{"city":"{city}"}}"#))
            .await;
        if person < 5 {
            world.track(&[&id], "paid", NOON, "{}").await;
            world.track(&[&id], "paid", NOON, "{}").await;
        }
    }
    let segment = world.segment("s", SHANGHAI).await;
    world.serving(segment, 1).await;
    assert_eq!(world.members(segment).len(), 10);
    // The history of a measure has to be read first: until then the old result serves.
    world.edit(segment, "s", BUYERS).await;
    loop {
        let members = world.members(segment).len();
        assert!(members == 10 || members == 5, "{members}");
        if members == 5 {
            break;
        }
        tokio::task::yield_now().await;
    }
    world.serving(segment, 2).await;
    assert_eq!(world.held(segment).len(), 5);
    assert_eq!(world.changes("user_id:p0"), ["+1 rebuilt"]);
    assert_eq!(world.changes("user_id:p6"), ["+1 rebuilt", "-1 rebuilt"]);
    assert_eq!(world.changes("user_id:p1"), ["+1 rebuilt"]);
    // Switched off, nobody is in it.
    let scope = Scope::installation();
    let off = ItemChange::State("disabled".into());
    let registry = world.platform().registry();
    let id = segment.0.into();
    let done = registry.resource_update(author(&scope), SEGMENT, id, None, &off);
    done.await.unwrap();
    world.audience().look();
    while world.audience().kept(segment).is_some() {
        tokio::task::yield_now().await;
    }
    world.settled().await;
    assert!(world.held(segment).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn time_alone_makes_members_enter_and_leave() {
    let mut world = World::new().await;
    let (buyers, quiet) = (
        world.segment("buyers", BUYERS).await,
        world.segment("quiet", QUIET).await,
    );
    world.identify(&["user_id:a"], "{}").await;
    world
        .track(&["user_id:a"], "paid", "2026-11-22T11:00:00+08:00", "{}")
        .await;
    world
        .track(&["user_id:a"], "paid", "2026-11-16T11:00:00+08:00", "{}")
        .await;
    world.serving(buyers, 1).await;
    world.serving(quiet, 1).await;
    let a = world.member("user_id:a");
    assert_eq!(
        (world.members(buyers), world.members(quiet)),
        (vec![a], vec![])
    );
    // The last instant of today, and the first of tomorrow: the purchase of the 16th falls out of seven days.
    for (now, buys, is_quiet) in [
        ("2026-11-22T23:59:59.999+08:00", true, false),
        ("2026-11-23T00:00:00+08:00", false, false),
        ("2026-11-23T11:00:00+08:00", false, false),
        ("2026-11-23T11:00:00.001+08:00", false, true),
    ] {
        world.clock.set(time(now));
        world.settled().await;
        assert_eq!(world.members(buyers).len() == 1, buys, "{now}");
        assert_eq!(world.members(quiet).len() == 1, is_quiet, "{now}");
        assert_eq!(world.held(quiet), world.members(quiet), "{now}");
    }
    let tail = world.changes("user_id:a");
    assert!(
        tail.ends_with(&["-1 live".into(), "+2 live".into()]),
        "{tail:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_counts_once_and_an_unmerge_gives_back() {
    let mut world = World::new().await;
    world
        .track(&["phone:13800000001"], "paid", NOON, "{}")
        .await;
    world.track(&["user_id:u"], "paid", NOON, "{}").await;
    let one = r#"{"event":"paid","agg":"count","op":"gte","value":1}"#;
    let (ones, twos) = (
        world.segment("ones", one).await,
        world.segment("twos", BUYERS).await,
    );
    world.serving(ones, 1).await;
    world.serving(twos, 1).await;
    assert_eq!(
        (world.members(ones).len(), world.members(twos).len()),
        (2, 0)
    );
    world
        .track(&["phone:13800000001", "user_id:u"], "login", NOON, "{}")
        .await;
    world.settled().await;
    let both = world.member("user_id:u");
    assert_eq!(
        (world.held(ones), world.held(twos)),
        (vec![both], vec![both])
    );
    assert_eq!(world.count(one).await, 1);
    let phone: Identifier = "phone:13800000001".parse().unwrap();
    let unmerge = Control::Unmerge(Regroup {
        request: "r1".into(),
        member: both,
        identifiers: vec![phone],
        by: "test".into(),
        reason: "two people".into(),
    });
    let done = world.platform().command(&unmerge, "r1", PATIENCE).await;
    done.unwrap();
    world.settled().await;
    assert_eq!((world.held(ones).len(), world.held(twos).len()), (2, 0));
    assert_eq!(world.held(ones), world.members(ones));
    world.restart(true).await;
    world.settled().await;
    assert_eq!((world.held(ones).len(), world.held(twos).len()), (2, 0));
}

/// Nobody who never paid.
const NEVER: &str = r#"{"event":"paid","op":"eq","value":0}"#;

/// Too short for anything but what is there already.
const AT_ONCE: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_nothing_is_settled_before_rules_have_their_history() {
    let mut world = World::new().await;
    world.identify(&["user_id:a"], "{}").await;
    world.identify(&["user_id:b"], "{}").await;
    let segment = world.segment("never paid", NEVER).await;
    world.serving(segment, 1).await;
    let (a, b) = (world.member("user_id:a"), world.member("user_id:b"));
    assert_eq!(world.held(segment), [a, b]);
    // Paid, and ended before anybody told.
    world.audience().stop();
    world.track(&["user_id:a"], "paid", NOON, "{}").await;
    world.shut.store(true, Ordering::Release);
    world.restart(false).await;
    let audience = world.audience();
    audience.wait(Sees::Counts, PATIENCE).await.unwrap();
    // What held before serves, and no read with a token takes it for what is.
    assert_eq!(world.members(segment), [a, b]);
    let now = audience.segment(&BrandSet::All, segment).unwrap();
    assert_eq!(
        (now.count, now.version, now.building),
        (Some(2), None, Some(1))
    );
    for sees in [Sees::Segments, Sees::Memberships] {
        let early = audience.wait(sees, AT_ONCE).await;
        assert!(
            matches!(early, Err(AudienceError::SegmentBuilding(_))),
            "{early:?}"
        );
    }
    world.shut.store(false, Ordering::Release);
    world.settled().await;
    assert_eq!(
        (world.members(segment), world.held(segment)),
        (vec![b], vec![b])
    );
    assert_eq!(world.changes("user_id:a"), ["+1 rebuilt", "-1 live"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_rule_leaves_the_old_one_at_work_until_it_is_rebuilt() {
    let mut world = World::new().await;
    world.identify(&["user_id:a"], r#"{"city":"上海"}"#).await;
    world.identify(&["user_id:b"], r#"{"city":"北京"}"#).await;
    let segment = world.segment("s", SHANGHAI).await;
    world.serving(segment, 1).await;
    let (a, b) = (world.member("user_id:a"), world.member("user_id:b"));
    world.shut.store(true, Ordering::Release);
    world.edit(segment, "s", NEVER).await;
    cancel(&world, segment).await;
    let state = async |world: &World| {
        let registry = world.platform().registry();
        let scope = Scope::installation();
        let item = registry.resource_get(&scope, SEGMENT, segment.0.into());
        let item = item.await.unwrap();
        (item.serving, item.building(), item.cancelled())
    };
    assert_eq!(state(&world).await, (1, false, true));
    let now = world.audience().segment(&BrandSet::All, segment).unwrap();
    assert_eq!(
        (now.count, now.version, now.building, now.cancelled),
        (Some(1), Some(1), None, Some(2))
    );
    // The old rule is alive.
    world.identify(&["user_id:b"], r#"{"city":"上海"}"#).await;
    world.settled().await;
    assert_eq!(world.held(segment), [a, b]);
    // A restart begins nothing by itself, and keeps nobody waiting.
    world.restart(true).await;
    world.settled().await;
    assert_eq!(state(&world).await, (1, false, true));
    assert!(world.audience().figures().backfills.is_empty());
    assert_eq!(world.members(segment), [a, b]);
    world.track(&["user_id:a"], "paid", NOON, "{}").await;
    world.shut.store(false, Ordering::Release);
    let scope = Scope::installation();
    let rebuilt = world.audience().rebuild(&scope, segment);
    rebuilt.await.unwrap();
    world.serving(segment, 2).await;
    assert_eq!(state(&world).await, (2, false, false));
    assert_eq!(
        (world.members(segment), world.held(segment)),
        (vec![b], vec![b])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_was_broken_off_stays_as_it_is_until_it_is_rebuilt() {
    let mut world = World::new().await;
    let people = ["user_id:a", "user_id:b"];
    world.identify(&["user_id:a"], r#"{"city":"上海"}"#).await;
    world.identify(&["user_id:b"], r#"{"city":"北京"}"#).await;
    let tag = world.tag_of(0, "t", SHANGHAI).await;
    let state = async |world: &World| {
        let registry = world.platform().registry();
        let scope = Scope::installation();
        let item = registry.resource_get(&scope, TAG, tag).await.unwrap();
        (item.serving, item.building(), item.cancelled())
    };
    while state(&world).await != (1, false, false) {
        tokio::task::yield_now().await;
    }
    world.settled().await;
    assert_eq!(world.tagged(tag, &people), ["user_id:a"]);
    world.shut.store(true, Ordering::Release);
    let scope = Scope::installation();
    let registry = world.platform().registry();
    let change = ItemChange::Whole(tag_item(0, "t", NEVER));
    let edited = registry.resource_update(author(&scope), TAG, tag, None, &change);
    edited.await.unwrap();
    world.audience().look();
    while state(&world).await != (1, false, true) {
        let audience = world.audience();
        for backfill in audience.figures().backfills {
            audience.cancel(backfill.id);
        }
        tokio::task::yield_now().await;
    }
    // A restart begins nothing by itself, and keeps nobody waiting; members keep what they had.
    world.settled().await;
    assert_eq!(world.tagged(tag, &people), ["user_id:a"]);
    world.restart(true).await;
    world.settled().await;
    assert_eq!(state(&world).await, (1, false, true));
    assert!(world.audience().figures().backfills.is_empty());
    assert_eq!(world.tagged(tag, &people), ["user_id:a"]);
    world.track(&["user_id:a"], "paid", NOON, "{}").await;
    world.shut.store(false, Ordering::Release);
    let rebuilt = world.audience().tag_rebuild(&scope, TagId(tag as u32));
    rebuilt.await.unwrap();
    while state(&world).await != (2, false, false) {
        tokio::task::yield_now().await;
    }
    world.settled().await;
    assert_eq!(world.tagged(tag, &people), ["user_id:b"]);
}

/// Breaks off whatever is being read and waits until the segment says so.
async fn cancel(world: &World, segment: SegmentId) {
    let audience = world.audience();
    loop {
        for backfill in audience.figures().backfills {
            audience.cancel(backfill.id);
        }
        let now = audience.segment(&BrandSet::All, segment).unwrap();
        if now.cancelled.is_some() && now.building.is_none() {
            break;
        }
        tokio::task::yield_now().await;
    }
}

/// An identifier as lists keep it.
async fn entry(world: &World, identifier: &str, line: u32) -> ListEntry {
    let rows = world.platform().snapshot().unwrap();
    let (_, rules) = row::rules(&rows).unwrap();
    let sent: Identifier = identifier.parse().unwrap();
    let normal = rules.normalise(&sent).unwrap();
    let key = world.platform().registry().list_key().await.unwrap();
    ListEntry {
        print: cdp::list::print(&key, &normal),
        ident: row::ident_of(&rows, &normal).unwrap(),
        line,
    }
}

/// Uploads a list as the API does.
async fn upload(world: &World, name: &str, identifiers: &[&str]) -> i64 {
    let registry = world.platform().registry();
    let scope = Scope::installation();
    let mut new = NewItem {
        name: name.into(),
        state: lists::LOADING.into(),
        body: "{}".into(),
        ..NewItem::default()
    };
    let made = registry.resource_create(author(&scope), LIST, &new);
    let id = made.await.unwrap().id;
    let youngest = lists::next_ident(&world.platform().snapshot().unwrap()).unwrap();
    registry.list_looked_begin(id, youngest).await.unwrap();
    for (line, identifier) in (1..).zip(identifiers) {
        let entry = entry(world, identifier, line).await;
        registry.list_entry_add(id, &[entry]).await.unwrap();
    }
    new.state = "enabled".into();
    let change = ItemChange::Whole(new);
    let done = registry.resource_update(author(&scope), LIST, id, None, &change);
    done.await.unwrap();
    assert!(world.audience().looked(PATIENCE).await);
    id
}

impl World {
    /// A list's condition counted, explained one by one, and held live: all of them agree.
    async fn listed(&self, list: i64, segment: SegmentId, people: &[&str]) -> Vec<MemberNo> {
        self.settled().await;
        let rule = format!(r#"{{"list":"{list}"}}"#);
        let plan = self.plan(&rule);
        let members = self
            .audience()
            .members(&BrandSet::All, &plan, None, 100)
            .unwrap();
        assert_eq!(self.members(segment), members);
        assert_eq!(self.held(segment), members);
        let rows = self.platform().snapshot().unwrap();
        for person in people {
            let member = self.member(person);
            let plans = [&plan];
            let found = self.audience().lists_of(&rows, member, &plans).await;
            let found = !found.unwrap().is_empty();
            assert_eq!(found, members.contains(&member), "{person}");
        }
        members
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_means_whoever_has_its_identifiers_today() {
    let mut world = World::new().await;
    let people = ["user_id:a", "user_id:b"];
    for person in people {
        world.identify(&[person], "{}").await;
    }
    let (a, b) = (world.member("user_id:a"), world.member("user_id:b"));
    let list = upload(
        &world,
        "vip",
        &["user_id:a", "phone:13800000001", "user_id:later"],
    )
    .await;
    let rule = format!(r#"{{"list":"{list}"}}"#);
    let segment = world.segment("vip", &rule).await;
    world.serving(segment, 1).await;
    assert_eq!(world.listed(list, segment, &people).await, [a]);
    let (figures, _) = world
        .audience()
        .list(&BrandSet::All, list)
        .unwrap()
        .unwrap();
    assert_eq!((figures.known, figures.matched, figures.members), (1, 1, 1));
    // Somebody who is there gets an identifier that waits, and somebody comes with one.
    world
        .track(&["user_id:b", "phone:13800000001"], "login", NOON, "{}")
        .await;
    assert_eq!(world.listed(list, segment, &people).await, [a, b]);
    world.identify(&["user_id:later"], "{}").await;
    let later = world.member("user_id:later");
    let everybody = ["user_id:a", "user_id:b", "user_id:later"];
    assert_eq!(world.listed(list, segment, &everybody).await, [a, b, later]);
    assert_eq!(world.audience().figures().entries_waiting, 0);
    // The entry goes with its identifier.
    let phone: Identifier = "phone:13800000001".parse().unwrap();
    let unmerge = Control::Unmerge(Regroup {
        request: "r1".into(),
        member: b,
        identifiers: vec![phone],
        by: "test".into(),
        reason: "two people".into(),
    });
    let done = world.platform().command(&unmerge, "r1", PATIENCE).await;
    done.unwrap();
    let other = world.member("phone:13800000001");
    let apart = world.listed(list, segment, &everybody).await;
    assert_eq!(apart.contains(&b), other == b);
    assert!(apart.contains(&other) && apart.contains(&a) && apart.contains(&later));
    world
        .track(&["user_id:a", "user_id:later"], "login", NOON, "{}")
        .await;
    world
        .track(&["openid@wx:o1", "user_id:a"], "login", NOON, "{}")
        .await;
    let before = world.listed(list, segment, &everybody).await;
    for clean in [true, false] {
        world.restart(clean).await;
        assert_eq!(world.listed(list, segment, &everybody).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identifier_that_came_while_nobody_looked_is_found_at_the_start() {
    let mut world = World::new().await;
    world.identify(&["user_id:a"], "{}").await;
    let list = upload(&world, "vip", &["user_id:b", "user_id:c"]).await;
    let segment = world
        .segment("vip", &format!(r#"{{"list":"{list}"}}"#))
        .await;
    world.serving(segment, 1).await;
    world.audience().stop();
    world.identify(&["user_id:b"], "{}").await;
    world.restart(false).await;
    let b = world.member("user_id:b");
    let people = ["user_id:a", "user_id:b"];
    assert_eq!(world.listed(list, segment, &people).await, [b]);
    // Switched off it means nobody; an upload that broke off is no list.
    let scope = Scope::installation();
    let registry = world.platform().registry();
    let off = ItemChange::State("disabled".into());
    let done = registry.resource_update(author(&scope), LIST, list, None, &off);
    done.await.unwrap();
    assert!(world.audience().looked(PATIENCE).await);
    assert_eq!(world.listed(list, segment, &people).await, []);
    assert_eq!(world.audience().list(&BrandSet::All, list).unwrap(), None);
    let new = NewItem {
        name: "half".into(),
        state: lists::LOADING.into(),
        body: "{}".into(),
        ..NewItem::default()
    };
    let half = registry.resource_create(author(&scope), LIST, &new).await;
    let half = half.unwrap().id;
    let waiting = entry(&world, "user_id:z", 1).await;
    registry.list_entry_add(half, &[waiting]).await.unwrap();
    let gone = lists::remove_unfinished(registry, Time(0)).await;
    assert_eq!(gone.unwrap(), 1);
    assert_eq!(registry.list_entry_page(half, None, 5).await.unwrap(), []);
}
