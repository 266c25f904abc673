use actors::model::{BrandId, Event, IdSpace, OrderStatus, SourceId};

use super::*;
use crate::decode;

fn source() -> SourceInfo {
    SourceInfo {
        id: SourceId(1),
        id_space: IdSpace(0),
        brand: BrandId(0),
        test: false,
        orders: Default::default(),
        sensors: Default::default(),
    }
}

fn online_retail() -> Mapping {
    Mapping::parse(include_str!("../../examples/online_retail.toml"))
        .expect("the shipped mapping is right")
}

/// The traps of the real file: repeated lines, an empty customer, a cancellation, quotes and commas in a name,
/// a price that needs rounding, Windows line ends and a byte order mark.
const RETAIL: &str =
    "\u{feff}InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\r
536365,85123A,\"WHITE \"\"HEART\"\", T-LIGHT\",6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom\r
536365,71053,LANTERN,6,2010-12-01 08:26:00,3.39,17850.0,United Kingdom\r
536365,85123A,\"WHITE \"\"HEART\"\", T-LIGHT\",6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom\r
\r
C536379,D,Discount,-1,2011-07-01T09:41,27.505,14527,United Kingdom\r
536414,22139,,56,12/1/2010 11:52,0,,Ireland\r
536415,X,broken price,1,2010-12-01 08:26:00,\"1,5\",1,France\r
536416,X,too few\r
";

fn rows(text: &str, mapping: &Mapping) -> Vec<Row> {
    Rows::new(text.as_bytes(), mapping, &source(), Time(5))
        .expect("it opens")
        .collect::<Result<_, _>>()
        .expect("it can be read")
}

fn events(rows: &[Row]) -> Vec<Event> {
    rows.iter()
        .filter_map(|row| match row {
            Row::Record(record) => Some(decode(record).expect("rows are checked")),
            Row::Rejected(_) => None,
        })
        .collect()
}

#[test]
fn online_retail_with_its_traps() {
    let rows = rows(RETAIL, &online_retail());
    let events = events(&rows);
    let ids: Vec<_> = events.iter().map(|e| &*e.message_id).collect();
    assert_eq!(
        ids,
        [
            "536365|85123A|0",
            "536365|71053|0",
            "536365|85123A|1",
            "C536379|D|0",
            "536414|22139|0"
        ]
    );
    let first = &events[0];
    assert_eq!(first.identifiers[0].to_string(), "member_card:17850");
    assert_eq!(first.time.rfc3339(), "2010-12-01T08:26:00.000Z");
    assert_eq!(
        first.properties.as_ref().expect("there").as_str(),
        r#"{"country":"United Kingdom"}"#
    );
    let order = first.order.as_ref().expect("an order");
    assert_eq!(
        (&*order.order_id, order.currency.as_str(), order.status),
        ("536365", "GBP", Some(OrderStatus::Completed))
    );
    let line = &order.lines[0];
    assert_eq!(
        (&*line.line_id, &*line.sku, &*line.name),
        ("85123A|0", "85123A", "WHITE \"HEART\", T-LIGHT")
    );
    assert_eq!(
        (line.quantity_milli, line.unit_price.0, line.amount),
        (6000, 2_550_000, 1530)
    );

    let cancelled = events[3].order.as_ref().expect("an order");
    assert_eq!(
        (cancelled.status, cancelled.lines[0].amount),
        (Some(OrderStatus::Cancelled), -2751)
    );
    // July is summer time in London.
    assert_eq!(events[3].time.rfc3339(), "2011-07-01T08:41:00.000Z");
    assert_eq!(events[4].identifiers, []);

    let rejects: Vec<_> = rows
        .iter()
        .filter_map(|row| match row {
            Row::Rejected(reject) => Some((
                reject.row,
                reject.reject.code.as_str(),
                String::from_utf8_lossy(&reject.raw).into_owned(),
            )),
            Row::Record(_) => None,
        })
        .collect();
    assert_eq!(
        rejects,
        [
            (
                6,
                "amount_form",
                "536415,X,broken price,1,2010-12-01 08:26:00,\"1,5\",1,France".to_owned()
            ),
            (7, "row_columns", "536416,X,too few".to_owned()),
        ]
    );
}

#[test]
fn going_on_in_the_middle_gives_the_same_records() {
    let mapping = online_retail();
    let all = rows(RETAIL, &mapping);
    for done in 0..=8 {
        let mut later =
            Rows::new(RETAIL.as_bytes(), &mapping, &source(), Time(5)).expect("it opens");
        later.skip_rows(done).expect("it can be read");
        let rest: Vec<_> = later
            .by_ref()
            .collect::<Result<_, _>>()
            .expect("it can be read");
        assert_eq!(rest, all[(done as usize).min(all.len())..]);
        assert_eq!((later.row(), later.byte()), (7, RETAIL.len() as u64));
    }
}

#[test]
fn jsonl_by_paths_and_as_it_is() {
    let mapping = Mapping::parse(
        r#"
        time_zone = "Asia/Shanghai"
        [file]
        format = "jsonl"
        [event]
        type = "track"
        name_column = "what"
        message_id = ["id"]
        time = "when"
        [[identifiers]]
        kind = "openid"
        scope_column = "wx.app"
        column = "wx.openid"
        [traits]
        since = { column = "since", type = "time" }
        [properties]
        n = { column = "n", type = "number" }
        b = { column = "b", type = "boolean" }
        t = "n"
    "#,
    )
    .expect("right");
    let text = "{\"id\":9007199254740993,\"what\":\"E\",\"when\":\"2026-11-22 17:50:41\",\"wx\":{\"app\":\"wxabc\",\"openid\":\"o1\"},\"n\":1.50,\"b\":true,\"since\":\"2026-01-01\"}\n\n{\"id\":NaN}\n[1]\n{\"id\":1,\"what\":\"E\",\"when\":\"x\"}";
    let rows = rows(text, &mapping);
    let event = events(&rows).remove(0);
    assert_eq!(
        (&*event.message_id, &*event.name),
        ("9007199254740993|0", "E")
    );
    assert_eq!(event.identifiers[0].to_string(), "openid@wxabc:o1");
    assert_eq!(event.time, Time(1_795_341_041_000));
    assert_eq!(
        event.properties.expect("there").as_str(),
        r#"{"b":true,"n":1.50,"t":"1.50"}"#
    );
    assert_eq!(
        event.traits.expect("there").as_str(),
        r#"{"since":"2025-12-31T16:00:00.000Z"}"#
    );
    let codes: Vec<_> = rows
        .iter()
        .filter_map(|row| match row {
            Row::Rejected(reject) => Some((reject.row, reject.reject.code.as_str())),
            Row::Record(_) => None,
        })
        .collect();
    assert_eq!(
        codes,
        [(2, "invalid_json"), (3, "not_an_object"), (4, "time_form")]
    );

    let own = "{\"message_id\":\"1\",\"name\":\"E\",\"identifiers\":[\"phone:1\"]}\n{\"name\":\"E\",\"identifiers\":[\"phone:1\"]}\n";
    let rows: Vec<_> = Rows::own_json(own.as_bytes(), &source(), Time(5))
        .expect("it opens")
        .collect::<Result<_, _>>()
        .expect("it can be read");
    assert!(matches!(&rows[0], Row::Record(record) if &*record.message_id == "1"));
    assert!(
        matches!(&rows[1], Row::Rejected(row) if row.byte == 56 && row.reject.code == RejectCode::FieldMissing),
        "{rows:?}"
    );
}

#[test]
fn all_mistakes_of_a_mapping_are_told_at_once() {
    let errors = Mapping::parse(
        r#"
        time_zone = "Mars/Olympus"
        colour = "red"
        [file]
        format = "xls"
        delimiter = "::"
        [event]
        type = "sale"
        [[identifiers]]
        kind = "Phone"
        [properties]
        a = 1
        b = { column = "b", type = "money", unit = "x" }
        [order]
        status = "gone"
        currency = "pounds"
        [[order.status_when]]
        column = "x"
        status = "paid"
        [order.line]
        skuu = "x"
    "#,
    )
    .expect_err("wrong");
    let mut places: Vec<_> = errors.0.iter().map(|problem| &*problem.place).collect();
    places.sort_unstable();
    assert_eq!(
        places,
        [
            "colour",
            "event.message_id",
            "event.type",
            "file.delimiter",
            "file.format",
            "identifiers[0].column",
            "identifiers[0].kind",
            "order.currency",
            "order.line.skuu",
            "order.order_id",
            "order.status",
            "order.status_when[0].starts_with",
            "properties.a",
            "properties.b.type",
            "properties.b.unit",
            "time_zone",
        ]
    );
    assert!(
        errors
            .to_string()
            .contains("order.line.skuu: unknown key; known are line_id, sku, name")
    );
    assert!(Mapping::parse("a = ").is_err());

    let wrong = Rows::new(
        "InvoiceNo,Stock,Quantity,Quantity\n".as_bytes(),
        &online_retail(),
        &source(),
        Time(0),
    );
    let text = wrong.err().expect("wrong").to_string();
    assert!(
        text.contains(
            "unknown column `StockCode`; the file has: InvoiceNo, Stock, Quantity, Quantity"
        ),
        "{text}"
    );
    assert!(text.contains("column `Quantity` twice"), "{text}");
    assert!(matches!(
        Rows::new(&b""[..], &online_retail(), &source(), Time(0)),
        Err(FileError::Empty)
    ));
}

#[test]
fn a_quote_that_is_never_closed_ends_the_reading() {
    let mut text = RETAIL[..200].to_owned();
    text.push_str("\r\n536365,1,\"open");
    text.push_str(&"x,\n".repeat(2_000_000));
    let last = Rows::new(text.as_bytes(), &online_retail(), &source(), Time(0))
        .expect("it opens")
        .last();
    assert!(
        matches!(last, Some(Err(FileError::RowTooLong { .. }))),
        "{last:?}"
    );
}

#[test]
fn keys_with_separators_stay_apart() {
    let mapping = Mapping::parse("[event]\ntype = \"identify\"\nmessage_id = [\"a\", \"b\"]\n[[identifiers]]\nkind = \"phone\"\ncolumn = \"a\"\n").expect("right");
    let long = "x".repeat(120);
    let text = format!("a;b\n1|2;3\n1;2|3\n1;2|3\n{long};1\n").replace(';', ",");
    let ids: Vec<_> = events(&rows(&text, &mapping))
        .into_iter()
        .map(|e| e.message_id)
        .collect();
    assert_eq!(
        ids[..3],
        ["1%7C2|3|0".into(), "1|2%7C3|0".into(), "1|2%7C3|1".into()]
    );
    assert!(ids[3].starts_with("row-") && ids[3].len() < 100);
}
