//! The life of a registration as a state machine: random operations, restarts and clock moves, and after each
//! of them the whole instance must be what a model of rules 1 to 8, 12 and 13 says. The model is
//! written from the rules, not from the code, and knows no database.

use crate::engines::{run_on_postgres, run_on_sqlite};
use crate::{
    oauth::jws::Parts,
    world::{Client, World},
};
use crossfade_core::Timestamp;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};
use std::time::Duration;

const HOUR: i64 = 3_600_000_000;

/// What can happen. Numbers that choose among things there are wrap around.
#[derive(Clone, Debug)]
enum Op {
    Rotate {
        hours: i64,
        end_running: bool,
        compromised: bool,
        expect: Expect,
        confirm: bool,
    },
    Revoke {
        secret: usize,
    },
    Extend {
        secret: usize,
        hours: i64,
        micros: i64,
    },
    RollBack {
        rotation: usize,
        acknowledge: bool,
    },
    /// Two windows of so many seconds, ten minutes apart, the first of them so far from now.
    Drill {
        after: i64,
        length: i64,
    },
    StopDrill,
    /// To so many microseconds before or behind a boundary of a window that is to come.
    ToWindow {
        boundary: usize,
        micros: i64,
    },
    Present {
        by_post: bool,
    },
    Enable(bool),
    Advance {
        micros: i64,
    },
    /// To so many microseconds before or behind the deadline of the retiring secret.
    ToDeadline {
        micros: i64,
    },
    /// The process is gone without a farewell, and another one starts.
    Restart,
    /// The process is killed and restarts with the machine's clock set back.
    RestartInThePast {
        micros: i64,
    },
    /// The machine's clock is set back under a running process.
    ClockBack {
        micros: i64,
    },
    /// By how many hours the guard extends a deadline at a time.
    Policy(Option<i64>),
    Jobs,
}

/// What a rotation says to expect as the current secret.
#[derive(Clone, Debug)]
enum Expect {
    Nothing,
    Current,
    Older,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let hours = prop_oneof![Just(0_i64), Just(1), Just(24), Just(168), 0..169_i64, Just(169), Just(-1)];
    let expect =
        prop_oneof![4 => Just(Expect::Nothing), 2 => Just(Expect::Current), 1 => Just(Expect::Older)];
    let rotate = (hours, any::<bool>(), prop::bool::weighted(0.2), expect, prop::bool::weighted(0.95))
        .prop_map(|(hours, end_running, compromised, expect, confirm)| Op::Rotate {
            hours,
            end_running,
            compromised,
            expect,
            confirm,
        });
    let op = prop_oneof![
        6 => rotate,
        2 => (0..3_usize).prop_map(|secret| Op::Revoke { secret }),
        3 => (0..3_usize, 0..170_i64, -1..2_i64)
            .prop_map(|(secret, hours, micros)| Op::Extend { secret, hours, micros }),
        3 => (0..2_usize, any::<bool>()).prop_map(|(rotation, acknowledge)| Op::RollBack { rotation, acknowledge }),
        3 => (prop_oneof![Just(0_i64), 0..HOUR * 30], 4..301_i64)
            .prop_map(|(after, length)| Op::Drill { after, length }),
        1 => Just(Op::StopDrill),
        3 => (0..4_usize, -1..2_i64).prop_map(|(boundary, micros)| Op::ToWindow { boundary, micros }),
        3 => any::<bool>().prop_map(|by_post| Op::Present { by_post }),
        1 => any::<bool>().prop_map(Op::Enable),
        2 => prop_oneof![0..2_i64, HOUR..HOUR * 200].prop_map(|micros| Op::Advance { micros }),
        4 => prop_oneof![-1..2_i64, -HOUR - 1..-HOUR + 2].prop_map(|micros| Op::ToDeadline { micros }),
        1 => Just(Op::Restart),
        1 => (0..HOUR * 50).prop_map(|micros| Op::RestartInThePast { micros }),
        1 => (0..HOUR * 50).prop_map(|micros| Op::ClockBack { micros }),
        1 => prop::option::weighted(0.8, 1..169_i64).prop_map(Op::Policy),
        3 => Just(Op::Jobs),
    ];
    prop::collection::vec(op, 1..25)
}

struct Secret {
    id: String,
    value: String,
    expires_at: Option<i64>,
    revoked: bool,
    used: bool,
    /// The windows of its drill that is not over, and of those before.
    windows: Vec<(i64, i64)>,
    drill: Option<String>,
}

impl Secret {
    /// Ends its drill: the window that is open ends now, the later ones are gone.
    fn stop_drill(&mut self, now: i64) {
        self.windows.retain(|(from, _)| *from < now);
        self.windows.iter_mut().for_each(|(_, to)| *to = now.min(*to));
    }

    fn is_drilled(&self, now: i64) -> bool {
        self.windows.iter().any(|(from, to)| *from <= now && now < *to)
    }

    fn has_drill(&self, now: i64) -> bool {
        self.windows.iter().any(|(_, to)| now < *to)
    }
}

struct Rotation {
    id: String,
    rotated_at: i64,
    outgoing: usize,
    incoming: usize,
    decided: Option<&'static str>,
}

/// What the rules say, oldest first.
struct Model {
    secrets: Vec<Secret>,
    rotations: Vec<Rotation>,
    enabled: bool,
    policy: Option<i64>,
    /// Access tokens that were issued since the registration was last disabled, and those from before.
    tokens: Vec<String>,
    ended_tokens: Vec<String>,
}

type Outcome = Result<(), (u16, &'static str)>;

impl Model {
    fn state(&self, secret: usize, now: i64) -> &'static str {
        let secret = &self.secrets[secret];
        match secret.expires_at {
            _ if secret.revoked => "revoked",
            None => "current",
            Some(deadline) if now < deadline => "retiring",
            Some(_) => "expired",
        }
    }

    fn find(&self, state: &str, now: i64) -> Option<usize> {
        (0..self.secrets.len()).find(|index| self.state(*index, now) == state)
    }

    fn current(&self, now: i64) -> usize {
        self.find("current", now).unwrap()
    }

    fn ended_as(&self, rotation: &Rotation, now: i64) -> &'static str {
        rotation.decided.unwrap_or(match self.state(rotation.outgoing, now) {
            "current" => "retiring",
            state => state,
        })
    }

    fn decide(&mut self, outgoing: usize, as_what: &'static str) {
        let latest = self.rotations.iter_mut().rev().find(|it| it.outgoing == outgoing);
        latest.unwrap().decided = Some(as_what);
    }
}

/// A world, its client, and what should be true of it.
struct Play {
    world: World,
    client: Client,
    model: Model,
    /// The last time at which anything was changed.
    changed_at: i64,
}

impl Play {
    async fn new(world: World) -> Self {
        let client = world.client("Billing API", &["production"]).await;
        let first = client.registration("production");
        let secret = Secret {
            id: first.secret_id.clone(),
            value: first.secret.clone(),
            expires_at: None,
            revoked: false,
            used: false,
            windows: vec![],
            drill: None,
        };
        let model = Model {
            secrets: vec![secret],
            rotations: vec![],
            enabled: true,
            policy: None,
            tokens: vec![],
            ended_tokens: vec![],
        };
        let changed_at = world.now().as_micros();
        Self { world, client, model, changed_at }
    }

    fn now(&self) -> i64 {
        self.world.now().as_micros()
    }

    async fn post(&self, rest: &str, body: Value, expected: &Outcome) -> Value {
        let answer = self.world.owner().await.post(&self.client.path("production", rest), body).await;
        match expected {
            Ok(()) => {
                assert!(answer.status.is_success(), "{}", String::from_utf8_lossy(&answer.bytes));
                answer.json()
            }
            Err((status, code)) => answer.refused(*status, code),
        }
    }

    async fn apply(&mut self, op: &Op) {
        let now = self.now();
        match op {
            Op::Rotate { .. } => self.rotate(op, now).await,
            Op::Revoke { secret } => {
                let secret = self.nth_newest(*secret);
                let expected = match self.model.state(secret, now) {
                    "retiring" => Ok(()),
                    _ => Err((409, "not_retiring")),
                };
                let path = format!("/secrets/{}/revoke", self.model.secrets[secret].id);
                self.post(&path, json!({"reason": "done"}), &expected).await;
                if expected.is_ok() {
                    self.model.secrets[secret].revoked = true;
                    self.model.secrets[secret].stop_drill(now);
                    self.model.decide(secret, "revoked");
                }
            }
            Op::Extend { secret, hours, micros } => {
                self.extend(self.nth_newest(*secret), *hours, *micros, now).await
            }
            Op::RollBack { rotation, acknowledge } => self.roll_back(*rotation, *acknowledge, now).await,
            Op::Drill { after, length } => self.drill(*after, *length, now).await,
            Op::StopDrill => self.stop_drill(now).await,
            Op::ToWindow { boundary, micros } => {
                let retiring = self.model.find("retiring", now);
                let windows = retiring.map(|it| self.model.secrets[it].windows.clone()).unwrap_or_default();
                let boundaries: Vec<_> = windows.iter().flat_map(|(from, to)| [*from, *to]).collect();
                if let Some(boundary) = boundaries.get(boundary % boundaries.len().max(1)) {
                    self.advance((boundary - now + micros).max(0));
                }
            }
            Op::Present { by_post } => self.present(*by_post, now).await,
            Op::Enable(enabled) => {
                let body = json!({"enabled": enabled, "confirm_client_name": self.client.name});
                self.world.owner().await.patch(&self.client.path("production", ""), body).await.ok();
                self.model.enabled = *enabled;
                if !enabled {
                    self.model.ended_tokens.append(&mut self.model.tokens);
                    self.model.secrets.iter_mut().for_each(|it| it.stop_drill(now));
                }
            }
            Op::Advance { micros } => self.advance(*micros),
            Op::ToDeadline { micros } => {
                if let Some(retiring) = self.model.find("retiring", now) {
                    let deadline = self.model.secrets[retiring].expires_at.unwrap();
                    self.advance((deadline - now + micros).max(0));
                }
            }
            Op::Restart => self.world.restart().await,
            Op::RestartInThePast { micros } => {
                self.world.restart_at(Timestamp::from_micros(now - micros)).await;
                assert!(self.now() >= self.changed_at, "a restart never goes back behind what was stored");
            }
            Op::ClockBack { micros } => {
                self.world.clock.set(Timestamp::from_micros(now - micros));
                assert_eq!(self.now(), now, "time never runs backwards");
                self.world.clock.set(Timestamp::from_micros(now));
            }
            Op::Policy(hours) => {
                let body = json!({"guard_extension_hours": hours});
                self.world.owner().await.patch("/environments/production", body).await.ok();
                self.model.policy = *hours;
            }
            Op::Jobs => self.jobs(now).await,
        }
    }

    fn nth_newest(&self, n: usize) -> usize {
        let count = self.model.secrets.len();
        count - 1 - n % count
    }

    fn advance(&self, micros: i64) {
        self.world.advance(Duration::from_micros(micros.unsigned_abs()));
    }

    async fn rotate(&mut self, op: &Op, now: i64) {
        let Op::Rotate { hours, end_running, compromised, expect, confirm } = op else { return };
        let (current, running) = (self.model.current(now), self.model.find("retiring", now));
        let older = self.model.secrets.iter().position(|it| it.id != self.model.secrets[current].id);
        let expected_current = match expect {
            Expect::Nothing => None,
            Expect::Current => Some(current),
            Expect::Older => older,
        };
        let expected = if !(0..=168).contains(hours) {
            Err((422, "transition_out_of_range"))
        } else if !confirm {
            Err((422, "confirmation_mismatch"))
        } else if *compromised && *hours > 0 {
            Err((422, "compromised_needs_zero"))
        } else if expected_current.is_some_and(|secret| secret != current) {
            Err((409, "rotation_conflict"))
        } else if running.is_some() && !end_running && !compromised {
            Err((409, "transition_in_progress"))
        } else {
            Ok(())
        };
        let mut body = json!({
            "transition_hours": hours,
            "confirm_client_name": if *confirm { "Billing API" } else { "billing api" },
            "end_running_transition": end_running,
            "compromised": compromised,
            "reason": "because",
        });
        if let Some(secret) = expected_current {
            body["expected_current_secret_id"] = self.model.secrets[secret].id.as_str().into();
        }
        let reply = self.post("/secrets/rotate", body, &expected).await;
        if expected.is_err() {
            return;
        }
        if let Some(superseded) = running {
            self.model.secrets[superseded].revoked = true;
            self.model.secrets[superseded].stop_drill(now);
            self.model.decide(superseded, "superseded");
        }
        self.model.secrets[current].expires_at = Some(now + hours * HOUR);
        self.model.secrets[current].revoked = *compromised;
        self.model.secrets.push(Secret {
            id: reply["secret"]["id"].as_str().unwrap().to_owned(),
            value: reply["secret"]["value"].as_str().unwrap().to_owned(),
            expires_at: None,
            revoked: false,
            used: false,
            windows: vec![],
            drill: None,
        });
        self.model.rotations.push(Rotation {
            id: reply["rotation"]["id"].as_str().unwrap().to_owned(),
            rotated_at: now,
            outgoing: current,
            incoming: self.model.secrets.len() - 1,
            decided: None,
        });
        self.changed_at = now;
    }

    async fn extend(&mut self, secret: usize, hours: i64, micros: i64, now: i64) {
        let rotation = self.model.rotations.iter().rev().find(|it| it.outgoing == secret);
        let rotated_at = rotation.map_or(now, |it| it.rotated_at);
        let until = rotated_at + hours * HOUR + micros;
        let expected = match (self.model.state(secret, now), self.model.secrets[secret].expires_at) {
            ("retiring", Some(before))
                if until > before && until > now && until <= rotated_at + 168 * HOUR =>
            {
                Ok(())
            }
            ("retiring", _) => Err((422, "extension_out_of_range")),
            _ => Err((409, "not_retiring")),
        };
        let path = format!("/secrets/{}/extend", self.model.secrets[secret].id);
        let body = json!({"expires_at": Timestamp::from_micros(until).to_string(), "reason": "one is late"});
        self.post(&path, body, &expected).await;
        if expected.is_ok() {
            self.model.secrets[secret].expires_at = Some(until);
            self.changed_at = now;
        }
    }

    async fn drill(&mut self, after: i64, length: i64, now: i64) {
        const APART: i64 = 600;
        let (from, second) = (now + after, 1_000_000);
        let windows = [0, APART].map(|later| from + later * second).map(|at| (at, at + length * second));
        let retiring = self.model.find("retiring", now);
        let deadline = retiring.and_then(|it| self.model.secrets[it].expires_at);
        let expected = if !(5..=900).contains(&length) {
            Err((422, "invalid_body"))
        } else if !self.model.enabled {
            Err((409, "registration_disabled"))
        } else if retiring.is_none() {
            Err((409, "not_retiring"))
        } else if deadline.is_some_and(|deadline| windows[1].1 > deadline) {
            Err((422, "invalid_body"))
        } else if retiring.is_some_and(|it| self.model.secrets[it].has_drill(now)) {
            Err((409, "drill_in_progress"))
        } else {
            Ok(())
        };
        let body = json!({
            "starts_at": Timestamp::from_micros(from),
            "length_seconds": length,
            "repeat": 2,
            "every_seconds": APART,
            "confirm_client_name": "Billing API",
            "reason": "who is left",
        });
        let reply = self.post("/drills", body, &expected).await;
        if let (Ok(()), Some(retiring)) = (expected, retiring) {
            self.model.secrets[retiring].windows.extend(windows);
            self.model.secrets[retiring].drill = reply["id"].as_str().map(str::to_owned);
            self.changed_at = now;
        }
    }

    /// The drill that was scheduled last of all.
    async fn stop_drill(&mut self, now: i64) {
        let owner = self.world.owner().await;
        let drills = owner.get(&self.client.path("production", "/drills")).await.ok();
        let Some(id) = drills["items"][0]["id"].as_str() else { return };
        let secret = self.model.secrets.iter().position(|it| it.drill.as_deref() == Some(id)).unwrap();
        let answer = owner.delete(&self.client.path("production", &format!("/drills/{id}")), json!({})).await;
        if self.model.secrets[secret].has_drill(now) {
            answer.ok();
            self.model.secrets[secret].stop_drill(now);
            self.changed_at = now;
        } else {
            answer.refused(409, "drill_over");
        }
    }

    async fn roll_back(&mut self, rotation: usize, acknowledge: bool, now: i64) {
        let count = self.model.rotations.len();
        if count == 0 {
            return;
        }
        let index = count - 1 - rotation % count;
        let it = &self.model.rotations[index];
        let (outgoing, incoming) = (it.outgoing, it.incoming);
        let running = index == count - 1 && self.model.ended_as(it, now) == "retiring";
        let expected = if !running {
            Err((409, "not_retiring"))
        } else if self.model.secrets[incoming].used && !acknowledge {
            Err((409, "newer_secret_in_use"))
        } else {
            Ok(())
        };
        let path = format!("/rotations/{}/rollback", it.id);
        self.post(&path, json!({"reason": "a caller fails", "acknowledge_in_use": acknowledge}), &expected)
            .await;
        if expected.is_ok() {
            self.model.secrets[outgoing].expires_at = None;
            self.model.secrets[outgoing].stop_drill(now);
            self.model.secrets[incoming].revoked = true;
            // It was current and had no deadline; the one that it gets is its end.
            self.model.secrets[incoming].expires_at = Some(now);
            self.model.rotations[index].decided = Some("rolled_back");
            self.changed_at = now;
        }
    }

    /// The guard extends from an hour before the deadline on, if the secret is still needed.
    async fn jobs(&mut self, now: i64) {
        self.world.run_jobs().await;
        let Some(retiring) = self.model.find("retiring", now) else { return };
        let rotation = self.model.rotations.iter().rev().find(|it| it.outgoing == retiring).unwrap();
        let (latest, incoming) = (rotation.rotated_at + 168 * HOUR, &self.model.secrets[rotation.incoming]);
        let deadline = self.model.secrets[retiring].expires_at.unwrap();
        let mark = deadline - HOUR;
        let due =
            self.model.policy.filter(|_| self.model.enabled && rotation.rotated_at < mark && mark <= now);
        let Some(hours) = due else { return };
        let extended = (deadline + hours * HOUR).min(latest);
        // Whoever has used both secrets may be gone from the old one: what follows from that is not modelled here.
        let sure = !incoming.used;
        let secrets =
            self.world.owner().await.get(&self.client.path("production", "/secrets?limit=200")).await.ok();
        let told = secrets["items"].as_array().unwrap().iter();
        let told = told.rev().nth(retiring).and_then(|it| it["expires_at"].as_str()).unwrap();
        let told = Timestamp::parse(told).unwrap().as_micros();
        assert!(told == extended || !sure && told == deadline, "{told} is not {extended}");
        self.model.secrets[retiring].expires_at = Some(told);
        self.changed_at = now;
    }

    /// Every secret that there ever was is tried.
    async fn present(&mut self, by_post: bool, now: i64) {
        let oauth = self.world.oauth("production");
        let client_id = &self.client.registration("production").client_id;
        for index in 0..self.model.secrets.len() {
            let value = &self.model.secrets[index].value;
            let answer = match by_post {
                true => oauth.token_by_post(client_id, value).await,
                false => oauth.token(client_id, value).await,
            };
            let refused = self.model.secrets[index].is_drilled(now);
            let valid = self.model.enabled
                && match self.model.state(index, now) {
                    "current" => true,
                    "retiring" => !refused,
                    _ => false,
                };
            if valid {
                let token = answer.is_token();
                let claims = Parts::of(&token).claims;
                let issued_at = claims["iat"].as_i64().unwrap();
                assert_eq!(
                    issued_at,
                    self.world.clock.machine().as_seconds(),
                    "tokens tell the machine's time"
                );
                self.model.tokens.push(token);
                self.model.secrets[index].used = true;
            } else {
                answer.is_invalid_client();
            }
        }
        self.introspect(now).await;
    }

    /// Enabling revives no token from before (rule 14), and nothing else ends one.
    async fn introspect(&mut self, now: i64) {
        let oauth = self.world.oauth("production");
        let client_id = &self.client.registration("production").client_id;
        let current = self.model.current(now);
        let value = &self.model.secrets[current].value.clone();
        if !self.model.enabled {
            oauth.basic("introspect", client_id, value, &[("token", "x")]).await.is_invalid_client();
            return;
        }
        self.model.secrets[current].used = true;
        // The newest was issued at this moment.
        if let Some(token) = self.model.tokens.last() {
            assert_eq!(oauth.introspect(client_id, value, token).await["active"], true);
        }
        for token in self.model.ended_tokens.iter().rev().take(4) {
            assert_eq!(oauth.introspect(client_id, value, token).await, json!({"active": false}), "rule 14");
        }
    }

    /// What the API tells is what the model says.
    async fn check(&self) {
        let (now, owner) = (self.now(), self.world.owner().await);
        let time = |micros: Option<i64>| {
            micros.map_or(Value::Null, |it| Timestamp::from_micros(it).to_string().into())
        };
        let secrets = owner.get(&self.client.path("production", "/secrets?limit=200")).await.ok();
        let told: Vec<_> = secrets["items"]
            .as_array()
            .unwrap()
            .iter()
            .rev()
            .map(|it| json!([it["id"], it["state"], it["expires_at"], it["use_count"].as_i64().unwrap() > 0]))
            .collect();
        let model: Vec<_> = self
            .model
            .secrets
            .iter()
            .enumerate()
            .map(|(index, it)| json!([it.id, self.model.state(index, now), time(it.expires_at), it.used]))
            .collect();
        assert_eq!(told, model, "secrets");
        let rotations = owner.get(&self.client.path("production", "/rotations?limit=200")).await.ok();
        let told: Vec<_> = rotations["items"]
            .as_array()
            .unwrap()
            .iter()
            .rev()
            .map(|it| {
                json!([it["id"], it["ended_as"], it["outgoing_secret"]["id"], it["incoming_secret"]["id"]])
            })
            .collect();
        let id = |index: usize| self.model.secrets[index].id.as_str();
        let model: Vec<_> = self
            .model
            .rotations
            .iter()
            .map(|it| json!([it.id, self.model.ended_as(it, now), id(it.outgoing), id(it.incoming)]))
            .collect();
        assert_eq!(told, model, "history");
        let valid = self.model.secrets.iter().enumerate();
        let valid: Vec<_> = valid.map(|(index, _)| self.model.state(index, now)).collect();
        assert_eq!(valid.iter().filter(|state| **state == "current").count(), 1, "rule 1");
        assert!(valid.iter().filter(|state| **state == "retiring").count() <= 1, "rule 1");
    }
}

async fn play(world: World, ops: &[Op]) {
    let mut play = Play::new(world).await;
    for op in ops {
        play.apply(op).await;
        play.check().await;
    }
    play.present(false, play.now()).await;
    play.check().await;
    play.world.check_ways().await;
}

fn run(cases: u32, is_postgres: bool) {
    let cases = crate::random_cases(cases);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    TestRunner::new(config)
        .run(&ops(), |ops| {
            let check = async |world| play(world, &ops).await;
            match is_postgres {
                true => runtime.block_on(run_on_postgres(check)),
                false => runtime.block_on(run_on_sqlite(check)),
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_registration_lives_as_the_rules_say_on_sqlite() {
    run(20, false);
}

#[test]
fn a_registration_lives_as_the_rules_say_on_postgres() {
    run(8, true);
}
