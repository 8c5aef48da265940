//! Callers that new allowed networks of a registration would lock out, as far as the evidence knows.

use crate::{
    app::App,
    error::Error,
    frame::{act::Act, principal::Principal, targets::RegistrationPath},
};
use crossfade_core::{
    Code, Operation, Problem, RegistrationId, Timestamp,
    api::LockedOut,
    networks::Networks,
    rotation::{SecretState, state_at},
};
use crossfade_store::{PageStart, UsageSource};
use ipnet::IpNet;
use std::{net::IpAddr, time::Duration};

/// Callers that were last seen before this time are not asked about.
const LOOKED_BACK: Duration = Duration::from_secs(30 * 24 * 3600);
/// Maximum number of sources examined.
const MOST_SOURCES: i64 = 10_000;
/// Maximum number of callers named in the refusal.
const MOST_NAMED: usize = 100;

impl App {
    /// Stores the evidence that a change of the allowed networks is judged by. Checks access first.
    pub(crate) async fn store_evidence_for(
        &self,
        principal: &Principal,
        path: RegistrationPath<'_>,
    ) -> Result<(), Error> {
        self.view(Operation::UpdateRegistration, principal, path, async |_, _, _| Ok(())).await?;
        self.store_evidence().await;
        Ok(())
    }
}

/// Refuses networks that would lock out callers of secrets that are still valid.
pub(crate) async fn check_callers(
    act: &mut Act<'_>,
    registration: &RegistrationId,
    networks: &Networks,
) -> Result<(), Error> {
    let page = PageStart { after: None, limit: MOST_SOURCES };
    let since = Some(act.now.before(LOOKED_BACK));
    let mut locked_out = Vec::new();
    for used in act.tx.usage_sources(registration, since, &page).await? {
        if is_valid(used.expires_at, used.revoked_at, act.now) && !contain(networks, &used.row.source) {
            let UsageSource { ip, user_agent, instance, .. } = used.row.source;
            let last_used_at = used.row.usage.last_used_at;
            locked_out.push(LockedOut {
                source_ip: given(ip),
                user_agent: given(user_agent),
                instance: given(instance),
                last_used_at,
            });
        }
    }
    if locked_out.is_empty() {
        return Ok(());
    }
    locked_out.sort_by_key(|caller| std::cmp::Reverse(caller.last_used_at));
    let number = match locked_out.len() {
        1 => "1 caller".to_owned(),
        number => format!("{number} callers"),
    };
    locked_out.truncate(MOST_NAMED);
    let detail = format!(
        "The allowed networks do not contain {number} of the last 30 days, which would be refused. Nothing was changed. \
        Add their networks, or acknowledge that they are locked out."
    );
    Err(Problem::new(Code::CallersLockedOut, detail)
        .with_field("allowed_networks")
        .with("locked_out", locked_out)
        .into())
}

fn is_valid(expires_at: Option<Timestamp>, revoked_at: Option<Timestamp>, now: Timestamp) -> bool {
    matches!(state_at(expires_at, revoked_at, now), SecretState::Current | SecretState::Retiring)
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
