//! The tables `[upstreams.NAME]` as `Upstream`.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::build::Build;
use super::upstream::{BaseUrl, Capabilities, Health, Http2, Limits, Profile, Reasoning, Upstream};
use super::value::Val;

/// Headers that belong to the connection or to the body and so cannot be set for an upstream. accept-encoding too:
/// Luna reads the answers, so they must come plain.
const OWN_HEADERS: [&str; 13] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Antigravity closes idle connections after so long.
const ANTIGRAVITY_IDLE: Duration = Duration::from_secs(5);

impl Build<'_> {
    pub(super) fn upstream(&mut self, name: &str) -> Upstream {
        let at = |setting: &str| format!("upstreams.{name}.{setting}");
        let v = self.values;
        let profile = match v.text(&at("profile")) {
            Some("anthropic") => Profile::Anthropic,
            Some("openai") => Profile::Openai,
            _ => Profile::Antigravity,
        };
        let health = match v.text(&at("health")) {
            Some("none") => Health::None,
            _ => Health::Antigravity,
        };
        let max_idle = v.time(&at("max_idle_s"));
        if profile == Profile::Antigravity && max_idle >= ANTIGRAVITY_IDLE {
            let what = "Antigravity closes idle connections after 5 s, so some requests will find theirs closed";
            self.warnings
                .push(format!("{} is 5 s or more: {what}", at("max_idle_s")));
        }
        let limit = |setting: &str| v.time(&at(&format!("limits.{setting}")));
        let flag = |setting: &str| v.flag(&at(setting));
        let capabilities = Capabilities {
            tool_choice: flag("tool_choice"),
            stop_sequences: flag("stop_sequences"),
            output_config: flag("output_config"),
            text_documents: flag("text_documents"),
            mid_system: flag("mid_system"),
            url_images: flag("url_images"),
            service_tier: flag("service_tier"),
            exclusive_sampling: flag("exclusive_sampling"),
            adaptive_thinking: flag("adaptive_thinking"),
            max_output: v
                .entries(&at("max_output"))
                .filter_map(|(model, value, _)| match value {
                    Val::Int(tokens) => Some((model.to_owned(), *tokens)),
                    _ => None,
                })
                .collect(),
            reasoning: match v.get(&at("reasoning")) {
                Some((Val::Flag(flag), _)) => Some(Reasoning::Flag(*flag)),
                Some((Val::List(models), _)) => Some(Reasoning::Models(models.clone())),
                _ => None,
            },
        };
        Upstream {
            name: name.to_owned(),
            url: self.url(&at("url"), profile),
            profile,
            health,
            http2: match v.text(&at("http2")) {
                Some("always") => Http2::Always,
                Some("never") => Http2::Never,
                _ => Http2::Auto,
            },
            api_key: self.header_secret(&at("api_key")),
            health_password: self.header_secret(&at("health_password")),
            headers: self.headers(&at("headers")),
            max_idle,
            limits: Limits {
                connect: limit("connect_s"),
                first_event: limit("first_event_s"),
                last_first_event: limit("last_first_event_s"),
                first_answer: limit("first_answer_s"),
                idle: limit("idle_s"),
                total: limit("total_s"),
            },
            capabilities,
        }
    }

    fn url(&mut self, name: &str, profile: Profile) -> BaseUrl {
        let text = self.values.text(name).unwrap_or_default();
        let mut url = BaseUrl::parse(text).unwrap_or_else(|what| {
            self.problem(name, what);
            BaseUrl {
                tls: false,
                host: "localhost".to_owned(),
                port: 8080,
                prefix: String::new(),
            }
        });
        let versioned = url.prefix.strip_suffix("/v1").map(str::to_owned);
        match (profile, versioned) {
            (Profile::Openai, None) => {
                self.warnings.push(format!(
                    "{name} does not end in /v1, as the base URL of an OpenAI upstream mostly does"
                ));
            }
            (Profile::Antigravity | Profile::Anthropic, Some(prefix)) => {
                let profile = profile.as_str();
                self.warnings.push(format!(
                    "{name} ends in /v1, which is left out: with {profile} Luna adds it itself"
                ));
                url.prefix = prefix;
            }
            _ => {}
        }
        url
    }

    fn headers(&mut self, map: &str) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
        for (key, value, origin) in self.values.entries(map) {
            let Val::Secret(text) = value else { continue };
            let outcome = match (
                key.parse::<HeaderName>(),
                HeaderValue::from_str(text.expose()),
            ) {
                (Ok(name), _) if OWN_HEADERS.contains(&name.as_str()) => {
                    Err("is a header that Luna sets itself")
                }
                (Ok(name), _) if headers.iter().any(|(known, _)| *known == name) => {
                    Err("is given twice")
                }
                (Ok(name), Ok(value)) => Ok((name, value)),
                (Err(_), _) => Err("is not a header's name"),
                (_, Err(_)) => Err("has a value that cannot stand in a header"),
            };
            match outcome {
                Ok((name, mut value)) => {
                    // Such headers often are keys.
                    value.set_sensitive(true);
                    headers.push((name, value));
                }
                Err(what) => self
                    .problems
                    .push(origin.problem(format!("{map}.{} {what}", super::source::shown(key)))),
            }
        }
        headers
    }
}
