//! Rule 3: a change is stored as a whole, or not at all.

use super::{items, rotate, with};
use crate::engines::on_both_engines;
use crate::world::World;
use serde_json::json;

on_both_engines! {
    a_change_is_all_or_nothing_and_tells_the_owners_rule_3,
}

async fn a_change_is_all_or_nothing_and_tells_the_owners_rule_3(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let queued = "SELECT COUNT(*) FROM notifications WHERE event = 'secret.rotated'";
    let rows = "SELECT (SELECT COUNT(*) FROM secrets) + (SELECT COUNT(*) FROM rotations)";
    let before = world.number(rows).await;
    rotate(&owner, &client, with(client.rotation(24), json!({"confirm_client_name": "X"})))
        .await
        .refused(422, "confirmation_mismatch");
    assert_eq!((world.number(queued).await, world.number(rows).await), (0, before));
    rotate(&owner, &client, client.rotation(24)).await.created();
    assert_eq!((world.number(queued).await, world.number(rows).await), (1, before + 2));
    let events = items(&owner, "/audit-events?action=secret.rotated").await;
    assert_eq!(events.len(), 1);
}
