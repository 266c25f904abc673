//! Fault row 23: where a day begins and ends, in every zone there is, whatever the clocks do on that day.

use actors::model::Time;
use jiff::Timestamp;
use jiff::tz::{TimeZone, db};

use crate::rule::calendar::{day_end, day_of, day_start};

/// Changes of a zone's offset that are looked at, from 1900 on: all that are not yet a rule for ever.
const CHANGES: usize = 150;

fn at(text: &str) -> Time {
    let at: Timestamp = text.parse().expect("a time");
    Time(at.as_millisecond())
}

#[test]
fn row_23_days_follow_each_other_without_gap_or_overlap_in_every_zone() {
    let names: Vec<String> = db().available().map(|name| name.to_string()).collect();
    assert!(
        names.len() > 300,
        "the database of zones is there: {}",
        names.len()
    );
    let from: Timestamp = "1900-01-01T00:00:00Z".parse().expect("a time");
    for name in &names {
        let zone = TimeZone::get(name).expect("it is listed");
        let changes = zone.following(from).take(CHANGES);
        let mut days: Vec<i32> = changes
            .map(|change| day_of(Time(change.timestamp().as_millisecond()), &zone))
            .collect();
        days.push(20_500);
        for day in days.into_iter().flat_map(|day| day - 2..=day + 2) {
            let (start, end) = (day_start(day, &zone), day_end(day, &zone));
            assert_eq!(end, day_start(day + 1, &zone), "{name}, day {day}");
            assert!(start <= end, "{name}, day {day}: it ends before it begins");
            if start == end {
                // A zone that moved over the date line has left this day out.
                assert_ne!(day_of(start, &zone), day, "{name}, day {day}");
                continue;
            }
            for inside in [start, start.plus_ms(1), end.plus_ms(-1)] {
                assert_eq!(
                    day_of(inside, &zone),
                    day,
                    "{name}, day {day}, {}",
                    inside.rfc3339()
                );
            }
            assert_ne!(day_of(start.plus_ms(-1), &zone), day, "{name}, day {day}");
            assert_ne!(day_of(end, &zone), day, "{name}, day {day}");
        }
    }
}

#[test]
fn row_23_the_day_is_that_of_the_installations_zone() {
    let shanghai = TimeZone::get("Asia/Shanghai").expect("it is listed");
    let last = at("2026-03-01T15:59:59.999Z");
    let first = at("2026-03-01T16:00:00Z");
    assert_eq!(day_of(first, &shanghai), day_of(last, &shanghai) + 1);
    assert_eq!(day_of(first, &TimeZone::UTC), day_of(last, &TimeZone::UTC));
    assert_eq!(day_end(day_of(last, &shanghai), &shanghai), first);
    // A day of 23 hours and one of 25.
    let berlin = TimeZone::get("Europe/Berlin").expect("it is listed");
    for (noon, hours) in [
        ("2026-03-29T12:00:00Z", 23),
        ("2026-10-25T12:00:00Z", 25),
        ("2026-06-01T12:00:00Z", 24),
    ] {
        let day = day_of(at(noon), &berlin);
        let long = day_end(day, &berlin).0 - day_start(day, &berlin).0;
        assert_eq!(long, hours * 3_600_000, "{noon}");
    }
}
