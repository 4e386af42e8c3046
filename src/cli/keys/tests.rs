#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use serde_json::{Value, json};

use super::act::{offline, online};
use super::show::render_at;
use super::{Action, CreateArgs};
use crate::cli::http::block_on;
use crate::cli::tests::fake::Fake;
use crate::cli::tests::settings;
use crate::config::Settings;
use crate::store::DataLock;

/// 2026-11-24T08:00:00Z
const NOW: u64 = 1_795_507_200_000;

fn create(name: &str) -> Action {
    Action::Create(CreateArgs {
        name: name.to_owned(),
        ..CreateArgs::default()
    })
}

fn show(key: &str) -> Action {
    Action::Show {
        key: key.to_owned(),
    }
}

fn done(settings: &Settings, action: &Action) -> Value {
    offline(settings, action)
        .map_err(|e| e.to_string())
        .unwrap()
        .answer
        .json
}

fn refused(settings: &Settings, action: &Action) -> String {
    offline(settings, action).err().unwrap().to_string()
}

#[test]
fn a_key_lives_on_the_file_from_create_to_delete() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let first = offline(&settings, &create("alice")).unwrap();
    assert!(
        first
            .admin_key
            .unwrap()
            .starts_with("admin key (shown this once")
    );
    let made = first.answer.json;
    let (id, secret) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert!(secret.starts_with("luna-") && secret.len() == 48);
    assert_eq!(made["usage"]["cost_usd"], Value::Null);
    assert!(refused(&settings, &create("alice")).contains("exists already"));

    // By id, by name and by secret.
    for key in [id, "alice", secret] {
        let shown = done(&settings, &show(key));
        assert_eq!(shown["id"].as_str(), Some(id), "{key}");
        assert!(shown.get("key").is_none());
    }
    let disabled = done(
        &settings,
        &Action::Disable {
            key: "alice".to_owned(),
        },
    );
    assert_eq!(disabled["enabled"], json!(false));
    let enabled = done(&settings, &Action::Enable { key: id.to_owned() });
    assert_eq!(enabled["enabled"], json!(true));

    let rotate = |grace| Action::Rotate {
        key: id.to_owned(),
        grace: Duration::from_secs(grace),
    };
    let rotated = done(&settings, &rotate(3600));
    let second = rotated["key"].as_str().unwrap();
    assert_ne!(second, secret);
    done(&settings, &show(secret));
    done(&settings, &rotate(0));
    for old in [secret, second] {
        assert!(refused(&settings, &show(old)).contains("no key has this"));
    }
    assert!(refused(&settings, &rotate(99_999_999)).contains("grace_s"));

    let second = offline(&settings, &create("bob")).unwrap();
    assert!(second.admin_key.is_none());
    let list = done(&settings, &Action::List);
    assert_eq!(list["keys"].as_array().unwrap().len(), 2);
    done(
        &settings,
        &Action::Delete {
            key: "alice".to_owned(),
        },
    );
    assert!(refused(&settings, &show(id)).contains("luna keys list"));
}

#[test]
fn what_a_refusal_was_about_is_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    done(&settings, &create("alice"));
    assert!(!refused(&settings, &show("luna-secret-text")).contains("secret-text"));
}

#[test]
fn a_running_gateway_is_named_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    done(&settings, &create("alice"));
    let before = std::fs::read(&settings.store.keys_file).unwrap();
    let _gateway = DataLock::acquire(&settings.store.data_dir).unwrap();
    for action in [
        create("bob"),
        Action::List,
        Action::Delete {
            key: "alice".to_owned(),
        },
    ] {
        let error = refused(&settings, &action);
        assert!(
            error.contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        assert!(error.contains("leave out --offline"), "{error}");
    }
    assert_eq!(std::fs::read(&settings.store.keys_file).unwrap(), before);
}

#[test]
fn looking_makes_no_files_and_takes_nothing_over() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    assert!(refused(&settings, &Action::List).contains("there are no keys yet"));
    assert!(!settings.store.data_dir.exists());

    let old = r#"{"sk-old-secret-number-one": {"name": "alice"}}"#;
    std::fs::create_dir_all(&settings.store.data_dir).unwrap();
    std::fs::write(&settings.store.keys_file, old).unwrap();
    for action in [Action::List, create("bob")] {
        assert!(refused(&settings, &action).contains("luna import"));
    }
    assert_eq!(
        std::fs::read_to_string(&settings.store.keys_file).unwrap(),
        old
    );
}

#[test]
fn limits_are_for_a_later_version() {
    let limited = CreateArgs {
        name: "a".to_owned(),
        limit: vec!["rpm=5".to_owned()],
        ..CreateArgs::default()
    };
    let failure = limited.refuse_later().unwrap_err();
    assert_eq!(
        (
            failure.code,
            failure.to_string().contains("not yet in this version")
        ),
        (2, true)
    );
}

fn key(name: &str) -> Value {
    json!({
        "id": "key_abc", "name": name, "prefix": "luna-abcd", "enabled": true, "admin": false,
        "permissions": [], "models": ["claude-*", "m"], "limits": {},
        "created_at": "2026-11-01T00:00:00Z", "expires_at": null, "last_used_at": null,
        "usage": {"requests": 3, "errors": 0, "fallbacks": 0, "aborted": 0, "input_tokens": 10, "output_tokens": 20,
                  "cache_read_input_tokens": 5, "cache_creation_input_tokens": 1, "cost_usd": null},
    })
}

fn rendered(action: &Action, json: &Value) -> String {
    render_at(action, json, "http://127.0.0.1:8180", NOW)
        .map_err(|e| e.to_string())
        .unwrap()
}

#[test]
fn keys_are_listed_and_shown() {
    let mut expired = key("old");
    expired["expires_at"] = json!("2026-11-24T07:59:59.5Z");
    let mut off = key("off");
    off["enabled"] = json!(false);
    off["models"] = json!([]);
    assert_eq!(
        rendered(
            &Action::List,
            &json!({"keys": [key("alice"), expired, off]})
        ),
        "ID       NAME   SECRET        STATE     MODELS      LAST USED  REQUESTS  TOKENS\n\
         key_abc  alice  luna-abcd...  enabled   claude-*,m  never      3         36\n\
         key_abc  old    luna-abcd...  expired   claude-*,m  never      3         36\n\
         key_abc  off    luna-abcd...  disabled  all         never      3         36\n"
    );
    let shown = rendered(&show("alice"), &key("alice"));
    assert!(
        shown.contains("name         alice\n") && shown.contains("tokens       36\n"),
        "{shown}"
    );
    assert!(rendered(&Action::List, &json!({"keys": []})).contains("luna keys create NAME"));
}

#[test]
fn a_new_secret_is_shown_with_its_use() {
    let mut made = key("alice");
    made["key"] = json!("luna-secret");
    let text = rendered(&create("alice"), &made);
    assert!(
        text.starts_with(
            "made key alice (key_abc)\n\nkey    luna-secret\nurl    http://127.0.0.1:8180\n"
        ),
        "{text}"
    );
    assert!(text.contains("ANTHROPIC_API_KEY=luna-secret\n"), "{text}");
    let rotate = |seconds| Action::Rotate {
        key: "alice".to_owned(),
        grace: Duration::from_secs(seconds),
    };
    assert!(rendered(&rotate(3600), &made).contains("old secret works until 2026-11-24T09:00:00"));
    assert!(rendered(&rotate(0), &made).contains("old secret is refused from now on"));
    let without = render_at(&create("alice"), &key("alice"), "", NOW).unwrap_err();
    assert!(without.to_string().contains("no secret"));
}

#[test]
fn online_asks_the_admin_api_and_finds_names() {
    let fake = Fake::start(|line| match line {
        "GET /admin/keys" => (200, json!({"keys": [key("alice")]}).to_string()),
        "POST /admin/keys" => (201, key("new").to_string()),
        line if line.contains("key_abc") => (200, key("alice").to_string()),
        _ => (
            404,
            json!({"error": {"message": "no such key"}}).to_string(),
        ),
    });
    let api = fake.api();
    let ask = |action: &Action| block_on(online(&api, action));
    ask(&Action::List).unwrap();
    ask(&create("new")).unwrap();
    ask(&Action::Delete {
        key: "key_abc".to_owned(),
    })
    .unwrap();
    ask(&Action::Disable {
        key: "alice".to_owned(),
    })
    .unwrap();
    ask(&Action::Rotate {
        key: "key_abc".to_owned(),
        grace: Duration::from_secs(60),
    })
    .unwrap();
    let unknown = ask(&show("nobody")).unwrap_err();
    assert_eq!(unknown.status, Some(404));
    assert!(!unknown.to_string().contains("nobody"), "{unknown}");
    assert_eq!(
        fake.lines(),
        [
            "GET /admin/keys",
            "POST /admin/keys",
            "DELETE /admin/keys/key_abc",
            "POST /admin/keys/alice/disable",
            "GET /admin/keys",
            "POST /admin/keys/key_abc/disable",
            "POST /admin/keys/key_abc/rotate",
            "GET /admin/keys/nobody",
            "GET /admin/keys",
        ]
    );
    let bodies: Vec<String> = fake.asked().into_iter().map(|asked| asked.body).collect();
    let sent: Value = serde_json::from_str(&bodies[1]).unwrap();
    assert_eq!(
        sent,
        json!({"name": "new", "models": [], "permissions": [], "expires_at": null})
    );
    assert_eq!(bodies[6], r#"{"grace_s":60}"#);
}
