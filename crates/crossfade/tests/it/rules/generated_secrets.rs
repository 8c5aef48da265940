//! Rule 11: the server generates secrets, in one form.

use crate::engines::on_both_engines;
use crate::world::World;
use std::collections::HashSet;

on_both_engines! {
    secrets_are_generated_with_prefix_and_alphabet_rule_11,
}

async fn secrets_are_generated_with_prefix_and_alphabet_rule_11(world: World) {
    let client = world.client("Billing", &["development", "staging", "production"]).await;
    for (environment, prefix) in [
        ("development", "crossfade_test_"),
        ("staging", "crossfade_test_"),
        ("production", "crossfade_live_"),
    ] {
        let secret = &client.registration(environment).secret;
        assert!(secret.starts_with(prefix), "{environment}");
        // 43 digits of base62 carry 256 bits, 6 the checksum.
        assert_eq!(secret.len(), prefix.len() + 49);
        assert!(secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    }
    let ids: HashSet<_> = client.registrations.iter().map(|it| &it.client_id).collect();
    let values: HashSet<_> = client.registrations.iter().map(|it| &it.secret).collect();
    assert_eq!((ids.len(), values.len()), (3, 3), "nothing is shared between environments");
    for (environment, other) in [("staging", "development"), ("production", "staging")] {
        let foreign = client.registration(other);
        world.oauth(environment).token(&foreign.client_id, &foreign.secret).await.is_invalid_client();
    }
}
