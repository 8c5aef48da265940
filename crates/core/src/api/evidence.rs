//! API types of evidence of use and of the change-over.

use super::{RefusedCaller, Secret};
use crate::{
    RotationId, SecretId, Timestamp,
    change_over::{Blind, CallerCounts, CallerState, Verdict, Why},
    rotation::SecretState,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One secret used from one source.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// The secret.
    pub secret_id: SecretId,
    /// Present state.
    pub state: SecretState,
    /// Its address; `null` in the row that groups callers beyond the limit.
    pub source_ip: Option<String>,
    /// User agent; `null` if none was sent.
    pub user_agent: Option<String>,
    /// Instance label, from the header Crossfade-Instance; `null` if none was sent.
    pub instance: Option<String>,
    /// Whether this row groups sources beyond the limit: those of its address or, without an address, all others.
    pub gathered: bool,
    /// First use from this source.
    pub first_used_at: Timestamp,
    /// Last use from this source.
    pub last_used_at: Timestamp,
    /// Number of times.
    pub use_count: i64,
}

/// A caller that new allowed networks would lock out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LockedOut {
    /// Its address as the evidence stores it; `null` in the row that groups callers beyond the limit. Of a shortened or
    /// hashed address it is not known that the networks contain it.
    pub source_ip: Option<String>,
    /// User agent; `null` if none was sent.
    pub user_agent: Option<String>,
    /// Instance label, from the header Crossfade-Instance; `null` if none was sent.
    pub instance: Option<String>,
    /// Last use from this source.
    pub last_used_at: Timestamp,
}

/// Length of an interval.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grain {
    /// 60 seconds. Kept while a transition runs, and for three hours otherwise.
    Minute,
    /// 60 minutes. Kept for 30 days.
    Hour,
    /// 24 hours from midnight UTC. Kept for 400 days.
    Day,
}

impl Grain {
    /// All grains, the finest first.
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// Returns the word that is sent and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// Parses the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grain| grain.as_str() == text)
    }

    /// Returns the length in seconds.
    pub fn seconds(self) -> i64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86_400,
        }
    }

    /// Returns the number of the interval that contains a time, counted from 1970.
    pub fn bucket(self, at: Timestamp) -> i64 {
        at.as_seconds().div_euclid(self.seconds())
    }

    /// Returns the start of an interval.
    pub fn begins(self, bucket: i64) -> Timestamp {
        Timestamp::from_seconds(bucket.saturating_mul(self.seconds()))
    }
}

/// Uses of one secret within an interval.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UsagePoint {
    /// The secret.
    pub secret_id: SecretId,
    /// Start of the interval.
    pub from: Timestamp,
    /// End of the interval.
    pub to: Timestamp,
    /// Number of uses in the interval.
    pub use_count: i64,
}

/// Why evidence is missing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GapKind {
    /// No server was running, so no secret could be used.
    Stopped,
    /// A server was killed before saving its latest counts, and then no server ran.
    Killed,
    /// The counts may not have been stored, and were not counted again.
    Unknown,
    /// The database refused some of the counts.
    Refused,
}

impl GapKind {
    /// Returns the word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Killed => "killed",
            Self::Unknown => "unknown",
            Self::Refused => "refused",
        }
    }

    /// Parses the word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Stopped, Self::Killed, Self::Unknown, Self::Refused]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// A period with no evidence, or without complete evidence.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceGap {
    /// Start.
    pub from: Timestamp,
    /// When it ended.
    pub to: Timestamp,
    /// Cause.
    pub kind: GapKind,
}

/// The state of the change-over from the old secret to the new one.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ChangeOver {
    /// The latest rotation.
    pub rotation_id: RotationId,
    /// When it was.
    pub rotated_at: Timestamp,
    /// Secret that was replaced.
    pub old_secret: Secret,
    /// Secret that replaced it.
    pub new_secret: Secret,
    /// When the old secret ends or ended.
    pub ends_at: Timestamp,
    /// Time for which this response is valid.
    pub at: Timestamp,
    /// The verdict.
    pub verdict: Verdict,
    /// The verdict as a sentence.
    pub summary: String,
    /// Reason.
    pub reasons: Vec<VerdictReason>,
    /// Limits of this verdict.
    pub cannot_see: Vec<CannotSee>,
    /// Number of known callers that would fail if the old secret ended now.
    pub callers_left: u64,
    /// Number of callers in each state.
    pub caller_counts: CallerCounts,
    /// Start of the present quiet time: the last use or attempt of the old secret (even before the rotation), the end
    /// of a later gap in the evidence, or the rotation if the secret was never used.
    pub quiet_since: Timestamp,
    /// Seconds since `quiet_since`.
    pub quiet_seconds: u64,
    /// Seconds the old secret must be quiet before it is safe to end.
    pub quiet_needed_seconds: u64,
    /// Earliest time at which ending the old secret becomes safe if it stays unused; `null` if that cannot be
    /// determined.
    pub safe_at: Option<Timestamp>,
    /// Callers of either secret, those still on the old one first. At most 200; `caller_counts` covers all of them.
    pub callers: Vec<Caller>,
    /// Callers that presented the old secret after it ended and were refused, latest first. At most 100.
    pub refused_since_end: Vec<RefusedCaller>,
    /// Callers that presented another ended secret of this registration in the last 7 days and were refused, latest first. At
    /// most 100.
    #[serde(default)]
    #[schemars(!default)]
    pub refused_earlier: Vec<RefusedCaller>,
    /// Length of the intervals in `series`.
    pub grain: Grain,
    /// Uses of both secrets since the rotation, oldest first. Intervals without uses are left out.
    pub series: Vec<SharePoint>,
    /// Periods since the rotation without complete evidence, latest first.
    pub gaps: Vec<EvidenceGap>,
    /// Warnings of the deadline guard for this transition: the latest deadline first, and its most urgent warning
    /// first.
    pub deadline_warnings: Vec<DeadlineWarning>,
}

/// A warning to the owners that the old secret will end while it is still needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeadlineWarning {
    /// The deadline.
    pub deadline: Timestamp,
    /// Hours from the warning time to the deadline: 24, 4 or 1.
    pub hours_before: i64,
    /// When the owners were notified: at the warning time, or later if it was not possible then.
    pub told_at: Timestamp,
    /// New deadline, if the policy of the environment extended it with this warning.
    pub extended_to: Option<Timestamp>,
}

/// A reason for a verdict.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Reason")]
pub struct VerdictReason {
    /// Stable code.
    pub code: Why,
    /// Explanation as a sentence.
    pub text: String,
}

/// A limit of every verdict.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CannotSee {
    /// Stable code.
    pub code: Blind,
    /// Explanation as a sentence.
    pub text: String,
}

/// One caller, identified by its address, user agent and instance label.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Caller {
    /// Its address; `null` in the row that groups callers beyond the limit.
    pub source_ip: Option<String>,
    /// User agent; `null` if none was sent.
    pub user_agent: Option<String>,
    /// Instance label; `null` if none was sent.
    pub instance: Option<String>,
    /// Whether this row groups callers beyond the limit.
    pub gathered: bool,
    /// State in the change-over.
    pub state: CallerState,
    /// Its use of the old secret.
    pub old: Option<CallerUse>,
    /// Its use of the new secret.
    pub new: Option<CallerUse>,
    /// Last refusal by a drill.
    pub refused_at: Option<Timestamp>,
    /// Latest time by which the caller is expected to use the old secret again, based on its past use.
    pub expected_until: Option<Timestamp>,
}

/// Use of one secret by one caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CallerUse {
    /// The first use.
    pub first_used_at: Timestamp,
    /// The last use.
    pub last_used_at: Timestamp,
    /// Number of times.
    pub use_count: i64,
    /// Longest time between two consecutive uses, in seconds.
    pub longest_pause_seconds: u64,
}

/// Uses of both secrets within an interval.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SharePoint {
    /// Start of the interval.
    pub from: Timestamp,
    /// End of the interval.
    pub to: Timestamp,
    /// Uses of the old secret.
    pub old: i64,
    /// Uses of the new secret.
    pub new: i64,
}
