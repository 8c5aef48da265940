//! What every event of the trail says of the way in: the API token, the session, the local command, the policy.

use crate::engines::on_both_engines;
use crate::{
    console::browser::PASSWORD,
    world::{Client, OWNER, Principal, World},
};
use serde_json::{Value, json};
use std::time::Duration;

on_both_engines! {
    reveals_by_two_tokens_and_the_console_are_told_apart,
    a_replayed_reveal_names_the_token_that_repeated_the_request,
    refusals_name_their_token_also_when_they_are_grouped,
    an_account_that_creates_tokens_in_a_loop_is_stopped,
    every_event_names_its_way_in,
    a_filter_of_the_way_in_that_cannot_be_one_is_refused,
    events_older_than_the_way_in_have_none,
    what_a_leaked_token_did_is_found_by_its_id,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text")).to_owned()
}

async fn events(principal: &Principal<'_>, filter: &str) -> Vec<Value> {
    let page = principal.get(&format!("/audit-events?limit=200&{filter}")).await.ok();
    page["items"].as_array().unwrap().clone()
}

/// The ID of the token that a caller uses.
async fn token_id(principal: &Principal<'_>) -> String {
    text(&principal.get("/me").await.ok()["token_id"])
}

fn reveal(client: &Client) -> String {
    client.path("production", &format!("/secrets/{}/reveal", client.registration("production").secret_id))
}

impl World {
    /// Checks that no event of an account, a local command or a policy lacks what it was done through (rule 19).
    pub async fn check_ways(&self) {
        let without = "SELECT COUNT(*) FROM audit_events WHERE actor_kind NOT IN ('client', 'unknown')
                       AND (via_kind IS NULL OR via_id IS NULL OR via_id = '')";
        assert_eq!(self.number(without).await, 0);
        let others = "SELECT COUNT(*) FROM audit_events WHERE actor_kind = 'client' AND via_kind IS NOT NULL";
        assert_eq!(self.number(others).await, 0);
    }
}

async fn reveals_by_two_tokens_and_the_console_are_told_apart(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let (one, two) = (world.owner().await, world.token_of(OWNER, &[]).await);
    one.post(&reveal(&client), json!({})).await.ok();
    two.post(&reveal(&client), json!({})).await.ok();
    let browser = world.signed_in().await;
    // By a form, as where no script runs, and by a script.
    browser.post(&format!("/console{}", reveal(&client)), &[]).await;
    browser.script(&format!("/console{}", reveal(&client)), &[]).await.ok();
    let found = events(&one, "action=secret.revealed").await;
    let ids: Vec<String> = found.iter().map(|event| text(&event["via"]["id"])).collect();
    let (first, second) = (token_id(&one).await, token_id(&two).await);
    assert_eq!(ids[2..], [second.clone(), first.clone()], "newest first");
    let kinds: Vec<&Value> = found.iter().map(|event| &event["via"]["kind"]).collect();
    assert_eq!(kinds, ["session", "session", "token", "token"]);
    assert!(ids[0] == ids[1] && ids[0].starts_with("ses_"), "{ids:?}");
    for (id, count) in [(&first, 1), (&second, 1), (&ids[0], 2)] {
        let through = events(&one, &format!("action=secret.revealed&via={id}")).await;
        assert_eq!(through.len(), count, "{id}");
    }
    // The session answers also for its own beginning.
    assert_eq!(events(&one, &format!("via={}&action=session.created", ids[0])).await.len(), 1);
    let made = events(&one, "action=token.created").await;
    assert_eq!(events(&one, "via_kind=machine&action=token.created").await, made);
    // An export is limited in the same way.
    let export = two.get(&format!("/audit-events/export?via={second}")).await;
    let lines = String::from_utf8(export.bytes).unwrap();
    assert_eq!(lines.lines().count(), 2, "the event, and the statement about the export: {lines}");
    let line: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(line["via"], json!({"kind": "token", "id": second}));
    let exported = events(&one, "action=audit.exported").await;
    assert_eq!(exported[0]["details"]["filter"], format!("via={second}"));
}

async fn a_replayed_reveal_names_the_token_that_repeated_the_request(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let (one, two) = (world.owner().await, world.token_of(OWNER, &[]).await);
    for principal in [&one, &two] {
        let key = [("idempotency-key", "again")];
        principal.call(http::Method::POST, &reveal(&client), Some("{}".into()), &key).await.ok();
    }
    let found = events(&one, "action=secret.revealed").await;
    assert_eq!(found[0]["details"]["replayed"], "reveal_secret");
    assert_eq!(found[0]["via"]["id"], token_id(&two).await);
    assert_eq!(found[1]["via"]["id"], token_id(&one).await);
}

async fn refusals_name_their_token_also_when_they_are_grouped(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let one = world.user("eve@example.com", "viewer").await;
    let two = world.token_of("eve@example.com", &[]).await;
    for _ in 0..50 {
        one.post(&reveal(&client), json!({})).await.refused(403, "forbidden");
        two.post(&reveal(&client), json!({})).await.refused(403, "forbidden");
    }
    world.advance(Duration::from_secs(60));
    world.run_jobs().await;
    let owner = world.owner().await;
    for principal in [&one, &two] {
        let refused = events(&owner, &format!("outcome=refused&via={}", token_id(principal).await)).await;
        let counts = refused.iter().map(|event| event["details"]["count"].as_u64().unwrap());
        assert_eq!(counts.sum::<u64>(), 50);
    }
}

async fn an_account_that_creates_tokens_in_a_loop_is_stopped(world: World) {
    world.owner().await;
    let browser = world.signed_in_as(OWNER).await;
    let fields = [("name", "loop"), ("expires_days", "30")];
    let create = async || browser.post("/console/account/tokens", &fields).await.status.as_u16();
    let mut created = 0;
    let refused = loop {
        match create().await {
            200 => created += 1,
            status => break status,
        }
    };
    assert_eq!(refused, 429);
    assert!((100..110).contains(&created), "{created}");
    assert_eq!(world.number("SELECT COUNT(*) FROM api_tokens WHERE name = 'loop'").await, created);
    // Nobody else is stopped, and nothing else of the account is.
    browser.get("/console/clients").await.page(200);
    world.user("ada@example.com", "viewer").await;
}

async fn every_event_names_its_way_in(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    // Sessions: sign in wrong and right, confirm wrong, make and end a token, change the password, end sessions.
    let browser = world.browser();
    browser.sign_in(OWNER, "nothing like the password").await;
    let browser = world.signed_in_as(OWNER).await;
    browser.post("/console/confirm", &[("password", "nothing like the password"), ("to", "/console")]).await;
    browser.post("/console/account/tokens", &[("name", "laptop"), ("expires_days", "30")]).await;
    let new = "four quite unrelated words";
    let fields = [("current_password", PASSWORD), ("password", new), ("repeated", new)];
    assert_eq!(browser.post("/console/account/password", &fields).await.leads_to(), "/console/account");
    // A person comes in by a link.
    let created = owner.post("/users", json!({"email": "bob@example.com"})).await.created();
    let link = text(&created["activation_link"]["url"]);
    let bob = world.browser();
    bob.post("/console/link", &[("link", &*link), ("email", ""), ("password", new), ("repeated", new)])
        .await
        .leads_to();
    bob.get("/console/people").await;
    // Policies: a deadline, a wipe; and an OAuth client on its own behalf.
    let own = client.registration("production").clone();
    let token = world.oauth("production").token(&own.client_id, &own.secret).await.is_token();
    world.oauth("production").basic("revoke", &own.client_id, &own.secret, &[("token", &token)]).await;
    owner.post(&client.path("production", "/secrets/rotate"), client.rotation(1)).await.created();
    browser.post("/console/account/sessions/end", &[]).await;
    world.advance(Duration::from_secs(3601));
    world.run_jobs().await;
    world.oauth("production").token(&own.client_id, &own.secret).await.is_invalid_client();
    world.advance(Duration::from_secs(40 * 86_400));
    world.run_jobs().await;
    world.check_ways().await;
    for (filter, id) in [
        ("action=secret.expired", "deadline"),
        ("action=secret.wiped", "wipe"),
        ("action=owner.created", "init"),
    ] {
        assert_eq!(events(&owner, filter).await[0]["via"]["id"], id, "{filter}");
        assert!(!events(&owner, &format!("{filter}&via={id}")).await.is_empty());
    }
    let refused = events(&owner, "action=session.refused").await;
    let ways: Vec<&Value> = refused.iter().map(|event| &event["via"]["kind"]).collect();
    assert_eq!(ways, [&json!("session"), &Value::Null], "a failed confirmation, and a failed sign-in");
    assert_eq!(events(&owner, "action=user.activated").await[0]["via"]["kind"], "session");
    for action in ["authentication.failed", "access_token.revoked"] {
        assert_eq!(events(&owner, &format!("action={action}")).await[0]["via"], Value::Null);
    }
}

async fn a_filter_of_the_way_in_that_cannot_be_one_is_refused(world: World) {
    let owner = world.owner().await;
    let value = owner.token.clone().unwrap();
    for (filter, field) in [(format!("via={value}"), "via"), ("via_kind=robot".into(), "via_kind")] {
        let problem = owner.get(&format!("/audit-events?{filter}")).await.refused(400, "invalid_query");
        assert_eq!(problem["field"], field);
        assert!(!problem.to_string().contains(&value));
    }
    assert_eq!(events(&owner, "via=tok_0000000000000000000000").await.len(), 0);
}

async fn events_older_than_the_way_in_have_none(world: World) {
    world.client("Billing", &["production"]).await;
    world.raw("UPDATE audit_events SET via_kind = NULL, via_id = NULL").await;
    let owner = world.owner().await;
    assert_eq!(events(&owner, "action=client.created").await[0]["via"], Value::Null);
    assert!(world.signed_in().await.get("/console/audit").await.page(200).contains("client.created"));
}

/// As docs/guide/leak.md tells.
async fn what_a_leaked_token_did_is_found_by_its_id(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let leaked = world.user("eve@example.com", "secret_viewer").await;
    leaked.post(&reveal(&client), json!({})).await.ok();
    leaked
        .post(&client.path("production", "/secrets/rotate"), client.rotation(0))
        .await
        .refused(403, "forbidden");
    let id = token_id(&leaked).await;
    let owner = world.owner().await;
    owner.delete(&format!("/tokens/{id}"), json!({})).await;
    leaked.get("/me").await.refused(401, "unauthenticated");
    world.run_jobs().await;
    let did: Vec<String> =
        events(&owner, &format!("via={id}")).await.iter().map(|it| text(&it["action"])).collect();
    assert_eq!(did, ["access.refused", "secret.revealed"]);
    let about = events(&owner, "action=token.deleted").await;
    assert_eq!(about[0]["target"], id.as_str());
    let page = world.signed_in().await.get(&format!("/console/audit?via={id}")).await.page(200);
    assert!(page.contains("secret.revealed</code>") && !page.contains("client.created</code>"), "{page}");
}
