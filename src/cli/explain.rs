//! `luna explain`: which tiers a request would try now, in order, and why.

use clap::Args;
use serde_json::{Value, json};

use super::connect::ConnectArgs;
use super::failure::Failure;
use super::http::{Answer, Api, block_on};
use super::keys::id_of_name;
use super::table::table;
use super::{Format, out};

/// Arguments of `luna explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The model as a client would ask for it
    #[arg(long, value_name = "M")]
    pub model: String,
    /// Ask for this key: its id, name or secret
    #[arg(long, value_name = "ID")]
    pub key: Option<String>,
    /// How to show it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    #[command(flatten)]
    pub gateway: ConnectArgs,
}

pub(super) fn run(args: &ExplainArgs) -> Result<(), Failure> {
    let api = args.gateway.api()?;
    let answer = block_on(ask(&api, &args.model, args.key.as_deref()))?;
    match args.format {
        Format::Json => out::print(&answer.line()),
        Format::Table => out::print(&render(&answer.json)?),
    }
}

pub(super) async fn ask(api: &Api, model: &str, key: Option<&str>) -> Result<Answer, Failure> {
    let body = |key: Option<&str>| match key {
        Some(key) => json!({"model": model, "key": key}),
        None => json!({"model": model}),
    };
    let path = ["admin", "explain"];
    let answer = api.post(&path, &body(key)).await;
    if let (Err(failure), Some(name)) = (&answer, key)
        && failure.status == Some(404)
    {
        let id = id_of_name(api, name).await?;
        return api.post(&path, &body(Some(&id))).await;
    }
    answer
}

/// The way from the name to its tiers, and a line for each tier.
pub(super) fn render(json: &Value) -> Result<String, Failure> {
    let text = |value: &Value, field: &str| {
        let text = value.get(field).and_then(Value::as_str);
        text.map(out::printable).ok_or_else(|| {
            Failure::new(format!(
                "the answer has no {field}; is the gateway of another version?"
            ))
        })
    };
    let (requested, resolved, via) = (
        text(json, "requested")?,
        text(json, "resolved")?,
        text(json, "via")?,
    );
    let mut page = match via.as_str() {
        "alias" => format!("{requested} is an alias of {resolved}\n"),
        "chain" => format!("{requested} has a chain of its own\n"),
        _ => format!("{requested} has no chain of its own\n"),
    };
    if via != "alias" && requested != resolved {
        page.push_str(&format!("it is read as {resolved}\n"));
    }
    if json.get("allowed").and_then(Value::as_bool) == Some(false) {
        page.push_str("a request with this key is refused\n");
    }
    page.push('\n');
    let tiers = json
        .get("tiers")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let mut rows = Vec::with_capacity(tiers.len());
    for (index, tier) in tiers.iter().enumerate() {
        let usable = tier.get("usable").and_then(Value::as_bool) == Some(true);
        rows.push(vec![
            (index + 1).to_string(),
            text(tier, "model")?,
            text(tier, "upstream")?,
            if usable { "yes" } else { "no" }.to_owned(),
            text(tier, "why")?,
        ]);
    }
    page.push_str(&table(
        &["TIER", "MODEL", "UPSTREAM", "USABLE", "WHY"],
        &rows,
    ));
    Ok(page)
}
