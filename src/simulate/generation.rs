//! Which upstream is simulated, and what follows from that alone.

/// Which upstream is simulated; they differ in how they fail (antigravity.md, first table).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// npm 2.0.4: stream headers at once, failures as an error event in a 200.
    V2_0,
    /// GitHub 2.7.7: headers only with the first event, failures as JSON with a status.
    V2_7,
    /// The plain Anthropic API: what Antigravity silently drops (`tool_choice`, `stop_sequences`, `output_config`,
    /// `thinking`) is obeyed; no accounts and no quotas.
    Anthropic,
    /// The OpenAI API: `POST /v1/chat/completions` instead of `/v1/messages`; no accounts and no quotas.
    OpenAi,
}

impl Generation {
    /// Reads the value of `--generation`: `2.0`, `2.7`, `anthropic` or `openai`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "2.0" => Some(Self::V2_0),
            "2.7" => Some(Self::V2_7),
            "anthropic" => Some(Self::Anthropic),
            "openai" => Some(Self::OpenAi),
            _ => None,
        }
    }

    /// The version that `/api/config` reports; the dialect of the plain APIs.
    pub fn version(self) -> &'static str {
        match self {
            Self::V2_0 => "2.0.4",
            Self::V2_7 => "2.7.7",
            Self::Anthropic => "messages",
            Self::OpenAi => "chat completions",
        }
    }

    /// What the default text of an answer calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V2_0 | Self::V2_7 => "Antigravity",
            Self::Anthropic => "Anthropic API",
            Self::OpenAi => "OpenAI API",
        }
    }

    /// Does it do what `tool_choice`, `stop_sequences`, `output_config` and `thinking` say? Antigravity does not.
    pub(super) fn obeys(self) -> bool {
        matches!(self, Self::Anthropic | Self::OpenAi)
    }

    pub(super) fn messages_path(self) -> &'static str {
        match self {
            Self::OpenAi => "/v1/chat/completions",
            _ => "/v1/messages",
        }
    }

    pub(super) fn id_prefix(self) -> &'static str {
        match self {
            Self::OpenAi => "chatcmpl-",
            _ => "msg_",
        }
    }

    pub(super) fn call_prefix(self) -> &'static str {
        match self {
            Self::OpenAi => "call_",
            _ => "toolu_",
        }
    }

    /// The models that this generation documents (antigravity.md section 5); some of those of the plain APIs.
    pub fn default_models(self) -> Vec<String> {
        let names: &[&str] = match self {
            Self::V2_0 => &[
                "claude-opus-4-5-thinking",
                "claude-sonnet-4-5-thinking",
                "claude-sonnet-4-5",
                "gemini-3-pro-high",
                "gemini-3-pro-low",
                "gemini-3-flash",
                "gemini-2.5-flash-lite",
            ],
            Self::V2_7 => &[
                "claude-opus-4-6-thinking",
                "claude-sonnet-4-6-thinking",
                "claude-sonnet-4-6",
                "gemini-3.1-pro-high",
                "gemini-3.1-pro-low",
                "gemini-3-flash",
                "gemini-3.5-flash-low",
                "gemini-2.5-pro",
                "gemini-2.5-flash",
                "gemini-2.5-flash-thinking",
                "gemini-2.5-flash-lite",
                "gemini-3-flash-agent",
                "gemini-pro-agent",
                "gemini-3.1-flash-lite",
                "gemini-3.1-flash-image",
            ],
            Self::Anthropic => &[
                "claude-opus-4-6",
                "claude-opus-4-6-thinking",
                "claude-sonnet-4-6",
                "claude-haiku-4-5",
            ],
            Self::OpenAi => &[
                "gpt-5.2",
                "gpt-5-mini",
                "gpt-4.1",
                "gpt-4o",
                "gpt-4o-mini",
                "o4-mini",
            ],
        };
        names.iter().map(|name| (*name).to_owned()).collect()
    }
}
