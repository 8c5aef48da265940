//! What is seen from outside: request ids, metrics, the OpenAPI document.

use crate::engines::{on_both_engines, on_sqlite};
use crate::world::{Answer, World};
use axum::body::Body;
use http::Request;
use serde_json::json;
use std::{net::IpAddr, time::Duration};

on_both_engines! {
    metrics_are_for_this_machine_or_a_token,
    metrics_of_another_host_need_a_token,
    metrics_count_what_happened_and_name_nobody,
    metrics_show_warned_secrets_lost_evidence_and_failed_jobs,
    a_declared_proxy_that_cannot_be_read_is_noted_for_doctor,
    a_request_has_an_id_that_only_a_declared_proxy_may_give,
}

on_sqlite! {
    metrics_show_the_disk_of_the_database,
    the_openapi_document_is_open_to_everybody_and_says_3_1,
    constant_pages_and_assets_are_sent_once_to_each_reader,
}

const HERE: [u8; 4] = [127, 0, 0, 1];
const AFAR: [u8; 4] = [192, 0, 2, 9];

async fn get(world: &World, path: &str, from: [u8; 4], headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    world.send(request.body(Body::empty()).unwrap(), IpAddr::from(from)).await
}

/// The value of a series, written as it stands in the text.
fn value(metrics: &str, series: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{metrics}")).parse().unwrap()
}

async fn metrics_are_for_this_machine_or_a_token(mut world: World) {
    let token = format!("Bearer {}", world.owner().await.token.unwrap());
    assert_eq!(get(&world, "/metrics", HERE, &[]).await.status, 200);
    for headers in
        [&[][..], &[("authorization", "Bearer crossfade_api_x")], &[("authorization", "Basic eA==")]]
    {
        assert_eq!(get(&world, "/metrics", AFAR, headers).await.status, 401, "{headers:?}");
    }
    assert_eq!(get(&world, "/metrics", AFAR, &[("authorization", &token)]).await.status, 200);
    // A proxy on this machine that was not declared makes everybody look local; what it forwards is not.
    for name in ["x-forwarded-for", "forwarded", "x-real-ip"] {
        assert_eq!(get(&world, "/metrics", HERE, &[(name, "127.0.0.1")]).await.status, 401, "{name}");
    }
    world.trust(&["127.0.0.1/32"]);
    assert_eq!(get(&world, "/metrics", HERE, &[("x-forwarded-for", "192.0.2.9")]).await.status, 401);
    assert_eq!(get(&world, "/metrics", HERE, &[("x-forwarded-for", "127.0.0.1")]).await.status, 401);
    assert_eq!(get(&world, "/metrics", HERE, &[]).await.status, 200);
}

async fn metrics_of_another_host_need_a_token(world: World) {
    let token = format!("Bearer {}", world.owner().await.token.unwrap());
    for host in
        ["127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:8080", "127.3.2.1", "[::ffff:127.0.0.1]"]
    {
        assert_eq!(get(&world, "/metrics", HERE, &[("host", host)]).await.status, 200, "{host}");
    }
    // A name of a stranger's can lead to 127.0.0.1, and then a browser here sends the request.
    for host in [
        "evil.example",
        "localhost.evil.example:8080",
        "127.0.0.1.nip.io",
        "10.0.0.1",
        "0.0.0.0:8080",
        "[::]",
        "",
        "é",
        "evil@127.0.0.1",
    ] {
        assert_eq!(get(&world, "/metrics", HERE, &[("host", host)]).await.status, 401, "{host}");
        let named = [("host", host), ("authorization", &*token)];
        assert_eq!(get(&world, "/metrics", HERE, &named).await.status, 200, "{host}");
    }
    let two = [("host", "localhost"), ("host", "evil.example")];
    assert_eq!(get(&world, "/metrics", HERE, &two).await.status, 401);
    // HTTP/2 names the host in the target of the request.
    for (target, status) in [("http://localhost:8080/metrics", 200), ("http://evil.example/metrics", 401)] {
        assert_eq!(get(&world, target, HERE, &[]).await.status, status, "{target}");
    }
}

async fn metrics_count_what_happened_and_name_nobody(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let it = client.registration("production").clone();
    let oauth = world.oauth("production");
    oauth.token(&it.client_id, &it.secret).await.is_token();
    oauth.token(&it.client_id, &it.secret).await.is_token();
    oauth.token(&it.client_id, "wrong").await.is_invalid_client();
    oauth.token("nobody", "wrong").await.is_invalid_client();
    owner.post(&client.path("production", "/secrets/rotate"), client.rotation(24)).await.created();
    owner
        .post(&client.path("production", "/secrets/rotate"), client.rotation(24))
        .await
        .refused(409, "transition_in_progress");
    let answer = get(&world, "/metrics", HERE, &[]).await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4"));
    let metrics = String::from_utf8(answer.bytes).unwrap();
    for (series, expected) in [
        ("crossfade_client_authentications_total{outcome=\"ok\"}", 2.0),
        ("crossfade_client_authentications_total{outcome=\"failed\"}", 2.0),
        ("crossfade_http_requests_total{operation=\"token\",status=\"200\"}", 2.0),
        ("crossfade_http_requests_total{operation=\"token\",status=\"401\"}", 2.0),
        ("crossfade_http_requests_total{operation=\"rotate_secret\",status=\"201\"}", 1.0),
        ("crossfade_http_requests_total{operation=\"rotate_secret\",status=\"409\"}", 1.0),
        ("crossfade_http_request_duration_seconds_count{operation=\"token\"}", 4.0),
        ("crossfade_registrations", 1.0),
        ("crossfade_transitions_running", 1.0),
        ("crossfade_secrets_overdue", 0.0),
        ("crossfade_clients_ownerless", 0.0),
        ("crossfade_secrets_warned{hours=\"24\"}", 0.0),
        ("crossfade_evidence_lost_until_timestamp_seconds", 0.0),
        ("crossfade_jobs_failed_total", 0.0),
        ("crossfade_ready", 1.0),
        ("crossfade_changes_behind", 0.0),
    ] {
        assert!(
            (value(&metrics, series) - expected).abs() < f64::EPSILON,
            "{series} is not {expected}\n{metrics}"
        );
    }
    let own = [&client.id, &it.client_id, &it.secret_id, &it.secret].map(String::as_str);
    for private in own.into_iter().chain(["Billing", "192.0.2.1", "owner@example.com"]) {
        assert!(!metrics.contains(private), "{private} stands in\n{metrics}");
    }
    // A flush takes nothing of what was counted away.
    world.run_jobs().await;
    let again = String::from_utf8(get(&world, "/metrics", HERE, &[]).await.bytes).unwrap();
    assert!(
        (value(&again, "crossfade_client_authentications_total{outcome=\"ok\"}") - 2.0).abs() < f64::EPSILON
    );
}

async fn metrics_show_warned_secrets_lost_evidence_and_failed_jobs(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let it = client.registration("production").clone();
    world.oauth("production").token(&it.client_id, &it.secret).await.is_token();
    let rotate = client.path("production", "/secrets/rotate");
    world.owner().await.post(&rotate, client.rotation(48)).await.created();
    world.advance(Duration::from_secs(24 * 3600));
    world.run_jobs().await;
    let killed_until = world.now().as_seconds();
    world
        .raw(&format!(
            "INSERT INTO evidence_gaps (began_at, ended_at, kind) VALUES (1, {killed_until}000000, 'killed')"
        ))
        .await;
    world.fail_commits().await;
    assert!(world.try_jobs().await.is_err());
    let metrics = String::from_utf8(get(&world, "/metrics", HERE, &[]).await.bytes).unwrap();
    for (series, expected) in [
        ("crossfade_ready", 1.0),
        ("crossfade_secrets_warned{hours=\"24\"}", 1.0),
        ("crossfade_secrets_warned{hours=\"4\"}", 0.0),
        ("crossfade_evidence_lost_until_timestamp_seconds", killed_until as f64),
        ("crossfade_jobs_failed_total", 1.0),
    ] {
        assert!(
            (value(&metrics, series) - expected).abs() < f64::EPSILON,
            "{series} is not {expected}\n{metrics}"
        );
    }
    world.mend_commits().await;
}

async fn metrics_show_the_disk_of_the_database(world: World) {
    let metrics = String::from_utf8(get(&world, "/metrics", HERE, &[]).await.bytes).unwrap();
    let [free, size] =
        ["free", "size"].map(|what| value(&metrics, &format!("crossfade_data_disk_{what}_bytes")));
    assert!(0.0 < free && free <= size, "{free} {size}");
}

async fn a_declared_proxy_that_cannot_be_read_is_noted_for_doctor(mut world: World) {
    world.trust(&["192.0.2.9/32"]);
    let noted = async |world: &World| {
        world.run_jobs().await;
        world.number("SELECT COUNT(*) FROM unreadable_proxies").await
    };
    for readable in ["203.0.113.8:51008", "[2001:db8::7]:443, 192.0.2.9"] {
        get(&world, "/api/v1/me", AFAR, &[("x-forwarded-for", readable)]).await;
    }
    assert_eq!(noted(&world).await, 0);
    get(&world, "/api/v1/me", AFAR, &[("forwarded", "for=203.0.113.8")]).await;
    get(&world, "/api/v1/me", AFAR, &[("x-forwarded-for", "unknown")]).await;
    assert_eq!(noted(&world).await, 1);
    assert_eq!(world.number("SELECT COUNT(*) FROM unreadable_proxies WHERE address = '192.0.2.9'").await, 1);
}

async fn a_request_has_an_id_that_only_a_declared_proxy_may_give(mut world: World) {
    let ids = async |world: &World, given: &str| {
        get(world, "/api/v1/me", AFAR, &[("x-request-id", given)]).await.request_id.unwrap()
    };
    let (one, two) = (ids(&world, "mine").await, ids(&world, "mine").await);
    assert!(one != two && one != "mine" && one.len() == 11, "{one} {two}");
    world.trust(&["192.0.2.9/32"]);
    assert_eq!(ids(&world, "edge-7.3_a").await, "edge-7.3_a");
    let long = "x".repeat(65);
    for bad in ["a b", "", "x\"y", &long, "crossfade_live_0123456789ab"] {
        assert_ne!(ids(&world, bad).await, bad);
    }
    // The OAuth endpoints answer byte for byte the same, so there is none.
    let client = world.client("Billing", &["production"]).await;
    let answer = world.oauth("production").token(&client.registration("production").client_id, "wrong").await;
    assert_eq!(answer.request_id, None);
}

async fn the_openapi_document_is_open_to_everybody_and_says_3_1(world: World) {
    let answer = get(&world, "/api/openapi.json", AFAR, &[]).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let tag = answer.header("etag").unwrap().to_owned();
    let known = get(&world, "/api/openapi.json", AFAR, &[("if-none-match", &tag)]).await;
    assert_eq!((known.status.as_u16(), known.bytes.len(), known.header("etag")), (304, 0, Some(&*tag)));
    let document = answer.ok();
    assert_eq!((&document["openapi"], &document["servers"][0]["url"]), (&json!("3.1.0"), &json!("/api/v1")));
}

async fn constant_pages_and_assets_are_sent_once_to_each_reader(world: World) {
    for path in [
        "/docs/api",
        "/docs/errors",
        "/docs/roles",
        "/console/assets/console.css",
        "/console/assets/mark.svg",
    ] {
        let first = get(&world, path, AFAR, &[]).await;
        assert_eq!((first.status.as_u16(), first.header("cache-control")), (200, Some("no-cache")), "{path}");
        let tag = first.header("etag").unwrap().to_owned();
        let known = get(&world, path, AFAR, &[("if-none-match", &tag)]).await;
        assert_eq!((known.status.as_u16(), known.bytes.len()), (304, 0), "{path}");
        let other = get(&world, path, AFAR, &[("if-none-match", "\"other\"")]).await;
        assert_eq!((other.status.as_u16(), other.bytes == first.bytes), (200, true), "{path}");
    }
    let dark = get(
        &world,
        "/docs/roles",
        AFAR,
        &[("cookie", &format!("{}=dark", world.browser().name_of("theme")))],
    )
    .await;
    assert!(String::from_utf8_lossy(&dark.bytes).contains("data-theme=\"dark\""));
    assert_eq!(dark.header("vary"), Some("cookie"), "each theme has a page of its own");
}
