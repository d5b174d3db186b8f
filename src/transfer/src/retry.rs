//! Tries again what may succeed later.
//!
//! Invariant: what is spent on one operation from its faults to its next progress is bounded by the plan's patience;
//! each fault costs a pause, so a server that gives one byte at a time does not hold a transfer for ever.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{fault::Fault, report::Reporter};

/// No byte for this long is a fault.
pub(crate) const STALL: Duration = Duration::from_secs(30);
/// Before the first new try.
const FIRST: Duration = Duration::from_millis(500);
/// Longest pause that the other side has not asked for.
const LONGEST: Duration = Duration::from_secs(30);

/// The patience of one operation.
#[derive(Debug)]
pub(crate) struct Retry {
    reporter: Arc<Reporter>,
    patience: Duration,
    spent: Duration,
    pause: Duration,
    since: Option<Instant>,
}

impl Retry {
    /// Nothing has been spent yet.
    pub(crate) fn new(reporter: &Arc<Reporter>, patience: Duration) -> Self {
        let reporter = Arc::clone(reporter);
        Self { reporter, patience, spent: Duration::ZERO, pause: FIRST, since: None }
    }

    /// Tells of the fault and waits, or gives it back where no other try helps or patience is over.
    pub(crate) async fn after(&mut self, fault: Fault) -> Result<(), Fault> {
        if !fault.transient {
            return Err(fault);
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let pause = fault.after.unwrap_or_default().max(self.pause);
        if self.spent + since.elapsed() + pause > self.patience {
            return Err(fault);
        }
        self.reporter.retrying(&fault);
        tokio::time::sleep(pause).await;
        self.pause = (self.pause * 2).min(LONGEST);
        Ok(())
    }

    /// Bytes move again.
    pub(crate) fn progress(&mut self) {
        if let Some(since) = self.since.take() {
            self.spent += since.elapsed();
            self.pause = FIRST;
            self.reporter.goes_on();
        }
    }
}

/// Tries until it is done, cannot be, or patience is over.
pub(crate) async fn persist<T>(
    mut retry: Retry,
    mut operation: impl AsyncFnMut() -> Result<T, Fault>,
) -> Result<T, Fault> {
    loop {
        match operation().await {
            Ok(done) => {
                retry.progress();
                return Ok(done);
            }
            Err(fault) => retry.after(fault).await?,
        }
    }
}

/// What takes longer than `limit` is a transient fault.
pub(crate) async fn within<T>(
    limit: Duration,
    what: &str,
    operation: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    tokio::time::timeout(limit, operation).await.unwrap_or_else(|_| {
        Err(Fault::transient(110, format!("{what}: nothing came for {} s", limit.as_secs())))
    })
}
