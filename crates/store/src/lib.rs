#![doc = include_str!("../README.md")]

mod access;
mod adoptions;
mod audit;
pub mod backup;
mod carry_over;
mod catalogue;
mod chain;
mod change_log;
mod checks;
mod clients;
mod counts;
mod db;
mod deliveries;
mod devices;
mod drills;
mod ends;
mod environments;
mod evidence;
mod factors;
mod failures;
mod guard;
mod history;
mod holders;
mod idempotency;
mod incidents;
mod keys;
mod leaks;
mod limits;
mod lines;
mod logins;
mod makers;
mod message_links;
mod messages;
mod nodes;
mod properties;
mod providers;
mod provisioning_tokens;
mod proxies;
mod recorders;
mod refused;
mod rotations;
mod scim;
mod secrets;
mod seen;
mod sending_place;
mod sessions;
mod sign_in_failures;
mod sign_in_policy;
mod switches;
mod token_revocations;
mod told;
mod unregistered;
mod upstream;
mod verifiers;
mod webhooks;
mod weekly;

pub use access::{GrantRow, GrantSource, Link, LinkPurpose, TokenOwner, TokenRow, User};
pub use adoptions::Adoption;
pub use audit::{AuditEvent, AuditFilter, AuditPage, LOOKED_AT_ONCE, NewAuditEvent};
pub use carry_over::{Digested, SealedSecret, SealedSigningKey};
pub use catalogue::Statement;
pub use chain::{AuditKeyRow, ChainEnd};
pub use change_log::{Change, ChangeKind};
pub use checks::{SealedAnswer, Trail, ValidSecrets};
pub use clients::{Client, ClientFilter, Place, Registration};
pub use counts::RegisteredCount;
pub use db::{
    Db, Durability, Fault, Granted, Integrity, LeaseGrant, LeaseRequest, Location, PostgresUrl, Purpose,
    ServeLock, ServerId, ServerRun, Standbys, StoreError, TRACE_STATEMENTS, Told, Transit, Tx, Value, Wake,
    Wakes,
};
pub use deliveries::{Attempt, Delivery, DeliveryQueue, LoggedDelivery, NewDelivery};
pub use devices::DeviceRow;
pub use drills::{DrillRow, SecretWindows};
pub use ends::{Applied, NotedEnd};
pub use environments::{Environment, SigningKey};
pub use evidence::{EvidenceGap, SourceCaps, SourceUsage, Usage, UsagePoint, UsageRow, UsageSource};
pub use factors::{FactorRow, FactorStanding, PendingSignIn, WithoutFactor};
pub use failures::{FailureFilter, FailureRow, FailureSum, KnownFailure};
pub use guard::{DeadlineWarning, NearDeadline};
pub use history::{HeldGrant, HeldSecret, HeldToken, History, QuarantineRow};
pub use holders::{HolderFilter, HolderRow};
pub use idempotency::Remembered;
pub use keys::{DataKey, DigestsOfKey, InstanceRow, OutdatedSecret};
pub use leaks::{LeakedSecret, ValueDigest};
pub use limits::StoredLimits;
pub use lines::{ClientLine, ClientOrder, LinePlace, RegistrationLine, SharedHour};
pub use logins::LoginRow;
pub use makers::Maker;
pub use messages::Notification;
pub use nodes::NodeRow;
pub use properties::Property;
pub use providers::{IdentityRow, Provider, ProviderSession};
pub use provisioning_tokens::ProvisioningTokenRow;
pub use recorders::Recorder;
pub use refused::{DrillCounts, DrillFindings, RefusedCallerRow};
pub use rotations::{Decision, Rotation, RotationLine, SecretMarks};
pub use scim::{ScimGroupRow, ScimMemberRow, ScimUserRow, Slice};
pub use secrets::{Expired, Secret, SecretPlace, SecretRow};
pub use seen::SeenRow;
pub use sending_place::SendingPlaceRow;
pub use sessions::SessionRow;
pub use sign_in_policy::SignInPolicyRow;
pub use switches::SwitchedFor;
pub use token_revocations::{RevocationSum, TokenRevocation};
pub use unregistered::UnregisteredClient;
pub use upstream::{RefusedUpstream, SlotOutcome, UpstreamCredential, UpstreamSlot};
pub use verifiers::{ReadVerifier, VerifierRow, VerifierSecret};
pub use webhooks::{DueWebhook, Webhook, WebhookName};
pub use weekly::{EndedSecret, WeeklyPlace, WeeklySecret};

/// Where a page of a list starts and how long it is.
#[derive(Clone, Debug)]
pub struct PageStart {
    /// The sort key of the last row of the page before; `None` for the first page.
    pub after: Option<(i64, String)>,
    /// How many rows at most.
    pub limit: i64,
}
