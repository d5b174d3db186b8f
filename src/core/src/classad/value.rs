//! The values of the language.
//!
//! Invariant: the elements of a list and of a nested ad are expressions that are not yet evaluated,
//! with the scope in which they stand, as in `HTCondor`. Equality (`==`) compares what is written,
//! not scopes; the language's own `==` is in `operators`.

use std::{fmt, sync::Arc};

use super::{ad::ClassAd, evaluate::Scope, expr::Expr};

/// What an expression evaluates to.
#[derive(Clone, Debug)]
pub enum Value {
    /// An attribute that does not exist, and what depends on it.
    Undefined,
    /// A mistake in the expression: wrong types, division by zero, a bound that is exceeded.
    Error,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Real(f64),
    /// Text.
    String(Arc<str>),
    /// `{ … }`.
    List(List),
    /// `[ … ]`.
    Ad(NestedAd),
    /// A moment.
    AbsoluteTime {
        /// Seconds since 1970, UTC.
        seconds: i64,
        /// The zone in which it is written, in seconds east of UTC.
        offset: i32,
    },
    /// A duration in seconds.
    RelativeTime(f64),
}

/// A list of expressions.
#[derive(Clone)]
pub struct List {
    pub(super) items: Arc<[Expr]>,
    pub(super) scope: Option<Scope>,
    /// Whether a function made it: `=?=` takes such a list for another type than a written one.
    pub(super) made: bool,
}

/// An ad within an ad.
#[derive(Clone)]
pub struct NestedAd {
    pub(super) ad: ClassAd,
    pub(super) parent: Option<Scope>,
}

impl List {
    pub(super) fn of(items: impl IntoIterator<Item = Value>, made: bool) -> Self {
        // As in `HTCondor`, a duration loses its fraction here.
        let whole = |item| match item {
            Value::RelativeTime(seconds) => Value::RelativeTime(seconds.trunc()),
            other => other,
        };
        let items = items.into_iter().map(|item| Expr::from(whole(item))).collect();
        Self { items, scope: None, made }
    }

    /// The elements, as they are written.
    pub fn items(&self) -> &[Expr] {
        &self.items
    }
}

impl NestedAd {
    /// The attributes, as they are written.
    pub fn ad(&self) -> &ClassAd {
        &self.ad
    }
}

impl Value {
    /// Whether a policy with this value fires (§6.2): a number other than zero, or true. `None`
    /// where the value is no condition: undefined, an error, text.
    pub fn as_condition(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            Self::Integer(value) => Some(*value != 0),
            Self::Real(value) => Some(*value != 0.0),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The number of an integer.
    pub fn as_integer(&self) -> Option<i64> {
        if let Self::Integer(value) = self { Some(*value) } else { None }
    }

    pub(super) fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined)
    }

    pub(super) fn is_error(&self) -> bool {
        matches!(self, Self::Error)
    }

    /// A number, where booleans count as numbers.
    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Boolean(_) | Self::Integer(_) | Self::Real(_))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Undefined, Self::Undefined) | (Self::Error, Self::Error) => true,
            (Self::Boolean(a), Self::Boolean(b)) => a == b,
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (Self::Real(a), Self::Real(b)) | (Self::RelativeTime(a), Self::RelativeTime(b)) => {
                a.to_bits() == b.to_bits()
            }
            (Self::String(a), Self::String(b)) => a == b,
            (Self::List(a), Self::List(b)) => a.items == b.items,
            (Self::Ad(a), Self::Ad(b)) => a.ad == b.ad,
            (
                Self::AbsoluteTime { seconds, offset },
                Self::AbsoluteTime { seconds: other_seconds, offset: other_offset },
            ) => seconds == other_seconds && offset == other_offset,
            _ => false,
        }
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.items.iter()).finish()
    }
}

impl fmt::Debug for NestedAd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ad.fmt(f)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Integer(value.into())
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Integer(value.into())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::String(value.into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::String(value.into())
    }
}
