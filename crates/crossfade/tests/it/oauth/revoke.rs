//! Token revocation (RFC 7009).

use super::{GRANT, Seen, encoded, is_error, is_the_refusal, jws::Parts, settings};
use crate::engines::{on_both_engines, on_sqlite};
use crate::world::{Answer, Oauth, Registration, World};
use serde_json::{Value, json};
use std::time::Duration;

on_both_engines! {
    a_revoked_token_is_inactive_at_once_and_after_a_restart_rfc7009_2,
    white_space_around_a_token_is_none_of_it,
    a_token_of_another_client_is_not_revoked_rfc7009_2_1,
    a_revocation_is_audited_once,
    a_flood_of_revocations_is_summed_and_exact,
    revocations_from_many_addresses_are_a_bounded_number_of_events,
    a_flood_of_revocations_takes_one_place_in_the_queue_of_changes,
    a_revocation_that_cannot_be_stored_is_503_rfc7009_2_2_1,
}

on_sqlite! {
    unknown_tokens_and_hints_are_answered_alike_rfc7009_2_1_2_2,
}

/// RFC 7009 §2.2: 200 and nothing to read, whether or not there was anything to revoke.
#[track_caller]
fn is_done(answer: &Answer, cause: &str) {
    assert_eq!(answer.status.as_u16(), 200, "{cause}: {}", String::from_utf8_lossy(&answer.bytes));
    assert!(answer.bytes.is_empty(), "{cause}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{cause}");
}

async fn revoke(oauth: &Oauth<'_>, own: &Registration, token: &str) -> Answer {
    oauth.basic("revoke", &own.client_id, &own.secret, &[("token", token)]).await
}

async fn active(oauth: &Oauth<'_>, own: &Registration, token: &str) -> bool {
    oauth.introspect(&own.client_id, &own.secret, token).await["active"].as_bool().unwrap()
}

/// REV-01, REV-05: at once, for good, and for this token alone.
async fn a_revoked_token_is_inactive_at_once_and_after_a_restart_rfc7009_2(mut world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production").clone();
    let (revoked, kept);
    {
        let oauth = world.oauth("production");
        revoked = oauth.token(&own.client_id, &own.secret).await.is_token();
        kept = oauth.token(&own.client_id, &own.secret).await.is_token();
        assert!(active(&oauth, &own, &revoked).await);
        is_done(&revoke(&oauth, &own, &revoked).await, "first");
        assert!(!active(&oauth, &own, &revoked).await, "when the call has returned");
        is_done(&revoke(&oauth, &own, &revoked).await, "again");
        // Not only by luck: revoked and asked, each time.
        for _ in 0..10 {
            let token = oauth.token_by_post(&own.client_id, &own.secret).await.is_token();
            is_done(&revoke(&oauth, &own, &token).await, "in a row");
            assert!(!active(&oauth, &own, &token).await);
        }
    }
    world.restart().await;
    world.run_jobs().await;
    world.advance(Duration::from_secs(3599));
    world.run_jobs().await;
    let oauth = world.oauth("production");
    assert!(!active(&oauth, &own, &revoked).await, "after a restart");
    assert!(active(&oauth, &own, &kept).await, "and no other");
    world.advance(Duration::from_secs(1));
    world.run_jobs().await;
    assert!(!active(&oauth, &own, &revoked).await, "its revocation is forgotten with its end");
}

async fn white_space_around_a_token_is_none_of_it(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production").clone();
    let oauth = world.oauth("production");
    for (before, after) in [("", "\n"), ("", "\r\n"), (" ", ""), ("\t", " \n\n")] {
        let token = oauth.token(&own.client_id, &own.secret).await.is_token();
        let pasted = format!("{before}{token}{after}");
        assert!(active(&oauth, &own, &pasted).await, "{before:?} {after:?}");
        is_done(&revoke(&oauth, &own, &pasted).await, "pasted");
        assert!(!active(&oauth, &own, &token).await, "{before:?} {after:?}");
    }
    for endpoint in ["revoke", "introspect"] {
        let answer = oauth.basic(endpoint, &own.client_id, &own.secret, &[("token", " \n")]).await;
        is_error(&answer, 400, "invalid_request", "nothing but white space");
    }
}

/// REV-02: nobody ends another's token, and nobody learns from the attempt whether there is one.
async fn a_token_of_another_client_is_not_revoked_rfc7009_2_1(world: World) {
    let (one, other) =
        (world.client("One", &["production", "staging"]).await, world.client("Other", &["production"]).await);
    settings(&world, &other, "production", json!({"may_introspect": true})).await;
    let (own, foreign, elsewhere) =
        (one.registration("production"), other.registration("production"), one.registration("staging"));
    let oauth = world.oauth("production");
    let token = oauth.token(&own.client_id, &own.secret).await.is_token();
    // To see every token of the environment is not to end them.
    let by_foreign = revoke(&oauth, foreign, &token).await;
    is_done(&by_foreign, "another client's");
    is_done(&revoke(&world.oauth("staging"), elsewhere, &token).await, "the same client's elsewhere");
    assert!(active(&oauth, own, &token).await);
    let unknown = revoke(&oauth, foreign, "nonsense").await;
    assert_eq!(Seen::of(&by_foreign), Seen::of(&unknown), "no oracle");
    assert_eq!(Seen::of(&revoke(&oauth, own, &token).await), Seen::of(&unknown));
    assert!(!active(&oauth, own, &token).await);
}

/// What is revoked is told in the trail, once, with the token's id and never the token.
async fn a_revocation_is_audited_once(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let oauth = world.oauth("production");
    let token = oauth.token(&own.client_id, &own.secret).await.is_token();
    for _ in 0..2 {
        is_done(&revoke(&oauth, own, &token).await, "twice");
    }
    let events = world.owner().await.get("/audit-events?limit=100").await.ok();
    let jti = Parts::of(&token).claims["jti"].clone();
    let of_token = |event: &&Value| event.to_string().contains(jti.as_str().unwrap());
    assert_eq!(events["items"].as_array().unwrap().iter().filter(of_token).count(), 1);
    assert!(!events.to_string().contains(&token));
}

/// Rule 19, and what a flood costs: the first 20 of an hour one by one, then a sum for each address.
async fn a_flood_of_revocations_is_summed_and_exact(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let other = world.client("Other", &["production"]).await;
    let own = client.registration("production");
    let from = |n: u8| world.oauth("production").from([203, 0, 113, n], "flood/1.0");
    for n in 0..35 {
        let oauth = from(n % 2);
        let token = oauth.token(&own.client_id, &own.secret).await.is_token();
        is_done(&revoke(&oauth, own, &token).await, "flood");
        is_done(&revoke(&oauth, own, &token).await, "again, which is not counted");
    }
    let oauth = world.oauth("production");
    let quiet = other.registration("production");
    let token = oauth.token(&quiet.client_id, &quiet.secret).await.is_token();
    is_done(&revoke(&oauth, quiet, &token).await, "another client");
    let owner = world.owner().await;
    let of = async |filter: &str| -> Vec<Value> {
        let page = owner.get(&format!("/audit-events?limit=200&{filter}")).await.ok();
        page["items"].as_array().unwrap().clone()
    };
    let revoked = of(&format!("action=access_token.revoked&client={}", client.id)).await;
    assert_eq!(revoked.len(), 20);
    let last = &revoked[0];
    assert_eq!((&last["environment"], &last["source_ip"]), (&json!("production"), &json!("203.0.113.1")));
    assert_eq!(last["actor"], json!({"kind": "client", "id": own.client_id, "name": "Billing API"}));
    assert_eq!(last["details"]["secret_id"], own.secret_id.as_str());
    assert_eq!(of(&format!("action=access_token.revoked&client={}", other.id)).await.len(), 1);
    world.run_jobs().await;
    assert!(of("action=access_token.revocations").await.is_empty(), "the hour has not ended");
    world.advance(Duration::from_secs(3661));
    world.run_jobs().await;
    world.run_jobs().await;
    let sums = of("action=access_token.revocations").await;
    let told: Vec<_> = sums.iter().map(|it| (&it["source_ip"], &it["details"]["count"])).collect();
    assert_eq!(told, [(&json!("203.0.113.1"), &json!(17)), (&json!("203.0.113.0"), &json!(18))]);
    for sum in &sums {
        assert_eq!((&sum["client_id"], &sum["environment"]), (&json!(client.id), &json!("production")));
        assert_eq!(sum["details"]["secret_id"], own.secret_id.as_str());
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM token_revocations").await, 0);
}

async fn revocations_from_many_addresses_are_a_bounded_number_of_events(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    for n in 0..=60 {
        let oauth = world.oauth("production").from([203, 0, 113, n], "flood/1.0");
        let token = oauth.token(&own.client_id, &own.secret).await.is_token();
        is_done(&revoke(&oauth, own, &token).await, "flood");
    }
    world.advance(Duration::from_secs(3661));
    world.run_jobs().await;
    let page = world.owner().await.get("/audit-events?limit=200&action=access_token.revocations").await.ok();
    let sums = page["items"].as_array().unwrap();
    let counts = || sums.iter().map(|it| it["details"]["count"].as_i64().unwrap());
    assert_eq!((sums.len(), counts().sum::<i64>()), (21, 61));
    let rest: Vec<_> = sums.iter().filter(|it| it["source_ip"].is_null()).collect();
    assert_eq!((rest.len(), &rest[0]["details"]["count"]), (1, &json!(41)));
}

/// However many clients revoke, an emergency rotation waits for one transaction of theirs.
async fn a_flood_of_revocations_takes_one_place_in_the_queue_of_changes(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let leaked = world.client("Leaked", &["production"]).await;
    let own = client.registration("production").clone();
    let world = std::sync::Arc::new(world);
    let mut tokens = Vec::new();
    for _ in 0..200 {
        tokens.push(world.oauth("production").token(&own.client_id, &own.secret).await.is_token());
    }
    let owner = world.owner().await;
    let before = world.number("SELECT audit_seq FROM head").await;
    let held = world.hold_writes().await;
    let mut tasks = tokio::task::JoinSet::new();
    for token in tokens.clone() {
        let (world, own) = (world.clone(), own.clone());
        tasks.spawn(async move {
            is_done(&revoke(&world.oauth("production"), &own, &token).await, "flood");
        });
    }
    let path = leaked.path("production", "/secrets/rotate");
    let body = json!({"transition_hours": 0, "confirm_client_name": "Leaked", "compromised": true});
    let rotating = owner.post(&path, body);
    let release = async {
        // All of them wait for the lock by then, or for the one that does.
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(held);
    };
    let (rotated, ()) = tokio::join!(rotating, release);
    rotated.created();
    tasks.join_all().await;
    let before_it = "SELECT COUNT(*) FROM change_log WHERE kind = 'access_token'
                         AND seq < (SELECT MAX(seq) FROM change_log WHERE kind = 'registration')";
    let done = world.number(before_it).await;
    assert!(done <= 128, "{done} revocations before an emergency rotation");
    assert_eq!(world.number("SELECT COUNT(*) FROM revoked_tokens").await, 200);
    let oauth = world.oauth("production");
    for token in &tokens {
        assert!(!active(&oauth, &own, token).await);
    }
    let told = world.number("SELECT audit_seq FROM head").await - before;
    assert_eq!(told, 21, "twenty revocations and a rotation");
}

/// REV-04: what cannot be stored is not claimed to be revoked.
async fn a_revocation_that_cannot_be_stored_is_503_rfc7009_2_2_1(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let oauth = world.oauth("production");
    let token = oauth.token(&own.client_id, &own.secret).await.is_token();
    world.raw("ALTER TABLE revoked_tokens RENAME TO elsewhere").await;
    let answer = revoke(&oauth, own, &token).await;
    is_error(&answer, 503, "temporarily_unavailable", "it could not be stored");
    assert!(answer.header("retry-after").is_some());
    assert!(active(&oauth, own, &token).await, "the client must assume that it lives");
    // Secrets and tokens are decided in memory.
    is_done(&revoke(&oauth, own, "nonsense").await, "nothing to store");
    world.raw("ALTER TABLE elsewhere RENAME TO revoked_tokens").await;
    is_done(&revoke(&oauth, own, &token).await, "it can be stored again");
    assert!(!active(&oauth, own, &token).await);
}

/// REV-01 to REV-03: whatever was sent for a token, its client gets the same answer; anybody else none.
async fn unknown_tokens_and_hints_are_answered_alike_rfc7009_2_1_2_2(world: World) {
    let client = world.client("Billing API", &["production"]).await;
    let own = client.registration("production");
    let oauth = world.oauth("production");
    settings(&world, &client, "production", json!({"access_token_ttl_seconds": 60})).await;
    let ended = oauth.token(&own.client_id, &own.secret).await.is_token();
    world.advance(Duration::from_secs(60));
    let good = oauth.token(&own.client_id, &own.secret).await.is_token();
    let huge = "a".repeat(60_000);
    let unsigned = format!("{}AAAA", &good[..good.len() - 4]);
    for token in ["x", "..", "\0", &huge, &ended, &unsigned, &own.secret, &format!("{good}=")] {
        is_done(&revoke(&oauth, own, token).await, &token[..token.len().min(40)]);
    }
    assert!(active(&oauth, own, &good).await);

    // Authentication comes first (RFC 7009 §2.1), also before what is missing.
    is_the_refusal(&oauth.form("revoke", &[("token", &good)], &[]).await, "anonymous");
    is_the_refusal(
        &oauth.form("revoke", &[("token", &good), ("client_id", &own.client_id)], &[]).await,
        "public",
    );
    is_the_refusal(&oauth.basic("revoke", &own.client_id, "x", &[]).await, "wrong secret");
    for form in [vec![], vec![("token", "")], vec![GRANT]] {
        let answer = oauth.basic("revoke", &own.client_id, &own.secret, &form).await;
        is_error(&answer, 400, "invalid_request", "no token");
    }
    let endpoint = format!("revoke?{}", encoded(&[("token", &good)]));
    let answer = oauth.basic(&endpoint, &own.client_id, &own.secret, &[GRANT]).await;
    is_error(&answer, 400, "invalid_request", "token in the URL");
    assert!(active(&oauth, own, &good).await);

    // A hint is a hint (§2.1): a wrong or unknown one does not keep the token from being found.
    for hint in ["access_token", "refresh_token", "nonsense", ""] {
        let token = oauth.token(&own.client_id, &own.secret).await.is_token();
        let form = [("token", token.as_str()), ("token_type_hint", hint)];
        is_done(&oauth.basic("revoke", &own.client_id, &own.secret, &form).await, hint);
        assert!(!active(&oauth, own, &token).await, "{hint}");
    }
}
