//! Properties, environments and the trail.

use crate::engines::on_both_engines;
use crate::world::World;
use http::Method;
use serde_json::json;
use std::time::Duration;

on_both_engines! {
    whoever_may_only_read_is_offered_nothing_else,
    who_may_rotate_is_told_to_whoever_may_know_of_grants,
    one_s_own_tokens_are_listed_page_by_page,
    the_trail_is_filtered_and_exported_by_an_auditor,
    the_trail_is_filtered_by_what_people_and_clients_are_called,
    no_other_site_starts_an_export,
    every_transition_is_found_by_whoever_may_read_few,
    whoever_has_a_role_on_one_client_finds_its_pages_whole,
    the_settings_of_an_environment_come_back_with_what_was_typed,
    an_environment_is_deleted_only_for_its_typed_slug_or_name,
    the_overview_marks_near_deadlines_while_the_old_secret_is_needed,
}

async fn whoever_may_only_read_is_offered_nothing_else(world: World) {
    world.client("Billing", &["production"]).await;
    let viewer = world.person("vera@example.com", "viewer").await;
    for (path, button) in [
        ("/console/properties", "Create property"),
        ("/console/environments", "Create environment"),
        ("/console/environments/production", "Rotate signing key"),
        ("/console/clients", "Create client"),
    ] {
        assert!(!viewer.get(path).await.page(200).contains(button), "{path}");
        assert!(world.signed_in().await.get(path).await.page(200).contains(button), "{path}");
    }
    for path in ["/console/audit", "/console/audit/export"] {
        assert_eq!(viewer.get(path).await.status.as_u16(), 403, "{path}");
    }
    let owner = world.person("olga@example.com", "operations_manager").await;
    assert_eq!(owner.post("/console/properties", &[("name", "Shop")]).await.status.as_u16(), 303);
    assert_eq!(viewer.post("/console/properties", &[("name", "Other")]).await.status.as_u16(), 403);
    assert_eq!(world.number("SELECT COUNT(*) FROM properties WHERE name = 'Other'").await, 0);
}

async fn who_may_rotate_is_told_to_whoever_may_know_of_grants(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let path = format!("/console/clients/{}", client.id);
    for (who, role) in [
        ("rosa@example.com", "secret_rotator"),
        ("vera@example.com", "viewer"),
        ("amir@example.com", "auditor"),
    ] {
        world.user(who, role).await;
    }
    let told = world.signed_in().await.get(&path).await.page(200);
    let table = told.split("id=\"rotators\"").nth(1).unwrap();
    assert!(
        table.contains(">rosa</a>") && table.contains("Secret Rotator") && table.contains("Owner"),
        "{table}"
    );
    assert!(!table.contains(">vera</a>") && !table.contains(">amir</a>"), "{table}");
    let viewer = world.person("vic@example.com", "viewer").await.get(&path).await.page(200);
    assert!(!viewer.contains("rosa") && viewer.contains("Who can rotate its secrets"), "{viewer}");
}

async fn one_s_own_tokens_are_listed_page_by_page(world: World) {
    let browser = world.signed_in().await;
    let names: Vec<String> = (0..51).map(|n| format!("laptop-{n:02}")).collect();
    for name in &names {
        browser
            .post("/console/account/tokens", &[("name", name.as_str()), ("expires_days", "30")])
            .await
            .page(200);
    }
    let (mut path, mut seen, mut pages) = ("/console/account".to_owned(), Vec::new(), 0);
    loop {
        let page = browser.get(&path).await.page(200);
        seen.extend(names.iter().filter(|name| page.contains(&format!("scope=\"row\">{name}<"))).cloned());
        pages += 1;
        let Some(next) = page.split("href=\"/console/account?cursor=").nth(1) else { break };
        path = format!("/console/account?cursor={}", next.split('#').next().unwrap());
    }
    // They were made at one time, and stand in the order of their ids.
    seen.sort();
    assert_eq!((seen, pages), (names, 2));
    assert!(browser.get("/console/account?cursor=x").await.page(400).contains("cursor"));
}

async fn the_trail_is_filtered_and_exported_by_an_auditor(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let auditor = world.person("aud@example.com", "auditor").await;
    let page =
        auditor.get(&format!("/console/audit?action=client.created&client={}", client.id)).await.page(200);
    assert!(
        page.contains("<code>client.created</code>") && !page.contains("<code>session.created</code>"),
        "{page}"
    );
    assert!(auditor.get("/console/audit?since=yesterday").await.page(400).contains("aria-invalid"));
    let export = auditor.get("/console/audit/export?action=client.created").await;
    assert_eq!(export.header("content-type"), Some("application/jsonl"));
    assert_eq!(export.text().lines().count(), 2, "the event, and the statement about the export");
}

async fn the_trail_is_filtered_by_what_people_and_clients_are_called(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let other = world.client("Warehouse", &["production"]).await;
    let owner = world.signed_in().await;
    for name in
        ["Billing", "billing", client.registration("production").client_id.as_str(), client.id.as_str()]
    {
        let page = owner.get(&format!("/console/audit?client={name}")).await.page(200);
        assert!(
            page.contains("client.created") && !page.contains(&format!("/clients/{}\"", other.id)),
            "{name}"
        );
        let export = owner.get(&format!("/console/audit/export?client={name}")).await.text();
        assert!(export.contains(&client.id) && !export.contains(&other.id), "{name}");
    }
    for who in ["ada@example.com", "ADA@example.com", "ada"] {
        assert!(
            owner.get(&format!("/console/audit?actor={who}")).await.page(200).contains("client.created"),
            "{who}"
        );
    }
    let page = owner.get("/console/audit?client=nobody").await.page(400);
    assert!(
        page.contains("Client does not match any client&#39;s name, client_id or ID.")
            && !page.contains("No matching events"),
        "{page}"
    );
    let api = world.owner().await;
    let property = api.post("/properties", json!({"name": "Another"})).await.created();
    api.post(
        "/clients",
        json!({"name": "BILLING", "property_id": property["id"], "environments": ["staging"]}),
    )
    .await
    .created();
    assert!(
        owner.get("/console/audit?client=billing").await.page(400).contains("Client matches several clients")
    );
}

async fn no_other_site_starts_an_export(world: World) {
    let auditor = world.person("aud@example.com", "auditor").await;
    let exports = "SELECT COUNT(*) FROM audit_events WHERE action = 'audit.exported'";
    for (site, status, written) in
        [("cross-site", 403, 0), ("same-site", 403, 0), ("same-origin", 200, 1), ("none", 200, 2)]
    {
        let answer =
            auditor.send(Method::GET, "/console/audit/export", None, &[("sec-fetch-site", site)]).await;
        assert_eq!((answer.status.as_u16(), world.number(exports).await), (status, written), "{site}");
    }
}

async fn every_transition_is_found_by_whoever_may_read_few(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    owner.post(&client.path("production", "/secrets/rotate"), client.rotation(168)).await.created();
    // As many as are read at once end before it.
    let (id, registration) = (&client.id, "SELECT id FROM registrations WHERE client_id");
    let many = "WITH RECURSIVE n(i) AS (SELECT 1001 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)";
    world.raw(&format!("
            INSERT INTO clients (id, property_id, name, name_key, description, owners, created_at, version) {many}
                SELECT 'cl_000000000000000000' || i, property_id, 'Copy ' || i, 'copy ' || i, '', owners, created_at, 1 FROM n, clients WHERE id = '{id}';
            INSERT INTO registrations (id, client_id, environment, oauth_client_id, auth_basic, auth_post, scopes, access_token_ttl_seconds, may_introspect, created_at, version) {many}
                SELECT 'reg_000000000000000000' || i, 'cl_000000000000000000' || i, environment, '000000000000000000' || i, 1, 1, scopes, 300, 0, created_at, 1 FROM n, registrations WHERE client_id = '{id}';
            INSERT INTO secrets (id, registration_id, number, created_at, expires_at, digest, digest_key) {many}
                SELECT 'sec_000000000000000000' || i, 'reg_000000000000000000' || i, 1, created_at, expires_at - 1000, digest, digest_key FROM n, secrets
                WHERE expires_at IS NOT NULL AND registration_id = ({registration} = '{id}');")).await;
    let few = world.person("few@example.com", "viewer").await;
    world.raw(&format!("UPDATE grants SET client_id = '{id}' WHERE role = 'viewer'")).await;
    assert!(few.get("/console").await.page(200).contains(&format!("/console/clients/{id}/")));
    assert!(!few.get("/console").await.page(200).contains("Copy "));
}

async fn whoever_has_a_role_on_one_client_finds_its_pages_whole(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let other = world.client("Warehouse", &["production"]).await;
    world
        .owner()
        .await
        .patch(
            "/environments/production",
            json!({"show_once": true, "confirm_environment_slug": "production"}),
        )
        .await
        .ok();
    for role in ["viewer", "secret_rotator", "application_manager"] {
        let browser = world.person(&format!("{role}@example.com"), role).await;
        world.raw(&format!("UPDATE grants SET client_id = '{}' WHERE role = '{role}'", client.id)).await;
        let own = format!("/console/clients/{}", client.id);
        let inside = format!("{own}/environments/production");
        for path in [
            own.clone(),
            format!("{inside}/credentials"),
            format!("{inside}/security"),
            format!("{inside}/settings"),
            format!("{inside}/live?tab=security"),
        ] {
            let page = browser.get(&path).await.page(200);
            assert!(path != own || page.contains("Property of Billing"), "{role}: {page}");
        }
        assert_eq!(
            browser.get(&format!("/console/clients/{}", other.id)).await.status.as_u16(),
            404,
            "{role}"
        );
        let creates = if role == "application_manager" { 200 } else { 404 };
        assert_eq!(browser.get("/console/clients/new").await.status.as_u16(), creates, "{role}");
        if role == "secret_rotator" {
            let page = browser.get(&format!("{inside}/security")).await.page(200);
            let hidden = |name| {
                page.split_once(&format!("name=\"{name}\" value=\"")).unwrap().1.split('"').next().unwrap()
            };
            let form = [
                ("transition_hours", "0"),
                ("confirm_client_name", "Billing"),
                ("expected_current_secret_id", hidden("expected_current_secret_id")),
                ("idempotency_key", hidden("idempotency_key")),
            ];
            // Shown once: what has been done is not answered with a refusal.
            let page = browser.post(&format!("{inside}/rotate"), &form).await.page(201);
            assert!(page.contains("crossfade_live_"), "{role}: {page}");
        }
    }
    let refused = format!(
        "SELECT COUNT(*) FROM audit_events WHERE outcome = 'refused' AND client_id = '{}'",
        client.id
    );
    assert_eq!(world.number(&refused).await, 0, "no page asks for what its reader may not have");
    assert_eq!(world.number("SELECT COUNT(*) FROM rotations").await, 1);
}

async fn the_settings_of_an_environment_come_back_with_what_was_typed(world: World) {
    let browser = world.signed_in().await;
    let form = |days| {
        [
            ("name", "Production"),
            ("kind", "live"),
            ("signing_alg", "ES256"),
            ("position", "2"),
            ("wipe_after_days", "30"),
            ("max_age_days", days),
        ]
    };
    let page = browser.post("/console/environments/production", &form("0")).await.page(422);
    assert!(page.contains("name=\"max_age_days\"") && page.contains("aria-invalid"), "{page}");
    assert_eq!(browser.post("/console/environments/production", &form("")).await.status.as_u16(), 303);
    assert!(browser.get("/console/environments").await.page(200).contains("No limit"));
    let policy = |hours| {
        [
            ("name", "Production"),
            ("kind", "live"),
            ("signing_alg", "ES256"),
            ("position", "2"),
            ("wipe_after_days", "30"),
            ("guard_extension_hours", hours),
        ]
    };
    let page = browser.post("/console/environments/production", &policy("169")).await.page(422);
    assert!(page.contains("whole number of hours from 1 to 168") && page.contains("aria-invalid"), "{page}");
    assert_eq!(browser.post("/console/environments/production", &policy("12")).await.status.as_u16(), 303);
    assert_eq!(
        world.number("SELECT guard_extension_hours FROM environments WHERE slug = 'production'").await,
        12
    );
    assert_eq!(browser.post("/console/environments/production", &policy("")).await.status.as_u16(), 303);
    assert_eq!(
        world.number("SELECT COUNT(*) FROM environments WHERE guard_extension_hours IS NOT NULL").await,
        0
    );
}

async fn an_environment_is_deleted_only_for_its_typed_slug_or_name(world: World) {
    let browser = world.signed_in().await;
    for slug in ["development", "staging"] {
        let path = format!("/console/environments/{slug}/delete");
        for typed in ["", "production", "STAGING"] {
            let page = browser.post(&path, &[("confirm_environment", typed)]).await.page(422);
            assert!(
                page.contains("aria-labelledby=\"delete-title\" open") && page.contains("aria-invalid"),
                "{page}"
            );
        }
        let typed = if slug == "staging" { "Staging" } else { "development " };
        let done = browser.post(&path, &[("confirm_environment", typed)]).await;
        assert_eq!(done.leads_to(), "/console/environments", "{slug}");
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM environments").await, 1);
    world.client("Billing", &["production"]).await;
    let kept = browser
        .post("/console/environments/production/delete", &[("confirm_environment", "production")])
        .await;
    assert!(kept.page(409).contains("clients are or were registered"));
}

async fn the_overview_marks_near_deadlines_while_the_old_secret_is_needed(world: World) {
    let overview = async |who: &str| world.person(who, "viewer").await.get("/console").await.page(200);
    let row = |page: &str, name: &str| {
        let at = page.find(&format!(">{name}<"))?;
        page[at..].split("class=\"standing\"").next().map(str::to_owned)
    };
    let is_urgent = |page: &str, name: &str| row(page, name).unwrap().contains("badge danger");
    let mut clients = Vec::new();
    for (name, hours) in [("Later", 30), ("Sooner", 26), ("Far", 168)] {
        let client = world.client(name, &["production"]).await;
        world
            .owner()
            .await
            .post(&client.path("production", "/secrets/rotate"), client.rotation(hours))
            .await
            .created();
        clients.push(client);
    }
    let page = overview("a@example.com").await;
    assert!(["Later", "Sooner", "Far"].iter().all(|name| !is_urgent(&page, name)), "{page}");
    world.advance(Duration::from_secs(6 * 3600));
    world.run_jobs().await;
    let page = overview("b@example.com").await;
    let place = |name: &str| page.find(&format!(">{name}<")).unwrap();
    assert!(place("Sooner") < place("Later") && place("Later") < place("Far"), "{page}");
    assert_eq!(["Sooner", "Later", "Far"].map(|name| is_urgent(&page, name)), [true, true, false]);
    assert!(row(&page, "Sooner").unwrap().contains("No caller has used the new secret"));
    assert!(page.contains(&format!("/clients/{}/environments/production/security", clients[1].id)));
    let owner = world.signed_in().await;
    let page = owner
        .get(&format!("/console/clients/{}/environments/production/security", clients[1].id))
        .await
        .page(200);
    assert!(page.contains("The deadline guard warned"), "{page}");

    // The new secret of one is used, and nobody is left on its old one; of the other a person ends it.
    let it = clients[0].registration("production");
    let secrets = world.owner().await.get(&clients[0].path("production", "/secrets")).await.ok();
    let path = clients[0]
        .path("production", &format!("/secrets/{}/reveal", secrets["items"][0]["id"].as_str().unwrap()));
    let value = world.owner().await.post(&path, serde_json::json!({})).await.ok()["value"]
        .as_str()
        .unwrap()
        .to_owned();
    world.oauth("production").token(&it.client_id, &value).await.is_token();
    let page = overview("c@example.com").await;
    assert_eq!(["Sooner", "Later"].map(|name| is_urgent(&page, name)), [true, false]);
    let it = clients[1].registration("production");
    let path = clients[1].path("production", &format!("/secrets/{}/revoke", it.secret_id));
    world.owner().await.post(&path, serde_json::json!({"reason": "enough"})).await.ok();
    assert!(row(&overview("d@example.com").await, "Sooner").is_none(), "its transition is over");
}
