//! Linking, unlinking, and confirming a session with a provider.

use super::{account, add, asked, begun, claims, come_back, depart, events, idp::Idp, sign_in, signed_in};
use crate::{
    console::browser::{Browser, PASSWORD},
    engines::on_both_engines,
    world::{Answer, World},
};
use serde_json::{Value, json};
use std::{collections::HashMap, time::Duration};

on_both_engines! {
    two_providers_with_one_address_are_two_people_until_the_person_links_them,
    an_account_is_linked_by_its_person_alone,
    an_account_is_unlinked_while_another_way_is_left,
    a_session_is_confirmed_where_it_was_begun,
    nothing_but_a_new_authentication_of_the_same_person_confirms_a_session,
    a_deleted_account_is_left_by_its_identity,
    another_address_makes_the_identity_a_strangers,
    a_link_and_a_recovery_unlink_what_others_may_have_linked,
    a_password_confirms_no_session_of_a_provider,
    a_person_who_must_add_a_factor_links_no_provider,
    an_identity_of_another_organisation_is_not_linked,
}

const FRESH_FOR: Duration = Duration::from_secs(600);

/// Links the account of a session with a provider.
pub async fn link(world: &World, browser: &Browser<'_>, idp: &Idp, id: &str, changes: Value) -> Answer {
    let asked = depart_to_link(browser, id).await;
    let token = idp.sign(&json!({}), &claims(world, idp, &asked, &changes));
    come_back(browser, idp, &asked, token).await
}

/// Goes to a provider to link the account: the page of the form has a link that leads there.
async fn depart_to_link(browser: &Browser<'_>, id: &str) -> HashMap<String, String> {
    let page = browser.post(&format!("/console/account/providers/{id}/link"), &[]).await.page(200);
    let address = page.split("class=\"button primary\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    asked(&address.replace("&#38;", "&"))
}

async fn two_providers_with_one_address_are_two_people_until_the_person_links_them(mut world: World) {
    begun(&mut world).await;
    let (one, two) = (Idp::start().await, Idp::start().await);
    let first = add(&world, &one, "First", json!({})).await;
    let second = add(&world, &two, "Second", json!({})).await;
    let ada = signed_in(&world, &one, &first, json!({})).await;
    // The same address, and even the same subject.
    let mallory = world.browser();
    let page = sign_in(&mallory, &world, &two, &second, json!({})).await.page(403);
    assert!(page.contains("already has your email address") && page.contains("link Second"), "{page}");
    assert!(!mallory.is_signed_in().await);
    assert_eq!(
        link(&world, &ada, &two, &second, json!({"sub": "other"})).await.leads_to(),
        "/console/account"
    );
    let other = signed_in(&world, &two, &second, json!({"sub": "other"})).await;
    assert!(other.is_signed_in().await);
    assert_eq!(account(&world, "ada@example.com").await["identities"].as_array().unwrap().len(), 2);
    sign_in(&mallory, &world, &two, &second, json!({})).await.page(403);
}

async fn an_account_is_linked_by_its_person_alone(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    let ada = signed_in(&world, &idp, &id, json!({})).await;
    let bob = world.person("bob@example.com", "viewer").await;
    // By no link of another site: only a form of our own page begins it.
    assert_eq!(
        bob.get(&format!("/console/account/providers/{id}/link")).await.leads_to(),
        "/console/account"
    );
    assert_eq!(bob.get(&format!("/console/sign-in/{id}")).await.leads_to(), "/console", "signed in already");
    // Not with what belongs to another account, and not with a second one.
    let page = link(&world, &bob, &idp, &id, json!({})).await.page(403);
    assert!(page.contains("linked with another account here"), "{page}");
    assert_eq!(link(&world, &bob, &idp, &id, json!({"sub": "bob"})).await.leads_to(), "/console/account");
    let told =
        events(&world, 20).await.into_iter().find(|(action, _)| action == "identity.linked").unwrap().1;
    assert_eq!((&told["provider_name"], &told["created_account"]), (&json!("Example"), &json!(false)));
    // What was begun by one is not ended by another.
    let carol = world.person("carol@example.com", "viewer").await;
    let asked = depart_to_link(&carol, &id).await;
    ada.jar().extend(
        carol.jar().iter().filter(|(name, _)| name.contains("sign_in_")).map(|(a, b)| (a.clone(), b.clone())),
    );
    let token = idp.sign(&json!({}), &claims(&world, &idp, &asked, &json!({"sub": "carol"})));
    let page = come_back(&ada, &idp, &asked, token).await.page(403);
    assert!(page.contains("Your session has ended, or another person"), "{page}");
    assert_eq!(world.number("SELECT COUNT(*) FROM identities").await, 2);
    // Only after a fresh sign-in.
    world.advance(FRESH_FOR);
    carol.post(&format!("/console/account/providers/{id}/link"), &[]).await.page(403);
}

async fn an_account_is_unlinked_while_another_way_is_left(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let groups = json!([{"group": "a", "role": "viewer"}]);
    let id = add(&world, &idp, "Example", json!({"group_grants": groups})).await;
    let unlink = format!("/console/account/providers/{id}/unlink");
    let ada = signed_in(&world, &idp, &id, json!({"groups": ["a"]})).await;
    let page = ada.post(&unlink, &[]).await.page(409);
    assert!(page.contains("Your account has no other way to sign in."), "{page}");
    let bob = world.person("bob@example.com", "viewer").await;
    link(&world, &bob, &idp, &id, json!({"sub": "bob"})).await;
    let elsewhere = signed_in(&world, &idp, &id, json!({"sub": "bob", "groups": ["a"]})).await;
    assert_eq!(account(&world, "bob@example.com").await["grants"].as_array().unwrap().len(), 2);
    assert_eq!(bob.post(&unlink, &[]).await.leads_to(), "/console/account");
    assert_eq!(account(&world, "bob@example.com").await["grants"].as_array().unwrap().len(), 1);
    assert!(bob.is_signed_in().await && !elsewhere.is_signed_in().await);
    let again = world.browser();
    let page =
        sign_in(&again, &world, &idp, &id, json!({"sub": "bob", "email": "bob@example.com"})).await.page(403);
    assert!(page.contains("already has your email address"), "{page}");
    bob.post(&unlink, &[]).await.page(404);
}

async fn a_session_is_confirmed_where_it_was_begun(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({"acr_values": ["mfa"]})).await;
    let mfa = json!({"acr": "mfa"});
    let ada = signed_in(&world, &idp, &id, mfa.clone()).await;
    world.advance(FRESH_FOR);
    assert_eq!(ada.get("/console/session").await.ok(), json!({"fresh": false}));
    let page = ada.get("/console/account").await.page(200);
    let way = format!(
        "href=\"/console/sign-in/{id}?confirm=1&#38;to=%2Fconsole%2Faccount\">Continue with Example</a>"
    );
    assert!(page.contains(&way) && !page.contains("confirm-password"), "{page}");
    let page = ada.post("/console/account/tokens", &[("name", "x")]).await.page(403);
    assert!(page.contains("What you typed is lost") && page.contains(&way), "{page}");
    let script = ada.script("/console/account/tokens", &[("name", "x")]).await;
    assert_eq!(
        script.json()["detail"],
        "This action requires a fresh sign-in with Example. Nothing was changed."
    );
    let before = ada.cookie();
    let asked = depart(&ada, &id, "?confirm=1&to=/console/account").await;
    assert_eq!((&*asked["prompt"], &*asked["max_age"], &*asked["acr_values"]), ("login", "0", "mfa"));
    let token = idp.sign(&json!({}), &claims(&world, &idp, &asked, &mfa));
    assert_eq!(come_back(&ada, &idp, &asked, token).await.leads_to(), "/console/account");
    assert_eq!(ada.get("/console/session").await.ok(), json!({"fresh": true}));
    let thief = world.browser();
    thief.jar().insert(thief.name_of("session"), before.unwrap());
    assert!(!thief.is_signed_in().await, "a copy of the cookie before is worth nothing");
    // A session of a password is confirmed with the password.
    let bob = world.person("bob@example.com", "viewer").await;
    bob.get(&format!("/console/sign-in/{id}?confirm=1")).await.page(403);
    assert!(bob.get("/console/account").await.page(200).contains("id=\"confirm-password\""));
}

async fn nothing_but_a_new_authentication_of_the_same_person_confirms_a_session(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({"acr_values": ["mfa"]})).await;
    let ada = signed_in(&world, &idp, &id, json!({"acr": "mfa"})).await;
    signed_in(&world, &idp, &id, json!({"acr": "mfa", "sub": "bob", "email": "bob@example.com"})).await;
    world.advance(FRESH_FOR);
    let now = world.now().as_seconds();
    for (changes, sentence) in [
        (json!({"auth_time": null}), "does not say that you authenticated again"),
        (json!({"auth_time": now - 60}), "does not say that you authenticated again"),
        (json!({"auth_time": now - 3600}), "does not say that you authenticated again"),
        (json!({"auth_time": now + 301}), "does not say that you authenticated again"),
        (
            json!({"auth_time": now - 360, "iat": now - 300, "exp": now}),
            "does not say that you authenticated again",
        ),
        (json!({"acr": "pwd"}), "in another way than the provider was asked for"),
        (json!({"sub": "bob"}), "as another person than the one who is signed in"),
        (json!({"sub": "mallory"}), "as another person than the one who is signed in"),
    ] {
        let asked = depart(&ada, &id, "?confirm=1").await;
        let mut all = json!({"acr": "mfa"});
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let token = idp.sign(&json!({}), &claims(&world, &idp, &asked, &all));
        let page = come_back(&ada, &idp, &asked, token).await.page(403);
        assert!(page.contains(sentence), "{changes}: {page}");
        assert_eq!(ada.get("/console/session").await.ok(), json!({"fresh": false}), "{changes}");
    }
    // By a clock that is five minutes behind, or ahead.
    for difference in [-295, 295] {
        let asked = depart(&ada, &id, "?confirm=1").await;
        let at = now + difference;
        let all = json!({"acr": "mfa", "auth_time": at, "iat": at, "exp": at + 300});
        let token = idp.sign(&json!({}), &claims(&world, &idp, &asked, &all));
        assert_eq!(come_back(&ada, &idp, &asked, token).await.leads_to(), "/console");
        assert_eq!(ada.get("/console/session").await.ok(), json!({"fresh": true}), "{difference}");
    }
    // A role that the group no longer gives is gone with the confirmation, too: the groups are asked again.
    assert_eq!(account(&world, "ada@example.com").await["grants"], json!([]));
}

async fn a_deleted_account_is_left_by_its_identity(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    let ada = signed_in(&world, &idp, &id, json!({})).await;
    let user = account(&world, "ada@example.com").await["id"].as_str().unwrap().to_owned();
    world.owner().await.delete(&format!("/users/{user}"), json!({})).await.expect(204);
    assert!(!ada.is_signed_in().await);
    assert_eq!(world.number("SELECT COUNT(*) FROM identities").await, 0);
    // The provider lets the person in again, to another account without roles.
    signed_in(&world, &idp, &id, json!({})).await;
    assert_ne!(account(&world, "ada@example.com").await["id"], user.as_str());
}

/// Somebody who manages people signs in as an account, gives it another person's address, and waits for a role.
async fn another_address_makes_the_identity_a_strangers(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    let mallory = signed_in(&world, &idp, &id, json!({})).await;
    let user = account(&world, "ada@example.com").await["id"].as_str().unwrap().to_owned();
    let manager = world.user("ops@example.com", "operations_manager").await;
    manager
        .patch(&format!("/users/{user}"), json!({"email": "victim@example.com", "name": "Victim"}))
        .await
        .ok();
    let owner = world.owner().await;
    owner.post(&format!("/users/{user}/grants"), json!({"role": "secret_rotator"})).await.created();
    assert!(!mallory.is_signed_in().await);
    assert_eq!(world.number("SELECT COUNT(*) FROM identities").await, 0);
    let again = world.browser();
    let answer = sign_in(&again, &world, &idp, &id, json!({})).await;
    assert_eq!(answer.leads_to(), "/console", "another account, without roles");
    assert_ne!(account(&world, "ada@example.com").await["id"], user.as_str());
    assert_eq!(account(&world, "ada@example.com").await["grants"], json!([]));
}

async fn a_link_and_a_recovery_unlink_what_others_may_have_linked(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    // A stolen session links an identity of the thief; the person sets a new password with a link.
    let thief = world.person("bob@example.com", "viewer").await;
    assert_eq!(link(&world, &thief, &idp, &id, json!({"sub": "thief"})).await.leads_to(), "/console/account");
    let user = account(&world, "bob@example.com").await["id"].as_str().unwrap().to_owned();
    let owner = world.owner().await;
    let url = owner.post(&format!("/users/{user}/link"), json!({})).await.created();
    let code = url["url"].as_str().unwrap().rsplit('#').next().unwrap().to_owned();
    let new = "a sentence that nobody guesses";
    let form = [("link", &*code), ("email", ""), ("password", new), ("repeated", new)];
    assert_eq!(world.browser().post("/console/link", &form).await.leads_to(), "/console");
    assert_eq!(account(&world, "bob@example.com").await["identities"], json!([]));
    let actions: Vec<String> = events(&world, 20).await.into_iter().map(|(action, _)| action).collect();
    assert!(actions.contains(&"identity.unlinked".to_owned()), "{actions:?}");
    // The thief gets an account of their own, by the address that the provider says.
    signed_in(&world, &idp, &id, json!({"sub": "thief"})).await;
    assert_ne!(account(&world, "ada@example.com").await["id"], user.as_str());
}

async fn a_password_confirms_no_session_of_a_provider(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    let bob = world.person("bob@example.com", "viewer").await;
    link(&world, &bob, &idp, &id, json!({"sub": "bob"})).await;
    let of_provider = signed_in(&world, &idp, &id, json!({"sub": "bob"})).await;
    world.advance(FRESH_FOR);
    for (path, field) in [("/console/confirm", "password"), ("/console/account/tokens", "confirm_password")] {
        let answer =
            of_provider.script(path, &[(field, PASSWORD), ("name", "x"), ("expires_days", "30")]).await;
        assert_eq!(answer.status.as_u16(), 403, "{path}: {}", answer.text());
        assert_eq!(of_provider.get("/console/session").await.ok(), json!({"fresh": false}), "{path}");
    }
    let new = "a sentence that nobody guesses";
    let form = [("current_password", PASSWORD), ("password", new), ("repeated", new)];
    assert_eq!(of_provider.post("/console/account/password", &form).await.status.as_u16(), 403);
    assert_eq!(bob.script("/console/confirm", &[("password", PASSWORD)]).await.ok(), json!({"fresh": true}));
}

async fn a_person_who_must_add_a_factor_links_no_provider(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    let bob = world.person("bob@example.com", "viewer").await;
    let asked = depart_to_link(&bob, &id).await;
    world
        .raw("INSERT INTO sign_in_policy (one, second_factor, told_at, passwords, break_glass, version) VALUES (1, 'everyone', 1, 'everyone', '[]', 2)")
        .await;
    let token = idp.sign(&json!({}), &claims(&world, &idp, &asked, &json!({"sub": "bob"})));
    let answer = come_back(&bob, &idp, &asked, token).await;
    assert_eq!(answer.status.as_u16(), 403, "{}", answer.text());
    assert_eq!(world.number("SELECT COUNT(*) FROM identities").await, 0);
    // Who signs in with a provider alone is not asked for a factor here.
    let ada = signed_in(&world, &idp, &id, json!({})).await;
    assert!(ada.is_signed_in().await && ada.get("/console").await.status.as_u16() != 403);
}

async fn an_identity_of_another_organisation_is_not_linked(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id = add(&world, &idp, "Example", json!({})).await;
    let bob = world.person("bob@example.com", "viewer").await;
    for changes in [
        json!({"sub": "bob", "email": "bob@elsewhere.example"}),
        json!({"sub": "bob", "email_verified": false}),
    ] {
        link(&world, &bob, &idp, &id, changes).await.page(403);
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM identities").await, 0);
}
