//! The matrix over plain sockets, to an HTTP/1.1 and to an HTTP/2 upstream.

use luna::simulate::{Fault, FaultKind, Generation};
use tokio::net::TcpSocket;

use super::bodies::LAYOUTS;
use super::rig::{Cell, Expected, Rig, SIZES, cells};
use crate::support::world::{Setup, World};

const FIRST: &str = "claude-first";
const SECOND: &str = "claude-second";

/// Sizes where all of them would take too long.
const FEW: [usize; 3] = [1 << 10, 65 << 10, 5 << 20];

/// What happens before a tier answers.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Straight,
    Exhausted,
    Refused,
    ErrorEvent,
    /// As the other generation says "exhausted": in a 200, after its head.
    ExhaustedInStream,
}

/// A port that refuses every connection, as long as the socket lives.
fn closed_port() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

async fn walk(way: Way, http2: bool, cells: Vec<Cell>) {
    let generation = match way {
        Way::ErrorEvent | Way::ExhaustedInStream => Generation::V2_0,
        _ => Generation::V2_7,
    };
    let (_closed, port) = closed_port();
    let mut setup = Setup::default().generation(generation);
    setup.sim.time_scale = 0.0;
    setup.sim.hash_bodies = false;
    setup.sim.http2 = http2;
    setup.sim.models = vec![FIRST.to_owned(), SECOND.to_owned()];
    if http2 {
        setup.upstream = "http2 = \"always\"".to_owned();
    }
    let first = match way {
        Way::Refused => format!(r#"{{"model": "{FIRST}", "upstream": "closed"}}"#),
        _ => format!(r#""{FIRST}""#),
    };
    setup.toml =
        format!("[upstreams.closed]\nurl = \"http://127.0.0.1:{port}\"\nhealth = \"none\"");
    setup.fallback = format!(r#"{{"chains": {{"{FIRST}": [{first}, "{SECOND}"]}}}}"#);
    let config = setup.sim.clone();
    let world = World::with(setup).await;
    let mut rig = Rig::new(
        world.url(""),
        world.key.clone(),
        world.admin.clone(),
        world.handle().clone(),
        config,
    );
    let (asked, reasons): (&[&str], _) = match way {
        Way::Straight => (&[FIRST], ""),
        Way::Exhausted | Way::ExhaustedInStream => (&[FIRST, SECOND], "exhausted"),
        Way::Refused => (&[SECOND], "connect"),
        Way::ErrorEvent => (&[FIRST, SECOND], "stream_error"),
    };
    let tier = if way == Way::Straight { 1 } else { 2 };
    let http = if http2 { "2" } else { "1.1" };
    let expected = Expected {
        asked,
        tier,
        reasons,
        http,
    };
    for (turn, cell) in cells.into_iter().enumerate() {
        rig.afresh().await;
        let faults = match way {
            Way::Exhausted => vec![Fault::new(FIRST, FaultKind::Exhausted400).times(1)],
            Way::ErrorEvent => {
                // Before message_start, before the block, before its first content.
                let at = u32::try_from(turn % 3).unwrap();
                vec![
                    Fault::new(FIRST, FaultKind::ErrorEvent)
                        .at_event(at)
                        .times(1),
                ]
            }
            Way::ExhaustedInStream => vec![Fault::new(FIRST, FaultKind::ExhaustedSse).times(1)],
            Way::Straight | Way::Refused => Vec::new(),
        };
        world.handle().set_faults(faults).unwrap();
        rig.check(cell, &expected).await;
    }
    drop(rig);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_tier_answers() {
    walk(Way::Straight, false, cells(&SIZES, &[false, true])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_tier_is_exhausted() {
    walk(Way::Exhausted, false, cells(&SIZES, &[false, true])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_tiers_port_is_closed() {
    walk(Way::Refused, false, cells(&SIZES, &[false, true])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_tier_says_in_a_200_that_it_failed() {
    walk(Way::ErrorEvent, false, cells(&SIZES, &[true])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_tier_says_in_a_200_that_it_is_exhausted() {
    walk(Way::ExhaustedInStream, false, cells(&FEW, &[true])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http2_upstream_answers() {
    walk(Way::Straight, true, cells(&FEW, &[false, true])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http2_upstream_is_exhausted_for_the_first_tier() {
    walk(Way::Exhausted, true, cells(&FEW, &[false, true])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http2_upstream_fails_in_a_200() {
    walk(Way::ErrorEvent, true, cells(&FEW, &[true])).await;
}

/// Nothing is no JSON, however it is framed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_body_is_refused() {
    let setup = Setup::default();
    let config = setup.sim.clone();
    let world = World::with(setup).await;
    let mut rig = Rig::new(
        world.url(""),
        world.key.clone(),
        world.admin.clone(),
        world.handle().clone(),
        config,
    );
    for (chunked, h2) in [(false, false), (false, true), (true, false), (true, true)] {
        let cell = Cell {
            size: 0,
            chunked,
            h2,
            stream: false,
            layout: &LAYOUTS[0],
        };
        let answer = rig.post(cell, Vec::new()).await;
        assert_eq!(answer.status, 400, "{cell}: {}", answer.text());
        assert_eq!(
            answer.json()["error"]["type"],
            "invalid_request_error",
            "{cell}"
        );
        rig.expect_refused();
        rig.compare_usage(&cell.to_string()).await;
    }
    assert_eq!(world.handle().messages().len(), 0);
    drop(rig);
    world.stop().await;
}
