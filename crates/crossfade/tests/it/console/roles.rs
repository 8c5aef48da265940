//! Every route of the Console × every role × own, foreign, other-environment and unreadable object, by a session. What
//! is permitted is derived from the table of roles as for the API, and a route that is not listed here fails.

use super::{
    browser::{Browser, PASSWORD},
    forms::{FRESH, NOT_FRESH, routed},
    gate::assert_protected,
};
use crate::engines::on_sqlite;
use crate::providers::{self, idp::Idp};
use crate::roles::{Account, Holder, OBJECTS, Stage, YES, everybody, objects};
use crate::world::{Answer, World};
use Shows::{
    Anybody, Nothing, Offers, OffersSomewhere, Operates, Own, OwnFactor, OwnNothing, OwnSession, Redirects,
};
use crossfade_core::{
    Operation::{self, *},
    roles::{Permission, Role},
};
use http::Method;
use serde_json::json;
use std::collections::BTreeSet;

on_sqlite! {
    a_session_opens_and_changes_what_its_role_permits_and_nothing_else,
    a_session_of_a_provider_opens_and_changes_what_its_role_permits_and_nothing_else,
    another_site_gets_no_form_through,
    without_a_session_no_page_opens_also_with_a_token,
}

/// What a route opens or does.
#[derive(Clone, Copy, Debug)]
enum Shows {
    /// What an operation of the API does, with its outcome.
    Operates(Operation),
    /// The form for an operation: not found for accounts without permission.
    Offers(Operation),
    /// A form that is offered to an account that holds a permission anywhere.
    OffersSomewhere(Permission),
    /// The account that is signed in.
    Own,
    /// Something that the account that is signed in does not have.
    OwnNothing,
    /// One of the sessions of the account that is signed in.
    OwnSession,
    /// A second factor, which nobody here has.
    OwnFactor,
    /// A redirect to a page.
    Redirects,
    /// A page that needs no session.
    Anybody,
    /// Nothing.
    Nothing,
}

/// Pages, by path.
const PAGES: &[(&str, Shows)] = &[
    ("/", Redirects),
    ("/console", Own),
    ("/console/access", Operates(ListAccess)),
    ("/console/access/export", Operates(ListAccess)),
    ("/console/account", Own),
    ("/console/audit", Operates(ListAuditEvents)),
    ("/console/audit/export", Operates(ExportAuditEvents)),
    ("/console/clients", Operates(ListClients)),
    ("/console/clients/new", OffersSomewhere(Permission::ClientManage)),
    ("/console/clients/{client}", Operates(ReadClient)),
    ("/console/clients/{client}/environments/{environment}", Redirects),
    ("/console/clients/{client}/environments/{environment}/credentials", Operates(ReadRegistration)),
    ("/console/clients/{client}/environments/{environment}/drills", Redirects),
    ("/console/clients/{client}/environments/{environment}/drills/{drill}/stop", Redirects),
    ("/console/clients/{client}/environments/{environment}/live?tab=security", Operates(ReadRegistration)),
    ("/console/clients/{client}/environments/{environment}/rotate", Redirects),
    ("/console/clients/{client}/environments/{environment}/upstream-credential", Redirects),
    ("/console/clients/{client}/environments/{environment}/rotations/{rotation}/rollback", Redirects),
    ("/console/clients/{client}/environments/{environment}/rotations/{rotation}/seen", Redirects),
    ("/console/clients/{client}/environments/{environment}/secrets/{secret}/extend", Redirects),
    ("/console/clients/{client}/environments/{environment}/secrets/{secret}/revoke", Redirects),
    ("/console/clients/{client}/environments/{environment}/security", Operates(ReadRegistration)),
    ("/console/clients/{client}/environments/{environment}/settings", Operates(ReadRegistration)),
    ("/console/clients/{client}/settings", Offers(UpdateClient)),
    ("/console/command-line?challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", Own),
    ("/console/environments", Operates(ListEnvironments)),
    ("/console/environments/{environment}", Operates(ReadEnvironment)),
    ("/console/environments/{environment}/unregistered", Operates(ListUnregisteredClients)),
    ("/console/leaks", Own),
    ("/console/link", Anybody),
    ("/console/mail", Operates(ReadMail)),
    ("/console/nodes", Operates(ListNodes)),
    ("/console/people", Operates(ListUsers)),
    ("/console/people/{user}", Operates(ReadUser)),
    ("/console/properties", Operates(ListProperties)),
    ("/console/properties/{property}", Operates(ReadProperty)),
    ("/console/properties/{property}/delete", Redirects),
    ("/console/properties/{property}/limits/{environment}", Offers(UpdateLimits)),
    ("/console/providers", Operates(ListProviders)),
    ("/console/providers/{provider}", Operates(ReadProvider)),
    ("/console/quarantine", Operates(ReadQuarantine)),
    ("/console/session", Own),
    ("/console/sign-in", Anybody),
    // The provider is disabled.
    ("/console/sign-in/{provider}", Nothing),
    ("/console/sign-in/callback/{provider}", Nothing),
    ("/console/sign-in/out/{provider}", Nothing),
    ("/console/sign-in/code", Anybody),
    ("/console/sign-in-policy", Operates(ReadSignInPolicy)),
    ("/console/webhooks", Operates(ListWebhooks)),
    ("/console/webhooks/{webhook}", Operates(ReadWebhook)),
    ("/console/{*rest}", Nothing),
];

/// Forms, by the path that they are sent to. What ends the role or the session comes last.
const FORMS: &[(&str, Shows)] = &[
    ("/console/account/name", Own),
    ("/console/account/factors", Own),
    ("/console/account/factors/{factor}", OwnFactor),
    ("/console/account/factors/{factor}/remove", OwnFactor),
    ("/console/account/passkeys", Own),
    ("/console/account/passkeys/begin", Own),
    ("/console/account/recovery-codes", Own),
    ("/console/account/messages", Operates(UpdateOwnMessages)),
    ("/console/account/password", Own),
    ("/console/account/providers/{provider}/link", OwnNothing),
    ("/console/account/providers/{provider}/unlink", OwnNothing),
    ("/console/account/sessions/{session}/end", OwnSession),
    ("/console/account/tokens", Own),
    ("/console/account/tokens/{token}/delete", Operates(DeleteToken)),
    ("/console/clients/new", Operates(CreateClient)),
    ("/console/clients/{client}/delete", Operates(DeleteClient)),
    ("/console/clients/{client}/environments", Operates(CreateRegistration)),
    ("/console/clients/{client}/environments/{environment}/drills", Operates(ScheduleDrill)),
    ("/console/clients/{client}/environments/{environment}/drills/{drill}/stop", Operates(StopDrill)),
    ("/console/clients/{client}/environments/{environment}/rotate", Operates(RotateSecret)),
    (
        "/console/clients/{client}/environments/{environment}/rotations/{rotation}/rollback",
        Operates(RollbackSecret),
    ),
    ("/console/clients/{client}/environments/{environment}/rotations/{rotation}/seen", Operates(MarkSeen)),
    ("/console/clients/{client}/environments/{environment}/secrets/{secret}/extend", Operates(ExtendSecret)),
    ("/console/clients/{client}/environments/{environment}/secrets/{secret}/reveal", Operates(RevealSecret)),
    ("/console/clients/{client}/environments/{environment}/secrets/{secret}/revoke", Operates(RevokeSecret)),
    ("/console/clients/{client}/environments/{environment}/settings", Operates(UpdateRegistration)),
    (
        "/console/clients/{client}/environments/{environment}/upstream-credential",
        Operates(UpdateUpstreamCredential),
    ),
    (
        "/console/clients/{client}/environments/{environment}/upstream-credential/test",
        Operates(TestUpstreamCredential),
    ),
    (
        "/console/clients/{client}/environments/{environment}/upstream-credential/release",
        Operates(ReleaseUpstreamCredential),
    ),
    ("/console/clients/{client}/messages", Operates(UpdateClientMessages)),
    ("/console/clients/{client}/settings", Operates(UpdateClient)),
    ("/console/command-line", Own),
    ("/console/command-line/token", Anybody),
    ("/console/confirm", Own),
    ("/console/confirm/passkey", Own),
    ("/console/environments", Operates(CreateEnvironment)),
    ("/console/environments/{environment}", Operates(UpdateEnvironment)),
    ("/console/environments/{environment}/delete", Operates(DeleteEnvironment)),
    ("/console/environments/{environment}/keys", Operates(RotateSigningKey)),
    ("/console/leaks", Operates(IdentifySecrets)),
    ("/console/link", Anybody),
    ("/console/mail/release", Operates(ReleaseMail)),
    ("/console/mail/test", Operates(TestMail)),
    ("/console/people", Operates(CreateUser)),
    ("/console/people/{user}", Operates(UpdateUser)),
    ("/console/people/{user}/delete", Operates(DeleteUser)),
    ("/console/people/{user}/factors/remove", Operates(RemoveFactors)),
    ("/console/people/{user}/grants", Operates(CreateGrant)),
    ("/console/people/{user}/link", Operates(CreateLink)),
    ("/console/properties", Operates(CreateProperty)),
    ("/console/properties/{property}", Operates(UpdateProperty)),
    ("/console/properties/{property}/delete", Operates(DeleteProperty)),
    ("/console/properties/{property}/limits/{environment}", Operates(UpdateLimits)),
    ("/console/providers", Operates(CreateProvider)),
    ("/console/providers/{provider}", Operates(UpdateProvider)),
    ("/console/providers/{provider}/delete", Operates(DeleteProvider)),
    ("/console/providers/{provider}/groups", Operates(UpdateProvider)),
    ("/console/providers/{provider}/groups/remove", Operates(UpdateProvider)),
    ("/console/providers/{provider}/provisioning-tokens", Operates(CreateProvisioningToken)),
    ("/console/providers/{provider}/provisioning-tokens/{token}/delete", Operates(DeleteProvisioningToken)),
    ("/console/quarantine/release", Operates(ReleaseQuarantine)),
    ("/console/sign-in-policy", Operates(UpdateSignInPolicy)),
    ("/console/theme", Anybody),
    ("/console/webhooks", Operates(CreateWebhook)),
    ("/console/webhooks/{webhook}", Operates(UpdateWebhook)),
    ("/console/webhooks/{webhook}/delete", Operates(DeleteWebhook)),
    ("/console/webhooks/{webhook}/deliveries/{delivery}/replay", Operates(ReplayDelivery)),
    ("/console/webhooks/{webhook}/secret", Operates(RotateWebhookSecret)),
    ("/console/webhooks/{webhook}/test", Operates(TestWebhook)),
    ("/console/people/{user}/grants/{grant}/delete", Operates(DeleteGrant)),
    ("/console/account/sessions/end", Own),
    ("/console/sign-in/code", Anybody),
    ("/console/sign-in/code/passkey", Anybody),
    ("/console/sign-in/passkey/begin", Anybody),
    ("/console/sign-in/passkey", Anybody),
    ("/console/sign-in", Anybody),
    ("/console/sign-in/back-channel/{provider}", Anybody),
    ("/console/sign-out", Own),
];

/// Operations that the Console offers in no way of their own: its pages show the same as parts.
const WITHOUT_A_ROUTE: &[Operation] = &[
    ReadMe,
    ReadOwnMessages,
    ReadClientMessages,
    ReadLimits,
    ListSigningKeys,
    ListSecrets,
    ListRotations,
    ListDrills,
    ListUsage,
    ListUsageSeries,
    ReadChangeOver,
    ReadHandOver,
    ReadUpstreamCredential,
    ListGrants,
    ListTokens,
    ListProvisioningTokens,
    ReadAuditCheckpoint,
    ListAuthenticationFailures,
    ListDeliveries,
];

/// Returns the route of a path of this list.
fn route(path: &str) -> String {
    let path = path.split('?').next().unwrap();
    let place = "/console/clients/{client}/environments/{environment}";
    let tabs = ["credentials", "security", "settings"];
    match path.strip_prefix(place).and_then(|rest| rest.strip_prefix('/')) {
        Some(tab) if tabs.contains(&tab) => format!("{place}/{{tab}}"),
        _ => path.to_owned(),
    }
}

#[test]
fn every_route_and_every_operation_is_listed() {
    let routes = |list: &[(&str, Shows)]| list.iter().map(|(path, _)| route(path)).collect::<BTreeSet<_>>();
    assert_eq!(routes(PAGES), routed("get"));
    assert_eq!(routes(FORMS), routed("post"));
    let known: BTreeSet<_> = FRESH.iter().chain(NOT_FRESH).map(|path| (*path).to_owned()).collect();
    assert_eq!(routes(FORMS), known);
    let listed = |operation: &Operation| {
        let is_of = |(_, shows): &(&str, Shows)| matches!(shows, Operates(own) if own == operation);
        PAGES.iter().chain(FORMS).any(is_of)
    };
    for operation in Operation::ALL {
        assert_ne!(listed(operation), WITHOUT_A_ROUTE.contains(operation), "{operation:?}");
    }
}

/// How many objects it makes sense to ask about.
fn objects_of(shows: Shows, path: &str) -> usize {
    match shows {
        Operates(operation) | Offers(operation) if path.contains('{') || operation == CreateClient => {
            objects(operation)
        }
        OwnSession => 2,
        _ => 1,
    }
}

/// Returns the outcome of a request by a session of this holder.
fn expected(stage: &Stage<'_>, shows: Shows, holder: &Holder<'_>, object: usize) -> &'static str {
    match shows {
        Operates(operation) => stage.expected(operation, holder, object),
        Offers(operation) if stage.expected(operation, holder, object) == YES => YES,
        OffersSomewhere(permission)
            if holder.role.is_some_and(|role| role.permissions().contains(&permission)) =>
        {
            YES
        }
        OwnSession if object == 0 => YES,
        Offers(_) | OffersSomewhere(_) | OwnFactor | OwnNothing | OwnSession | Nothing => "404",
        Own | Anybody => YES,
        Redirects => "303",
    }
}

/// Returns the outcome of an answer. A permitted form does something, or is refused for what it contains.
fn outcome(answer: &Answer, is_form: bool) -> String {
    let to_sign_in = answer.header("location").is_some_and(|to| to.starts_with("/console/sign-in?to="));
    match answer.status.as_u16() {
        303 if to_sign_in => "signed out".to_owned(),
        200 => YES.to_owned(),
        201 | 303 | 409 | 412 | 422 if is_form => YES.to_owned(),
        status => status.to_string(),
    }
}

/// Fields for every form. They name a version that nothing has, and confirm nothing.
fn fields(stage: &Stage<'_>, holder: &Holder<'_>, object: usize) -> Vec<(&'static str, String)> {
    let filled = |template: &str| stage.filled(template, holder, object);
    vec![
        ("version", "999999".to_owned()),
        ("name", format!("{} {object}", holder.own.email)),
        ("property_id", filled("{property}")),
        ("environments", filled("{environment}")),
        ("environment", filled("{environment}")),
        ("role", "viewer".to_owned()),
        ("scope", "platform".to_owned()),
        ("theme", "dark".to_owned()),
        // Right, because wrong ones make the next sign-in wait.
        ("email", holder.own.email.clone()),
        ("password", PASSWORD.to_owned()),
        ("current_password", PASSWORD.to_owned()),
    ]
}

/// How the accounts sign in.
enum By {
    Password,
    /// A provider, with its ID.
    Provider(Idp, String),
}

impl By {
    async fn sign_in<'w>(&self, stage: &Stage<'w>, account: &Account) -> Browser<'w> {
        let Self::Provider(idp, id) = self else { return stage.signed_in(account).await };
        let email = &account.email;
        stage.give_password(account).await;
        stage
            .world()
            .raw(&format!(
                "INSERT INTO identities (provider_id, subject, user_id, created_account, created_at)
                 SELECT '{id}', '{email}', id, 0, 1 FROM users WHERE email = '{email}' ON CONFLICT DO NOTHING"
            ))
            .await;
        providers::signed_in(stage.world(), idp, id, json!({"sub": email, "email": email})).await
    }

    /// Returns the outcome of a form that differs for this session.
    fn refuses(&self, template: &str) -> Option<&'static str> {
        // A password confirms none.
        (matches!(self, Self::Provider(..)) && template == "/console/confirm").then_some("403")
    }
}

/// Signs both accounts of a holder in, and notes a session of each.
async fn sign_in<'w>(stage: &Stage<'w>, by: &By, holder: &mut Holder<'w>) -> Browser<'w> {
    let sessions = async |browser: &Browser<'_>| -> BTreeSet<String> {
        let page = browser.get("/console/account").await.page(200);
        let ids = page.split("/console/account/sessions/ses_").skip(1);
        ids.map(|rest| format!("ses_{}", rest.split('/').next().unwrap())).collect()
    };
    let browser = by.sign_in(stage, &holder.own).await;
    let before = sessions(&browser).await;
    by.sign_in(stage, &holder.own).await;
    holder.own.session = sessions(&browser).await.difference(&before).next().unwrap().clone();
    let other = by.sign_in(stage, &holder.other).await;
    holder.other.session = sessions(&other).await.first().unwrap().clone();
    browser
}

async fn a_session_opens_and_changes_what_its_role_permits_and_nothing_else(world: World) {
    opens_and_changes_what_its_role_permits(&world, &By::Password).await;
}

async fn a_session_of_a_provider_opens_and_changes_what_its_role_permits_and_nothing_else(mut world: World) {
    world.restart_with_poster(providers::here()).await;
    let idp = Idp::start().await;
    let id = providers::add(&world, &idp, "Company", json!({})).await;
    opens_and_changes_what_its_role_permits(&world, &By::Provider(idp, id)).await;
}

async fn opens_and_changes_what_its_role_permits(world: &World, by: &By) {
    let stage = Stage::set(world).await;
    let mut refused = 0;
    for role in everybody() {
        let mut holder = stage.holder(role).await;
        let mut browser = sign_in(&stage, by, &mut holder).await;
        for (template, shows) in PAGES {
            for (object, name) in OBJECTS.iter().enumerate().take(objects_of(*shows, template)) {
                let path = stage.filled(template, &holder, object);
                let answer = browser.get(&path).await;
                let found = match shows {
                    // One who is signed in is led on from the page for signing in.
                    Anybody if answer.status == 303 => YES.to_owned(),
                    // Without a role there is no Overview, so its address leads to the first page that opens.
                    Own if answer.status == 303 && *template == "/console" && role.is_none() => {
                        YES.to_owned()
                    }
                    _ => outcome(&answer, false),
                };
                assert_eq!(found, expected(&stage, *shows, &holder, object), "{path} {role:?} {name}");
                assert_protected(&answer, &path);
            }
        }
        for (template, shows) in FORMS {
            // The own object last, because its end can end the role.
            for object in (0..objects_of(*shows, template)).rev() {
                if browser.cookie().is_none() || !browser.is_signed_in().await {
                    browser = by.sign_in(&stage, &holder.own).await;
                }
                if template.contains("/provisioning-tokens/{token}") {
                    stage.renew_provisioning_token().await;
                }
                let path = stage.filled(template, &holder, object);
                let before = stage.changes().await;
                let fields = fields(&stage, &holder, object);
                let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let answer = browser.post(&path, &fields).await;
                let expected =
                    by.refuses(template).unwrap_or_else(|| expected(&stage, *shows, &holder, object));
                let name = OBJECTS[object];
                // A client for a property that cannot be read is refused as a form is whose content is wrong.
                let found = match (shows, answer.status.as_u16()) {
                    (Anybody, 200 | 303 | 400 | 410 | 422) => YES.to_owned(),
                    (_, 422) if expected == "422" => expected.to_owned(),
                    _ => outcome(&answer, true),
                };
                assert_eq!(found, expected, "{path} {role:?} {name}: {}", answer.text());
                assert_protected(&answer, &path);
                if expected != YES {
                    assert_eq!(stage.changes().await, before, "{path} {role:?} {name} changes something");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 400, "{refused} refusals");
    world.check_ways().await;
}

async fn another_site_gets_no_form_through(world: World) {
    let stage = Stage::set(&world).await;
    let mut holder = stage.holder(Some(Role::Owner)).await;
    let browser = sign_in(&stage, &By::Password, &mut holder).await;
    let before = stage.changes().await;
    for (template, _) in FORMS {
        let path = stage.filled(template, &holder, 0);
        let fields = fields(&stage, &holder, 0);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for headers in [
            &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")][..],
            &[("sec-fetch-site", "same-site"), ("origin", "https://auth.example.com")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "")],
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
            &[("origin", "")],
        ] {
            let answer = browser.post_with(&path, &fields, headers).await;
            assert_protected(&answer, &path);
            assert!(answer.header("set-cookie").is_none(), "{path} {headers:?}");
            assert!(answer.page(403).contains("from another site"), "{path} {headers:?}");
        }
    }
    // The one page whose reading is recorded.
    let cross = [("sec-fetch-site", "cross-site")];
    browser.send(Method::GET, "/console/audit/export", None, &cross).await.page(403);
    assert_eq!(stage.changes().await, before);
    assert!(browser.is_signed_in().await);
}

async fn without_a_session_no_page_opens_also_with_a_token(world: World) {
    let stage = Stage::set(&world).await;
    let holder = stage.holder(Some(Role::Owner)).await;
    let token = world.owner().await.token.unwrap();
    let before = stage.changes().await;
    let all = PAGES.iter().map(|it| (Method::GET, it)).chain(FORMS.iter().map(|it| (Method::POST, it)));
    for (method, (template, shows)) in all {
        let path = stage.filled(template, &holder, 0);
        for headers in [&[][..], &[("authorization", &*format!("Bearer {token}"))]] {
            let answer = world.browser().send(method.clone(), &path, None, headers).await;
            assert_protected(&answer, &path);
            match shows {
                // Without a sign-in that waits for a code.
                Anybody if *template == "/console/sign-in/code" => {
                    assert_eq!(answer.leads_to(), "/console/sign-in");
                }
                Anybody => {
                    assert!([200, 400, 422].contains(&answer.status.as_u16()), "{path} {}", answer.status)
                }
                Nothing => drop(answer.page(404)),
                // An ended session is ended again without one.
                Own if *template == "/console/sign-out" => assert_eq!(answer.status, 303),
                // They lead to a page that opens to no stranger.
                Redirects => assert!(answer.leads_to().starts_with("/console"), "{path}"),
                _ => assert!(answer.leads_to().starts_with("/console/sign-in?to="), "{method} {path}"),
            }
        }
    }
    assert_eq!(stage.changes().await, before);
}
