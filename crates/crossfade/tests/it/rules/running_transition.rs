//! Rule 5: a rotation during a transition is refused, unless it says that it ends the transition.

use super::{HOUR, MINUTE, ended_as, rotate, rotations, states, text, with};
use crate::engines::on_both_engines;
use crate::world::World;
use serde_json::json;

on_both_engines! {
    rotating_while_a_transition_runs_is_refused_and_names_it_rule_5,
    end_running_transition_without_a_running_one_changes_nothing_else_rule_5,
}

async fn rotating_while_a_transition_runs_is_refused_and_names_it_rule_5(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let registration = client.registration("production");
    let first = rotate(&owner, &client, client.rotation(24)).await.created();
    let deadline = world.now().after(HOUR * 24).to_string();

    let problem = rotate(&owner, &client, client.rotation(24)).await.refused(409, "transition_in_progress");
    assert_eq!(
        problem["retiring_secret"],
        json!({"id": registration.secret_id, "expires_at": deadline, "last_used_at": null})
    );

    world.advance(MINUTE);
    let used_at = world.now().to_string();
    world.oauth("production").token(&registration.client_id, &registration.secret).await.is_token();
    world.advance(MINUTE);
    for hours in [0, 1, 168] {
        let problem =
            rotate(&owner, &client, client.rotation(hours)).await.refused(409, "transition_in_progress");
        assert_eq!(
            problem["retiring_secret"],
            json!({"id": registration.secret_id, "expires_at": deadline, "last_used_at": used_at}),
            "whatever the new period: {hours}"
        );
    }
    assert_eq!(states(&owner, &client).await, ["current", "retiring"]);

    let body = with(client.rotation(24), json!({"end_running_transition": true}));
    let second = rotate(&owner, &client, body).await.created();
    let oauth = world.oauth("production");
    oauth.token(&registration.client_id, &registration.secret).await.is_invalid_client();
    for value in [&first["secret"]["value"], &second["secret"]["value"]] {
        oauth.token(&registration.client_id, text(value)).await.is_token();
    }
    let history = rotations(&owner, &client).await;
    assert_eq!((text(&history[0]["ended_as"]), text(&history[1]["ended_as"])), ("retiring", "superseded"));
    let outgoing = &history[1]["outgoing_secret"];
    assert_eq!(outgoing["ended_at"], world.now().to_string());
    assert_eq!(outgoing["last_used_at"], used_at);
    assert_eq!(states(&owner, &client).await, ["current", "retiring", "revoked"]);
}

async fn end_running_transition_without_a_running_one_changes_nothing_else_rule_5(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    rotate(&owner, &client, with(client.rotation(1), json!({"end_running_transition": true})))
        .await
        .created();
    assert_eq!(states(&owner, &client).await, ["current", "retiring"]);
    // At the deadline nothing runs any more, so nothing stands in the way and nothing is superseded.
    world.advance(HOUR);
    rotate(&owner, &client, client.rotation(1)).await.created();
    assert_eq!(ended_as(&owner, &client).await, ["retiring", "expired"]);
}
