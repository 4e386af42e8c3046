//! A smaller matrix to an https upstream, with HTTP/2 and HTTP/1.1 by ALPN. The gateway is the real
//! binary, because its trust in the test's own authority comes with its environment.

use std::path::Path;
use std::sync::Arc;

use luna::simulate::{
    Fault, FaultKind, Generation, Handle, Sim, SimConfig, SimIo, serve_connection_with,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::Method;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::rig::{Expected, Rig, cells};
use crate::support::binary::Luna;

const FIRST: &str = "claude-first";
const SECOND: &str = "claude-second";
const SIZES: [usize; 2] = [1 << 10, 200 << 10];

/// An authority and a server that it vouches for.
struct Trust {
    authority_pem: String,
    server: ServerConfig,
}

fn trust(alpn: &[&str]) -> Trust {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    server.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Trust {
        authority_pem: authority.pem(),
        server,
    }
}

/// Accepts until the test ends. Gives the port.
async fn serve(server: ServerConfig, config: SimConfig) -> (u16, Handle) {
    let sim = Sim::new(config);
    let handle = sim.handle();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, sim) = (acceptor.clone(), Arc::clone(&sim));
            tokio::spawn(async move {
                let io = SimIo::new(tcp);
                let reset = io.reset_flag();
                if let Ok(tls) = acceptor.accept(io).await {
                    serve_connection_with(tls, sim, reset).await;
                }
            });
        }
    });
    (port, handle)
}

fn simulated() -> SimConfig {
    let mut config = SimConfig::new(Generation::V2_7);
    config.time_scale = 0.0;
    config.keep_bodies = 64 << 20;
    config.http2 = true;
    config.models = vec![FIRST.to_owned(), SECOND.to_owned()];
    config
}

/// Starts the binary in `folder` in front of `https://localhost:PORT`; it trusts `authority`.
async fn start(
    folder: &Path,
    authority: &str,
    port: u16,
    upstream: &str,
    others: &str,
    first: &str,
    sim: Handle,
) -> (Luna, Rig) {
    let ca = folder.join("authority.pem");
    std::fs::write(&ca, authority).unwrap();
    let toml = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[metrics]\nlisten = \"off\"\n\
         [upstreams.default]\nurl = \"https://localhost:{port}\"\n{upstream}\n\
         [upstreams.default.limits]\nconnect_s = 30\n{others}\n"
    );
    std::fs::write(folder.join("luna.toml"), toml).unwrap();
    let chains = format!(r#"{{"chains": {{"{FIRST}": [{first}, "{SECOND}"]}}}}"#);
    std::fs::write(folder.join("fallback.json"), chains).unwrap();
    let luna = Luna::again_with(folder, &[("SSL_CERT_FILE", ca.to_str().unwrap())]);
    let (url, admin) = (luna.url(""), luna.admin_key());
    let mut rig = Rig::new(url, String::new(), admin, sim, simulated());
    let made = rig
        .admin(Method::POST, "/admin/keys", Some(json!({"name": "tls"})))
        .await;
    rig.key = made["key"].as_str().unwrap().to_owned();
    (luna, rig)
}

async fn walk(alpn: &[&str], upstream: &str, http: &str) {
    let trust = trust(alpn);
    let (port, sim) = serve(trust.server, simulated()).await;
    let folder = tempfile::tempdir().unwrap();
    let first = format!(r#""{FIRST}""#);
    let pem = &trust.authority_pem;
    let (_luna, mut rig) = start(folder.path(), pem, port, upstream, "", &first, sim).await;
    // The quotas come over TLS as well.
    let polled = rig.admin(Method::POST, "/admin/fallback/poll", None).await;
    assert_eq!(
        polled["upstreams"]["default"]["reachable"], true,
        "{polled}"
    );
    assert_eq!(polled["tiers"][0]["remaining_fraction"], 1.0, "{polled}");
    for exhausted in [false, true] {
        let expected = Expected {
            asked: if exhausted {
                &[FIRST, SECOND]
            } else {
                &[FIRST]
            },
            tier: if exhausted { 2 } else { 1 },
            reasons: if exhausted { "exhausted" } else { "" },
            http,
        };
        for cell in cells(&SIZES, &[false, true]) {
            rig.afresh().await;
            if exhausted {
                let fault = Fault::new(FIRST, FaultKind::Exhausted400).times(1);
                rig.sim.set_faults(vec![fault]).unwrap();
            }
            rig.check(cell, &expected).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_is_spoken_where_both_can() {
    walk(&["h2", "http/1.1"], "", "2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http1_is_spoken_where_the_upstream_wants_it() {
    walk(&["http/1.1"], "", "1.1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http1_is_spoken_without_alpn() {
    walk(&[], "", "1.1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http1_is_spoken_where_the_operator_wants_it() {
    walk(&["h2", "http/1.1"], "http2 = \"never\"", "1.1").await;
}

/// No connection is made to a server that nobody vouches for, and the next tier answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_a_connect_failure() {
    let stranger = trust(&["h2", "http/1.1"]);
    let (false_port, false_sim) = serve(stranger.server, simulated()).await;
    let trust = trust(&["h2", "http/1.1"]);
    let (port, sim) = serve(trust.server, simulated()).await;
    let folder = tempfile::tempdir().unwrap();
    let first = format!(r#"{{"model": "{FIRST}", "upstream": "stranger"}}"#);
    let others = format!("[upstreams.stranger]\nurl = \"https://localhost:{false_port}\"\n");
    let pem = &trust.authority_pem;
    let (_luna, mut rig) = start(folder.path(), pem, port, "", &others, &first, sim).await;
    let expected = Expected {
        asked: &[SECOND],
        tier: 2,
        reasons: "connect",
        http: "2",
    };
    for cell in cells(&SIZES, &[true]) {
        rig.afresh().await;
        rig.check(cell, &expected).await;
    }
    let polled = rig.admin(Method::POST, "/admin/fallback/poll", None).await;
    assert_eq!(
        polled["upstreams"]["stranger"]["reachable"], false,
        "{polled}"
    );
    assert_eq!(
        false_sim.totals().requests,
        0,
        "nothing was said to the stranger"
    );
}
