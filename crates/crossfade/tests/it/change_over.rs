//! Evidence and the change-over from outside: what is recorded, what follows from it, and what a lost process leaves.

use crate::engines::on_both_engines;
use crate::world::{Client, Oauth, World};
use serde_json::{Value, json};
use std::time::Duration;

on_both_engines! {
    a_change_over_from_its_beginning_to_its_end,
    what_was_quiet_while_everybody_was_refused_says_nothing,
    whoever_presents_a_secret_in_a_way_that_was_switched_off_has_tried_it,
    whoever_presents_a_secret_to_a_disabled_registration_has_tried_it,
    a_secret_is_revoked_only_while_it_is_safe_where_that_is_asked_for,
    a_try_that_no_flush_has_written_keeps_a_secret_from_being_revoked_as_safe,
    no_gap_is_forgotten_for_those_that_came_after_it,
    a_verdict_is_of_the_time_before_its_evidence_was_written,
    whoever_holds_a_token_of_a_longer_life_is_waited_for,
    a_lifetime_that_was_shortened_before_the_first_token_delays_nothing,
    a_lifetime_that_was_shortened_while_evidence_is_missing_is_waited_for,
    a_refusal_names_the_reason_that_keeps_a_quiet_secret_from_ending,
    without_a_rotation_there_is_no_change_over_and_wrong_parameters_are_named,
    a_server_that_stopped_in_order_lost_nothing_and_says_when_it_was_away,
    a_killed_server_leaves_a_gap_and_never_too_much,
    hostile_labels_and_agents_are_kept_short_and_harmless,
    a_forged_forwarded_header_makes_no_caller,
    uses_over_time_are_listed_page_by_page,
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Asks for a token as one instance of a program.
async fn call(oauth: &Oauth<'_>, client_id: &str, secret: &str, label: Option<&str>) -> u16 {
    let form = [("grant_type", "client_credentials"), ("client_id", client_id), ("client_secret", secret)];
    let label = label.map(|label| ("crossfade-instance", label));
    oauth.form("token", &form, &label.into_iter().collect::<Vec<_>>()).await.status.as_u16()
}

async fn change_over(world: &World, client: &Client, query: &str) -> Value {
    world.owner().await.get(&client.path("production", &format!("/change-over{query}"))).await.ok()
}

/// A client after a rotation with 24 hours: its id, the old and the new secret.
async fn rotated(world: &World) -> (Client, String, String, String) {
    let client = world.client("Billing", &["production"]).await;
    let it = client.registration("production").clone();
    call(&world.oauth("production"), &it.client_id, &it.secret, None).await;
    let reply =
        world.owner().await.post(&client.path("production", "/secrets/rotate"), client.rotation(24)).await;
    let new = reply.created()["secret"]["value"].as_str().unwrap().to_owned();
    (client, it.client_id, it.secret, new)
}

fn reasons(answer: &Value) -> Vec<&str> {
    answer["reasons"].as_array().unwrap().iter().map(|it| it["code"].as_str().unwrap()).collect()
}

/// Who fails for what somebody has set is no caller that has fallen silent.
async fn tries_while_refused(world: &World, settings: Value) {
    let (client, id, old, new) = rotated(world).await;
    let (oauth, owner) = (world.oauth("production"), world.owner().await);
    for label in [None, Some("a")] {
        assert_eq!(call(&oauth, &id, &new, label).await, 200);
    }
    let set = async |settings: Value| owner.patch(&client.path("production", ""), settings).await.ok();
    set(settings).await;
    world.advance(MINUTE);
    let tried_at = world.now();
    assert_eq!(call(&oauth, &id, &old, Some("late")).await, 401);
    assert_eq!(call(&oauth, &id, "crossfade_live_guessed", Some("stranger")).await, 401);
    let methods = json!(["client_secret_basic", "client_secret_post"]);
    set(json!({"token_endpoint_auth_methods": methods, "enabled": true})).await;
    let body = json!({"expires_at": world.now().after(48 * HOUR).to_string(), "reason": "one is late"});
    let secret = &client.registration("production").secret_id;
    owner.post(&client.path("production", &format!("/secrets/{secret}/extend")), body).await.ok();
    // It was seen once, and is waited for a day and the quiet time.
    world.advance(25 * HOUR - MINUTE);
    assert_eq!(call(&oauth, &id, &new, None).await, 200);
    let left = change_over(world, &client, "").await;
    let counts = (left["verdict"].as_str(), left["callers_left"].as_u64());
    assert_eq!(counts, (Some("callers_left"), Some(1)), "{left}");
    let late = &left["callers"][0];
    let seen = (&late["instance"], &late["refused_at"], &late["old"]);
    assert_eq!(seen, (&json!("late"), &json!(tried_at.to_string()), &Value::Null));
    assert_eq!(left["callers"].as_array().unwrap().len(), 3, "a stranger is none");
    world.advance(MINUTE);
    assert_eq!(change_over(world, &client, "").await["verdict"], "safe_to_end");
}

async fn a_change_over_from_its_beginning_to_its_end(world: World) {
    let (client, id, old, new) = rotated(&world).await;
    let oauth = world.oauth("production");
    let started = change_over(&world, &client, "").await;
    assert_eq!(
        (started["verdict"].as_str(), reasons(&started)),
        (Some("not_started"), vec!["new_never_used"])
    );
    assert_eq!(started["quiet_needed_seconds"], 3600);

    world.advance(10 * MINUTE);
    for label in ["a", "b", "c"] {
        assert_eq!(call(&oauth, &id, &old, Some(label)).await, 200);
    }
    assert_eq!(call(&oauth, &id, &new, Some("a")).await, 200);
    let moving = change_over(&world, &client, "").await;
    assert_eq!((moving["verdict"].as_str(), moving["callers_left"].as_u64()), (Some("moving"), Some(3)));
    let first = &moving["callers"][0];
    assert_eq!((first["state"].as_str(), first["source_ip"].as_str()), (Some("on_old"), Some("192.0.2.1")));

    world.advance(MINUTE);
    for label in ["b", "c"] {
        assert_eq!(call(&oauth, &id, &new, Some(label)).await, 200);
    }
    // The first one sent no label: it is another caller, of which too little is known.
    let left = change_over(&world, &client, "").await;
    assert_eq!((left["verdict"].as_str(), left["callers_left"].as_u64()), (Some("callers_left"), Some(1)));
    assert_eq!(left["callers"][0]["instance"], Value::Null);
    assert_eq!(call(&oauth, &id, &new, None).await, 200);
    let quiet = change_over(&world, &client, "").await;
    assert_eq!(
        (quiet["verdict"].as_str(), reasons(&quiet)),
        (Some("quiet"), vec!["nobody_left", "used_lately"])
    );
    assert_eq!(change_over(&world, &client, "?quiet_seconds=60").await["verdict"], "safe_to_end");

    world.advance(HOUR - MINUTE - Duration::from_micros(1));
    assert_eq!(change_over(&world, &client, "").await["verdict"], "quiet");
    world.advance(Duration::from_micros(1));
    let safe = change_over(&world, &client, "").await;
    assert_eq!((safe["verdict"].as_str(), safe["quiet_seconds"].as_u64()), (Some("safe_to_end"), Some(3600)));
    assert_eq!(
        safe["caller_counts"],
        json!({"on_old": 0, "on_both": 0, "moved": 4, "silent": 0, "on_new": 0})
    );
    let uses = |grain: &Value, key: &str| {
        grain["series"].as_array().unwrap().iter().map(|it| it[key].as_i64().unwrap()).sum::<i64>()
    };
    for grain in ["minute", "hour", "day"] {
        let shown = change_over(&world, &client, &format!("?grain={grain}")).await;
        assert_eq!((uses(&shown, "old"), uses(&shown, "new")), (4, 4), "{grain}");
    }

    let secret = safe["old_secret"]["id"].as_str().unwrap();
    let path = client.path("production", &format!("/secrets/{secret}/revoke"));
    world.owner().await.post(&path, json!({"reason": "everybody has moved"})).await.ok();
    let ended = change_over(&world, &client, "").await;
    assert_eq!((ended["verdict"].as_str(), ended["callers_left"].as_u64()), (Some("ended"), Some(0)));
    assert_eq!(ended["refused_since_end"], json!([]));

    // Whoever comes with it nevertheless is told apart, and so is seen that it is refused.
    let page = world
        .signed_in()
        .await
        .get(&format!("/console{}", client.path("production", "/security")))
        .await
        .page(200);
    assert!(!page.contains("Callers refused since the old secret ended"), "{page}");
    let came_at = world.now();
    for label in ["b", "forgotten", "forgotten"] {
        assert_eq!(call(&oauth, &id, &old, Some(label)).await, 401);
    }
    assert_eq!(call(&oauth, &id, "crossfade_live_guessed", Some("stranger")).await, 401);
    let told = change_over(&world, &client, "").await;
    let refused = told["refused_since_end"].as_array().unwrap();
    let seen: Vec<_> = refused
        .iter()
        .map(|it| (it["instance"].as_str().unwrap(), it["refusal_count"].as_i64().unwrap()))
        .collect();
    assert_eq!(
        (seen.len(), seen.contains(&("b", 1)), seen.contains(&("forgotten", 2))),
        (2, true, true),
        "{told}"
    );
    assert_eq!((&refused[0]["last_at"], &told["verdict"]), (&json!(came_at.to_string()), &json!("ended")));
    let page = world
        .signed_in()
        .await
        .get(&format!("/console{}", client.path("production", "/security")))
        .await
        .page(200);
    assert!(
        page.contains("Callers refused since the old secret ended") && page.contains("forgotten"),
        "{page}"
    );
    assert!(!page.contains("stranger"), "{page}");
}

async fn what_was_quiet_while_everybody_was_refused_says_nothing(world: World) {
    let (client, id, old, new) = rotated(&world).await;
    let (oauth, owner) = (world.oauth("production"), world.owner().await);
    for secret in [&old, &new] {
        assert_eq!(call(&oauth, &id, secret, None).await, 200);
    }
    world.advance(MINUTE);
    assert_eq!(call(&oauth, &id, &new, None).await, 200);
    let enable = async |enabled: bool| {
        let body = json!({"enabled": enabled, "confirm_client_name": "Billing"});
        owner.patch(&client.path("production", ""), body).await.ok();
    };
    enable(false).await;
    world.advance(3 * HOUR);
    assert_eq!(call(&oauth, &id, &new, None).await, 401);
    let disabled = change_over(&world, &client, "").await;
    assert!(disabled["verdict"] != "safe_to_end" && reasons(&disabled).contains(&"disabled"), "{disabled}");
    // Whoever uses the old secret had no chance to show it: quiet begins here.
    enable(true).await;
    enable(true).await;
    world.advance(MINUTE);
    assert_eq!(call(&oauth, &id, &new, None).await, 200);
    world.advance(HOUR - MINUTE - Duration::from_micros(1));
    let quiet = change_over(&world, &client, "").await;
    assert_eq!(
        (quiet["verdict"].as_str(), reasons(&quiet)),
        (Some("quiet"), vec!["nobody_left", "gap"]),
        "{quiet}"
    );
    world.advance(Duration::from_micros(1));
    assert_eq!(change_over(&world, &client, "").await["verdict"], "safe_to_end");
}

async fn whoever_presents_a_secret_in_a_way_that_was_switched_off_has_tried_it(world: World) {
    tries_while_refused(&world, json!({"token_endpoint_auth_methods": ["client_secret_basic"]})).await;
}

async fn whoever_presents_a_secret_to_a_disabled_registration_has_tried_it(world: World) {
    tries_while_refused(&world, json!({"enabled": false, "confirm_client_name": "Billing"})).await;
}

/// A pipeline that has seen that it is safe, and revokes a moment later.
async fn a_secret_is_revoked_only_while_it_is_safe_where_that_is_asked_for(world: World) {
    let (client, id, old, new) = rotated(&world).await;
    let (oauth, owner) = (world.oauth("production"), world.owner().await);
    let path = client
        .path("production", &format!("/secrets/{}/revoke", client.registration("production").secret_id));
    let revoke = async |more: Value| {
        let mut body = json!({"reason": "everybody has moved"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        owner.post(&path, body).await
    };
    let refused = revoke(json!({"only_if_safe": true})).await.refused(409, "not_safe_to_end");
    assert_eq!(
        (&refused["field"], &refused["verdict"], &refused["callers_left"]),
        (&json!("only_if_safe"), &json!("not_started"), &json!(1))
    );
    assert_eq!(call(&oauth, &id, &new, None).await, 200);
    let quiet = revoke(json!({"only_if_safe": true})).await.refused(409, "not_safe_to_end");
    assert_eq!((&quiet["verdict"], &quiet["callers_left"]), (&json!("quiet"), &json!(0)));
    world.advance(10 * MINUTE);
    assert_eq!(call(&oauth, &id, &new, None).await, 200);
    revoke(json!({"only_if_safe": true, "quiet_seconds": 601})).await.refused(409, "not_safe_to_end");
    // It was safe, and somebody has come back since: no flush has written that.
    assert_eq!(change_over(&world, &client, "?quiet_seconds=600").await["verdict"], "safe_to_end");
    assert_eq!(call(&oauth, &id, &old, Some("late")).await, 200);
    let late =
        revoke(json!({"only_if_safe": true, "quiet_seconds": 600})).await.refused(409, "not_safe_to_end");
    assert_eq!(late["callers_left"], 1);
    for conditional in [json!({"quiet_seconds": 600}), json!({"only_if_safe": true, "compromised": true})] {
        revoke(conditional).await.refused(409, "not_safe_to_end");
    }
    for (body, field) in [
        (json!({"only_if_safe": true, "quiet_seconds": 59}), "quiet_seconds"),
        (json!({"only_if_safe": true, "quiet_seconds": 604_801}), "quiet_seconds"),
    ] {
        assert_eq!(revoke(body).await.refused(422, "invalid_body")["field"], field);
    }
    assert_eq!(call(&oauth, &id, &old, Some("late")).await, 200, "nothing was changed");
    assert_eq!(call(&oauth, &id, &new, Some("late")).await, 200);
    assert_eq!(call(&oauth, &id, &new, None).await, 200);
    world.advance(10 * MINUTE);
    for label in [None, Some("late")] {
        assert_eq!(call(&oauth, &id, &new, label).await, 200);
    }
    revoke(json!({"only_if_safe": true, "quiet_seconds": 600})).await.ok();
    assert_eq!(call(&oauth, &id, &old, None).await, 401);
}

/// Whoever presents the secret while what was recorded is being written down is not overlooked either.
async fn a_try_that_no_flush_has_written_keeps_a_secret_from_being_revoked_as_safe(world: World) {
    let (client, id, old, new) = rotated(&world).await;
    let (oauth, owner) = (world.oauth("production"), world.owner().await);
    assert_eq!(call(&oauth, &id, &new, None).await, 200);
    world.advance(HOUR);
    assert_eq!(change_over(&world, &client, "").await["verdict"], "quiet", "nobody goes on yet");
    let drill = json!({"length_seconds": 60, "confirm_client_name": "Billing", "reason": "who is left"});
    owner.post(&client.path("production", "/drills"), drill).await.created();
    assert_eq!(call(&oauth, &id, &new, None).await, 200);
    let path = client
        .path("production", &format!("/secrets/{}/revoke", client.registration("production").secret_id));
    let held = world.hold_writes().await;
    let body = json!({"reason": "everybody has moved", "only_if_safe": true});
    let (answer, refused) = tokio::join!(owner.post(&path, body), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let refused = call(&oauth, &id, &old, Some("late")).await;
        drop(held);
        refused
    });
    assert_eq!(refused, 401);
    answer.refused(409, "not_safe_to_end");
    assert_eq!(change_over(&world, &client, "").await["callers_left"], 1);
}

/// However often a server was started anew since, the outage in which somebody may have called is not forgotten.
async fn no_gap_is_forgotten_for_those_that_came_after_it(world: World) {
    let (client, id, old, new) = rotated(&world).await;
    let (oauth, owner, begun) = (world.oauth("production"), world.owner().await, world.now());
    assert_eq!(call(&oauth, &id, &old, Some("late")).await, 200);
    assert_eq!(call(&oauth, &id, &new, None).await, 200);
    let body = json!({"expires_at": begun.after(100 * HOUR).to_string(), "reason": "one is late"});
    let secret = &client.registration("production").secret_id;
    owner.post(&client.path("production", &format!("/secrets/{secret}/extend")), body).await.ok();
    world.advance(27 * HOUR);
    assert_eq!(call(&oauth, &id, &new, None).await, 200);
    let gap = async |after: Duration, count: u32| {
        let first = begun.after(after).as_micros();
        world
            .raw(&format!(
                "INSERT INTO evidence_gaps (began_at, ended_at, kind)
                 WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count})
                 SELECT {first} + i * 1000, {first} + i * 1000 + 10, 'stopped' FROM n"
            ))
            .await;
    };
    gap(25 * HOUR, 1).await;
    assert_eq!(change_over(&world, &client, "").await["verdict"], "safe_to_end", "it was waited for by then");
    gap(10 * HOUR, 1).await;
    for more in [60, 1100] {
        gap(25 * HOUR + more * Duration::from_secs(1), more).await;
        let told = change_over(&world, &client, "").await;
        assert_eq!((&told["verdict"], &told["callers_left"]), (&json!("callers_left"), &json!(1)), "{more}");
        assert_eq!(told["gaps"].as_array().unwrap().len(), 50);
    }
}

/// What is used while evidence is being written down is not judged: the answer is of the time before.
async fn a_verdict_is_of_the_time_before_its_evidence_was_written(world: World) {
    let (client, id, old, new) = rotated(&world).await;
    let oauth = world.oauth("production");
    for secret in [&old, &new] {
        assert_eq!(call(&oauth, &id, secret, None).await, 200);
    }
    let (owner, asked_at, path) =
        (world.owner().await, world.now(), client.path("production", "/change-over"));
    let held = world.hold_writes().await;
    let (answer, ()) = tokio::join!(owner.get(&path), async {
        // Long enough to have been asked, and less than the second for which a reader waits.
        tokio::time::sleep(Duration::from_millis(600)).await;
        world.advance(2 * HOUR);
        drop(held);
    });
    let answer = answer.ok();
    assert_eq!(
        (&answer["at"], &answer["verdict"]),
        (&json!(asked_at.to_string()), &json!("quiet")),
        "{answer}"
    );
}

async fn whoever_holds_a_token_of_a_longer_life_is_waited_for(world: World) {
    let (client, id, old, new) = rotated(&world).await;
    let (oauth, owner) = (world.oauth("production"), world.owner().await);
    for secret in [&old, &new] {
        assert_eq!(call(&oauth, &id, secret, None).await, 200);
    }
    let lives = async |seconds: u32| {
        owner.patch(&client.path("production", ""), json!({"access_token_ttl_seconds": seconds})).await.ok();
    };
    // As long as before changes nothing; shorter leaves tokens of an hour behind.
    lives(3600).await;
    lives(60).await;
    world.advance(MINUTE);
    assert_eq!(call(&oauth, &id, &new, None).await, 200);
    world.advance(HOUR);
    assert_eq!(call(&oauth, &id, &new, None).await, 200);
    world.advance(HOUR / 2 - MINUTE - Duration::from_micros(1));
    let held = change_over(&world, &client, "").await;
    assert_eq!(
        (held["verdict"].as_str(), reasons(&held)),
        (Some("quiet"), vec!["nobody_left", "earlier_tokens"]),
        "{held}"
    );
    assert_eq!(held["quiet_needed_seconds"], 1800);
    world.advance(Duration::from_micros(1));
    assert_eq!(change_over(&world, &client, "").await["verdict"], "safe_to_end");
}

async fn a_lifetime_that_was_shortened_before_the_first_token_delays_nothing(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let (registration, owner) = (client.registration("production").clone(), world.owner().await);
    let shorten = async |seconds: u32| {
        let body = json!({"access_token_ttl_seconds": seconds});
        owner.patch(&client.path("production", ""), body).await.ok();
    };
    let ends = "SELECT COUNT(*) FROM registrations WHERE earlier_tokens_end_at IS NOT NULL";
    shorten(1800).await;
    assert_eq!(world.number(ends).await, 0, "no token was issued");
    // One use that is not stored yet.
    assert_eq!(
        call(&world.oauth("production"), &registration.client_id, &registration.secret, None).await,
        200
    );
    shorten(60).await;
    assert_eq!(world.number(ends).await, 1);
}

async fn a_lifetime_that_was_shortened_while_evidence_is_missing_is_waited_for(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let (began, ended) = (world.now().as_micros(), world.now().as_micros() + 10);
    world
        .raw(&format!(
            "INSERT INTO evidence_gaps (began_at, ended_at, kind) VALUES ({began}, {ended}, 'killed')"
        ))
        .await;
    let body = json!({"access_token_ttl_seconds": 60});
    world.owner().await.patch(&client.path("production", ""), body).await.ok();
    let ends = "SELECT COUNT(*) FROM registrations WHERE earlier_tokens_end_at IS NOT NULL";
    assert_eq!(world.number(ends).await, 1);
}

/// Waiting alone does not help: somebody must go on using the new secret.
async fn a_refusal_names_the_reason_that_keeps_a_quiet_secret_from_ending(world: World) {
    let (client, id, _, new) = rotated(&world).await;
    assert_eq!(call(&world.oauth("production"), &id, &new, None).await, 200);
    world.advance(3 * HOUR);
    let path = client
        .path("production", &format!("/secrets/{}/revoke", client.registration("production").secret_id));
    let body = json!({"reason": "moved", "only_if_safe": true, "quiet_seconds": 60});
    let refused = world.owner().await.post(&path, body).await.refused(409, "not_safe_to_end");
    let told = change_over(&world, &client, "?quiet_seconds=60").await;
    assert_eq!((&refused["verdict"], &refused["reasons"]), (&json!("quiet"), &json!(["new_silent"])));
    let (detail, summary) = (refused["detail"].as_str().unwrap(), told["summary"].as_str().unwrap());
    assert!(
        detail.starts_with(summary) && summary.contains("the new secret is not in use either"),
        "{detail}"
    );
    assert!(!detail.contains("has not been quiet"), "{detail}");
    assert!(detail.contains("Make sure that callers reach this server with the new secret"), "{detail}");
}

async fn without_a_rotation_there_is_no_change_over_and_wrong_parameters_are_named(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let path = |query: &str| client.path("production", &format!("/change-over{query}"));
    owner.get(&path("")).await.refused(409, "not_retiring");
    for (query, field) in [
        ("?grain=week", "grain"),
        ("?quiet_seconds=59", "quiet_seconds"),
        ("?quiet_seconds=604801", "quiet_seconds"),
        ("?quiet_seconds=1.5", "quiet_seconds"),
        ("?quiet_seconds=%2B60", "quiet_seconds"),
        ("?quiet_seconds=0060", "quiet_seconds"),
        ("?quiet=60", "quiet"),
    ] {
        let refused = owner.get(&path(query)).await.refused(400, "invalid_query");
        assert_eq!(refused["field"], field, "{query}");
    }
}

async fn a_server_that_stopped_in_order_lost_nothing_and_says_when_it_was_away(mut world: World) {
    let (client, id, old, _) = rotated(&world).await;
    world.advance(MINUTE);
    assert_eq!(call(&world.oauth("production"), &id, &old, None).await, 200);
    let began = world.now();
    world.app.end_recording().await.unwrap();
    world.restart_at(began.after(HOUR)).await;
    let told = change_over(&world, &client, "").await;
    assert_eq!(told["old_secret"]["use_count"], 2);
    let ended = began.after(HOUR).to_string();
    assert_eq!(told["gaps"], json!([{"from": began.to_string(), "to": ended, "kind": "stopped"}]));
    assert_eq!(told["quiet_since"], ended, "nobody could have called meanwhile");
}

async fn a_killed_server_leaves_a_gap_and_never_too_much(mut world: World) {
    let (client, id, old, new) = rotated(&world).await;
    world.run_jobs().await;
    world.advance(HOUR / 2);
    assert_eq!(call(&world.oauth("production"), &id, &new, None).await, 200);
    assert_eq!(change_over(&world, &client, "").await["verdict"], "quiet");
    let noted = world.now();
    // Two uses that nobody has written down when the process is lost.
    world.advance(Duration::from_secs(3));
    for _ in 0..2 {
        assert_eq!(call(&world.oauth("production"), &id, &old, None).await, 200);
    }
    world.restart().await;
    let told = change_over(&world, &client, "").await;
    assert_eq!(told["old_secret"]["use_count"], 1, "less, never more");
    let gap = json!([{"from": noted.to_string(), "to": world.now().to_string(), "kind": "killed"}]);
    assert_eq!(told["gaps"], gap);
    // An hour after the last use that is known, and still no hour after the gap.
    world.advance(MINUTE);
    assert_eq!(call(&world.oauth("production"), &id, &new, None).await, 200);
    world.advance(HOUR - MINUTE - Duration::from_secs(1));
    let told = change_over(&world, &client, "").await;
    assert_eq!((told["verdict"].as_str(), reasons(&told)), (Some("quiet"), vec!["nobody_left", "gap"]));
    world.advance(Duration::from_secs(1));
    assert_eq!(change_over(&world, &client, "").await["verdict"], "safe_to_end");
}

async fn hostile_labels_and_agents_are_kept_short_and_harmless(world: World) {
    let (client, id, old, _) = rotated(&world).await;
    let oauth = world.oauth("production").from([192, 0, 2, 7], &"x".repeat(8192));
    let long = "é".repeat(4000);
    for label in ["\"><script>", "a\tb", &old, &long] {
        assert_eq!(call(&oauth, &id, &old, Some(label)).await, 200, "{label}");
    }
    let told = change_over(&world, &client, "").await;
    let text = told.to_string();
    assert!(!text.contains(&old), "rule 18");
    let labels: Vec<_> =
        told["callers"].as_array().unwrap().iter().filter_map(|it| it["instance"].as_str()).collect();
    assert_eq!(labels.len(), 4);
    assert!(
        labels.contains(&"a\u{fffd}b") && labels.contains(&"(withheld: it holds a secret)"),
        "{labels:?}"
    );
    assert!(labels.iter().all(|label| label.len() <= 64), "{labels:?}");
    assert!(
        told["callers"]
            .as_array()
            .unwrap()
            .iter()
            .all(|it| it["user_agent"].as_str().is_none_or(|it| it.len() <= 200))
    );
}

async fn a_forged_forwarded_header_makes_no_caller(world: World) {
    let (client, id, old, _) = rotated(&world).await;
    let form = [("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", &old)];
    let forged = [("x-forwarded-for", "203.0.113.9")];
    world.oauth("production").form("token", &form, &forged).await.is_token();
    let told = change_over(&world, &client, "").await;
    let callers = told["callers"].as_array().unwrap();
    assert!(callers.iter().all(|it| it["source_ip"] == "192.0.2.1"), "{callers:?}");
}

async fn uses_over_time_are_listed_page_by_page(world: World) {
    let (client, id, old, new) = rotated(&world).await;
    for _ in 0..3 {
        // What a server does every few seconds.
        world.run_jobs().await;
        world.advance(MINUTE);
        assert_eq!(call(&world.oauth("production"), &id, &old, None).await, 200);
        assert_eq!(call(&world.oauth("production"), &id, &new, None).await, 200);
    }
    let owner = world.owner().await;
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = client.path("production", &format!("/usage/series?grain=minute&limit=2{cursor}"));
        let page = owner.get(&path).await.ok();
        seen.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen.len(), 7);
    assert_eq!(seen.iter().map(|it| it["use_count"].as_i64().unwrap()).sum::<i64>(), 7);
    let times: Vec<_> = seen.iter().map(|it| it["from"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "oldest first: {times:?}");
    let since = client.path("production", &format!("/usage/series?grain=minute&since={}", world.now()));
    assert_eq!(owner.get(&since).await.ok()["items"].as_array().unwrap().len(), 2);
    owner.get(&client.path("production", "/usage/series?grain=week")).await.refused(400, "invalid_query");
}
