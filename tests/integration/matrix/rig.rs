//! Asks one cell of the matrix and compares what both sides got.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use luna::simulate::{Entry, Handle, Prediction, SimConfig, predict};
use luna::usage::Counters;
use serde_json::{Value, json};

use super::bodies::{LAYOUTS, Layout, make};
use crate::support::world::Answer;
use crate::support::{eventually, filling};

pub const SIZES: [usize; 5] = [1 << 10, 63 << 10, 65 << 10, 200 << 10, 5 << 20];

/// How a request is sent.
#[derive(Clone, Copy)]
pub struct Cell {
    pub size: usize,
    pub chunked: bool,
    pub h2: bool,
    pub stream: bool,
    pub layout: &'static Layout,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "[{} bytes, {}, {}, {}, {}]",
            self.size,
            if self.chunked {
                "chunked"
            } else {
                "content-length"
            },
            if self.h2 { "h2c" } else { "HTTP/1.1" },
            if self.stream {
                "streaming"
            } else {
                "not streaming"
            },
            self.layout.name
        )
    }
}

/// Every way to send these sizes: all layouts for the small bodies, and for the large ones, which
/// take their time, each layout somewhere.
pub fn cells(sizes: &[usize], streams: &[bool]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (size, chunked, h2, stream) in product(sizes, streams) {
        let turn = cells.len() % LAYOUTS.len();
        let all = size <= 1 << 10;
        let chosen = LAYOUTS
            .iter()
            .enumerate()
            .filter(|(i, _)| all || *i == turn);
        cells.extend(chosen.map(|(_, layout)| Cell {
            size,
            chunked,
            h2,
            stream,
            layout,
        }));
    }
    cells
}

fn product(sizes: &[usize], streams: &[bool]) -> Vec<(usize, bool, bool, bool)> {
    let mut all = Vec::new();
    for &size in sizes {
        for chunked in [false, true] {
            for h2 in [false, true] {
                all.extend(streams.iter().map(|&stream| (size, chunked, h2, stream)));
            }
        }
    }
    all
}

/// Which tiers a cell is to reach, and how it gets there.
pub struct Expected<'a> {
    /// The models that the simulator is asked for, in this order.
    pub asked: &'a [&'a str],
    /// From 1 on.
    pub tier: usize,
    /// As in `x-luna-fallback`.
    pub reasons: &'a str,
    /// `1.1` or `2`, as the simulator saw it.
    pub http: &'a str,
}

/// A gateway, in this process or another one, and its simulated upstream.
pub struct Rig {
    pub url: String,
    pub key: String,
    pub admin: String,
    pub sim: Handle,
    pub config: SimConfig,
    h1: reqwest::Client,
    h2: reqwest::Client,
    /// What `/admin/usage` must say by model.
    usage: BTreeMap<String, Counters>,
}

impl Rig {
    pub fn new(url: String, key: String, admin: String, sim: Handle, config: SimConfig) -> Self {
        // An error means that another test of this process was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = || {
            reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(60))
        };
        Self {
            url,
            key,
            admin,
            sim,
            config,
            h1: client().http1_only().build().unwrap(),
            h2: client().http2_prior_knowledge().build().unwrap(),
            usage: BTreeMap::new(),
        }
    }

    pub async fn admin(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Value {
        let mut request = self.h1.request(method, format!("{}{path}", self.url));
        request = request.header("x-api-key", &self.admin);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = Answer::read(request.send().await.unwrap()).await;
        assert!(
            answer.status < 300,
            "{path}: {} {}",
            answer.status,
            answer.text()
        );
        answer.json()
    }

    /// No marks, no faults, an empty ledger.
    pub async fn afresh(&self) {
        self.sim.reset();
        self.admin(
            reqwest::Method::POST,
            "/admin/fallback/clear",
            Some(json!({})),
        )
        .await;
    }

    pub async fn post(&self, cell: Cell, bytes: Vec<u8>) -> Answer {
        let client = if cell.h2 { &self.h2 } else { &self.h1 };
        let body = if cell.chunked {
            in_pieces(bytes)
        } else {
            bytes.into()
        };
        let request = client
            .post(format!("{}/v1/messages", self.url))
            .header("x-api-key", &self.key)
            .header("content-type", "application/json")
            .body(body);
        let response = request
            .send()
            .await
            .unwrap_or_else(|e| panic!("{cell}: {e:?}"));
        let version = if cell.h2 {
            http::Version::HTTP_2
        } else {
            http::Version::HTTP_11
        };
        assert_eq!(response.version(), version, "{cell}");
        Answer::read(response).await
    }

    /// Sends the cell and compares everything that can be compared.
    pub async fn check(&mut self, cell: Cell, expected: &Expected<'_>) {
        let requested = "claude-first";
        let made = make(cell.layout, requested, cell.stream, cell.size);
        let answer = self.post(cell, made.bytes.clone()).await;
        assert_eq!(answer.status, 200, "{cell}: {}", answer.text());
        assert_eq!(answer.broken, None, "{cell}");

        let entries = self.sim.messages();
        let asked: Vec<&str> = entries.iter().filter_map(|e| e.model.as_deref()).collect();
        assert_eq!(asked, expected.asked, "{cell}: the models that were asked");
        for entry in &entries {
            let model = entry.model.as_deref().unwrap();
            self.compare_upward(cell, entry, &made.for_model(model), expected.http);
        }
        let last = entries.last().unwrap();
        let model = last.model.clone().unwrap();
        let prediction = predict(&self.config, &made.for_model(&model)).unwrap();
        compare_answer(cell, &answer, last, &prediction);
        for (name, value) in [
            ("x-luna-requested-model", requested),
            ("x-luna-served-model", &model),
            ("x-luna-upstream", "default"),
            ("x-luna-tier", &expected.tier.to_string()),
            ("x-luna-fallback", expected.reasons),
            ("request-id", answer.header("x-request-id")),
        ] {
            assert_eq!(answer.header(name), value, "{cell}: {name}");
        }
        let counted = self.usage.entry(model).or_default();
        counted.add(&Counters {
            requests: 1,
            fallbacks: u64::from(!expected.reasons.is_empty()),
            input_tokens: prediction.tokens.input,
            output_tokens: prediction.tokens.output,
            cache_read_input_tokens: prediction.tokens.cache_read,
            cache_creation_input_tokens: prediction.tokens.cache_creation,
            ..Counters::default()
        });
        self.compare_usage(&cell.to_string()).await;
    }

    fn compare_upward(&self, cell: Cell, entry: &Entry, expected: &[u8], http: &str) {
        let model = entry.model.as_deref().unwrap();
        let got = self.sim.body(entry.seq).unwrap_or_default();
        if got != expected {
            let at = got.iter().zip(expected).take_while(|(a, b)| a == b).count();
            let shown = |bytes: &[u8]| {
                let end = bytes.len().min(at + 60);
                String::from_utf8_lossy(&bytes[at.saturating_sub(20)..end]).into_owned()
            };
            panic!(
                "{cell}: {model} got {} bytes for {}, and at {at} {:?} for {:?}",
                got.len(),
                expected.len(),
                shown(&got),
                shown(expected)
            );
        }
        assert_eq!(entry.http, http, "{cell}: to {model}");
        let length = expected.len().to_string();
        assert_eq!(
            entry.headers.get("content-length"),
            Some(&length),
            "{cell}: to {model}"
        );
        assert!(
            !entry.has_x_api_key && !entry.has_authorization,
            "{cell}: to {model}: a key"
        );
        for name in [
            "transfer-encoding",
            "expect",
            "accept-encoding",
            "x-luna-fallback",
        ] {
            assert!(
                !entry.header_names.iter().any(|n| n == name),
                "{cell}: to {model}: {name}"
            );
        }
    }

    /// Waits until as many requests are counted as were made, and compares every number.
    pub async fn compare_usage(&self, cell: &str) {
        let made: u64 = self.usage.values().map(|c| c.requests).sum();
        let seen = async || {
            let usage = self.admin(reqwest::Method::GET, "/admin/usage", None).await;
            let total = usage["total"]["requests"].as_u64().unwrap();
            (total >= made).then_some(usage)
        };
        let what = format!("{cell}: {made} requests are counted");
        eventually(&what, Duration::from_secs(5), async || {
            seen().await.is_some()
        })
        .await;
        let usage = seen().await.unwrap();
        let counted: BTreeMap<String, Counters> = usage["models"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(model, usage)| {
                let mut usage = usage.clone();
                usage.as_object_mut().unwrap().remove("cost_usd");
                (model.clone(), serde_json::from_value(usage).unwrap())
            })
            .collect();
        assert_eq!(counted, self.usage, "{cell}: usage by model");
    }

    /// A request that was refused before any tier was chosen.
    pub fn expect_refused(&mut self) {
        let counted = self.usage.entry("unknown".to_owned()).or_default();
        counted.requests += 1;
        counted.errors += 1;
    }
}

fn compare_answer(cell: Cell, answer: &Answer, entry: &Entry, prediction: &Prediction) {
    let sent = &entry.progress;
    assert!(sent.finished, "{cell}: the last attempt ended");
    assert_eq!(answer.content(), prediction.text, "{cell}: the text");
    assert_eq!(
        answer.body.len() as u64,
        sent.bytes_out + filling(&answer.text()).len() as u64,
        "{cell}: as many bytes as were sent"
    );
    let id = sent.message_id.as_deref().unwrap();
    assert!(
        answer.text().contains(id),
        "{cell}: the last attempt's message"
    );
    if cell.stream {
        assert_eq!(
            answer.events().len() as u64,
            prediction.events,
            "{cell}: events"
        );
        assert!(
            answer
                .header("content-type")
                .starts_with("text/event-stream"),
            "{cell}"
        );
        assert_eq!(answer.header("cache-control"), "no-cache", "{cell}");
        assert_eq!(answer.header("x-accel-buffering"), "no", "{cell}");
        return;
    }
    let json = answer.json();
    assert_eq!(json["model"], prediction.model, "{cell}");
    assert_eq!(
        json["usage"]["output_tokens"], prediction.tokens.output,
        "{cell}"
    );
    assert_eq!(
        answer.header("content-length"),
        answer.body.len().to_string(),
        "{cell}"
    );
    assert!(
        answer
            .header("content-type")
            .starts_with("application/json"),
        "{cell}"
    );
}

/// Of uneven pieces, so that their borders fall anywhere.
fn in_pieces(bytes: Vec<u8>) -> reqwest::Body {
    let mut rest = Bytes::from(bytes);
    let mut sizes = [1, 7, 1000, 16_384, 65_536, 30_000].into_iter().cycle();
    let mut pieces: Vec<Result<Bytes, Infallible>> = Vec::new();
    while !rest.is_empty() {
        let size = sizes.next().unwrap().min(rest.len());
        pieces.push(Ok(rest.split_to(size)));
    }
    reqwest::Body::wrap_stream(stream::iter(pieces))
}
