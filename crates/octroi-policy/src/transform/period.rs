//! ISO 8601 durations of one number and one unit (`PT15M`, `P1D`, `P1M`), as
//! grids of time: an instant is floored to the start of its cell, UTC.

use crate::{Date, Timestamp};

/// A grid of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grid {
    /// Cells of so many microseconds, counted from 1970-01-01; weeks from a Monday.
    Micros { cell: i64, from: i64 },
    /// Cells of so many months, counted from year 0.
    Months(i64),
}

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// 1969-12-29 was a Monday.
const MONDAY: i64 = -3 * DAY;

impl Grid {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (text, clock) = match text.strip_prefix("PT") {
            Some(text) => (text, true),
            None => (text.strip_prefix('P')?, false),
        };
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let plain = (1..=4).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse().ok().filter(|number: &i64| plain && *number > 0)?;
        let micros = |unit: i64| Some(Self::Micros { cell: number * unit, from: 0 });
        match (clock, unit) {
            (true, "S") => micros(SECOND),
            (true, "M") => micros(60 * SECOND),
            (true, "H") => micros(3600 * SECOND),
            (false, "D") => micros(DAY),
            (false, "W") => Some(Self::Micros { cell: number * 7 * DAY, from: MONDAY }),
            (false, "M") => Some(Self::Months(number)),
            (false, "Y") => Some(Self::Months(number * 12)),
            _ => None,
        }
    }

    /// Whether its cells are shorter than an hour.
    pub(super) fn is_below_an_hour(self) -> bool {
        match self {
            Self::Micros { cell, .. } => cell < 3600 * SECOND,
            Self::Months(_) => false,
        }
    }

    /// The start of the cell that holds `instant`.
    pub(super) fn floor(self, instant: Timestamp) -> Timestamp {
        self.edge(instant, 0)
    }

    /// The end of that cell, which is the start of the next.
    pub(super) fn end(self, instant: Timestamp) -> Timestamp {
        self.edge(instant, 1)
    }

    /// The start of the cell so many cells after the one that holds `instant`.
    fn edge(self, instant: Timestamp, after: i64) -> Timestamp {
        match self {
            Self::Micros { cell, from } => {
                Timestamp(((instant.0 - from).div_euclid(cell) + after) * cell + from)
            }
            Self::Months(cell) => {
                let (year, month, _) = instant.date().ymd();
                let first = ((year * 12 + month - 1).div_euclid(cell) + after) * cell;
                let day = format!("{:04}-{:02}-01", first.div_euclid(12), first.rem_euclid(12) + 1);
                // Outside the years 0 to 9999 there is no text: the day itself, and the next.
                let day = Date::parse(&day).map(Date::start);
                day.unwrap_or(Timestamp(instant.date().start().0 + after * DAY))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_floored_to_its_cell() {
        for (grid, instant, start) in [
            ("PT15M", "2026-11-20T06:29:59.999Z", "2026-11-20T06:15:00Z"),
            ("PT15M", "2026-11-20T06:30:00Z", "2026-11-20T06:30:00Z"),
            ("PT1H", "2026-11-20T06:30:00+01:00", "2026-11-20T05:00:00Z"),
            ("PT30S", "2026-11-20T06:30:31Z", "2026-11-20T06:30:30Z"),
            ("P1D", "2026-11-20T23:59:59Z", "2026-11-20T00:00:00Z"),
            ("P1W", "2026-11-20T06:00:00Z", "2026-11-16T00:00:00Z"),
            ("P1W", "2026-11-16T00:00:00Z", "2026-11-16T00:00:00Z"),
            ("P1M", "2026-11-20T06:00:00Z", "2026-11-01T00:00:00Z"),
            ("P3M", "2026-12-31T23:59:59Z", "2026-10-01T00:00:00Z"),
            ("P1Y", "2026-11-20T06:00:00Z", "2026-01-01T00:00:00Z"),
            ("PT15M", "1969-12-31T23:59:59Z", "1969-12-31T23:45:00Z"),
        ] {
            let floored = Grid::parse(grid).unwrap().floor(Timestamp::parse_rfc3339(instant).unwrap());
            assert_eq!(floored.to_string(), start, "{grid} {instant}");
        }
    }

    #[test]
    fn a_cell_ends_where_the_next_begins() {
        for (grid, instant, end) in [
            ("PT15M", "2026-11-20T06:30:00Z", "2026-11-20T06:45:00Z"),
            ("P1W", "2026-11-20T06:00:00Z", "2026-11-23T00:00:00Z"),
            ("P1M", "2026-12-20T06:00:00Z", "2027-01-01T00:00:00Z"),
            ("P1M", "2028-02-29T06:00:00Z", "2028-03-01T00:00:00Z"),
            ("P1Y", "2026-11-20T06:00:00Z", "2027-01-01T00:00:00Z"),
        ] {
            let grid = Grid::parse(grid).unwrap();
            let found = grid.end(Timestamp::parse_rfc3339(instant).unwrap());
            assert_eq!(found.to_string(), end, "{instant}");
            assert_eq!(grid.floor(found), found);
        }
    }

    #[test]
    fn what_is_no_single_duration_is_refused() {
        for text in [
            "", "P", "PT", "15M", "P0D", "P-1D", "P+1D", "P1.5D", "P1DT1H", "PT1D", "P1H", "P1S", "p1d",
            "P99999D", "P1é",
        ] {
            assert_eq!(Grid::parse(text), None, "{text}");
        }
    }
}
