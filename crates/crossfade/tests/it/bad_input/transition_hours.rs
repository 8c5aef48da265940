//! Rule 9: a transition is a whole number of hours from 0 to 168.

use super::{send, snapshot, text};
use crate::engines::on_both_engines;
use crate::world::World;
use http::Method;
use serde_json::json;

on_both_engines! {
    a_transition_is_a_whole_number_of_hours_from_0_to_168_rule_9,
    a_number_beyond_all_floats_is_out_of_range_too_rule_9,
}

async fn a_transition_is_a_whole_number_of_hours_from_0_to_168_rule_9(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let path = client.path("production", "/secrets/rotate");
    let before = snapshot(&owner, &client).await;
    let missing = r#"{"confirm_client_name": "Billing"}"#.to_owned();
    let values = [
        "null",
        "\"24\"",
        "\"\"",
        "\"24h\"",
        "24.5",
        "1.5",
        "0.5",
        "-1",
        "-0.0",
        "169",
        "168.0",
        "24.0",
        "0.0",
        "1e1",
        "1e9",
        "1e-1",
        "true",
        "false",
        "[]",
        "[24]",
        "{}",
        "{\"hours\": 24}",
        "256",
        "4294967296",
        "9223372036854775808",
        "18446744073709551616",
        "99999999999999999999999999999999",
        "-9223372036854775809",
        "1e308",
    ];
    let bodies = values
        .iter()
        .map(|value| format!(r#"{{"transition_hours": {value}, "confirm_client_name": "Billing"}}"#));
    for body in bodies.chain([missing]) {
        let problem = send(&owner, &Method::POST, &path, &body).await.refused(422, "transition_out_of_range");
        assert_eq!(problem["field"], "transition_hours", "{body}");
        assert!(text(&problem["detail"]).contains("from 0 to 168"), "{body}");
    }
    assert_eq!(snapshot(&owner, &client).await, before);
    for good in [168, 0] {
        let body = json!({"transition_hours": good, "confirm_client_name": "Billing", "end_running_transition": true});
        let reply = owner.post(&path, body).await.created();
        assert_eq!(reply["rotation"]["transition_hours"], good);
    }
}

async fn a_number_beyond_all_floats_is_out_of_range_too_rule_9(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    for value in ["1e400", "-1e400", "1e999999999"] {
        let body = format!(r#"{{"transition_hours": {value}, "confirm_client_name": "Billing"}}"#);
        let answer = send(&owner, &Method::POST, &client.path("production", "/secrets/rotate"), &body).await;
        answer.refused(422, "transition_out_of_range");
    }
}
