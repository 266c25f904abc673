//! A fragment's cell: what it was told, small enough to be read and written with every batch that tells it something.
//!
//! Stored form: version, what was seen, then the packed attributes, which are opened only to be changed. What was seen
//! stands in a row of its own ([`Activity`]); it is here in rows that are older than that, and in cells on the move. What
//! stands in both rows was seen once each: together they are the fragment's.

use actors::machine::RowsError;
use actors::model::{BrandId, CONSENT_PREFIX};
use bytes::Bytes;

use super::activity::Activity;
use super::attribute::{self, Attribute, Facts, Told};
use super::form;
use super::value::Value;
use crate::definition::{AttributeSchema, Survivorship};

/// Under this name, which no attribute has, a cell keeps when everything was deleted.
const DELETED: &str = "";

/// What a fragment knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cell {
    /// What was seen; in a stored row, of the time before it had a row of its own.
    pub activity: Activity,
    attributes: Attributes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Attributes {
    Packed(Bytes),
    Open(Vec<Attribute>),
}

impl Default for Attributes {
    fn default() -> Self {
        Attributes::Packed(Bytes::new())
    }
}

impl Cell {
    /// Reads a row. The one place that knows older versions.
    pub fn decode(row: &Bytes) -> Result<Cell, RowsError> {
        let (activity, rest) = form::take(row, "a cell row")?;
        Ok(Cell {
            activity,
            attributes: Attributes::Packed(row.slice(row.len() - rest.len()..)),
        })
    }

    /// The row.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.encode_open();
        self.pack_attributes(&mut out);
        out
    }

    /// The row without its attributes: nothing personal.
    pub(crate) fn encode_open(&self) -> Vec<u8> {
        form::encode(&self.activity, 256)
    }

    /// Appends the packed attributes.
    pub(crate) fn pack_attributes(&self, out: &mut Vec<u8>) {
        match &self.attributes {
            Attributes::Packed(bytes) => out.extend_from_slice(bytes),
            Attributes::Open(attributes) => attribute::pack(attributes, out),
        }
    }

    /// Loses the attributes: the person is forgotten, what was seen stays.
    pub(crate) fn forget(&mut self) {
        self.attributes = Attributes::default();
    }

    /// Whether it knows nothing: such a cell has no row.
    pub fn is_empty(&self) -> bool {
        self.activity.is_empty()
            && match &self.attributes {
                Attributes::Packed(bytes) => bytes.is_empty(),
                Attributes::Open(attributes) => attributes.is_empty(),
            }
    }

    /// The attributes, by name and brand. Deletions, which clear attributes of all fragments, are done here: call it for
    /// the cell of the whole member.
    pub fn into_attributes(self) -> Result<Vec<Attribute>, RowsError> {
        let mut attributes = match self.attributes {
            Attributes::Packed(bytes) => unpack(&bytes)?,
            Attributes::Open(attributes) => attributes,
        };
        // The empty name stands before all others.
        let count = attributes.partition_point(|known| *known.name == *DELETED);
        let deleted: Vec<Attribute> = attributes.drain(..count).collect();
        for Attribute { brand, facts, .. } in &deleted {
            let own = |known: &&mut Attribute| known.brand == *brand && clears(&known.name);
            for known in attributes.iter_mut().filter(own) {
                facts.latest.iter().for_each(|told| known.facts.clear(told));
            }
        }
        Ok(attributes)
    }

    /// The values of the attributes by their rules, where that is simple: see [`attribute::plain_values`].
    pub(crate) fn plain_values(&self, schema: &AttributeSchema) -> Option<Vec<(Box<str>, Value)>> {
        let Attributes::Packed(bytes) = &self.attributes else {
            return None;
        };
        let rule = |name: &str| schema.get(name).map(|it| it.survivorship);
        attribute::plain_values(bytes, |name| rule(name).unwrap_or(Survivorship::Latest))
    }

    /// All attributes of the brand's events are cleared at this time.
    pub(crate) fn delete_all(&mut self, brand: BrandId, told: Told) -> Result<(), RowsError> {
        self.tell(DELETED, brand, Facts::once(told, false))
    }

    /// Joins what one telling says of an attribute.
    pub(crate) fn tell(
        &mut self,
        name: &str,
        brand: BrandId,
        facts: Facts,
    ) -> Result<(), RowsError> {
        attribute::join(self.open()?, name, brand, facts);
        Ok(())
    }

    /// Joins the cell of the same fragment (disjoint events), or of another one for a view of the whole member.
    pub fn merge(&mut self, other: Cell) -> Result<(), RowsError> {
        self.activity.merge(other.activity);
        self.merge_attributes(other.attributes)
    }

    /// Joins packed attributes, as [`Cell::pack_attributes`] wrote them.
    pub(crate) fn merge_packed(&mut self, packed: &Bytes) -> Result<(), RowsError> {
        self.merge_attributes(Attributes::Packed(packed.clone()))
    }

    fn merge_attributes(&mut self, other: Attributes) -> Result<(), RowsError> {
        match (&self.attributes, other) {
            (_, Attributes::Packed(bytes)) if bytes.is_empty() => {}
            (Attributes::Packed(mine), other) if mine.is_empty() => self.attributes = other,
            (_, Attributes::Packed(bytes)) => {
                for told in unpack(&bytes)? {
                    attribute::join(self.open()?, &told.name, told.brand, told.facts);
                }
            }
            (_, Attributes::Open(list)) => {
                for told in list {
                    attribute::join(self.open()?, &told.name, told.brand, told.facts);
                }
            }
        }
        Ok(())
    }

    fn open(&mut self) -> Result<&mut Vec<Attribute>, RowsError> {
        if let Attributes::Packed(bytes) = &self.attributes {
            self.attributes = Attributes::Open(unpack(bytes)?);
        }
        match &mut self.attributes {
            Attributes::Open(attributes) => Ok(attributes),
            Attributes::Packed(_) => unreachable!("opened above"),
        }
    }
}

/// Whether a deletion clears an attribute: what a person allowed or forbade stays.
pub(crate) fn clears(name: &str) -> bool {
    !name.starts_with(CONSENT_PREFIX)
}

fn unpack(bytes: &[u8]) -> Result<Vec<Attribute>, RowsError> {
    attribute::unpack(bytes).ok_or_else(|| RowsError("attributes of a cell are damaged".into()))
}
