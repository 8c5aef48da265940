//! Passwords that are switched off, but for an Owner who keeps one for the case that no provider works.

use super::{account, add, begun, events, idp::Idp, signed_in};
use crate::{
    console::{browser::PASSWORD, factors::enrol},
    engines::on_both_engines,
    world::{OWNER, World},
};
use crossfade_app::OwnerFactors;
use serde_json::json;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

on_both_engines! {
    with_passwords_off_only_a_kept_owner_signs_in_with_one,
    passwords_are_not_switched_off_without_a_way_in,
    an_account_keeps_the_provider_that_is_its_only_way_in,
    a_link_lets_nobody_in_while_passwords_are_off_but_one_from_the_machine,
    the_page_switches_passwords_off_and_on,
    the_last_owner_who_can_use_a_password_stays_one,
    tokens_have_seven_days_when_passwords_are_switched_on_again,
}

async fn with_passwords_off_only_a_kept_owner_signs_in_with_one(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    let owner = world.owner().await;
    let kept = account(&world, OWNER).await["id"].clone();
    let (bob, of_owner) = (world.person("bob@example.com", "owner").await, world.signed_in().await);
    let ada = signed_in(&world, &idp, &id, json!({})).await;
    let passwords = async || {
        let policy = owner.get("/sign-in-policy").await.ok();
        json!({"passwords": policy["passwords"], "break_glass": policy["break_glass"]})
    };
    assert_eq!(passwords().await, json!({"passwords": "everyone", "break_glass": []}));
    let body = json!({"passwords": "break_glass", "break_glass": [kept]});
    owner.patch("/sign-in-policy", body.clone()).await.ok();
    assert_eq!(passwords().await, body);
    let told = events(&world, 10)
        .await
        .into_iter()
        .find(|(action, _)| action == "sign_in_policy.updated")
        .unwrap()
        .1;
    assert_eq!((&told["after"]["passwords"], &told["ended_sessions"]), (&json!("break_glass"), &json!(1)));
    assert!(!bob.is_signed_in().await && of_owner.is_signed_in().await && ada.is_signed_in().await);
    let page = bob.sign_in("bob@example.com", PASSWORD).await.page(422);
    assert!(page.contains("Passwords are switched off here. Sign in with a provider."), "{page}");
    // Whoever does not have the password learns nothing.
    assert!(
        bob.sign_in("bob@example.com", "wrong horse battery staple")
            .await
            .page(422)
            .contains("Wrong email address")
    );
    assert!(world.signed_in().await.is_signed_in().await);
    signed_in(&world, &idp, &id, json!({})).await;
    // One who is no Owner any more is kept for nothing.
    world.raw("UPDATE grants SET role = 'viewer' WHERE user_id = (SELECT id FROM users WHERE email = 'owner@example.com')").await;
    assert!(bob.sign_in(OWNER, PASSWORD).await.page(422).contains("Passwords are switched off"));
}

async fn passwords_are_not_switched_off_without_a_way_in(mut world: World) {
    begun(&mut world).await;
    let owner = world.owner().await;
    let kept = account(&world, OWNER).await["id"].clone();
    let off = json!({"passwords": "break_glass", "break_glass": [kept]});
    let refused = owner.patch("/sign-in-policy", off.clone()).await.refused(409, "in_use");
    assert!(refused["detail"].as_str().unwrap().starts_with("No provider is enabled"), "{refused}");
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    signed_in(&world, &idp, &id, json!({})).await;
    let without_password = account(&world, "ada@example.com").await["id"].clone();
    let viewer = world.person("bob@example.com", "viewer").await;
    let viewer_id = account(&world, "bob@example.com").await["id"].clone();
    for list in [json!([]), json!([without_password]), json!([viewer_id]), json!([kept, viewer_id])] {
        let body = json!({"passwords": "break_glass", "break_glass": list});
        let refused = owner.patch("/sign-in-policy", body).await.refused(422, "invalid_body");
        assert_eq!(refused["field"], "break_glass", "{refused}");
    }
    assert!(viewer.is_signed_in().await);
    let other = world.user("ops@example.com", "operations_manager").await;
    other.get("/sign-in-policy").await.refused(403, "forbidden");
    other.patch("/sign-in-policy", off).await.refused(403, "forbidden");
}

async fn an_account_keeps_the_provider_that_is_its_only_way_in(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    let bob = world.person("bob@example.com", "viewer").await;
    super::identities::link(&world, &bob, &idp, &id, json!({"sub": "bob"})).await;
    let kept = account(&world, OWNER).await["id"].clone();
    let off = json!({"passwords": "break_glass", "break_glass": [kept]});
    world.owner().await.patch("/sign-in-policy", off).await.ok();
    let bob = signed_in(&world, &idp, &id, json!({"sub": "bob"})).await;
    let page = bob.post(&format!("/console/account/providers/{id}/unlink"), &[]).await.page(409);
    assert!(page.contains("Your account has no other way to sign in."), "{page}");
}

async fn a_link_lets_nobody_in_while_passwords_are_off_but_one_from_the_machine(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    add(&world, &idp, "Example", json!({})).await;
    let owner = world.owner().await;
    let kept = account(&world, OWNER).await["id"].clone();
    owner.patch("/sign-in-policy", json!({"passwords": "break_glass", "break_glass": [kept]})).await.ok();
    let manager = world.user("ops@example.com", "operations_manager").await;
    let made = manager.post("/users", json!({"email": "bob@example.com"})).await.created();
    let link = made["activation_link"]["url"].as_str().unwrap().split('#').nth(1).unwrap().to_owned();
    let browser = world.browser();
    let fields = [("link", &*link), ("email", ""), ("password", PASSWORD), ("repeated", PASSWORD)];
    let page = browser.post("/console/link", &fields).await;
    assert!(
        !browser.is_signed_in().await && page.text().contains("Passwords are switched off"),
        "{}",
        page.text()
    );
    // An account without a provider has no other way to one than a link of an Owner, which lets its person in once.
    let user = account(&world, "bob@example.com").await["id"].as_str().unwrap().to_owned();
    let made = owner.post(&format!("/users/{user}/link"), json!({})).await.created();
    let link = made["url"].as_str().unwrap().split('#').nth(1).unwrap().to_owned();
    let bob = world.browser();
    let fields = [("link", &*link), ("email", ""), ("password", PASSWORD), ("repeated", PASSWORD)];
    assert_eq!(bob.post("/console/link", &fields).await.leads_to(), "/console");
    let page = world.browser().sign_in("bob@example.com", PASSWORD).await.page(422);
    assert!(page.contains("Passwords are switched off here."), "{page}");
    let url = world.app.recover_owner(OWNER, OwnerFactors::Keep).await.unwrap().url;
    let link = url.split('#').nth(1).unwrap();
    let new = "four quite unrelated words";
    let fields = [("link", link), ("email", ""), ("password", new), ("repeated", new)];
    browser.post("/console/link", &fields).await;
    assert!(browser.is_signed_in().await, "the machine lets an Owner in");
}

async fn the_page_switches_passwords_off_and_on(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    add(&world, &idp, "Example", json!({})).await;
    let browser = world.signed_in().await;
    let off = [("passwords", "break_glass"), ("break_glass", "nobody@example.com"), ("version", "1")];
    let page = browser.post("/console/sign-in-policy", &off).await.page(422);
    assert!(page.contains("Owners for emergencies must contain only Owners who have a password"), "{page}");
    let off = [("passwords", "break_glass"), ("break_glass", OWNER), ("version", "1")];
    assert_eq!(browser.post("/console/sign-in-policy", &off).await.leads_to(), "/console/sign-in-policy");
    let page = browser.get("/console/sign-in-policy").await.page(200);
    assert!(page.contains("The policy was saved.") && page.contains(OWNER), "{page}");
    let page = world.browser().get("/console/sign-in").await.page(200);
    assert!(page.contains("Sign in with a password in an emergency"), "{page}");
    let on = [("passwords", "everyone"), ("break_glass", ""), ("version", "2")];
    assert_eq!(browser.post("/console/sign-in-policy", &on).await.leads_to(), "/console/sign-in-policy");
    assert!(!world.browser().get("/console/sign-in").await.page(200).contains("in an emergency"));
}

async fn the_last_owner_who_can_use_a_password_stays_one(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    add(&world, &idp, "Example", json!({})).await;
    let owner = world.owner().await;
    let kept = account(&world, OWNER).await;
    world.person("bob@example.com", "owner").await;
    let bob = account(&world, "bob@example.com").await["id"].clone();
    let path = format!("/users/{}", kept["id"].as_str().unwrap());
    let role = format!("{path}/grants/{}", kept["grants"][0]["id"].as_str().unwrap());
    let off = |list| json!({"passwords": "break_glass", "break_glass": list});
    owner.patch("/sign-in-policy", off(json!([kept["id"]]))).await.ok();
    let other = world.user("eve@example.com", "owner").await;
    for refused in [other.delete(&role, json!({})).await, other.delete(&path, json!({})).await] {
        let refused = refused.refused(409, "last_owner");
        let text = refused["detail"].as_str().unwrap();
        assert!(text.contains("last Owner who can sign in with one"), "{refused}");
    }
    owner.patch("/sign-in-policy", off(json!([kept["id"], bob]))).await.ok();
    assert_eq!(other.delete(&role, json!({})).await.status, 204);
    // What was in order once refuses no other change.
    other.patch("/sign-in-policy", json!({"reason": "nothing changes"})).await.ok();
    let refused = other.patch("/sign-in-policy", off(json!([kept["id"]]))).await.refused(422, "invalid_body");
    assert_eq!(refused["field"], "break_glass");
}

async fn tokens_have_seven_days_when_passwords_are_switched_on_again(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    let browser = world.signed_in().await;
    enrol(&world, &browser).await;
    let owner = world.owner().await;
    let kept = account(&world, OWNER).await["id"].clone();
    let bob = world.person("bob@example.com", "viewer").await;
    super::identities::link(&world, &bob, &idp, &id, json!({"sub": "bob"})).await;
    let token = world.token_of("bob@example.com", &[]).await;
    owner.patch("/sign-in-policy", json!({"passwords": "break_glass", "break_glass": [kept]})).await.ok();
    let policy = owner.patch("/sign-in-policy", json!({"second_factor": "everyone"})).await.ok();
    assert_eq!(policy["missing_count"], 0, "the provider asks for its own");
    world.advance(DAY * 30);
    token.get("/me").await.ok();
    let policy = owner.patch("/sign-in-policy", json!({"passwords": "everyone"})).await.ok();
    assert_eq!(policy["missing_count"], 1);
    let told = owner.get("/audit-events?action=sign_in_policy.updated&limit=1").await.ok();
    assert_eq!(told["items"][0]["details"]["told"], 1);
    world.advance(DAY * 6);
    token.get("/me").await.ok();
    world.advance(DAY * 2);
    token.get("/me").await.refused(403, "second_factor_required");
}
