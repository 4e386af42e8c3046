//! Costs: which price holds, unknown costs, and sums.

use super::*;

fn price(model: &str, from: Option<&str>, input: f64) -> Price {
    Price {
        model: model.to_owned(),
        from: from.map(|date| date.parse().unwrap()),
        input,
        output: 2.0 * input,
        cache_read: input / 10.0,
        cache_write: 0.0,
    }
}

fn prices() -> Arc<Prices> {
    Arc::new(Prices::new(vec![
        price("claude-*", None, 1.0),
        price("claude-opus-*", None, 10.0),
        price("claude-opus-*", Some("2026-11-24"), 20.0),
        price("claude-opus-4", Some("2026-11-24"), 100.0),
        price("gemini", Some("2026-11-24"), 5.0),
    ]))
}

/// What a request costs: 10 input, 3 output and 100 cache read tokens.
fn cost(input: f64) -> Option<f64> {
    let dollars = (10.0 * input + 3.0 * 2.0 * input + 100.0 * input / 10.0) / 1e6;
    Some((dollars * 1e9).round() / 1e9)
}

fn shown(usage: &Usage) -> Option<f64> {
    usage.shown_cost()
}

#[test]
fn the_nearest_price_of_the_day_holds() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    for model in [
        "claude-sonnet",
        "claude-opus-5",
        "claude-opus-4",
        "gemini",
        "other",
    ] {
        store.apply(&request(NOW, "key_a", model));
        store.apply(&request(NOW - DAY, "key_b", model));
    }
    let daily = all_days(&store);
    assert!(
        daily
            .days
            .iter()
            .all(|day| day.sums.total.cost_usd.is_none())
    );
    store.set_prices(prices());
    let days = all_days(&store).days;
    let of = |day: usize, model: &str| shown(&days[day].sums.models[model]);
    assert_eq!(of(0, "claude-sonnet"), cost(1.0));
    assert_eq!(of(0, "claude-opus-5"), cost(10.0));
    assert_eq!(of(1, "claude-opus-5"), cost(20.0));
    assert_eq!(
        (of(0, "claude-opus-4"), of(1, "claude-opus-4")),
        (cost(10.0), cost(100.0))
    );
    assert_eq!((of(0, "gemini"), of(1, "gemini")), (None, cost(5.0)));
    assert_eq!((of(0, "other"), of(1, "other")), (None, None));
    // A sum costs what its priced parts cost.
    assert_eq!(shown(&days[0].sums.total), cost(1.0 + 10.0 + 10.0));
    let totals = store.totals();
    let whole = 1.0 + 10.0 + 10.0 + 1.0 + 20.0 + 100.0 + 5.0;
    assert_eq!(shown(&totals.total), cost(whole));
    assert_eq!(shown(&totals.keys["key_b"]), cost(21.0));
    assert_eq!(shown(&totals.models["gemini"]), cost(5.0));
    assert_eq!(shown(&totals.models["other"]), None);
    let zone = store.zone().clone();
    let days = DayRange::parse(None, None, &zone, NOW).unwrap();
    let hours = HourRange::parse(None, None, &zone, NOW).unwrap();
    let key = store.key("key_b", "Bob", days, hours).unwrap();
    assert_eq!(shown(&key.total), cost(21.0));
    assert_eq!(shown(&key.days["2026-11-23"]), cost(21.0));
    assert_eq!(
        serde_json::json!(key)["models"]["other"]["cost_usd"],
        serde_json::Value::Null
    );
    let csv = store.days(days, Some("key_b"), None).csv();
    assert!(
        csv.contains("2026-11-23,key_b,claude-sonnet,1,0,0,0,10,3,100,7,0.000026\n"),
        "{csv}"
    );
    assert!(
        csv.contains("2026-11-23,key_b,other,1,0,0,0,10,3,100,7,\n"),
        "{csv}"
    );
    // Corrected, the past changes too; taken away, nothing is known.
    store.set_prices(Arc::new(Prices::new(vec![price("*", None, 2.0)])));
    assert_eq!(shown(&store.totals().total), cost(20.0));
    store.set_prices(Arc::default());
    assert_eq!(store.totals().total.cost_usd, None);
}

#[test]
fn dropped_days_keep_their_cost() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = params(dir.path(), "UTC");
    kept.keep_days = 2;
    let mut store = Store::open(kept, Known::default()).unwrap();
    store.set_prices(prices());
    store.apply(&request(NOW - 5 * DAY, "key_a", "claude-opus-5"));
    store.compact(NOW, &mut taker()).unwrap();
    assert!(all_days(&store).days.is_empty());
    assert_eq!(shown(&store.totals().keys["key_a"]), cost(10.0));
}
