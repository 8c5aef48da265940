//! Limits, cursors and filters of lists.

use super::text;
use crate::engines::on_both_engines;
use crate::world::World;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

on_both_engines! {
    lists_refuse_bad_limits_cursors_and_parameters,
    pages_are_cut_without_loss_and_linked,
    a_zero_byte_in_a_query_finds_nothing,
    a_search_takes_its_text_literally,
}

async fn lists_refuse_bad_limits_cursors_and_parameters(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    for _ in 0..2 {
        owner.post(&client.path("production", "/secrets/rotate"), client.rotation(0)).await.created();
    }
    world.client("Shop", &["production"]).await;
    let lists = [
        "/properties",
        "/clients",
        "/tokens",
        "/users",
        "/audit-events",
        &client.path("production", "/secrets"),
        &client.path("production", "/rotations"),
        &client.path("production", "/usage"),
        &client.path("production", "/usage/series"),
    ];
    // Those that the server gave out for another list, and those that somebody made.
    let (mut cursors, mut wrong) = (Vec::new(), Vec::new());
    for list in lists {
        cursors.extend(
            owner.get(&format!("{list}?limit=1")).await.ok()["next_cursor"]
                .as_str()
                .map(|it| (it.to_owned(), list)),
        );
    }
    assert!(cursors.len() >= 4, "{cursors:?}");
    for forged in ["1.9223372036854775807.usage", "1.-5.usage", "1.0.", "1.1.cl_0", "-1.cl_0"] {
        cursors.push((URL_SAFE_NO_PAD.encode(forged), "no list"));
    }
    for list in lists {
        for (cursor, given) in &cursors {
            let answer = owner.get(&format!("{list}?cursor={cursor}")).await;
            let status = answer.status.as_u16();
            if status != if *given == list { 200 } else { 400 } {
                wrong.push((list, *given, status));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

async fn pages_are_cut_without_loss_and_linked(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    for _ in 0..6 {
        owner.post(&client.path("production", "/secrets/rotate"), client.rotation(0)).await.created();
    }
    for (list, all) in [("/secrets", 7), ("/rotations", 6)] {
        let (mut seen, mut path) = (Vec::new(), client.path("production", &format!("{list}?limit=2")));
        loop {
            let answer = owner.get(&path).await;
            let link = answer.header("link").map(str::to_owned);
            let page = answer.ok();
            let items = page["items"].as_array().unwrap();
            assert!((1..=2).contains(&items.len()), "{page}");
            seen.extend(items.iter().map(|item| text(&item["id"]).to_owned()));
            let Some(cursor) = page["next_cursor"].as_str() else {
                assert_eq!(link, None);
                break;
            };
            let target = link.unwrap();
            let target = target
                .strip_prefix('<')
                .and_then(|rest| rest.strip_suffix(">; rel=\"next\""))
                .unwrap()
                .to_owned();
            assert!(target.contains(cursor) && target.contains("limit=2"), "{target}");
            path = target.strip_prefix("/api/v1").unwrap().to_owned();
        }
        let whole = owner.get(&client.path("production", list)).await.ok();
        let whole: Vec<_> =
            whole["items"].as_array().unwrap().iter().map(|item| text(&item["id"]).to_owned()).collect();
        assert_eq!((&seen, seen.len()), (&whole, all));
    }
}

async fn a_zero_byte_in_a_query_finds_nothing(world: World) {
    world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let mut wrong = Vec::new();
    for path in [
        "/clients?q=%00",
        "/clients?q=a%00b",
        "/audit-events?actor=%00",
        "/clients?q=%FF",
        "/audit-events?actor=%ED%A0%80",
    ] {
        let answer = owner.get(path).await;
        let found = answer.status.as_u16() == 200 && !answer.json()["items"].as_array().unwrap().is_empty();
        if found || ![200, 400].contains(&answer.status.as_u16()) {
            wrong.push((path, answer.status, found));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

async fn a_search_takes_its_text_literally(world: World) {
    world.client("Billing 100% \\ _x", &["production"]).await;
    world.client("Other", &["production"]).await;
    let owner = world.owner().await;
    for (q, found) in [
        ("%25", 1),
        ("_", 1),
        ("%5C", 1),
        ("billing", 1),
        ("'", 0),
        ("%25%25", 0),
        ("100%25", 1),
        ("%20", 2),
        ("%27%20OR%201=1--", 0),
    ] {
        assert_eq!(
            owner.get(&format!("/clients?q={q}")).await.ok()["items"].as_array().unwrap().len(),
            found,
            "{q}"
        );
    }
}
