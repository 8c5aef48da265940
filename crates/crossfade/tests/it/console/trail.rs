//! The trail in the Console: names where the reader may know them, and the days of the reader.

use crate::engines::on_both_engines;
use crate::world::World;
use serde_json::json;

on_both_engines! {
    the_trail_names_accounts_tokens_and_sessions_also_when_they_are_gone,
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

async fn a_filter_takes_the_midnight_of_any_zone(world: World) {
    let browser = world.signed_in().await;
    let now = world.now().to_string();
    let (day, _) = now.split_once('T').unwrap();
    for (since, found) in [
        (format!("{day}T00:00:00%2B14:00"), true),
        (format!("{day}T23:59:59-12:00"), false),
        (day.to_owned(), true),
    ] {
        let page = browser.get(&format!("/console/audit?since={since}")).await.page(200);
        assert_eq!(page.contains("session.created</code>"), found, "{since}");
        assert!(page.contains(&format!("type=\"date\" autocomplete=\"off\" value=\"{day}\"")), "{since}");
        assert!(page.contains("Showing events from "), "{since}");
    }
    let wrong = browser.get("/console/audit?since=yesterday").await.page(400);
    assert!(wrong.contains("value=\"yesterday\"") && !wrong.contains("Showing events from "), "{wrong}");
}
