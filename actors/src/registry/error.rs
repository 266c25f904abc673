//! What can go wrong with the registry.

use crate::model::{ErrorKind, Fault, Retry};

/// What can go wrong with the registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// There is no such thing, or the scope does not see it.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// A name or code is another's.
    #[error("{what}")]
    Taken {
        /// Which field.
        field: &'static str,
        /// Whose.
        what: String,
    },
    /// Others refer to it.
    #[error("{0}")]
    InUse(String),
    /// It refers to what is not there or not for it.
    #[error("{0}")]
    Reference(String),
    /// It would refer to itself.
    #[error("{0}")]
    Circle(String),
    /// A value is not acceptable.
    #[error("{field}: {what}")]
    Invalid {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// The scope does not allow it.
    #[error("this key may not do that: {0}")]
    Denied(&'static str),
    /// Other transactions were in the way, at every attempt.
    #[error("the registry is busy: {0}")]
    Contended(String),
    /// The database does not answer.
    #[error("the registry does not answer: {0}")]
    Unavailable(String),
    /// The disk is full.
    #[error("the disk that holds the registry is full")]
    Full,
    /// The database is damaged.
    #[error("the registry is damaged: {0}. Restore it from the newest backup")]
    Damaged(String),
    /// This database or version cannot do it.
    #[error("{0}")]
    Unsupported(String),
    /// A bug of ours: the database refused a statement.
    #[error("the registry refused a statement: {0}")]
    Statement(String),
}

/// Where callers say which page: wrong ones have a code of their own, as those of other lists.
const CURSOR: &str = "cursor";

impl RegistryError {
    /// Whether the whole transaction may pass when it is run again.
    pub(super) fn contended(&self) -> bool {
        matches!(self, RegistryError::Contended(_))
    }

    /// Whether it is about what was asked for, not about the database: another wish may pass in the same transaction.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            RegistryError::NotFound(_)
            | RegistryError::Conflict(_)
            | RegistryError::Taken { .. }
            | RegistryError::InUse(_)
            | RegistryError::Reference(_)
            | RegistryError::Circle(_)
            | RegistryError::Invalid { .. }
            | RegistryError::Denied(_) => true,
            RegistryError::Contended(_)
            | RegistryError::Unavailable(_)
            | RegistryError::Full
            | RegistryError::Damaged(_)
            | RegistryError::Unsupported(_)
            | RegistryError::Statement(_) => false,
        }
    }

    pub(super) fn invalid(field: &'static str, what: impl Into<String>) -> RegistryError {
        RegistryError::Invalid {
            field,
            what: what.into(),
        }
    }
}

impl Fault for RegistryError {
    fn kind(&self) -> ErrorKind {
        match self {
            RegistryError::NotFound(_) => ErrorKind::NotFound,
            RegistryError::Conflict(_) | RegistryError::Taken { .. } | RegistryError::InUse(_) => {
                ErrorKind::Conflict
            }
            RegistryError::Reference(_) | RegistryError::Circle(_) => ErrorKind::Invalid,
            RegistryError::Invalid { .. } | RegistryError::Unsupported(_) => ErrorKind::Invalid,
            RegistryError::Denied(_) => ErrorKind::Denied,
            RegistryError::Contended(_) => ErrorKind::Busy,
            RegistryError::Unavailable(_) => ErrorKind::Unavailable,
            RegistryError::Full => ErrorKind::Full,
            RegistryError::Damaged(_) => ErrorKind::Corrupt,
            RegistryError::Statement(_) => ErrorKind::Internal,
        }
    }

    fn retry(&self) -> Retry {
        match self.kind() {
            ErrorKind::Busy => Retry::After(1),
            ErrorKind::Unavailable | ErrorKind::Full => Retry::After(5),
            _ => Retry::Never,
        }
    }

    fn field(&self) -> Option<&str> {
        match self {
            RegistryError::Taken { field, .. } | RegistryError::Invalid { field, .. } => {
                Some(field)
            }
            _ => None,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            RegistryError::NotFound(_) => "not_found",
            RegistryError::Conflict(_) => "conflict",
            RegistryError::Taken { .. } => "name_taken",
            RegistryError::InUse(_) => "in_use",
            RegistryError::Reference(_) => "reference_unknown",
            RegistryError::Circle(_) => "reference_circle",
            RegistryError::Invalid { field, .. } if *field == CURSOR => "cursor_form",
            RegistryError::Invalid { .. } => "invalid",
            RegistryError::Denied(_) => "denied",
            RegistryError::Contended(_) => "registry_busy",
            RegistryError::Unavailable(_) => "registry_unavailable",
            RegistryError::Full => "disk_full",
            RegistryError::Damaged(_) => "registry_damaged",
            RegistryError::Unsupported(_) => "registry_unsupported",
            RegistryError::Statement(_) => "registry_statement",
        }
    }
}

impl From<sqlx::Error> for RegistryError {
    fn from(error: sqlx::Error) -> RegistryError {
        match &error {
            sqlx::Error::Database(database) => {
                let text = database.message().to_owned();
                if database.is_unique_violation() {
                    // SQLite names the columns, PostgreSQL an index that is called after them.
                    return match text.contains("name") {
                        true => RegistryError::Taken {
                            field: "name",
                            what: "this name is taken".into(),
                        },
                        false => RegistryError::Conflict("it exists already".into()),
                    };
                }
                of_code(database.code().as_deref().unwrap_or(""), text)
            }
            sqlx::Error::Io(io) if io.kind() == std::io::ErrorKind::StorageFull => {
                RegistryError::Full
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => RegistryError::Unavailable(error.to_string()),
            sqlx::Error::RowNotFound => RegistryError::NotFound("row"),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                RegistryError::Damaged(error.to_string())
            }
            _ => RegistryError::Statement(error.to_string()),
        }
    }
}

/// Classifies by the database's code: SQLSTATE of five characters for PostgreSQL, a number for SQLite, whose lowest byte
/// is the sort of error.
pub(super) fn of_code(code: &str, text: String) -> RegistryError {
    const SQLSTATE: usize = 5;
    let sqlite = code.parse::<u32>().ok().filter(|_| code.len() < SQLSTATE);
    if let Some(number) = sqlite {
        /// `SQLITE_BUSY`, `SQLITE_LOCKED`.
        const IN_THE_WAY: [u32; 2] = [5, 6];
        /// `SQLITE_CORRUPT`, `SQLITE_NOTADB`.
        const DAMAGED: [u32; 2] = [11, 26];
        /// `SQLITE_IOERR`, `SQLITE_CANTOPEN`.
        const DISK: [u32; 2] = [10, 14];
        /// `SQLITE_FULL`.
        const FULL: u32 = 13;
        return match number & 0xff {
            FULL => RegistryError::Full,
            sort if IN_THE_WAY.contains(&sort) => RegistryError::Contended(text),
            sort if DAMAGED.contains(&sort) => RegistryError::Damaged(text),
            sort if DISK.contains(&sort) => RegistryError::Unavailable(text),
            _ => RegistryError::Statement(format!("{code}: {text}")),
        };
    }
    match code {
        // Serialization failure, deadlock, lock not available.
        "40001" | "40P01" | "55P03" => RegistryError::Contended(text),
        "53100" => RegistryError::Full,
        "XX001" | "XX002" => RegistryError::Damaged(text),
        // Connections, resources, shutdown, read-only standby.
        _ if ["08", "53", "57", "58"]
            .iter()
            .any(|class| code.starts_with(class))
            || code == "25006" =>
        {
            RegistryError::Unavailable(text)
        }
        _ => RegistryError::Statement(format!("{code}: {text}")),
    }
}
