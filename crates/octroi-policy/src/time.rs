//! Days and instants. Values only: nothing here reads a clock.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

/// An instant: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// A day, UTC: days since 1970-01-01. Dates of a policy (`valid_until`,
/// `expires`, …) are inclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(pub i32);

const MICROS_PER_DAY: i64 = 86_400_000_000;

impl Timestamp {
    /// The day this instant lies in, UTC.
    #[must_use]
    pub fn date(self) -> Date {
        // An i64 of microseconds spans ±106 million days: it fits.
        Date(i32::try_from(self.0.div_euclid(MICROS_PER_DAY)).unwrap_or(i32::MAX))
    }

    /// Reads RFC 3339 with an offset (`2026-11-20T06:15:00.12Z`). A local time
    /// without offset is not an instant: `None`.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let (date, rest) = text.split_at_checked(10)?;
        let day = Date::parse(date)?;
        let rest = rest.strip_prefix(['T', 't', ' '])?;
        let (clock, rest) = rest.split_at_checked(8)?;
        let [h, hh, b':', m, mm, b':', s, ss] = *clock.as_bytes() else { return None };
        let (hour, minute, second) = (pair(h, hh)?, pair(m, mm)?, pair(s, ss)?);
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let (micros, offset) = match rest.strip_prefix('.') {
            None => (0, rest),
            Some(rest) => {
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                let (fraction, offset) = rest.split_at_checked(digits)?;
                (micros_of(fraction)?, offset)
            }
        };
        let seconds = hour * 3600 + minute * 60 + second - offset_seconds(offset)?;
        Some(Self(i64::from(day.0) * MICROS_PER_DAY + seconds * 1_000_000 + micros))
    }
}

/// A number of two digits.
fn pair(tens: u8, ones: u8) -> Option<i64> {
    (tens.is_ascii_digit() && ones.is_ascii_digit())
        .then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
}

fn number(text: &str, digits: usize) -> Option<i64> {
    (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn micros_of(fraction: &str) -> Option<i64> {
    if fraction.is_empty() {
        return None;
    }
    let (mut micros, mut unit) = (0, 100_000);
    for digit in fraction.bytes().take(6) {
        micros += i64::from(digit - b'0') * unit;
        unit /= 10;
    }
    Some(micros)
}

fn offset_seconds(offset: &str) -> Option<i64> {
    if offset == "Z" || offset == "z" {
        return Some(0);
    }
    let sign = if offset.starts_with('+') { 1 } else { -1 };
    let (hours, minutes) = offset.strip_prefix(['+', '-'])?.split_once(':')?;
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

impl fmt::Display for Timestamp {
    /// RFC 3339, UTC, with as many decimals as it needs of 0, 3 or 6.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (second, micros) = (self.0.div_euclid(1_000_000), self.0.rem_euclid(1_000_000));
        let clock = second.rem_euclid(86_400);
        fmt::Display::fmt(&self.date(), f)?;
        // Digits by hand: `write!` with its widths takes several times as long, and each record has its times.
        let [h, hh] = digits(clock / 3600);
        let [m, mm] = digits(clock / 60 % 60);
        let [s, ss] = digits(clock % 60);
        put(f, &[b'T', h, hh, b':', m, mm, b':', s, ss])?;
        match micros {
            0 => f.write_str("Z"),
            micros if micros % 1000 == 0 => {
                let [a, b, c] = digits(micros / 1000);
                put(f, &[b'.', a, b, c, b'Z'])
            }
            micros => {
                let [a, b, c, d, e, g] = digits(micros);
                put(f, &[b'.', a, b, c, d, e, g, b'Z'])
            }
        }
    }
}

impl Date {
    /// Reads `YYYY-MM-DD`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let [y, yy, yyy, yyyy, b'-', m, mm, b'-', d, dd] = *text.as_bytes() else { return None };
        let (year, month, day) = (pair(y, yy)? * 100 + pair(yyy, yyyy)?, pair(m, mm)?, pair(d, dd)?);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let last = match month {
            2 => 28 + i64::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let exists = (1..=12).contains(&month) && (1..=last).contains(&day);
        exists.then(|| Self::from_ymd(year, month, day))
    }

    /// Days from civil, after Howard Hinnant's public description of the proleptic Gregorian calendar.
    fn from_ymd(year: i64, month: i64, day: i64) -> Self {
        let year = if month <= 2 { year - 1 } else { year };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        Self(i32::try_from(era * 146_097 + day_of_era - 719_468).unwrap_or(i32::MAX))
    }

    /// Year, month 1–12, day 1–31.
    #[must_use]
    pub fn ymd(self) -> (i64, i64, i64) {
        let days = i64::from(self.0) + 719_468;
        let era = days.div_euclid(146_097);
        let doe = days.rem_euclid(146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let shifted = (5 * doy + 2) / 153;
        let day = doy - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        (yoe + era * 400 + i64::from(month <= 2), month, day)
    }

    /// The first instant of the day.
    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp(i64::from(self.0) * MICROS_PER_DAY)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.ymd();
        let ([m, mm], [d, dd]) = (digits(month), digits(day));
        if let 0..=9999 = year {
            put(f, &digits::<4>(year))?;
        } else {
            write!(f, "{year:04}")?;
        }
        put(f, &[b'-', m, mm, b'-', d, dd])
    }
}

/// The last so many decimal digits of a number that is not negative.
fn digits<const N: usize>(mut number: i64) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
    digits
}

/// Writes ASCII.
fn put(f: &mut fmt::Formatter<'_>, ascii: &[u8]) -> fmt::Result {
    f.write_str(str::from_utf8(ascii).map_err(|_| fmt::Error)?)
}

/// An ISO 8601 duration (`P3Y`, `P1DT12H`, `PT15M`) in microseconds: whole numbers, units in order, each
/// once, not zero altogether. A year counts 365 days and a month 30. What is longer than an `i64` says
/// is as long as that.
#[must_use]
pub fn duration_micros(text: &str) -> Option<i64> {
    const SECOND: i64 = 1_000_000;
    const DAYS: &[(char, i64)] = &[
        ('Y', 365 * MICROS_PER_DAY),
        ('M', 30 * MICROS_PER_DAY),
        ('W', 7 * MICROS_PER_DAY),
        ('D', MICROS_PER_DAY),
    ];
    const CLOCK: &[(char, i64)] = &[('H', 3_600 * SECOND), ('M', 60 * SECOND), ('S', SECOND)];
    let body = text.strip_prefix('P')?;
    let (days, clock) = body.split_once('T').map_or((body, None), |(days, clock)| (days, Some(clock)));
    if clock == Some("") {
        return None;
    }
    let clock = parts_of_duration(clock.unwrap_or_default(), CLOCK)?;
    Some(parts_of_duration(days, DAYS)?.saturating_add(clock)).filter(|micros| *micros > 0)
}

/// Numbers of at most six digits, each with one of the units, which come in this order.
fn parts_of_duration(text: &str, units: &[(char, i64)]) -> Option<i64> {
    let (mut sum, mut rest, mut left) = (0_i64, text, units.iter());
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at_checked(digits).filter(|_| (1..=6).contains(&digits))?;
        let number: i64 = number.parse().ok()?;
        let mut after = tail.chars();
        let unit = after.next()?;
        let (_, micros) = left.find(|(name, _)| *name == unit)?;
        sum = sum.saturating_add(number.saturating_mul(*micros));
        rest = after.as_str();
    }
    Some(sum)
}

/// In TOML a native datetime or its text; elsewhere text.
fn text_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Either {
        Native(toml::value::Datetime),
        Text(String),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::Native(datetime) => datetime.to_string(),
        Either::Text(text) => text,
    })
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text_of(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom(format!("`{text}` is no day; write `2027-06-30`")))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text_of(deserializer)?;
        Self::parse_rfc3339(&text)
            .ok_or_else(|| de::Error::custom(format!("`{text}` is no instant; write `2026-11-15T00:00:00Z`")))
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Date {
    fn schema_name() -> Cow<'static, str> {
        "Date".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date" })
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_days_that_exist_are_read_and_no_other() {
        for (year, month, day) in (1896..=2005)
            .chain([0, 9999])
            .flat_map(|year| (0..=13).flat_map(move |month| (0..=32).map(move |day| (year, month, day))))
        {
            let date = Date::from_ymd(year, month, day);
            let exists = (1..=12).contains(&month) && date.ymd() == (year, month, day);
            assert_eq!(Date::parse(&format!("{year:04}-{month:02}-{day:02}")), exists.then_some(date));
        }
    }

    #[test]
    fn every_day_of_five_centuries_is_read_back() {
        for day in -30_000..150_000 {
            assert_eq!(Date::parse(&Date(day).to_string()), Some(Date(day)));
        }
        assert_eq!(Date::parse("2026-02-29"), None);
        assert_eq!(Date::parse("2026-13-01"), None);
        assert_eq!(Date::parse("1970-01-02"), Some(Date(1)));
    }

    #[test]
    fn durations_are_whole_ordered_and_positive() {
        const DAY: i64 = MICROS_PER_DAY;
        for (good, micros) in [
            ("P3Y", 3 * 365 * DAY),
            ("P1M", 30 * DAY),
            ("P7D", 7 * DAY),
            ("PT15M", DAY / 96),
            ("P1DT12H", DAY / 2 * 3),
            ("P2W", 14 * DAY),
            ("PT1H30M", DAY / 16),
            ("PT0H1S", 1_000_000),
            ("P999999Y", i64::MAX),
        ] {
            assert_eq!(duration_micros(good), Some(micros), "{good}");
        }
        for bad in [
            "",
            "P",
            "PT",
            "P1",
            "7D",
            "PD",
            "P1H",
            "PT1D",
            "P1D2Y",
            "P1D1D",
            "P0D",
            "P1.5D",
            "P-1D",
            "PT15MT",
            "P1DT",
            "P9999999D",
        ] {
            assert_eq!(duration_micros(bad), None, "{bad}");
        }
    }

    #[test]
    fn instants_compare_whatever_their_offset() {
        let z = Timestamp::parse_rfc3339("2026-11-20T06:15:00.120482Z").unwrap();
        assert_eq!(Timestamp::parse_rfc3339("2026-11-20T07:15:00.120482+01:00"), Some(z));
        assert_eq!(z.to_string(), "2026-11-20T06:15:00.120482Z");
        assert_eq!(Timestamp::parse_rfc3339("2026-11-20T06:15:00"), None, "a local time is not an instant");
        assert_eq!(Timestamp::parse_rfc3339("2026-11-20T06:15:0x.1Z"), None);
    }
}
