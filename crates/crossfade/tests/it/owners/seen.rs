//! Marks that a transition was seen, and whom a missing mark warns.

use super::{HOUR, MICRO, events, letters, mailing, own_by, person, rotate, sent, without_role};
use crate::{
    engines::on_both_engines,
    world::{OWNER, World},
};
use serde_json::json;
use std::time::Duration;

on_both_engines! {
    a_transition_is_seen_once_by_name_and_time,
    only_an_owner_and_whoever_can_rotate_mark_a_transition_as_seen,
    a_mark_of_somebody_else_says_that_the_managers_are_still_warned,
    a_link_in_a_mail_marks_nothing,
    managers_are_warned_from_four_hours_on_unless_somebody_has_seen_it,
}

async fn a_transition_is_seen_once_by_name_and_time(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let grace = world.user("grace@example.com", "viewer").await;
    own_by(&world, &client, &["grace@example.com"]).await;
    let path = rotate(&world, &client, 24).await;
    let first = grace.post(&format!("{path}/seen"), json!({})).await.ok();
    let at = first["seen"][0]["seen_at"].clone();
    assert_eq!(first["seen_by_owner"], true);
    assert_eq!(first["seen"][0]["name"], "grace");
    world.advance(HOUR);
    assert_eq!(grace.post(&format!("{path}/seen"), json!({})).await.ok(), first);
    assert_eq!(events(&world, "transition.seen").await.len(), 1);
    world.owner().await.post(&format!("{path}/seen"), json!({})).await.ok();
    let listed = grace.get(&client.path("production", "/rotations")).await.ok()["items"][0]["seen"].clone();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["seen_at"]), (2, &at));
    let browser = world.signed_in().await;
    let page = format!("/console/clients/{}/environments/production/security", client.id);
    let page = browser.get(&page).await.page(200);
    assert!(page.contains("Seen by grace") && !page.contains("Mark as seen"), "{page}");
    // It ends with its transition, and another has its own.
    world.advance(HOUR * 23);
    grace.post(&format!("{path}/seen"), json!({})).await.refused(409, "not_retiring");
    let other = rotate(&world, &client, 24).await;
    assert_ne!(other, path);
    let listed = grace.get(&client.path("production", "/rotations")).await.ok();
    assert_eq!(listed["items"][0]["seen"], json!([]));
}

async fn only_an_owner_and_whoever_can_rotate_mark_a_transition_as_seen(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let grace = world.user("grace@example.com", "viewer").await;
    own_by(&world, &client, &["grace@example.com"]).await;
    let path = format!("{}/seen", rotate(&world, &client, 24).await);
    let viewer = world.user("eve@example.com", "viewer").await;
    viewer.post(&path, json!({})).await.refused(403, "forbidden");
    let (_, nobody) = without_role(&world, "nobody@example.com").await;
    nobody.post(&path, json!({})).await.refused(404, "not_found");
    // A limited token of an owner is a program, and does not keep the managers from being warned.
    let limited = world.token_of("grace@example.com", &["client:read"]).await;
    limited.post(&path, json!({})).await.refused(403, "forbidden");
    let limited = world.token_of(OWNER, &["client:read", "secret:rotate"]).await;
    limited.post(&path, json!({})).await.refused(403, "forbidden");
    let owner = world.owner().await;
    let robot = owner.post("/users", json!({"kind": "program", "name": "robot"})).await.created();
    let robot = robot["id"].as_str().unwrap();
    let grant = json!({"role": "secret_rotator"});
    owner.post(&format!("/users/{robot}/grants"), grant).await.created();
    world.token_of(robot, &[]).await.post(&path, json!({})).await.refused(409, "not_a_person");
    grace.post(&path, json!({"nonsense": 1})).await.refused(422, "invalid_body");
    let other = path.replace("/rotations/rot_", "/rotations/rot_0");
    grace.post(&other, json!({})).await.refused(404, "not_found");
    assert_eq!(world.number("SELECT COUNT(*) FROM seen").await, 0);
    grace.post(&path, json!({})).await.ok();
    world.user("rotator@example.com", "secret_rotator").await.post(&path, json!({})).await.ok();
    assert_eq!(world.number("SELECT COUNT(*) FROM seen").await, 2);
}

async fn a_mark_of_somebody_else_says_that_the_managers_are_still_warned(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let grace = person(&world, "grace@example.com", "viewer").await;
    own_by(&world, &client, &["grace@example.com"]).await;
    let path = format!("{}/seen", rotate(&world, &client, 24).await);
    let page = format!("/console/clients/{}/environments/production/security", client.id);
    let browser = world.signed_in().await;
    assert!(browser.get(&page).await.page(200).contains("No owner has marked this transition as seen."));
    let done = browser.post(&format!("/console{path}"), &[]).await.leads_to().to_owned();
    let shown = browser.get(&done).await.page(200);
    assert!(
        shown.contains("its managers are still warned") && shown.contains("No owner of the client has"),
        "{shown}"
    );
    assert!(!shown.contains("are not warned in addition"), "{shown}");
    assert_eq!(world.owner().await.post(&path, json!({})).await.ok()["seen_by_owner"], false);
    assert_eq!(grace.post(&path, json!({})).await.ok()["seen_by_owner"], true);
    let shown = browser.get(&page).await.page(200);
    assert!(shown.contains("Seen by") && !shown.contains("managers are warned, too"), "{shown}");
    // An owner whose account was deleted no longer looks after the transition.
    world.raw("UPDATE users SET deleted_at = 1 WHERE email = 'grace@example.com'").await;
    assert_eq!(world.owner().await.post(&path, json!({})).await.ok()["seen_by_owner"], false);
}

/// A scanner of mail follows links; only the form acts.
async fn a_link_in_a_mail_marks_nothing(mut world: World) {
    let server = mailing(&mut world).await;
    let client = world.client("Billing", &["production"]).await;
    let rotation = rotate(&world, &client, 48).await;
    world.advance(HOUR * 24);
    world.run_jobs().await;
    let letters = letters(&world, &server).await;
    let warning = letters.iter().find(|it| it.header("Subject").contains("still needed")).unwrap();
    let page = format!("/console/clients/{}/environments/production/security", client.id);
    assert!(warning.text.replace("=\r\n", "").contains(&format!("{page}#seen")), "{}", warning.text);
    let browser = world.signed_in().await;
    browser.get(&page).await.page(200);
    let form = format!("/console{rotation}/seen");
    assert!(browser.get(&form).await.leads_to().ends_with("/security"));
    assert_eq!(world.number("SELECT COUNT(*) FROM seen").await, 0);
    assert!(browser.post(&form, &[]).await.leads_to().ends_with("/security"));
    assert!(browser.get(&page).await.page(200).contains("Seen by"));
    assert_eq!(world.number("SELECT COUNT(*) FROM seen").await, 1);
}

async fn managers_are_warned_from_four_hours_on_unless_somebody_has_seen_it(mut world: World) {
    let server = mailing(&mut world).await;
    for is_seen in [false, true] {
        let name = if is_seen { "Ledger" } else { "Billing" };
        let client = world.client(name, &["production"]).await;
        // A manager who is an owner is warned once.
        own_by(&world, &client, &["ada@example.com", OWNER]).await;
        world.user(&format!("ops{is_seen}@example.com"), "operations_manager").await;
        let rotation = rotate(&world, &client, 48).await;
        sent(&world, &server).await;
        let warned = async |span: Duration| -> Vec<String> {
            world.advance(span);
            world.run_jobs().await;
            sent(&world, &server).await.into_iter().map(|(to, _)| to).collect()
        };
        let owners = ["ada@example.com".to_owned(), OWNER.to_owned()];
        assert_eq!(warned(HOUR * 24).await, owners, "24 hours before");
        if is_seen {
            world.owner().await.post(&format!("{rotation}/seen"), json!({})).await.ok();
        }
        assert_eq!(warned(HOUR * 20 - MICRO).await, [""; 0]);
        let at_four = warned(MICRO).await;
        assert_eq!(at_four.len(), if is_seen { 2 } else { 3 }, "{at_four:?}");
        assert_eq!(at_four.contains(&"opsfalse@example.com".to_owned()), !is_seen, "{at_four:?}");
        assert_eq!(warned(HOUR * 3).await.len(), at_four.len(), "1 hour before");
        warned(HOUR * 2).await;
    }
    // Somebody who is no owner does not keep the managers from being warned, and another deadline is to be seen again.
    let client = world.client("Payments", &["production"]).await;
    own_by(&world, &client, &[OWNER]).await;
    let rotator = world.user("rotator@example.com", "secret_rotator").await;
    let rotation = rotate(&world, &client, 24).await;
    sent(&world, &server).await;
    rotator.post(&format!("{rotation}/seen"), json!({})).await.ok();
    world.advance(HOUR * 20);
    world.run_jobs().await;
    assert_eq!(sent(&world, &server).await.len(), 3, "the owner and two managers");
    world.owner().await.post(&format!("{rotation}/seen"), json!({})).await.ok();
    let secret = client.registration("production").secret_id.clone();
    let until = (world.now().after(HOUR * 12)).to_string();
    let body = json!({"expires_at": until, "reason": "late"});
    let path = client.path("production", &format!("/secrets/{secret}/extend"));
    world.owner().await.post(&path, body).await.ok();
    sent(&world, &server).await;
    world.advance(HOUR * 8);
    world.run_jobs().await;
    assert_eq!(sent(&world, &server).await.len(), 3, "the owner and two managers");
    world.advance(HOUR * 4);
    world.run_jobs().await;
    sent(&world, &server).await;
    // Nobody owns it, and somebody hears of it.
    let client = world.client("Lone", &["production"]).await;
    own_by(&world, &client, &[]).await;
    sent(&world, &server).await;
    rotate(&world, &client, 8).await;
    world.advance(HOUR * 4);
    world.run_jobs().await;
    let to: Vec<_> = sent(&world, &server).await.into_iter().map(|(to, _)| to).collect();
    assert_eq!(to, ["opsfalse@example.com", "opstrue@example.com", OWNER]);
}
