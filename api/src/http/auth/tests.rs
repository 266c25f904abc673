use axum::http::HeaderValue;

use super::*;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

#[test]
fn keys_come_from_either_header() {
    for (sent, key) in [
        (&[("authorization", "Bearer tk_1")][..], Some("tk_1")),
        (&[("authorization", "bearer  tk_1 ")], Some("tk_1")),
        (&[("x-api-key", " tk_2 ")], Some("tk_2")),
        (
            &[("authorization", "Basic dGtfMTo="), ("x-api-key", "tk_2")],
            Some("tk_2"),
        ),
        (&[("authorization", "Basic dGtfMTo=")], None),
        (&[("authorization", "tk_1")], None),
        (&[], None),
    ] {
        assert_eq!(api_key(&headers(sent)), key, "{sent:?}");
    }
}

#[test]
fn permissions_read_their_words() {
    let some = Permissions::of(["members.read", "stats.read", "of.a.later.version"]);
    for permission in Permission::ALL {
        let expected = matches!(permission, Permission::MembersRead | Permission::StatsRead);
        assert_eq!(some.has(*permission), expected, "{permission:?}");
        assert!(Permissions::of(["*"]).has(*permission));
        assert!(!Permissions::of([]).has(*permission));
    }
}

#[test]
fn after_is_found_anywhere_in_the_query() {
    assert_eq!(parameter("limit=1&after=1-7", "after="), Some("1-7"));
    assert_eq!(parameter("after=1-7&limit=1", "after="), Some("1-7"));
    assert_eq!(parameter("thereafter=1-7", "after="), None);
    assert_eq!(parameter("", "after="), None);
}

#[test]
fn roles_name_known_permissions_and_only_admin_has_all() {
    for role in ROLES {
        for word in role.words {
            let known = *word == "*" || Permission::ALL.iter().any(|p| p.as_str() == *word);
            assert!(known, "{}: {word}", role.name);
        }
        let all = Permissions::ALL.within(role.permissions());
        assert_eq!(all, role.name == actors::registry::ADMIN, "{}", role.name);
    }
}
