//! Regular expressions: Rust's, which match in linear time, on bytes. What only PCRE knows (looking
//! around, references back) is an error.

use regex::bytes::{Captures, Regex, RegexBuilder};

use super::{Call, string_lists};
use crate::classad::{evaluate::Result, limits, value::Value};

/// The most memory of a compiled pattern, in bytes.
const COMPILED: usize = 64 * 1024;
/// What it costs to compile a pattern, in steps.
const COMPILING: usize = 4_000;

/// What a byte of a text costs, in steps: at worst it takes as long as the pattern is large.
const MATCHING: usize = 4;

/// A pattern with the options `i`, `m`, `s` and `x`; others do nothing. `None` if it is none.
pub(super) fn compile(call: &mut Call<'_>, pattern: &str, options: &str) -> Result<Option<Regex>> {
    call.spend(COMPILING + pattern.len())?;
    Ok(RegexBuilder::new(pattern)
        .unicode(false)
        .case_insensitive(options.contains('i'))
        .multi_line(options.contains('m'))
        .dot_matches_new_line(options.contains('s'))
        .ignore_whitespace(options.contains('x'))
        .nest_limit(50)
        .size_limit(COMPILED)
        .dfa_size_limit(COMPILED)
        .build()
        .ok())
}

/// What is wrong with arguments that must be strings: an error goes before undefined.
fn wrong(values: &[Value]) -> Option<Value> {
    if values.iter().any(Value::is_error) {
        Some(Value::Error)
    } else if values.iter().any(Value::is_undefined) {
        Some(Value::Undefined)
    } else {
        None
    }
}

/// `regexp(pattern, text[, options])`: whether some part of the text matches.
pub(super) fn regexp(call: &mut Call<'_>) -> Result {
    if !matches!(call.count(), 2 | 3) {
        return Ok(Value::Error);
    }
    let values = call.values()?;
    if let Some(value) = wrong(&values) {
        return Ok(value);
    }
    let texts: Vec<&str> = values.iter().map_while(Value::as_str).collect();
    let (pattern, text, options) = match texts[..] {
        [pattern, text] if values.len() == 2 => (pattern, text, ""),
        [pattern, text, options] => (pattern, text, options),
        _ => return Ok(Value::Error),
    };
    let Some(pattern) = compile(call, pattern, options)? else { return Ok(Value::Error) };
    matches(call, &pattern, text).map(Value::Boolean)
}

fn matches(call: &mut Call<'_>, pattern: &Regex, text: &str) -> Result<bool> {
    call.spend(text.len() * MATCHING)?;
    Ok(pattern.is_match(text.as_bytes()))
}

/// `regexpMember(pattern, list[, options])`
pub(super) fn regexp_member(call: &mut Call<'_>) -> Result {
    if !matches!(call.count(), 2 | 3) {
        return Ok(Value::Error);
    }
    let values = call.values()?;
    if let Some(value) = wrong(&values) {
        return Ok(value);
    }
    let (pattern, list, options) = match values.as_slice() {
        [Value::String(pattern), Value::List(list)] => (pattern, list, ""),
        [Value::String(pattern), Value::List(list), Value::String(options)] => {
            (pattern, list, &**options)
        }
        _ => return Ok(Value::Error),
    };
    // A pattern that is none matches nothing here.
    let compiled = compile(call, pattern, options)?;
    let mut answer = Value::Boolean(false);
    for item in list.items() {
        match call.attempt_item(list, item) {
            Value::String(text) => {
                if let Some(pattern) = &compiled
                    && matches(call, pattern, &text)?
                {
                    return Ok(Value::Boolean(true));
                }
            }
            Value::Undefined => answer = Value::Undefined,
            _ => return Ok(Value::Error),
        }
    }
    Ok(answer)
}

/// `stringList_regexpMember(pattern, text[, delimiters[, options]])`
pub(super) fn string_list_regexp_member(call: &mut Call<'_>) -> Result {
    if !matches!(call.count(), 2..=4) {
        return Ok(Value::Error);
    }
    let values = call.values()?;
    let texts: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
    let (pattern, list) = match texts[..] {
        [pattern, list, ..] if texts.len() == values.len() => (pattern, list),
        _ => return Ok(Value::Error),
    };
    let delimiters = texts.get(2).copied().unwrap_or(", ");
    let options = texts.get(3).copied().unwrap_or("").to_ascii_lowercase();
    let Some(pattern) = compile(call, pattern, &options)? else { return Ok(Value::Error) };
    call.spend(list.len() * (1 + delimiters.len()) / 64)?;
    let mut answer = Value::Undefined;
    for part in string_lists::parts(list, delimiters) {
        let found = matches(call, &pattern, part)?;
        answer = Value::Boolean(found || answer == Value::Boolean(true));
    }
    Ok(answer)
}

/// `regexps`, `replace` and `replaceAll`: `(pattern, text, replacement[, options])`. With the option
/// `f` the rest of the text is kept, with `g` every match is replaced.
pub(super) fn replace(call: &mut Call<'_>) -> Result {
    if !matches!(call.count(), 3 | 4) {
        return Ok(Value::Error);
    }
    let values = call.values()?;
    if let Some(value) = wrong(&values) {
        return Ok(value);
    }
    let texts: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
    let (pattern, text, replacement) = match texts[..] {
        [pattern, text, replacement, ..] if texts.len() == values.len() => {
            (pattern, text, replacement)
        }
        _ => return Ok(Value::Error),
    };
    let options = texts.get(3).copied().unwrap_or("");
    let full = call.name != "regexps" || options.contains('f');
    let all = call.name == "replaceall" || options.contains('g');
    let Some(pattern) = compile(call, pattern, options)? else { return Ok(Value::Error) };
    let count = if all { usize::MAX } else { 1 };
    let mut result = Vec::new();
    let mut end = 0;
    call.spend(text.len() * MATCHING)?;
    for found in pattern.captures_iter(text.as_bytes()).take(count) {
        let whole = found.get_match();
        // There `HTCondor` runs past the end, and fails.
        if all && whole.is_empty() && whole.start() == text.len() {
            return Ok(Value::Error);
        }
        if full {
            result.extend_from_slice(text.as_bytes().get(end..whole.start()).unwrap_or_default());
        }
        if !insert(&mut result, &found, replacement) {
            return Ok(Value::Error);
        }
        end = whole.end();
        call.spend(1 + replacement.len() / 16 + whole.len())?;
        if result.len() > limits::STRING {
            return Err(crate::classad::evaluate::Failed);
        }
    }
    if full {
        result.extend_from_slice(text.as_bytes().get(end..).unwrap_or_default());
    }
    call.evaluator.string(String::from_utf8_lossy(&result).into_owned())
}

/// Appends a replacement, in which `\1` stands for a group. False if there is no such group.
fn insert(result: &mut Vec<u8>, found: &Captures<'_>, replacement: &str) -> bool {
    let groups = (0..found.len()).rev().find(|group| found.get(*group).is_some()).unwrap_or(0) + 1;
    let mut bytes = replacement.bytes().peekable();
    while let Some(byte) = bytes.next() {
        let digit = bytes.peek().filter(|digit| byte == b'\\' && digit.is_ascii_digit()).copied();
        let Some(digit) = digit else {
            result.push(byte);
            continue;
        };
        bytes.next();
        let group = usize::from(digit - b'0');
        if group >= groups {
            return false;
        }
        result.extend_from_slice(found.get(group).map_or(&[][..], |group| group.as_bytes()));
    }
    true
}
