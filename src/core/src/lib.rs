//! Pure.
pub mod userlog;
