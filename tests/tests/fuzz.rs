//! Hostile bytes, as property tests in every run. `tests/fuzz` feeds the same entry points with coverage guidance.
//!
//! Bytes are not only random: mostly they are real documents with a few bytes changed, which get deeper.

use proptest::prelude::*;
use tests::hostile;

/// Documents that are right; mutation starts from them.
const SEEDS: &[&str] = &[
    r#"{"batch":[{"type":"track","event":"Order Completed","userId":"u1","anonymousId":null,"messageId":"m1","properties":{"order_id":"E1","total":12.5,"currency":"CNY","products":[{"product_id":"S1","quantity":2,"price":6.25}]},"timestamp":"2026-11-22T09:50:41.080+00:00"}],"sentAt":"2026-11-22T09:50:41.580103+00:00","writeKey":"WK1"}"#,
    r#"{"type":"identify","userId":"u1","context":{"traits":{"phone":"13800000000","email":"A@b.cn"}},"originalTimestamp":"2026-11-22T09:50:41Z"}"#,
    r#"{"specversion":"1.0","id":"1","source":"/s","type":"tributary.order.paid","time":"2026-11-22T09:50:41Z","data":{"order_id":"E1","total":"12.50","identifiers":["phone:13800000000"]}}"#,
    r#"[{"message_id":"s-1","code":"https://t.cn/01/06901234567892/21/A1","role":"consumer","identifiers":["openid@wxabc:o1"],"place":{"lat":31.23,"lon":121.47,"datum":"gcj02","accuracy_m":30}}]"#,
    r#"{"message_id":"o-1","type":"order","time":"2026-11-22T09:50:41+08:00","identifiers":["phone:13800000000",{"kind":"openid","scope":"wxabc","value":"o1"}],"order":{"order_id":"E1","shop":"tmall-1","status":"paid","currency":"CNY","total":"12.50","lines":[{"line_id":"1","sku":"S1","quantity":2,"unit_price":"6.25"}]}}"#,
    r#"[{"type":"track","event":"ViewProduct","time":1795341141180,"_track_id":626441180,"_flush_time":1795341141990,"distinct_id":"oOPENID1","anonymous_id":"oOPENID1","identities":{"$identity_mp_id":"1795","$identity_mp_wxabc_openid":"oOPENID1"},"properties":{"price":1.5,"at":"2026-11-22 10:00:00.7"}}]"#,
    "data_list=W3sidHlwZSI6Iml0ZW1fc2V0IiwidGltZSI6MSwiaXRlbV90eXBlIjoic2t1IiwiaXRlbV9pZCI6IlMxIn1d&gzip=0&ext=crc%3D1",
    "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n536365,85123A,\"WHITE, \"\"HEART\"\"\",6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom\n",
    r#"<worksheet><sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>InvoiceNo</t></is></c><c r="B1" t="s"><v>0</v></c></row><row r="2"><c r="A2"><f>1+1</f><v>2</v></c><c r="XFD2" t="b"><v>1</v></c><c s="1"><v>45000.5</v></c></row></sheetData></worksheet>"#,
    r#"{"a":[[[[[[[[[[1e400,-0,9223372036854775808,"\ud83d\ude00","\u0000"]]]]]]]]]]}"#,
];

/// Rules that are right, in both forms, and properties of an event.
const RULES: &[&str] = &[
    r#"{"and":[{"tag":"level","op":"eq","value":"gold"},{"event":["order","scan"],"where":[{"attr":"lines.total","op":"gt","value":300.5},{"not":{"some":"lines","match":{"attr":"brand","op":"in","value":["A",1,true]}}}],"agg":"sum","field":"total","op":"between","value":[1,2e3],"within":"90d"},{"not":{"event":{"prefix":"sc"},"ago":["13d","7d"]}}]}"#,
    r#"{"or":[{"sequence":[{"event":"scan"},{"event":"order","where":[]}],"within":"7d","lookback":"90d"},{"attr":"joined","op":"gte","value":{"base":"now","shift":[[-1,"mo"],[3,"h"]],"floor":"month"}},{"attr":["home","a.b"],"op":"regex","value":"[a-z]+\\d"},{"random":{"seed":7,"percent":12.5}},{"near":{"lat":31.2,"lon":121.4,"km":5,"of":"last_scan"}},{"segment":"s1"},{"list":"s2"}]}"#,
    r#"tags.level = "gold" and count("order" where total > 300, not brand in ("A", "ｂ") within 90d) >= 2 and not event(prefix "scan" within 24h)"#,
    r#"sequence("scan" where ok = true then "order" within 7d lookback 90d) or joined between date "2026-01-31" + 1mo floor day and now - 7d or (free.`a.b` has all ("x", -1.5) and city starts with "\u4e0a")"#,
    r#"{"a":{"b":"text \ud83d\ude00 \"quoted\"","b":[1,2.50,{"c":null}]},"d":[[],{}]}"#,
];

/// A document with some bytes replaced, removed, doubled or cut.
fn mutated(seeds: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<u16>(), any::<u8>(), 0u8..5);
    (0..seeds.len(), prop::collection::vec(change, 0..12)).prop_map(|(seed, changes)| {
        let mut bytes = seeds[seed].as_bytes().to_vec();
        for (place, byte, kind) in changes {
            let at = usize::from(place) % bytes.len().max(1);
            match kind {
                0 if !bytes.is_empty() => bytes[at] = byte,
                1 if !bytes.is_empty() => drop(bytes.remove(at)),
                2 => bytes.insert(at.min(bytes.len()), byte),
                3 => {
                    let end = (at + usize::from(byte)).min(bytes.len());
                    let again = bytes[at.min(end)..end].to_vec();
                    bytes.extend(again);
                }
                _ => bytes.truncate(bytes.len() - bytes.len() / 8),
            }
        }
        bytes
    })
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![3 => mutated(SEEDS), 1 => prop::collection::vec(any::<u8>(), 0..600)]
}

proptest! {
    #[test]
    fn no_bytes_harm_the_decoders(bytes in bytes()) {
        hostile::decoders(&bytes);
    }

    #[test]
    fn no_bytes_harm_the_readers_of_rules(bytes in mutated(RULES)) {
        hostile::rules(&bytes);
    }

    #[test]
    fn no_bytes_harm_the_readers_of_frames(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        hostile::frames(&bytes);
    }

    #[test]
    fn a_changed_frame_is_never_read_as_another(payload in prop::collection::vec(any::<u8>(), 0..200), at in any::<u16>(), flip in 1u8..) {
        hostile::changed_frame(&payload, usize::from(at), flip);
    }
}

#[test]
fn the_seeds_reach_the_decoders() {
    // If a document were refused at its first byte, everything above would test the refusal only.
    for seed in SEEDS {
        hostile::decoders(seed.as_bytes());
    }
    for rule in RULES {
        hostile::rules(rule.as_bytes());
    }
}

/// Seconds for each decoder of files: `TRIBUTARY_FUZZ_SECONDS`, a minute in CI. One is enough to see that it runs.
fn seconds() -> u64 {
    let told = std::env::var("TRIBUTARY_FUZZ_SECONDS").ok();
    told.and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Feeds a decoder of files for these seconds. Each has a test, so that they run beside each other.
fn for_a_while(name: &str, decoder: fn(&[u8])) {
    use proptest::strategy::ValueTree;
    // The clock only says when to stop.
    let begun = std::time::Instant::now();
    let mut runner = proptest::test_runner::TestRunner::default();
    let mut runs = 0u64;
    while begun.elapsed().as_secs() < seconds() {
        let tree = bytes().new_tree(&mut runner).expect("no filter refuses");
        let bytes = tree.current();
        let survived = std::panic::catch_unwind(|| decoder(&bytes));
        assert!(survived.is_ok(), "{name} fails on {bytes:?}");
        runs += 1;
    }
    println!("{name}: {runs} runs");
}

#[test]
fn csv_and_lines_for_a_while() {
    for_a_while("csv and lines", ingest::fuzz::csv);
}

#[test]
fn guesses_of_mappings_for_a_while() {
    for_a_while("suggest", ingest::fuzz::suggest);
}

#[test]
fn xlsx_for_a_while() {
    for_a_while("xlsx", ingest::fuzz::xlsx);
}

#[test]
fn parquet_for_a_while() {
    for_a_while("parquet", ingest::fuzz::parquet);
}
