//! From expressions and values to text, as `HTCondor` writes them.
//!
//! The old form (`Display`) is that of job ads, `condor_q -long` and hold reasons; the new form is
//! that of the language's manuals, of `string()` and of the Python bindings. Invariant: what was
//! read in the one form and is written in it is read as the same again, if its reals have at most
//! 16 digits and its moments years of four.

use std::fmt::{self, Write};

use super::{
    ad::ClassAd,
    expr::{Expr, Node, NodeId},
    numbers,
    operators::{Binary, Unary},
    times,
    value::Value,
};

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Old,
    New,
}

/// Something in the new form; see [`Expr::new_form`] and [`Value::new_form`].
pub struct NewForm<'a, T>(&'a T);

impl Expr {
    /// The expression with escapes as in C, `is` for `=?=`, and all digits of reals.
    pub fn new_form(&self) -> NewForm<'_, Self> {
        NewForm(self)
    }
}

impl Value {
    /// The value with escapes as in C and all digits of reals.
    pub fn new_form(&self) -> NewForm<'_, Self> {
        NewForm(self)
    }
}

impl fmt::Display for NewForm<'_, Expr> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        expr(f, self.0, Form::New)
    }
}

impl fmt::Display for NewForm<'_, Value> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        value(f, self.0, Form::New)
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        expr(f, self, Form::Old)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        value(f, self, Form::Old)
    }
}

/// An attribute's name in the old form.
pub(super) struct Name<'a>(pub(super) &'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        name(&mut Unbroken(f), self.0, Form::Old)
    }
}

/// The old form where a second line would be another attribute.
pub(super) struct OneLine<'a>(pub(super) &'a Expr);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        expr(&mut Unbroken(f), self.0, Form::Old)
    }
}

/// Writes line breaks as `\n` and `\r`.
struct Unbroken<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Unbroken<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (index, part) in text.split('\n').enumerate() {
            if index > 0 {
                self.0.write_str("\\n")?;
            }
            self.0.write_str(&part.replace('\r', "\\r"))?;
        }
        Ok(())
    }
}

/// What is still to be written.
enum Part<'a> {
    Node(NodeId),
    Text(&'static str),
    Name(&'a str),
}

fn expr(out: &mut dyn Write, expr: &Expr, form: Form) -> fmt::Result {
    let mut parts = vec![Part::Node(expr.root())];
    while let Some(part) = parts.pop() {
        match part {
            Part::Text(text) => out.write_str(text)?,
            Part::Name(text) => selected(out, text, form)?,
            Part::Node(id) => node(out, (expr, id), form, &mut parts)?,
        }
    }
    Ok(())
}

/// Writes what stands first of a node, and puts the rest on the stack, last part first.
fn node<'a>(
    out: &mut dyn Write,
    (whole, id): (&'a Expr, NodeId),
    form: Form,
    parts: &mut Vec<Part<'a>>,
) -> fmt::Result {
    match whole.node(id) {
        Node::Literal(literal) => value(out, literal, form)?,
        Node::Reference { name: text, absolute } => {
            out.write_str(if *absolute { "." } else { "" })?;
            name(out, text, form)?;
        }
        Node::Select(base, name) => {
            // `1.x` would be read as a number.
            let whole_number = matches!(whole.node(*base), Node::Literal(Value::Integer(_)));
            let dot = if whole_number { " ." } else { "." };
            parts.extend([Part::Name(name), Part::Text(dot), Part::Node(*base)]);
        }
        Node::Subscript(base, index) => {
            parts.extend([Part::Text("]"), Part::Node(*index), Part::Text("["), Part::Node(*base)]);
        }
        Node::Parentheses(inner) => {
            parts.extend([Part::Text(")"), Part::Node(*inner), Part::Text("(")]);
        }
        Node::Unary(operator, operand) => {
            out.write_str(unary(*operator))?;
            parts.push(Part::Node(*operand));
        }
        Node::Binary(operator, left, right) => parts.extend([
            Part::Node(*right),
            Part::Text(binary(*operator, form)),
            Part::Node(*left),
        ]),
        Node::Elvis(first, otherwise) => {
            parts.extend([Part::Node(*otherwise), Part::Text(" ?: "), Part::Node(*first)]);
        }
        Node::Ternary(condition, yes, no) => parts.extend([
            Part::Node(*no),
            Part::Text(" : "),
            Part::Node(*yes),
            Part::Text(" ? "),
            Part::Node(*condition),
        ]),
        Node::Call(name, arguments) => {
            selected(out, name, form)?;
            out.write_char('(')?;
            parts.push(Part::Text(")"));
            for (index, argument) in arguments.iter().enumerate().rev() {
                parts.push(Part::Node(*argument));
                if index > 0 {
                    parts.push(Part::Text(","));
                }
            }
        }
        Node::List(items) => list(out, items, form)?,
        Node::Ad(nested) => ad(out, nested, form)?,
    }
    Ok(())
}

fn list(out: &mut dyn Write, items: &[Expr], form: Form) -> fmt::Result {
    out.write_str("{ ")?;
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.write_char(',')?;
        }
        expr(out, item, form)?;
    }
    out.write_str(" }")
}

/// Short names first, as `HTCondor` keeps them.
fn ad(out: &mut dyn Write, ad: &ClassAd, form: Form) -> fmt::Result {
    let mut attributes: Vec<_> = ad.iter().collect();
    attributes.sort_by_key(|(name, _)| name.len());
    out.write_str("[ ")?;
    for (index, (text, value)) in attributes.into_iter().enumerate() {
        if index > 0 {
            out.write_str("; ")?;
        }
        name(out, text, form)?;
        out.write_str(" = ")?;
        expr(out, value, form)?;
    }
    out.write_str(" ]")
}

fn value(out: &mut dyn Write, value: &Value, form: Form) -> fmt::Result {
    match value {
        Value::Undefined => out.write_str("undefined"),
        Value::Error => out.write_str("error"),
        Value::Boolean(value) => write!(out, "{value}"),
        Value::Integer(value) => write!(out, "{value}"),
        Value::Real(value) => out.write_str(&real(*value, form)),
        Value::String(text) => quoted(out, text, '"', form),
        Value::List(items) => list(out, items.items(), form),
        Value::Ad(nested) => ad(out, nested.ad(), form),
        Value::AbsoluteTime { seconds, offset } => {
            out.write_str("absTime(\"")?;
            times::write_moment(out, *seconds, *offset)?;
            out.write_str("\")")
        }
        Value::RelativeTime(seconds) => {
            out.write_str("relTime(\"")?;
            times::write_duration(out, *seconds)?;
            out.write_str("\")")
        }
    }
}

fn real(value: f64, form: Form) -> String {
    if value == 0.0 {
        return format!("{value:.1}");
    }
    if value.is_nan() {
        return "real(\"NaN\")".to_owned();
    }
    if value.is_infinite() {
        let sign = if value < 0.0 { "-" } else { "" };
        return format!("real(\"{sign}INF\")");
    }
    match form {
        Form::Old => numbers::shortest(value),
        Form::New => numbers::scientific(value),
    }
}

fn unary(operator: Unary) -> &'static str {
    match operator {
        Unary::Plus => " +",
        Unary::Minus => " -",
        Unary::Not => " !",
        Unary::BitNot => " ~",
    }
}

fn binary(operator: Binary, form: Form) -> &'static str {
    match operator {
        Binary::Or => " || ",
        Binary::And => " && ",
        Binary::BitOr => " | ",
        Binary::BitXor => " ^ ",
        Binary::BitAnd => " & ",
        Binary::Equal => " == ",
        Binary::NotEqual => " != ",
        Binary::Is if form == Form::Old => " =?= ",
        Binary::Is => " is ",
        Binary::Isnt if form == Form::Old => " =!= ",
        Binary::Isnt => " isnt ",
        Binary::Less => " < ",
        Binary::LessOrEqual => " <= ",
        Binary::Greater => " > ",
        Binary::GreaterOrEqual => " >= ",
        Binary::ShiftLeft => " << ",
        Binary::ShiftRight => " >> ",
        Binary::UnsignedShiftRight => " >>> ",
        Binary::Add => " + ",
        Binary::Subtract => " - ",
        Binary::Multiply => " * ",
        Binary::Divide => " / ",
        Binary::Modulus => " % ",
    }
}

fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_word(name: &str) -> bool {
    ["true", "false", "undefined", "error", "is", "isnt"]
        .iter()
        .any(|word| name.eq_ignore_ascii_case(word))
}

/// A name where it stands alone.
fn name(out: &mut dyn Write, name: &str, form: Form) -> fmt::Result {
    // `HTCondor` quotes this one too.
    let quote = is_word(name) || name.eq_ignore_ascii_case("parent");
    if is_plain(name) && !quote { out.write_str(name) } else { quoted(out, name, '\'', form) }
}

/// A name behind a dot, or of a function. `HTCondor` never quotes it, and then cannot read it.
fn selected(out: &mut dyn Write, name: &str, form: Form) -> fmt::Result {
    if is_plain(name) && !is_word(name) {
        out.write_str(name)
    } else {
        quoted(out, name, '\'', form)
    }
}

fn quoted(out: &mut dyn Write, text: &str, quote: char, form: Form) -> fmt::Result {
    out.write_char(quote)?;
    match form {
        Form::Old => {
            for (index, part) in text.split(quote).enumerate() {
                if index > 0 {
                    write!(out, "\\{quote}")?;
                }
                out.write_str(part)?;
            }
        }
        Form::New => {
            for byte in text.bytes() {
                escaped(out, byte, quote)?;
            }
        }
    }
    out.write_char(quote)
}

fn escaped(out: &mut dyn Write, byte: u8, quote: char) -> fmt::Result {
    let letter = match byte {
        7 => 'a',
        8 => 'b',
        9 => 't',
        10 => 'n',
        11 => 'v',
        12 => 'f',
        13 => 'r',
        b'\\' => '\\',
        _ if char::from(byte) == quote => quote,
        b' '..=b'~' => return out.write_char(char::from(byte)),
        _ => return write!(out, "\\{byte:03o}"),
    };
    write!(out, "\\{letter}")
}
