//! What a route needs of a connection, whichever HTTP it speaks.

use std::future::Future;
use std::time::Duration;

/// Why an answer was not written to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The other side left.
    Gone,
    /// A fault wants the connection ended here, without a proper end of the answer.
    Cut,
    /// A fault wants it reset.
    Reset,
}

pub(super) struct Head {
    pub(super) status: u16,
    /// Without those that belong to the connection or the framing.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) framing: Framing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Exactly so many bytes follow.
    Length(usize),
    /// No body and no length (304).
    None,
    /// A stream.
    Chunked,
}

/// One request's way back. While something waits or is written, the other side's leaving ends it
/// with [`Stop::Gone`].
pub(super) trait Wire: Send {
    /// Sets the head, which goes out with the first bytes or with [`Wire::flush`].
    fn head(&mut self, head: Head);

    /// Writes the head alone.
    fn flush(&mut self) -> impl Future<Output = Result<(), Stop>> + Send;

    /// Writes head and data.
    fn send(&mut self, data: &[u8]) -> impl Future<Output = Result<(), Stop>> + Send;

    /// Ends the body as its framing wants it.
    fn finish(&mut self) -> impl Future<Output = Result<(), Stop>> + Send;

    /// Waits.
    fn pause(&mut self, time: Duration) -> impl Future<Output = Result<(), Stop>> + Send;

    /// Waits until the other side leaves.
    fn until_gone(&mut self) -> impl Future<Output = ()> + Send;
}
