//! Rule 8: the deadline of a retiring secret can be extended.

use super::{HOUR, MICRO, change, ended_as, rotate, secrets, text};
use crate::engines::on_both_engines;
use crate::world::World;
use serde_json::json;

on_both_engines! {
    a_deadline_is_extended_to_168_hours_after_the_rotation_and_no_further_rule_8,
    an_offset_in_a_new_deadline_is_understood_rule_8,
}

async fn a_deadline_is_extended_to_168_hours_after_the_rotation_and_no_further_rule_8(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let registration = client.registration("production");
    let oauth = world.oauth("production");
    let rotated_at = world.now();
    rotate(&owner, &client, client.rotation(24)).await.created();
    world.advance(HOUR * 2);
    let extend = async |to: String, reason: &str| {
        change(
            &owner,
            &client,
            &registration.secret_id,
            "extend",
            json!({"expires_at": to, "reason": reason}),
        )
        .await
    };
    let before = rotated_at.after(HOUR * 24);
    let most = rotated_at.after(HOUR * 168);
    extend(most.to_string(), "").await.refused(422, "invalid_body");
    for (to, why) in [
        (most.after(MICRO), "a microsecond beyond"),
        (before, "not later than it was"),
        (before.before(MICRO), "earlier than it was"),
        (world.now(), "now"),
        (rotated_at, "the past"),
    ] {
        let problem = extend(to.to_string(), "more time").await.refused(422, "extension_out_of_range");
        assert_eq!(
            (text(&problem["field"]), text(&problem["at_most"])),
            ("expires_at", &*most.to_string()),
            "{why}"
        );
    }
    for malformed in
        ["", "tomorrow", "2026-11-25", "2026-11-25T08:00:00", "1795525500", "0000-00-00T00:00:00Z"]
    {
        extend(malformed.to_owned(), "more time").await.refused(422, "invalid_body");
    }
    assert_eq!(secrets(&owner, &client).await[1]["expires_at"], before.to_string(), "nothing was changed");

    let reply = extend(before.after(MICRO).to_string(), "a microsecond").await.ok();
    assert_eq!(reply["secret"]["expires_at"], before.after(MICRO).to_string());
    extend(most.to_string(), "more time").await.ok();
    extend(most.to_string(), "again").await.refused(422, "extension_out_of_range");
    world.advance(HOUR * 166 - MICRO);
    oauth.token(&registration.client_id, &registration.secret).await.is_token();
    world.advance(MICRO);
    oauth.token(&registration.client_id, &registration.secret).await.is_invalid_client();
    assert_eq!(ended_as(&owner, &client).await, ["expired"]);
    extend(world.now().after(HOUR).to_string(), "too late").await.refused(409, "not_retiring");
}

async fn an_offset_in_a_new_deadline_is_understood_rule_8(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    rotate(&owner, &client, client.rotation(1)).await.created();
    let utc = world.now().after(HOUR * 5).to_string();
    // The same instant, written as people east of Greenwich write it.
    let east = world.now().after(HOUR * 7).to_string().replace('Z', "+02:00");
    let reply = change(
        &owner,
        &client,
        &client.registration("production").secret_id,
        "extend",
        json!({"expires_at": east, "reason": "x"}),
    )
    .await
    .ok();
    assert_eq!(reply["secret"]["expires_at"], utc);
}
