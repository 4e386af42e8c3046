//! Bodies that two JSON readers may read differently, or that cost more than they should: each is
//! refused with 400, and the upstream hears of none.

use std::time::{Duration, Instant};

use crate::support::raw::{self, RawAnswer};
use crate::support::world::{Setup, World};

const REST: &str = r#""max_tokens":9,"messages":[{"role":"user","content":"Hello"}]"#;

async fn post(world: &World, body: &[u8]) -> RawAnswer {
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: luna\r\nx-api-key: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        world.key,
        body.len()
    );
    let request = [head.as_bytes(), body].concat();
    raw::send(world.app.address, &request, Duration::from_secs(30))
        .await
        .one()
}

#[track_caller]
fn refused(what: &str, told: &RawAnswer, world: &World) {
    let shown: String = format!("{what:.100}: {}{}", told.head, told.text())
        .chars()
        .take(1_000)
        .collect();
    assert_eq!(told.status, 400, "{shown}");
    let json = told.json();
    assert_eq!(json["error"]["type"], "invalid_request_error", "{shown}");
    // Of the body no more than a field's name comes back.
    assert!(told.text().len() < 500, "{shown}");
    assert!(
        world.handle().messages().is_empty(),
        "{shown}: it reached the upstream"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_readers_may_read_differently_is_refused() {
    let world = World::start().await;
    let model = r#""model":"claude-sonnet-4-6""#;
    for body in [
        // The model twice, in every spelling of its name.
        format!("{{{model},{model},{REST}}}"),
        format!("{{{model},\"model\":\"gemini-3-flash\",{REST}}}"),
        format!("{{\"mod\\u0065l\":\"gemini-3-flash\",{model},{REST}}}"),
        format!("{{{model},{REST},\"\\u006d\\u006F\\u0064\\u0065\\u006c\":\"x\"}}"),
        format!("{{{model},\"model\":null,{REST}}}"),
        format!("{{{model},\"stream\":true,\"stream\":false,{REST}}}"),
        // No model that can be routed on.
        format!("{{{REST}}}"),
        format!("{{\"model\":null,{REST}}}"),
        format!("{{\"model\":[\"claude-sonnet-4-6\"],{REST}}}"),
        format!("{{\"model\":{{\"name\":\"claude-sonnet-4-6\"}},{REST}}}"),
        format!("{{\"model\":1e999,{REST}}}"),
        format!("{{\"model\":true,{REST}}}"),
        format!("{{\"model\":\"\",{REST}}}"),
        format!("{{\"Model\":\"claude-sonnet-4-6\",{REST}}}"),
        format!("{{\"model\u{0}\":\"claude-sonnet-4-6\",{REST}}}"),
        format!("{{\"model\":\"{}\",{REST}}}", "m".repeat(100_000)),
        format!("{{\"{}\":1,\"model\":\"x", "k".repeat(100_000)),
        // A name that no string can hold.
        format!("{{\"model\":\"claude\\ud800sonnet\",{REST}}}"),
        format!("{{\"model\":\"\\udc00\",{REST}}}"),
        format!("{{\"model\":\"\\ud83d\\u0041\",{REST}}}"),
        format!("{{\"model\":\"a\\qb\",{REST}}}"),
        format!("{{\"model\":\"a\\u12\",{REST}}}"),
        format!("{{\"model\":\"a\u{0}b\",{REST}}}"),
        format!("{{\"model\":\"a\nb\",{REST}}}"),
        // The stream flag.
        format!("{{{model},\"stream\":1,{REST}}}"),
        format!("{{{model},\"stream\":\"true\",{REST}}}"),
        format!("{{{model},\"stream\":[true],{REST}}}"),
        // Not one JSON object.
        String::new(),
        " \r\n\t ".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "\"model\"".to_owned(),
        "42".to_owned(),
        format!("[{{{model},{REST}}}]"),
        format!("{{{model},{REST}}}{{}}"),
        format!("{{{model},{REST}}} x"),
        format!("{{{model},{REST}}}\u{0}"),
        format!("\u{feff}{{{model},{REST}}}"),
        format!("{{{model},{REST}"),
        format!("{{{model},{REST},}}"),
        format!("{{,{model},{REST}}}"),
        format!("{{{model};{REST}}}"),
        format!("{{{model} {REST}}}"),
        format!("{{\"model\"=\"claude-sonnet-4-6\",{REST}}}"),
        format!("{{model:\"claude-sonnet-4-6\",{REST}}}"),
        format!("{{'model':'claude-sonnet-4-6',{REST}}}"),
        format!("{{{model},{REST}/* comment */}}"),
        format!("{{{model},\"x\":nul,{REST}}}"),
        format!("{{{model},\"x\":undefined,{REST}}}"),
        format!("{{{model},\"x\":tru\u{65}e,{REST}}}"),
        // Brackets that do not match, and more of them than anybody needs.
        format!("{{{model},\"x\":[}},{REST}}}"),
        format!("{{{model},\"x\":{{]],{REST}}}"),
        format!("{{{model},\"x\":[1,2,{REST}}}"),
        format!(
            "{{{model},\"x\":{}{},{REST}}}",
            "[".repeat(600),
            "]".repeat(600)
        ),
        format!("{{{model},\"x\":{}", "[".repeat(1_000_000)),
        format!("{{{model},\"x\":{}", "{\"a\":".repeat(200_000)),
        "{".repeat(1_000_000),
        format!("{{{model},\"x\":\"no end"),
        format!("{{{model},\"x\":\"an escape at the end\\"),
        "model=claude-sonnet-4-6&stream=true".to_owned(),
        "<request><model>claude-sonnet-4-6</model></request>".to_owned(),
        "--boundary\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nx\r\n--boundary--"
            .to_owned(),
    ] {
        let told = post(&world, body.as_bytes()).await;
        refused(&body, &told, &world);
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_text_are_refused_where_they_matter() {
    let world = World::start().await;
    for name in [
        &b"\xff\xfe"[..],
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82",
        b"claude\x80sonnet",
    ] {
        let body = [b"{\"model\":\"", name, b"\",", REST.as_bytes(), b"}"].concat();
        refused(&format!("{name:?}"), &post(&world, &body).await, &world);
        let body = [
            b"{\"mod\xffel\":1,\"",
            name,
            b"\":\"x\",",
            REST.as_bytes(),
            b"}",
        ]
        .concat();
        refused(&format!("key {name:?}"), &post(&world, &body).await, &world);
    }
    let utf16: Vec<u8> = format!("{{\"model\":\"claude-sonnet-4-6\",{REST}}}")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    refused("UTF-16", &post(&world, &utf16).await, &world);
    let noise: Vec<u8> = (0..20_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    refused("noise", &post(&world, &noise).await, &world);
    world.stop().await;
}

/// What is below the top level (bytes that are no UTF-8 too) is the upstream's business: Luna hands it on byte for byte or not at
/// all, and whatever the upstream says of it is a 400 for the client and no mark for the tier.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_upstream_cannot_read_is_the_clients_fault() {
    let world = World::start().await;
    let model = r#""model":"claude-sonnet-4-6""#;
    for (body, valid) in [
        (
            format!(
                "{{{model},\"x\":{}{},{REST}}}",
                "[".repeat(300),
                "]".repeat(300)
            )
            .into_bytes(),
            true,
        ),
        (
            format!("{{{model},\"x\":1e99999,{REST}}}").into_bytes(),
            true,
        ),
        (
            format!("{{{model},\"x\":-0.{},{REST}}}", "9".repeat(50_000)).into_bytes(),
            true,
        ),
        (
            format!("{{{model},\"x\":\"\\ud800\",{REST}}}").into_bytes(),
            true,
        ),
        (
            format!("{{{model},\"x\":{{\"model\":\"a\",\"model\":\"b\",\"stream\":7}},{REST}}}")
                .into_bytes(),
            true,
        ),
        (
            [
                b"{\"x\":[\"",
                &b"\xff"[..],
                b"\"],",
                model.as_bytes(),
                b",",
                REST.as_bytes(),
                b"}",
            ]
            .concat(),
            true,
        ),
        (
            format!("{{{model},\"x\":[\"a\u{0}b\"],{REST}}}").into_bytes(),
            false,
        ),
        (format!("{{{model},\"x\":[01],{REST}}}").into_bytes(), false),
        (
            format!("{{{model},\"x\":[1 2],{REST}}}").into_bytes(),
            false,
        ),
        (format!("{{{model},\"x\":[,],{REST}}}").into_bytes(), false),
        (
            format!("{{{model},\"x\":[--1],{REST}}}").into_bytes(),
            false,
        ),
    ] {
        let before = world.handle().ledger().entries.len();
        let told = post(&world, &body).await;
        let shown = format!("{:.200}: {}", String::from_utf8_lossy(&body), told.text());
        let entries = world.handle().ledger().entries;
        match entries
            .iter()
            .filter(|e| e.path == "/v1/messages" && e.seq as usize > before)
            .collect::<Vec<_>>()[..]
        {
            // Refused here already.
            [] => assert_eq!(told.status, 400, "{shown}"),
            [entry] => {
                assert!(
                    told.status == 400 || (valid && told.status == 200),
                    "{shown}"
                );
                assert_eq!(
                    world.handle().body(entry.seq).as_deref(),
                    Some(&body[..]),
                    "{shown}"
                );
            }
            _ => panic!("asked twice: {shown}"),
        }
    }
    let fallback = world.admin_get("/admin/fallback").await;
    let marked: Vec<_> = fallback["tiers"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|tier| tier["state"] != "usable")
        .collect();
    assert!(marked.is_empty(), "{marked:?}");
    world.stop().await;
}

/// The time for a hostile body grows with its size and no faster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_bodies_cost_no_more_than_their_length() {
    let mut setup = Setup::default();
    setup.server = "max_body_bytes = 20000000".into();
    let world = World::with(setup).await;
    for unit in [
        "[",
        "{\"a\":",
        "\\u0041",
        "\"",
        "\\",
        "1",
        " ",
        "{\"model\":\"x\",\"mode",
        "\"m\\u006fdel",
    ] {
        for prefix in ["{\"x\":", "{\"x\":\"", "{\"", "{\"model\":\""] {
            let body = format!("{prefix}{}", unit.repeat(4_000_000 / unit.len()));
            let began = Instant::now();
            let told = post(&world, body.as_bytes()).await;
            refused(&format!("{prefix} and many {unit}"), &told, &world);
            // 4 MB take milliseconds; a quadratic reader would take hours.
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{prefix} and many {unit}: {:?}",
                began.elapsed()
            );
        }
    }
    assert_eq!(
        world.app.gateway.body_bytes(),
        0,
        "no body is held any more"
    );
    world.stop().await;
}
