//! Versions: strings in which digits are numbers.

use super::{Call, text, text::two_texts};
use crate::classad::{evaluate::Result, value::Value};

pub(super) fn compare(call: &mut Call<'_>) -> Result {
    let (left, right) = match two_texts(call)? {
        Ok(texts) => texts,
        Err(value) => return Ok(value),
    };
    let order = natural_order(&left, &right);
    Ok(match call.name {
        "versioncmp" => Value::Integer(order),
        "versionge" => Value::Boolean(order >= 0),
        "versiongt" => Value::Boolean(order > 0),
        "versionle" => Value::Boolean(order <= 0),
        "versionlt" => Value::Boolean(order < 0),
        _ => Value::Boolean(order == 0),
    })
}

pub(super) fn in_range(call: &mut Call<'_>) -> Result {
    let Some([tested, least, most]) = call.exactly()? else { return Ok(Value::Error) };
    if least.is_undefined() || most.is_undefined() {
        return Ok(Value::Undefined);
    }
    let texts = (text(call, tested)?, text(call, least)?, text(call, most)?);
    let (Some(tested), Some(least), Some(most)) = texts else { return Ok(Value::Error) };
    call.spend(tested.len() / 64)?;
    let within = natural_order(&least, &tested) <= 0 && natural_order(&tested, &most) <= 0;
    Ok(Value::Boolean(within))
}

/// Below, at or above zero; how far depends on what differs first. The order of C's `strverscmp`:
/// numbers with more leading zeros come first, as if they were fractions.
fn natural_order(left: &str, right: &str) -> i64 {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let byte = |text: &[u8], at: usize| text.get(at).copied().unwrap_or(0);
    let is_digit = |text: &[u8], at: usize| byte(text, at).is_ascii_digit();
    let differ = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    // Bytes are signed there.
    let signed = |text: &[u8]| i64::from(byte(text, differ).cast_signed());
    let difference = signed(left) - signed(right);
    if differ == left.len() && differ == right.len() {
        return 0;
    }
    let common = left.get(..differ).unwrap_or_default();
    let start = differ - common.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    if start == differ && !(is_digit(left, differ) && is_digit(right, differ)) {
        return difference;
    }
    let run = |text: &[u8], from: usize, of: fn(&u8) -> bool| {
        text.iter().skip(from).take_while(|byte| of(byte)).count()
    };
    // A last zero is a number, not a leading zero.
    let zeros = |text: &[u8]| {
        let zeros = run(text, start, |byte| *byte == b'0');
        if zeros > 0 && !is_digit(text, start + zeros) { zeros - 1 } else { zeros }
    };
    let distance = |a: usize, b: usize| {
        i64::try_from(a).unwrap_or(i64::MAX) - i64::try_from(b).unwrap_or(i64::MAX)
    };
    let (left_zeros, right_zeros) = (zeros(left), zeros(right));
    if left_zeros != right_zeros {
        return distance(right_zeros, left_zeros);
    }
    let digits = |text: &[u8]| run(text, start, u8::is_ascii_digit);
    if left_zeros == 0 && digits(left) != digits(right) {
        return distance(digits(left), digits(right));
    }
    difference
}
