//! Expressions of the `ClassAd` language.
//!
//! The first line is an expression, the next ones are those of the attributes `A`, `B`, `C` and so on.

use crate::within_bounds;
use duj_core::classad::{ClassAd, Context, Expr, ParseError, Value, limits};
use jiff::Timestamp;

/// What is read in one form and written in it is read as the same again, or refused with a place that can be shown.
pub(crate) fn reads_and_writes(text: &str) {
    within_bounds("reading", || {
        if let Some(expr) = read(text, Expr::parse) {
            comes_back(&expr, text, ToString::to_string, Expr::parse);
            let _names = expr.references();
        }
        if let Some(expr) = read(text, Expr::parse_new) {
            comes_back(&expr, text, |expr| expr.new_form().to_string(), Expr::parse_new);
        }
    });
}

type Parse = fn(&str) -> Result<Expr, ParseError>;

fn read(text: &str, parse: Parse) -> Option<Expr> {
    let fault = match parse(text) {
        Ok(expr) => return Some(expr),
        Err(fault) => fault,
    };
    assert!(text.is_char_boundary(fault.offset), "{fault:?}");
    assert!(!fault.message.is_empty() && !fault.message.contains('\n'), "{fault:?}");
    let shown = fault.caret(text);
    assert!(shown.chars().count() < 200 && shown.matches('\n').count() == 1, "{shown:?}");
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
    None
}

fn comes_back(expr: &Expr, text: &str, write: fn(&Expr) -> String, parse: Parse) {
    let again = |expr: &Expr| {
        let written = write(expr);
        match parse(&written) {
            Ok(again) => again,
            // The spaces and escapes that are written may not fit.
            Err(_) if written.len() > limits::TEXT => expr.clone(),
            Err(fault) => {
                panic!("{text}\nis written as {written}\n{fault}\n{}", fault.caret(&written))
            }
        }
    };
    if !write(expr).split("absTime(\"").skip(1).all(is_usual) {
        return;
    }
    // `- 1` is written ` -1`, which is read as one number, and a real is written with 16 digits: the first writing may
    // change an expression, but the second does not. Only of many signs before a zero each writing takes one.
    let first = again(expr);
    if !write(&first).contains("-0") {
        assert_eq!(again(&first), first, "{text}");
    }
    let dense = |expr: &Expr| write(expr).replace([' ', '-'], "");
    assert_eq!(dense(&first), dense(expr), "{text}");
}

/// Whether a moment that is written has the form that is read. Years before 1000 are written with fewer digits, and offsets
/// of a hundred hours with more, as `HTCondor` does.
fn is_usual(moment: &str) -> bool {
    let shape = |byte: u8| if byte.is_ascii_digit() { b'0' } else { byte };
    let shape: Vec<u8> = moment.bytes().take(27).map(shape).collect();
    matches!(&*shape, b"0000-00-00T00:00:00-00:00\")" | b"0000-00-00T00:00:00+00:00\")")
}

/// Whatever is evaluated over whatever ad, it ends, and what it made is bounded.
pub(crate) fn evaluates(text: &str) {
    let mut lines = text.split('\n');
    let (Some(first), names) = (lines.next(), 'A'..='Z') else { return };
    let Ok(expr) = Expr::parse(first) else { return };
    let mut ad = ClassAd::new();
    for (name, line) in names.zip(lines) {
        if let Ok(expr) = Expr::parse(line) {
            ad.insert_expr(&name.to_string(), expr);
        }
    }
    let context = Context { now: Timestamp::UNIX_EPOCH, seed: 1 };
    let value = within_bounds("evaluating", || expr.evaluate(&ad, &context));
    let length = value.as_str().map_or(0, str::len);
    assert!(length <= limits::STRING.max(limits::TEXT), "a string of {length} bytes");
    if let Value::String(_) | Value::Integer(_) | Value::Real(_) = value {
        let written = value.new_form().to_string();
        let again = Expr::parse_new(&written);
        assert!(again.is_ok() || written.len() > limits::TEXT, "{written}");
    }
}
