//! The process's limit on open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one. A warning when even that is below `need`.
pub fn raise_file_limit(need: u64) -> Option<String> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let now = now.unwrap_or(u64::MAX);
    (now < need).then(|| {
        format!(
            "{now} open files are allowed and server.max_connections may need {need}: raise the limit \
             (ulimit -n, or LimitNOFILE in the service file) or lower server.max_connections"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_need_beyond_any_limit_is_warned_about() {
        assert!(raise_file_limit(1).is_none());
        let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        if limit < u64::MAX {
            assert!(raise_file_limit(u64::MAX).is_some());
        }
    }
}
