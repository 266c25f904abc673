//! The engine: takes changes, answers questions, says who entered and left.

mod answer;
mod keep;
mod prepare;
mod tags;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use actors::model::{BrandId, IdentNo, MemberNo, Place, Position, Time};
use jiff::tz::TimeZone;

pub use answer::{Counted, Distribution, ListFigures, Memory, Previewed};
pub use prepare::{NotReady, Unseen};

use super::bits::Set;
use super::column::Column;
use super::derived::Derived;
use super::live::{Input, Live, Retag, Rules, Segments, Transition};
use super::series::Series;
use super::store::Store;
use super::view::{Differences, View};
use crate::identity::row::MemberState;
use crate::profile::Value;
use crate::rule::{Extractor, LAST_SCAN, Measure, Plan};

/// Something that happened to what the engine knows, in the order of the log.
#[derive(Debug, Clone)]
pub enum Change<'a> {
    /// A member number as identity has it now.
    Member {
        /// The number.
        member: MemberNo,
        /// What it is: only members count.
        state: MemberState,
        /// Known from test sources only: does not count.
        test: bool,
        /// All its fragments, identifiers and orders without a person of their own.
        fragments: &'a [IdentNo],
    },
    /// All attributes of a member by their rules. What is not among them is absent now.
    Attributes {
        /// The member.
        member: MemberNo,
        /// Names and values, by name.
        values: &'a [(&'a str, Value)],
    },
    /// An event that counts. Each once; in any order of time.
    Event {
        /// The fragment that owns it.
        fragment: IdentNo,
        /// Its raw position.
        position: Position,
        /// When it happened.
        time: Time,
        /// Its name.
        name: &'a str,
        /// Its properties, JSON text of an object.
        properties: Option<&'a str>,
        /// Where it happened.
        place: Option<Place>,
        /// Whose it is.
        brand: BrandId,
    },
    /// An order as it stands now.
    Order {
        /// The fragment that holds it.
        holder: IdentNo,
        /// Its number.
        order: IdentNo,
        /// `None`: that fragment does not hold it any more, or it does not count.
        told: Option<OrderTold<'a>>,
    },
    /// What somebody sees of a member who may see some brands only: see [`Engine::view_begin`].
    Seen {
        /// The brands.
        brands: &'a [BrandId],
        /// The member.
        member: MemberNo,
        /// It has an event or an order of one of them.
        visible: bool,
        /// Its attributes that are others than [`Change::Attributes`] tells.
        differ: &'a Differences,
        /// Read from rows as they were when the view was begun; otherwise they are as new as all that is told.
        old: bool,
    },
    /// A tag of a member. Ignored for a tag that is calculated here ([`Engine::tag_put`]).
    Tag {
        /// The member.
        member: MemberNo,
        /// The tag's code.
        code: &'a str,
        /// `None`: taken away.
        value: Option<Value>,
    },
    /// A place of a member that no event tells, such as an address.
    Place {
        /// The member.
        member: MemberNo,
        /// Which sort.
        of: &'a str,
        /// `None`: not known any more.
        place: Option<Place>,
    },
    /// An uploaded list as a whole.
    List {
        /// Its id.
        list: &'a str,
        /// Its entries: whoever has one of them is in it, today or later.
        fragments: &'a [IdentNo],
    },
    /// An entry of an uploaded list, beside those that it has.
    Listed {
        /// The list's id.
        list: &'a str,
        /// The entry.
        fragment: IdentNo,
    },
    /// A fragment is erased: its events are forgotten.
    Forget {
        /// The fragment.
        fragment: IdentNo,
    },
}

/// What rules see of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderTold<'a> {
    /// When it was placed.
    pub time: Time,
    /// [`crate::profile::Order::facts`].
    pub facts: &'a str,
    /// Whose it is.
    pub brand: BrandId,
}

/// The audience: see [`crate::audience`].
#[derive(Debug)]
pub struct Engine {
    store: Store,
    now: Time,
    threads: usize,
    derived: Vec<Option<Derived>>,
    by_key: HashMap<Box<str>, usize>,
    /// Computed columns by what they read.
    by_series: Vec<Vec<usize>>,
    by_attribute: BTreeMap<Box<str>, Vec<usize>>,
    by_place: BTreeMap<Box<str>, Vec<usize>>,
    /// Measures that collect events but lack their history.
    begun: BTreeMap<Box<str>, Series>,
    /// Measures by the names of events met so far.
    about: HashMap<Box<str>, About>,
    /// How often what is heeded has changed.
    heeding: u64,
    segments: Segments,
    transitions: Vec<Transition>,
    retags: Vec<Retag>,
    /// What an attribute holds that nobody was ever told to have.
    empty: Column,
    /// What those see who may see some brands only.
    views: Vec<View>,
    /// For whom the question is that is being answered: the view, and who counts in it. `None`: for who sees everybody.
    seen_as: Option<(usize, Set)>,
    /// Members whom events made visible to somebody.
    newly_seen: BTreeSet<MemberNo>,
    /// Questions asked, to know which computed columns rest.
    asked: u64,
}

/// Measures about one name of event.
#[derive(Debug, Clone, Default)]
struct About {
    installed: Vec<usize>,
    begun: Vec<Box<str>>,
}

/// Names of events remembered with what heeds them; more are looked at anew.
const NAMES_MAX: usize = 4096;

/// Which events an engine wants to be told of: most names of events are in nobody's rule, and need not be opened.
#[derive(Debug, Clone)]
pub struct Heeded {
    version: u64,
    all: bool,
    measures: Vec<Arc<Measure>>,
    known: HashMap<Box<str>, bool>,
}

impl Heeded {
    /// Whether what events say of orders is wanted.
    pub fn asks_orders(&self) -> bool {
        self.measures.iter().any(|measure| measure.asks_orders())
    }

    /// Whether events of a name are wanted.
    pub fn heeds(&mut self, name: &str) -> bool {
        if self.all || name == SCAN {
            return true;
        }
        if let Some(known) = self.known.get(name) {
            return *known;
        }
        if self.known.len() == NAMES_MAX {
            self.known.clear();
        }
        let heeds = self.measures.iter().any(|measure| measure.is_about(name));
        self.known.insert(name.into(), heeds);
        heeds
    }
}

/// The name of events that tell [`LAST_SCAN`].
const SCAN: &str = "scan";

impl Engine {
    /// An engine that knows nobody. `threads`: how many a question may use.
    pub fn new(zone: TimeZone, now: Time, threads: usize) -> Engine {
        Engine {
            store: Store::new(zone),
            now,
            threads: threads.max(1),
            derived: Vec::new(),
            by_key: HashMap::new(),
            by_series: Vec::new(),
            by_attribute: BTreeMap::new(),
            by_place: BTreeMap::new(),
            begun: BTreeMap::new(),
            about: HashMap::new(),
            heeding: 0,
            segments: Segments::default(),
            transitions: Vec::new(),
            retags: Vec::new(),
            empty: Column::default(),
            views: Vec::new(),
            seen_as: None,
            newly_seen: BTreeSet::new(),
            asked: 0,
        }
    }

    /// The engine's time: that of the last [`Engine::tick`] or question.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Which events it wants to be told of at present.
    pub fn heeded(&self) -> Heeded {
        let series = self.store.series.iter().chain(self.begun.values());
        Heeded {
            version: self.heeding,
            all: !self.views.is_empty(),
            measures: series.map(|series| series.measure().clone()).collect(),
            known: HashMap::new(),
        }
    }

    /// Whether it wants other events than when this was answered.
    pub fn heeds_others(&self, heeded: &Heeded) -> bool {
        self.heeding != heeded.version
    }

    fn listen_anew(&mut self) {
        self.about.clear();
        self.heeding += 1;
    }

    /// Takes a change. Segments follow in [`Engine::tick`] and [`Engine::drain_transitions`].
    pub fn apply(&mut self, change: Change<'_>) {
        match change {
            Change::Member {
                member,
                state,
                test,
                fragments,
            } => self.apply_member(member, state == MemberState::Member && !test, fragments),
            Change::Attributes { member, values } => self.apply_attributes(member, values),
            Change::Event {
                fragment,
                position,
                time,
                name,
                properties,
                place,
                brand,
            } => {
                if !self.views.is_empty()
                    && let Some(member) = self.store.people.member_of(fragment)
                {
                    for view in &mut self.views {
                        if view.see(member, brand) {
                            self.newly_seen.insert(member);
                            self.segments.mark_owned(&view.brands, member.0);
                        }
                    }
                }
                if let Some(place) = place.filter(|_| name == SCAN) {
                    let places = self.store.places.entry(LAST_SCAN.into()).or_default();
                    places.see(fragment, time, position, place);
                    self.touch_place(LAST_SCAN, fragment);
                }
                self.apply_event(fragment, position, time, name, properties, brand);
            }
            Change::Tag {
                member,
                code,
                value,
            } => {
                if self.is_calculated(code) {
                    return;
                }
                self.grow(member);
                let column = match self.store.tags.get_mut(code) {
                    Some(column) => column,
                    None => self.store.tags.entry(code.into()).or_default(),
                };
                if column.replace(member.0, value.as_ref()) {
                    self.segments.mark(&Input::Tag(code.into()), member.0);
                }
            }
            Change::Place { member, of, place } => {
                self.grow(member);
                self.store
                    .places
                    .entry(of.into())
                    .or_default()
                    .tell(member, place);
                let derived = self.by_place.get(of).cloned().unwrap_or_default();
                self.touch(&derived, member);
            }
            Change::List { list, fragments } => {
                let input = Input::List(list.into());
                let (people, segments) = (&self.store.people, &mut self.segments);
                let listed = self.store.lists.entry(list.into()).or_default();
                let fragments = fragments.iter().copied();
                listed.replace(people, fragments, |member| segments.mark(&input, member));
            }
            Change::Listed { list, fragment } => {
                let listed = self.store.lists.entry(list.into()).or_default();
                if let Some(member) = listed.insert(&self.store.people, fragment) {
                    self.segments.mark(&Input::List(list.into()), member.0);
                }
            }
            Change::Order {
                holder,
                order,
                told,
            } => self.apply_order(holder, order, told),
            Change::Forget { fragment } => self.forget(fragment),
            Change::Seen {
                brands,
                member,
                visible,
                differ,
                old,
            } => {
                let view = self.views.iter_mut().find(|view| *view.brands == *brands);
                if let Some(view) = view
                    && view.tell(member, visible, differ, old)
                {
                    self.segments.mark_owned(brands, member.0);
                }
            }
        }
    }

    fn apply_member(&mut self, member: MemberNo, counts: bool, fragments: &[IdentNo]) {
        self.grow(member);
        for changed in self.store.people.set_fragments(member, fragments) {
            let by_place = self.by_place.values().flatten();
            let mut derived: Vec<usize> = self
                .by_series
                .iter()
                .flatten()
                .chain(by_place)
                .copied()
                .collect();
            derived.sort_unstable();
            derived.dedup();
            self.touch(&derived, changed);
            for (list, listed) in &mut self.store.lists {
                if listed.look(&self.store.people, changed) {
                    self.segments.mark(&Input::List(list.clone()), changed.0);
                }
            }
        }
        if self.store.people.universe.put(member.0, counts) {
            self.segments.mark_everywhere(member.0);
        }
    }

    fn apply_attributes(&mut self, member: MemberNo, values: &[(&str, Value)]) {
        debug_assert!(values.is_sorted_by(|(one, _), (next, _)| one < next));
        self.grow(member);
        let store = &mut self.store;
        let mut changed: Vec<Box<str>> = Vec::new();
        let is_read = !self.by_attribute.is_empty() || !self.segments.read_nothing();
        let mut change = |name: &str, column: &mut Column, value: Option<&Value>, empty: bool| {
            let is_new = match (empty, value) {
                (true, None) => false,
                (true, Some(value)) => column.add(member.0, value),
                (false, value) => column.replace(member.0, value),
            };
            if is_new && is_read {
                changed.push(name.into());
            }
        };
        // When everything is read anew, all members pass here for the first time.
        let first = store.told.insert(member.0);
        // Both by name: one walk.
        let mut told = values.iter().peekable();
        let mut new: Vec<&(&str, Value)> = Vec::new();
        for (name, column) in &mut store.attributes {
            new.extend(std::iter::from_fn(|| {
                told.next_if(|(told, _)| **told < **name)
            }));
            let value = told.next_if(|(told, _)| **told == **name);
            change(name, column, value.map(|(_, value)| value), first);
        }
        for (name, value) in new.into_iter().chain(told) {
            let column = store.attributes.entry((*name).into()).or_default();
            change(name, column, Some(value), true);
        }
        for name in changed {
            let derived = self.by_attribute.get(&name).cloned().unwrap_or_default();
            self.touch(&derived, member);
            self.segments.mark(&Input::Attribute(name), member.0);
        }
    }

    fn apply_event(
        &mut self,
        fragment: IdentNo,
        position: Position,
        time: Time,
        name: &str,
        properties: Option<&str>,
        brand: BrandId,
    ) {
        if !self.about.contains_key(name) {
            if self.about.len() == NAMES_MAX {
                self.about.clear();
            }
            let about = self.about_of(name);
            self.about.insert(name.into(), about);
        }
        let about = &self.about[name];
        for key in &about.begun {
            let series = self
                .begun
                .get_mut(key)
                .expect("`about` is cleared when this changes");
            if series.measure().sees(brand)
                && let Some(hit) = series.extractor.of_named(time, properties)
            {
                series.push(fragment, position, &hit);
            }
        }
        let mut touched = Vec::new();
        for &number in &about.installed {
            let series = &mut self.store.series[number];
            if series.measure().sees(brand)
                && let Some(hit) = series.extractor.of_named(time, properties)
            {
                series.push(fragment, position, &hit);
                touched.extend_from_slice(&self.by_series[number]);
            }
        }
        if !touched.is_empty()
            && let Some(member) = self.store.people.member_of(fragment)
        {
            self.touch(&touched, member);
        }
    }

    fn apply_order(&mut self, holder: IdentNo, order: IdentNo, told: Option<OrderTold<'_>>) {
        for series in self.begun.values_mut() {
            series.put_order(holder, order, told.as_ref());
        }
        let mut touched = Vec::new();
        for (number, series) in self.store.series.iter_mut().enumerate() {
            if series.put_order(holder, order, told.as_ref()) {
                touched.extend_from_slice(&self.by_series[number]);
            }
        }
        if !touched.is_empty()
            && let Some(member) = self.store.people.member_of(holder)
        {
            self.touch(&touched, member);
        }
    }

    /// Whether somebody asks about orders as they stand: [`Change::Order`] is to be told.
    pub fn asks_orders(&self) -> bool {
        let mut series = self.store.series.iter().chain(self.begun.values());
        series.any(|series| series.measure().is_of_orders())
    }

    /// Orders that it knows to be held by a fragment.
    pub fn orders_of(&self, holder: IdentNo) -> BTreeSet<IdentNo> {
        let mut orders = BTreeSet::new();
        for series in self.store.series.iter().chain(self.begun.values()) {
            series.orders_of(holder, &mut orders);
        }
        orders
    }

    /// Fragments that hold orders, as far as it knows.
    pub fn order_holders(&self) -> BTreeSet<IdentNo> {
        let mut holders = BTreeSet::new();
        for series in self.store.series.iter().chain(self.begun.values()) {
            series.order_holders(&mut holders);
        }
        holders
    }

    fn about_of(&self, name: &str) -> About {
        let series = self.store.series.iter().enumerate();
        About {
            installed: series
                .filter(|(_, series)| series.measure().is_about(name))
                .map(|(number, _)| number)
                .collect(),
            begun: self
                .begun
                .iter()
                .filter(|(_, series)| series.measure().is_about(name))
                .map(|(key, _)| key.clone())
                .collect(),
        }
    }

    fn forget(&mut self, fragment: IdentNo) {
        for series in self.store.series.iter_mut().chain(self.begun.values_mut()) {
            series.forget(fragment);
        }
        self.store
            .places
            .values_mut()
            .for_each(|places| places.forget(fragment));
        for (list, listed) in &mut self.store.lists {
            if let Some(member) = listed.remove(&self.store.people, fragment) {
                self.segments.mark(&Input::List(list.clone()), member.0);
            }
        }
        if let Some(member) = self.store.people.member_of(fragment) {
            let all: Vec<usize> = (0..self.derived.len()).collect();
            self.touch(&all, member);
        }
    }

    fn touch_place(&mut self, of: &str, fragment: IdentNo) {
        if let Some(member) = self.store.people.member_of(fragment)
            && let Some(derived) = self.by_place.get(of).cloned()
        {
            self.touch(&derived, member);
        }
    }

    /// Computes a member's values again and marks who reads those that changed.
    fn touch(&mut self, derived: &[usize], member: MemberNo) {
        for &number in derived {
            if let Some(column) = &mut self.derived[number]
                && column.touch(&self.store, member, self.now)
            {
                self.segments.mark(&Input::Derived(number), member.0);
            }
        }
    }

    /// Makes room for a member number; computed columns stay complete.
    fn grow(&mut self, member: MemberNo) {
        let all = self.store.people.ordinals;
        if member.0 < all {
            return;
        }
        let complete: Vec<usize> = (0..self.derived.len())
            .filter(|it| {
                self.derived[*it]
                    .as_ref()
                    .is_some_and(|it| it.is_built(&self.store))
            })
            .collect();
        self.store.people.ordinals = member.0 + 1;
        for number in complete {
            if let Some(column) = &mut self.derived[number] {
                column.build(&self.store, self.now, u32::MAX, self.threads);
            }
        }
    }

    /// Measures of a plan that are not installed: collect their events from history and [`Engine::measure_install`] them.
    pub fn measure_wanted(&self, plan: &Plan) -> Vec<Arc<Measure>> {
        let mut measures = plan.measures();
        measures.retain(|it| self.store.measure(it.key()).is_none());
        measures
    }

    /// Begins to collect the events of a measure that come from now on, so that a backfill may read history up to this
    /// point meanwhile. Nothing happens if the measure is known.
    pub fn measure_begin(&mut self, measure: Arc<Measure>) {
        if self.store.measure(measure.key()).is_none() && !self.begun.contains_key(measure.key()) {
            let mut series = self.measure_builder(measure);
            series.note_orders();
            self.begun.insert(series.measure().key().into(), series);
            self.listen_anew();
        }
    }

    /// Gives up a measure whose history nobody will read.
    pub fn measure_give_up(&mut self, key: &str) {
        if self.begun.remove(key).is_some() {
            self.listen_anew();
        }
    }

    /// An empty series to fill with history, on any thread.
    pub fn measure_builder(&self, measure: Arc<Measure>) -> Series {
        Series::new(Extractor::new(measure, &self.store.zone))
    }

    /// Takes a measure's history, and joins what came since [`Engine::measure_begin`]. From here on it is complete and kept
    /// up to date. A history of orders has to be as old as that beginning at most, or be older than the first
    /// [`Change::Order`].
    pub fn measure_install(&mut self, mut history: Series) {
        let key: Box<str> = history.measure().key().into();
        if self.store.measure(&key).is_some() {
            return;
        }
        if let Some(since) = self.begun.remove(&key) {
            history.join(&since);
        }
        self.store.series.push(history);
        self.by_series.push(Vec::new());
        self.listen_anew();
    }

    /// Gives a segment a rule. The old edition serves until this one is computed.
    pub fn segment_put(&mut self, id: &str, version: u32, plan: Arc<Plan>) {
        let live = match self.segments.by_id.get_mut(id) {
            Some(live) => live,
            None => self
                .segments
                .by_id
                .entry(id.into())
                .or_insert_with(|| Live::new(id)),
        };
        live.next = Some((version, Rules::Segment(plan)));
        self.segments.index();
    }

    /// Takes a segment away; nobody leaves it. Answers whether it was there.
    pub fn segment_remove(&mut self, id: &str) -> bool {
        let was = self.segments.by_id.remove(id).is_some();
        self.segments.index();
        self.segments.mark_all(&Input::Segment(id.into()));
        was
    }

    /// The version of a segment's rule in force, and that of a rule that is still being computed.
    pub fn segment_versions(&self, id: &str) -> Option<(Option<u32>, Option<u32>)> {
        let live = self.segments.by_id.get(id)?;
        let next = live.next.as_ref().map(|(version, _)| *version);
        Some((live.edition.as_ref().map(|it| it.version), next))
    }

    /// Restores who was in a segment before a restart, so that only real changes become transitions. The rule itself is put
    /// as usual; what differs is announced as `rebuilt`. `serves`: they are shown until then.
    pub fn segment_restore(
        &mut self,
        id: &str,
        members: impl IntoIterator<Item = MemberNo>,
        serves: bool,
    ) {
        let live = match self.segments.by_id.get_mut(id) {
            Some(live) => live,
            None => self
                .segments
                .by_id
                .entry(id.into())
                .or_insert_with(|| Live::new(id)),
        };
        live.members = members.into_iter().map(|member| member.0).collect();
        live.restored = serves;
    }

    /// Gives up a rule that is still being computed: what serves goes on. Answers whether there was one.
    pub fn segment_give_up(&mut self, id: &str) -> bool {
        let live = self.segments.by_id.get_mut(id);
        live.is_some_and(|live| live.next.take().is_some())
    }

    /// The member that a fragment belongs to.
    pub fn member_of(&self, fragment: IdentNo) -> Option<MemberNo> {
        self.store.people.member_of(fragment)
    }

    /// Whether a member is in a segment, as of the last transitions. `None`: no such segment, or not computed yet.
    pub fn holds(&self, segment: &str, member: MemberNo) -> Option<bool> {
        let live = self.segments.by_id.get(segment)?;
        live.edition.as_ref()?;
        Some(live.members.has(member.0))
    }

    /// How many are in a segment, as of the last transitions or as restored. `None`: no such segment, or not computed yet.
    pub fn segment_count(&self, segment: &str) -> Option<u64> {
        let live = self.segments.by_id.get(segment)?;
        live.serves().then(|| match &self.seen_as {
            Some((_, who)) => live.members.both(who),
            None => live.members.len(),
        })
    }

    /// Begins to keep what somebody sees who may see these brands only: from now on [`Change::Seen`] and events are noted.
    /// Then everybody is told once, as of now or later, and [`Engine::view_finish`] ends that. Answers whether it was not
    /// there.
    pub fn view_begin(&mut self, brands: &[BrandId]) -> bool {
        let known = self.views.iter().any(|view| *view.brands == *brands);
        if !known {
            self.views.push(View::new(brands));
            self.listen_anew();
        }
        !known
    }

    /// Everybody was told once.
    pub fn view_finish(&mut self, brands: &[BrandId]) {
        for view in self.views.iter_mut().filter(|it| *it.brands == *brands) {
            view.finish();
        }
    }

    /// Members whom events made visible in a view since the last call: what is seen of them has to be told
    /// ([`Change::Seen`]).
    pub fn take_newly_seen(&mut self) -> Vec<MemberNo> {
        std::mem::take(&mut self.newly_seen).into_iter().collect()
    }

    /// Forgets a view of which not everybody was told.
    pub fn view_give_up(&mut self, brands: &[BrandId]) {
        self.views
            .retain(|view| view.complete || *view.brands != *brands);
    }

    /// Brands of the views that are kept.
    pub fn views(&self) -> Vec<Box<[BrandId]>> {
        self.views.iter().map(|view| view.brands.clone()).collect()
    }

    /// Asks for somebody who may see some brands only: answers are about the members who are visible then, and about what is
    /// visible of them. Rules must be [`Plan::within`] the same brands.
    pub fn seen_by<T>(
        &mut self,
        brands: &[BrandId],
        question: impl FnOnce(&mut Engine) -> Result<T, NotReady>,
    ) -> Result<T, NotReady> {
        self.seen_as = Some(self.seen_of(brands)?);
        let answer = question(self);
        self.seen_as = None;
        answer
    }

    /// Does something about a rule for its owner: of a brand's rule, among the brand's members and by its facts only.
    pub(super) fn as_owner<T>(
        &mut self,
        plan: &Plan,
        work: impl FnOnce(&mut Engine) -> T,
    ) -> Result<T, NotReady> {
        let owner = match &plan.brands {
            Some(brands) => Some(self.seen_of(brands)?),
            None => None,
        };
        let asker = std::mem::replace(&mut self.seen_as, owner);
        let done = work(self);
        self.seen_as = asker;
        Ok(done)
    }

    /// A view that is complete, and who counts in it.
    fn seen_of(&self, brands: &[BrandId]) -> Result<(usize, Set), NotReady> {
        let found = self.views.iter().position(|view| *view.brands == *brands);
        let Some(number) = found.filter(|it| self.views[*it].complete) else {
            return Err(NotReady::unseen(Unseen::Reading));
        };
        Ok((
            number,
            self.views[number].who.and(&self.store.people.universe),
        ))
    }

    /// Computed columns that segments in force read.
    fn kept(&self) -> BTreeSet<usize> {
        let editions = self
            .segments
            .by_id
            .values()
            .filter_map(|live| live.edition.as_ref());
        let inputs = editions.flat_map(|edition| &edition.inputs);
        inputs
            .filter_map(|input| match input {
                Input::Derived(number) => Some(*number),
                _ => None,
            })
            .collect()
    }
}
