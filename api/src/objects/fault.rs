//! What can be wrong with an object, told so that whoever asked can put it right.

use std::error::Error;

use actors::model::{ErrorKind, Fault, Retry};
use object_store::client::{HttpError, HttpErrorKind};

use super::Location;

/// Characters of a store's own words that are passed on.
const WORDS_CHARS_MAX: usize = 300;

/// Why an object is not read or written.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is no section `[object_store]`.
    #[error("no object store is configured: set [object_store] in tributary.toml")]
    NotConfigured,
    /// It is no name of an object.
    #[error("this is no name of an object: {what}")]
    Name {
        /// What is wrong.
        what: String,
    },
    /// The operator's list does not have it.
    #[error("{location} is outside of object_store.buckets")]
    NotAllowed {
        /// Which.
        location: Location,
    },
    /// No such bucket.
    #[error("there is no bucket {} at {endpoint}", location.bucket)]
    NoBucket {
        /// What was asked for.
        location: Location,
        /// Where.
        endpoint: String,
    },
    /// No such object.
    #[error("there is no object {location}")]
    NoObject {
        /// Which.
        location: Location,
    },
    /// The store does not let us.
    #[error(
        "the object store refuses {location}: {what}; check the access keys and what they may do (without the right to \
         list a bucket, an object that is not there is refused, too)"
    )]
    Denied {
        /// Which.
        location: Location,
        /// The store's own word.
        what: String,
    },
    /// What answers is no store, or another region's.
    #[error(
        "{endpoint} does not answer as S3 for {location}: {what}; check object_store.endpoint, region and path_style"
    )]
    WrongEndpoint {
        /// Where.
        endpoint: String,
        /// What was asked for.
        location: Location,
        /// What it said.
        what: String,
    },
    /// Nobody answers, or too slowly.
    #[error("the object store at {endpoint} cannot be reached: {what}")]
    Unreachable {
        /// Where.
        endpoint: String,
        /// What happened.
        what: String,
    },
    /// Its content is another than at the begin.
    #[error(
        "{location} has changed since it was begun with: nothing more is read of it; import it anew"
    )]
    Changed {
        /// Which.
        location: Location,
    },
    /// Larger than it may be.
    #[error("{location} has {bytes} bytes; {max} are allowed by {limit}")]
    TooLarge {
        /// Which.
        location: Location,
        /// Its bytes.
        bytes: u64,
        /// The limit.
        max: u64,
        /// Its name.
        limit: &'static str,
    },
    /// No room for it.
    #[error("the disk is full: {location} needs {needs} more bytes in {folder}")]
    DiskFull {
        /// Which.
        location: Location,
        /// Bytes.
        needs: u64,
        /// Where.
        folder: String,
    },
    /// A file of ours.
    #[error("{what}: {source}")]
    Io {
        /// Which.
        what: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// Anything else that the store says.
    #[error("the object store fails on {location}: {what}")]
    Store {
        /// Which.
        location: Location,
        /// What it says.
        what: String,
    },
    /// Somebody stopped it.
    #[error("cancelled behind {done} bytes")]
    Cancelled {
        /// Bytes that are there.
        done: u64,
    },
}

impl Fault for ObjectError {
    fn kind(&self) -> ErrorKind {
        match self {
            ObjectError::NotConfigured
            | ObjectError::Name { .. }
            | ObjectError::TooLarge { .. }
            | ObjectError::WrongEndpoint { .. } => ErrorKind::Invalid,
            ObjectError::NotAllowed { .. } | ObjectError::Denied { .. } => ErrorKind::Denied,
            ObjectError::NoBucket { .. } | ObjectError::NoObject { .. } => ErrorKind::NotFound,
            ObjectError::Changed { .. } | ObjectError::Cancelled { .. } => ErrorKind::Conflict,
            ObjectError::DiskFull { .. } => ErrorKind::Full,
            ObjectError::Unreachable { .. } | ObjectError::Store { .. } => ErrorKind::Unavailable,
            ObjectError::Io { .. } => ErrorKind::Internal,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            ObjectError::Unreachable { .. } => Retry::After(5),
            ObjectError::DiskFull { .. } => Retry::After(60),
            _ => Retry::Never,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            ObjectError::NotConfigured => "object_store_missing",
            ObjectError::Name { .. } => "object_name",
            ObjectError::NotAllowed { .. } => "object_not_allowed",
            ObjectError::NoBucket { .. } => "bucket_missing",
            ObjectError::NoObject { .. } => "object_missing",
            ObjectError::Denied { .. } => "object_denied",
            ObjectError::WrongEndpoint { .. } => "object_endpoint",
            ObjectError::Unreachable { .. } => "object_store_unreachable",
            ObjectError::Changed { .. } => "object_changed",
            ObjectError::TooLarge { .. } => "object_too_large",
            ObjectError::DiskFull { .. } => "disk_full",
            ObjectError::Io { .. } => "file_io",
            ObjectError::Store { .. } => "object_store_failed",
            ObjectError::Cancelled { .. } => "conflict",
        }
    }
}

impl ObjectError {
    /// What an answer of the store means.
    pub(super) fn of(
        error: &object_store::Error,
        location: &Location,
        endpoint: &str,
    ) -> ObjectError {
        use object_store::Error as Store;
        let location = location.clone();
        let endpoint = endpoint.to_owned();
        let said = error.to_string();
        if let Some(kind) = http(error) {
            let what = innermost(error);
            return match kind {
                HttpErrorKind::Decode => ObjectError::WrongEndpoint {
                    endpoint,
                    location,
                    what,
                },
                _ => ObjectError::Unreachable { endpoint, what },
            };
        }
        let code = code(&said);
        match (error, code) {
            (_, Some("NoSuchBucket")) => ObjectError::NoBucket { location, endpoint },
            (Store::NotFound { .. }, Some(_)) => ObjectError::NoObject { location },
            (Store::NotFound { .. }, None) => ObjectError::WrongEndpoint {
                endpoint,
                location,
                what: "404 without a word of S3".into(),
            },
            (Store::PermissionDenied { .. } | Store::Unauthenticated { .. }, code) => {
                ObjectError::Denied {
                    location,
                    what: code.unwrap_or("access denied").to_owned(),
                }
            }
            (Store::Precondition { .. }, _) => ObjectError::Changed { location },
            // Answers of the wrong region, with the wrong style of buckets, and of what is no store.
            (
                _,
                Some(
                    code @ ("PermanentRedirect"
                    | "TemporaryRedirect"
                    | "AuthorizationHeaderMalformed"
                    | "IllegalLocationConstraintException"),
                ),
            ) => ObjectError::WrongEndpoint {
                endpoint,
                location,
                what: code.to_owned(),
            },
            (_, Some(code)) if said.contains("status code: 5") => ObjectError::Unreachable {
                endpoint,
                what: code.to_owned(),
            },
            (_, Some(code)) => ObjectError::Store {
                location,
                what: code.to_owned(),
            },
            (_, None) if said.contains("status code: 5") => ObjectError::Unreachable {
                endpoint,
                what: words(&said),
            },
            (_, None) => ObjectError::WrongEndpoint {
                endpoint,
                location,
                what: words(&said),
            },
        }
    }

    /// Whether asking later may help: what is there already is kept.
    pub fn is_passing(&self) -> bool {
        matches!(self.retry(), Retry::After(_)) && !matches!(self, ObjectError::DiskFull { .. })
    }

    /// A file of ours cannot be written.
    pub(super) fn disk(
        location: &Location,
        folder: &std::path::Path,
        needs: u64,
    ) -> impl Fn(std::io::Error) -> ObjectError {
        let (location, folder) = (location.clone(), folder.display().to_string());
        move |source| match source.kind() {
            std::io::ErrorKind::StorageFull => ObjectError::DiskFull {
                location: location.clone(),
                needs,
                folder: folder.clone(),
            },
            _ => ObjectError::Io {
                what: "the copy of the object",
                source,
            },
        }
    }
}

/// The word in `<Code>…</Code>` of a store's answer.
fn code(said: &str) -> Option<&str> {
    let rest = said.split_once("<Code>")?.1;
    let (code, _) = rest.split_once("</Code>")?;
    let word =
        !code.is_empty() && code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric());
    word.then_some(code)
}

/// What happened to the connection, if it was that.
fn http(error: &object_store::Error) -> Option<HttpErrorKind> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(one) = next {
        if let Some(http) = one.downcast_ref::<HttpError>() {
            return Some(http.kind());
        }
        next = one.source();
    }
    None
}

/// The last cause: "connection refused" rather than what was being done.
fn innermost(error: &object_store::Error) -> String {
    let mut last: &(dyn Error + 'static) = error;
    while let Some(next) = last.source() {
        last = next;
    }
    words(&last.to_string())
}

/// A store's own words on one line, not too many of them.
fn words(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(WORDS_CHARS_MAX)
        .collect();
    line.trim().to_owned()
}
