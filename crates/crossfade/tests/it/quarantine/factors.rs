//! Second factors in a restored database: what had ended stays ended, and no password is enough where a factor is lost.

use super::{Saved, journal, journal::restored_with, restarted};
use crate::{
    console::{authenticator::Manner, browser::PASSWORD, factors::enrol, passkeys},
    engines::on_both_engines,
    world::{OWNER, Principal, World},
};
use serde_json::json;

on_both_engines! {
    a_restore_revives_no_removed_factor_and_no_used_code,
    a_factor_that_a_restore_has_lost_leaves_no_password,
    a_restore_revives_no_removed_passkey,
    a_passkey_that_a_restore_has_lost_leaves_no_way_in,
    nothing_about_factors_is_changed_in_a_quarantine,
    no_passkey_signs_in_alone_in_a_quarantine,
}

async fn a_restore_revives_no_removed_factor_and_no_used_code(world: World) {
    let (_directory, path) = journal();
    let world = restarted(world, &path).await;
    let bob = world.person("bob@example.com", "viewer").await;
    enrol(&world, &bob).await;
    let here = world.signed_in_as(OWNER).await;
    let (_, codes) = enrol(&world, &here).await;
    let saved = Saved::of(&world).await;
    let browser = world.browser();
    browser.sign_in(OWNER, PASSWORD).await.leads_to();
    browser.post("/console/sign-in/code", &[("code", &codes[0])]).await.leads_to();
    assert!(browser.is_signed_in().await);
    let owner = world.owner().await;
    let users = owner.get("/users?q=bob").await.ok();
    let id = users["items"][0]["id"].as_str().unwrap();
    owner.delete(&format!("/users/{id}/factors"), json!({})).await.ok();
    owner.patch("/sign-in-policy", json!({"second_factor": "secret_roles"})).await.ok();
    let after = restored_with(&saved, &world, &path).await;
    assert_eq!(after.app.quarantine(), None);
    let again = after.browser();
    again.sign_in(OWNER, PASSWORD).await.leads_to();
    let wrong = again.post("/console/sign-in/code", &[("code", &codes[0])]).await;
    assert_eq!(wrong.status, 422, "used before");
    again.post("/console/sign-in/code", &[("code", &codes[1])]).await.leads_to();
    assert!(again.is_signed_in().await);
    assert_eq!(after.browser().sign_in("bob@example.com", PASSWORD).await.leads_to(), "/console");
    let policy = after.owner().await.get("/sign-in-policy").await.ok();
    assert_eq!(policy["second_factor"], "secret_roles");
}

async fn a_factor_that_a_restore_has_lost_leaves_no_password(world: World) {
    let (_directory, path) = journal();
    let world = restarted(world, &path).await;
    let bob = world.person("bob@example.com", "viewer").await;
    let saved = Saved::of(&world).await;
    enrol(&world, &bob).await;
    let after = restored_with(&saved, &world, &path).await;
    assert_eq!(after.browser().sign_in("bob@example.com", PASSWORD).await.status, 422);
    assert_eq!(after.browser().sign_in(OWNER, PASSWORD).await.leads_to(), "/console");
}

async fn a_restore_revives_no_removed_passkey(world: World) {
    let (_directory, path) = journal();
    let world = restarted(world, &path).await;
    let here = world.signed_in().await;
    let (lost, _) = passkeys::enrol(&here).await;
    // The page lists the older one first.
    world.advance(std::time::Duration::from_secs(1));
    let (kept, _) = passkeys::add(&here, "kept").await;
    let saved = Saved::of(&world).await;
    let page = here.get("/console/account").await.page(200);
    let at = page.find("/console/account/factors/fac_").unwrap();
    here.post(page[at..].split('"').next().unwrap(), &[]).await.leads_to();
    let after = restored_with(&saved, &world, &path).await;
    assert_eq!(passkeys::sign_in(&after.browser(), &lost, &Manner::default()).await.status, 422);
    passkeys::sign_in(&after.browser(), &kept, &Manner::default()).await.leads_to();
}

async fn a_passkey_that_a_restore_has_lost_leaves_no_way_in(world: World) {
    let (_directory, path) = journal();
    let world = restarted(world, &path).await;
    let bob = world.person("bob@example.com", "viewer").await;
    let (kept, _) = passkeys::enrol(&bob).await;
    let saved = Saved::of(&world).await;
    let (added, _) = passkeys::add(&bob, "added").await;
    let after = restored_with(&saved, &world, &path).await;
    assert_eq!(after.browser().sign_in("bob@example.com", PASSWORD).await.status, 422);
    for passkey in [&kept, &added] {
        assert_eq!(passkeys::sign_in(&after.browser(), passkey, &Manner::default()).await.status, 422);
    }
}

async fn no_passkey_signs_in_alone_in_a_quarantine(world: World) {
    let here = world.signed_in().await;
    let (passkey, _) = passkeys::enrol(&here).await;
    let saved = Saved::of(&world).await;
    let after = saved.restored(&world, None).await;
    let browser = after.browser();
    let alone = passkeys::sign_in(&browser, &passkey, &Manner::default()).await;
    assert_eq!(alone.status, 503, "{}", alone.text());
    assert!(!browser.is_signed_in().await);
    // An Owner must get in, to look at what was restored.
    browser.sign_in(OWNER, PASSWORD).await.leads_to();
    passkeys::finish(&browser, &passkey, &Manner::default()).await.leads_to();
    assert!(browser.is_signed_in().await);
    for path in ["/console/account/passkeys/begin", "/console/account/passkeys"] {
        let answer = browser.script(path, &[("passkey", "{}"), ("name", "x")]).await;
        assert_eq!(answer.status, 503, "{path}");
    }
}

async fn nothing_about_factors_is_changed_in_a_quarantine(world: World) {
    let here = world.signed_in().await;
    let (_, codes) = enrol(&world, &here).await;
    let token = world.owner().await.token;
    let saved = Saved::of(&world).await;
    let after = saved.restored(&world, None).await;
    let browser = after.browser();
    browser.sign_in(OWNER, PASSWORD).await.leads_to();
    browser.post("/console/sign-in/code", &[("code", &codes[0])]).await.leads_to();
    for (path, name) in [("/console/account/factors", "tablet"), ("/console/account/recovery-codes", "")] {
        assert_eq!(browser.post(path, &[("name", name)]).await.status, 503, "{path}");
    }
    let owner = Principal { world: &after, token };
    owner.patch("/sign-in-policy", json!({"second_factor": "everyone"})).await.refused(503, "quarantined");
    assert_eq!(after.number("SELECT COUNT(*) FROM factors").await, 1);
}
