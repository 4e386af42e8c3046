//! `luna keys`: making, showing and changing keys, through the admin API or on the key file.
//!
//! Both ways end in the admin API's JSON, so that everything is shown by the same code.

mod act;
mod create;
mod show;
#[cfg(test)]
mod tests;

use std::time::Duration;

use clap::{Args, Subcommand};

use super::connect::ConnectArgs;
use super::failure::Failure;
use super::http::block_on;
use super::{Format, connect, offline, out};
use crate::telemetry::logging;

pub(super) use act::id_of_name;
pub use create::CreateArgs;

/// What to do when a secret was made and could not be shown.
const LOST: &str = "the change was made and its secret is lost: give the key a new one with luna keys rotate \
     (where a first admin key was made as well, set ADMIN_KEY or admin.key instead)";

/// Arguments of `luna keys`.
#[derive(Debug, Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    pub action: Action,
    /// Work on the key file, while no gateway runs
    #[arg(long, global = true)]
    pub offline: bool,
    /// How to show it
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    #[command(flatten)]
    pub gateway: ConnectArgs,
}

/// KEY is an id, a name or a secret.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Make a key; its secret is shown this once
    Create(CreateArgs),
    /// List all keys
    List,
    /// Show one key
    Show {
        /// Its id, name or secret
        key: String,
    },
    /// Refuse a key from its next request on
    Disable {
        /// Its id, name or secret
        key: String,
    },
    /// Accept a disabled key again
    Enable {
        /// Its id, name or secret
        key: String,
    },
    /// Give a key a new secret
    Rotate {
        /// Its id, name or secret
        key: String,
        /// How long the old secret still works: 90s, 30m, 1h, 7d
        #[arg(long, value_name = "TIME", default_value = "0s", value_parser = create::duration)]
        grace: Duration,
    },
    /// Remove a key for good
    Delete {
        /// Its id, name or secret
        key: String,
    },
}

impl Action {
    /// The key that is meant, if it is about one that exists.
    fn key(&self) -> Option<&str> {
        match self {
            Self::Create(_) | Self::List => None,
            Self::Show { key }
            | Self::Disable { key }
            | Self::Enable { key }
            | Self::Rotate { key, .. }
            | Self::Delete { key } => Some(key),
        }
    }
}

pub(super) fn run(args: &KeysArgs) -> Result<(), Failure> {
    if let Action::Create(new) = &args.action {
        new.refuse_later()?;
    }
    let (answer, admin, url) = if args.offline {
        args.gateway.refuse_for_offline()?;
        logging::init();
        let settings = offline::settings(args.gateway.config.as_deref())?;
        let done = act::offline(&settings, &args.action)?;
        (done.answer, done.admin_key, connect::client_url(&settings))
    } else {
        let api = args.gateway.api()?;
        let answer = block_on(act::online(&api, &args.action))?;
        (answer, None, api.client_url().to_owned())
    };
    let text = match args.format {
        Format::Json => {
            // The one thing that may not be missed does not belong among the JSON.
            if let Some(admin) = &admin {
                out::note(admin.trim_end());
            }
            answer.line()
        }
        Format::Table => {
            let shown = show::render(&args.action, &answer.json, &url)?;
            format!("{}{shown}", admin.unwrap_or_default())
        }
    };
    match &args.action {
        Action::Create(_) | Action::Rotate { .. } => out::print_once(&text, LOST),
        _ => out::print(&text),
    }
}
