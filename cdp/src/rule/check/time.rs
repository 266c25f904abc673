//! Windows and lengths of time against their limits.

use super::Checker;
use crate::rule::ast::{Length, Unit, WindowRule};
use crate::rule::error::{RuleError, inside};
use crate::rule::limits::{LOOKBACK_DAYS_MAX, SLIDE_DAYS_MAX, WINDOW_DAYS_MAX};
use crate::rule::window::Window;

/// Milliseconds of a day on the time line.
const DAY_MS: i64 = 24 * 3_600_000;

/// Most days of a calendar month.
const MONTH_DAYS_MAX: u32 = 31;

impl Checker<'_> {
    /// The window of an event.
    pub(super) fn window(&mut self, window: &WindowRule, place: &str) -> Option<Window> {
        match window {
            WindowRule::All => Some(Window::All),
            WindowRule::Within(length) => {
                let at = inside(place, "within");
                self.within(*length, WINDOW_DAYS_MAX, SLIDE_DAYS_MAX, &at)
            }
            WindowRule::Between(a, b) => {
                let at = inside(place, "between");
                let a = self.date(a, &format!("{at}[0]"));
                let b = self.date(b, &format!("{at}[1]"));
                Some(Window::Between(a?, b?))
            }
            WindowRule::Ago(a, b) => self.ago(*a, *b, WINDOW_DAYS_MAX, &inside(place, "ago")),
        }
    }

    /// The window in which a sequence lies.
    pub(super) fn lookback(&mut self, window: &WindowRule, place: &str) -> Option<Window> {
        let most = LOOKBACK_DAYS_MAX;
        match window {
            WindowRule::Within(length) => self.within(*length, most, most, place),
            WindowRule::Ago(a, b) => self.ago(*a, *b, most, &inside(place, "ago")),
            WindowRule::All | WindowRule::Between(..) => {
                let message = format!("a sequence looks back at most {most} days");
                let error = RuleError::new(place, "window_too_long", message);
                self.fail(error.hint("write the lookback as a length such as \"90d\""))
            }
        }
    }

    /// The longest time between first and last step, in milliseconds.
    pub(super) fn duration(&mut self, length: Length, place: &str) -> Option<i64> {
        let unit_ms = match length.unit {
            Unit::Day => DAY_MS,
            unit => match unit.line_ms() {
                Some(ms) => ms,
                None => return self.unit(place, "d, h, m or s: months differ in length"),
            },
        };
        self.not_zero(length, place)?;
        let ms = unit_ms * i64::from(length.n);
        match ms <= DAY_MS * i64::from(LOOKBACK_DAYS_MAX) {
            true => Some(ms),
            false => self.too_long(place, LOOKBACK_DAYS_MAX),
        }
    }

    fn within(&mut self, length: Length, days: u32, slide: u32, place: &str) -> Option<Window> {
        self.not_zero(length, place)?;
        match length.unit {
            Unit::Day if length.n <= days => Some(Window::Days(length.n)),
            Unit::Month if length.n <= days / MONTH_DAYS_MAX + 1 => Some(Window::Months(length.n)),
            Unit::Day | Unit::Month => self.too_long(place, days),
            unit => match unit.line_ms() {
                None => self.unit(place, "d, mo, h, m or s"),
                Some(ms) => {
                    let ms = ms * i64::from(length.n);
                    if ms > DAY_MS * i64::from(slide) {
                        return self.too_long(place, slide);
                    }
                    Some(Window::Slide(ms))
                }
            },
        }
    }

    fn ago(&mut self, a: Length, b: Length, days: u32, place: &str) -> Option<Window> {
        if a.unit != b.unit || !matches!(a.unit, Unit::Day | Unit::Month) {
            return self.unit(place, "d (or mo) for both bounds");
        }
        if a.n < b.n {
            let message = "the first bound is the earlier one";
            let error = RuleError::new(place, "window_range", message);
            return self.fail(error.hint(format!(
                "did you mean [\"{}{unit}\",\"{}{unit}\"]?",
                b.n,
                a.n,
                unit = a.unit.word()
            )));
        }
        let most = match a.unit {
            Unit::Month => days / MONTH_DAYS_MAX,
            _ => days,
        };
        if a.n > most {
            return self.too_long(place, days);
        }
        Some(match a.unit {
            Unit::Month => Window::MonthsAgo(a.n, b.n),
            _ => Window::DaysAgo(a.n, b.n),
        })
    }

    fn not_zero(&mut self, length: Length, place: &str) -> Option<()> {
        if length.n == 0 {
            let message = "a window has a length above 0";
            return self.fail(RuleError::new(place, "window_range", message));
        }
        Some(())
    }

    fn unit<T>(&mut self, place: &str, known: &str) -> Option<T> {
        let error = RuleError::new(place, "unknown_unit", "this unit has no meaning here");
        self.fail(error.hint(format!("use {known}")))
    }

    fn too_long<T>(&mut self, place: &str, days: u32) -> Option<T> {
        let message = format!("at most {days} days");
        self.fail(RuleError::new(place, "window_too_long", message))
    }
}
