#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::ask::{offline, online};
use super::{Group, UsageArgs, UsageFormat, render};
use crate::app::now;
use crate::cli::connect::ConnectArgs;
use crate::cli::http::block_on;
use crate::cli::tests::fake::Fake;
use crate::cli::tests::{put, settings};
use crate::store::DataLock;
use crate::usage::{Endpoint, Finished, Owner, Params};
use crate::wire::usage::Tokens;

fn args(by: Group) -> UsageArgs {
    UsageArgs {
        by,
        from: None,
        to: None,
        key: None,
        model: None,
        format: UsageFormat::Table,
        offline: false,
        gateway: ConnectArgs::default(),
    }
}

fn used(requests: u64) -> serde_json::Value {
    json!({"requests": requests, "errors": 0, "fallbacks": 0, "aborted": 0, "input_tokens": 1200, "output_tokens": 30,
           "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "cost_usd": null})
}

fn gateway() -> Fake {
    Fake::start(|line| {
        let keys = json!({"key_a": used(2)});
        let answer = match line {
            "GET /admin/keys" => json!({"keys": [{"id": "key_a", "name": "alice"}]}),
            "GET /admin/usage" => json!({"total": used(2), "keys": keys, "models": {"m": used(2)}}),
            line if line.contains("alice") => {
                return (404, json!({"error": {"message": "no"}}).to_string());
            }
            line if line.contains("/hourly") => {
                json!({"hours": [{"hour": "2026-11-24T08:00:00Z", "total": used(2), "keys": keys, "models": {}}]})
            }
            line if line.contains("/daily") => {
                json!({"days": [{"date": "2026-11-24", "total": used(2), "keys": keys, "models": {"m": used(2)}}]})
            }
            _ => {
                json!({"id": "key_a", "name": "alice", "total": used(2), "models": {"m": used(2)}, "days": {}, "hours": {}})
            }
        };
        (200, answer.to_string())
    })
}

fn asked(fake: &Fake, args: &UsageArgs) -> String {
    let api = fake.api();
    let named = args.by == Group::Key;
    let (answer, names) = block_on(online(&api, args, named))
        .map_err(|e| e.to_string())
        .unwrap();
    render(args, &answer, &names)
        .map_err(|e| e.to_string())
        .unwrap()
}

#[test]
fn by_key_without_more_is_everything_with_names() {
    let fake = gateway();
    let text = asked(&fake, &args(Group::Key));
    assert!(
        text.contains("alice") && text.contains("1,200") && !text.contains("key_a"),
        "{text}"
    );
    assert_eq!(fake.lines(), ["GET /admin/usage", "GET /admin/keys"]);
    let csv = asked(
        &fake,
        &UsageArgs {
            format: UsageFormat::Csv,
            ..args(Group::Model)
        },
    );
    assert!(csv.starts_with("model,requests,"), "{csv}");
    assert!(
        csv.lines()
            .nth(1)
            .unwrap()
            .starts_with("m,2,0,0,0,1200,30,"),
        "{csv}"
    );
}

#[test]
fn each_question_goes_to_its_route() {
    let first = |change: &dyn Fn(&mut UsageArgs), by| {
        let fake = gateway();
        let mut args = args(by);
        change(&mut args);
        asked(&fake, &args);
        fake.lines().into_iter().next().unwrap()
    };
    let key = |args: &mut UsageArgs| args.key = Some("key_a".to_owned());
    assert_eq!(first(&key, Group::Model), "GET /admin/keys/key_a/usage");
    assert_eq!(first(&key, Group::Day), "GET /admin/usage/daily?key=key_a");
    assert_eq!(
        first(&key, Group::Hour),
        "GET /admin/usage/hourly?key=key_a"
    );
    let range = |args: &mut UsageArgs| {
        args.from = Some("2026-11-01".to_owned());
        args.to = Some("2026-11-24T08:00:00+01:00".to_owned());
        args.model = Some("m".to_owned());
    };
    let line =
        "GET /admin/usage/hourly?from=2026-11-01&to=2026-11-24T08%3A00%3A00%2B01%3A00&model=m";
    assert_eq!(first(&range, Group::Hour), line);
    // Sums go back to the beginning, as they do without a filter.
    let to = |args: &mut UsageArgs| args.to = Some("2026-11-24".to_owned());
    assert_eq!(
        first(&to, Group::Key),
        "GET /admin/usage/daily?from=2016-11-26&to=2026-11-24"
    );
    let early = |args: &mut UsageArgs| args.to = Some("1975-01-01".to_owned());
    assert_eq!(
        first(&early, Group::Key),
        "GET /admin/usage/daily?to=1975-01-01"
    );
}

#[test]
fn a_key_is_found_by_its_name() {
    let fake = gateway();
    let named = UsageArgs {
        key: Some("alice".to_owned()),
        ..args(Group::Day)
    };
    assert!(asked(&fake, &named).contains("2026-11-24"));
    assert_eq!(
        fake.lines(),
        [
            "GET /admin/usage/daily?key=alice",
            "GET /admin/keys",
            "GET /admin/usage/daily?key=key_a"
        ]
    );
}

/// A day's file with one request of now, and keys.json with totals from before.
fn files(folder: &Path) {
    let mut total = used(5);
    total.as_object_mut().unwrap().remove("cost_usd");
    let keys = json!({"version": 1, "keys": [{
        "id": "key_a", "name": "alice", "usage": total,
        "hash": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}]});
    put(folder, &[("data/keys.json", &keys.to_string())]);
    let params = Params {
        dir: folder.join("data/usage"),
        timezone: "UTC".to_owned(),
        flush: Duration::from_millis(20),
        compact: Duration::from_secs(3600),
        keep_hours_days: 90,
        keep_days: 1095,
        clock: Arc::new(now),
    };
    let (meter, usage) = Owner::start(params, Default::default(), Box::new(|_| Ok(()))).unwrap();
    meter.record(finished());
    usage.stop().unwrap();
}

fn finished() -> Finished {
    Finished {
        time_ms: now(),
        request_id: "r".to_owned(),
        key_id: "key_a".into(),
        requested_model: "m".into(),
        served_model: "m".into(),
        upstream: "default".into(),
        endpoint: Endpoint::Messages,
        stream: false,
        status: 200,
        error: false,
        aborted: false,
        fallback_reasons: Vec::new(),
        tokens: Tokens::default(),
        estimated: false,
        duration_ms: 1,
        ttfe_ms: None,
    }
}

#[test]
fn the_files_answer_without_a_gateway_and_without_a_lock() {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    let settings = settings(folder.path());
    let before = std::fs::read(&settings.store.keys_file).unwrap();
    let ask = |args: &UsageArgs| {
        let (answer, names) = offline(&settings, args).map_err(|e| e.to_string()).unwrap();
        render(args, &answer, &names).unwrap()
    };
    let _gateway = DataLock::acquire(&settings.store.data_dir).unwrap();
    let text = ask(&args(Group::Key));
    assert!(
        text.lines()
            .any(|line| line.starts_with("alice") && line.contains(" 5 ")),
        "{text}"
    );
    for by in [Group::Model, Group::Day, Group::Hour] {
        for key in [None, Some("alice"), Some("key_a")] {
            let asked = UsageArgs {
                key: key.map(str::to_owned),
                ..args(by)
            };
            let text = ask(&asked);
            assert_eq!(text.lines().count(), 4, "{by:?} {key:?}: {text}");
        }
    }
    let unknown = UsageArgs {
        key: Some("luna-secret".to_owned()),
        ..args(Group::Day)
    };
    let error = offline(&settings, &unknown).err().unwrap().to_string();
    assert!(
        error.contains("no key has this id or name") && !error.contains("luna-secret"),
        "{error}"
    );
    assert_eq!(std::fs::read(&settings.store.keys_file).unwrap(), before);
}

#[test]
fn a_wrong_day_is_said_offline_too() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = UsageArgs {
        from: Some("soon".to_owned()),
        ..args(Group::Day)
    };
    let error = offline(&settings(folder.path()), &wrong)
        .err()
        .unwrap()
        .to_string();
    assert!(error.starts_with("from: expected a date"), "{error}");
    assert!(!folder.path().join("data").exists());
}
