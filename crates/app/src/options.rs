//! Options for opening an application.

use crate::{
    keys::source::KeySource,
    node::{addresses::AddressPolicy, lease::NodeOptions},
    people::password::PasswordCost,
    trail::sinks::AuditSink,
};
use crossfade_authority::Clock;
use crossfade_core::Random;
use crossfade_outbound::{Mailer, Poster, RelayLimits};
use crossfade_store::Location;
use std::{path::PathBuf, sync::Arc, time::Duration};

/// Options for opening an application.
pub struct Options {
    /// Location of the database.
    pub location: Location,
    /// Where the master keys come from.
    pub master_key: KeySource,
    /// The base of issuers and links, without a path.
    pub public_url: String,
    /// Base of the Console and of links to it: the same, unless administration has an address of its own.
    pub admin_url: String,
    /// The clock that decides.
    pub clock: Arc<Clock>,
    /// The source of ids and secrets.
    pub random: Arc<dyn Random>,
    /// Retention of the audit trail in days; `None`: forever.
    pub audit_retention_days: Option<u32>,
    /// Where the audit trail is shipped to.
    pub audit_sinks: Vec<AuditSink>,
    /// Sends messages to owners; `None`: mail is not set up.
    pub mailer: Option<Arc<Mailer>>,
    /// Sends messages to webhooks.
    pub poster: Arc<Poster>,
    /// How long requests that are forwarded to upstream issuers can take, and how many can wait.
    pub relay: RelayLimits,
    /// How evidence, sessions and the audit trail store addresses.
    pub evidence_addresses: AddressPolicy,
    /// How long a sign-in counts as fresh for dangerous actions.
    pub fresh_sign_in: Duration,
    /// What a new password hash costs.
    pub password_cost: PasswordCost,
    /// How long evidence data is reused.
    pub readings_kept: Duration,
    /// File in which each end is noted, outside the database and its backups.
    pub journal: Option<PathBuf>,
    /// How this process is called, and how long its leases last.
    pub node: NodeOptions,
    /// Whether this process verifies secrets. A local command does not: it takes no lock and loads no tables.
    pub decides: bool,
    /// Whether an empty database becomes a new instance.
    pub creation: Creation,
}

/// Whether an empty database becomes a new instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Creation {
    /// Never. A command that needs an instance must not create one in the wrong place.
    Never,
    /// With a master key that is created together with the instance. An existing key belongs to another instance.
    WithNewKey,
    /// With an existing master key as well, on explicit request.
    WithAnyKey,
}
