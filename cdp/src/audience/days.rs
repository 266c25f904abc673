//! When days begin: a table, since a calendar is asked for every member.

use actors::model::Time;
use jiff::tz::TimeZone;

use crate::rule::calendar::{day_of, day_start};

/// Days of the table: 2010-01-01 to 2045-01-01. Outside it the calendar is asked.
const DAYS: std::ops::Range<i32> = 14_610..27_394;

/// When days begin in one zone.
#[derive(Debug)]
pub(crate) struct Days {
    starts: Vec<Time>,
    zone: TimeZone,
}

impl Days {
    pub fn new(zone: &TimeZone) -> Days {
        Days {
            starts: DAYS.map(|day| day_start(day, zone)).collect(),
            zone: zone.clone(),
        }
    }

    /// The first instant of a day.
    pub fn start(&self, day: i32) -> Time {
        match DAYS.contains(&day) {
            true => self.starts[(day - DAYS.start) as usize],
            false => day_start(day, &self.zone),
        }
    }

    /// The day of an instant.
    pub fn of(&self, at: Time) -> i32 {
        let begun = self.starts.partition_point(|start| *start <= at);
        match begun == 0 || begun == self.starts.len() {
            true => day_of(at, &self.zone),
            false => DAYS.start + begun as i32 - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_the_calendar_says() {
        for zone in ["Asia/Shanghai", "America/Sao_Paulo", "UTC"] {
            let zone = TimeZone::get(zone).expect("a zone");
            let days = Days::new(&zone);
            for step in 0..4000i64 {
                let at = Time(1_200_000_000_000 + step * 400_000_007);
                let day = day_of(at, &zone);
                assert_eq!(days.of(at), day, "{at:?}");
                assert_eq!(days.start(day), day_start(day, &zone));
            }
        }
    }
}
