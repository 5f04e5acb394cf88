//! Waiting until each of several things on several threads is done.

use std::sync::Arc;

use tokio::sync::mpsc;

/// One thing that is not done while this value, or a clone of it, lives.
#[derive(Debug, Clone)]
pub(crate) struct Countdown(#[allow(dead_code, reason = "it is held, not read")] Arc<mpsc::Sender<()>>);

/// The end of the things behind a [`Countdown`].
#[derive(Debug)]
pub(crate) struct Done(mpsc::Receiver<()>);

/// A countdown and its end.
pub(crate) fn countdown() -> (Countdown, Done) {
    let (sender, receiver) = mpsc::channel(1);
    (Countdown(Arc::new(sender)), Done(receiver))
}

impl Done {
    /// Waits until every clone of the countdown is dropped.
    pub(crate) async fn wait(mut self) {
        // Nothing is ever sent: the channel ends with its last sender.
        while self.0.recv().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn it_ends_with_the_last_clone() {
        let (first, done) = countdown();
        let second = first.clone();
        let mut waiting = Box::pin(done.wait());
        drop(first);
        assert_eq!(waiting.as_mut().now_or_never(), None);
        drop(second);
        assert_eq!(waiting.now_or_never(), Some(()));
    }
}
