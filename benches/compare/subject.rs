//! The processes under test: started on free ports, pinned, given a folder of their own, ended.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::job::{Job, Memory, Outcome};

/// The model that is asked for, first of a chain of three.
pub const MODEL: &str = "claude-opus-4-6-thinking";
/// Another name for it.
pub const ALIAS: &str = "claude-3-5-sonnet-20241022";

/// Core of the proxy, and core of everything else.
const PROXY_CORE: &str = "0";
const REST_CORE: &str = "1";

const START_LIMIT: Duration = Duration::from_secs(20);

const FALLBACK: &str = r#"{
  "threshold": 0.05, "recover": 0.10,
  "chains": {
    "claude-opus-4-6-thinking": ["claude-opus-4-6-thinking", "claude-sonnet-4-6", "gemini-3-flash"],
    "claude-sonnet-4-6": ["claude-sonnet-4-6", "gemini-3-flash"],
    "*": ["claude-sonnet-4-6", "gemini-3-flash"]
  },
  "aliases": {"claude-3-5-sonnet-*": "claude-opus-4-6-thinking", "gpt-4o": "claude-sonnet-4-6"}
}"#;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// No proxy at all.
    Direct,
    /// The bare passthrough with Luna's allocator.
    Bare,
    /// The bare passthrough with the system's allocator.
    BareGlibc,
    Luna,
}

impl Subject {
    pub const PROXIES: [Self; 3] = [Self::Bare, Self::Luna, Self::BareGlibc];
    pub const ALL: [Self; 4] = [Self::Direct, Self::Bare, Self::Luna, Self::BareGlibc];

    /// As the table has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Bare => "bare",
            Self::BareGlibc => "bare, glibc",
            Self::Luna => "luna",
        }
    }
}

/// Where the programs are.
pub struct Programs {
    pub luna: PathBuf,
    pub bare: PathBuf,
    pub glibc: PathBuf,
    pub load: PathBuf,
}

/// One running process; ended when dropped.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A stub upstream and the proxies in front of it.
pub struct World {
    load: PathBuf,
    upstream: Process,
    proxies: Vec<(Subject, Process)>,
    key: String,
    folder: PathBuf,
}

/// A command on one core, where the system can do that.
fn pinned(program: &Path, core: &str) -> Command {
    let can = Command::new("taskset")
        .args(["-c", core, "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if can {
        let mut command = Command::new("taskset");
        command.args(["-c", core]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Starts a process and waits until it takes connections on `address`.
fn start(mut command: Command, address: SocketAddr) -> io::Result<Process> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // Luna's access log goes here: written, and thrown away.
        .stderr(Stdio::null())
        .spawn()?;
    let mut process = Process { child, address };
    let until = Instant::now() + START_LIMIT;
    while TcpStream::connect(address).is_err() {
        if let Some(status) = process.child.try_wait()? {
            return Err(io::Error::other(format!(
                "a subject ended at its start: {status}"
            )));
        }
        if Instant::now() > until {
            return Err(io::Error::other("a subject took no connection within 20 s"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(process)
}

/// A secret in Luna's form; it lives as long as the bench.
fn secret() -> io::Result<String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes
        .iter()
        .fold(String::from("bench-"), |text, b| text + &format!("{b:02x}")))
}

impl World {
    /// Starts the stub and the named subjects.
    ///
    /// # Errors
    /// When one of them does not come up.
    pub fn start(programs: &Programs, subjects: &[Subject]) -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("luna-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let address = free_port()?;
        let mut command = pinned(&programs.load, REST_CORE);
        command.arg("upstream").arg(address.to_string());
        let upstream = start(command, address)?;
        let mut world = Self {
            load: programs.load.clone(),
            upstream,
            proxies: Vec::new(),
            key: secret()?,
            folder,
        };
        for subject in subjects {
            let process = match subject {
                Subject::Direct => continue,
                Subject::Bare => world.start_bare(&programs.bare)?,
                Subject::BareGlibc => world.start_bare(&programs.glibc)?,
                Subject::Luna => world.start_luna(&programs.luna)?,
            };
            world.proxies.push((*subject, process));
        }
        Ok(world)
    }

    fn start_bare(&self, program: &Path) -> io::Result<Process> {
        let address = free_port()?;
        let mut command = pinned(program, PROXY_CORE);
        command
            .arg(address.to_string())
            .arg(self.upstream.address.to_string())
            .arg("1");
        start(command, address)
    }

    /// The real thing with everything on: keys, chains with an alias, poller, usage, metrics, access log.
    fn start_luna(&self, program: &Path) -> io::Result<Process> {
        let address = free_port()?;
        let data = self.folder.join("data");
        std::fs::create_dir_all(&data)?;
        let toml = format!(
            "[server]\nlisten = \"{address}\"\nthreads = 1\n[metrics]\nlisten = \"127.0.0.1:0\"\n\
             [store]\ndata_dir = \"data\"\n[upstreams.default]\nurl = \"http://{}\"\n",
            self.upstream.address
        );
        std::fs::write(self.folder.join("luna.toml"), toml)?;
        std::fs::write(self.folder.join("fallback.json"), FALLBACK)?;
        let keys = format!(
            r#"{{"{}": {{"name": "bench", "enabled": true}}}}"#,
            self.key
        );
        std::fs::write(data.join("keys.json"), keys)?;
        let mut command = pinned(program, PROXY_CORE);
        command
            .arg("serve")
            .arg("--config")
            .arg(self.folder.join("luna.toml"))
            .current_dir(&self.folder)
            .env_remove("RUST_LOG");
        start(command, address)
    }

    fn process(&self, subject: Subject) -> &Process {
        self.proxies
            .iter()
            .find_map(|(which, process)| (*which == subject).then_some(process))
            .unwrap_or(&self.upstream)
    }

    /// Where a subject takes requests.
    pub fn address(&self, subject: Subject) -> SocketAddr {
        self.process(subject).address
    }

    /// The client key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The subject's process first, then the stub's.
    pub fn watched(&self, subject: Subject) -> Vec<u32> {
        vec![self.process(subject).child.id(), self.upstream.child.id()]
    }

    /// What a subject holds now, once its start is behind it.
    ///
    /// # Errors
    /// When it has ended.
    pub fn memory(&self, subject: Subject) -> io::Result<Memory> {
        std::thread::sleep(Duration::from_secs(2));
        Memory::of(self.process(subject).child.id())
    }

    /// Runs the driver on one job.
    ///
    /// # Errors
    /// When a request failed.
    pub fn drive(&mut self, job: &Job) -> io::Result<Outcome> {
        let mut driver = pinned(&self.load, REST_CORE)
            .arg("drive")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = driver.stdin.take() {
            input.write_all(&serde_json::to_vec(job)?)?;
        }
        let output = driver.wait_with_output()?;
        if !output.status.success() {
            return Err(io::Error::other(
                "the driver failed; what it measured is worth nothing",
            ));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Ends all processes and takes their folder away.
    ///
    /// # Errors
    /// When the folder cannot be removed.
    pub fn stop(mut self) -> io::Result<()> {
        self.proxies.clear();
        std::fs::remove_dir_all(&self.folder)
    }
}
