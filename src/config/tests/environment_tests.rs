//! Variables: the named ones, `LUNA__…`, and what wins.

use std::time::Duration;

use super::{Place, assert_problems};

#[test]
fn the_variables_of_the_old_system_win_over_the_file() {
    let place = Place::with_toml("[server]\nlisten = '127.0.0.1:7000'\n[store]\nkeys_file = 'k'\n[upstreams.default]\nurl = 'http://a'\n")
        .file("chains.json", r#"{"chains": {"m": ["m", "n"]}}"#)
        .var("UPSTREAM_URL", "https://b:8443")
        .var("PROXY_PORT", "9000")
        .var("KEYS_FILE", "keys/k.json")
        .var("FALLBACK_CONFIG", "chains.json")
        .var("ADMIN_KEY", "luna-admin-key-of-a-test")
        .var("LUNA_DATA_DIR", "state");
    let settings = place.good();
    assert_eq!(
        settings.upstreams["default"].url.to_string(),
        "https://b:8443"
    );
    assert_eq!(settings.server.listen.to_string(), "127.0.0.1:9000");
    // From the environment they begin at the working folder.
    assert_eq!(settings.store.keys_file, place.path("keys/k.json"));
    assert_eq!(settings.store.data_dir, place.path("state"));
    assert_eq!(settings.fallback.file, Some(place.path("chains.json")));
    assert_eq!(settings.rules.resolve("m").tiers.len(), 2);
    assert_eq!(
        settings.admin.key.unwrap().expose(),
        "luna-admin-key-of-a-test"
    );
}

#[test]
fn the_port_is_replaced_whoever_set_the_address() {
    let place = Place::new()
        .var("PROXY_PORT", "81")
        .var("LUNA__SERVER__LISTEN", "[::1]:80");
    assert_eq!(place.good().server.listen.to_string(), "[::1]:81");
    for port in ["0", "65536", "-1", "http"] {
        let place = Place::new().var("PROXY_PORT", port);
        assert_problems(
            &place.bad(),
            &["PROXY_PORT: must be a port from 1 to 65535"],
        );
    }
    // An address that cannot be read is told even so.
    let place = Place::with_toml("[server]\nlisten = 'x'").var("PROXY_PORT", "81");
    assert_problems(
        &place.bad(),
        &["conf/luna.toml:2: server.listen must be an address"],
    );
}

#[test]
fn empty_named_variables_count_as_not_set() {
    let mut place = Place::with_toml("[upstreams.default]\nurl = 'http://a'\n");
    for name in [
        "UPSTREAM_URL",
        "PROXY_PORT",
        "KEYS_FILE",
        "FALLBACK_CONFIG",
        "ADMIN_KEY",
        "LUNA_DATA_DIR",
        "LUNA_CONFIG",
    ] {
        place = place.var(name, "");
    }
    assert_eq!(
        place.good().upstreams["default"].url.to_string(),
        "http://a"
    );
}

#[test]
fn any_setting_can_be_a_variable() {
    let place = Place::with_toml("[upstreams.open-ai]\nurl = 'http://o/v1'\nprofile = 'openai'\n[upstreams.open-ai.headers]\nX-A = '1'\n")
        .var("LUNA__SERVER__GRACE_S", "60.5")
        .var("LUNA__SERVER__MAX_IN_FLIGHT", "0")
        .var("LUNA__SERVER__TRUSTED_PROXIES", "10.0.0.0/8, 10.1.0.1")
        .var("LUNA__SERVER__CORS_ORIGINS", "[\"*\"]")
        .var("LUNA__METRICS__LISTEN", "off")
        .var("LUNA__LARK__CARD__QUEUE_MAX", "5")
        .var("LUNA__LARK__ENABLED", "false")
        .var("LUNA__UPSTREAMS__DEFAULT__URL", "http://d")
        .var("LUNA__UPSTREAMS__OPEN_AI__API_KEY", "a-key")
        .var("LUNA__UPSTREAMS__OPEN_AI__HEADERS__X_A", "2")
        .var("LUNA__UPSTREAMS__OPEN_AI__HEADERS__X_B_C", "3")
        .var("LUNA__UPSTREAMS__OPEN_AI__LIMITS__IDLE_S", "9")
        .var("LUNA__UPSTREAMS__OPEN_AI__MAX_OUTPUT", "100")
        .var("LUNA__UPSTREAMS__OPEN_AI__REASONING", "o1*,o3*")
        .var("LUNA__UPSTREAMS__THIRD__PROFILE", "anthropic");
    let settings = place.good();
    assert_eq!(settings.server.grace, Duration::from_millis(60_500));
    assert_eq!(settings.server.max_in_flight, None);
    assert_eq!(settings.server.trusted_proxies.len(), 2);
    assert_eq!(settings.server.cors_origins, ["*"]);
    assert_eq!(settings.metrics.listen, None);
    assert_eq!(settings.lark.card.queue_max, 5);
    let names: Vec<&String> = settings.upstreams.keys().collect();
    assert_eq!(names, ["default", "open-ai", "third"]);
    let open = &settings.upstreams["open-ai"];
    assert_eq!(open.api_key.as_ref().unwrap().expose(), "a-key");
    let headers: Vec<(&str, &str)> = open
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    assert_eq!(headers, [("x-a", "2"), ("x-b-c", "3")]);
    assert_eq!(open.limits.idle, Duration::from_secs(9));
    assert_eq!(open.capabilities.max_output, [("*".to_owned(), 100)]);
    assert_eq!(
        open.capabilities.reasoning,
        Some(crate::config::Reasoning::Models(vec![
            "o1*".into(),
            "o3*".into()
        ]))
    );
}

#[test]
fn wrong_variables_are_told_by_name() {
    let place = Place::new()
        .var("LUNA__SERVER__GRAZE_S", "1")
        .var("LUNA__SEVER__GRACE_S", "1")
        .var("LUNA__SERVER", "1")
        .var("LUNA__", "1")
        .var("LUNA__SERVER__GRACE_S", "soon")
        .var("LUNA__SERVER__THREADS", "1.5")
        .var("LUNA__UPSTREAMS__DEFAULT", "x")
        .var("LUNA__UPSTREAMS__DEFAULT__LIMITS__CONECT_S", "1")
        .var("LUNA__UPSTREAMS__DEFAULT__HEADERS", "x")
        .var("LUNA__UPSTREAMS__A.B__URL", "x")
        .var("LUNA__SERVER__LISTEN__PORT", "x")
        .var("UPSTREAM_URL", "nowhere");
    assert_problems(
        &place.bad(),
        &[
            "LUNA__SERVER__GRAZE_S: unknown setting `server.graze_s`, did you mean `grace_s`?",
            "LUNA__SEVER__GRACE_S: unknown section `sever`, did you mean `server`?",
            "LUNA__SERVER: is not of the form LUNA__SECTION__SETTING",
            "LUNA__: is not of the form LUNA__SECTION__SETTING",
            "LUNA__SERVER__GRACE_S: server.grace_s must be a number of seconds, not text",
            "LUNA__SERVER__THREADS: server.threads must be a whole number, not a number",
            "LUNA__UPSTREAMS__DEFAULT: is not of the form",
            "LUNA__UPSTREAMS__DEFAULT__LIMITS__CONECT_S: unknown setting `upstreams.default.limits.conect_s`, did",
            "LUNA__UPSTREAMS__DEFAULT__HEADERS: `upstreams.default.headers` is a table",
            "LUNA__UPSTREAMS__A.B__URL: `a.b` cannot name an upstream",
            "LUNA__SERVER__LISTEN__PORT: unknown setting `server.listen`",
            "UPSTREAM_URL: upstreams.default.url must begin with http:// or https://",
        ],
    );
}

#[test]
fn two_variables_for_one_setting_must_agree() {
    let place = Place::new()
        .var("UPSTREAM_URL", "http://a")
        .var("LUNA__UPSTREAMS__DEFAULT__URL", "http://a");
    assert_eq!(
        place.good().upstreams["default"].url.to_string(),
        "http://a"
    );
    let place = place.var("LUNA__UPSTREAMS__DEFAULT__URL", "http://b");
    assert_problems(
        &place.bad(),
        &[
            "LUNA__UPSTREAMS__DEFAULT__URL: UPSTREAM_URL sets `upstreams.default.url` too; unset one of them",
        ],
    );
}

#[test]
fn a_name_that_may_mean_two_upstreams_is_refused() {
    let place = Place::with_toml("[upstreams.a-b]\n[upstreams.a_b]\n")
        .var("LUNA__UPSTREAMS__A_B__URL", "http://x");
    assert_problems(
        &place.bad(),
        &["LUNA__UPSTREAMS__A_B__URL: may mean the upstream `a-b` or `a_b`; set it in the file"],
    );
}

#[test]
fn errors_of_file_and_environment_are_told_together() {
    let place = Place::with_toml("[server]\ngrace_s = 'x'\n")
        .var("LUNA__NO__SUCH", "1")
        .file("conf/fallback.json", "{");
    let found = place.bad();
    assert_eq!(found.lines().count(), 3, "{found}");
    assert!(
        found.contains("conf/fallback.json:1: not valid JSON: "),
        "{found}"
    );
}
