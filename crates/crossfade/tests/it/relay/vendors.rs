//! How the issuers refuse that cannot run in a test: by their documentation, a wrong secret, and a fault of the caller.

use super::{
    front,
    issuer::{Issuer, TOKEN, json as answer},
    set_credential, set_upstream,
};
use crate::{engines::on_both_engines, world::World};
use serde_json::json;

on_both_engines! {
    the_other_secret_is_tried_after_every_vendor_s_refusal_of_the_first,
    a_fault_of_the_caller_reaches_it_as_every_vendor_words_it,
}

struct Vendor {
    kind: &'static str,
    /// The answer to a wrong secret.
    wrong: (u16, &'static str),
    /// Answers to requests with a right secret.
    faults: &'static [(u16, &'static str)],
}

const VENDORS: [Vendor; 5] = [
    Vendor {
        kind: "keycloak",
        wrong: (
            401,
            r#"{"error":"unauthorized_client","error_description":"Invalid client or Invalid client credentials"}"#,
        ),
        faults: &[
            (400, r#"{"error":"invalid_scope","error_description":"Invalid scopes: nothing"}"#),
            (400, r#"{"error":"invalid_grant","error_description":"Code not valid"}"#),
            // A token exchange for a client that does not exist, and a client without a service account.
            (400, r#"{"error":"invalid_client","error_description":"Audience not found"}"#),
            (
                401,
                r#"{"error":"unauthorized_client","error_description":"Client not enabled to retrieve service account"}"#,
            ),
        ],
    },
    Vendor {
        kind: "entra",
        wrong: (
            401,
            r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.","error_codes":[7000215]}"#,
        ),
        faults: &[
            (
                400,
                r#"{"error":"invalid_scope","error_description":"AADSTS70011: The provided value for scope is not valid.","error_codes":[70011]}"#,
            ),
            (
                400,
                r#"{"error":"invalid_grant","error_description":"AADSTS70008: The provided authorization code has expired.","error_codes":[70008]}"#,
            ),
            (
                400,
                r#"{"error":"interaction_required","error_description":"AADSTS50076: Multi-factor authentication is required.","error_codes":[50076]}"#,
            ),
        ],
    },
    Vendor {
        kind: "okta",
        wrong: (
            401,
            r#"{"error":"invalid_client","error_description":"The client secret supplied for a confidential client is invalid."}"#,
        ),
        faults: &[
            (
                400,
                r#"{"error":"invalid_scope","error_description":"One or more scopes are not configured for the authorization server resource."}"#,
            ),
            (
                400,
                r#"{"error":"invalid_dpop_proof","error_description":"The DPoP proof JWT header is missing."}"#,
            ),
            (
                429,
                r#"{"errorCode":"E0000047","errorSummary":"API call exceeded rate limit due to too many requests."}"#,
            ),
        ],
    },
    Vendor {
        kind: "auth0",
        wrong: (401, r#"{"error":"access_denied","error_description":"Unauthorized"}"#),
        faults: &[
            (
                403,
                r#"{"error":"access_denied","error_description":"Service not enabled within domain: https://api.example.com"}"#,
            ),
            (403, r#"{"error":"invalid_grant","error_description":"Invalid authorization code"}"#),
            (
                403,
                r#"{"error":"unauthorized_client","error_description":"Grant type 'password' not allowed for the client."}"#,
            ),
        ],
    },
    Vendor {
        kind: "hydra",
        wrong: (
            401,
            r#"{"error":"invalid_client","error_description":"Client authentication failed (e.g., unknown client)."}"#,
        ),
        faults: &[
            (
                400,
                r#"{"error":"invalid_scope","error_description":"The requested scope is invalid, unknown, or malformed."}"#,
            ),
            (
                400,
                r#"{"error":"invalid_request","error_description":"The request is missing a required parameter."}"#,
            ),
        ],
    },
];

fn upstream(issuer: &Issuer, kind: &str) -> serde_json::Value {
    let server = json!({
        "name": "main", "issuer": issuer.url(""), "token_endpoint": issuer.url("/token"),
        "revocation_endpoint": issuer.url("/revoke"),
    });
    json!({"kind": kind, "servers": [server]})
}

async fn the_other_secret_is_tried_after_every_vendor_s_refusal_of_the_first(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    for Vendor { kind, wrong: (status, body), .. } in VENDORS {
        set_upstream(front.world, &upstream(&issuer, kind)).await;
        set_credential(front.world, &front.client, json!({"secret": "upstream1", "next": "upstream2"})).await;
        issuer.refuse_with(&answer(status, body));
        issuer.set_secret("upstream2");
        assert_eq!(front.token(&front.secret).await.bytes, TOKEN.as_bytes(), "{kind}");
        issuer.take();
        front.token(&front.secret).await.is_token();
        assert_eq!(issuer.take().len(), 1, "{kind}: the one that worked leads");
        // A caller with a right secret is not told what is wrong here.
        issuer.set_secret("upstream3");
        let refused = front.token(&front.secret).await.expect(503);
        assert_eq!(refused["error"], "temporarily_unavailable", "{kind}");
    }
}

async fn a_fault_of_the_caller_reaches_it_as_every_vendor_words_it(mut world: World) {
    let issuer = Issuer::start("upstream1").await;
    let front = front(&mut world, &issuer).await;
    for Vendor { kind, faults, .. } in VENDORS {
        set_upstream(front.world, &upstream(&issuer, kind)).await;
        set_credential(front.world, &front.client, json!({"secret": "upstream1"})).await;
        for (status, body) in faults {
            issuer.answer(&answer(*status, body));
            let refused = front.token(&front.secret).await;
            assert_eq!((refused.status.as_u16(), &refused.bytes[..]), (*status, body.as_bytes()), "{kind}");
            // The upstream secret does not count as refused.
            front.token(&front.secret).await.is_token();
        }
    }
}
