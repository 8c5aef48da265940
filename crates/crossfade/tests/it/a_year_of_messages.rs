//! A year of rotations, deadlines and digests, a second before, at and after each boundary and over restarts: exactly which
//! messages exist.

use crate::{
    engines::on_both_engines,
    mail_server::MailServer,
    world::{Client, OWNER, World},
};
use crossfade_core::{TimeZone, Timestamp, messages::due_digest};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};

on_both_engines! {
    a_year_has_each_warning_once_and_a_digest_for_each_week,
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// More than the longest transition, and no number of whole weeks or days.
const BETWEEN_ROTATIONS: Duration = Duration::from_secs(29 * 86_400 + 7 * 3600 + 11);
/// Pause between two runs of the jobs outside of transitions.
const STEP: Duration = Duration::from_secs(13 * 3600 + 7);

struct Year {
    world: World,
    server: MailServer,
    client: Client,
    /// Digests, by the ISO week at the time at which they came.
    digests: BTreeMap<String, usize>,
}

impl Year {
    /// Runs the jobs, and returns the subjects of what came, without digests.
    async fn came(&mut self) -> Vec<String> {
        self.world.run_jobs().await;
        while Box::pin(self.world.app.send_due_messages()).await.unwrap() {}
        let week = due_digest(self.world.now(), &TimeZone::UTC).unwrap().week;
        let (digests, others): (Vec<_>, Vec<_>) = self
            .server
            .take()
            .iter()
            .map(|message| message.header("Subject"))
            .partition(|subject| subject.starts_with("Secrets this week"));
        if !digests.is_empty() {
            *self.digests.entry(week).or_default() += digests.len();
        }
        others
    }

    async fn restart(&mut self) {
        let mailer = self.server.mailer();
        self.world.restart_with_mailer(Some(mailer)).await;
    }

    /// Goes to a time, and looks each time the jobs run on the way. Nothing comes.
    async fn go_to(&mut self, time: Timestamp) {
        while self.world.now() < time {
            let step = time.since(self.world.now()).min(STEP);
            self.world.advance(step);
            // At the time itself something may come.
            if self.world.now() < time {
                assert_eq!(self.came().await, [] as [&str; 0], "{}", self.world.now());
            }
        }
    }

    /// At a boundary exactly one message comes, not a second before it, and none after it, also after a restart.
    async fn boundary(&mut self, at: Timestamp, expected: &str) {
        self.go_to(at.before(SECOND)).await;
        assert_eq!(self.came().await, [] as [&str; 0], "a second before {at}: {expected}");
        self.world.advance(SECOND);
        let came = self.came().await;
        assert!(came.len() == 1 && came[0].contains(expected), "at {at}: {came:?} instead of {expected}");
        self.restart().await;
        assert_eq!(self.came().await, [] as [&str; 0], "after a restart at {at}");
        self.world.advance(SECOND);
        assert_eq!(self.came().await, [] as [&str; 0], "a second after {at}");
    }
}

async fn a_year_has_each_warning_once_and_a_digest_for_each_week(mut world: World) {
    let server = MailServer::start().await;
    world.restart_with_mailer(Some(server.mailer())).await;
    let client = world.client("Billing", &["production"]).await;
    // A secret is due for rotation within 30 days at any time, so each week has something to say.
    world.owner().await.patch("/environments/production", json!({"max_age_days": 30})).await.ok();
    let mut year = Year { world, server, client, digests: BTreeMap::new() };
    let (begun, first_week) = (year.world.now(), due_digest(year.world.now(), &TimeZone::UTC).unwrap().week);
    // The only manager is the owner: from 4 hours before a deadline on, managers are warned, too.
    let owned = json!({"owners": [OWNER], "confirm_client_name": "Billing"});
    year.world.owner().await.patch(&format!("/clients/{}", year.client.id), owned).await.ok();
    year.came().await;
    assert_eq!(year.came().await, [] as [&str; 0]);
    for number in 0..13 {
        let (client, hours) = (year.client.path("production", "/secrets/rotate"), 30 + number);
        let owner = year.world.owner().await;
        owner.post(&client, year.client.rotation(hours)).await.created();
        let (rotated_at, deadline) = (year.world.now(), year.world.now().after(HOUR * hours));
        assert_eq!(year.came().await, ["Secret rotated: Billing in production"]);
        for before in [24, 4, 1] {
            year.boundary(deadline.before(HOUR * before), "is still needed").await;
        }
        year.boundary(deadline, "Old secret expired").await;
        year.go_to(rotated_at.after(BETWEEN_ROTATIONS)).await;
    }
    assert!(year.world.now().since(begun) > HOUR * 24 * 366, "more than a year");
    // The year has a new year, two changes of the clocks and 53 weeks.
    let mut weeks = vec![first_week];
    let mut at = begun;
    while at < year.world.now() {
        let week = due_digest(at, &TimeZone::UTC).unwrap().week;
        if weeks.last() != Some(&week) {
            weeks.push(week);
        }
        at = at.after(HOUR);
    }
    let found: Vec<String> = year.digests.keys().cloned().collect();
    // Mail was set up in the first week.
    assert_eq!(found, weeks[1..]);
    assert!(weeks.contains(&"2026-W53".to_owned()) && weeks.len() >= 53, "{weeks:?}");
    assert!(year.digests.values().all(|number| *number == 1), "{:?}", year.digests);
}
