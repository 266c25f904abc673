//! Scope: what the caller may see. Every repository and query call takes one.

use serde::{Deserialize, Serialize};

use super::BrandId;

/// Which brands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BrandSet {
    /// The whole group.
    All,
    /// These only.
    Only(Vec<BrandId>),
}

/// How personal a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FieldClass {
    /// Not personal.
    P0,
    /// Personal but not identifying: city, birth year.
    P1,
    /// Identifying: name, phone, e-mail, openid.
    P2,
    /// Sensitive: government id, health.
    P3,
}

/// What the caller may see: brands and the most personal class of field that is shown unmasked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Visible brands.
    pub brands: BrandSet,
    /// Fields above this class are masked.
    pub fields: FieldClass,
}

impl Scope {
    /// The whole installation, nothing masked: the admin key, and our own jobs.
    pub fn installation() -> Scope {
        Scope {
            brands: BrandSet::All,
            fields: FieldClass::P3,
        }
    }

    /// Whether facts of `brand` are visible. The group's own facts (brand 0) are visible to everybody.
    pub fn sees(&self, brand: BrandId) -> bool {
        match &self.brands {
            BrandSet::All => true,
            BrandSet::Only(brands) => brand == BrandId(0) || brands.contains(&brand),
        }
    }
}
