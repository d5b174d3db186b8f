//! Moments and durations: their text and their parts. Local time is UTC.

use std::fmt;

use jiff::{Timestamp, Zoned, tz::TimeZone};

use super::value::Value;

const DAY: i64 = 86_400;

/// The reader of the text in `absTime("…")` or `relTime("…")`.
pub(super) fn literal(function: &str) -> Option<fn(&str) -> Option<Value>> {
    if function.eq_ignore_ascii_case("abstime") {
        Some(read_moment)
    } else if function.eq_ignore_ascii_case("reltime") {
        Some(|text| read_duration(text).map(Value::RelativeTime))
    } else {
        None
    }
}

/// A moment as `2003-01-25T09:00:00-06:00`: a year of four digits, then month, day, hour, minute
/// and second of two, whatever stands between them; the last ones may be missing.
fn read_moment(text: &str) -> Option<Value> {
    let (text, offset) = split_zone(text);
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut field = |width: usize| {
        at += bytes.get(at..)?.iter().take_while(|byte| !byte.is_ascii_digit()).count();
        let digits = bytes.get(at..at + width)?;
        at += width;
        let leading = digits.iter().take_while(|byte| byte.is_ascii_digit());
        Some(leading.fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
    };
    let year = field(4)?;
    // What is missing is zero, and a zeroth month or day is the one before the first.
    let [month, day, hour, minute, second] = [2; 5].map(field);
    if bytes.get(at..).is_some_and(|rest| rest.iter().any(u8::is_ascii_digit)) {
        return None;
    }
    let month = month.map_or(0, |month| month - 1);
    let days = days_since_1970(year + month.div_euclid(12), month.rem_euclid(12) + 1)
        + day.unwrap_or(0)
        - 1;
    let seconds =
        days * DAY + hour.unwrap_or(0) * 3600 + minute.unwrap_or(0) * 60 + second.unwrap_or(0)
            - i64::from(offset);
    Some(Value::AbsoluteTime { seconds, offset })
}

/// The text without its zone, and the zone in seconds east of UTC.
fn split_zone(text: &str) -> (String, i32) {
    let trimmed = text.trim_ascii_end();
    if let Some(rest) = trimmed.strip_suffix(['z', 'Z'])
        && !rest.is_empty()
    {
        return (rest.to_owned(), 0);
    }
    let tail: Vec<char> = text.chars().rev().take(6).collect();
    let number = |tens: char, ones: char| {
        let digit = |c: char| c.to_digit(10).and_then(|digit| i32::try_from(digit).ok());
        Some(digit(tens)? * 10 + digit(ones)?)
    };
    let zone = match tail[..] {
        [m, n, h, i, sign @ ('+' | '-'), _] => Some((5, sign, number(i, h), number(n, m))),
        [m, n, ':', h, i, sign @ ('+' | '-')] => Some((6, sign, number(i, h), number(n, m))),
        _ => None,
    };
    if let Some((length, sign, Some(hours), Some(minutes))) = zone
        && text.len() > length
    {
        let seconds = hours * 3600 + minutes * 60;
        let seconds = if sign == '-' { -seconds } else { seconds };
        return (text[..text.len() - length].to_owned(), seconds);
    }
    (text.to_owned(), 0)
}

/// Days from 1970-01-01 to the first of a month, in the proleptic Gregorian calendar.
fn days_since_1970(year: i64, month: i64) -> i64 {
    // Years begin in March, so that the day of February 29 is a year's last.
    let year = year - i64::from(month <= 2);
    let month = (month + 9) % 12;
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * month + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A duration as `[[[days+]hours:]minutes:]seconds`, or with the units `d h m s`; seconds may have
/// a fraction, and `-` may stand in front.
fn read_duration(text: &str) -> Option<f64> {
    let mut rest = text.trim_ascii_end();
    let mut field = |units: [char; 3], fraction: bool, needs_unit: bool| {
        let had = rest.strip_suffix(units);
        let Some(before) = had.or_else(|| (!needs_unit).then_some(rest)) else { return 0.0 };
        let before = before.trim_ascii_end();
        let is_digit = |c: char| c.is_ascii_digit();
        let mut start = before.trim_end_matches(is_digit).len();
        if fraction && before[..start].ends_with('.') {
            start = before[..start - 1].trim_end_matches(is_digit).len();
        }
        let value = before[start..].parse().unwrap_or(0.0);
        rest = before[..start].trim_ascii_end();
        value
    };
    let seconds: f64 = field(['s', 'S', 's'], true, false);
    let minutes: f64 = field(['m', 'M', ':'], false, true);
    let hours: f64 = field(['h', 'H', ':'], false, true);
    let days: f64 = field(['d', 'D', '+'], false, true);
    let (rest, sign) = rest.strip_suffix('-').map_or((rest, 1.0), |rest| (rest, -1.0));
    if !rest.trim_ascii().is_empty() {
        return None;
    }
    Some(sign * (days * 86_400.0 + hours * 3600.0 + minutes * 60.0 + seconds))
}

/// The moment with its clock at `offset`. Beyond the years 0 to 9999 it is the nearest that is not.
pub(super) fn zoned(seconds: i64, offset: i32) -> Zoned {
    let shown = seconds.saturating_add(offset.into());
    let bound = |moment: Timestamp| moment.as_second();
    let shown = shown.clamp(bound(Timestamp::MIN), bound(Timestamp::MAX));
    Timestamp::from_second(shown).unwrap_or_default().to_zoned(TimeZone::UTC)
}

/// A moment as `2003-01-25T09:00:00-06:00`.
pub(super) fn write_moment(out: &mut dyn fmt::Write, seconds: i64, offset: i32) -> fmt::Result {
    let clock = zoned(seconds, offset);
    let sign = if offset > 0 { '+' } else { '-' };
    let (hours, minutes) = (offset.unsigned_abs() / 3600, offset.unsigned_abs() / 60 % 60);
    write!(out, "{}{sign}{hours:02}:{minutes:02}", clock.strftime("%-Y-%m-%dT%H:%M:%S"))
}

/// A duration as `1+03:46:40`, without the parts in front that are zero.
pub(super) fn write_duration(out: &mut dyn fmt::Write, seconds: f64) -> fmt::Result {
    if seconds < 0.0 {
        out.write_char('-')?;
    }
    // What is beyond all days is the last.
    let whole = super::numbers::to_integer(seconds.abs().min(9e18));
    let fraction = seconds.abs().fract();
    let (days, hours, minutes) = (whole / DAY, whole % DAY / 3600, whole % 3600 / 60);
    match (days, hours, minutes) {
        (0, 0, 0) => {}
        (0, 0, _) => write!(out, "{minutes:02}:")?,
        (0, _, _) => write!(out, "{hours:02}:{minutes:02}:")?,
        _ => write!(out, "{days}+{hours:02}:{minutes:02}:")?,
    }
    let second = whole % 60;
    if fraction == 0.0 {
        return write!(out, "{second:02}");
    }
    // C's `%02g`: six digits.
    let value = super::numbers::to_real(second) + fraction;
    let places = if value >= 10.0 { 4 } else { 5 };
    let text = format!("{value:.places$}");
    write!(out, "{}", text.trim_end_matches('0').trim_end_matches('.'))
}
