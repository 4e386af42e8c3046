use std::sync::{Arc, Mutex};

use crate::cli::failure::Failure;
use crate::cli::simulate::{SimulateArgs, simulate};
use crate::simulate::Generation;

fn args(port: u16) -> SimulateArgs {
    SimulateArgs {
        port,
        generation: Generation::V2_0,
        time_scale: 0.0,
        allow_remote: false,
        strict: false,
    }
}

#[tokio::test]
async fn says_one_line_serves_and_ends() {
    let said = Arc::new(Mutex::new(None));
    let note = Arc::clone(&said);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (ready, is_ready) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(async move {
        let ended = async move { stopped.await.unwrap_or_default() };
        let say = move |line: &str| {
            *note.lock().unwrap() = Some(line.to_owned());
            ready.send(()).map_err(|()| Failure::new("nobody waits"))
        };
        simulate(&args(0), ended, say).await
    });
    is_ready.await.unwrap();
    let line = said.lock().unwrap().clone().unwrap();
    let url = line.split(' ').nth(1).unwrap().to_owned();
    assert_eq!(
        line,
        format!("url {url}  control {url}/__sim/  (simulated Antigravity 2.0.4)\n")
    );

    let client = reqwest_client();
    let health = client.get(format!("{url}/health")).send().await.unwrap();
    assert_eq!(health.status(), 200);
    let ledger = client
        .get(format!("{url}/__sim/ledger"))
        .send()
        .await
        .unwrap();
    assert_eq!(ledger.status(), 200);

    drop(stop);
    assert!(running.await.unwrap().is_ok());
    assert!(client.get(format!("{url}/health")).send().await.is_err());
}

#[tokio::test]
async fn a_taken_port_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let failure = simulate(&args(port), std::future::pending(), |_| Ok(()))
        .await
        .unwrap_err();
    let says = format!("cannot listen on 127.0.0.1:{port}: ");
    assert!(failure.to_string().starts_with(&says), "{failure}");
}

fn reqwest_client() -> reqwest::Client {
    // An earlier test of this process may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}
