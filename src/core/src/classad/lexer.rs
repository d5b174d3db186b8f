//! From text to tokens.
//!
//! Invariant: a token's place is where it stands in the text, in bytes, on a character's boundary.

use super::{
    error::ParseError,
    operators::{Binary, Unary},
};

/// How strings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// In submit files and job ads: only `\"` is an escape, and not at the end of the text.
    Old,
    /// In the manuals: escapes as in C, and neighbouring strings are one.
    New,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    End,
    Integer(i64),
    Real(f64),
    String(String),
    Identifier(String),
    Boolean(bool),
    Undefined,
    Error,
    Binary(Binary),
    /// `!` or `~`; `+` and `-` are binary until the parser knows better.
    Unary(Unary),
    Dot,
    Question,
    Colon,
    /// `?:`
    Elvis,
    /// `=`
    Assign,
    Comma,
    Semicolon,
    /// One of `()[]{}`.
    Bracket(char),
}

impl Token {
    /// Whether it is an operand, or a part of one that can stand at its beginning and at its end.
    pub(super) const fn is_of_operand(&self) -> bool {
        matches!(
            self,
            Self::Integer(_)
                | Self::Real(_)
                | Self::String(_)
                | Self::Identifier(_)
                | Self::Boolean(_)
                | Self::Undefined
                | Self::Error
                | Self::Dot
        )
    }
}

pub(super) struct Lexer<'a> {
    text: &'a str,
    syntax: Syntax,
    at: usize,
    /// Whether the last token can end an operand: then `-` is an operator, never a number's sign.
    after_operand: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str, syntax: Syntax) -> Self {
        Self { text, syntax, at: 0, after_operand: false }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn byte(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn take(&mut self, prefix: &str) -> bool {
        let found = self.rest().starts_with(prefix);
        self.at += if found { prefix.len() } else { 0 };
        found
    }

    /// The next token and where it starts.
    pub(super) fn next(&mut self) -> Result<(usize, Token), ParseError> {
        self.skip_blanks()?;
        let start = self.at;
        let token = self.token()?;
        self.after_operand =
            token.is_of_operand() || matches!(token, Token::Bracket(')' | ']' | '}'));
        Ok((start, token))
    }

    fn skip_blanks(&mut self) -> Result<(), ParseError> {
        loop {
            let rest = self.rest();
            let blanks = rest.len() - rest.trim_ascii_start().len();
            self.at += blanks;
            if self.rest().starts_with("//") {
                self.at += self.rest().find('\n').unwrap_or(self.rest().len());
            } else if self.rest().starts_with("/*") {
                let end = self.rest().get(2..).and_then(|comment| comment.find("*/"));
                let end = end.ok_or_else(|| ParseError::new(self.at, "this comment does not end"));
                self.at += end? + 4;
            } else if blanks == 0 {
                return Ok(());
            }
        }
    }

    fn token(&mut self) -> Result<Token, ParseError> {
        let first = self.byte(0);
        let digit = |byte: u8| byte.is_ascii_digit();
        let negative = first == b'-'
            && !self.after_operand
            && (digit(self.byte(1)) || (self.byte(1) == b'.' && digit(self.byte(2))));
        match first {
            0 if self.rest().is_empty() => Ok(Token::End),
            _ if negative || digit(first) || (first == b'.' && digit(self.byte(1))) => {
                self.number()
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => Ok(self.word()),
            b'"' => self.quoted('"').map(Token::String),
            b'\'' => self.quoted('\'').map(Token::Identifier),
            _ => self.symbol(),
        }
    }

    fn word(&mut self) -> Token {
        let rest = self.rest();
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let word = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
        self.at += word.len();
        match word.to_ascii_lowercase().as_str() {
            "true" => Token::Boolean(true),
            "false" => Token::Boolean(false),
            "undefined" => Token::Undefined,
            "error" => Token::Error,
            "is" => Token::Binary(Binary::Is),
            "isnt" => Token::Binary(Binary::Isnt),
            _ => Token::Identifier(word.to_owned()),
        }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.byte(0).is_ascii_digit() {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Token, ParseError> {
        let start = self.at;
        let fault = |message: &str| ParseError::new(start, message);
        let leading_zero = self.byte(0) == b'0';
        self.take("-");
        let whole = self.digits();
        let mut real = false;
        if self.take(".") {
            real = true;
            if self.digits() == 0 {
                return Err(fault("a number needs digits after its point"));
            }
        }
        if matches!(self.byte(0), b'e' | b'E') {
            real = true;
            self.at += 1;
            let _sign = self.take("+") || self.take("-");
            if self.digits() == 0 {
                return Err(fault("a number needs digits after its 'e'"));
            }
        }
        let text = &self.text[start..self.at];
        if matches!(self.byte(0), b'a'..=b'z' | b'A'..=b'Z' | b'_') {
            return Err(fault("a number ends with a digit: units and hexadecimal are not known"));
        }
        if real {
            let value: f64 = text.parse().map_err(|_| fault("this is not a number"))?;
            return if value.is_finite() {
                Ok(Token::Real(value))
            } else {
                Err(fault("this number is too large"))
            };
        }
        if leading_zero && whole > 1 {
            return Err(fault("a whole number does not begin with a zero"));
        }
        text.parse().map(Token::Integer).map_err(|_| fault("this number is too large"))
    }

    fn quoted(&mut self, quote: char) -> Result<String, ParseError> {
        let start = self.at;
        let text = match self.syntax {
            Syntax::Old => self.quoted_old(quote),
            Syntax::New => self.quoted_new(quote),
        };
        let text = text.ok_or_else(|| {
            let what = if quote == '"' { "string" } else { "quoted name" };
            ParseError::new(start, format!("this {what} is not closed"))
        })?;
        if text.contains(['\0']) {
            return Err(ParseError::new(start, "a string cannot hold the character NUL"));
        }
        if self.syntax == Syntax::Old && text.contains(['\n', '\r']) {
            return Err(ParseError::new(start, "a string cannot hold a line break"));
        }
        if quote == '\'' && text.is_empty() {
            return Err(ParseError::new(start, "a name cannot be empty"));
        }
        String::from_utf8(text.into_bytes())
            .map_err(|_| ParseError::new(start, "this string is not UTF-8"))
    }

    fn quoted_old(&mut self, quote: char) -> Option<Text> {
        let mut value = String::new();
        self.at += 1;
        loop {
            let rest = self.rest();
            let part = &rest[..rest.find(quote)?];
            self.at += part.len() + 1;
            value.push_str(part);
            let more = !matches!(self.rest().as_bytes().first(), None | Some(b'\n'));
            if !part.ends_with('\\') || !more {
                return Some(Text(value.into_bytes()));
            }
            value.pop();
            value.push(quote);
        }
    }

    fn quoted_new(&mut self, quote: char) -> Option<Text> {
        let bytes = self.text.as_bytes();
        let mut value = Vec::new();
        loop {
            self.at += 1;
            loop {
                let byte = *bytes.get(self.at)?;
                self.at += 1;
                match byte {
                    b'\\' => value.push(self.escape()?),
                    _ if char::from(byte) == quote => break,
                    _ => value.push(byte),
                }
            }
            // A string that follows at once continues it.
            let blanks = self.rest().len() - self.rest().trim_ascii_start().len();
            if !self.rest()[blanks..].starts_with(quote) {
                return Some(Text(value));
            }
            self.at += blanks;
        }
    }

    fn escape(&mut self) -> Option<u8> {
        let byte = *self.text.as_bytes().get(self.at)?;
        self.at += 1;
        Some(match byte {
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'0'..=b'7' => {
                let mut value = byte - b'0';
                for _ in 0..2 {
                    let next = self.byte(0);
                    if matches!(next, b'0'..=b'7') && value < 0o40 {
                        value = value * 8 + (next - b'0');
                        self.at += 1;
                    }
                }
                value
            }
            other => other,
        })
    }

    fn symbol(&mut self) -> Result<Token, ParseError> {
        // The longer ones first.
        const SYMBOLS: [(&str, Token); 33] = [
            ("=?=", Token::Binary(Binary::Is)),
            ("=!=", Token::Binary(Binary::Isnt)),
            (">>>", Token::Binary(Binary::UnsignedShiftRight)),
            (">>", Token::Binary(Binary::ShiftRight)),
            ("<<", Token::Binary(Binary::ShiftLeft)),
            ("<=", Token::Binary(Binary::LessOrEqual)),
            (">=", Token::Binary(Binary::GreaterOrEqual)),
            ("==", Token::Binary(Binary::Equal)),
            ("!=", Token::Binary(Binary::NotEqual)),
            ("&&", Token::Binary(Binary::And)),
            ("||", Token::Binary(Binary::Or)),
            ("<", Token::Binary(Binary::Less)),
            (">", Token::Binary(Binary::Greater)),
            ("&", Token::Binary(Binary::BitAnd)),
            ("|", Token::Binary(Binary::BitOr)),
            ("^", Token::Binary(Binary::BitXor)),
            ("+", Token::Binary(Binary::Add)),
            ("-", Token::Binary(Binary::Subtract)),
            ("*", Token::Binary(Binary::Multiply)),
            ("/", Token::Binary(Binary::Divide)),
            ("%", Token::Binary(Binary::Modulus)),
            ("!", Token::Unary(Unary::Not)),
            ("~", Token::Unary(Unary::BitNot)),
            (".", Token::Dot),
            (":", Token::Colon),
            ("=", Token::Assign),
            (",", Token::Comma),
            (";", Token::Semicolon),
            ("(", Token::Bracket('(')),
            (")", Token::Bracket(')')),
            ("[", Token::Bracket('[')),
            ("]", Token::Bracket(']')),
            ("{", Token::Bracket('{')),
        ];
        if self.take("}") {
            return Ok(Token::Bracket('}'));
        }
        if self.take("?") {
            // Blanks may stand within `?:`.
            let rest = self.rest().trim_ascii_start();
            if rest.starts_with(':') {
                self.at = self.text.len() - rest.len() + 1;
                return Ok(Token::Elvis);
            }
            return Ok(Token::Question);
        }
        for (text, token) in SYMBOLS {
            if self.take(text) {
                return Ok(token);
            }
        }
        let found = self.rest().chars().next().unwrap_or(' ');
        let message = match found {
            '$' => "'$' is not known here: macros are not replaced".to_owned(),
            found if found.is_control() => "a control character has no meaning here".to_owned(),
            found => format!("'{found}' has no meaning here"),
        };
        Err(ParseError::new(self.at, message))
    }
}

/// The bytes of a string: escapes can make what is not UTF-8.
struct Text(Vec<u8>);

impl Text {
    fn contains<const N: usize>(&self, bytes: [char; N]) -> bool {
        self.0.iter().any(|byte| bytes.contains(&char::from(*byte)))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}
