//! The change-over of a transition: which callers still use the old secret, and whether it is safe to end it.
//!
//! A pure function of the recorded evidence and the time. When in doubt it says wait: if the evidence has a gap, or a
//! caller has not been observed long enough to predict its return. The limits of the verdict are part of the result
//! ([`Blind`]).

use crate::{Timestamp, TransitionHours};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

/// The shortest quiet time, however short the token lifetime.
pub const QUIET_AT_LEAST: Duration = Duration::from_secs(30 * 60);
/// How long to wait for a caller whose habit is unknown. Long enough for a nightly job to return.
const UNKNOWN_HABIT: Duration = Duration::from_secs(24 * 3600);
/// A caller's habit is known once it was observed for this many of its longest pauses.
const PAUSES_SEEN: u32 = 3;
/// The shortest observation after which a caller's own habit is trusted. A caller seen for less may repeat the next day
/// what it did on this one.
const SEEN_FOR: Duration = Duration::from_secs(24 * 3600);

/// The recorded use of one secret by one caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Used {
    /// The first use.
    pub first: Timestamp,
    /// The last use.
    pub last: Timestamp,
    /// Longest time between two consecutive uses.
    pub longest_pause: Duration,
}

impl Used {
    /// Merges the uses of several callers into one. Its longest pause is the longest gap between their spans; within a
    /// span, at most the shortest `longest_pause` of the callers active there. `None` if `uses` is empty.
    pub fn together(uses: impl IntoIterator<Item = Self>) -> Option<Self> {
        let uses: Vec<Self> = uses.into_iter().collect();
        let first = uses.iter().map(|used| used.first).min()?;
        let last = uses.iter().map(|used| used.last).max()?;
        // Starts and ends of the spans, in order. At equal times starts come first, so that a caller starting exactly
        // when another stops leaves no pause.
        let begins = uses.iter().map(|used| (used.first, 0, used.longest_pause));
        let ends = uses.iter().map(|used| (used.last, 1, used.longest_pause));
        let mut turns: Vec<_> = begins.chain(ends).collect();
        turns.sort_unstable();
        let mut there: BTreeMap<Duration, usize> = BTreeMap::new();
        let (mut since, mut longest_pause) = (first, Duration::ZERO);
        for (at, ends, pause) in turns {
            let passed = at.since(since);
            let paused = there.first_key_value().map_or(passed, |(least, _)| passed.min(*least));
            longest_pause = longest_pause.max(paused);
            match (ends, there.entry(pause)) {
                (0, entry) => *entry.or_default() += 1,
                (_, Entry::Occupied(mut count)) if *count.get() > 1 => *count.get_mut() -= 1,
                (_, Entry::Occupied(count)) => drop(count.remove()),
                (_, Entry::Vacant(_)) => {}
            }
            since = at;
        }
        Some(Self { first, last, longest_pause })
    }
}

/// The evidence of one caller, which is identified by its address, user agent and instance label.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CallerEvidence {
    /// Its use of the old secret.
    pub old: Option<Used>,
    /// Its use of the new secret.
    pub new: Option<Used>,
    /// Last refusal although it presented the valid old secret: by a drill, or by the settings of the registration.
    pub refused: Option<Timestamp>,
    /// The merged use of the old secret by all callers with its user agent: its program, which may return from another
    /// address.
    pub program: Option<Used>,
    /// Whether this row represents several callers. One of them moving does not mean that the others have.
    pub gathered: bool,
}

/// A period without evidence, or in which every caller was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gap {
    /// Start.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
}

/// The evidence of a transition.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// Time of the rotation.
    pub rotated_at: Timestamp,
    /// When the old secret ends or ended.
    pub ends_at: Timestamp,
    /// Last use of the old secret by any caller, even before the rotation.
    pub old_last_used: Option<Timestamp>,
    /// First use of the new secret by any caller.
    pub new_first_used: Option<Timestamp>,
    /// All callers that have ever used either secret.
    pub callers: &'a [CallerEvidence],
    /// Gaps in the evidence, including those before the rotation, ordered by their end.
    pub gaps: &'a [Gap],
    /// When the last token issued before the token lifetime was shortened expires.
    pub earlier_tokens_end_at: Option<Timestamp>,
    /// Whether the registration refuses everything.
    pub disabled: bool,
    /// Whether the rotation was rolled back, so the old secret is current again.
    pub rolled_back: bool,
    /// How long the old secret must have been unused.
    pub quiet_needed: Duration,
}

/// State of a caller.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallerState {
    /// Uses the old secret, and is expected to use it again.
    OnOld,
    /// Uses both secrets: several programs that look like one, or one inconsistent program.
    OnBoth,
    /// Uses the new secret, and has left the old one.
    Moved,
    /// Used the old secret, and has been silent for longer than ever before.
    Silent,
    /// Has only ever used the new secret.
    OnNew,
}

impl CallerState {
    /// All states.
    pub const ALL: [Self; 5] = [Self::OnOld, Self::OnBoth, Self::Moved, Self::Silent, Self::OnNew];

    /// Returns the word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnOld => "on_old",
            Self::OnBoth => "on_both",
            Self::Moved => "moved",
            Self::Silent => "silent",
            Self::OnNew => "on_new",
        }
    }

    /// Whether this caller would, as far as is known, fail if the old secret ended now.
    pub fn is_left(self) -> bool {
        matches!(self, Self::OnOld | Self::OnBoth)
    }
}

impl CallerEvidence {
    /// Returns the last time the caller tried the old secret.
    pub fn old_last(&self) -> Option<Timestamp> {
        self.old.map(|used| used.last).max(self.refused)
    }

    /// Returns the latest time by which the caller is expected to use the old secret again, based on its past use;
    /// `None` if it never used it.
    ///
    /// That is its longest pause plus the quiet time after its last use. If too little is known about the caller, it is
    /// at least a day.
    pub fn expected_until(&self, quiet: Duration, gaps: &[Gap]) -> Option<Timestamp> {
        let last = self.old_last()?;
        let habit = match self.old {
            Some(used) if !self.gathered && is_steady(&used, quiet) => self.habit(&used),
            Some(used) => used.longest_pause.max(UNKNOWN_HABIT),
            None => UNKNOWN_HABIT,
        };
        // The caller may have returned during a gap, so wait again from its end, unless the caller was already overdue
        // when the gap began.
        let waited = |until: Timestamp, gap: &Gap| match gap.ended > last && gap.began < until {
            true => until.max(gap.ended.after(habit + quiet)),
            false => until,
        };
        Some(gaps.iter().fold(last.after(habit + quiet), waited))
    }

    /// Returns the longest pause to expect from a caller with a steady pace.
    fn habit(&self, used: &Used) -> Duration {
        let is_known = |used: &Used| used.last.since(used.first) >= SEEN_FOR;
        // Seen for a few hours only: an instance that the next deployment replaces, or a nightly job. If its program
        // (same user agent) paused in between, it is a job that will return.
        match self.program.filter(|program| is_known(program) && is_steady(program, Duration::ZERO)) {
            _ if is_known(used) => used.longest_pause,
            Some(program) => used.longest_pause.max(program.longest_pause.min(UNKNOWN_HABIT)),
            None => used.longest_pause.max(UNKNOWN_HABIT),
        }
    }

    /// Whether the caller still uses the new secret at `now`, at its known pace.
    fn goes_on(&self, quiet: Duration, now: Timestamp) -> bool {
        let known = [self.old, self.new].into_iter().flatten().filter(|used| is_steady(used, quiet));
        let habit = known.map(|used| used.longest_pause).max().unwrap_or_default();
        self.new.is_some_and(|new| now < new.last.after(habit + quiet))
    }

    /// Returns the caller's state at `now`.
    pub fn state(&self, quiet: Duration, gaps: &[Gap], now: Timestamp) -> CallerState {
        let (Some(old), Some(until)) = (self.old_last(), self.expected_until(quiet, gaps)) else {
            return CallerState::OnNew;
        };
        match self.new {
            Some(new) if !self.gathered && old <= new.first => CallerState::Moved,
            Some(new) if !self.gathered && now >= until && old <= new.last => CallerState::Moved,
            Some(_) if now < until => CallerState::OnBoth,
            None if now < until => CallerState::OnOld,
            Some(_) | None => CallerState::Silent,
        }
    }
}

/// Whether the caller was observed for several of its pauses, and for the quiet time.
fn is_steady(used: &Used, quiet: Duration) -> bool {
    let watched = used.last.since(used.first);
    watched >= quiet && watched >= used.longest_pause * PAUSES_SEEN
}

/// The state of a change-over, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The new secret has not been used.
    NotStarted,
    /// Most callers have not moved yet.
    Moving,
    /// A few callers are left on the old secret.
    CallersLeft,
    /// No caller is known to be left, but not for long enough.
    Quiet,
    /// No caller is known to be left, and the old secret has been quiet for long enough.
    SafeToEnd,
    /// The transition is over.
    Ended,
}

impl Verdict {
    /// Returns the word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotStarted => "not_started",
            Self::Moving => "moving",
            Self::CallersLeft => "callers_left",
            Self::Quiet => "quiet",
            Self::SafeToEnd => "safe_to_end",
            Self::Ended => "ended",
        }
    }
}

/// A reason for a verdict.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// No caller has used the new secret.
    NewNeverUsed,
    /// No caller has ever used the old secret.
    OldNeverUsed,
    /// Some callers are expected to use the old secret again.
    CallersExpected,
    /// Callers use both secrets.
    CallersOnBoth,
    /// Every caller of the old secret has moved, or has been silent for longer than ever before.
    NobodyLeft,
    /// The old secret was used or tried too recently.
    UsedLately,
    /// During part of the relevant time, evidence is missing or the registration was disabled.
    Gap,
    /// The registration is disabled, so an unused old secret means nothing.
    Disabled,
    /// Tokens issued with an earlier, longer lifetime have not expired: their holders return when they do.
    EarlierTokens,
    /// The new secret has not been used recently either, as if no caller could reach this server.
    NewSilent,
    /// The old secret has ended.
    OldEnded,
    /// The rotation was rolled back: the old secret is current again and has no deadline.
    RolledBack,
}

/// A limit of every verdict.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Blind {
    /// A caller with a valid token does not return before the token expires.
    CachedTokens,
    /// A caller that pauses for longer than ever observed.
    RareCallers,
    /// Callers that get no response.
    Unserved,
    /// Callers with one address, user agent and instance label look like one.
    SharedSources,
    /// There were more distinct sources than the limit: the rest are counted as one.
    Others,
    /// Addresses are stored shortened or hashed, so more callers look like one.
    Addresses,
}

/// Number of callers in each state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CallerCounts {
    /// Expected to use the old secret again.
    pub on_old: u64,
    /// Use both secrets.
    pub on_both: u64,
    /// Have left the old secret for the new one.
    pub moved: u64,
    /// Used the old secret, and have been silent for longer than ever before.
    pub silent: u64,
    /// Have only ever used the new secret.
    pub on_new: u64,
}

impl CallerCounts {
    fn add(&mut self, state: CallerState) {
        *match state {
            CallerState::OnOld => &mut self.on_old,
            CallerState::OnBoth => &mut self.on_both,
            CallerState::Moved => &mut self.moved,
            CallerState::Silent => &mut self.silent,
            CallerState::OnNew => &mut self.on_new,
        } += 1;
    }

    /// Returns the number of callers that would fail if the old secret ended now.
    pub fn left(&self) -> u64 {
        self.on_old + self.on_both
    }
}

/// The result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assessment {
    /// The verdict.
    pub verdict: Verdict,
    /// Reason.
    pub reasons: Vec<Why>,
    /// Number of callers in each state.
    pub callers: CallerCounts,
    /// Start of the present quiet time: the last use or attempt of the old secret (even before the rotation), the end
    /// of a later gap, or the rotation if the secret was never used.
    pub quiet_since: Timestamp,
    /// Earliest time at which ending is safe if the old secret stays unused; `None` if the new secret has not been
    /// used, or if that time is not before the deadline.
    pub safe_at: Option<Timestamp>,
}

/// Returns the quiet time for a number of seconds; `None` if it is shorter than a minute or longer than any transition.
pub fn quiet_time(seconds: u64) -> Option<Duration> {
    let quiet = Duration::from_secs(seconds);
    (Duration::from_secs(60)..=TransitionHours::MAX.span()).contains(&quiet).then_some(quiet)
}

/// Returns how long the old secret must not have been used: a caller that holds a token comes back when that has ended.
pub fn quiet_needed(token_ttl: Duration) -> Duration {
    token_ttl.max(QUIET_AT_LEAST)
}

/// Judges a change-over.
pub fn assess(facts: &Facts<'_>, now: Timestamp) -> Assessment {
    let quiet = facts.quiet_needed;
    let mut callers = CallerCounts::default();
    for caller in facts.callers {
        callers.add(caller.state(quiet, facts.gaps, now));
    }
    let refused = facts.callers.iter().filter_map(|caller| caller.refused).max();
    let tried = facts.old_last_used.max(refused);
    // The last use before the rotation counts: rotating is not using.
    let last_tried = tried.unwrap_or(facts.rotated_at);
    let gap = facts.gaps.last().map(|gap| gap.ended).filter(|ended| *ended > last_tried);
    let quiet_since = gap.unwrap_or(last_tried);
    let expected = facts.callers.iter().filter(|it| it.state(quiet, facts.gaps, now).is_left());
    let last_expected = expected.filter_map(|it| it.expected_until(quiet, facts.gaps)).max();
    // Holders of longer-lived tokens return when those expire, and are seen within the shortest quiet time.
    let held = facts.earlier_tokens_end_at.map(|end| end.after(QUIET_AT_LEAST)).filter(|until| now < *until);
    let quiet_at = quiet_since.after(quiet);
    let safe_at = quiet_at.max(last_expected.unwrap_or(quiet_since)).max(held.unwrap_or(quiet_since));
    let safe_at = safe_at.max(facts.rotated_at);
    let is_quiet = now >= quiet_at;
    // If no caller uses either secret, callers may be unable to reach the server.
    let goes_on = facts.callers.iter().any(|it| it.goes_on(quiet, now));

    let mut reasons = Vec::new();
    let verdict = if now >= facts.ends_at {
        reasons.push(if facts.rolled_back { Why::RolledBack } else { Why::OldEnded });
        Verdict::Ended
    } else if facts.new_first_used.is_none() {
        reasons.push(Why::NewNeverUsed);
        Verdict::NotStarted
    } else if callers.left() > 0 {
        if callers.on_old > 0 {
            reasons.push(Why::CallersExpected);
        }
        if callers.on_both > 0 {
            reasons.push(Why::CallersOnBoth);
        }
        if callers.left() > callers.moved + callers.on_new { Verdict::Moving } else { Verdict::CallersLeft }
    } else {
        reasons.push(Why::NobodyLeft);
        if !is_quiet && gap.is_none() && tried.is_some() {
            reasons.push(Why::UsedLately);
        }
        match is_quiet && held.is_none() && !facts.disabled && goes_on {
            true => Verdict::SafeToEnd,
            false => Verdict::Quiet,
        }
    };
    if verdict != Verdict::Ended {
        if tried.is_none() {
            reasons.push(Why::OldNeverUsed);
        }
        if gap.is_some() && !is_quiet {
            reasons.push(Why::Gap);
        }
        if held.is_some() {
            reasons.push(Why::EarlierTokens);
        }
        if verdict == Verdict::Quiet && !goes_on {
            reasons.push(Why::NewSilent);
        }
        if facts.disabled {
            reasons.push(Why::Disabled);
        }
    }
    let sayable = facts.new_first_used.is_some() && !facts.disabled && goes_on && safe_at < facts.ends_at;
    Assessment { verdict, reasons, callers, quiet_since, safe_at: sayable.then_some(safe_at) }
}

impl Assessment {
    /// Returns the verdict as a sentence, which names everything that an otherwise finished change-over waits for.
    pub fn summary(&self) -> String {
        let left = self.callers.left();
        match self.verdict {
            Verdict::NotStarted => {
                "Not safe to end: the change-over has not started. No caller has used the new secret.".into()
            }
            Verdict::Moving => {
                format!("Not safe to end: callers are moving, but {} the old secret.", are_left(left))
            }
            Verdict::CallersLeft => format!("Not safe to end: {} the old secret.", are_left(left)),
            Verdict::Quiet => {
                let delays: Vec<&str> = self.reasons.iter().filter_map(|why| why.delay()).collect();
                let delays = if delays.is_empty() { NOT_QUIET.into() } else { delays.join(", and ") };
                format!("Not safe to end yet: no known caller still uses the old secret, but {delays}.")
            }
            Verdict::SafeToEnd => {
                "Safe to end: the recorded evidence shows no caller left on the old secret.".into()
            }
            Verdict::Ended if self.reasons.contains(&Why::RolledBack) => {
                "The rotation was rolled back. The old secret is current again.".into()
            }
            Verdict::Ended => "The old secret has ended.".into(),
        }
    }
}

fn are_left(count: u64) -> String {
    if count == 1 { "1 caller still uses".into() } else { format!("{count} callers still use") }
}

const NOT_QUIET: &str = "it has not been quiet for long enough";

impl Why {
    /// Whether ending the old secret is not safe for this reason.
    pub fn is_obstacle(self) -> bool {
        match self {
            Self::NewNeverUsed | Self::CallersExpected | Self::CallersOnBoth => true,
            Self::OldNeverUsed | Self::NobodyLeft | Self::OldEnded | Self::RolledBack => false,
            Self::UsedLately | Self::Gap | Self::Disabled | Self::EarlierTokens | Self::NewSilent => true,
        }
    }

    /// Returns what delays a change-over although no known caller is left; `None` if the reason does not.
    fn delay(self) -> Option<&'static str> {
        match self {
            Self::UsedLately => Some(NOT_QUIET),
            Self::Gap => Some("its quiet time restarted after a gap in the evidence"),
            Self::Disabled => Some("the registration is disabled"),
            Self::EarlierTokens => Some("access tokens issued with a longer lifetime are still valid"),
            Self::NewSilent => Some("the new secret is not in use either"),
            _ => None,
        }
    }

    /// Returns the reason as a sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NewNeverUsed => "No caller has used the new secret.",
            Self::OldNeverUsed => "No use of the old secret has been recorded.",
            Self::CallersExpected => "Some callers are expected to use the old secret again.",
            Self::CallersOnBoth => {
                "Some callers use both secrets. Each may be several programs that look like one, or one \
                program that switches between secrets."
            }
            Self::NobodyLeft => {
                "Every caller of the old secret has moved, or has been silent for longer than ever before."
            }
            Self::UsedLately => "The old secret was recently used or presented.",
            Self::Gap => {
                "Recording was interrupted or the registration was disabled. The quiet time restarts from \
                the end of that gap."
            }
            Self::Disabled => {
                "The registration is disabled and refuses every caller, so a quiet secret proves nothing."
            }
            Self::EarlierTokens => {
                "Access tokens issued with a longer lifetime are still valid. Their holders return when \
                those tokens expire."
            }
            Self::NewSilent => {
                "The new secret is not in use either, for longer than its callers ever paused. Callers may \
                be unable to reach this server. The verdict waits until a caller uses the new secret again."
            }
            Self::OldEnded => "The old secret has ended. Callers that present it are refused.",
            Self::RolledBack => "The rotation was rolled back. The old secret is valid and has no deadline.",
        }
    }
}

impl Blind {
    /// Returns the limit as a sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::CachedTokens => "A caller that holds an access token returns only when the token expires.",
            Self::RareCallers => {
                "A caller that pauses for longer than ever observed, such as a monthly job, looks as if it \
                had stopped."
            }
            Self::Unserved => {
                "Callers that cannot reach this server while others can, as in a partial network outage, \
                look silent."
            }
            Self::SharedSources => {
                "Programs with the same address and user agent look like one caller unless each sends its \
                own label in Crossfade-Instance."
            }
            Self::Others => {
                "There were more distinct callers than are tracked individually. The rest are counted \
                together."
            }
            Self::Addresses => {
                "Addresses are stored truncated or hashed, so several callers may look like one."
            }
        }
    }
}

#[cfg(test)]
mod tests;
