//! Settings of what leaves the process on its own account.

use super::values::non_empty;
use crate::failure::Failure;
use crossfade_app::Poster;
use ipnet::IpNet;
use std::{path::PathBuf, sync::Arc};

/// Reads the file of certificate authorities.
pub(super) fn authorities(file: Option<PathBuf>) -> Result<Option<Vec<u8>>, Failure> {
    let Some(path) = file else { return Ok(None) };
    let path = non_empty("outbound_ca_file", path)?;
    let read = std::fs::read(&path);
    read.map(Some)
        .map_err(|error| Failure::failed(format!("Cannot read the file {}: {error}.", path.display())))
}

/// Returns what sends to webhooks.
pub(super) fn poster(networks: Vec<IpNet>, authorities: Option<&[u8]>) -> Result<Arc<Poster>, Failure> {
    let poster = Poster::new(networks, authorities);
    poster.map(Arc::new).map_err(|what| Failure::usage(format!("outbound_ca_file {what}.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused_by_name() {
        let failure = poster(Vec::new(), Some(b"canary")).unwrap_err();
        let said = failure.sentence();
        assert!(
            said.contains("outbound_ca_file must contain certificates") && !said.contains("canary"),
            "{said}"
        );
        assert!(poster(Vec::new(), None).is_ok());
    }
}
