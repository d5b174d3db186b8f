//! The rules of `queue`.
//!
//! Invariant: a list of items is looked into once, and by its first item where that tells of all.

/// `queue` may be written or left out, as long as it comes to the same; the limits of its materialization may change.
pub const QUEUE: &str = concat!(
    "(has(self.spec.queue) && has(self.spec.queue.count) ? self.spec.queue.count : 1)",
    " == (has(oldSelf.spec.queue) && has(oldSelf.spec.queue.count) ? oldSelf.spec.queue.count : 1)",
    " && (has(self.spec.queue) && has(self.spec.queue.items)",
    " ? has(oldSelf.spec.queue) && has(oldSelf.spec.queue.items) && self.spec.queue.items == oldSelf.spec.queue.items",
    " : !(has(oldSelf.spec.queue) && has(oldSelf.spec.queue.items)))",
);
pub const QUEUE_MESSAGE: &str = "queue cannot change: delete the job and create it anew, or create another one for more procs (only maxMaterialize and maxIdle can change)";
pub const MAX_MATERIALIZE: &str = "self >= 1 && self <= 2147483647";
pub const MAX_MATERIALIZE_MESSAGE: &str = "maxMaterialize must be 1 or more: leave it out for all procs at once (0 in a submit file), and write maxIdle: 0 for no more procs for now";
pub const MAX_IDLE: &str = "self >= 0 && self <= 2147483647";
pub const MAX_IDLE_MESSAGE: &str =
    "maxIdle must be 0, for no more procs for now, or more: leave it out for no limit";
pub const QUEUE_TOTAL: &str = "!has(self.items) || (has(self.count) ? self.count : 1) * (has(self.items.values) ? self.items.values.size() : has(self.items.rows) ? self.items.rows.size() : 1) <= 100000";
pub const QUEUE_TOTAL_MESSAGE: &str = "a job has at most 100000 procs, and this one would have count times the number of its items: make several jobs of it";
pub const ITEMS_SOURCE: &str =
    "[has(self.values), has(self.rows), has(self.configMapKeyRef)].filter(x, x).size() == 1";
pub const ITEMS_SOURCE_MESSAGE: &str = "queue.items must have exactly one of 'values' (a list of strings), 'rows' (a list of maps) and 'configMapKeyRef' (the lines of a key)";
pub const ITEMS_VARIABLES: &str = "!(has(self.rows) && has(self.variables))";
pub const ITEMS_VARIABLES_MESSAGE: &str =
    "the variables of 'rows' are the keys of its maps: leave 'variables' out";
pub const ITEMS_SPLITTING: &str = "!has(self.splitting) || (has(self.configMapKeyRef) && (self.splitting == 'Lines' || !has(self.variables) || self.variables.size() == 1))";
pub const ITEMS_SPLITTING_MESSAGE: &str = "splitting is for the text of a configMapKeyRef, and 'Words' gives each word to one variable: write 'Lines' for several variables";
/// No control characters but tab: an item is one line.
pub const ITEM_TEXT: &str = r"^[^\x00-\x08\x0a-\x1f\x7f]*$";
pub const ROWS_ALIKE: &str =
    "self.all(row, row.size() == self[0].size() && row.all(name, name in self[0]))";
pub const ROWS_ALIKE_MESSAGE: &str =
    "each of rows must have the variables of the first one: write '' for one that has no value";
pub const ROW_NAMES: &str = "self[0].all(name, name.size() <= 64 && name.matches('^[A-Za-z_][A-Za-z0-9_]*$') && self[0].exists_one(other, other.lowerAscii() == name.lowerAscii()))";
pub const ROW_NAMES_MESSAGE: &str = "the names of variables must be letters, digits and '_', such as 'learning_rate', and differ in more than upper and lower case";

/// The names that a job has by itself, in lower case.
macro_rules! reserved {
    ($list:literal) => {
        concat!(
            $list,
            ".all(name, !(name.lowerAscii() in ['cluster', 'clusterid', 'process', 'procid', 'jobid', 'step', 'row', 'itemindex',",
            " 'node', 'dollar', 'submit_time', 'year', 'month', 'day']))"
        )
    };
}

pub const ROW_RESERVED: &str = reserved!("self[0]");
pub const VARIABLE_RESERVED: &str = reserved!("self");
pub const VARIABLE_RESERVED_MESSAGE: &str = "Cluster, ClusterId, Process, ProcId, JobId, Step, Row, ItemIndex, Node, DOLLAR, SUBMIT_TIME, YEAR, MONTH and DAY have values of their own: choose another name for the variable";
pub const VARIABLE_TWICE: &str =
    "self.all(name, self.exists_one(other, other.lowerAscii() == name.lowerAscii()))";
pub const VARIABLE_TWICE_MESSAGE: &str =
    "the names of variables must differ in more than upper and lower case";
/// `[begin:end]` or `[begin:end:step]`; a single number is refused, for it means "from there on" in a submit file.
pub const SLICE: &str = r"^\[[-+]?[0-9]{0,9}:[-+]?[0-9]{0,9}(:([1-9][0-9]{0,8})?)?\]$";
