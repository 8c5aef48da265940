//! Settings of what leaves the process on its own account.

use super::values::{non_empty, within};
use crate::failure::Failure;
use crossfade_app::{Poster, RelayLimits};
use ipnet::IpNet;
use std::{path::PathBuf, sync::Arc, time::Duration};

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

/// Returns how long requests to upstream issuers can take, and how many can wait.
pub(super) fn relay(
    connect: Option<u32>,
    whole: Option<u32>,
    idle: Option<u32>,
    requests: Option<u32>,
) -> Result<RelayLimits, Failure> {
    let default = RelayLimits::default();
    let seconds = |name: &str, value, most, default| {
        within(name, value, most).map(|value| value.map_or(default, |it| Duration::from_secs(it.into())))
    };
    let connect = seconds("upstream_connect_seconds", connect, 30, default.connect)?;
    let whole = seconds("upstream_seconds", whole, 300, default.whole)?;
    if connect > whole {
        return Err(Failure::usage("upstream_connect_seconds must be at most upstream_seconds."));
    }
    Ok(RelayLimits {
        connect,
        whole,
        idle: seconds("upstream_idle_seconds", idle, 3_600, default.idle)?,
        requests: match within("upstream_requests", requests, 100_000)? {
            Some(requests) => usize::try_from(requests).unwrap_or(default.requests),
            None => default.requests,
        },
    })
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

    #[test]
    fn limits_of_upstream_requests_are_bounded_and_name_the_setting() {
        let limits = relay(Some(5), Some(60), None, Some(7)).unwrap();
        let (connect, whole) = (Duration::from_secs(5), Duration::from_secs(60));
        assert_eq!(limits, RelayLimits { connect, whole, requests: 7, ..RelayLimits::default() });
        assert_eq!(relay(None, None, None, None).unwrap(), RelayLimits::default());
        for (given, name) in [
            (relay(Some(0), None, None, None), "upstream_connect_seconds"),
            (relay(Some(31), None, None, None), "upstream_connect_seconds"),
            (relay(None, Some(301), None, None), "upstream_seconds"),
            (relay(None, Some(1), None, None), "upstream_connect_seconds"),
            (relay(None, None, Some(0), None), "upstream_idle_seconds"),
            (relay(None, None, None, Some(0)), "upstream_requests"),
        ] {
            let failure = given.unwrap_err();
            assert!(failure.sentence().contains(name), "{}", failure.sentence());
        }
    }
}
