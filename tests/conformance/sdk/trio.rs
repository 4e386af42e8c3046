//! A gateway in front of one upstream of each kind, so that one script can ask the same of all: Antigravity as the
//! default upstream, the plain Anthropic API as `plain`, the OpenAI API as `other`.
//!
//! All three are strict, and [`Trio::stop`] fails when one of them had to refuse a request.

use luna::simulate::{Entry, Fault, Generation, Handle, Running, SimConfig, spawn};
use serde_json::{Value, json};

use crate::support::world::{Setup, World};

pub struct Trio {
    pub world: World,
    pub plain: Running,
    pub other: Running,
}

/// Each cell's name, and what a client has to ask for to get there.
pub const CELLS: [Cell; 3] = [
    Cell {
        name: "antigravity",
        model: "claude-sonnet-4-6",
        served: "claude-sonnet-4-6",
        thinks: "claude-opus-4-6-thinking",
    },
    Cell {
        name: "plain",
        model: "plain-sonnet",
        served: "claude-sonnet-4-6",
        thinks: "plain-opus",
    },
    Cell {
        name: "other",
        model: "gpt",
        served: "gpt-4o",
        thinks: "gpt-thinks",
    },
];

#[derive(Clone, Copy, Debug)]
pub struct Cell {
    pub name: &'static str,
    pub model: &'static str,
    /// The model's name at the upstream.
    pub served: &'static str,
    /// A model that can think.
    pub thinks: &'static str,
}

/// The cells as the scripts get them.
pub fn cells() -> String {
    let cells = CELLS.iter().map(|cell| {
        json!({"name": cell.name, "model": cell.model, "served": cell.served, "thinks": cell.thinks})
    });
    Value::from_iter(cells).to_string()
}

fn config(generation: Generation) -> SimConfig {
    SimConfig {
        strict: true,
        time_scale: 0.02,
        keep_bodies: 64 << 20,
        ..SimConfig::new(generation)
    }
}

/// The section of an upstream that no test has to wait for: what hangs is given up soon.
fn hasty(name: &str, url: &str, profile: &str) -> String {
    format!(
        "[upstreams.{name}]\nurl = \"{url}\"\nprofile = \"{profile}\"\nhealth = \"none\"\n\
         [upstreams.{name}.limits]\nconnect_s = 30\nfirst_event_s = 0.3\nlast_first_event_s = 0.3\n\
         first_answer_s = 0.3\nidle_s = 0.5\ntotal_s = 1.0\n"
    )
}

impl Trio {
    pub async fn start() -> Self {
        Self::with("", json!({})).await
    }

    /// `server` are lines within `[server]`, `chains` more chains.
    pub async fn with(server: &str, chains: Value) -> Self {
        Self::of(Generation::V2_7, server, chains).await
    }

    /// With this generation of Antigravity.
    pub async fn of(antigravity: Generation, server: &str, chains: Value) -> Self {
        let plain = spawn(config(Generation::Anthropic)).await.unwrap();
        let other = spawn(config(Generation::OpenAi)).await.unwrap();
        let (at_plain, at_other) = (plain.url(), format!("{}/v1", other.url()));
        let patient = |name: &str, url: &str, profile: &str| {
            format!(
                "[upstreams.{name}]\nurl = \"{url}\"\nprofile = \"{profile}\"\nhealth = \"none\"\n\
                 [upstreams.{name}.limits]\nconnect_s = 30\n"
            )
        };
        let mut all = json!({
            "plain-sonnet": [{"model": "claude-sonnet-4-6", "upstream": "plain"}],
            "plain-opus": [{"model": "claude-opus-4-6-thinking", "upstream": "plain"}],
            "gpt": [{"model": "gpt-4o", "upstream": "other"}],
            "gpt-thinks": [{"model": "gpt-5.2", "upstream": "other"}],
        });
        for (name, chain) in chains.as_object().unwrap() {
            all[name] = chain.clone();
        }
        let setup = Setup {
            sim: config(antigravity),
            server: server.to_owned(),
            upstream: "limits.connect_s = 30".to_owned(),
            toml: [
                patient("plain", &at_plain, "anthropic"),
                patient("other", &at_other, "openai"),
                hasty("hasty-plain", &at_plain, "anthropic"),
                hasty("hasty-other", &at_other, "openai"),
                hasty("nobody-plain", "http://127.0.0.1:1", "anthropic"),
                hasty("nobody-other", "http://127.0.0.1:1/v1", "openai"),
            ]
            .concat(),
            fallback: json!({"chains": all}).to_string(),
        };
        Self {
            world: World::with(setup).await,
            plain,
            other,
        }
    }

    /// The upstream of a cell.
    pub fn handle(&self, cell: &str) -> &Handle {
        match cell {
            "plain" => self.plain.handle(),
            "other" => self.other.handle(),
            _ => self.world.handle(),
        }
    }

    pub fn set_faults(&self, cell: &str, faults: Vec<Fault>) {
        self.handle(cell).set_faults(faults).unwrap();
    }

    /// What a cell's upstream was asked, oldest first.
    pub fn asked(&self, cell: &str) -> Vec<(Entry, String)> {
        let handle = self.handle(cell);
        let entries = handle.ledger().entries.into_iter();
        entries
            .filter(|entry| entry.method == "POST")
            .map(|entry| {
                let body = handle.body(entry.seq).unwrap_or_default();
                let body = String::from_utf8(body.to_vec()).unwrap();
                (entry, body)
            })
            .collect()
    }

    /// Ends all, after a look at what the strict upstreams had to refuse.
    pub async fn stop(self) {
        for cell in CELLS {
            let handle = self.handle(cell.name);
            let refused: Vec<_> = handle
                .ledger()
                .entries
                .into_iter()
                .filter_map(|entry| {
                    let why = entry.progress.refused?;
                    let body = handle.body(entry.seq).unwrap_or_default();
                    Some(format!("{why}\n{}", String::from_utf8_lossy(&body)))
                })
                .collect();
            assert_eq!(
                handle.totals().refused,
                0,
                "{} refused: {refused:#?}",
                cell.name
            );
        }
        self.world.stop().await;
        self.plain.stop().await;
        self.other.stop().await;
    }
}
