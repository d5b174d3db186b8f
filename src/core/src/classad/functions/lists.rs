//! Functions on lists and what makes lists.

use super::{Call, compare as compare_values};
use crate::classad::{
    evaluate::{Result, Scope, find},
    expr::{Expr, Node},
    numbers,
    operators::{self, Binary},
    value::{List, Value},
};

pub(super) fn member(call: &mut Call<'_>) -> Result {
    let Some([mut sought, list]) = call.exactly()? else { return Ok(Value::Error) };
    let identical = call.name == "identicalmember";
    if list.is_undefined() || (!identical && sought.is_undefined()) {
        return Ok(Value::Undefined);
    }
    let Value::List(list) = list else { return Ok(Value::Error) };
    if matches!(sought, Value::List(_) | Value::Ad(_)) || (!identical && sought.is_error()) {
        return Ok(Value::Error);
    }
    let operator = if identical { Binary::Is } else { Binary::Equal };
    for item in list.items() {
        let item = call.evaluator.item(&list, item, call.scope)?;
        let (result, _, rest) = compare_values(operator, item, sought);
        if result == Value::Boolean(true) {
            return Ok(result);
        }
        sought = rest;
    }
    Ok(Value::Boolean(false))
}

/// How many elements, attributes or bytes.
pub(super) fn size(call: &mut Call<'_>) -> Result {
    let Some([value]) = call.exactly()? else { return Ok(Value::Error) };
    let size = match &value {
        Value::Undefined => return Ok(Value::Undefined),
        Value::List(list) => list.items().len(),
        Value::Ad(nested) => nested.ad().len(),
        Value::String(text) => text.len(),
        _ => return Ok(Value::Error),
    };
    Ok(Value::Integer(i64::try_from(size).unwrap_or(i64::MAX)))
}

/// The one list that is the only argument.
fn the_list(call: &mut Call<'_>) -> Result<std::result::Result<List, Value>> {
    Ok(match call.exactly()? {
        Some([Value::List(list)]) => Ok(list),
        Some([Value::Undefined]) => Err(Value::Undefined),
        _ => Err(Value::Error),
    })
}

/// The numbers in the one list, without what is undefined; or what the call comes to where there is anything else.
fn the_numbers(call: &mut Call<'_>) -> Result<std::result::Result<Vec<Value>, Value>> {
    let list = match the_list(call)? {
        Ok(list) => list,
        Err(value) => return Ok(Err(value)),
    };
    let mut numbers = Vec::new();
    for item in list.items() {
        let item = call.evaluator.item(&list, item, call.scope)?;
        if item.is_number() {
            numbers.push(item);
        } else if !item.is_undefined() {
            return Ok(Err(Value::Error));
        }
    }
    Ok(Ok(numbers))
}

/// `sum` and `avg`. Undefined elements do not count.
pub(super) fn sum(call: &mut Call<'_>) -> Result {
    let numbers = match the_numbers(call)? {
        Ok(numbers) => numbers,
        Err(value) => return Ok(value),
    };
    let count = i64::try_from(numbers.len()).unwrap_or(i64::MAX);
    let add = |total: Value, number: Value| operators::binary(Binary::Add, &total, &number);
    let Some(total) = numbers.into_iter().reduce(add) else { return Ok(Value::Integer(0)) };
    if call.name == "sum" {
        return Ok(total);
    }
    Ok(operators::binary(Binary::Divide, &total, &Value::Real(numbers::to_real(count))))
}

/// `min` and `max`. Undefined elements do not count.
pub(super) fn least(call: &mut Call<'_>) -> Result {
    let numbers = match the_numbers(call)? {
        Ok(numbers) => numbers,
        Err(value) => return Ok(value),
    };
    let operator = if call.name == "min" { Binary::Less } else { Binary::Greater };
    let better = |best: Value, number: Value| {
        let (better, number, best) = compare_values(operator, number, best);
        if better == Value::Boolean(true) { number } else { best }
    };
    Ok(numbers.into_iter().reduce(better).unwrap_or(Value::Undefined))
}

/// `anyCompare("<", list, value)` and `allCompare`.
pub(super) fn compare(call: &mut Call<'_>) -> Result {
    if call.count() != 3 {
        return Ok(Value::Error);
    }
    let operator = match call.value(0)? {
        Value::Undefined => return Ok(Value::Undefined),
        Value::String(text) => match &*text {
            "<" => Binary::Less,
            "<=" => Binary::LessOrEqual,
            "!=" => Binary::NotEqual,
            "==" => Binary::Equal,
            ">" => Binary::Greater,
            ">=" => Binary::GreaterOrEqual,
            "is" => Binary::Is,
            "isnt" => Binary::Isnt,
            _ => return Ok(Value::Error),
        },
        _ => return Ok(Value::Error),
    };
    let list = match call.value(1)? {
        Value::Undefined => return Ok(Value::Undefined),
        Value::List(list) => list,
        _ => return Ok(Value::Error),
    };
    let mut other = call.value(2)?;
    let all = call.name == "allcompare";
    for item in list.items() {
        let item = call.evaluator.item(&list, item, call.scope)?;
        let (result, _, rest) = compare_values(operator, item, other);
        other = rest;
        match result {
            Value::Boolean(holds) if holds == all => {}
            Value::Boolean(holds) => return Ok(Value::Boolean(holds)),
            // What cannot be said of one is said of none.
            Value::Undefined => return Ok(Value::Boolean(false)),
            _ => return Ok(Value::Error),
        }
    }
    Ok(Value::Boolean(all))
}

/// The expression that is the first argument; an attribute stands for its expression.
fn projected(call: &Call<'_>) -> (Expr, usize, Scope) {
    if let Some(Node::Reference { name, absolute: false }) = call.argument(0)
        && let Some((home, expr, _)) = find(call.scope, name)
    {
        let root = expr.root();
        return (expr, root, home);
    }
    let id = call.arguments.first().copied().unwrap_or_default();
    (call.expr.clone(), id, call.home.clone())
}

/// The expression's value in each ad of the list; `Err` is the function's value where there is no list.
fn in_each(
    call: &mut Call<'_>,
    undefined: Value,
) -> Result<std::result::Result<Vec<Value>, Value>> {
    if call.count() != 2 {
        return Ok(Err(Value::Error));
    }
    let (expr, id, home) = projected(call);
    let list = match call.value(1)? {
        Value::Undefined => return Ok(Err(undefined)),
        Value::List(list) => list,
        _ => return Ok(Err(Value::Error)),
    };
    let mut values = Vec::new();
    for item in list.items() {
        call.spend(1)?;
        values.push(match call.attempt_item(&list, item) {
            Value::Ad(nested) => {
                let scope = Scope::new(nested.ad, nested.parent);
                call.evaluator.attempt(|evaluator| evaluator.node(&expr, id, &scope, &home))
            }
            Value::Undefined => Value::Undefined,
            _ => Value::Error,
        });
    }
    Ok(Ok(values))
}

pub(super) fn count_matches(call: &mut Call<'_>) -> Result {
    Ok(match in_each(call, Value::Integer(0))? {
        Err(value) => value,
        Ok(values) => {
            let matches = values.iter().filter(|value| value.as_condition() == Some(true)).count();
            Value::Integer(i64::try_from(matches).unwrap_or(i64::MAX))
        }
    })
}

pub(super) fn eval_in_each_context(call: &mut Call<'_>) -> Result {
    match in_each(call, Value::Undefined)? {
        Err(value) => Ok(value),
        Ok(values) => call.evaluator.list(values),
    }
}

/// Splits at separators; blanks that follow each other are one, others make empty parts between them.
pub(super) fn split(call: &mut Call<'_>) -> Result {
    if !matches!(call.count(), 1 | 2) {
        return Ok(Value::Error);
    }
    let values = call.values()?;
    let separators = match values.get(1) {
        None => ", \t",
        Some(Value::String(separators)) => separators,
        Some(_) => return Ok(Value::Error),
    };
    let Some(text) = values.first().and_then(Value::as_str) else { return Ok(Value::Error) };
    // Each character is looked for among the separators.
    call.spend(text.len() / 8 + text.len() * (1 + separators.len()) / 64)?;
    let mut parts = Vec::new();
    let mut last = None;
    let mut rest = text;
    while let Some(at) = rest.find(|c| separators.contains(c)) {
        let (part, tail) = rest.split_at(at);
        let mut tail = tail.chars();
        let separator = tail.next();
        if !part.is_empty() {
            parts.push(Value::from(part));
        } else if last == separator {
            parts.push(Value::from(""));
        }
        if !separator.is_some_and(|c| c.is_ascii_whitespace() || c == '\x0b') {
            last = separator;
        }
        rest = tail.as_str();
    }
    if !rest.is_empty() {
        parts.push(Value::from(rest));
    }
    call.evaluator.list(parts)
}

/// `user@domain` or `slot@machine` as a list of two.
pub(super) fn split_at(call: &mut Call<'_>) -> Result {
    let Some([value]) = call.exactly()? else { return Ok(Value::Error) };
    let Some(text) = value.as_str() else { return Ok(Value::Error) };
    let (first, second) = match text.split_once('@') {
        Some(parts) => parts,
        None if call.name == "splitslotname" => ("", text),
        None => (text, ""),
    };
    call.evaluator.list(vec![Value::from(first), Value::from(second)])
}
