//! Request bodies in both framings, with a limit.

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::timeout;

use super::super::head::{Length, MAX_HEAD};
use super::super::request::Body;
use super::{BODY_TIMEOUT, H1, MAX_DRAIN};

/// What is still to come of a body that is too large.
pub(super) enum Left {
    Known(u64),
    /// So much of the current chunk, then more chunks.
    Chunk(u64),
}

enum Chunk {
    Data(u64),
    Last,
}

impl<IO> H1<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    /// The body, and of one that is too large what is still to come.
    pub(super) async fn read_body(&mut self, length: Length, limit: u64) -> (Body, Option<Left>) {
        let mut body = BytesMut::new();
        match length {
            Length::Known(length) if length > limit => {
                (Body::TooLarge(Some(length)), Some(Left::Known(length)))
            }
            Length::Known(length) => match self.take(length, &mut body).await {
                true => (Body::Whole(body.freeze()), None),
                false => (Body::Broken(body.freeze()), None),
            },
            Length::Chunked => loop {
                match self.chunk().await {
                    Some(Chunk::Last) => return (Body::Whole(body.freeze()), None),
                    Some(Chunk::Data(size)) if body.len() as u64 + size > limit => {
                        return (Body::TooLarge(None), Some(Left::Chunk(size)));
                    }
                    Some(Chunk::Data(size)) => {
                        if !self.take(size, &mut body).await || !self.chunk_end().await {
                            return (Body::Broken(body.freeze()), None);
                        }
                    }
                    None => return (Body::Broken(body.freeze()), None),
                }
            },
        }
    }

    /// Moves `count` bytes of input to `body`; false if they do not come.
    async fn take(&mut self, count: u64, body: &mut BytesMut) -> bool {
        let mut left = usize::try_from(count).unwrap_or(usize::MAX);
        body.reserve(left.min(1 << 20));
        let have = left.min(self.input.len());
        body.extend_from_slice(&self.input.split_to(have));
        left -= have;
        while left > 0 {
            body.reserve(left.min(256 * 1024));
            let mut limited = (&mut self.io).take(left as u64);
            match limited.read_buf(body).await {
                Ok(count) if count > 0 => left -= count,
                _ => {
                    self.eof = true;
                    return false;
                }
            }
        }
        true
    }

    /// A line of chunk framing, without its end.
    async fn line(&mut self) -> Option<BytesMut> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.input, b"\r\n") {
                let line = self.input.split_to(at);
                self.input.advance(2);
                return Some(line);
            }
            if self.input.len() > MAX_HEAD || !self.fill().await {
                return None;
            }
        }
    }

    async fn chunk(&mut self) -> Option<Chunk> {
        let line = self.line().await?;
        let digits = <[u8]>::split(&line, |&byte| byte == b';').next()?;
        let digits = std::str::from_utf8(digits).ok()?.trim_end();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        match u64::from_str_radix(digits, 16).ok()? {
            0 => {
                // Trailers are read and ignored.
                while !self.line().await?.is_empty() {}
                Some(Chunk::Last)
            }
            size => Some(Chunk::Data(size)),
        }
    }

    async fn chunk_end(&mut self) -> bool {
        self.line().await.is_some_and(|line| line.is_empty())
    }

    /// Reads the rest of a body that was refused, so that the answer is not lost to a reset.
    pub(super) async fn drain(&mut self, left: Left) -> bool {
        let drained = timeout(BODY_TIMEOUT, async {
            let mut total = 0;
            match left {
                Left::Known(size) => self.skip(size, &mut total).await,
                Left::Chunk(mut size) => loop {
                    if !self.skip(size, &mut total).await || !self.chunk_end().await {
                        return false;
                    }
                    match self.chunk().await {
                        Some(Chunk::Last) => return true,
                        Some(Chunk::Data(next)) => size = next,
                        None => return false,
                    }
                },
            }
        });
        drained.await.unwrap_or(false)
    }

    async fn skip(&mut self, count: u64, total: &mut u64) -> bool {
        *total = total.saturating_add(count);
        if *total > MAX_DRAIN {
            return false;
        }
        let mut left = count;
        while left > 0 {
            if self.input.is_empty() && !self.fill().await {
                return false;
            }
            let have = self
                .input
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            self.input.advance(have);
            left -= have as u64;
        }
        true
    }
}
