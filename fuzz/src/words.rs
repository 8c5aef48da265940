//! What people and programs type: networks, times, names, IDs, secrets. What is read is written as it would be read.

use crossfade_core::{
    ClientId, OauthClientId, SecretId, Timestamp,
    environment::Slug,
    networks::Networks,
    secret::{SecretKind, SecretValue, looks_like_secret},
    text,
};

/// Runs one input.
pub fn run(data: &[u8]) {
    let input = String::from_utf8_lossy(data);
    let input = &*input;
    let lines: Vec<String> = input.lines().map(str::to_owned).collect();
    if let Ok(networks) = Networks::parse("allowed_networks", &lines) {
        let again = Networks::parse("allowed_networks", &networks.list());
        assert_eq!(again.map(|it| it.list()).ok(), Some(networks.list()), "{input}");
        assert!(Networks::from_stored(&networks.stored()).is_some(), "{input}");
    }
    if let Ok(time) = Timestamp::parse(input) {
        assert_eq!(Timestamp::parse(&time.to_string()).ok(), Some(time), "{input}");
    }
    let _ = Timestamp::parse_bound(input);
    if let Ok(slug) = Slug::parse("slug", input) {
        assert_eq!(slug.as_str(), input);
    }
    for id in [
        ClientId::parse(input).ok().map(|id| id.as_str().to_owned()),
        SecretId::parse(input).ok().map(|id| id.as_str().to_owned()),
        OauthClientId::parse(input).ok().map(|id| id.as_str().to_owned()),
    ] {
        assert!(id.is_none_or(|id| id == input));
    }
    if let Some(secret) = SecretValue::parse(SecretKind::ApiToken, input) {
        assert_eq!(secret.reveal(), input);
        assert!(looks_like_secret(input), "{input}");
    }
    let _ = looks_like_secret(input);
    if let Ok(line) = text::line("name", input, 200) {
        assert_eq!(text::line("name", &line, 200).ok(), Some(line));
    }
    let _ = (text::email("email", input), text::shown(input), text::folded(input), text::in_ascii(input));
    let _ = crossfade_app::parse_devices(input);
}
