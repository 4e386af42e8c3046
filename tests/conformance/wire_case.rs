//! One golden case on disk.

use std::path::{Path, PathBuf};

use luna::wire::convert::Capabilities;
use serde_json::Value;

/// A folder of files and what its `case.json` says:
/// `direction` (`o2a`, `a2o`), `profile` (`anthropic`, `antigravity`, `openai`), `model` of the tier, `capabilities` that
/// differ from the profile's, `warnings` (the header), `rejected` (`param`, and `says`: a part of the message), `fault`
/// (a part of its Debug text), `about` (the contract's row).
pub(super) struct Case {
    /// `GROUP/CASE`.
    pub(super) name: String,
    dir: PathBuf,
    pub(super) spec: Value,
    pub(super) model: String,
}

impl Case {
    fn read(name: String, dir: PathBuf) -> Self {
        let text = std::fs::read(dir.join("case.json"))
            .unwrap_or_else(|error| panic!("{name}: case.json: {error}"));
        let spec: Value = serde_json::from_slice(&text)
            .unwrap_or_else(|error| panic!("{name}: case.json: {error}"));
        let model = spec["model"].as_str().unwrap_or("tier-model").to_owned();
        Self {
            name,
            dir,
            spec,
            model,
        }
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.spec.get(key).and_then(Value::as_str)
    }

    pub(super) fn has(&self, file: &str) -> bool {
        self.dir.join(file).is_file()
    }

    pub(super) fn file(&self, file: &str) -> Option<Vec<u8>> {
        std::fs::read(self.dir.join(file)).ok()
    }

    pub(super) fn writes(&self) -> bool {
        std::env::var("LUNA_GOLDEN").is_ok_and(|mode| mode == "write")
            && std::env::var_os("LUNA_CASE").is_some()
    }

    pub(super) fn write(&self, file: &str, bytes: &[u8]) {
        std::fs::write(self.dir.join(file), bytes).unwrap();
    }

    /// The profile's capabilities with the case's own.
    pub(super) fn capabilities(&self) -> Result<Capabilities, String> {
        let mut all = match self.text("profile") {
            Some("anthropic") => Capabilities::ANTHROPIC,
            Some("antigravity") => Capabilities::ANTIGRAVITY,
            Some("openai") => Capabilities::OPENAI,
            other => return Err(format!("profile {other:?} is unknown")),
        };
        let Some(own) = self.spec.get("capabilities") else {
            return Ok(all);
        };
        for (name, value) in own.as_object().ok_or("capabilities is no object")? {
            let flag = match name.as_str() {
                "max_output" => {
                    all.max_output = value.as_u64();
                    continue;
                }
                "tool_choice" => &mut all.tool_choice,
                "stop_sequences" => &mut all.stop_sequences,
                "output_config" => &mut all.output_config,
                "text_documents" => &mut all.text_documents,
                "mid_system" => &mut all.mid_system,
                "url_images" => &mut all.url_images,
                "service_tier" => &mut all.service_tier,
                "exclusive_sampling" => &mut all.exclusive_sampling,
                "adaptive_thinking" => &mut all.adaptive_thinking,
                "reasoning" => &mut all.reasoning,
                other => return Err(format!("capability {other} is unknown")),
            };
            *flag = value
                .as_bool()
                .ok_or_else(|| format!("capability {name} is neither true nor false"))?;
        }
        Ok(all)
    }
}

/// The newline that editors put at the end of a file.
pub(super) fn without_last_newline(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b"\n").unwrap_or(bytes)
}

pub(super) fn fault_differs(fault: &str, part: &str) -> Vec<String> {
    if fault.contains(part) {
        return Vec::new();
    }
    vec![format!("failed with {fault}, not with {part}")]
}

/// The cases that `LUNA_CASE` asks for, or all.
pub(super) fn all(root: &Path) -> Vec<Case> {
    let filter = std::env::var("LUNA_CASE").unwrap_or_default();
    let mut cases = every(root);
    cases.retain(|case| case.name.contains(&filter));
    cases
}

pub(super) fn every(root: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    for group in folders(root) {
        for dir in folders(&group) {
            let name = format!("{}/{}", last(&group), last(&dir));
            cases.push(Case::read(name, dir));
        }
    }
    cases
}

fn last(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn folders(root: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
    let mut folders: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}
