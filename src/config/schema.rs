//! The one list of all settings: name, kind, default, bounds, whether a reload can change it, and why one would.
//!
//! The loader, the example file, the reference in the docs and the comparison on reload are derived from it.

use super::value::{Kind, Kind::*};

/// One setting of a section.
#[derive(Debug)]
pub(super) struct Setting {
    /// Name within the section.
    pub(super) name: &'static str,
    /// What values it takes, and its default.
    pub(super) kind: Kind,
    /// Whether it only takes effect in a new process.
    pub(super) needs_upgrade: bool,
    /// One line for the example and the reference.
    pub(super) why: &'static str,
}

/// One table of luna.toml. In its name `*` stands for a name of the user's choice.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) why: &'static str,
    pub(super) settings: &'static [Setting],
}

impl Section {
    /// The setting called `name`.
    pub(super) fn setting(&self, name: &str) -> Option<&'static Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }
}

/// The section called `name`, with `*` for a chosen name.
pub(super) fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name)
}

/// The setting of a full name such as `upstreams.default.limits.idle_s`; for a map, of a name within it.
pub(super) fn find(full: &str) -> Option<&'static Setting> {
    if let Some(rest) = full.strip_prefix("upstreams.") {
        let (_, rest) = rest.split_once('.')?;
        if let Some(limit) = rest.strip_prefix("limits.") {
            return section("upstreams.*.limits")?.setting(limit);
        }
        let name = rest.split_once('.').map_or(rest, |(map, _)| map);
        return section("upstreams.*")?.setting(name);
    }
    let (table, name) = full.rsplit_once('.')?;
    section(table)?.setting(name)
}

const fn live(name: &'static str, kind: Kind, why: &'static str) -> Setting {
    Setting {
        name,
        kind,
        needs_upgrade: false,
        why,
    }
}

const fn fixed(name: &'static str, kind: Kind, why: &'static str) -> Setting {
    Setting {
        name,
        kind,
        needs_upgrade: true,
        why,
    }
}

/// A size or count that fits every machine.
const HUGE: u64 = 1 << 40;

// One line for each setting, as in a table.
#[rustfmt::skip]
pub(super) static SECTIONS: &[Section] = &[
    Section {
        name: "server",
        why: "The client side.",
        settings: &[
            fixed("listen", Listen("0.0.0.0:8180"), "Address and port for clients. PROXY_PORT replaces the port."),
            fixed("threads", Int(0, 0, 1024), "Worker threads; 0 means one per core."),
            fixed("grace_s", Secs(300.0, 0.0, 86_400.0), "How long streams may run on after SIGTERM."),
            live("ready_delay_s", Secs(0.0, 0.0, 600.0), "After SIGTERM /ready says 503 for so long before the listeners close, so that a load balancer notices."),
            live("max_body_bytes", Int(52_428_800, 1, 1 << 32), "Larger request bodies get 413."),
            live("body_memory_bytes", Int(1_073_741_824, 1, HUGE), "Budget for all request bodies in memory together; beyond it new ones get 503."),
            live("max_header_bytes", Int(65_536, 256, 1_048_576), "Larger request heads get 431."),
            live("client_header_timeout_s", Secs(10.0, 0.05, 3600.0), "How long a client may take for its request head."),
            live("client_body_timeout_s", Secs(60.0, 0.05, 3600.0), "How long a client may take for its request body before it gets 408; long bodies get more."),
            live("client_write_timeout_s", Secs(60.0, 0.05, 3600.0), "A client that takes no byte for so long is cut."),
            live("client_idle_s", Secs(60.0, 0.0, 86_400.0), "How long an idle client connection is kept open; 0 closes it after each answer."),
            live("max_connections", Int(20_000, 0, 10_000_000), "Client connections at once; 0 means no limit. Each may need two open files."),
            live("max_connections_per_ip", Int(0, 0, 10_000_000), "Client connections at once from one address; 0 means no limit."),
            live("max_in_flight", Int(10_000, 0, 10_000_000), "Requests at once; beyond it they get 503. 0 means no limit."),
            live("request_s", Secs(900.0, 0.05, 86_400.0), "From admission to the first content of the answer, over all tiers; then 504."),
            live("trusted_proxies", List(&[]), "Networks of reverse proxies. Only from them X-Forwarded-For is read, the rightmost untrusted address."),
            live("cors_origins", List(&[]), "Origins whose pages may call the client routes; [\"*\"] for all."),
            fixed("upgrade_sock", Path("<data_dir>/upgrade.sock"), "Where sockets are handed to the next process in an upgrade."),
            fixed("tls_cert", Path(""), "Certificate chain for TLS on server.listen. Not available in this version."),
            fixed("tls_key", Path(""), "Its private key. Not available in this version."),
        ],
    },
    Section {
        name: "admin",
        why: "The admin API and the dashboard.",
        settings: &[
            fixed("listen", Text(""), "An address moves /admin and /dashboard there and away from server.listen; \"\" keeps them on it."),
            live("key", Secret, "The admin key, at least 20 characters. ADMIN_KEY sets it too. Without one the first start makes one and shows it once."),
            live("allow_ips", List(&["127.0.0.0/8", "::1/128"]), "Networks that may use it; others get 404."),
        ],
    },
    Section {
        name: "metrics",
        why: "Prometheus.",
        settings: &[fixed("listen", Text("127.0.0.1:9180"), "Address of /metrics; \"off\" switches it off.")],
    },
    Section {
        name: "quota",
        why: "How the upstreams' quotas are watched.",
        settings: &[
            live("poll_interval_s", Secs(30.0, 0.05, 3600.0), "Time between polls of /health."),
            live("poll_timeout_s", Secs(8.0, 0.05, 300.0), "Limit for one poll."),
            live("stale_after_s", Secs(120.0, 0.05, 86_400.0), "A value that no poll confirmed for so long is unknown, and unknown counts as usable."),
        ],
    },
    Section {
        name: "fallback",
        why: "Chains of tiers, and how long a tier that failed is left alone.",
        settings: &[
            live("file", Path("fallback.json"), "Chains, aliases and thresholds. FALLBACK_CONFIG sets it too. Without the file there are no chains."),
            live("cooldown_s", Secs(20.0, 0.05, 3600.0), "How long a failed tier is passed over when the reset time is not known."),
            live("cooldown_max_s", Secs(300.0, 0.05, 86_400.0), "Failed probes double the cooldown up to this."),
            live("cooldown_with_quota_max_s", Secs(60.0, 0.05, 86_400.0), "Upper bound of a cooldown while polls go on showing quota."),
        ],
    },
    Section {
        name: "streams",
        why: "Streaming answers.",
        settings: &[
            live("keepalive_s", Secs(10.0, 0.05, 600.0), "After so much silence a stream carries a comment, so that proxies do not cut it."),
            live("on_disconnect", Choice(&["cancel", "drain"]), "What happens upstream when the client has gone: it is dropped, or read to its end so that its tokens are counted."),
            live("midstream", Choice(&["error", "continue"]), "What happens when a stream breaks after its first content. \"continue\" is not available in this version."),
        ],
    },
    Section {
        name: "usage",
        why: "Counting tokens.",
        settings: &[
            fixed("timezone", Text("UTC"), "IANA time zone in which days are cut, such as \"Europe/Oslo\"."),
            fixed("flush_ms", Millis(200, 1, 60_000), "How often usage is written; at most so much is lost by a kill -9."),
            fixed("compact_s", Secs(10.0, 0.05, 3600.0), "How often day files and totals are brought up to date."),
            fixed("keep_hours_days", Int(90, 1, 36_500), "Days for which the figures of each hour are kept."),
            fixed("keep_days", Int(1095, 1, 36_500), "Days for which the figures of each day are kept."),
            live("prices", Path(""), "Price list for cost_usd in usage, see prices.toml.example. Without one costs are null."),
        ],
    },
    Section {
        name: "store",
        why: "What Luna writes.",
        settings: &[
            fixed("data_dir", Path("data"), "Folder for keys, usage and the upgrade socket. LUNA_DATA_DIR sets it too."),
            fixed("keys_file", Path("<data_dir>/keys.json"), "Keys and their totals. KEYS_FILE sets it too."),
        ],
    },
    Section {
        name: "upstreams.*",
        why: "One table per upstream. \"default\" is the one of a tier that names none; it is there even when left out.",
        settings: &[
            live("url", Text("http://localhost:8080"), "Base URL as the SDKs have it: without /v1 for Anthropic, with it for OpenAI. UPSTREAM_URL sets that of \"default\"."),
            live("profile", Choice(&["antigravity", "anthropic", "openai"]), "What it speaks: Anthropic Messages through antigravity-claude-proxy, Anthropic Messages in full, or OpenAI Chat Completions."),
            live("health", Choice(&["antigravity", "none"]), "How its quotas are learnt; with \"none\" they are unknown. It is \"antigravity\" by default only with that profile."),
            live("api_key", Secret, "Its own key, sent instead of the client's."),
            live("http2", Choice(&["auto", "always", "never"]), "HTTP/2 to it: \"auto\" uses it where TLS negotiates it, \"always\" also without TLS (h2c by prior knowledge)."),
            live("health_password", Secret, "Its WEBUI_PASSWORD, for the poll of /health."),
            live("headers", Map, "Headers that are added last to every request."),
            live("max_idle_s", Secs(4.0, 0.0, 3600.0), "How long an idle connection is kept; Antigravity closes them after 5 s."),
            live("tool_choice", MaybeFlag, "Whether it honours tool_choice."),
            live("stop_sequences", MaybeFlag, "Whether it honours stop_sequences."),
            live("output_config", MaybeFlag, "Whether it honours output_config, that is JSON schemas for the answer."),
            live("text_documents", MaybeFlag, "Whether it takes documents with a text source."),
            live("mid_system", MaybeFlag, "Whether it takes system messages in the middle."),
            live("url_images", MaybeFlag, "Whether it takes images by URL."),
            live("service_tier", MaybeFlag, "Whether it honours service_tier."),
            live("exclusive_sampling", MaybeFlag, "Whether it refuses temperature together with top_p."),
            live("adaptive_thinking", MaybeFlag, "Whether it takes thinking of type adaptive."),
            live("max_output", NumberMap, "Most output tokens: one number, or a table from model pattern to number."),
            live("reasoning", FlagOrList, "Whether its models take reasoning settings: true, false, or a list of model patterns."),
        ],
    },
    Section {
        name: "upstreams.*.limits",
        why: "Time limits of one attempt.",
        settings: &[
            live("connect_s", Limit(2.0, 5.0), "For the connection."),
            live("first_event_s", Limit(25.0, 120.0), "For the first content of a stream, plus 1 s per 20 KB of request."),
            live("last_first_event_s", Limit(180.0, 600.0), "The same for the last tier of a chain."),
            live("first_answer_s", Limit(180.0, 300.0), "For an answer that does not stream, while further tiers remain."),
            live("idle_s", Limit(330.0, 330.0), "Between two bytes of a stream after its first content."),
            live("total_s", Limit(600.0, 600.0), "For an answer that does not stream, from the last tier."),
        ],
    },
    Section {
        name: "lark",
        why: "Lark (Feishu): calendar authorization and card buttons. Not available in this version.",
        settings: &[
            live("enabled", Flag(false), "Switches the Lark routes on."),
            live("domain", Choice(&["feishu", "lark"]), "Which of the two services."),
            live("open_base", Text(""), "Overrides the base URL of the open platform."),
            live("accounts_base", Text(""), "Overrides the base URL of the authorization page."),
            live("token_api", Choice(&["auto", "v2", "v3"]), "Version of the token endpoint; \"auto\" is v3 for feishu and v2 for lark."),
            live("app_id", Secret, "The application's id."),
            live("app_secret", Secret, "The application's secret."),
            live("encrypt_key", Secret, "Encrypt key of the callbacks."),
            live("verification_token", Secret, "Verification token of the callbacks."),
            fixed("data_dir", Path("<data_dir>"), "Folder that holds lark/tokens.json."),
        ],
    },
    Section {
        name: "lark.oauth",
        why: "Calendar authorization.",
        settings: &[
            live("redirect_uri", Text(""), "Public URL of /oauth/lark/callback, as registered with Lark."),
            live("scopes", List(&[]), "Scopes to ask for; offline_access is always added."),
            live("state_ttl_secs", Secs(600.0, 10.0, 86_400.0), "How long a started authorization may take."),
            live("refresh_ahead_secs", Secs(300.0, 0.0, 86_400.0), "How long before its end a token is renewed."),
        ],
    },
    Section {
        name: "lark.card",
        why: "Card buttons.",
        settings: &[
            live("forward_url", Text(""), "Where card actions are sent; \"\" keeps them in the queue only."),
            live("forward_mode", Choice(&["json", "raw"]), "Luna's own JSON, or the callback as it came."),
            live("forward_token", Secret, "Bearer token for forward_url."),
            live("forward_timeout_ms", Millis(2500, 100, 2800), "Limit for the reply; Lark itself waits 3 s."),
            live("timestamp_tolerance_secs", Secs(300.0, 1.0, 86_400.0), "How old a signed callback may be."),
            live("default_toast", Text(""), "Toast when there is no usable reply."),
            live("queue_retention_hours", Int(48, 1, 8760), "Hours for which actions are kept."),
            live("queue_max", Int(10_000, 1, 10_000_000), "Most actions that are kept."),
        ],
    },
];
