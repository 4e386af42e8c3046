//! Listeners and the life of the process's client side: start, drain, end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::apps::{HttpServerApp, HttpServerOptions};
use pingora::server::configuration::ServerConf;
use pingora_proxy::HttpProxy;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Gateway;
use super::listener::{Connections, Signs, accept_loop};

/// pingora counts every try, also one more address or a fresh connection of the same tier.
const MAX_TRIES: usize = 256;
/// Idle upstream connections kept in all, by worker.
const UPSTREAM_POOL: usize = 1024;
/// The start waits at most so long for the upstreams' names.
const FIRST_LOOKUP: Duration = Duration::from_secs(1);
/// Requests at once on one HTTP/2 connection: an agent's whole swarm may share one.
const H2_STREAMS: u32 = 1000;
/// How often a drain looks whether the last connection has gone.
const DRAIN_STEP: Duration = Duration::from_millis(20);

/// A gateway that takes connections.
pub struct Running {
    /// Where clients reach it; the port that the system chose when 0 was asked for.
    pub address: SocketAddr,
    gateway: Gateway,
    proxy: Arc<HttpProxy<Gateway>>,
    house: Arc<Connections>,
    /// No connection is accepted any more, and every answer is the last of its connection.
    stop: watch::Sender<bool>,
    /// Connections that have not asked anything are closed.
    leave: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    resolving: JoinHandle<()>,
}

/// What becomes of connections that wait for their next request while a gateway drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// They are closed: their address is about to be served by nobody.
    Close,
    /// They get one more answer, and are closed with that or when `client_idle_s` is over, as ever: their address is served
    /// by the next process, and a request that crosses a close fails.
    Keep,
}

/// Starts taking connections on `listener` as soon as `gate` is true.
///
/// # Errors
/// When the listener has no address.
pub async fn serve(
    gateway: Gateway,
    listener: TcpListener,
    gate: watch::Receiver<bool>,
) -> io::Result<Running> {
    let address = listener.local_addr()?;
    // A name server that does not answer must not keep the gateway from starting.
    let resolved = tokio::time::timeout(FIRST_LOOKUP, gateway.endpoints.resolve_all());
    if resolved.await.is_err() {
        log::warn!(
            "looking up the upstreams' names takes long; requests wait for nothing and fail over"
        );
    }
    let settings = gateway.settings();
    let conf = ServerConf {
        threads: settings.server.threads,
        max_retries: MAX_TRIES,
        upstream_keepalive_pool_size: UPSTREAM_POOL,
        ..ServerConf::default()
    };
    let conf = Arc::new(conf);
    let mut proxy = HttpProxy::new(gateway.clone(), Arc::clone(&conf));
    proxy.server_options = Some({
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        options.h2_idle_timeout = Some(settings.server.client_idle);
        options
    });
    proxy.h2_options = Some({
        let mut options = pingora::protocols::http::v2::server::default_h2_options();
        let header = u32::try_from(settings.server.max_header_bytes).unwrap_or(u32::MAX);
        options.max_header_list_size(header.saturating_mul(2));
        options.max_concurrent_streams(H2_STREAMS);
        options
    });
    proxy.handle_init_modules();
    let proxy = Arc::new(proxy);
    let (stop, shutdown) = watch::channel(false);
    let (leave, leaving) = watch::channel(false);
    let house = Arc::new(Connections::default());
    let accepting = tokio::spawn(accept_loop(
        listener,
        Arc::clone(&proxy),
        gateway.clone(),
        Arc::clone(&house),
        Signs {
            gate,
            shutdown,
            leaving,
        },
    ));
    let resolver = gateway.clone();
    let resolving = tokio::spawn(async move { resolver.endpoints.keep_resolving().await });
    Ok(Running {
        address,
        gateway,
        proxy,
        house,
        stop,
        leave,
        accepting,
        resolving,
    })
}

impl Running {
    /// Connections open now.
    pub fn connections(&self) -> usize {
        self.house.open()
    }

    /// Closes the listener. What waits in its queue goes to whoever else has it open.
    pub fn stop_accepting(&self) {
        self.gateway.drain();
        self.stop.send_replace(true);
    }

    /// Closes the listener, lets requests in flight end, and returns when the
    /// last connection has, or after `grace`. True when none was cut.
    pub async fn drain(self, grace: Duration, idle: Idle) -> bool {
        self.stop_accepting();
        let until = tokio::time::Instant::now() + grace;
        if idle == Idle::Close {
            self.close_idle().await;
        }
        while self.house.open() > 0 && tokio::time::Instant::now() < until {
            tokio::time::sleep(DRAIN_STEP).await;
        }
        self.resolving.abort();
        if let Err(e) = self.accepting.await
            && !e.is_cancelled()
        {
            log::error!("the accept loop ended badly: {e}");
        }
        self.house.open() == 0
    }

    /// Wakes connections that wait for their first or their next request, which ends them.
    async fn close_idle(&self) {
        self.leave.send_replace(true);
        self.proxy.http_cleanup().await;
    }
}
