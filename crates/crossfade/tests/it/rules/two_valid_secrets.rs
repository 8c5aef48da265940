//! Rule 1: a registration has at most two valid secrets.

use super::{MINUTE, rotate, states, text, with};
use crate::engines::on_both_engines;
use crate::world::World;
use serde_json::json;
use std::collections::HashSet;

on_both_engines! {
    at_most_two_secrets_are_valid_whatever_is_done_rule_1,
}

async fn at_most_two_secrets_are_valid_whatever_is_done_rule_1(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let oauth = world.oauth("production");
    let registration = client.registration("production");
    let mut values = vec![registration.secret.clone()];
    let steps = [
        json!({"transition_hours": 24}),
        json!({"transition_hours": 168, "end_running_transition": true}),
        json!({"transition_hours": 0, "end_running_transition": true}),
        json!({"transition_hours": 168}),
        json!({"transition_hours": 0, "compromised": true}),
        json!({"transition_hours": 1}),
    ];
    for step in steps {
        let reply = rotate(&owner, &client, with(client.rotation(0), step)).await.created();
        values.push(text(&reply["secret"]["value"]).to_owned());
        let states = states(&owner, &client).await;
        let count = |wanted: &str| states.iter().filter(|state| *state == wanted).count();
        assert_eq!((count("current"), count("retiring") <= 1), (1, true), "{states:?}");
        let mut accepted = 0;
        for value in &values {
            let answer = oauth.token(&registration.client_id, value).await;
            accepted += usize::from(answer.status.as_u16() == 200);
        }
        assert_eq!(accepted, count("current") + count("retiring"), "what is shown is what is enforced");
        world.advance(MINUTE);
    }
    assert_eq!(values.iter().collect::<HashSet<_>>().len(), values.len(), "no value is given twice");
}
