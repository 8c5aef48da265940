//! One account: its name, its roles, its one-time link.

use super::{
    super::{
        error::status,
        form::{Fields, Form},
        layout::{Layout, Section},
        message::redirect_with,
        page, page_with,
        paths::own_page,
        session::{Fresh, SignedIn},
    },
    role_options,
};
use crate::reply::{Refused, Reply};
use askama::Template;
use axum::{extract::Path, response::Response};
use crossfade_app::{ClientQuery, Error, Input, ListQuery, NO_INPUT, Named, Request, UserPath, Versioned};
use crossfade_core::{
    ClientId, Problem, PropertyId, Timestamp,
    api::{
        CreateGrant, CreateLink, DeleteUser, Environment, Grant, HandedOver, HandedOverClient, OneTimeLink,
        RemoveFactors, UpdateUser, User, UserKind,
    },
    owners::{Heirs, MAX_HANDED_OVER},
    roles::{Permission, Role},
};
use std::collections::HashMap;

#[derive(Template)]
#[template(path = "console/people/user.html")]
struct UserPage {
    layout: Layout,
    now: Timestamp,
    user: User,
    version: i64,
    grants: Vec<Row>,
    may: May,
    /// Roles that this reader can grant.
    roles: Vec<Role>,
    properties: Vec<(String, String)>,
    clients: Vec<(String, String)>,
    environments: Vec<Environment>,
    /// Roles that close the account.
    closing: Vec<Role>,
    /// A link that was just created, shown only this once.
    link: Option<OneTimeLink>,
    edit: Form,
    grant: Form,
    delete: Form,
    /// The form that removes second factors.
    factors: Form,
    /// Clients that the account owns, and who would own them if it was deleted.
    owned: HandedOver,
}

/// A role of the account, with the names of its scope.
struct Row {
    grant: Grant,
    place: String,
    environments: String,
    may_take: bool,
    /// Name of the provider whose group gives it.
    provider: Option<String>,
}

/// The reader's permissions on this account.
#[derive(Clone, Copy)]
struct May {
    manage: bool,
    /// Can create a link; never for the own account.
    link: bool,
    /// Can remove second factors that the account has; never those of the own account.
    remove_factors: bool,
    give: bool,
}

const GIVEN: &str = "The role was granted, effective from the next request.";
/// Maximum number of clients that a sentence names.
const MAX_NAMED: usize = 5;
/// Maximum number of clients that the dialog of a deletion lists.
const MAX_LISTED: usize = 20;
/// Maximum number of owners that are named for each client.
const MAX_HEIRS: usize = 3;
/// Maximum number of properties and clients offered; others are entered by id.
const OFFERED: &str = "200";

impl UserPage {
    async fn load(signed: &SignedIn, id: &str) -> Result<Self, Refused> {
        let principal = signed.principal();
        let Versioned { object: user, version } = signed.app.read_user(principal, UserPath(id)).await?;
        let owner = principal.may_on_platform(Permission::OwnerManage);
        let abilities = signed.app.account_abilities(principal, UserPath(id)).await?;
        // A costly read, which waits for its turn.
        let owned = signed.app.read_hand_over(principal, UserPath(id)).await?;
        let may = May {
            manage: abilities.manage,
            link: abilities.manage && user.kind == UserKind::Person && user.id != *principal.user(),
            remove_factors: owner && user.second_factor && user.id != *principal.user(),
            give: !abilities.roles.is_empty(),
        };
        let list = ListQuery { limit: Some(OFFERED.to_owned()), cursor: None };
        let properties = signed.app.list_properties(principal, &list).await?.items;
        let clients =
            signed.app.list_clients(principal, &ClientQuery { list, ..ClientQuery::default() }).await?.items;
        let environments = signed.app.list_environments(principal).await?;
        let mut names: HashMap<String, String> = HashMap::new();
        names.extend(properties.iter().map(|it| (it.id.to_string(), it.name.clone())));
        names.extend(clients.iter().map(|it| (it.id.to_string(), it.name.clone())));
        let unnamed = user.grants.iter().filter_map(scope_of).filter(|id| !names.contains_key(id));
        for (id, named) in signed.app.names_in_trail(principal, unnamed.collect::<Vec<_>>()).await? {
            if let Named::Client(name) | Named::Property(name) = named {
                names.insert(id, name);
            }
        }
        let mut grants = Vec::new();
        for grant in &user.grants {
            grants.push(Row {
                place: place(grant, &names),
                environments: environment_names(&environments, grant),
                // What a group gives is taken away at the provider.
                may_take: abilities.remove_roles
                    && (grant.role != Role::Owner || owner)
                    && provider_of(grant, &user).is_none(),
                provider: provider_of(grant, &user),
                grant: grant.clone(),
            });
        }
        let edit = Fields::default()
            .with("name", &*user.name)
            .with("email", user.email.as_deref().unwrap_or_default())
            .with("confirm_user_name", "");
        Ok(Self {
            layout: signed.layout(Section::People, &user.name).crumb("People", "/console/people"),
            now: signed.session.now,
            grants,
            may,
            closing: abilities.closing,
            roles: abilities.roles,
            properties: properties.into_iter().map(|it| (it.id.to_string(), it.name)).collect(),
            clients: clients.into_iter().map(|it| (it.id.to_string(), it.name)).collect(),
            environments,
            link: None,
            edit: Form::new("edit", edit),
            grant: Form::new("grant", Fields::default().with("scope", "platform")),
            delete: Form::new(
                "delete",
                Fields::default().with("hand_over_to", "").with("confirm_user_name", ""),
            ),
            factors: Form::new("factors", Fields::default().with("reason", "")),
            owned,
            user,
            version,
        })
    }

    fn role_options(&self) -> Vec<(&'static str, &'static str)> {
        role_options(&self.roles)
    }

    /// Returns the names of the roles that close the account.
    fn closing_names(&self) -> String {
        self.closing.iter().map(|role| role.name()).collect::<Vec<_>>().join(", ")
    }

    fn confirm_hint(&self) -> String {
        format!("Type {} to confirm.", self.user.name)
    }

    /// Returns a sentence with the number of clients that the account owns.
    fn owns(&self) -> String {
        let count = self.owned.handed_over_count;
        let clients = if count == 1 { "1 client".to_owned() } else { format!("{count} clients") };
        let limit = match count as usize > MAX_HANDED_OVER {
            false => String::new(),
            true => format!(
                " At most {MAX_HANDED_OVER} clients are handed over at once. Change the owners of some of them first."
            ),
        };
        format!("{} owns {clients}.{limit}", self.user.name)
    }

    /// Returns a sentence with the names of the first clients that the account owns.
    fn owned_names(&self) -> String {
        let clients = &self.owned.clients;
        let names: Vec<&str> = clients.iter().take(MAX_NAMED).map(|it| it.name.as_str()).collect();
        let more = self.owned.handed_over_count.saturating_sub(names.len() as u64);
        match (names.is_empty(), more) {
            (true, _) => String::new(),
            (false, 0) => format!("They are {}.", names.join(", ")),
            (false, more) => format!("They are {} and {more} more.", names.join(", ")),
        }
    }

    /// Returns the clients that the dialog lists, each with its owners after a deletion.
    fn heirs(&self) -> Vec<(&HandedOverClient, String)> {
        let heirs = |it| (it, heirs(it));
        self.owned.clients.iter().take(MAX_LISTED).map(heirs).collect()
    }

    /// Returns the number of clients that the dialog does not list.
    fn unlisted(&self) -> u64 {
        self.owned.handed_over_count.saturating_sub(self.heirs().len() as u64)
    }

    fn owner_hint(&self) -> String {
        format!(
            "Required for a new email address: messages about these clients then go there. Type {}.",
            self.user.name
        )
    }

    fn token_command(&self) -> String {
        format!("crossfade token create --user {} --name deploy --expires-days 365", self.user.id)
    }
}

/// Returns who owns a client after the account is deleted.
fn heirs(client: &HandedOverClient) -> String {
    let more = client.owners.len().saturating_sub(MAX_HEIRS);
    let mut owners = client.owners[..client.owners.len() - more].join(", ");
    if more > 0 {
        owners.push_str(&format!(" and {more} more"));
    }
    match client.heirs {
        Heirs::Chosen => owners,
        Heirs::OtherOwners => format!("other owners: {owners}"),
        Heirs::Managers => format!("managers: {owners}"),
        Heirs::Nobody => "nobody".to_owned(),
    }
}

/// Returns the ID of the client or property that a role is limited to.
fn scope_of(grant: &Grant) -> Option<String> {
    let client = grant.client_id.as_ref().map(ToString::to_string);
    client.or_else(|| grant.property_id.as_ref().map(ToString::to_string))
}

/// Returns the name of the provider whose group gives a role.
fn provider_of(grant: &Grant, user: &User) -> Option<String> {
    let id = grant.provider_id.as_ref()?;
    let name = user.identities.iter().find(|it| it.provider_id == *id).map(|it| it.provider_name.clone());
    Some(name.unwrap_or_else(|| id.to_string()))
}

/// Returns the scope of a role by name, or by ID if the reader does not know its name.
fn place(grant: &Grant, names: &HashMap<String, String>) -> String {
    let Some(id) = scope_of(grant) else { return "The whole platform".to_owned() };
    match names.get(&id) {
        Some(name) if grant.client_id.is_some() => format!("Client {name}"),
        Some(name) => format!("Property {name}"),
        None => id,
    }
}

fn environment_names(environments: &[Environment], grant: &Grant) -> String {
    let Some(slugs) = &grant.environments else { return "All".to_owned() };
    let names = slugs.iter().map(|slug| {
        let known = environments.iter().find(|environment| environment.slug == *slug);
        known.map_or(slug.as_str(), |environment| environment.name.as_str())
    });
    names.collect::<Vec<_>>().join(", ")
}

pub(in crate::console) async fn show(Path(id): Path<String>, signed: SignedIn) -> Reply {
    let done = match signed.said() {
        "changed" => Some("The account was updated."),
        "given" => Some(GIVEN),
        "factors" => {
            Some("The second factors were removed. Sessions, API tokens and links of the account have ended.")
        }
        "taken" => Some("The role was removed, effective from the next request."),
        _ => None,
    };
    let mut shown = UserPage::load(&signed, &id).await?;
    shown.layout = shown.layout.done(done);
    Ok(page(&shown))
}

/// Returns the page of an account that was just created.
pub(super) async fn show_new(signed: &SignedIn, created: &User) -> Reply {
    let mut shown = UserPage::load(signed, created.id.as_str()).await?;
    shown.link = created.activation_link.clone();
    shown.layout = shown.layout.done(match created.kind {
        UserKind::Person => None,
        UserKind::Program => Some("The program was created. Next, grant it a role and create a token."),
    });
    Ok(page(&shown))
}

pub(in crate::console) async fn update(Path(id): Path<String>, Fresh { signed, fields }: Fresh) -> Reply {
    let body = UpdateUser {
        name: Some(fields.text("name").to_owned()),
        email: fields.filled("email").map(str::to_owned),
        confirm_user_name: fields.filled("confirm_user_name").map(str::to_owned),
    };
    // Of two simultaneous changes, the second is refused.
    let request = Request { if_match: fields.if_match(), ..signed.request() };
    match signed.app.update_user(&request, UserPath(&id), Input::Value(body)).await {
        Ok(_) => Ok(to(&id, "changed")),
        Err(error) => {
            refused(&signed, &id, error, |shown, problem| {
                shown.edit = Form::new("edit", fields).refused(problem);
            })
            .await
        }
    }
}

pub(in crate::console) async fn create_link(Path(id): Path<String>, Fresh { signed, .. }: Fresh) -> Reply {
    let link = signed.app.create_link(&signed.request(), UserPath(&id), Input::Value(CreateLink {})).await?;
    let mut shown = UserPage::load(&signed, &id).await?;
    shown.link = Some(link);
    Ok(page(&shown))
}

pub(in crate::console) async fn remove_factors(
    Path(id): Path<String>,
    Fresh { signed, fields }: Fresh,
) -> Reply {
    let body = RemoveFactors { reason: fields.filled("reason").map(str::to_owned) };
    signed.app.remove_factors(&signed.request(), UserPath(&id), Input::Value(body)).await?;
    Ok(to(&id, "factors"))
}

pub(in crate::console) async fn create_grant(
    Path(id): Path<String>,
    Fresh { signed, fields }: Fresh,
) -> Reply {
    let given = match grant_of(&fields) {
        Ok(body) => signed.app.create_grant(&signed.request(), UserPath(&id), Input::Value(body)).await,
        Err(problem) => Err(problem.into()),
    };
    match given {
        Ok(Grant { activation_link: Some(link), .. }) => {
            let mut shown = UserPage::load(&signed, &id).await?;
            shown.link = Some(link);
            shown.layout = shown.layout.done(Some(GIVEN));
            Ok(page(&shown))
        }
        Ok(_) => Ok(to(&id, "given")),
        Err(error) => {
            refused(&signed, &id, error, |shown, problem| {
                shown.grant = Form::new("grant", fields).refused(problem);
            })
            .await
        }
    }
}

pub(in crate::console) async fn delete_grant(
    Path((id, grant)): Path<(String, String)>,
    Fresh { signed, fields }: Fresh,
) -> Reply {
    signed.app.delete_grant(&signed.request(), UserPath(&id), &grant, NO_INPUT).await?;
    // The access review, where the role was removed from.
    match fields.filled("to").and_then(own_page) {
        Some(review) => Ok(redirect_with(review, "taken")),
        None => Ok(to(&id, "taken")),
    }
}

pub(in crate::console) async fn delete(Path(id): Path<String>, Fresh { signed, fields }: Fresh) -> Reply {
    // The Console always asks for the name.
    let body = DeleteUser {
        hand_over_to: fields.filled("hand_over_to").map(str::to_owned),
        confirm_user_name: Some(fields.text("confirm_user_name").to_owned()),
    };
    match signed.app.delete_user(&signed.request(), UserPath(&id), Input::Value(body)).await {
        Ok(handed_over) => {
            let done = match (handed_over.handed_over_count, handed_over.ownerless_count) {
                (0, _) => "deleted",
                (_, 0) => "handed-over",
                _ => "ownerless",
            };
            Ok(redirect_with("/console/people", done))
        }
        Err(error) => {
            refused(&signed, &id, error, |shown, problem| {
                shown.delete = Form::new("delete", fields).refused(problem);
            })
            .await
        }
    }
}

/// Returns the page with the refused form, or an error page if the error is not about the input.
async fn refused(
    signed: &SignedIn,
    id: &str,
    error: Error,
    show: impl FnOnce(&mut UserPage, Problem),
) -> Reply {
    if !error.is_about_input() {
        return Err(error.into());
    }
    let mut shown = UserPage::load(signed, id).await?;
    let answer = status(&error.problem);
    show(&mut shown, error.problem);
    Ok(page_with(answer, &shown))
}

/// Returns the grant requested in a form.
fn grant_of(fields: &Fields) -> Result<CreateGrant, Problem> {
    let role = Role::parse(fields.text("role"))
        .ok_or_else(|| Problem::invalid("role", "must be one of the listed roles"))?;
    let (mut property_id, mut client_id) = (None, None);
    match fields.text("scope") {
        "property" => {
            let text = fields.text("property_id").trim();
            let read =
                PropertyId::parse(text).map_err(|_| Problem::invalid("property_id", "must be selected"))?;
            property_id = Some(read);
        }
        "client" => {
            let text = fields.text("client_id").trim();
            let what = "must be a client's ID (cl_…), shown on the client's Overview tab";
            client_id = Some(ClientId::parse(text).map_err(|_| Problem::invalid("client_id", what))?);
        }
        _ => {}
    }
    let environments: Vec<String> = fields.all("environments").map(str::to_owned).collect();
    Ok(CreateGrant {
        role,
        property_id,
        client_id,
        environments: (!environments.is_empty()).then_some(environments),
    })
}

fn to(id: &str, done: &'static str) -> Response {
    redirect_with(&format!("/console/people/{id}"), done)
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};
    use crate::console::crossfade;
    use crossfade_core::{
        environment::{EnvironmentKind, SigningAlg},
        upstream::IssuerMode,
    };

    fn owned(number: u32, name: &str, owners: &[&str]) -> HandedOverClient {
        HandedOverClient {
            id: ClientId::parse(&format!("cl_{number:022}")).unwrap(),
            name: name.to_owned(),
            owners: owners.iter().map(|owner| (*owner).to_owned()).collect(),
            heirs: if owners.is_empty() { Heirs::Nobody } else { Heirs::OtherOwners },
        }
    }

    fn sample(kind: UserKind) -> UserPage {
        let user = samples::user(2, kind, "Ada Lovelace");
        let grants = user.grants.iter().map(|grant| Row {
            place: "Client <Billing>".into(),
            environments: "All".into(),
            may_take: true,
            provider: None,
            grant: grant.clone(),
        });
        UserPage {
            layout: Layout::sample(Section::People, "Ada Lovelace"),
            now: crossfade::samples::now(),
            grants: grants.collect(),
            version: 7,
            may: May {
                manage: true,
                link: kind == UserKind::Person,
                remove_factors: kind == UserKind::Person,
                give: true,
            },
            roles: Role::ALL.to_vec(),
            properties: vec![("prop_0000000000000000000001".into(), "Shop".into())],
            clients: vec![("cl_0000000000000000000001".into(), "Billing".into())],
            environments: vec![Environment {
                slug: "production".into(),
                name: "Production".into(),
                kind: EnvironmentKind::Live,
                issuer: String::new(),
                issuer_mode: IssuerMode::Own,
                upstream: None,
                unregistered_clients: None,
                adopt_until: None,
                signing_alg: Some(SigningAlg::ES256),
                signing_alg_from: None,
                show_once: false,
                wipe_after_days: 30,
                max_age_days: None,
                guard_extension_hours: None,
                signing_key_rotation_days: None,
            }],
            closing: Vec::new(),
            owned: HandedOver {
                handed_over_count: 3,
                ownerless_count: 1,
                clients: vec![owned(1, "Billing <API>", &["team@example.com"]), owned(2, "Ledger", &[])],
            },
            link: None,
            edit: Form::new("edit", Fields::default()),
            delete: Form::new("delete", Fields::default()),
            factors: Form::new("factors", Fields::default()),
            grant: Form::new("grant", Fields::default()),
            user,
        }
    }

    #[test]
    fn the_page_is_rendered() {
        let html = sample(UserKind::Person).render().unwrap();
        assert!(html.contains("Client &#60;Billing&#62;") && html.contains("Secret Rotator"), "{html}");
        assert!(html.contains("/docs/roles"));
        let program = sample(UserKind::Program).render().unwrap();
        assert!(program.contains("crossfade token create --user usr_"));
        let link = OneTimeLink {
            url: Some("https://x/console/link#code".into()),
            expires_at: crossfade::samples::now(),
            mailed: false,
        };
        let mailed = Some(OneTimeLink { mailed: true, ..link.clone() });
        let mailed = UserPage { link: mailed, ..sample(UserKind::Person) }.render().unwrap();
        assert!(mailed.contains("This link was mailed to"), "{mailed}");
        let shown = UserPage { link: Some(link), ..sample(UserKind::Person) }.render().unwrap();
        assert!(shown.contains("Send this link to"), "{shown}");
        assert!(shown.contains("https://x/console/link#code"));
        let closing = |kind| UserPage { closing: vec![Role::Auditor], ..sample(kind) }.render().unwrap();
        assert!(closing(UserKind::Person).contains("You get a new link"));
        assert!(closing(UserKind::Program).contains("Its tokens end"));
        assert!(!shown.contains("may have kept one"));
        let reader = UserPage {
            may: May { manage: false, link: false, remove_factors: false, give: false },
            ..sample(UserKind::Person)
        };
        let reader = reader.render().unwrap();
        assert!(!reader.contains("Delete account") && !reader.contains("Grant role"), "{reader}");
    }

    #[test]
    fn a_form_says_what_a_role_covers() {
        let fields = |scope: &str| {
            Fields::default()
                .with("role", "viewer")
                .with("scope", scope)
                .with("property_id", "prop_0000000000000000000001")
                .with("client_id", " cl_0000000000000000000001 ")
                .with("environments", "staging")
        };
        let grant = grant_of(&fields("platform")).unwrap();
        assert_eq!((grant.property_id, grant.client_id), (None, None));
        assert_eq!(grant.environments, Some(vec!["staging".to_owned()]));
        assert!(grant_of(&fields("property")).unwrap().property_id.is_some());
        assert!(grant_of(&fields("client")).unwrap().client_id.is_some());
        for (wrong, field) in [
            (Fields::default().with("role", "king"), "role"),
            (
                Fields::default().with("role", "viewer").with("scope", "client").with("client_id", "Billing"),
                "client_id",
            ),
            (Fields::default().with("role", "viewer").with("scope", "property"), "property_id"),
        ] {
            assert_eq!(grant_of(&wrong).unwrap_err().field.as_deref(), Some(field));
        }
    }
}
