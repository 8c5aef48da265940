//! Reads the change-over from the old secret to the new one: the evidence and the verdict.

use crate::{
    app::App,
    drills::list,
    error::Error,
    frame::{
        cursor::{ListQuery, invalid, page, time, unknown_cursor},
        principal::Principal,
        targets::{RegistrationPath, Site},
    },
    secrets::{
        list::{MOST_OFFSET, given, shown_secret},
        transition::{Both, Transition},
    },
};
use crossfade_core::{
    Code, Operation, Problem, Timestamp,
    api::{self, CallerUse, CannotSee, ChangeOver, Grain, Page, SharePoint, VerdictReason},
    change_over::{self, Blind, CallerState, Facts, Verdict, quiet_time},
};
use crossfade_store::{PageStart, RefusedCallerRow, Tx, UsageRow, UsageSource};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// Maximum number of callers listed.
const MOST_CALLERS: usize = 200;
/// Maximum number of callers listed that were refused after the old secret ended.
const MOST_REFUSED: usize = 100;
/// For how long a caller of another ended secret is shown after its last refusal.
const LATELY: Duration = Duration::from_secs(7 * 86_400);
/// Maximum number of gaps listed, latest first.
const MOST_GAPS: usize = 50;
/// Maximum number of deadline warnings listed.
const MOST_WARNINGS: i64 = 50;
/// Maximum number of points read for a series: seven days of minutes for two secrets.
const MOST_POINTS: i64 = 2 * 7 * 1440 + 4;
/// Approximate number of points in a series, unless another grain is requested.
const POINTS: u64 = 360;

/// Parameters of a change-over request, as sent.
#[derive(Clone, Debug, Default)]
pub struct ChangeOverQuery {
    /// Length of the intervals in the series.
    pub grain: Option<String>,
    /// Quiet time in seconds.
    pub quiet_seconds: Option<String>,
}

impl ChangeOverQuery {
    fn grain(&self) -> Result<Option<Grain>, Problem> {
        let parse =
            |text: &String| Grain::parse(text).ok_or_else(|| invalid("grain", "must be minute, hour or day"));
        self.grain.as_ref().map(parse).transpose()
    }

    fn quiet(&self) -> Result<Option<Duration>, Problem> {
        let parse = |text: &String| {
            let seconds = text.parse::<u64>().ok().filter(|seconds| seconds.to_string() == *text);
            let quiet = seconds.and_then(quiet_time);
            quiet.ok_or_else(|| invalid("quiet_seconds", QUIET_SECONDS_ARE))
        };
        self.quiet_seconds.as_ref().map(parse).transpose()
    }
}

pub(crate) const QUIET_SECONDS_ARE: &str = "must be a whole number from 60 to 604800";

impl App {
    /// Returns the latest change-over of a registration.
    pub async fn read_change_over(
        &self,
        principal: &Principal,
        path: RegistrationPath<'_>,
        query: &ChangeOverQuery,
    ) -> Result<ChangeOver, Error> {
        let (grain, quiet) = (query.grain()?, query.quiet()?);
        // What is used while evidence is being written down is not judged, so that the answer is of the time before.
        let before = self.clock.now();
        let kept = (&self.change_overs, format!("{grain:?} {quiet:?}"));
        self.view_kept(Operation::ReadChangeOver, principal, path, kept, async |tx, _, site: Site| {
            self.change_over(tx, &site, grain, quiet, before).await?.ok_or_else(|| {
                let text = "This registration's secret has never been rotated, so there is no change-over.";
                Problem::new(Code::NotRetiring, text).into()
            })
        })
        .await
    }

    /// Returns the change-over of a loaded registration; `None` if it was never rotated.
    pub(crate) async fn change_over(
        &self,
        tx: &mut Tx,
        site: &Site,
        grain: Option<Grain>,
        quiet: Option<Duration>,
        now: Timestamp,
    ) -> Result<Option<ChangeOver>, Error> {
        let registration = &site.registration;
        let Some(transition) = Transition::latest(tx, &registration.id, now).await? else { return Ok(None) };
        let known = transition.known();
        let silences = transition.silences(registration);
        let facts = transition.facts(registration, &known, &silences, quiet);
        let assessed = change_over::assess(&facts, now);
        let Transition { rotation, old, new, ends_at, callers, refused, gaps } = transition;
        let ended_at = old.rule.ended_at(now);
        let rotated_at = rotation.rotated_at;

        let until = now.min(ends_at);
        let grain = grain.unwrap_or_else(|| fitting(until.since(rotated_at)));
        let points = PageStart { after: None, limit: MOST_POINTS };
        let points = tx.usage_series(&registration.id, grain, (rotated_at, until), &points).await?;
        let mut series: BTreeMap<Timestamp, SharePoint> = BTreeMap::new();
        for point in points.into_iter().filter(|it| [&old.rule.id, &new.rule.id].contains(&&it.secret_id)) {
            let to = point.from.after(Duration::from_secs(grain.seconds().unsigned_abs()));
            let shared =
                series.entry(point.from).or_insert(SharePoint { from: point.from, to, old: 0, new: 0 });
            let uses = if point.secret_id == old.rule.id { &mut shared.old } else { &mut shared.new };
            *uses += point.use_count;
        }

        let earlier =
            tx.refused_with_ended(&registration.id, &old.rule.id, now.before(LATELY), MOST_REFUSED as i64);
        let earlier = earlier.await?;
        let warnings = tx.deadline_warnings(&rotation.id, MOST_WARNINGS).await?;
        let blind = self.blind(&callers);
        Ok(Some(ChangeOver {
            rotation_id: rotation.id,
            rotated_at,
            old_secret: shown_secret(&old, now),
            new_secret: shown_secret(&new, now),
            ends_at,
            at: now,
            verdict: assessed.verdict,
            summary: assessed.summary(),
            reasons: assessed
                .reasons
                .iter()
                .map(|code| VerdictReason { code: *code, text: code.sentence().into() })
                .collect(),
            cannot_see: blind
                .into_iter()
                .map(|code| CannotSee { code, text: code.sentence().into() })
                .collect(),
            callers_left: if assessed.verdict == Verdict::Ended { 0 } else { assessed.callers.left() },
            caller_counts: assessed.callers,
            quiet_since: assessed.quiet_since,
            quiet_seconds: until.since(assessed.quiet_since).as_secs(),
            quiet_needed_seconds: facts.quiet_needed.as_secs(),
            safe_at: assessed.safe_at,
            callers: listed(callers, &facts, now),
            refused_since_end: refused_since(refused, ended_at),
            refused_earlier: earlier.into_iter().map(list::shown_caller).collect(),
            grain,
            series: series.into_values().collect(),
            gaps: gaps
                .iter()
                .filter(|gap| gap.ended_at > rotated_at)
                .take(MOST_GAPS)
                .map(|gap| api::EvidenceGap { from: gap.began_at, to: gap.ended_at, kind: gap.kind })
                .collect(),
            deadline_warnings: warnings
                .iter()
                .map(|it| api::DeadlineWarning {
                    deadline: it.deadline,
                    hours_before: it.mark.hours(),
                    told_at: it.told_at,
                    extended_to: it.extended_to,
                })
                .collect(),
        }))
    }

    fn blind(&self, callers: &HashMap<UsageSource, Both>) -> Vec<Blind> {
        let mut blind = vec![Blind::CachedTokens, Blind::RareCallers, Blind::Unserved, Blind::SharedSources];
        if callers.keys().any(|source| source.gathered) {
            blind.push(Blind::Others);
        }
        if !self.node.addresses.are_whole() {
            blind.push(Blind::Addresses);
        }
        blind
    }

    /// Returns the uses of a registration's secrets over time, oldest first.
    pub async fn list_usage_series(
        &self,
        principal: &Principal,
        path: RegistrationPath<'_>,
        (grain, since, until): (Option<&str>, Option<&str>, Option<&str>),
        query: &ListQuery,
    ) -> Result<Page<api::UsagePoint>, Error> {
        let start = self.cursors.start(path.list("usage series"), query)?;
        let grain = match grain {
            None => Grain::Hour,
            Some(text) => {
                Grain::parse(text).ok_or_else(|| invalid("grain", "must be minute, hour or day"))?
            }
        };
        let (since, until) = (time("since", since)?, time("until", until)?);
        let offset = start.after.as_ref().map_or(0, |(offset, _)| *offset);
        if !(0..=MOST_OFFSET).contains(&offset) {
            return Err(unknown_cursor().into());
        }
        let kept = (&self.usage_series, format!("{grain:?} {since:?} {until:?} {query:?}"));
        self.view_kept(Operation::ListUsageSeries, principal, path, kept, async |tx, _, site: Site| {
            let from = since.unwrap_or(Timestamp::from_micros(0));
            let until = until.unwrap_or_else(|| self.clock.now());
            let rows = tx.usage_series(&site.registration.id, grain, (from, until), &start).await?;
            let next = offset + start.limit - 1;
            let length = Duration::from_secs(grain.seconds().unsigned_abs());
            page(
                &start,
                rows,
                |_| (next, "series".into()),
                |point| api::UsagePoint {
                    to: point.from.after(length),
                    secret_id: point.secret_id,
                    from: point.from,
                    use_count: point.use_count,
                },
            )
        })
        .await
    }
}

/// Returns the grain that divides a period into a suitable number of points.
fn fitting(length: Duration) -> Grain {
    let fits = |grain: &Grain| length.as_secs() / grain.seconds().unsigned_abs() <= POINTS;
    Grain::ALL.into_iter().find(fits).unwrap_or(Grain::Day)
}

/// Returns the callers for display: those left on the old secret first, the latest first in each group.
fn listed(callers: HashMap<UsageSource, Both>, facts: &Facts<'_>, now: Timestamp) -> Vec<api::Caller> {
    let place = |state: CallerState| CallerState::ALL.iter().position(|it| *it == state);
    let mut lines: Vec<_> = callers
        .into_iter()
        .map(|(source, both)| {
            let known = both.known();
            let state = known.state(facts.quiet_needed, facts.gaps, now);
            let last = known.old_last().max(known.new.map(|used| used.last));
            let expected = known.expected_until(facts.quiet_needed, facts.gaps);
            let expected = expected.filter(|_| state.is_left() && now < facts.ends_at);
            ((place(state), Reverse(last), source.clone()), shown_caller(source, &both, state, expected))
        })
        .collect();
    lines.sort_by(|(one, _), (other, _)| one.cmp(other));
    lines.truncate(MOST_CALLERS);
    lines.into_iter().map(|(_, line)| line).collect()
}

/// Returns the callers refused after the secret ended, latest first.
fn refused_since(mut refused: Vec<RefusedCallerRow>, ended_at: Option<Timestamp>) -> Vec<api::RefusedCaller> {
    let since = |it: &RefusedCallerRow| ended_at.is_some_and(|ended| it.refusals.last_used_at >= ended);
    refused.retain(|it| it.drill_id.is_none() && since(it));
    refused.sort_by_key(|it| Reverse(it.refusals.last_used_at));
    refused.truncate(MOST_REFUSED);
    refused.into_iter().map(list::shown_caller).collect()
}

fn shown_caller(
    source: UsageSource,
    both: &Both,
    state: CallerState,
    expected_until: Option<Timestamp>,
) -> api::Caller {
    let used = |row: &UsageRow| CallerUse {
        first_used_at: row.usage.first_used_at,
        last_used_at: row.usage.last_used_at,
        use_count: row.usage.use_count,
        longest_pause_seconds: row.longest_pause.as_secs(),
    };
    api::Caller {
        source_ip: given(source.ip),
        user_agent: given(source.user_agent),
        instance: given(source.instance),
        gathered: source.gathered,
        state,
        old: both.old.as_ref().map(used),
        new: both.new.as_ref().map(used),
        refused_at: both.refused,
        expected_until,
    }
}
