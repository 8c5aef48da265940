//! The change-over of a transition: who still uses the old secret, and whether the overlap can end.
//!
//! A pure function of what is recorded and the time. It never guesses in the direction of an outage: where the record
//! has a gap, or a caller is known too shortly to say when it comes back, the answer is to wait. What it cannot see at
//! all is part of the answer ([`Blind`]).

use crate::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

/// The old secret is quiet at the earliest when it has not been used for so long, however short tokens live.
pub const QUIET_AT_LEAST: Duration = Duration::from_secs(30 * 60);
/// How long after its last use a caller is waited for when too little is known of its habit: a job that runs every
/// night comes back within it.
const UNKNOWN_HABIT: Duration = Duration::from_secs(24 * 3600);
/// A habit is known when a caller was watched for so many times its longest pause.
const PAUSES_SEEN: u32 = 3;
/// And for so long: who was seen for less may do every day what it was seen to do on one.
const SEEN_FOR: Duration = Duration::from_secs(24 * 3600);

/// The recorded use of one secret by one caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Used {
    /// The first use.
    pub first: Timestamp,
    /// The last use.
    pub last: Timestamp,
    /// The longest time between two uses that followed each other.
    pub longest_pause: Duration,
}

impl Used {
    /// The use of many as if by one. Its pauses are the times between their spans, and within these no longer than the
    /// longest pause of whoever paused least. `None` of nobody.
    pub fn together(uses: impl IntoIterator<Item = Self>) -> Option<Self> {
        let uses: Vec<Self> = uses.into_iter().collect();
        let first = uses.iter().map(|used| used.first).min()?;
        let last = uses.iter().map(|used| used.last).max()?;
        // Where spans begin and end, in order. Of one moment the beginnings come first: who comes as another leaves
        // leaves no time between.
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

/// What is recorded of one caller: whatever has one address, user agent and instance label.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Caller {
    /// Its use of the old secret.
    pub old: Option<Used>,
    /// Its use of the new secret.
    pub new: Option<Used>,
    /// When it was last refused although it presented the old secret while that was valid: by a drill, or by the settings
    /// of the registration.
    pub refused: Option<Timestamp>,
    /// The use of the old secret by everybody with its user agent, as if by one: its program, which may come back from
    /// another address.
    pub program: Option<Used>,
    /// Whether it is many that were not told apart. One of them that moved does not speak for another.
    pub gathered: bool,
}

/// A time in which nothing was recorded, or everybody was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gap {
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
}

/// What is recorded of a transition.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// When the rotation was.
    pub rotated_at: Timestamp,
    /// When the old secret ends or has ended.
    pub ends_at: Timestamp,
    /// The last use of the old secret by anybody, also before the rotation.
    pub old_last_used: Option<Timestamp>,
    /// The first use of the new secret by anybody.
    pub new_first_used: Option<Timestamp>,
    /// Everybody who has ever used one of the two.
    pub callers: &'a [Caller],
    /// Times that say nothing, also before the rotation; the one that ended first stands first.
    pub gaps: &'a [Gap],
    /// When the last token has ended that was issued before the life of tokens was shortened.
    pub earlier_tokens_end_at: Option<Timestamp>,
    /// Whether the registration refuses everything.
    pub disabled: bool,
    /// Whether the rotation was undone: the old secret is the current one again.
    pub rolled_back: bool,
    /// For how long the old secret must not have been used.
    pub quiet_needed: Duration,
}

/// Where a caller stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallerState {
    /// Uses the old secret, and is expected to use it again.
    OnOld,
    /// Uses both: several programs that look like one, or one that is not consistent.
    OnBoth,
    /// Uses the new secret, and has left the old one.
    Moved,
    /// Used the old secret, and has been silent for longer than it ever was.
    Silent,
    /// Has only ever used the new secret.
    OnNew,
}

impl CallerState {
    /// Every state there is.
    pub const ALL: [Self; 5] = [Self::OnOld, Self::OnBoth, Self::Moved, Self::Silent, Self::OnNew];

    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnOld => "on_old",
            Self::OnBoth => "on_both",
            Self::Moved => "moved",
            Self::Silent => "silent",
            Self::OnNew => "on_new",
        }
    }

    /// Whether it would fail, as far as is known, when the old secret ended now.
    pub fn is_left(self) -> bool {
        matches!(self, Self::OnOld | Self::OnBoth)
    }
}

impl Caller {
    /// The last time that it tried the old secret.
    pub fn old_last(&self) -> Option<Timestamp> {
        self.old.map(|used| used.last).max(self.refused)
    }

    /// Until when it is expected to use the old secret again, if it goes on as it did; `None` where it never used it.
    ///
    /// It is waited for as long as its longest pause was, and the quiet time beyond. Where too little is known of it, for
    /// a day at least.
    pub fn expected_until(&self, quiet: Duration, gaps: &[Gap]) -> Option<Timestamp> {
        let last = self.old_last()?;
        let habit = match self.old {
            Some(used) if !self.gathered && is_steady(&used, quiet) => self.habit(&used),
            Some(used) => used.longest_pause.max(UNKNOWN_HABIT),
            None => UNKNOWN_HABIT,
        };
        // Nobody knows whether it called while nothing was recorded; unless it had been silent for too long before.
        let waited = |until: Timestamp, gap: &Gap| match gap.ended > last && gap.began < until {
            true => until.max(gap.ended.after(habit + quiet)),
            false => until,
        };
        Some(gaps.iter().fold(last.after(habit + quiet), waited))
    }

    /// For how long it pauses at most, when it comes at a steady pace.
    fn habit(&self, used: &Used) -> Duration {
        let is_known = |used: &Used| used.last.since(used.first) >= SEEN_FOR;
        // It is there for a few hours, as an instance is that the next deployment replaces, or a job that runs at night.
        // Whether its program was away in between tells these apart.
        match self.program.filter(|program| is_known(program) && is_steady(program, Duration::ZERO)) {
            _ if is_known(used) => used.longest_pause,
            Some(program) => used.longest_pause.max(program.longest_pause.min(UNKNOWN_HABIT)),
            None => used.longest_pause.max(UNKNOWN_HABIT),
        }
    }

    /// Whether it goes on using the new secret at `now`, at the pace that it is known to have.
    fn goes_on(&self, quiet: Duration, now: Timestamp) -> bool {
        let known = [self.old, self.new].into_iter().flatten().filter(|used| is_steady(used, quiet));
        let habit = known.map(|used| used.longest_pause).max().unwrap_or_default();
        self.new.is_some_and(|new| now < new.last.after(habit + quiet))
    }

    /// Where it stands at `now`.
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

/// Whether it was watched for several of its pauses, and for the quiet time.
fn is_steady(used: &Used, quiet: Duration) -> bool {
    let watched = used.last.since(used.first);
    watched >= quiet && watched >= used.longest_pause * PAUSES_SEEN
}

/// How a change-over stands, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The new secret has not been used.
    NotStarted,
    /// Most callers are still to move.
    Moving,
    /// A few callers are left on the old secret.
    CallersLeft,
    /// Nobody is known to be left, but not for long enough.
    Quiet,
    /// Nobody is known to be left, and the old secret has been quiet for long enough.
    SafeToEnd,
    /// The transition is over.
    Ended,
}

impl Verdict {
    /// The word that is stored and shown.
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

/// Why a verdict is what it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// No caller has used the new secret.
    NewNeverUsed,
    /// No caller has ever used the old secret.
    OldNeverUsed,
    /// Callers that used the old secret are expected to use it again.
    CallersExpected,
    /// Callers use both secrets.
    CallersOnBoth,
    /// Everybody who used the old secret has moved, or has been silent for longer than ever before.
    NobodyLeft,
    /// The old secret was used, or tried, too short a time ago.
    UsedLately,
    /// In a part of the time that counts, nothing was recorded, or the registration was disabled.
    Gap,
    /// The registration is disabled: that nobody gets a token says nothing.
    Disabled,
    /// Tokens that were issued when they lived longer have not ended: who holds one comes back when it does.
    EarlierTokens,
    /// The new secret has not been used lately either, as if nobody reached this server.
    NewSilent,
    /// The old secret has ended.
    OldEnded,
    /// The rotation was rolled back: the old secret is the current one again, and has no deadline.
    RolledBack,
}

/// What no verdict can see.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Blind {
    /// A caller that holds a token does not come back before that ends.
    CachedTokens,
    /// A caller that pauses for longer than it was ever seen to.
    RareCallers,
    /// Callers that get no answer.
    Unserved,
    /// Callers with one address, user agent and instance label look like one.
    SharedSources,
    /// There were more distinct sources than are kept: the rest is counted as one.
    Others,
    /// Addresses are kept shortened or hashed, so that more callers look like one.
    Addresses,
}

/// How many callers stand where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CallerCounts {
    /// Expected to use the old secret again.
    pub on_old: u64,
    /// Use both.
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

    /// Those that would fail if the old secret ended now.
    pub fn left(&self) -> u64 {
        self.on_old + self.on_both
    }
}

/// The answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assessment {
    /// In one word.
    pub verdict: Verdict,
    /// Why.
    pub reasons: Vec<Why>,
    /// How many callers stand where.
    pub callers: CallerCounts,
    /// Last use or attempt of the old secret, also before the rotation, or the end of a later gap; the rotation if it was
    /// never used.
    pub quiet_since: Timestamp,
    /// When it is safe at the earliest, if nobody uses the old secret until then. `None` where that cannot be said:
    /// the new secret has not been used, or it would not be before the deadline.
    pub safe_at: Option<Timestamp>,
}

/// How long the old secret must not have been used: a caller that holds a token comes back when that has ended.
pub fn quiet_needed(token_ttl: Duration) -> Duration {
    token_ttl.max(QUIET_AT_LEAST)
}

/// Decides how a change-over stands.
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
    // Who holds one of them is back when it has ended, and is seen within the time that is the least.
    let held = facts.earlier_tokens_end_at.map(|end| end.after(QUIET_AT_LEAST)).filter(|until| now < *until);
    let quiet_at = quiet_since.after(quiet);
    let safe_at = quiet_at.max(last_expected.unwrap_or(quiet_since)).max(held.unwrap_or(quiet_since));
    let safe_at = safe_at.max(facts.rotated_at);
    let is_quiet = now >= quiet_at;
    // Where nobody comes at all, it may be that nobody gets through.
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
        if !is_quiet && gap.is_none() {
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
    /// The verdict as a sentence.
    pub fn summary(&self) -> String {
        let left = self.callers.left();
        match self.verdict {
            Verdict::NotStarted => {
                "Not safe to end: the change-over has not started, and the new secret has not been used.".into()
            }
            Verdict::Moving => format!("Not safe to end: callers are moving, and {} on the old secret.", are_left(left)),
            Verdict::CallersLeft => format!("Not safe to end: {} on the old secret.", are_left(left)),
            Verdict::Quiet => {
                "Not safe to end yet: nobody is known to be left on the old secret, but it has not been quiet for long enough."
                    .into()
            }
            Verdict::SafeToEnd => "It is safe to end the old secret, as far as is recorded.".into(),
            Verdict::Ended if self.reasons.contains(&Why::RolledBack) => {
                "The rotation was rolled back: the old secret is the current one again.".into()
            }
            Verdict::Ended => "The old secret has ended.".into(),
        }
    }
}

fn are_left(count: u64) -> String {
    if count == 1 { "1 caller is left".into() } else { format!("{count} callers are left") }
}

impl Why {
    /// The reason as a sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NewNeverUsed => "No caller has used the new secret.",
            Self::OldNeverUsed => "No use of the old secret is recorded.",
            Self::CallersExpected => "Callers that used the old secret are expected to use it again.",
            Self::CallersOnBoth => {
                "Some callers use both secrets: several programs that look like one, or one that is not consistent."
            }
            Self::NobodyLeft => {
                "Every caller of the old secret has moved, or has been silent for longer than it ever was."
            }
            Self::UsedLately => "The old secret was used or tried a short time ago.",
            Self::Gap => {
                "In a part of the time that counts, nothing was recorded or the registration was disabled. The quiet time starts anew after it."
            }
            Self::Disabled => {
                "The registration is disabled and refuses everybody, so that quiet says nothing."
            }
            Self::EarlierTokens => {
                "Access tokens that were issued when they lived longer have not ended yet: who holds one comes back when it does."
            }
            Self::NewSilent => {
                "The new secret has been silent, too, for longer than its callers ever were, as if nobody reached this server."
            }
            Self::OldEnded => "The old secret has ended, and everybody who presents it is refused.",
            Self::RolledBack => "The rotation was undone. The old secret is valid, and has no deadline.",
        }
    }
}

impl Blind {
    /// What cannot be seen, as a sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::CachedTokens => "A caller that holds an access token comes back only when it ends.",
            Self::RareCallers => {
                "A caller that pauses for longer than it was ever seen to, such as a job that runs once a month, looks as if it were gone."
            }
            Self::Unserved => {
                "Callers that do not get through to this server while others do, as in an outage of a part of the network, look silent."
            }
            Self::SharedSources => {
                "Programs behind one address with one user agent look like one caller, unless each sends a label of its own in Crossfade-Instance."
            }
            Self::Others => {
                "More distinct callers came than are kept one by one; the rest is counted together."
            }
            Self::Addresses => {
                "Addresses are stored shortened or hashed, so that more callers may look like one."
            }
        }
    }
}

#[cfg(test)]
mod tests;
