//! The pages of clients: what a rotation by a form does, and what who may not see secrets gets.

use super::browser::Browser;
use crate::engines::on_both_engines;
use crate::world::{Client, World};
use serde_json::json;
use std::time::Duration;

on_both_engines! {
    a_form_that_is_sent_twice_rotates_once,
    a_form_of_a_page_that_others_have_overtaken_is_refused_in_words_and_keeps_what_was_typed,
    whoever_may_not_see_secrets_finds_none_and_no_way_to_one,
    revealing_and_rotating_need_a_fresh_sign_in,
    a_revocation_that_was_safe_when_its_dialog_was_drawn_asks_again_when_it_is_not,
    revoking_a_secret_that_is_still_used_asks_for_the_clients_name,
    without_a_leak_a_dialog_ends_no_tokens,
    after_a_leak_the_pages_say_what_became_of_the_tokens,
    every_drill_of_a_transition_stays_listed_with_the_callers_it_found,
    a_role_that_sees_no_secrets_is_told_who_does_and_that_a_value_is_gone,
    the_list_finds_what_is_looked_for,
    a_secret_that_was_replaced_twice_has_rows_of_its_own,
    a_caller_that_has_moved_is_not_listed_as_refused,
    callers_of_an_older_secret_are_listed_while_a_newer_transition_runs,
}

fn path(client: &Client, rest: &str) -> String {
    format!("/console{}", client.path("production", rest))
}

/// What stands in a hidden field of a page.
fn hidden(page: &str, name: &str) -> String {
    let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// The form of a rotation, as the page has it now.
async fn form(browser: &Browser<'_>, client: &Client) -> Vec<(&'static str, String)> {
    let page = browser.get(&path(client, "/security")).await.page(200);
    vec![
        ("transition_hours", "24".to_owned()),
        ("confirm_client_name", client.name.clone()),
        ("reason", "quarterly".to_owned()),
        ("expected_current_secret_id", hidden(&page, "expected_current_secret_id")),
        ("idempotency_key", hidden(&page, "idempotency_key")),
    ]
}

fn sent<'f>(
    form: &'f [(&'static str, String)],
    other: &[(&'static str, &'f str)],
) -> Vec<(&'static str, &'f str)> {
    let own = form.iter().filter(|(name, _)| other.iter().all(|(changed, _)| changed != name));
    own.map(|(name, value)| (*name, value.as_str())).chain(other.iter().copied()).collect()
}

/// The page that follows the creation of a client in production.
async fn created_by(browser: &Browser<'_>, name: &str, client: &Client) -> String {
    let property = browser.get("/console/clients/new").await.page(200);
    let property = property.split("value=\"prop_").nth(1).unwrap();
    let property = format!("prop_{}", property.split('"').next().unwrap());
    let form = [
        ("name", name),
        ("property_id", &property),
        ("owners", "ada@example.com"),
        ("environments", "production"),
    ];
    let page = browser.post("/console/clients/new", &form).await.leads_to().to_owned();
    assert!(!page.contains(client.id.as_str()) && !page.contains('?'), "{page}");
    browser.get(&page).await.page(200)
}

async fn rotations(world: &World) -> i64 {
    world.number("SELECT COUNT(*) FROM rotations").await
}

async fn a_form_that_is_sent_twice_rotates_once(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let browser = world.signed_in().await;
    let form = form(&browser, &client).await;
    for _ in 0..2 {
        let answer = browser.post(&path(&client, "/rotate"), &sent(&form, &[])).await;
        assert_eq!(answer.header("location"), Some(path(&client, "/credentials").as_str()));
    }
    assert_eq!(rotations(&world).await, 1);
    let page = browser.get(&path(&client, "/credentials")).await.page(200);
    assert!(page.contains("The old secret expires") && !page.contains("crossfade_live_"), "{page}");
}

async fn a_form_of_a_page_that_others_have_overtaken_is_refused_in_words_and_keeps_what_was_typed(
    world: World,
) {
    let client = world.client("Billing", &["production"]).await;
    let browser = world.signed_in().await;
    let form = form(&browser, &client).await;
    world
        .owner()
        .await
        .post(&client.path("production", "/secrets/rotate"), client.rotation(0))
        .await
        .created();
    let page =
        browser.post(&path(&client, "/rotate"), &sent(&form, &[("transition_hours", "72")])).await.page(409);
    assert!(
        page.contains("aria-labelledby=\"rotate-title\" open") && page.contains("role=\"alert\""),
        "{page}"
    );
    assert!(page.contains("value=\"72\"") && page.contains("value=\"quarterly\""), "{page}");
    assert_ne!(
        hidden(&page, "expected_current_secret_id"),
        form[3].1,
        "the next attempt knows what there is now"
    );
    assert_eq!(rotations(&world).await, 1);
}

async fn whoever_may_not_see_secrets_finds_none_and_no_way_to_one(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let secret = client.registration("production");
    for role in ["viewer", "operations_manager", "auditor"] {
        let browser = world.person(&format!("{role}@example.com"), role).await;
        for rest in ["/credentials", "/security", "/settings", "/live?tab=security", "/live?tab=credentials"]
        {
            let page = browser.get(&path(&client, rest)).await.page(200);
            assert!(!page.contains("/reveal") && !page.contains("crossfade_live_"), "{role} {rest}: {page}");
            assert!(!page.contains("commandfor=\"rotate\""), "{role} {rest}");
        }
        let reveal = path(&client, &format!("/secrets/{}/reveal", secret.secret_id));
        let refused = browser.script(&reveal, &[]).await;
        assert_eq!(refused.status.as_u16(), 403);
        assert!(!refused.text().contains("crossfade_live_"));
        let rotate = [("transition_hours", "0"), ("confirm_client_name", "Billing")];
        assert_eq!(browser.post(&path(&client, "/rotate"), &rotate).await.status.as_u16(), 403);
    }
    assert_eq!(rotations(&world).await, 0);
}

async fn revealing_and_rotating_need_a_fresh_sign_in(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let browser = world.signed_in().await;
    let secret = client.registration("production");
    let reveal = path(&client, &format!("/secrets/{}/reveal", secret.secret_id));
    assert_eq!(browser.script(&reveal, &[]).await.ok()["value"], secret.secret.as_str());
    let form = form(&browser, &client).await;
    world.advance(Duration::from_secs(600));
    assert_eq!(browser.script(&reveal, &[]).await.status.as_u16(), 403);
    let page = browser.post(&path(&client, "/rotate"), &sent(&form, &[])).await.page(403);
    assert!(page.contains("Confirm it is you") && page.contains("value=\"quarterly\""), "{page}");
    assert_eq!(rotations(&world).await, 0);
}

/// Between the dialog and the click somebody may have come back.
async fn a_revocation_that_was_safe_when_its_dialog_was_drawn_asks_again_when_it_is_not(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let (it, oauth) = (client.registration("production").clone(), world.oauth("production"));
    oauth.token(&it.client_id, &it.secret).await.is_token();
    let rotate = client.path("production", "/secrets/rotate");
    let reply = world.owner().await.post(&rotate, client.rotation(24)).await.created();
    let new = reply["secret"]["value"].as_str().unwrap();
    oauth.token(&it.client_id, new).await.is_token();
    world.advance(Duration::from_secs(3600));
    oauth.token(&it.client_id, new).await.is_token();
    let browser = world.signed_in().await;
    let safe = browser.get(&path(&client, "/security")).await.page(200);
    assert!(safe.contains("id=\"revoke\"") && !safe.contains("id=\"revoke-confirm_client_name\""), "{safe}");
    oauth.token(&it.client_id, &it.secret).await.is_token();
    let revoke = path(&client, &format!("/secrets/{}/revoke", it.secret_id));
    let page = browser.post(&revoke, &[("reason", "moved")]).await.page(409);
    assert!(
        page.contains("aria-labelledby=\"revoke-title\" open") && page.contains("Not safe to end"),
        "{page}"
    );
    assert!(page.contains("value=\"moved\"") && page.contains("id=\"revoke-confirm_client_name\""), "{page}");
    assert!(page.contains("enter the client’s name to revoke the old secret anyway"), "{page}");
    oauth.token(&it.client_id, &it.secret).await.is_token();
    // A person who types the name knows.
    let done = browser.post(&revoke, &[("reason", "moved"), ("confirm_client_name", "Billing")]).await;
    assert_eq!(done.header("location"), Some(path(&client, "/security").as_str()));
    oauth.token(&it.client_id, &it.secret).await.is_invalid_client();
}

async fn revoking_a_secret_that_is_still_used_asks_for_the_clients_name(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let (it, oauth) = (client.registration("production").clone(), world.oauth("production"));
    oauth.token(&it.client_id, &it.secret).await.is_token();
    world
        .owner()
        .await
        .post(&client.path("production", "/secrets/rotate"), client.rotation(24))
        .await
        .created();
    let browser = world.signed_in().await;
    let page = browser.get(&path(&client, "/security")).await.page(200);
    assert!(page.contains("id=\"revoke-confirm_client_name\""), "{page}");
    let revoke = path(&client, &format!("/secrets/{}/revoke", it.secret_id));
    for typed in ["", "Biling", "billing"] {
        let page =
            browser.post(&revoke, &[("reason", "moved"), ("confirm_client_name", typed)]).await.page(422);
        assert!(
            page.contains("id=\"revoke-confirm_client_name-error\"") && page.contains("value=\"moved\""),
            "{page}"
        );
    }
    browser.post(&revoke, &[("reason", "moved")]).await.page(409);
    oauth.token(&it.client_id, &it.secret).await.is_token();
    let refused = "SELECT COUNT(*) FROM audit_events WHERE action = 'access.refused' AND outcome = 'refused'";
    assert_eq!(world.number(refused).await, 4, "each is in the trail");
    let done = browser.post(&revoke, &[("reason", "moved"), ("confirm_client_name", "Billing")]).await;
    assert_eq!(done.header("location"), Some(path(&client, "/security").as_str()));
    oauth.token(&it.client_id, &it.secret).await.is_invalid_client();
}

async fn without_a_leak_a_dialog_ends_no_tokens(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let it = client.registration("production").clone();
    world
        .owner()
        .await
        .post(&client.path("production", "/secrets/rotate"), client.rotation(24))
        .await
        .created();
    let browser = world.signed_in().await;
    let page = browser.get(&path(&client, "/security")).await.page(200);
    assert_eq!(
        page.matches("name=\"revoke_tokens\" value=\"true\" checked").count(),
        3,
        "hidden until a leak is chosen: {page}"
    );
    // What a browser sends with the choice that the page hides.
    let revoke = path(&client, &format!("/secrets/{}/revoke", it.secret_id));
    let form = [("reason", "moved"), ("confirm_client_name", "Billing"), ("revoke_tokens", "true")];
    assert_eq!(browser.post(&revoke, &form).await.leads_to(), path(&client, "/security"));
    let events = world.owner().await.get("/audit-events?action=secret.revoked").await.ok();
    assert_ne!(events["items"][0]["details"]["revoke_tokens"], json!(true), "{events}");
}

async fn after_a_leak_the_pages_say_what_became_of_the_tokens(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let browser = world.signed_in().await;
    let leaked = |tokens: bool| {
        let more = [("transition_hours", "0"), ("compromised", "true"), ("revoke_tokens", "true")];
        more.into_iter().take(if tokens { 3 } else { 2 }).collect::<Vec<_>>()
    };
    let rotate = path(&client, "/rotate");
    for (tokens, said) in [
        (false, "issued under the leaked secret were not ended"),
        (true, "issued under the leaked secret were ended"),
    ] {
        let form = form(&browser, &client).await;
        let answer = browser.post(&rotate, &sent(&form, &leaked(tokens))).await;
        assert_eq!(answer.header("location"), Some(path(&client, "/credentials").as_str()));
        for rest in ["/credentials", "/security"] {
            let page = browser.get(&path(&client, rest)).await.page(200);
            assert!(page.contains(said), "{rest}: {page}");
        }
    }
    let page = browser.get(&path(&client, "/security")).await.page(200);
    assert_eq!(page.matches(">Leaked<").count(), 2, "{page}");
    assert!(page.contains("Access tokens were not ended") && page.contains("may accept one until"), "{page}");
    // A revocation and a rollback say it, too.
    world
        .owner()
        .await
        .post(&client.path("production", "/secrets/rotate"), client.rotation(24))
        .await
        .created();
    let page = browser.get(&path(&client, "/security")).await.page(200);
    let (_, rest) = page.split_once("/rotations/").unwrap();
    let rotation = rest.split('/').next().unwrap().to_owned();
    let undo = [("reason", "it leaked"), ("compromised", "true"), ("revoke_tokens", "true")];
    browser.post(&path(&client, &format!("/rotations/{rotation}/rollback")), &undo).await;
    let page = browser.get(&path(&client, "/security")).await.page(200);
    assert!(
        page.contains("The new secret was revoked. Access tokens issued under the leaked secret were ended"),
        "{page}"
    );
}

async fn every_drill_of_a_transition_stays_listed_with_the_callers_it_found(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let (it, oauth, owner) =
        (client.registration("production").clone(), world.oauth("production"), world.owner().await);
    owner.post(&client.path("production", "/secrets/rotate"), client.rotation(24)).await.created();
    let drill = json!({"length_seconds": 60, "confirm_client_name": "Billing", "reason": "who is left"});
    for label in ["first-pod", "second-pod"] {
        owner.post(&client.path("production", "/drills"), drill.clone()).await.created();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &it.client_id),
            ("client_secret", &it.secret),
        ];
        oauth.form("token", &form, &[("crossfade-instance", label)]).await.is_invalid_client();
        world.advance(Duration::from_secs(120));
    }
    let browser = world.signed_in().await;
    let has_both = async |when: &str| {
        let page = browser.get(&path(&client, "/security")).await.page(200);
        let (card, history) = page.split_once("id=\"history\"").unwrap();
        for part in [card, history] {
            assert!(part.contains("first-pod") && part.contains("second-pod"), "{when}: {part}");
        }
        assert!(history.contains("2 drills, 2 callers found"), "{when}: {history}");
    };
    has_both("while it runs").await;
    let revoke = json!({"reason": "moved"});
    owner.post(&client.path("production", &format!("/secrets/{}/revoke", it.secret_id)), revoke).await.ok();
    has_both("after a revocation").await;
    owner.post(&client.path("production", "/secrets/rotate"), client.rotation(0)).await.created();
    let page = browser.get(&path(&client, "/security")).await.page(200);
    let (card, history) = page.split_once("id=\"history\"").unwrap();
    assert!(
        !card.contains("first-pod") && history.contains("first-pod") && history.contains("second-pod"),
        "{page}"
    );
    // The API lists the same.
    let drills = owner.get(&client.path("production", "/drills")).await.ok()["items"].clone();
    let found: Vec<_> =
        drills.as_array().unwrap().iter().map(|it| it["callers"][0]["instance"].as_str()).collect();
    assert_eq!(found, [Some("second-pod"), Some("first-pod")], "{drills}");
}

async fn a_role_that_sees_no_secrets_is_told_who_does_and_that_a_value_is_gone(world: World) {
    let client = world.client("Billing", &["production"]).await;
    world
        .owner()
        .await
        .post(&client.path("production", "/secrets/rotate"), client.rotation(0))
        .await
        .created();
    let viewer = world.person("viewer@example.com", "viewer").await;
    let rotator = world.person("rotator@example.com", "secret_rotator").await;
    let manager = world.person("manager@example.com", "operations_manager").await;
    let created = created_by(&manager, "Payroll", &client).await;
    assert!(
        created.contains("hidden from your role. A Secret Viewer, Secret Rotator or Owner can show it"),
        "{created}"
    );
    assert!(!created.contains("is under Credentials"), "{created}");
    let security = viewer.get(&path(&client, "/security")).await.page(200);
    assert!(
        security.contains("Hidden from your role. A Secret Viewer, Secret Rotator or Owner can show it."),
        "{security}"
    );
    world.raw("UPDATE secrets SET sealed = NULL").await;
    for who in [&viewer, &rotator, &manager] {
        let page = who.get(&path(&client, "/security")).await.page(200);
        assert_eq!(page.matches("No longer stored").count(), 2, "the current and the ended one: {page}");
        assert!(!page.contains("Hidden from your role"), "{page}");
    }
    world.raw("UPDATE environments SET show_once = 1").await;
    let created = created_by(&manager, "Ledger", &client).await;
    assert!(created.contains("nobody has the first secret"), "{created}");
}

async fn the_list_finds_what_is_looked_for(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let other = world.client("Warehouse", &["staging"]).await;
    let browser = world.signed_in().await;
    let id = client.registration("production").client_id.as_str();
    for query in ["q=bill", &format!("q={id}"), "environment=production"] {
        let page = browser.get(&format!("/console/clients?{query}")).await.page(200);
        assert!(page.contains(&client.id) && !page.contains(&other.id), "{query}: {page}");
    }
    assert!(browser.get("/console/clients?overdue=true").await.page(200).contains("No matching clients"));
    world.advance(Duration::from_secs(90 * 86_400));
    let browser = world.signed_in().await;
    assert!(browser.get("/console/clients?overdue=true").await.page(200).contains(&client.id));
    assert!(browser.get("/console").await.page(200).contains("Overdue secrets"));
}

async fn a_secret_that_was_replaced_twice_has_rows_of_its_own(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let rotate = client.path("production", "/secrets/rotate");
    let first = owner.post(&rotate, client.rotation(24)).await.created();
    let rollback = format!("/rotations/{}/rollback", first["rotation"]["id"].as_str().unwrap());
    owner.post(&client.path("production", &rollback), json!({"reason": "callers failed"})).await.ok();
    owner.post(&rotate, client.rotation(24)).await.created();
    let page = world.signed_in().await.get(&path(&client, "/security")).await.page(200);
    let mut ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "an id stands twice: {page}");
}

async fn a_caller_that_has_moved_is_not_listed_as_refused(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let registration = client.registration("production");
    let rotated =
        world.owner().await.post(&client.path("production", "/secrets/rotate"), client.rotation(0)).await;
    let new = rotated.created()["secret"]["value"].as_str().unwrap().to_owned();
    let oauth = world.oauth("production");
    oauth.token(&registration.client_id, &registration.secret).await.is_invalid_client();
    let browser = world.signed_in().await;
    let page = async || browser.get(&path(&client, "/security")).await.page(200);
    assert!(page().await.contains("Callers refused since the old secret ended"));
    world.advance(Duration::from_secs(60));
    oauth.token(&registration.client_id, &new).await.is_token();
    assert!(!page().await.contains("Callers refused since the old secret ended"));
}

async fn callers_of_an_older_secret_are_listed_while_a_newer_transition_runs(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let first = client.registration("production");
    let (oauth, owner) = (world.oauth("production"), world.owner().await);
    let rotate = async |hours: u32| {
        let mut body = client.rotation(hours);
        body["end_running_transition"] = json!(true);
        let rotated = owner.post(&client.path("production", "/secrets/rotate"), body).await.created();
        rotated["secret"]["value"].as_str().unwrap().to_owned()
    };
    let second = rotate(24).await;
    oauth.token(&first.client_id, &second).await.is_token();
    // Ends the first secret, and lets the second retire.
    let third = rotate(24).await;
    let listed = async || {
        let page = world.signed_in().await.get(&path(&client, "/security")).await.page(200);
        let lists = |text: &str| {
            page.split("aria-labelledby=\"refused-earlier\"")
                .nth(2)
                .is_some_and(|it| it.split("</table>").next().unwrap().contains(text))
        };
        (lists("lost/1"), lists("moved/1"), lists("test/1.0"))
    };
    assert_eq!(listed().await, (false, false, false));
    for agent in ["lost/1", "moved/1"] {
        let caller = world.oauth("production").from([198, 51, 100, 7], agent);
        caller.token(&first.client_id, &first.secret).await.is_invalid_client();
    }
    oauth.token(&first.client_id, &second).await.is_token();
    world.advance(Duration::from_secs(60));
    assert_eq!(listed().await, (true, true, false));
    // Commands read them, too.
    let change_over = owner.get(&client.path("production", "/change-over")).await.ok();
    let earlier = change_over["refused_earlier"].as_array().unwrap();
    let mut agents: Vec<_> = earlier.iter().map(|it| it["user_agent"].as_str().unwrap()).collect();
    agents.sort_unstable();
    assert_eq!((agents, &change_over["refused_since_end"]), (vec!["lost/1", "moved/1"], &json!([])));
    // With a valid secret, also the retiring one, a caller presents the older one no more.
    world
        .oauth("production")
        .from([198, 51, 100, 7], "moved/1")
        .token(&first.client_id, &second)
        .await
        .is_token();
    world.advance(Duration::from_secs(60));
    assert_eq!(listed().await, (true, false, false));
    // Also after the newer transition, until it was long ago.
    world.advance(Duration::from_secs(30 * 3600));
    world.run_jobs().await;
    assert_eq!(listed().await, (true, false, false));
    world.advance(Duration::from_secs(7 * 86_400));
    world.run_jobs().await;
    assert_eq!(listed().await, (false, false, false));
    oauth.token(&first.client_id, &third).await.is_token();
}
