//! The columns of the made-up members as files: what `tests/bench/segments_peers.py` reads.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use cdp::audience::bench::{CHANNELS, FLAGS, LEVELS, person};

/// Writes the columns as `.npy` and lines of text.
pub(super) fn export(folder: &Path, members: u32) -> std::io::Result<()> {
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
