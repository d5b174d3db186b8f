//! Being asked to end: `send` ends when its work is done, and only remembers that it was asked.
//!
//! Invariant: from [`Signals::ignore`] on neither SIGTERM nor SIGINT ends the program.

use std::io;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Whether the program was asked to end.
#[derive(Clone, Debug)]
pub(crate) struct Signals(watch::Receiver<bool>);

impl Signals {
    /// From now on.
    pub(crate) fn ignore() -> io::Result<Self> {
        let (tell, told) = watch::channel(false);
        let (mut term, mut int) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = term.recv() => {}
                    _ = int.recv() => {}
                }
                tell.send_replace(true);
            }
        });
        Ok(Self(told))
    }

    /// Waits until it is asked.
    pub(crate) async fn wait(mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await; // cannot be: who tells lives as long as the program
        }
    }

    /// Whether it was asked.
    pub(crate) fn asked(&self) -> bool {
        *self.0.borrow()
    }
}
