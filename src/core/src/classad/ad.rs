//! An ad: names and their expressions.
//!
//! Invariant: names are compared without regard to (ASCII) case; the spelling of the first insertion is kept.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    sync::Arc,
};

use super::{Context, expr::Expr, unparse, value::Value};

/// A flat map from names to expressions, as a job ad is. Cloning is cheap.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassAd {
    /// By the name in lower case.
    attributes: Arc<BTreeMap<Box<str>, Attribute>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Attribute {
    name: Arc<str>,
    expr: Expr,
}

impl ClassAd {
    /// An ad without attributes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets an attribute to a value.
    pub fn insert(&mut self, name: &str, value: impl Into<Value>) {
        self.insert_expr(name, Expr::from(value.into()));
    }

    /// Sets an attribute to an expression, which is evaluated when it is read.
    pub fn insert_expr(&mut self, name: &str, expr: Expr) {
        let attributes = Arc::make_mut(&mut self.attributes);
        match attributes.entry(key(name)) {
            Entry::Occupied(mut entry) => entry.get_mut().expr = expr,
            Entry::Vacant(entry) => {
                entry.insert(Attribute { name: name.into(), expr });
            }
        }
    }

    /// Takes an attribute out.
    pub fn remove(&mut self, name: &str) -> Option<Expr> {
        Arc::make_mut(&mut self.attributes).remove(&key(name)).map(|attribute| attribute.expr)
    }

    /// The expression of an attribute.
    pub fn get(&self, name: &str) -> Option<&Expr> {
        self.attributes.get(&key(name)).map(|attribute| &attribute.expr)
    }

    /// Names and expressions, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Expr)> {
        self.attributes.values().map(|attribute| (&*attribute.name, &attribute.expr))
    }

    /// How many attributes there are.
    pub fn len(&self) -> usize {
        self.attributes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.attributes.is_empty()
    }

    /// The value of an attribute; undefined if there is none.
    pub fn evaluate(&self, name: &str, context: &Context) -> Value {
        self.get(name).map_or(Value::Undefined, |expr| expr.evaluate(self, context))
    }
}

fn key(name: &str) -> Box<str> {
    name.to_ascii_lowercase().into()
}

/// The old form: a line `Name = expression` for each attribute, sorted by name.
impl fmt::Display for ClassAd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, expr) in self.iter() {
            writeln!(f, "{} = {}", unparse::Name(name), unparse::OneLine(expr))?;
        }
        Ok(())
    }
}
