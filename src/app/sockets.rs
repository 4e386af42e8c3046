//! The listening sockets: taken over from the process before where that has them, else bound.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{StartError, failed};
use crate::config::Settings;
use crate::handover::{Role, Socket};

/// Answers of the admin and metrics listeners that are under way at the end have this long.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// What a gateway listens on.
pub(super) struct Listeners {
    pub(super) client: TcpListener,
    pub(super) admin: Option<TcpListener>,
    pub(super) metrics: Option<TcpListener>,
    /// The same sockets, for a successor.
    pub(super) copies: Vec<Socket>,
}

impl Listeners {
    /// What `settings` name. Of `sockets` those are closed that are not among it.
    pub(super) async fn open(
        settings: &Settings,
        sockets: Vec<Socket>,
    ) -> Result<Self, StartError> {
        let mut maker = Maker {
            given: sockets,
            copies: Vec::new(),
        };
        let client = maker
            .make(settings.server.listen, Role::Client, "server.listen")
            .await?;
        let admin = match settings.admin.listen {
            Some(address) => Some(maker.make(address, Role::Admin, "admin.listen").await?),
            None => None,
        };
        let metrics = match settings.metrics.listen {
            Some(address) => Some(maker.make(address, Role::Metrics, "metrics.listen").await?),
            None => None,
        };
        Ok(Self {
            client,
            admin,
            metrics,
            copies: maker.copies,
        })
    }

    pub(super) fn address_of(listener: Option<&TcpListener>) -> Option<SocketAddr> {
        listener.and_then(|l| l.local_addr().ok())
    }
}

struct Maker {
    given: Vec<Socket>,
    copies: Vec<Socket>,
}

impl Maker {
    async fn make(
        &mut self,
        configured: SocketAddr,
        role: Role,
        setting: &str,
    ) -> Result<TcpListener, StartError> {
        let listener = match self.take(configured, role) {
            Some(listener) => listener
                .set_nonblocking(true)
                .and_then(|()| TcpListener::from_std(listener))
                .map_err(|e| failed("a socket that was handed over cannot be used", e))?,
            None => bind(configured, setting).await?,
        };
        let copied = listener.as_fd().try_clone_to_owned();
        let (copy, address) = copied
            .and_then(|fd| Ok((fd.into(), listener.local_addr()?)))
            .map_err(|e| failed("a listening socket cannot be copied", e))?;
        self.copies.push(Socket {
            role,
            configured,
            address,
            listener: copy,
        });
        Ok(listener)
    }

    /// The socket that was for the same address of the configuration (whose port may be 0), or else listens there.
    fn take(&mut self, wanted: SocketAddr, role: Role) -> Option<std::net::TcpListener> {
        let same = |s: &Socket| s.role == role && s.configured == wanted;
        let at = self
            .given
            .iter()
            .position(same)
            .or_else(|| self.given.iter().position(|s| s.address == wanted))?;
        Some(self.given.swap_remove(at).listener)
    }
}

async fn bind(address: SocketAddr, setting: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|e| {
        StartError(format!(
            "{setting}: cannot listen on {address}: {e}; is another gateway running, or is the port taken?"
        ))
    })
}

/// Serves from `gate` to `stopped`; then the answers that are under way end.
pub(super) fn serve_axum(
    listener: TcpListener,
    router: axum::Router,
    mut gate: watch::Receiver<bool>,
    mut stopped: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move {
        tokio::select! {
            opened = gate.wait_for(|open| *open) => {
                if opened.is_err() {
                    return;
                }
            }
            _ = stopped.wait_for(|stop| *stop) => return,
        }
        let served = axum::serve(listener, service).with_graceful_shutdown(async move {
            // An error means that the gateway is gone.
            let _ = stopped.wait_for(|stop| *stop).await;
        });
        if let Err(e) = served.await {
            log::error!("a local listener ended: {e}");
        }
    })
}

/// Waits for the last answers, but not for long, and no longer than `grace`.
pub(super) async fn let_end(tasks: Vec<JoinHandle<()>>, grace: Duration) {
    let until = tokio::time::Instant::now() + LAST_ANSWERS.min(grace);
    for mut task in tasks {
        if tokio::time::timeout_at(until, &mut task).await.is_err() {
            task.abort();
        }
    }
}
