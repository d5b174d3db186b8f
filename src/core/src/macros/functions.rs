//! The functions: `$INT()`, `$REAL()`, `$STRING()`, `$EVAL()`, `$SUBSTR()`, `$CHOICE()`, `$RANDOM_CHOICE()`,
//! `$RANDOM_INTEGER()`, `$F…()`, `$BASENAME()` and `$DIRNAME()`.
//!
//! Invariant: an argument names a variable or an automatic macro, or is taken as it stands, with the macros in it replaced; one
//! that a function cannot use is an error.

use super::{Expander, number, path, printf, random::Random, scan};
use crate::classad::{self, Value};

/// A function by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function<'a> {
    Int,
    Real,
    String,
    Eval,
    Substr,
    Choice,
    RandomChoice,
    RandomInteger,
    Basename,
    Dirname,
    /// `F` with the parts of a path that are wanted.
    File(&'a str),
}

impl<'a> Function<'a> {
    /// In upper case only, as in `HTCondor`.
    pub(super) fn named(name: &'a str) -> Option<Self> {
        Some(match name {
            "INT" => Self::Int,
            "REAL" => Self::Real,
            "STRING" => Self::String,
            "EVAL" => Self::Eval,
            "SUBSTR" => Self::Substr,
            "CHOICE" => Self::Choice,
            "RANDOM_CHOICE" => Self::RandomChoice,
            "RANDOM_INTEGER" => Self::RandomInteger,
            "BASENAME" => Self::Basename,
            "DIRNAME" => Self::Dirname,
            _ => Self::File(name.strip_prefix('F').filter(|parts| path::are_parts(parts))?),
        })
    }

    pub(super) fn name(self) -> String {
        match self {
            Self::Int => "INT".into(),
            Self::Real => "REAL".into(),
            Self::String => "STRING".into(),
            Self::Eval => "EVAL".into(),
            Self::Substr => "SUBSTR".into(),
            Self::Choice => "CHOICE".into(),
            Self::RandomChoice => "RANDOM_CHOICE".into(),
            Self::RandomInteger => "RANDOM_INTEGER".into(),
            Self::Basename => "BASENAME".into(),
            Self::Dirname => "DIRNAME".into(),
            Self::File(parts) => format!("F{parts}"),
        }
    }
}

/// What a function comes to.
pub(super) fn call(
    expander: &mut Expander<'_, '_>,
    function: Function<'_>,
    body: &str,
) -> Result<String, String> {
    match function {
        Function::Int => {
            let (text, format) = formatted(expander, body)?;
            printf::integer(format.unwrap_or("%d"), expander.integer(&text)?)
        }
        Function::Real => {
            let (text, format) = formatted(expander, body)?;
            let value = number::real(&text, &expander.context())?;
            let Some(format) = format else { return printf::real("%.16G", value) };
            let mut text = printf::real(format, value)?;
            if !text.contains('.') {
                text.push_str(".0"); // it is to look like a real number
            }
            Ok(text)
        }
        Function::String => {
            let (text, format) = formatted(expander, body)?;
            let value = match number::evaluate(&text, &expander.context()) {
                Ok(Value::String(text)) => text.to_string(),
                _ => text,
            };
            printf::text(format.unwrap_or("%s"), &value)
        }
        Function::Eval => expander.eval(body),
        Function::Substr => expander.substr(body),
        Function::Choice => expander.choice(body),
        Function::RandomChoice => expander.random_choice(body),
        Function::RandomInteger => expander.random_integer(body),
        Function::Basename => Ok(path::parts("nx", &expander.path(body)?)),
        Function::Dirname => Ok(path::parts("p", &expander.path(body)?)),
        Function::File(parts) => Ok(path::parts(parts, &expander.path(body)?)),
    }
}

/// The value before the last comma, and the format behind it.
fn formatted<'b>(
    expander: &mut Expander<'_, '_>,
    body: &'b str,
) -> Result<(String, Option<&'b str>), String> {
    let arguments = scan::arguments(body);
    let (value, format) = match *arguments {
        [value] => (value, None),
        [value, format] => (value, Some(format)),
        _ => return Err("it takes a value and a format such as '%03d'".into()),
    };
    Ok((expander.argument(value)?, format))
}

impl Expander<'_, '_> {
    /// What an argument stands for: the value of what it names, or itself.
    fn argument(&mut self, argument: &str) -> Result<String, String> {
        let argument = argument.trim();
        match self.named(argument)? {
            Some(value) => Ok(value),
            None => self.deeper(argument),
        }
    }

    /// A path: what a name stands for, else the text itself, blanks included.
    fn path(&mut self, body: &str) -> Result<String, String> {
        match self.named(body)? {
            Some(value) => Ok(value),
            None => self.deeper(body),
        }
    }

    /// Time and chance of an expression are the job's, not those of the moment.
    fn context(&self) -> classad::Context {
        let seed = self.random().seed();
        classad::Context { now: self.scope.submitted, seed }
    }

    /// What is random here: by the proc, the field, and the macro's number in it.
    fn random(&self) -> Random {
        Random::of(self.scope, self.field, self.macros)
    }

    fn integer(&mut self, text: &str) -> Result<i64, String> {
        number::integer(text, &self.context())
    }

    fn eval(&mut self, body: &str) -> Result<String, String> {
        let text = self.argument(body)?;
        match number::evaluate(&text, &self.context())? {
            Value::String(text) => Ok(text.to_string()),
            Value::Undefined | Value::Error => Err(format!(
                "'{text}' has no value: attributes of the job are not known here; write $(name) for a variable"
            )),
            value => Ok(value.new_form().to_string()),
        }
    }

    /// Characters from `start` on, both numbers counted from the end where they are negative.
    fn substr(&mut self, body: &str) -> Result<String, String> {
        let arguments = scan::arguments(body);
        let (name, start, length) = match *arguments {
            [name, start] => (name, start, None),
            [name, start, length] => (name, start, Some(length)),
            _ => return Err("it takes a name, a start and, if need be, a length".into()),
        };
        let name = name.trim();
        let Some(text) = self.named(name)? else {
            return Err(format!("'{name}' names no variable of the job's items, and no macro"));
        };
        let start = self.argument(start)?;
        let start = self.integer(&start)?;
        let length = match length {
            None => None,
            Some(length) => {
                let length = self.argument(length)?;
                Some(self.integer(&length)?)
            }
        };
        let all = text.chars().count();
        let from_end = |number: i64| {
            let distance = usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX);
            if number < 0 { all.saturating_sub(distance) } else { distance.min(all) }
        };
        let begin = from_end(start);
        let end = match length {
            None => all,
            Some(length) if length < 0 => from_end(length),
            Some(length) => {
                begin.saturating_add(usize::try_from(length).unwrap_or(usize::MAX)).min(all)
            }
        };
        Ok(text.chars().skip(begin).take(end.saturating_sub(begin)).collect())
    }

    /// The item of that number, from a list that stands here or that a variable has.
    fn choice(&mut self, body: &str) -> Result<String, String> {
        let arguments = scan::arguments(body);
        let Some((index, list)) = arguments.split_first().filter(|(_, list)| !list.is_empty())
        else {
            return Err("it takes a number and a list to choose from".into());
        };
        let index = self.argument(index)?;
        let number = self.integer(&index)?;
        let named =
            match list {
                [name] => Some(self.named(name.trim())?.ok_or_else(|| {
                    format!("'{}' names no variable that has a list", name.trim())
                })?),
                _ => None,
            };
        let items: Vec<&str> = match &named {
            Some(value) => filled(value.split(',')).collect(),
            None => filled(list.iter().copied()).collect(),
        };
        let chosen = usize::try_from(number).ok().and_then(|number| items.get(number).copied());
        let Some(chosen) = chosen else {
            let count = items.len();
            return Err(format!(
                "'{number}' is not the number of an item: the list has {count}, and the first is 0"
            ));
        };
        // What a variable has is expanded already.
        if named.is_some() { Ok(chosen.to_owned()) } else { self.deeper(chosen) }
    }

    fn random_choice(&mut self, body: &str) -> Result<String, String> {
        let random = self.random();
        let list = scan::arguments(body);
        let named = match *list {
            [name] => self.named(name.trim())?,
            _ => None,
        };
        let items: Vec<&str> = match &named {
            Some(value) => filled(value.split([',', ' ', '\t'])).collect(),
            None => filled(list.iter().copied()).collect(),
        };
        let Some(chosen) = random.one_of(&items) else {
            return Err("there is nothing to choose from: write a list, such as 'a, b, c'".into());
        };
        if named.is_some() { Ok((*chosen).to_owned()) } else { self.deeper(chosen) }
    }

    fn random_integer(&mut self, body: &str) -> Result<String, String> {
        let random = self.random();
        let arguments = scan::arguments(body);
        if !(2..=3).contains(&arguments.len()) {
            return Err("it takes the least number, the largest and, if need be, a step".into());
        }
        let mut numbers = Vec::with_capacity(arguments.len());
        for argument in arguments {
            let text = self.argument(argument)?;
            numbers.push(self.integer(&text)?);
        }
        let (least, largest) = (numbers[0], numbers[1]);
        let step = numbers.get(2).copied().unwrap_or(1);
        random.between(least, largest, step).map(|number| number.to_string()).ok_or_else(|| {
            format!(
                "the least number '{least}' must not be above the largest '{largest}', nor the step '{step}' below 1"
            )
        })
    }
}

/// The items of a list that are not empty, without blanks around them.
fn filled<'a>(items: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    items.map(str::trim).filter(|item| !item.is_empty())
}
