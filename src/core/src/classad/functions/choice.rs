//! Questions about types, choices, and expressions as values.

use std::collections::{BTreeMap, BTreeSet};

use super::{Call, text};
use crate::classad::{
    evaluate::{Failed, Result, Scope, find},
    expr::{Expr, Node},
    value::Value,
};

pub(super) fn is_type(call: &mut Call<'_>) -> Result {
    let Some([value]) = call.exactly()? else { return Ok(Value::Error) };
    let kind = match value {
        Value::Undefined => "isundefined",
        Value::Error => "iserror",
        Value::Boolean(_) => "isboolean",
        Value::Integer(_) => "isinteger",
        Value::Real(_) => "isreal",
        Value::String(_) => "isstring",
        Value::List(_) => "islist",
        Value::Ad(_) => "isclassad",
        Value::AbsoluteTime { .. } => "isabstime",
        Value::RelativeTime(_) => "isreltime",
    };
    Ok(Value::Boolean(call.name == kind))
}

/// Only the branch that is chosen is evaluated.
pub(super) fn if_then_else(call: &mut Call<'_>) -> Result {
    if call.count() != 3 {
        return Ok(Value::Error);
    }
    let condition = call.value(0)?;
    match condition.as_condition() {
        Some(true) => call.value(1),
        Some(false) => call.value(2),
        None if condition.is_undefined() => Ok(Value::Undefined),
        None => Ok(Value::Error),
    }
}

/// The value of the expression in a string.
pub(super) fn eval(call: &mut Call<'_>) -> Result {
    let Some([value]) = call.exactly()? else { return Ok(Value::Error) };
    let Some(text) = text(call, value)? else { return Ok(Value::Error) };
    call.spend(text.len())?;
    match Expr::parse_new(&text) {
        Ok(expr) => call.evaluator.whole(&expr, call.scope),
        Err(_) => Ok(Value::Error),
    }
}

/// `HTCondor` writes the steps into its log; here there is none.
pub(super) fn debug(call: &mut Call<'_>) -> Result {
    let Some([value]) = call.exactly()? else { return Ok(Value::Error) };
    Ok(value)
}

/// The text of an attribute's expression; empty if there is none.
pub(super) fn unparse(call: &mut Call<'_>) -> Result {
    if call.count() != 1 {
        return Ok(Value::Error);
    }
    let own = match call.argument(0) {
        Some(Node::Reference { name, absolute: false }) => call.scope.own(name),
        Some(Node::Reference { .. } | Node::Select(..)) => None,
        _ => return Ok(Value::Error),
    };
    match own {
        Some(expr) => call.evaluator.unparsed(&expr),
        None => call.evaluator.string(String::new()),
    }
}

/// The names that an attribute's expression reads and that have no value; with a pattern, whether
/// it matches one of them.
pub(super) fn unresolved(call: &mut Call<'_>) -> Result {
    let Some(Node::Reference { name, .. }) = call.argument(0) else { return Ok(Value::Error) };
    let Some((scope, expr, place)) = find(call.scope, name) else { return Ok(Value::Undefined) };
    let mut search = Search { names: BTreeMap::new(), visited: BTreeSet::from([place]) };
    search.visit(call, &scope, &expr, 100)?;
    let names: Vec<String> = search.names.into_values().collect();
    match call.count() {
        1 => call.evaluator.string(names.join(",")),
        2 => {
            let pattern = call.value(1)?;
            let Some(pattern) = pattern.as_str() else { return Ok(Value::Error) };
            let Some(pattern) = super::patterns::compile(call, pattern, "i")? else {
                return Ok(Value::Error);
            };
            let found = names.iter().any(|name| pattern.is_match(name.as_bytes()));
            Ok(Value::Boolean(found))
        }
        _ => Ok(Value::Error),
    }
}

struct Search {
    /// By the name in lower case.
    names: BTreeMap<String, String>,
    visited: BTreeSet<usize>,
}

impl Search {
    fn visit(&mut self, call: &mut Call<'_>, scope: &Scope, expr: &Expr, depth: u8) -> Result<()> {
        let depth = depth.checked_sub(1).ok_or(Failed)?;
        let (names, size) = expr.references_and_size();
        call.spend(size / 16)?;
        for name in names {
            call.spend(1 + name.len())?;
            match find(scope, &name) {
                Some((scope, expr, place)) if self.visited.insert(place) => {
                    self.visit(call, &scope, &expr, depth)?;
                }
                Some(_) => {}
                None => {
                    self.names.entry(name.to_ascii_lowercase()).or_insert(name);
                }
            }
        }
        Ok(())
    }
}

/// Nobody has a home here: the default, or undefined.
pub(super) fn user_home(call: &mut Call<'_>) -> Result {
    if !matches!(call.count(), 1 | 2) {
        return Err(Failed);
    }
    let default = call.attempt(1);
    if default.as_str().is_some_and(|home| !home.is_empty()) {
        return Ok(default);
    }
    Ok(match call.attempt(0) {
        Value::Undefined | Value::String(_) => Value::Undefined,
        _ => Value::Error,
    })
}

/// There are no maps here: the default, or undefined.
pub(super) fn user_map(call: &mut Call<'_>) -> Result {
    if !matches!(call.count(), 2..=4) {
        return Ok(Value::Error);
    }
    let mut values = call.values()?;
    if values.iter().take(2).any(Value::is_error) {
        return Ok(Value::Error);
    }
    Ok(if values.len() == 4 { values.swap_remove(3) } else { Value::Undefined })
}
