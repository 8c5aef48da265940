//! Everything that a form of the Console can change, by the address it is sent to.

use std::{collections::BTreeSet, fs, path::Path};

/// What asks for a fresh sign-in: what gives or takes secrets, access or working clients.
pub const FRESH: &[&str] = &[
    // Someone else could hide from a person what happens to their clients.
    "/console/account/factors",
    "/console/account/factors/{factor}",
    "/console/account/factors/{factor}/remove",
    "/console/account/name",
    "/console/account/passkeys",
    "/console/account/passkeys/begin",
    "/console/account/recovery-codes",
    "/console/account/messages",
    // Who can sign in to the account, and with what.
    "/console/account/providers/{provider}/link",
    "/console/account/providers/{provider}/unlink",
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
    // A secret of another issuer.
    "/console/clients/{client}/environments/{environment}/upstream-credential",
    // The settings of a registration, and whether it is enabled.
    "/console/clients/{client}/environments/{environment}/{tab}",
    // Its owners, to whom its messages go.
    "/console/clients/{client}/settings",
    "/console/clients/{client}/messages",
    // Makes an API token.
    "/console/command-line",
    "/console/environments/{environment}",
    "/console/environments/{environment}/delete",
    "/console/environments/{environment}/keys",
    "/console/people",
    "/console/people/{user}",
    "/console/people/{user}/delete",
    "/console/people/{user}/factors/remove",
    "/console/people/{user}/grants",
    "/console/people/{user}/grants/{grant}/delete",
    "/console/people/{user}/link",
    "/console/properties/{property}/delete",
    "/console/properties/{property}/limits/{environment}",
    // Who can sign in, and which roles they get.
    "/console/providers",
    "/console/providers/{provider}",
    "/console/providers/{provider}/delete",
    "/console/providers/{provider}/groups",
    "/console/providers/{provider}/groups/remove",
    "/console/providers/{provider}/provisioning-tokens",
    "/console/providers/{provider}/provisioning-tokens/{token}/delete",
    "/console/mail/release",
    "/console/quarantine/release",
    "/console/sign-in-policy",
    // Where messages go, and what signs them.
    "/console/webhooks",
    "/console/webhooks/{webhook}",
    "/console/webhooks/{webhook}/delete",
    "/console/webhooks/{webhook}/secret",
];

/// What does not.
pub const NOT_FRESH: &[&str] = &[
    // These check a password or a link themselves.
    "/console/account/password",
    "/console/confirm",
    "/console/confirm/passkey",
    "/console/command-line/token",
    "/console/link",
    "/console/sign-in",
    // Has the signature of a provider.
    "/console/sign-in/back-channel/{provider}",
    "/console/sign-in/code",
    "/console/sign-in/code/passkey",
    "/console/sign-in/passkey",
    "/console/sign-in/passkey/begin",
    // Whoever has lost a device must be able to end its sign-in at once.
    "/console/account/sessions/end",
    "/console/account/sessions/{session}/end",
    "/console/sign-out",
    // Names, and what nobody uses yet.
    "/console/environments",
    "/console/properties",
    "/console/properties/{property}",
    "/console/theme",
    // Says that the account knows of a transition.
    "/console/clients/{client}/environments/{environment}/rotations/{rotation}/seen",
    // Changes nothing. Ending what it finds asks for a fresh sign-in.
    "/console/leaks",
    // Goes to the person who asks for it, and contains nothing.
    "/console/mail/test",
    // Says what to do, and has no secret.
    "/console/clients/{client}/environments/{environment}/upstream-credential/release",
    // Asks the issuer about what it gets with each request.
    "/console/clients/{client}/environments/{environment}/upstream-credential/test",
    // Send what the webhook gets anyway, to the URL that it has.
    "/console/webhooks/{webhook}/deliveries/{delivery}/replay",
    "/console/webhooks/{webhook}/test",
];

/// Paths that are routed outside the Console.
const ELSEWHERE: &[&str] = &[
    // Below /scim/v2/{provider}, with a provisioning token.
    "/.search",
    "/Bulk",
    "/Groups",
    "/Groups/.search",
    "/Groups/{id}",
    "/Me",
    "/ResourceTypes",
    "/ResourceTypes/{id}",
    "/Schemas",
    "/Schemas/{id}",
    "/ServiceProviderConfig",
    "/Users",
    "/Users/.search",
    "/Users/{id}",
    "/.well-known/oauth-authorization-server/env/{environment}",
    "/api/openapi.json",
    "/api/v1/",
    "/docs",
    "/docs/api",
    "/docs/errors",
    "/docs/roles",
    "/env/{environment}/.well-known/openid-configuration",
    "/env/{environment}/oauth2/introspect",
    "/env/{environment}/oauth2/jwks",
    "/env/{environment}/oauth2/revoke",
    "/env/{environment}/oauth2/rotate-secret",
    "/env/{environment}/oauth2/token",
    "/healthz",
    "/metrics",
    "/readyz",
];

/// Paths of routes that are no literals: those of the operations and of the assets.
const COMPUTED: &[&str] = &[
    r#"&format!("/env/{{environment}}/oauth2/{path}")"#,
    r#"&format!("/env/{{environment}}/oauth2/{{server}}/{path}")"#,
    "asset.path()",
    "operation.path()",
];

/// Returns what follows each `.route(` in the sources of the web crate.
fn sources() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../web/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let source = fs::read_to_string(path).unwrap();
                found.extend(source.split(".route(").skip(1).map(|rest| rest.trim_start().to_owned()));
            }
        }
    }
    found
}

/// Returns every route whose path is a literal, with its handlers. The gallery is in no release.
fn routes() -> Vec<(String, String)> {
    let mut routes: Vec<_> = sources().iter().filter_map(|rest| literal(rest)).collect();
    routes.retain(|(path, _)| path.starts_with('/') && !path.starts_with("/console/gallery"));
    routes
}

/// Reads the path and the handlers of a route whose path is a literal.
fn literal(rest: &str) -> Option<(String, String)> {
    let (path, handlers) = rest.strip_prefix('"')?.split_once('"')?;
    let mut depth = 1;
    let end = handlers.find(|letter| {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        depth == 0
    });
    Some((path.to_owned(), handlers[..end?].to_owned()))
}

/// Returns the paths of the Console that are routed to something by `get` or `post`.
pub fn routed(method: &str) -> BTreeSet<String> {
    let answers = |handlers: &str| {
        let any = handlers.contains("any(") && method == "get";
        any || handlers.split(|letter: char| !letter.is_alphanumeric()).any(|word| word == method)
    };
    let console = routes().into_iter().filter(|(path, _)| path == "/" || path.starts_with("/console"));
    console.filter(|(_, handlers)| answers(handlers)).map(|(path, _)| path).collect()
}

#[test]
fn every_form_is_listed() {
    let listed: BTreeSet<_> = FRESH.iter().chain(NOT_FRESH).map(|path| (*path).to_owned()).collect();
    assert_eq!(listed.len(), FRESH.len() + NOT_FRESH.len(), "each once");
    assert_eq!(listed, routed("post"));
}

#[test]
fn every_other_route_is_listed() {
    let others = routes().into_iter().map(|(path, _)| path);
    let others: BTreeSet<_> = others.filter(|path| path != "/" && !path.starts_with("/console")).collect();
    assert_eq!(others, ELSEWHERE.iter().map(|path| (*path).to_owned()).collect());
}

#[test]
fn every_path_that_is_no_literal_is_known() {
    let computed: BTreeSet<_> = sources()
        .iter()
        .filter(|rest| !rest.starts_with('"'))
        .map(|rest| rest.split(',').next().unwrap().to_owned())
        .collect();
    assert_eq!(computed, COMPUTED.iter().map(|path| (*path).to_owned()).collect());
}
