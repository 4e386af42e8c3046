//! `luna check`, and the examples that are published.

use std::path::Path;

use super::luna;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_names_file_line_and_the_nearest_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let write = |name: &str, text: &str| std::fs::write(at.join(name), text).unwrap();
    let check = ["check", "--config", "luna.toml"];

    write(
        "luna.toml",
        "[server]\nlisten = \"127.0.0.1:8180\"\n\n[quota]\npoll_interval_s = 15\n",
    );
    write(
        "fallback.json",
        r#"{"chains": {"a": ["a", "b"]}, "aliases": {"x": "a"}}"#,
    );
    let sound = luna(at, &check, &[]).await.expect(0);
    assert!(
        sound.out.contains("sound: ") && sound.out.contains("1 chain, 1 alias"),
        "{}",
        sound.out
    );
    assert!(
        std::fs::read_dir(at).unwrap().count() == 2,
        "check writes nothing"
    );

    write(
        "luna.toml",
        "[server]\nlisten = \"127.0.0.1:8180\"\nmax_conections = 5\n\n[quotas]\npoll_interval_s = 15\n",
    );
    let broken = luna(at, &check, &[]).await.expect(1);
    assert!(
        broken.out.contains("luna.toml:3: ") && broken.out.contains("max_connections"),
        "{}",
        broken.out
    );
    assert!(
        broken.out.contains("luna.toml:5: ") && broken.out.contains("quota"),
        "{}",
        broken.out
    );

    write("luna.toml", "[server]\nlisten = \"127.0.0.1:8180\"\n");
    for (fallback, line, what) in [
        (
            "{\n  \"chains\": {\n    \"a\": [\"a\", \"a\"]\n  }\n}",
            3,
            "twice",
        ),
        ("{\n  \"chains\": {\n    \"a\": []\n  }\n}", 3, "empty"),
        (
            "{\n  \"chains\": {},\n  \"tresholds\": 1\n}",
            3,
            "threshold",
        ),
        (
            "{\n  \"chains\": {\"a\": [{\"model\": \"a\",\n   \"upstream\": \"elsewhere\"}]}\n}",
            3,
            "elsewhere",
        ),
        (
            "{\n  \"chains\": {},\n  \"aliases\": {\"x\": \"y\", \"y\": \"x\"}\n}",
            3,
            "x",
        ),
        ("{\n  \"chains\": {\n", 3, ""),
    ] {
        write("fallback.json", fallback);
        let broken = luna(at, &check, &[]).await.expect(1);
        let place = format!("fallback.json:{line}: ");
        let places = [place.clone(), format!("fallback.json:{}: ", line - 1)];
        let told = broken
            .out
            .lines()
            .any(|l| places.iter().any(|p| l.contains(p.as_str())) && l.contains(what));
        assert!(told, "{place} {what}\n{fallback}\n{}", broken.out);
    }
    write("fallback.json", "{}");

    // The environment, the key file, a file that is not there.
    let typo = luna(at, &check, &[("LUNA__SERVER__GRACE", "5")])
        .await
        .expect(1);
    assert!(
        typo.out.contains("LUNA__SERVER__GRACE") && typo.out.contains("grace_s"),
        "{}",
        typo.out
    );
    std::fs::create_dir(at.join("data")).unwrap();
    write("data/keys.json", "{\n \"keys\": [\n");
    let keys = luna(at, &check, &[]).await.expect(1);
    assert!(keys.out.contains("data/keys.json:"), "{}", keys.out);
    let absent = luna(at, &["check", "--config", "nowhere.toml"], &[])
        .await
        .expect(1);
    assert!(absent.out.contains("nowhere.toml"), "{absent:?}");
    luna(at, &["check", "--konfig", "x"], &[]).await.expect(2);

    // What check refuses, serve refuses too, with the same words.
    std::fs::remove_dir_all(at.join("data")).unwrap();
    write(
        "luna.toml",
        "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nkey = \"sk-admin-luna2026\"\n",
    );
    let example = luna(at, &check, &[]).await.expect(1);
    let line = example
        .out
        .lines()
        .find(|l| l.contains("luna.toml:4: "))
        .unwrap_or_else(|| panic!("{example:?}"));
    assert!(
        !example.out.contains("sk-admin-luna2026"),
        "{}",
        example.out
    );
    let serve = luna(at, &["serve", "--config", "luna.toml"], &[])
        .await
        .expect(1);
    assert!(serve.err.contains(line), "{serve:?}\n{line}");
}

/// Every example in conf/ is sound, as it is and after being copied to its real name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_in_conf_are_sound() {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("conf")).unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(conf).unwrap() {
        let path = entry.unwrap().path();
        let Some(name) = path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .strip_suffix(".example")
            .map(str::to_owned)
        else {
            continue;
        };
        std::fs::copy(&path, folder.path().join("conf").join(name)).unwrap();
        seen += 1;
    }
    assert!(seen >= 2, "luna.toml and fallback.json");
    // Without --config: conf/luna.toml is found by itself.
    let done = luna(folder.path(), &["check"], &[]).await.expect(0);
    assert!(
        done.out.contains("conf/luna.toml") && done.out.contains("conf/fallback.json"),
        "{}",
        done.out
    );
    assert!(!done.out.contains("0 chains"), "{}", done.out);
    let none = tempfile::tempdir().unwrap();
    let done = luna(none.path(), &["check"], &[]).await.expect(0);
    assert!(done.out.contains("built-in defaults"), "{}", done.out);
}
