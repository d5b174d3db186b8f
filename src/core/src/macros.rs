//! The macros of a submit file that know what a proc is: `$(ClusterId)` and `$(ProcId)`, with `HTCondor`'s other names for them.
//!
//! Invariant: what is replaced is not looked at again, and any other `$(...)` stays as it is written, so that a shell's
//! `$(date)` works.

/// Replaces the macros in a text. `$$(ProcId)` is the way to write `$(ProcId)` itself.
pub fn expand(text: &str, cluster_id: i64, proc: u32) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("$(") {
        let (before, from) = rest.split_at(at);
        let known = from.find(')').and_then(|end| {
            let value = match from[2..end].to_ascii_lowercase().as_str() {
                "clusterid" | "cluster" => cluster_id.to_string(),
                "procid" | "process" => proc.to_string(),
                _ => return None,
            };
            Some((end + 1, value))
        });
        match known {
            Some((end, _)) if before.ends_with('$') => {
                expanded.push_str(&before[..before.len() - 1]);
                expanded.push_str(&from[..end]);
                rest = &from[end..];
            }
            Some((end, value)) => {
                expanded.push_str(before);
                expanded.push_str(&value);
                rest = &from[end..];
            }
            None => {
                expanded.push_str(before);
                expanded.push_str("$(");
                rest = &from[2..];
            }
        }
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_knows_a_proc_is_replaced_and_nothing_else() {
        let table = [
            ("out.$(ClusterId).$(ProcId)", "out.7.3"),
            ("$(cluster)-$(PROCESS)", "7-3"),
            ("$$(ProcId)", "$(ProcId)"),
            ("a$$(ProcId)b$(ProcId)", "a$(ProcId)b3"),
            ("$(date) $(( 1 + $(ProcId) ))", "$(date) $(( 1 + 3 ))"),
            ("$$(date) $$ $ $(", "$$(date) $$ $ $("),
            ("$($(ProcId))", "$(3)"),
            ("$(ProcId", "$(ProcId"),
            ("é$(ProcId)é", "é3é"),
            ("", ""),
        ];
        for (text, expected) in table {
            assert_eq!(expand(text, 7, 3), expected, "{text}");
        }
    }
}
