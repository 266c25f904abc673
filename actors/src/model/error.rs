//! Three questions that every error answers: what sort, worth trying again, which stable code.

/// What sort of failure; `api` maps it to a status, nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The caller sent something wrong.
    Invalid,
    /// The caller is not known or may not do this.
    Denied,
    /// There is no such thing, or the caller may not see it.
    NotFound,
    /// It contradicts what is there.
    Conflict,
    /// Too much at once: try later.
    Busy,
    /// The disk is full.
    Full,
    /// Not ready yet, or a part is down.
    Unavailable,
    /// Stored bytes are damaged.
    Corrupt,
    /// Our fault.
    Internal,
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// The same call fails the same way.
    Never,
    /// It may pass after this many seconds.
    After(u32),
}

/// An error at a boundary.
pub trait Fault: std::error::Error {
    /// What sort.
    fn kind(&self) -> ErrorKind;
    /// Stable code for programs, e.g. `identifier_form`.
    fn code(&self) -> &'static str;
    /// Which input is wrong, if it is one that the caller named.
    fn field(&self) -> Option<&str> {
        None
    }
    /// Worth trying again?
    fn retry(&self) -> Retry {
        match self.kind() {
            ErrorKind::Busy | ErrorKind::Full | ErrorKind::Unavailable => Retry::After(1),
            _ => Retry::Never,
        }
    }
}
