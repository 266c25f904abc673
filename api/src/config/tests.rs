use super::*;

fn layers(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> (tempfile::TempDir, Layers) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tributary.toml");
    std::fs::write(&path, file).unwrap();
    let layers = Layers {
        file: Some((path, true)),
        environment: environment
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect(),
        flags: flags.iter().map(|(k, v)| (*k, v.to_string())).collect(),
    };
    (folder, layers)
}

/// Loads and answers `key: what (allowed)` per mistake.
fn mistakes(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> Vec<String> {
    let (_folder, layers) = layers(file, environment, flags);
    match load(&layers) {
        Ok(_) => Vec::new(),
        Err(ConfigErrors(errors)) => errors
            .iter()
            .map(|e| format!("{}: {}", e.key, e.what))
            .collect(),
    }
}

#[test]
fn defaults_are_valid() {
    let config = load(&Layers::default()).unwrap();
    assert_eq!(config.listen.port(), 8080);
    assert_eq!(config.effective.len(), KEYS.len());
}

#[test]
fn flags_beat_environment_beats_file() {
    let (_folder, layers) = layers(
        "listen = \"127.0.0.1:1\"\npartitions = 16\n[http]\nconnections_max = 10\n",
        &[
            ("TRIBUTARY_LISTEN", "127.0.0.1:2"),
            ("TRIBUTARY_PARTITIONS", "32"),
        ],
        &[("listen", "127.0.0.1:3")],
    );
    let config = load(&layers).unwrap();
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.partitions, Some(32));
    assert_eq!(config.time_zone, None);
    assert_eq!(config.http.connections_max, 10);
    let origin = |name: &str| {
        let (_, value) = config
            .effective
            .iter()
            .find(|(key, _)| key.name == name)
            .unwrap();
        value.origin.to_string()
    };
    assert_eq!(origin("listen"), "--listen");
    assert_eq!(origin("partitions"), "$TRIBUTARY_PARTITIONS");
    assert!(origin("http.connections_max").ends_with("tributary.toml"));
    assert_eq!(origin("log.format"), "default");
}

#[test]
fn all_mistakes_come_at_once() {
    let found = mistakes(
        "lisen = \"x\"\npartitions = 7\n[http]\nconnections_max = 0\n[log]\nformat = [1]\n",
        &[
            ("TRIBUTARY_TIME_ZONE", "Mars/Base"),
            ("TRIBUTARY_NONSENSE", "1"),
            ("PATH", "/bin"),
        ],
        &[("data", "x"), ("listen", "here")],
    );
    assert_eq!(
        found,
        [
            "lisen: there is no such key",
            "log.format: is a TOML array",
            "TRIBUTARY_NONSENSE: there is no such key",
            "listen: `here` is not allowed",
            "time_zone: `Mars/Base` is not allowed",
            "partitions: `7` is not allowed",
            "http.connections_max: `0` is not allowed",
        ]
    );
}

#[test]
fn each_kind_refuses_what_is_wrong() {
    for (key, wrong) in [
        ("listen", "localhost"),
        ("time_zone", "Shanghai"),
        ("partitions", "512"),
        ("manual_clock", "yes"),
        ("lag_events_max", "-1"),
        ("log.format", "xml"),
        ("log.filter", "api=loudly"),
        ("http.body_timeout_s", "3601"),
        ("admin_key", "tk_short"),
        ("admin_key", "tw_0123456789abcdef"),
        ("admin_key", "with spaces in it, quite long"),
        ("registry.url", "mysql://localhost/x"),
    ] {
        assert_eq!(
            mistakes("", &[], &[(key, wrong)]).len(),
            1,
            "{key} = {wrong}"
        );
    }
}

#[test]
fn a_secret_is_not_repeated_in_its_mistake() {
    let found = mistakes("", &[("TRIBUTARY_ADMIN_KEY", "hunter2")], &[]);
    assert_eq!(found, ["admin_key: `the value` is not allowed"]);
}

#[test]
fn a_broken_file_is_one_mistake_with_its_line() {
    let found = mistakes("data = \n", &[], &[]);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("line 1"), "{found:?}");
}

#[test]
fn a_missing_file_matters_only_when_it_was_named() {
    let missing = |required| Layers {
        file: Some(("/nonexistent/tributary.toml".into(), required)),
        ..Layers::default()
    };
    assert!(load(&missing(false)).is_ok());
    assert!(load(&missing(true)).is_err());
}

#[test]
fn variables_that_kubernetes_makes_are_no_mistakes() {
    let links = [
        ("TRIBUTARY_SERVICE_HOST", "10.0.0.1"),
        ("TRIBUTARY_SERVICE_PORT_HTTP", "80"),
        ("TRIBUTARY_PORT", "tcp://10.0.0.1:80"),
        ("TRIBUTARY_PORT_80_TCP_ADDR", "10.0.0.1"),
    ];
    assert!(mistakes("", &links, &[]).is_empty());
}

#[test]
fn a_kafka_cluster_needs_brokers_and_properties_that_the_client_knows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kafka.properties");
    let path = path.to_str().unwrap();
    let with = |properties: &str, more: &str| {
        std::fs::write(path, properties).unwrap();
        format!("[kafka]\nproperties = {path:?}\n{more}")
    };
    let brokers = "brokers = \"k-1:9092,k-2:9092\"\n";
    assert!(mistakes(&with("client.id=crm\n", brokers), &[], &[]).is_empty());
    let cases = [
        (
            with("", "brokers = \"k-1\"\n"),
            "kafka.brokers: `k-1` is not allowed".to_owned(),
        ),
        (
            with("", "topics = \"a b\"\nbrokers = \"k-1:9092\"\n"),
            "kafka.topics: `a b` is not allowed".to_owned(),
        ),
        (
            with("client.id=crm", ""),
            "kafka.properties: there are no brokers".to_owned(),
        ),
        (
            with("\nsasl.pasword=canary", brokers),
            format!("kafka.properties: {path}: line 2: sasl.pasword: "),
        ),
    ];
    for (file, expected) in cases {
        let found = mistakes(&file, &[], &[]);
        let told = found.iter().any(|it| it.starts_with(&expected));
        assert!(
            told && !format!("{found:?}").contains("canary"),
            "{found:?}"
        );
    }
    let gone = "[kafka]\nproperties = \"/no/such\"\nbrokers = \"k-1:9092\"\n";
    assert!(mistakes(gone, &[], &[])[0].contains("`/no/such` cannot be read"));
}

#[test]
fn an_object_store_needs_keys_and_says_everything_that_is_missing() {
    let store = |file: &str, environment: &[(&str, &str)]| {
        let (_folder, layers) = layers(file, environment, &[]);
        load(&layers).unwrap().object_store
    };
    assert!(store("", &[("AWS_ACCESS_KEY_ID", "a")]).is_none());
    let ambient = [
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "canary"),
        ("AWS_REGION", "cn-north-1"),
    ];
    let found = store("[object_store]\npath_style = false\n", &ambient).unwrap();
    assert_eq!((&*found.region, found.endpoint), ("cn-north-1", None));
    let file = "[object_store]\nendpoint = \"https://s3.example:9000\"\naccess_key_id = \"b\"\n\
        secret_access_key = \"canary\"\nbuckets = \"crm-files,out/x/\"\n";
    let own = store(file, &ambient).unwrap();
    let keys = crate::objects::Credentials::Keys {
        id: "b".into(),
        secret: "canary".into(),
        token: None,
    };
    assert!(own.credentials == keys, "those of the file win");
    assert!(!format!("{own:?}").contains("canary"));

    let found = mistakes(
        "[object_store]\nendpoint = \"http://s3.example\"\naccess_key_id = \"b\"\nbuckets = \"A_B\"\n",
        &[],
        &[],
    );
    assert_eq!(
        found,
        [
            "object_store.buckets: `A_B` is not allowed",
            "object_store.endpoint: it is not encrypted",
            "object_store.secret_access_key: it is missing",
        ]
    );
    for endpoint in [
        "s3.example",
        "https://a@s3.example",
        "https://s3.example/x",
        "ftp://x",
    ] {
        let file =
            format!("[object_store]\ncredentials = \"anonymous\"\nendpoint = {endpoint:?}\n");
        assert_eq!(mistakes(&file, &[], &[]).len(), 1, "{endpoint}");
    }
    let found = mistakes("[object_store]\nallow_http = true\n", &[], &[]);
    assert_eq!(
        found,
        [
            "object_store.region: there is neither a region nor an endpoint",
            "object_store.access_key_id: there are no access keys",
        ]
    );
}
