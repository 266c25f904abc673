use serde_json::json;

use super::*;

#[test]
fn no_cell_is_a_formula_and_all_come_back() {
    for (text, written) in [
        ("=1+1", "'=1+1"),
        ("+86138", "'+86138"),
        ("-x", "'-x"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("'=1", "''=1"),
        ("'quoted'", "'quoted'"),
        ("plain", "plain"),
        ("a=1", "a=1"),
        ("", ""),
    ] {
        assert_eq!(safe(text), written);
        assert_eq!(plain(&safe(text)), text);
    }
}

#[test]
fn tables_read_back_as_written() {
    let rows = [
        [json!("=cmd|' /C calc'!A0"), json!(-5), json!({"and": []})],
        [json!("a,\"b\"\r\nc"), json!(2.5), json!(true)],
        [json!("中文"), json!(null), json!([1, 2])],
    ];
    let columns = ["text", "number", "other"].map(str::to_owned);
    for format in [SheetFormat::Csv, SheetFormat::Xlsx] {
        let mut sheet = Sheet::new(format, false, &columns).unwrap();
        for row in &rows {
            sheet.row(row.iter().map(Some)).unwrap();
        }
        let (_, bytes) = sheet.finish().unwrap();
        let table = read(&bytes, 10).unwrap();
        assert_eq!(table.head, columns);
        let cells: Vec<Vec<&str>> = table
            .rows
            .iter()
            .map(|row| row.iter().map(|cell| plain(cell)).collect())
            .collect();
        assert_eq!(
            cells,
            [
                ["=cmd|' /C calc'!A0", "-5", "{\"and\":[]}"],
                ["a,\"b\"\r\nc", "2.5", "true"],
                ["中文", "", "[1,2]"],
            ],
            "{format:?}"
        );
        assert_eq!(read(&bytes, 2).unwrap_err().code(), "table_form");
    }
}

#[test]
fn what_is_no_table_is_refused() {
    for bytes in [
        &b"PK\x03\x04 not really"[..],
        b"a,a\n1,2",
        b"a,\n1,2",
        b"\xff\xfe,b\n",
    ] {
        assert_eq!(read(bytes, 10).unwrap_err().code(), "table_form");
    }
    assert_eq!(read(b"", 10).unwrap_err().code(), "body_empty");
}
