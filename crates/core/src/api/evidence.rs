//! Evidence of use, and the change-over, as the API tells them.

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
    /// What it is now.
    pub state: SecretState,
    /// The address that it came from; `null` in the row that gathers what was beyond the cap.
    pub source_ip: Option<String>,
    /// The user agent; `null` where none was sent.
    pub user_agent: Option<String>,
    /// The label of the instance, from the header Crossfade-Instance; `null` where none was sent.
    pub instance: Option<String>,
    /// Whether this row gathers sources beyond the cap: of its address, or, without an address, all others.
    pub gathered: bool,
    /// The first use from there.
    pub first_used_at: Timestamp,
    /// The last use from there.
    pub last_used_at: Timestamp,
    /// How often.
    pub use_count: i64,
}

/// How finely time is divided.
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
    /// Every grain there is, the finest first.
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// The word that is sent and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grain| grain.as_str() == text)
    }

    /// Its length in seconds.
    pub fn seconds(self) -> i64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86_400,
        }
    }

    /// The span in which a time lies, counted since 1970.
    pub fn bucket(self, at: Timestamp) -> i64 {
        at.as_seconds().div_euclid(self.seconds())
    }

    /// When a span begins.
    pub fn begins(self, bucket: i64) -> Timestamp {
        Timestamp::from_seconds(bucket.saturating_mul(self.seconds()))
    }
}

/// Uses of one secret within a span of time.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UsagePoint {
    /// The secret.
    pub secret_id: SecretId,
    /// When the span began.
    pub from: Timestamp,
    /// When it ended, or will.
    pub to: Timestamp,
    /// How often the secret was used in it.
    pub use_count: i64,
}

/// Why something was not recorded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GapKind {
    /// No server ran: nobody could use a secret.
    Stopped,
    /// A server ended without writing down what it had counted last, and then none ran.
    Killed,
    /// What had been counted was perhaps not stored, and was not counted again.
    Unknown,
    /// The database refused a part of what had been counted.
    Refused,
}

impl GapKind {
    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Killed => "killed",
            Self::Unknown => "unknown",
            Self::Refused => "refused",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Stopped, Self::Killed, Self::Unknown, Self::Refused]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// A time of which nothing, or not everything, is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceGap {
    /// When it began.
    pub from: Timestamp,
    /// When it ended.
    pub to: Timestamp,
    /// Why.
    pub kind: GapKind,
}

/// How the change-over from the old to the new secret stands.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ChangeOver {
    /// The latest rotation.
    pub rotation_id: RotationId,
    /// When it was.
    pub rotated_at: Timestamp,
    /// The secret that it replaced.
    pub old_secret: Secret,
    /// The secret that replaced it.
    pub new_secret: Secret,
    /// When the old secret ends, or has ended.
    pub ends_at: Timestamp,
    /// When this answer was true.
    pub at: Timestamp,
    /// How it stands.
    pub verdict: Verdict,
    /// The same as a sentence.
    pub summary: String,
    /// Why.
    pub reasons: Vec<Reason>,
    /// What no verdict can see here.
    pub cannot_see: Vec<CannotSee>,
    /// How many callers would fail, as far as is known, if the old secret ended now.
    pub callers_left: u64,
    /// How many callers stand where.
    pub caller_counts: CallerCounts,
    /// Last use or attempt of the old secret, also before the rotation, or the end of a later gap in the evidence; the
    /// rotation if it was never used.
    pub quiet_since: Timestamp,
    /// For how many seconds that is.
    pub quiet_seconds: u64,
    /// For how many seconds it must be before it is safe to end the old secret.
    pub quiet_needed_seconds: u64,
    /// When it is safe at the earliest, if nobody uses the old secret until then; `null` where that cannot be said.
    pub safe_at: Option<Timestamp>,
    /// Who uses or has used the two secrets: those that are left first. At most 200; the counts tell of all.
    pub callers: Vec<Caller>,
    /// Who has presented the old secret since it has ended, and was refused: the latest first, at most 100.
    pub refused_since_end: Vec<RefusedCaller>,
    /// How finely `series` is divided.
    pub grain: Grain,
    /// Uses of both secrets since the rotation, oldest first, without spans in which there were none.
    pub series: Vec<SharePoint>,
    /// Times since the rotation of which not everything is recorded, latest first.
    pub gaps: Vec<EvidenceGap>,
    /// What the deadline guard told of the deadlines of this transition, the latest deadline and its most urgent mark
    /// first.
    pub deadline_warnings: Vec<DeadlineWarning>,
}

/// The deadline guard told the owners that the old secret ends while it is still needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeadlineWarning {
    /// The deadline.
    pub deadline: Timestamp,
    /// How many hours before it this mark stands: 24, 4 or 1.
    pub hours_before: i64,
    /// When they were told: at the mark, or later where nobody could tell it then.
    pub told_at: Timestamp,
    /// The deadline that the policy of the environment gave at this mark, if it did.
    pub extended_to: Option<Timestamp>,
}

/// Why a verdict is what it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// A stable word.
    pub code: Why,
    /// A sentence.
    pub text: String,
}

/// What no verdict can see.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CannotSee {
    /// A stable word.
    pub code: Blind,
    /// A sentence.
    pub text: String,
}

/// One caller: whatever has one address, user agent and instance label.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Caller {
    /// Its address; `null` in the row that gathers what was beyond the cap.
    pub source_ip: Option<String>,
    /// Its user agent; `null` where none was sent.
    pub user_agent: Option<String>,
    /// The label of the instance; `null` where none was sent.
    pub instance: Option<String>,
    /// Whether this row gathers callers beyond the cap.
    pub gathered: bool,
    /// Where it stands.
    pub state: CallerState,
    /// Its use of the old secret.
    pub old: Option<CallerUse>,
    /// Its use of the new secret.
    pub new: Option<CallerUse>,
    /// When a drill last refused it.
    pub refused_at: Option<Timestamp>,
    /// Until when it is expected to use the old secret again, if it goes on as it did.
    pub expected_until: Option<Timestamp>,
}

/// The use of one secret by one caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CallerUse {
    /// The first use.
    pub first_used_at: Timestamp,
    /// The last use.
    pub last_used_at: Timestamp,
    /// How often.
    pub use_count: i64,
    /// The longest time between two uses that followed each other, in seconds.
    pub longest_pause_seconds: u64,
}

/// Uses of both secrets within a span of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SharePoint {
    /// When the span began.
    pub from: Timestamp,
    /// When it ended, or will.
    pub to: Timestamp,
    /// Uses of the old secret.
    pub old: i64,
    /// Uses of the new secret.
    pub new: i64,
}
