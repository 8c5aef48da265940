//! The weekly digest of each owner: secrets that are overdue or due for rotation, new secrets that were first used,
//! secrets that were revealed, and for managers of the platform the clients without owners. Written once for each ISO week
//! and recipient. Nobody gets a digest without content.

use crate::{
    app::App,
    error::Error,
    frame::{act::message_id, entry::About},
};
use crossfade_core::{
    ClientId, SecretId, Timestamp,
    audit::{Actor, Event},
    environment::Slug,
    messages::{Class, DueDigest, due_digest},
    rotation::{due_at, is_overdue},
};
use crossfade_store::{Notification, Tx, WeeklyPlace};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

/// How far ahead a digest looks.
const DUE_WITHIN: Duration = Duration::from_secs(30 * 86_400);
/// How far back it looks.
const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// Maximum number of lines of a list.
const MAX_LINES: usize = 20;
/// Subject of what is known about digests that were queued.
pub(crate) const DIGEST: &str = "digest";
/// Number of secrets read at a time.
const PAGE: i64 = 1000;
/// Maximum number of registrations with revealed secrets that are looked at.
const MAX_REVEALED: i64 = 10_000;
/// Number of digests written in one transaction.
const WRITTEN_AT_ONCE: usize = 50;

/// A list of a digest: the worst lines, and how many there are.
#[derive(Default)]
struct List {
    /// Lines, each with what it is sorted by: the lowest first.
    lines: Vec<(i64, Value)>,
    count: usize,
}

impl List {
    fn add(&mut self, rank: i64, line: Value) {
        self.count += 1;
        let at = self.lines.partition_point(|(other, _)| *other <= rank);
        if at < MAX_LINES {
            self.lines.insert(at, (rank, line));
            self.lines.truncate(MAX_LINES);
        }
    }

    fn into_json(self) -> Value {
        let lines: Vec<Value> = self.lines.into_iter().map(|(_, line)| line).collect();
        json!({"more": self.count - lines.len(), "lines": lines})
    }
}

/// What one recipient is told.
#[derive(Default)]
struct Digest {
    overdue: List,
    due: List,
    first_used: List,
    revealed: List,
    ownerless: List,
}

impl Digest {
    fn into_json(self) -> Value {
        json!({
            "overdue": self.overdue.into_json(),
            "due": self.due.into_json(),
            "first_used": self.first_used.into_json(),
            "revealed": self.revealed.into_json(),
            "ownerless": self.ownerless.into_json(),
        })
    }
}

/// Digests by recipient.
type Digests = BTreeMap<String, Digest>;

fn line(client: &ClientId, name: &str, environment: Option<&Slug>) -> Value {
    json!({"client_id": client, "client": name, "environment": environment.map(Slug::as_str)})
}

/// Returns a line about a registration, with a fact.
fn line_at(place: &WeeklyPlace, fact: &str, value: impl serde::Serialize) -> Value {
    let mut line = line(&place.client_id, &place.client, Some(&place.environment));
    line[fact] = json!(value);
    line
}

/// Digests of a week that are still to be queued. After a restart they are collected again.
pub(crate) struct PendingDigests {
    week: String,
    /// Number of all digests of the week.
    number: u64,
    rest: Vec<(String, Digest)>,
}

impl PendingDigests {
    fn new(week: &str, digests: Digests) -> Self {
        Self { week: week.to_owned(), number: digests.len() as u64, rest: digests.into_iter().collect() }
    }
}

impl App {
    /// Queues the digests of this week, if they are due and were not queued before. After a stop of several weeks only the
    /// last ones are queued.
    pub(crate) async fn queue_digests(&self) -> Result<(), Error> {
        if self.sending.mailer.is_none() {
            return Ok(());
        }
        let Some(DueDigest { week, .. }) = due_digest(self.clock.now()) else { return Ok(()) };
        let cause = format!("digest {week}");
        if self.digests_queued.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(&week) {
            return Ok(());
        }
        let begun = self.pending_digests().take().filter(|pending| pending.week == week);
        if begun.is_some() || !self.read(async |tx| Ok(tx.is_told(&cause).await?)).await? {
            let mut pending = match begun {
                Some(pending) => pending,
                None => PendingDigests::new(&week, self.collect_digests().await?),
            };
            let rest = pending.rest.split_off(pending.rest.len().min(WRITTEN_AT_ONCE));
            let batch = std::mem::replace(&mut pending.rest, rest);
            // One batch in each run of the jobs, behind changes of people.
            let _turn = self.node.background_turn().await;
            self.write_digests(&week, batch).await?;
            let number = pending.number;
            if !pending.rest.is_empty() {
                *self.pending_digests() = Some(pending);
                return Ok(());
            }
            self.change_as(Actor::machine("serve"), async |act| {
                if act.tx.tell_once(&cause, act.now).await? && number > 0 {
                    let event = Event::DigestsQueued { week: week.clone(), recipients: number };
                    act.audit(&event, About::default()).await?;
                }
                Ok(())
            })
            .await?;
        }
        *self.digests_queued.lock().unwrap_or_else(PoisonError::into_inner) = Some(week);
        Ok(())
    }

    fn pending_digests(&self) -> MutexGuard<'_, Option<PendingDigests>> {
        self.digests_pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what there is to say, in pages.
    async fn collect_digests(&self) -> Result<Digests, Error> {
        let (now, mut digests, mut after) = (self.clock.now(), Digests::new(), None::<SecretId>);
        loop {
            let bounds = (now.after(DUE_WITHIN), now.before(WEEK));
            let page = self
                .db
                .read::<_, Error>(async |tx| Ok(tx.weekly_secrets(after.as_ref(), bounds, PAGE).await?));
            let page = page.await?;
            for secret in &page {
                let due = due_at(secret.created_at, secret.max_age_days);
                let first =
                    secret.first_used_at.filter(|first| secret.is_rotated && *first > now.before(WEEK));
                for owner in &secret.place.owners {
                    let digest = digests.entry(owner.clone()).or_default();
                    match due.filter(|due| *due <= now.after(DUE_WITHIN)) {
                        Some(at) if is_overdue(due, now) => {
                            digest.overdue.add(at.as_micros(), line_at(&secret.place, "at", at));
                        }
                        Some(at) => digest.due.add(at.as_micros(), line_at(&secret.place, "at", at)),
                        None => {}
                    }
                    if let Some(at) = first {
                        digest.first_used.add(-at.as_micros(), line_at(&secret.place, "at", at));
                    }
                }
            }
            match page.last().filter(|_| page.len() as i64 == PAGE) {
                Some(last) => after = Some(last.secret_id.clone()),
                None => break,
            }
        }
        self.db.read::<_, Error>(async |tx| add_rest(tx, &mut digests, now).await).await?;
        Ok(digests)
    }

    async fn write_digests(&self, week: &str, digests: Vec<(String, Digest)>) -> Result<(), Error> {
        self.change_as(Actor::machine("serve"), async |act| {
            let event = Event::DigestsQueued { week: week.to_owned(), recipients: 1 };
            let recipients = digests.iter().map(|(recipient, _)| recipient.clone()).collect();
            let wanted = act.wanted_by(&event, recipients).await?;
            for (recipient, digest) in digests {
                if !wanted.contains(&recipient) {
                    continue;
                }
                let cause = format!("digest {week}");
                let told = format!("{cause} {recipient}");
                if !act.tx.tell_once_about(DIGEST, &told, act.now).await? {
                    continue;
                }
                let mut details = digest.into_json();
                details["week"] = json!(week);
                let notification = Notification {
                    id: message_id(self.random.as_ref()),
                    created_at: act.now,
                    number: None,
                    event: event.action(),
                    client_id: None,
                    client_name: None,
                    environment: None,
                    recipients: vec![recipient],
                    actor_name: None,
                    actor_kind: None,
                    source: None,
                    reason: None,
                    details,
                };
                act.queue_mail(self.random.as_ref(), &notification, (Class::of(&event), &cause, None)).await?;
            }
            Ok(())
        })
        .await
    }
}

/// Adds revealed secrets for the owners, and clients without owners for those who manage the platform.
async fn add_rest(tx: &mut Tx, digests: &mut Digests, now: Timestamp) -> Result<(), Error> {
    for (place, times) in tx.weekly_reveals(now.before(WEEK), MAX_REVEALED).await? {
        for owner in &place.owners {
            let digest = digests.entry(owner.clone()).or_default();
            digest.revealed.add(-times, line_at(&place, "times", times));
        }
    }
    let number = tx.clients_without_owners().await?;
    if number == 0 {
        return Ok(());
    }
    let ownerless = tx.named_ownerless_clients(MAX_LINES as i64).await?;
    for manager in tx.manager_addresses().await? {
        let list = &mut digests.entry(manager).or_default().ownerless;
        for (client, name) in &ownerless {
            list.add(0, line(client, name, None));
        }
        list.count = list.count.max(usize::try_from(number).unwrap_or(usize::MAX));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_keeps_the_worst_lines_and_counts_the_others() {
        let mut list = List::default();
        for rank in [5, 3, 4].into_iter().chain(10..40) {
            list.add(rank, json!(rank));
        }
        let list = list.into_json();
        assert_eq!(list["more"], 13);
        assert_eq!(list["lines"].as_array().unwrap().len(), MAX_LINES);
        assert_eq!((&list["lines"][0], &list["lines"][3]), (&json!(3), &json!(10)));
    }
}
