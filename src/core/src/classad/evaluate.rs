//! Evaluation: an expression, a scope and a context give a value.
//!
//! Operators are worked off on a stack of frames; only attributes, functions and elements of lists
//! recurse, at most [`limits::DEPTH`] deep. Every step and every byte that is made is paid from
//! [`limits::STEPS`]. Invariant: whatever runs out ends the whole evaluation, whose value is then an error.

use std::{fmt::Write, sync::Arc};

use super::{
    Context,
    ad::ClassAd,
    expr::{Expr, Node, NodeId},
    functions, limits,
    operators::{self, Binary, Unary},
    value::{List, NestedAd, Value},
};

/// A bound is exceeded, or a function that fails has failed: there is no value.
#[derive(Debug)]
pub(super) struct Failed;

pub(super) type Result<T = Value> = std::result::Result<T, Failed>;

/// An ad and the ads around it.
#[derive(Clone)]
pub(super) struct Scope(Arc<Level>);

struct Level {
    ad: ClassAd,
    parent: Option<Scope>,
}

impl Scope {
    pub(super) fn new(ad: ClassAd, parent: Option<Scope>) -> Self {
        Self(Arc::new(Level { ad, parent }))
    }

    fn value(&self) -> Value {
        Value::Ad(NestedAd { ad: self.0.ad.clone(), parent: self.0.parent.clone() })
    }
}

pub(super) fn evaluate(expr: &Expr, ad: &ClassAd, context: &Context) -> Value {
    let root = Scope::new(ad.clone(), None);
    let mut evaluator = Evaluator {
        context: *context,
        root: root.clone(),
        steps: limits::STEPS,
        depth: limits::DEPTH,
        active: Vec::new(),
        random: context.seed,
    };
    evaluator.node(expr, expr.root(), &root, &root).unwrap_or(Value::Error)
}

pub(super) struct Evaluator {
    pub(super) context: Context,
    root: Scope,
    steps: u32,
    depth: usize,
    /// The attributes that are being evaluated, by where their expressions are kept.
    active: Vec<usize>,
    random: u64,
}

/// What is to be done with a value.
enum Frame<'a> {
    Unary(Unary),
    /// The value is the left operand.
    Left(Binary, NodeId),
    /// The value is the right operand.
    Right(Binary, Value),
    Elvis(NodeId),
    Condition(NodeId, NodeId),
    Base(NodeId),
    Index(Value),
    Select(&'a str),
}

/// The next thing to do with a frame's result.
enum Next {
    Value(Value),
    Node(NodeId),
}

impl Evaluator {
    /// Pays for work.
    pub(super) fn spend(&mut self, steps: usize) -> Result<()> {
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        self.steps = self.steps.checked_sub(steps).ok_or(Failed)?;
        Ok(())
    }

    /// A string, if it is not too long.
    pub(super) fn string(&mut self, text: String) -> Result {
        self.spend(text.len() / 64)?;
        if text.len() > limits::STRING { Err(Failed) } else { Ok(Value::from(text)) }
    }

    /// A list of values.
    pub(super) fn list(&mut self, items: Vec<Value>) -> Result {
        for item in &items {
            self.spend(1 + item.as_str().map_or(0, str::len) / 64)?;
        }
        Ok(Value::List(List::of(items, true)))
    }

    /// A value as a string: undefined and error stay what they are.
    pub(super) fn text_of(&mut self, value: Value) -> Result {
        let mut text = Bounded(String::new());
        let written = match value {
            Value::Undefined | Value::Error | Value::String(_) => return Ok(value),
            Value::AbsoluteTime { seconds, offset } => {
                super::times::write_moment(&mut text, seconds, offset)
            }
            Value::RelativeTime(seconds) => {
                super::times::write_duration(&mut text, seconds.trunc())
            }
            other => write!(text, "{}", other.new_form()),
        };
        written.map_err(|_| Failed)?;
        self.string(text.0)
    }

    /// The new form of an expression as a string.
    pub(super) fn unparsed(&mut self, expr: &Expr) -> Result {
        let mut text = Bounded(String::new());
        write!(text, "{}", expr.new_form()).map_err(|_| Failed)?;
        self.string(text.0)
    }

    /// The next number of `random()`, over the whole range (`SplitMix64`).
    pub(super) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Evaluates a node of an expression. Names are looked for in `scope`; what is written as a list
    /// or an ad belongs to `home`, where the expression stands, which is mostly the same.
    pub(super) fn node(&mut self, expr: &Expr, id: NodeId, scope: &Scope, home: &Scope) -> Result {
        self.depth = self.depth.checked_sub(1).ok_or(Failed)?;
        let value = self.run(expr, id, scope, home);
        self.depth += 1;
        value
    }

    /// Evaluates all of an expression where it stands.
    pub(super) fn whole(&mut self, expr: &Expr, scope: &Scope) -> Result {
        self.node(expr, expr.root(), scope, scope)
    }

    /// Evaluates where a failure is an error as a value, as `HTCondor` does in some places. Steps that
    /// have run out stay so.
    pub(super) fn attempt(&mut self, evaluate: impl FnOnce(&mut Self) -> Result) -> Value {
        let (depth, active) = (self.depth, self.active.len());
        evaluate(self).unwrap_or_else(|Failed| {
            self.depth = depth;
            self.active.truncate(active);
            Value::Error
        })
    }

    fn run(&mut self, expr: &Expr, id: NodeId, scope: &Scope, home: &Scope) -> Result {
        let mut frames: Vec<Frame<'_>> = Vec::new();
        let mut at = id;
        loop {
            let mut value = match self.descend(expr, at, [scope, home], &mut frames)? {
                Next::Value(value) => value,
                Next::Node(id) => {
                    at = id;
                    continue;
                }
            };
            loop {
                let Some(frame) = frames.pop() else { return Ok(value) };
                match self.resume(frame, value, scope, &mut frames)? {
                    Next::Value(result) => value = result,
                    Next::Node(id) => {
                        at = id;
                        break;
                    }
                }
            }
        }
    }

    /// The value of a leaf; of an operator, its first operand, and the rest as a frame.
    fn descend<'a>(
        &mut self,
        expr: &'a Expr,
        id: NodeId,
        [scope, home]: [&Scope; 2],
        frames: &mut Vec<Frame<'a>>,
    ) -> Result<Next> {
        self.spend(1)?;
        let (frame, first) = match expr.node(id) {
            // A duration that is written as such is a number.
            Node::Literal(Value::RelativeTime(seconds)) => {
                return Ok(Next::Value(Value::Real(*seconds)));
            }
            Node::Literal(value) => return Ok(Next::Value(value.clone())),
            Node::Reference { name, absolute } => {
                let root = self.root.clone();
                let start = if *absolute { &root } else { scope };
                return self.lookup(start, name).map(Next::Value);
            }
            Node::Call(name, arguments) => {
                return functions::call(self, (expr, name, arguments), scope, home)
                    .map(Next::Value);
            }
            Node::List(items) => {
                let (items, scope) = (items.clone(), Some(home.clone()));
                return Ok(Next::Value(Value::List(List { items, scope, made: false })));
            }
            Node::Ad(ad) => {
                let (ad, parent) = (ad.clone(), Some(home.clone()));
                return Ok(Next::Value(Value::Ad(NestedAd { ad, parent })));
            }
            Node::Parentheses(inner) => return Ok(Next::Node(*inner)),
            Node::Unary(operator, operand) => (Frame::Unary(*operator), *operand),
            Node::Binary(operator, left, right) => (Frame::Left(*operator, *right), *left),
            Node::Elvis(first, otherwise) => (Frame::Elvis(*otherwise), *first),
            Node::Ternary(condition, yes, no) => (Frame::Condition(*yes, *no), *condition),
            Node::Subscript(base, index) => (Frame::Base(*index), *base),
            Node::Select(base, name) => (Frame::Select(name), *base),
        };
        frames.push(frame);
        Ok(Next::Node(first))
    }

    fn resume<'a>(
        &mut self,
        frame: Frame<'a>,
        value: Value,
        scope: &Scope,
        frames: &mut Vec<Frame<'a>>,
    ) -> Result<Next> {
        Ok(match frame {
            Frame::Unary(operator) => Next::Value(operators::unary(operator, &value)),
            Frame::Left(operator, right) => {
                if let Some(result) = operator.decided(&value) {
                    return Ok(Next::Value(result));
                }
                frames.push(Frame::Right(operator, value));
                Next::Node(right)
            }
            Frame::Right(operator, left) => {
                self.spend(weight(&left).min(weight(&value)))?;
                Next::Value(operators::binary(operator, &left, &value))
            }
            Frame::Elvis(otherwise) if value.is_undefined() => Next::Node(otherwise),
            Frame::Elvis(_) => Next::Value(value),
            Frame::Condition(yes, no) => match value.as_condition() {
                Some(true) => Next::Node(yes),
                Some(false) => Next::Node(no),
                None if value.is_undefined() => Next::Value(Value::Undefined),
                None => Next::Value(Value::Error),
            },
            Frame::Base(index) => {
                frames.push(Frame::Index(value));
                Next::Node(index)
            }
            Frame::Index(base) => Next::Value(self.subscript(base, value, scope)),
            Frame::Select(name) => Next::Value(self.select(value, name, scope)?),
        })
    }

    fn subscript(&mut self, base: Value, index: Value, scope: &Scope) -> Value {
        match (base, index) {
            (Value::Error, _) | (_, Value::Error) => Value::Error,
            (Value::Undefined, _) | (_, Value::Undefined) => Value::Undefined,
            (Value::List(list), Value::Integer(index)) => {
                let index = usize::try_from(super::numbers::low_bits(index));
                let item = index.ok().and_then(|index| list.items.get(index));
                let scope = list.scope.as_ref().unwrap_or(scope);
                item.map_or(Value::Error, |item| self.attempt(|this| this.whole(item, scope)))
            }
            (Value::Ad(ad), Value::String(name)) => {
                let Some(expr) = ad.ad.get(&name).cloned() else { return Value::Undefined };
                let value = self.attempt(|this| this.whole(&expr, &Scope::new(ad.ad, ad.parent)));
                // A list is copied here.
                match value {
                    Value::List(list) => Value::List(List { made: true, ..list }),
                    other => other,
                }
            }
            _ => Value::Error,
        }
    }

    /// `base.name`; of a list, that of each of its elements.
    fn select(&mut self, base: Value, name: &str, scope: &Scope) -> Result {
        match base {
            Value::Undefined => Ok(Value::Undefined),
            Value::Ad(NestedAd { ad, parent }) => self.lookup(&Scope::new(ad, parent), name),
            Value::List(list) => {
                self.depth = self.depth.checked_sub(1).ok_or(Failed)?;
                let mut values = Vec::new();
                for item in list.items.iter() {
                    let base = self.item(&list, item, scope)?;
                    values.push(self.select(base, name, scope)?);
                }
                self.depth += 1;
                self.spend(values.len())?;
                Ok(Value::List(List::of(values, false)))
            }
            _ => Ok(Value::Error),
        }
    }

    /// An element of a list for a function, which looks for names where it stands itself.
    pub(super) fn item(&mut self, list: &List, item: &Expr, scope: &Scope) -> Result {
        self.node(item, item.root(), scope, list.scope.as_ref().unwrap_or(scope))
    }

    /// The value of an attribute, of the ad itself or of one around it.
    fn lookup(&mut self, start: &Scope, name: &str) -> Result {
        self.spend(name.len() / 64)?;
        let Some((scope, expr, place)) = find(start, name) else {
            return Ok(self.special(start, name).unwrap_or(Value::Undefined));
        };
        if !Arc::ptr_eq(&scope.0, &start.0)
            && let Some(value) = self.special(start, name)
        {
            return Ok(value);
        }
        if self.active.contains(&place) {
            return Ok(Value::Undefined);
        }
        self.active.push(place);
        let value = self.whole(&expr, &scope);
        self.active.pop();
        value
    }

    /// What has a meaning without being an attribute of the ad.
    fn special(&self, scope: &Scope, name: &str) -> Option<Value> {
        let is = |word: &str| name.eq_ignore_ascii_case(word);
        if is("my") || is("self") {
            Some(scope.value())
        } else if is("parent") {
            Some(scope.0.parent.as_ref().map_or(Value::Undefined, Scope::value))
        } else if is("toplevel") || is("root") {
            Some(self.root.value())
        } else if is("target") {
            Some(Value::Undefined)
        } else if is("currenttime") {
            Some(Value::Integer(self.context.now.as_second()))
        } else {
            None
        }
    }
}

/// How long it takes to compare a value, in steps.
fn weight(value: &Value) -> usize {
    value.as_str().map_or(0, str::len) / 64
}

/// Where an attribute stands: its scope, its expression, and where that is kept.
pub(super) fn find(start: &Scope, name: &str) -> Option<(Scope, Expr, usize)> {
    let mut scope = Some(start);
    while let Some(level) = scope {
        if let Some(expr) = level.0.ad.get(name) {
            return Some((level.clone(), expr.clone(), std::ptr::from_ref(expr).addr()));
        }
        scope = level.0.parent.as_ref();
    }
    None
}

impl Scope {
    /// The expression of an attribute of the ad itself.
    pub(super) fn own(&self, name: &str) -> Option<Expr> {
        self.0.ad.get(name).cloned()
    }
}

/// A string that refuses to grow beyond its bound.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.0.len() + text.len() > limits::STRING {
            return Err(std::fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}
