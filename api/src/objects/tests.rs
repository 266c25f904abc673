use super::connect;
use super::location::{Allowed, Location};
use super::*;

#[test]
fn names_are_taken_as_they_are_or_refused() {
    for (text, expected) in [
        ("s3://crm-files/a.csv", Some(("crm-files", "a.csv"))),
        (
            "s3://crm-files/2026/订单 1%20#?.csv",
            Some(("crm-files", "2026/订单 1%20#?.csv")),
        ),
        ("s3://crm-files/in/", Some(("crm-files", "in/"))),
        ("s3://crm-files", Some(("crm-files", ""))),
        ("https://crm-files/a", None),
        ("s3://", None),
        ("s3:///a", None),
        ("s3://ab/a", None),
        ("s3://Crm/a", None),
        ("s3://crm..files/a", None),
        ("s3://-crm/a", None),
        // Would become another host where the bucket is a part of it.
        ("s3://evil.example:80/a", None),
        ("s3://evil@example/a", None),
        ("s3://evil#/a", None),
        ("s3://crm-files/a//b", None),
        ("s3://crm-files/../b", None),
        ("s3://crm-files/./b", None),
        ("s3://crm-files//", None),
        ("s3://crm-files/a\nb", None),
    ] {
        let found = Location::parse(text).ok();
        let found = found.as_ref().map(|it| (&*it.bucket, &*it.key));
        assert_eq!(found, expected, "{text}");
    }
    assert!(Location::parse(&format!("s3://crm/{}", "x".repeat(1_024))).is_ok());
    assert!(Location::parse(&format!("s3://crm/{}", "x".repeat(1_025))).is_err());
    assert!(Location::parse_one("s3://crm/a/").is_err());
    assert!(Location::parse_one("s3://crm/*.csv").is_err());
    assert!(Location::parse_folder("s3://crm/a").is_err());
    assert!(Location::parse_folder("s3://crm").is_ok());
}

#[test]
fn patterns_mean_the_objects_of_one_folder() {
    for (pattern, name, expected) in [
        ("s3://crm/in/", "in/a.csv", true),
        ("s3://crm/in/", "in/deep/a.csv", false),
        ("s3://crm", "a.csv", true),
        ("s3://crm/in/*.csv", "in/a.csv", true),
        ("s3://crm/in/*.csv", "in/a.csv.gz", false),
        ("s3://crm/in/a*b*c", "in/a-b-b-c", true),
        ("s3://crm/in/a*b*c", "in/a-c", false),
        ("s3://crm/in/ab*ba", "in/aba", false),
        ("s3://crm/in/*", "other/a", false),
    ] {
        let pattern = Location::parse(pattern).unwrap();
        let one = Location::parse(&format!("s3://crm/{name}")).unwrap();
        assert!(pattern.is_many());
        assert_eq!(pattern.matches(&one), expected, "{pattern} {one}");
    }
}

#[test]
fn only_what_the_operator_lists_is_named() {
    let allowed: Allowed = "crm-files, exports/tributary/".parse().unwrap();
    for (name, expected) in [
        ("s3://crm-files/a", true),
        ("s3://exports/tributary/a", true),
        ("s3://exports/tributary2/a", false),
        ("s3://exports/a", false),
        ("s3://crm-files2/a", false),
    ] {
        let location = Location::parse(name).unwrap();
        assert_eq!(allowed.check(&location).is_ok(), expected, "{name}");
    }
    assert!("crm_files".parse::<Allowed>().is_err());
    assert!("exports/tributary".parse::<Allowed>().is_err());
    let all: Allowed = "".parse().unwrap();
    assert!(all.check(&Location::parse("s3://any/a").unwrap()).is_ok());
}

fn settings(endpoint: &str) -> Settings {
    Settings {
        endpoint: Some(endpoint.to_owned()),
        region: "us-east-1".into(),
        credentials: Credentials::Keys {
            id: "id".into(),
            secret: "canary".into(),
            token: None,
        },
        allow_http: true,
        path_style: true,
        allowed: Allowed::default(),
        spool_bytes_max: 1_000,
    }
}

#[test]
fn secrets_are_not_printed() {
    assert!(!format!("{:?}", settings("http://127.0.0.1:1")).contains("canary"));
    assert!(connect::bucket(&settings("http://127.0.0.1:1"), "crm", Patience::Asked).is_ok());
}

/// A server that answers every request alike, and how often it was asked.
fn server(answer: &'static str) -> (String, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::sync::Arc::<std::sync::atomic::AtomicUsize>::default();
    let count = asked.clone();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let mut lines = BufReader::new(&client).lines();
            while lines
                .next()
                .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
            {}
            let _ = (&client).write_all(answer.as_bytes());
        }
    });
    (base, asked)
}

/// What looking at an object of a server comes to.
fn look(base: &str) -> ObjectError {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let location = Location::parse("s3://crm-files/a.csv").unwrap();
    let object = Object::open(Some(&settings(base)), &location, Patience::Asked).unwrap();
    runtime.block_on(object.look()).unwrap_err()
}

#[test]
fn a_redirect_leads_nowhere() {
    let (other, asked) = server("HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 0\r\n\r\n");
    let answer = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: {other}/crm-files/a.csv\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let (base, _) = server(answer.leak());
    let error = look(&base);
    assert!(
        matches!(error, ObjectError::WrongEndpoint { .. }),
        "{error:?}"
    );
    let count = asked.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(count, 0, "the other host was asked");
}

#[test]
fn what_a_store_says_is_told_in_our_words() {
    use actors::model::Fault;
    for (answer, code) in [
        (
            "HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n<Error><Code>SignatureDoesNotMatch</Code></Error>",
            "object_denied",
        ),
        (
            "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n<Error><Code>NoSuchBucket</Code></Error>",
            "bucket_missing",
        ),
        (
            "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n<Error><Code>NoSuchKey</Code></Error>",
            "object_missing",
        ),
        (
            "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n<html>",
            "object_endpoint",
        ),
        (
            "HTTP/1.1 301 Moved\r\nConnection: close\r\n\r\n<Error><Code>PermanentRedirect</Code></Error>",
            "object_endpoint",
        ),
        (
            "HTTP/1.1 503 Slow Down\r\nConnection: close\r\n\r\n<Error><Code>SlowDown</Code></Error>",
            "object_store_unreachable",
        ),
        ("SSH-2.0-none\r\n", "object_store_unreachable"),
    ] {
        let (base, _) = server(answer);
        let error = look(&base);
        assert_eq!(error.code(), code, "{answer}: {error}");
        assert!(!error.to_string().contains("canary"));
    }
}
