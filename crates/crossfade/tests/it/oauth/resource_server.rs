//! The admin API as a resource server (RFC 6750): checklist row RS-01.

use super::ask;
use crate::engines::on_sqlite;
use crate::world::{Answer, OWNER, World};
use http::Method;
use serde_json::json;

on_sqlite! {
    without_a_token_the_challenge_has_no_error_code_rfc6750_3_1,
    a_bad_token_is_told_to_be_one_rfc6750_3_1,
    a_token_travels_in_one_header_and_never_in_the_url_rfc6750_2,
    too_narrow_a_scope_is_told_to_be_so_rfc6750_3_1,
}

async fn with(world: &World, uri: &str, headers: &[(&str, &[u8])]) -> Answer {
    ask(world, Method::GET, uri, headers, b"").await
}

async fn without_a_token_the_challenge_has_no_error_code_rfc6750_3_1(world: World) {
    let answer = with(&world, "/api/v1/clients", &[]).await;
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"crossfade\""));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.refused(401, "unauthenticated");
}

/// RFC 6750 §3.1 gives `invalid_token` to a token that is expired, revoked, malformed or unknown; the row of the
/// checklist makes it a must.
async fn a_bad_token_is_told_to_be_one_rfc6750_3_1(world: World) {
    let answer = with(&world, "/api/v1/clients", &[("authorization", b"Bearer nonsense")]).await;
    assert_eq!(answer.status.as_u16(), 401);
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.starts_with("Bearer ") && challenge.contains("error=\"invalid_token\""), "{challenge}");
}

/// TOK-10 for Bearer; and a token is taken from the header alone.
async fn a_token_travels_in_one_header_and_never_in_the_url_rfc6750_2(world: World) {
    let owner = world.owner().await;
    let token = owner.token.clone().unwrap();
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let header = format!("{scheme} {token}");
        let answer = with(&world, "/api/v1/clients", &[("authorization", header.as_bytes())]).await;
        assert_eq!(answer.status.as_u16(), 200, "{scheme}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let url = format!("/api/v1/clients?access_token={token}");
    with(&world, &url, &[]).await.refused(401, "unauthenticated");
    let header = format!("Bearer {token}");
    let twice: [(&str, &[u8]); 2] =
        [("authorization", header.as_bytes()), ("authorization", header.as_bytes())];
    let answer = with(&world, "/api/v1/clients", &twice).await;
    assert!([400, 401].contains(&answer.status.as_u16()), "two headers");
    let answer = with(&world, &url, &[("authorization", header.as_bytes())]).await;
    assert_eq!(answer.status.as_u16(), 400, "two methods in one request");
    assert!(!String::from_utf8_lossy(&answer.bytes).contains(&token));
}

/// RFC 6750 §3: an answer to a token that does not enable the access MUST carry a challenge; §3.1 names it
/// `insufficient_scope`, with 403.
async fn too_narrow_a_scope_is_told_to_be_so_rfc6750_3_1(world: World) {
    world.owner().await;
    let narrow = world.token_of(OWNER, &["client:read"]).await;
    narrow.get("/clients").await.ok();
    let answer = narrow.post("/properties", json!({"name": "P"})).await;
    answer.clone().refused(403, "forbidden");
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    assert!(
        challenge.starts_with("Bearer ") && challenge.contains("error=\"insufficient_scope\""),
        "{challenge:?}"
    );
}
