//! Every command that README and docs promise: a fenced `sh` block after `<!-- test -->` is run as it
//! stands, against the real binary, with URL, KEY and ADMIN set.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::commands::Gateway;

/// A block of commands and where it stands.
#[derive(Debug, PartialEq)]
struct Block {
    file: PathBuf,
    /// Line of its first command, from 1 on.
    line: usize,
    text: String,
}

/// The marked blocks of a document. A mark without a block is an error of the document.
fn blocks(file: &Path, text: &str) -> Result<Vec<Block>, String> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((mark, line)) = lines.next() {
        if line.trim() != "<!-- test -->" {
            continue;
        }
        let at = |what: &str| format!("{}:{}: {what}", file.display(), mark + 1);
        let fence = lines.by_ref().find(|(_, line)| !line.trim().is_empty());
        if fence.is_none_or(|(_, line)| line.trim() != "```sh") {
            return Err(at("no ```sh block follows this mark"));
        }
        let mut block = Block {
            file: file.to_owned(),
            line: mark + 3,
            text: String::new(),
        };
        loop {
            match lines.next() {
                None => return Err(at("the block after this mark does not end")),
                Some((_, line)) if line.trim() == "```" => break,
                Some((_, line)) => block.text.extend([line, "\n"]),
            }
        }
        found.push(block);
    }
    Ok(found)
}

fn documents() -> Vec<PathBuf> {
    let repo = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![repo.join("README.md")];
    let mut folders = vec![repo.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                files.push(path);
            }
        }
    }
    files[1..].sort();
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_marked_command_of_the_documents_works() {
    let repo = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    for file in documents() {
        let text = std::fs::read_to_string(&file).unwrap();
        let shown = file.strip_prefix(repo).unwrap();
        all.extend(blocks(shown, &text).unwrap_or_else(|e| panic!("{e}")));
    }
    let readme = all
        .iter()
        .filter(|block| block.file == Path::new("README.md"))
        .count();
    assert!(
        readme > 0,
        "README.md has no block of commands marked <!-- test -->"
    );

    let gateway = Gateway::start().await;
    let key = gateway.create_key("reader").await;
    for block in all {
        let mut shell = Command::new("sh");
        shell
            .args(["-eu", "-c", &block.text])
            .current_dir(gateway.folder.path())
            .env_clear()
            .env("PATH", gateway.path_with_luna())
            .env("HOME", gateway.folder.path())
            .env("URL", gateway.luna.url(""))
            .env("KEY", &key)
            .env("ADMIN", &gateway.admin);
        let done = tokio::task::spawn_blocking(move || shell.output().unwrap())
            .await
            .unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr),
        );
        let place = format!("{}:{}", block.file.display(), block.line);
        assert!(
            done.status.success(),
            "{place}: {}\n{}\n{out}\n{err}",
            done.status,
            block.text
        );
        assert!(
            !out.contains("\"type\":\"error\""),
            "{place}: an error was answered\n{}\n{out}",
            block.text
        );
    }
    gateway.stop().await;
}

#[test]
fn marks_are_found_and_broken_ones_are_told() {
    let file = Path::new("a.md");
    let text = "# x\n```sh\nnot this\n```\n<!-- test -->\n```sh\none \\\n  two\nthree\n```\n<!-- test -->\n\n```sh\nfour\n```\n";
    let found = blocks(file, text).unwrap();
    let told: Vec<(usize, &str)> = found.iter().map(|b| (b.line, b.text.as_str())).collect();
    assert_eq!(told, [(7, "one \\\n  two\nthree\n"), (13, "four\n")]);
    for bad in [
        "<!-- test -->\n",
        "<!-- test -->\n```json\n{}\n```\n",
        "<!-- test -->\n```sh\ntrue\n",
    ] {
        assert!(
            blocks(file, bad).unwrap_err().starts_with("a.md:1: "),
            "{bad}"
        );
    }
}
