//! Reading secrets: their metadata, the rotations, the evidence of use.

use crate::{
    app::App,
    error::Error,
    frame::{
        cursor::{ListQuery, Start, page, time, unknown_cursor},
        principal::Principal,
        targets::{RegistrationPath, Site},
    },
    registrations::registration::tokens_end,
    secrets::seen::shown_seen,
};
use crossfade_core::{
    Operation, Problem, RegistrationId, SecretId, Timestamp,
    api::{self, Page},
    rotation::{DECIDED_WITHIN, EndedAs, state_at},
};
use crossfade_store::{Decision, Registration, Secret, Tx};

/// Last row of a list that is paged by counting. It contains at most two secrets with all their sources.
pub(crate) const MOST_OFFSET: i64 = 1_000_000;

/// Returns a secret as the API shows it.
pub(crate) fn shown_secret(secret: &Secret, now: Timestamp) -> api::Secret {
    api::Secret {
        id: secret.rule.id.clone(),
        state: secret.rule.state(now),
        created_at: secret.rule.created_at,
        expires_at: secret.rule.expires_at,
        revoked_at: secret.rule.revoked_at,
        first_used_at: secret.usage.map(|usage| usage.first_used_at),
        last_used_at: secret.usage.map(|usage| usage.last_used_at),
        use_count: secret.usage.map_or(0, |usage| usage.use_count),
        stored: secret.sealed.is_some(),
        origin: secret.origin,
    }
}

/// Returns a secret of a registration by its id, as sent.
pub(crate) async fn secret_of(tx: &mut Tx, registration: &RegistrationId, id: &str) -> Result<Secret, Error> {
    let id = SecretId::parse(id).map_err(|_| Problem::not_found())?;
    Ok(tx.secret(registration, &id).await?.ok_or_else(Problem::not_found)?)
}

/// A rotation in the history page.
#[derive(Clone, Debug)]
pub struct RotationLine {
    /// The rotation.
    pub rotation: api::Rotation,
    /// Whether the value of the replaced secret is stored.
    pub stored: bool,
    /// Whether the secret ended by this rotation or by its rollback has leaked.
    pub leaked: bool,
    /// End of the tokens issued under that secret; `None` if they were not ended.
    pub tokens_ended: Option<TokensEnded>,
}

/// End of the tokens issued under a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokensEnded {
    /// When introspection started to report them as inactive.
    pub at: Timestamp,
    /// Time until which a resource server that validates tokens offline may accept one.
    pub offline_until: Timestamp,
}

fn shown_rotation(
    row: crossfade_store::RotationLine,
    registration: &Registration,
    (decisions, seen): (&[Decision], Vec<api::Seen>),
    now: Timestamp,
) -> RotationLine {
    let (rotation, outgoing) = (row.rotation, row.outgoing);
    let ended_as = EndedAs::at(rotation.decided, &outgoing, now);
    let last = |target: &str, is_extension, until: Timestamp| {
        let holds = |it: &&Decision| {
            it.target == target
                && it.is_extension == is_extension
                && (rotation.rotated_at..=until).contains(&it.at)
        };
        decisions.iter().rev().find(holds)
    };
    let end = match ended_as {
        EndedAs::Revoked => last(outgoing.id.as_str(), false, now),
        EndedAs::RolledBack => last(rotation.id.as_str(), false, now),
        _ => None,
    };
    // After a roll back, a later rotation can replace the same secret, and that rotation has extensions of its own.
    let extension = last(outgoing.id.as_str(), true, end.map_or(now, |end| end.at));
    // A roll back makes the replaced secret current again and ends the replacing one.
    let is_rolled_back = ended_as == EndedAs::RolledBack;
    let marks = if is_rolled_back { row.incoming_marks } else { row.outgoing_marks };
    let ended = |at| TokensEnded { at, offline_until: tokens_end(registration, at) };
    RotationLine {
        leaked: marks.compromised_at.is_some() || (rotation.compromised && !is_rolled_back),
        tokens_ended: marks.tokens_revoked_at.map(ended),
        rotation: api::Rotation {
            ended_as,
            ended_by: end.map(|end| end.by.clone()),
            ended_reason: end.and_then(|end| end.reason.clone()),
            extended_by: extension.map(|extension| extension.by.clone()),
            seen,
            id: rotation.id,
            initiated_by: rotation.actor,
            rotated_at: rotation.rotated_at,
            transition_hours: rotation.transition.hours(),
            reason: rotation.reason,
            compromised: rotation.compromised,
            outgoing_secret: api::OutgoingSecret {
                expires_at: outgoing.expires_at,
                ended_at: outgoing.ended_at(now),
                last_used_at: row.last_used_at,
                id: outgoing.id,
            },
            incoming_secret: api::IncomingSecret { first_used_at: row.first_used_at, id: rotation.incoming },
        },
        stored: row.stored,
    }
}

/// Returns a text that was sent; `None` if it is empty.
pub(crate) fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

impl App {
    /// Returns a secret for the principal who has just changed it, with its exact last use.
    pub(crate) fn shown_secret(&self, secret: &Secret, now: Timestamp) -> api::Secret {
        let mut shown = shown_secret(secret, now);
        shown.last_used_at = shown.last_used_at.max(self.node.unflushed_use(&shown.id));
        shown
    }

    /// Returns the secrets of a registration, newest first, without values.
    pub async fn list_secrets(
        &self,
        principal: &Principal,
        path: RegistrationPath<'_>,
        query: &ListQuery,
    ) -> Result<Page<api::Secret>, Error> {
        let start = self.cursors.start(path.list("secrets"), query)?;
        self.view_evidence(Operation::ListSecrets, principal, path, async |tx, _, site: Site| {
            let rows = tx.secrets(&site.registration.id, &start).await?;
            let now = self.clock.now();
            page(
                &start,
                rows,
                |row| (row.number, row.rule.id.to_string()),
                |row| self.shown_secret(&row, now),
            )
        })
        .await
    }

    /// Returns the rotations of a registration, newest first.
    pub async fn list_rotations(
        &self,
        principal: &Principal,
        path: RegistrationPath<'_>,
        query: &ListQuery,
    ) -> Result<Page<api::Rotation>, Error> {
        let start = self.cursors.start(path.list("rotations"), query)?;
        let found = self
            .view_evidence(Operation::ListRotations, principal, path, async |tx, _, site: Site| {
                self.rotation_lines(tx, &site, (&start, false), self.clock.now()).await
            })
            .await?;
        Ok(Page {
            items: found.items.into_iter().map(|line| line.rotation).collect(),
            next_cursor: found.next_cursor,
        })
    }

    /// Returns the rotations of a registration as the Console shows them, in either order.
    pub(crate) async fn rotation_lines(
        &self,
        tx: &mut Tx,
        site: &Site,
        (start, oldest_first): (&Start<'_>, bool),
        now: Timestamp,
    ) -> Result<Page<RotationLine>, Error> {
        let rows = tx.rotation_lines(&site.registration.id, start, oldest_first).await?;
        let times = rows.iter().map(|row| row.rotation.rotated_at);
        let decisions = match times.clone().min().zip(times.max()) {
            // What was revoked or rolled back was so within the longest transition.
            Some((from, last)) => {
                let until = last.after(DECIDED_WITHIN);
                tx.decisions(&site.client.id, &site.environment.slug, (from, until)).await?
            }
            None => Vec::new(),
        };
        let mut seen = tx.seen_by(&rows.iter().map(|row| &row.rotation.id).collect::<Vec<_>>()).await?;
        let key = |row: &crossfade_store::RotationLine| (row.rotation.number, row.rotation.id.to_string());
        page(start, rows, key, |row| {
            let seen =
                seen.remove(&row.rotation.id).unwrap_or_default().into_iter().map(shown_seen).collect();
            shown_rotation(row, &site.registration, (&decisions, seen), now)
        })
    }

    /// Returns the sources of each secret: newest secret first, then latest use first.
    pub async fn list_usage(
        &self,
        principal: &Principal,
        path: RegistrationPath<'_>,
        since: Option<&str>,
        query: &ListQuery,
    ) -> Result<Page<api::Usage>, Error> {
        let start = self.cursors.start(path.list("usage"), query)?;
        let since = time("since", since)?;
        let offset = start.after.as_ref().map_or(0, |(offset, _)| *offset);
        if !(0..=MOST_OFFSET).contains(&offset) {
            return Err(unknown_cursor().into());
        }
        let kept = (&self.usages, format!("{since:?} {query:?}"));
        self.view_kept(Operation::ListUsage, principal, path, kept, async |tx, _, site: Site| {
            self.usage(tx, &site, since, &start, self.clock.now()).await
        })
        .await
    }

    /// Returns the sources of each secret of a loaded registration.
    pub(crate) async fn usage(
        &self,
        tx: &mut Tx,
        site: &Site,
        since: Option<Timestamp>,
        start: &Start<'_>,
        now: Timestamp,
    ) -> Result<Page<api::Usage>, Error> {
        let rows = tx.usage_sources(&site.registration.id, since, start).await?;
        let offset = start.after.as_ref().map_or(0, |(offset, _)| *offset);
        let next = offset + start.limit - 1;
        page(
            start,
            rows,
            |_| (next, "usage".into()),
            |used| api::Usage {
                state: state_at(used.expires_at, used.revoked_at, now),
                secret_id: used.row.secret_id,
                source_ip: given(used.row.source.ip),
                user_agent: given(used.row.source.user_agent),
                instance: given(used.row.source.instance),
                gathered: used.row.source.gathered,
                first_used_at: used.row.usage.first_used_at,
                last_used_at: used.row.usage.last_used_at,
                use_count: used.row.usage.use_count,
            },
        )
    }
}
