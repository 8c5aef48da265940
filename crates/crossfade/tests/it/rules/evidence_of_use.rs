//! Rule 17: each use of a secret leaves evidence.

use super::{MINUTE, items, rotate, rotations, secrets, text};
use crate::engines::on_both_engines;
use crate::world::World;
use serde_json::json;

on_both_engines! {
    each_use_leaves_evidence_rule_17,
}

async fn each_use_leaves_evidence_rule_17(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let registration = client.registration("production");
    let reply = rotate(&owner, &client, client.rotation(24)).await.created();
    let new = text(&reply["secret"]["value"]);
    let first_at = world.now().to_string();
    for (address, agent, secret, times) in [
        ([192, 0, 2, 1], "billing/1.0", &*registration.secret, 3),
        ([192, 0, 2, 2], "billing/1.0", &registration.secret, 1),
        ([192, 0, 2, 1], "billing/1.1", new, 2),
    ] {
        for _ in 0..times {
            world
                .oauth("production")
                .from(address, agent)
                .token(&registration.client_id, secret)
                .await
                .is_token();
        }
        world.advance(MINUTE);
    }
    // A failure is no use.
    world.oauth("production").token(&registration.client_id, "wrong").await.is_invalid_client();
    let shown = secrets(&owner, &client).await;
    assert_eq!((&shown[0]["use_count"], &shown[1]["use_count"]), (&json!(2), &json!(4)));
    assert_eq!(shown[1]["first_used_at"], first_at);
    let usage = items(&owner, &client.path("production", "/usage")).await;
    let lines: Vec<_> = usage
        .iter()
        .map(|line| {
            (
                text(&line["secret_id"]),
                text(&line["source_ip"]),
                text(&line["user_agent"]),
                line["use_count"].as_i64().unwrap(),
                text(&line["state"]),
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            (text(&reply["secret"]["id"]), "192.0.2.1", "billing/1.1", 2, "current"),
            (&*registration.secret_id, "192.0.2.2", "billing/1.0", 1, "retiring"),
            (&*registration.secret_id, "192.0.2.1", "billing/1.0", 3, "retiring"),
        ]
    );
    let history = rotations(&owner, &client).await;
    assert_eq!(history[0]["outgoing_secret"]["last_used_at"], shown[1]["last_used_at"]);
    assert_eq!(history[0]["incoming_secret"]["first_used_at"], shown[0]["first_used_at"]);
    let since = text(&shown[0]["first_used_at"]);
    assert_eq!(items(&owner, &client.path("production", &format!("/usage?since={since}"))).await.len(), 1);
    world.run_jobs().await;
    assert_eq!(secrets(&owner, &client).await[1]["use_count"], 4, "a flush counts nothing twice");
}
