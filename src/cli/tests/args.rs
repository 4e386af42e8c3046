use clap::{CommandFactory, Parser};

use crate::cli::keys::Action;
use crate::cli::usage::{Group, UsageFormat};
use crate::cli::{Cli, Command, Format};
use crate::simulate::Generation;

fn parse(line: &str) -> Result<Command, clap::Error> {
    Cli::try_parse_from(std::iter::once("luna").chain(line.split_whitespace()))
        .map(|cli| cli.command)
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn offers_what_this_version_has() {
    let command = Cli::command();
    let names: Vec<&str> = command.get_subcommands().map(|c| c.get_name()).collect();
    assert_eq!(
        names,
        [
            "serve", "demo", "simulate", "check", "explain", "keys", "usage", "import"
        ]
    );
}

#[test]
fn wrong_usage_is_exit_code_2_and_help_and_version_are_0() {
    for line in [
        "",
        "env key",
        "doctor",
        "keys",
        "keys create",
        "keys show",
        "keys rotate k --grace soon",
        "keys create a --expires-at tomorrow",
        "keys list --url not-a-url",
        "keys list --url http://user:secret@host",
        "keys list --admin-key secret",
        "explain",
        "usage --by week",
        "usage --format xml",
        "simulate --generation 3.0",
        "simulate --time-scale -1",
        "simulate --time-scale NaN",
        "simulate --port 70000",
        "import",
        "serve extra",
    ] {
        let code = parse(line)
            .map(|_| 0)
            .unwrap_or_else(|wrong| wrong.exit_code());
        assert_eq!(code, 2, "{line}");
    }
    for line in ["--help", "--version", "keys --help", "keys create --help"] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 0, "{line}");
    }
    let version = parse("--version").unwrap_err().to_string();
    assert_eq!(
        version.trim(),
        format!("luna {}", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn the_commands_of_the_contract_are_understood() {
    let Command::Serve(serve) =
        parse("serve --config a.toml --upgrade --insecure-example-keys").unwrap()
    else {
        panic!("not serve");
    };
    assert!(serve.upgrade && serve.insecure_example_keys);
    assert_eq!(serve.config.unwrap().to_str(), Some("a.toml"));

    let Command::Simulate(sim) =
        parse("simulate --generation 2.0 --time-scale 0.5 --allow-remote").unwrap()
    else {
        panic!("not simulate");
    };
    assert_eq!(
        (sim.port, sim.generation, sim.time_scale),
        (8080, Generation::V2_0, 0.5)
    );
    assert!(sim.allow_remote);

    let line = "usage --by hour --from 2026-11-24 --to 2026-11-25 --key k --model m --format csv --offline";
    let Command::Usage(usage) = parse(line).unwrap() else {
        panic!("not usage");
    };
    assert_eq!(
        (usage.by, usage.format, usage.offline),
        (Group::Hour, UsageFormat::Csv, true)
    );
    assert_eq!(usage.from.as_deref(), Some("2026-11-24"));

    let Command::Explain(explain) = parse("explain --model m --key k --format json").unwrap()
    else {
        panic!("not explain");
    };
    assert_eq!(
        (explain.model.as_str(), explain.key.as_deref()),
        ("m", Some("k"))
    );
}

#[test]
fn options_of_keys_stand_before_or_after_the_action() {
    for line in [
        "keys --offline --format json --config c.toml rotate k --grace 1h",
        "keys rotate k --grace 1h --offline --format json --config c.toml",
    ] {
        let Command::Keys(keys) = parse(line).unwrap() else {
            panic!("not keys");
        };
        assert!(keys.offline, "{line}");
        assert_eq!(keys.format, Format::Json);
        assert_eq!(
            keys.gateway.config.as_deref().and_then(|c| c.to_str()),
            Some("c.toml")
        );
        let Action::Rotate { key, grace } = keys.action else {
            panic!("not rotate");
        };
        assert_eq!((key.as_str(), grace.as_secs()), ("k", 3600));
    }
}

#[test]
fn lists_are_parted_by_commas() {
    let Command::Keys(keys) = parse("keys create a --models x,y* --permissions lark").unwrap()
    else {
        panic!("not keys");
    };
    let Action::Create(new) = keys.action else {
        panic!("not create");
    };
    assert_eq!(new.models, ["x", "y*"]);
    assert_eq!(new.permissions, ["lark"]);
}
