//! The access review: who holds which role, and why; what a person may do, and who may do something to a client.

use crate::engines::on_both_engines;
use crate::world::{OWNER, World};
use serde_json::{Value, json};
use std::time::Duration;

on_both_engines! {
    each_role_is_listed_with_its_holder_and_its_scope,
    who_may_rotate_a_secret_is_exactly_who_can,
    the_review_is_paged_by_account,
    an_account_was_last_active_with_its_session_or_token,
    filters_that_name_nothing_are_refused,
    a_token_that_reads_users_alone_learns_no_names_of_clients,
    a_role_is_removed_from_the_review_and_exported,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text")).to_owned()
}

async fn grant(world: &World, email: &str, body: Value) -> String {
    let owner = world.owner().await;
    let found = owner.get(&format!("/users?q={email}")).await.ok();
    let user = match found["items"].as_array().unwrap().first() {
        Some(user) => text(&user["id"]),
        None => text(&owner.post("/users", json!({"email": email})).await.created()["id"]),
    };
    owner.post(&format!("/users/{user}/grants"), body).await.created();
    user
}

async fn listed(world: &World, query: &str) -> Vec<Value> {
    let found = world.owner().await.get(&format!("/access?{query}")).await.ok();
    found["items"].as_array().unwrap().clone()
}

fn holders(rows: &[Value]) -> Vec<(&str, &str)> {
    rows.iter()
        .map(|it| (it["user"]["email"].as_str().unwrap(), it["grant"]["role"].as_str().unwrap()))
        .collect()
}

async fn each_role_is_listed_with_its_holder_and_its_scope(world: World) {
    let billing = world.client("Billing", &["staging", "production"]).await;
    world.advance(Duration::from_secs(60));
    let rotator = json!({"role": "secret_rotator", "client_id": billing.id, "environments": ["staging"]});
    grant(&world, "grace@example.com", rotator).await;
    let rows = listed(&world, "").await;
    assert_eq!(holders(&rows), [(OWNER, "owner"), ("grace@example.com", "secret_rotator")]);
    let of = &rows[1];
    assert_eq!((&of["client_name"], &of["property_name"]), (&json!("Billing"), &Value::Null));
    assert_eq!((&of["grant"]["environments"], &of["provider_name"]), (&json!(["staging"]), &Value::Null));
    assert_eq!(of["grant"]["created_at"], json!(world.now()));
    let permissions: Vec<&str> =
        of["permissions"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert!(
        permissions.contains(&"secret:rotate") && !permissions.contains(&"client:manage"),
        "{permissions:?}"
    );
    let grace = text(&of["user"]["id"]);
    assert_eq!(
        holders(&listed(&world, &format!("user={grace}")).await),
        [("grace@example.com", "secret_rotator")]
    );
}

/// Compared with what each account can do, for every scope.
async fn who_may_rotate_a_secret_is_exactly_who_can(world: World) {
    let billing = world.client("Billing", &["staging", "production"]).await;
    let other = world.client("Other", &["staging"]).await;
    let owner = world.owner().await;
    let property = text(&owner.get(&format!("/clients/{}", billing.id)).await.ok()["property_id"]);
    let cases = [
        ("a@example.com", json!({"role": "secret_rotator"})),
        ("b@example.com", json!({"role": "secret_rotator", "environments": ["production"]})),
        ("c@example.com", json!({"role": "secret_rotator", "property_id": property})),
        (
            "d@example.com",
            json!({"role": "secret_rotator", "client_id": billing.id, "environments": ["staging"]}),
        ),
        ("e@example.com", json!({"role": "secret_rotator", "client_id": other.id})),
        ("f@example.com", json!({"role": "secret_viewer"})),
        ("g@example.com", json!({"role": "operations_manager"})),
    ];
    for (email, body) in &cases {
        grant(&world, email, body.clone()).await;
    }
    for environment in ["staging", "production"] {
        let query = format!("client={}&environment={environment}&permission=secret:rotate", billing.id);
        let rows = listed(&world, &query).await;
        let found: Vec<&str> = holders(&rows).into_iter().map(|(email, _)| email).collect();
        for (email, _) in &cases {
            let token = world.token_of(email, &[]).await;
            let path = billing.path(environment, "/secrets/rotate");
            // A body that nobody may send is refused after the permission is checked.
            let status = token.post(&path, json!({})).await.status.as_u16();
            assert_eq!(found.contains(email), status == 422, "{email} {environment} {status}");
        }
        assert!(found.contains(&OWNER), "{found:?}");
    }
    let by_name = listed(&world, "client=Billing&environment=staging&permission=secret:rotate").await;
    assert_eq!(by_name.len(), 4, "{by_name:?}");
}

async fn the_review_is_paged_by_account(world: World) {
    world.owner().await;
    for n in 0..3 {
        world.advance(Duration::from_secs(1));
        for role in ["viewer", "auditor"] {
            grant(&world, &format!("p{n}@example.com"), json!({"role": role})).await;
        }
    }
    let owner = world.owner().await;
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let found = owner.get(&format!("/access?limit=2{cursor}")).await.ok();
        all.extend(found["items"].as_array().unwrap().iter().map(|it| text(&it["user"]["email"])));
        match found["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let expected = [
        OWNER,
        "p0@example.com",
        "p0@example.com",
        "p1@example.com",
        "p1@example.com",
        "p2@example.com",
        "p2@example.com",
    ];
    assert_eq!(all, expected);
}

async fn an_account_was_last_active_with_its_session_or_token(world: World) {
    let active = async |email: &str| {
        let rows = listed(&world, "").await;
        let row = rows.into_iter().find(|it| it["user"]["email"] == email).unwrap();
        row["user"]["last_active_at"].clone()
    };
    world.owner().await;
    world.user("bob@example.com", "viewer").await;
    assert_eq!(active("bob@example.com").await, Value::Null);
    let bob = world.token_of("bob@example.com", &[]).await;
    world.advance(Duration::from_secs(3600));
    bob.get("/clients").await.ok();
    let used = world.now();
    world.run_jobs().await;
    assert_eq!(active("bob@example.com").await, json!(used));
    let browser = world.person("eve@example.com", "viewer").await;
    let signed_in = world.now();
    assert_eq!(active("eve@example.com").await, json!(signed_in));
    world.advance(Duration::from_secs(120));
    browser.get("/console/clients").await.page(200);
    assert_eq!(active("eve@example.com").await, json!(world.now()));
    // It outlives the rows of sessions, which are kept for 30 days.
    let last = world.now();
    world.advance(Duration::from_secs(40 * 86_400));
    world.signed_in_as(OWNER).await;
    assert_eq!(active("eve@example.com").await, json!(last));
}

async fn filters_that_name_nothing_are_refused(world: World) {
    let owner = world.owner().await;
    for (query, status, code) in [
        ("user=ada", 400, "invalid_query"),
        ("environment=nowhere", 400, "invalid_query"),
        ("permission=everything", 400, "invalid_query"),
        ("who=ada", 400, "invalid_query"),
        ("client=Nothing", 400, "invalid_query"),
    ] {
        owner.get(&format!("/access?{query}")).await.refused(status, code);
    }
    let viewer = world.user("bob@example.com", "viewer").await;
    viewer.get("/access").await.refused(403, "forbidden");
    let page = world.signed_in().await.get("/console/access?client=Nothing").await.page(400);
    assert!(page.contains("must be the ID or the unique name of a client"), "{page}");
}

async fn a_token_that_reads_users_alone_learns_no_names_of_clients(world: World) {
    let billing = world.client("Billing", &["staging"]).await;
    grant(&world, "grace@example.com", json!({"role": "viewer", "client_id": billing.id})).await;
    let limited = world.token_of(OWNER, &["user:read"]).await;
    let rows = limited.get("/access").await.ok();
    assert!(rows["items"].as_array().unwrap().iter().all(|it| it["client_name"].is_null()), "{rows}");
    limited.get("/access?client=Billing").await.refused(400, "invalid_query");
}

async fn a_role_is_removed_from_the_review_and_exported(world: World) {
    let browser = world.signed_in().await;
    let grace = grant(&world, "grace@example.com", json!({"role": "viewer"})).await;
    let page = browser.get("/console/access?permission=client:read").await.page(200);
    assert!(page.contains("grace@example.com") && page.contains("Granted manually"), "{page}");
    let export = browser.get("/console/access/export").await;
    assert_eq!(export.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    let lines: Vec<String> = export.text().lines().map(str::to_owned).collect();
    assert!(lines[0].starts_with("user_id,user_kind,") && lines.len() == 3, "{lines:?}");
    let of_grace = lines.iter().find(|line| line.contains("grace@example.com")).unwrap();
    assert!(of_grace.contains(",viewer,platform,,,,") && of_grace.contains(",manual,,"), "{of_grace}");
    let elsewhere = browser
        .send(http::Method::GET, "/console/access/export", None, &[("sec-fetch-site", "cross-site")])
        .await;
    assert_eq!(elsewhere.status.as_u16(), 403);
    browser.get("/console/access/export?permission=client:manage").await;
    let trail = world.owner().await.get("/audit-events?action=access.exported").await.ok();
    let details = |at: usize| &trail["items"][at]["details"];
    assert_eq!(details(0), &json!({"filter": "permission=client:manage", "roles": 1}));
    assert_eq!(
        (details(1), trail["items"].as_array().unwrap().len()),
        (&json!({"filter": "", "roles": 2}), 2)
    );
    let role =
        page.split(&format!("/console/people/{grace}/grants/")).nth(1).unwrap().split('/').next().unwrap();
    let remove = format!("/console/people/{grace}/grants/{role}/delete");
    let removed = browser.post(&remove, &[("to", "/console/access?permission=client:read")]).await;
    assert_eq!(removed.leads_to(), "/console/access?permission=client:read");
    assert!(!browser.get("/console/access").await.page(200).contains("grace@example.com"));
    let evil = grant(&world, "grace@example.com", json!({"role": "viewer"})).await;
    let page = browser.get("/console/access").await.page(200);
    let role =
        page.split(&format!("/console/people/{evil}/grants/")).nth(1).unwrap().split('/').next().unwrap();
    let removed = browser
        .post(&format!("/console/people/{evil}/grants/{role}/delete"), &[("to", "https://evil.example/")])
        .await;
    assert_eq!(removed.leads_to(), format!("/console/people/{evil}"));
}
