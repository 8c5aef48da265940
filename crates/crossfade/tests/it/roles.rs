//! Every operation × every role × own, foreign, other-environment and unreadable object, through HTTP. The outcome
//! is the table docs/reference/access.md, which this test compares and regenerates if it differs; and most of it
//! is also derived a second time from the roles, so that a wrong table cannot be committed by habit.

use crate::engines::on_sqlite;
use crate::world::{Client, Principal, World};
use crossfade_core::{
    Operation,
    operations::{Access, Method},
    roles::{Permission, Role},
};
use serde_json::{Value, json};
use std::{fmt::Write, fs, path::Path, time::Duration};

on_sqlite! {
    every_operation_for_every_role_and_object,
}

/// What the columns of a cell are about.
const OBJECTS: [&str; 4] = ["own", "foreign", "other environment", "unreadable"];

/// Somebody with a role, and the objects as they are to them.
struct Holder<'w> {
    role: Role,
    principal: Principal<'w>,
    user: String,
    token: String,
}

struct Stage<'w> {
    world: &'w World,
    clients: [Client; 3],
    other_user: String,
    other_grant: String,
    other_token: String,
}

async fn every_operation_for_every_role_and_object(world: World) {
    let stage = Stage::set(&world).await;
    let mut holders = Vec::new();
    for role in Role::ALL {
        holders.push(stage.holder(role).await);
    }
    let mut table = heading();
    for operation in Operation::ALL {
        let mut cells = Vec::new();
        for holder in &holders {
            let mut outcomes = Vec::new();
            for (object, name) in OBJECTS.iter().enumerate().take(objects(*operation)) {
                let outcome = stage.ask(*operation, holder, object).await;
                if let Some(expected) = expected(*operation, holder.role, object) {
                    assert_eq!(outcome, expected, "{operation:?} {:?} {name}", holder.role);
                }
                outcomes.push(outcome);
            }
            let same = outcomes.iter().all(|outcome| *outcome == outcomes[0]);
            cells.push(if same { outcomes[0].clone() } else { outcomes.join(" · ") });
        }
        let _ = writeln!(table, "| `{}` | {} |", operation.id(), cells.join(" | "));
    }
    // Nobody at all, and a role without any grant.
    for operation in Operation::ALL {
        let path = stage.path(*operation, &holders[0], 0);
        let method = http::Method::from_bytes(operation.method().as_str().as_bytes()).unwrap();
        world.anonymous().call(method, &path, None, &[]).await.refused(401, "unauthenticated");
    }
    world.check_ways().await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/access.md");
    if fs::read_to_string(&path).ok().as_deref() != Some(table.as_str()) {
        fs::write(&path, &table).unwrap();
        panic!("docs/reference/access.md was regenerated; review the diff and commit it");
    }
}

/// How many objects it makes sense to ask about.
fn objects(operation: Operation) -> usize {
    let path = operation.path();
    match () {
        () if path.contains("{client}") || operation == Operation::CreateClient => 4,
        () if path.contains("{property}") => 4,
        () if path.contains("{user}") || path.contains("{token}") => 2,
        () => 1,
    }
}

/// The outcome as it follows from the roles; `None` where the operation has a rule of its own, which the tests of
/// users and tokens hold.
fn expected(operation: Operation, role: Role, object: usize) -> Option<&'static str> {
    let own_rule = operation.path().contains("{user}")
        || matches!(operation, Operation::CreateClient | Operation::ListClients | Operation::ListProperties)
        || matches!(operation.access(), Access::OwnOr(_));
    if own_rule {
        return None;
    }
    let Access::Needs(permission) = operation.access() else { return Some("yes") };
    let holds = role.permissions().contains(&permission);
    let everywhere = matches!(role, Role::Owner | Role::OperationsManager);
    if everywhere {
        return Some(if holds { "yes" } else { "403" });
    }
    let in_environment = operation.path().contains("/environments/{environment}/")
        || operation.path().ends_with("{client}/environments/{environment}");
    let about_clients =
        operation.path().starts_with("/clients/") || operation.path().starts_with("/properties/");
    if !about_clients {
        // Of the platform: a grant on a property does not reach there, but for the trail, which is cut to it.
        return Some(if holds && permission == Permission::AuditRead { "yes" } else { "403" });
    }
    let reads = permission == Permission::ClientRead;
    Some(match (object, in_environment) {
        // The grant is for one environment: what stands above environments is read, and not changed.
        (0 | 2, false) => {
            if reads {
                "yes"
            } else {
                "403"
            }
        }
        (0, true) => {
            if holds {
                "yes"
            } else {
                "403"
            }
        }
        // Seen through a Viewer's grant.
        (1, _) => {
            if reads {
                "yes"
            } else {
                "403"
            }
        }
        _ => "404",
    })
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
    async fn set(world: &'w World) -> Self {
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
        let other = world.user("other@example.com", "viewer").await;
        let me = other.get("/me").await.ok();
        let other_user = text(&me["user"]["id"]);
        let other_grant = text(&me["user"]["grants"][0]["id"]);
        let other_token = text(&other.get("/tokens").await.ok()["items"][0]["id"]);
        let clients = clients.try_into().unwrap();
        Self { world, clients, other_user, other_grant, other_token }
    }

    async fn holder(&self, role: Role) -> Holder<'w> {
        let owner = self.world.owner().await;
        let email = format!("{}@roles.example", role.as_str());
        let user = text(&owner.post("/users", json!({"email": email})).await.created()["id"]);
        let grants = format!("/users/{user}/grants");
        let property = async |client: &Client| {
            owner.get(&format!("/clients/{}", client.id)).await.ok()["property_id"].clone()
        };
        if matches!(role, Role::Owner | Role::OperationsManager) {
            owner.post(&grants, json!({"role": role})).await.created();
        } else {
            let (own, foreign) = (property(&self.clients[0]).await, property(&self.clients[1]).await);
            let body = json!({"role": role, "property_id": own, "environments": ["staging"]});
            owner.post(&grants, body).await.created();
            owner.post(&grants, json!({"role": "viewer", "property_id": foreign})).await.created();
        }
        let principal = self.world.token_of(&email, &[]).await;
        let tokens = owner.get("/tokens?limit=200").await.ok();
        let own = tokens["items"].as_array().unwrap().iter().find(|it| it["user_id"] == user.as_str());
        let token = text(&own.unwrap()["id"]);
        Holder { role, principal, user, token }
    }

    /// The client and the environment that an object is.
    fn place(&self, object: usize) -> (&Client, &'static str) {
        match object {
            0 => (&self.clients[0], "staging"),
            1 => (&self.clients[1], "staging"),
            2 => (&self.clients[0], "production"),
            _ => (&self.clients[2], "staging"),
        }
    }

    fn path(&self, operation: Operation, holder: &Holder<'_>, object: usize) -> String {
        let (client, environment) = self.place(object);
        let own = object == 0;
        let secret = &client.registration(environment).secret_id;
        let fill = |name: &str| match name {
            "property" => format!("@{}", client.id),
            "client" => client.id.clone(),
            "environment" => environment.to_owned(),
            "secret" => secret.clone(),
            "rotation" => "rot_0000000000000000000000".to_owned(),
            "drill" => "drill_0000000000000000000000".to_owned(),
            "user" if own => holder.user.clone(),
            "user" => self.other_user.clone(),
            "grant" => self.other_grant.clone(),
            "token" if own => holder.token.clone(),
            _ => self.other_token.clone(),
        };
        operation
            .parameters()
            .fold(operation.path().to_owned(), |path, name| path.replace(&format!("{{{name}}}"), &fill(name)))
    }

    /// Asks without changing anything: a change that is permitted fails at a version that nothing has (412).
    async fn ask(&self, operation: Operation, holder: &Holder<'_>, object: usize) -> String {
        let owner = self.world.owner().await;
        let (client, environment) = self.place(object);
        let property = text(&owner.get(&format!("/clients/{}", client.id)).await.ok()["property_id"]);
        let mut path = self.path(operation, holder, object).replace(&format!("@{}", client.id), &property);
        if path.contains("rot_0000000000000000000000") {
            let rotations = owner.get(&client.path(environment, "/rotations")).await.ok();
            path = path.replace("rot_0000000000000000000000", &text(&rotations["items"][0]["id"]));
        }
        if path.contains("drill_0000000000000000000000") {
            let drills = owner.get(&client.path(environment, "/drills")).await.ok();
            path = path.replace("drill_0000000000000000000000", &text(&drills["items"][0]["id"]));
        }
        if operation == Operation::DeleteGrant && object == 0 {
            let grants = owner.get(&format!("/users/{}/grants", holder.user)).await.ok();
            path = path.replace(&self.other_grant, &text(&grants["items"][0]["id"]));
        }
        let method = http::Method::from_bytes(operation.method().as_str().as_bytes()).unwrap();
        if operation == Operation::CreateClient {
            let name = format!("{} {object}", holder.role.name());
            let body = json!({"name": name, "property_id": property, "environments": [environment]});
            let answer = holder.principal.call(method, &path, Some(body.to_string()), &[]).await;
            return if answer.status == 201 { "yes".into() } else { answer.status.as_str().into() };
        }
        let body = (operation.method() != Method::Get).then(|| "{}".to_owned());
        let answer = holder.principal.call(method, &path, body, &[("if-match", "\"999999\"")]).await;
        match answer.status.as_u16() {
            200 | 412 => "yes".into(),
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

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text")).to_owned()
}
