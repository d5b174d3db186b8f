//! The macros of a submit file: `$(ProcId)` and its like, the variables of a job's items, and functions such as `$INT()`.
//!
//! Invariants: what is not known here stays as it is written, so that a shell's `$(date)` works; what is known and wrong is an
//! error that names it. A variable's value is expanded by itself, and what a macro comes to is not looked at again. The same
//! text at the same place of the same proc comes to the same, whoever expands it and how often.

mod functions;
mod number;
mod path;
mod printf;
mod random;
mod scan;

use crate::queue::Place;
use functions::Function;
use jiff::{Timestamp, tz::TimeZone};
use scan::Call;

/// The longest text that macros may come to, in bytes.
const LONGEST: usize = 256 * 1024;
/// The most that all macros of one text may come to, those within values and arguments included.
const IN_ALL: usize = 16 * LONGEST;
/// The most macros in one text, those within values and arguments included.
const MOST: u32 = 10_000;
/// The deepest nesting of values and arguments.
const DEEPEST: u32 = 20;

/// What a text may say of its proc.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope<'a> {
    /// The job's UID, from which what is random follows.
    pub uid: &'a str,
    /// `ClusterId`.
    pub cluster_id: i64,
    /// `ProcId`.
    pub proc: u32,
    /// What its item says.
    pub place: Place<'a>,
    /// When the job was submitted.
    pub submitted: Timestamp,
}

/// Replaces the macros in a text; `field` is where it stands. `$$(ProcId)` is the way to write `$(ProcId)` itself. `Err` is one
/// line that says what to write instead.
pub fn expand(text: &str, field: &str, scope: &Scope<'_>) -> Result<String, String> {
    if !text.contains('$') {
        return Ok(text.to_owned());
    }
    let mut expander = Expander { scope, field, macros: 0, bytes: 0, depth: 0 };
    expander.expand(text).map_err(|fault| format!("{field} '{}': {fault}", brief(text)))
}

/// A text as a message quotes it.
pub(crate) fn brief(text: &str) -> String {
    const SHOWN: usize = 120;
    let cut = text.char_indices().nth(SHOWN).map(|(at, _)| at);
    cut.map_or_else(|| text.to_owned(), |at| format!("{}…", &text[..at]))
}

/// What a name stands for.
enum Meaning<'a> {
    /// This text.
    Text(String),
    /// A variable, whose value may have macros of its own.
    Variable(&'a str),
}

impl<'a> Scope<'a> {
    /// Names are the same in upper and lower case.
    fn meaning(&self, name: &str) -> Option<Meaning<'a>> {
        let is = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known));
        let variable = self.place.variables.iter().find(|(known, _)| is(&[known]));
        if let Some((_, value)) = variable {
            return Some(Meaning::Variable(value));
        }
        let date =
            |format: &str| self.submitted.to_zoned(TimeZone::UTC).strftime(format).to_string();
        let text = if is(&["ClusterId", "Cluster"]) {
            self.cluster_id.to_string()
        } else if is(&["ProcId", "Process"]) {
            self.proc.to_string()
        } else if is(&["JobId"]) {
            format!("{}.{}", self.cluster_id, self.proc)
        } else if is(&["Step"]) {
            self.place.step.to_string()
        } else if is(&["Row", "ItemIndex"]) {
            self.place.row.to_string()
        } else if is(&["DOLLAR"]) {
            "$".into()
        } else if is(&["SUBMIT_TIME"]) {
            self.submitted.as_second().to_string()
        } else if is(&["YEAR"]) {
            date("%Y")
        } else if is(&["MONTH"]) {
            date("%m")
        } else if is(&["DAY"]) {
            date("%d")
        } else if is(&["Item", "Node"]) {
            String::new() // they are known, and of this job there is none
        } else {
            return None;
        };
        Some(Meaning::Text(text))
    }
}

/// One text on its way.
struct Expander<'s, 'a> {
    scope: &'s Scope<'a>,
    field: &'s str,
    /// How many macros have been replaced.
    macros: u32,
    /// How many bytes they have come to.
    bytes: usize,
    depth: u32,
}

impl Expander<'_, '_> {
    fn expand(&mut self, text: &str) -> Result<String, String> {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let (before, from) = rest.split_at(at);
            expanded.push_str(before);
            let dollars = from.len() - from.trim_start_matches('$').len();
            let behind = &from[dollars..];
            let found = scan::call(behind);
            let Some((call, length)) = found.filter(|(call, _)| self.knows(call)) else {
                expanded.push_str(&from[..dollars]);
                rest = behind;
                continue;
            };
            // As in HTCondor, dollars go in pairs, and only the last one of an odd number begins a macro.
            expanded.push_str(&from[..dollars - 1]);
            if dollars.is_multiple_of(2) {
                expanded.push_str(&behind[..length]);
            } else {
                expanded.push_str(&self.value(&call)?);
            }
            if expanded.len() > LONGEST {
                return Err(format!("it comes to more than {LONGEST} bytes: make it shorter"));
            }
            rest = &behind[length..];
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    fn knows(&self, call: &Call<'_>) -> bool {
        match call {
            Call::Name { name, default } => default.is_some() || self.scope.meaning(name).is_some(),
            Call::Function { .. } => true,
        }
    }

    fn value(&mut self, call: &Call<'_>) -> Result<String, String> {
        self.macros += 1;
        if self.macros > MOST {
            return Err(format!("it has more than {MOST} macros: make it shorter"));
        }
        let value = match *call {
            // A default stands for an empty value too.
            Call::Name { name, default } => match (self.named(name)?, default) {
                (Some(value), Some(_)) if !value.is_empty() => value,
                (Some(value), None) => value,
                (_, default) => self.deeper(default.unwrap_or_default())?,
            },
            Call::Function { function, body } => self.function(function, body)?,
        };
        self.bytes += value.len();
        if self.bytes > IN_ALL {
            return Err(format!("its macros come to more than {IN_ALL} bytes: make them shorter"));
        }
        Ok(value)
    }

    /// What a name stands for, with the macros in it replaced.
    fn named(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.scope.meaning(name) {
            None => Ok(None),
            Some(Meaning::Text(text)) => Ok(Some(text)),
            Some(Meaning::Variable(value)) => self.deeper(value).map(Some),
        }
    }

    /// Expands a text within another one.
    fn deeper(&mut self, text: &str) -> Result<String, String> {
        if !text.contains('$') {
            return Ok(text.to_owned());
        }
        if self.depth == DEEPEST {
            return Err(format!(
                "its variables refer to each other more than {DEEPEST} deep, or to themselves: give them values without each other"
            ));
        }
        self.depth += 1;
        let expanded = self.expand(text);
        self.depth -= 1;
        expanded
    }

    fn function(&mut self, function: Function<'_>, body: &str) -> Result<String, String> {
        let value = functions::call(self, function, body);
        value.map_err(|fault| format!("${}({}): {fault}", function.name(), brief(body)))
    }
}

#[cfg(test)]
mod tests;
