//! Numbers to text and back, as C does it.

/// A real as `%1.15E`: 16 digits, always an exponent.
pub(super) fn scientific(value: f64) -> String {
    let (digits, exponent) = split(value);
    format!("{digits}E{}", sign_and_two_digits(exponent))
}

/// A real as `%.16G`, with `.0` where it would look like an integer.
pub(super) fn shortest(value: f64) -> String {
    let (digits, exponent) = split(value);
    let (sign, digits) = digits.strip_prefix('-').map_or(("", &*digits), |rest| ("-", rest));
    let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_end_matches('0');
    let digits = if digits.is_empty() { "0" } else { digits };
    if !(-4..16).contains(&exponent) {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        return format!("{sign}{first}{point}{rest}E{}", sign_and_two_digits(exponent));
    }
    let Ok(whole) = usize::try_from(exponent) else {
        let zeros = usize::try_from(-exponent - 1).unwrap_or(0);
        return format!("{sign}0.{:0<zeros$}{digits}", "");
    };
    if digits.len() > whole + 1 {
        let (whole, fraction) = digits.split_at(whole + 1);
        return format!("{sign}{whole}.{fraction}");
    }
    format!("{sign}{digits:0<width$}.0", width = whole + 1)
}

/// 16 digits with a point after the first, and the exponent.
fn split(value: f64) -> (String, i32) {
    let text = format!("{value:.15e}");
    match text.split_once('e') {
        Some((digits, exponent)) => (digits.to_owned(), exponent.parse().unwrap_or(0)),
        None => (text, 0),
    }
}

fn sign_and_two_digits(exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{:02}", exponent.unsigned_abs())
}

/// A real cut to an integer. What does not fit, and what is no number, is the least integer, as on
/// the machines on which `HTCondor` runs.
#[allow(clippy::cast_possible_truncation, reason = "the range is checked before")]
pub(super) fn to_integer(value: f64) -> i64 {
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    if (-BOUND..BOUND).contains(&value) { value as i64 } else { i64::MIN }
}

/// A real cut to 32 bits, in the same way.
#[allow(clippy::cast_possible_truncation, reason = "the range is checked before")]
pub(super) fn to_int32(value: f64) -> i32 {
    if value > -2_147_483_649.0 && value < 2_147_483_648.0 { value as i32 } else { i32::MIN }
}

/// An integer as a real, which rounds it.
#[allow(clippy::cast_precision_loss, reason = "this is what arithmetic with reals does")]
pub(super) fn to_real(value: i64) -> f64 {
    value as f64
}

/// The low 32 bits, which is what many functions take from an integer.
#[allow(clippy::cast_possible_truncation, reason = "HTCondor cuts there too")]
pub(super) fn low_bits(value: i64) -> i32 {
    value as i32
}

/// The number with which a text begins, after blanks; what follows does not matter. `None` if it
/// does not begin with one. The `strtod` of C, without its hexadecimal.
pub(super) fn leading_real(text: &str) -> Option<f64> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    let begins = |word: &str| {
        unsigned.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    if begins("inf") {
        return Some(sign * f64::INFINITY);
    }
    if begins("nan") {
        return Some(f64::NAN);
    }
    let digits = |from: usize| unsigned.bytes().skip(from).take_while(u8::is_ascii_digit).count();
    let byte = |at: usize| unsigned.as_bytes().get(at).copied();
    let mut end = digits(0);
    let mut any = end > 0;
    if byte(end) == Some(b'.') {
        let fraction = digits(end + 1);
        any |= fraction > 0;
        end += if any { 1 + fraction } else { 0 };
    }
    if !any {
        return None;
    }
    if matches!(byte(end), Some(b'e' | b'E')) {
        let signed = usize::from(matches!(byte(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + signed);
        end += if exponent > 0 { 1 + signed + exponent } else { 0 };
    }
    unsigned.get(..end)?.parse().ok().map(|value: f64| sign * value)
}
