//! Two operators, of which one is elected, and what is done to them: the one that leads is killed every few seconds, stopped for
//! longer than its lease and woken, told to end; and now and then a third one leads beside it, by a lease of its own.
//!
//! Invariant: an operator that has ended is started again; an end that was not brought about here is remembered.

use crate::{operator::Operator, plan::Recipe};
use fastrand::Rng;
use rustix::process::Signal;
use std::{
    collections::BTreeMap,
    iter::Cycle,
    path::{Path, PathBuf},
    slice::Iter,
    time::{Duration, Instant},
};

/// Who leads is hit this often.
const EVERY: Duration = Duration::from_secs(4);
/// The lease of the third one.
pub(super) const SECOND_LEASE: &str = "chaos-second";
const TICK: Duration = Duration::from_millis(100);
/// Longer than an operator waits for the lease of one that is silent.
const LONG: Duration = Duration::from_secs(13);
/// A second leader comes this often, and stays so long.
const INTRUDE: Duration = Duration::from_secs(25);
const INTRUSION: Duration = Duration::from_secs(8);

/// What is done to an operator that leads.
#[derive(Clone, Copy, Debug)]
enum Blow {
    Kill,
    KillAndWait,
    StopLong,
    StopShort,
    Term,
}

/// The blows in their order, again and again: the first of them come in the shortest storm, too.
const ROW: [Blow; 12] = [
    Blow::Kill,
    Blow::StopLong,
    Blow::Kill,
    Blow::Term,
    Blow::Kill,
    Blow::KillAndWait,
    Blow::Kill,
    Blow::StopShort,
    Blow::Kill,
    Blow::Kill,
    Blow::Term,
    Blow::Kill,
];

impl Blow {
    const fn name(self) -> &'static str {
        match self {
            Self::Kill => "killed, and started again",
            Self::KillAndWait => "killed, and replaced by the other one",
            Self::StopLong => "stopped for longer than the lease, and woken",
            Self::StopShort => "stopped for less than the lease",
            Self::Term => "told to end",
        }
    }
}

/// What was done, and how often.
pub(super) type Deeds = BTreeMap<&'static str, u64>;

/// One of the operators.
struct Seat {
    name: &'static str,
    recipe: Recipe,
    log: PathBuf,
    operator: Option<Operator>,
    /// It is not there, or is stopped, until then.
    until: Option<Instant>,
    /// It was stopped for longer than its lease, so that it ends when it wakes.
    may_end: bool,
}

impl Seat {
    fn new(name: &'static str, recipe: Recipe, results: &Path) -> Self {
        let log = results.join(format!("{name}.log"));
        Self { name, recipe, log, operator: None, until: None, may_end: false }
    }

    fn start(&mut self) -> anyhow::Result<()> {
        self.operator = Some(Operator::start_as(self.name, &self.recipe, &self.log)?);
        self.may_end = false;
        Ok(())
    }

    async fn leads(&self) -> bool {
        match &self.operator {
            Some(operator) if self.until.is_none() => operator.leads().await,
            _ => false,
        }
    }

    /// Brings it back when its time has come; what it did by itself that it should not.
    fn look_after(&mut self) -> anyhow::Result<Option<String>> {
        if self.until.is_some_and(|until| until > Instant::now()) {
            return Ok(None);
        }
        let was_away = self.until.take().is_some();
        let Some(operator) = &mut self.operator else {
            return self.start().map(|()| None);
        };
        if was_away {
            operator.signal(Signal::CONT)?;
        }
        let Some(status) = operator.ended()? else { return Ok(None) };
        let wrong = !self.may_end;
        let name = self.name;
        self.start()?;
        Ok(wrong.then(|| format!("operator '{name}' ended by itself with {status}")))
    }

    async fn strike(&mut self, blow: Blow, chance: &mut Rng) -> anyhow::Result<()> {
        let Some(operator) = self.operator.take() else { return Ok(()) };
        let now = Instant::now();
        // Where a claim was not renewed just before, a short stop can cost it, too.
        self.may_end = matches!(blow, Blow::StopLong | Blow::StopShort | Blow::Term);
        match blow {
            Blow::Kill => {
                operator.kill().await?;
                return self.start();
            }
            Blow::KillAndWait => {
                self.until = Some(now + LONG);
                return operator.kill().await;
            }
            Blow::StopLong => {
                self.until = Some(now + LONG);
                operator.signal(Signal::STOP)?;
            }
            Blow::StopShort => {
                self.until = Some(now + Duration::from_millis(chance.u64(500..7_000)));
                operator.signal(Signal::STOP)?;
            }
            Blow::Term => operator.signal(Signal::TERM)?,
        }
        self.operator = Some(operator);
        Ok(())
    }
}

/// The operators under attack.
pub(super) struct Storm {
    seats: [Seat; 2],
    intruder: Seat,
    chance: Rng,
    blows: Cycle<Iter<'static, Blow>>,
    struck: Instant,
    intruded: Instant,
    /// What was done.
    pub(super) deeds: Deeds,
    /// What the operators did by themselves that they should not.
    pub(super) problems: Vec<String>,
}

impl Storm {
    /// Starts both.
    pub(super) fn begin(recipe: &Recipe, results: &Path, seed: u64) -> anyhow::Result<Self> {
        let mut alone = recipe.clone();
        alone.arguments.retain(|argument| !argument.starts_with("--lease="));
        alone.arguments.push(format!("--lease={SECOND_LEASE}"));
        let mut seats =
            ["operator-a", "operator-b"].map(|name| Seat::new(name, recipe.clone(), results));
        for seat in &mut seats {
            seat.start()?;
        }
        let now = Instant::now();
        Ok(Self {
            seats,
            intruder: Seat::new("operator-c", alone, results),
            chance: Rng::with_seed(seed),
            blows: ROW.iter().cycle(),
            struck: now,
            intruded: now,
            deeds: Deeds::new(),
            problems: Vec::new(),
        })
    }

    /// How often somebody who led was hit.
    pub(super) fn hits(&self) -> u64 {
        self.deeds.values().sum()
    }

    /// Strikes until then.
    pub(super) async fn rage(&mut self, end: Instant) -> anyhow::Result<()> {
        while Instant::now() < end {
            self.look_after()?;
            if self.struck.elapsed() >= EVERY {
                self.strike().await?;
            }
            self.intrude().await?;
            tokio::time::sleep(TICK).await;
        }
        if let Some(operator) = self.intruder.operator.take() {
            operator.kill().await?;
        }
        Ok(())
    }

    /// Only keeps them alive.
    pub(super) async fn calm(&mut self) -> anyhow::Result<()> {
        loop {
            self.look_after()?;
            tokio::time::sleep(TICK).await;
        }
    }

    fn look_after(&mut self) -> anyhow::Result<()> {
        for seat in &mut self.seats {
            self.problems.extend(seat.look_after()?);
        }
        Ok(())
    }

    async fn strike(&mut self) -> anyhow::Result<()> {
        for seat in &mut self.seats {
            if seat.leads().await
                && let Some(blow) = self.blows.next()
            {
                seat.strike(*blow, &mut self.chance).await?;
                *self.deeds.entry(blow.name()).or_default() += 1;
                self.struck = Instant::now();
                break;
            }
        }
        Ok(())
    }

    async fn intrude(&mut self) -> anyhow::Result<()> {
        let elapsed = self.intruded.elapsed();
        if self.intruder.operator.is_none() && elapsed >= INTRUDE {
            self.intruder.start()?;
            self.intruded = Instant::now();
        } else if elapsed >= INTRUSION
            && let Some(operator) = self.intruder.operator.take()
        {
            if operator.leads().await {
                *self.deeds.entry("led beside by a third one").or_default() += 1;
            }
            operator.kill().await?;
        }
        Ok(())
    }
}
