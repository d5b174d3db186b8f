//! Where the operator's time of day comes from.
//!
//! Invariant: nothing else in the operator's shell asks for the time of day, so that a test can run the operator in a time
//! of its own making, in which hours pass at once.

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;
use tokio::time::Instant;

/// A clock that tells the time of day.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock(Option<Origin>);

/// A moment of the runtime's time, and the time of day that it was.
#[derive(Clone, Copy, Debug)]
struct Origin {
    instant: Instant,
    day: Timestamp,
}

impl Clock {
    /// The machine's clock, whatever sets it.
    pub const fn system() -> Self {
        Self(None)
    }

    /// A clock that shows `day` now and goes on with the runtime's own time, which a test can pause and move.
    pub fn of_runtime(day: Timestamp) -> Self {
        Self(Some(Origin { instant: Instant::now(), day }))
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        let Some(origin) = self.0 else { return Timestamp::now() };
        let passed = SignedDuration::try_from(origin.instant.elapsed()).unwrap_or_default();
        origin.day.saturating_add(passed).unwrap_or(Timestamp::MAX)
    }

    /// Time since the machine started, for measuring how long something takes: nobody can set it, and it goes on while the
    /// process is stopped and while the machine is suspended (`CLOCK_BOOTTIME`).
    pub fn uptime(&self) -> Duration {
        let Some(origin) = self.0 else {
            let time = clock_gettime(ClockId::Boottime);
            let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
            return Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default());
        };
        origin.instant.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_clock_of_the_runtime_goes_with_paused_time() {
        let day: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let clock = Clock::of_runtime(day);
        tokio::time::sleep(Duration::from_hours(5)).await;
        assert_eq!(clock.now(), "2026-03-01T17:00:00Z".parse().unwrap());
        assert_eq!(clock.uptime(), Duration::from_hours(5));
    }

    #[test]
    fn the_systems_clock_is_the_machines() {
        let before = Timestamp::now();
        let told = Clock::system().now();
        assert!(before <= told && told <= Timestamp::now(), "{told}");
        let up = Clock::system().uptime();
        assert!(Duration::ZERO < up && up <= Clock::system().uptime(), "{up:?}");
    }
}
