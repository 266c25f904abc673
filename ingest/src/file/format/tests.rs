//! The formats, and the table of bad files: each gets a clear answer, none takes the process or its memory along.

use std::io::{Cursor, Read as _, Write};
use std::sync::Arc;

use actors::model::{BrandId, IdSpace, SourceId, Time};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use rust_xlsxwriter::{ExcelDateTime, Format, Formula, Workbook};
use zip::ZipArchive;

use crate::file::{Content, FileError, Mapping, Row, Rows};
use crate::{SourceInfo, limits};

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

/// A mapping of columns `卡号`, `姓名`, `积分`, `时间` with more lines for `[file]`.
fn mapping(file: &str) -> Mapping {
    let text = format!(
        r#"
        time_zone = "Asia/Shanghai"
        [file]
        {file}
        [event]
        type = "identify"
        message_id = ["卡号"]
        time = "时间"
        [[identifiers]]
        kind = "member_card"
        column = "卡号"
        whole_number = true
        [traits]
        name = "姓名"
        points = {{ column = "积分", type = "number" }}
        "#
    );
    Mapping::parse(&text).expect("the mapping is right")
}

/// Rows as short text: the body of events, number and code of rejects, and the error at the end.
fn told(content: impl Into<Content>, mapping: &Mapping) -> Vec<String> {
    let rows = match Rows::new(content, mapping, &source(), Time(5)) {
        Ok(rows) => rows,
        Err(error) => return vec![format!("{error}")],
    };
    rows.map(|row| match row {
        Ok(Row::Record(record)) => String::from_utf8_lossy(&record.body).into_owned(),
        Ok(Row::Rejected(row)) => {
            format!("{} {}: {}", row.row, row.reject.code, row.reject.reason)
        }
        Err(error) => format!("{error}"),
    })
    .collect()
}

const LI: &str = r#"{"message_id":"7|0","type":"identify","time":"2026-11-22T01:50:41.000Z","identifiers":[{"kind":"member_card","value":"7"}],"traits":{"name":"李雷","points":12.5}}"#;

const CSV: &str = "卡号,姓名,积分,时间\n7,李雷,12.5,2026-11-22 09:50:41\n";

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::default());
    writer.write_all(bytes).expect("memory takes it");
    writer.finish().expect("memory takes it")
}

fn xlsx() -> Workbook {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    for (column, name) in ["卡号", "姓名", "积分", "时间"].into_iter().enumerate() {
        sheet.write(0, column as u16, name).expect("it fits");
    }
    let at = ExcelDateTime::parse_from_str("2026-11-22T09:50:41").expect("a time");
    let format = Format::new().set_num_format("yyyy-mm-dd hh:mm:ss");
    sheet.write(1, 0, 7).expect("it fits");
    sheet.write(1, 1, "李雷").expect("it fits");
    sheet.write(1, 2, 12.5).expect("it fits");
    sheet
        .write_with_format(1, 3, &at, &format)
        .expect("it fits");
    book
}

fn parquet(rows: usize) -> Vec<u8> {
    let schema = "message m {
        optional binary 卡号 (UTF8);
        optional binary 姓名 (UTF8);
        optional double 积分;
        required int64 时间 (TIMESTAMP(MICROS,false));
        repeated int64 列表;
    }";
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer =
        SerializedFileWriter::new(Vec::new(), schema, properties).expect("memory takes it");
    // Two groups, so that the reader crosses a border.
    for (first, count) in [(0, rows / 2), (rows / 2, rows - rows / 2)] {
        let mut group = writer.next_row_group().expect("a group");
        let text = |value: String| ByteArray::from(value.into_bytes());
        let mut column = group.next_column().expect("ok").expect("a column");
        let cards: Vec<ByteArray> = (0..count)
            .map(|n| text((7 + first + n).to_string()))
            .collect();
        let there = vec![1; count];
        column
            .typed::<ByteArrayType>()
            .write_batch(&cards, Some(&there), None)
            .expect("ok");
        column.close().expect("ok");
        let mut column = group.next_column().expect("ok").expect("a column");
        let names: Vec<ByteArray> = (0..count).map(|_| text("李雷".into())).collect();
        column
            .typed::<ByteArrayType>()
            .write_batch(&names, Some(&there), None)
            .expect("ok");
        column.close().expect("ok");
        let mut column = group.next_column().expect("ok").expect("a column");
        // Every other one is absent.
        let levels: Vec<i16> = (0..count).map(|n| ((first + n) % 2 == 0).into()).collect();
        let points = vec![12.5; levels.iter().filter(|level| **level == 1).count()];
        column
            .typed::<DoubleType>()
            .write_batch(&points, Some(&levels), None)
            .expect("ok");
        column.close().expect("ok");
        let mut column = group.next_column().expect("ok").expect("a column");
        column
            .typed::<Int64Type>()
            .write_batch(&vec![1_795_341_041_000_000; count], None, None)
            .expect("ok");
        column.close().expect("ok");
        let mut column = group.next_column().expect("ok").expect("a column");
        column
            .typed::<Int64Type>()
            .write_batch(&[], Some(&vec![0; count]), Some(&vec![0; count]))
            .expect("ok");
        column.close().expect("ok");
        group.close().expect("ok");
    }
    writer.into_inner().expect("memory takes it")
}

#[test]
fn the_same_row_in_every_format_and_encoding() {
    let gb18030 = encoding_rs::GB18030.encode(CSV).0.into_owned();
    let mut utf16 = vec![0xff, 0xfe];
    utf16.extend(CSV.encode_utf16().flat_map(u16::to_le_bytes));
    let jsonl = r#"{"卡号":7,"姓名":"李雷","积分":12.5,"时间":"2026-11-22 09:50:41"}"#.as_bytes();
    let blanks = "# title\n卡号  姓名 积分\t时间\r\n  7  李雷   12.5 2026-11-22T09:50:41\r\n";
    let files: [(&str, &str, Vec<u8>); 12] = [
        ("csv", "", CSV.into()),
        ("csv.gz", "", packed(CSV.as_bytes())),
        ("with a mark", "", format!("\u{feff}{CSV}").into()),
        ("gb18030, told", "", gb18030.clone()),
        ("gb18030, said", "encoding = \"gbk\"", gb18030.clone()),
        ("gb18030, packed", "", packed(&gb18030)),
        ("utf-16", "", utf16),
        (
            "pipes in gb18030",
            "delimiter = \"|\"",
            encoding_rs::GB18030
                .encode(&CSV.replace(',', "|"))
                .0
                .into_owned(),
        ),
        ("jsonl", "", jsonl.into()),
        (
            "blanks",
            "delimiter = \"whitespace\"\nskip_lines = 1",
            blanks.into(),
        ),
        (
            "xlsx",
            "",
            xlsx().save_to_buffer().expect("memory takes it"),
        ),
        ("parquet", "", parquet(1)),
    ];
    for (name, file, bytes) in files {
        assert_eq!(told(bytes, &mapping(file)), [LI], "{name}");
    }
    let named = "columns = [\"卡号\", \"姓名\", \"积分\", \"时间\"]";
    let headless = CSV.split_once('\n').expect("two lines").1;
    assert_eq!(told(headless.as_bytes(), &mapping(named)), [LI]);
}

#[test]
fn parquet_goes_on_in_the_middle_and_crosses_groups() {
    let (bytes, mapping) = (parquet(3_001), mapping(""));
    let all = told(bytes.clone(), &mapping);
    assert_eq!(all.len(), 3_001);
    assert!(all[1].contains("\"8|0\"") && !all[1].contains("points"));
    assert!(all[3_000].contains("\"3007|0\"") && all[3_000].contains("12.5"));
    for done in [0, 1, 1_024, 1_500, 1_501, 3_001, 9_999] {
        let mut rows = Rows::new(bytes.clone(), &mapping, &source(), Time(5)).expect("it opens");
        rows.skip_rows(done).expect("it can be read");
        let rest = rows
            .by_ref()
            .collect::<Result<Vec<_>, _>>()
            .expect("it can be read")
            .len();
        assert_eq!(rest as u64, 3_001u64.saturating_sub(done));
        assert_eq!(rows.progress(), (3_001, 3_001));
    }
}

#[test]
fn traps_of_a_sheet() {
    let mut book = xlsx();
    let sheet = &mut book.worksheets_mut()[0];
    let name = |sheet: &mut rust_xlsxwriter::Worksheet, row, card: f64| {
        sheet.write(row, 0, card).expect("it fits");
        sheet.write(row, 1, "x").expect("it fits");
        sheet.write(row, 3, "2026-11-22").expect("it fits");
    };
    // Row 3 is blank and no row at all.
    name(sheet, 3, 8.0);
    sheet
        .write(3, 2, Formula::new("=1+1").set_result("2"))
        .expect("it fits");
    name(sheet, 5, 123_456_789_012_345_678.0);
    name(sheet, 6, 10.0);
    sheet
        .write(6, 2, Formula::new("=1/0").set_result("#DIV/0!"))
        .expect("it fits");
    let told = told(
        book.save_to_buffer().expect("memory takes it"),
        &mapping(""),
    );
    assert_eq!(told[0], LI);
    assert!(told[1].contains("\"points\":2"), "{}", told[1]);
    for (at, part) in [
        (2, "3 field_type: cell A6: a number of more than 15 digits"),
        (3, "4 field_type: cell C7: the cell holds an error"),
    ] {
        assert!(told[at].starts_with(part), "{told:?}");
    }
    assert_eq!(told.len(), 4);

    // As programs write it that do not calculate.
    let text =
        |at: &str, text: &str| format!("<c r=\"{at}\" t=\"inlineStr\"><is><t>{text}</t></is></c>");
    let header = ["卡号", "姓名", "积分", "时间"];
    let header: String = header
        .iter()
        .zip(["A1", "B1", "C1", "D1"])
        .map(|(name, at)| text(at, name))
        .collect();
    let sheet = format!(
        "<worksheet><sheetData><row r=\"1\">{header}</row><row r=\"2\">{}<c r=\"C2\"><f>1+1</f></c></row></sheetData></worksheet>",
        text("A2", "9")
    );
    let book = with_part("xl/worksheets/sheet1.xml", sheet.as_bytes());
    let told = super::tests::told(book, &mapping(""));
    assert!(
        told[0].starts_with("1 field_type: cell C2: a formula without a saved value"),
        "{told:?}"
    );
}

/// A workbook with other bytes in one of its parts.
fn with_part(part: &str, bytes: &[u8]) -> Vec<u8> {
    let book = xlsx().save_to_buffer().expect("memory takes it");
    let mut archive = ZipArchive::new(Cursor::new(book)).expect("an archive");
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).expect("a member");
        let name = member.name().expect("a name").into_owned();
        let mut content = Vec::new();
        member.read_to_end(&mut content).expect("it unpacks");
        let options = zip::write::SimpleFileOptions::default();
        writer.start_file(&*name, options).expect("memory takes it");
        let content = if name == part { bytes } else { &content };
        writer.write_all(content).expect("memory takes it");
    }
    writer.finish().expect("memory takes it").into_inner()
}

/// Bytes without end.
struct Endless(&'static [u8], usize);

impl std::io::Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for byte in &mut *buffer {
            *byte = self.0[self.1.min(self.0.len() - 1)];
            self.1 += 1;
        }
        Ok(buffer.len())
    }
}

/// What a bad file gets: some text that must be in the last thing told.
#[test]
fn the_table_of_bad_files() {
    let gb18030 = encoding_rs::GB18030.encode(CSV).0.into_owned();
    let gz = packed(CSV.as_bytes());
    let book = xlsx().save_to_buffer().expect("memory takes it");
    let table = parquet(100);
    let mut turned = table.clone();
    let length = turned.len();
    // The length of the footer.
    turned[length - 8..length - 4].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut zeroed = table.clone();
    zeroed[4..400].fill(0);
    let mut bomb = Vec::from(&b"<worksheet><sheetData><row><c t=\"inlineStr\"><is><t>"[..]);
    bomb.resize(64 * 1024 * 1024, b'x');
    let rows: Vec<(&str, &str, Content, &str)> = vec![
        ("nothing", "", b"".into(), "the file is empty"),
        ("blank lines", "", b"\n\n\n".into(), "the file is empty"),
        (
            "latin-1 said to be utf-8",
            "encoding = \"utf-8\"",
            gb18030.clone().into(),
            "unknown column",
        ),
        (
            "gb18030 behind an ascii header, said to be utf-8",
            "encoding = \"utf-8\"\nskip_lines = 1\ncolumns = [\"卡号\", \"姓名\", \"积分\", \"时间\"]",
            gb18030.into(),
            "1 invalid_utf8: column 2 holds bytes that are no UTF-8",
        ),
        (
            "utf-8 said to be gb18030",
            "encoding = \"gb18030\"\nskip_lines = 1\ncolumns = [\"卡号\", \"姓名\", \"积分\", \"时间\"]",
            "x\n7,中,1,2\n".as_bytes().into(),
            "1 invalid_utf8: column 2 holds bytes that are no gb18030",
        ),
        ("zero bytes", "", b"a\0b,c\n".into(), "zero bytes"),
        (
            "ragged",
            "",
            format!("{CSV}8,x\n").into_bytes().into(),
            "2 row_columns: the row has 2 columns, the header has 4",
        ),
        (
            "a quote inside",
            "",
            format!("{CSV}8,a\"b\",1,2026-11-22\n").into_bytes().into(),
            "8|0",
        ),
        ("another header", "", b"a,b\n1,2\n".into(), "unknown column"),
        (
            "a header twice",
            "",
            "卡号,卡号,姓名,积分,时间\n".as_bytes().into(),
            "column `卡号` twice",
        ),
        (
            "gzip that breaks off",
            "",
            gz[..gz.len() - 12].to_vec().into(),
            "the packed file breaks off",
        ),
        (
            "gzip with a flaw",
            "",
            flipped(&gz, 20).into(),
            "the packed file",
        ),
        (
            "old xls",
            "",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1rest".into(),
            "old .xls",
        ),
        ("pdf", "", b"%PDF-1.7".into(), "PDF"),
        (
            "a zip that is no workbook",
            "",
            no_workbook().into(),
            "no workbook",
        ),
        (
            "xlsx cut",
            "",
            book[..book.len() / 2].to_vec().into(),
            "XLSX file is damaged",
        ),
        (
            "xlsx said to be csv",
            "format = \"csv\"",
            book.clone().into(),
            "the mapping says `csv` but this is xlsx",
        ),
        (
            "csv said to be xlsx",
            "format = \"xlsx\"",
            CSV.as_bytes().into(),
            "does not begin like it",
        ),
        (
            "no such sheet",
            "sheet = \"二月\"",
            book.clone().into(),
            "no sheet `二月`; it has: Sheet1",
        ),
        (
            "xlsx with broken xml",
            "",
            with_part(
                "xl/worksheets/sheet1.xml",
                b"<worksheet><sheetData><row><c r=\"A1\"",
            )
            .into(),
            "XLSX file is damaged",
        ),
        (
            "xlsx whose cell is a bomb",
            "",
            with_part("xl/worksheets/sheet1.xml", &bomb).into(),
            "cell, tag or comment of more than",
        ),
        (
            "xlsx whose texts are a bomb",
            "",
            with_part("xl/sharedStrings.xml", &shared_bomb()).into(),
            "unpacks to more than 256 MiB",
        ),
        (
            "parquet cut",
            "",
            table[..table.len() - 20].to_vec().into(),
            "Parquet file is damaged",
        ),
        (
            "parquet of its head only",
            "",
            b"PAR1".into(),
            "Parquet file is damaged",
        ),
        (
            "parquet with a wrong footer",
            "",
            turned.into(),
            "Parquet file is damaged",
        ),
        (
            "parquet with zeroed pages",
            "",
            zeroed.into(),
            "Parquet file is damaged",
        ),
        (
            "parquet from a stream",
            "",
            Content::stream(Cursor::new(table)),
            "save it as a file first",
        ),
        (
            "a line without end",
            "",
            Content::stream(Endless(b"a,b", 0)),
            "longer than 4194304 bytes",
        ),
        (
            "a row without end",
            "",
            Content::stream(Endless("卡号,姓名,积分,时间\n7".as_bytes(), 0)),
            "longer than 4194304 bytes",
        ),
        (
            "a quote without end",
            "",
            Content::stream(Endless("卡号,姓名,积分,时间\n\",\n".as_bytes(), 0)),
            "longer than 4194304 bytes",
        ),
        (
            "jsonl without end",
            "",
            Content::stream(Endless(b"{\"a\":1", 0)),
            "longer than 4194304 bytes",
        ),
        (
            "words without end",
            "delimiter = \"whitespace\"",
            Content::stream(Endless(b"a b", 0)),
            "longer than 4194304 bytes",
        ),
        (
            "jsonl with a flaw",
            "",
            b"{\"a\":1}\n{\"a\":}\n".into(),
            "2 invalid_json",
        ),
    ];
    for (name, file, content, expected) in rows {
        let told = told(content, &mapping(file));
        let last = told.last().expect("something is told");
        assert!(last.contains(expected), "{name}: {last}");
        println!("| {name} | {} |", last.replace('\n', " "));
    }
    let endless = Rows::own_json(Content::stream(Endless(b"{", 0)), &source(), Time(0))
        .expect("it opens")
        .next();
    assert!(matches!(
        endless,
        Some(Err(FileError::RowTooLong {
            max: limits::ROW_BYTES,
            ..
        }))
    ));
}

#[test]
fn damaged_tables_and_workbooks_end_with_an_answer() {
    let mapping = mapping("");
    let book = xlsx().save_to_buffer().expect("memory takes it");
    for whole in [parquet(50), book] {
        // Every place once, and cut there.
        for at in (0..whole.len()).step_by(7) {
            told(flipped(&whole, at), &mapping);
            told(whole[..at].to_vec(), &mapping);
        }
    }
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 0x55;
    bytes
}

fn no_workbook() -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer
        .start_file("../../etc/passwd", zip::write::SimpleFileOptions::default())
        .expect("memory takes it");
    writer.write_all(b"root").expect("memory takes it");
    writer.finish().expect("memory takes it").into_inner()
}

/// A quarter of a gigabyte of shared texts, each small: packs to a few hundred kilobytes.
fn shared_bomb() -> Vec<u8> {
    let mut bomb = Vec::from(&b"<sst>"[..]);
    let text = b"<si><t>aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa</t></si>";
    while bomb.len() as u64 <= limits::XLSX_HELD_BYTES {
        bomb.extend_from_slice(text);
    }
    bomb
}
