//! Bytes from outside become events.
//!
//! Two steps, both pure. [`admit`] takes one request apart into [`RawRecord`]s, one per event, and says which are bad;
//! those records are appended to the raw log before anybody is answered. [`decode`] reads a stored record into an
//! [`Event`](actors::model::Event); it is called when the record is decided, and again at every replay, so it depends on
//! nothing but the record.
//!
//! One bad event never fails its batch: it becomes a rejected record with a [`Reject`] and its original bytes, which is
//! what the dead-letter list shows. Only what cannot be taken apart at all is an [`AdmitError`].
//!
//! Absent on purpose: authentication, storing, and any I/O except reading files through [`std::io::Read`] ([`file`]).

pub mod bench;
pub mod consent;
pub mod file;
pub mod fuzz;
pub mod limits;
pub mod mend;
pub mod place;
pub mod raw;
pub mod region;

mod admit;
mod decode;
mod error;
mod json;
mod number;
mod protocol;
mod reject;
mod request;
mod time;

pub use admit::{Admitted, admit, readmit};
pub use decode::{decode, event_name};
pub use error::AdmitError;
pub use raw::{Protocol, RawRecord, Verdict};
pub use reject::{CODES, CodeInfo, Reject, RejectCode};
pub use request::{
    IdMapping, OrderDefaults, Request, SensorsSettings, SourceInfo, open, sensors_key, write_key,
};
