//! Counting segments in this process: made-up members in the engine, a marketer's questions, and the same columns as files
//! for `tests/bench/segments_peers.py`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use cdp::audience::Engine;
use cdp::audience::bench::{CHANNELS, FLAGS, LEVELS, NOW, fill, person, queries};

use super::table::{Table, Times};
use super::{BenchError, BenchOptions};

/// How often each question is asked: enough for a slowest of a hundred.
const RUNS: usize = 200;

/// Threads of a question, as in the product.
const THREADS: usize = 2;

/// Fills an engine, asks, and writes files if a folder is given.
pub(super) fn run(options: &BenchOptions, table: &mut Table) -> Result<(), BenchError> {
    if let Some(folder) = &options.export {
        export(folder, options.members).map_err(BenchError::io("writing the columns"))?;
    }
    let begun = Instant::now();
    let mut engine = fill(options.members, THREADS);
    let took = begun.elapsed().as_secs_f64();
    table.row("members", engine.universe() as f64, "");
    table.row("filled with attributes, tags, events in", took, "s");
    let mut answers = Vec::new();
    for (key, what, plans) in queries() {
        let plans: Vec<_> = plans.iter().map(|plan| &**plan).collect();
        let begun = Instant::now();
        let count = ask(&mut engine, &plans)?;
        let first = begun.elapsed();
        let mut times = Times::default();
        for _ in 0..RUNS {
            let begun = Instant::now();
            ask(&mut engine, &plans)?;
            times.push(begun.elapsed());
        }
        let first_ms = first.as_secs_f64() * 1e3;
        if first_ms > 20.0 * times.ms(0.5) && first_ms > 50.0 {
            table.row(format!("{what}: the first time"), first_ms, "ms");
        }
        table.times(what, &mut times, "");
        answers.push(serde_json::json!({
            "key": key, "what": what, "count": count,
            "first_ms": first_ms, "p50_ms": times.ms(0.5), "p99_ms": times.ms(0.99),
        }));
    }
    let memory = engine.memory();
    for (what, bytes) in [
        ("memory: people and fragments", memory.people),
        ("memory: attributes", memory.attributes),
        ("memory: tags", memory.tags),
        ("memory: events of measures", memory.measures),
        ("memory: computed columns", memory.derived),
        ("memory in all", memory.total()),
    ] {
        table.row(what, bytes as f64 / 1e6, "MB");
    }
    table.note("in process, by two threads; the first time a question about events or with a new window is asked, its column is computed");
    if let Some(folder) = &options.export {
        let file = File::create(folder.join("answers.json"));
        let answers = serde_json::json!({
            "members": options.members, "now_ms": NOW.0, "memory_bytes": memory.total(), "answers": answers,
        });
        file.and_then(|mut file| file.write_all(answers.to_string().as_bytes()))
            .map_err(BenchError::io("writing the answers"))?;
    }
    Ok(())
}

/// The count of one plan, or of the intersection of several by way of their overlap.
fn ask(engine: &mut Engine, plans: &[&cdp::rule::Plan]) -> Result<u64, BenchError> {
    let answer = match plans {
        [one] => engine.count(one, NOW).map(|counted| counted.count),
        several => engine
            .overlap(several, NOW)
            .map(|regions| regions.last().copied().unwrap_or_default()),
    };
    answer.map_err(|missing| BenchError::Part(format!("a question lacks history: {missing:?}")))
}

/// Writes the columns as `.npy` and lines of text.
fn export(folder: &Path, members: u32) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let column = |name: &str, kind: &'static str| Npy::create(folder, name, kind);
    let (mut level, mut city) = (column("level", "|u1")?, column("city", "<u2")?);
    let (mut channel, mut gender) = (column("channel", "|u1")?, column("gender", "|u1")?);
    let (mut vip, mut age) = (column("vip", "|u1")?, column("age", "<i2")?);
    let (mut points, mut spent) = (column("points", "<i4")?, column("spent", "<i4")?);
    let (mut birthday, mut registered) = (column("birthday", "<i4")?, column("registered", "<i8")?);
    let (mut flags, mut interest) = (column("flags", "<u4")?, column("interest", "|u1")?);
    let mut interests = column("interests_len", "|u1")?;
    let (mut who, mut buy) = (column("event_member", "<u4")?, column("event_buy", "|u1")?);
    let (mut time, mut amount) = (column("event_time", "<i8")?, column("event_amount", "<i4")?);
    let mut nicknames = BufWriter::new(File::create(folder.join("nickname.txt"))?);
    for number in 0..members {
        let it = person(number);
        level.put(&[it.level as u8])?;
        city.put(&(it.city as u16).to_le_bytes())?;
        channel.put(&[it.channel as u8])?;
        gender.put(&[it.gender.map_or(0, |female| 1 + u8::from(female))])?;
        vip.put(&[u8::from(it.vip)])?;
        age.put(&(it.age as i16).to_le_bytes())?;
        points.put(&(it.points as i32).to_le_bytes())?;
        spent.put(&(it.spent as i32).to_le_bytes())?;
        birthday.put(&it.birthday.to_le_bytes())?;
        registered.put(&it.registered.0.to_le_bytes())?;
        flags.put(&it.flags.to_le_bytes())?;
        interests.put(&[it.interests.len() as u8])?;
        for n in it.interests {
            interest.put(&[n as u8])?;
        }
        writeln!(nicknames, "{}", it.nickname)?;
        for event in it.events {
            who.put(&number.to_le_bytes())?;
            buy.put(&[u8::from(event.buy)])?;
            time.put(&event.time.0.to_le_bytes())?;
            amount.put(&(event.amount as i32).to_le_bytes())?;
        }
    }
    nicknames.flush()?;
    for column in [
        level, city, channel, gender, vip, age, points, spent, birthday, registered, flags,
        interest, interests, who, buy, time, amount,
    ] {
        column.finish()?;
    }
    let words = serde_json::json!({ "level": LEVELS, "channel": CHANNELS, "flags": FLAGS });
    std::fs::write(folder.join("words.json"), words.to_string())
}

/// A column in NumPy's format; its length is known at the end, so the header is written twice.
struct Npy {
    file: BufWriter<File>,
    kind: &'static str,
    count: u64,
}

impl Npy {
    fn create(folder: &Path, name: &str, kind: &'static str) -> std::io::Result<Npy> {
        let mut npy = Npy {
            file: BufWriter::new(File::create(folder.join(format!("{name}.npy")))?),
            kind,
            count: 0,
        };
        npy.file.write_all(&npy.header())?;
        Ok(npy)
    }

    fn put(&mut self, value: &[u8]) -> std::io::Result<()> {
        self.count += 1;
        self.file.write_all(value)
    }

    fn finish(mut self) -> std::io::Result<()> {
        use std::io::Seek;
        self.file.rewind()?;
        let header = self.header();
        self.file.write_all(&header)?;
        self.file.flush()
    }

    /// 128 bytes whatever the length.
    fn header(&self) -> Vec<u8> {
        let text = format!(
            "{{'descr': '{}', 'fortran_order': False, 'shape': ({},), }}",
            self.kind, self.count
        );
        let mut header = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        header.extend_from_slice(format!("{text:<117}\n").as_bytes());
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_written_as_others_read_them() {
        let folder = tempfile::tempdir().expect("a folder");
        export(folder.path(), 10).expect("written");
        let bytes = std::fs::read(folder.path().join("age.npy")).expect("a file");
        assert_eq!(bytes.len(), 128 + 20);
        assert!(bytes.starts_with(b"\x93NUMPY\x01\x00\x76\x00{'descr': '<i2'"));
        assert_eq!(bytes[127], b'\n');
        let age = i16::from_le_bytes([bytes[128], bytes[129]]);
        assert_eq!(i64::from(age), person(0).age);
        let names = std::fs::read_to_string(folder.path().join("nickname.txt")).expect("a file");
        assert_eq!(names.lines().count(), 10);
    }
}
