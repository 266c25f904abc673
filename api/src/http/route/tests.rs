use std::collections::BTreeSet;

use crate::routes;

/// The table in the repository; `UPDATE_GOLDEN=1` writes it anew. Whoever adds a route reads here what it allows.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/route_table.txt");

#[test]
fn the_route_table_is_as_reviewed() {
    let table = routes::all().table();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &table).unwrap();
    }
    let reviewed = std::fs::read_to_string(GOLDEN).unwrap_or_default();
    assert_eq!(table, reviewed, "review it, then run with UPDATE_GOLDEN=1");
}

#[test]
fn only_these_paths_need_no_key() {
    let open: BTreeSet<_> = routes::all()
        .iter()
        .filter(|route| route.permission == super::Permission::Public)
        .map(|route| route.path)
        .collect();
    assert!(
        open.iter().all(|path| !path.starts_with("/api/")),
        "{open:?}"
    );
}

#[test]
fn whatever_changes_something_says_what_the_audit_chain_hears() {
    use super::{Entry, Permission};
    for route in routes::all().iter() {
        let outside = matches!(
            route.permission,
            Permission::Public | Permission::EventsSend
        );
        let read = route.method == axum::http::Method::GET;
        let said = route.doc.entry != Entry::Unsaid;
        assert!(
            read || outside || said,
            "{} {}: say `enters`, `enters_itself` or `changes_nothing`",
            route.method,
            route.path
        );
        assert!(
            !outside || !said,
            "{}: nobody is known who did it",
            route.path
        );
    }
}

#[test]
fn openapi_lists_every_route_once() {
    let routes = routes::all();
    let document = serde_json::to_value(crate::openapi::document(&routes)).unwrap();
    let mut ids = BTreeSet::new();
    for route in routes.iter() {
        let method = route.method.as_str().to_ascii_lowercase();
        let operation = &document["paths"][route.path][&method];
        let id = operation["operationId"].as_str();
        let id = id.unwrap_or_else(|| panic!("{method} {} is missing", route.path));
        assert!(ids.insert(id.to_owned()), "{id} twice");
        assert!(
            operation["summary"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
    }
    let listed: usize = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|path| path.as_object().unwrap().len())
        .sum();
    assert_eq!(listed, routes.iter().count());
}

#[test]
fn every_reference_in_openapi_leads_somewhere() {
    let document = crate::openapi::document(&routes::all());
    let text = serde_json::to_string(&document).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(!document["components"]["schemas"][name].is_null(), "{name}");
    }
}

#[test]
fn each_list_in_openapi_says_what_it_is_a_list_of() {
    let document = serde_json::to_value(crate::openapi::document(&routes::all())).unwrap();
    let schemas = &document["components"]["schemas"];
    let resolve = |schema: &serde_json::Value| match schema["$ref"].as_str() {
        Some(place) => schemas[place.rsplit('/').next().unwrap()].clone(),
        None => schema.clone(),
    };
    let answer = |path: &str, method: &str| {
        resolve(
            &document["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"],
        )
    };
    let has = |schema: &serde_json::Value, field: &str| !schema["properties"][field].is_null();
    for (path, own) in [
        ("/api/v1/members", "identifiers"),
        ("/api/v1/jobs", "started"),
        ("/api/v1/conflicts", "reason"),
        ("/api/v1/sources", "id_space"),
    ] {
        let item = resolve(&answer(path, "get")["properties"]["items"]["items"]);
        assert!(has(&item, own), "{path}: {item}");
    }
    for (path, own) in [
        ("/api/v1/segments", "rule"),
        ("/api/v1/tags", "calculation"),
    ] {
        let written = answer(path, "post");
        let made = resolve(&written["allOf"][0]);
        let body = resolve(&made["allOf"][0]);
        assert!(has(&body, own), "{path}: {written} {made} {body}");
        let item = resolve(&answer(path, "get")["properties"]["items"]["items"]);
        assert!(has(&resolve(&item["allOf"][0]), own), "{path}: {item}");
    }
}

#[test]
fn reads_of_the_api_take_after_and_writes_answer_a_token() {
    for route in routes::all().iter() {
        let api = route.path.starts_with("/api/v1/");
        let get = route.method == axum::http::Method::GET;
        // Questions whose body is too long for a URL are posted, and resources are held against what others have just
        // defined.
        use axum::http::Method;
        let posted = [Method::POST, Method::PATCH].contains(&route.method);
        assert!(!route.doc.reads || get || posted, "{}", route.path);
        assert!(!route.doc.writes || !get, "{}", route.path);
        assert!(api || !route.doc.reads, "{}", route.path);
    }
}
