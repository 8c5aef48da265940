//! The upstream credential of a registration: reading and setting it.

use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act,
        entry::About,
        idempotency::Repeatable,
        principal::Principal,
        request::{Input, Request},
        targets::{RegistrationPath, Site},
        versioned::Versioned,
    },
    keys::place::SealPlace,
};
use crossfade_core::{
    Code, Operation, Problem, RegistrationId,
    api::{self, UpdateUpstreamCredential},
    audit::Event,
    upstream::{CredentialMethod, MAX_SECRET, Refused, Slot, Upstream},
};
use crossfade_store::{ChangeKind, Tx, UpstreamCredential};
use zeroize::Zeroizing;

impl Repeatable for Versioned<api::UpstreamCredential> {}

/// What a request does to a slot.
enum Fill {
    Stays,
    Removed,
    Set(Zeroizing<String>),
}

impl App {
    /// Returns the upstream credential of a registration without its secrets, and its version.
    pub async fn read_upstream_credential(
        &self,
        principal: &Principal,
        path: RegistrationPath<'_>,
    ) -> Result<Versioned<api::UpstreamCredential>, Error> {
        self.view(Operation::ReadUpstreamCredential, principal, path, async |tx, _, site: Site| {
            let upstream = upstream_of(&site)?;
            let stored = tx.upstream_credential(&site.registration.id).await?;
            Ok(shown(stored.as_ref(), upstream))
        })
        .await
    }

    /// Sets the upstream credential of a registration, or confirms it for the servers that its environment has now.
    pub async fn update_upstream_credential(
        &self,
        request: &Request<'_>,
        path: RegistrationPath<'_>,
        input: Input<'_, UpdateUpstreamCredential>,
    ) -> Result<Versioned<api::UpstreamCredential>, Error> {
        self.change(Operation::UpdateUpstreamCredential, request, path, async |act, _, site: Site| {
            let id = &site.registration.id;
            let stored = act.tx.upstream_credential(id).await?;
            act.matches(stored.as_ref().map_or(0, |stored| stored.version))?;
            let body = input.read()?;
            let current = body.secret.map_or(Ok(Fill::Stays), |text| secret("secret", text).map(Fill::Set))?;
            let next = match body.next {
                None => Fill::Stays,
                Some(None) => Fill::Removed,
                Some(Some(text)) => Fill::Set(secret("next", text)?),
            };
            // One of ours is there by mistake; as the next one it is on its way to the issuer, before callers go back.
            if let Fill::Set(value) = &current
                && self.is_secret_of(act.tx, id, value).await?
            {
                let what = "must be the secret that the upstream issuer has, not a secret of this registration. To go back to \
                    the issuer with one of Crossfade's, set it as next";
                return Err(Problem::invalid("secret", what).into());
            }
            if stored.is_none() && matches!(current, Fill::Stays) {
                let what = "is required, because no upstream credential is set yet";
                return Err(Problem::invalid("secret", what).into());
            }
            let upstream = upstream_of(&site)?;
            let method = body.method.or(stored.as_ref().map(|stored| stored.method));
            let method = method.unwrap_or(CredentialMethod::ClientSecretBasic);
            let mut origins: Vec<String> = upstream.origins().into_iter().collect();
            // A secret for later says nothing about where the present one may go.
            if matches!(current, Fill::Stays) && !matches!(next, Fill::Stays) {
                origins.retain(|origin| stored.as_ref().is_some_and(|it| it.origins.contains(origin)));
            }
            let leading = stored.as_ref().map_or(Slot::Current, |stored| stored.leading_slot);
            let credential = UpstreamCredential {
                registration_id: id.clone(),
                method,
                encoding: stored.as_ref().map(|stored| stored.encoding).unwrap_or_default(),
                origins,
                // A secret that was set just now is what the issuer has, as far as anybody knows.
                leading_slot: if matches!(current, Fill::Set(_)) { Slot::Current } else { leading },
                version: 1,
                refused: Refused::default(),
                slots: Vec::new(),
            };
            act.tx.set_upstream_credential(&credential).await?;
            let (mut set_slots, mut removed_slots) = (Vec::new(), Vec::new());
            for (slot, fill) in [(Slot::Current, current), (Slot::Next, next)] {
                match fill {
                    Fill::Stays => {}
                    Fill::Removed => {
                        act.tx.delete_upstream_slot(id, slot).await?;
                        removed_slots.push(slot);
                    }
                    Fill::Set(value) => {
                        let place = SealPlace::UpstreamCredential { registration: id, slot };
                        let sealed = self.vault.seal(&place, value.as_bytes())?;
                        act.tx.set_upstream_slot(id, slot, &sealed, act.now).await?;
                        set_slots.push(slot);
                    }
                }
            }
            act.changed(ChangeKind::Registration(id.clone())).await?;
            let event = Event::UpstreamCredentialSet {
                method,
                set_slots,
                removed_slots,
                confirmed_origins: credential.origins,
            };
            audit(act, &site, &event).await?;
            let stored = act.tx.upstream_credential(id).await?;
            Ok(shown(stored.as_ref(), upstream))
        })
        .await
    }

    /// Whether Crossfade has made this secret for the registration, now or earlier. The issuer can be another Crossfade, so
    /// that its secrets look like our own.
    async fn is_secret_of(&self, tx: &mut Tx, id: &RegistrationId, value: &str) -> Result<bool, Error> {
        let found = tx.secrets_by_value(&self.authority.value_digests(value.trim())).await?;
        Ok(found.iter().any(|it| it.registration_id == *id))
    }
}

pub(super) async fn audit(act: &mut Act<'_>, site: &Site, event: &Event) -> Result<(), Error> {
    let about = About {
        client: Some(&site.client.id),
        environment: Some(&site.environment.slug),
        target: Some(site.registration.id.to_string()),
        ..About::default()
    };
    act.audit(event, about).await
}

/// Returns the issuer that the environment of a registration is in front of.
pub(super) fn upstream_of(site: &Site) -> Result<&Upstream, Problem> {
    site.environment.upstream.as_ref().ok_or_else(|| {
        let text = format!(
            "The environment {} is not in front of another issuer. Nothing was changed. Set its issuer_mode first.",
            site.environment.slug
        );
        Problem::new(Code::NotInFrontMode, &text)
    })
}

/// Reads a secret that the issuer has or will have. Any text is possible that fits into a form.
fn secret(field: &str, text: String) -> Result<Zeroizing<String>, Problem> {
    let text = Zeroizing::new(text);
    if text.is_empty() || text.len() > MAX_SECRET || text.chars().any(char::is_control) {
        let what = format!("must be 1 to {MAX_SECRET} bytes without control characters");
        return Err(Problem::invalid(field, &what));
    }
    Ok(text)
}

fn shown(stored: Option<&UpstreamCredential>, upstream: &Upstream) -> Versioned<api::UpstreamCredential> {
    let origins = upstream.origins();
    let confirmed = stored.map_or(&[][..], |stored| &stored.origins);
    let (confirmed_origins, unconfirmed_origins) = origins.into_iter().partition(|it| confirmed.contains(it));
    let slots = stored.map_or(&[][..], |stored| &stored.slots).iter().map(|slot| api::UpstreamSlot {
        slot: slot.slot,
        set_at: slot.set_at,
        state: slot.state,
        last_ok_at: slot.last_ok_at,
        last_error: slot.last_error.clone(),
    });
    let shown = api::UpstreamCredential {
        method: stored.map(|stored| stored.method),
        basic_encoding: stored.map(|stored| stored.encoding),
        refused_since: stored.and_then(|stored| stored.refused.since),
        slots: slots.collect(),
        confirmed_origins,
        unconfirmed_origins,
    };
    Versioned::new(shown, stored.map_or(0, |stored| stored.version))
}
