//! `luna usage`: what was used, from the admin API or from the files.

mod ask;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};

use super::connect::ConnectArgs;
use super::failure::Failure;
use super::http::{Answer, block_on};
use super::{offline, out};
use crate::telemetry::logging;
use crate::usage::{By, Summary};

/// Arguments of `luna usage`.
#[derive(Clone, Debug, Args)]
pub struct UsageArgs {
    /// What a line stands for
    #[arg(long, value_enum, default_value_t = Group::Key)]
    pub by: Group,
    /// First day or hour: 2026-11-24 or 2026-11-24T08:00:00Z [default: the beginning; 30 days ago
    /// by day, 24 hours ago by hour]
    #[arg(long, value_name = "D")]
    pub from: Option<String>,
    /// Last day, or end of the hours [default: now]
    #[arg(long, value_name = "D")]
    pub to: Option<String>,
    /// Only this key: its id, name or secret
    #[arg(long, value_name = "K")]
    pub key: Option<String>,
    /// Only this model
    #[arg(long, value_name = "M")]
    pub model: Option<String>,
    /// How to show it
    #[arg(long, value_enum, default_value_t = UsageFormat::Table)]
    pub format: UsageFormat,
    /// Read the files instead of asking a gateway; while one runs, its last seconds are missing
    #[arg(long)]
    pub offline: bool,
    #[command(flatten)]
    pub gateway: ConnectArgs,
}

/// What a line stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Group {
    Key,
    Model,
    Day,
    Hour,
}

impl From<Group> for By {
    fn from(group: Group) -> Self {
        match group {
            Group::Key => Self::Key,
            Group::Model => Self::Model,
            Group::Day => Self::Day,
            Group::Hour => Self::Hour,
        }
    }
}

/// How usage is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UsageFormat {
    /// For people.
    Table,
    /// For spreadsheets.
    Csv,
    /// The admin API's JSON, unchanged.
    Json,
}

pub(super) fn run(args: &UsageArgs) -> Result<(), Failure> {
    // Names of keys are only shown where keys are.
    let named = args.by == Group::Key && args.format != UsageFormat::Json;
    let (answer, names) = if args.offline {
        args.gateway.refuse_for_offline()?;
        logging::init();
        let settings = offline::settings(args.gateway.config.as_deref())?;
        ask::offline(&settings, args)?
    } else {
        let api = args.gateway.api()?;
        block_on(ask::online(&api, args, named))?
    };
    out::print(&render(args, &answer, &names)?)
}

fn render(
    args: &UsageArgs,
    answer: &Answer,
    names: &BTreeMap<String, String>,
) -> Result<String, Failure> {
    if args.format == UsageFormat::Json {
        return Ok(answer.line());
    }
    let summary = Summary::new(args.by.into(), &answer.json, names)
        .map_err(|e| Failure::new(format!("{e}; is the gateway of another version?")))?;
    Ok(match args.format {
        UsageFormat::Csv => summary.csv(),
        _ => summary.table(),
    })
}
