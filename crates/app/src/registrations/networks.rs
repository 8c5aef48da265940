//! Callers that new allowed networks of a registration would lock out, as far as the evidence knows.

use crate::{
    app::App,
    error::Error,
    frame::{
        principal::Principal,
        targets::{RegistrationPath, Site},
    },
};
use crossfade_core::{
    Code, Operation, Problem,
    api::{LockedOut, UpdateRegistration},
    networks::Networks,
};
use crossfade_store::{UsageRow, UsageSource};
use ipnet::IpNet;
use std::{collections::HashSet, net::IpAddr, sync::PoisonError, time::Duration};

/// Callers that were last seen before this time are not asked about.
const LOOKED_BACK: Duration = Duration::from_secs(30 * 24 * 3600);
/// Maximum number of sources examined.
const MOST_SOURCES: usize = 10_000;
/// Maximum number of callers named in the refusal.
const MOST_NAMED: usize = 100;

/// Callers that new networks lock out.
#[derive(Default)]
pub(crate) struct Found {
    /// Number of callers.
    pub(crate) count: u64,
    /// The refusal, unless so many are acknowledged.
    pub(crate) refusal: Option<Problem>,
}

impl App {
    /// Returns the callers of valid secrets that new networks would lock out. Reads before the change, because it can take
    /// long, and within the limits of costly reads.
    pub(crate) async fn locked_out(
        &self,
        principal: &Principal,
        path: RegistrationPath<'_>,
        body: &UpdateRegistration,
    ) -> Result<Found, Error> {
        let Some(Some(list)) = &body.allowed_networks else { return Ok(Found::default()) };
        let Ok(networks) = Networks::parse("allowed_networks", list) else { return Ok(Found::default()) };
        let is_new = self
            .view(Operation::UpdateRegistration, principal, path, async |_, _, site: Site| {
                Ok(site.registration.allowed_networks.as_ref() != Some(&networks))
            })
            .await?;
        if !is_new {
            return Ok(Found::default());
        }
        let _turns = self.costly(Operation::ListUsage, principal).await?;
        self.store_evidence().await;
        self.view(Operation::UpdateRegistration, principal, path, async |tx, _, site: Site| {
            let now = self.clock.now();
            let (since, limit) = (now.before(LOOKED_BACK), MOST_SOURCES as i64 + 1);
            let callers = tx.callers_since(&site.registration.id, now, since, limit).await?;
            let are_all = callers.len() <= MOST_SOURCES;
            // A caller that used both secrets has two rows, the latest first.
            let mut seen = HashSet::new();
            let is_out = |used: &UsageRow| {
                let is_in = contain(&networks, &used.source) && !self.is_proxy(&used.source);
                !is_in && seen.insert(used.source.clone())
            };
            let locked_out = callers.into_iter().filter(is_out).map(|used| {
                let UsageSource { ip, user_agent, instance, .. } = used.source;
                LockedOut {
                    source_ip: given(ip),
                    user_agent: given(user_agent),
                    instance: given(instance),
                    last_used_at: used.usage.last_used_at,
                }
            });
            let locked_out: Vec<LockedOut> = locked_out.collect();
            let count = locked_out.len() as u64;
            let is_acknowledged = body.acknowledge_locked_out.is_some_and(|most| count <= most);
            let refusal = if is_acknowledged { None } else { refusal(locked_out, are_all) };
            Ok(Found { count, refusal })
        })
        .await
    }

    /// Whether a source is a declared proxy. Its callers are in no network, because it did not say for whom it asked.
    fn is_proxy(&self, source: &UsageSource) -> bool {
        let proxies = self.trusted_proxies.read().unwrap_or_else(PoisonError::into_inner);
        source.ip.parse::<IpAddr>().is_ok_and(|ip| proxies.iter().any(|network| network.contains(&ip)))
    }
}

/// Returns the refusal that names these callers, latest use first. If not all callers could be examined, networks are
/// refused also without any.
fn refusal(mut locked_out: Vec<LockedOut>, are_all: bool) -> Option<Problem> {
    let count = locked_out.len();
    let number = match (count, are_all) {
        (0, true) => return None,
        (1, true) => "1 caller".to_owned(),
        (number, true) => format!("{number} callers"),
        (number, false) => format!("at least {number} callers"),
    };
    locked_out.truncate(MOST_NAMED);
    let unexamined =
        if are_all { "" } else { " There are more than 10000 callers, and the others were not examined." };
    let detail = format!(
        "The allowed networks do not contain {number} of the last 30 days, which would be refused.{unexamined} Nothing \
        was changed. Add their networks, or set acknowledge_locked_out to the number of \
        callers."
    );
    let problem = Problem::new(Code::CallersLockedOut, detail).with_field("allowed_networks");
    Some(problem.with("locked_out_count", count).with("locked_out", locked_out))
}

/// Whether the networks are known to contain this source. Nothing is known of a hashed address, and of callers that are
/// grouped without their addresses.
fn contain(networks: &Networks, source: &UsageSource) -> bool {
    match (source.ip.parse::<IpAddr>(), source.ip.parse::<IpNet>()) {
        (Ok(address), _) => networks.contain(address),
        (_, Ok(network)) => networks.contain_all_of(network),
        _ => false,
    }
}

fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
