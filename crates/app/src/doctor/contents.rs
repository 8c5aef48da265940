//! Checks of the database's contents: its keys, the values sealed with them, and everything that needs attention.

use super::{
    Check, Instance,
    clock::clock,
    count,
    database::cannot_read,
    mail::{Tried, mail},
    shown,
    trail::audit_chain,
    webhooks::webhooks,
};
use crate::{
    keys::{
        place::SealPlace,
        seal::{PURPOSE_VERIFY, Vault, is_bound, open_data_keys},
    },
    node::{
        proxies::told_since,
        unreadable::{self, Kind, TableEntry, Unreadable, each_registration},
    },
    trail::sinks::AuditSink,
};
use crossfade_authority::SigningKey;
use crossfade_core::{
    Timestamp, api::GapKind, audit::Action, environment::Slug, limits::is_issuer_address,
    signing_key::signing,
};
use crossfade_store::{AuditFilter, Db, StoreError, Tx};
use std::time::Duration;

/// Number of places that are named; the rest are counted.
const NAMED: usize = 3;

/// How far back losses are searched.
const LOOKED_BACK: Duration = Duration::from_secs(30 * 86_400);
/// Maximum number of gaps checked.
const MAX_GAPS: i64 = 1000;

type CheckResult = Result<Check, StoreError>;

/// Runs all checks on one snapshot. Each check is independent.
pub(super) async fn check(db: &Db, instance: &Instance<'_>, is_served: bool, checks: &mut Vec<Check>) {
    let now = instance.clock.now();
    let (master, vault) = keys(db, instance).await;
    checks.push(master);
    if let Some(vault) = &vault {
        look(db, checks, "sealed_values", async |tx| sealed_values(tx, vault).await).await;
        look(db, checks, "signing_keys", async |tx| signing_keys(tx, vault, now).await).await;
    }
    look(db, checks, "secret_hashes", async |tx| {
        let without = tx.secrets_without_key(PURPOSE_VERIFY, now).await?;
        Ok(none(
            "secret_hashes",
            without,
            "Every valid secret can be verified.",
            |number| {
                format!(
                    "{} cannot be verified because the key of the hash is not among the data keys.",
                    secrets(number)
                )
            },
            "Rotate them with --transition 0, or restore the last backup into an empty database.",
            Check::fail,
        ))
    })
    .await;
    look(db, checks, "registrations", registrations).await;
    look(db, checks, "audiences", async |tx| audiences(tx, &instance.public_url).await).await;
    look(db, checks, "owner", async |tx| {
        let owners = tx.owners().await?.len();
        Ok(match owners {
            0 => Check::fail(
                "owner",
                "There is no Owner, so nobody can manage this instance.",
                "Create one with crossfade init --owner-email E --password-stdin, or open the link that crossfade serve prints.",
            ),
            _ => Check::ok("owner", format!("There is {}.", count(owners as u64, "Owner"))),
        })
    })
    .await;
    look(db, checks, "audit_trail", audit_trail).await;
    if let Some(vault) = &vault {
        look(db, checks, "audit_chain", async |tx| audit_chain(tx, vault).await).await;
    }
    if !instance.audit_sinks.is_empty() {
        look(db, checks, "audit_shipping", async |tx| shipping(tx, &instance.audit_sinks, now).await).await;
    }
    let tried = match instance.mailer.as_deref() {
        Some(mailer) => Some(Tried::new(mailer).await),
        None => None,
    };
    look(db, checks, "mail", async |tx| mail(tx, tried.as_ref(), now).await).await;
    look(db, checks, "webhooks", async |tx| webhooks(tx, now).await).await;
    look(db, checks, "quarantine", async |tx| quarantine(tx).await).await;
    look(db, checks, "changes_lost", async |tx| changes_lost(tx, now).await).await;
    look(db, checks, "evidence", async |tx| evidence(tx, now).await).await;
    look(db, checks, "forwarded_addresses", async |tx| proxies(tx, now).await).await;
    look(db, checks, "clock", async |tx| {
        let (stored, machine) = (tx.read_head().await?.1, instance.clock.machine());
        Ok(clock(if db.has_own_clock() { "database’s" } else { "machine’s" }, machine, stored, is_served))
    })
    .await;
    look(db, checks, "client_owners", async |tx| {
        Ok(none(
            "client_owners",
            tx.ownerless_clients().await?,
            "Every client has an owner that is notified.",
            |number| {
                let clients = count(number.unsigned_abs(), "client");
                format!("{clients} without an owner that is notified.")
            },
            "Add owners with crossfade client update CLIENT --owner you@example.com.",
            Check::warn,
        ))
    })
    .await;
    look(db, checks, "self_rotation", async |tx| {
        Ok(none(
            "self_rotation",
            tx.unheard_self_rotations(instance.mailer.is_some()).await?,
            "Every client that can rotate its own secret has an owner that is notified.",
            |number| {
                let registrations = count(number.unsigned_abs(), "registration");
                format!("{registrations} with self-rotation, of which no owner is notified: a thief of the secret can rotate it unnoticed.")
            },
            "Set up mail, or add an enabled webhook as an owner, or turn self-rotation off with crossfade registration update.",
            Check::warn,
        ))
    })
    .await;
    look(db, checks, "overdue_secrets", async |tx| {
        Ok(none(
            "overdue_secrets",
            tx.overdue_secrets(now).await?,
            "No secret is older than its environment allows.",
            |number| format!("{} older than the environment allows.", secrets(number)),
            "List the clients with crossfade client list --overdue, and rotate their secrets.",
            Check::warn,
        ))
    })
    .await;
}

async fn look(
    db: &Db,
    checks: &mut Vec<Check>,
    name: &'static str,
    work: impl AsyncFnOnce(&mut Tx) -> CheckResult,
) {
    checks.push(db.read_all::<_, StoreError>(work).await.unwrap_or_else(|error| cannot_read(name, &error)));
}

fn none(
    name: &'static str,
    number: i64,
    good: &str,
    bad: impl Fn(i64) -> String,
    mend: &str,
    outcome: impl Fn(&'static str, String, String) -> Check,
) -> Check {
    if number == 0 { Check::ok(name, good) } else { outcome(name, bad(number), mend.to_owned()) }
}

fn secrets(number: i64) -> String {
    count(number.unsigned_abs(), "secret")
}

async fn keys(db: &Db, instance: &Instance<'_>) -> (Check, Option<Vault>) {
    const NAME: &str = "master_key";
    let source = &instance.master_key;
    let put_back = "Restore the file from your copy, or set --master-key-file. Stored values cannot be \
        decrypted without it.";
    let read = db.read::<_, StoreError>(async |tx| Ok((tx.data_keys().await?, tx.instance().await?)));
    let (stored, row) = match read.await {
        Ok(stored) => stored,
        Err(error) => return (cannot_read(NAME, &error), None),
    };
    let check = match source.read_exposed() {
        Ok(None) => Check::fail(NAME, format!("The {source} is missing."), put_back),
        Err(error) => Check::fail(NAME, error.problem.detail, put_back),
        Ok(Some(_)) if stored.is_empty() => Check::fail(
            NAME,
            "The database contains no data keys because it was never used.",
            "Start it with crossfade serve, or restore a backup with crossfade restore.",
        ),
        Ok(Some(master)) => match open_data_keys(&master, &stored) {
            Ok((vault, _)) => {
                let keys = count(stored.len() as u64, "data key");
                if vault.is_old {
                    let sentence = format!(
                        "The master key opens {keys}. The stored values and digests have the format of an older version."
                    );
                    let mend = "Start crossfade serve, which converts them without loss.";
                    return (Check::warn(NAME, sentence, mend), Some(vault));
                }
                let check = match row {
                    Some(instance) if is_bound(&master, &instance) => Check::ok(
                        NAME,
                        format!("The master key opens {keys} and belongs to instance {}.", instance.id),
                    ),
                    Some(instance) => Check::fail(
                        NAME,
                        format!(
                            "The database belongs to instance {}, but the master key is not bound to that \
                            instance.",
                            instance.id
                        ),
                        "Restore the last backup into an empty database.",
                    ),
                    None => Check::warn(
                        NAME,
                        format!("The master key opens {keys} but is not bound to an instance yet."),
                        "Start crossfade serve, which binds it.",
                    ),
                };
                return (check, Some(vault));
            }
            Err(error) => Check::fail(NAME, error.problem.detail, put_back),
        },
    };
    (check, None)
}

/// Opens every sealed value, one by one.
async fn sealed_values(tx: &mut Tx, vault: &Vault) -> CheckResult {
    const NAME: &str = "sealed_values";
    let mut broken = Vec::new();
    let mut open = |place: SealPlace<'_>, what: String, sealed: &[u8]| {
        if vault.open(&place, sealed).is_err() {
            broken.push(what);
        }
        Ok::<_, StoreError>(())
    };
    let mut values = tx
        .each_sealed_secret(|row| {
            let place = SealPlace::Secret { registration: &row.registration_id, secret: &row.id };
            open(place, format!("secret {}", row.id), &row.sealed)
        })
        .await?;
    values += tx
        .each_sealed_answer(|it| {
            let place = SealPlace::Answer { actor: &it.actor, key: &it.key };
            open(place, format!("a remembered response to {}", it.actor), &it.sealed)
        })
        .await?;
    values += tx
        .each_sealed_upstream_secret(|registration, slot, sealed| {
            let place = SealPlace::UpstreamCredential { registration, slot };
            open(place, format!("the upstream credential of {registration}"), sealed)
        })
        .await?;
    values += tx
        .each_sealed_provider_secret(|id, sealed| {
            open(SealPlace::Provider { id }, format!("the client secret of provider {id}"), sealed)
        })
        .await?;
    values += tx
        .each_sealed_factor(|user, factor, sealed| {
            let place = SealPlace::Factor { user, factor };
            open(place, format!("the second factor {factor}"), sealed)
        })
        .await?;
    for webhook in tx.all_webhooks().await?.into_iter().flatten() {
        let id = &webhook.id;
        let signing = std::iter::once(&webhook.signing_secret).chain(&webhook.previous_secret);
        let signing = signing.map(|sealed| ("signing", sealed));
        for (secret, sealed) in signing.chain(webhook.routing_key.iter().map(|sealed| ("routing", sealed))) {
            values += 1;
            open(SealPlace::Webhook { id, secret }, format!("a secret of webhook {id}"), sealed)?;
        }
    }
    if broken.is_empty() {
        return Ok(Check::ok(NAME, format!("{} can be opened.", count(values, "stored value"))));
    }
    let number = broken.len();
    broken.truncate(NAMED);
    Ok(Check::fail(
        NAME,
        format!(
            "{number} of {} cannot be opened: {}{}.",
            count(values, "stored value"),
            broken.join(", "),
            if number > NAMED { " and others" } else { "" }
        ),
        "The values were modified or copied from another row. The secrets still authenticate. Rotate the \
        ones you need to reveal, or restore the last backup into an empty database.",
    ))
}

/// Reads every registration as a server does when it loads its tables.
async fn registrations(tx: &mut Tx) -> CheckResult {
    const NAME: &str = "registrations";
    let (mut number, mut unreadable) = (0, Vec::<Unreadable>::new());
    each_registration(tx, |_, _, mut found| {
        number += 1;
        unreadable.append(&mut found);
    })
    .await?;
    let Some(Unreadable { kind, id, cause }) = unreadable.first() else {
        return Ok(Check::ok(NAME, format!("{} can be read.", count(number, "registration"))));
    };
    let what = match kind {
        Kind::Registration => format!("registration {id}, all of whose secrets are refused"),
        _ => format!("secret {id}, which is refused"),
    };
    let rows = count(unreadable.len() as u64, "row");
    Ok(Check::fail(
        NAME,
        format!("{rows} of registrations and secrets cannot be read. The first is of {what}: {cause}."),
        "The rows were modified or copied from elsewhere. Rotate each refused secret with --transition 0. \
        For a registration, restore the last backup into an empty database.",
    ))
}

/// Looks for registrations whose audience is another issuer of this server. A change refuses such an audience, but the
/// public URL can become one that was set before.
async fn audiences(tx: &mut Tx, public_url: &str) -> CheckResult {
    const NAME: &str = "audiences";
    let mut foreign = Vec::new();
    each_registration(tx, |id, taken, _| {
        if let TableEntry::Registration(it, _) = taken {
            let own = format!("{public_url}/env/{}", it.environment);
            let audience = it.audience.filter(|audience| *audience != own);
            if audience.is_some_and(|audience| is_issuer_address(&audience, public_url)) {
                foreign.push(id);
            }
        }
    })
    .await?;
    let Some(first) = foreign.first() else {
        return Ok(Check::ok(NAME, "No registration's audience is another issuer of this server."));
    };
    let number = count(foreign.len() as u64, "registration");
    Ok(Check::fail(
        NAME,
        format!(
            "{number}, the first {first}, issue tokens whose audience is another issuer of this server. \
            Resource servers of that environment can take them for their own."
        ),
        "Set another audience, or restore the earlier public URL.",
    ))
}

async fn signing_keys(tx: &mut Tx, vault: &Vault, now: Timestamp) -> CheckResult {
    const NAME: &str = "signing_keys";
    // A server that has run ahead of this clock signs by the stored time.
    let now = now.max(tx.read_head().await?.1);
    let environments = tx.environments().await?;
    let slugs = tx.environment_slugs().await?;
    if let Some(slug) = slugs.into_iter().find(|slug| !environments.iter().any(|it| it.slug == *slug)) {
        return Ok(Check::fail(
            NAME,
            format!("The settings of the environment {slug} cannot be read, so no list shows it."),
            "The settings were changed by something other than Crossfade. Correct them in the database, or restore the last backup into an empty database.",
        ));
    }
    if environments.is_empty() {
        let mend = "Create one with crossfade env create.";
        return Ok(Check::warn(NAME, "There are no environments.", mend));
    }
    let (mut wrong, mut broken) = (Vec::<(Slug, &str)>::new(), Vec::<Slug>::new());
    for environment in &environments {
        let (keys, unreadable) = unreadable::signing_keys(tx, vault, &environment.slug, now).await?;
        let signs = signing(keys.iter().flatten().map(SigningKey::times), now).is_some();
        match (signs, unreadable.is_empty()) {
            (false, false) => {
                wrong.push((environment.slug.clone(), "has a signing key that cannot be opened"))
            }
            (false, true) => wrong.push((environment.slug.clone(), "has no active signing key")),
            (true, false) => broken.push(environment.slug.clone()),
            (true, true) => {}
        }
    }
    if let (true, Some(slug)) = (wrong.is_empty(), broken.first()) {
        return Ok(Check::warn(
            NAME,
            format!(
                "The environment {slug} has a signing key that cannot be opened, in addition to one that \
                signs. Tokens of the broken key are refused."
            ),
            "If the key was replaced, do nothing: it leaves the key set automatically. Otherwise restore the \
            last backup into an empty database.",
        ));
    }
    let Some((slug, what)) = wrong.first() else {
        return Ok(Check::ok(
            NAME,
            format!("{} with an active signing key.", count(environments.len() as u64, "environment")),
        ));
    };
    let more = if wrong.len() > 1 { format!(", and {} more", wrong.len() - 1) } else { String::new() };
    Ok(Check::fail(
        NAME,
        format!("The environment {slug} {what}{more}, so no token can be issued there."),
        format!(
            "Run crossfade env rotate-key {slug} --immediate, or restore the last backup into an empty \
            database."
        ),
    ))
}

/// Checks whether the instance is in quarantine.
async fn quarantine(tx: &mut Tx) -> CheckResult {
    const NAME: &str = "quarantine";
    Ok(match tx.quarantine().await? {
        None => Check::ok(NAME, "The instance is not in quarantine."),
        Some(row) => Check::fail(
            NAME,
            format!(
                "In quarantine since {}: no tokens are issued, and nothing can be changed. {}",
                shown(row.since),
                row.cause.sentence()
            ),
            "Start crossfade serve with the journal of this instance. Without a journal, read crossfade quarantine show, \
            then run crossfade quarantine release.",
        ),
    })
}

/// Checks whether a server recently noticed that the database lost changes.
async fn changes_lost(tx: &mut Tx, now: Timestamp) -> CheckResult {
    const NAME: &str = "changes_lost";
    let filter = AuditFilter {
        action: Some(Action::ChangesLost),
        since: Some(now.before(LOOKED_BACK)),
        ..AuditFilter::default()
    };
    let found = tx.audit_events(&filter, None, 1).await?;
    let Some(lost) = found.events.first() else {
        return Ok(Check::ok(NAME, "No server has found that the database lost changes."));
    };
    let details = &lost.event.details;
    Ok(Check::warn(
        NAME,
        format!(
            "At {}, the database lacked changes {} to {}, which had been acknowledged. {} registrations have \
            been decided differently since then.",
            shown(lost.event.at),
            details["first_seq"],
            details["last_seq"],
            details["registrations"]
        ),
        "List the registrations with crossfade audit list --action database.changes_lost. Check their \
        secrets, and end leaked secrets again. Make the standby confirm each commit \
        (synchronous_standby_names).",
    ))
}

/// Checks whether a declared proxy recently sent an unreadable caller address.
async fn proxies(tx: &mut Tx, now: Timestamp) -> CheckResult {
    const NAME: &str = "forwarded_addresses";
    let noted = tx.unreadable_proxies(told_since(now), NAMED as i64).await?;
    Ok(match noted.as_slice() {
        [] => Check::ok(NAME, "No trusted proxy has sent an unreadable caller address."),
        noted => Check::warn(
            NAME,
            format!(
                "Requests from {} had no readable caller address, so all callers behind it count as one.",
                noted.join(", ")
            ),
            "Configure the proxy to write X-Forwarded-For with an address in each hop (with or without \
            port), and to remove any value that callers send. Forwarded (RFC 7239) is not read.",
        ),
    })
}

/// Checks whether the database recently refused evidence.
async fn evidence(tx: &mut Tx, now: Timestamp) -> CheckResult {
    const NAME: &str = "evidence";
    let gaps = tx.evidence_gaps(now.before(LOOKED_BACK), MAX_GAPS).await?;
    let refused = gaps.iter().filter(|gap| gap.kind == GapKind::Refused).count() as u64;
    Ok(match refused {
        0 => Check::ok(NAME, "The database has accepted all evidence of the last 30 days."),
        number => Check::warn(
            NAME,
            format!(
                "The database has refused evidence {number} times in 30 days. Each refusal is recorded as a \
                gap."
            ),
            "The log shows what was refused and why (evidence that the database refuses is set aside).",
        ),
    })
}

/// Checks that the destinations of the trail have every event that is older than a few minutes.
async fn shipping(tx: &mut Tx, sinks: &[AuditSink], now: Timestamp) -> CheckResult {
    const SENT_WITHIN: Duration = Duration::from_secs(600);
    let (positions, end) = (tx.audit_positions().await?, tx.last_audit_event().await?);
    let mut behind = Vec::new();
    for sink in sinks {
        let name = sink.to_string();
        let sent = positions.iter().find(|(other, _)| *other == name).map_or(0, |(_, seq)| *seq);
        let next = tx.export_audit_events(&AuditFilter::default(), sent, end, 1).await?;
        if next.first().is_some_and(|next| next.event.at < now.before(SENT_WITHIN)) {
            behind.push(format!("{name} lacks {}", count((end - sent).unsigned_abs(), "event")));
        }
    }
    Ok(match behind.is_empty() {
        true => Check::ok("audit_shipping", "The audit trail is shipped to every destination."),
        false => Check::warn(
            "audit_shipping",
            format!("The audit trail is not shipped completely: {}.", behind.join(", ")),
            "Check the destination and the log of the server. The events wait in the database and are sent later.",
        ),
    })
}

async fn audit_trail(tx: &mut Tx) -> CheckResult {
    let trail = tx.trail().await?;
    // A retention takes the beginning away, and says up to where.
    let filter = AuditFilter { action: Some(Action::AuditTrimmed), ..AuditFilter::default() };
    let trimmed = tx.audit_events(&filter, None, 1).await?;
    let trimmed = trimmed.events.first().and_then(|row| row.event.details["up_to_seq"].as_i64()).unwrap_or(0);
    let whole =
        trail.first == trimmed + 1 && trail.last == trail.given && trail.events == trail.given - trimmed;
    Ok(if whole {
        Check::ok(
            "audit_trail",
            format!(
                "{}, with no number missing up to {}, the last one given. Events removed from the end \
                together with that number would not be noticed.",
                count(trail.events.unsigned_abs(), "event"),
                trail.given
            ),
        )
    } else {
        Check::fail(
            "audit_trail",
            format!(
                "The trail must have the numbers {} to {}, but it has {}, numbered {} to {}. Events were \
                removed or renumbered in the database.",
                trimmed + 1,
                trail.given,
                count(trail.events.unsigned_abs(), "event"),
                trail.first,
                trail.last
            ),
            "Compare the trail with an earlier export or backup. Missing events cannot be recreated.",
        )
    })
}
