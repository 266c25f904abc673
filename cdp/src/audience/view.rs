//! What somebody sees who may see some brands only: which members, and which attributes they have by those brands' events.
//!
//! Made when it is first asked for, from rows, and kept from then on. Most members have the same attributes in every view,
//! so only what differs is kept.

use std::collections::BTreeMap;

use actors::model::{BrandId, MemberNo};

use super::bits::Set;
use super::column::Column;
use crate::profile::Value;

/// Attributes that differ in a view: name, and value or that it has none.
pub type Differences = Vec<(Box<str>, Option<Value>)>;

/// What somebody sees who may see some brands only.
#[derive(Debug)]
pub(crate) struct View {
    /// These and the group.
    pub brands: Box<[BrandId]>,
    /// Members with an event or an order of one of the brands.
    pub who: Set,
    /// Attributes by name, of those for whom they are others than for everybody.
    pub told: BTreeMap<Box<str>, Told>,
    /// Everybody was told once.
    pub complete: bool,
    /// Told of since it was begun: what is read from older rows comes too late for them.
    touched: Set,
}

/// An attribute in a view.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// For whom it is another one.
    pub who: Set,
    pub column: Column,
}

impl Told {
    /// What a member has in the view; `column`: what it has for everybody.
    pub fn value(&self, column: &Column, ordinal: u32) -> Option<Value> {
        match self.who.has(ordinal) {
            true => self.column.get(ordinal),
            false => column.get(ordinal),
        }
    }
}

impl View {
    pub fn new(brands: &[BrandId]) -> View {
        View {
            brands: brands.into(),
            who: Set::default(),
            told: BTreeMap::new(),
            complete: false,
            touched: Set::default(),
        }
    }

    /// Takes what is so of a member; answers whether that may be news. `old`: read from rows as they were when the view was
    /// begun.
    pub fn tell(
        &mut self,
        member: MemberNo,
        visible: bool,
        differ: &Differences,
        old: bool,
    ) -> bool {
        if old && self.touched.has(member.0) {
            return false;
        }
        if !old && !self.complete {
            self.touched.insert(member.0);
        }
        // An event may have been seen that older rows do not know.
        let mut news = (visible || !old) && self.who.put(member.0, visible);
        for (name, told) in &mut self.told {
            if differ.iter().all(|(other, _)| other != name) && told.who.remove(member.0) {
                told.column.set(member.0, None);
                news = true;
            }
        }
        for (name, value) in differ {
            let told = self.told.entry(name.clone()).or_default();
            news |= told.who.insert(member.0) || told.column.get(member.0) != *value;
            told.column.set(member.0, value.as_ref());
        }
        news
    }

    /// An event of a brand that somebody owns; answers whether the member was not visible.
    pub fn see(&mut self, member: MemberNo, brand: BrandId) -> bool {
        self.brands.contains(&brand) && self.who.insert(member.0)
    }

    /// Everybody was told.
    pub fn finish(&mut self) {
        self.complete = true;
        self.touched = Set::default();
    }

    /// An attribute that is another one for somebody.
    pub fn told(&self, name: &str) -> Option<&Told> {
        self.told.get(name).filter(|told| told.who.len() > 0)
    }

    pub fn bytes(&self) -> usize {
        let told = self.told.values();
        self.who.bytes()
            + told
                .map(|it| it.who.bytes() + it.column.bytes())
                .sum::<usize>()
    }
}
