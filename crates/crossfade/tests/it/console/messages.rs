//! Messages about what a form did, and secrets in addresses.

use super::browser::Browser;
use crate::engines::on_both_engines;
use crate::world::World;
use base64::{Engine, engine::general_purpose::STANDARD};

on_both_engines! {
    a_message_is_shown_once,
    no_address_shows_a_message,
    a_message_is_for_one_page_and_one_person,
    two_tabs_keep_their_messages_apart,
    a_secret_in_an_address_is_removed_and_named,
    a_sign_in_leads_to_no_address_with_a_secret,
}

/// The name and the value of the only message that waits.
fn waiting(browser: &Browser<'_>) -> (String, String) {
    let jar = browser.jar();
    let mut found = jar.iter().filter(|(name, _)| name.contains("_done_"));
    let (name, value) = found.next().unwrap();
    assert!(found.next().is_none(), "{jar:?}");
    (name.clone(), value.clone())
}

const CREATED: &str = "The property was created.";

async fn create(browser: &Browser<'_>, name: &str) {
    let answer = browser.post("/console/properties", &[("name", name)]).await;
    assert_eq!(answer.leads_to(), "/console/properties");
    let cookie = answer.header("set-cookie").unwrap();
    for part in ["; HttpOnly", "; SameSite=Lax", "; Path=/", "; Max-Age=60"] {
        assert!(cookie.contains(part), "{cookie}");
    }
}

async fn a_message_is_shown_once(world: World) {
    let browser = world.signed_in().await;
    create(&browser, "Shop").await;
    let background = [("crossfade-background", "1")];
    let fetched = browser.send(http::Method::GET, "/console/properties", None, &background).await;
    assert!(!fetched.text().contains(CREATED), "a request of a script leaves it for the page");
    browser.get("/console/clients").await.page(200);
    assert!(browser.get("/console/properties").await.page(200).contains(CREATED));
    assert!(!browser.get("/console/properties").await.page(200).contains(CREATED));
    assert!(browser.jar().keys().all(|name| !name.contains("_done_")));
}

async fn no_address_shows_a_message(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let browser = world.signed_in().await;
    let environment = format!("/console{}", client.path("production", ""));
    let words = [
        "rotated",
        "revoked",
        "extended",
        "rolled-back",
        "created",
        "added",
        "saved",
        "disabled",
        "enabled",
        "drill-stopped",
        "deleted",
        "renamed",
        "key",
        "password",
        "password-tokens",
        "ended",
        "token-deleted",
        "changed",
        "given",
        "taken",
        "secret-in-address",
    ];
    let client = format!("/console/clients/{}", client.id);
    for page in [
        &format!("{environment}/credentials"),
        &format!("{environment}/security"),
        &format!("{environment}/settings"),
        &client,
        &format!("{client}/settings"),
        "/console/clients",
        "/console/properties",
        "/console/environments",
        "/console/environments/production",
        "/console/people",
        "/console/account",
    ] {
        for word in words {
            let html = browser.get(&format!("{page}?done={word}")).await.page(200);
            assert!(!html.contains("data-once"), "{page}?done={word}");
        }
    }
    let stranger = world.browser();
    for word in ["out", "everywhere", "everywhere-tokens"] {
        assert!(
            !stranger.get(&format!("/console/sign-in?done={word}")).await.page(200).contains("data-once"),
            "{word}"
        );
    }
}

async fn a_message_is_for_one_page_and_one_person(world: World) {
    let (browser, bob) =
        (world.signed_in().await, world.person("bob@example.com", "operations_manager").await);
    create(&browser, "Shop").await;
    let (name, value) = waiting(&browser);
    let (word, code) = value.split_once('.').unwrap();
    assert_eq!(word, "created");
    bob.jar().insert(name.clone(), value.clone());
    assert!(!bob.get("/console/properties").await.page(200).contains("data-once"), "of somebody else");
    for forged in
        [format!("deleted.{code}"), "created".to_owned(), "created.".to_owned(), "deleted.0".to_owned()]
    {
        browser.jar().insert(name.clone(), forged.clone());
        assert!(!browser.get("/console/properties").await.page(200).contains("data-once"), "{forged}");
    }
    browser.jar().insert(name, value);
    assert!(browser.get("/console/properties").await.page(200).contains(CREATED));
}

async fn two_tabs_keep_their_messages_apart(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let browser = world.signed_in().await;
    create(&browser, "Shop").await;
    let settings = format!("/console{}", client.path("production", "/settings"));
    let disable = [("change", "disable"), ("confirm_client_name", "Billing"), ("reason", "test")];
    assert_eq!(browser.post(&settings, &disable).await.leads_to(), settings);
    assert!(browser.get("/console/properties").await.page(200).contains(CREATED));
    assert!(browser.get(&settings).await.page(200).contains("The registration was disabled."));
}

async fn a_secret_in_an_address_is_removed_and_named(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let secret = client.registration("production").secret.clone();
    let browser = world.signed_in().await;
    let basic = format!("Basic {}", STANDARD.encode(format!("id:{secret}")));
    for page in ["/console", "/console/clients", "/console/people", "/console/audit"] {
        for pasted in [&secret, &basic] {
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair("q", pasted)
                .append_pair("environment", "production")
                .finish();
            let answer = browser.get(&format!("{page}?{query}")).await;
            assert_eq!(answer.leads_to(), format!("{page}?environment=production"));
            let html = browser.get(answer.leads_to()).await.page(200);
            assert!(
                html.contains("The address of this page contained a secret.")
                    && html.contains("Rotate or revoke"),
                "{html}"
            );
            assert!(!html.contains(secret.as_str()));
            assert!(!browser.get(page).await.page(200).contains("contained a secret"), "once");
        }
    }
    let stranger = world.browser();
    let answer = stranger.get(&format!("/console/clients?q={secret}")).await;
    assert_eq!(answer.leads_to(), "/console/clients");
    // The sign-in page names it to whoever is not signed in.
    let sign_in = stranger.get(answer.leads_to()).await.leads_to().to_owned();
    assert!(stranger.get(&sign_in).await.page(200).contains("contained a secret"), "{sign_in}");
    assert!(!stranger.get(&sign_in).await.page(200).contains("contained a secret"), "once");
    // A redirect hands it on, and so does a page that is not there.
    let environment = format!("/console{}", client.path("production", ""));
    let mut to = format!("{environment}?{secret}");
    for _ in 0..2 {
        to = browser.get(&to).await.leads_to().to_owned();
    }
    assert!(browser.get(&to).await.page(200).contains("contained a secret"), "{to}");
    let missing = "/console/clients/cl_0000000000000000000009";
    browser.get(&format!("{missing}?{secret}")).await.leads_to();
    assert!(browser.get(missing).await.page(404).contains("contained a secret"));
    assert!(
        browser.get(&format!("/console/clients/{secret}")).await.page(404).contains("contained a secret")
    );
}

async fn a_sign_in_leads_to_no_address_with_a_secret(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let to = format!("/console/clients?q={}", client.registration("production").secret);
    let stranger = world.browser();
    let form = [("email", "owner@example.com"), ("password", "not the password"), ("to", &to)];
    let refused = stranger.post("/console/sign-in", &form).await;
    assert!(!refused.text().contains("crossfade_live_"), "{}", refused.text());
}
