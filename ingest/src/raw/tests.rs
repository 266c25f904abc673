use super::*;

fn sample() -> RawRecord {
    RawRecord {
        source: SourceId(7),
        id_space: IdSpace(0),
        brand: BrandId(300),
        test: true,
        received: Time(1_795_341_041_080),
        clock_offset_ms: -1500,
        protocol: Protocol::Segment,
        decoder: 1,
        kind: Some(EventKind::Track),
        lone_surrogate: false,
        orders: OrderDefaults {
            currency: Currency::CNY,
            shop: "tmall".into(),
        },
        message_id: "m-1".into(),
        verdict: Verdict::Rejected(Reject::at(RejectCode::TimeForm, "timestamp", "no time")),
        body: Bytes::from_static(b"{\"a\":1}"),
        shared: Some(Bytes::from_static(b"{}")),
    }
}

/// What version 1 looks like on disk. If this fails, stored records cannot be read any more: write version 2 instead.
#[test]
fn the_bytes_of_version_1_stay() {
    let record = sample();
    let hex: String = record
        .envelope()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(
        hex,
        "011b0101010700ac02f0f6d1aac068b717434e5905746d616c6c0f"
    );
    assert_eq!(
        record.personal(),
        b"\x03m-1\x07no time\x09timestamp\x02{}{\"a\":1}"
    );
}

#[test]
fn parts_read_back() {
    let rejected = sample();
    let accepted = RawRecord {
        verdict: Verdict::Accepted,
        shared: None,
        kind: None,
        test: false,
        lone_surrogate: true,
        received: Time(i64::MIN),
        clock_offset_ms: i64::MAX,
        body: Bytes::new(),
        ..sample()
    };
    for record in [rejected, accepted] {
        let personal = Bytes::from(record.personal());
        assert_eq!(
            RawRecord::from_parts(&record.envelope(), &personal),
            Ok(record)
        );
    }
}

#[test]
fn the_envelope_holds_nothing_personal() {
    let envelope = sample().envelope();
    for secret in [&b"m-1"[..], b"no time", b"timestamp", b"\"a\""] {
        assert!(
            !envelope
                .windows(secret.len())
                .any(|window| window == secret)
        );
    }
}

#[test]
fn damage_and_newer_versions_are_told_apart() {
    let record = sample();
    let (envelope, personal) = (record.envelope(), Bytes::from(record.personal()));
    assert_eq!(
        RawRecord::from_parts(&[], &personal),
        Err(RawError::Damaged(0))
    );
    assert_eq!(
        RawRecord::from_parts(&[2, 0], &personal),
        Err(RawError::Newer(2))
    );
    for cut in 1..envelope.len() {
        assert_eq!(
            RawRecord::from_parts(&envelope[..cut], &personal),
            Err(RawError::Damaged(1)),
            "cut at {cut}"
        );
    }
    for cut in 0..18 {
        let part = personal.slice(..cut);
        assert_eq!(
            RawRecord::from_parts(&envelope, &part),
            Err(RawError::Damaged(1)),
            "cut at {cut}"
        );
    }
}
