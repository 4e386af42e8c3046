//! conf/ and docs/: what is published agrees with the code. With LUNA_BLESS=1 the generated parts are written anew.

use std::fs;

use super::{Place, lines, package};
use crate::config::schema::SECTIONS;
use crate::config::value::Kind;
use crate::config::{LoadOptions, Settings, example, load, reference};

const BEGIN: &str = "<!-- settings: written by the test, do not edit -->\n";
const END: &str = "<!-- settings: end -->\n";

fn bless() -> bool {
    std::env::var_os("LUNA_BLESS").is_some()
}

#[test]
fn the_example_is_what_the_code_says() {
    let path = package().join("conf/luna.toml.example");
    if bless() {
        fs::write(&path, example()).unwrap();
    }
    assert_eq!(
        fs::read_to_string(path).unwrap(),
        example(),
        "run the tests with LUNA_BLESS=1"
    );
}

#[test]
fn the_reference_is_what_the_code_says() {
    let path = package().join("docs/configuration.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (tables, after) = rest.split_once(END).unwrap();
    if bless() {
        fs::write(
            &path,
            format!("{before}{BEGIN}\n{}{END}{after}", reference()),
        )
        .unwrap();
        return;
    }
    assert_eq!(
        tables,
        format!("\n{}", reference()),
        "run the tests with LUNA_BLESS=1"
    );
}

#[test]
fn every_setting_is_named_in_example_and_reference() {
    let example = fs::read_to_string(package().join("conf/luna.toml.example")).unwrap();
    let docs = fs::read_to_string(package().join("docs/configuration.md")).unwrap();
    for section in SECTIONS {
        let table = format!("\n[{}]\n", section.name.replace('*', "default"));
        let (_, rest) = example
            .split_once(&table)
            .unwrap_or_else(|| panic!("{table}"));
        let part = rest.split("\n[").next().unwrap();
        for setting in section.settings {
            let shown = part.lines().any(|line| {
                line.trim_start_matches(['#', ' '])
                    .starts_with(&format!("{} = ", setting.name))
            });
            assert!(shown, "{} in {}", setting.name, section.name);
            assert!(
                docs.contains(&format!("| `{}` |", setting.name)),
                "{}",
                setting.name
            );
        }
    }
}

/// The example with every setting that has a default switched on.
fn uncommented(text: &str) -> String {
    text.lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest)
                if rest.starts_with(|c: char| c.is_ascii_lowercase()) && rest.contains(" = ") =>
            {
                rest
            }
            _ => line,
        })
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn the_example_equals_the_defaults() {
    let text = example();
    let switched_on = uncommented(&text);
    let on = switched_on
        .lines()
        .filter(|line| line.contains(" = ") && !line.starts_with('#'))
        .count();
    let unset = [Kind::MaybeFlag, Kind::NumberMap, Kind::FlagOrList];
    let settings = SECTIONS.iter().flat_map(|section| section.settings);
    let with_default = settings.filter(|setting| !unset.contains(&setting.kind));
    assert_eq!(on, with_default.count());
    for text in [text, switched_on] {
        // The file that the example names must be there.
        let fallback = "{}";
        let place = Place::with_toml(&text).file("conf/fallback.json", fallback);
        let copied = place.good();
        fs::write(place.path("conf/luna.toml"), "").unwrap();
        let bare = place.good();
        assert!(
            Settings::diff(&bare, &copied).is_empty(),
            "{:?}",
            Settings::diff(&bare, &copied)
        );
        assert!(copied.warnings.is_empty(), "{:?}", copied.warnings);
    }
}

#[test]
fn every_file_of_conf_is_sound() {
    let folder = package().join("conf");
    let mut seen = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        // Keys have no business in an example, so the tests may see the defaults of this machine only.
        let mut options = LoadOptions {
            cwd: folder.clone(),
            insecure_example_keys: true,
            ..LoadOptions::default()
        };
        let place = Place::new().file("fallback.json", "{}");
        if name.contains("prices") {
            let copy = place.path("prices.toml");
            fs::write(&copy, text).unwrap();
            options.env = super::env(&[("LUNA__USAGE__PRICES", copy.to_str().unwrap())]);
        } else if name.contains(".toml") {
            let config = place.path("luna.toml");
            fs::write(&config, text).unwrap();
            options.config = Some(config);
        } else if name.contains("fallback") {
            let copy = place.path("chains.json");
            fs::write(&copy, text).unwrap();
            options.env = super::env(&[("FALLBACK_CONFIG", copy.to_str().unwrap())]);
        } else {
            continue;
        }
        load(&options).unwrap_or_else(|problems| panic!("{name}: {}", lines(&problems)));
        seen += 1;
    }
    assert!(seen >= 3);
}

#[test]
fn the_example_of_chains_is_in_the_new_form() {
    let text = fs::read_to_string(package().join("conf/fallback.json.example")).unwrap();
    let settings = Place::with_fallback(&text).good();
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    assert!(settings.rules.chains().len() >= 2);
}

#[test]
fn names_are_unique_and_their_defaults_sound() {
    let mut names: Vec<String> = SECTIONS
        .iter()
        .flat_map(|section| {
            section
                .settings
                .iter()
                .map(move |setting| format!("{}.{}", section.name, setting.name))
        })
        .collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
    for name in names {
        let full = name.replace('*', "default");
        assert!(crate::config::schema::find(&full).is_some(), "{full}");
    }
}
