//! Functions on moments and durations. Local time is UTC.

use super::{Call, numeric};
use crate::classad::{
    ad::ClassAd,
    evaluate::{Failed, Result},
    numbers, times,
    value::{NestedAd, Value},
};

/// What is now, in four ways. None takes an argument.
pub(super) fn present(call: &mut Call<'_>) -> Result {
    call.spend(1)?;
    let seconds = call.evaluator.context.now.as_second();
    Ok(match call.name {
        _ if call.count() > 0 => Value::Error,
        "time" => Value::Integer(seconds),
        // Since midnight.
        "daytime" => Value::RelativeTime(numbers::to_real(seconds.rem_euclid(86_400))),
        "timezoneoffset" => Value::RelativeTime(0.0),
        _ => Value::AbsoluteTime { seconds, offset: 0 },
    })
}

/// `absTime([seconds[, zone]])`
pub(super) fn abs_time(call: &mut Call<'_>) -> Result {
    if call.count() == 0 {
        return present(call);
    }
    if call.count() > 2 {
        return Ok(Value::Error);
    }
    let values = call.values()?;
    let offset = match values.get(1) {
        None => 0,
        Some(Value::Integer(offset)) => numbers::low_bits(*offset),
        Some(Value::Real(offset) | Value::RelativeTime(offset)) => numbers::to_int32(*offset),
        Some(_) => return Ok(Value::Error),
    };
    let seconds = match values.first() {
        Some(Value::Undefined) => return Ok(Value::Undefined),
        // Text that is not written right there is passed through, as it is.
        Some(value @ (Value::AbsoluteTime { .. } | Value::String(_))) => return Ok(value.clone()),
        // `HTCondor` takes this zone for a failure.
        Some(Value::Integer(_)) if offset == -1 => return Err(Failed),
        Some(Value::Integer(seconds)) => numbers::low_bits(*seconds).into(),
        Some(Value::Real(seconds) | Value::RelativeTime(seconds)) => {
            numbers::to_int32(*seconds).into()
        }
        _ => return Ok(Value::Error),
    };
    Ok(Value::AbsoluteTime { seconds, offset })
}

/// `relTime(seconds)`
pub(super) fn rel_time(call: &mut Call<'_>) -> Result {
    let Some([value]) = call.exactly()? else { return Ok(Value::Error) };
    Ok(match value {
        Value::Undefined | Value::RelativeTime(_) => value,
        Value::Integer(seconds) => Value::RelativeTime(numbers::low_bits(seconds).into()),
        Value::Real(seconds) => Value::RelativeTime(seconds),
        Value::AbsoluteTime { seconds, .. } => Value::RelativeTime(numbers::to_real(seconds)),
        // Text that is not written right there has no meaning to HTCondor.
        Value::String(_) => Value::RelativeTime(0.0),
        _ => Value::Error,
    })
}

/// `getYear` and its kind.
pub(super) fn field(call: &mut Call<'_>) -> Result {
    let Some([value]) = call.exactly()? else { return Ok(Value::Error) };
    let number = match value {
        Value::AbsoluteTime { seconds, .. } => {
            let clock = times::zoned(seconds, 0);
            match call.name {
                "getyear" => clock.year().into(),
                "getmonth" => clock.month().into(),
                "getdayofyear" => i64::from(clock.day_of_year()) - 1,
                "getdayofmonth" => clock.day().into(),
                "getdayofweek" => clock.weekday().to_sunday_zero_offset().into(),
                "gethours" => clock.hour().into(),
                "getminutes" => clock.minute().into(),
                "getseconds" => clock.second().into(),
                _ => return Ok(Value::Error),
            }
        }
        Value::RelativeTime(seconds) => {
            let seconds = i64::from(numbers::to_int32(seconds));
            match call.name {
                "getdays" => seconds / 86_400,
                "gethours" => seconds % 86_400 / 3600,
                "getminutes" => seconds % 3600 / 60,
                "getseconds" => seconds % 60,
                _ => return Ok(Value::Error),
            }
        }
        _ => return Ok(Value::Error),
    };
    Ok(Value::Integer(number))
}

/// A moment as seconds and zone.
fn moment(value: &Value) -> Option<(i64, i32)> {
    match value {
        Value::Integer(seconds) => Some((*seconds, 0)),
        Value::Real(seconds) => Some((numbers::to_int32(*seconds).into(), 0)),
        Value::AbsoluteTime { seconds, offset } => Some((*seconds, *offset)),
        _ => None,
    }
}

/// The parts of a time as an ad.
pub(super) fn split_time(call: &mut Call<'_>) -> Result {
    let Some([value]) = call.exactly()? else { return Ok(Value::Error) };
    let mut ad = ClassAd::new();
    if let Some((seconds, offset)) = moment(&value) {
        let clock = times::zoned(seconds, offset);
        ad.insert("Type", "AbsoluteTime");
        ad.insert("Year", i32::from(clock.year()));
        ad.insert("Month", i32::from(clock.month()));
        ad.insert("Day", i32::from(clock.day()));
        ad.insert("Hours", i32::from(clock.hour()));
        ad.insert("Minutes", i32::from(clock.minute()));
        ad.insert("Seconds", i32::from(clock.second()));
        ad.insert("Offset", offset);
    } else if let Value::RelativeTime(duration) = value {
        let whole = numbers::to_integer(duration.abs());
        let mut parts = [whole / 86_400, whole % 86_400 / 3600, whole % 3600 / 60];
        let mut seconds = numbers::to_real(whole % 60) + duration.abs().fract();
        if duration < 0.0 {
            // The sign is that of the first part which is not zero.
            match parts.iter_mut().find(|part| **part > 0) {
                Some(part) => *part = -*part,
                None => seconds = -seconds,
            }
        }
        let [days, hours, minutes] = parts;
        ad.insert("Type", "RelativeTime");
        ad.insert("Days", days);
        ad.insert("Hours", hours);
        ad.insert("Minutes", minutes);
        ad.insert("Seconds", seconds);
    } else {
        return Ok(if value.is_undefined() { Value::Undefined } else { Value::Error });
    }
    call.spend(10)?;
    Ok(Value::Ad(NestedAd { ad, parent: None }))
}

/// `formatTime([moment[, format]])`, the format as of C's `strftime`.
pub(super) fn format_time(call: &mut Call<'_>) -> Result {
    if call.count() > 2 {
        return Ok(Value::Error);
    }
    let values = call.values()?;
    let now = (call.evaluator.context.now.as_second(), 0);
    let Some((seconds, offset)) = values.first().map_or(Some(now), moment) else {
        return Ok(Value::Error);
    };
    let format = match values.get(1) {
        None => "%c",
        Some(Value::String(format)) => format,
        Some(_) => return Ok(Value::Error),
    };
    call.spend(format.len())?;
    let clock = times::zoned(seconds, offset);
    // Each directive alone, so that one that is unknown stays as it is.
    let mut formatted = String::new();
    let mut parts = format.split('%');
    formatted.push_str(parts.next().unwrap_or_default());
    while let Some(part) = parts.next() {
        let Some(directive) = part.chars().next() else {
            formatted.push('%');
            formatted.push_str(parts.next().unwrap_or_default());
            continue;
        };
        let spelled = match directive {
            'c' => "%a %b %e %H:%M:%S %-Y".to_owned(),
            'Y' => "%-Y".to_owned(),
            'x' => "%m/%d/%y".to_owned(),
            'X' => "%H:%M:%S".to_owned(),
            'r' => "%I:%M:%S %p".to_owned(),
            other => format!("%{other}"),
        };
        // Those that C knows; the library knows more.
        let known = "aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ".contains(directive);
        match jiff::fmt::strtime::format(&spelled, &clock) {
            Ok(text) if known => formatted.push_str(&text),
            _ => formatted.push_str(&spelled),
        }
        formatted.push_str(&part[directive.len_utf8()..]);
    }
    call.evaluator.string(formatted)
}

/// Seconds as `days+hours:minutes:seconds`.
pub(super) fn interval(call: &mut Call<'_>) -> Result {
    let Some([value]) = call.exactly()? else { return Ok(Value::Error) };
    let Ok(seconds) = numeric::as_integer(&value) else { return Ok(Value::Error) };
    let total = numbers::low_bits(seconds);
    let (days, hours, minutes) = (total / 86_400, total % 86_400 / 3600, total % 3600 / 60);
    let seconds = total % 60;
    let (h, m, s) = (hours.abs(), minutes.abs(), seconds.abs());
    call.evaluator.string(match (days, hours, minutes) {
        (0, 0, 0) => seconds.to_string(),
        (0, 0, _) => format!("{minutes}:{s:02}"),
        (0, _, _) => format!("{hours}:{m:02}:{s:02}"),
        _ => format!("{days}+{h:02}:{m:02}:{s:02}"),
    })
}
