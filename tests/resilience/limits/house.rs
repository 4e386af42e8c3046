//! A full house: who comes too much is told so at once, and the places are free again afterwards.

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::*;

/// Sends a request that nobody answers and waits until the gateway has it.
async fn occupy<'a>(
    world: &'a World,
    body: &'a Value,
    count: usize,
) -> Vec<impl Future<Output = Answer> + 'a> {
    let before = world.app.gateway.in_flight();
    let mut waiting: Vec<_> = (0..count).map(|_| Box::pin(world.post(body))).collect();
    let all = futures_util::future::join_all(waiting.iter_mut());
    tokio::select! {
        _ = all => panic!("it hangs"),
        () = eventually("they are in flight", Duration::from_secs(5), || async {
            world.app.gateway.in_flight() == before + count
        }) => {}
    }
    waiting
}

fn full(answer: &Answer, time: Duration) {
    let message = check::error(answer, &[503]);
    assert!(
        message.contains("full") || message.contains("too many request bodies"),
        "{message}"
    );
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.header("x-should-retry"), "");
    assert!(time < Duration::from_secs(1), "{time:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_requests_than_max_in_flight_get_503_at_once() {
    let world = world(
        "first_event_s = 60\nlast_first_event_s = 60",
        "max_in_flight = 3",
    )
    .await;
    hang(&world, &[FIRST]);
    let body = ask(CHAIN, true);
    let waiting = occupy(&world, &body, 3).await;
    for stream in [true, false] {
        let (answer, time) = timed(&world, &ask(SECOND, stream)).await;
        full(&answer, time);
    }
    let metrics = world.metrics().await;
    assert_eq!(
        check::sum(&metrics, "luna_limited_total", &["in_flight"]),
        2.0
    );
    // What Luna answers itself needs no place.
    let health = world.client.get(world.url("/health")).send().await.unwrap();
    assert_eq!(health.status(), 200);
    drop(waiting);
    eventually("a place is free", Duration::from_secs(5), || async {
        world.post(&ask(SECOND, false)).await.status == 200
    })
    .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_body_than_the_memory_for_it_gets_503_at_once() {
    let world = world(
        "first_event_s = 60\nlast_first_event_s = 60",
        "body_memory_bytes = 1000000\nmax_body_bytes = 900000",
    )
    .await;
    hang(&world, &[FIRST]);
    let mut large = ask(CHAIN, true);
    large["system"] = json!("x".repeat(700_000));
    let waiting = occupy(&world, &large, 1).await;
    eventually("the body is held", Duration::from_secs(5), || async {
        world.app.gateway.body_bytes() > 700_000
    })
    .await;
    let mut another = large.clone();
    another["model"] = json!(SECOND);
    let (answer, time) = timed(&world, &another).await;
    full(&answer, time);
    // A small one still fits.
    assert_eq!(world.post(&ask(SECOND, false)).await.status, 200);
    drop(waiting);
    eventually("the memory is free", Duration::from_secs(5), || async {
        world.app.gateway.body_bytes() == 0
    })
    .await;
    assert_eq!(world.post(&another).await.status, 200);
    eventually("the memory is free", Duration::from_secs(5), || async {
        world.app.gateway.body_bytes() == 0
    })
    .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_connections_than_allowed_are_told_so_and_closed() {
    for (server, limit) in [
        ("max_connections = 4", 4),
        ("max_connections_per_ip = 3", 3),
    ] {
        let world = world("idle_s = 5", server).await;
        let mut held = Vec::new();
        for _ in 0..limit {
            held.push(TcpStream::connect(world.app.address).await.unwrap());
        }
        eventually("they are counted", Duration::from_secs(5), || async {
            world.app.connections() == limit
        })
        .await;
        let mut refused = TcpStream::connect(world.app.address).await.unwrap();
        let mut told = String::new();
        let read = refused.read_to_string(&mut told);
        tokio::time::timeout(Duration::from_secs(2), read)
            .await
            .expect("at once")
            .unwrap();
        assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
        assert!(
            told.contains("\r\nretry-after: 1\r\n") && told.contains("\r\nconnection: close\r\n"),
            "{told}"
        );
        held.clear();
        eventually("they are gone", Duration::from_secs(5), || async {
            world.app.connections() == 0
        })
        .await;
        assert_eq!(world.post(&ask(SECOND, true)).await.status, 200);
        world.stop().await;
    }
}
