//! `[upstreams.NAME]`: profiles, URLs, headers.

use std::time::Duration;

use super::{Place, assert_problems};
use crate::config::{BaseUrl, Health, Profile};

#[test]
fn upstreams_are_read_with_the_defaults_of_their_profile() {
    let place = Place::with_toml(
        "[upstreams.backup]\nurl = 'https://api.example.com:8443/x/'\nprofile = 'anthropic'\ntool_choice = false\n\
         max_output = {'claude-*' = 64000}\nreasoning = ['o*']\nheaders = {X-Team = 'luna'}\n\
         [upstreams.backup.limits]\nidle_s = 7\n",
    );
    let settings = place.good();
    let backup = &settings.upstreams["backup"];
    assert_eq!(
        (backup.profile, backup.health),
        (Profile::Anthropic, Health::None)
    );
    assert_eq!(
        (backup.url.tls, backup.url.port, backup.url.prefix.as_str()),
        (true, 8443, "/x")
    );
    assert_eq!(backup.url.host, "api.example.com");
    assert_eq!(backup.limits.first_event, Duration::from_secs(120));
    assert_eq!(backup.limits.idle, Duration::from_secs(7));
    assert_eq!(backup.capabilities.tool_choice, Some(false));
    assert_eq!(
        backup.capabilities.max_output,
        [("claude-*".to_owned(), 64000)]
    );
    assert_eq!(backup.headers[0].0, "x-team");
    assert!(settings.upstreams.contains_key("default"));
}

#[test]
fn urls_that_cannot_be_asked_are_refused() {
    for url in [
        "",
        "localhost:8080",
        "ftp://x",
        "http://",
        "http://:80",
        "http://a:b@c",
        "http://a:0",
        "http://a:99999",
        "http://a:",
        "http://a?b",
        "http://a#b",
        "http://a b",
        "http://[::1",
        "http://[x]",
    ] {
        assert!(BaseUrl::parse(url).is_err(), "{url}");
        let found = Place::with_toml(&format!("[upstreams.default]\nurl = '{url}'")).bad();
        assert_problems(&found, &["conf/luna.toml:2: upstreams.default.url "]);
    }
    for (url, shown) in [
        ("http://[::1]:80/", "http://[::1]"),
        ("HTTPS://Host", "https://host"),
        (
            "http://my_host.svc:8080/a/b/",
            "http://my_host.svc:8080/a/b",
        ),
        ("http://a/v1/", "http://a"),
    ] {
        let settings = Place::with_toml(&format!("[upstreams.default]\nurl = '{url}'")).good();
        assert_eq!(settings.upstreams["default"].url.to_string(), shown);
    }
}

#[test]
fn headers_that_would_break_a_request_are_refused() {
    let place = Place::with_toml(
        "[upstreams.default.headers]\nContent-Length = '5'\n'a b' = 'x'\nx-ok = 'a'\nX-OK = 'b'\nx-new = 'å'\nnumber = 5\n",
    );
    assert_problems(
        &place.bad(),
        &[
            "conf/luna.toml:2: upstreams.default.headers.Content-Length is a header that Luna sets itself",
            "conf/luna.toml:3: upstreams.default.headers.a b is not a header's name",
            "conf/luna.toml:4: upstreams.default.headers.x-ok is given twice",
            "conf/luna.toml:7: upstreams.default.headers.number must be text, not a whole number",
        ],
    );
}
