//! prices.toml: read, refused, reloaded.

use super::{Place, assert_problems, package};
use crate::config::{LoadOptions, Settings, load};

const TOML: &str = "[usage]\nprices = 'prices.toml'";

#[test]
fn the_example_is_sound() {
    let text = std::fs::read_to_string(package().join("conf/prices.toml.example")).unwrap();
    let place = Place::with_toml(TOML).file("conf/prices.toml", &text);
    let settings = place.good();
    assert!(!settings.usage.prices.is_empty());
    assert!(
        settings
            .sources
            .iter()
            .any(|file| file.ends_with("prices.toml"))
    );
    assert!(Settings::defaults().usage.prices.is_empty());
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let place = Place::with_toml(TOML).file(
        "conf/prices.toml",
        "[[price]]\nmodel = 'a'\ninput = -1.0\noutput = 2\n\n[[price]]\nmodel = ''\nfrom = '2026-13-01'\ninput = 1\n\
         output = 1e9\n\n[[price]]\nmodel = 'b'\ninput = 1\noutput = 1\n[[price]]\nmodel = 'b'\ninput = 1\noutput = 1\n\
         cache_read = nan\n",
    );
    assert_problems(
        &place.bad(),
        &[
            "conf/prices.toml:3: input must be between 0 and 1000000 USD",
            "conf/prices.toml:10: output must be between 0 and 1000000 USD",
            "conf/prices.toml:8: from must be a date",
            "conf/prices.toml:7: model must be a name or a pattern",
            "conf/prices.toml:20: cache_read must be between",
            "conf/prices.toml:16: `b` has a price from the same day above",
        ],
    );
    for (text, wanted) in [
        (
            "[[price]]\nmodel = 'a'\ninputs = 1\n",
            "conf/prices.toml:3: unknown field `inputs`",
        ),
        ("price = 3", "conf/prices.toml:1: "),
        ("[[price]\n", "conf/prices.toml:1: "),
        (
            "[[price]]\nmodel = 'a'\ninput = 1\n",
            "conf/prices.toml:1: missing field `output`",
        ),
    ] {
        let place = Place::with_toml(TOML).file("conf/prices.toml", text);
        assert_problems(&place.bad(), &[wanted]);
    }
    assert_problems(
        &Place::with_toml(TOML).bad(),
        &["conf/luna.toml:2: usage.prices: conf/prices.toml cannot be read"],
    );
}

#[test]
fn a_changed_list_is_a_changed_setting() {
    let price = |input: &str| format!("[[price]]\nmodel = 'a'\ninput = {input}\noutput = 2\n");
    let place = Place::with_toml(TOML).file("conf/prices.toml", &price("1"));
    let old = place.good();
    let place = place.file("conf/prices.toml", &price("1.0"));
    let same = place.good();
    let place = place.file("conf/prices.toml", &price("3"));
    let new = place.good();
    assert!(Settings::diff(&old, &same).is_empty());
    assert_eq!(Settings::diff(&old, &new).changed, ["usage.prices"]);
}

#[test]
fn published_files_load_together() {
    let folder = package().join("conf");
    let text = std::fs::read_to_string(folder.join("luna.toml.example")).unwrap();
    let text = text.replace("#prices = \"\"", "prices = \"prices.toml.example\"");
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("luna.toml"), text).unwrap();
    std::fs::copy(
        folder.join("prices.toml.example"),
        place.path().join("prices.toml.example"),
    )
    .unwrap();
    let options = LoadOptions {
        config: Some(place.path().join("luna.toml")),
        cwd: place.path().to_path_buf(),
        ..LoadOptions::default()
    };
    let settings = load(&options).unwrap();
    assert!(!settings.usage.prices.is_empty());
}
