//! The official SDKs through the gateway: Python and Node, Anthropic's and OpenAI's. The scripts are in `python/` and
//! `node/`; they assert what they see and print a result, which is compared here with what the upstream saw.

/// A test for each SDK out of a function that takes the SDK.
macro_rules! with_each_sdk {
    ($test:ident) => {
        mod $test {
            use super::super::Sdk;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn python_openai() {
                super::$test(Sdk::PythonOpenai).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn python_anthropic() {
                super::$test(Sdk::PythonAnthropic).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn node_openai() {
                super::$test(Sdk::NodeOpenai).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn node_anthropic() {
                super::$test(Sdk::NodeAnthropic).await;
            }
        }
    };
}

mod answers;
mod broken;
mod errors;
mod failing;
mod kinds;
mod refused;
pub mod trio;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::world::World;

const FIRST: &str = "claude-sonnet-4-6";
const SECOND: &str = "gemini-3-flash";

/// Which SDK drives a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sdk {
    PythonAnthropic,
    PythonOpenai,
    NodeAnthropic,
    NodeOpenai,
}

impl Sdk {
    pub const fn is_openai(self) -> bool {
        matches!(self, Self::PythonOpenai | Self::NodeOpenai)
    }

    /// The script of this SDK that asks `cells`, or raises `errors`.
    fn script(self, of: &str) -> &'static str {
        match (self, of) {
            (Self::PythonAnthropic, "cells") => "messages.py",
            (Self::PythonAnthropic, _) => "messages_errors.py",
            (Self::PythonOpenai, "cells") => "chat.py",
            (Self::PythonOpenai, _) => "chat_errors.py",
            (Self::NodeAnthropic, "cells") => "messages.mjs",
            (Self::NodeAnthropic, _) => "messages_errors.mjs",
            (Self::NodeOpenai, "cells") => "chat.mjs",
            (Self::NodeOpenai, _) => "chat_errors.mjs",
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

/// The interpreter that has the SDKs. Without one a test fails: skipping would look like passing.
fn python() -> PathBuf {
    if let Some(given) = std::env::var_os("LUNA_TEST_PYTHON") {
        return given.into();
    }
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    assert!(
        venv.exists(),
        "the SDK tests need Python with the pinned SDKs, and {} is not there: run `make test-sdks` \
         (or tests/conformance/setup-python.sh), or name an interpreter in LUNA_TEST_PYTHON",
        venv.display()
    );
    venv
}

/// Node, with the pinned SDKs beside the scripts.
fn node() -> PathBuf {
    let modules = folder().join("node/node_modules");
    assert!(
        modules.exists(),
        "the SDK tests need the pinned Node SDKs, and {} is not there: run `make test-sdks` \
         (or tests/conformance/setup-node.sh)",
        modules.display()
    );
    "node".into()
}

/// The version of a Python SDK that requirements.txt pins.
fn pinned(package: &str) -> String {
    let text = std::fs::read_to_string(folder().join("requirements.txt")).unwrap();
    let pin = text
        .lines()
        .find_map(|line| line.strip_prefix(package)?.strip_prefix("=="));
    pin.expect("the package is pinned").to_owned()
}

/// Runs a script against `world` with `key`, and gives the JSON that it prints.
async fn run_with(world: &World, key: &str, script: &str, arguments: &[&str]) -> Value {
    let (program, place) = match script.ends_with(".mjs") {
        true => (node(), "node"),
        false => (python(), "python"),
    };
    let mut command = Command::new(&program);
    command
        .arg(folder().join(place).join(script))
        .args(arguments)
        .current_dir(world.folder.path())
        // Neither a proxy nor a key of whoever runs the tests.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", world.folder.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("LUNA_URL", world.url(""))
        .env("LUNA_KEY", key)
        .env("LUNA_ADMIN", &world.admin)
        .env("LUNA_SIM", world.sim.url())
        .env("LUNA_SDK_VERSION", pinned("anthropic"))
        .env("LUNA_OPENAI_VERSION", pinned("openai"));
    let done = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap();
    let done = done.unwrap_or_else(|e| panic!("{} cannot run: {e}", program.display()));
    let (out, err) = (
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
    assert!(
        done.status.success(),
        "{script} {arguments:?}: {}\n{out}\n{err}",
        done.status
    );
    serde_json::from_str(out.trim())
        .unwrap_or_else(|e| panic!("{script} {arguments:?} printed {out:?}: {e}\n{err}"))
}

async fn run(world: &World, script: &str, arguments: &[&str]) -> Value {
    run_with(world, &world.key, script, arguments).await
}

/// Runs `errors.py`; the whole result.
async fn error(world: &World, how: &str, retries: u32, fields: &Value) -> Value {
    run(
        world,
        "errors.py",
        &[how, &retries.to_string(), &fields.to_string()],
    )
    .await
}

#[track_caller]
fn expect(result: &Value, class: &str, status: u16, kind: &str) {
    let error = &result["error"];
    let classes: Vec<&str> = error["classes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(classes.contains(&class), "{class}: {result:#}");
    assert_eq!(error["status"], status, "{result:#}");
    assert_eq!(error["type"], kind, "{result:#}");
    let id = error["request_id"].as_str().unwrap_or_default();
    assert!(id.starts_with("req_"), "{result:#}");
    if status != 200 {
        assert_eq!(error["body_request_id"], id, "{result:#}");
    }
    assert!(
        !error["message"].as_str().unwrap_or_default().is_empty(),
        "{result:#}"
    );
}

fn asked(world: &World) -> usize {
    world.handle().messages().len()
}
