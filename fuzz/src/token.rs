//! Access tokens at introspection: as they come, and claims of any content under a right header and a right signature.

use aws_lc_rs::{
    rand::SystemRandom as Chance,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crossfade_authority::{
    Authority, Client, Clock, Credentials, Environment, Registration, SecretSlot, SigningKey, Source,
    VerifierKeys,
};
use crossfade_core::{
    OauthClientId, RegistrationId, SecretId, Timestamp,
    environment::{SigningAlg, Slug},
    registration::{AuthMethod, AuthMethods, Scopes, TokenTtl},
    signing_key::KeyTimes,
};
use std::{
    net::IpAddr,
    sync::{Arc, LazyLock},
};

struct Stage {
    authority: Authority,
    environment: Arc<Environment>,
    client: Client,
    key: EcdsaKeyPair,
    good: String,
}

static STAGE: LazyLock<Stage> = LazyLock::new(|| {
    let now = Timestamp::from_seconds(1_795_525_500);
    let keys = VerifierKeys::new([("k1".to_owned(), [7; 32])]);
    let client_id = OauthClientId::parse(&format!("{:022}", 1)).unwrap();
    let (digest_key, digest) = keys.digest(client_id.as_str(), "value").unwrap();
    let authority = Authority::new(Arc::new(Clock::manual(now)), keys);
    let pkcs8 = SigningKey::generate(SigningAlg::ES256).unwrap();
    let times = KeyTimes { active_from: Timestamp::from_seconds(1_795_525_400), removed_at: None };
    let signing = SigningKey::parse(SigningAlg::ES256, &pkcs8, times).unwrap();
    let slug = Slug::parse("slug", "production").unwrap();
    authority.put_environment(Environment::new(
        slug.clone(),
        "https://auth.example.com".into(),
        vec![signing],
    ));
    let id = SecretId::parse(&format!("sec_{:022}", 1)).unwrap();
    authority.put_registration(Registration {
        id: RegistrationId::parse(&format!("reg_{:022}", 1)).unwrap(),
        client_id: client_id.clone(),
        environment: slug,
        issuer_mode: crossfade_core::upstream::IssuerMode::Own,
        disabled: false,
        token_generation: 0,
        methods: AuthMethods::default(),
        scopes: Scopes::default(),
        audience: None,
        ttl: TokenTtl::default(),
        may_introspect: true,
        allowed_networks: None,
        learns: false,
        secrets: vec![SecretSlot {
            id,
            digest,
            digest_key,
            has_value_digest: true,
            expires_at: None,
            revoked_at: None,
            drill: None,
        }],
    });
    let environment = authority.environment("production").unwrap();
    let ip = IpAddr::from([192, 0, 2, 1]);
    let source = Source { ip, user_agent: "fuzz", instance: "" };
    let credentials = Credentials {
        client_id: client_id.as_str(),
        secret: "value",
        further_readings: &[],
        method: AuthMethod::ClientSecretBasic,
        source,
        sender: Some(ip),
    };
    let client = authority.authenticate(&environment, &credentials).unwrap();
    let good = authority.issue(&environment, &client, None).unwrap().access_token().unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).unwrap();
    Stage { authority, environment, client, key, good }
});

/// Runs one input.
pub fn run(data: &[u8]) {
    let stage = &*STAGE;
    let Some((kind, rest)) = data.split_first() else { return };
    if *kind == b'r' {
        let token = String::from_utf8_lossy(rest).replace("{good}", &stage.good);
        let active = stage.authority.introspect(&stage.environment, &stage.client, &token).is_some();
        assert!(!active || token == stage.good, "another token is active: {token}");
        let _ = stage.authority.revocable(&stage.environment, &stage.client, &token);
        return;
    }
    let (header, _) = stage.good.split_once('.').unwrap();
    let input = format!("{header}.{}", URL_SAFE_NO_PAD.encode(rest));
    let signature = stage.key.sign(&Chance::new(), input.as_bytes()).unwrap();
    let token = format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature));
    let _ = stage.authority.introspect(&stage.environment, &stage.client, &token);
    let _ = stage.authority.revocable(&stage.environment, &stage.client, &token);
}
