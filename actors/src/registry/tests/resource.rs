use super::*;

const SEGMENT: ResourceKind = ResourceKind {
    name: "segment",
    by_code: false,
    unique_name: true,
};
const TAG: ResourceKind = ResourceKind {
    name: "tag",
    by_code: true,
    unique_name: false,
};

fn item(name: &str, brand: u32) -> NewItem {
    NewItem {
        brand: BrandId(brand),
        name: name.into(),
        state: "draft".into(),
        body: r#"{"rule":{"and":[]}}"#.into(),
        ..NewItem::default()
    }
}

fn tag(code: &str) -> NewItem {
    NewItem {
        code: code.into(),
        ..item(code, 0)
    }
}

fn uses(mut new: NewItem, kind: &'static str, handle: &str) -> NewItem {
    new.uses.push(Reference {
        kind,
        handle: handle.into(),
    });
    new
}

fn author<'a>(scope: &'a Scope, by: &'a str) -> Author<'a> {
    Author {
        scope,
        by,
        from: "192.0.2.7",
        now: NOW,
    }
}

async fn make(registry: &Registry, kind: ResourceKind, new: &NewItem) -> Result<Item, String> {
    registry
        .resource_create(author(&all(), "ann"), kind, new)
        .await
        .map_err(|error| error.code().to_owned())
}

async fn change(registry: &Registry, id: i64, new: NewItem) -> Result<Item, String> {
    let change = ItemChange::Whole(new);
    registry
        .resource_update(author(&all(), "bob"), SEGMENT, id, None, &change)
        .await
        .map_err(|error| error.code().to_owned())
}

on_both! {
    async fn a_resource_lives_with_versions_audit_and_notices(registry) {
        let mut notices = registry.resource_changes();
        let made = make(&registry, SEGMENT, &item("gold", 0)).await.unwrap();
        assert_eq!((made.id, made.version, made.building()), (1, 1, true));
        registry.resource_serving(SEGMENT, 1, 1).await.unwrap();
        let mut new = item("gold", 0);
        new.state = "enabled".into();
        let renamed = change(&registry, 1, new.clone()).await.unwrap();
        assert_eq!((renamed.version, renamed.body_version), (2, 1));
        new.body = r#"{"rule":{"or":[]}}"#.into();
        let edited = change(&registry, 1, new.clone()).await.unwrap();
        assert_eq!((edited.version, edited.body_version, edited.serving), (3, 3, 1));
        assert!(edited.building());
        // An engine that is late reports what it built of an older body.
        registry.resource_serving(SEGMENT, 1, 2).await.unwrap();
        registry.resource_serving(SEGMENT, 1, 3).await.unwrap();
        registry.resource_serving(SEGMENT, 1, 1).await.unwrap();
        assert_eq!(registry.resource_get(&all(), SEGMENT, 1).await.unwrap().serving, 3);
        registry.resource_computed(SEGMENT, 1, 3, "{}").await.unwrap();
        registry.resource_computed(SEGMENT, 1, 1, "[]").await.unwrap();
        registry.resource_computed(SEGMENT, 1, 4, "[]").await.unwrap();
        let kept = registry.resource_get(&all(), SEGMENT, 1).await.unwrap();
        assert_eq!((&*kept.computed, kept.computed_version, kept.version), ("{}", 3, 3));
        let stale = registry
            .resource_update(author(&all(), "cid"), SEGMENT, 1, Some(2), &ItemChange::State("disabled".into()))
            .await
            .unwrap_err();
        assert_eq!(stale.code(), "conflict");
        registry
            .resource_delete(author(&all(), "cid"), SEGMENT, 1, Some(3))
            .await
            .unwrap();
        let gone = registry.resource_get(&all(), SEGMENT, 1).await.unwrap_err();
        assert_eq!(gone.code(), "not_found");
        let next = make(&registry, SEGMENT, &item("gold", 0)).await.unwrap();
        assert_eq!(next.id, 2, "numbers are not given twice");
        let told = std::iter::from_fn(|| notices.try_recv().ok()).map(|notice| notice.id);
        assert_eq!(told.collect::<Vec<_>>(), [1, 1, 1, 1, 2]);
        let entries = registry.audit_list(&all(), &AuditQuery::default(), 10, None).await.unwrap();
        let acts: Vec<_> = entries.items.iter().rev().map(|it| (it.act.by.as_str(), it.act.action.as_str())).collect();
        assert_eq!(acts, [("ann", "create"), ("bob", "update"), ("bob", "update"), ("cid", "delete"), ("ann", "create")]);
        let changes: Vec<_> = entries.items.iter().rev().map(|it| it.act.change.clone().unwrap()).collect();
        let told = changes.iter().map(|it| format!("{}-{} {}", it.before, it.after, it.fields.join(",")));
        assert_eq!(told.collect::<Vec<_>>(), ["0-1 ", "1-2 state", "2-3 rule", "3-4 ", "0-1 "]);
        assert!(entries.items.iter().all(|it| it.act.from == "192.0.2.7"));
        let verdict = registry.audit_verify().await.unwrap();
        assert_eq!((verdict.entries, verdict.broken_at), (5, None));
    }

    async fn the_audit_chain_shows_what_was_edited(registry) {
        for at in 0..5 {
            let act = Act { by: "ann".into(), from: "192.0.2.7".into(), brand: BrandId(at % 2), action: "export".into(),
                kind: "segment".into(), item: at.to_string(), detail: String::new(), change: None };
            registry.audit(&act, Time(i64::from(at))).await.unwrap();
        }
        let head = registry.audit_verify().await.unwrap().head;
        assert_eq!(registry.audit_verify().await.unwrap().broken_at, None);
        let page = registry.audit_list(&brand_scope(1), &AuditQuery::default(), 1, None).await.unwrap();
        assert_eq!(page.items[0].act.item, "3");
        let page = registry.audit_list(&brand_scope(1), &AuditQuery::default(), 10, page.next_cursor.as_deref()).await.unwrap();
        assert_eq!(page.items.iter().map(|it| &*it.act.item).collect::<Vec<_>>(), ["1"]);
        for (edit, back, broken) in [
            ("UPDATE audit SET actor = 'eve' WHERE seq = 2", "UPDATE audit SET actor = 'ann' WHERE seq = 2", 2),
            ("UPDATE audit SET seq = 9 WHERE seq = 3", "UPDATE audit SET seq = 3 WHERE seq = 9", 3),
            ("UPDATE audit SET address = '' WHERE seq = 4", "UPDATE audit SET address = '192.0.2.7' WHERE seq = 4", 4),
            ("UPDATE audit SET fields = 'x' WHERE seq = 4", "UPDATE audit SET fields = '' WHERE seq = 4", 4),
            ("UPDATE audit SET version_before = 1 WHERE seq = 1", "UPDATE audit SET version_before = 0 WHERE seq = 1", 1),
            ("UPDATE audit SET form = 1 WHERE seq = 1", "UPDATE audit SET form = 2 WHERE seq = 1", 1),
            ("UPDATE audit SET form = 3 WHERE seq = 1", "UPDATE audit SET form = 2 WHERE seq = 1", 1),
            ("UPDATE audit SET item = '', detail = '4' WHERE seq = 5", "UPDATE audit SET item = '4', detail = '' WHERE seq = 5", 5),
        ] {
            sqlx::query(edit).execute(&registry.db.reader).await.unwrap();
            assert_eq!(registry.audit_verify().await.unwrap().broken_at, Some(broken), "{edit}");
            sqlx::query(back).execute(&registry.db.reader).await.unwrap();
            assert_eq!(registry.audit_verify().await.unwrap().broken_at, None);
        }
        sqlx::query("DELETE FROM audit WHERE seq = 5").execute(&registry.db.reader).await.unwrap();
        assert_ne!(registry.audit_verify().await.unwrap().head, head, "a cut end shows in the head");
    }

    /// Entries that a program before addresses and changes has made, by its own hashes.
    async fn old_entries_fit_and_new_ones_follow_them(registry) {
        let insert = "INSERT INTO audit (seq, at, actor, brand, action, kind, item, detail, hash) \
            VALUES ($1, $2, 'admin key of the environment', 0, 'create', $3, '1', $4, $5)";
        for (seq, at, kind, detail, hash) in [
            (1_i64, 1795410996193_i64, "brand", "", "7f1bf1f96e90b93bea5aad6e6cdbe9bac92d79999a979ff5b36944cb2d4cc673"),
            (2, 1795410996211, "segment", "version 1 f5f0ff8f1817b190de36: s", "748a80e716a07ee5c7a09336e2a17877858080c4d5a1f05ea1f1d6f0246799ec"),
        ] {
            let query = sqlx::query(insert).bind(seq).bind(at).bind(kind).bind(detail).bind(hash);
            query.execute(&registry.db.reader).await.unwrap();
        }
        make(&registry, SEGMENT, &item("new", 0)).await.unwrap();
        let verdict = registry.audit_verify().await.unwrap();
        assert_eq!((verdict.entries, verdict.broken_at), (3, None));
        let entries = registry.audit_list(&all(), &AuditQuery::default(), 10, None).await.unwrap().items;
        let told: Vec<_> = entries.iter().map(|it| (it.form, it.act.from.as_str(), it.act.change.is_some())).collect();
        assert_eq!(told, [(2, "192.0.2.7", true), (1, "", false), (1, "", false)]);
        // What an old entry's hash does not cover is not believed.
        sqlx::query("UPDATE audit SET address = '6.6.6.6' WHERE seq = 1").execute(&registry.db.reader).await.unwrap();
        assert_eq!(registry.audit_verify().await.unwrap().broken_at, Some(1));
    }

    async fn references_hold_and_never_form_a_circle(registry) {
        make(&registry, TAG, &tag("vip")).await.unwrap();
        assert_eq!(make(&registry, SEGMENT, &uses(item("a", 0), "tag", "nobody")).await.unwrap_err(), "reference_unknown");
        let a = make(&registry, SEGMENT, &uses(item("a", 0), "tag", "vip")).await.unwrap();
        let b = make(&registry, SEGMENT, &uses(item("b", 0), "segment", "1")).await.unwrap();
        let c = make(&registry, SEGMENT, &uses(item("c", 0), "segment", "2")).await.unwrap();
        assert_eq!(change(&registry, a.id, uses(item("a", 0), "segment", "3")).await.unwrap_err(), "reference_circle");
        assert_eq!(change(&registry, a.id, uses(item("a", 0), "segment", "1")).await.unwrap_err(), "reference_circle");
        let users = registry.resource_uses(&all(), "tag", "vip").await.unwrap();
        assert_eq!(users.iter().map(|item| item.id).collect::<Vec<_>>(), [a.id]);
        let refused = registry.resource_delete(author(&all(), "ann"), SEGMENT, b.id, None).await.unwrap_err();
        assert_eq!(refused.to_string(), "it is used by segment 3 (c)");
        // A tag's rule may use a segment as well: circles through two kinds.
        let change_tag = ItemChange::Whole(uses(tag("vip"), "segment", "3"));
        let refused = registry.resource_update(author(&all(), "ann"), TAG, 1, None, &change_tag).await.unwrap_err();
        assert_eq!(refused.code(), "reference_circle");
        for id in [c.id, b.id, a.id] {
            registry.resource_delete(author(&all(), "ann"), SEGMENT, id, None).await.unwrap();
        }
        assert_eq!(registry.resource_uses(&all(), "tag", "vip").await.unwrap(), []);
    }

    async fn brands_see_and_use_only_their_own_and_the_groups(registry) {
        let group = make(&registry, SEGMENT, &item("group", 0)).await.unwrap();
        let north = make(&registry, SEGMENT, &item("north", 1)).await.unwrap();
        let south = make(&registry, SEGMENT, &item("south", 2)).await.unwrap();
        let scope = brand_scope(1);
        let listed = registry.resource_list(&scope, SEGMENT, &ResourceQuery { limit: 10, ..ResourceQuery::default() }).await.unwrap();
        assert_eq!((listed.items.len(), listed.total), (2, 2));
        assert_eq!(registry.resource_get(&scope, SEGMENT, south.id).await.unwrap_err().code(), "not_found");
        for (id, code) in [(south.id, "not_found"), (group.id, "denied")] {
            let change = ItemChange::State("enabled".into());
            let refused = registry.resource_update(author(&scope, "n"), SEGMENT, id, None, &change).await.unwrap_err();
            assert_eq!(refused.code(), code);
            let refused = registry.resource_delete(author(&scope, "n"), SEGMENT, id, None).await.unwrap_err();
            assert_eq!(refused.code(), code);
        }
        let of_south = uses(item("x", 1), "segment", &south.id.to_string());
        let refused = registry.resource_create(author(&scope, "n"), SEGMENT, &of_south).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("there is no segment `{}`", south.id), "it does not learn that it exists");
        let of_brand = uses(item("x", 0), "segment", &north.id.to_string());
        assert_eq!(make(&registry, SEGMENT, &of_brand).await.unwrap_err(), "reference_unknown");
        let of_group = uses(item("x", 1), "segment", &group.id.to_string());
        registry.resource_create(author(&scope, "n"), SEGMENT, &of_group).await.unwrap();
        assert_eq!(make(&registry, SEGMENT, &item("north", 1)).await.unwrap_err(), "name_taken");
    }

    async fn lists_filter_sort_search_and_page(registry) {
        for (at, (name, size)) in [("Gold 100%", 30), ("gold", 10), ("Silver_x", 20), ("白金", 20)].into_iter().enumerate() {
            let mut new = item(name, 0);
            new.folder = if at < 2 { "a/b".into() } else { "a".into() };
            new.fields = vec![("size", Word::Number(size)), ("sort", Word::Text(format!("s{size}")))];
            new.search = vec!["Note".into()];
            make(&registry, SEGMENT, &new).await.unwrap();
        }
        let check = async |query: ResourceQuery, expected: &[i64]| {
            for limit in [1, 3, 10] {
                let mut query = ResourceQuery { limit, ..query.clone() };
                let mut ids = Vec::new();
                loop {
                    let listed = registry.resource_list(&all(), SEGMENT, &query).await.unwrap();
                    assert_eq!(listed.total, expected.len() as u64);
                    ids.extend(listed.items.iter().map(|item| item.id));
                    query.cursor = listed.next_cursor;
                    if query.cursor.is_none() { break; }
                }
                assert_eq!(ids, expected, "{query:?}");
            }
        };
        let search = |text: &str| ResourceQuery { search: Some(text.into()), ..ResourceQuery::default() };
        let sort = |column, down| ResourceQuery { sort: Some((column, down)), ..ResourceQuery::default() };
        let filter = |column, test| ResourceQuery { filters: vec![Filter { column, test }], ..ResourceQuery::default() };
        check(search("GOLD note"), &[1, 2]).await;
        check(search("100%"), &[1]).await;
        check(search("_x"), &[3]).await;
        check(search("白"), &[4]).await;
        check(sort(Column::Number("size"), true), &[1, 4, 3, 2]).await;
        check(sort(Column::Text("sort"), false), &[2, 3, 4, 1]).await;
        check(sort(Column::Number("none"), false), &[1, 2, 3, 4]).await;
        check(filter(Column::Number("size"), Test::AtLeast(Word::Number(20))), &[1, 3, 4]).await;
        check(filter(Column::Text("sort"), Test::In(vec![Word::Text("s10".into()), Word::Text("s30".into())])), &[1, 2]).await;
        check(filter(Column::Folder, Test::StartsWith("a/".into())), &[1, 2]).await;
        check(filter(Column::Name, Test::StartsWith("g".into())), &[2]).await;
        check(filter(Column::State, Test::In(vec![])), &[]).await;
        check(filter(Column::Created, Test::AtMost(Word::Number(999))), &[]).await;
        let folders = registry.resource_folders(&all(), SEGMENT).await.unwrap();
        assert_eq!(folders, [("a".to_owned(), 2), ("a/b".to_owned(), 2)]);
        let query = ResourceQuery { cursor: Some("nonsense!".into()), ..ResourceQuery::default() };
        assert_eq!(registry.resource_list(&all(), SEGMENT, &query).await.unwrap_err().code(), "cursor_form");
    }

    async fn an_import_is_all_or_nothing(registry) {
        make(&registry, TAG, &tag("a")).await.unwrap();
        let row = |known: Option<(i64, i64)>, new: NewItem| ImportRow { known, new, alias: String::new() };
        let run = async |rows: &[ImportRow], dry: bool| -> Vec<String> {
            let done = registry.resource_import(author(&all(), "ann"), TAG, rows, dry).await.unwrap();
            done.into_iter().map(|row| match row {
                Ok(row) => format!("{} {:?}", row.item.id, row.outcome),
                Err(error) => error.code().to_owned(),
            }).collect()
        };
        let renamed = NewItem { name: "other".into(), ..tag("a") };
        let rows = [
            row(Some((1, 1)), renamed.clone()),
            row(None, uses(tag("c"), "tag", "nobody")),
            row(None, tag("b")),
            row(None, tag("a")),
            row(Some((1, 1)), tag("a")),
        ];
        // Each is refused for itself, and nothing of a refused one stays in the way of the next.
        assert_eq!(run(&rows, false).await, ["1 Changed", "reference_unknown", "2 Created", "name_taken", "conflict"]);
        assert_eq!(registry.resource_all(&all(), TAG).await.unwrap().len(), 1);
        assert_eq!(registry.resource_get(&all(), TAG, 1).await.unwrap().version, 1);
        let rows = [row(Some((1, 1)), tag("a")), row(None, tag("b")), row(None, uses(tag("c"), "tag", "b"))];
        let expected = ["1 Unchanged", "2 Created", "3 Created"];
        for dry in [true, true, false] {
            assert_eq!(run(&rows, dry).await, expected, "a dry run leaves nothing");
        }
        assert_eq!(registry.resource_get(&all(), TAG, 1).await.unwrap().version, 1, "nothing changed, no version");
    }
}

on_both! {
    async fn list_entries_are_kept_once_found_later_and_forgotten(registry) {
        let key = registry.list_key().await.unwrap();
        assert_eq!(registry.list_key().await.unwrap(), key);
        let entry = |number: u32, ident: Option<u32>| {
            let mut print = [0; 16];
            print[12..].copy_from_slice(&number.to_be_bytes());
            ListEntry { print, ident: ident.map(crate::model::IdentNo), line: 5_000 - number }
        };
        let nine = crate::model::IdentNo(9);
        let many: Vec<ListEntry> = (0..1_234).map(|number| entry(number, None)).collect();
        assert_eq!(registry.list_entry_add(1, &many).await.unwrap().len(), 1_234);
        let again = [entry(7, Some(1)), entry(2_000, Some(5))];
        assert_eq!(registry.list_entry_add(1, &again).await.unwrap(), [again[1].print], "each once, the first stays");
        registry.list_entry_add(2, &many[..3]).await.unwrap();
        let found = [(many[2].print, nine), ([9; 16], nine)];
        assert_eq!(registry.list_entry_found(&found).await.unwrap(), [(1, nine), (2, nine)]);
        assert_eq!(registry.list_entry_found(&found).await.unwrap(), []);
        let mut read = Vec::new();
        loop {
            let page = registry.list_entry_page(1, read.last().map(|it: &ListEntry| it.print), 500).await.unwrap();
            if page.is_empty() { break; }
            read.extend(page);
        }
        assert_eq!(read.len(), 1_235);
        assert_eq!((read[2], read[7]), (entry(2, Some(9)), entry(7, None)));
        let mut waiting = Vec::new();
        loop {
            let page = registry.list_entry_waiting_page(2, waiting.last().copied(), 1).await.unwrap();
            if page.is_empty() { break; }
            waiting.extend(page);
        }
        assert_eq!(waiting, [(4_999, many[1].print), (5_000, many[0].print)], "in the order of the upload");
        let prints = [many[2].print, [9; 16]];
        assert_eq!(registry.list_entry_lists(&prints, &[1, 2, 3]).await.unwrap(), [1, 2]);
        assert_eq!(registry.list_entry_lists(&prints[1..], &[1, 2, 3]).await.unwrap(), Vec::<i64>::new());
        // One that somebody has, by its number; one that nobody has, by its print.
        assert_eq!(registry.list_entry_forget(&[nine], &[many[1].print]).await.unwrap(), [1, 2]);
        assert_eq!(registry.list_entry_forget(&[nine], &[many[1].print]).await.unwrap(), Vec::<i64>::new());
        registry.list_looked_begin(2, 40).await.unwrap();
        registry.list_looked_begin(2, 50).await.unwrap();
        assert_eq!((registry.list_looked(1).await.unwrap(), registry.list_looked(2).await.unwrap()), (0, 40));
        registry.list_looked_advance(&[1, 2], 70).await.unwrap();
        registry.list_looked_advance(&[2], 60).await.unwrap();
        assert_eq!(registry.list_looked(2).await.unwrap(), 70);
        registry.list_entry_clear(1).await.unwrap();
        assert_eq!(registry.list_entry_page(1, None, 10).await.unwrap(), []);
        let left = registry.list_entry_page(2, None, 10).await.unwrap();
        assert_eq!(left, [many[0]]);
    }

    async fn broken_off_building_is_kept_until_the_next_body(registry) {
        make(&registry, SEGMENT, &item("one", 0)).await.unwrap();
        let cancel = async |version, yes| registry.resource_cancelled(&all(), SEGMENT, 1, version, yes).await.unwrap();
        let state = async || {
            let item = registry.resource_get(&all(), SEGMENT, 1).await.unwrap();
            (item.building(), item.cancelled())
        };
        assert!(!cancel(7, true).await, "not the newest");
        assert!(cancel(1, true).await);
        assert!(!cancel(1, true).await, "it is");
        assert_eq!(state().await, (false, true));
        assert!(cancel(1, false).await);
        assert_eq!(state().await, (true, false));
        cancel(1, true).await;
        let mut new = item("one", 0);
        new.body = r#"{"rule":2}"#.into();
        registry.resource_update(author(&all(), "ann"), SEGMENT, 1, None, &ItemChange::Whole(new)).await.unwrap();
        assert_eq!(state().await, (true, false));
    }
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_with_its_field() {
    let folder = tempfile::tempdir().unwrap();
    let registry = file_registry(&folder).await;
    let check = async |edit: fn(&mut NewItem), field: &str| {
        let mut new = tag("fine");
        edit(&mut new);
        match registry
            .resource_create(author(&all(), "ann"), TAG, &new)
            .await
        {
            Err(RegistryError::Invalid { field: found, .. }) => assert_eq!(found, field),
            other => panic!("{field}: {other:?}"),
        }
    };
    check(|new| new.name = " ".into(), "name").await;
    check(|new| new.code = String::new(), "code").await;
    check(|new| new.code = "a b".into(), "code").await;
    check(|new| new.folder = "a//b".into(), "folder").await;
    check(|new| new.folder = "/a".into(), "folder").await;
    check(|new| new.body = "[]".into(), "body").await;
}

#[tokio::test]
async fn two_edits_of_one_version_never_both_win() {
    let folder = tempfile::tempdir().unwrap();
    let registry = file_registry(&folder).await;
    make(&registry, SEGMENT, &item("one", 0)).await.unwrap();
    let edits = (0..8).map(|_| {
        let registry = registry.clone();
        tokio::spawn(async move {
            let change = ItemChange::State("enabled".into());
            registry
                .resource_update(author(&all(), "x"), SEGMENT, 1, Some(1), &change)
                .await
                .is_ok()
        })
    });
    let mut won = 0;
    for edit in edits.collect::<Vec<_>>() {
        won += u32::from(edit.await.unwrap());
    }
    assert_eq!(won, 1);
}
