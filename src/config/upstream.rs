//! `[upstreams.NAME]`: where a model provider is, what it speaks, and how long it may take.

use std::fmt;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

use super::secret::Secret;
use crate::routing::pattern_matches;
use crate::wire::convert;

/// One upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    pub name: String,
    pub url: BaseUrl,
    pub profile: Profile,
    pub health: Health,
    pub http2: Http2,
    pub api_key: Option<Secret>,
    /// Sent as `x-webui-password` with the health poll
    pub health_password: Option<Secret>,
    /// Sent last with every request; marked sensitive, so `Debug` does not show the values
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How long an idle pooled connection is kept
    pub max_idle: Duration,
    pub limits: Limits,
    pub capabilities: Capabilities,
}

/// What an upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Anthropic Messages by antigravity-claude-proxy, which drops some fields
    Antigravity,
    /// Anthropic Messages in full
    Anthropic,
    /// OpenAI Chat Completions
    Openai,
}

impl Upstream {
    /// What this upstream can carry for `model`: its profile's capabilities and what is set beside them.
    pub fn capabilities_for(&self, model: &str) -> convert::Capabilities {
        let base = match self.profile {
            Profile::Antigravity => convert::Capabilities::ANTIGRAVITY,
            Profile::Anthropic => convert::Capabilities::ANTHROPIC,
            Profile::Openai => convert::Capabilities::OPENAI,
        };
        let set = &self.capabilities;
        let largest = set
            .max_output
            .iter()
            .filter(|(pattern, _)| pattern_matches(pattern, model))
            .max_by_key(|(pattern, _)| pattern.len());
        convert::Capabilities {
            tool_choice: set.tool_choice.unwrap_or(base.tool_choice),
            stop_sequences: set.stop_sequences.unwrap_or(base.stop_sequences),
            output_config: set.output_config.unwrap_or(base.output_config),
            text_documents: set.text_documents.unwrap_or(base.text_documents),
            mid_system: set.mid_system.unwrap_or(base.mid_system),
            url_images: set.url_images.unwrap_or(base.url_images),
            service_tier: set.service_tier.unwrap_or(base.service_tier),
            exclusive_sampling: set.exclusive_sampling.unwrap_or(base.exclusive_sampling),
            adaptive_thinking: set.adaptive_thinking.unwrap_or(base.adaptive_thinking),
            max_output: largest.map(|(_, tokens)| *tokens).or(base.max_output),
            reasoning: match &set.reasoning {
                None => base.reasoning,
                Some(Reasoning::Flag(flag)) => *flag,
                Some(Reasoning::Models(patterns)) => patterns
                    .iter()
                    .any(|pattern| pattern_matches(pattern, model)),
            },
        }
    }
}

impl Profile {
    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Antigravity => "antigravity",
            Self::Anthropic => "anthropic",
            Self::Openai => "openai",
        }
    }
}

/// Which HTTP version an upstream is spoken to with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http2 {
    /// HTTP/2 where TLS negotiates it, else HTTP/1.1
    Auto,
    /// HTTP/2 alone, without TLS by prior knowledge
    Always,
    /// HTTP/1.1 alone
    Never,
}

/// How an upstream's quotas are learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// `GET /health` of antigravity-claude-proxy
    Antigravity,
    /// Not at all: quotas are unknown
    None,
}

/// Time limits of one attempt (contract, section 5), counted from the moment the request is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub connect: Duration,
    pub first_event: Duration,
    /// `first_event` for the last candidate of a chain
    pub last_first_event: Duration,
    /// For an answer that does not stream, while further tiers remain
    pub first_answer: Duration,
    pub idle: Duration,
    /// For an answer that does not stream, from the last tier
    pub total: Duration,
}

/// Single capabilities that differ from the profile's; `None` = as the profile has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    pub tool_choice: Option<bool>,
    pub stop_sequences: Option<bool>,
    pub output_config: Option<bool>,
    pub text_documents: Option<bool>,
    pub mid_system: Option<bool>,
    pub url_images: Option<bool>,
    pub service_tier: Option<bool>,
    pub exclusive_sampling: Option<bool>,
    pub adaptive_thinking: Option<bool>,
    /// (model pattern, tokens), the longest matching pattern decides; a bare number in the file is the pattern `*`
    pub max_output: Vec<(String, u64)>,
    pub reasoning: Option<Reasoning>,
}

/// Which models of an upstream reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reasoning {
    /// All or none.
    Flag(bool),
    /// Those that match one of the patterns.
    Models(Vec<String>),
}

/// The parsed `url` of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// `https`
    pub tls: bool,
    /// Name or address; an IPv6 address without its brackets
    pub host: String,
    pub port: u16,
    /// What stands before the route: empty, or `/...` without a slash at its end
    pub prefix: String,
}

impl BaseUrl {
    /// Reads a base URL. The error says what is wrong with it and never repeats a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        if !lower.starts_with("http://") && !lower.starts_with("https://") {
            return Err("must begin with http:// or https://".to_owned());
        }
        if text.contains('#') {
            return Err("must not have a fragment".to_owned());
        }
        let uri: Uri = text
            .trim()
            .parse()
            .map_err(|error| format!("is not a URL: {error}"))?;
        let authority = uri
            .authority()
            .map(http::uri::Authority::as_str)
            .unwrap_or_default();
        if authority.contains('@') {
            return Err("must not hold a user or password; use api_key or headers".to_owned());
        }
        if uri.query().is_some() {
            return Err("must not have a query".to_owned());
        }
        let tls = lower.starts_with("https://");
        let bare = uri.host().unwrap_or_default();
        let host = bare.trim_start_matches('[').trim_end_matches(']');
        let named = !bare.starts_with('[')
            && !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        let address = bare.starts_with('[') && host.parse::<std::net::Ipv6Addr>().is_ok();
        if !named && !address {
            return Err("has no host that could be asked".to_owned());
        }
        let port = match authority.strip_prefix(bare) {
            Some("") => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(rest) => match rest
                .strip_prefix(':')
                .and_then(|port| port.parse::<u16>().ok())
            {
                Some(port) if port > 0 => port,
                _ => return Err("has a port outside 1 to 65535".to_owned()),
            },
            None => return Err("is not a URL".to_owned()),
        };
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Self {
            tls,
            host: host.to_ascii_lowercase(),
            port,
            prefix,
        })
    }

    /// Host and port as they stand in a `Host` header: brackets around IPv6, no default port.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        let default = if self.tls { 443 } else { 80 };
        if self.port == default {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.prefix)
    }
}
