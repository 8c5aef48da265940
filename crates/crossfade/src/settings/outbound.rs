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

/// Refuses networks with public addresses, to which webhooks would then be sent without TLS.
pub(super) fn private(networks: Vec<IpNet>) -> Result<Vec<IpNet>, Failure> {
    match networks.iter().position(|network| !Poster::is_private(network)) {
        None => Ok(networks),
        Some(at) => Err(Failure::usage(format!(
            "outbound_private_networks must contain private networks only, and number {} contains public addresses. Webhooks \
            are sent to public addresses with TLS, without this setting.",
            at + 1
        ))),
    }
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
    fn a_network_with_public_addresses_is_refused() {
        let read = |networks: &[&str]| private(networks.iter().map(|it| it.parse().unwrap()).collect());
        assert_eq!(read(&["10.20.0.0/16", "fd00:20::/32"]).unwrap().len(), 2);
        let failure = read(&["10.20.0.0/16", "8.8.0.0/16"]).unwrap_err();
        assert!(failure.sentence().contains("number 2 contains public addresses"), "{}", failure.sentence());
    }

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
