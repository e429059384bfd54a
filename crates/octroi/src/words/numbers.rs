//! Numbers, sizes and durations as each language writes them.
//!
//! French groups by a narrow no-break space and has a decimal comma; a value
//! never parts from its unit.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Lang;

/// Narrow no-break space.
const NNBSP: char = '\u{202f}';
/// No-break space.
const NBSP: char = '\u{a0}';

/// A count, grouped by thousands.
#[must_use]
pub fn count(lang: Lang, n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(match lang {
                Lang::Fr => NNBSP,
                Lang::En => ',',
            });
        }
        grouped.push(digit);
    }
    grouped
}

/// A count that may be negative.
#[must_use]
pub fn signed(lang: Lang, n: i64) -> String {
    let minus = if n < 0 { "−" } else { "" };
    format!("{minus}{}", count(lang, n.unsigned_abs()))
}

/// A rate, as messages per second.
#[must_use]
pub fn per_second(lang: Lang, rate: f64) -> String {
    let number = if rate > 0.0 && rate < 0.05 {
        format!("<{NBSP}{}", decimal(lang, 0.1))
    } else if rate < 10.0 {
        decimal(lang, rate)
    } else {
        count(lang, whole(rate))
    };
    format!("{number}{NBSP}/s")
}

/// A size, in binary units.
#[must_use]
pub fn bytes(lang: Lang, n: u64) -> String {
    let units = match lang {
        Lang::Fr => ["o", "Kio", "Mio", "Gio", "Tio", "Pio"],
        Lang::En => ["B", "KiB", "MiB", "GiB", "TiB", "PiB"],
    };
    let mut scale: u64 = 1;
    let mut unit = "";
    for (at, name) in units.into_iter().enumerate() {
        unit = name;
        if n / scale < 1024 || at + 1 == units.len() {
            break;
        }
        scale *= 1024;
    }
    let tenths = u64::try_from(u128::from(n) * 10 / u128::from(scale)).unwrap_or(u64::MAX);
    let number = if scale == 1 || tenths >= 1000 || tenths.is_multiple_of(10) {
        count(lang, tenths / 10)
    } else {
        format!("{}{}{}", count(lang, tenths / 10), point(lang), tenths % 10)
    };
    format!("{number}{NBSP}{unit}")
}

/// A duration in its two largest units.
#[must_use]
pub fn duration(lang: Lang, seconds: f64) -> String {
    let seconds = whole(seconds);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let day = match lang {
        Lang::Fr => "j",
        Lang::En => "d",
    };
    if days > 0 && hours > 0 {
        format!("{}{NBSP}{day} {hours}{NBSP}h", count(lang, days))
    } else if days > 0 {
        format!("{}{NBSP}{day}", count(lang, days))
    } else if hours > 0 && minutes > 0 {
        format!("{hours}{NBSP}h{NBSP}{minutes:02}")
    } else if hours > 0 {
        format!("{hours}{NBSP}h")
    } else if minutes > 0 {
        format!("{minutes}{NBSP}min")
    } else {
        format!("{seconds}{NBSP}s")
    }
}

/// Seconds from one RFC 3339 time to another; none if either is not one, 0 if they are the wrong way round.
#[must_use]
pub fn seconds_between(from: &str, to: &str) -> Option<f64> {
    let (from, to) = (parse(from)?, parse(to)?);
    Some((to - from).as_seconds_f64().max(0.0))
}

/// A moment, to the minute, in UTC; what is not RFC 3339 is shown as it is.
#[must_use]
pub fn day(lang: Lang, rfc3339: &str) -> String {
    let Some(at) = parse(rfc3339) else { return rfc3339.to_owned() };
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute) = (at.hour(), at.minute());
    match lang {
        Lang::Fr => format!("{day:02}/{month:02}/{year} {hour:02}:{minute:02}{NBSP}UTC"),
        Lang::En => format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}{NBSP}UTC"),
    }
}

/// A time of day, to the second, in UTC.
#[must_use]
pub fn clock(rfc3339: &str) -> String {
    let Some(at) = parse(rfc3339) else { return rfc3339.to_owned() };
    format!("{:02}:{:02}:{:02}{NBSP}UTC", at.hour(), at.minute(), at.second())
}

fn parse(rfc3339: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(rfc3339, &Rfc3339).ok().map(|at| at.to_offset(time::UtcOffset::UTC))
}

fn decimal(lang: Lang, value: f64) -> String {
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    text.replace('.', point(lang))
}

const fn point(lang: Lang) -> &'static str {
    match lang {
        Lang::Fr => ",",
        Lang::En => ".",
    }
}

/// The nearest whole number; 0 for what is no count.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, NaN is 0")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_language_writes_numbers_its_own_way() {
        let plain = |text: String| text.replace(NNBSP, "_").replace(NBSP, "~");
        for (fr, en, french, english) in [
            (count(Lang::Fr, 999), count(Lang::En, 999), "999", "999"),
            (count(Lang::Fr, 1_234_567), count(Lang::En, 1_234_567), "1_234_567", "1,234,567"),
            (signed(Lang::Fr, -1_000), signed(Lang::En, -1_000), "−1_000", "−1,000"),
            (per_second(Lang::Fr, 0.0), per_second(Lang::En, 0.0), "0~/s", "0~/s"),
            (per_second(Lang::Fr, 0.01), per_second(Lang::En, 0.01), "<~0,1~/s", "<~0.1~/s"),
            (per_second(Lang::Fr, 3.45), per_second(Lang::En, 3.45), "3,5~/s", "3.5~/s"),
            (per_second(Lang::Fr, 1234.5), per_second(Lang::En, 1234.5), "1_235~/s", "1,235~/s"),
            (per_second(Lang::Fr, f64::NAN), per_second(Lang::En, f64::NAN), "0~/s", "0~/s"),
            (bytes(Lang::Fr, 0), bytes(Lang::En, 0), "0~o", "0~B"),
            (bytes(Lang::Fr, 1023), bytes(Lang::En, 1023), "1_023~o", "1,023~B"),
            (bytes(Lang::Fr, 1536), bytes(Lang::En, 1536), "1,5~Kio", "1.5~KiB"),
            (bytes(Lang::Fr, 20 << 30), bytes(Lang::En, 20 << 30), "20~Gio", "20~GiB"),
            (bytes(Lang::Fr, u64::MAX), bytes(Lang::En, u64::MAX), "16_383~Pio", "16,383~PiB"),
            (duration(Lang::Fr, 42.4), duration(Lang::En, 42.4), "42~s", "42~s"),
            (duration(Lang::Fr, 1080.0), duration(Lang::En, 1080.0), "18~min", "18~min"),
            (duration(Lang::Fr, 11_100.0), duration(Lang::En, 11_100.0), "3~h~05", "3~h~05"),
            (duration(Lang::Fr, 187_200.0), duration(Lang::En, 187_200.0), "2~j 4~h", "2~d 4~h"),
            (
                day(Lang::Fr, "2026-11-20T07:01:10+01:00"),
                day(Lang::En, "2026-11-20T07:01:10+01:00"),
                "20/11/2026 06:01~UTC",
                "2026-11-20 06:01~UTC",
            ),
            (day(Lang::Fr, "never"), day(Lang::En, "never"), "never", "never"),
        ] {
            assert_eq!((plain(fr).as_str(), plain(en).as_str()), (french, english));
        }
    }

    #[test]
    fn a_clock_that_went_back_makes_no_negative_age() {
        assert_eq!(seconds_between("2026-11-20T06:00:00Z", "2026-11-20T06:18:00Z"), Some(1080.0));
        assert_eq!(seconds_between("2026-11-20T06:18:00Z", "2026-11-20T06:00:00Z"), Some(0.0));
        assert_eq!(seconds_between("", "2026-11-20T06:00:00Z"), None);
    }
}
