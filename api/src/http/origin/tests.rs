use super::*;

#[test]
fn only_a_trusted_proxys_word_counts() {
    for (peer, lines, expected) in [
        ("203.0.113.9", &[][..], "203.0.113.9"),
        // A stranger may write what it likes.
        ("203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
        // What the caller sent stands before what the proxy appended.
        ("10.0.0.1", &["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", &["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
        (
            "10.0.0.1",
            &["6.6.6.6,198.51.100.1, 10.0.0.2"],
            "198.51.100.1",
        ),
        ("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
        ("10.0.0.1", &["2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", &["6.6.6.6, unknown"], "10.0.0.1"),
        ("10.0.0.1", &[""], "10.0.0.1"),
        ("10.0.0.1", &[], "10.0.0.1"),
        // All of it is ours: the farthest.
        ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        // An address of the internet that leads to one of ours is not ours.
        ("2002:a00:1::1", &["198.51.100.1"], "2002:a00:1::1"),
        ("::ffff:10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1"),
    ] {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&X_FORWARDED_FOR, line.parse().unwrap());
        }
        let trusted = "10.0.0.0/8".parse().unwrap();
        let found = behind(peer.parse().unwrap(), &headers, &trusted);
        assert_eq!(found.to_string(), expected, "{peer} {lines:?}");
    }
}
