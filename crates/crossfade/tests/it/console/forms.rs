//! Everything that a form of the Console can change, by the address it is sent to.

use std::collections::BTreeSet;

/// What asks for a fresh sign-in: what gives or takes secrets, access or working clients.
pub const FRESH: &[&str] = &[
    "/console/account/tokens",
    "/console/account/tokens/{token}/delete",
    "/console/clients/new",
    "/console/clients/{client}/delete",
    "/console/clients/{client}/environments",
    "/console/clients/{client}/environments/{environment}/drills",
    "/console/clients/{client}/environments/{environment}/drills/{drill}/stop",
    "/console/clients/{client}/environments/{environment}/rotate",
    "/console/clients/{client}/environments/{environment}/rotations/{rotation}/rollback",
    "/console/clients/{client}/environments/{environment}/secrets/{secret}/extend",
    "/console/clients/{client}/environments/{environment}/secrets/{secret}/reveal",
    "/console/clients/{client}/environments/{environment}/secrets/{secret}/revoke",
    // The settings of a registration, and whether it is enabled.
    "/console/clients/{client}/environments/{environment}/{tab}",
    // Its owners, to whom its messages go.
    "/console/clients/{client}/settings",
    "/console/environments/{environment}",
    "/console/environments/{environment}/delete",
    "/console/environments/{environment}/keys",
    "/console/people",
    "/console/people/{user}",
    "/console/people/{user}/delete",
    "/console/people/{user}/grants",
    "/console/people/{user}/grants/{grant}/delete",
    "/console/people/{user}/link",
    "/console/properties/{property}/delete",
    "/console/properties/{property}/limits/{environment}",
    "/console/quarantine/release",
];

/// What does not.
pub const NOT_FRESH: &[&str] = &[
    // These check a password or a link themselves.
    "/console/account/password",
    "/console/confirm",
    "/console/link",
    "/console/sign-in",
    // Whoever has lost a device must be able to end its sign-in at once.
    "/console/account/sessions/end",
    "/console/account/sessions/{session}/end",
    "/console/sign-out",
    // Names, and what nobody uses yet.
    "/console/environments",
    "/console/properties",
    "/console/properties/{property}",
    "/console/theme",
];

/// The addresses that are routed to something by POST.
fn routed() -> BTreeSet<&'static str> {
    let sources = [
        include_str!("../../../../web/src/console/mod.rs"),
        include_str!("../../../../web/src/console/clients/mod.rs"),
    ];
    let routes = sources.iter().flat_map(|source| source.split(".route(").skip(1));
    let posts = routes.filter(|route| route.contains("post("));
    posts.map(|route| route.split('"').nth(1).unwrap()).collect()
}

#[test]
fn every_form_is_listed() {
    let listed: BTreeSet<_> = FRESH.iter().chain(NOT_FRESH).copied().collect();
    assert_eq!(listed.len(), FRESH.len() + NOT_FRESH.len(), "each once");
    assert_eq!(listed, routed());
}
