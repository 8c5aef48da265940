//! The memory that a registration takes on a node.

use crossfade_authority::{Authority, Clock, Registration, SecretSlot, Tables, VerifierKeys};
use crossfade_core::{
    OauthClientId, RegistrationId, SecretId, Timestamp,
    environment::Slug,
    networks::Networks,
    registration::{AuthMethods, Scopes, TokenTtl},
    upstream::IssuerMode,
};
use std::sync::Arc;

/// Number of registrations: the table is three quarters full.
const REGISTRATIONS: usize = 24_000;
/// Maximum number of bytes that one with a single secret takes, without what the allocator itself needs.
const MAX_BYTES: i64 = 300;

fn registration(number: usize) -> Registration {
    let client_id = OauthClientId::parse(&format!("{number:022}")).unwrap();
    Registration {
        id: RegistrationId::parse(&format!("reg_{number:022}")).unwrap(),
        client_id,
        environment: Slug::parse("slug", "production").unwrap(),
        issuer_mode: IssuerMode::Own,
        disabled: false,
        token_generation: 0,
        methods: AuthMethods::default(),
        scopes: Scopes::parse(&["read".to_owned(), "write".to_owned()]).unwrap(),
        audience: None,
        ttl: TokenTtl::default(),
        may_introspect: false,
        allowed_networks: Networks::from_stored("127.0.0.0/8"),
        learns: false,
        secrets: vec![SecretSlot {
            id: SecretId::parse(&format!("sec_{number:022}")).unwrap(),
            digest: [7; 32],
            digest_key: "key".to_owned(),
            has_value_digest: true,
            expires_at: None,
            revoked_at: None,
            drill: None,
        }],
    }
}

#[test]
fn a_registration_takes_at_most_300_bytes() {
    let keys = VerifierKeys::new([("key".to_owned(), [7; 32])]);
    let clock = Clock::manual(Timestamp::from_seconds(1_795_525_500));
    let authority = Authority::new(Arc::new(clock), keys);
    let counted = allocation_counter::measure(|| {
        let registrations = (0..REGISTRATIONS).map(registration).collect();
        authority.replace(Tables { registrations, ..Tables::default() });
    });
    assert_eq!(authority.registrations(), REGISTRATIONS);
    let bytes = counted.bytes_current / REGISTRATIONS as i64;
    println!("a registration: {bytes} bytes");
    assert!(bytes <= MAX_BYTES, "{bytes} bytes");
}
