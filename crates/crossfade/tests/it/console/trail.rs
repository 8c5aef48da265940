//! The trail in the Console: names where the reader may know them, and the days of the reader.

use crate::engines::on_both_engines;
use crate::world::World;
use serde_json::json;
use std::time::Duration;

on_both_engines! {
    the_trail_names_accounts_tokens_and_sessions_also_when_they_are_gone,
    the_trail_hides_sessions_unless_asked_for_and_an_export_is_complete,
    a_wiped_secret_is_named_by_its_client,
    a_filter_takes_the_midnight_of_any_zone,
}

async fn the_trail_names_accounts_tokens_and_sessions_also_when_they_are_gone(world: World) {
    let browser = world.signed_in().await;
    let vera = world
        .owner()
        .await
        .post("/users", json!({"name": "Vera", "email": "vera@example.com"}))
        .await
        .created();
    let vera = vera["id"].as_str().or_else(|| vera["user"]["id"].as_str()).unwrap().to_owned();
    let page = browser.get("/console/audit?action=user.created").await.page(200);
    assert!(
        page.contains(&format!("href=\"/console/people/{vera}\"><bdi class=\"clamp\">Vera</bdi>")),
        "{page}"
    );
    let gone = world.owner().await.delete(&format!("/users/{vera}"), json!({})).await;
    assert_eq!(gone.status.as_u16(), 204);
    let page = browser.get("/console/audit?action=user.created").await.page(200);
    assert!(page.contains("<bdi class=\"clamp\">Vera</bdi>"), "{page}");
    assert!(
        !page.contains(&format!("href=\"/console/people/{vera}\"")),
        "there is no page of a deleted account"
    );
    let page = browser.get("/console/audit?action=session.created").await.page(200);
    assert!(page.contains("Session of "), "{page}");
    let page = browser.get("/console/audit?action=token.created").await.page(200);
    assert!(page.contains("API token of "), "{page}");
}

async fn the_trail_hides_sessions_unless_asked_for_and_an_export_is_complete(world: World) {
    world.client("Billing", &["production"]).await;
    let browser = world.signed_in().await;
    for (query, shows) in [
        ("", false),
        ("?sessions=true", true),
        ("?action=session.created", true),
        ("?action=client.created", false),
    ] {
        let page = browser.get(&format!("/console/audit{query}")).await.page(200);
        assert_eq!(page.contains("<code>session.created</code>"), shows, "{query}");
        assert_eq!(page.contains("value=\"true\" checked"), query == "?sessions=true", "{query}");
    }
    let export = browser.get("/console/audit/export").await.text();
    assert!(export.contains("session.created"), "{export}");
    let api = world.owner().await.get("/audit-events").await.ok();
    assert!(api.to_string().contains("session.created"), "{api}");
}

async fn a_wiped_secret_is_named_by_its_client(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    owner.post(&client.path("production", "/secrets/rotate"), client.rotation(0)).await.created();
    world.advance(Duration::from_secs(40 * 86_400));
    world.run_jobs().await;
    let page = world.signed_in().await.get("/console/audit?action=secret.wiped").await.page(200);
    let link = format!(
        "href=\"{}\"><bdi class=\"clamp\">Billing</bdi></a><span class=\"sub\">Secret</span>",
        format_args!("/console{}", client.path("production", "/security"))
    );
    assert!(page.contains(&link), "{page}");
}

async fn a_filter_takes_the_midnight_of_any_zone(world: World) {
    let browser = world.signed_in().await;
    let now = world.now().to_string();
    let (day, _) = now.split_once('T').unwrap();
    for (since, found) in [
        (format!("{day}T00:00:00%2B14:00"), true),
        (format!("{day}T23:59:59-12:00"), false),
        (day.to_owned(), true),
    ] {
        let page = browser.get(&format!("/console/audit?sessions=true&since={since}")).await.page(200);
        assert_eq!(page.contains("session.created</code>"), found, "{since}");
        assert!(page.contains(&format!("type=\"date\" autocomplete=\"off\" value=\"{day}\"")), "{since}");
        assert!(page.contains("Showing events from "), "{since}");
    }
    let wrong = browser.get("/console/audit?since=yesterday").await.page(400);
    assert!(wrong.contains("value=\"yesterday\"") && !wrong.contains("Showing events from "), "{wrong}");
}
