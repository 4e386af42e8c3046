use super::{put, source};
use crate::cli::check::check;
use crate::config::LoadOptions;

/// The output for these files and this environment, and whether they are sound.
fn checked(files: &[(&str, &str)], env: &[(&str, &str)]) -> (Vec<String>, bool) {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), files);
    let found = check(&source(folder.path(), env));
    let before = std::fs::read_dir(folder.path()).unwrap().count();
    let given = files
        .iter()
        .map(|(name, _)| name.split('/').next())
        .collect::<std::collections::BTreeSet<_>>();
    assert_eq!(before, given.len(), "a check writes nothing");
    (found.text.lines().map(str::to_owned).collect(), found.sound)
}

const MORE: &str = "the key file is checked once the configuration is sound";

#[test]
fn broken_files_give_these_lines() {
    let summary = |errors: &str| format!("{errors}; {MORE}");
    for (file, text, lines) in [
        (
            "conf/luna.toml",
            "[server]\nlistne = \"0.0.0.0:1\"\ngrace_s = -1\n",
            vec![
                "conf/luna.toml:2: unknown setting `server.listne`, did you mean `listen`?".to_owned(),
                "conf/luna.toml:3: server.grace_s must be between 0 and 86400 seconds, not -1".to_owned(),
                summary("2 errors"),
            ],
        ),
        (
            "conf/luna.toml",
            "\n[server\n",
            vec![
                "conf/luna.toml:2: unclosed table, expected `]`".to_owned(),
                summary("1 error"),
            ],
        ),
        (
            "conf/fallback.json",
            "{\"chains\": {\n\"a\": []}}",
            vec![
                "conf/fallback.json:2: chain `a`: the chain is empty: name at least one model, in `\"a\": []}}`".to_owned(),
                summary("1 error"),
            ],
        ),
        (
            "data/keys.json",
            "{\"version\": 1, \"keys\": [\n{\"name\": \"x\", \"hash\": \"zz\"}]}",
            vec![
                "data/keys.json:2: key \"x\": \"hash\" must be a SHA-256 in hex (64 characters) (the file was left as it is)"
                    .to_owned(),
                "1 error".to_owned(),
            ],
        ),
        (
            "data/usage/journal-j.jsonl",
            "{\"journal\":\"j\",\"version\":9}\n",
            vec![
                "data/usage/journal-j.jsonl: written by another version of Luna (journal version 9, this one reads 1): \
                 start that version once and stop it, which takes the journal in, or move the file away to start without \
                 its counts; it is left as it is"
                    .to_owned(),
                "1 error".to_owned(),
            ],
        ),
        (
            "data/usage/journal-j.jsonl",
            "{\"journal\":\"j\",\"version\":1}\n{\"seq\":x}\n",
            vec![
                "data/usage/journal-j.jsonl:2: damaged usage journal: expected value at line 1 column 8: mend or remove \
                 that line (each line is one request), or move the file away to start without the requests that are only \
                 in it; it is left as it is"
                    .to_owned(),
                "1 error".to_owned(),
            ],
        ),
    ] {
        assert_eq!(checked(&[(file, text)], &[]), (lines, false), "{file}: {text}");
    }
}

#[test]
fn a_wrong_variable_is_named() {
    let (lines, sound) = checked(&[], &[("PROXY_PORT", "abc")]);
    assert!(!sound);
    assert_eq!(lines[0], "PROXY_PORT: must be a port from 1 to 65535");
}

#[test]
fn sound_files_are_summed_up() {
    let (lines, sound) = checked(
        &[
            (
                "conf/luna.toml",
                "[server]\nlisten = \"127.0.0.1:9000\"\n[store]\ndata_dir = \"../data\"\n",
            ),
            (
                "conf/fallback.json",
                r#"{"chains": {"a": ["a", "b"]}, "aliases": {"c": "a"}}"#,
            ),
            (
                "data/keys.json",
                r#"{"version": 1, "keys": [{"id": "key_a", "name": "x", "hash": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}]}"#,
            ),
        ],
        &[],
    );
    assert!(sound, "{lines:?}");
    assert_eq!(
        lines,
        [
            "sound: conf/luna.toml, conf/fallback.json",
            "  server.listen 127.0.0.1:9000",
            "  metrics.listen 127.0.0.1:9180",
            "  upstream default: http://localhost:8080 (antigravity)",
            "  1 chain, 1 alias",
            "  1 key in conf/../data/keys.json",
        ]
    );
}

#[test]
fn nothing_at_all_is_sound() {
    let (lines, sound) = checked(&[], &[]);
    assert!(sound);
    assert_eq!(lines[0], "sound: built-in defaults");
    assert_eq!(
        lines.last().unwrap(),
        "  data/keys.json is not there yet: the first start makes it"
    );
}

#[test]
fn keys_of_the_python_proxy_are_announced_and_no_secret_is_shown() {
    let (lines, sound) = checked(
        &[(
            "data/keys.json",
            r#"{"sk-old-secret-of-alice": {"name": "alice"}}"#,
        )],
        &[],
    );
    assert!(sound);
    let text = lines.join("\n");
    assert!(
        text.contains("1 key of the Python proxy in data/keys.json"),
        "{text}"
    );
    assert!(!text.contains("sk-old-secret"), "{text}");
}

#[test]
fn example_keys_are_refused_unless_allowed_on_loopback() {
    let folder = tempfile::tempdir().unwrap();
    let given = |insecure| LoadOptions {
        insecure_example_keys: insecure,
        ..source(
            folder.path(),
            &[
                ("ADMIN_KEY", "sk-admin-luna2026"),
                ("LUNA__SERVER__LISTEN", "127.0.0.1:8180"),
            ],
        )
    };
    let refused = check(&given(false));
    assert!(
        !refused.sound && !refused.text.contains("luna2026"),
        "{}",
        refused.text
    );
    assert!(check(&given(true)).sound);
}
