//! Functions on strings. Sizes and places count bytes, as in `HTCondor`.

use std::cmp::Ordering;

use super::{Call, text};
use crate::classad::{evaluate::Result, numbers, operators::compare_ignoring_case, value::Value};

pub(super) fn string(call: &mut Call<'_>) -> Result {
    let Some([value]) = call.exactly()? else { return Ok(Value::Error) };
    call.evaluator.text_of(value)
}

/// The texts of all arguments; undefined if one is.
pub(super) fn strcat(call: &mut Call<'_>) -> Result {
    let mut joined = String::new();
    for index in 0..call.count() {
        let value = call.value(index)?;
        match call.evaluator.text_of(value)? {
            Value::String(part) => joined.push_str(&part),
            other => return Ok(other),
        }
        call.spend(joined.len() / 1024)?;
        if joined.len() > crate::classad::limits::STRING {
            return Err(crate::classad::evaluate::Failed);
        }
    }
    call.evaluator.string(joined)
}

/// `join(separator, …)`, `join(separator, list)` and `join(list)`. Undefined parts do not count.
pub(super) fn join(call: &mut Call<'_>) -> Result {
    let mut values = call.values()?;
    if let Some(Value::List(list)) = values.last()
        && values.len() <= 2
    {
        let list = list.clone();
        values.pop();
        if values.is_empty() {
            values.push(Value::from(""));
        }
        let items = call.items(&list)?;
        values.extend(items);
    }
    let mut joined = String::new();
    let mut separator = String::new();
    let (mut some_defined, mut some_undefined) = (false, false);
    for (index, value) in values.into_iter().enumerate() {
        let part = match call.evaluator.text_of(value)? {
            Value::String(part) => part,
            Value::Undefined => {
                some_undefined = true;
                continue;
            }
            _ => return Ok(Value::Error),
        };
        if index == 0 {
            part.as_ref().clone_into(&mut separator);
            continue;
        }
        if !joined.is_empty() {
            joined.push_str(&separator);
        }
        some_defined = true;
        joined.push_str(&part);
        call.spend((part.len() + separator.len()) / 64)?;
    }
    if some_undefined && !some_defined {
        return Ok(Value::Undefined);
    }
    call.evaluator.string(joined)
}

/// ASCII letters only.
pub(super) fn change_case(call: &mut Call<'_>) -> Result {
    let Some([value]) = call.exactly()? else { return Ok(Value::Error) };
    match call.evaluator.text_of(value)? {
        Value::String(text) if call.name == "tolower" => {
            call.evaluator.string(text.to_ascii_lowercase())
        }
        Value::String(text) => call.evaluator.string(text.to_ascii_uppercase()),
        other => Ok(other),
    }
}

/// `substr(text, start[, length])`; negative numbers count from the end.
pub(super) fn substr(call: &mut Call<'_>) -> Result {
    if !matches!(call.count(), 2 | 3) {
        return Ok(Value::Error);
    }
    let values = call.values()?;
    if values.iter().any(Value::is_undefined) {
        return Ok(Value::Undefined);
    }
    let (text, start, length) = match values.as_slice() {
        [Value::String(text), Value::Integer(start)] => (text, *start, None),
        [Value::String(text), Value::Integer(start), Value::Integer(length)] => {
            (text, *start, Some(numbers::low_bits(*length)))
        }
        _ => return Ok(Value::Error),
    };
    let size = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let start = i64::from(numbers::low_bits(start));
    let start = if start < 0 { (size + start).max(0) } else { start.min(size) };
    let length = match length.map(i64::from) {
        None => size - start,
        Some(length) if length < 0 => (size - start + length).max(0),
        Some(length) => length.min(size - start),
    };
    let place = |at: i64| usize::try_from(at).unwrap_or(0);
    let part = text.as_bytes().get(place(start)..place(start + length)).unwrap_or_default();
    call.evaluator.string(String::from_utf8_lossy(part).into_owned())
}

/// The two texts that are to be compared, which is paid for; or what the comparison comes to without them.
pub(super) fn two_texts(
    call: &mut Call<'_>,
) -> Result<std::result::Result<(String, String), Value>> {
    let Some([left, right]) = call.exactly()? else { return Ok(Err(Value::Error)) };
    if left.is_undefined() || right.is_undefined() {
        return Ok(Err(Value::Undefined));
    }
    let (Some(left), Some(right)) = (text(call, left)?, text(call, right)?) else {
        return Ok(Err(Value::Error));
    };
    call.spend(left.len().min(right.len()) / 64)?;
    Ok(Ok((left, right)))
}

/// -1, 0 or 1, with or without regard to case.
pub(super) fn compare(call: &mut Call<'_>) -> Result {
    let (left, right) = match two_texts(call)? {
        Ok(texts) => texts,
        Err(value) => return Ok(value),
    };
    let ordering =
        if call.name == "strcmp" { left.cmp(&right) } else { compare_ignoring_case(&left, &right) };
    Ok(Value::Integer(match ordering {
        Ordering::Less => -1,
        Ordering::Equal => 0,
        Ordering::Greater => 1,
    }))
}
