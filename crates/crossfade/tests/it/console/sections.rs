//! Properties, environments and the trail.

use crate::world::on_both_engines;

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
    }
}
