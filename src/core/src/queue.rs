//! The items of a job's `queue`: how many procs there are, and what each of them is told (§1.11 of the semantics).
//!
//! Invariant: they are a pure function of the job's immutable `queue` and of the text that was kept of its `ConfigMap`, and
//! what one proc is told costs no more the more items there are.

mod slice;
mod split;

use duj_api::queue::{Queue, QueueItems, Splitting};
use sha2::{Digest, Sha256};
use slice::Kept;
use std::{fmt::Write as _, ops::Range, sync::Arc};

/// The most procs that a job can have.
pub const MOST_PROCS: u32 = 100_000;
/// What an item is called that has no other name.
const ITEM: &str = "Item";

/// The items of a job, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Items {
    /// Procs of each item.
    steps: u32,
    list: Option<List>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct List {
    given: Arc<QueueItems>,
    /// Of a key of a `ConfigMap`: its text, and where its items stand in it.
    text: String,
    spans: Vec<Range<usize>>,
    /// Which of all items.
    kept: Kept,
}

/// What one proc is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place<'a> {
    /// `$(Row)`: the number of its item among all, from 0.
    pub row: u32,
    /// `$(Step)`: its number among the procs of its item, from 0.
    pub step: u32,
    /// Variables by name.
    pub variables: Vec<(&'a str, &'a str)>,
}

impl Items {
    /// Reads them; `text` is the content of the key, where they come from a `ConfigMap`. `Err`: one line for the job's owner.
    pub fn read(queue: Option<&Queue>, text: Option<&str>) -> Result<Self, String> {
        let steps = queue.map_or(1, Queue::steps);
        let Some(given) = queue.and_then(|queue| queue.items.as_ref()) else {
            return bounded(Self { steps, list: None });
        };
        let text = match (&given.config_map_key_ref, text) {
            (Some(_), Some(text)) => text.to_owned(),
            (Some(_), None) => return Err("its items have not been read yet".into()),
            (None, _) => String::new(),
        };
        let spans = match given.splitting.unwrap_or_default() {
            Splitting::Lines => split::lines(&text),
            Splitting::Words => split::words(&text),
        };
        let all = given.values.len() + given.rows.len() + spans.len();
        let kept = Kept::of(given.slice.as_deref(), all)?;
        if kept.len == 0 {
            let slice = given.slice.as_ref();
            return Err(slice.map_or_else(
                || "it has no items, so the job has no procs".to_owned(),
                |slice| {
                    format!(
                        "the slice '{slice}' takes none of its {all} items, so the job has no procs"
                    )
                },
            ));
        }
        bounded(Self { steps, list: Some(List { given: given.clone(), text, spans, kept }) })
    }

    /// The text that they were read from, where it is that of a `ConfigMap`.
    pub fn kept_text(&self) -> Option<&str> {
        let list = self.list.as_ref()?;
        list.given.config_map_key_ref.as_ref().map(|_| list.text.as_str())
    }

    /// How many procs the job has.
    pub fn total_procs(&self) -> u32 {
        let items = self.list.as_ref().map_or(1, |list| list.kept.len);
        u32::try_from(items).unwrap_or(u32::MAX).saturating_mul(self.steps)
    }

    /// What a proc is told.
    pub fn place(&self, proc: u32) -> Place<'_> {
        let Some(list) = &self.list else {
            return Place { row: 0, step: proc, variables: Vec::new() };
        };
        let row = list.kept.row((proc / self.steps) as usize);
        Place {
            row: u32::try_from(row).unwrap_or(u32::MAX),
            step: proc % self.steps,
            variables: list.variables(row),
        }
    }
}

impl List {
    fn variables(&self, row: usize) -> Vec<(&str, &str)> {
        if let Some(row) = self.given.rows.get(row) {
            return row.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        }
        let value = self.given.values.get(row).map(String::as_str);
        let span = || self.text.get(self.spans.get(row)?.clone());
        let item = value.or_else(span).unwrap_or_default();
        match &*self.given.variables {
            [] => vec![(ITEM, item)],
            [name] => vec![(name, item)],
            names => split::over(names, item),
        }
    }
}

fn bounded(items: Items) -> Result<Items, String> {
    let total = items.total_procs();
    if total > MOST_PROCS {
        return Err(format!(
            "it makes {total} procs, and a job has at most {MOST_PROCS}: make several jobs of it, each with a slice such as '[:{MOST_PROCS}]'"
        ));
    }
    Ok(items)
}

/// Ten hexadecimal digits by which a text is known again.
pub fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(5).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}"); // a string takes all text
        hex
    })
}

#[cfg(test)]
mod tests;
