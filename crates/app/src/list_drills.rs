//! The drills of a registration and whom they have found.

use crate::{
    app::App,
    caller::Caller,
    cursor::{ListQuery, page},
    error::Error,
    history::given,
    targets::{RegistrationPath, Site},
};
use crossfade_core::{
    Operation, Timestamp,
    api::{self, Page},
    drill::Drill,
};
use crossfade_store::{DrillRow, RefusedCaller, Tx};

/// Callers that are listed of each drill.
const MOST_CALLERS: i64 = 100;
/// Gaps in the evidence that are looked at, latest first.
const MOST_GAPS: i64 = 1000;

impl App {
    /// The drills of a registration, newest first.
    pub async fn list_drills(
        &self,
        caller: &Caller,
        path: RegistrationPath<'_>,
        query: &ListQuery,
    ) -> Result<Page<api::Drill>, Error> {
        let start = self.cursors.start(query)?;
        self.view_evidence(Operation::ListDrills, caller, path, async |tx, _, site: Site| {
            let now = self.clock.now();
            let mut shown = Vec::new();
            for row in tx.drills(&site.registration.id, &start).await? {
                shown.push((row.number, shown_drill(tx, row, now).await?));
            }
            page(&start, shown, |(number, drill)| (*number, drill.id.to_string()), |(_, drill)| drill)
        })
        .await
    }
}

/// A drill as the API shows it, with what is stored of whom it has found.
pub(crate) async fn shown_drill(tx: &mut Tx, row: DrillRow, now: Timestamp) -> Result<api::Drill, Error> {
    let counts = tx.drill_counts(&row.rule.id).await?;
    let callers = tx.drill_callers(&row.rule.id, MOST_CALLERS).await?;
    let unrecorded_seconds = unrecorded_seconds(tx, &row.rule, now).await?;
    Ok(api::Drill {
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
    })
}

/// For how many seconds of its windows nothing was recorded, any part of one counted whole.
pub(crate) async fn unrecorded_seconds(tx: &mut Tx, drill: &Drill, now: Timestamp) -> Result<u64, Error> {
    let gaps = tx.evidence_gaps(drill.starts_at, MOST_GAPS).await?;
    let gaps = gaps.iter().map(|gap| (gap.began_at, gap.ended_at));
    Ok(drill.unrecorded(gaps, now).as_micros().div_ceil(1_000_000).try_into().unwrap_or(u64::MAX))
}

pub(crate) fn shown_caller(row: RefusedCaller) -> api::RefusedCaller {
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
