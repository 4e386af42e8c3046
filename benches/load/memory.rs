//! What the kernel says about the memory that a process holds; used by the driver and by the harness.

use std::fs;
use std::io;

use super::job::Memory;

impl Memory {
    /// What process `pid` holds now.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(pid: u32) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kib = |name: &str| {
            status
                .lines()
                .find_map(|line| {
                    line.strip_prefix(name)?
                        .split_whitespace()
                        .nth(0)?
                        .parse()
                        .ok()
                })
                .unwrap_or(0)
        };
        Ok(Self {
            rss_kib: kib("VmRSS:"),
            anon_kib: kib("RssAnon:"),
            peak_kib: kib("VmHWM:"),
        })
    }
}
