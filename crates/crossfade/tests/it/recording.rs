//! What is recorded against what was done: over stops in order the same; over kills never more, and less by no more
//! than what had not been flushed, with a gap where it is missing.

use crate::engines::{run_on_postgres, run_on_sqlite};
use crate::world::{Client, World};
use crossfade_core::Timestamp;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

#[derive(Clone, Debug)]
enum Op {
    /// A caller fetches so many tokens, with the old secret or the new one.
    Use {
        old: bool,
        caller: u8,
        times: u8,
    },
    /// So many seconds go by.
    Pass(u16),
    Flush,
    /// Stopped in order, and started again after so many seconds.
    Stop(u16),
    Kill,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (any::<bool>(), 0..4u8, 1..5u8).prop_map(|(old, caller, times)| Op::Use { old, caller, times }),
        3 => (1..5000u16).prop_map(Op::Pass),
        3 => Just(Op::Flush),
        1 => (1..5000u16).prop_map(Op::Stop),
        1 => Just(Op::Kill),
    ];
    prop::collection::vec(op, 1..40)
}

/// Uses by secret (whether it is the old one) and caller.
type Counts = BTreeMap<(bool, u8), i64>;

struct Play {
    world: World,
    client: Client,
    /// The new secret and the old one, with their ids.
    secrets: [(String, String); 2],
    stored: Counts,
    /// What no flush has written yet.
    pending: Vec<((bool, u8), Timestamp)>,
    /// When uses were that a kill has taken away.
    lost: Vec<Timestamp>,
    done: i64,
}

impl Play {
    async fn new(world: World) -> Self {
        let client = world.client("Billing", &["production"]).await;
        let first = client.registration("production").clone();
        let reply = world.owner().await;
        let reply = reply.post(&client.path("production", "/secrets/rotate"), client.rotation(168)).await;
        let reply = reply.created();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let new = (text(&reply["secret"]["value"]), text(&reply["secret"]["id"]));
        let old = (first.secret, text(&reply["previous_secret"]["id"]));
        Self {
            world,
            client,
            secrets: [new, old],
            stored: Counts::new(),
            pending: Vec::new(),
            lost: Vec::new(),
            done: 0,
        }
    }

    async fn apply(&mut self, op: &Op) {
        match *op {
            Op::Use { old, caller, times } => {
                let id = self.client.registration("production").client_id.clone();
                let oauth = self.world.oauth("production").from([192, 0, 2, caller], "worker/1");
                for _ in 0..times {
                    assert!(oauth.token(&id, &self.secrets[usize::from(old)].0).await.status.is_success());
                    self.pending.push(((old, caller), self.world.now()));
                    self.done += 1;
                }
            }
            Op::Pass(seconds) => self.world.advance(Duration::from_secs(seconds.into())),
            Op::Flush => {
                self.world.app.flush_evidence().await.unwrap();
                self.written();
            }
            Op::Stop(seconds) => {
                self.world.app.end_recording().await.unwrap();
                self.written();
                let later = self.world.now().after(Duration::from_secs(seconds.into()));
                self.world.restart_at(later).await;
            }
            Op::Kill => {
                self.lost.extend(self.pending.drain(..).map(|(_, at)| at));
                // A start takes time.
                self.world.restart_at(self.world.now().after(Duration::from_millis(1))).await;
            }
        }
    }

    fn written(&mut self) {
        for (whose, _) in self.pending.drain(..) {
            *self.stored.entry(whose).or_default() += 1;
        }
    }

    async fn check(mut self) {
        // To read is to flush.
        self.written();
        let owner = self.world.owner().await;
        let path = |rest: &str| self.client.path("production", rest);
        let usage = owner.get(&path("/usage?limit=200")).await.ok();
        let mut recorded = Counts::new();
        for it in usage["items"].as_array().unwrap() {
            let old = it["secret_id"] == json!(self.secrets[1].1);
            let caller = it["source_ip"].as_str().unwrap().rsplit('.').next().unwrap().parse().unwrap();
            recorded.insert((old, caller), it["use_count"].as_i64().unwrap());
        }
        assert_eq!(recorded, self.stored);
        let sum: i64 = recorded.values().sum();
        assert_eq!(sum + self.lost.len() as i64, self.done, "no more is missing than no flush had written");

        let of_old: i64 = recorded.iter().filter(|((old, _), _)| *old).map(|(_, count)| count).sum();
        for grain in ["minute", "hour", "day"] {
            let told = owner.get(&path(&format!("/change-over?grain={grain}"))).await.ok();
            let uses = |key: &str| -> i64 {
                told["series"].as_array().unwrap().iter().map(|it| it[key].as_i64().unwrap()).sum()
            };
            assert_eq!((uses("old"), uses("old") + uses("new")), (of_old, sum), "{grain}");
            let gaps: Vec<[Timestamp; 2]> = told["gaps"]
                .as_array()
                .unwrap()
                .iter()
                .map(|gap| ["from", "to"].map(|key| Timestamp::parse(gap[key].as_str().unwrap()).unwrap()))
                .collect();
            for at in &self.lost {
                assert!(gaps.iter().any(|[from, to]| from <= at && at <= to), "{at} is in no gap: {gaps:?}");
            }
        }
    }
}

fn run(cases: u32, is_postgres: bool) {
    let cases = crate::random_cases(cases);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    TestRunner::new(config)
        .run(&ops(), |ops| {
            let check = async |world| {
                let mut play = Play::new(world).await;
                for op in &ops {
                    play.apply(op).await;
                }
                play.check().await;
            };
            match is_postgres {
                true => runtime.block_on(run_on_postgres(check)),
                false => runtime.block_on(run_on_sqlite(check)),
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_is_recorded_is_what_was_done_less_what_a_kill_took_on_sqlite() {
    run(14, false);
}

#[test]
fn what_is_recorded_is_what_was_done_less_what_a_kill_took_on_postgres() {
    run(5, true);
}
