//! What is measured.

use crate::job::{Body, Job, Way};
use crate::subject::{ALIAS, MODEL, Subject, World};

/// What a scenario's figure is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// CPU of the proxy per request.
    PerRequest,
    /// CPU of the proxy per event of a stream.
    PerEvent,
    /// Time to the first content and to the end, at a rate that leaves every process idle most of the time.
    Latency,
    /// Memory with many slow streams open.
    Memory,
}

/// One measurement.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub label: &'static str,
    pub kind: Kind,
    /// Luna over bare, at most; issue 2.
    pub target: Option<f64>,
    body: Body,
    body_bytes: usize,
    /// The model is an alias, so that Luna has to write another one into the body.
    alias: bool,
    events: u32,
    gap_us: u32,
    /// Luna is asked as by an OpenAI client, and converts; the others relay the same answer of the upstream.
    chat: bool,
    sdk_headers: bool,
    connections: usize,
    way: Way,
}

/// All, in the order of the table.
pub fn all() -> Vec<Scenario> {
    let small = Scenario {
        name: "small",
        label: "1 KB request, small JSON answer",
        kind: Kind::PerRequest,
        target: Some(1.25),
        body: Body::Agent,
        body_bytes: 1024,
        alias: false,
        events: 0,
        gap_us: 0,
        chat: false,
        sdk_headers: false,
        connections: 16,
        way: Way::Closed {
            warmup: 5_000,
            requests: 30_000,
        },
    };
    let large = Scenario {
        name: "large",
        label: "200 KB request, model passed as it is",
        target: Some(1.5),
        body_bytes: 200 << 10,
        connections: 8,
        way: Way::Closed {
            warmup: 1_000,
            requests: 8_000,
        },
        ..small.clone()
    };
    let stream = Scenario {
        name: "stream",
        label: "stream of 100 events, one every 4 ms, 48 at once",
        kind: Kind::PerEvent,
        target: Some(1.15),
        events: 100,
        gap_us: 4_000,
        connections: 48,
        way: Way::Closed {
            warmup: 48,
            requests: 48 * 10,
        },
        ..small.clone()
    };
    let latency = Scenario {
        name: "latency",
        label: "1 KB request, small JSON answer, 200 a second",
        kind: Kind::Latency,
        target: None,
        connections: 16,
        way: Way::Rate {
            per_s: 200,
            seconds: 4.0,
        },
        ..small.clone()
    };
    let plain = small.clone();
    vec![
        small.clone(),
        Scenario {
            name: "small_sdk",
            label: "the same with the headers of the Anthropic SDK",
            sdk_headers: true,
            ..small.clone()
        },
        Scenario {
            name: "small_alias",
            label: "1 KB request, model replaced",
            alias: true,
            ..small
        },
        large.clone(),
        Scenario {
            name: "large_alias",
            label: "200 KB request, model replaced",
            alias: true,
            ..large.clone()
        },
        Scenario {
            name: "large_dense",
            label: "200 KB of short strings only, model replaced: the worst case",
            alias: true,
            body: Body::Dense,
            target: None,
            ..large
        },
        stream.clone(),
        Scenario {
            name: "stream_burst",
            label: "stream of 100 events as fast as they come, 16 at once",
            gap_us: 0,
            connections: 16,
            way: Way::Closed {
                warmup: 100,
                requests: 800,
            },
            ..stream.clone()
        },
        Scenario {
            name: "small_chat",
            label: "1 KB request of an OpenAI client, converted there and back",
            chat: true,
            target: None,
            ..plain
        },
        Scenario {
            name: "stream_chat",
            label: "the stream of 100 events, one every 4 ms, converted for an OpenAI client",
            chat: true,
            target: None,
            ..stream.clone()
        },
        latency.clone(),
        Scenario {
            name: "latency_large",
            label: "200 KB request, small JSON answer, 100 a second",
            body_bytes: 200 << 10,
            way: Way::Rate {
                per_s: 100,
                seconds: 4.0,
            },
            ..latency.clone()
        },
        Scenario {
            name: "latency_stream",
            label: "stream of 20 events as fast as they come, 100 a second; time to the first content",
            events: 20,
            way: Way::Rate {
                per_s: 100,
                seconds: 4.0,
            },
            ..latency
        },
        Scenario {
            name: "memory",
            label: "1,000 streams, one event a second",
            kind: Kind::Memory,
            target: None,
            events: 1_000_000,
            gap_us: 1_000_000,
            connections: 1_000,
            way: Way::Hold { seconds: 20.0 },
            ..stream
        },
    ]
}

impl Scenario {
    /// The driver's order for one subject.
    pub fn job(&self, world: &World, subject: Subject, scale: f64) -> Job {
        let scaled = |n: u64| {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "thousands of requests, times a small factor"
            )]
            let n = (n as f64 * scale) as u64;
            n.max(1)
        };
        let way = match self.way.clone() {
            Way::Closed { warmup, requests } => Way::Closed {
                warmup,
                requests: scaled(requests),
            },
            other => other,
        };
        Job {
            target: world.address(subject),
            key: world.key().to_owned(),
            model: if self.alias { ALIAS } else { MODEL }.to_owned(),
            body: self.body,
            body_bytes: self.body_bytes,
            events: self.events,
            gap_us: self.gap_us,
            chat: self.chat && subject == Subject::Luna,
            sdk_headers: self.sdk_headers,
            connections: self.connections,
            way,
            watch: world.watched(subject),
        }
    }
}
