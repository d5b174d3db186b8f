//! The userlog.
