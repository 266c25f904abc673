use std::collections::BTreeSet;
use std::path::Path;

use calamine::{Data, Reader, Xlsx, open_workbook};

use super::columns::{COLUMNS_MAX, Column, Known};
use super::row::Cell;
use super::table::Table;
use super::*;

fn head(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

fn number(json: &str) -> Cell {
    Cell::from(serde_json::from_str::<serde_json::Value>(json).unwrap())
}

/// Writes one column.
fn written(path: &Path, format: Format, raw: bool, cells: &[Cell]) -> table::Finished {
    let mut table = Table::create(path, format, raw, &head(&["value", "end"])).unwrap();
    for cell in cells {
        table.row(&[cell.clone(), text("|")]).unwrap();
    }
    table.finish().unwrap()
}

#[test]
fn no_cell_of_a_csv_is_calculated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("members.csv");
    let table = [
        (text("=1+1"), "'=1+1", "=1+1"),
        (text("+8613800000000"), "'+8613800000000", "+8613800000000"),
        (text("-1"), "'-1", "-1"),
        (text("@SUM(A1)"), "'@SUM(A1)", "@SUM(A1)"),
        (text("\t=1"), "'\t=1", "\t=1"),
        (text("\r=1"), "\"'\r=1\"", "\"\r=1\""),
        (text("'=1"), "''=1", "'=1"),
        (text("a\"b,c\n"), "\"a\"\"b,c\n\"", "\"a\"\"b,c\n\""),
        (text("上海"), "上海", "上海"),
        // A number is no formula.
        (number("-5"), "-5", "-5"),
        (number("[\"=1\"]"), "\"[\"\"=1\"\"]\"", "\"[\"\"=1\"\"]\""),
        (Cell::Bool(true), "true", "true"),
        (Cell::Empty, "", ""),
    ];
    let cells: Vec<Cell> = table.iter().map(|(cell, ..)| cell.clone()).collect();
    for raw in [false, true] {
        written(&path, Format::Csv, raw, &cells);
        let mut expected = "\u{feff}value,end\r\n".to_owned();
        for (_, guarded, plain) in &table {
            expected.push_str(if raw { plain } else { guarded });
            expected.push_str(",|\r\n");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    }
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 1, "no part is left");
}

#[test]
fn lines_of_json_keep_every_digit_and_leave_out_what_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("members.jsonl");
    let cells = [
        (text("=1+1"), r#"{"end":"|","value":"=1+1"}"#),
        (text("a\"\n上海"), r#"{"end":"|","value":"a\"\n上海"}"#),
        (
            number("9007199254740993"),
            r#"{"end":"|","value":9007199254740993}"#,
        ),
        (Cell::Bool(false), r#"{"end":"|","value":false}"#),
        (Cell::Empty, r#"{"end":"|"}"#),
    ];
    let values: Vec<Cell> = cells.iter().map(|(cell, _)| cell.clone()).collect();
    written(&path, Format::Jsonl, false, &values);
    let expected: String = cells.iter().map(|(_, line)| format!("{line}\n")).collect();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
}

#[test]
fn cells_of_a_workbook_have_their_type_and_are_never_formulas() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("members.xlsx");
    let long = "长".repeat(40_000);
    let table = [
        (text("=1+1"), Data::String("=1+1".into())),
        (
            text("+8613800000000"),
            Data::String("+8613800000000".into()),
        ),
        (number("-5"), Data::Float(-5.0)),
        (number("12.5"), Data::Float(12.5)),
        (
            number("1000000000000000"),
            Data::String("1000000000000000".into()),
        ),
        (
            number("999999999999999"),
            Data::Float(999_999_999_999_999.0),
        ),
        (Cell::Bool(true), Data::Bool(true)),
        (Cell::Empty, Data::Empty),
        (text(&long), Data::String("长".repeat(32_767))),
    ];
    let cells: Vec<Cell> = table.iter().map(|(cell, _)| cell.clone()).collect();
    let done = written(&path, Format::Xlsx, false, &cells);
    assert_eq!((done.sheets, done.cut), (1, 1));
    let mut book: Xlsx<_> = open_workbook(&path).unwrap();
    let formulas = book.worksheet_formula("members 1").unwrap();
    assert!(formulas.is_empty());
    let range = book.worksheet_range("members 1").unwrap();
    for (at, (_, expected)) in (1..).zip(&table) {
        let found = range.get_value((at, 0)).cloned().unwrap_or(Data::Empty);
        assert_eq!(found, *expected, "row {at}");
    }
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 1, "no temporary file is left");
}

#[test]
fn more_members_make_more_sheets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("members.xlsx");
    for (rows, sheets) in [(0, 1), (3, 1), (4, 2), (7, 3)] {
        let names = head(&["id"]);
        let mut table = Table::with_sheets_of(&path, Format::Xlsx, false, &names, 3).unwrap();
        for row in 0..rows {
            table.row(&[text(&format!("m{row}"))]).unwrap();
        }
        assert_eq!(table.finish().unwrap().sheets, sheets, "{rows} rows");
        let mut book: Xlsx<_> = open_workbook(&path).unwrap();
        let mut found = Vec::new();
        for name in book.sheet_names() {
            let range = book.worksheet_range(&name).unwrap();
            let column: Vec<String> = range.rows().map(|row| row[0].to_string()).collect();
            assert_eq!(column[0], "id", "each sheet has its head");
            found.extend_from_slice(&column[1..]);
        }
        let expected: Vec<String> = (0..rows).map(|row| format!("m{row}")).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn columns_are_checked_all_at_once() {
    let known = Known {
        kinds: vec!["phone".into()],
        attributes: BTreeSet::from(["city".into()]),
        tags: BTreeSet::from(["level".into()]),
    };
    let all = known.all();
    known.check(&all).unwrap();
    for name in &all {
        assert!(Column::parse(name).is_some(), "{name}");
    }
    for name in [
        "identifier.phone",
        "identifiers.other",
        "attribute.city",
        "tag.level",
        "id",
    ] {
        assert!(all.iter().any(|it| it == name), "{name}: {all:?}");
    }
    let wrong = head(&[
        "id",
        "name",
        "attribute.town",
        "tag.gold",
        "id",
        "identifier.order",
        "identifier.",
        "identifier.card",
    ]);
    let refused = known.check(&wrong).unwrap_err();
    assert_eq!(refused.code(), "column_unknown");
    let fields: Vec<String> = refused
        .into_details()
        .into_iter()
        .filter_map(|detail| detail.field)
        .collect();
    let expected = [1, 2, 3, 4, 5, 6].map(|at| format!("columns[{at}]"));
    assert_eq!(fields, expected);
    for names in [Vec::new(), vec!["id".to_owned(); COLUMNS_MAX + 1]] {
        assert!(known.check(&names).is_err());
    }
}

#[test]
fn a_file_is_kept_for_a_day_after_it_is_done() {
    let jobs = Jobs::default();
    let job = |jobs: &Jobs, id| jobs.get(id).unwrap();
    let (id, _) = jobs.start(KIND, "all".into(), Time(0)).unwrap();
    assert_eq!(kept_until(&job(&jobs, id)), None);
    jobs.end(id, Ok("done".into()), Time(5_000));
    assert_eq!(kept_until(&job(&jobs, id)), Some(Time(5_000 + KEPT_MS)));
}
