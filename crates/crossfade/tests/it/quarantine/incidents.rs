//! Incidents of PagerDuty whose secret the journal ends.

use super::{HOUR, Lived, Saved, journal, journal::restored_with, restarted};
use crate::{engines::on_both_engines, world::World};
use serde_json::json;

on_both_engines! {
    a_secret_that_the_journal_ends_resolves_its_incidents,
    a_leak_that_the_journal_ends_is_resolved_where_its_webhook_was_disabled,
}

/// A webhook for PagerDuty, a secret that retires, and a report that it leaked. Returns the webhook and the secret.
async fn reported(world: &World, lived: &Lived) -> (String, String) {
    let owner = lived.owner(world);
    let hook = json!({"name": "On-call", "format": "pagerduty", "confirm_name": "platform",
        "routing_key": "0123456789abcdef0123456789abcdef"});
    let hook = owner.post("/webhooks", hook).await.created();
    let rotate = lived.billing.path("production", "/secrets/rotate");
    let rotated = owner.post(&rotate, lived.billing.rotation(24)).await.created();
    let value = &lived.billing.registration("production").secret;
    let found = owner.post("/leaks", json!({"text": value})).await.ok();
    let secret = rotated["previous_secret"]["id"].as_str().unwrap().to_owned();
    assert_eq!(found["found"][0]["identified"]["secret"]["id"], json!(secret));
    (hook["id"].as_str().unwrap().to_owned(), secret)
}

async fn revoke(world: &World, lived: &Lived, secret: &str) {
    let revoke = lived.billing.path("production", &format!("/secrets/{secret}/revoke"));
    lived.owner(world).post(&revoke, json!({"reason": "leaked", "compromised": true})).await.ok();
}

/// The number of waiting messages that resolve an incident.
async fn resolves(world: &World, subject: &str) -> i64 {
    let sql = format!(
        "SELECT COUNT(*) FROM deliveries d JOIN notifications n ON n.id = d.notification_id
         WHERE n.details LIKE '%\"resolves\":\"{subject}\"%' AND d.sent_at IS NULL AND d.abandoned_at IS NULL"
    );
    world.number(&sql).await
}

async fn a_secret_that_the_journal_ends_resolves_its_incidents(world: World) {
    let (_directory, path) = journal();
    let world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    let (_, secret) = reported(&world, &lived).await;
    let saved = Saved::of(&world).await;
    revoke(&world, &lived, &secret).await;
    let after = restored_with(&saved, &world, &path).await;
    // A deadline may have opened one after the backup, so it is resolved, too. Nothing else has ended.
    let waiting = async |world: &World| {
        let leak = resolves(world, &format!("leak:{secret}")).await;
        (leak, resolves(world, &secret).await, resolves(world, "%").await)
    };
    assert_eq!(waiting(&after).await, (1, 1, 2));
    assert_eq!(after.number("SELECT COUNT(*) FROM told WHERE subject IN ('leak', 'incident')").await, 0);
    after.run_jobs().await;
    assert_eq!(waiting(&after).await, (1, 1, 2));
}

async fn a_leak_that_the_journal_ends_is_resolved_where_its_webhook_was_disabled(world: World) {
    let (_directory, path) = journal();
    let world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    let (webhook, secret) = reported(&world, &lived).await;
    let owner = lived.owner(&world);
    owner.patch(&format!("/webhooks/{webhook}"), json!({"enabled": false})).await.ok();
    let saved = Saved::of(&world).await;
    revoke(&world, &lived, &secret).await;
    let after = restored_with(&saved, &world, &path).await;
    after.run_jobs().await;
    let leak = format!("leak:{secret}");
    assert_eq!(resolves(&after, &leak).await, 0, "a disabled webhook is sent nothing");
    lived.owner(&after).patch(&format!("/webhooks/{webhook}"), json!({"enabled": true})).await.ok();
    after.advance(HOUR);
    after.run_jobs().await;
    assert_eq!(resolves(&after, &leak).await, 1);
}
