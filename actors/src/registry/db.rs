//! Connections, and transactions that are run again when others were in the way.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions, install_default_drivers};
use sqlx::{Any, AnyConnection, AnyPool, Connection, Row, Transaction};

use super::RegistryError;

/// Attempts of one transaction before the caller hears of it.
const ATTEMPTS_MAX: u32 = 8;

/// Wait before the second attempt; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(2);

/// How long a call waits for a connection: long enough for a restart of the database in the same rack, short enough for a
/// person at a screen.
const CONNECTION_WAIT: Duration = Duration::from_secs(5);

/// Readers of a SQLite file. Lists are short; more would only hold caches.
const READERS: u32 = 4;

/// Connections to PostgreSQL.
const POSTGRES_CONNECTIONS: u32 = 8;

/// SQLite: readers never block the writer, a commit is on disk when it returns, the WAL file is cut back after a peak.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
    PRAGMA busy_timeout = 5000; PRAGMA journal_size_limit = 16777216;";

/// The database. Cheap to clone.
#[derive(Clone)]
pub(super) struct Db {
    kind: Kind,
    /// One connection for SQLite, so that writers queue here and not in the file's lock.
    writer: AnyPool,
    /// For single statements outside of transactions.
    pub(super) reader: AnyPool,
    /// Commits to fail on purpose, in tests.
    pub(super) faults: Arc<AtomicU32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
}

impl Db {
    pub(super) async fn open_file(path: &Path) -> Result<Db, RegistryError> {
        install_default_drivers();
        let options = AnyConnectOptions::from_str(&format!("sqlite://{}?mode=rwc", encoded(path)))?;
        // By itself first: a pool would try again and say only that it waited in vain.
        let mut first = AnyConnection::connect_with(&options).await?;
        sqlx::raw_sql(PRAGMAS).execute(&mut first).await?;
        first.close().await?;
        let pool = |connections: u32| {
            AnyPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(CONNECTION_WAIT)
                .idle_timeout(None)
                .max_lifetime(None)
                .after_connect(|connection, _| {
                    Box::pin(async move {
                        sqlx::raw_sql(PRAGMAS).execute(connection).await?;
                        Ok(())
                    })
                })
        };
        let writer = pool(1).connect_with(options.clone()).await?;
        let reader = pool(READERS).connect_with(options).await?;
        let db = Db {
            kind: Kind::Sqlite,
            writer,
            reader,
            faults: Arc::default(),
        };
        db.check().await?;
        Ok(db)
    }

    pub(super) async fn open_postgres(url: &str) -> Result<Db, RegistryError> {
        install_default_drivers();
        let pool = AnyPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS)
            .acquire_timeout(CONNECTION_WAIT)
            .connect(url)
            .await?;
        Ok(Db {
            kind: Kind::Postgres,
            writer: pool.clone(),
            reader: pool,
            faults: Arc::default(),
        })
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Begins a transaction that sees one state and writes on top of it, or fails as contended.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Any>, RegistryError> {
        let begin = match self.kind {
            // Takes the write lock at once: a lock taken later cannot wait for another writer, only fail.
            Kind::Sqlite => "BEGIN IMMEDIATE",
            Kind::Postgres => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        };
        Ok(self.writer.begin_with(begin).await?)
    }

    /// Fails a commit if a test asked for it.
    pub(super) fn fault(&self) -> Result<(), RegistryError> {
        let asked = |left: u32| left.checked_sub(1);
        match self
            .faults
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, asked)
        {
            Ok(_) => Err(super::error::of_code("40001", "asked for by a test".into())),
            Err(_) => Ok(()),
        }
    }

    pub(super) async fn check(&self) -> Result<(), RegistryError> {
        if self.kind == Kind::Postgres {
            return Ok(());
        }
        let rows = sqlx::query("PRAGMA integrity_check(5)")
            .fetch_all(&self.writer)
            .await?;
        let mut findings = Vec::with_capacity(rows.len());
        for row in rows {
            findings.push(row.try_get::<String, _>(0)?);
        }
        match &findings[..] {
            [sound] if sound == "ok" => Ok(()),
            _ => Err(RegistryError::Damaged(findings.join("; "))),
        }
    }

    pub(super) async fn backup(&self, to: &Path) -> Result<(), RegistryError> {
        if self.kind == Kind::Postgres {
            return Err(RegistryError::Unsupported(
                "a PostgreSQL registry is backed up with its own tools, e.g. pg_dump".into(),
            ));
        }
        let name = to.to_str().ok_or_else(|| {
            RegistryError::invalid("backup", "the path of a backup must be valid UTF-8")
        })?;
        // SQLite refuses a file that exists, and VACUUM INTO does not sync what it wrote.
        sqlx::query("VACUUM INTO $1")
            .bind(name)
            .execute(&self.reader)
            .await?;
        let folder = to.parent().unwrap_or(Path::new("."));
        for path in [to, folder] {
            std::fs::File::open(path)
                .and_then(|file| file.sync_all())
                .map_err(|error| RegistryError::Unavailable(error.to_string()))?;
        }
        Ok(())
    }

    pub(super) async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// Counts the attempts of one transaction.
pub(super) struct Attempts(u32);

impl Attempts {
    pub(super) fn new() -> Attempts {
        Attempts(1)
    }

    /// Waits and answers `true` if the transaction is worth another attempt.
    pub(super) async fn again(&mut self, error: &RegistryError) -> bool {
        if !error.contended() || self.0 >= ATTEMPTS_MAX {
            return false;
        }
        tokio::time::sleep(FIRST_WAIT * 2u32.pow(self.0 - 1)).await;
        self.0 += 1;
        true
    }
}

/// Runs a block in a transaction, whole again if other transactions were in the way. `?` in the block gives the
/// transaction up. A macro, because a closure that borrows the transaction cannot say that its future is `Send`.
macro_rules! transaction {
    ($db:expr, $tx:ident => $work:block) => {{
        let db: &$crate::registry::db::Db = $db;
        let mut attempts = $crate::registry::db::Attempts::new();
        loop {
            let done: Result<_, $crate::registry::RegistryError> = async {
                let mut $tx = db.begin().await?;
                let value = $work;
                db.fault()?;
                $tx.commit().await?;
                Ok(value)
            }
            .await;
            match done {
                Err(error) if attempts.again(&error).await => {}
                done => break done,
            }
        }
    }};
}
pub(super) use transaction;

/// A path as the path of a URL.
fn encoded(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut text = String::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                text.push(char::from(*byte));
            }
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}
