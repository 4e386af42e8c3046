//! Accepting connections, and the one way to reset them.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::{Handle, Sim, SimConfig, http1};

/// Says that a connection is to be reset instead of closed. Whoever owns the TCP socket looks at
/// it when dropping it; [`SimIo`] does.
#[derive(Clone, Debug, Default)]
pub struct ResetFlag(Arc<AtomicBool>);

impl ResetFlag {
    /// From now on a drop is a reset.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Was it set?
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A TCP stream that is reset on drop when its flag is set. To simulate TLS, put it under an
/// acceptor and give the flag to [`serve_connection_with`].
#[derive(Debug)]
pub struct SimIo {
    stream: TcpStream,
    reset: ResetFlag,
}

impl SimIo {
    /// Wraps an accepted stream.
    pub fn new(stream: TcpStream) -> Self {
        // Each event is a segment of its own, as Node does it.
        if let Err(error) = stream.set_nodelay(true) {
            log::debug!("simulate: no TCP_NODELAY: {error}");
        }
        Self {
            stream,
            reset: ResetFlag::default(),
        }
    }

    /// The flag to give to [`serve_connection_with`].
    pub fn reset_flag(&self) -> ResetFlag {
        self.reset.clone()
    }
}

impl Drop for SimIo {
    fn drop(&mut self) {
        if self.reset.is_set()
            && let Err(error) = self.stream.set_zero_linger()
        {
            log::debug!("simulate: no reset: {error}");
        }
    }
}

impl AsyncRead for SimIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for SimIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Counts an open connection, however it ends.
struct Open(Arc<Sim>);

impl Open {
    fn new(sim: &Arc<Sim>) -> Self {
        sim.open_connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(sim))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open_connections.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.send_modify(|count| *count += 1);
    }
}

/// Serves one connection to its end. A `reset` fault only drops `io`.
pub async fn serve_connection<IO>(io: IO, sim: Arc<Sim>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    serve_connection_with(io, sim, ResetFlag::default()).await;
}

/// Serves one connection to its end; before a `reset` fault drops `io`, the flag is set.
pub async fn serve_connection_with<IO>(io: IO, sim: Arc<Sim>, reset: ResetFlag)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let id = sim.connections.fetch_add(1, Ordering::Relaxed) + 1;
    let open = Open::new(&sim);
    http1::serve(io, sim, reset, id).await;
    drop(open);
}

/// Accepts until `shutdown` is ready, then closes the listener and drops every connection at
/// once, as a killed process would.
///
/// # Errors
/// None at present; the result leaves room.
pub async fn serve(
    listener: TcpListener,
    sim: Arc<Sim>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let io = SimIo::new(stream);
                    let reset = io.reset_flag();
                    connections.spawn(serve_connection_with(io, Arc::clone(&sim), reset));
                }
                Err(error) => {
                    // Out of file descriptors, mostly: others must end first.
                    log::warn!("simulate: accept: {error}");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// A simulator that runs in a task of its own.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    handle: Handle,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its control.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Closes the listener and all connections, and returns when that is done.
    pub async fn stop(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            log::warn!("simulate: {error}");
        }
    }
}

/// Starts a simulator on a free loopback port. Dropping the result stops it.
///
/// # Errors
/// When no port can be bound.
pub async fn spawn(config: SimConfig) -> io::Result<Running> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let sim = Sim::new(config);
    let handle = sim.handle();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(serve(listener, sim, async move {
        stopped.await.unwrap_or_default();
    }));
    Ok(Running {
        address,
        handle,
        stop,
        task,
    })
}
