//! Op.
fn main() {}
