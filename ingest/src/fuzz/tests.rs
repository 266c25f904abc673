use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Bodies that get deep into each decoder; arbitrary bytes alone rarely pass the first bracket.
const SEEDS: [&str; 8] = [
    r#"{"batch":[{"type":"track","event":"Order Completed","userId":"u","anonymousId":null,"messageId":"m","timestamp":"2026-11-22T09:50:41.080+00:00","properties":{"order_id":1,"total":"1.5","currency":"CNY","products":[{"sku":"s","price":1e2,"quantity":0.5}]},"context":{"device":{"id":"d"},"traits":{"a":"\ud83d"},"externalIds":[{"id":"x","type":"Y","collection":"users"}],"location":{"latitude":1,"longitude":2}}}],"context":{"a":1},"integrations":{"All":false},"sentAt":"2026-11-22T09:50:41Z"}"#,
    r#"{"type":"alias","userId":1,"previousId":"0a1b2c3d-0000-4000-8000-0123456789ab","event":"E","timestamp":1795341041080,"identifiers":["openid@wx:o",{"kind":"phone","value":1}]}"#,
    r#"[{"specversion":"1.0","id":"1","source":"s","type":"tributary.order.paid","subject":"phone:1","time":"2026-11-22","data":{"order_id":"E1","lines":[{"line_id":"1","unit_price":"0.1","quantity":3}]}}]"#,
    r#"{"specversion":"1.0","id":"1","source":"s","type":"tributary.scan.pda","data_base64":"eyJjb2RlIjoiMSJ9"}"#,
    r#"{"code":"C","role":"consumer","time":"2026-11-22 09:50:41","device":"d","place":{"lat":31.2,"lon":"121.4","datum":"bd09","accuracy_m":1}}"#,
    "{\"message_id\":\"1\",\"name\":\"E\",\"identifiers\":[\"phone:1\"],\"properties\":{\"a\":[{}]}}\n{\"order\":{\"order_id\":\"1\",\"total\":9e18}}",
    "536365,85123A,\"A \"\"B\"\", C\",6,2010-12-01 08:26:00,2.55,17850.0,UK\n536365,85123A,,-1,12/1/2010 8:26,1e3,,UK\n",
    "{\"InvoiceNo\":\"1\",\"StockCode\":2,\"Description\":null,\"Quantity\":1.0,\"InvoiceDate\":\"2010-12-01T08:26\",\"UnitPrice\":0,\"CustomerID\":\"\",\"Country\":{\"a\":1}}",
];

/// What a splice puts in.
const PIECES: [&str; 14] = [
    "{", "}", "[", "]", "\"", "\\", ",", ":", "null", "NaN", "-1e999", "\u{0}", "\\ud800", "é",
];

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let splice = (any::<prop::sample::Index>(), 0usize..6, 0..PIECES.len());
    (0..SEEDS.len(), vec(splice, 0..6)).prop_map(|(seed, splices)| {
        let mut bytes = SEEDS[seed].as_bytes().to_vec();
        for (place, remove, piece) in splices {
            let from = place.index(bytes.len() + 1);
            let to = (from + remove).min(bytes.len());
            bytes.splice(from..to, PIECES[piece].bytes());
        }
        bytes
    })
}

fn all(bytes: &[u8]) {
    raw(bytes);
    segment(bytes);
    cloudevents(bytes);
    scan(bytes);
    csv(bytes);
    suggest(bytes);
}

#[test]
fn seeds_and_every_cut_of_them_are_survived() {
    for seed in SEEDS {
        for cut in 0..=seed.len() {
            all(&seed.as_bytes()[..cut]);
        }
    }
    for depth in ["[", "{\"a\":", "{\"batch\":[", "\"\\"] {
        all(depth.repeat(100_000).as_bytes());
    }
}

/// A sheet as programs write it.
const SHEET: &str = r#"<worksheet><dimension ref="A1:H9"/><sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>InvoiceNo</t></is></c><c r="B1" t="s"><v>0</v></c></row><row r="2"><c r="A2"><f>1+1</f><v>2</v></c><c r="XFD2" t="b"><v>1</v></c><c t="e"><v>#N/A</v></c><c s="1"><v>45000.5</v></c></row></sheetData></worksheet>"#;

#[test]
fn every_cut_of_a_sheet_is_survived() {
    for cut in 0..=SHEET.len() {
        xlsx(&SHEET.as_bytes()[..cut]);
    }
    xlsx("<c>".repeat(100_000).as_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(actors::testkit::seeds(100, 1_000).count() as u32))]

    #[test]
    fn damaged_sheets_are_survived(splices in vec((any::<prop::sample::Index>(), 0usize..6, 0..PIECES.len()), 1..6)) {
        let mut bytes = SHEET.as_bytes().to_vec();
        for (place, remove, piece) in splices {
            let from = place.index(bytes.len() + 1);
            let to = (from + remove).min(bytes.len());
            bytes.splice(from..to, PIECES[piece].bytes());
        }
        xlsx(&bytes);
    }

    #[test]
    fn arbitrary_tables_are_survived(bytes in vec(any::<u8>(), 0..400)) {
        parquet(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(actors::testkit::seeds(1_000, 5_000).count() as u32))]

    #[test]
    fn arbitrary_bytes_are_survived(bytes in vec(any::<u8>(), 0..400)) {
        all(&bytes);
    }

    #[test]
    fn arbitrary_text_is_survived(text in "[\\[\\]{}\",:0-9eE.\\\\a-f \n-]{0,200}") {
        all(text.as_bytes());
    }

    #[test]
    fn damaged_requests_are_survived(bytes in mutated()) {
        all(&bytes);
    }

    #[test]
    fn damaged_records_are_survived(flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let admitted = admit(Protocol::Segment, &source(), Request {
            path: "/v1/batch",
            headers: &[],
            received: Time(1_795_341_042_000),
            query: "",
            nonce: 1,
            body: Bytes::from_static(SEEDS[0].as_bytes()),
        }).expect("a good request");
        let record = &admitted.records[0];
        let envelope = record.envelope();
        let mut bytes = vec![envelope.len() as u8];
        bytes.extend([envelope, record.personal()].concat());
        for (place, value) in flips {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        raw(&bytes);
    }

    #[test]
    fn the_strict_reader_agrees_with_another(bytes in mutated()) {
        if let Ok(text) = std::str::from_utf8(&bytes) {
            let ours = crate::json::check(text, crate::json::Bounds::TRACKING);
            let theirs = serde_json::from_str::<serde_json::Value>(text);
            // Half a surrogate pair is JSON by the letter; it is replaced before anybody else reads it.
            let lone = matches!(ours, Ok(found) if found.lone_surrogate);
            prop_assert!(lone || ours.is_ok() == theirs.is_ok(), "{ours:?} {theirs:?} {text}");
        }
    }
}
