use std::net::TcpListener;

use serde_json::json;

use super::fake::{Fake, KEY};
use super::source;
use crate::cli::connect::ConnectArgs;
use crate::cli::http::{Answer, Api, block_on};

#[test]
fn json_is_handed_on_unchanged_with_the_key_in_its_header() {
    let odd = "{\"b\":1, \"a\":1.0e2}";
    let fake = Fake::start(move |_| (200, odd.to_owned()));
    let api = fake.api();
    let answer =
        block_on(api.get(&["admin", "keys", "a/b?c d", "usage"], &[("from", "1&2")])).unwrap();
    assert_eq!(answer.line(), format!("{odd}\n"));
    let asked = fake.asked();
    assert_eq!(
        asked[0].line,
        "GET /admin/keys/a%2Fb%3Fc%20d/usage?from=1%262"
    );
    assert_eq!(asked[0].key, KEY);
    assert_eq!(Answer::of(json!({})).line(), "{}\n");
}

#[test]
fn what_the_gateway_says_is_said_with_a_hint() {
    let error = |message: &str| {
        json!({"type": "error", "error": {"type": "x", "message": message}}).to_string()
    };
    for (status, body, path, says) in [
        (
            401,
            error("unknown key"),
            vec!["admin", "keys"],
            "refused (401): unknown key (the admin key comes from",
        ),
        (
            404,
            error("no route"),
            vec!["admin", "keys"],
            "no route (the admin routes may be on admin.listen",
        ),
        (
            404,
            error("no key"),
            vec!["admin", "keys", "k"],
            "refused (404): no key",
        ),
        (
            500,
            "<html>".to_owned(),
            vec!["admin", "keys"],
            "no reason given",
        ),
        (302, String::new(), vec!["admin", "keys"], "refused (302)"),
        (
            200,
            "<html>".to_owned(),
            vec!["admin", "keys"],
            "not with JSON",
        ),
        (400, error("a\u{1b}[2Jb"), vec!["admin", "keys"], "a?[2Jb"),
    ] {
        let fake = Fake::start(move |_| (status, body.clone()));
        let failure = block_on(fake.api().get(&path, &[])).unwrap_err();
        assert!(failure.to_string().contains(says), "{failure}");
        assert_eq!(failure.code, 1);
        assert_eq!(failure.status, Some(status).filter(|status| *status != 200));
        assert_eq!(fake.asked().len(), 1, "redirects are not followed");
    }
}

#[test]
fn nobody_there_says_how_to_start_it_and_shows_no_path() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let args = ConnectArgs {
        url: Some(format!("http://{free}").parse().unwrap()),
        ..ConnectArgs::default()
    };
    let (target, key) = args
        .target(&source(&std::env::temp_dir(), &[("ADMIN_KEY", KEY)]))
        .unwrap();
    let api = Api::new(target, &key).unwrap();
    let failure = block_on(api.get(&["admin", "keys", "luna-secret"], &[]))
        .unwrap_err()
        .to_string();
    let says = format!("cannot reach the gateway at http://{free}: ");
    assert!(
        failure.starts_with(&says) && failure.contains("luna serve"),
        "{failure}"
    );
    assert!(!failure.contains("luna-secret"), "{failure}");
}

#[test]
fn dots_do_not_lead_to_another_route() {
    let fake = Fake::start(|_| (200, "{}".to_owned()));
    for key in ["", ".", ".."] {
        let failure = block_on(fake.api().get(&["admin", "keys", key], &[])).unwrap_err();
        assert_eq!(failure.code, 2, "{key}");
    }
    assert!(fake.asked().is_empty());
}

#[test]
fn a_path_before_the_routes_is_kept() {
    let fake = Fake::start(|_| (200, "{}".to_owned()));
    for url in [format!("{}/gate", fake.url), format!("{}/gate/", fake.url)] {
        let args = ConnectArgs {
            url: Some(url.parse().unwrap()),
            ..ConnectArgs::default()
        };
        let (target, key) = args
            .target(&source(&std::env::temp_dir(), &[("ADMIN_KEY", KEY)]))
            .unwrap();
        let api = Api::new(target, &key).unwrap();
        block_on(api.get(&["admin", "keys"], &[])).unwrap();
    }
    assert_eq!(
        fake.lines(),
        ["GET /gate/admin/keys", "GET /gate/admin/keys"]
    );
}
