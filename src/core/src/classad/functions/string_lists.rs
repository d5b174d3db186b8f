//! Functions on strings that hold lists: `"a, b, c"`.

use super::Call;
use crate::classad::{evaluate::Result, numbers, value::Value};

const BLANKS: [char; 6] = [' ', '\t', '\n', '\r', '\x0b', '\x0c'];

/// The parts between delimiters, without blanks around them and without empty ones.
pub(super) fn parts<'a>(text: &'a str, delimiters: &str) -> impl Iterator<Item = &'a str> {
    text.split(move |c| delimiters.contains(c))
        .map(|part| part.trim_matches(BLANKS))
        .filter(|part| !part.is_empty())
}

/// `list[, delimiters]`, all strings.
fn list_and_delimiters(call: &mut Call<'_>) -> Result<Option<(String, String)>> {
    if !matches!(call.count(), 1 | 2) {
        return Ok(None);
    }
    let values = call.values()?;
    let delimiters = match values.get(1) {
        None => ", ",
        Some(Value::String(delimiters)) => delimiters,
        Some(_) => return Ok(None),
    };
    let Some(text) = values.first().and_then(Value::as_str) else { return Ok(None) };
    call.spend(text.len() * (1 + delimiters.len()) / 64)?;
    Ok(Some((text.to_owned(), delimiters.to_owned())))
}

pub(super) fn size(call: &mut Call<'_>) -> Result {
    let Some((text, delimiters)) = list_and_delimiters(call)? else { return Ok(Value::Error) };
    let count = parts(&text, &delimiters).count();
    Ok(Value::Integer(i64::try_from(count).unwrap_or(i64::MAX)))
}

/// Sum, average, least and greatest; an integer if all parts are.
pub(super) fn summary(call: &mut Call<'_>) -> Result {
    let Some((text, delimiters)) = list_and_delimiters(call)? else { return Ok(Value::Error) };
    // HTCondor begins with the greatest and with the least positive `float`, not with the first part.
    let (mut result, combine): (f64, fn(f64, f64) -> f64) = match call.name {
        "stringlistmin" => (f32::MAX.into(), |a, b| if a < b { a } else { b }),
        "stringlistmax" => (f32::MIN_POSITIVE.into(), |a, b| if a > b { a } else { b }),
        _ => (0.0, |a, b| a + b),
    };
    let (mut count, mut is_real) = (0_i64, false);
    for part in parts(&text, &delimiters) {
        let Some(number) = numbers::leading_real(part) else { return Ok(Value::Error) };
        count += 1;
        is_real |= !part.bytes().all(|byte| byte.is_ascii_digit() || b"+-".contains(&byte));
        result = combine(number, result);
    }
    Ok(match (count, call.name) {
        (0, "stringlistsum" | "stringlistavg") => Value::Real(0.0),
        (0, _) => Value::Undefined,
        (_, "stringlistavg") => number(result / numbers::to_real(count), is_real),
        _ => number(result, is_real),
    })
}

fn number(value: f64, is_real: bool) -> Value {
    if is_real { Value::Real(value) } else { Value::Integer(numbers::to_integer(value)) }
}

/// Whether an item, or each of a list of items, is in a list; undefined counts as empty.
pub(super) fn member(call: &mut Call<'_>) -> Result {
    if !matches!(call.count(), 2 | 3) {
        return Ok(Value::Error);
    }
    let values = call.values()?;
    let mut texts = Vec::new();
    for value in &values {
        texts.push(match value {
            Value::String(text) => Some(&**text),
            Value::Undefined => None,
            _ => return Ok(Value::Error),
        });
    }
    let (item, list) = match texts[..] {
        [None, None, ..] => return Ok(Value::Undefined),
        [item, list, ..] => (item.unwrap_or_default(), list.unwrap_or_default()),
        _ => return Ok(Value::Error),
    };
    let delimiters = texts.get(2).copied().flatten().unwrap_or(", \t\r\n");
    call.spend((list.len() + item.len()) * (1 + delimiters.len()) / 64)?;
    let members: Vec<&str> = parts(list, delimiters).collect();
    let ignore_case = call.name.starts_with("stringlisti");
    let same = |a: &str, b: &str| if ignore_case { a.eq_ignore_ascii_case(b) } else { a == b };
    let contains = |item: &str| members.iter().any(|member| same(member, item));
    if !call.name.ends_with("subsetmatch") {
        return Ok(Value::Boolean(contains(item)));
    }
    if item.is_empty() {
        return Ok(Value::Boolean(true));
    }
    let items: Vec<&str> = parts(item, delimiters).collect();
    call.spend(items.len() * members.len() / 4)?;
    Ok(Value::Boolean(!items.is_empty() && items.into_iter().all(contains)))
}

/// Whether two lists have a part in common. Blanks belong to the parts if they are no delimiters.
pub(super) fn intersect(call: &mut Call<'_>) -> Result {
    if !matches!(call.count(), 2 | 3) {
        return Ok(Value::Error);
    }
    let values: Vec<Value> = (0..call.count()).map(|index| call.attempt(index)).collect();
    if values.iter().any(Value::is_error) {
        return Ok(Value::Error);
    }
    if values.iter().any(Value::is_undefined) {
        return Ok(Value::Undefined);
    }
    let texts: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
    let (left, right, delimiters) = match texts[..] {
        [left, right] if values.len() == 2 => (left, right, " ,"),
        [left, right, ""] => (left, right, " ,"),
        [left, right, delimiters] => (left, right, delimiters),
        _ => return Ok(Value::Error),
    };
    call.spend((left.len() + right.len()) * (1 + delimiters.len()) / 64)?;
    let cut = |text: &'_ str| -> Vec<String> {
        let parts = text.split(|c| delimiters.contains(c)).filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    };
    let (left, right) = (cut(left), cut(right));
    call.spend(left.len() * right.len() / 4)?;
    Ok(Value::Boolean(left.iter().any(|part| right.contains(part))))
}
