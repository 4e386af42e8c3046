//! Lines of JSON, with descriptors, over a Unix socket; blocking, each read and write within a limit.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest message.
const MAX_LINE: usize = 64 * 1024;

/// The most descriptors in one conversation.
pub(super) const MAX_FDS: usize = 16;

/// A message is written within this time: the other end only has to be alive.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// One conversation.
#[derive(Debug)]
pub(super) struct Link {
    stream: UnixStream,
    seen: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Link {
    /// `stream` may be non-blocking so far.
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(WRITE_LIMIT))?;
        Ok(Self {
            stream,
            seen: Vec::new(),
            fds: Vec::new(),
        })
    }

    /// Sends a message, and these descriptors with its first byte.
    pub(super) fn send(
        &mut self,
        message: &impl Serialize,
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::Error::other("too many descriptors"));
        }
        let sent = loop {
            let flags = SendFlags::NOSIGNAL;
            match sendmsg(&self.stream, &[IoSlice::new(&line)], &mut control, flags) {
                Err(rustix::io::Errno::INTR) => {}
                sent => break sent?,
            }
        };
        self.stream.write_all(line.get(sent..).unwrap_or_default())
    }

    /// The next message; [`ErrorKind::UnexpectedEof`] when the other end is gone, [`ErrorKind::TimedOut`] when it says
    /// nothing for that long.
    pub(super) fn receive<T: DeserializeOwned>(&mut self, limit: Duration) -> io::Result<T> {
        let until = Instant::now() + limit;
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.seen) {
                let rest = self.seen.split_off(end + 1);
                let line = std::mem::replace(&mut self.seen, rest);
                return serde_json::from_slice(&line)
                    .map_err(|e| io::Error::new(ErrorKind::InvalidData, e));
            }
            if self.seen.len() > MAX_LINE {
                return Err(ErrorKind::InvalidData.into());
            }
            self.read_more(until)?;
        }
    }

    /// The descriptors that have come so far.
    pub(super) fn take_fds(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.fds)
    }

    fn read_more(&mut self, until: Instant) -> io::Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            self.stream.as_fd(),
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        );
        let count = match received {
            Ok(received) => received.bytes,
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(rustix::io::Errno::AGAIN) => return Err(ErrorKind::TimedOut.into()),
            Err(rustix::io::Errno::CONNRESET) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(e) => return Err(e.into()),
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        if self.fds.len() > MAX_FDS {
            return Err(ErrorKind::InvalidData.into());
        }
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.seen
            .extend_from_slice(bytes.get(..count).unwrap_or_default());
        Ok(())
    }
}
