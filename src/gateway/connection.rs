//! What one HTTP/1.1 connection knows beyond its present request: how long a request's head may take, and the session
//! of a request that failed although its client is still there.
//!
//! pingora drops the session after every failed proxy, and bounds each read of a head but not the head. Both are decided
//! in the accept loop instead, which runs a connection's requests in one task; this is what that task carries.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pingora::apps::{HttpPersistentSettings, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora_proxy::Session;

tokio::task_local! {
    static CONNECTION: Arc<Connection>;
}

/// One connection.
#[derive(Default)]
pub(super) struct Connection {
    /// The head of the present request has come.
    arrived: AtomicBool,
    /// Touched once a failed request, never waited for.
    kept: Mutex<Option<Box<ServerSession>>>,
}

impl Connection {
    /// Runs what serves this connection.
    pub(super) async fn scope<F: Future>(self: &Arc<Self>, serving: F) -> F::Output {
        CONNECTION.scope(Arc::clone(self), serving).await
    }

    /// Returns when the next head has not come within `limit`; else never. What comes counts from the call on and not
    /// from the first poll: a head that is there already is read before that.
    pub(super) fn head_overdue(&self, limit: Duration) -> impl Future<Output = ()> {
        self.arrived.store(false, Relaxed);
        self.overdue(limit)
    }

    async fn overdue(&self, limit: Duration) {
        tokio::time::sleep(limit).await;
        if self.arrived.load(Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    /// Ends the session that a failed request has left here; what the next request can be read from.
    pub(super) async fn go_on(&self) -> Option<ReusedHttpStream> {
        let kept = self
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()?;
        let settings = HttpPersistentSettings::for_session(&kept);
        match kept.finish().await {
            Ok(reusable) => {
                reusable.map(|stream| ReusedHttpStream::from_reusable_stream(stream, settings))
            }
            Err(e) => {
                log::debug!("a connection ends after a failed request: {e}");
                None
            }
        }
    }
}

/// The head of a request has come in this task.
pub(super) fn arrived() {
    // An HTTP/2 stream has a task of its own and no such connection.
    let _ = CONNECTION.try_with(|connection| connection.arrived.store(true, Relaxed));
}

/// Keeps the client's session, whose answer is complete, from being dropped with its failed request.
pub(super) fn keep(session: &mut Session) {
    if session.downstream_session.is_http2() || session.downstream_session.is_custom() {
        return;
    }
    let _ = CONNECTION.try_with(|connection| {
        let nobody = Box::new(ServerSession::new_custom(Box::new(())));
        let kept = std::mem::replace(&mut session.downstream_session, nobody);
        *connection
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(kept);
    });
}
