//! Handing over clients whose owner is no longer reached at an address.

use crate::{
    app::App,
    error::Error,
    frame::{act::Act, idempotency::Repeatable, principal::Principal, targets::forbidden_on},
    messages::handed_over::HandedClient,
    people::users::{Account, UserPath},
    webhooks::owners::hearing_among,
};
use crossfade_core::{
    Code, Operation, Problem, Random, UserId, WebhookId,
    api::{HandedOver, HandedOverClient},
    audit::Event,
    owners::{self, HandOverCause, Heirs, MAX_HANDED_OVER, Manager, managers_of},
    roles::{Object, Permission},
    text::{self, Name},
};
use crossfade_store::{Client, Tx, User};
use std::collections::HashSet;

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
        unless_too_many(owned.len())?;
        confirm_user(gone, confirmed)?;
        let (handed, hearing) = replace_owner(act, self.random.as_ref(), gone, owned, chosen).await?;
        let after = handed.into_iter().map(|(it, heirs)| (it.client, heirs));
        Ok(shown(principal, after, &hearing))
    }

    /// Returns the clients that an account owns, and who would own them if it was deleted now without a choice.
    pub async fn read_hand_over(
        &self,
        principal: &Principal,
        path: UserPath<'_>,
    ) -> Result<HandedOver, Error> {
        let _turns = self.costly(Operation::ReadHandOver, principal).await?;
        self.view(Operation::ReadHandOver, principal, path, async |tx, principal, account: Account| {
            planned(tx, principal, &account.user).await
        })
        .await
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
        unless_too_many(owned.len())?;
        confirm_user(user, confirmed)?;
        let changed =
            |client: &Client| owners::after(&client.owners, address, Some(new), [], &HashSet::new());
        let cause = HandOverCause::AddressChanged;
        change_owners(act, self.random.as_ref(), user, owned, (cause, changed)).await.map(drop)
    }
}

/// Returns the clients that an account owns, and who would own them if it was deleted now without a choice.
async fn planned(tx: &mut Tx, principal: &Principal, user: &User) -> Result<HandedOver, Error> {
    let Some(address) = &user.email else { return Ok(HandedOver::default()) };
    let owned = tx.clients_owned_by(address).await?;
    if owned.is_empty() {
        return Ok(HandedOver::default());
    }
    // The grants of a deleted account end first.
    let mut managers = tx.managers(None).await?;
    managers.retain(|manager| manager.user != user.id);
    let hearing = hearing_among(tx, owned.iter().flat_map(|client| &client.owners)).await?;
    let after = |mut client: Client| {
        let (owners, heirs) = owners_after(&client, address, None, (&managers, &hearing));
        client.owners = owners;
        (client, heirs)
    };
    Ok(shown(principal, owned.into_iter().map(after), &hearing))
}

/// Returns clients with their owners after a hand-over as the API shows them to this principal.
fn shown(
    principal: &Principal,
    after: impl Iterator<Item = (Client, Heirs)>,
    hearing: &HashSet<WebhookId>,
) -> HandedOver {
    let mut shown = HandedOver::default();
    for (client, heirs) in after {
        shown.handed_over_count += 1;
        shown.ownerless_count += u64::from(!owners::is_heard(&client.owners, hearing));
        let readable = principal.may(Permission::ClientRead, Object::Client(&client.property_id, &client.id));
        if readable && shown.clients.len() < MOST_NAMED {
            let name = client.name.to_string();
            shown.clients.push(HandedOverClient { id: client.id, name, owners: client.owners, heirs });
        }
    }
    shown
}

/// Returns the owners of a client after the one at `address` has gone: `chosen` in its place, or else the other owners,
/// or the managers of the client. `hearing` are the webhooks that hear of everything.
fn owners_after(
    client: &Client,
    address: &str,
    chosen: Option<&str>,
    (managers, hearing): (&[Manager], &HashSet<WebhookId>),
) -> (Vec<String>, Heirs) {
    let of_client = managers_of(managers, &client.property_id, &client.id);
    let of_client = of_client.into_iter().map(|it| it.email.as_str());
    owners::after(&client.owners, address, chosen, of_client, hearing)
}

/// Hands over the clients of an account that has ended otherwise than by a person's request: as if it had been deleted
/// without a new owner.
pub(crate) async fn hand_over_ended(
    act: &mut Act<'_>,
    random: &dyn Random,
    gone: &User,
) -> Result<(), Error> {
    let Some(address) = &gone.email else { return Ok(()) };
    let owned = act.tx.clients_owned_by(address).await?;
    if owned.is_empty() {
        return Ok(());
    }
    replace_owner(act, random, gone, owned, None).await.map(drop)
}

/// Replaces the address of an owner by a new one of the same account, which a provider has changed.
pub(crate) async fn follow_address_of(
    act: &mut Act<'_>,
    random: &dyn Random,
    user: &User,
    new: &str,
) -> Result<(), Error> {
    let Some(address) = &user.email else { return Ok(()) };
    let owned = act.tx.clients_owned_by(address).await?;
    if owned.is_empty() {
        return Ok(());
    }
    let changed = |client: &Client| owners::after(&client.owners, address, Some(new), [], &HashSet::new());
    let cause = HandOverCause::AddressChanged;
    change_owners(act, random, user, owned, (cause, changed)).await.map(drop)
}

/// Replaces the owner of these clients, whose account was deleted: by `chosen`, or else by the other owners of each client,
/// or by its managers. Returns the webhooks that hear of everything, too.
async fn replace_owner(
    act: &mut Act<'_>,
    random: &dyn Random,
    gone: &User,
    owned: Vec<Client>,
    chosen: Option<&str>,
) -> Result<(Vec<(HandedClient, Heirs)>, HashSet<WebhookId>), Error> {
    let Some(address) = &gone.email else { return Ok(Default::default()) };
    act.tx.abandon_deliveries_to(address, act.now).await?;
    // A grant of the deleted account has ended, and is not among these.
    let managers = match chosen {
        None => act.tx.managers(None).await?,
        Some(_) => Vec::new(),
    };
    let hearing = hearing_among(act.tx, owned.iter().flat_map(|client| &client.owners)).await?;
    let changed = |client: &Client| owners_after(client, address, chosen, (&managers, &hearing));
    let handed = change_owners(act, random, gone, owned, (HandOverCause::AccountDeleted, changed)).await?;
    Ok((handed, hearing))
}

/// Changes the owners of clients, in a number of statements that does not grow with each of them.
async fn change_owners(
    act: &mut Act<'_>,
    random: &dyn Random,
    user: &User,
    owned: Vec<Client>,
    (cause, changed): (HandOverCause, impl Fn(&Client) -> (Vec<String>, Heirs)),
) -> Result<Vec<(HandedClient, Heirs)>, Error> {
    let mut all_heirs = Vec::with_capacity(owned.len());
    let hand_over = |mut client: Client| {
        let (owners, heirs) = changed(&client);
        all_heirs.push(heirs);
        let before = std::mem::replace(&mut client.owners, owners);
        let event = Event::ClientHandedOver {
            user_id: user.id.clone(),
            user_name: user.name.clone(),
            cause,
            heirs,
            owners_before: before.clone(),
            owners: client.owners.clone(),
        };
        HandedClient { client, before, event }
    };
    let handed: Vec<HandedClient> = owned.into_iter().map(hand_over).collect();
    act.tx.set_owners(&handed.iter().map(|it| it.client.clone()).collect::<Vec<_>>()).await?;
    let events: Vec<_> = handed.iter().map(|it| (it.event.clone(), it.client.id.clone())).collect();
    act.audit_clients(&events).await?;
    act.tell_of_hand_over(random, &handed).await?;
    Ok(handed.into_iter().zip(all_heirs).collect())
}

fn unless_too_many(owned: usize) -> Result<(), Problem> {
    if owned <= MAX_HANDED_OVER {
        return Ok(());
    }
    let text = format!(
        "This account owns {owned} clients, and one request hands over at most {MAX_HANDED_OVER}. Nothing was changed. Change \
        the owners of some of these clients first, with PATCH /clients/{{client}} or crossfade client update, then try again."
    );
    Err(Problem::new(Code::InUse, text))
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
