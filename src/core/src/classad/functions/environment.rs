//! Environments and arguments, from and to `HTCondor`'s raw syntaxes.

use std::collections::BTreeMap;

use super::Call;
use crate::classad::{evaluate::Result, numbers, value::Value};

const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];
/// What separates the variables of the V1 syntax if it stands first.
const DELIMITERS: &str = "!#$%&*+,-/:;<>?@^`|~";

/// The parts of the V2 syntax: between blanks; within `'…'` blanks are part, and `''` is one quote.
fn split_v2(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut part: Option<String> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if BLANKS.contains(&c) {
            parts.extend(part.take());
            continue;
        }
        let part = part.get_or_insert_default();
        if c != '\'' {
            part.push(c);
            continue;
        }
        loop {
            match chars.next()? {
                '\'' if chars.next_if_eq(&'\'').is_some() => part.push('\''),
                '\'' => break,
                c => part.push(c),
            }
        }
    }
    parts.extend(part);
    Some(parts)
}

/// Appends a part in the V2 syntax: runs of what needs quotes are quoted.
fn push_v2(out: &mut String, part: &str) {
    if !out.is_empty() {
        out.push(' ');
    }
    if part.is_empty() {
        out.push_str("''");
    }
    let mut quoted = false;
    for c in part.chars() {
        let special = c == '\'' || BLANKS.contains(&c);
        if special != quoted {
            out.push('\'');
            quoted = special;
        }
        out.push(c);
        if c == '\'' {
            out.push(c);
        }
    }
    if quoted {
        out.push('\'');
    }
}

#[derive(Default)]
struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Adds `NAME=value`; false if it is none.
    fn set(&mut self, assignment: &str) -> bool {
        match assignment.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                self.0.insert(name.to_owned(), value.to_owned());
                true
            }
            _ => false,
        }
    }

    fn v2(&self) -> String {
        let mut out = String::new();
        for (name, value) in &self.0 {
            push_v2(&mut out, &format!("{name}={value}"));
        }
        out
    }
}

/// `NAME=value;NAME=value`, where another delimiter may stand first.
pub(super) fn env_v1_to_v2(call: &mut Call<'_>) -> Result {
    let Some([value]) = call.exactly()? else { return Ok(Value::Error) };
    if value.is_undefined() {
        return Ok(value);
    }
    let Some(text) = value.as_str() else { return Ok(Value::Error) };
    call.spend(text.len() / 4)?;
    let delimiter = text.chars().next().filter(|c| DELIMITERS.contains(*c)).unwrap_or(';');
    let mut environment = Environment::default();
    for part in text.split([delimiter, '\n']).map(|part| part.trim_start_matches(BLANKS)) {
        if !part.is_empty() && !environment.set(part) {
            return Ok(Value::Error);
        }
    }
    call.evaluator.string(environment.v2())
}

/// Later ones replace earlier ones; undefined ones do not count.
pub(super) fn merge_environment(call: &mut Call<'_>) -> Result {
    let mut environment = Environment::default();
    for index in 0..call.count() {
        let value = call.value(index)?;
        if value.is_undefined() {
            continue;
        }
        let Some(text) = value.as_str() else { return Ok(Value::Error) };
        call.spend(text.len() / 4)?;
        let Some(parts) = split_v2(text) else { return Ok(Value::Error) };
        if !parts.iter().all(|part| environment.set(part)) {
            return Ok(Value::Error);
        }
    }
    call.evaluator.string(environment.v2())
}

/// The version of the syntax in the second argument: 1 or 2.
fn version(call: &mut Call<'_>) -> Result<Option<i32>> {
    Ok(match call.count() {
        1 => Some(2),
        2 => {
            let version = call.value(1)?.as_integer().map(numbers::low_bits);
            version.filter(|version| matches!(version, 1 | 2))
        }
        _ => None,
    })
}

pub(super) fn args_to_list(call: &mut Call<'_>) -> Result {
    let Some(version) = version(call)? else { return Ok(Value::Error) };
    let value = call.value(0)?;
    let Some(text) = value.as_str() else { return Ok(Value::Error) };
    call.spend(text.len() / 4)?;
    let parts = if version == 1 {
        let parts = text.split(BLANKS).filter(|part| !part.is_empty());
        Some(parts.map(str::to_owned).collect())
    } else {
        split_v2(text)
    };
    match parts {
        Some(parts) => call.evaluator.list(parts.into_iter().map(Value::from).collect()),
        None => Ok(Value::Error),
    }
}

pub(super) fn list_to_args(call: &mut Call<'_>) -> Result {
    let Some(version) = version(call)? else { return Ok(Value::Error) };
    let Value::List(list) = call.value(0)? else { return Ok(Value::Error) };
    let mut joined = String::new();
    for (index, item) in call.items(&list)?.into_iter().enumerate() {
        let Some(part) = item.as_str() else { return Ok(Value::Error) };
        call.spend(1 + part.len() / 16)?;
        if version == 2 {
            push_v2(&mut joined, part);
        } else if part.contains(BLANKS) {
            return Ok(Value::Error);
        } else {
            joined.push_str(if index > 0 { " " } else { "" });
            joined.push_str(part);
        }
        if joined.len() > crate::classad::limits::STRING {
            return Err(crate::classad::evaluate::Failed);
        }
    }
    call.evaluator.string(joined)
}
