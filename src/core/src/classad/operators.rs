//! What the operators make of values (§6.4).
//!
//! Invariant: every function here is total. Strict operators are an error if an operand is one, else
//! undefined if an operand is.

use std::cmp::Ordering;

use super::{numbers, value::Value};

/// An operator in front of its operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unary {
    Plus,
    Minus,
    Not,
    BitNot,
}

/// An operator between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Or,
    And,
    BitOr,
    BitXor,
    BitAnd,
    Equal,
    NotEqual,
    /// `=?=`, `is`
    Is,
    /// `=!=`, `isnt`
    Isnt,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    ShiftLeft,
    ShiftRight,
    UnsignedShiftRight,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulus,
}

impl Unary {
    pub(super) const PRECEDENCE: u8 = 11;
}

impl Binary {
    /// The higher, the tighter. All are left-associative.
    pub(super) fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            Self::BitOr => 3,
            Self::BitXor => 4,
            Self::BitAnd => 5,
            Self::Equal | Self::NotEqual | Self::Is | Self::Isnt => 6,
            Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => 7,
            Self::ShiftLeft | Self::ShiftRight | Self::UnsignedShiftRight => 8,
            Self::Add | Self::Subtract => 9,
            Self::Multiply | Self::Divide | Self::Modulus => 10,
        }
    }

    /// The result where the left operand alone decides it.
    pub(super) fn decided(self, left: &Value) -> Option<Value> {
        match (self, left.as_condition()) {
            (Self::Or, Some(true)) => Some(Value::Boolean(true)),
            (Self::And, Some(false)) => Some(Value::Boolean(false)),
            _ => None,
        }
    }
}

pub(super) fn unary(operator: Unary, operand: &Value) -> Value {
    match (operator, operand) {
        (_, Value::Error) => Value::Error,
        (_, Value::Undefined) => Value::Undefined,
        (Unary::Plus, Value::Integer(_) | Value::Real(_) | Value::RelativeTime(_)) => {
            operand.clone()
        }
        (Unary::Minus, Value::Integer(value)) => Value::Integer(value.wrapping_neg()),
        (Unary::Minus, Value::Real(value)) => Value::Real(-value),
        (Unary::Minus, Value::RelativeTime(value)) => Value::RelativeTime(-value),
        (Unary::Not, value) => {
            value.as_condition().map_or(Value::Error, |value| Value::Boolean(!value))
        }
        (Unary::BitNot, Value::Integer(value)) => Value::Integer(!value),
        _ => Value::Error,
    }
}

pub(super) fn binary(operator: Binary, left: &Value, right: &Value) -> Value {
    match operator {
        Binary::And | Binary::Or => logical(operator, left, right),
        Binary::Is => identical(left, right).map_or(Value::Error, Value::Boolean),
        Binary::Isnt => identical(left, right).map_or(Value::Error, |same| Value::Boolean(!same)),
        _ if left.is_error() || right.is_error() => Value::Error,
        _ if left.is_undefined() || right.is_undefined() => Value::Undefined,
        Binary::Equal
        | Binary::NotEqual
        | Binary::Less
        | Binary::LessOrEqual
        | Binary::Greater
        | Binary::GreaterOrEqual => compare(operator, left, right),
        Binary::BitOr
        | Binary::BitXor
        | Binary::BitAnd
        | Binary::ShiftLeft
        | Binary::ShiftRight
        | Binary::UnsignedShiftRight => bitwise(operator, left, right),
        _ => arithmetic(operator, left, right),
    }
}

/// A truth value of three, and what is none.
fn truth(value: &Value) -> Result<Option<bool>, ()> {
    match (value, value.as_condition()) {
        (_, Some(value)) => Ok(Some(value)),
        (Value::Undefined, None) => Ok(None),
        _ => Err(()),
    }
}

fn logical(operator: Binary, left: &Value, right: &Value) -> Value {
    let decisive = operator == Binary::Or;
    match (truth(left), truth(right)) {
        (Ok(Some(left)), _) if left == decisive => Value::Boolean(decisive),
        (Err(()), _) | (_, Err(())) => Value::Error,
        (Ok(Some(_)), Ok(Some(right))) => Value::Boolean(right),
        (Ok(None), Ok(Some(right))) if right == decisive => Value::Boolean(decisive),
        _ => Value::Undefined,
    }
}

/// Whether type and value are the same; strings with regard to case. Lists and ads cannot be compared.
fn identical(left: &Value, right: &Value) -> Option<bool> {
    Some(match (left, right) {
        (Value::List(a), Value::List(b)) if a.made != b.made => false,
        (Value::List(_), Value::List(_)) | (Value::Ad(_), Value::Ad(_)) => return None,
        (Value::Real(a), Value::Real(b)) | (Value::RelativeTime(a), Value::RelativeTime(b)) => {
            a.partial_cmp(b) == Some(Ordering::Equal)
        }
        _ => left == right,
    })
}

/// Both as numbers of the same kind: reals if one is.
enum Numbers {
    Integers(i64, i64),
    Reals(f64, f64),
}

fn numbers(left: &Value, right: &Value) -> Option<Numbers> {
    enum Number {
        Integer(i64),
        Real(f64),
    }
    let number = |value: &Value| match value {
        Value::Boolean(value) => Some(Number::Integer((*value).into())),
        Value::Integer(value) => Some(Number::Integer(*value)),
        Value::Real(value) => Some(Number::Real(*value)),
        _ => None,
    };
    Some(match (number(left)?, number(right)?) {
        (Number::Integer(a), Number::Integer(b)) => Numbers::Integers(a, b),
        (Number::Integer(a), Number::Real(b)) => Numbers::Reals(numbers::to_real(a), b),
        (Number::Real(a), Number::Integer(b)) => Numbers::Reals(a, numbers::to_real(b)),
        (Number::Real(a), Number::Real(b)) => Numbers::Reals(a, b),
    })
}

/// What a comparison leaves of its operands: numbers of the same kind. Functions that compare one
/// after the other show it.
pub(super) fn promote(left: Value, right: Value) -> (Value, Value) {
    match numbers(&left, &right) {
        Some(Numbers::Integers(a, b)) => (Value::Integer(a), Value::Integer(b)),
        Some(Numbers::Reals(a, b)) => (Value::Real(a), Value::Real(b)),
        None => (left, right),
    }
}

fn compare(operator: Binary, left: &Value, right: &Value) -> Value {
    let ordering = match (left, right) {
        (Value::String(a), Value::String(b)) => Some(compare_ignoring_case(a, b)),
        (Value::AbsoluteTime { seconds: a, .. }, Value::AbsoluteTime { seconds: b, .. }) => {
            Some(a.cmp(b))
        }
        (Value::RelativeTime(a), Value::RelativeTime(b)) => a.partial_cmp(b),
        _ => match numbers(left, right) {
            Some(Numbers::Integers(a, b)) => Some(a.cmp(&b)),
            Some(Numbers::Reals(a, b)) => a.partial_cmp(&b),
            None => return Value::Error,
        },
    };
    // What is no number is neither less nor greater nor equal.
    Value::Boolean(match operator {
        Binary::Equal => ordering.is_some_and(Ordering::is_eq),
        Binary::NotEqual => !ordering.is_some_and(Ordering::is_eq),
        Binary::Less => ordering.is_some_and(Ordering::is_lt),
        Binary::LessOrEqual => ordering.is_some_and(Ordering::is_le),
        Binary::Greater => ordering.is_some_and(Ordering::is_gt),
        _ => ordering.is_some_and(Ordering::is_ge),
    })
}

/// By bytes, in lower case (ASCII).
pub(super) fn compare_ignoring_case(left: &str, right: &str) -> Ordering {
    // Without copies: no more is read than the shorter of both.
    let lower = |byte: u8| byte.to_ascii_lowercase();
    left.bytes().map(lower).cmp(right.bytes().map(lower))
}

fn bitwise(operator: Binary, left: &Value, right: &Value) -> Value {
    let (&Value::Integer(value), &Value::Integer(other)) = (left, right) else {
        return Value::Error;
    };
    // The machine shifts by the count's low six bits.
    let count = u32::try_from(other & 63).unwrap_or(0);
    Value::Integer(match operator {
        Binary::BitOr => value | other,
        Binary::BitXor => value ^ other,
        Binary::BitAnd => value & other,
        Binary::ShiftLeft => value.wrapping_shl(count),
        _ if value >= 0 => value.wrapping_shr(count),
        Binary::ShiftRight => value >> other.clamp(0, 63),
        _ => {
            let halved = (value >> 1) & i64::MAX;
            halved.wrapping_shr(u32::try_from(other.wrapping_sub(1) & 63).unwrap_or(0))
        }
    })
}

fn arithmetic(operator: Binary, left: &Value, right: &Value) -> Value {
    match numbers(left, right) {
        Some(Numbers::Integers(a, b)) => integers(operator, a, b),
        Some(Numbers::Reals(a, b)) => reals(operator, a, b),
        None => times(operator, left, right),
    }
}

fn integers(operator: Binary, a: i64, b: i64) -> Value {
    match operator {
        Binary::Add => Value::Integer(a.wrapping_add(b)),
        Binary::Subtract => Value::Integer(a.wrapping_sub(b)),
        Binary::Multiply => Value::Integer(a.wrapping_mul(b)),
        _ if b == 0 => Value::Error,
        Binary::Divide => Value::Integer(a.checked_div(b).unwrap_or(i64::MAX)),
        _ => Value::Integer(a.wrapping_rem(b)),
    }
}

fn reals(operator: Binary, a: f64, b: f64) -> Value {
    let result = match operator {
        Binary::Add => a + b,
        Binary::Subtract => a - b,
        Binary::Multiply => a * b,
        Binary::Divide => a / b,
        _ => return Value::Error,
    };
    // HTCondor lets the others pass: what is no number, and the negative infinity.
    if result == f64::INFINITY { Value::Error } else { Value::Real(result) }
}

fn times(operator: Binary, left: &Value, right: &Value) -> Value {
    use Value::{AbsoluteTime, Integer, Real, RelativeTime};
    let moved = |seconds: i64, offset: i32, by: i64| AbsoluteTime {
        seconds: seconds.saturating_add(by),
        offset,
    };
    let whole = |duration: f64| i64::from(numbers::to_int32(duration));
    match (operator, left, right) {
        (Binary::Add, &AbsoluteTime { seconds, offset }, &RelativeTime(by))
        | (Binary::Add, &RelativeTime(by), &AbsoluteTime { seconds, offset }) => {
            moved(seconds, offset, whole(by))
        }
        (Binary::Subtract, &AbsoluteTime { seconds, offset }, &RelativeTime(by)) => {
            moved(seconds, offset, -whole(by))
        }
        (Binary::Subtract, &AbsoluteTime { seconds: a, .. }, &AbsoluteTime { seconds: b, .. }) => {
            RelativeTime(numbers::to_real(a.saturating_sub(b)))
        }
        (Binary::Add, &RelativeTime(a), &RelativeTime(b)) => RelativeTime(a + b),
        (Binary::Subtract, &RelativeTime(a), &RelativeTime(b)) => RelativeTime(a - b),
        (Binary::Multiply, &RelativeTime(a), &Integer(b))
        | (Binary::Multiply, &Integer(b), &RelativeTime(a)) => {
            RelativeTime(a * numbers::to_real(b))
        }
        (Binary::Multiply, &RelativeTime(a), &Real(b))
        | (Binary::Multiply, &Real(b), &RelativeTime(a)) => RelativeTime(a * b),
        (Binary::Divide, &RelativeTime(a), &Integer(b)) => RelativeTime(a / numbers::to_real(b)),
        (Binary::Divide, &RelativeTime(a), &Real(b)) => RelativeTime(a / b),
        _ => Value::Error,
    }
}
