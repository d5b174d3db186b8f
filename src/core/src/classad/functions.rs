//! The functions of the language (§6.5), each on values that are already arguments of one call.
//!
//! Invariant: a function pays for what it makes and reads by way of its [`Call`], and is total: a wrong
//! count or type of arguments is an error as a value.

mod choice;
mod environment;
mod lists;
mod numeric;
mod patterns;
mod string_lists;
mod text;
mod time;
mod version;

use super::{
    evaluate::{Evaluator, Result, Scope},
    expr::{Expr, Node, NodeId},
    operators::{self, Binary},
    value::{List, Value},
};

type Function = fn(&mut Call<'_>) -> Result;

/// A function's arguments and surroundings.
struct Call<'a> {
    evaluator: &'a mut Evaluator,
    expr: &'a Expr,
    /// The function's name in lower case.
    name: &'a str,
    arguments: &'a [NodeId],
    scope: &'a Scope,
    /// Where the call is written.
    home: &'a Scope,
}

/// Calls a function. One that does not exist is an error.
pub(super) fn call(
    evaluator: &mut Evaluator,
    (expr, name, arguments): (&Expr, &str, &[NodeId]),
    scope: &Scope,
    home: &Scope,
) -> Result {
    let name = name.to_ascii_lowercase();
    let Some(function) = find(&name) else { return Ok(Value::Error) };
    function(&mut Call { evaluator, expr, name: &name, arguments, scope, home })
}

fn find(name: &str) -> Option<Function> {
    Some(match name {
        "isundefined" | "iserror" | "isstring" | "isinteger" | "isreal" | "isboolean"
        | "islist" | "isclassad" | "isabstime" | "isreltime" => choice::is_type,
        "ifthenelse" => choice::if_then_else,
        "eval" => choice::eval,
        "debug" => choice::debug,
        "unparse" => choice::unparse,
        "unresolved" => choice::unresolved,
        "userhome" => choice::user_home,
        "usermap" => choice::user_map,
        "member" | "identicalmember" => lists::member,
        "size" => lists::size,
        "sum" | "avg" => lists::sum,
        "min" | "max" => lists::least,
        "anycompare" | "allcompare" => lists::compare,
        "countmatches" => lists::count_matches,
        "evalineachcontext" => lists::eval_in_each_context,
        "split" => lists::split,
        "splitusername" | "splitslotname" => lists::split_at,
        "int" => numeric::int,
        "real" => numeric::real,
        "bool" => numeric::bool,
        "floor" | "ceil" | "ceiling" | "round" => numeric::round,
        "pow" => numeric::pow,
        "quantize" => numeric::quantize,
        "random" => numeric::random,
        "regexp" => patterns::regexp,
        "regexpmember" => patterns::regexp_member,
        "regexps" | "replace" | "replaceall" => patterns::replace,
        "stringlist_regexpmember" => patterns::string_list_regexp_member,
        "stringlistsize" => string_lists::size,
        "stringlistsum" | "stringlistavg" | "stringlistmin" | "stringlistmax" => {
            string_lists::summary
        }
        "stringlistmember"
        | "stringlistimember"
        | "stringlistsubsetmatch"
        | "stringlistisubsetmatch" => string_lists::member,
        "stringlistsintersect" => string_lists::intersect,
        "string" => text::string,
        "strcat" => text::strcat,
        "join" => text::join,
        "toupper" | "tolower" => text::change_case,
        "substr" => text::substr,
        "strcmp" | "stricmp" => text::compare,
        "time" | "currenttime" | "timezoneoffset" | "daytime" => time::present,
        "abstime" => time::abs_time,
        "reltime" => time::rel_time,
        "getyear" | "getmonth" | "getdayofyear" | "getdayofmonth" | "getdayofweek" | "getdays"
        | "gethours" | "getminutes" | "getseconds" => time::field,
        "splittime" => time::split_time,
        "formattime" => time::format_time,
        "interval" => time::interval,
        "versioncmp" | "versionge" | "versiongt" | "versionle" | "versionlt" | "versioneq" => {
            version::compare
        }
        "version_in_range" => version::in_range,
        "envv1tov2" => environment::env_v1_to_v2,
        "mergeenvironment" => environment::merge_environment,
        "argstolist" => environment::args_to_list,
        "listtoargs" => environment::list_to_args,
        _ => return None,
    })
}

impl Call<'_> {
    fn count(&self) -> usize {
        self.arguments.len()
    }

    /// Evaluates an argument; what is not there is an error.
    fn value(&mut self, index: usize) -> Result {
        match self.arguments.get(index) {
            Some(id) => self.evaluator.node(self.expr, *id, self.scope, self.home),
            None => Ok(Value::Error),
        }
    }

    /// Evaluates an argument; a failure is an error as a value.
    fn attempt(&mut self, index: usize) -> Value {
        let Some(id) = self.arguments.get(index) else { return Value::Error };
        let (expr, scope, home) = (self.expr, self.scope, self.home);
        self.evaluator.attempt(|evaluator| evaluator.node(expr, *id, scope, home))
    }

    /// Evaluates an element of a list; a failure is an error as a value.
    fn attempt_item(&mut self, list: &List, item: &Expr) -> Value {
        let scope = self.scope;
        self.evaluator.attempt(|evaluator| evaluator.item(list, item, scope))
    }

    /// Evaluates all arguments, in their order.
    fn values(&mut self) -> Result<Vec<Value>> {
        (0..self.count()).map(|index| self.value(index)).collect()
    }

    /// Evaluates exactly `N` arguments; `None` if there is another number of them.
    fn exactly<const N: usize>(&mut self) -> Result<Option<[Value; N]>> {
        if self.count() == N { Ok(self.values()?.try_into().ok()) } else { Ok(None) }
    }

    fn argument(&self, index: usize) -> Option<&Node> {
        self.arguments.get(index).map(|id| self.expr.node(*id))
    }

    /// The elements of a list, evaluated where the function stands.
    fn items(&mut self, list: &List) -> Result<Vec<Value>> {
        list.items().iter().map(|item| self.evaluator.item(list, item, self.scope)).collect()
    }

    fn spend(&mut self, steps: usize) -> Result<()> {
        self.evaluator.spend(steps)
    }
}

/// A value as a string, if it has one: not undefined, not an error.
fn text(call: &mut Call<'_>, value: Value) -> Result<Option<String>> {
    Ok(call.evaluator.text_of(value)?.as_str().map(str::to_owned))
}

/// What a comparison says, and what it leaves of its operands.
fn compare(operator: Binary, left: Value, right: Value) -> (Value, Value, Value) {
    let result = operators::binary(operator, &left, &right);
    let (left, right) = if matches!(operator, Binary::Is | Binary::Isnt) {
        (left, right)
    } else {
        operators::promote(left, right)
    };
    (result, left, right)
}
