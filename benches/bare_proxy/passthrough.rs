//! The least that a pingora proxy does: `upstream_peer` and nothing else.
//!
//! HTTP/1.1 with keep-alive on both sides, no filter, no log line, no TLS. Whatever Luna costs above
//! this is Luna's own.

#![allow(
    clippy::print_stderr,
    reason = "a program for the terminal; it has no log"
)]

use std::net::SocketAddr;
use std::process::ExitCode;

use async_trait::async_trait;
use pingora::Result;
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

const USAGE: &str = "bare_proxy LISTEN UPSTREAM [THREADS]   (addresses as 127.0.0.1:80)";

/// As many idle upstream connections as Luna keeps.
const UPSTREAM_POOL: usize = 1024;

struct Passthrough {
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Passthrough {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

/// Serves until it is killed.
pub fn run() -> ExitCode {
    // `cargo bench` runs every bench with an argument of its own.
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let Some((listen, upstream, threads)) = parse(&args) else {
        eprintln!("{USAGE}");
        return if args.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(2)
        };
    };
    let conf = ServerConf {
        threads,
        upstream_keepalive_pool_size: UPSTREAM_POOL,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Passthrough { upstream });
    service.add_tcp(&listen.to_string());
    server.add_service(service);
    server.run_forever()
}

fn parse(args: &[String]) -> Option<(SocketAddr, SocketAddr, usize)> {
    let listen = args.first()?.parse().ok()?;
    let upstream = args.get(1)?.parse().ok()?;
    let threads = match args.get(2) {
        Some(threads) => threads.parse().ok()?,
        None => 1,
    };
    Some((listen, upstream, threads))
}
