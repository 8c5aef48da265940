//! Lists read a fixed number of statements, however long they are.

use crate::{
    console::browser::Browser,
    engines::on_both_engines,
    world::{Client, OWNER, Principal, World},
};
use crossfade_app::NewToken;
use crossfade_store::TRACE_STATEMENTS;
use serde_json::json;
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};
use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    dispatcher::DefaultGuard,
    field::{Field, Visit},
    span,
};

on_both_engines! {
    a_list_reads_as_many_statements_of_thirty_rows_as_of_three,
    a_hand_over_takes_few_statements_for_many_clients,
}

/// Names of executed statements, each with its number.
pub type Counts = BTreeMap<String, usize>;

/// Counts statements.
#[derive(Clone, Default)]
pub struct Counter(Arc<Mutex<Counts>>);

impl Counter {
    /// Returns the statements so far.
    pub fn taken(&self) -> Counts {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// Gives the events of this thread to a subscriber until the guard is dropped.
pub fn listen(subscriber: impl Subscriber + Send + Sync + 'static) -> DefaultGuard {
    // With a single subscriber in the process, whether an event is told of would be decided by the thread that comes to it
    // first, and another test may have none.
    static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Counter::default()));
    LazyLock::force(&ANOTHER);
    tracing::subscriber::set_default(subscriber)
}

/// Everything that is logged, as one text.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Writes what this thread logs until the guard is dropped.
    pub fn listen(&self) -> DefaultGuard {
        let writer = self.clone();
        let log = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
        listen(log.with_ansi(false).with_writer(move || writer.clone()).finish())
    }

    /// Returns what was logged so far.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TRACE_STATEMENTS
    }

    fn event(&self, event: &Event<'_>) {
        let mut name = Name::default();
        event.record(&mut name);
        *self.0.lock().unwrap().entry(format!("{}/{}", name.table, name.statement)).or_default() += 1;
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Name {
    table: String,
    statement: String,
}

impl Visit for Name {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "table" => self.table = value.to_owned(),
            _ => self.statement = value.to_owned(),
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// What the lists show, and who reads them.
struct Stage<'w> {
    world: &'w World,
    owner: Principal<'w>,
    browser: Browser<'w>,
    /// A client that is rotated often, with a transition and drills.
    client: Client,
    property: String,
    /// An account with many grants.
    user: String,
}

impl<'w> Stage<'w> {
    async fn set(world: &'w World) -> Self {
        let (owner, browser) = (world.owner().await, world.signed_in().await);
        let client = world.client("Billing", &["production"]).await;
        let property = owner.get(&format!("/clients/{}", client.id)).await.ok()["property_id"].clone();
        let user = owner.post("/users", json!({"email": "grace@example.com"})).await.created()["id"].clone();
        let [property, user] = [property, user].map(|id| id.as_str().unwrap().to_owned());
        Self { world, owner, browser, client, property, user }
    }

    /// Adds the row with this number to each list.
    async fn grow(&self, n: u64) {
        let Self { world, owner, client, .. } = self;
        let other = world.client(&format!("Client {n}"), &["staging", "production"]).await;
        owner.post(&other.path("production", "/secrets/rotate"), other.rotation(24)).await.created();
        let slug = json!({"slug": format!("e{n}"), "name": format!("E{n}"), "kind": "test"});
        owner.post("/environments", slug).await.created();
        let path = format!("/clients/{}/environments", other.id);
        owner.post(&path, json!({"environment": format!("e{n}")})).await.created();
        let email = format!("user{n}@example.com");
        let user = owner.post("/users", json!({"email": email})).await.created()["id"].clone();
        for user in [user.as_str().unwrap(), &self.user] {
            let grant = json!({"role": "viewer", "client_id": other.id});
            owner.post(&format!("/users/{user}/grants"), grant).await.created();
        }
        let new = NewToken {
            user: OWNER.to_owned(),
            name: format!("T{n}"),
            expires_days: None,
            scope: Vec::new(),
            only: None,
        };
        world.app.create_token(&new).await.unwrap();
        world.browser().sign_in(OWNER, crate::console::browser::PASSWORD).await;
        let mut rotation = client.rotation(168);
        rotation["end_running_transition"] = true.into();
        let rotate = client.path("production", "/secrets/rotate");
        let secret = owner.post(&rotate, rotation).await.created()["secret"]["value"].clone();
        let (oauth, it) = (world.oauth("production"), client.registration("production"));
        // Each from a network of its own, because failures of a client from one network are soon refused.
        let oauth = oauth.from([192, 0, n as u8, 1], "agent/1");
        oauth.token(&it.client_id, secret.as_str().unwrap()).await.is_token();
        oauth.token(&it.client_id, "wrong").await.is_invalid_client();
        world.run_jobs().await;
    }

    /// Adds drills of the secret that retires now.
    async fn add_drills(&self, number: u64) {
        for n in 0..number {
            let starts_at = self.world.now().after(Duration::from_secs(3600 * (n + 1)));
            let body = json!({
                "starts_at": starts_at, "length_seconds": 60, "reason": "who is left",
                "confirm_client_name": self.client.name,
            });
            let drill = self.owner.post(&self.client.path("production", "/drills"), body).await.created();
            let path = self.client.path("production", &format!("/drills/{}", drill["id"].as_str().unwrap()));
            self.owner.delete(&path, json!({"reason": "enough"})).await.ok();
        }
    }

    fn lists(&self) -> Vec<String> {
        let registration = |rest: &str| self.client.path("production", rest);
        let list = |path: String| format!("/api/v1{path}?limit=200");
        let console = |rest: &str| format!("/console{rest}");
        let registered = format!("/clients/{}/environments/production", self.client.id);
        let mut lists: Vec<_> = [
            "/properties".to_owned(),
            "/clients".to_owned(),
            registration("/secrets"),
            registration("/rotations"),
            registration("/drills"),
            registration("/usage"),
            registration("/usage/series"),
            "/users".to_owned(),
            format!("/users/{}/grants", self.user),
            "/tokens".to_owned(),
            "/audit-events".to_owned(),
            "/authentication-failures".to_owned(),
        ]
        .map(list)
        .into();
        lists.push("/api/v1/environments".to_owned());
        lists.push("/api/v1/environments/production/signing-keys".to_owned());
        lists.push(format!("/api/v1/clients/{}", self.client.id));
        lists.push(format!("/api/v1{}", registration("/change-over")));
        lists.extend(
            [
                "",
                "/clients",
                "/clients?sort=oldest-secret",
                "/properties",
                &format!("/properties/{}", self.property),
                "/environments",
                "/environments/production",
                "/audit",
                "/people",
                &format!("/people/{}", self.user),
                "/account",
                &format!("/clients/{}", self.client.id),
                &format!("/clients/{}/settings", self.client.id),
                &format!("{registered}/security"),
                &format!("{registered}/settings"),
            ]
            .map(console),
        );
        lists
    }

    /// Reads each list, and counts its statements. The first time it also writes what a reader leaves behind.
    async fn count(&self) -> Vec<(String, Counts)> {
        let mut counts = Vec::new();
        for list in self.lists() {
            let mut last = Counts::new();
            for _ in 0..2 {
                let counter = Counter::default();
                let counting = listen(counter.clone());
                let answer = match list.strip_prefix("/api/v1") {
                    Some(path) => self.owner.get(path).await,
                    None => self.browser.get(&list).await,
                };
                drop(counting);
                assert_eq!(answer.status.as_u16(), 200, "{list}");
                last = std::mem::take(&mut *counter.0.lock().unwrap());
            }
            assert!(!last.is_empty(), "{list}");
            counts.push((list, last));
        }
        counts
    }
}

async fn a_list_reads_as_many_statements_of_thirty_rows_as_of_three(world: World) {
    let stage = Stage::set(&world).await;
    let mut counts = Vec::new();
    for numbers in [1..4, 4..31] {
        let (last, drills) = (numbers.end, numbers.end - numbers.start);
        for n in numbers {
            stage.grow(n).await;
        }
        stage.add_drills(drills).await;
        assert_eq!(world.number("SELECT COUNT(*) FROM properties").await, last as i64);
        counts.push(stage.count().await);
    }
    let [few, many] = [0, 1].map(|at| &counts[at]);
    let mut grown = String::new();
    for ((list, few), (_, many)) in few.iter().zip(many) {
        // The end of a list, or a kind of object that first appears on a longer page, costs one statement once.
        if many.iter().any(|(name, times)| times > few.get(name).unwrap_or(&1)) {
            grown += &format!("\n{list}: {few:?} then {many:?}");
        }
    }
    assert!(grown.is_empty(), "{grown}");
}

async fn a_hand_over_takes_few_statements_for_many_clients(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let (owner, grace) = (world.owner().await, json!({"email": "grace@example.com"}));
    let grace = owner.post("/users", grace).await.created()["id"].clone();
    crate::owners::hand_over::insert_clients(&world, &client, 640, &["grace@example.com"]).await;
    let counter = Counter::default();
    let counting = listen(counter.clone());
    let path = format!("/users/{}", grace.as_str().unwrap());
    owner.delete(&path, json!({"confirm_user_name": "grace"})).await.ok();
    drop(counting);
    let counts = counter.taken();
    // 64 rows in one.
    let of = |name: &str| counts.get(name).copied().unwrap_or_default();
    assert_eq!((of("clients/SET_OWNERS"), of("clients/UPDATE")), (10, 0), "{counts:?}");
    let all: usize = counts.values().sum();
    assert!(all < 100, "{all}: {counts:?}");
}
