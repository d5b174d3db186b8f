//! The table of resources that closes events 004 and 005 (`formatUsageAd` of `condor_event.cpp`).
//!
//! Invariant: what is written is read back as it was, and `HTCondor`'s reader finds every number in
//! its column, however wide the numbers are.

use std::{collections::BTreeMap, fmt};

use super::{Attribute, Line};

/// Rows by resource name, sorted without regard to case. Empty means that no table is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceTable(pub BTreeMap<Attribute, Resource>);

/// One resource of a slot; what is unknown leaves its cell blank.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resource {
    /// What the job used: the peak, or the average where `HTCondor` measures that.
    pub usage: Option<Amount>,
    /// What it asked for.
    pub request: Option<Amount>,
    /// What it had.
    pub allocated: Option<Amount>,
    /// Which ones it had, as `ClassAd` text; empty for a resource without identity.
    pub assigned: Line,
}

/// An amount with two decimals, which is what the table can show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount {
    hundredths: u64,
}

impl Amount {
    /// A whole number; beyond 1.8e17 the greatest that there is.
    pub const fn whole(number: u64) -> Self {
        Self { hundredths: number.saturating_mul(100) }
    }

    /// A number of hundredths.
    pub const fn hundredths(hundredths: u64) -> Self {
        Self { hundredths }
    }

    /// The nearest amount; 0 for what is negative or no number.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates, and takes NaN for 0: what the doc says"
    )]
    pub fn nearest(number: f64) -> Self {
        Self { hundredths: (number * 100.0).round() as u64 }
    }

    fn is_whole(self) -> bool {
        self.hundredths.is_multiple_of(100)
    }

    /// The text's length.
    fn width(self) -> usize {
        let whole = (self.hundredths / 100).checked_ilog10().map_or(1, |log| log as usize + 1);
        if self.is_whole() { whole } else { whole + 3 }
    }

    fn parse(text: &str) -> Option<Self> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "00"));
        match (whole.parse::<u64>(), decimals.len(), decimals.parse::<u64>()) {
            (Ok(whole), 2, Ok(decimals)) => {
                Some(Self::hundredths(whole.saturating_mul(100).saturating_add(decimals)))
            }
            // HTCondor itself writes no other form, but reads any.
            _ => text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Self::nearest),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.hundredths / 100)?;
        if self.is_whole() { Ok(()) } else { write!(f, ".{:02}", self.hundredths % 100) }
    }
}

/// A column of numbers, right-aligned.
#[derive(Clone, Copy)]
struct Column {
    width: usize,
    /// Some number has decimals, so whole ones get blanks in their place.
    decimals: bool,
    /// Some row has a number.
    used: bool,
}

impl Column {
    fn of(least: usize, cells: impl Iterator<Item = Option<Amount>> + Clone) -> Self {
        let numbers = cells.flatten();
        let decimals = numbers.clone().any(|amount| !amount.is_whole());
        let widths =
            numbers.map(|a| if decimals && a.is_whole() { a.width() + 3 } else { a.width() });
        let widest = widths.max();
        Self { width: widest.unwrap_or(0).max(least), decimals, used: widest.is_some() }
    }

    fn write(self, f: &mut fmt::Formatter<'_>, cell: Option<Amount>) -> fmt::Result {
        let Some(amount) = cell else { return write!(f, " {:>1$}", "", self.width) };
        let filler = if self.decimals && amount.is_whole() { "   " } else { "" };
        let lead = self.width - amount.width() - filler.len();
        write!(f, " {:>lead$}{amount}{filler}", "")
    }
}

/// The unit that `HTCondor` shows behind a resource's name.
fn unit(resource: &str) -> &'static str {
    match resource {
        "Memory" | "GpusMemory" => " (MB)",
        "Disk" => " (KB)",
        "Gpus" => " (Average)",
        "TimeExecute" | "TimeSlotBusy" => " (s)",
        _ => "",
    }
}

impl fmt::Display for ResourceTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.0.values();
        if self.0.is_empty() {
            return Ok(());
        }
        let usage = Column::of(8, rows.clone().map(|row| row.usage));
        let request = Column::of(8, rows.clone().map(|row| row.request));
        let allocated = Column::of(9, rows.clone().map(|row| row.allocated));
        let assigned = rows.clone().any(|row| !row.assigned.is_empty());
        // "Memory (MB)" with its NUL, and 8 for the unit.
        let label = self.0.keys().map(|name| name.as_str().len()).fold(12, usize::max) + 8;

        writeln!(
            f,
            "\tPartitionable Resources : {:>3$} {:>4$} {:>5$} {6}",
            "Usage",
            "Request",
            if allocated.used { "Allocated" } else { "" },
            usage.width,
            request.width,
            allocated.width,
            if assigned { "Assigned" } else { "" },
        )?;
        for (name, row) in &self.0 {
            let unit = unit(name.as_str());
            let filler = label.saturating_sub(name.as_str().len() + unit.len());
            write!(f, "\t   {name}{unit}{:filler$} :", "")?;
            usage.write(f, row.usage)?;
            request.write(f, row.request)?;
            allocated.write(f, row.allocated)?;
            writeln!(f, " {}", row.assigned)?;
        }
        Ok(())
    }
}

impl ResourceTable {
    /// Whether this line opens a table.
    pub(super) fn is_banner(line: &str) -> bool {
        line.starts_with("\tPartitionable ") || line.starts_with("\tResources")
    }

    /// Reads the rows below `banner`, up to the first line without a colon. A cell that is no
    /// number is left out.
    pub(super) fn parse<'a>(banner: &str, lines: impl Iterator<Item = &'a str>) -> Self {
        let edges = Edges::of(banner);
        let rows = lines.map_while(|line| line.split_once(':'));
        Self(
            rows.filter_map(|(label, cells)| Some((label_name(label)?, edges.cut(cells))))
                .collect(),
        )
    }
}

/// `Memory` of `\t   Memory (MB)          `.
fn label_name(label: &str) -> Option<Attribute> {
    label.split_whitespace().next().map(Attribute::new)
}

/// Where the columns end, counted from behind the colon: the right edges of their titles.
struct Edges {
    usage: usize,
    request: usize,
    allocated: Option<usize>,
    /// The left edge, for the last column is left-aligned.
    assigned: Option<usize>,
}

impl Edges {
    fn of(banner: &str) -> Self {
        let titles = banner.split_once(':').map_or("", |(_, titles)| titles);
        let end = |title: &str| titles.find(title).map(|at| at + title.len());
        Self {
            usage: end("Usage").unwrap_or(9),
            request: end("Request").unwrap_or(18),
            allocated: end("Allocated"),
            assigned: titles.find("Assigned"),
        }
    }

    fn cut(&self, cells: &str) -> Resource {
        // A short line lacks its last cells.
        let cell = |from: usize, to: usize| {
            cells.get(from.min(cells.len())..to.min(cells.len())).unwrap_or("").trim()
        };
        Resource {
            usage: Amount::parse(cell(0, self.usage)),
            request: Amount::parse(cell(self.usage, self.request)),
            allocated: self.allocated.and_then(|to| Amount::parse(cell(self.request, to))),
            assigned: self.assigned.map(|at| Line::new(cell(at, cells.len()))).unwrap_or_default(),
        }
    }
}
