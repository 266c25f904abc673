//! A member at a glance: attributes by their rules, what was seen, orders in sum.

use std::collections::{BTreeMap, BTreeSet};

use actors::machine::{Rows, RowsError};
use actors::model::{
    BrandId, BrandSet, Currency, EventKind, IdentNo, MemberNo, Scope, SourceId, Time,
};
use bytes::Bytes;

use super::consent::{self, Consent};
use super::timeline::{told_folded, told_values};
use super::{mask, scan};
use crate::definition::AttributeSchema;
use crate::profile::attribute::{Attribute, Resolved};
use crate::profile::order::OrderHead;
use crate::profile::{Activity, Cell, Value, moves, row};

/// A member at a glance.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct View {
    /// Attributes that have a value, by name.
    pub attributes: BTreeMap<Box<str>, AttributeView>,
    /// Consents, by brand, channel and purpose.
    pub consents: Vec<Consent>,
    /// Event time of the earliest event.
    pub first_seen: Option<Time>,
    /// Event time of the latest event.
    pub last_seen: Option<Time>,
    /// Events by sort.
    pub events: BTreeMap<EventKind, u64>,
    /// Events by source.
    pub sources: BTreeMap<SourceId, u64>,
    /// Brands with an event or order.
    pub brands: BTreeSet<BrandId>,
    /// Orders in sum.
    pub orders: OrderSummary,
    /// Facts are on their way to this member: what is shown is not all yet.
    pub merging: bool,
    /// Fragments that have facts, by number.
    pub fragments: Vec<IdentNo>,
}

/// An attribute's value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeView {
    /// By the attribute's rule; masked if so marked.
    pub value: Value,
    /// Whether it is masked.
    pub masked: bool,
    /// Source that told it.
    pub source: SourceId,
    /// Event time of that telling.
    pub time: Time,
    /// How often the attribute was told.
    pub tellings: u32,
}

/// Orders in sum.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrderSummary {
    /// All, cancelled ones too.
    pub count: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// Lines.
    pub lines: u64,
    /// Totals by currency in the smallest unit, cancelled ones too.
    pub amounts: BTreeMap<Currency, i64>,
    /// Of these, of cancelled orders.
    pub amounts_cancelled: BTreeMap<Currency, i64>,
    /// Time of the earliest order.
    pub first: Option<Time>,
    /// Time of the latest order.
    pub last: Option<Time>,
}

/// Fragments of a member that have seen or been told something, by number.
pub fn fragments(rows: &dyn Rows, member: MemberNo) -> Result<Vec<IdentNo>, RowsError> {
    let mut found = Vec::new();
    for space in [row::ACTIVITY, row::CELLS] {
        scan(rows, space, &row::member_front(member), |key, _| {
            found.extend(row::whose(key).map(|(_, fragment)| fragment));
            Ok(true)
        })?;
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// What all fragments of a member saw and were told, and which they are, in any order and more than once.
fn whole(rows: &dyn Rows, member: MemberNo) -> Result<(Cell, Vec<IdentNo>), RowsError> {
    let (mut whole, mut fragments) = (Cell::default(), Vec::new());
    let front = row::member_front(member);
    scan(rows, row::ACTIVITY, &front, |key, value| {
        fragments.extend(row::whose(key).map(|(_, fragment)| fragment));
        whole.activity.merge(Activity::decode(value)?);
        Ok(true)
    })?;
    scan(rows, row::CELLS, &front, |key, value| {
        fragments.extend(row::whose(key).map(|(_, fragment)| fragment));
        whole.merge(Cell::decode(&Bytes::copy_from_slice(value))?)?;
        Ok(true)
    })?;
    Ok((whole, fragments))
}

/// The member as `scope` may see it. `None`: no facts, or none of a visible brand.
pub fn member_view(
    rows: &dyn Rows,
    member: MemberNo,
    schema: &AttributeSchema,
    scope: &Scope,
) -> Result<Option<View>, RowsError> {
    let merging = moves::is_merging(rows, member)?;
    view_of(rows, member, schema, scope, merging)
}

/// As [`member_view`], without a look at whether facts are on their way: for who looks at many members and is told when
/// facts arrive.
pub fn member_facts(
    rows: &dyn Rows,
    member: MemberNo,
    schema: &AttributeSchema,
    scope: &Scope,
) -> Result<Option<View>, RowsError> {
    view_of(rows, member, schema, scope, false)
}

fn view_of(
    rows: &dyn Rows,
    member: MemberNo,
    schema: &AttributeSchema,
    scope: &Scope,
    merging: bool,
) -> Result<Option<View>, RowsError> {
    let (whole, fragments) = whole(rows, member)?;
    let mut view = View {
        merging,
        fragments,
        ..View::default()
    };
    for seen in (whole.activity.seen.iter()).filter(|seen| scope.sees(seen.brand)) {
        view.first_seen = Some(view.first_seen.map_or(seen.first, |at| at.min(seen.first)));
        view.last_seen = Some(view.last_seen.map_or(seen.last, |at| at.max(seen.last)));
        *view.events.entry(seen.kind).or_default() += seen.count;
        *view.sources.entry(seen.source).or_default() += seen.count;
        view.brands.insert(seen.brand);
    }
    let holders = summarise_orders(rows, member, scope, &mut view)?;
    view.fragments.extend(holders);
    view.fragments.sort_unstable();
    view.fragments.dedup();
    if !is_visible(&view, scope) {
        return Ok(None);
    }
    let told = whole.into_attributes()?;
    view.consents = consent::of(&told, scope);
    view.attributes = attributes(rows, member, told, schema, scope, &view.fragments)?;
    Ok(Some(view))
}

/// A brand's user sees members with an event or order of that brand; the group's own facts alone show nobody to them.
fn is_visible(view: &View, scope: &Scope) -> bool {
    match &scope.brands {
        BrandSet::All => !view.fragments.is_empty() || view.merging,
        BrandSet::Only(brands) => brands.iter().any(|brand| view.brands.contains(brand)),
    }
}

fn summarise_orders(
    rows: &dyn Rows,
    member: MemberNo,
    scope: &Scope,
    view: &mut View,
) -> Result<BTreeSet<IdentNo>, RowsError> {
    let mut holders = BTreeSet::new();
    scan(
        rows,
        row::ORDERS,
        &row::member_front(member),
        |key, value| {
            let head = OrderHead::decode(value)?;
            if !scope.sees(head.brand) {
                return Ok(true);
            }
            holders.extend(row::whose(key).map(|(_, holder)| holder));
            view.brands.insert(head.brand);
            view.orders.add(&head);
            Ok(true)
        },
    )?;
    Ok(holders)
}

impl OrderSummary {
    fn add(&mut self, head: &OrderHead) {
        let (currency, total) = (head.currency.1, head.total());
        self.count += 1;
        self.lines += u64::from(head.lines);
        let sum = self.amounts.entry(currency).or_default();
        *sum = sum.saturating_add(total);
        if head.is_cancelled() {
            self.cancelled += 1;
            let sum = self.amounts_cancelled.entry(currency).or_default();
            *sum = sum.saturating_add(total);
        }
        let time = head.time();
        self.first = Some(self.first.map_or(time, |at| at.min(time)));
        self.last = Some(self.last.map_or(time, |at| at.max(time)));
    }
}

/// Facts of all visible brands together, by each attribute's rule.
fn attributes(
    rows: &dyn Rows,
    member: MemberNo,
    told: Vec<Attribute>,
    schema: &AttributeSchema,
    scope: &Scope,
    fragments: &[IdentNo],
) -> Result<BTreeMap<Box<str>, AttributeView>, RowsError> {
    let mut views = BTreeMap::new();
    let mut visible: Vec<Attribute> = Vec::new();
    for attribute in told {
        let owner = schema
            .get(&attribute.name)
            .map_or(BrandId(0), |it| it.brand);
        if !scope.sees(attribute.brand) || !scope.sees(owner) {
            continue;
        }
        match visible.last_mut() {
            Some(last) if last.name == attribute.name => last.facts.merge(attribute.facts),
            _ => visible.push(attribute),
        }
    }
    for Attribute { name, facts, .. } in visible {
        let told = match facts.resolve(schema.get(&name)) {
            Resolved::Value(told) => told,
            Resolved::Absent => continue,
            Resolved::FromTimeline(mut latest) => {
                let values = told_values(rows, member, fragments, &name, scope)?;
                if values.is_empty() {
                    continue;
                }
                latest.value = Value::List(values);
                latest
            }
            Resolved::FoldTimeline => {
                match told_folded(rows, member, fragments, &name, scope, &|_| true)? {
                    Some(told) if told.value != Value::Cleared => told,
                    _ => continue,
                }
            }
        };
        let masked = schema.class(&name) > scope.fields;
        let value = match masked {
            true => mask(&told.value),
            false => told.value,
        };
        let view = AttributeView {
            value,
            masked,
            source: told.source,
            time: told.time,
            tellings: facts.tellings,
        };
        views.insert(name, view);
    }
    Ok(views)
}
