//! Tables of the language; see also `tests/classad.rs`, and the comparison with `HTCondor`.

use jiff::Timestamp;

use super::{ClassAd, Context, Expr, Value, limits};

const NOW: i64 = 1_700_000_000;

fn context() -> Context {
    Context { now: Timestamp::from_second(NOW).unwrap(), seed: 7 }
}

/// A job that ran an hour and failed to pull.
fn job() -> ClassAd {
    let mut ad = ClassAd::new();
    ad.insert("JobStatus", 5);
    ad.insert("HoldReasonCode", 34);
    ad.insert("HoldReason", "Error from slot1: failed to pull the image");
    ad.insert("NumHolds", 2);
    ad.insert("NumJobStarts", 4_i64);
    ad.insert("EnteredCurrentStatus", NOW - 3601);
    ad.insert("RequestMemory", 128);
    ad.insert_expr("Twice", parse("RequestMemory * 2"));
    ad.insert_expr("Itself", parse("Itself + 1"));
    ad.insert_expr("There", parse("Back"));
    ad.insert_expr("Back", parse("There"));
    ad
}

fn parse(text: &str) -> Expr {
    Expr::parse(text).unwrap_or_else(|e| panic!("{e}\n{}", e.caret(text)))
}

/// The value of a text in the new syntax, in the new form.
fn value(text: &str) -> String {
    let expr = Expr::parse_new(text).unwrap_or_else(|e| panic!("{e}\n{}", e.caret(text)));
    expr.evaluate(&job(), &context()).new_form().to_string()
}

fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(value(text), *expected, "{text}");
    }
}

/// §6.4, the two tables of three-valued logic.
#[test]
fn logic() {
    let operands = ["true", "false", "undefined", "error"];
    let and = ["TFUE", "FFFF", "UFUE", "EEEE"];
    let or = ["TTTT", "TFUE", "TUUE", "EEEE"];
    let name = |letter| match letter {
        'T' => "true",
        'F' => "false",
        'U' => "undefined",
        _ => "error",
    };
    for (operator, table) in [("&&", and), ("||", or)] {
        for (left, row) in operands.into_iter().zip(table) {
            for (right, expected) in operands.into_iter().zip(row.chars()) {
                let text = format!("{left} {operator} {right}");
                assert_eq!(value(&text), name(expected), "{text}");
            }
        }
    }
}

/// §6.4, and what binds how.
#[test]
fn operators() {
    check(&[
        ("undefined == 1", "undefined"),
        ("undefined == undefined", "undefined"),
        ("undefined =?= undefined", "true"),
        ("undefined =!= 1", "true"),
        ("error =?= error", "true"),
        ("1 =?= 1.0", "false"),
        ("true == 1", "true"),
        ("true =?= 1", "false"),
        ("true + 1", "2"),
        ("7/2", "3"),
        ("-7/2", "-3"),
        ("7/2.0", "3.500000000000000E+00"),
        ("-7 % 3", "-1"),
        ("1/0", "error"),
        ("1%0", "error"),
        ("1.0/0", "error"),
        ("1 + undefined", "undefined"),
        ("undefined + error", "error"),
        ("1 == \"1\"", "error"),
        ("\"a\" == \"A\"", "true"),
        ("\"a\" =?= \"A\"", "false"),
        ("\"a\" + \"b\"", "error"),
        ("undefined ?: 5", "5"),
        ("0 ?: 5", "0"),
        ("error ?: 5", "error"),
        ("undefined ? 1 : 2", "undefined"),
        ("2.5 ? 1 : 2", "1"),
        ("\"x\" ? 1 : 2", "error"),
        ("true ? 1 : error", "1"),
        ("{1,2}[1]", "2"),
        ("{1,2}[5]", "error"),
        ("1 < 2 < 3", "true"),
        ("!undefined", "undefined"),
        ("!1", "false"),
        ("!\"s\"", "error"),
        // From loose to tight.
        ("1 || 0 && 0", "true"),
        ("1 | 2 ^ 3 & 5", "3"),
        ("1 + 2 * 3 - 4 / 2", "5"),
        ("1 << 2 + 1", "8"),
        ("2 < 3 == true", "true"),
        ("-2 - -3", "1"),
        ("5 ?: 1 + 2", "7"),
        ("!undefined ?: 0", "true"),
        ("0 ? 1 : 0 ? 2 : 3", "3"),
        ("9223372036854775807 + 1", "-9223372036854775808"),
    ]);
}

/// §6.5.
#[test]
fn functions() {
    check(&[
        ("isUndefined(Missing) && isError(1/0) && isString(\"\") && isList({})", "true"),
        ("ifThenElse(undefined,1,2)", "undefined"),
        ("ifThenElse(true,1,error)", "1"),
        ("ifThenElse(\"x\",1,2)", "error"),
        ("interval(100000)", "\"1+03:46:40\""),
        ("int(\"12\")", "12"),
        ("int(-12.9)", "-12"),
        ("int(\"x\")", "error"),
        ("round(2.5)", "2"),
        ("round(3.5)", "4"),
        ("pow(2,3)", "8"),
        ("pow(2,-1)", "5.000000000000000E-01"),
        ("quantize(130,128)", "256"),
        ("quantize(5,{1,4,8})", "8"),
        ("abs(1)", "error"),
        ("strcat(\"a\",1,true)", "\"a1true\""),
        ("strcat(2.5)", "\"2.500000000000000E+00\""),
        ("strcat(\"a\",undefined)", "undefined"),
        ("substr(\"abcdef\",-2)", "\"ef\""),
        ("split(\"a b,c\")", "{ \"a\",\"b\",\"c\" }"),
        ("regexp(\"pull\", HoldReason)", "true"),
        ("regexp(\"pull\", Missing)", "undefined"),
        ("regexp(\"(\", \"x\")", "error"),
        ("member(\"A\",{\"a\"})", "true"),
        ("identicalMember(\"A\",{\"a\"})", "false"),
        ("stringListMember(\"A\",\"a,b\")", "false"),
        ("stringListIMember(\"A\",\"a,b\")", "true"),
        ("stringListMember(undefined,\"a,b\")", "false"),
        ("versioncmp(\"1.10\",\"1.9\")", "1"),
        ("versionGE(\"1.10\",\"1.9\")", "true"),
        ("eval(\"1 + 1\")", "2"),
        ("unparse(Twice)", "\"RequestMemory * 2\""),
        ("formatTime(0,\"%Y-%m-%d %H:%M\")", "\"1970-01-01 00:00\""),
        ("nosuch(1)", "error"),
        ("listToArgs(argsToList(\"a 'b c'\"))", "\"a b' 'c\""),
        ("mergeEnvironment(\"A=1\",\"B=2 A=3\")", "\"A=3 B=2\""),
    ]);
}

/// §6.3, as a policy sees them.
#[test]
fn policies() {
    let cases = [
        ("NumJobStarts > 3", Some(true)),
        ("(time() - EnteredCurrentStatus) > 3600", Some(true)),
        ("(CurrentTime - enteredcurrentstatus) > 3601", Some(false)),
        ("JobStatus == 5 && HoldReasonCode == 34 && NumHolds < 3", Some(true)),
        ("MemoryUsage > RequestMemory", None),
        ("ExitBySignal == false && ExitCode == 0", None),
        ("(ExitCode =!= 0)", Some(true)),
        (r#"regexp("failed to pull", HoldReason)"#, Some(true)),
        (r#"regexp("slot\d+:", HoldReason)"#, Some(true)),
        ("ifThenElse(isUndefined(MemoryUsage),0,MemoryUsage)", Some(false)),
        ("Twice - 255.5", Some(true)),
        ("MY.RequestMemory == 128", Some(true)),
        ("TARGET.RequestMemory == 128", None),
        ("HoldReason", None),
        ("Itself", None),
        ("There", None),
        ("isUndefined(There)", Some(true)),
        ("1/0", None),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text).evaluate(&job(), &context()).as_condition(), expected, "{text}");
    }
}

#[test]
fn what_a_policy_reads() {
    let cases: [(&str, &[&str]); 6] = [
        ("JobStatus == 5 && numholds < 3 && NumHolds > 0", &["JobStatus", "numholds"]),
        ("MY.A + .B + TARGET.C + A", &["A", "B"]),
        ("f(A, {B, [c = D]})[E] ?: N.x", &["A", "B", "D", "E", "N"]),
        ("a ? b : c", &["a", "b", "c"]),
        ("time() > 5", &[]),
        ("'an odd name'", &["an odd name"]),
    ];
    for (text, expected) in cases {
        let mut found = parse(text).references();
        found.sort_unstable();
        assert_eq!(found, expected, "{text}");
    }
}

/// The old form is what hold reasons and job ads show.
#[test]
fn forms() {
    let cases = [
        ("ExitCode=?=0||a is b", "ExitCode =?= 0 || a =?= b", "ExitCode is 0 || a is b"),
        ("!a&&-1<- b", " !a && -1 <  -b", " !a && -1 <  -b"),
        ("f( 1,'b c' )", "f(1,'b c')", "f(1,'b c')"),
        (r#""a\d\"b""#, r#""a\d\"b""#, r#""a\\d\"b""#),
        ("2.50", "2.5", "2.500000000000000E+00"),
        ("1e16", "1E+16", "1.000000000000000E+16"),
        ("{1,[bb=2;a=\"x\"]}", r#"{ 1,[ a = "x"; bb = 2 ] }"#, r#"{ 1,[ a = "x"; bb = 2 ] }"#),
        ("a?b:c ?: (d)", "a ? b : c ?: (d)", "a ? b : c ?: (d)"),
        ("'is' + N.'a b'", "'is' + N.'a b'", "'is' + N.'a b'"),
    ];
    for (text, old, new) in cases {
        let expr = parse(text);
        assert_eq!((expr.to_string(), expr.new_form().to_string()), (old.into(), new.into()));
        assert_eq!(parse(old), expr);
        assert_eq!(Expr::parse_new(new).unwrap(), expr);
    }
}

#[test]
fn ads() {
    let mut ad = job();
    ad.insert("jobSTATUS", 2);
    ad.insert("Cmd", "two\nOwner = \"root\"");
    ad.insert("Real", 0.1);
    ad.remove("holdreason");
    assert_eq!(ad.get("JOBSTATUS").unwrap().literal(), Some(&Value::Integer(2)));
    assert_eq!(ad.len(), 12);
    let lines: Vec<String> = ad.to_string().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), ad.len(), "a value never makes a line of its own");
    assert_eq!(lines[1], r#"Cmd = "two\nOwner = \"root\"""#);
    assert_eq!(lines[5], "JobStatus = 2");
    assert_eq!(lines[8], "Real = 0.1");
    assert_eq!(ad.evaluate("twice", &context()), Value::Integer(256));
    assert_eq!(ad.evaluate("nothing", &context()), Value::Undefined);
}

#[test]
fn faults_and_their_places() {
    let cases = [
        ("", 0, "the expression ends here, but a value, a name or '(' is missing"),
        ("1 +", 3, "the expression ends here, but a value, a name or '(' is missing"),
        ("A = 1", 2, "'=' compares nothing: write '==', or '=?=' to compare types as well"),
        ("f(1, (2)", 1, "this bracket is not closed by ')'"),
        ("A B", 2, "expected an operator or the end here"),
        ("(A B)", 3, "expected an operator or ')' here"),
        ("A == \"x", 5, "this string is not closed"),
        ("1K", 0, "a number ends with a digit: units and hexadecimal are not known"),
        ("010", 0, "a whole number does not begin with a zero"),
        ("99999999999999999999", 0, "this number is too large"),
        ("A ? 1", 5, "the expression ends here, but an operator or ':' is missing"),
        ("{1,}", 3, "expected a value, a name or '(' here"),
        ("A > $(X)", 4, "'$' is not known here: macros are not replaced"),
        ("größer", 2, "'ö' has no meaning here"),
        ("a.5", 1, "expected an operator or the end here"),
        ("\"a\nb\"", 0, "a string cannot hold a line break"),
        ("absTime(\"x\")", 0, "the text in absTime() is not such a time"),
    ];
    for (text, offset, message) in cases {
        let fault = Expr::parse(text).expect_err(text);
        assert_eq!((fault.offset, fault.message.as_str()), (offset, message), "{text}");
    }
}

#[test]
fn a_caret_shows_the_place() {
    let caret = |text: &str| Expr::parse(text).unwrap_err().caret(text);
    assert_eq!(caret("A = 1"), "A = 1\n  ^");
    assert_eq!(caret("größer"), "größer\n  ^");
    assert_eq!(caret("\t\n  ("), "    (\n     ^");
    let long = format!("{}1 2{}", "A + ".repeat(100), " + B".repeat(100));
    let shown = caret(&long);
    let (text, place) = shown.split_once('\n').unwrap();
    assert_eq!(text.chars().count(), 73);
    assert_eq!(text.chars().nth(place.chars().count() - 1), Some('2'));
    assert!(text.starts_with('…') && text.ends_with('…'), "{text}");
}

#[test]
fn bounds_of_a_text() {
    let nested = |depth| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Expr::parse(&nested(limits::NESTING - 1)).is_ok());
    assert!(Expr::parse(&nested(limits::NESTING)).is_err());
    // What is long without brackets is not deep.
    let texts = [
        "1".to_owned() + &"+1".repeat(limits::TEXT / 2 - 1),
        "!".repeat(limits::TEXT - 1) + "1",
        "1".to_owned() + &"?1:1".repeat(limits::TEXT / 4 - 1),
        "x".to_owned() + &"?:x".repeat(limits::TEXT / 3 - 1),
        "x".to_owned() + &".x".repeat(limits::TEXT / 2 - 1),
    ];
    for text in texts {
        let expr = parse(&text);
        assert_eq!(parse(&expr.to_string()[..].trim_start().replace(' ', "")), expr);
        let _value = expr.evaluate(&job(), &context());
    }
    assert!(Expr::parse(&" ".repeat(limits::TEXT + 1)).is_err());
}

#[test]
fn bounds_of_an_evaluation() {
    let evaluate = |attributes: &[(String, String)]| {
        let mut ad = ClassAd::new();
        for (name, text) in attributes {
            ad.insert_expr(name, parse(text));
        }
        ad.evaluate("A0", &context())
    };
    // Each attribute is twice the next: a string, a list, or only work.
    for (last, double) in [
        (r#""x""#, "strcat(NEXT,NEXT)"),
        ("1", "NEXT + NEXT"),
        ("{[],[],[],[]}", "evalInEachContext({NEXT,NEXT},{[],[],[],[]})"),
        ("{1}", "size(join(\",\",{NEXT,NEXT,string({NEXT})}))"),
    ] {
        let mut attributes: Vec<_> = (0..40)
            .map(|index| (format!("A{index}"), double.replace("NEXT", &format!("A{}", index + 1))))
            .collect();
        attributes.push(("A40".to_owned(), last.to_owned()));
        let _bounded = evaluate(&attributes);
    }
    let chain = |length: usize| -> Vec<_> {
        let mut chain: Vec<_> =
            (0..length).map(|index| (format!("A{index}"), format!("A{} + 1", index + 1))).collect();
        chain.push((format!("A{length}"), "0".to_owned()));
        chain
    };
    assert_eq!(evaluate(&chain(90)), Value::Integer(90));
    assert_eq!(evaluate(&chain(limits::DEPTH + 1)), Value::Error);
    // Without end, by ways that are not simple references.
    for text in [r#"eval("A0")"#, "{A0}[0] + 1", r#"MY["A0"]"#, "{A0}.x", "sum({A0})"] {
        let _value = evaluate(&[("A0".to_owned(), text.to_owned())]);
    }
}

/// To look for each character of a long text among many separators is work, and is paid for.
#[test]
fn bounds_of_separators() {
    let mut ad = ClassAd::new();
    ad.insert("Text", "abc,".repeat(15_000));
    ad.insert("Separators", ";:".repeat(30_000));
    for call in [
        "size(split(Text, Separators))",
        "stringListSize(Text, Separators)",
        "stringListMember(\"abc\", Text, Separators)",
        "stringListSubsetMatch(Text, Text, Separators)",
        "stringListsIntersect(Text, \"abc\", Separators)",
        "stringList_regexpMember(\"abc\", Text, Separators)",
    ] {
        assert_eq!(parse(call).evaluate(&ad, &context()), Value::Error, "{call}");
    }
    assert_eq!(parse("size(split(Text, \",\"))").evaluate(&ad, &context()), Value::Integer(15_000));
}

#[test]
fn the_context_decides() {
    let expr = parse("random(1000000) + random(1000000)");
    let with = |seed| expr.evaluate(&ClassAd::new(), &Context { seed, ..context() });
    assert_eq!(with(1), with(1));
    assert_ne!(with(1), with(2));
    assert_eq!(value("time() == CurrentTime"), "true");
    assert_eq!(value("CurrentTime"), NOW.to_string());
}
