//! The words of a `PromQL` expression: which metrics it names, and by which labels.
//!
//! Invariant: a word is a metric's name where it is none of the language's own, no function, no label and no variable.

/// A metric as an expression names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// Its name.
    pub(crate) name: String,
    /// What its labels are compared with.
    pub(crate) matchers: Vec<Matcher>,
}

/// One comparison of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Matcher {
    /// The label.
    pub(crate) label: String,
    /// The text it is compared with.
    pub(crate) value: String,
}

/// Words that come before a list of labels.
const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Words between two expressions, and values.
const OWN: [&str; 8] = ["and", "or", "unless", "bool", "offset", "inf", "nan", "atan2"];

/// The metrics of an expression, in their order. What stands in square brackets is a time.
pub(crate) fn read(expression: &str) -> Result<Vec<Name>, String> {
    let mut names = Vec::new();
    let mut rest = expression.trim_start();
    let mut open = Vec::new();
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_alphabetic() || first == '_' {
            let (word, after) =
                split(rest, |char| char.is_ascii_alphanumeric() || "_:".contains(char));
            rest = after.trim_start();
            if BEFORE_LABELS.contains(&word) {
                rest = labels(rest)?;
            } else if !(OWN.contains(&word.to_lowercase().as_str()) || is_call(rest)) {
                let matchers = matchers(&mut rest)?;
                names.push(Name { name: word.to_owned(), matchers });
            }
        } else if first.is_ascii_digit() {
            rest = split(rest, |char| char.is_ascii_alphanumeric() || char == '.').1;
        } else if first == '[' {
            rest = rest.split_once(']').ok_or("a time without its end")?.1;
        } else {
            match first {
                '(' => open.push(first),
                ')' if open.pop().is_none() => return Err("an end without a beginning".into()),
                '{' | '}' | ']' | '"' | '\'' | '$' => return Err(format!("'{first}' here")),
                _ => {}
            }
            rest = &rest[first.len_utf8()..];
        }
        rest = rest.trim_start();
    }
    if open.is_empty() { Ok(names) } else { Err("a bracket without its end".into()) }
}

/// The longest beginning of such characters, and the rest.
fn split(text: &str, is_part: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|char| !is_part(char)).unwrap_or(text.len()))
}

/// A function or an aggregation: its arguments follow, or the labels that it goes by and then its arguments.
fn is_call(rest: &str) -> bool {
    let next = split(rest, |char| char.is_ascii_alphabetic()).0;
    rest.starts_with('(') || next == "by" || next == "without"
}

/// What follows a list of labels, which `group_left` may lack.
fn labels(rest: &str) -> Result<&str, String> {
    match rest.strip_prefix('(') {
        Some(list) => Ok(list.split_once(')').ok_or("labels without their end")?.1),
        None => Ok(rest),
    }
}

/// The comparisons that follow a name.
fn matchers(rest: &mut &str) -> Result<Vec<Matcher>, String> {
    let mut matchers = Vec::new();
    let Some(mut list) = rest.strip_prefix('{') else { return Ok(matchers) };
    loop {
        list = list.trim_start_matches([' ', ',']);
        if let Some(after) = list.strip_prefix('}') {
            *rest = after;
            return Ok(matchers);
        }
        let (label, after) = split(list, |char| char.is_ascii_alphanumeric() || char == '_');
        let (operator, after) = split(after, |char| "=!~".contains(char));
        let after = after.strip_prefix('"').ok_or("a comparison without a text")?;
        let (value, after) = after.split_once('"').ok_or("a text without its end")?;
        if label.is_empty() || !["=", "!=", "=~", "!~"].contains(&operator) {
            return Err(format!("a comparison '{label}{operator}'"));
        }
        matchers.push(Matcher { label: label.to_owned(), value: value.to_owned() });
        list = after;
    }
}

#[test]
fn names_are_told_from_all_other_words() {
    for (expression, wanted) in [
        ("up", Ok("up")),
        ("sum by (le, x) (rate(a_bucket[5m])) / 2e3 > bool 1.5", Ok("a_bucket")),
        ("sum(rate(a{b=\"c\", d!~\"e|f\"}[$__rate_interval])) by (x)", Ok("a b=c d=e|f")),
        ("a * on (b) group_left c and ignoring(d) e or f unless g", Ok("a,c,e,f,g")),
        ("time() - a{ } offset 5m", Ok("a")),
        ("a < +Inf", Ok("a")),
        ("histogram_quantile(0.99, x:y:z)", Ok("x:y:z")),
        ("rate(a[5m]", Err(())),
        ("a)", Err(())),
        ("a{b=c}", Err(())),
        ("a{b~\"c\"}", Err(())),
        ("a{b=\"c\"", Err(())),
        ("rate($a[5m])", Err(())),
    ] {
        let words = read(expression).map_err(|_| ()).map(|names| {
            let word = |name: Name| {
                let matchers = name.matchers.iter().map(|it| format!(" {}={}", it.label, it.value));
                format!("{}{}", name.name, matchers.collect::<String>())
            };
            names.into_iter().map(word).collect::<Vec<_>>().join(",")
        });
        assert_eq!(words.as_deref(), wanted.as_ref().copied().map_err(|()| &()), "{expression}");
    }
}
