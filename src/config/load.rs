//! The order of a load: find the file, read it, lay the environment over it, check, build, and say all that is wrong.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::build::Build;
use super::environment::{overlay, proxy_port};
use super::problem::{LineIndex, Origin, Problem, whole_file};
use super::refuse;
use super::routes::Routes;
use super::settings::{Fallback, Settings, listeners};
use super::source::{self, Givens};
use super::upstream::Upstream;
use super::values::{Surroundings, Values};
use super::{fallback, prices};
use crate::usage::Prices;

/// What a load starts from. It has no `Debug`, as the environment may hold secrets.
#[derive(Clone, Default)]
pub struct LoadOptions {
    /// `--config`
    pub config: Option<PathBuf>,
    /// The environment, given from outside
    pub env: BTreeMap<String, String>,
    /// The working folder, absolute
    pub cwd: PathBuf,
    /// `--insecure-example-keys`
    pub insecure_example_keys: bool,
}

impl LoadOptions {
    /// From this process's environment and working folder. Fails when that folder is gone.
    pub fn of_process(config: Option<PathBuf>, insecure_example_keys: bool) -> io::Result<Self> {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let env = std::env::vars_os()
            .map(|(name, value)| (text(name), text(value)))
            .collect();
        Ok(Self {
            config,
            env,
            cwd: std::env::current_dir()?,
            insecure_example_keys,
        })
    }

    fn variable(&self, name: &str) -> Option<&String> {
        self.env.get(name).filter(|text| !text.is_empty())
    }
}

/// Where luna.toml is looked for when nobody names it.
const DEFAULT_CONFIG: &str = "conf/luna.toml";

/// Reads and checks the whole configuration. On failure every problem that was found, not only the first.
pub fn load(options: &LoadOptions) -> Result<Settings, Vec<Problem>> {
    let default = PathBuf::from(DEFAULT_CONFIG);
    let named = options
        .config
        .clone()
        .or_else(|| options.variable("LUNA_CONFIG").map(PathBuf::from));
    let path = named.or_else(|| there(&options.cwd.join(&default)).then_some(default));
    let mut problems = Vec::new();
    let document = path.as_ref().and_then(|path| {
        match read_bounded(&options.cwd.join(path), source::MAX_FILE) {
            Ok(text) => Some((path.clone(), text)),
            Err(what) => {
                problems.push(whole_file(path, what));
                None
            }
        }
    });
    let base = document
        .as_ref()
        .and_then(|(path, _)| options.cwd.join(path).parent().map(Path::to_path_buf));
    let loading = Loading {
        options,
        base: base.unwrap_or_else(|| options.cwd.clone()),
        fallback_text: None,
    };
    loading.run(document, problems)
}

impl Settings {
    /// The built-in defaults, for tests and for `luna demo`. Reads no file and no variable; the paths are relative.
    #[allow(
        clippy::expect_used,
        reason = "nothing comes from outside, and a test holds the defaults sound"
    )]
    pub fn defaults() -> Self {
        Self::from_text("", None, Path::new("")).expect("the built-in defaults are sound")
    }

    /// Settings from texts instead of files: of luna.toml, and of fallback.json if there shall be chains. Relative
    /// paths begin at `base`.
    pub fn from_text(
        toml: &str,
        fallback: Option<&str>,
        base: &Path,
    ) -> Result<Self, Vec<Problem>> {
        let options = LoadOptions {
            cwd: base.to_path_buf(),
            ..LoadOptions::default()
        };
        let text = Some(fallback.unwrap_or("{}").to_owned());
        let loading = Loading {
            options: &options,
            base: base.to_path_buf(),
            fallback_text: text,
        };
        let mut settings = loading.run(
            Some((PathBuf::from("luna.toml"), toml.to_owned())),
            Vec::new(),
        )?;
        settings.sources.clear();
        settings.fallback.file = None;
        Ok(settings)
    }
}

struct Loading<'a> {
    options: &'a LoadOptions,
    base: PathBuf,
    /// Instead of a file
    fallback_text: Option<String>,
}

impl Loading<'_> {
    fn run(
        &self,
        document: Option<(PathBuf, String)>,
        mut problems: Vec<Problem>,
    ) -> Result<Settings, Vec<Problem>> {
        let mut sources: Vec<PathBuf> = document
            .iter()
            .map(|(path, _)| self.options.cwd.join(path))
            .collect();
        let (mut givens, mut upstreams) = (Givens::new(), Vec::new());
        let mut readable = problems.is_empty();
        if let Some((path, text)) = &document {
            match source::read(path, text, &mut problems) {
                Some(found) => (givens, upstreams) = found,
                None => readable = false,
            }
        }
        overlay(
            &self.options.env,
            &mut givens,
            &mut upstreams,
            &mut problems,
        );
        proxy_port(&self.options.env, &mut givens, &mut problems);
        if !readable {
            // Without the file everything else would only be a consequence.
            return Err(problems);
        }
        if !upstreams
            .iter()
            .any(|name| name == Settings::DEFAULT_UPSTREAM)
        {
            upstreams.push(Settings::DEFAULT_UPSTREAM.to_owned());
        }
        let around = Surroundings {
            base: &self.base,
            cwd: &self.options.cwd,
            env: &self.options.env,
        };
        let values = Values::new(&givens, &upstreams, &around, &mut problems);
        let mut warnings = Vec::new();
        let (fallback_file, routes) = self.routes(&values, &mut problems, &mut warnings);
        let shown = fallback_file.as_deref().map(|path| self.shown(path));
        sources.extend(fallback_file.clone());
        sources.extend(values.secret_files.iter().cloned());

        let mut build = Build {
            values: &values,
            problems: &mut problems,
            warnings: &mut warnings,
        };
        let built: BTreeMap<String, Arc<Upstream>> = upstreams
            .iter()
            .map(|name| (name.clone(), Arc::new(build.upstream(name))))
            .collect();
        let fallback = Fallback {
            file: fallback_file.clone(),
            cooldown: values.time("fallback.cooldown_s"),
            cooldown_max: values.time("fallback.cooldown_max_s"),
            cooldown_with_quota_max: values.time("fallback.cooldown_with_quota_max_s"),
            threshold: routes.threshold,
            recover: routes.recover,
        };
        if fallback.cooldown > fallback.cooldown_max {
            build.problem(
                "fallback.cooldown_s",
                "must not be above fallback.cooldown_max_s",
            );
        }
        let (server, admin, metrics) = (build.server(), build.admin(), build.metrics());
        let (quota, streams, mut usage) = (build.quota(), build.streams(), build.usage());
        let (store, lark) = (build.store(), build.lark());
        let listeners = listeners(&server, &admin, &metrics);
        build.listeners(&listeners);
        let loopback = listeners
            .iter()
            .all(|(_, address)| address.ip().is_loopback());
        refuse::secrets(
            &values,
            self.options.insecure_example_keys,
            loopback,
            &mut problems,
            &mut warnings,
        );
        refuse::later(&values, &mut problems);
        if let Some((path, prices)) = self.prices(&values, &mut problems) {
            usage.prices = prices;
            sources.push(path);
        }
        let rules = routes.compile(&upstreams, shown, &mut problems);
        self.moved_data(&values, &store.keys_file, &mut warnings);
        let (Some(rules), true) = (rules, problems.is_empty()) else {
            return Err(problems);
        };
        Ok(Settings {
            server,
            admin,
            metrics,
            quota,
            fallback,
            streams,
            usage,
            store,
            upstreams: built,
            lark,
            rules: Arc::new(rules),
            sources,
            warnings,
            values: values.into_plain(),
            routes,
        })
    }

    /// A path as it is told: from the working folder on, where it is below that.
    fn shown<'p>(&self, path: &'p Path) -> &'p Path {
        path.strip_prefix(&self.options.cwd).unwrap_or(path)
    }

    /// Finds and reads fallback.json. One that nobody named may be missing.
    fn routes(
        &self,
        values: &Values,
        problems: &mut Vec<Problem>,
        warnings: &mut Vec<String>,
    ) -> (Option<PathBuf>, Routes) {
        if let Some(text) = &self.fallback_text {
            let name = PathBuf::from("fallback.json");
            let routes = fallback::read(&name, text, problems, warnings);
            return (Some(name), routes);
        }
        let origin = values.origin("fallback.file");
        let mut path = values.path("fallback.file");
        if origin == Origin::Default && !there(&path) {
            // Without a luna.toml the file of the example folder is meant as well.
            path = self.options.cwd.join("conf").join("fallback.json");
            if self.base != self.options.cwd || !there(&path) {
                return (None, Routes::default());
            }
        }
        if path.as_os_str().is_empty() {
            return (None, Routes::default());
        }
        match read_bounded(&path, fallback::MAX_FILE) {
            Ok(text) => {
                let routes = fallback::read(self.shown(&path), &text, problems, warnings);
                (Some(path), routes)
            }
            Err(what) => {
                problems.push(origin.problem(format!(
                    "fallback.file: {} {what}",
                    self.shown(&path).display()
                )));
                (None, Routes::default())
            }
        }
    }

    /// Reads the price list, if one is named.
    fn prices(
        &self,
        values: &Values,
        problems: &mut Vec<Problem>,
    ) -> Option<(PathBuf, Arc<Prices>)> {
        let path = values.path("usage.prices");
        if path.as_os_str().is_empty() {
            return None;
        }
        match read_bounded(&path, prices::MAX_FILE) {
            Ok(text) => {
                let list = prices::read(self.shown(&path), &text, problems);
                Some((path, list))
            }
            Err(what) => {
                let shown = self.shown(&path).display();
                let origin = values.origin("usage.prices");
                problems.push(origin.problem(format!("usage.prices: {shown} {what}")));
                None
            }
        }
    }

    /// Says so when a new luna.toml in conf/ moves the default data folder away from an earlier run's.
    fn moved_data(&self, values: &Values, here: &Path, warnings: &mut Vec<String>) {
        let earlier = self.options.cwd.join("data").join("keys.json");
        let chosen = matches!(values.origin("store.data_dir"), Origin::Variable(_));
        if !chosen
            && here != earlier
            && !here.exists()
            && earlier.exists()
            && self.fallback_text.is_none()
        {
            warnings.push(format!(
                "{} holds keys, but store.keys_file is now {}; move the folder or set store.data_dir",
                earlier.display(),
                here.display()
            ));
        }
    }
}

/// Whether a file is there. One that cannot be looked at counts, so that reading it says why.
fn there(path: &Path) -> bool {
    path.try_exists().unwrap_or(true)
}

/// A file's text, if it is UTF-8 and not larger than `limit` bytes. The error continues a sentence that begins with
/// the file's name.
pub(super) fn read_bounded(path: &Path, limit: u64) -> Result<String, String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(format!("is larger than {limit} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let sound = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes());
        format!(
            "is not UTF-8, from line {}",
            LineIndex::new(&text).line(sound)
        )
    })
}
