//! Which gateway to talk to, and with which admin key.
//!
//! The URL: `--url`, else where the configuration says that the admin routes listen. The key:
//! `--admin-key-file`, else `ADMIN_KEY`, else the configuration; never an argument, which every
//! user of the machine could read in the list of processes.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::Url;

use super::failure::Failure;
use super::http::Api;
use super::offline;
use crate::config::{LoadOptions, Secret, Settings, load};

/// Largest file that a key is read from, in bytes.
const MAX_KEY_FILE: u64 = 4096;

/// Where the gateway is and who asks.
#[derive(Clone, Debug, Default, Args)]
pub struct ConnectArgs {
    /// The gateway [default: from the configuration, else http://127.0.0.1:8180]
    #[arg(long, global = true, value_name = "URL", value_parser = url)]
    pub url: Option<Url>,
    /// File with the admin key [default: ADMIN_KEY, else the configuration]
    #[arg(long, global = true, value_name = "FILE")]
    pub admin_key_file: Option<PathBuf>,
    /// luna.toml [default: LUNA_CONFIG, else conf/luna.toml if there, else built-in defaults]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl ConnectArgs {
    /// A client for the gateway that is meant.
    pub(super) fn api(&self) -> Result<Api, Failure> {
        let (target, key) = self.target(&offline::source(self.config.as_deref())?)?;
        Api::new(target, &key)
    }

    /// Refuses what makes no sense together with `--offline`.
    pub(super) fn refuse_for_offline(&self) -> Result<(), Failure> {
        let given = [
            ("--url", self.url.is_some()),
            ("--admin-key-file", self.admin_key_file.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(Failure::usage(format!(
                "{name} and --offline exclude each other: --offline works on the files, not on a gateway"
            ))),
            None => Ok(()),
        }
    }

    /// The configuration is only read when something has to come from it.
    pub(super) fn target(&self, source: &LoadOptions) -> Result<(Target, Secret), Failure> {
        let key = self.given_key(source)?;
        if let (Some(url), Some(key)) = (&self.url, &key) {
            return Ok((Target::at(url), key.clone()));
        }
        let settings = load(source).map_err(|problems| {
            let missing = match (&self.url, &key) {
                (None, _) => "give the gateway with --url",
                (Some(_), _) => "give the admin key in ADMIN_KEY or with --admin-key-file",
            };
            let advice = format!("the configuration is not usable; mend it, or {missing}");
            offline::unusable(&problems, &advice)
        })?;
        let key = key.or_else(|| settings.admin.key.clone()).ok_or_else(|| {
            Failure::new(
                "no admin key: set ADMIN_KEY, give --admin-key-file FILE, or set admin.key in the configuration \
                 (a gateway without one made its own and printed it at its first start)",
            )
        })?;
        let target = match &self.url {
            Some(url) => Target::at(url),
            None => Target::configured(&settings)?,
        };
        Ok((target, key))
    }

    fn given_key(&self, source: &LoadOptions) -> Result<Option<Secret>, Failure> {
        if let Some(path) = &self.admin_key_file {
            return key_in(path).map(Some);
        }
        let given = source.env.get("ADMIN_KEY").map(|text| text.trim());
        Ok(given.filter(|text| !text.is_empty()).map(Secret::new))
    }
}

/// A gateway's two addresses, which are one unless `admin.listen` is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Where /admin is.
    pub admin: Url,
    /// Where clients ask, without a trailing slash.
    pub client: String,
}

impl Target {
    fn at(url: &Url) -> Self {
        Self {
            admin: url.clone(),
            client: url.as_str().trim_end_matches('/').to_owned(),
        }
    }

    fn configured(settings: &Settings) -> Result<Self, Failure> {
        let admin = address_url(settings.admin.listen.unwrap_or(settings.server.listen));
        Ok(Self {
            admin: url(&admin).map_err(Failure::new)?,
            client: client_url(settings),
        })
    }
}

/// Where clients on this machine reach the gateway that is configured so.
pub(super) fn client_url(settings: &Settings) -> String {
    address_url(settings.server.listen)
}

/// A listener's URL as seen from this machine: all addresses means loopback.
fn address_url(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}

/// Reads `--url`.
fn url(text: &str) -> Result<Url, String> {
    let example = "give it as in http://127.0.0.1:8180";
    let url = Url::parse(text).map_err(|e| format!("{e}; {example}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(format!("not an http URL; {example}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("no user or password belongs in it; {example}"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("no ? or # belongs in it; {example}"));
    }
    Ok(url)
}

/// The first line of a key file.
fn key_in(path: &Path) -> Result<Secret, Failure> {
    let failed = |e: &dyn std::fmt::Display| {
        Failure::new(format!(
            "the admin key cannot be read from {}: {e}",
            path.display()
        ))
    };
    let file = std::fs::File::open(path).map_err(|e| failed(&e))?;
    let mut text = String::new();
    file.take(MAX_KEY_FILE + 1)
        .read_to_string(&mut text)
        .map_err(|e| failed(&e))?;
    if text.len() as u64 > MAX_KEY_FILE {
        return Err(failed(
            &"it is too long; the file should hold nothing but the key",
        ));
    }
    match text.lines().map(str::trim).find(|line| !line.is_empty()) {
        Some(key) => Ok(Secret::new(key)),
        None => Err(failed(&"it is empty")),
    }
}
