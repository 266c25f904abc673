//! The tables, by version. A version that was released is never edited; the next one is added below it.

use sqlx::Row;

use super::RegistryError;
use super::db::{Db, Kind, transaction};

/// One version: statements that both databases read.
type Version = &'static [&'static str];

const VERSIONS: &[Version] = &[
    &[
        "CREATE TABLE settings (name text PRIMARY KEY, value text NOT NULL)",
        "CREATE TABLE brands (id bigint PRIMARY KEY, name text NOT NULL UNIQUE, created bigint NOT NULL)",
        "CREATE TABLE id_spaces (id bigint PRIMARY KEY, name text NOT NULL UNIQUE)",
        "CREATE TABLE sources (id bigint PRIMARY KEY, name text NOT NULL, kind text NOT NULL, brand bigint NOT NULL, \
     id_space bigint NOT NULL, key_hash text NOT NULL UNIQUE, key_hint text NOT NULL, test bigint NOT NULL, \
     settings text NOT NULL, enabled bigint NOT NULL, created bigint NOT NULL, UNIQUE (brand, name))",
        "CREATE TABLE api_keys (id bigint PRIMARY KEY, name text NOT NULL, key_hash text NOT NULL UNIQUE, \
     key_hint text NOT NULL, scope text NOT NULL, role text NOT NULL, created bigint NOT NULL, last_used bigint, \
     revoked bigint)",
        "CREATE TABLE definitions (kind text NOT NULL, version bigint NOT NULL, brand bigint NOT NULL, body text NOT NULL, \
     state text NOT NULL, author text NOT NULL, created bigint NOT NULL, activated bigint, \
     PRIMARY KEY (kind, version))",
        "CREATE INDEX definitions_by_state ON definitions (state, kind)",
        "CREATE TABLE outbox (id bigint PRIMARY KEY, kind text NOT NULL, version bigint NOT NULL, payload text NOT NULL, \
     at_partition bigint, at_offset bigint)",
        "CREATE INDEX outbox_waiting ON outbox (id) WHERE at_offset IS NULL",
    ],
    &[
        "CREATE TABLE resources (kind text NOT NULL, id bigint NOT NULL, brand bigint NOT NULL, handle text NOT NULL, \
     code text NOT NULL, name text NOT NULL, description text NOT NULL, folder text NOT NULL, state text NOT NULL, \
     version bigint NOT NULL, body_version bigint NOT NULL, serving bigint NOT NULL, body text NOT NULL, search text NOT NULL, \
     created bigint NOT NULL, created_by text NOT NULL, updated bigint NOT NULL, updated_by text NOT NULL, \
     PRIMARY KEY (kind, id), UNIQUE (kind, handle))",
        "CREATE INDEX resources_by_code ON resources (kind, code)",
        "CREATE INDEX resources_by_name ON resources (kind, brand, name)",
        "CREATE TABLE resource_fields (kind text NOT NULL, id bigint NOT NULL, field text NOT NULL, words text NOT NULL, \
     number bigint NOT NULL, PRIMARY KEY (kind, id, field))",
        "CREATE TABLE resource_versions (kind text NOT NULL, id bigint NOT NULL, version bigint NOT NULL, \
     name text NOT NULL, state text NOT NULL, body text NOT NULL, at bigint NOT NULL, author text NOT NULL, \
     PRIMARY KEY (kind, id, version))",
        "CREATE TABLE resource_uses (kind text NOT NULL, id bigint NOT NULL, used_kind text NOT NULL, used text NOT NULL, \
     PRIMARY KEY (kind, id, used_kind, used))",
        "CREATE INDEX resource_uses_by_used ON resource_uses (used_kind, used)",
        "CREATE TABLE list_entries (list bigint NOT NULL, print text NOT NULL, ident bigint NOT NULL, \
     PRIMARY KEY (list, print))",
        "CREATE INDEX list_entries_by_print ON list_entries (ident, print)",
        "CREATE TABLE audit (seq bigint PRIMARY KEY, at bigint NOT NULL, actor text NOT NULL, brand bigint NOT NULL, \
     action text NOT NULL, kind text NOT NULL, item text NOT NULL, detail text NOT NULL, hash text NOT NULL)",
    ],
    &[
        "CREATE TABLE webhooks (id bigint PRIMARY KEY, name text NOT NULL, url text NOT NULL, brand bigint NOT NULL, \
     events text NOT NULL, personal bigint NOT NULL, enabled bigint NOT NULL, secret text NOT NULL, old_secret text, \
     old_until bigint, removed bigint NOT NULL, created bigint NOT NULL)",
    ],
    &[
        "ALTER TABLE resources ADD COLUMN cancelled bigint NOT NULL DEFAULT 0",
        "ALTER TABLE list_entries ADD COLUMN line bigint NOT NULL DEFAULT 0",
        "CREATE INDEX list_entries_waiting ON list_entries (list, line) WHERE ident = -1",
        "CREATE TABLE list_looked (list bigint PRIMARY KEY, ident bigint NOT NULL)",
    ],
    &[
        "ALTER TABLE resources ADD COLUMN computed text NOT NULL DEFAULT ''",
        "ALTER TABLE resources ADD COLUMN computed_version bigint NOT NULL DEFAULT 0",
    ],
    &[
        "ALTER TABLE audit ADD COLUMN form bigint NOT NULL DEFAULT 1",
        "ALTER TABLE audit ADD COLUMN address text NOT NULL DEFAULT ''",
        "ALTER TABLE audit ADD COLUMN version_before bigint NOT NULL DEFAULT 0",
        "ALTER TABLE audit ADD COLUMN version_after bigint NOT NULL DEFAULT 0",
        "ALTER TABLE audit ADD COLUMN fields text NOT NULL DEFAULT ''",
    ],
];

/// Brings the tables up to date. Refuses tables that a later version of this program has made.
pub(super) async fn run(db: &Db) -> Result<(), RegistryError> {
    transaction!(db, tx => {
        if db.kind() == Kind::Postgres {
            // Two first starts at once: the second waits. The number is ours alone.
            sqlx::query("SELECT pg_advisory_xact_lock(7741001)").execute(&mut *tx).await?;
        }
        sqlx::query("CREATE TABLE IF NOT EXISTS schema_version (version bigint PRIMARY KEY)")
            .execute(&mut *tx)
            .await?;
        let row = sqlx::query("SELECT coalesce(max(version), 0) AS version FROM schema_version")
            .fetch_one(&mut *tx)
            .await?;
        let present = usize::try_from(row.try_get::<i64, _>("version")?).unwrap_or(usize::MAX);
        if present > VERSIONS.len() {
            Err(RegistryError::Unsupported(format!(
                "the registry has version {present} and this program knows {}: start a newer program",
                VERSIONS.len()
            )))?;
        }
        for (version, statements) in (1i64..).zip(VERSIONS).skip(present) {
            for statement in *statements {
                sqlx::query(*statement).execute(&mut *tx).await?;
            }
            sqlx::query("INSERT INTO schema_version (version) VALUES ($1)")
                .bind(version)
                .execute(&mut *tx)
                .await?;
        }
    })
}
