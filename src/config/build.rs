//! Checked values become the types of `Settings`; what only shows in combination is checked here.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use jiff::tz::TimeZone;

use super::problem::{Problem, hint};
use super::settings::{
    Admin, Lark, LarkCard, LarkOauth, Metrics, OnDisconnect, Quota, Server, Store, Streams, Usage,
};
use super::upstream::BaseUrl;
use super::value::address;
use super::values::Values;

/// Builds the sections, collecting problems.
pub(super) struct Build<'a> {
    pub(super) values: &'a Values,
    pub(super) problems: &'a mut Vec<Problem>,
    pub(super) warnings: &'a mut Vec<String>,
}

impl Build<'_> {
    /// The problem `what` with the setting `name`, where it was given.
    pub(super) fn problem(&mut self, name: &str, what: impl std::fmt::Display) {
        self.problems
            .push(self.values.origin(name).problem(format!("{name} {what}")));
    }

    pub(super) fn server(&mut self) -> Server {
        let v = self.values;
        let server = Server {
            listen: self
                .listen("server.listen")
                .unwrap_or(SocketAddr::from(([0, 0, 0, 0], 8180))),
            threads: self.threads(),
            grace: v.time("server.grace_s"),
            ready_delay: v.time("server.ready_delay_s"),
            max_body_bytes: self.size("server.max_body_bytes"),
            body_memory_bytes: self.size("server.body_memory_bytes"),
            max_header_bytes: self.size("server.max_header_bytes"),
            client_header_timeout: v.time("server.client_header_timeout_s"),
            client_body_timeout: v.time("server.client_body_timeout_s"),
            client_write_timeout: v.time("server.client_write_timeout_s"),
            client_idle: v.time("server.client_idle_s"),
            max_connections: self.limit("server.max_connections"),
            max_connections_per_ip: self.limit("server.max_connections_per_ip"),
            max_in_flight: self.limit("server.max_in_flight"),
            request: v.time("server.request_s"),
            trusted_proxies: self.networks("server.trusted_proxies"),
            cors_origins: self.origins("server.cors_origins"),
            upgrade_sock: v.path("server.upgrade_sock"),
        };
        if server.body_memory_bytes < server.max_body_bytes {
            self.problem(
                "server.body_memory_bytes",
                "must not be below server.max_body_bytes",
            );
        }
        server
    }

    pub(super) fn admin(&mut self) -> Admin {
        Admin {
            listen: self.listen("admin.listen"),
            key: self.header_secret("admin.key"),
            allow_ips: self.networks("admin.allow_ips"),
        }
    }

    pub(super) fn metrics(&mut self) -> Metrics {
        let off = self.values.text("metrics.listen") == Some("off");
        Metrics {
            listen: if off {
                None
            } else {
                self.listen("metrics.listen")
            },
        }
    }

    pub(super) fn quota(&mut self) -> Quota {
        let v = self.values;
        let quota = Quota {
            poll_interval: v.time("quota.poll_interval_s"),
            poll_timeout: v.time("quota.poll_timeout_s"),
            stale_after: v.time("quota.stale_after_s"),
        };
        if quota.stale_after < quota.poll_interval {
            self.warnings.push(
                "quota.stale_after_s is below quota.poll_interval_s: quotas become unknown between polls".to_owned(),
            );
        }
        quota
    }

    pub(super) fn streams(&mut self) -> Streams {
        let drain = self.values.text("streams.on_disconnect") == Some("drain");
        Streams {
            keepalive: self.values.time("streams.keepalive_s"),
            on_disconnect: if drain {
                OnDisconnect::Drain
            } else {
                OnDisconnect::Cancel
            },
        }
    }

    pub(super) fn usage(&mut self) -> Usage {
        let name = self
            .values
            .text("usage.timezone")
            .unwrap_or("UTC")
            .to_owned();
        let timezone = TimeZone::get(&name).unwrap_or_else(|_| {
            let known: Vec<String> = jiff::tz::db()
                .available()
                .map(|zone| zone.to_string())
                .collect();
            let hint = hint(&name, known.iter().map(String::as_str));
            self.problem(
                "usage.timezone",
                format!("must be an IANA time zone such as \"Europe/Oslo\"{hint}"),
            );
            TimeZone::UTC
        });
        let days = |name| u32::try_from(self.values.int(name)).unwrap_or(u32::MAX);
        Usage {
            timezone,
            timezone_name: name,
            flush: self.values.time("usage.flush_ms"),
            compact: self.values.time("usage.compact_s"),
            keep_hours_days: days("usage.keep_hours_days"),
            keep_days: days("usage.keep_days"),
            prices: Arc::default(),
        }
    }

    pub(super) fn store(&mut self) -> Store {
        for name in ["store.keys_file", "server.upgrade_sock", "lark.data_dir"] {
            if self.values.path(name).as_os_str().is_empty() {
                self.problem(name, "must be a path");
            }
        }
        Store {
            data_dir: self.values.path("store.data_dir"),
            keys_file: self.values.path("store.keys_file"),
        }
    }

    pub(super) fn lark(&mut self) -> Lark {
        for name in [
            "lark.open_base",
            "lark.accounts_base",
            "lark.oauth.redirect_uri",
            "lark.card.forward_url",
        ] {
            if let Some(url) = self.values.text(name).filter(|url| !url.is_empty())
                && let Err(what) = BaseUrl::parse(url)
            {
                self.problem(name, what);
            }
        }
        let v = self.values;
        let text = |name| v.text(name).unwrap_or_default().to_owned();
        Lark {
            domain: text("lark.domain"),
            open_base: text("lark.open_base"),
            accounts_base: text("lark.accounts_base"),
            token_api: text("lark.token_api"),
            app_id: v.secret_of("lark.app_id"),
            app_secret: v.secret_of("lark.app_secret"),
            encrypt_key: v.secret_of("lark.encrypt_key"),
            verification_token: v.secret_of("lark.verification_token"),
            data_dir: v.path("lark.data_dir"),
            oauth: LarkOauth {
                redirect_uri: text("lark.oauth.redirect_uri"),
                scopes: v.list("lark.oauth.scopes").to_vec(),
                state_ttl: v.time("lark.oauth.state_ttl_secs"),
                refresh_ahead: v.time("lark.oauth.refresh_ahead_secs"),
            },
            card: LarkCard {
                forward_url: text("lark.card.forward_url"),
                forward_mode: text("lark.card.forward_mode"),
                forward_token: self.header_secret("lark.card.forward_token"),
                forward_timeout: v.time("lark.card.forward_timeout_ms"),
                timestamp_tolerance: v.time("lark.card.timestamp_tolerance_secs"),
                default_toast: text("lark.card.default_toast"),
                queue_retention: std::time::Duration::from_secs(
                    v.int("lark.card.queue_retention_hours")
                        .saturating_mul(3600),
                ),
                queue_max: self.size("lark.card.queue_max"),
            },
        }
    }

    /// Two listeners on one address cannot both be opened.
    pub(super) fn listeners(&mut self, all: &[(&'static str, SocketAddr)]) {
        for (index, (name, address)) in all.iter().enumerate() {
            for (other, taken) in all.iter().take(index) {
                let meet = address.ip() == taken.ip()
                    || address.ip().is_unspecified()
                    || taken.ip().is_unspecified();
                if address.port() != 0 && address.port() == taken.port() && meet {
                    self.problem(
                        name,
                        format!("and {other} cannot share the port {}", address.port()),
                    );
                }
            }
        }
    }

    fn threads(&self) -> usize {
        match usize::try_from(self.values.int("server.threads")) {
            Ok(threads) if threads > 0 => threads,
            _ => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        }
    }

    fn size(&self, name: &str) -> usize {
        usize::try_from(self.values.int(name)).unwrap_or(usize::MAX)
    }

    fn limit(&self, name: &str) -> Option<usize> {
        Some(self.size(name)).filter(|limit| *limit > 0)
    }

    /// An address; `None` when it is empty or wrong.
    fn listen(&mut self, name: &str) -> Option<SocketAddr> {
        let text = self.values.text(name).filter(|text| !text.is_empty())?;
        address(text).map_err(|what| self.problem(name, what)).ok()
    }

    /// A secret that is sent or received in a header.
    pub(super) fn header_secret(&mut self, name: &str) -> Option<super::Secret> {
        let secret = self.values.secret_of(name)?;
        if !secret
            .expose()
            .bytes()
            .all(|byte| (0x21..=0x7e).contains(&byte))
        {
            self.problem(
                name,
                "must be ASCII without spaces, as it stands in a header",
            );
        }
        Some(secret)
    }

    fn networks(&mut self, name: &str) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for text in self.values.list(name) {
            match text
                .parse::<IpNet>()
                .ok()
                .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
            {
                Some(network) => networks.push(network),
                None => self.problem(
                    name,
                    format!("holds `{text}`, which is no address or network like 10.0.0.0/8"),
                ),
            }
        }
        networks
    }

    fn origins(&mut self, name: &str) -> Vec<String> {
        let mut origins = Vec::new();
        for text in self.values.list(name) {
            let good = text == "*" || BaseUrl::parse(text).is_ok_and(|url| url.prefix.is_empty());
            if good {
                origins.push(text.trim_end_matches('/').to_ascii_lowercase());
            } else {
                self.problem(
                    name,
                    format!("holds `{text}`, which is no origin like https://app.example.org"),
                );
            }
        }
        if origins.len() > 1 && origins.iter().any(|origin| origin == "*") {
            self.problem(name, "holds \"*\" beside others; \"*\" stands alone");
        }
        origins
    }
}
