//! The simulated past: what the instance would contain if people and programs had used it for months. People make
//! changes through the API, programs authenticate, and the clock catches up with the present at the same time.

use super::{
    cast::{CLIENTS, Fate, MANAGED, PEOPLE, PIPELINE, Seed},
    movers::WATCHED,
};
use crate::{failure::Failure, remote::Api};
use crossfade_app::{App, NewToken};
use crossfade_authority::{Clock, Credentials, Source};
use crossfade_core::{
    ClientId, PropertyId,
    api::{
        Client, CreateClient, CreateGrant, CreateUser, Grant, Property, PropertyBody, RevealedSecret,
        RevokeSecret, RollBackRotation, RotateSecret, RotateSecretReply, SecretChanged, UpdateEnvironment,
        UpdateRegistration, User, UserKind,
    },
    registration::AuthMethod,
    roles::Role,
};
use reqwest::Method;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

/// Length of the simulated past.
pub(super) const SPAN: Duration = Duration::from_secs(200 * 86_400);

const DAY: u32 = 24;
/// Number of hours before the present in which every hour is simulated. Before that, only some hours of each day are.
const CLOSE: u32 = 96;
const REASONS: [&str; 4] =
    ["quarterly rotation", "90-day policy", "a colleague left the team", "new deployment"];

/// A registration with its secrets, as its programs know them.
struct Held {
    seed: &'static Seed,
    number: usize,
    client: ClientId,
    environment: &'static str,
    client_id: String,
    secret: String,
    /// The previous secret while it is retiring, when it was replaced, and the transition period.
    old: Option<(String, u32, u32)>,
    /// Ids of the latest rotation and of the secret that it replaced.
    latest: Option<(String, String)>,
}

/// A registration: the index of its client, and the environment.
#[derive(Clone, Copy)]
struct At(usize, &'static str);

enum Step {
    Create(usize),
    Rotate {
        at: At,
        hours: u32,
        leaked: bool,
    },
    Revoke(At),
    Extend(At, u32),
    RollBack(At),
    Disable(At),
    /// The programs of one registration request tokens.
    Use(At),
    /// The programs of every registration request tokens.
    UseAll,
    /// The programs of registrations whose transition is still running at the end request tokens.
    UseClosely,
}

/// Everything needed to simulate the past.
pub(super) struct Past<'a> {
    pub(super) app: &'a Arc<App>,
    pub(super) clock: &'a Clock,
    pub(super) url: &'a str,
    pub(super) owner: &'a Api,
}

/// Result of the simulated past.
pub(super) struct Present {
    held: Vec<Held>,
}

impl Present {
    /// Returns the id, OAuth `client_id` and secret of a client in production.
    pub(super) fn of(&self, name: &str) -> Result<(&ClientId, &str, &str), Failure> {
        let found = self.held.iter().find(|it| it.seed.name == name && it.environment == "production");
        let found = found.ok_or_else(|| Failure::failed(format!("The demo has no client {name}.")))?;
        Ok((&found.client, &found.client_id, &found.secret))
    }
}

impl Past<'_> {
    /// Simulates the past. Afterwards the clock is the machine's.
    pub(super) async fn play(self) -> Result<Present, Failure> {
        let mut stage = Stage {
            people: HashMap::new(),
            properties: HashMap::new(),
            held: Vec::new(),
            hours_left: (SPAN.as_secs() / 3600) as u32,
            past: self,
        };
        stage.begin().await?;
        for (hours_ago, step) in steps() {
            stage.go_to(hours_ago);
            stage.take(step).await?;
        }
        stage.go_to(0);
        stage.past.app.run_jobs().await?;
        Ok(Present { held: stage.held })
    }
}

struct Stage<'a> {
    past: Past<'a>,
    /// The API, by person.
    people: HashMap<&'static str, Api>,
    properties: HashMap<&'static str, PropertyId>,
    held: Vec<Held>,
    hours_left: u32,
}

/// Returns the events in order, each with the hours before the present.
fn steps() -> Vec<(u32, Step)> {
    let mut steps = Vec::new();
    for (number, seed) in CLIENTS.iter().enumerate() {
        let n = number as u32;
        steps.push(((196 - n * 37 % 41) * DAY + n % 9, Step::Create(number)));
        if seed.environments.contains(&"staging") {
            rotation(&mut steps, At(number, "staging"), (100 - n * 9 % 40) * DAY + n % 7, 24);
        }
        let live = At(number, "production");
        // Working hours of different people, so that no two clients are rotated in the same minute.
        let first = (150 - n * 13 % 30) * DAY + n % 8;
        rotation(&mut steps, live, first, [24, 72, 48, 24][number % 4]);
        if seed.fate == Fate::Overdue {
            continue;
        }
        rotation(&mut steps, live, (75 - n * 17 % 40) * DAY + n % 8, [48, 24, 168, 24][number % 4]);
        let recent = (30 - n * 7 % 22) * DAY + n % 8;
        match seed.fate {
            Fate::Kept if number % 2 == 0 => rotation(&mut steps, live, recent, 24),
            Fate::Transition(it) => {
                steps.push((it.began, Step::Rotate { at: live, hours: it.hours, leaked: false }))
            }
            Fate::Disabled => steps.push((recent, Step::Disable(live))),
            Fate::RolledBack => {
                rotation(&mut steps, live, recent, 72);
                steps.push((recent - 5, Step::RollBack(live)));
            }
            Fate::Leaked => {
                steps.push((recent + 1, Step::Use(live)));
                steps.push((recent, Step::Rotate { at: live, hours: 0, leaked: true }));
                steps.push((recent - 2, Step::Use(live)));
            }
            Fate::Extended => {
                rotation(&mut steps, live, recent, 24);
                steps.push((recent - 20, Step::Extend(live, 72)));
                steps.push((recent - 60, Step::Revoke(live)));
            }
            Fate::Kept | Fate::Watched | Fate::Overdue => {}
        }
    }
    steps.extend((7..196).step_by(7).map(|day| (day * DAY + 4, Step::UseAll)));
    steps.push((5, Step::UseAll));
    steps.extend((4..150).map(|day| (day * DAY + 3, Step::UseClosely)));
    steps.extend((0..CLOSE).map(|hour| (hour, Step::UseClosely)));
    // Earliest first, and within the same hour in this order, so that no program uses something that does not exist
    // yet.
    steps.sort_by_key(|(hours_ago, _)| std::cmp::Reverse(*hours_ago));
    steps
}

/// Adds a rotation, with uses shortly before, in the middle, and when all callers have moved.
fn rotation(steps: &mut Vec<(u32, Step)>, at: At, hours_ago: u32, hours: u32) {
    steps.push((hours_ago + 1, Step::Use(at)));
    steps.push((hours_ago, Step::Rotate { at, hours, leaked: false }));
    steps.push((hours_ago - hours / 3, Step::Use(at)));
    steps.push((hours_ago - hours + 2, Step::Use(at)));
}

impl Stage<'_> {
    /// Advances the time to this many hours before the present.
    fn go_to(&mut self, hours_ago: u32) {
        self.past.clock.advance(Duration::from_secs(3600) * (self.hours_left - hours_ago));
        self.hours_left = hours_ago;
    }

    /// Creates people, properties and policies.
    async fn begin(&mut self) -> Result<(), Failure> {
        let owner = self.past.owner;
        for name in CLIENTS.iter().map(|seed| seed.property) {
            if !self.properties.contains_key(name) {
                let property: Property =
                    owner.send(Method::POST, "/properties", &PropertyBody { name: name.to_owned() }).await?;
                self.properties.insert(name, property.id);
            }
        }
        for (name, role) in PEOPLE {
            let new = CreateUser { kind: None, email: Some(email(name)), name: Some(name.to_owned()) };
            let property = (role == Role::ApplicationManager).then(|| self.properties.get(MANAGED).cloned());
            self.person(&new, role, property.flatten(), None).await?;
        }
        let program =
            CreateUser { kind: Some(UserKind::Program), email: None, name: Some(PIPELINE.to_owned()) };
        let pipeline =
            self.person(&program, Role::SecretRotator, None, Some(vec!["staging".to_owned()])).await?;
        for (name, user) in [("Rosa", email("Rosa")), (PIPELINE, pipeline.id.to_string())] {
            let new = NewToken {
                user,
                name: "rotations".to_owned(),
                expires_days: None,
                scope: Vec::new(),
                only: None,
            };
            let token = self.past.app.create_token(&new).await?;
            self.people.insert(name, Api::connect(self.past.url, token.reveal().to_owned())?);
        }
        for (environment, days) in [("development", None), ("staging", Some(180))] {
            let body = UpdateEnvironment { max_age_days: Some(days), ..UpdateEnvironment::default() };
            let path = format!("/environments/{environment}");
            let _: serde_json::Value = owner.send(Method::PATCH, &path, &body).await?;
        }
        Ok(())
    }

    async fn person(
        &self,
        new: &CreateUser,
        role: Role,
        property_id: Option<PropertyId>,
        environments: Option<Vec<String>>,
    ) -> Result<User, Failure> {
        let owner = self.past.owner;
        let user: User = owner.send(Method::POST, "/users", new).await?;
        let grant = CreateGrant { role, property_id, client_id: None, environments };
        let _: Grant = owner.send(Method::POST, &format!("/users/{}/grants", user.id), &grant).await?;
        Ok(user)
    }

    async fn take(&mut self, step: Step) -> Result<(), Failure> {
        match step {
            Step::Create(number) => self.create(number).await,
            Step::Rotate { at, hours, leaked } => self.rotate(at, hours, leaked).await,
            Step::Revoke(at) => {
                let body = RevokeSecret {
                    reason: Some("every caller has moved".to_owned()),
                    ..RevokeSecret::default()
                };
                self.change(at, "revoke", &body).await
            }
            Step::Extend(at, hours) => {
                let later = self.past.clock.now().after(Duration::from_secs(3600) * hours);
                let body = crossfade_core::api::ExtendSecret {
                    expires_at: later.to_string(),
                    reason: Some("the printers are updated by hand".to_owned()),
                };
                self.change(at, "extend", &body).await
            }
            Step::RollBack(at) => self.roll_back(at).await,
            Step::Disable(at) => {
                let body = UpdateRegistration {
                    enabled: Some(false),
                    confirm_client_name: Some(CLIENTS[at.0].name.to_owned()),
                    reason: Some("every account was moved".to_owned()),
                    ..UpdateRegistration::default()
                };
                let path = self.path(at)?;
                let _: serde_json::Value = self.past.owner.send(Method::PATCH, &path, &body).await?;
                Ok(())
            }
            Step::Use(at) => {
                let hour = self.hours_left;
                self.held(at).and_then(|held| held.fetch(self.past.app, hour))?;
                self.flush().await
            }
            Step::UseAll => self.use_where(|_| true).await,
            Step::UseClosely => {
                self.use_where(|held| matches!(held.seed.fate, Fate::Transition(_) | Fate::Watched)).await
            }
        }
    }

    /// Lets the programs of some registrations request tokens, and runs due background jobs.
    async fn use_where(&mut self, which: impl Fn(&Held) -> bool) -> Result<(), Failure> {
        for held in self.held.iter().filter(|held| which(held)) {
            held.fetch(self.past.app, self.hours_left)?;
        }
        self.flush().await
    }

    async fn flush(&self) -> Result<(), Failure> {
        // In the days that are close, what is due is done every hour, as it would have been.
        match self.hours_left < CLOSE {
            true => self.past.app.run_jobs().await?,
            false => self.past.app.flush_evidence().await?,
        }
        Ok(())
    }

    async fn create(&mut self, number: usize) -> Result<(), Failure> {
        let seed = &CLIENTS[number];
        let body = CreateClient {
            name: seed.name.to_owned(),
            property_id: self.properties.get(seed.property).cloned().ok_or_else(|| missing(seed.property))?,
            description: Some(seed.description.to_owned()),
            owners: vec![super::OWNER.to_owned()],
            environments: seed.environments.iter().map(|slug| (*slug).to_owned()).collect(),
            client_id: None,
            adopt: false,
            require_value: false,
        };
        let client: Client = self.past.owner.send(Method::POST, "/clients", &body).await?;
        for registration in client.registrations {
            let environment = seed.environments.iter().find(|slug| **slug == registration.environment);
            let value = registration.secret.and_then(|RevealedSecret { value, .. }| value);
            self.held.push(Held {
                seed,
                number,
                client: client.id.clone(),
                environment: environment.ok_or_else(|| missing(seed.name))?,
                client_id: registration.client_id.to_string(),
                secret: value.ok_or_else(|| missing(seed.name))?,
                old: None,
                latest: None,
            });
        }
        Ok(())
    }

    async fn rotate(&mut self, at: At, hours: u32, leaked: bool) -> Result<(), Failure> {
        let (path, hour) = (self.path(at)?, self.hours_left);
        let reason = if leaked { "found in a public repository" } else { REASONS[at.0 % REASONS.len()] };
        let body = RotateSecret {
            transition_hours: Some(hours.into()),
            confirm_client_name: Some(CLIENTS[at.0].name.to_owned()),
            reason: Some(reason.to_owned()),
            compromised: leaked,
            revoke_tokens: leaked,
            ..RotateSecret::default()
        };
        let by = match at.1 {
            "staging" => self.people.get(PIPELINE),
            _ if at.0.is_multiple_of(3) => None,
            _ => self.people.get("Rosa"),
        };
        let by = by.unwrap_or(self.past.owner);
        let reply: RotateSecretReply =
            by.send(Method::POST, &format!("{path}/secrets/rotate"), &body).await?;
        let held = self.held_mut(at)?;
        let new = reply.secret.value.ok_or_else(|| missing("a new secret"))?;
        let old = std::mem::replace(&mut held.secret, new);
        held.old = (hours > 0).then_some((old, hour, hours));
        held.latest = Some((reply.rotation.id.to_string(), reply.previous_secret.id.to_string()));
        Ok(())
    }

    /// Changes the old secret of a registration.
    async fn change(&mut self, at: At, verb: &str, body: &impl serde::Serialize) -> Result<(), Failure> {
        let (_, secret) = self.held(at)?.latest.clone().ok_or_else(|| missing("a rotation"))?;
        let path = format!("{}/secrets/{secret}/{verb}", self.path(at)?);
        let changed: SecretChanged = self.past.owner.send(Method::POST, &path, body).await?;
        let hour = self.hours_left;
        let held = self.held_mut(at)?;
        held.old = match (held.old.take(), changed.secret.expires_at) {
            (Some((old, began, _)), Some(_)) if changed.secret.state.is_valid() => {
                Some((old, began, began - hour + 72))
            }
            _ => None,
        };
        Ok(())
    }

    async fn roll_back(&mut self, at: At) -> Result<(), Failure> {
        let (rotation, _) = self.held(at)?.latest.clone().ok_or_else(|| missing("a rotation"))?;
        let path = format!("{}/rotations/{rotation}/rollback", self.path(at)?);
        let body = RollBackRotation {
            reason: Some("half of the callers had the wrong value".to_owned()),
            acknowledge_in_use: true,
            compromised: false,
            revoke_tokens: false,
        };
        let _: SecretChanged = self.past.owner.send(Method::POST, &path, &body).await?;
        let held = self.held_mut(at)?;
        let (old, ..) = held.old.take().ok_or_else(|| missing("an old secret"))?;
        held.secret = old;
        Ok(())
    }

    fn held(&self, at: At) -> Result<&Held, Failure> {
        self.held.iter().find(|held| held.is(at)).ok_or_else(|| missing(CLIENTS[at.0].name))
    }

    fn held_mut(&mut self, at: At) -> Result<&mut Held, Failure> {
        self.held.iter_mut().find(|held| held.is(at)).ok_or_else(|| missing(CLIENTS[at.0].name))
    }

    fn path(&self, at: At) -> Result<String, Failure> {
        Ok(format!("/clients/{}/environments/{}", self.held(at)?.client, at.1))
    }
}

impl Held {
    fn is(&self, At(number, environment): At) -> bool {
        self.number == number && self.environment == environment
    }

    /// Lets each program authenticate, at this many hours before the present.
    fn fetch(&self, app: &App, hours_ago: u32) -> Result<(), Failure> {
        let disabled = self.seed.fate == Fate::Disabled && hours_ago < 40 * DAY;
        // The watched programs are different ones: these have been silent for longer than any of their pauses.
        let gone = self.seed.name == WATCHED && self.environment == "production" && hours_ago < 3 * DAY;
        let environment = app.authority().environment(self.environment).filter(|_| !disabled && !gone);
        let Some(environment) = environment else { return Ok(()) };
        let slug = self.seed.slug();
        for caller in 0..self.callers() {
            let agent = format!("{slug}/{}.{}", 1 + self.number % 3, self.number % 7);
            let instance = if self.callers() > 6 { format!("{slug}-{caller}") } else { String::new() };
            let ip =
                Ipv4Addr::new(10, 20 + self.number as u8, self.environment.len() as u8, 10 + caller as u8);
            let credentials = Credentials {
                client_id: &self.client_id,
                secret: self.secret_of(caller, hours_ago),
                further_readings: &[],
                method: AuthMethod::ClientSecretBasic,
                source: Source { ip: IpAddr::V4(ip), user_agent: &agent, instance: &instance },
                sender: Some(IpAddr::V4(ip)),
            };
            if app.authority().authenticate(&environment, &credentials).is_err() {
                let sentence = format!("A program of {} was refused {hours_ago} h ago.", self.seed.name);
                return Err(Failure::failed(sentence));
            }
        }
        Ok(())
    }

    fn callers(&self) -> u32 {
        match (self.seed.fate, self.environment) {
            (Fate::Transition(it), "production") => it.callers,
            _ => 1 + self.number as u32 % 3,
        }
    }

    /// Returns the secret of a program at this time. The programs get the new secret one after the other.
    fn secret_of(&self, caller: u32, hours_ago: u32) -> &str {
        let Some((old, began, hours)) = &self.old else { return &self.secret };
        let passed = began.saturating_sub(hours_ago);
        let moves = match self.seed.fate {
            Fate::Transition(it) if it.began == *began => match caller < it.callers - it.stay {
                true => (caller + 1) * it.every,
                false => u32::MAX,
            },
            _ => (caller + 1) * hours / (self.callers() + 2),
        };
        if passed < moves.min(*hours) { old } else { &self.secret }
    }
}

/// Returns the email address of a person.
pub(super) fn email(name: &str) -> String {
    format!("{}@example.com", name.to_lowercase())
}

fn missing(what: &str) -> Failure {
    Failure::failed(format!("The demo failed. Missing: {what}."))
}
