//! What the kernel says about the CPU that a process used.

use std::fs;
use std::io;

use super::job::Cpu;

/// The kernel counts user and system time in these (`getconf CLK_TCK`; 100 on every Linux in use).
const TICKS_PER_S: f64 = 100.0;

impl Cpu {
    /// What process `pid` has used so far.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name in parentheses may hold blanks; what follows it starts with field 3.
        let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let field = |n: usize| {
            after
                .split_whitespace()
                .nth(n - 3)
                .and_then(|text| text.parse::<f64>().ok())
                .ok_or_else(|| io::Error::other("a stat line that cannot be read"))
        };
        let (user_s, system_s) = (field(14)? / TICKS_PER_S, field(15)? / TICKS_PER_S);
        let total_s = scheduled(pid).unwrap_or(user_s + system_s);
        Ok(Self {
            user_s,
            system_s,
            total_s,
        })
    }

    /// What was used since `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            user_s: self.user_s - before.user_s,
            system_s: self.system_s - before.system_s,
            total_s: self.total_s - before.total_s,
        }
    }
}

/// Seconds on a CPU of all threads; ticks of 10 ms are coarse for a second of work.
fn scheduled(pid: u32) -> io::Result<f64> {
    let mut nanos = 0_u64;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        let on_cpu = text
            .split_whitespace()
            .next()
            .and_then(|n| n.parse::<u64>().ok());
        nanos += on_cpu.ok_or_else(|| io::Error::other("a schedstat that cannot be read"))?;
    }
    #[allow(
        clippy::cast_precision_loss,
        reason = "exact to the microsecond for years of CPU time"
    )]
    Ok(nanos as f64 / 1e9)
}
