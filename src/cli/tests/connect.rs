use super::{put, source};
use crate::cli::connect::ConnectArgs;

const ENV_KEY: (&str, &str) = ("ADMIN_KEY", "key-of-the-environment-of-the-test");

/// URL of the admin routes, URL of clients, key.
fn target(
    args: &ConnectArgs,
    files: &[(&str, &str)],
    env: &[(&str, &str)],
) -> Result<(String, String, String), String> {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), files);
    let (target, key) = args
        .target(&source(folder.path(), env))
        .map_err(|e| e.to_string())?;
    Ok((
        target.admin.to_string(),
        target.client,
        key.expose().to_owned(),
    ))
}

#[test]
fn the_url_comes_from_the_configuration_with_loopback_for_all_addresses() {
    let args = ConnectArgs::default();
    for (toml, env, admin, client) in [
        (
            "",
            vec![],
            "http://127.0.0.1:8180/",
            "http://127.0.0.1:8180",
        ),
        (
            "",
            vec![("PROXY_PORT", "9999")],
            "http://127.0.0.1:9999/",
            "http://127.0.0.1:9999",
        ),
        (
            "[server]\nlisten = \"[::]:7000\"",
            vec![],
            "http://[::1]:7000/",
            "http://[::1]:7000",
        ),
        (
            "[server]\nlisten = \"10.1.2.3:7000\"",
            vec![],
            "http://10.1.2.3:7000/",
            "http://10.1.2.3:7000",
        ),
        (
            "[admin]\nlisten = \"0.0.0.0:7001\"",
            vec![],
            "http://127.0.0.1:7001/",
            "http://127.0.0.1:8180",
        ),
    ] {
        let mut env = env;
        env.push(ENV_KEY);
        let found = target(&args, &[("conf/luna.toml", toml)], &env).unwrap();
        assert_eq!(
            (found.0.as_str(), found.1.as_str()),
            (admin, client),
            "{toml}"
        );
    }
}

#[test]
fn the_key_comes_from_the_file_then_the_environment_then_the_configuration() {
    let toml = (
        "conf/luna.toml",
        "[admin]\nkey = \"key-of-the-configuration-of-the-test\"\n",
    );
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &[("key", "\n  key-of-a-file  \n")]);
    let named = ConnectArgs {
        admin_key_file: Some(folder.path().join("key")),
        ..ConnectArgs::default()
    };
    let key = |args: &ConnectArgs, env: &[(&str, &str)]| target(args, &[toml], env).unwrap().2;
    assert_eq!(key(&named, &[ENV_KEY]), "key-of-a-file");
    assert_eq!(key(&ConnectArgs::default(), &[ENV_KEY]), ENV_KEY.1);
    assert_eq!(
        key(&ConnectArgs::default(), &[("ADMIN_KEY", "")]),
        "key-of-the-configuration-of-the-test"
    );
    let none = target(&ConnectArgs::default(), &[], &[]).unwrap_err();
    assert!(
        none.contains("ADMIN_KEY") && none.contains("--admin-key-file"),
        "{none}"
    );
}

#[test]
fn a_key_file_must_be_one() {
    let folder = tempfile::tempdir().unwrap();
    put(
        folder.path(),
        &[("empty", "\n\n"), ("long", &"x".repeat(5000))],
    );
    for (name, says) in [
        ("empty", "it is empty"),
        ("long", "too long"),
        ("none", "No such file"),
    ] {
        let args = ConnectArgs {
            admin_key_file: Some(folder.path().join(name)),
            ..ConnectArgs::default()
        };
        let error = target(&args, &[], &[]).unwrap_err();
        assert!(error.contains(says) && error.contains(name), "{error}");
    }
}

#[test]
fn a_broken_configuration_does_not_matter_when_nothing_is_needed_of_it() {
    let broken = [("conf/luna.toml", "[srever]\n")];
    let url = ConnectArgs {
        url: Some("https://luna.example/gate/".parse().unwrap()),
        ..ConnectArgs::default()
    };
    let found = target(&url, &broken, &[ENV_KEY]).unwrap();
    assert_eq!(
        (found.0.as_str(), found.1.as_str()),
        ("https://luna.example/gate/", "https://luna.example/gate")
    );
    let no_key = target(&url, &broken, &[]).unwrap_err();
    assert!(
        no_key.contains("conf/luna.toml:1:") && no_key.contains("ADMIN_KEY"),
        "{no_key}"
    );
    let no_url = target(&ConnectArgs::default(), &broken, &[ENV_KEY]).unwrap_err();
    assert!(no_url.contains("--url"), "{no_url}");
}

#[test]
fn offline_refuses_a_gateway() {
    assert!(ConnectArgs::default().refuse_for_offline().is_ok());
    let url = ConnectArgs {
        url: Some("http://host".parse().unwrap()),
        ..ConnectArgs::default()
    };
    assert_eq!(url.refuse_for_offline().unwrap_err().code, 2);
}
