//! Secrets: three forms, never shown, examples refused.

use super::{Place, assert_problems};

const KEY: &str = "an-admin-key-nobody-knows";

#[test]
fn a_secret_comes_from_the_file_a_variable_or_another_file() {
    let place = Place::with_toml(&format!("[admin]\nkey = '{KEY}'"));
    assert_eq!(place.good().admin.key.unwrap().expose(), KEY);
    let place = Place::with_toml("[admin]\nkey_env = 'MY_KEY'").var("MY_KEY", KEY);
    assert_eq!(place.good().admin.key.unwrap().expose(), KEY);
    let place = Place::with_toml("[admin]\nkey_file = 'admin.key'")
        .file("conf/admin.key", &format!("{KEY}\r\n"));
    let settings = place.good();
    assert_eq!(settings.admin.key.unwrap().expose(), KEY);
    assert!(settings.sources.contains(&place.path("conf/admin.key")));
    let place = Place::new()
        .file("admin.key", KEY)
        .var("LUNA__ADMIN__KEY_FILE", "admin.key");
    assert_eq!(place.good().admin.key.unwrap().expose(), KEY);
}

#[test]
fn what_cannot_be_had_is_told() {
    let place = Place::with_toml(
        "[admin]\nkey = 'one-key-of-twenty-chars'\nkey_env = 'X'\n[upstreams.default]\napi_key_env = 'NOT_SET'\n\
         health_password_file = 'none'\n[lark]\napp_secret_file = 'empty'\nencrypt_key = 5\nverification_token_env = 7\n",
    )
    .file("conf/empty", "\n");
    assert_problems(
        &place.bad(),
        &[
            "conf/luna.toml:3: admin.key and admin.key_env are both given; keep one",
            "conf/luna.toml:5: upstreams.default.api_key_env names a variable that is not set: NOT_SET",
            "conf/luna.toml:6: upstreams.default.health_password_file: the file cannot be read: ",
            "conf/luna.toml:8: lark.app_secret_file names an empty file",
            "conf/luna.toml:9: lark.encrypt_key must be text, not a whole number",
            "conf/luna.toml:10: lark.verification_token_env must be text, not a whole number",
        ],
    );
}

#[test]
fn the_environment_replaces_every_form_of_the_file() {
    let place = Place::with_toml("[admin]\nkey_file = 'none'").var("ADMIN_KEY", KEY);
    assert_eq!(place.good().admin.key.unwrap().expose(), KEY);
    let place = place.var("LUNA__ADMIN__KEY_FILE", "x");
    assert_problems(
        &place.bad(),
        &["LUNA__ADMIN__KEY_FILE: ADMIN_KEY sets `admin.key` too; unset one of them"],
    );
}

#[test]
fn empty_text_is_no_secret() {
    let place = Place::with_toml("[admin]\nkey = ''\nkey_env = ''\nkey_file = ''\n");
    assert!(place.good().admin.key.is_none());
}

#[test]
fn nothing_shows_a_secret() {
    let place = Place::with_toml(&format!(
        "[admin]\nkey = '{KEY}'\n[upstreams.default]\napi_key = '{KEY}'\nheaders = {{X-Key = '{KEY}'}}\n[lark]\napp_secret = '{KEY}'\n"
    ));
    let settings = place.good();
    let shown = format!(
        "{settings:?} {} {:?}",
        settings.admin.key.as_ref().unwrap(),
        settings.warnings
    );
    let values = shown.matches(KEY).count();
    assert_eq!(values, 0, "{shown}");
    // Nor do errors, whatever is wrong with it, and wherever it was put.
    let place = Place::with_toml(&format!(
        "[admin]\nkey_env = '{KEY}'\n[lark]\napp_secret_file = '{KEY}'\n"
    ));
    let found = place.bad();
    assert!(!found.contains(KEY), "{found}");
    let place = Place::with_toml(&format!(
        "[admin]\nkey = '{KEY} \u{e9}'\n[lark]\napp_secret = \"{KEY}\\u0007\"\nencrypt_key = '{}'\n",
        KEY.repeat(400)
    ));
    let found = place.bad();
    assert!(!found.contains(KEY), "{found}");
    assert_eq!(found.lines().count(), 3, "{found}");
}

#[test]
fn known_examples_are_refused() {
    for key in ["sk-admin-luna2026", "ChangeMe", " changeme", "<your key>"] {
        let place = Place::new().var("ADMIN_KEY", key);
        let found = place.bad();
        assert!(
            found.contains("ADMIN_KEY: admin.key is a known example secret; set one of your own"),
            "{found}"
        );
    }
    let place = Place::with_toml("[upstreams.default]\napi_key = 'your-api-key'\n");
    assert_problems(
        &place.bad(),
        &["conf/luna.toml:2: upstreams.default.api_key is a known example secret"],
    );
}

#[test]
fn they_are_allowed_on_loopback_when_asked_for() {
    let mut place = Place::with_toml("[server]\nlisten = '127.0.0.1:8180'\n")
        .var("ADMIN_KEY", "sk-admin-luna2026");
    assert_problems(
        &place.bad(),
        &["ADMIN_KEY: admin.key is a known example secret; set one"],
    );
    place.options.insecure_example_keys = true;
    assert!(place.good().warnings[0].contains("--insecure-example-keys"));
    for (variable, address) in [
        ("LUNA__METRICS__LISTEN", "0.0.0.0:9180"),
        ("LUNA__ADMIN__LISTEN", "10.0.0.1:1"),
        ("LUNA__SERVER__LISTEN", "[::]:1"),
    ] {
        let mut place = Place::with_toml("[server]\nlisten = '127.0.0.1:8180'\n")
            .var("ADMIN_KEY", "sk-admin-luna2026");
        place.options.insecure_example_keys = true;
        let place = place.var(variable, address);
        assert_problems(
            &place.bad(),
            &["ADMIN_KEY: admin.key is a known example secret; --insecure-example-keys allows"],
        );
    }
}

#[test]
fn a_short_admin_key_is_warned_about() {
    let place = Place::new().var("ADMIN_KEY", "nineteen-characters");
    assert!(place.good().warnings[0].contains("admin.key has fewer than 20 characters"));
    let place = Place::new().var("ADMIN_KEY", "twenty-characters-ok");
    assert!(place.good().warnings.is_empty());
}
