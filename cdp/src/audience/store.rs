//! All that was told: people, attributes, tags, lists, events of measures, places.

use std::collections::BTreeMap;

use actors::model::{IdentNo, MemberNo, Place, Position, Time};
use jiff::tz::TimeZone;

use super::bits::Set;
use super::blobs::Blobs;
use super::column::Column;
use super::days::Days;
use super::listed::Listed;
use super::people::People;
use super::series::{Series, in_order};
use crate::rule::{Hit, point_of};

/// What was told.
#[derive(Debug)]
pub(crate) struct Store {
    pub zone: TimeZone,
    pub days: Days,
    pub people: People,
    pub attributes: BTreeMap<Box<str>, Column>,
    /// Whose attributes were ever told: nobody else has a value in any of the columns.
    pub told: Set,
    pub tags: BTreeMap<Box<str>, Column>,
    pub lists: BTreeMap<Box<str>, Listed>,
    /// Measures; they are never taken away, so numbers stay.
    pub series: Vec<Series>,
    /// Places by name.
    pub places: BTreeMap<Box<str>, Places>,
}

/// One sort of place: of members as such, and of fragments by what happened there last.
#[derive(Debug, Default)]
pub(crate) struct Places {
    told: Blobs,
    seen: Blobs,
}

impl Store {
    pub fn new(zone: TimeZone) -> Store {
        Store {
            days: Days::new(&zone),
            zone,
            people: People::default(),
            attributes: BTreeMap::new(),
            told: Set::default(),
            tags: BTreeMap::new(),
            lists: BTreeMap::new(),
            series: Vec::new(),
            places: BTreeMap::new(),
        }
    }

    /// The number of a measure.
    pub fn measure(&self, key: &str) -> Option<usize> {
        self.series.iter().position(|it| it.measure().key() == key)
    }

    /// A member's events of a measure, sorted by time, ties in the order of arrival.
    pub fn hits(&self, series: usize, member: MemberNo) -> Vec<Hit> {
        let mut hits = Vec::new();
        let mut fragments = 0;
        for fragment in self.people.fragments(member) {
            let before = hits.len();
            self.series[series].collect(fragment, &mut hits);
            fragments += usize::from(hits.len() > before);
        }
        in_order(hits, fragments)
    }

    /// A place of a member: what was told, otherwise where the last event was, otherwise what the attribute of that name says.
    pub fn place(&self, of: &str, member: MemberNo) -> Option<(f64, f64)> {
        self.place_told(of, member).or_else(|| {
            let value = self.attributes.get(of)?.get(member.0)?;
            point_of(&value).map(|at| (at.lat, at.lon))
        })
    }

    fn place_told(&self, of: &str, member: MemberNo) -> Option<(f64, f64)> {
        let places = self.places.get(of)?;
        if let Some((_, _, lat, lon)) = unpack(places.told.get(member.0)) {
            return Some((lat, lon));
        }
        let seen = self.people.fragments(member);
        let last = seen
            .filter_map(|fragment| unpack(places.seen.get(fragment.0)))
            .max_by_key(|(time, arrival, ..)| (*time, *arrival))?;
        Some((last.2, last.3))
    }
}

impl Places {
    /// Tells a member's place, or that there is none.
    pub fn tell(&mut self, member: MemberNo, place: Option<Place>) {
        let bytes = place.map(|place| pack(Time(0), 0, place));
        self.told.set(member.0, bytes.as_ref().map_or(&[], |it| it));
    }

    /// An event at a place; the latest counts.
    pub fn see(&mut self, fragment: IdentNo, time: Time, at: Position, place: Place) {
        let arrival = u64::from(at.partition.0) << 48 | at.offset.0;
        let known = unpack(self.seen.get(fragment.0));
        if known.is_none_or(|known| (known.0, known.1) <= (time, arrival)) {
            self.seen.set(fragment.0, &pack(time, arrival, place));
        }
    }

    /// Forgets a fragment.
    pub fn forget(&mut self, fragment: IdentNo) {
        self.seen.set(fragment.0, &[]);
    }

    pub fn bytes(&self) -> usize {
        self.told.bytes() + self.seen.bytes()
    }
}

fn pack(time: Time, arrival: u64, place: Place) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&time.0.to_le_bytes());
    bytes[8..16].copy_from_slice(&arrival.to_le_bytes());
    bytes[16..24].copy_from_slice(&place.lat.to_le_bytes());
    bytes[24..].copy_from_slice(&place.lon.to_le_bytes());
    bytes
}

fn unpack(bytes: &[u8]) -> Option<(Time, u64, f64, f64)> {
    let (words, _) = bytes.as_chunks::<8>();
    match *words {
        [time, arrival, lat, lon] => Some((
            Time(i64::from_le_bytes(time)),
            u64::from_le_bytes(arrival),
            f64::from_le_bytes(lat),
            f64::from_le_bytes(lon),
        )),
        _ => None,
    }
}
