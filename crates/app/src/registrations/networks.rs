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
use std::{collections::HashSet, net::IpAddr, time::Duration};

/// Callers that were last seen before this time are not asked about.
const LOOKED_BACK: Duration = Duration::from_secs(30 * 24 * 3600);
/// Maximum number of sources examined.
const MOST_SOURCES: usize = 10_000;
/// Maximum number of callers named in the refusal.
const MOST_NAMED: usize = 100;

impl App {
    /// Returns the refusal of new networks that would lock out callers of secrets that are valid. Reads before the change,
    /// because it can take long, and within the limits of costly reads.
    pub(crate) async fn locked_out(
        &self,
        principal: &Principal,
        path: RegistrationPath<'_>,
        body: &UpdateRegistration,
    ) -> Result<Option<Problem>, Error> {
        let (Some(Some(list)), None | Some(false)) = (&body.allowed_networks, body.acknowledge_locked_out)
        else {
            return Ok(None);
        };
        let Ok(networks) = Networks::parse("allowed_networks", list) else { return Ok(None) };
        let is_new = self
            .view(Operation::UpdateRegistration, principal, path, async |_, _, site: Site| {
                Ok(site.registration.allowed_networks.as_ref() != Some(&networks))
            })
            .await?;
        if !is_new {
            return Ok(None);
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
            let is_out =
                |used: &UsageRow| !contain(&networks, &used.source) && seen.insert(used.source.clone());
            let locked_out = callers.into_iter().filter(is_out).map(|used| {
                let UsageSource { ip, user_agent, instance, .. } = used.source;
                LockedOut {
                    source_ip: given(ip),
                    user_agent: given(user_agent),
                    instance: given(instance),
                    last_used_at: used.usage.last_used_at,
                }
            });
            Ok(refusal(locked_out.collect(), are_all))
        })
        .await
    }
}

/// Returns the refusal that names these callers, latest use first. If not all callers could be examined, networks are
/// refused also without any.
fn refusal(mut locked_out: Vec<LockedOut>, are_all: bool) -> Option<Problem> {
    let number = match (locked_out.len(), are_all) {
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
        was changed. Add their networks, or acknowledge that they are locked out."
    );
    let problem = Problem::new(Code::CallersLockedOut, detail).with_field("allowed_networks");
    Some(problem.with("locked_out", locked_out))
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
