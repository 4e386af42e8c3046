//! Every error of contracts/gateway.md section 4 that this version can give, as bytes: status line,
//! headers and body, compared with `golden/NAME.txt`.
//!
//! What differs from run to run is masked: request ids, dates, times and the durations until them.
//! `LUNA_GOLDEN=write` writes the files anew; look at the difference before you commit it.

mod masks;
mod requests;
mod upstreams;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::masks::rendered;
use crate::support::raw::{self, RawAnswer};
use crate::support::world::World;

const FIRST: &str = "claude-sonnet-4-6";
const HELLO: &str = r#""max_tokens":50,"messages":[{"role":"user","content":"Hello"}]"#;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/golden")
}

fn hello() -> String {
    format!(r#"{{"model":"{FIRST}",{HELLO}}}"#)
}

/// The head of a request; each line of `more` is a header.
fn head(method: &str, path: &str, key: &str, more: &[&str]) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: luna\r\n");
    if !key.is_empty() {
        head.push_str(&format!("x-api-key: {key}\r\n"));
    }
    for line in more {
        head.push_str(&format!("{line}\r\n"));
    }
    head
}

fn post(path: &str, key: &str, more: &[&str], body: &str) -> Vec<u8> {
    let head = head("POST", path, key, more);
    format!(
        "{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn get(method: &str, path: &str, key: &str, more: &[&str]) -> Vec<u8> {
    format!("{}\r\n", head(method, path, key, more)).into_bytes()
}

/// The answers so far, by the name of their file.
#[derive(Default)]
struct Seen(BTreeMap<String, String>);

impl Seen {
    fn add(&mut self, name: &str, answer: &RawAnswer) {
        let text = rendered(answer);
        assert!(
            self.0.insert(name.to_owned(), text).is_none(),
            "{name} is there twice"
        );
    }

    async fn ask(&mut self, name: &str, world: &World, request: &[u8]) {
        let answer = raw::ask(world.app.address, request).await;
        self.add(name, &answer);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_error_is_worded_and_framed_like_this() {
    let mut seen = Seen::default();
    requests::keys_and_requests(&mut seen).await;
    requests::too_many_wrong_keys(&mut seen).await;
    upstreams::upstream_failures(&mut seen).await;
    upstreams::broken_streams(&mut seen).await;
    upstreams::full_houses(&mut seen).await;

    if std::env::var("LUNA_GOLDEN").as_deref() == Ok("write") {
        std::fs::create_dir_all(folder()).unwrap();
        for (name, text) in &seen.0 {
            std::fs::write(folder().join(format!("{name}.txt")), text).unwrap();
        }
    }
    let mut kept = BTreeMap::new();
    for file in std::fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        kept.insert(name, std::fs::read_to_string(path).unwrap());
    }
    let mut wrong = Vec::new();
    for (name, text) in &seen.0 {
        match kept.remove(name) {
            Some(golden) if golden == *text => {}
            Some(golden) => wrong.push(format!("--- golden/{name}.txt\n{golden}+++ now\n{text}")),
            None => wrong.push(format!("golden/{name}.txt is missing; now\n{text}")),
        }
    }
    wrong.extend(
        kept.keys()
            .map(|name| format!("golden/{name}.txt is of no case")),
    );
    assert!(
        wrong.is_empty(),
        "{}\nLUNA_GOLDEN=write takes these over",
        wrong.join("\n")
    );
}
