//! Records that a person knows of a running transition, so that its managers need not be warned, too.

use crate::{
    app::App,
    error::Error,
    frame::{
        entry::About,
        idempotency::Repeatable,
        principal::Principal,
        request::{NoInput, Request},
        targets::{Names, RegistrationPath, Site, Target, forbidden_because},
    },
};
use crossfade_core::{
    Code, Operation, Problem, RotationId,
    api::{self, UserKind},
    audit::Event,
    operations::Access,
    roles::Permission,
    rotation::SecretState,
};
use crossfade_store::{SeenRow, Tx};

impl Repeatable for api::TransitionSeen {}

/// A registration whose transitions the principal can mark as seen.
#[derive(Clone, Copy)]
struct SeenPath<'a>(RegistrationPath<'a>);

impl Target for SeenPath<'_> {
    type Loaded = Site;

    async fn load(&self, tx: &mut Tx, principal: &Principal, _: Access) -> Result<Site, Error> {
        let site = self.0.load(tx, principal, Access::Needs(Permission::ClientRead)).await?;
        if may_see(tx, principal, &site).await? {
            return Ok(site);
        }
        let text = "Only an owner of the client and whoever can rotate its secret can mark a transition as \
            seen. Nothing was changed.";
        Err(forbidden_because(Permission::SecretRotate, text))
    }

    fn names(&self) -> Names {
        self.0.names()
    }
}

/// Whether the principal can mark the transitions of a registration that it can read as seen: with permission to rotate
/// its secret, or as an owner of the client. A limited token cannot: it is made for a program.
pub(crate) async fn may_see(tx: &mut Tx, principal: &Principal, site: &Site) -> Result<bool, Error> {
    if principal.limit().is_some() || principal.only().is_some() {
        return Ok(false);
    }
    if principal.may(Permission::SecretRotate, site.object()) {
        return Ok(true);
    }
    let email = tx.user(&principal.user).await?.and_then(|user| user.email);
    Ok(email.is_some_and(|email| site.client.owners.contains(&email)))
}

/// Whether one of these people is an owner of the client. Only then the managers are not warned in addition.
pub(crate) fn is_seen_by_owner(rows: &[SeenRow], owners: &[String]) -> bool {
    rows.iter().any(|row| row.email.as_ref().is_some_and(|email| owners.contains(email)))
}

/// Returns a person who knows of a transition as the API shows them.
pub(crate) fn shown_seen(row: SeenRow) -> api::Seen {
    api::Seen { user_id: row.user_id, name: row.name, seen_at: row.seen_at }
}

impl App {
    /// Records that the principal knows of the running transition of a rotation. Does nothing the second time.
    pub async fn mark_seen(
        &self,
        request: &Request<'_>,
        path: RegistrationPath<'_>,
        rotation: &str,
        input: NoInput<'_>,
    ) -> Result<api::TransitionSeen, Error> {
        self.change(Operation::MarkSeen, request, SeenPath(path), async |act, principal, site: Site| {
            let registration = &site.registration.id;
            let id = RotationId::parse(rotation).map_err(|_| Problem::not_found())?;
            let rotation = act.tx.rotation(registration, &id).await?.ok_or_else(Problem::not_found)?;
            act.matches(site.registration.version)?;
            input.check()?;
            let user = act.tx.user(&principal.user).await?.ok_or_else(Problem::not_found)?;
            if user.kind == UserKind::Program {
                let text = "A program cannot mark a transition as seen. Nothing was changed. Sign in to the \
                    Console as a person.";
                return Err(Problem::new(Code::NotAPerson, text).into());
            }
            let old = act.tx.secret(registration, &rotation.outgoing).await?;
            let is_running = rotation.decided.is_none()
                && old.is_some_and(|old| old.rule.state(act.now) == SecretState::Retiring);
            if !is_running {
                let text = "The transition of this rotation is not running. Nothing was changed.";
                return Err(Problem::new(Code::NotRetiring, text).into());
            }
            if act.tx.insert_seen(&id, &user.id, act.now).await? {
                let about = About {
                    client: Some(&site.client.id),
                    environment: Some(&site.environment.slug),
                    target: Some(id.to_string()),
                    reason: None,
                };
                act.audit(&Event::TransitionSeen { rotation_id: id.clone() }, about).await?;
            }
            let seen = act.tx.seen_by(&[&id]).await?.remove(&id).unwrap_or_default();
            let seen_by_owner = is_seen_by_owner(&seen, &site.client.owners);
            let seen = seen.into_iter().map(shown_seen).collect();
            Ok(api::TransitionSeen { rotation_id: id, seen, seen_by_owner })
        })
        .await
    }
}
