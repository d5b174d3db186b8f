//! To be written.
/// Arguments.
#[derive(clap::Args)]
pub struct Arguments {}
/// Run.
pub fn run(_: &Arguments) -> anyhow::Result<()> { Ok(()) }
