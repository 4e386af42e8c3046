//! On listeners of their own: the peer comes from the socket.

use std::net::SocketAddr;

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

async fn get(address: SocketAddr, path: &str, headers: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn the_admin_listener_knows_its_peers() {
    let house = House::new();
    let address = serve(house.router(Side::AdminOnly)).await;
    let key = format!("x-api-key: {ADMIN}\r\n");
    let good = get(address, "/admin/keys", &key).await;
    assert!(good.starts_with("HTTP/1.1 200"), "{good}");
    assert!(
        good.contains("x-request-id: req_") && good.contains("request-id: req_"),
        "{good}"
    );
    let none = get(address, "/admin/keys", "").await;
    let id = none
        .lines()
        .find_map(|l| l.strip_prefix("x-request-id: "))
        .unwrap();
    assert!(
        none.starts_with("HTTP/1.1 401") && none.contains(&format!("\"request_id\":\"{id}\"")),
        "{none}"
    );
    let proxied = get(
        address,
        "/admin/keys",
        &format!("{key}x-real-ip: 127.0.0.1\r\n"),
    )
    .await;
    assert!(proxied.starts_with("HTTP/1.1 404"), "{proxied}");
}

#[tokio::test]
async fn without_peer_and_socket_nobody_is_local() {
    let house = House::new();
    let mut ask = house.admin("/admin/keys");
    ask.peer = None;
    assert_eq!(ask.send().await.status, 404);
    let mut ask = house.ask("/health");
    ask.peer = None;
    assert!(ask.send().await.json().get("upstreams").is_none());
}

#[tokio::test]
async fn metrics_are_fresh_and_have_no_other_routes() {
    let house = House::new();
    house.polled(&[("claude-sonnet", 0.25)]);
    house.used("k", "claude-sonnet", NOON);
    house.state.usage.totals().await.unwrap();
    let address = serve(metrics_router(house.state.clone())).await;
    let text = get(address, "/metrics", "").await;
    assert!(
        text.contains("content-type: text/plain; version=0.0.4"),
        "{text}"
    );
    for line in [
        "luna_quota_remaining_ratio{model=\"claude-sonnet\",upstream=\"default\"} 0.25",
        "luna_tier_usable{model=\"far-1\",upstream=\"backup\"} 1",
        "luna_usage_unwritten ",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(get(address, "/", "").await.contains("/metrics"));
    assert!(
        get(address, "/admin/keys", "")
            .await
            .starts_with("HTTP/1.1 404")
    );
}
