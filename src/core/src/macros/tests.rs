use super::*;
use proptest::prelude::*;

const VARIABLES: [(&str, &str); 6] = [
    ("x", "abcdef"),
    ("n", "2"),
    ("path", "/data/run.1/in.tar.gz"),
    ("list", "p, q r,s"),
    ("nested", "$(n)/$(ProcId)"),
    ("self", "$(Self)"),
];

fn scope() -> Scope<'static> {
    Scope {
        uid: "0a1b2c3d",
        cluster_id: 7,
        proc: 3,
        place: Place { row: 1, step: 4, variables: VARIABLES.into() },
        submitted: "2026-03-01T12:00:00Z".parse().unwrap(),
    }
}

fn table(rows: &[(&str, &str)]) {
    for (text, expected) in rows {
        assert_eq!(expand(text, "arguments[0]", &scope()).as_deref(), Ok(*expected), "{text}");
    }
}

#[test]
fn what_knows_a_proc_is_replaced_and_nothing_else() {
    table(&[
        ("out.$(ClusterId).$(ProcId)", "out.7.3"),
        ("$(cluster)-$(PROCESS) $(JobId)", "7-3 7.3"),
        ("$(Row) $(ItemIndex) $(Step)", "1 1 4"),
        ("$(Item)|$(Node)", "|"),
        ("$(SUBMIT_TIME) $(YEAR)-$(MONTH)-$(DAY)", "1772366400 2026-03-01"),
        ("$(x) $(X:other) $(unknown:other) $(unknown:)", "abcdef abcdef other "),
        ("$(unknown:$(n) $(date)) [$(Item)] [$(Item:none)]", "2 $(date) [] [none]"),
        ("$(unknown:(a))b)", "(a)b)"),
        ("$(nested)", "2/3"),
        ("$(DOLLAR)(x) $(dollar)$(n)", "$(x) $2"),
        (
            "$(date) $(( 1 + $(ProcId) )) $(unknown) $(cat $(x))",
            "$(date) $(( 1 + 3 )) $(unknown) $(cat abcdef)",
        ),
        ("$$(date) $$ $ $( $HOME ${x}", "$$(date) $$ $ $( $HOME ${x}"),
        ("$($(ProcId)) $(ProcId $( x ) $(x", "$(3) $(ProcId $( x ) $(x"),
        ("é$(ProcId)é", "é3é"),
        ("", ""),
    ]);
}

#[test]
fn two_dollars_keep_a_macro_as_it_is() {
    table(&[
        ("$$(ProcId)", "$(ProcId)"),
        ("a$$(ProcId)b$(ProcId)", "a$(ProcId)b3"),
        ("$$$(ProcId)", "$$3"),
        ("$$$$(ProcId)", "$$$(ProcId)"),
        ("$$(x:$(n)) $$INT(n)", "$(x:$(n)) $INT(n)"),
        ("$$([ a ]) $$(unknown)", "$$([ a ]) $$(unknown)"),
    ]);
}

#[test]
fn functions_take_names_and_texts() {
    table(&[
        ("$INT(n) $INT(3+4) $INT($(n)*(3+4)) $INT(7.9) $INT(-7.9)", "2 7 14 7 -7"),
        (
            "$INT(-5,%x) $INT(-5,%lx) $INT(-1,%u) $INT(5000000000,%x)",
            "fffffffb fffffffffffffffb 4294967295 12a05f200",
        ),
        ("$INT(Step,%04d)|$INT(n,%-3d)|$INT(255,0x%02x)", "0004|2  |0xff"),
        (
            "$REAL(n) $REAL(1/4.0) $REAL(n,%.2f) $REAL(22,%g) $REAL(1e300)",
            "2 0.25 2.00 22.0 1E+300",
        ),
        ("$STRING(x) $STRING(\"quoted\") $STRING(x,%8.3s)", "abcdef quoted      abc"),
        ("$EVAL(strcat(\"a\", \"b\")) $EVAL($(n) > 1) $EVAL({1, 2})", "ab true { 1,2 }"),
        (
            "$SUBSTR(x,1) $SUBSTR(x,-2) $SUBSTR(x,1,2) $SUBSTR(x,1,-1) $SUBSTR(x,n)",
            "bcdef ef bc bcde cdef",
        ),
        ("[$SUBSTR(x,9)][$SUBSTR(x,-9,3)][$SUBSTR(x,2,-9)]", "[][abc][]"),
        ("$CHOICE(n,a,b,c) $CHOICE(1,list) $CHOICE(0, a b , c)", "c q r a b"),
        ("$BASENAME(path) $DIRNAME(path)", "in.tar.gz /data/run.1/"),
        (
            "$int(7) $F $F (x) $Fz(path) $FOO(x) $ENV(HOME) $INT(7",
            "$int(7) $F $F (x) $Fz(path) $FOO(x) $ENV(HOME) $INT(7",
        ),
    ]);
}

#[test]
fn parts_of_paths() {
    for (letters, expected) in [
        ("", "/data/run.1/in.tar.gz"),
        ("p", "/data/run.1/"),
        ("n", "in.tar"),
        ("x", ".gz"),
        ("nx", "in.tar.gz"),
        ("pn", "/data/run.1/in.tar"),
        ("d", "run.1/"),
        ("dd", "data/run.1/"),
        ("ddd", "/data/run.1/"),
        ("dddd", "/data/run.1/"),
        ("dnx", "run.1/in.tar.gz"),
        ("db", "run.1"),
        ("xb", "gz"),
        ("q", "\"/data/run.1/in.tar.gz\""),
        ("nqa", "'in.tar'"),
        ("w", "\\data\\run.1\\in.tar.gz"),
        ("f", "/data/run.1/in.tar.gz"),
    ] {
        table(&[(&format!("$F{letters}(path)"), expected)]);
    }
    table(&[
        ("$Ff(a/b) $Fn(.hidden) [$Fx(.hidden)] [$Fp(plain)]", "/scratch/work/a/b .hidden [] []"),
        ("$Fn(unknown:/a/b.c) $Fn(/a/b.c) $Fu(a\\b)", "b b a/b"),
        ("$Fp(unknown:/a/b.c)", "unknown:/a/"),
    ]);
}

#[test]
fn what_a_function_cannot_use_is_an_error() {
    for (text, fault) in [
        ("$INT(abc)", "$INT(abc): 'abc' is not a number"),
        ("$INT()", "$INT(): '' is no number and no expression"),
        ("$INT(x)", "$INT(x): 'abcdef' is not a number"),
        ("$INT(1/0)", "'1/0' is not a number"),
        ("$INT(1e300)", "'1e300' is too large"),
        ("$INT(7,%s)", "the format '%s' must have one conversion, such as '%03d'"),
        ("$INT(7,%d%d)", "the format '%d%d'"),
        ("$INT(7,%999d)", "the format '%999d'"),
        ("$REAL(7,%d)", "such as '%.2f'"),
        ("$EVAL(MY.x)", "has no value"),
        ("$SUBSTR(unknown,1)", "'unknown' names no variable"),
        ("$SUBSTR(x)", "it takes a name, a start"),
        ("$SUBSTR(x,abc)", "'abc' is not a number"),
        ("$CHOICE(3,a,b,c)", "'3' is not the number of an item: the list has 3"),
        ("$CHOICE(-1,a)", "$CHOICE(-1,a): 'a' names no variable that has a list"),
        ("$CHOICE(0)", "it takes a number and a list"),
        ("$RANDOM_CHOICE( )", "there is nothing to choose from"),
        ("$RANDOM_INTEGER(5,1)", "must not be above the largest '1'"),
        ("$RANDOM_INTEGER(1,5,0)", "nor the step '0' below 1"),
        ("$RANDOM_INTEGER(1)", "it takes the least number"),
        ("$(self)", "refer to each other more than 20 deep"),
    ] {
        let error = expand(text, "arguments[0]", &scope()).unwrap_err();
        assert!(error.contains(fault), "{text}: {error}");
        assert!(error.starts_with(&format!("arguments[0] '{text}': ")), "{error}");
    }
}

#[test]
fn what_grows_without_bound_is_refused() {
    let doubled = |next: usize| format!("$(v{next})$(v{next})");
    let mut owned: Vec<(String, String)> =
        (0..19).map(|at| (format!("v{at}"), doubled(at + 1))).collect();
    owned.push(("v19".into(), "x".repeat(1000)));
    let variables = owned.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let scope = Scope { place: Place { variables, ..Place::default() }, ..scope() };
    let error = expand("$(v0)", "arguments[0]", &scope).unwrap_err();
    assert!(error.contains("make"), "{error}");
}

#[test]
fn chance_is_the_same_at_each_attempt_and_differs_between_procs_and_places() {
    let text = "$RANDOM_INTEGER(1,1000000) $RANDOM_INTEGER(1,1000000) $RANDOM_CHOICE(a,b,c,d) $INT(random(1000000))";
    let of = |field: &str, proc| expand(text, field, &Scope { proc, ..scope() }).unwrap();
    assert_eq!(of("output", 3), of("output", 3));
    assert_ne!(of("output", 3), of("output", 4));
    assert_ne!(of("output", 3), of("error", 3));
    let first = of("output", 3);
    let numbers: Vec<&str> = first.split(' ').collect();
    assert_ne!(numbers[0], numbers[1]);
    // What an operator of this version gave, every later one gives: procs live longer than operators.
    insta::assert_snapshot!(first);
}

#[test]
fn chance_is_even_and_within_its_bounds() {
    let mut seen = std::collections::BTreeMap::new();
    for proc in 0..4000 {
        let scope = Scope { proc, ..scope() };
        let number = expand("$RANDOM_INTEGER(-4,6,5)", "output", &scope).unwrap();
        *seen.entry(number).or_insert(0) += 1;
    }
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["-4", "1", "6"]);
    assert!(seen.values().all(|count| (1200..1470).contains(count)), "{seen:?}");
    let full = format!("$RANDOM_INTEGER({},{})", i64::MIN + 1, i64::MAX);
    assert!(expand(&full, "output", &scope()).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: duj_tally::cases(ProptestConfig::default().cases), ..ProptestConfig::default() })]

    #[test]
    fn no_text_is_too_strange(text in "([$(){},:%]|[$]{1,3}|INT|SUBSTR|RANDOM_CHOICE|Fq|x|n|list|nested|self|[0-9]| |é){0,30}") {
        let _ = expand(&text, "arguments[0]", &scope());
    }

    #[test]
    fn what_has_no_macro_stays(text in "[a-z (){}$$]{0,40}") {
        prop_assume!(!VARIABLES.iter().any(|(name, _)| text.contains(&format!("({name}"))));
        let known = ["(cluster", "(process", "(node", "(item", "(step", "(row", "(day", "(month", "(year", "(dollar"];
        prop_assume!(!known.iter().any(|name| text.contains(name)));
        prop_assert_eq!(expand(&text, "arguments[0]", &scope()), Ok(text));
    }
}
