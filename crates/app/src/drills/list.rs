//! The drills of a registration and the callers they found.

use crate::{
    app::App,
    error::Error,
    frame::{
        cursor::{ListQuery, page},
        principal::Principal,
        targets::{RegistrationPath, Site},
    },
    secrets::list::given,
};
use crossfade_core::{
    Operation, SecretId, Timestamp,
    api::{self, Page},
    drill::Drill,
};
use crossfade_store::{DrillCounts, DrillFindings, DrillRow, EvidenceGap, RefusedCallerRow, Tx};

/// Maximum number of gaps in the evidence that are read, latest first.
const MOST_GAPS: i64 = 1000;

impl App {
    /// Returns the drills of a registration, newest first.
    pub async fn list_drills(
        &self,
        principal: &Principal,
        path: RegistrationPath<'_>,
        query: &ListQuery,
    ) -> Result<Page<api::Drill>, Error> {
        let start = self.cursors.start(path.list("drills"), query)?;
        self.view_evidence(Operation::ListDrills, principal, path, async |tx, _, site: Site| {
            let now = self.clock.now();
            let rows = tx.drills(&site.registration.id, &start).await?;
            let numbers: Vec<_> = rows.iter().map(|row| row.number).collect();
            let shown = numbers.into_iter().zip(shown_drills(tx, rows, now).await?).collect();
            page(&start, shown, |(number, drill)| (*number, drill.id.to_string()), |(_, drill)| drill)
        })
        .await
    }
}

/// Returns the drills of these secrets of a registration, newest first, at most 100 per secret.
pub(crate) async fn drills_of(
    tx: &mut Tx,
    site: &Site,
    secrets: &[SecretId],
    now: Timestamp,
) -> Result<Vec<api::Drill>, Error> {
    let mut rows = tx.drills_of_secrets(secrets).await?;
    rows.retain(|row| row.registration_id == site.registration.id);
    shown_drills(tx, rows, now).await
}

/// Returns drills as the API shows them, with the stored callers that each has found.
async fn shown_drills(tx: &mut Tx, rows: Vec<DrillRow>, now: Timestamp) -> Result<Vec<api::Drill>, Error> {
    let Some(since) = rows.iter().map(|row| row.rule.starts_at).min() else { return Ok(Vec::new()) };
    let ids: Vec<_> = rows.iter().map(|row| row.rule.id.clone()).collect();
    let mut findings = tx.drill_findings(&ids).await?;
    let gaps = tx.evidence_gaps(since, MOST_GAPS).await?;
    let shown = |row: DrillRow| {
        let found = findings.remove(&row.rule.id);
        shown(row, found, &gaps, now)
    };
    Ok(rows.into_iter().map(shown).collect())
}

/// Returns a drill as the API shows it, with the stored callers that it has found.
pub(crate) async fn shown_drill(tx: &mut Tx, row: DrillRow, now: Timestamp) -> Result<api::Drill, Error> {
    let found = tx.drill_findings(std::slice::from_ref(&row.rule.id)).await?.remove(&row.rule.id);
    let gaps = tx.evidence_gaps(row.rule.starts_at, MOST_GAPS).await?;
    Ok(shown(row, found, &gaps, now))
}

fn shown(row: DrillRow, found: Option<DrillFindings>, gaps: &[EvidenceGap], now: Timestamp) -> api::Drill {
    let unrecorded_seconds = unrecorded(&row.rule, gaps, now);
    let counts = found.as_ref().map_or(DrillCounts { callers: 0, refusals: 0 }, |found| found.counts);
    let callers = found.map(|found| found.callers).unwrap_or_default();
    api::Drill {
        state: row.rule.state(now),
        scheduled_by: row.scheduled_by,
        scheduled_at: row.scheduled_at,
        reason: row.reason,
        windows: row.rule.windows(),
        ends_at: row.rule.ends_at(),
        stopped_at: row.rule.stopped.map(|(at, _)| at),
        stopped_as: row.rule.stopped.map(|(_, stopped_as)| stopped_as),
        stopped_by: row.stopped_by,
        caller_count: counts.callers,
        refusal_count: counts.refusals,
        unrecorded_seconds,
        callers: callers.into_iter().map(shown_caller).collect(),
        id: row.rule.id,
        secret_id: row.rule.secret_id,
    }
}

/// Returns the seconds of its windows without evidence, rounded up.
pub(crate) async fn unrecorded_seconds(tx: &mut Tx, drill: &Drill, now: Timestamp) -> Result<u64, Error> {
    Ok(unrecorded(drill, &tx.evidence_gaps(drill.starts_at, MOST_GAPS).await?, now))
}

fn unrecorded(drill: &Drill, gaps: &[EvidenceGap], now: Timestamp) -> u64 {
    let gaps = gaps.iter().map(|gap| (gap.began_at, gap.ended_at));
    drill.unrecorded(gaps, now).as_micros().div_ceil(1_000_000).try_into().unwrap_or(u64::MAX)
}

pub(crate) fn shown_caller(row: RefusedCallerRow) -> api::RefusedCaller {
    api::RefusedCaller {
        source_ip: given(row.source.ip),
        user_agent: given(row.source.user_agent),
        instance: given(row.source.instance),
        gathered: row.source.gathered,
        first_at: row.refusals.first_used_at,
        last_at: row.refusals.last_used_at,
        refusal_count: row.refusals.use_count,
    }
}
