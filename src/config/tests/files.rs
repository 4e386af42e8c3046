//! luna.toml: precedence, lines, unknown names, types and bounds.

use std::path::Path;
use std::time::Duration;

use super::{Place, assert_problems};
use crate::config::Settings;

#[test]
fn without_any_file_the_defaults_hold() {
    let place = Place::new();
    let settings = place.good();
    assert_eq!(settings.server.listen.to_string(), "0.0.0.0:8180");
    assert_eq!(settings.server.grace, Duration::from_secs(300));
    assert!(settings.server.threads >= 1);
    assert_eq!(settings.server.max_connections_per_ip, None);
    assert_eq!(
        settings.metrics.listen.unwrap().to_string(),
        "127.0.0.1:9180"
    );
    assert_eq!(settings.store.keys_file, place.path("data/keys.json"));
    assert_eq!(
        settings.server.upgrade_sock,
        place.path("data/upgrade.sock")
    );
    let upstream = &settings.upstreams["default"];
    assert_eq!(upstream.url.to_string(), "http://localhost:8080");
    assert_eq!(upstream.limits.first_event, Duration::from_secs(25));
    assert!(settings.admin.key.is_none());
    assert_eq!(settings.fallback.file, None);
    assert!(settings.rules.chains().is_empty());
    assert!(settings.sources.is_empty());
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    assert_eq!(settings.fd_need(), 40_100);
}

#[test]
fn the_built_in_defaults_are_sound_and_the_same() {
    let mut settings = Settings::defaults();
    let place = Place::new();
    let loaded = place.good();
    // Only where relative paths begin differs.
    settings = settings.with_data_dir(&place.path("data"));
    assert_eq!(settings.store.keys_file, loaded.store.keys_file);
    let reload = Settings::diff(&Settings::defaults(), &loaded);
    assert_eq!(reload.changed, ["fallback.file"]);
    assert_eq!(
        reload.needs_upgrade,
        [
            "lark.data_dir",
            "server.upgrade_sock",
            "store.data_dir",
            "store.keys_file"
        ]
    );
}

#[test]
fn the_named_file_wins_over_the_variable_and_that_over_the_folder() {
    let mut place = Place::with_toml("[server]\ngrace_s = 1")
        .file("b.toml", "[server]\ngrace_s = 2")
        .file("c.toml", "[server]\ngrace_s = 3");
    assert_eq!(place.good().server.grace, Duration::from_secs(1));
    place = place.var("LUNA_CONFIG", "b.toml");
    assert_eq!(place.good().server.grace, Duration::from_secs(2));
    place.options.config = Some("c.toml".into());
    assert_eq!(place.good().server.grace, Duration::from_secs(3));
    assert_eq!(place.good().sources, [place.path("c.toml")]);
    place.options.config = Some("none.toml".into());
    assert_problems(&place.bad(), &["none.toml: cannot be read: "]);
}

#[test]
fn relative_paths_begin_at_the_file() {
    let place = Place::with_toml("[store]\ndata_dir = '../state'\nkeys_file = '<data_dir>/k.json'");
    let settings = place.good();
    assert_eq!(settings.store.data_dir, place.path("conf/../state"));
    assert_eq!(settings.store.keys_file, place.path("conf/../state/k.json"));
    // A default begins where a written value would, so that leaving it out changes nothing.
    assert_eq!(
        Place::with_toml("")
            .good()
            .store
            .data_dir
            .file_name()
            .unwrap(),
        "data"
    );
    let place = Place::with_toml("");
    assert_eq!(place.good().store.data_dir, place.path("conf/data"));
}

#[test]
fn a_data_folder_left_behind_is_told() {
    let place = Place::with_toml("").file("data/keys.json", "{}");
    assert!(place.good().warnings[0].contains("data/keys.json holds keys"));
    let place = Place::new().file("data/keys.json", "{}");
    assert!(place.good().warnings.is_empty());
}

#[test]
fn every_error_is_told_with_line_and_nearest_name() {
    let place = Place::with_toml(
        "grace_s = 3\n\
         [server]\n\
         listn = 'x'\n\
         grace_s = -1\n\
         threads = 'many'\n\
         listen = '0.0.0.0:99999'\n\
         keepalive_s = 1\n\
         [sever]\n\
         [upstreams.default]\n\
         profil = 'openai'\n\
         profile = 'antigravty'\n\
         [upstreams.default.limits]\n\
         conect_s = 1\n\
         idle_s = 1e9\n\
         [lark.oaut]\n",
    );
    assert_problems(
        &place.bad(),
        &[
            "conf/luna.toml:1: unknown setting `grace_s`: it belongs into [server]",
            "conf/luna.toml:3: unknown setting `server.listn`, did you mean `listen`?",
            "conf/luna.toml:4: server.grace_s must be between 0 and 86400 seconds, not -1",
            "conf/luna.toml:5: server.threads must be a whole number, not text",
            "conf/luna.toml:6: server.listen must be an address and a port up to 65535",
            "conf/luna.toml:7: unknown setting `server.keepalive_s`: it belongs into [streams]",
            "conf/luna.toml:8: unknown section [sever], did you mean `server`?",
            "conf/luna.toml:10: unknown setting `upstreams.default.profil`, did you mean `profile`?",
            "conf/luna.toml:11: upstreams.default.profile must be \"antigravity\" or \"anthropic\" or \"openai\", did",
            "conf/luna.toml:13: unknown setting `upstreams.default.limits.conect_s`, did you mean `connect_s`?",
            "conf/luna.toml:14: upstreams.default.limits.idle_s must be between 0.05 and 86400 seconds, not 1000000000",
            "conf/luna.toml:15: unknown setting `lark.oaut`, did you mean `oauth`?",
        ],
    );
}

#[test]
fn a_hint_names_the_home_of_a_setting_only_if_it_is_not_near_another() {
    let place = Place::with_toml("[quota]\nkeys_file = 'x'\n");
    assert_problems(
        &place.bad(),
        &["conf/luna.toml:2: unknown setting `quota.keys_file`: it belongs into [store]"],
    );
}

#[test]
fn broken_syntax_is_told_with_its_line() {
    let found = Place::with_toml("[server]\ngrace_s = \n\nlisten = \"x\n").bad();
    assert!(found.starts_with("conf/luna.toml:2: "), "{found}");
    assert!(found.contains("conf/luna.toml:4: "), "{found}");
    let found = Place::with_toml("[server]\ngrace_s = 1\ngrace_s = 2\n").bad();
    assert!(found.starts_with("conf/luna.toml:3: "), "{found}");
}

#[test]
fn files_beyond_all_measure_are_refused() {
    let place = Place::with_toml(&"#".repeat((1 << 20) + 1));
    assert_problems(
        &place.bad(),
        &["conf/luna.toml: is larger than 1048576 bytes"],
    );
    let place = Place::new();
    std::fs::create_dir_all(place.path("conf")).unwrap();
    std::fs::write(place.path("conf/luna.toml"), b"[server]\n# \xff\n").unwrap();
    assert_problems(&place.bad(), &["conf/luna.toml: is not UTF-8, from line 2"]);
}

#[test]
fn numbers_of_every_absurdity_are_refused() {
    for value in [
        "nan",
        "inf",
        "-inf",
        "-0.5",
        "1e300",
        "99999999999999999999999999",
        "\"5\"",
        "true",
        "[]",
        "2020-01-01",
    ] {
        let place = Place::with_toml(&format!("[quota]\npoll_interval_s = {value}"));
        assert_problems(
            &place.bad(),
            &["conf/luna.toml:2: quota.poll_interval_s must be "],
        );
    }
    for value in [
        "-1",
        "1.5",
        "0x1_0000_0000_0000_0000",
        "99999999999999999999999999999999999999999999",
    ] {
        let place = Place::with_toml(&format!("[server]\nmax_body_bytes = {value}"));
        assert_problems(
            &place.bad(),
            &["conf/luna.toml:2: server.max_body_bytes must be "],
        );
    }
}

#[test]
fn fractions_and_other_radixes_are_read() {
    let place = Place::with_toml("[server]\nready_delay_s = 0.25\nmax_body_bytes = 0x10_0000\n");
    let settings = place.good();
    assert_eq!(settings.server.ready_delay, Duration::from_millis(250));
    assert_eq!(settings.server.max_body_bytes, 1 << 20);
}

#[test]
fn what_only_shows_in_combination_is_told() {
    let place = Place::with_toml(
        "[server]\nbody_memory_bytes = 1048576\nlisten = '127.0.0.1:7000'\n[admin]\nlisten = '0.0.0.0:7000'\n\
         [metrics]\nlisten = '127.0.0.1:7000'\n[fallback]\ncooldown_s = 500\n",
    );
    assert_problems(
        &place.bad(),
        &[
            "conf/luna.toml:2: server.body_memory_bytes must not be below server.max_body_bytes",
            "conf/luna.toml:5: admin.listen and server.listen cannot share the port 7000",
            "conf/luna.toml:7: metrics.listen and server.listen cannot share the port 7000",
            "conf/luna.toml:7: metrics.listen and admin.listen cannot share the port 7000",
            "conf/luna.toml:9: fallback.cooldown_s must not be above fallback.cooldown_max_s",
        ],
    );
}

#[test]
fn addresses_networks_origins_and_zones_are_checked() {
    let place = Place::with_toml(
        "[server]\ntrusted_proxies = ['10.0.0.0/8', '::1', '10.0.0.0/33']\ncors_origins = ['https://a.b/', 'x']\n\
         [metrics]\nlisten = ':9180'\n[usage]\ntimezone = 'Europe/Olso'\n",
    );
    assert_problems(
        &place.bad(),
        &[
            "conf/luna.toml:2: server.trusted_proxies holds `10.0.0.0/33`",
            "conf/luna.toml:3: server.cors_origins holds `x`",
            "conf/luna.toml:5: metrics.listen must be an address",
            "conf/luna.toml:7: usage.timezone must be an IANA time zone such as \"Europe/Oslo\", did you mean `Europe/Oslo`?",
        ],
    );
    let place = Place::with_toml(
        "[metrics]\nlisten = 'off'\n[server]\ncors_origins = ['https://A.b/']\nlisten = 'localhost:1'",
    );
    let settings = place.good();
    assert_eq!(settings.metrics.listen, None);
    assert_eq!(settings.server.cors_origins, ["https://a.b"]);
    assert_eq!(
        settings.listeners(),
        [("server.listen", "127.0.0.1:1".parse().unwrap())]
    );
}

#[test]
fn what_later_versions_bring_is_refused_by_name() {
    let place = Place::with_toml(
        "[server]\ntls_cert = 'a'\ntls_key = 'b'\n[streams]\nmidstream = 'continue'\non_disconnect = 'drain'\n\
         [lark]\nenabled = true\n",
    );
    let found = place.bad();
    for line in [2, 3, 5, 8] {
        let beginning = format!("conf/luna.toml:{line}: ");
        let told = found
            .lines()
            .find(|told| told.starts_with(&beginning))
            .unwrap_or_else(|| panic!("{line}: {found}"));
        assert!(
            told.contains("is not available in this version; "),
            "{told}"
        );
    }
    assert_eq!(found.lines().count(), 4, "{found}");
    // Switched off it is read and checked.
    let place = Place::with_toml(
        "[lark]\nenabled = false\nopen_base = 'nowhere'\n[lark.card]\nforward_timeout_ms = 3000",
    );
    assert_problems(
        &place.bad(),
        &[
            "conf/luna.toml:3: lark.open_base must begin",
            "conf/luna.toml:5: lark.card.forward_timeout_ms must be between",
        ],
    );
}

#[test]
fn texts_instead_of_files_make_settings_for_tests_and_the_demo() {
    let settings = Settings::from_text(
        "[quota]\npoll_interval_s = 1\n",
        Some(r#"{"chains": {"a": ["a", "b"]}}"#),
        Path::new("/somewhere"),
    )
    .unwrap()
    .with_listen("127.0.0.1:0".parse().unwrap())
    .with_metrics(None)
    .with_data_dir(Path::new("/else"));
    assert_eq!(settings.quota.poll_interval, Duration::from_secs(1));
    assert_eq!(settings.rules.resolve("a").tiers.len(), 2);
    assert_eq!(
        settings.server.upgrade_sock,
        Path::new("/else/upgrade.sock")
    );
    assert!(settings.sources.is_empty());
}

#[test]
fn a_difference_is_told_by_name_only() {
    let old = Place::with_toml(
        "[admin]\nkey = 'a-long-enough-admin-key-1'\n[quota]\npoll_interval_s = 30\n",
    )
    .file(
        "conf/fallback.json",
        r#"{"chains": {"a": ["a"], "b": ["b"]}, "aliases": {"x": "a"}}"#,
    );
    let new = Place::with_toml(
        "[admin]\nkey = 'a-long-enough-admin-key-2'\n[quota]\npoll_interval_s = 30.0\n[server]\nlisten = '1.2.3.4:5'\n\
         [streams]\nkeepalive_s = 5\n[store]\ndata_dir = '/d'\n[fallback]\nfile = 'fallback.json'\n",
    )
    .file("conf/fallback.json", r#"{"threshold": 0.07, "chains": {"a": ["a"], "b": ["b", "a"], "c": ["c"]}}"#);
    let (old, new) = (old.good(), new.good());
    let reload = Settings::diff(&old, &new);
    // The two folders differ, so the paths do.
    assert_eq!(
        reload.changed,
        [
            "admin.key",
            "fallback.file",
            "streams.keepalive_s",
            "threshold",
            "chains.b",
            "chains.c",
            "aliases.x"
        ]
    );
    assert_eq!(
        reload.needs_upgrade,
        [
            "lark.data_dir",
            "server.listen",
            "server.upgrade_sock",
            "store.data_dir",
            "store.keys_file"
        ]
    );
    assert!(Settings::diff(&old, &old).is_empty());
}
