//! Properties of the `ClassAd` language: nothing breaks it, and it writes what it reads.

use std::time::{Duration, Instant};

use duj_core::classad::{ClassAd, Context, Expr, Value, limits};
use jiff::Timestamp;
use proptest::{collection::vec, prelude::*, sample::select};

/// Far more than any evaluation takes, even in a debug build on a busy machine.
const SLOW: Duration = Duration::from_secs(5);

const TOKENS: [&str; 104] = [
    "1",
    "0",
    "-7",
    "2.5",
    "1e300",
    "9223372036854775807",
    "true",
    "false",
    "undefined",
    "error",
    "A",
    "B",
    "C",
    "My",
    "Nested",
    "Items",
    "x",
    "parent",
    "\"a\"",
    "\"a,b c\"",
    "\"(a*)*b\"",
    "\"",
    "'q'",
    "'",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ",",
    ";",
    ".",
    "?",
    ":",
    "?:",
    "=",
    "==",
    "!=",
    "=?=",
    "=!=",
    "is",
    "isnt",
    "<",
    "<=",
    ">",
    ">=",
    "<<",
    ">>",
    ">>>",
    "+",
    "-",
    "*",
    "/",
    "%",
    "&&",
    "||",
    "&",
    "|",
    "^",
    "!",
    "~",
    "\\",
    " ",
    " ",
    "\n",
    "//",
    "/*",
    "*/",
    "strcat(",
    "join(",
    "split(",
    "eval(",
    "regexp(",
    "replaceAll(",
    "substr(",
    "evalInEachContext(",
    "countMatches(",
    "member(",
    "sum(",
    "ifThenElse(",
    "quantize(",
    "pow(",
    "int(",
    "string(",
    "unparse(",
    "unresolved(",
    "absTime(",
    "relTime(",
    "splitTime(",
    "formatTime(",
    "stringListSubsetMatch(",
    "versioncmp(",
    "envV1ToV2(",
    "listToArgs(",
    "random(",
    "ö",
];

fn context() -> Context {
    Context { now: Timestamp::from_second(1_700_000_000).expect("a time"), seed: 1 }
}

fn ad() -> ClassAd {
    let mut ad = ClassAd::new();
    ad.insert("A", 3);
    ad.insert("B", "some, text");
    for (name, text) in [
        ("C", "A + C2"),
        ("C2", "C"),
        ("Nested", "[x = A; y = parent.B; z = Nested]"),
        ("Items", "{A, B, Items, {1, 2.5}, [x = 1]}"),
        ("q", "strcat(B, B, q)"),
    ] {
        ad.insert_expr(name, Expr::parse(text).expect(text));
    }
    ad
}

#[allow(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
fn now() -> Instant {
    Instant::now()
}

/// Whatever the text: it is read or refused with a place that can be shown, and what is read is
/// evaluated and written within bounds.
fn survive(text: &str) {
    for read in [Expr::parse, Expr::parse_new] {
        match read(text) {
            Err(fault) => {
                assert!(fault.offset <= text.len(), "{fault:?}");
                assert!(!fault.message.is_empty() && !fault.message.contains('\n'));
                let shown = fault.caret(text);
                assert!(shown.chars().count() < 200, "{shown}");
                assert_eq!(shown.matches('\n').count(), 1);
                assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
            }
            Ok(expr) => {
                let start = now();
                let value = expr.evaluate(&ad(), &context());
                assert_eq!(value, expr.evaluate(&ad(), &context()), "the same again");
                assert!(start.elapsed() < SLOW, "{:?} for {text}", start.elapsed());
                let _written = (value.to_string(), value.new_form().to_string());
                let _names = expr.references();
                // `- 1` is written ` -1`, which is read as one number; and reals have sixteen digits.
                let (first, second) = (again(&expr), again(&again(&expr)));
                assert_eq!(first, second, "{text}");
                let dense = |expr: &Expr| expr.new_form().to_string().replace(' ', "");
                assert_eq!(dense(&first), dense(&expr), "{text}");
            }
        }
    }
}

/// The expression as it is read from its new form.
fn again(expr: &Expr) -> Expr {
    let text = expr.new_form().to_string();
    match Expr::parse_new(&text) {
        Ok(again) => again,
        // The spaces and escapes that are written may not fit.
        Err(_) if text.len() > limits::TEXT => expr.clone(),
        Err(fault) => panic!("{fault}\n{}", fault.caret(&text)),
    }
}

/// Expressions whose numbers have few digits, for reals are written with sixteen.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        (-9_999_i32..9_999, -20_i32..20).prop_map(|(n, e)| format!("{n}.5e{e}")),
        "[a-zA-Z_][a-zA-Z0-9_]{0,6}".prop_map(|name| match name.to_ascii_lowercase().as_str() {
            "is" | "isnt" => "x".to_owned(),
            _ => name,
        }),
        "\"[ -!#-\\[\\]-~äß]{0,8}\"",
        "'[ -&(-\\[\\]-~ä]{1,8}'",
        select(vec!["true", "false", "undefined", "error", ".x", "N.y", "{}", "[]", "f()"])
            .prop_map(str::to_owned),
        select(vec![r#"relTime("1+02:03:04")"#, r#"absTime("2020-02-29T12:34:56+01:00")"#])
            .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let binary = vec![
            "||", "&&", "|", "^", "&", "==", "!=", "=?=", "=!=", " is ", " isnt ", "<", "<=", ">",
            ">=", "<<", ">>", ">>>", "+", "- ", "*", "/ ", "%",
        ];
        prop_oneof![
            (inner.clone(), select(binary), inner.clone())
                .prop_map(|(a, operator, b)| format!("{a} {operator}{b}")),
            (select(vec!["!", "~", "- ", "+"]), inner.clone())
                .prop_map(|(o, a)| format!("{o}({a})")),
            inner.clone().prop_map(|a| format!("({a})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("({a}) ? {b} : {c}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) ?: ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a})[{b}]")),
            (inner.clone(), "[a-z]{1,4}").prop_map(|(a, name)| format!("({a}).'{name}'")),
            vec(inner.clone(), 0..4).prop_map(|items| format!("{{{}}}", items.join(","))),
            vec(inner.clone(), 0..4).prop_map(|items| format!("strcat({})", items.join(", "))),
            (inner.clone(), inner).prop_map(|(a, b)| format!("[a = {a}; 'b c' = {b}]")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: duj_tally::cases(2_000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in ".{0,80}") {
        survive(&text);
    }

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..120)) {
        survive(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_tokens(tokens in vec(select(&TOKENS[..]), 0..40), blanks in any::<bool>()) {
        survive(&tokens.join(if blanks { " " } else { "" }));
    }

    #[test]
    fn what_is_written_is_read_again(text in expression()) {
        let expr = match Expr::parse(&text) {
            Ok(expr) => expr,
            // The generator knows nothing of bounds.
            Err(fault) => {
                prop_assert!(fault.message.contains("deeper") || fault.message.contains("bytes"), "{}\n{}", fault, fault.caret(&text));
                return Ok(());
            }
        };
        let old = expr.to_string();
        prop_assert_eq!(&Expr::parse(&old).expect(&old), &expr, "{}", old);
        prop_assert_eq!(&again(&expr), &expr);
        survive(&text);
    }

    #[test]
    fn an_ad_is_a_line_for_each_attribute(
        attributes in vec((".{1,12}", ".{0,30}"), 0..8),
    ) {
        let mut ad = ClassAd::new();
        for (name, text) in &attributes {
            ad.insert(name, text.as_str());
        }
        let text = ad.to_string();
        prop_assert_eq!(text.matches('\n').count(), ad.len(), "{}", text);
    }

    #[test]
    fn a_value_keeps_its_text(text in "[^\0]{0,40}") {
        let value = Value::from(text.as_str());
        let written = value.new_form().to_string();
        let read = Expr::parse_new(&written).expect(&written);
        prop_assert_eq!(read.literal(), Some(&value));
    }
}
