//! Whatever a file or variable holds: never a panic, and always a line that exists.

use std::path::Path;

use proptest::prelude::*;

use super::{Place, env};
use crate::config::schema::SECTIONS;
use crate::config::{BaseUrl, LoadOptions, Settings, load};

fn name() -> impl Strategy<Value = String> {
    let names: Vec<String> = SECTIONS
        .iter()
        .flat_map(|section| {
            section
                .settings
                .iter()
                .map(|setting| setting.name.to_owned())
        })
        .chain(["url_env", "key_file", "limits", "x"].map(str::to_owned))
        .collect();
    proptest::sample::select(names)
}

fn section() -> impl Strategy<Value = String> {
    let names: Vec<String> = SECTIONS
        .iter()
        .map(|section| section.name.replace('*', "a"))
        .collect();
    proptest::sample::select(names)
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f32>().prop_map(|n| format!("{n:?}")),
        "[a-z:/.0-9*<>_]{0,12}".prop_map(|text| format!("'{text}'")),
        Just("true".to_owned()),
        Just("[1, 'a']".to_owned()),
        Just("{a = 1, b = 'x'}".to_owned()),
        Just("2020-01-01".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_toml(parts in proptest::collection::vec((section(), proptest::collection::vec((name(), value()), 0..4)), 0..4)) {
        let mut text = String::new();
        for (section, settings) in parts {
            text.push_str(&format!("[{section}]\n"));
            for (name, value) in settings {
                text.push_str(&format!("{name} = {value}\n"));
            }
        }
        if let Err(problems) = Settings::from_text(&text, None, Path::new("/nowhere")) {
            let lines = text.lines().count();
            prop_assert!(!problems.is_empty());
            for problem in problems {
                prop_assert!(problem.line.is_none_or(|line| (1..=lines).contains(&line)), "{problem}\n{text}");
            }
        }
    }

    #[test]
    fn any_text(toml in "(?s).{0,80}", json in "(?s).{0,80}") {
        let _ = Settings::from_text(&toml, Some(&json), Path::new("/nowhere"));
    }

    #[test]
    fn any_json(json in r#"(\{|\}|\[|\]|"a"|"model"|"tiers"|"chains"|"aliases"|"threshold"|:|,|1|0\.5|null|\n){0,30}"#) {
        if let Err(problems) = Settings::from_text("", Some(&json), Path::new("/nowhere")) {
            prop_assert!(problems.iter().all(|problem| problem.line.is_some()), "{problems:?}");
        }
    }

    #[test]
    fn any_variable(name in "LUNA__[A-Z_.]{0,30}", value in "(?s).{0,20}") {
        let options = LoadOptions { cwd: "/nowhere".into(), env: env(&[(&name, &value)]), ..LoadOptions::default() };
        if let Err(problems) = load(&options) {
            prop_assert!(problems.iter().all(|problem| problem.what.starts_with("LUNA__")), "{problems:?}");
        }
    }

    #[test]
    fn any_known_variable(section in section(), name in name(), value in "[a-z0-9.:/*-]{0,12}") {
        let variable = format!("LUNA__{}__{}", section.replace('.', "__"), name).to_uppercase();
        let options = LoadOptions { cwd: "/nowhere".into(), env: env(&[(&variable, &value)]), ..LoadOptions::default() };
        let _ = load(&options);
    }

    #[test]
    fn any_url_reads_back(url in "(?i)https?://[a-z0-9._-]{1,10}(:[0-9]{1,5})?(/[a-z0-9]{0,3}){0,3}") {
        if let Ok(parsed) = BaseUrl::parse(&url) {
            prop_assert_eq!(BaseUrl::parse(&parsed.to_string()), Ok(parsed));
        }
    }

    #[test]
    fn a_difference_of_the_same_is_none(seconds in 1u32..3600) {
        let place = Place::with_toml(&format!("[quota]\npoll_interval_s = {seconds}\nstale_after_s = 7200\n"));
        prop_assert!(Settings::diff(&place.good(), &place.good()).is_empty());
    }
}
