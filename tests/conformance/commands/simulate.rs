//! `luna simulate`.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::luna;
use crate::support::{binary, world};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simulate_is_the_upstream_alone() {
    let client = world::client();
    for (generation, version) in [("2.0", "2.0.4"), ("2.7", "2.7.7")] {
        let mut child = Command::new(binary::path())
            .args([
                "simulate",
                "--port",
                "0",
                "--generation",
                generation,
                "--time-scale",
                "0.01",
            ])
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        let url = line
            .strip_prefix("url ")
            .and_then(|rest| rest.split_whitespace().next())
            .unwrap_or_else(|| panic!("{line}"));
        assert!(
            url.starts_with("http://127.0.0.1:") && line.contains(version),
            "{line}"
        );
        let get = |path: &str| client.get(format!("{url}{path}")).send();
        let health: Value = get("/health").await.unwrap().json().await.unwrap();
        assert!(health["accounts"].is_array(), "{health}");
        let model = health["accounts"][0]["models"]
            .as_object()
            .unwrap()
            .keys()
            .next()
            .unwrap()
            .clone();
        let put = client
            .put(format!("{url}/__sim/quota/alice@example.com/{model}"))
            .json(&json!({"remainingFraction": 0.25}));
        assert_eq!(put.send().await.unwrap().status(), 200);
        let health: Value = get("/health").await.unwrap().json().await.unwrap();
        assert_eq!(
            health["accounts"][0]["models"][&model]["remainingFraction"], 0.25,
            "{health}"
        );
        let faults = client
            .put(format!("{url}/__sim/faults"))
            .json(&json!([{"model": model, "fault": "overloaded_529", "times": 1}]));
        assert_eq!(faults.send().await.unwrap().status(), 200);
        let ask = || {
            client
                .post(format!("{url}/v1/messages"))
                .json(&world::ask(&model, false))
                .send()
        };
        assert_eq!(ask().await.unwrap().status(), 529);
        assert_eq!(ask().await.unwrap().status(), 200);
        let ledger: Value = get("/__sim/ledger").await.unwrap().json().await.unwrap();
        assert_eq!(
            ledger["totals"]["models"][&model]["requests"], 2,
            "{ledger}"
        );
        assert_eq!(
            client
                .post(format!("{url}/__sim/reset"))
                .send()
                .await
                .unwrap()
                .status(),
            200
        );
        let ledger: Value = get("/__sim/ledger").await.unwrap().json().await.unwrap();
        assert_eq!(ledger["totals"]["requests"], 0, "{ledger}");
        // A second one on the same port says so and ends.
        let port = url.rsplit(':').next().unwrap();
        let taken = luna(Path::new("."), &["simulate", "--port", port], &[])
            .await
            .expect(1);
        assert!(
            taken.err.contains(port) && taken.err.contains("--port"),
            "{taken:?}"
        );
        child.kill().unwrap();
        child.wait().unwrap();
    }
    luna(Path::new("."), &["simulate", "--generation", "3.0"], &[])
        .await
        .expect(2);
}
