//! `crossfade env …`

use super::{
    Remote,
    values::{OrNone, one_environment, one_of},
};
use clap::{Args, Subcommand};
use crossfade_core::{
    environment::{EnvironmentKind, SigningAlg},
    upstream::{IssuerMode, UnregisteredClients},
};
use std::path::PathBuf;

const ALGORITHMS: [SigningAlg; 3] = [SigningAlg::ES256, SigningAlg::EdDSA, SigningAlg::RS256];
const KINDS: [EnvironmentKind; 2] = [EnvironmentKind::Test, EnvironmentKind::Live];

#[derive(Subcommand)]
pub(crate) enum Env {
    /// List environments.
    List(Remote),
    /// Show an environment and its settings.
    Show {
        /// Environment slug.
        #[arg(value_parser = one_environment)]
        environment: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Create an environment with a signing key, at the end of the list.
    Create(CreateEnv),
    /// Change an environment's settings or its position in the list.
    Update(UpdateEnv),
    /// Delete an environment in which no client was ever registered.
    Delete {
        /// Environment slug.
        #[arg(value_parser = one_environment)]
        environment: String,
        /// Environment slug, to confirm. Prompted for on a terminal if omitted.
        #[arg(long, value_name = "SLUG")]
        confirm: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Rotate an environment's signing key. The new key is published now and signs once every cached key set
    /// has expired.
    RotateKey(RotateKey),
    /// List the signing keys of an environment.
    Keys {
        /// Environment slug.
        #[arg(value_parser = one_environment)]
        environment: String,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Args)]
pub(crate) struct CreateEnv {
    /// Slug used in URLs. Cannot be changed later.
    pub(crate) slug: String,
    /// Display name. Defaults to the slug.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Kind: test, or live for real users.
    #[arg(long, value_parser = one_of(KINDS, EnvironmentKind::as_str))]
    pub(crate) kind: EnvironmentKind,
    /// Signing algorithm for access tokens. Defaults to ES256.
    #[arg(long, value_parser = one_of(ALGORITHMS, SigningAlg::as_str))]
    pub(crate) signing_alg: Option<SigningAlg>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
pub(crate) struct RotateKey {
    /// Environment slug.
    #[arg(value_parser = one_environment)]
    pub(crate) environment: String,
    /// Reason, recorded in the audit trail.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Sign with the new key immediately, before resource servers can fetch it. Requires --confirm.
    #[arg(long)]
    pub(crate) immediate: bool,
    /// The old key has leaked. Removes it from the key set immediately and ends every token it signed.
    /// Requires --confirm.
    #[arg(long)]
    pub(crate) compromised: bool,
    /// Environment slug, to confirm --immediate or --compromised. Prompted for on a terminal if omitted.
    #[arg(long, value_name = "SLUG")]
    pub(crate) confirm: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
pub(crate) struct UpdateEnv {
    /// Environment slug.
    #[arg(value_parser = one_environment)]
    pub(crate) environment: String,
    #[command(flatten)]
    pub(crate) change: EnvChange,
    /// Environment slug, to confirm a change that destroys stored values or sends requests to another host.
    /// Prompted for on a terminal if needed.
    #[arg(long, value_name = "SLUG")]
    pub(crate) confirm: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(crate) struct EnvChange {
    /// Display name.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Kind: test, or live for real users. Sets the prefix of secrets generated from now on.
    #[arg(long, value_parser = one_of(KINDS, EnvironmentKind::as_str))]
    pub(crate) kind: Option<EnvironmentKind>,
    /// Issuer mode: own, or upstream for an environment in front of another issuer. Changes only while no client
    /// is or was registered in the environment.
    #[arg(long, value_parser = one_of([IssuerMode::Own, IssuerMode::Upstream], IssuerMode::as_str))]
    pub(crate) issuer_mode: Option<IssuerMode>,
    /// File with the issuer that the environment is in front of: JSON with kind and servers. A new host requires
    /// --confirm.
    #[arg(long, value_name = "FILE")]
    pub(crate) upstream: Option<PathBuf>,
    /// Requests of clients that are not registered in an environment in front of another issuer: refuse, or pass to forward
    /// them as they are.
    #[arg(long, value_parser = one_of([UnregisteredClients::Refuse, UnregisteredClients::Pass], UnregisteredClients::as_str))]
    pub(crate) unregistered_clients: Option<UnregisteredClients>,
    /// Until when clients that were created with --adopt learn the secret that the issuer accepts, such as
    /// 2027-01-31T00:00:00Z, or none. At most 90 days ahead.
    #[arg(long, value_name = "TIME|none")]
    pub(crate) adopt_until: Option<OrNone<String>>,
    /// Position in the list, starting at 0.
    #[arg(long)]
    pub(crate) position: Option<i64>,
    /// Signing algorithm for new access tokens. A change creates a new signing key.
    #[arg(long, value_parser = one_of(ALGORITHMS, SigningAlg::as_str))]
    pub(crate) signing_alg: Option<SigningAlg>,
    /// Show secret values once and never store them. Setting true destroys stored values and then requires
    /// --confirm.
    #[arg(long, value_name = "true|false")]
    pub(crate) show_once: Option<bool>,
    /// Days to keep a stored value after its secret ends. A lower number may require --confirm.
    #[arg(long, value_name = "DAYS")]
    pub(crate) wipe_after_days: Option<i64>,
    /// Maximum secret age in days before a secret is overdue, or none.
    #[arg(long, value_name = "DAYS|none")]
    pub(crate) max_age_days: Option<OrNone<i64>>,
    /// Hours the deadline guard can add to a deadline at a time, or none.
    #[arg(long, value_name = "HOURS|none")]
    pub(crate) guard_extension_hours: Option<OrNone<i64>>,
    /// Days after which a new signing key is created on a schedule, or none.
    #[arg(long, value_name = "DAYS|none")]
    pub(crate) signing_key_rotation_days: Option<OrNone<i64>>,
}

#[cfg(test)]
mod tests {
    use crate::cli::tests::refused;

    #[test]
    fn the_settings_of_an_environment_are_read() {
        assert_eq!(refused("env update staging"), 2, "nothing to change");
        let all =
            "--name S --kind live --position 0 --signing-alg EdDSA --show-once true --wipe-after-days 3";
        assert_eq!(refused(&format!("env update staging {all} --max-age-days 90")), 0);
        assert_eq!(refused("env update staging --unregistered-clients pass"), 0);
        assert_eq!(refused("env update staging --unregistered-clients all"), 2);
        assert_eq!(refused("env update staging --adopt-until 2027-01-31T00:00:00Z"), 0);
        assert_eq!(refused("env update staging --adopt-until none"), 0);
        assert_eq!(refused("env update staging --max-age-days none"), 0);
        assert_eq!(refused("env update staging --max-age-days never"), 2);
        assert_eq!(refused("env update staging --guard-extension-hours 24"), 0);
        assert_eq!(refused("env update staging --guard-extension-hours none"), 0);
        assert_eq!(refused("env update staging --signing-key-rotation-days 90"), 0);
        assert_eq!(refused("env update staging --signing-key-rotation-days none"), 0);
        assert_eq!(refused("env update staging --show-once true --confirm staging"), 0);
        assert_eq!(refused("env update staging --confirm staging"), 2, "nothing to change");
        assert_eq!(refused("env create qa --kind test"), 0);
        assert_eq!(refused("env create qa"), 2, "its kind is never a default");
        assert_eq!(refused("env create qa --kind prod"), 2);
    }
}
