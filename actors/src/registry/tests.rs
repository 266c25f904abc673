use std::sync::atomic::Ordering;

use super::*;
use crate::model::{
    BrandId, BrandSet, Currency, ErrorKind, Fault, FieldClass, IdSpace, Offset, PartitionId,
    Position, RawJson, Scope, SourceId, Time,
};

const NOW: Time = Time(1_000);

fn all() -> Scope {
    Scope::installation()
}

fn brand_scope(brand: u32) -> Scope {
    Scope {
        brands: BrandSet::Only(vec![BrandId(brand)]),
        fields: FieldClass::P1,
    }
}

fn source(name: &str, brand: u32) -> NewSource {
    NewSource {
        name: name.into(),
        kind: "http".into(),
        brand: BrandId(brand),
        id_space: IdSpace(0),
        test: false,
        settings: None,
    }
}

fn definition(kind: &str, body: &str) -> NewDefinition {
    NewDefinition {
        kind: kind.into(),
        brand: BrandId(0),
        body: body.into(),
        author: "ann".into(),
        base: None,
    }
}

async fn file_registry(folder: &tempfile::TempDir) -> Registry {
    Registry::open_file(&folder.path().join("reg istry?.db"))
        .await
        .unwrap()
}

/// Runs a test on SQLite, and on PostgreSQL if `TRIBUTARY_TEST_PG` names an empty database.
macro_rules! on_both {
    ($($(#[$doc:meta])* async fn $name:ident($registry:ident) $body:block)*) => {$(
        $(#[$doc])*
        #[tokio::test]
        async fn $name() {
            let folder = tempfile::tempdir().unwrap();
            let $registry = file_registry(&folder).await;
            $body
            match postgres(stringify!($name)).await {
                Some($registry) => $body,
                None => {
                    // Past the capture of tests that pass.
                    let line = format!("SKIPPED: {} on PostgreSQL because TRIBUTARY_TEST_PG is not set\n", stringify!($name));
                    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
                },
            }
        }
    )*};
}

/// A registry in a schema of its own.
async fn postgres(schema: &str) -> Option<Registry> {
    let url = std::env::var("TRIBUTARY_TEST_PG").ok()?;
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(&url).await.unwrap();
    let schema = format!("t_{schema}_{}", std::process::id());
    let make = format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(make))
        .execute(&pool)
        .await
        .unwrap();
    let sign = if url.contains('?') { '&' } else { '?' };
    let url = format!("{url}{sign}options=-csearch_path%3D{schema}");
    Some(Registry::open_postgres(&url).await.unwrap())
}

on_both! {
    async fn an_installation_is_fixed_once(registry) {
        let wish = InstallationWish { time_zone: Some("Europe/Berlin".into()), ..Default::default() };
        let first = registry.installation_ensure(&wish, NOW).await.unwrap();
        assert_eq!((first.partitions, &first.currencies[..]), (8, &[Currency::CNY][..]));
        let again = registry.installation_ensure(&InstallationWish::default(), Time(9)).await.unwrap();
        assert_eq!(again, first);
        for (wish, field) in [
            (InstallationWish { time_zone: Some("Asia/Shanghai".into()), ..Default::default() }, "time_zone"),
            (InstallationWish { partitions: Some(16), ..Default::default() }, "partitions"),
            (InstallationWish { currencies: Some(vec!["EUR".parse().unwrap()]), ..Default::default() }, "currencies"),
        ] {
            let error = registry.installation_ensure(&wish, NOW).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert!(error.to_string().contains(field), "{error}");
        }
        for wish in [
            InstallationWish { time_zone: Some("Mars/Base".into()), ..Default::default() },
            InstallationWish { partitions: Some(7), ..Default::default() },
            InstallationWish { partitions: Some(0), ..Default::default() },
        ] {
            let error = registry.installation_ensure(&wish, NOW).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
        assert_eq!(registry.id_space_ensure("").await.unwrap(), IdSpace(0));
        assert_eq!(registry.id_space_ensure("shop a").await.unwrap(), IdSpace(1));
        assert_eq!(registry.id_space_ensure("shop b").await.unwrap(), IdSpace(2));
        assert_eq!(registry.id_space_ensure("shop a").await.unwrap(), IdSpace(1));
        assert_eq!(registry.id_space_list().await.unwrap().len(), 2);
    }

    async fn a_source_is_found_by_its_key_only(registry) {
        let (made, key) = registry.source_create(&all(), source("web", 1), NOW).await.unwrap();
        assert!(key.reveal().starts_with("tw_") && is_key(key.reveal()));
        assert_eq!(made.id, SourceId(1));
        let found = registry.source_by_write_key(key.reveal()).await.unwrap();
        assert_eq!(found.as_ref(), Some(&made));
        let mut wrong = key.reveal().to_owned();
        let last = wrong.pop().unwrap();
        wrong.push(if last == '0' { '1' } else { '0' });
        for bad in [wrong.as_str(), "", "tw_", &"é".repeat(20), "' OR 1=1 --"] {
            assert_eq!(registry.source_by_write_key(bad).await.unwrap(), None, "{bad}");
        }
        let error = registry.source_create(&all(), source("web", 1), NOW).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        registry.source_create(&all(), source("web", 2), NOW).await.unwrap();

        let change = SourceChange {
            enabled: Some(false),
            settings: Some(RawJson::object(r#"{"shop":"a"}"#).unwrap()),
            ..Default::default()
        };
        let changed = registry.source_update(&all(), made.id, change).await.unwrap();
        assert!(!changed.enabled);
        let found = registry.source_by_write_key(key.reveal()).await.unwrap().unwrap();
        assert_eq!(found, changed, "a change is seen at once");
        let fresh = registry.source_key_rotate(&all(), made.id).await.unwrap();
        assert_eq!(registry.source_by_write_key(key.reveal()).await.unwrap(), None);
        assert!(registry.source_by_write_key(fresh.reveal()).await.unwrap().is_some());
        let bad = SourceChange { settings: Some(RawJson::object("{x}").unwrap()), ..Default::default() };
        let error = registry.source_update(&all(), made.id, bad).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }

    async fn a_brand_never_sees_anothers_sources(registry) {
        for name in ["milk", "beer"] {
            registry.brand_create(&all(), name, NOW).await.unwrap();
        }
        for n in 0..7 {
            registry.source_create(&all(), source(&format!("s{n}"), n % 3), NOW).await.unwrap();
        }
        let seen = registry.source_list(&brand_scope(2), 100, None).await.unwrap();
        let brands: Vec<u32> = seen.items.iter().map(|source| source.brand.0).collect();
        assert_eq!(brands, [0, 2, 0, 2, 0], "the group's and its own");
        assert_eq!(seen.next_cursor, None);
        let foreign = registry.source_get(&brand_scope(2), SourceId(2)).await.unwrap_err();
        assert_eq!(foreign, RegistryError::NotFound("source"));
        let change = SourceChange { enabled: Some(false), ..Default::default() };
        let theirs = brand_scope(2);
        let update = |id| registry.source_update(&theirs, SourceId(id), change.clone());
        assert_eq!(update(2).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(update(1).await.unwrap_err().kind(), ErrorKind::Denied, "the group's own");
        assert!(update(3).await.is_ok());
        let create = registry.source_create(&brand_scope(2), source("new", 1), NOW).await;
        assert_eq!(create.unwrap_err().kind(), ErrorKind::Denied);
        let brands = registry.brand_list(&brand_scope(2), 10, None).await.unwrap();
        assert_eq!(brands.items.len(), 1);
        assert!(registry.brand_create(&brand_scope(2), "x", NOW).await.is_err());

        let mut names = Vec::new();
        let mut cursor = None;
        loop {
            let page = registry.source_list(&all(), 3, cursor.as_deref()).await.unwrap();
            assert!(page.items.len() <= 3);
            names.extend(page.items.into_iter().map(|source| source.name));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(names, ["s0", "s1", "s2", "s3", "s4", "s5", "s6"]);
        let error = registry.source_list(&all(), 3, Some("no cursor")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }

    async fn an_admin_key_is_made_once_or_given(registry) {
        let made = registry.api_key_ensure_admin(None, NOW).await.unwrap().unwrap();
        assert_eq!(registry.api_key_ensure_admin(None, NOW).await.unwrap(), None);
        let admin = registry.api_key_by_key(made.reveal()).await.unwrap().unwrap();
        assert_eq!((admin.role.as_str(), &admin.scope), (ADMIN, &all()));

        let weak = registry.api_key_ensure_admin(Some("admin"), NOW).await.unwrap_err();
        assert_eq!(weak.kind(), ErrorKind::Invalid);
        let (one, two) = ("an operator's first key", "an operator's second key");
        for given in [one, one, two] {
            registry.api_key_ensure_admin(Some(given), NOW).await.unwrap();
            assert!(registry.api_key_by_key(given).await.unwrap().is_some());
        }
        assert_eq!(registry.api_key_by_key(one).await.unwrap(), None, "replaced");
        registry.api_key_ensure_admin(Some(one), NOW).await.unwrap();
        assert!(registry.api_key_by_key(one).await.unwrap().is_some(), "and back again");
        assert_eq!(registry.api_key_by_key(two).await.unwrap(), None);
        let listed = registry.api_key_list(&all(), 10, None).await.unwrap().items;
        assert_eq!(listed.len(), 3);
        assert!(registry.api_key_list(&brand_scope(1), 10, None).await.is_err());
    }

    async fn an_api_key_sees_no_more_than_its_maker(registry) {
        let new = |scope| NewApiKey { name: "bi".into(), scope, role: "reader".into() };
        let (key, secret) = registry.api_key_create(&all(), new(brand_scope(1)), NOW).await.unwrap();
        let found = registry.api_key_by_key(secret.reveal()).await.unwrap().unwrap();
        assert_eq!(found, key);
        let wider = Scope { fields: FieldClass::P3, ..brand_scope(1) };
        for scope in [all(), brand_scope(2), wider] {
            let refused = registry.api_key_create(&key.scope, new(scope), NOW).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Denied);
        }
        registry.api_key_used(key.id, Time(5)).await.unwrap();
        let foreign = registry.api_key_revoke(&brand_scope(2), key.id, Time(6)).await.unwrap_err();
        assert_eq!(foreign.kind(), ErrorKind::NotFound);
        for _ in 0..2 {
            registry.api_key_revoke(&all(), key.id, Time(7)).await.unwrap();
            assert_eq!(registry.api_key_by_key(secret.reveal()).await.unwrap(), None);
        }
        let listed = registry.api_key_list(&all(), 10, None).await.unwrap().items;
        assert_eq!((listed[0].last_used, listed[0].revoked), (Some(Time(5)), Some(Time(7))));
    }

    async fn a_definition_goes_through_the_log(registry) {
        let scope = all();
        assert_eq!(registry.outbox_next().await.unwrap(), None);
        let one = registry.definition_publish(&scope, definition("identity", r#"{"v":1}"#), NOW).await.unwrap();
        let two = registry
            .definition_publish(&scope, NewDefinition { base: Some(1), ..definition("identity", r#"{"v":2}"#) }, NOW)
            .await
            .unwrap();
        assert_eq!((one.version, two.version, two.state), (1, 2, DefinitionState::Published));
        let late = NewDefinition { base: Some(1), ..definition("identity", "{}") };
        let conflict = registry.definition_publish(&scope, late, NOW).await.unwrap_err();
        assert_eq!(conflict.kind(), ErrorKind::Conflict);
        assert!(registry.definition_active(&scope, "identity").await.is_err());

        let at = |offset| Position { partition: PartitionId(0), offset: Offset(offset) };
        for (version, offset) in [(1, 70), (2, 71)] {
            let next = registry.outbox_next().await.unwrap().unwrap();
            assert_eq!((next.kind.as_str(), next.version), ("identity", version));
            assert_eq!(next.payload, format!(r#"{{"v":{version}}}"#));
            registry.outbox_sent(next.id, at(offset)).await.unwrap();
        }
        assert_eq!(registry.outbox_next().await.unwrap(), None);
        let waiting = registry.outbox_unacknowledged().await.unwrap();
        assert_eq!(waiting, [("identity".into(), 1, at(70)), ("identity".into(), 2, at(71))]);
        for _ in 0..2 {
            registry.definition_activate(&scope, "identity", 2, Time(8)).await.unwrap();
        }
        registry.definition_activate(&scope, "identity", 1, Time(9)).await.unwrap();
        let active = registry.definition_active(&scope, "identity").await.unwrap();
        assert_eq!((active.version, active.activated), (2, Some(Time(8))), "an overtaken one stays behind");
        assert_eq!(registry.outbox_unacknowledged().await.unwrap(), []);
        assert_eq!(registry.definition_active_all(&scope).await.unwrap().len(), 1);
        let versions = registry.definition_list(&scope, "identity", 1, None).await.unwrap();
        assert_eq!(versions.items[0].state, DefinitionState::Superseded);
        assert!(versions.next_cursor.is_some());
        let bad = registry.definition_publish(&scope, definition("identity", "{"), NOW).await.unwrap_err();
        assert_eq!(bad.kind(), ErrorKind::Invalid);
    }

    async fn drafts_wait_until_they_are_published(registry) {
        let scope = all();
        let draft = registry.definition_draft(&scope, definition("tag/gold", "[1]"), NOW).await.unwrap();
        assert_eq!((draft.version, draft.state), (1, DefinitionState::Draft));
        assert_eq!(registry.outbox_next().await.unwrap(), None);
        assert!(registry.definition_activate(&scope, "tag/gold", 1, NOW).await.is_err());
        assert!(registry.definition_newest(&scope, "tag/gold").await.is_err());
        registry.definition_publish_draft(&scope, "tag/gold", 1).await.unwrap();
        assert_eq!(registry.outbox_next().await.unwrap().unwrap().version, 1);
        assert!(registry.definition_publish_draft(&scope, "tag/gold", 1).await.is_err());
        let old = registry.definition_draft(&scope, definition("tag/gold", "[2]"), NOW).await.unwrap();
        registry.definition_publish(&scope, definition("tag/gold", "[3]"), NOW).await.unwrap();
        let stale = registry.definition_publish_draft(&scope, "tag/gold", old.version).await.unwrap_err();
        assert_eq!(stale.kind(), ErrorKind::Conflict);
        let foreign = NewDefinition { brand: BrandId(1), ..definition("tag/gold", "[4]") };
        assert!(registry.definition_publish(&scope, foreign.clone(), NOW).await.is_err());
        let brands = NewDefinition { kind: "tag/brand".into(), ..foreign };
        registry.definition_publish(&brand_scope(1), brands, NOW).await.unwrap();
        let hidden = registry.definition_get(&brand_scope(2), "tag/brand", 1).await.unwrap_err();
        assert_eq!(hidden.kind(), ErrorKind::NotFound);
    }

    /// Fault row 12: the registry was restored to an older state than units have.
    async fn row_12_a_number_that_the_log_has_had_is_not_given_again(registry) {
        let scope = all();
        registry.definition_publish(&scope, definition("identity", "[1]"), NOW).await.unwrap();
        registry.definition_sent("identity", 9);
        registry.definition_sent("identity", 3);
        let next = registry.definition_publish(&scope, definition("identity", "[10]"), NOW).await.unwrap();
        assert_eq!(next.version, 10);
        let other = registry.definition_publish(&scope, definition("attributes", "[1]"), NOW).await.unwrap();
        assert_eq!(other.version, 1, "each kind has its own numbers");
    }

    /// Fault row 13: a deadlock or a serialization error has the whole transaction run again.
    async fn row_13_a_contended_transaction_is_run_again_whole(registry) {
        registry.db.faults.store(3, Ordering::Relaxed);
        let made = registry.definition_publish(&all(), definition("identity", "{}"), NOW).await.unwrap();
        assert_eq!(made.version, 1, "attempts leave nothing behind");
        registry.db.faults.store(100, Ordering::Relaxed);
        let error = registry.definition_publish(&all(), definition("identity", "{}"), NOW).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
        registry.db.faults.store(0, Ordering::Relaxed);
        let versions = registry.definition_list(&all(), "identity", 10, None).await.unwrap();
        assert_eq!(versions.items.len(), 1);
    }

    async fn writers_at_once_lose_nothing(registry) {
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let registry = registry.clone();
                tokio::spawn(async move {
                    registry.source_create(&all(), source(&format!("s{n}"), 0), NOW).await.unwrap().0.id.0
                })
            })
            .collect();
        let mut ids = Vec::new();
        for task in tasks {
            ids.push(task.await.unwrap());
        }
        ids.sort_unstable();
        assert_eq!(ids, (1..=20).collect::<Vec<u32>>());
    }
}

#[tokio::test]
async fn a_registry_survives_reopening_and_refuses_a_newer_one() {
    let folder = tempfile::tempdir().unwrap();
    let registry = file_registry(&folder).await;
    let (_, key) = registry
        .source_create(&all(), source("web", 0), NOW)
        .await
        .unwrap();
    // No close: as after kill −9.
    let again = file_registry(&folder).await;
    assert!(
        again
            .source_by_write_key(key.reveal())
            .await
            .unwrap()
            .is_some()
    );
    again.check().await.unwrap();
    sqlx::query("INSERT INTO schema_version (version) VALUES (99)")
        .execute(&again.db.reader)
        .await
        .unwrap();
    let path = folder.path().join("reg istry?.db");
    let Err(error) = Registry::open_file(&path).await else {
        panic!("a registry of a later version was opened");
    };
    assert!(error.to_string().contains("version 99"), "{error}");
}

#[tokio::test]
async fn a_backup_is_whole_and_never_overwrites() {
    let folder = tempfile::tempdir().unwrap();
    let registry = file_registry(&folder).await;
    let (_, key) = registry
        .source_create(&all(), source("web", 0), NOW)
        .await
        .unwrap();
    let copy = folder.path().join("copy.db");
    registry.backup(&copy).await.unwrap();
    registry
        .source_create(&all(), source("later", 0), NOW)
        .await
        .unwrap();
    assert!(registry.backup(&copy).await.is_err());
    let restored = Registry::open_file(&copy).await.unwrap();
    assert!(
        restored
            .source_by_write_key(key.reveal())
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(
        restored
            .source_list(&all(), 10, None)
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let secret = key.reveal().as_bytes();
        assert!(
            !bytes.windows(secret.len()).any(|part| part == secret),
            "a key in clear on disk"
        );
    }
}

/// Fault row 6: damage of the database file is found at start.
#[tokio::test]
async fn row_6_a_damaged_registry_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.db");
    let registry = Registry::open_file(&path).await.unwrap();
    for n in 0..50 {
        registry
            .source_create(&all(), source(&format!("s{n}"), 0), NOW)
            .await
            .unwrap();
    }
    registry.close().await;
    let whole = std::fs::read(&path).unwrap();
    let mut bad = whole.clone();
    // Headers of all pages but the first.
    for page in (4096..bad.len()).step_by(4096) {
        bad[page] ^= 0xff;
    }
    std::fs::write(&path, &bad).unwrap();
    let Err(error) = Registry::open_file(&path).await else {
        panic!("a damaged file was opened");
    };
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    std::fs::write(
        &path,
        b"this is no database at all, whatever its name says".repeat(100),
    )
    .unwrap();
    let Err(error) = Registry::open_file(&path).await else {
        panic!("a foreign file was opened");
    };
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[test]
fn database_errors_are_classified() {
    for (code, kind) in [
        ("5", ErrorKind::Busy),
        ("517", ErrorKind::Busy),
        ("6", ErrorKind::Busy),
        ("11", ErrorKind::Corrupt),
        ("26", ErrorKind::Corrupt),
        ("13", ErrorKind::Full),
        ("10", ErrorKind::Unavailable),
        ("1", ErrorKind::Internal),
        ("40001", ErrorKind::Busy),
        ("40P01", ErrorKind::Busy),
        ("55P03", ErrorKind::Busy),
        ("08006", ErrorKind::Unavailable),
        ("57P01", ErrorKind::Unavailable),
        ("53300", ErrorKind::Unavailable),
        ("25006", ErrorKind::Unavailable),
        ("53100", ErrorKind::Full),
        ("42601", ErrorKind::Internal),
        ("", ErrorKind::Internal),
    ] {
        assert_eq!(error::of_code(code, String::new()).kind(), kind, "{code}");
    }
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    assert_eq!(
        RegistryError::from(sqlx::Error::Io(full)),
        RegistryError::Full
    );
    assert_eq!(
        RegistryError::from(sqlx::Error::PoolTimedOut).kind(),
        ErrorKind::Unavailable
    );
}

/// Handlers of HTTP requests need futures that may move between threads.
#[test]
fn futures_are_send() {
    fn send<T: Send>(_: T) {}
    fn check(registry: &Registry, scope: &Scope) {
        send(registry.source_create(scope, source("x", 0), NOW));
        send(registry.definition_publish(scope, definition("x", "{}"), NOW));
        send(registry.api_key_ensure_admin(None, NOW));
        send(registry.source_by_write_key("x"));
    }
    let _ = check;
}

mod resource;
