//! Usage by key, model, day and hour is what the upstream's own ledger says.

use std::collections::BTreeMap;
use std::time::Duration;

use luna::app::now;
use luna::keys::NewKey;
use luna::simulate::{Fault, FaultKind, Tokens};
use serde_json::Value;

use super::{curl, curled};
use crate::support::eventually;
use crate::support::world::{Answer, World, ask};

const COUNTS: [&str; 8] = [
    "requests",
    "errors",
    "fallbacks",
    "aborted",
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
];

fn counts(usage: &Value) -> [u64; 8] {
    COUNTS.map(|name| {
        usage[name]
            .as_u64()
            .unwrap_or_else(|| panic!("no {name}: {usage}"))
    })
}

fn tokens(usage: &Value) -> Tokens {
    let [.., input, output, cache_read, cache_creation] = counts(usage);
    Tokens {
        input,
        output,
        cache_read,
        cache_creation,
    }
}

/// The sum of all values of an object of USAGE.
fn sum<'a>(usages: impl IntoIterator<Item = &'a Value>) -> [u64; 8] {
    usages.into_iter().map(counts).fold([0; 8], |mut all, one| {
        all.iter_mut().zip(one).for_each(|(a, b)| *a += b);
        all
    })
}

fn values(map: &Value) -> Vec<&Value> {
    map.as_object()
        .unwrap_or_else(|| panic!("no object: {map}"))
        .values()
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_is_what_the_ledger_says() {
    let world = World::start().await;
    let mut secrets = BTreeMap::new();
    for name in ["ann", "ben"] {
        let (info, secret) = world.app.keys.create(NewKey::named(name), now()).unwrap();
        secrets.insert(info.id, secret.reveal().to_owned());
    }
    let mut by_key: BTreeMap<&str, u64> = BTreeMap::new();
    let mut fell_back = 0;
    for n in 0..30 {
        let (id, secret) = secrets.iter().nth(n % 2).unwrap();
        let model = ["claude-sonnet-4-6", "fast", "claude-opus-4-6-thinking"][n % 3];
        // Some fall back before they are answered; `fast` has no second tier.
        let falls_back = n % 5 == 0 && model != "fast";
        let faults = falls_back.then(|| Fault::new("*", FaultKind::Overloaded529).times(1));
        world
            .handle()
            .set_faults(faults.into_iter().collect())
            .unwrap();
        world.app.book.clear(None, None);
        let request = world
            .client
            .post(world.url("/v1/messages"))
            .bearer_auth(secret);
        let body = ask(model, n % 4 < 2).to_string();
        let answer = Answer::read(request.body(body).send().await.unwrap()).await;
        assert_eq!(answer.status, 200, "{n}: {}", answer.text());
        fell_back += u64::from(falls_back);
        *by_key.entry(id).or_default() += 1;
    }
    // One without a key is not counted; one that is no JSON is an error.
    let address = world.app.address;
    let (id, secret) = secrets.first_key_value().unwrap();
    assert_eq!(
        curl(address, "POST", "/v1/messages", "", Some("{}"))
            .await
            .status,
        401
    );
    assert_eq!(
        curl(address, "POST", "/v1/messages", secret, Some("{"))
            .await
            .status,
        400
    );
    *by_key.entry(id).or_default() += 1;

    eventually("all are counted", Duration::from_secs(5), async || {
        let usage = world.admin_get("/admin/usage").await;
        usage["total"]["requests"].as_u64().unwrap() >= 31
    })
    .await;
    let usage = world.admin_get("/admin/usage").await;
    let sent = world.handle().totals();
    let total = counts(&usage["total"]);
    assert_eq!(total[..4], [31, 1, fell_back, 0], "{usage}");
    assert_eq!(tokens(&usage["total"]), sent.tokens, "{usage}");
    assert_eq!(usage["total"]["cost_usd"], Value::Null);
    for (model, told) in &sent.models {
        assert_eq!(
            tokens(&usage["models"][model]),
            told.tokens,
            "{model}: {usage}"
        );
        let answered = counts(&usage["models"][model]);
        assert_eq!(answered[0], told.finished, "{model}: {usage}");
    }
    for (id, made) in by_key {
        assert_eq!(counts(&usage["keys"][id])[0], made, "{usage}");
        let path = format!("/admin/keys/{id}/usage");
        let own = curled(address, 200, ("GET", &path, &world.admin, None)).await;
        let all = counts(&usage["keys"][id]);
        assert_eq!(counts(&own["total"]), all, "{own}");
        for part in ["models", "days", "hours"] {
            assert_eq!(sum(values(&own[part])), all, "{part}: {own}");
        }
        let me = curled(address, 200, ("GET", "/me/usage", &secrets[id], None)).await;
        assert_eq!(me, own);
    }
    assert_eq!(sum(values(&usage["keys"])), total, "{usage}");
    assert_eq!(sum(values(&usage["models"])), total, "{usage}");
    for (path, list, label) in [
        ("/admin/usage/daily", "days", "date"),
        ("/admin/usage/hourly", "hours", "hour"),
    ] {
        let series = world.admin_get(path).await;
        let slots = series[list].as_array().unwrap();
        assert_eq!(
            sum(slots.iter().map(|slot| &slot["total"])),
            total,
            "{series}"
        );
        assert_eq!(
            sum(slots.iter().flat_map(|slot| values(&slot["models"]))),
            total,
            "{series}"
        );
        assert_eq!(
            sum(slots.iter().flat_map(|slot| values(&slot["keys"]))),
            total,
            "{series}"
        );
        assert!(slots.iter().all(|slot| slot[label].is_string()), "{series}");
        let csv = curl(
            address,
            "GET",
            &format!("{path}?format=csv"),
            &world.admin,
            None,
        )
        .await;
        assert!(csv.header("content-type").starts_with("text/csv"), "{path}");
        assert_eq!(sum_csv(&csv.text(), label), total, "{path}: {}", csv.text());
    }
    world.stop().await;
}

fn sum_csv(csv: &str, label: &str) -> [u64; 8] {
    let mut lines = csv.lines();
    let head: Vec<&str> = lines.next().unwrap().split(',').collect();
    assert_eq!(head[..3], [label, "key", "model"]);
    assert_eq!(head[3..11], COUNTS);
    lines.fold([0; 8], |mut all, line| {
        let row: Vec<&str> = line.split(',').collect();
        for (sum, field) in all.iter_mut().zip(&row[3..11]) {
            *sum += field.parse::<u64>().unwrap();
        }
        all
    })
}

/// A failed request has no tokens of its own, and is counted on its first tier.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_attempts_used_is_not_the_clients() {
    let world = World::start().await;
    // Before the first content, but after message_start has told the input tokens.
    let fault = Fault::new("*", FaultKind::ErrorEvent).at_event(1);
    world.handle().set_faults(vec![fault.times(3)]).unwrap();
    let failed = world.post(&ask("claude-sonnet-4-6", true)).await;
    assert_eq!(failed.status, 500, "{}", failed.text());
    world.app.book.clear(None, None);
    let answer = world.post(&ask("claude-sonnet-4-6", true)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-luna-served-model"), "gemini-3-flash");
    eventually("both are counted", Duration::from_secs(5), async || {
        let usage = world.admin_get("/admin/usage").await;
        usage["total"]["requests"].as_u64().unwrap() >= 2
    })
    .await;
    let usage = world.admin_get("/admin/usage").await;
    let first = counts(&usage["models"]["claude-sonnet-4-6"]);
    assert_eq!(
        (first[0], first[1], first[4..].iter().sum::<u64>()),
        (1, 1, 0),
        "{usage}"
    );
    let second = &usage["models"]["gemini-3-flash"];
    let entry = world.handle().messages().pop().unwrap();
    assert_eq!(tokens(second), entry.progress.tokens, "{usage}");
    assert_eq!(counts(second)[..4], [1, 0, 1, 0], "{usage}");

    let metrics = world.metrics().await;
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with("luna_attempt_tokens_total"));
    let lost: u64 = lines
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    let sent = world.handle().totals().tokens;
    let all = sent.input + sent.output + sent.cache_read + sent.cache_creation;
    let counted: u64 = counts(&usage["total"])[4..].iter().sum();
    assert_eq!(
        lost + counted,
        all,
        "every token is the client's or a failed attempt's"
    );
    world.stop().await;
}
