//! Handing over clients whose owner is no longer reached at an address.

use crate::{
    app::App,
    error::Error,
    frame::{act::Act, entry::About, idempotency::Repeatable, principal::Principal, targets::forbidden_on},
};
use crossfade_core::{
    Code, Problem, UserId,
    api::{HandedOver, HandedOverClient},
    audit::Event,
    owners::{self, HandOverCause, Heirs, managers_of},
    roles::{Object, Permission},
    text::{self, Name},
};
use crossfade_store::{Client, User};

/// Maximum number of clients that a response names.
const MOST_NAMED: usize = 200;

impl Repeatable for HandedOver {}

/// Requires the account's name as confirmation for a change that redirects messages (rule 24).
pub(super) fn confirm_user(user: &User, typed: Option<&str>) -> Result<(), Problem> {
    if typed.is_some_and(|typed| Name::from_stored(user.name.clone()).is_typed_as(typed)) {
        return Ok(());
    }
    let text = "confirm_user_name must match the account's name exactly. Nothing was changed.";
    Err(Problem::new(Code::ConfirmationMismatch, text).with_field("confirm_user_name"))
}

impl App {
    /// Returns the address of the owner that takes over from `user`: of the person with this ID, or this address.
    pub(super) async fn chosen_owner(
        &self,
        act: &mut Act<'_>,
        user: &User,
        asked: Option<&str>,
    ) -> Result<Option<String>, Error> {
        let Some(asked) = asked else { return Ok(None) };
        let refused = |what: &str| Err(Problem::invalid("hand_over_to", what).into());
        let address = match UserId::parse(asked.trim()) {
            Ok(id) => match act.tx.user(&id).await?.and_then(|heir| heir.email) {
                Some(email) => email,
                None => return refused("must be the ID of a person with an account, or an email address"),
            },
            Err(_) => text::email("hand_over_to", asked)?,
        };
        if user.email.as_ref() == Some(&address) {
            return refused("must be another owner than the account that is deleted");
        }
        Ok(Some(address))
    }

    /// Hands over the clients of a deleted account. `chosen` takes its place; without it the other owners of each
    /// client remain, or its managers inherit.
    pub(super) async fn hand_over(
        &self,
        act: &mut Act<'_>,
        principal: &Principal,
        gone: &User,
        chosen: Option<&str>,
        confirmed: Option<&str>,
    ) -> Result<HandedOver, Error> {
        let Some(address) = &gone.email else { return Ok(HandedOver::default()) };
        let owned = act.tx.clients_owned_by(address).await?;
        if owned.is_empty() {
            return Ok(HandedOver::default());
        }
        // Without a choice, too: with the permission for accounts alone, anyone could make an account at the address of a
        // group and delete it, and the group would be an owner no more.
        may_redirect(principal, &owned)?;
        confirm_user(gone, confirmed)?;
        act.tx.abandon_deliveries_to(address, act.now).await?;
        // A grant of the deleted account has ended, and is not among these.
        let managers = match chosen {
            None => act.tx.managers(None).await?,
            Some(_) => Vec::new(),
        };
        let mut done = HandedOver { handed_over_count: owned.len() as u64, ..HandedOver::default() };
        for client in owned {
            let of_client = managers_of(&managers, &client.property_id, &client.id);
            let of_client = of_client.into_iter().map(|manager| manager.email.as_str());
            let (owners, heirs) = owners::after(&client.owners, address, chosen, of_client);
            done.ownerless_count += u64::from(owners.is_empty());
            let readable =
                principal.may(Permission::ClientRead, Object::Client(&client.property_id, &client.id));
            if readable && done.clients.len() < MOST_NAMED {
                let (id, name) = (client.id.clone(), client.name.to_string());
                done.clients.push(HandedOverClient { id, name, owners: owners.clone(), heirs });
            }
            self.change_owners(act, gone, client, (owners, heirs), HandOverCause::AccountDeleted).await?;
        }
        Ok(done)
    }

    /// Replaces the address of an owner by a new one of the same account.
    pub(super) async fn follow_address(
        &self,
        act: &mut Act<'_>,
        principal: &Principal,
        user: &User,
        new: &str,
        confirmed: Option<&str>,
    ) -> Result<(), Error> {
        let Some(address) = &user.email else { return Ok(()) };
        let owned = act.tx.clients_owned_by(address).await?;
        if owned.is_empty() {
            return Ok(());
        }
        may_redirect(principal, &owned)?;
        confirm_user(user, confirmed)?;
        for client in owned {
            let changed = owners::after(&client.owners, address, Some(new), []);
            self.change_owners(act, user, client, changed, HandOverCause::AddressChanged).await?;
        }
        Ok(())
    }

    async fn change_owners(
        &self,
        act: &mut Act<'_>,
        user: &User,
        mut client: Client,
        (owners, heirs): (Vec<String>, Heirs),
        cause: HandOverCause,
    ) -> Result<(), Error> {
        let before = std::mem::replace(&mut client.owners, owners);
        act.tx.update_client(&client).await?;
        let event = Event::ClientHandedOver {
            user_id: user.id.clone(),
            user_name: user.name.clone(),
            cause,
            heirs,
            owners_before: before.clone(),
            owners: client.owners.clone(),
        };
        let about =
            About { client: Some(&client.id), target: Some(client.id.to_string()), ..About::default() };
        act.audit(&event, about).await?;
        // The address that leaves hears of it, also that of a deleted account: it may be the address of a group.
        let left = before.into_iter().filter(|owner| !client.owners.contains(owner));
        let left: Vec<String> = left.collect();
        client.owners.extend(left);
        act.notify(self.random.as_ref(), &event, &client, None, None).await
    }
}

/// Refuses a principal who cannot change the owners of each of these clients (rule 24).
fn may_redirect(principal: &Principal, clients: &[Client]) -> Result<(), Error> {
    let permission = Permission::ClientManage;
    let object = |client: &Client| (client.property_id.clone(), client.id.clone());
    for (property, client) in clients.iter().map(object) {
        let object = Object::Client(&property, &client);
        if !principal.may(permission, object) {
            return Err(forbidden_on(permission, object));
        }
    }
    Ok(())
}
