//! Files of the same order lines in every format, and how fast their rows become records.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actors::model::{BrandId, IdSpace, SourceId, Time};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::basic::{Compression as Codec, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::file::{Content, FileError, Mapping, Rows, workbook_parts};
use crate::{OrderDefaults, SourceInfo};

/// The formats that are measured, by the ends of their files.
pub const FORMATS: &[&str] = &["csv", "csv.gz", "jsonl", "xlsx", "parquet"];
/// Most rows of a workbook: a sheet, less its header.
pub const XLSX_ROWS_MAX: u64 = 1_048_575;
/// Rows of a group of Parquet.
const GROUP_ROWS: u64 = 100_000;

/// The mapping of the files that [`write`] makes.
pub const MAPPING: &str = r#"
time_zone = "Asia/Shanghai"
[event]
type = "order"
message_id = ["order", "sku"]
unique = true
time = "at"
[[identifiers]]
kind = "phone"
column = "phone"
[order]
order_id = "order"
currency = "CNY"
status = "paid"
[order.line]
sku = "sku"
name = "name"
quantity = "quantity"
unit_price = "price"
"#;

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A file cannot be written or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A table cannot be written.
    #[error(transparent)]
    Parquet(#[from] ParquetError),
    /// A workbook cannot be written.
    #[error(transparent)]
    Zip(#[from] zip::result::ZipError),
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

/// One line of an order.
struct Line {
    order: String,
    sku: String,
    name: &'static str,
    phone: String,
    at: i64,
    quantity: i64,
    price: f64,
}

const NAMES: [&str; 4] = ["鲜牛奶 250ml×12", "酸奶，原味", "Cheese \"A\"", "奶粉 900g"];

fn line(n: u64) -> Line {
    Line {
        order: format!("E{:09}", n / 3),
        sku: format!("S{:04}", n % 3 * 1_000 + n / 3 % 997),
        name: NAMES[(n % 4) as usize],
        phone: format!("139{:08}", n / 3 * 7_919 % 100_000_000),
        at: 1_795_341_041 - (n % 31_536_000) as i64,
        quantity: (n % 5) as i64 + 1,
        price: ((n % 900) as f64 + 100.0) / 10.0,
    }
}

fn moment(seconds: i64) -> String {
    Time(seconds * 1_000).rfc3339()
}

/// Writes `rows` rows into `folder/lines.FORMAT`.
pub fn write(folder: &Path, format: &str, rows: u64) -> Result<PathBuf, BenchError> {
    let path = folder.join(format!("lines.{format}"));
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
    match format {
        "csv" => csv(&mut file, rows)?,
        "csv.gz" => {
            let mut packed = GzEncoder::new(&mut file, Compression::fast());
            csv(&mut packed, rows)?;
            packed.finish()?;
        }
        "jsonl" => jsonl(&mut file, rows)?,
        "xlsx" => xlsx(&mut file, rows)?,
        _ => parquet(&mut file, rows)?,
    }
    file.flush()?;
    Ok(path)
}

fn csv(to: &mut impl Write, rows: u64) -> io::Result<()> {
    writeln!(to, "order,sku,name,phone,at,quantity,price")?;
    for n in 0..rows {
        let line = line(n);
        writeln!(
            to,
            "{},{},\"{}\",{},{},{},{}",
            line.order,
            line.sku,
            line.name.replace('"', "\"\""),
            line.phone,
            moment(line.at),
            line.quantity,
            line.price
        )?;
    }
    Ok(())
}

fn jsonl(to: &mut impl Write, rows: u64) -> io::Result<()> {
    for n in 0..rows {
        let line = line(n);
        writeln!(
            to,
            r#"{{"order":"{}","sku":"{}","name":"{}","phone":"{}","at":"{}","quantity":{},"price":{}}}"#,
            line.order,
            line.sku,
            line.name.replace('"', "\\\""),
            line.phone,
            moment(line.at),
            line.quantity,
            line.price
        )?;
    }
    Ok(())
}

fn xlsx(to: &mut (impl Write + io::Seek), rows: u64) -> Result<(), BenchError> {
    let options = SimpleFileOptions::default();
    let mut book = ZipWriter::new(to);
    for (name, text) in workbook_parts() {
        book.start_file(*name, options)?;
        book.write_all(text.as_bytes())?;
    }
    book.start_file("xl/worksheets/sheet1.xml", options)?;
    let mut sheet = BufWriter::with_capacity(1 << 16, &mut book);
    write!(sheet, "<worksheet><sheetData><row r=\"1\">")?;
    let text = |to: &mut dyn Write, text: &str| {
        write!(to, "<c t=\"inlineStr\"><is><t>{text}</t></is></c>")
    };
    for name in ["order", "sku", "name", "phone", "at", "quantity", "price"] {
        text(&mut sheet, name)?;
    }
    write!(sheet, "</row>")?;
    for n in 0..rows {
        let line = line(n);
        write!(sheet, "<row r=\"{}\">", n + 2)?;
        for cell in [
            &*line.order,
            &line.sku,
            line.name,
            &line.phone,
            &moment(line.at),
        ] {
            text(&mut sheet, cell)?;
        }
        write!(
            sheet,
            "<c><v>{}</v></c><c><v>{}</v></c></row>",
            line.quantity, line.price
        )?;
    }
    write!(sheet, "</sheetData></worksheet>")?;
    sheet.flush()?;
    drop(sheet);
    book.finish()?;
    Ok(())
}

fn parquet(to: &mut (impl Write + Send), rows: u64) -> Result<(), BenchError> {
    let schema = "message lines { required binary order (UTF8); required binary sku (UTF8); \
        required binary name (UTF8); required binary phone (UTF8); \
        required int64 at (TIMESTAMP(MILLIS,true)); required int64 quantity; required double price; }";
    let schema = Arc::new(parse_message_type(schema)?);
    let properties = WriterProperties::builder()
        .set_compression(Codec::ZSTD(ZstdLevel::try_new(1)?))
        .build();
    let mut writer = SerializedFileWriter::new(to, schema, Arc::new(properties))?;
    let mut first = 0;
    while first < rows {
        let lines: Vec<Line> = (first..rows.min(first + GROUP_ROWS)).map(line).collect();
        first += GROUP_ROWS;
        let mut group = writer.next_row_group()?;
        let bytes = |text: &str| ByteArray::from(text.as_bytes().to_vec());
        for pick in [
            |line: &Line| line.order.clone(),
            |line: &Line| line.sku.clone(),
            |line: &Line| line.name.to_owned(),
            |line: &Line| line.phone.clone(),
        ] {
            let values: Vec<ByteArray> = lines.iter().map(|line| bytes(&pick(line))).collect();
            if let Some(mut column) = group.next_column()? {
                column
                    .typed::<ByteArrayType>()
                    .write_batch(&values, None, None)?;
                column.close()?;
            }
        }
        for pick in [|line: &Line| line.at * 1_000, |line: &Line| line.quantity] {
            let values: Vec<i64> = lines.iter().map(pick).collect();
            if let Some(mut column) = group.next_column()? {
                column
                    .typed::<Int64Type>()
                    .write_batch(&values, None, None)?;
                column.close()?;
            }
        }
        let values: Vec<f64> = lines.iter().map(|line| line.price).collect();
        if let Some(mut column) = group.next_column()? {
            column
                .typed::<DoubleType>()
                .write_batch(&values, None, None)?;
            column.close()?;
        }
        group.close()?;
    }
    writer.close()?;
    Ok(())
}

/// Rows and the time to make records of all of them, on one core (a workbook is unpacked on a second one).
pub fn read(path: &Path, mapping: &Mapping) -> Result<(u64, Duration), BenchError> {
    let source = SourceInfo {
        id: SourceId(1),
        id_space: IdSpace(0),
        brand: BrandId(0),
        test: false,
        orders: OrderDefaults::default(),
        sensors: Default::default(),
    };
    let begun = Instant::now();
    let content = Content::file(File::open(path)?)?;
    let mut rows = Rows::new(content, mapping, &source, Time(1_795_341_042_000))?;
    for row in rows.by_ref() {
        std::hint::black_box(row?);
    }
    Ok((rows.row(), begun.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Row;

    #[test]
    fn every_format_says_the_same() {
        let folder = tempfile::tempdir().expect("there is room");
        let mapping = Mapping::parse(MAPPING).expect("it is right");
        let mut told = Vec::new();
        for format in FORMATS {
            let path = write(folder.path(), format, 100).expect("there is room");
            assert_eq!(read(&path, &mapping).expect("it reads").0, 100);
            let content = Content::file(File::open(&path).expect("it is there"));
            let source = SourceInfo {
                id: SourceId(1),
                id_space: IdSpace(0),
                brand: BrandId(0),
                test: false,
                orders: OrderDefaults::default(),
                sensors: Default::default(),
            };
            let rows = Rows::new(content.expect("it reads"), &mapping, &source, Time(5));
            let bodies: Vec<_> = rows
                .expect("it opens")
                .map(|row| match row.expect("it reads") {
                    Row::Record(record) => record.body,
                    Row::Rejected(row) => panic!("{format}: {}", row.reject),
                })
                .collect();
            told.push(bodies);
        }
        for other in &told[1..] {
            assert_eq!(*other, told[0]);
        }
    }
}
