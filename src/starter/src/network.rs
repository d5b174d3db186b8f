//! Bytes on the network, as `/proc/net/dev` counts them for the pod's network namespace.
//!
//! Invariant: the loopback interface never counts.

use std::fs;

/// Bytes of all interfaces other than `lo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// What the namespace has counted so far; zero where it cannot be read.
pub(crate) fn traffic() -> Traffic {
    fs::read_to_string("/proc/net/dev").map(|text| parse(&text)).unwrap_or_default()
}

impl Traffic {
    /// What came since `start`; an interface that went away takes its count along.
    pub(crate) fn since(self, start: Self) -> Self {
        Self {
            received: self.received.saturating_sub(start.received),
            sent: self.sent.saturating_sub(start.sent),
        }
    }
}

fn parse(text: &str) -> Traffic {
    let mut sum = Traffic::default();
    for line in text.lines() {
        // The two lines of headings have no colon. A long count may stand right behind it.
        let Some((interface, counts)) = line.split_once(':') else { continue };
        if interface.trim() == "lo" {
            continue;
        }
        let count = |column| {
            counts.split_whitespace().nth(column).and_then(|text| text.parse().ok()).unwrap_or(0u64)
        };
        sum.received = sum.received.saturating_add(count(0));
        sum.sent = sum.sent.saturating_add(count(8));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded on Linux 6.18, with one name that leaves no blank before its count.
    const NET_DEV: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    3193      29    0    0    0     0          0         0     3193      29    0    0    0     0       0          0
  ifb0:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
  eth0:655137514   44341    0    0    0     0          0         0  3509035   33320    0    0    0     0       0          0
  net1: 10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0
";

    #[test]
    fn all_interfaces_but_the_loopback_count() {
        assert_eq!(parse(NET_DEV), Traffic { received: 655_137_524, sent: 3_509_055 });
    }

    #[test]
    fn nonsense_counts_nothing() {
        assert_eq!(parse("eth0: x\nnot a line\n"), Traffic::default());
    }

    #[test]
    fn only_what_came_since_the_start_counts() {
        let start = Traffic { received: 10, sent: 10 };
        let now = Traffic { received: 15, sent: 5 };
        assert_eq!(now.since(start), Traffic { received: 5, sent: 0 });
    }
}
