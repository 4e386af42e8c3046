//! The typed settings that the rest of Luna reads. Meaning and default of each are in `schema`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jiff::tz::TimeZone;

use super::routes::Routes;
use super::secret::Secret;
use super::upstream::{BaseUrl, Upstream};
use super::value::Val;
use crate::routing::Rules;
use crate::usage::Prices;

/// Everything that was configured, checked and complete. Immutable: a reload makes a new one and swaps it whole.
/// All paths are absolute.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `[server]`
    pub server: Server,
    /// `[admin]`
    pub admin: Admin,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[quota]`
    pub quota: Quota,
    /// `[fallback]`, and the thresholds of fallback.json
    pub fallback: Fallback,
    /// `[streams]`
    pub streams: Streams,
    /// `[usage]`
    pub usage: Usage,
    /// `[store]`
    pub store: Store,
    /// `[upstreams.NAME]`; `default` is always there
    pub upstreams: BTreeMap<String, Arc<Upstream>>,
    /// `[lark]`: read and checked, never enabled in this version
    pub lark: Lark,
    /// Chains and aliases of fallback.json
    pub rules: Arc<Rules>,
    /// The files that were read, in order: luna.toml, fallback.json, secrets
    pub sources: Vec<PathBuf>,
    /// What is allowed but should be said at every start; no secret in it
    pub warnings: Vec<String>,
    /// All effective values by name, for the comparison on reload
    pub(super) values: BTreeMap<String, Val>,
    /// Chains and aliases as they were read, for the comparison on reload
    pub(super) routes: Routes,
}

/// `[server]`: the client side.
#[derive(Clone, Debug)]
pub struct Server {
    pub listen: SocketAddr,
    /// Worker threads, at least 1; already resolved from 0 = one per core
    pub threads: usize,
    pub grace: Duration,
    pub ready_delay: Duration,
    pub max_body_bytes: usize,
    pub body_memory_bytes: usize,
    pub max_header_bytes: usize,
    pub client_header_timeout: Duration,
    pub client_body_timeout: Duration,
    pub client_write_timeout: Duration,
    pub client_idle: Duration,
    /// `None` = no limit
    pub max_connections: Option<usize>,
    /// `None` = no limit
    pub max_connections_per_ip: Option<usize>,
    /// `None` = no limit
    pub max_in_flight: Option<usize>,
    /// From admission to the commit, over all tiers
    pub request: Duration,
    pub trusted_proxies: Vec<IpNet>,
    /// Lower case, without a trailing slash; `*` alone allows every origin
    pub cors_origins: Vec<String>,
    pub upgrade_sock: PathBuf,
}

/// `[admin]`.
#[derive(Clone, Debug)]
pub struct Admin {
    /// `None` = on `server.listen`
    pub listen: Option<SocketAddr>,
    pub key: Option<Secret>,
    pub allow_ips: Vec<IpNet>,
}

/// `[metrics]`.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// `None` = off
    pub listen: Option<SocketAddr>,
}

/// `[quota]`: the poller.
#[derive(Clone, Debug)]
pub struct Quota {
    pub poll_interval: Duration,
    pub poll_timeout: Duration,
    pub stale_after: Duration,
}

/// `[fallback]`, with `threshold` and `recover` of fallback.json.
#[derive(Clone, Debug)]
pub struct Fallback {
    /// The file that was read; `None` when there is none
    pub file: Option<PathBuf>,
    pub cooldown: Duration,
    pub cooldown_max: Duration,
    pub cooldown_with_quota_max: Duration,
    /// Below this remaining fraction, 0..1, a tier is low
    pub threshold: f64,
    /// At this remaining fraction, 0..1, it is usable again
    pub recover: f64,
}

/// What happens to the upstream request of a client that has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDisconnect {
    /// It is dropped.
    Cancel,
    /// It is read to its end, so that its tokens are counted.
    Drain,
}

/// `[streams]`. `midstream` is `error` in this version, so it has no field.
#[derive(Clone, Debug)]
pub struct Streams {
    pub keepalive: Duration,
    pub on_disconnect: OnDisconnect,
}

/// `[usage]`.
#[derive(Clone, Debug)]
pub struct Usage {
    pub timezone: TimeZone,
    pub timezone_name: String,
    pub flush: Duration,
    pub compact: Duration,
    pub keep_hours_days: u32,
    pub keep_days: u32,
    /// What `prices` names.
    pub prices: Arc<Prices>,
}

/// `[store]`.
#[derive(Clone, Debug)]
pub struct Store {
    pub data_dir: PathBuf,
    pub keys_file: PathBuf,
}

/// `[lark]`, contracts/lark.md "Config".
#[derive(Clone, Debug)]
pub struct Lark {
    pub domain: String,
    pub open_base: String,
    pub accounts_base: String,
    pub token_api: String,
    pub app_id: Option<Secret>,
    pub app_secret: Option<Secret>,
    pub encrypt_key: Option<Secret>,
    pub verification_token: Option<Secret>,
    pub data_dir: PathBuf,
    pub oauth: LarkOauth,
    pub card: LarkCard,
}

/// `[lark.oauth]`.
#[derive(Clone, Debug)]
pub struct LarkOauth {
    pub redirect_uri: String,
    pub scopes: Vec<String>,
    pub state_ttl: Duration,
    pub refresh_ahead: Duration,
}

/// `[lark.card]`.
#[derive(Clone, Debug)]
pub struct LarkCard {
    pub forward_url: String,
    pub forward_mode: String,
    pub forward_token: Option<Secret>,
    pub forward_timeout: Duration,
    pub timestamp_tolerance: Duration,
    pub default_toast: String,
    pub queue_retention: Duration,
    pub queue_max: usize,
}

impl Settings {
    /// The upstream of a tier that names none.
    pub const DEFAULT_UPSTREAM: &'static str = "default";

    /// Open files that full use of the configured limits needs: two sockets for each client connection and 100 for
    /// everything else. Without a limit on connections it cannot be known and only the 100 are named.
    pub fn fd_need(&self) -> u64 {
        let connections = self.server.max_connections.unwrap_or(0);
        u64::try_from(connections)
            .unwrap_or(u64::MAX)
            .saturating_mul(2)
            .saturating_add(100)
    }

    /// Every listener that these settings open, with the name of its setting.
    pub fn listeners(&self) -> Vec<(&'static str, SocketAddr)> {
        listeners(&self.server, &self.admin, &self.metrics)
    }

    /// The same with another address for clients; nothing is checked, so port 0 is allowed.
    #[must_use]
    pub fn with_listen(mut self, address: SocketAddr) -> Self {
        self.server.listen = address;
        self
    }

    /// The same with another address for metrics, or none.
    #[must_use]
    pub fn with_metrics(mut self, address: Option<SocketAddr>) -> Self {
        self.metrics.listen = address;
        self
    }

    /// The same with an address of their own for the admin routes, or none.
    #[must_use]
    pub fn with_admin_listen(mut self, address: Option<SocketAddr>) -> Self {
        self.admin.listen = address;
        self
    }

    /// The same with another admin key.
    #[must_use]
    pub fn with_admin_key(mut self, key: Secret) -> Self {
        self.admin.key = Some(key);
        self
    }

    /// The same with everything that is written in `folder`.
    #[must_use]
    pub fn with_data_dir(mut self, folder: &Path) -> Self {
        self.store = Store {
            data_dir: folder.to_path_buf(),
            keys_file: folder.join("keys.json"),
        };
        self.server.upgrade_sock = folder.join("upgrade.sock");
        self.lark.data_dir = folder.to_path_buf();
        self
    }

    /// The same with the default upstream at `url`.
    #[must_use]
    pub fn with_upstream_url(mut self, url: BaseUrl) -> Self {
        if let Some(upstream) = self.upstreams.get_mut(Self::DEFAULT_UPSTREAM) {
            Arc::make_mut(upstream).url = url;
        }
        self
    }
}

/// Every listener with the name of its setting.
pub(super) fn listeners(
    server: &Server,
    admin: &Admin,
    metrics: &Metrics,
) -> Vec<(&'static str, SocketAddr)> {
    let mut all = vec![("server.listen", server.listen)];
    all.extend(admin.listen.map(|address| ("admin.listen", address)));
    all.extend(metrics.listen.map(|address| ("metrics.listen", address)));
    all
}
