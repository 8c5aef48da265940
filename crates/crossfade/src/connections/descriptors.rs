//! The limit of open files, raised at start because each connection needs a descriptor.

use crate::failure::Failure;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Number of descriptors reserved for the database, files and everything else the process opens.
const RESERVED: u64 = 256;
/// Default maximum number of connections, however many descriptors there are, because each also needs memory.
const DEFAULT_CONNECTIONS: u64 = 16_384;
/// Requested if the hard limit is infinite, which the kernel does not grant for files.
const INFINITE: u64 = 1_048_576;

/// Raises the soft limit to the hard limit. Returns the limit that applies.
pub(super) fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(INFINITE);
    let soft = limit.current.unwrap_or(INFINITE);
    if soft >= hard {
        return soft;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(hard), maximum: limit.maximum }) {
        Ok(()) => hard,
        Err(error) => {
            tracing::warn!(soft, hard, %error, "cannot raise the limit of open files");
            soft
        }
    }
}

/// Returns the maximum number of connections under a limit of open files.
pub(super) fn connections(wanted: Option<u32>, limit: u64) -> Result<usize, Failure> {
    // Some must be possible even where the reserve is more than there is.
    let fit = limit.saturating_sub(RESERVED).max(limit / 2);
    match wanted.map(u64::from) {
        Some(wanted) if wanted > fit => Err(Failure::usage(format!(
            "max_connections is {wanted}, but the limit of open files, {limit}, leaves {fit} for connections. Raise \
             that limit (ulimit -n, LimitNOFILE), or set max_connections to at most {fit}."
        ))),
        Some(wanted) => Ok(wanted as usize),
        None => Ok(fit.min(DEFAULT_CONNECTIONS) as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_the_limit_of_open_files() {
        assert_eq!(connections(None, 1_024).unwrap(), 768);
        assert_eq!(connections(None, 1_048_576).unwrap(), 16_384);
        assert_eq!(connections(None, 128).unwrap(), 64);
        assert_eq!(connections(Some(40_000), 1_048_576).unwrap(), 40_000);
        assert_eq!(connections(Some(768), 1_024).unwrap(), 768);
        assert!(connections(Some(769), 1_024).is_err());
    }
}
