//! From tokens to an expression.
//!
//! Operators wait on a stack of their own, so only brackets nest; [`limits::NESTING`] bounds those.
//! `?:` binds as tightly as `[ ]` and `.`, and takes no prefix operator on its right, as in `HTCondor` 25.

use std::mem;

use super::{
    ad::ClassAd,
    error::ParseError,
    expr::{Expr, Node, NodeId},
    lexer::{Lexer, Syntax, Token},
    limits,
    operators::{Binary, Unary},
    times,
    value::Value,
};

type Result<T> = std::result::Result<T, ParseError>;

/// Reads all of `text`.
pub(super) fn parse(text: &str, syntax: Syntax) -> Result<Expr> {
    if text.len() > limits::TEXT {
        let end = text.floor_char_boundary(limits::TEXT);
        let message = format!("an expression has at most {} bytes", limits::TEXT);
        return Err(ParseError::new(end, message));
    }
    let mut lexer = Lexer::new(text, syntax);
    let (start, token) = lexer.next()?;
    let mut parser = Parser { lexer, start, token, nodes: Vec::new(), nesting: 0 };
    parser.expression()?;
    if parser.token != Token::End {
        return Err(parser.unexpected("an operator or the end"));
    }
    Ok(Expr::of(parser.nodes))
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// Where the token stands.
    start: usize,
    /// The next token.
    token: Token,
    nodes: Vec<Node>,
    nesting: usize,
}

/// An operator whose right side is not yet read.
enum Pending {
    Unary(Unary),
    Binary(Binary, NodeId),
}

impl Parser<'_> {
    fn advance(&mut self) -> Result<Token> {
        let (start, token) = self.lexer.next()?;
        self.start = start;
        Ok(mem::replace(&mut self.token, token))
    }

    fn take(&mut self, token: &Token) -> Result<bool> {
        let found = self.token == *token;
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn unexpected(&self, expected: &str) -> ParseError {
        let message = match &self.token {
            Token::End => format!("the expression ends here, but {expected} is missing"),
            Token::Assign => {
                "'=' compares nothing: write '==', or '=?=' to compare types as well".to_owned()
            }
            _ => format!("expected {expected} here"),
        };
        ParseError::new(self.start, message)
    }

    /// Reads the bracket that closes the one at `opened`.
    fn close(&mut self, bracket: char, opened: usize) -> Result<()> {
        if self.take(&Token::Bracket(bracket))? {
            return Ok(());
        }
        if self.token == Token::End {
            let message = format!("this bracket is not closed by '{bracket}'");
            return Err(ParseError::new(opened, message));
        }
        Err(self.unexpected(&format!("an operator or '{bracket}'")))
    }

    fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// An expression with nodes of its own.
    fn separate(&mut self) -> Result<Expr> {
        let outer = mem::take(&mut self.nodes);
        self.expression()?;
        Ok(Expr::of(mem::replace(&mut self.nodes, outer)))
    }

    fn expression(&mut self) -> Result<NodeId> {
        self.nesting += 1;
        if self.nesting > limits::NESTING {
            let message = format!("brackets nest deeper than {}", limits::NESTING);
            return Err(ParseError::new(self.start, message));
        }
        // `a ? b : c ? d : e` is a row of choices.
        let mut choices = Vec::new();
        let mut last = self.operations()?;
        while self.take(&Token::Question)? {
            let yes = self.expression()?;
            if !self.take(&Token::Colon)? {
                return Err(self.unexpected("an operator or ':'"));
            }
            choices.push((last, yes));
            last = self.operations()?;
        }
        for (condition, yes) in choices.into_iter().rev() {
            last = self.add(Node::Ternary(condition, yes, last));
        }
        self.nesting -= 1;
        Ok(last)
    }

    /// Operands between prefix and infix operators.
    fn operations(&mut self) -> Result<NodeId> {
        let mut pending: Vec<Pending> = Vec::new();
        loop {
            while let Some(operator) = self.prefix() {
                self.advance()?;
                pending.push(Pending::Unary(operator));
            }
            let mut operand = self.operand()?;
            let next = if let Token::Binary(operator) = self.token { Some(operator) } else { None };
            let limit = next.map_or(0, Binary::precedence);
            while let Some(top) = pending.pop_if(|top| top.precedence() >= limit) {
                operand = self.add(match top {
                    Pending::Unary(operator) => Node::Unary(operator, operand),
                    Pending::Binary(operator, left) => Node::Binary(operator, left, operand),
                });
            }
            let Some(operator) = next else { return Ok(operand) };
            self.advance()?;
            pending.push(Pending::Binary(operator, operand));
        }
    }

    fn prefix(&self) -> Option<Unary> {
        match self.token {
            Token::Unary(operator) => Some(operator),
            Token::Binary(Binary::Add) => Some(Unary::Plus),
            Token::Binary(Binary::Subtract) => Some(Unary::Minus),
            _ => None,
        }
    }

    /// One operand, or several with `?:` between them.
    fn operand(&mut self) -> Result<NodeId> {
        let mut earlier = Vec::new();
        let mut last = self.postfix()?;
        while self.take(&Token::Elvis)? {
            earlier.push(last);
            last = self.postfix()?;
        }
        while let Some(first) = earlier.pop() {
            last = self.add(Node::Elvis(first, last));
        }
        Ok(last)
    }

    fn postfix(&mut self) -> Result<NodeId> {
        let mut operand = self.primary()?;
        loop {
            let opened = self.start;
            if self.take(&Token::Bracket('['))? {
                let index = self.expression()?;
                self.close(']', opened)?;
                operand = self.add(Node::Subscript(operand, index));
            } else if self.take(&Token::Dot)? {
                let name = self.name()?;
                operand = self.add(Node::Select(operand, name.into()));
            } else {
                return Ok(operand);
            }
        }
    }

    fn name(&mut self) -> Result<String> {
        if let Token::Identifier(_) = self.token
            && let Token::Identifier(name) = self.advance()?
        {
            return Ok(name);
        }
        Err(self.unexpected("a name"))
    }

    fn primary(&mut self) -> Result<NodeId> {
        let start = self.start;
        if !self.token.is_of_operand() && !matches!(self.token, Token::Bracket('(' | '[' | '{')) {
            return Err(self.unexpected("a value, a name or '('"));
        }
        let node = match self.advance()? {
            Token::Integer(value) => Node::Literal(Value::Integer(value)),
            Token::Real(value) => Node::Literal(Value::Real(value)),
            Token::String(value) => Node::Literal(Value::from(value)),
            Token::Boolean(value) => Node::Literal(Value::Boolean(value)),
            Token::Undefined => Node::Literal(Value::Undefined),
            Token::Identifier(name) if self.token == Token::Bracket('(') => {
                self.call(&name, start)?
            }
            Token::Identifier(name) => Node::Reference { name: name.into(), absolute: false },
            Token::Dot => Node::Reference { name: self.name()?.into(), absolute: true },
            Token::Bracket('(') => {
                let inner = self.expression()?;
                self.close(')', start)?;
                Node::Parentheses(inner)
            }
            Token::Bracket('{') => self.list(start)?,
            Token::Bracket('[') => self.ad(start)?,
            _ => Node::Literal(Value::Error),
        };
        Ok(self.add(node))
    }

    fn call(&mut self, name: &str, start: usize) -> Result<Node> {
        let opened = self.start;
        self.advance()?;
        let mut arguments = Vec::new();
        if !self.take(&Token::Bracket(')'))? {
            loop {
                arguments.push(self.expression()?);
                if !self.take(&Token::Comma)? && !self.take(&Token::Semicolon)? {
                    break;
                }
            }
            self.close(')', opened)?;
        }
        // A time in a string is a value, and a wrong one is found at once.
        if let [argument] = arguments[..]
            && let Some(Node::Literal(Value::String(text))) = self.nodes.get(argument)
            && let Some(read) = times::literal(name)
        {
            let value = read(text).ok_or_else(|| {
                ParseError::new(start, format!("the text in {name}() is not such a time"))
            })?;
            self.nodes.pop();
            return Ok(Node::Literal(value));
        }
        Ok(Node::Call(name.into(), arguments.into()))
    }

    fn list(&mut self, start: usize) -> Result<Node> {
        let mut items = Vec::new();
        if !self.take(&Token::Bracket('}'))? {
            loop {
                items.push(self.separate()?);
                if !self.take(&Token::Comma)? {
                    break;
                }
            }
            self.close('}', start)?;
        }
        Ok(Node::List(items.into()))
    }

    fn ad(&mut self, start: usize) -> Result<Node> {
        let mut ad = ClassAd::new();
        loop {
            while self.take(&Token::Semicolon)? {}
            if self.take(&Token::Bracket(']'))? {
                return Ok(Node::Ad(ad));
            }
            let name = self.name()?;
            if !self.take(&Token::Assign)? {
                return Err(self.unexpected("'='"));
            }
            let expr = self.separate()?;
            ad.insert_expr(&name, expr);
            if self.token != Token::Semicolon {
                self.close(']', start)?;
                return Ok(Node::Ad(ad));
            }
        }
    }
}

impl Pending {
    fn precedence(&self) -> u8 {
        match self {
            Self::Unary(_) => Unary::PRECEDENCE,
            Self::Binary(operator, _) => operator.precedence(),
        }
    }
}
