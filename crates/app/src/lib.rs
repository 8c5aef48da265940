#![doc = include_str!("../README.md")]

mod app;
mod backup;
mod clients;
pub mod doctor;
mod drills;
mod environments;
mod error;
mod frame;
mod history;
mod jobs;
mod keys;
mod leaks;
mod messages;
mod node;
mod nodes;
mod options;
mod people;
mod properties;
mod providers;
mod provisioning;
mod registrations;
mod secrets;
mod trail;
mod upstream;
mod webhooks;
mod wording;

pub use app::{App, Readiness};
pub use backup::{Backup, Header, Restore, Restored, back_up};
pub use clients::frame::{ClientFrame, ClientOverview};
pub use clients::lines::{ClientLines, ClientList};
pub use clients::meanwhile::Meanwhile;
pub use clients::overview::{OverdueSecret, Overview, RunningTransition};
pub use clients::query::ClientQuery;
pub use clients::rotators::{Rotator, Rotators};
pub use crossfade_outbound::{
    Failure as MailFailure, FormFault, Kept, MAX_FORM, MailServer, Mailer, PassedBody, Poster, RelayFailure,
    RelayLimits, Relayed, Resolve, form_of_json, passed_client_id,
};
pub use crossfade_store::RefusedUpstream;
pub use crossfade_store::{ClientLine, ClientOrder, Fault, RegistrationLine, SharedHour};
pub use error::{Error, what_fails};
pub use frame::cursor::ListQuery;
pub use frame::idempotency::IdempotencyKey;
pub use frame::if_match::IfMatch;
pub use frame::principal::{Intent, Principal};
pub use frame::request::{Deletion, Input, NO_INPUT, NoBody, NoInput, Request};
pub use frame::targets::{ClientPath, EnvironmentPath, PlacePath, PropertyPath, RegistrationPath};
pub use frame::versioned::Versioned;
pub use jobs::worker::Worker;
pub use keys::command::{KeyCommand, other_writer};
pub use keys::data_keys::{
    DataKeyLine, DataKeyPurpose, DataKeyState, Keys, SecretOfOldKey, list_keys, list_secrets_of_old_keys,
};
pub use keys::rotation::{MasterKeyLine, MasterKeyRotation, MasterKeyState};
pub use keys::source::KeySource;
pub use messages::{posting::WebhookState, sending::MailState};
pub use node::addresses::AddressPolicy;
pub use node::measure::{Disk, Gauges, StoredGauges};
pub use node::{
    lease::{DEFAULT_LEASE, LEASE_SECONDS, NodeOptions},
    serving::FileReplaced,
};
pub use options::{Creation, Options};
pub use people::abilities::{Abilities, AccountAbilities};
pub use people::access::AccessQuery;
pub use people::devices::{KNOWN_FOR, join_devices, parse_devices};
pub use people::factors::{Added, CODE_WITHIN, CodeEntered, Enrolment, FactorSummary, OwnFactors, WaitsFor};
pub use people::login::{NewLogin, code_challenge};
pub use people::owners::{LinkKind, OneTimeLink, OwnerFactors};
pub use people::passkeys::{ANSWER_WITHIN, PasskeyAnswer, PasskeyRequest, PasskeySignIn, Proof};
pub use people::password::PasswordCost;
pub use people::session_limits::{ABSOLUTE_LIMIT, IDLE_LIMIT};
pub use people::sessions::{Confirmed, Session, SessionSummary, Visitor};
pub use people::sign_in::{NewSession, SignIn};
pub use people::tokens::{AccountTokens, NamedRegistration, NewToken};
pub use people::users::UserPath;
pub use properties::counts::{Numbers, PropertyList};
pub use providers::{
    identities::OwnIdentities,
    provider::{OfferedProvider, ProviderPath},
    sign_in::{Arrival, Departure, RefusedSignIn, Return},
    state::{ProviderPurpose, SIGN_IN_WITHIN, cookie_of_state},
};
pub use provisioning::{
    caller::Provisioner,
    list::{ScimPage, ScimQuery},
    shown::ScimResource,
};
pub use secrets::change_over::ChangeOverQuery;
pub use secrets::list::{RotationLine, TokensEnded};
pub use secrets::security::{HistoryQuery, Security};
pub use secrets::self_rotate::SelfRotation;
pub use trail::events::{AuditExport, AuditQuery, ExportFormat, FailureQuery};
pub use trail::names::Named;
pub use trail::page::TrailPage;
pub use trail::shipping::SinkState;
pub use trail::sinks::AuditSink;
pub use trail::verify::{KnownOutside, Verification, VerifiedScope, verify_database, verify_export};
pub use upstream::learning::Learnable;
pub use upstream::opening::{NoCredential, OpenedCredential, OpenedSecret};
pub use upstream::outcomes::UpstreamOutcome;
pub use upstream::relay::{PassedClient, Passing, Relaying};
pub use webhooks::{choices::OfferedClients, subject::WebhookPath, webhook::WebhookPage};
