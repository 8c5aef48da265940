//! Properties, environments and the trail.

use crate::world::on_both_engines;
use std::time::Duration;

on_both_engines! {
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
        for (who, role) in [("rosa@example.com", "secret_rotator"), ("vera@example.com", "viewer"), ("amir@example.com", "auditor")] {
            world.user(who, role).await;
        }
        let told = world.signed_in().await.get(&path).await.page(200);
        let table = told.split("id=\"rotators\"").nth(1).unwrap();
        assert!(table.contains(">rosa</a>") && table.contains("Secret Rotator") && table.contains("Owner"), "{table}");
        assert!(!table.contains(">vera</a>") && !table.contains(">amir</a>"), "{table}");
        let viewer = world.person("vic@example.com", "viewer").await.get(&path).await.page(200);
        assert!(!viewer.contains("rosa") && viewer.contains("Who may rotate its secrets"), "{viewer}");
    }

    async fn one_s_own_tokens_are_listed_page_by_page(world: World) {
        let browser = world.signed_in().await;
        let names: Vec<String> = (0..51).map(|n| format!("laptop-{n:02}")).collect();
        for name in &names {
            browser.post("/console/account/tokens", &[("name", name.as_str()), ("expires_days", "30")]).await.page(200);
        }
        let (mut path, mut seen, mut pages) = ("/console/account".to_owned(), Vec::new(), 0);
        loop {
            let page = browser.get(&path).await.page(200);
            seen.extend(names.iter().filter(|name| page.contains(&format!(">{name}<"))).cloned());
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
        let page = auditor.get(&format!("/console/audit?action=client.created&client={}", client.id)).await.page(200);
        assert!(page.contains("<code>client.created</code>") && !page.contains("<code>session.created</code>"), "{page}");
        assert!(auditor.get("/console/audit?since=yesterday").await.page(400).contains("aria-invalid"));
        let export = auditor.get("/console/audit/export?action=client.created").await;
        assert_eq!(export.header("content-type"), Some("application/jsonl"));
        assert_eq!(export.text().lines().count(), 1);
    }

    async fn the_settings_of_an_environment_come_back_with_what_was_typed(world: World) {
        let browser = world.signed_in().await;
        let form = |days| [("name", "Production"), ("kind", "live"), ("signing_alg", "ES256"), ("position", "2"),
            ("wipe_after_days", "30"), ("max_age_days", days)];
        let page = browser.post("/console/environments/production", &form("0")).await.page(422);
        assert!(page.contains("name=\"max_age_days\"") && page.contains("aria-invalid"), "{page}");
        assert_eq!(browser.post("/console/environments/production", &form("")).await.status.as_u16(), 303);
        assert!(browser.get("/console/environments").await.page(200).contains("No limit"));
        let policy = |hours| [("name", "Production"), ("kind", "live"), ("signing_alg", "ES256"), ("position", "2"),
            ("wipe_after_days", "30"), ("guard_extension_hours", hours)];
        let page = browser.post("/console/environments/production", &policy("169")).await.page(422);
        assert!(page.contains("whole number of hours from 1 to 168") && page.contains("aria-invalid"), "{page}");
        assert_eq!(browser.post("/console/environments/production", &policy("12")).await.status.as_u16(), 303);
        assert_eq!(world.number("SELECT guard_extension_hours FROM environments WHERE slug = 'production'").await, 12);
        assert_eq!(browser.post("/console/environments/production", &policy("")).await.status.as_u16(), 303);
        assert_eq!(world.number("SELECT COUNT(*) FROM environments WHERE guard_extension_hours IS NOT NULL").await, 0);
    }

    async fn the_overview_names_near_deadlines_that_were_told_of_while_the_old_secret_is_needed(world: World) {
        let near = async |who: &str| world.person(who, "viewer").await.get("/console").await.page(200);
        let mut clients = Vec::new();
        for (name, hours) in [("Later", 30), ("Sooner", 26), ("Far", 168)] {
            let client = world.client(name, &["production"]).await;
            world.owner().await.post(&client.path("production", "/secrets/rotate"), client.rotation(hours)).await.created();
            clients.push(client);
        }
        world.advance(Duration::from_secs(6 * 3600));
        assert!(!near("a@example.com").await.contains("Deadlines that are near"), "nobody was told yet");
        world.run_jobs().await;
        let page = near("b@example.com").await;
        let section = page.split("Deadlines that are near").nth(1).unwrap().split("</section>").next().unwrap();
        let place = |name: &str| section.find(&format!(">{name}<"));
        assert!(place("Sooner").unwrap() < place("Later").unwrap() && place("Far").is_none(), "{section}");
        assert!(section.contains("the new secret has not been used") && section.contains(&format!("/clients/{}/environments/production/security", clients[1].id)));
        let owner = world.signed_in().await;
        let page = owner.get(&format!("/console/clients/{}/environments/production/security", clients[1].id)).await.page(200);
        assert!(page.contains("The deadline guard warned"), "{page}");

        // The new secret of one is used, and nobody is left on its old one; of the other a person ends it.
        let it = clients[0].registration("production");
        let secrets = world.owner().await.get(&clients[0].path("production", "/secrets")).await.ok();
        let path = clients[0].path("production", &format!("/secrets/{}/reveal", secrets["items"][0]["id"].as_str().unwrap()));
        let value = world.owner().await.post(&path, serde_json::json!({})).await.ok()["value"].as_str().unwrap().to_owned();
        world.oauth("production").token(&it.client_id, &value).await.is_token();
        let page = near("c@example.com").await;
        let section = page.split("Deadlines that are near").nth(1).unwrap().split("</section>").next().unwrap();
        assert!(section.contains(">Sooner<") && !section.contains(">Later<"), "{section}");
        let it = clients[1].registration("production");
        let path = clients[1].path("production", &format!("/secrets/{}/revoke", it.secret_id));
        world.owner().await.post(&path, serde_json::json!({"reason": "enough"})).await.ok();
        assert!(!near("d@example.com").await.contains("Deadlines that are near"));
    }
}
