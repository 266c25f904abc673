//! When a calculated tag is computed: as facts change, at times of day, or when somebody asks.

use actors::model::Time;
use jiff::civil::{self, Date};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::definition::DefinitionError;

/// When members get the values that they should have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Update {
    /// As events arrive and time passes.
    #[default]
    RealTime,
    /// When somebody asks.
    Manual,
    /// At a time of day.
    Scheduled(Schedule),
}

/// A time of day in the installation's zone; every day, unless days are named. With both sorts of days either will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Hour and minute.
    #[schema(example = "03:30")]
    pub at: String,
    /// Days of the week, 1 (Monday) to 7.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weekdays: Vec<i8>,
    /// Days of the month, 1 to 31; one that a month does not have is its last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub month_days: Vec<i8>,
}

/// Days to look back for the last time: two months have every day of the month and of the week.
const LOOK_BACK_DAYS: usize = 62;

impl Update {
    /// The word in lists.
    pub fn word(&self) -> &'static str {
        match self {
            Update::RealTime => "real_time",
            Update::Manual => "manual",
            Update::Scheduled(_) => "scheduled",
        }
    }

    /// Computed once at a time, and left alone in between.
    pub fn on_demand(&self) -> bool {
        *self != Update::RealTime
    }

    pub(super) fn check(&self, errors: &mut Vec<DefinitionError>) {
        let Update::Scheduled(schedule) = self else {
            return;
        };
        let mut wrong = |field: &str, message: &str| {
            let place = format!("update.scheduled.{field}");
            errors.push(DefinitionError::new(place, "schedule_form", message));
        };
        if schedule.time().is_none() {
            wrong("at", "write hour and minute, such as 03:30");
        }
        if schedule.weekdays.iter().any(|day| !(1..=7).contains(day)) {
            wrong("weekdays", "days of the week are 1 (Monday) to 7");
        }
        if schedule
            .month_days
            .iter()
            .any(|day| !(1..=31).contains(day))
        {
            wrong("month_days", "days of the month are 1 to 31");
        }
    }
}

impl Schedule {
    fn time(&self) -> Option<civil::Time> {
        let (hour, minute) = self.at.split_once(':')?;
        let number = |text: &str| match text.len() {
            2 => text.parse::<i8>().ok(),
            _ => None,
        };
        civil::Time::new(number(hour)?, number(minute)?, 0, 0).ok()
    }

    fn has(&self, day: Date) -> bool {
        let every = self.weekdays.is_empty() && self.month_days.is_empty();
        let weekday = day.weekday().to_monday_one_offset();
        let last = day.days_in_month();
        let in_month = |it: &i8| day.day() == (*it).min(last);
        every || self.weekdays.contains(&weekday) || self.month_days.iter().any(in_month)
    }

    /// The last time that is not after `now`. A time that a day does not have (clocks go forward) is as much later.
    pub fn last(&self, now: Time, zone: &TimeZone) -> Option<Time> {
        let time = self.time()?;
        let now = jiff::Timestamp::from_millisecond(now.0).ok()?;
        let mut day = now.to_zoned(zone.clone()).date();
        for _ in 0..LOOK_BACK_DAYS {
            if self.has(day) {
                let at = day
                    .to_datetime(time)
                    .to_zoned(zone.clone())
                    .ok()?
                    .timestamp();
                if at <= now {
                    return Some(Time(at.as_millisecond()));
                }
            }
            day = day.yesterday().ok()?;
        }
        None
    }
}
