//! What the random expressions are made of: literals of every kind, names, operators and functions.
//!
//! Each list holds what is usual, what is at the edge, and some of what is wrong.

pub(super) const INTEGERS: [&str; 24] = [
    "0",
    "1",
    "2",
    "3",
    "5",
    "7",
    "8",
    "10",
    "63",
    "64",
    "100",
    "-1",
    "-2",
    "-7",
    "-100",
    "3600",
    "86400",
    "100000",
    "2147483647",
    "2147483648",
    "4294967297",
    "9223372036854775807",
    "-9223372036854775808",
    "1700000000",
];
pub(super) const REALS: [&str; 16] = [
    "0.0",
    "-0.0",
    "0.5",
    "1.5",
    "2.5",
    "-2.5",
    "3.25",
    "1e3",
    "1E-3",
    "1e15",
    "1e17",
    "1e300",
    "-1e300",
    ".25",
    "100.125",
    "12345.678",
];
pub(super) const STRINGS: [&str; 28] = [
    "",
    "a",
    "A",
    "abc",
    "ABC",
    "b",
    " ",
    "a b",
    "a,b",
    "a, b ,c",
    ",",
    "x=1",
    "12",
    "-3",
    "4.5",
    "1e2",
    "true",
    "FALSE",
    "undefined",
    "A + 1",
    "{1,2}",
    "user@host",
    "it's",
    "größer",
    "1.10",
    "1.9.2",
    "fail: pull",
    "xyz 12 xyz",
];
pub(super) const ESCAPED: [&str; 8] =
    [r"a\nb", r"\t", r#"say \"x\""#, r"back\\slash", r"\101\102", r"\q", r"\'", r"\303\244"];
pub(super) const PATTERNS: [&str; 20] = [
    "a",
    "^a",
    "b$",
    ".",
    "a.c",
    "[a-c]+",
    "(a)(b)",
    "(a)|(b)",
    "x|y",
    "^$",
    "^[0-9]+$",
    "a+b?",
    "[[:alpha:]]",
    "(",
    "[",
    "*",
    "A",
    "pull",
    "a{1,2}",
    "(?i)ABC",
];
pub(super) const OPTIONS: [&str; 10] = ["i", "m", "s", "x", "f", "g", "fg", "im", "", "q"];
pub(super) const LISTS: [&str; 14] = [
    "a,b,c", "a b", "A,B", "1,2,3", "1.5, 2", "-1 -2", "", ",", "a;b", "x", "a , b", "1,x", "b,,c",
    "10,9,8",
];
pub(super) const VERSIONS: [&str; 12] =
    ["1.10", "1.9", "1.0", "1.00", "01", "8.9.10", "8.9.2a", "a", "", "10", "9", "1.2-rc1"];
pub(super) const ENVIRONMENTS: [&str; 12] = [
    "A=1",
    "A=1 B=2",
    "A=1;B=2",
    "A='x y'",
    "A='it''s'",
    "A",
    "=1",
    "",
    "'A=1'",
    "|A=1|B=2",
    "B=2 A=",
    "A='x",
];
pub(super) const ARGUMENTS: [&str; 9] =
    ["a b", "a 'b c'", "''", "'it''s' x", "a  b ", "'open", "a'b'c", "", "\ta"];
pub(super) const FORMATS: [&str; 8] =
    ["%Y-%m-%d %H:%M:%S", "%c", "%s", "%a %b %e %j", "%H%%%M", "plain", "%x %X %D", "%Z %z %I %p"];
pub(super) const COMPARISONS: [&str; 9] = ["<", "<=", "==", "!=", ">", ">=", "is", "isnt", "=?="];
/// The attributes of the ads, in several spellings; the last ones are in none.
pub(super) const NAMES: [&str; 16] = [
    "A",
    "a",
    "B",
    "C",
    "c",
    "D",
    "E",
    "Items",
    "ITEMS",
    "Nested",
    "Ads",
    "Text",
    "JobStatus",
    "jobstatus",
    "Missing",
    "ExitCode",
];
pub(super) const ATTRIBUTES: [&str; 9] =
    ["A", "B", "C", "D", "E", "Items", "Nested", "Text", "JobStatus"];
pub(super) const BINARY: [&str; 23] = [
    "+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "=?=", "=!=", "is", "isnt", "&&",
    "||", "&", "|", "^", "<<", ">>", ">>>",
];

/// Each function with the kinds of its arguments, one letter each; what follows `?` may be missing.
pub(super) const FUNCTIONS: &str = "
    isUndefined a, isError a, isString a, isInteger a, isReal a, isBoolean a, isList a,
    isClassAd a, isAbsTime a, isRelTime a, ifThenElse baa, IfThenElse baa, eval t, debug a,
    nosuch a, userMap tt?tt, unparse r, member al, identicalMember al, size a, size l, size t,
    sum k, avg k, min k, max k, anyCompare wka, allCompare wka, countMatches bL,
    countMatches cL, evalInEachContext nL, evalInEachContext cL, split s?t, splitUserName t,
    splitSlotName t, int a, int t, real a, real t, bool a, bool t, floor n, ceil n, ceiling n,
    round n, pow nn, pow ii, quantize nn, quantize nk, regexp pt?o, regexpMember pm?o,
    regexps ptR?o, replace ptR?o, replaceAll ptR?o, stringList_regexpMember ps?to,
    stringListSize s?t, stringListSum s?t, stringListAvg s?t, stringListMin s?t,
    stringListMax s?t, stringListMember ts?t, stringListIMember ts?t,
    stringListSubsetMatch ss?t, stringListISubsetMatch ss?t, stringListsIntersect ss?t,
    string a, strcat a?aaa, join tl, join m, join t?aa, toUpper a, toLower t, substr ti?i,
    strcmp aa, stricmp tt, relTime n, absTime n?i, getYear T, splitTime T, formatTime Tf,
    interval n, versioncmp vv, version_in_range vvv, getMonth T, getDayOfYear T,
    getDayOfMonth T, getDayOfWeek T, getDays T, getHours T, getMinutes T, getSeconds T,
    versionGE vv, versionGT vv, versionLE vv, versionLT vv, versionEQ vv, envV1ToV2 e,
    mergeEnvironment e?ee, listToArgs m?i, argsToList g?i, userHome i
";
