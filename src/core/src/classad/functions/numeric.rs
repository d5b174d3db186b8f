//! Conversions to numbers, and arithmetic.

use super::Call;
use crate::classad::{
    evaluate::{Failed, Result},
    numbers,
    value::Value,
};

/// A value as a real, or what it is instead.
fn as_real(value: &Value) -> std::result::Result<f64, Value> {
    match value {
        Value::Undefined => Err(Value::Undefined),
        Value::Boolean(value) => Ok(if *value { 1.0 } else { 0.0 }),
        Value::Integer(value) => Ok(numbers::to_real(*value)),
        Value::Real(value) => Ok(*value),
        Value::String(text) => numbers::leading_real(text).ok_or(Value::Error),
        Value::AbsoluteTime { seconds, .. } => Ok(numbers::to_real(*seconds)),
        Value::RelativeTime(seconds) => Ok(numbers::to_int32(*seconds).into()),
        Value::Error | Value::List(_) | Value::Ad(_) => Err(Value::Error),
    }
}

/// A value as an integer, or what it is instead.
pub(super) fn as_integer(value: &Value) -> std::result::Result<i64, Value> {
    match value {
        Value::Boolean(value) => Ok((*value).into()),
        Value::Integer(value) => Ok(*value),
        Value::AbsoluteTime { seconds, .. } => Ok(*seconds),
        other => as_real(other).map(numbers::to_integer),
    }
}

pub(super) fn int(call: &mut Call<'_>) -> Result {
    let Some([value]) = call.exactly()? else { return Ok(Value::Error) };
    Ok(as_integer(&value).map_or_else(|other| other, Value::Integer))
}

pub(super) fn real(call: &mut Call<'_>) -> Result {
    let Some([value]) = call.exactly()? else { return Ok(Value::Error) };
    Ok(as_real(&value).map_or_else(|other| other, Value::Real))
}

pub(super) fn bool(call: &mut Call<'_>) -> Result {
    let Some([value]) = call.exactly()? else { return Ok(Value::Error) };
    Ok(match value {
        Value::String(text) if text.eq_ignore_ascii_case("true") => Value::Boolean(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Value::Boolean(false),
        Value::Undefined | Value::String(_) => Value::Undefined,
        Value::RelativeTime(seconds) => Value::Boolean(numbers::to_int32(seconds) != 0),
        other => other.as_condition().map_or(Value::Error, Value::Boolean),
    })
}

/// To the next integer below, above, or the nearest, the even one of two.
pub(super) fn round(call: &mut Call<'_>) -> Result {
    let Some([value]) = call.exactly()? else { return Ok(Value::Error) };
    if let Value::Integer(_) = value {
        return Ok(value);
    }
    let Ok(real) = as_real(&value) else { return Ok(Value::Error) };
    Ok(Value::Integer(numbers::to_integer(match call.name {
        "floor" => real.floor(),
        "round" => real.round_ties_even(),
        _ => real.ceil(),
    })))
}

pub(super) fn pow(call: &mut Call<'_>) -> Result {
    let Some([base, exponent]) = call.exactly()? else { return Ok(Value::Error) };
    if let (&Value::Integer(base), &Value::Integer(exponent)) = (&base, &exponent)
        && exponent >= 0
    {
        let power = numbers::to_real(base).powf(numbers::to_real(exponent));
        // HTCondor rounds up here, which is one too many for negative results.
        return Ok(Value::Integer(numbers::to_integer(power + 0.5)));
    }
    match (as_real(&base), as_real(&exponent)) {
        (Ok(base), Ok(exponent)) => Ok(Value::Real(base.powf(exponent))),
        _ => Ok(Value::Error),
    }
}

/// The next multiple of a base, or the first of a list that is large enough.
pub(super) fn quantize(call: &mut Call<'_>) -> Result {
    let Some([value, base]) = call.exactly()? else { return Ok(Value::Error) };
    let Ok(real) = as_real(&value) else { return Ok(Value::Error) };
    let (base, real_base) = if let Value::List(list) = base {
        let mut last = (Value::Real(0.0), 0.0);
        for item in list.items() {
            let item = call.evaluator.item(&list, item, call.scope)?;
            let Ok(size) = as_real(&item) else { return Ok(Value::Error) };
            if size >= real {
                return Ok(item);
            }
            last = (item, size);
        }
        last
    } else {
        let Ok(size) = as_real(&base) else { return Ok(Value::Error) };
        (base, size)
    };
    Ok(match (value, base) {
        (value, Value::Integer(0)) => value,
        (Value::Integer(value), Value::Integer(base)) => {
            let steps = value.wrapping_add(base.wrapping_sub(1)).wrapping_div(base);
            Value::Integer(steps.wrapping_mul(base))
        }
        (_, Value::Integer(_)) => Value::Real((real / real_base).ceil() * real_base),
        (value, _) if real_base.abs() <= 1e-8 => value,
        _ => Value::Real((real / real_base).ceil() * real_base),
    })
}

/// A number from zero up to the argument, which it does not reach; from 0 to 1 without one.
pub(super) fn random(call: &mut Call<'_>) -> Result {
    let limit = match call.count() {
        0 => Value::Real(1.0),
        1 => call.value(0)?,
        _ => return Ok(Value::Error),
    };
    let bits = call.evaluator.random() >> 11;
    match limit {
        Value::Integer(limit) if limit > 0 => {
            let bits = i64::try_from(bits).unwrap_or_default();
            Ok(Value::Integer(bits % limit))
        }
        Value::Real(limit) if limit > 0.0 => {
            let bits = i64::try_from(bits).unwrap_or_default();
            let fraction = numbers::to_real(bits) / numbers::to_real(1 << 53);
            Ok(Value::Real(fraction * limit))
        }
        Value::Integer(_) | Value::Real(_) => Err(Failed),
        _ => Ok(Value::Error),
    }
}
