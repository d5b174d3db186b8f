//! An expression: its nodes in one row, children before parents, the root last.
//!
//! Invariant: a long chain of operators is a long row, not a deep tree, so that cloning, comparing,
//! dropping and walking it need no recursion. Only `{ … }` and `[ … ]` hold expressions of their
//! own, and the parser bounds how deep those stand in each other.

use std::{collections::BTreeSet, fmt, sync::Arc};

use super::{
    Context,
    ad::ClassAd,
    error::ParseError,
    evaluate,
    lexer::Syntax,
    operators::{Binary, Unary},
    parser,
    value::Value,
};

/// An expression of the `ClassAd` language. Cloning is cheap.
#[derive(Clone, PartialEq)]
pub struct Expr {
    nodes: Arc<[Node]>,
}

/// Where a node stands in its expression.
pub(super) type NodeId = usize;

/// One part of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Literal(Value),
    /// `name`, or `.name`, which is looked for in the outermost ad.
    Reference {
        name: Arc<str>,
        absolute: bool,
    },
    /// `base.name`
    Select(NodeId, Arc<str>),
    /// `base[index]`
    Subscript(NodeId, NodeId),
    Parentheses(NodeId),
    Unary(Unary, NodeId),
    Binary(Binary, NodeId, NodeId),
    /// `first ?: otherwise`
    Elvis(NodeId, NodeId),
    /// `condition ? yes : no`
    Ternary(NodeId, NodeId, NodeId),
    Call(Arc<str>, Box<[NodeId]>),
    List(Arc<[Expr]>),
    Ad(ClassAd),
}

/// Stands for a node that is not there, which the parser makes impossible.
static NO_NODE: Node = Node::Literal(Value::Error);

impl Expr {
    /// Reads an expression as `condor_submit` and job ads write it: in strings, a backslash is
    /// itself unless a quote follows it.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parser::parse(text, Syntax::Old)
    }

    /// Reads an expression as the manuals of the language and `eval()` write it: in strings, a
    /// backslash begins an escape such as `\n`.
    pub fn parse_new(text: &str) -> Result<Self, ParseError> {
        parser::parse(text, Syntax::New)
    }

    pub(super) fn of(nodes: Vec<Node>) -> Self {
        Self { nodes: nodes.into() }
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(id).unwrap_or(&NO_NODE)
    }

    pub(super) fn root(&self) -> NodeId {
        self.nodes.len().saturating_sub(1)
    }

    /// The value where `ad` is the job. Self reference is undefined; a bound that is exceeded makes
    /// the whole an error.
    pub fn evaluate(&self, ad: &ClassAd, context: &Context) -> Value {
        evaluate::evaluate(self, ad, context)
    }

    /// The value, if the expression is nothing but one.
    pub fn literal(&self) -> Option<&Value> {
        if let Node::Literal(value) = self.node(self.root()) { Some(value) } else { None }
    }

    /// The names of the job's attributes that the expression reads, as it spells them, each once
    /// and in their order. Not those that they read in turn, and not those of other ads (`TARGET.`).
    pub fn references(&self) -> Vec<String> {
        self.references_and_size().0
    }

    /// The same, and how many nodes were looked at for it.
    pub(super) fn references_and_size(&self) -> (Vec<String>, usize) {
        let mut found = References::default();
        found.visit(self);
        (found.names, found.nodes)
    }
}

#[derive(Default)]
struct References {
    names: Vec<String>,
    seen: BTreeSet<String>,
    nodes: usize,
}

impl References {
    fn visit(&mut self, expr: &Expr) {
        self.nodes += expr.nodes.len();
        // The bases of `MY.x` and `TARGET.x` name an ad, not an attribute.
        let mut scopes = BTreeSet::new();
        for (id, node) in expr.nodes.iter().enumerate() {
            if let Node::Select(base, name) = node
                && let Node::Reference { name: ad, .. } = expr.node(*base)
                && let Some(scope) = AdName::of(ad)
            {
                scopes.insert(*base);
                if scope == AdName::Job {
                    scopes.insert(id);
                    self.add(name);
                }
            }
        }
        for (id, node) in expr.nodes.iter().enumerate() {
            match node {
                Node::Reference { name, .. } if !scopes.contains(&id) => self.add(name),
                Node::List(items) => items.iter().for_each(|item| self.visit(item)),
                Node::Ad(ad) => ad.iter().for_each(|(_, expr)| self.visit(expr)),
                _ => {}
            }
        }
    }

    fn add(&mut self, name: &str) {
        if self.seen.insert(name.to_ascii_lowercase()) {
            self.names.push(name.to_owned());
        }
    }
}

#[derive(PartialEq)]
enum AdName {
    Job,
    Other,
}

impl AdName {
    fn of(name: &str) -> Option<Self> {
        let is = |words: &[&str]| words.iter().any(|word| name.eq_ignore_ascii_case(word));
        if is(&["my", "self", "toplevel", "root"]) {
            Some(Self::Job)
        } else if is(&["target", "parent"]) {
            Some(Self::Other)
        } else {
            None
        }
    }
}

impl From<Value> for Expr {
    fn from(value: Value) -> Self {
        Self::of(vec![Node::Literal(value)])
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.new_form())
    }
}
