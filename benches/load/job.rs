//! What the harness asks of the driver, and what it gets back; JSON between the two.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// What is asked, and how often.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The system under test.
    pub target: SocketAddr,
    /// Its client key.
    pub key: String,
    /// Model in the request.
    pub model: String,
    /// What each request's body is made of.
    pub body: Body,
    /// Its length.
    pub body_bytes: usize,
    /// Events of each answer; 0 asks for one JSON message.
    pub events: u32,
    /// Pause before each event.
    pub gap_us: u32,
    /// As an OpenAI client asks, so that the answer has to be converted.
    #[serde(default)]
    pub chat: bool,
    /// With the headers that the Anthropic SDK adds.
    pub sdk_headers: bool,
    pub connections: usize,
    pub way: Way,
    /// Process ids whose CPU and memory are read.
    pub watch: Vec<u32>,
}

/// What a request body is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Body {
    /// As agents send them: tools with long descriptions and schemas, turns with files in them. Four fifths of it is
    /// text with escapes, in strings of kilobytes.
    Agent,
    /// Nothing but short strings and brackets: the worst for a scanner.
    Dense,
}

/// How the requests are spread in time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Way {
    /// Each connection asks again as soon as it has its answer.
    Closed { warmup: u64, requests: u64 },
    /// So many requests a second, over all connections.
    Rate { per_s: u32, seconds: f64 },
    /// Every connection holds one stream; read out after so many seconds.
    Hold { seconds: f64 },
}

/// What came of a [`Job`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Answers within the measured time.
    pub requests: u64,
    /// Events within the measured time.
    pub events: u64,
    pub seconds: f64,
    /// Of the watched processes, in their order.
    pub cpu: Vec<Cpu>,
    /// Of the watched processes, at the end.
    pub memory: Vec<Memory>,
    /// Of the driver itself.
    pub driver_cpu: Cpu,
    /// Microseconds to the first content.
    pub first_us: Quantiles,
    /// Microseconds to the last byte.
    pub last_us: Quantiles,
}

/// Points of a distribution.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Quantiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub max: f64,
}

/// CPU time of all threads of a process since its start, or a difference of two such.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Cpu {
    /// In user mode, seconds, from `stat`.
    pub user_s: f64,
    /// In the kernel, seconds, from `stat`.
    pub system_s: f64,
    /// Both together, seconds, from the scheduler's nanoseconds: what ratios are made of.
    pub total_s: f64,
}

/// Memory of a process, in KiB.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Memory {
    /// All that is resident.
    pub rss_kib: u64,
    /// Of it, heap and stacks.
    pub anon_kib: u64,
    /// The most that was ever resident.
    pub peak_kib: u64,
}
