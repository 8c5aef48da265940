//! Every operation × every role × own, foreign, other-environment and unreadable object, through HTTP. The outcome
//! is the table docs/reference/access.md, which this test compares and regenerates if it differs; and all of it is also
//! derived from the table of roles, so that a wrong page cannot be committed by habit. The walk through the Console
//! derives its outcomes the same way.

use crate::console::browser::Browser;
use crate::engines::on_sqlite;
use crate::world::{Client, OWNER, Principal, World};
use crossfade_core::{
    ClientId, Operation, PropertyId,
    environment::Slug,
    operations::{Access, Method},
    roles::{Grant, Object, Permission, Role, Scope, allows},
};
use serde_json::{Value, json};
use std::{fmt::Write, fs, path::Path, sync::Mutex, time::Duration};

on_sqlite! {
    every_operation_for_every_role_and_object,
    a_session_performs_no_operation_of_the_api,
}

/// What the columns of a cell are about.
pub const OBJECTS: [&str; 4] = ["own", "foreign", "other environment", "unreadable"];

/// Outcome of what is permitted.
pub const YES: &str = "yes";

/// A client in an environment, and what is in it.
struct Place {
    client: Client,
    environment: &'static str,
    property: String,
    rotation: String,
    drill: String,
    webhook: String,
    delivery: String,
}

/// An account with what it owns.
pub struct Account {
    pub email: String,
    user: String,
    grant: String,
    token: String,
    /// A session, where the Console is walked.
    pub session: String,
}

/// An account with a role or without any, and the other account that its objects are compared with.
pub struct Holder<'w> {
    /// `None` for an account without any role.
    pub role: Option<Role>,
    pub own: Account,
    pub other: Account,
    principal: Principal<'w>,
    grants: Vec<Grant>,
}

pub struct Stage<'w> {
    world: &'w World,
    owner: Principal<'w>,
    /// In the order of [`OBJECTS`].
    places: [Place; 4],
    provider: String,
    /// A provider to sign in with that is disabled, so that nothing is asked of it.
    sign_in_provider: String,
    /// Ended by whoever may end it, so it is renewed for each of them.
    provisioning_token: Mutex<String>,
}

impl<'w> Holder<'w> {
    /// Returns the account as it speaks to the API.
    pub fn principal(&self) -> &Principal<'w> {
        &self.principal
    }
}

/// Every role, and none.
pub fn everybody() -> impl Iterator<Item = Option<Role>> {
    Role::ALL.into_iter().map(Some).chain([None])
}

async fn every_operation_for_every_role_and_object(world: World) {
    let stage = Stage::set(&world).await;
    let mut holders = Vec::new();
    for role in everybody() {
        holders.push(stage.holder(role).await);
    }
    let mut table = heading();
    for operation in Operation::ALL {
        let mut cells = Vec::new();
        for holder in &holders {
            let mut outcomes = Vec::new();
            for (object, name) in OBJECTS.iter().enumerate().take(objects(*operation)) {
                let outcome = stage.ask(*operation, holder, object).await;
                let expected = stage.expected(*operation, holder, object);
                assert_eq!(outcome, expected, "{operation:?} {:?} {name}", holder.role);
                outcomes.push(outcome);
            }
            let same = outcomes.iter().all(|outcome| *outcome == outcomes[0]);
            if holder.role.is_some() {
                cells.push(if same { outcomes[0].clone() } else { outcomes.join(" · ") });
            }
        }
        let _ = writeln!(table, "| `{}` | {} |", operation.id(), cells.join(" | "));
    }
    for operation in Operation::ALL {
        let path = stage.filled(operation.path(), &holders[0], 0);
        world.anonymous().call(method(*operation), &path, None, &[]).await.refused(401, "unauthenticated");
    }
    world.check_ways().await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/access.md");
    if fs::read_to_string(&path).ok().as_deref() != Some(table.as_str()) {
        fs::write(&path, &table).unwrap();
        panic!("docs/reference/access.md was regenerated; review the diff and commit it");
    }
}

/// The API takes tokens alone: a cookie that a browser adds by itself opens nothing there, so that no other site can
/// have a browser call it.
async fn a_session_performs_no_operation_of_the_api(world: World) {
    let stage = Stage::set(&world).await;
    let holder = stage.holder(Some(Role::Owner)).await;
    let browser = stage.signed_in(&holder.own).await;
    let cookie = browser.cookie().unwrap();
    let before = stage.changes().await;
    for operation in Operation::ALL {
        let path = stage.filled(operation.path(), &holder, 0);
        let body = (operation.method() != Method::Get).then(|| "{}".to_owned());
        let json = ("content-type", "application/json");
        for headers in [
            &[json, ("sec-fetch-site", "same-origin")][..],
            &[json, ("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")],
            &[json, ("authorization", &format!("Bearer {cookie}"))],
        ] {
            let path = format!("/api/v1{path}");
            let answer = browser.send(method(*operation), &path, body.clone(), headers).await;
            answer.refused(401, "unauthenticated");
        }
    }
    assert_eq!(stage.changes().await, before);
    assert!(browser.is_signed_in().await);
}

fn method(operation: Operation) -> http::Method {
    http::Method::from_bytes(operation.method().as_str().as_bytes()).unwrap()
}

/// How many objects it makes sense to ask about.
pub fn objects(operation: Operation) -> usize {
    let path = operation.path();
    match () {
        () if path.contains("{client}") || operation == Operation::CreateClient => 4,
        () if path.contains("{property}") || path.contains("{webhook}") => 4,
        () if path.contains("{user}") || path.contains("{token}") => 2,
        () => 1,
    }
}

fn heading() -> String {
    let names: Vec<_> = Role::ALL.iter().map(|role| role.name()).collect();
    format!(
        "# What each role can do\n\n<!-- Generated by a test through HTTP, which fails when this page differs. -->\n\n\
         Each cell is `yes` or the status of the refusal. If the result depends on the object, the cell has four \
         results: for one of the account's own objects, for a foreign object that the account can only read, for the \
         same client in an environment that the grant does not name, and for an object that the account cannot read. \
         Owner and Operations Manager have their role on the platform, the others on one property in one environment; \
         all except these two also have Viewer on the foreign property. For users and tokens, the objects are the \
         account's own and another account's. `create_client` is 422 if the account cannot even read the property.\n\n\
         | operation | {} |\n|---|{}\n",
        names.join(" | "),
        "---|".repeat(names.len())
    )
}

impl<'w> Stage<'w> {
    pub async fn set(world: &'w World) -> Self {
        let owner = world.owner().await;
        let mut clients = Vec::new();
        for name in ["Own", "Foreign", "Unreadable"] {
            let client = world.client(name, &["staging", "production"]).await;
            for environment in ["staging", "production"] {
                let path = client.path(environment, "/secrets/rotate");
                owner.post(&path, client.rotation(24)).await.created();
                let later = world.now().after(Duration::from_secs(3600));
                let body = json!({"starts_at": later, "length_seconds": 60, "confirm_client_name": client.name, "reason": "x"});
                owner.post(&client.path(environment, "/drills"), body).await.created();
            }
            clients.push(client);
        }
        let place = async |client: usize, environment: &'static str| {
            let client = clients[client].clone();
            let first = async |list: &str| {
                text(&owner.get(&client.path(environment, list)).await.ok()["items"][0]["id"])
            };
            let (rotation, drill) = (first("/rotations").await, first("/drills").await);
            let property = text(&owner.get(&format!("/clients/{}", client.id)).await.ok()["property_id"]);
            let hook = json!({
                "name": format!("{} in {environment}", client.name),
                "url": "https://hooks.example.com/",
                "client_id": client.id,
                "environments": [environment],
                "confirm_name": client.name,
            });
            let webhook = text(&owner.post("/webhooks", hook).await.created()["id"]);
            let test = owner.post(&format!("/webhooks/{webhook}/test"), json!({})).await.created();
            let delivery = text(&test["id"]);
            Place { environment, property, rotation, drill, webhook, delivery, client }
        };
        let places = [
            place(0, "staging").await,
            place(1, "staging").await,
            place(0, "production").await,
            place(2, "staging").await,
        ];
        let provider = async |name: &str| {
            let body = json!({
                "name": name, "issuer": "https://id.example.com", "client_id": "crossfade", "client_secret": "x",
            });
            text(&owner.post("/providers", body).await.created()["id"])
        };
        let (provider, sign_in_provider) = (provider("Example").await, provider("Disabled").await);
        let off = json!({"enabled": false});
        owner.patch(&format!("/providers/{sign_in_provider}"), off).await.ok();
        let tokens = format!("/providers/{provider}/provisioning-tokens");
        let provisioning_token = Mutex::new(text(&owner.post(&tokens, json!({})).await.created()["id"]));
        Self { world, owner, places, provider, sign_in_provider, provisioning_token }
    }

    pub async fn holder(&self, role: Option<Role>) -> Holder<'w> {
        let word = role.map_or("none", Role::as_str);
        let email = format!("{word}@roles.example");
        let user = text(&self.owner.post("/users", json!({"email": email})).await.created()["id"]);
        let property =
            |object: usize| Scope::Property(PropertyId::parse(&self.places[object].property).unwrap());
        let everywhere = |role| Grant { role, scope: Scope::Platform, environments: None };
        let grants = match role {
            None => Vec::new(),
            Some(role @ (Role::Owner | Role::OperationsManager)) => vec![everywhere(role)],
            Some(role) => vec![
                Grant { role, scope: property(0), environments: Some(vec![slug("staging")]) },
                Grant { scope: property(1), ..everywhere(Role::Viewer) },
            ],
        };
        let mut ids = Vec::new();
        for grant in &grants {
            let mut body = json!({"role": grant.role});
            if let Scope::Property(id) = &grant.scope {
                body["property_id"] = id.as_str().into();
            }
            if let Some(slugs) = &grant.environments {
                body["environments"] = slugs.iter().map(|slug| slug.as_str()).collect();
            }
            let given = self.owner.post(&format!("/users/{user}/grants"), body).await.created();
            ids.push(text(&given["id"]));
        }
        let other = format!("other-{word}@roles.example");
        let viewer = self.world.user(&other, "viewer").await.get("/me").await.ok();
        let principal = self.world.token_of(&email, &[]).await;
        let own = self.account(email, user, ids.into_iter().next().unwrap_or_default()).await;
        let (user, grant) = (text(&viewer["user"]["id"]), text(&viewer["user"]["grants"][0]["id"]));
        let other = self.account(other, user, grant).await;
        Holder { role, own, other, principal, grants }
    }

    async fn account(&self, email: String, user: String, grant: String) -> Account {
        let tokens = self.owner.get("/tokens?limit=200").await.ok();
        let own = tokens["items"].as_array().unwrap().iter().find(|it| it["user_id"] == user.as_str());
        let token = text(&own.unwrap()["id"]);
        Account { email, user, grant, token, session: String::new() }
    }

    /// Gives an account the password of everybody.
    pub async fn give_password(&self, account: &Account) {
        let (of_owner, email) =
            (format!("SELECT password_hash FROM users WHERE email = '{OWNER}'"), &account.email);
        self.world
            .raw(&format!("UPDATE users SET password_hash = ({of_owner}) WHERE email = '{email}'"))
            .await;
    }

    /// An account signed in, with the password of everybody.
    pub async fn signed_in(&self, account: &Account) -> Browser<'w> {
        self.give_password(account).await;
        self.world.signed_in_as(&account.email).await
    }

    /// The instance.
    pub fn world(&self) -> &'w World {
        self.world
    }

    /// Returns the environment of an object and the value of its first secret.
    pub fn secret(&self, object: usize) -> (&'static str, &str) {
        let place = &self.places[object];
        (place.environment, &place.client.registration(place.environment).secret)
    }

    /// Returns the number of changes in the trail.
    pub async fn changes(&self) -> i64 {
        self.world.number("SELECT COUNT(*) FROM audit_events WHERE outcome = 'done'").await
    }

    /// Replaces the provisioning token of the provider by a new one.
    pub async fn renew_provisioning_token(&self) {
        let tokens = format!("/providers/{}/provisioning-tokens", self.provider);
        let owner = &self.owner;
        for token in owner.get(&tokens).await.ok()["items"].as_array().unwrap() {
            owner.delete(&format!("{tokens}/{}", text(&token["id"])), json!({})).await;
        }
        *self.provisioning_token.lock().unwrap() =
            text(&owner.post(&tokens, json!({})).await.created()["id"]);
    }

    /// Returns a path or a value with the IDs of an object as it is to this holder.
    pub fn filled(&self, template: &str, holder: &Holder<'_>, object: usize) -> String {
        let place = &self.places[object];
        let account = if object == 0 { &holder.own } else { &holder.other };
        let secret = &place.client.registration(place.environment).secret_id;
        let values = [
            ("{property}", &*place.property),
            ("{client}", &place.client.id),
            ("{environment}", place.environment),
            ("{secret}", secret),
            ("{rotation}", &place.rotation),
            ("{drill}", &place.drill),
            ("{webhook}", &place.webhook),
            ("{delivery}", &place.delivery),
            ("{user}", &account.user),
            ("{grant}", &account.grant),
            (
                "/provisioning-tokens/{token}",
                &*format!("/provisioning-tokens/{}", self.provisioning_token.lock().unwrap()),
            ),
            ("{token}", &account.token),
            ("{session}", &account.session),
            (
                "{provider}",
                match template.contains("/sign-in/") || template.ends_with("{provider}/link") {
                    true => &self.sign_in_provider,
                    false => &self.provider,
                },
            ),
        ];
        values.iter().fold(template.to_owned(), |path, (name, value)| path.replace(name, value))
    }

    /// Returns the outcome of an operation, derived from the table of roles.
    pub fn expected(&self, operation: Operation, holder: &Holder<'_>, object: usize) -> &'static str {
        use Operation::{
            CreateClient, CreateGrant, CreateLink, CreateWebhook, DeleteGrant, IdentifySecrets, ListClients,
            ListProperties, ListWebhooks, RemoveFactors,
        };
        let may = |permission, object: Object<'_>| allows(&holder.grants, permission, object);
        let holds = |permission| holder.grants.iter().any(|it| it.role.permissions().contains(&permission));
        let (is_own, platform) = (object == 0, Object::Platform);
        let permission = match operation.access() {
            Access::Known => return YES,
            // Nobody here is an owner of a client.
            Access::OwnOr(permission) if operation.path().contains("{client}") => permission,
            Access::OwnOr(permission) => {
                return if is_own || may(permission, platform) { YES } else { "404" };
            }
            Access::Needs(permission) => permission,
        };
        let place = &self.places[object];
        let property = PropertyId::parse(&place.property).unwrap();
        let client = ClientId::parse(&place.client.id).unwrap();
        let environment = slug(place.environment);
        let path = operation.path();
        match operation {
            // A list contains what its reader can read, even if that is nothing.
            ListClients | ListProperties => return YES,
            IdentifySecrets => return if holds(permission) { YES } else { "403" },
            // The trail is cut to the clients that its reader audits.
            _ if permission == Permission::AuditRead => return if holds(permission) { YES } else { "403" },
            // A list contains what its reader can manage, and what a new webhook is about is in the body.
            ListWebhooks | CreateWebhook => return if holds(permission) { YES } else { "403" },
            // The property of a new client is in the body.
            CreateClient if !holds(permission) => return "403",
            CreateClient if !may(Permission::ClientRead, Object::Property(&property)) => return "422",
            // Nobody gives the own account a link or removes its factors, and only Owners change their own roles.
            CreateLink | RemoveFactors if is_own && may(permission, platform) => return "403",
            CreateGrant | DeleteGrant
                if is_own && may(permission, platform) && !may(Permission::OwnerManage, platform) =>
            {
                return "403";
            }
            _ => {}
        }
        let (object, read) = match () {
            () if path.contains("{user}") => (platform, Permission::UserRead),
            // To those who cannot manage it, a provider does not exist.
            () if path.contains("{provider}") => (platform, permission),
            // To those who cannot manage it, a webhook does not exist.
            () if path.contains("{webhook}") => {
                (Object::Registration(&property, &client, &environment), permission)
            }
            () if path.contains("{client}/environments/{environment}") => {
                (Object::Registration(&property, &client, &environment), Permission::ClientRead)
            }
            () if path.contains("{client}") => (Object::Client(&property, &client), Permission::ClientRead),
            () if path.contains("{property}/environments/{environment}") => {
                (Object::Place(&property, &environment), Permission::ClientRead)
            }
            () if path.contains("{property}") || operation == CreateClient => {
                (Object::Property(&property), Permission::ClientRead)
            }
            () => return if may(permission, platform) { YES } else { "403" },
        };
        match () {
            () if may(permission, object) => YES,
            () if may(read, object) => "403",
            () => "404",
        }
    }

    /// Asks without changing anything: a change that is permitted fails at a version that nothing has (412).
    async fn ask(&self, operation: Operation, holder: &Holder<'_>, object: usize) -> String {
        let path = self.filled(operation.path(), holder, object);
        if operation == Operation::CreateClient {
            let place = &self.places[object];
            let name = format!("{} {object}", holder.own.email);
            let body =
                json!({"name": name, "property_id": place.property, "environments": [place.environment]});
            let answer = holder.principal.call(method(operation), &path, Some(body.to_string()), &[]).await;
            return if answer.status == 201 { YES.into() } else { answer.status.as_str().into() };
        }
        let body = (operation.method() != Method::Get).then(|| "{}".to_owned());
        let answer =
            holder.principal.call(method(operation), &path, body, &[("if-match", "\"999999\"")]).await;
        match answer.status.as_u16() {
            // An upstream credential can be read only in front of another issuer.
            200 | 409 | 412 => YES.into(),
            403 => {
                answer.refused(403, "forbidden");
                "403".into()
            }
            404 => {
                answer.refused(404, "not_found");
                "404".into()
            }
            other => panic!("{operation:?} {:?} {object}: {other} {}", holder.role, answer.json()),
        }
    }
}

fn slug(text: &str) -> Slug {
    Slug::parse("slug", text).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text")).to_owned()
}
