//! Numbers in the arguments of functions: written, or as expressions of `HTCondor`'s language.
//!
//! Invariant: an expression knows nothing but itself, and takes bounded time.

use crate::classad::{ClassAd, Context, Expr, Value};

/// What an expression comes to.
pub(super) fn evaluate(text: &str, context: &Context) -> Result<Value, String> {
    let expr = Expr::parse(text.trim())
        .map_err(|error| format!("'{text}' is no number and no expression: {error}"))?;
    Ok(expr.evaluate(&ClassAd::new(), context))
}

/// A whole number; a fraction is cut off.
pub(super) fn integer(text: &str, context: &Context) -> Result<i64, String> {
    match evaluate(text, context)? {
        Value::Integer(number) => Ok(number),
        Value::Boolean(value) => Ok(i64::from(value)),
        Value::Real(number) => whole(number).ok_or_else(|| format!("'{text}' is too large")),
        _ => Err(none(text)),
    }
}

/// A number.
pub(super) fn real(text: &str, context: &Context) -> Result<f64, String> {
    match evaluate(text, context)? {
        #[allow(clippy::cast_precision_loss, reason = "it is wanted as a real number")]
        Value::Integer(number) => Ok(number as f64),
        Value::Boolean(value) => Ok(f64::from(u8::from(value))),
        Value::Real(number) => Ok(number),
        _ => Err(none(text)),
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the range is checked before")]
fn whole(number: f64) -> Option<i64> {
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    (-BOUND..BOUND).contains(&number).then_some(number as i64)
}

fn none(text: &str) -> String {
    format!(
        "'{text}' is not a number: write a number, an expression such as '$(Step) * 2', or the name of a variable that has one"
    )
}
