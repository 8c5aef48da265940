//! The latest transition of a registration with all its evidence, for judging its change-over.

use crate::error::Error;
use crossfade_core::{
    RegistrationId, SecretId, Timestamp,
    api::GapKind,
    change_over::{self, Assessment, CallerEvidence, Facts, Gap, Used},
    rotation::SecretState,
};
use crossfade_store::{
    EvidenceGap, RefusedCallerRow, Registration, Rotation, Secret, Tx, UsageRow, UsageSource,
};
use std::{collections::HashMap, time::Duration};

/// Maximum number of gaps considered individually, latest first.
const MOST_GAPS: usize = 1000;

/// The latest rotation, its secrets and their callers.
pub(crate) struct Transition {
    pub(crate) rotation: Rotation,
    pub(crate) old: Secret,
    pub(crate) new: Secret,
    /// When the old secret ends or ended.
    pub(crate) ends_at: Timestamp,
    pub(crate) callers: HashMap<UsageSource, Both>,
    /// Callers that were refused with the old secret.
    pub(crate) refused: Vec<RefusedCallerRow>,
    /// Periods without complete evidence since its callers were last seen, latest first.
    pub(crate) gaps: Vec<EvidenceGap>,
}

/// One caller with its use of both secrets.
#[derive(Default)]
pub(crate) struct Both {
    pub(crate) old: Option<UsageRow>,
    pub(crate) new: Option<UsageRow>,
    pub(crate) refused: Option<Timestamp>,
    pub(crate) program: Option<Used>,
}

impl Both {
    pub(crate) fn known(&self) -> CallerEvidence {
        let gathered = self.old.as_ref().or(self.new.as_ref()).is_some_and(|row| row.source.gathered);
        CallerEvidence {
            old: self.old.as_ref().map(used),
            new: self.new.as_ref().map(used),
            refused: self.refused,
            program: self.program,
            gathered,
        }
    }
}

fn used(row: &UsageRow) -> Used {
    let (first, last) = (row.usage.first_used_at, row.usage.last_used_at);
    Used { first, last, longest_pause: row.longest_pause }
}

impl Transition {
    /// Returns the latest transition of this registration at `now`; `None` if it was never rotated.
    pub(crate) async fn latest(
        tx: &mut Tx,
        registration: &RegistrationId,
        now: Timestamp,
    ) -> Result<Option<Self>, Error> {
        Ok(Self::latest_of(tx, &[registration], now).await?.remove(registration))
    }

    /// Returns the latest transition of each of these registrations that was ever rotated, with a fixed number of
    /// statements.
    pub(crate) async fn latest_of(
        tx: &mut Tx,
        registrations: &[&RegistrationId],
        now: Timestamp,
    ) -> Result<HashMap<RegistrationId, Self>, Error> {
        let rotations = tx.latest_rotations(registrations).await?;
        let old: Vec<_> = rotations.iter().map(|rotation| &rotation.outgoing).collect();
        let both: Vec<_> = rotations.iter().flat_map(|it| [&it.outgoing, &it.incoming]).collect();
        let secrets = tx.secrets_by_id(&both).await?;
        let sources = by_secret(tx.sources_of_secrets(&both).await?, |row| &row.secret_id);
        let refused = by_secret(tx.refused_callers_of_secrets(&old).await?, |row| &row.secret_id);
        let mut transitions = HashMap::new();
        for rotation in rotations {
            let secret = |id: &SecretId| {
                let missing = || Error::internal("a rotation names a secret that is not there");
                secrets.get(id).cloned().ok_or_else(missing)
            };
            let (old, new) = (secret(&rotation.outgoing)?, secret(&rotation.incoming)?);
            let rows = |id: &SecretId| sources.get(id).map_or(&[][..], Vec::as_slice);
            let refused = refused.get(&rotation.outgoing).cloned().unwrap_or_default();
            let transition = Self {
                ends_at: ends_at(&old, &new, now),
                gaps: Vec::new(),
                callers: callers((rows(&rotation.outgoing), rows(&rotation.incoming)), &refused),
                refused,
                old,
                new,
                rotation,
            };
            transitions.insert(transition.rotation.registration_id.clone(), transition);
        }
        let Some(earliest) = transitions.values().map(|it| it.watched_since(now)).min() else {
            return Ok(transitions);
        };
        let all = tx.evidence_gaps(earliest, MOST_GAPS as i64).await?;
        for transition in transitions.values_mut() {
            transition.gaps = gaps(&all, transition.watched_since(now));
        }
        Ok(transitions)
    }

    /// Returns since when its evidence counts: since its rotation, or since a caller of the old secret was last seen.
    fn watched_since(&self, now: Timestamp) -> Timestamp {
        let last_seen = self.callers.values().filter_map(|both| both.known().old_last()).min();
        self.rotation.rotated_at.min(last_seen.unwrap_or(now))
    }

    /// Returns its callers, as input for the rules.
    pub(crate) fn known(&self) -> Vec<CallerEvidence> {
        self.callers.values().map(Both::known).collect()
    }

    /// Returns the gaps in the evidence, as input for the rules.
    pub(crate) fn silences(&self, registration: &Registration) -> Vec<Gap> {
        let gaps = self.gaps.iter().map(|gap| Gap { began: gap.began_at, ended: gap.ended_at });
        // Since when it had been disabled is not kept.
        let disabled = registration.enabled_at.map(|ended| Gap { began: Timestamp::from_micros(0), ended });
        let mut silences: Vec<Gap> = gaps.chain(disabled).collect();
        silences.sort_by_key(|gap| gap.ended);
        silences
    }

    /// Judges the change-over. `tried` is a use or an attempt of the old secret that is not stored yet.
    pub(crate) fn assess(
        &self,
        registration: &Registration,
        quiet: Option<Duration>,
        tried: Option<Timestamp>,
        now: Timestamp,
    ) -> Assessment {
        let (known, silences) = (self.known(), self.silences(registration));
        let facts = self.facts(registration, &known, &silences, quiet);
        let old_last_used = facts.old_last_used.max(tried);
        change_over::assess(&Facts { old_last_used, ..facts }, now)
    }

    /// Returns the input for the rules. The quiet time is derived from the token lifetime of the registration, unless
    /// it is given.
    pub(crate) fn facts<'a>(
        &self,
        registration: &Registration,
        known: &'a [CallerEvidence],
        gaps: &'a [Gap],
        quiet: Option<Duration>,
    ) -> Facts<'a> {
        let ttl = Duration::from_secs(registration.ttl.seconds().into());
        Facts {
            rotated_at: self.rotation.rotated_at,
            ends_at: self.ends_at,
            old_last_used: self.old.usage.map(|usage| usage.last_used_at),
            new_first_used: self.new.usage.map(|usage| usage.first_used_at),
            callers: known,
            gaps,
            earlier_tokens_end_at: registration.earlier_tokens_end_at,
            disabled: registration.disabled_at.is_some(),
            rolled_back: self.old.rule.expires_at.is_none() && self.old.rule.revoked_at.is_none(),
            quiet_needed: quiet.unwrap_or_else(|| change_over::quiet_needed(ttl)),
        }
    }
}

/// Returns the gaps since a time among the latest ones, latest first. If there are too many, the time before the
/// returned ones counts as a gap.
fn gaps(latest: &[EvidenceGap], since: Timestamp) -> Vec<EvidenceGap> {
    let mut gaps: Vec<_> = latest.iter().filter(|gap| gap.ended_at > since).copied().collect();
    if let Some(oldest) = gaps.last().copied().filter(|_| gaps.len() == MOST_GAPS) {
        gaps.push(EvidenceGap { began_at: since, ended_at: oldest.began_at, kind: GapKind::Unknown });
    }
    gaps
}

/// Groups rows by their secret.
fn by_secret<R>(rows: Vec<R>, secret: impl Fn(&R) -> &SecretId) -> HashMap<SecretId, Vec<R>> {
    let mut grouped: HashMap<SecretId, Vec<R>> = HashMap::new();
    for row in rows {
        grouped.entry(secret(&row).clone()).or_default().push(row);
    }
    grouped
}

/// Returns when the old secret ends or ended; after a rollback, when the transition ended.
fn ends_at(old: &Secret, new: &Secret, now: Timestamp) -> Timestamp {
    match old.rule.state(now) {
        SecretState::Current => new.rule.ended_at(now).unwrap_or(now),
        SecretState::Retiring => old.rule.expires_at.unwrap_or(now),
        SecretState::Expired | SecretState::Revoked => old.rule.ended_at(now).unwrap_or(now),
    }
}

fn callers(
    (of_old, of_new): (&[UsageRow], &[UsageRow]),
    refused: &[RefusedCallerRow],
) -> HashMap<UsageSource, Both> {
    let mut callers: HashMap<UsageSource, Both> = HashMap::new();
    for row in of_old {
        let known = callers.entry(row.source.clone()).or_default();
        known.old = Some(row.clone());
    }
    for row in of_new {
        let known = callers.entry(row.source.clone()).or_default();
        known.new = Some(row.clone());
    }
    // A refused caller has tried the old secret, so it counts as left like one that was accepted.
    for row in refused {
        let known = callers.entry(row.source.clone()).or_default();
        known.refused = known.refused.max(Some(row.refusals.last_used_at));
    }
    let mut programs: HashMap<String, Vec<Used>> = HashMap::new();
    for (source, both) in callers.iter().filter(|(source, _)| !source.gathered) {
        programs.entry(source.user_agent.clone()).or_default().extend(both.old.as_ref().map(used));
    }
    let programs: HashMap<String, Option<Used>> =
        programs.into_iter().map(|(agent, uses)| (agent, Used::together(uses))).collect();
    for (source, both) in callers.iter_mut().filter(|(source, _)| !source.gathered) {
        both.program = programs.get(&source.user_agent).copied().flatten();
    }
    callers
}
