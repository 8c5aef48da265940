//! Accounts that end with a quarantine, or by the journal, hand over their clients as deleted ones do.

use super::{Lived, Saved, journal, journal::restored_with, restarted};
use crate::{
    engines::on_both_engines,
    mail_server::MailServer,
    world::{Client, OWNER, World},
};
use serde_json::json;

on_both_engines! {
    an_account_that_is_not_released_hands_over_its_clients,
    an_account_that_the_journal_deletes_hands_over_its_clients,
    the_heirs_of_an_account_that_the_journal_deletes_are_told,
}

const GRACE: &str = "grace@example.com";

/// An account that owns two clients, one of them with another owner. Returns its ID.
async fn owning(world: &World, lived: &Lived) -> String {
    world.user(GRACE, "viewer").await;
    own(world, lived, &lived.billing, &[GRACE]).await;
    own(world, lived, &lived.closed, &[GRACE, "team@example.com"]).await;
    let found = lived.owner(world).get(&format!("/users?q={GRACE}")).await.ok();
    found["items"][0]["id"].as_str().unwrap().to_owned()
}

async fn own(world: &World, lived: &Lived, client: &Client, owners: &[&str]) {
    let body = json!({"owners": owners, "confirm_client_name": client.name});
    lived.owner(world).patch(&format!("/clients/{}", client.id), body).await.ok();
}

/// Checks that the managers and the other owners have the clients, by an act of this kind of actor.
async fn is_handed_over(world: &World, lived: &Lived, actor: &str) {
    let owner = lived.owner(world);
    let owners =
        async |client: &Client| owner.get(&format!("/clients/{}", client.id)).await.ok()["owners"].clone();
    assert_eq!(owners(&lived.billing).await, json!([OWNER]));
    assert_eq!(owners(&lived.closed).await, json!(["team@example.com"]));
    let found = owner.get("/audit-events?action=client.handed_over").await.ok();
    let items = found["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "{found}");
    for item in items {
        assert_eq!(
            (&item["actor"]["kind"], &item["details"]["cause"]),
            (&json!(actor), &json!("account_deleted"))
        );
    }
}

/// Returns the number of waiting mails about the hand-over.
async fn waiting(world: &World) -> i64 {
    let sql = "SELECT COUNT(*) FROM deliveries d JOIN notifications n ON n.id = d.notification_id
               WHERE n.event = 'client.handed_over' AND d.channel = 'mail' AND d.sent_at IS NULL AND d.abandoned_at IS NULL";
    world.number(sql).await
}

async fn an_account_that_is_not_released_hands_over_its_clients(world: World) {
    let lived = Lived::before(&world).await;
    let grace = owning(&world, &lived).await;
    let saved = Saved::of(&world).await;
    let server = MailServer::start().await;
    let mut after = saved.restored(&world, None).await;
    after.restart_with_mailer(Some(server.mailer())).await;
    let owner = lived.owner(&after);
    let viewers = owner.get("/users?q=viewer").await.ok();
    // A manager that is not released either inherits nothing.
    let viewer = viewers["items"][0]["id"].as_str().unwrap();
    after.raw(&format!("UPDATE grants SET role = 'operations_manager' WHERE user_id = '{viewer}'")).await;
    let body = json!({"reason": "checked", "except": [grace, viewer]});
    owner.post("/quarantine/release", body).await.ok();
    is_handed_over(&after, &lived, "user").await;
    // To the heir, to the other owner, and to the address of the account, which may be that of a group.
    assert_eq!(waiting(&after).await, 3);
}

async fn an_account_that_the_journal_deletes_hands_over_its_clients(world: World) {
    let (_directory, path) = journal();
    let world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    let grace = owning(&world, &lived).await;
    let saved = Saved::of(&world).await;
    lived.owner(&world).delete(&format!("/users/{grace}"), json!({"confirm_user_name": "grace"})).await.ok();
    let after = restored_with(&saved, &world, &path).await;
    lived.owner(&after).get(&format!("/users/{grace}")).await.refused(404, "not_found");
    is_handed_over(&after, &lived, "machine").await;
    assert_eq!(waiting(&after).await, 0, "no mail is set up");
}

async fn the_heirs_of_an_account_that_the_journal_deletes_are_told(world: World) {
    let (_directory, path) = journal();
    let mut world = restarted(world, &path).await;
    let server = MailServer::start().await;
    world.restart_with_mailer(Some(server.mailer())).await;
    let lived = Lived::before(&world).await;
    let grace = owning(&world, &lived).await;
    let saved = Saved::of(&world).await;
    lived.owner(&world).delete(&format!("/users/{grace}"), json!({"confirm_user_name": "grace"})).await.ok();
    let mut after = saved.restored(&world, None).await;
    world.app.close().await;
    world.ends_unable_to_run_jobs();
    after.journal = Some(path);
    after.restart_with_mailer(Some(server.mailer())).await;
    assert_eq!(after.app.quarantine(), None);
    is_handed_over(&after, &lived, "machine").await;
    assert_eq!(waiting(&after).await, 3);
}
