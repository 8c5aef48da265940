//! What every request to the Console passes: where it comes from, headers, errors in words.

use super::{
    browser::PASSWORD,
    forms::{FRESH, NOT_FRESH},
};
use crate::engines::on_both_engines;
use crate::world::{Answer, OWNER, World};
use http::Method;

on_both_engines! {
    another_site_changes_nothing,
    a_link_from_elsewhere_finds_one_signed_in,
    no_page_lacks_what_protects_it,
    over_plain_http_on_this_machine_the_cookie_has_a_plain_name,
    a_second_instance_on_the_same_host_leaves_the_first_signed_in,
    over_plain_http_behind_a_proxy_forms_still_say_where_they_come_from,
    errors_are_told_in_words_and_to_a_script_in_json,
    assets_are_kept_for_ever_under_the_address_that_names_their_content,
    the_theme_is_kept_without_a_sign_in,
}

/// Everything that the Console shows.
const PAGES: &[&str] =
    &["/console/people", "/console/people?q=zzz", "/console/people/{}", "/console/account"];

async fn some_account(world: &World) -> String {
    let users = world.owner().await.get("/users?q=bob").await.ok();
    users["items"][0]["id"].as_str().unwrap().to_owned()
}

async fn another_site_changes_nothing(world: World) {
    let browser = world.signed_in().await;
    world.person("bob@example.com", "viewer").await;
    let bob = some_account(&world).await;
    let state = "SELECT (SELECT COUNT(*) FROM users WHERE deleted_at IS NULL) * 1000000 + (SELECT COUNT(*) FROM grants) * 10000
            + (SELECT COUNT(*) FROM sessions WHERE ended_at IS NULL) * 100 + (SELECT COUNT(*) FROM links)";
    let before = world.number(state).await;
    let all = [
        ("email", OWNER),
        ("password", PASSWORD),
        ("current_password", PASSWORD),
        ("repeated", "x"),
        ("theme", "dark"),
        ("name", "x"),
        ("kind", "person"),
        ("role", "viewer"),
        ("scope", "platform"),
        ("confirm_password", PASSWORD),
    ];
    for path in FRESH.iter().chain(NOT_FRESH) {
        let path = path.replace("{user}", &bob).replace(['{', '}'], "");
        for headers in [
            &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")][..],
            &[("sec-fetch-site", "same-site"), ("origin", "https://auth.example.com")],
            &[("origin", "https://evil.example"), ("host", "auth.example.com")],
            &[("origin", "null")],
            &[("origin", "http://auth.example.com")],
        ] {
            let answer = browser.post_with(&path, &all, headers).await;
            assert!(answer.page(403).contains("from another site"), "{path} {headers:?}");
            assert!(answer.header("set-cookie").is_none(), "{path} {headers:?}");
        }
        // A link is followed from anywhere; so it changes nothing.
        let cross = [("sec-fetch-site", "cross-site")];
        let followed = browser.send(Method::GET, &format!("{path}?name=x&theme=dark"), None, &cross).await;
        assert!([200, 303, 404, 405, 422].contains(&followed.status.as_u16()), "{path} {}", followed.status);
        assert!(followed.header("set-cookie").is_none(), "{path}");
    }
    assert_eq!(world.number(state).await, before);
    assert!(browser.is_signed_in().await);
}

async fn a_link_from_elsewhere_finds_one_signed_in(world: World) {
    let browser = world.signed_in().await;
    let answer =
        browser.send(Method::GET, "/console/account", None, &[("sec-fetch-site", "cross-site")]).await;
    answer.page(200);
}

async fn no_page_lacks_what_protects_it(world: World) {
    let browser = world.signed_in().await;
    world.person("bob@example.com", "viewer").await;
    let bob = some_account(&world).await;
    let mut answers = vec![
        world.browser().get("/console/sign-in").await,
        world.browser().get("/console/link").await,
        world.browser().get("/console").await,
        browser.get("/console/nowhere").await,
        world.browser().get("/console/nowhere").await,
        browser.get("/console/session").await,
        browser.post("/console/sign-in", &[]).await,
        browser.script("/console/account/tokens/x/delete", &[]).await,
    ];
    for path in PAGES {
        answers.push(browser.get(&path.replace("{}", &bob)).await);
    }
    for answer in &answers {
        assert_protected(answer, "");
    }
}

/// Checks that an answer of the Console has every header that protects it, and no code of its own.
#[track_caller]
pub fn assert_protected(answer: &Answer, path: &str) {
    for (name, value) in [
        (
            "content-security-policy",
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("strict-transport-security", "max-age=31536000"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{path}: {name} of {} {}", answer.status, answer.text());
    }
    let html = answer.text();
    for inline in [" style=", "<style", " onclick=", " onsubmit=", "javascript:", "http-equiv"] {
        assert!(!html.contains(inline), "{path}: {inline}");
    }
    for (at, _) in html.match_indices("<script") {
        let script = &html[at..];
        assert!(script.starts_with("<script type=\"module\" src=\"/console/assets/"), "{path}: {script}");
    }
}

async fn over_plain_http_on_this_machine_the_cookie_has_a_plain_name(mut world: World) {
    world.owner().await;
    world.restart_under("http://127.0.0.1:8080").await;
    let browser = world.browser();
    let answer = browser.sign_in(OWNER, PASSWORD).await;
    let cookie = answer.header("set-cookie").unwrap();
    assert!(browser.name_of("session").starts_with("crossfade_"));
    assert!(
        cookie.starts_with(&format!("{}=", browser.name_of("session")))
            && cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
        "{cookie}"
    );
    assert!(browser.is_signed_in().await);
    assert_eq!(answer.header("strict-transport-security"), None);
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
}

/// RFC 6265 §8.5: a browser sends the cookies of every port of a host to each of them.
async fn a_second_instance_on_the_same_host_leaves_the_first_signed_in(mut world: World) {
    world.owner().await;
    world.restart_under("http://127.0.0.1:8080").await;
    let browser = world.browser();
    browser.sign_in(OWNER, PASSWORD).await;
    browser.post("/console/theme", &[("theme", "dark")]).await;
    let jar: Vec<_> = browser.jar().clone().into_iter().collect();
    // The other one is a copy: it knows the same accounts, keys and sessions.
    world.restart_under("http://127.0.0.1:8081").await;
    let browser = world.browser();
    browser.jar().extend(jar.clone());
    assert!(!browser.is_signed_in().await, "a cookie of the other port");
    assert!(!browser.get("/console/sign-in").await.page(200).contains("data-theme"));
    browser.sign_in(OWNER, PASSWORD).await;
    browser.post("/console/sign-out", &[]).await;
    for (name, value) in &jar {
        assert_eq!(browser.jar().get(name), Some(value), "{name}");
    }
    let jar = browser.jar().clone();
    world.restart_under("http://127.0.0.1:8080").await;
    let browser = world.browser();
    *browser.jar() = jar;
    assert!(browser.is_signed_in().await);
}

/// Such a browser sends no `Sec-Fetch-Site`; without a referrer it would send no usable `Origin` either.
async fn over_plain_http_behind_a_proxy_forms_still_say_where_they_come_from(mut world: World) {
    world.owner().await;
    world.restart_under("http://auth.internal").await;
    let browser = world.browser();
    let page = browser.get("/console/sign-in").await;
    assert_eq!(page.header("referrer-policy"), Some("same-origin"));
    assert_eq!(page.header("cross-origin-opener-policy"), None, "browsers report it as an error there");
    let fields = [("email", OWNER), ("password", PASSWORD)];
    let own = browser.post_with("/console/sign-in", &fields, &[("origin", "http://auth.internal")]).await;
    assert_eq!(own.status.as_u16(), 303);
    let other = browser.post_with("/console/sign-in", &fields, &[("origin", "http://evil.internal")]).await;
    assert_eq!(other.status.as_u16(), 403);
}

async fn errors_are_told_in_words_and_to_a_script_in_json(world: World) {
    let browser = world.signed_in().await;
    let missing = browser.get("/console/people/usr_0000000000000000000009").await.page(404);
    assert!(
        missing.contains("<h1>Not found</h1>") && missing.contains("Account: "),
        "in the frame: {missing}"
    );
    assert_eq!(world.browser().get("/").await.leads_to(), "/console");
    let stranger = world.browser().get("/console/nowhere").await.page(404);
    assert!(stranger.contains("<h1>Not found</h1>") && !stranger.contains("Account: "));
    assert_eq!(
        browser.send(Method::PUT, "/console/account", None, &[]).await.page(405).matches("<h1>").count(),
        1
    );
    let script = browser.script("/console/people/usr_0000000000000000000009/link", &[]).await;
    assert_eq!((script.status.as_u16(), script.json()["code"].as_str()), (404, Some("not_found")));
    let out = world.browser().script("/console/people", &[]).await;
    assert_eq!((out.status.as_u16(), out.json()["code"].as_str()), (401, Some("unauthenticated")));
    for path in [
        "clients/a%0Ab/environments/c",
        "clients/%ff",
        "clients/a%2Fb",
        "people/%00",
        "clients/a/environments/%0d%0aset-cookie:x/rotate",
    ] {
        let nowhere = browser.get(&format!("/console/{path}")).await.page(404);
        assert!(nowhere.contains("<h1>Not found</h1>") && nowhere.contains("Account: "), "{path}: {nowhere}");
    }
    let json = [("sec-fetch-site", "same-origin"), ("content-type", "application/json")];
    let wrong = browser.send(Method::POST, "/console/people", Some("{}".into()), &json).await;
    assert_eq!(wrong.status.as_u16(), 422);
    let large = "x".repeat(70_000);
    assert_eq!(browser.post("/console/people", &[("name", &large)]).await.status.as_u16(), 413);
}

async fn assets_are_kept_for_ever_under_the_address_that_names_their_content(world: World) {
    let html = world.browser().get("/console/sign-in").await.page(200);
    let mut seen = 0;
    for (at, _) in html.match_indices("/console/assets/") {
        let address = html[at..].split('"').next().unwrap();
        let answer = world.browser().get(address).await;
        assert_eq!(answer.status.as_u16(), 200, "{address}");
        assert_eq!(answer.header("cache-control"), Some("public, max-age=31536000, immutable"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert!(!answer.text().contains("http://") || address.contains(".svg"), "no other host");
        let (path, version) = address.split_once("?v=").unwrap();
        assert_eq!(version.len(), 16);
        for other in [path.to_owned(), format!("{path}?v=0123456789abcdef"), format!("{address}0")] {
            assert_eq!(
                world.browser().get(&other).await.header("cache-control"),
                Some("no-cache"),
                "{other}"
            );
        }
        seen += 1;
    }
    assert_eq!(seen, 3);
}

async fn the_theme_is_kept_without_a_sign_in(world: World) {
    let browser = world.browser();
    assert!(browser.get("/console/sign-in").await.page(200).contains("<html lang=\"en\">"));
    assert_eq!(
        browser.post("/console/theme", &[("theme", "dark"), ("to", "/docs/roles")]).await.leads_to(),
        "/docs/roles"
    );
    assert!(browser.get("/docs/roles").await.page(200).contains("<html lang=\"en\" data-theme=\"dark\">"));
    assert!(browser.get("/console/sign-in").await.page(200).contains("data-theme=\"dark\""));
    assert_eq!(browser.script("/console/theme", &[("theme", "system")]).await.status.as_u16(), 200);
    assert!(browser.get("/console/sign-in").await.page(200).contains("<html lang=\"en\">"));
    assert_eq!(browser.post("/console/theme", &[("theme", "\"><script>")]).await.status.as_u16(), 422);
    browser.jar().insert(browser.name_of("theme"), "\"><b>".into());
    assert!(browser.get("/console/sign-in").await.page(200).contains("<html lang=\"en\">"));
}
