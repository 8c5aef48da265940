//! The weekly digest of each owner: secrets that are overdue or due for rotation, new secrets that were first used,
//! secrets that were revealed, for managers of the platform the clients without owners, and webhooks that fail for those who
//! manage them. Written once for each ISO week and recipient, on Monday morning in the recipient's time zone. Nobody gets a
//! digest without content.

use crate::{
    app::App,
    error::Error,
    frame::{act::message_id, entry::About},
    webhooks::disabling::{client_of, managers_of},
};
use crossfade_core::{
    ClientId, SecretId, TimeZone, Timestamp, WebhookId,
    audit::{Actor, Event},
    environment::Slug,
    messages::{Class, DueDigest, due_digest},
    rotation::{due_at, is_overdue},
    webhook::DisabledAs,
};
use crossfade_store::{Notification, Tx, WeeklyPlace, WeeklySecret};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
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
/// Subject of digests that became due by a change of a recipient's time zone.
pub(crate) const DIGEST_MOVED: &str = "digest_moved";
/// Time zone of recipients who have set none, and of groups.
pub(crate) const NO_ZONE: &str = "UTC";
/// Number of recipients, or of causes, that are read at a time.
const READ_AT_ONCE: usize = 500;
/// Number of secrets read at a time.
const PAGE: i64 = 1000;
/// Maximum number of registrations with revealed secrets that are looked at.
const MAX_REVEALED: i64 = 10_000;
/// Number of digests written in one transaction.
const WRITTEN_AT_ONCE: usize = 50;

/// A list of a digest: the worst lines, and how many there are.
#[derive(Default)]
struct List {
    /// Lines, each with what it is sorted by: the lowest first, and of equal ones by client and environment.
    lines: Vec<((i64, String), Value)>,
    count: usize,
}

impl List {
    fn add(&mut self, rank: i64, line: Value) {
        self.count += 1;
        let name = |part: &str| line[part].as_str().unwrap_or_default().to_lowercase();
        let rank = (rank, format!("{}\n{}", name("client"), name("environment")));
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
    webhooks: List,
}

impl Digest {
    fn into_json(self) -> Value {
        json!({
            "overdue": self.overdue.into_json(),
            "due": self.due.into_json(),
            "first_used": self.first_used.into_json(),
            "revealed": self.revealed.into_json(),
            "ownerless": self.ownerless.into_json(),
            "webhooks": self.webhooks.into_json(),
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

/// Returns a line about a secret, with a time.
fn secret_at(secret: &WeeklySecret, at: Timestamp) -> Value {
    let mut line = line_at(&secret.place, "at", at);
    line["secret_id"] = json!(secret.secret_id);
    line
}

/// Returns the cause of the digest of a recipient.
fn cause_of(week: &str, recipient: &str) -> String {
    format!("{DIGEST} {week} {recipient}")
}

/// Returns the cause of all digests in a time zone.
pub(crate) fn cause_in(week: &str, zone: &str) -> String {
    format!("{DIGEST} {week} in {zone}")
}

/// Returns the cause of a digest that became due by a change of the time zone.
pub(crate) fn moved_cause(week: &str, recipient: &str) -> String {
    format!("{DIGEST_MOVED} {week} {recipient}")
}

/// Returns the cause of all digests of a week, as a program without time zones wrote it.
fn cause_everywhere(week: &str) -> String {
    format!("{DIGEST} {week}")
}

/// Digests that are due, with their weeks.
#[derive(Default)]
struct Due {
    /// Whether this instance has never looked for digests before: there is nothing to catch up on.
    is_first: bool,
    /// Of all recipients in a time zone.
    zones: BTreeMap<String, String>,
    /// Of recipients who moved to a time zone where the digests were queued before.
    moved: BTreeMap<String, String>,
}

impl Due {
    fn is_empty(&self) -> bool {
        self.zones.is_empty() && self.moved.is_empty()
    }

    fn week_of(&self, recipient: &str, zone: &str) -> Option<&String> {
        self.zones.get(zone).or_else(|| self.moved.get(recipient))
    }
}

/// Digests that are still to be queued. After a restart they are collected again.
pub(crate) struct PendingDigests {
    due: Due,
    /// Number of written digests by their week.
    numbers: BTreeMap<String, u64>,
    /// Week, recipient and digest.
    rest: Vec<(String, String, Digest)>,
}

/// What this process knows of the digests.
#[derive(Default)]
pub(crate) struct DigestQueue {
    /// Digests that are due and still to be queued.
    pending: Mutex<Option<PendingDigests>>,
    /// Until when no digest is due, and the number of changes of time zones up to which that is known.
    none_until: Mutex<Option<(Timestamp, u64)>>,
    zone_changes: AtomicU64,
}

impl DigestQueue {
    /// Notes that someone may have changed their time zone, after the commit.
    pub(crate) fn note_zone_change(&self) {
        self.zone_changes.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether it is known that nothing is due.
    fn is_none_due(&self, now: Timestamp) -> bool {
        let known = *self.none_until.lock().unwrap_or_else(PoisonError::into_inner);
        known.is_some_and(|(until, changes)| {
            now < until && changes == self.zone_changes.load(Ordering::SeqCst)
        })
    }
}

impl App {
    /// Queues the digests that are due and were not queued before. After a stop of several weeks only the last ones are
    /// queued.
    pub(crate) async fn queue_digests(&self) -> Result<(), Error> {
        if self.sending.mailer.is_none() {
            return Ok(());
        }
        let begun = self.digest_queue.pending.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut pending = match begun {
            Some(pending) => pending,
            None => match self.due_digests().await? {
                due if due.is_empty() => return Ok(()),
                due if due.is_first => PendingDigests { due, numbers: BTreeMap::new(), rest: Vec::new() },
                due => self.pending_digests(due).await?,
            },
        };
        let rest = pending.rest.split_off(pending.rest.len().min(WRITTEN_AT_ONCE));
        let batch = std::mem::replace(&mut pending.rest, rest);
        // One batch in each run of the jobs, behind changes of people.
        let _turn = self.node.background_turn().await;
        for (week, written) in self.write_digests(batch).await? {
            *pending.numbers.entry(week).or_default() += written;
        }
        if !pending.rest.is_empty() {
            *self.digest_queue.pending.lock().unwrap_or_else(PoisonError::into_inner) = Some(pending);
            return Ok(());
        }
        self.change_as(Actor::machine("serve"), async |act| {
            for (zone, week) in &pending.due.zones {
                act.tx.tell_once_about(DIGEST, &cause_in(week, zone), act.now).await?;
            }
            // Also those without content, so that nothing is written for them later in the week.
            for (recipient, week) in &pending.due.moved {
                act.tx.tell_once_about(DIGEST, &cause_of(week, recipient), act.now).await?;
            }
            for (week, recipients) in pending.numbers {
                act.audit(&Event::DigestsQueued { week, recipients }, About::default()).await?;
            }
            Ok(())
        })
        .await
    }

    /// Returns for which time zones digests are due, and for whom because they moved to another one. Nothing is read while
    /// it is known that nothing is due.
    async fn due_digests(&self) -> Result<Due, Error> {
        let now = self.clock.now();
        if self.digest_queue.is_none_due(now) {
            return Ok(Due::default());
        }
        // Before the time zones are read, so that a later change is noticed.
        let changes = self.digest_queue.zone_changes.load(Ordering::SeqCst);
        let (due, next_at) = self.read(async |tx| due_at_all(tx, now).await).await?;
        if let Some(next_at) = next_at.filter(|_| due.is_empty()) {
            *self.digest_queue.none_until.lock().unwrap_or_else(PoisonError::into_inner) =
                Some((next_at, changes));
        }
        Ok(due)
    }

    /// Collects the digests that are due.
    async fn pending_digests(&self, due: Due) -> Result<PendingDigests, Error> {
        let digests = self.collect_digests().await?;
        let recipients: Vec<&str> = digests.keys().map(String::as_str).collect();
        let zones = self.read(async |tx| zones_of(tx, &recipients).await).await?;
        let mut rest = Vec::new();
        for (recipient, digest) in digests {
            let zone = zones.get(&recipient).map_or(NO_ZONE, String::as_str);
            let Some(week) = due.week_of(&recipient, zone).cloned() else { continue };
            rest.push((week, recipient, digest));
        }
        Ok(PendingDigests { due, numbers: BTreeMap::new(), rest })
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
                for owner in people(&secret.place.owners) {
                    let digest = digests.entry(owner.clone()).or_default();
                    match due.filter(|due| *due <= now.after(DUE_WITHIN)) {
                        Some(at) if is_overdue(due, now) => {
                            digest.overdue.add(at.as_micros(), secret_at(secret, at));
                        }
                        Some(at) => digest.due.add(at.as_micros(), secret_at(secret, at)),
                        None => {}
                    }
                    if let Some(at) = first {
                        digest.first_used.add(-at.as_micros(), secret_at(secret, at));
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

    /// Queues digests that are wanted and were not queued before. Returns how many, by their week.
    async fn write_digests(
        &self,
        digests: Vec<(String, String, Digest)>,
    ) -> Result<BTreeMap<String, u64>, Error> {
        if digests.is_empty() {
            return Ok(BTreeMap::new());
        }
        self.change_as(Actor::machine("serve"), async |act| {
            let event = Event::DigestsQueued { week: String::new(), recipients: 1 };
            let recipients = digests.iter().map(|(_, recipient, _)| recipient.clone()).collect();
            let wanted = act.wanted_by(&event, recipients).await?;
            let mut written = BTreeMap::<String, u64>::new();
            for (week, recipient, digest) in digests {
                if !wanted.contains(&recipient)
                    || !act.tx.tell_once_about(DIGEST, &cause_of(&week, &recipient), act.now).await?
                {
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
                let cause = format!("{DIGEST} {week}");
                let random = self.random.as_ref();
                act.queue_mail(random, &notification, (Class::of(&event), &cause, None)).await?;
                *written.entry(week).or_default() += 1;
            }
            Ok(written)
        })
        .await
    }
}

/// Reads which digests are due, in a number of statements that does not depend on how many time zones there are. Returns
/// when the next ones are due, too.
async fn due_at_all(tx: &mut Tx, now: Timestamp) -> Result<(Due, Option<Timestamp>), Error> {
    let due_in = |zone: &str| due_digest(now, &TimeZone::from_stored(zone));
    let mut zones = tx.time_zones().await?;
    zones.push(NO_ZONE.to_owned());
    let zones: Vec<(String, DueDigest)> =
        zones.into_iter().filter_map(|zone| due_in(&zone).map(|due| (zone, due))).collect();
    let next_at = zones.iter().map(|(_, due)| due.next_at).min();
    let everywhere: HashSet<&str> = zones.iter().map(|(_, due)| due.week.as_str()).collect();
    let mut causes: Vec<String> = everywhere.into_iter().map(cause_everywhere).collect();
    causes.extend(zones.iter().map(|(zone, due)| cause_in(&due.week, zone)));
    let told = told_of(tx, &causes).await?;
    let mut due = Due::default();
    for (zone, DueDigest { week, .. }) in zones {
        if !told.contains(&cause_everywhere(&week)) && !told.contains(&cause_in(&week, &zone)) {
            due.zones.insert(zone, week);
        }
    }
    let moved = moved_people(tx, now).await?;
    let recipients: Vec<&str> = moved.iter().map(|(recipient, _)| recipient.as_str()).collect();
    let zones = zones_of(tx, &recipients).await?;
    let causes: Vec<String> = moved.iter().map(|(recipient, week)| cause_of(week, recipient)).collect();
    let told = told_of(tx, &causes).await?;
    for (recipient, week) in moved {
        let zone = zones.get(&recipient).map_or(NO_ZONE, String::as_str);
        // A person who has moved again may have to wait.
        let is_there = due_in(zone).is_some_and(|due| due.week == week);
        if is_there && !told.contains(&cause_of(&week, &recipient)) {
            due.moved.insert(recipient, week);
        }
    }
    due.is_first = due.zones.contains_key(NO_ZONE) && !tx.is_any_told(DIGEST).await?;
    Ok((due, next_at))
}

/// Returns the recipients for whom a digest became due by a change of their time zone, with the week.
async fn moved_people(tx: &mut Tx, now: Timestamp) -> Result<Vec<(String, String)>, Error> {
    let causes = tx.told_about(DIGEST_MOVED, now.before(WEEK)).await?;
    let words = causes.iter().filter_map(|cause| {
        let mut words = cause.splitn(3, ' ').skip(1);
        let (week, recipient) = (words.next()?, words.next()?);
        Some((recipient.to_owned(), week.to_owned()))
    });
    Ok(words.collect())
}

async fn told_of(tx: &mut Tx, causes: &[String]) -> Result<HashSet<String>, Error> {
    let mut told = HashSet::new();
    for causes in causes.chunks(READ_AT_ONCE) {
        told.extend(tx.told_of(causes).await?);
    }
    Ok(told)
}

async fn zones_of(tx: &mut Tx, recipients: &[&str]) -> Result<HashMap<String, String>, Error> {
    let mut zones = HashMap::new();
    for recipients in recipients.chunks(READ_AT_ONCE) {
        zones.extend(tx.time_zones_at(recipients).await?);
    }
    Ok(zones)
}

/// Adds revealed secrets for the owners, webhooks that fail for those who manage them, and clients without owners for those
/// who manage the platform.
async fn add_rest(tx: &mut Tx, digests: &mut Digests, now: Timestamp) -> Result<(), Error> {
    for (place, times) in tx.weekly_reveals(now.before(WEEK), MAX_REVEALED).await? {
        for owner in people(&place.owners) {
            let digest = digests.entry(owner.clone()).or_default();
            digest.revealed.add(-times, line_at(&place, "times", times));
        }
    }
    add_webhooks(tx, digests).await?;
    let number = tx.ownerless_clients().await?;
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

/// Returns the owners who get a digest: those with an address. A digest is no message that webhooks get.
fn people(owners: &[String]) -> impl Iterator<Item = &String> {
    owners.iter().filter(|owner| WebhookId::parse(owner).is_err())
}

/// Adds webhooks whose receiver fails, and those that were disabled because of it.
async fn add_webhooks(tx: &mut Tx, digests: &mut Digests) -> Result<(), Error> {
    for webhook in tx.all_webhooks().await?.into_iter().flatten() {
        let (what, since) = match (webhook.disabled, webhook.failing) {
            (Some((at, DisabledAs::Gone | DisabledAs::Failing)), _) => ("disabled", at),
            (None, Some(failing)) => ("failing", failing.since),
            _ => continue,
        };
        let client = client_of(tx, &webhook).await?;
        if webhook.client_id.is_some() && client.is_none() {
            continue;
        }
        for manager in managers_of(tx, &webhook, client.as_ref()).await? {
            let line = json!({"webhook_id": webhook.id, "webhook": webhook.name.to_string(), "what": what, "at": since});
            digests.entry(manager).or_default().webhooks.add(since.as_micros(), line);
        }
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

    #[test]
    fn lines_of_one_day_are_sorted_by_client_and_environment() {
        let mut list = List::default();
        for (client, environment) in [("billing", "test"), ("Ads", "test"), ("Billing", "production")] {
            list.add(1, json!({"client": client, "environment": environment}));
        }
        list.add(0, json!({"client": "Zebra"}));
        let list = list.into_json();
        let names = list["lines"].as_array().unwrap().iter().map(|it| it["client"].as_str().unwrap());
        assert_eq!(names.collect::<Vec<_>>(), ["Zebra", "Ads", "Billing", "billing"]);
    }
}
