//! `crossfade env …`

use super::{
    Remote,
    values::{OrNone, one_environment, one_of},
};
use clap::{Args, Subcommand};
use crossfade_core::environment::{EnvironmentKind, SigningAlg};

const ALGORITHMS: [SigningAlg; 3] = [SigningAlg::ES256, SigningAlg::EdDSA, SigningAlg::RS256];
const KINDS: [EnvironmentKind; 2] = [EnvironmentKind::Test, EnvironmentKind::Live];

#[derive(Subcommand)]
pub(crate) enum Env {
    /// List environments.
    List(Remote),
    /// Show an environment and its settings.
    Show {
        /// Its slug.
        #[arg(value_parser = one_environment)]
        environment: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Create an environment at the end of the list, with a signing key.
    Create(CreateEnv),
    /// Change the settings of an environment, or its place in the list.
    Update(UpdateEnv),
    /// Delete an environment in which nothing was ever registered.
    Delete {
        /// Its slug.
        #[arg(value_parser = one_environment)]
        environment: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Give an environment a new signing key: published now, signing once every cached key set is stale.
    RotateKey(RotateKey),
    /// List the signing keys of an environment.
    Keys {
        /// Its slug.
        #[arg(value_parser = one_environment)]
        environment: String,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Args)]
pub(crate) struct CreateEnv {
    /// Its slug: its name in URLs, which never changes.
    pub(crate) slug: String,
    /// Its shown name; the slug when absent.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Whether it serves real users.
    #[arg(long, value_parser = one_of(KINDS, EnvironmentKind::as_str))]
    pub(crate) kind: EnvironmentKind,
    /// Algorithm of its access tokens; ES256 when absent.
    #[arg(long, value_parser = one_of(ALGORITHMS, SigningAlg::as_str))]
    pub(crate) signing_alg: Option<SigningAlg>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
pub(crate) struct RotateKey {
    /// Its slug.
    #[arg(value_parser = one_environment)]
    pub(crate) environment: String,
    /// Reason, recorded in the audit trail.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Sign with the new key immediately, before resource servers can have fetched it. Needs --confirm.
    #[arg(long)]
    pub(crate) immediate: bool,
    /// The old key has leaked: remove it from the key set immediately and end every token that it signed. Needs
    /// --confirm.
    #[arg(long)]
    pub(crate) compromised: bool,
    /// Slug of the environment, for --immediate and --compromised. Asked for on a terminal when absent.
    #[arg(long, value_name = "SLUG")]
    pub(crate) confirm: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
pub(crate) struct UpdateEnv {
    /// Its slug.
    #[arg(value_parser = one_environment)]
    pub(crate) environment: String,
    #[command(flatten)]
    pub(crate) change: EnvChange,
    /// Slug of the environment, for a change that destroys stored values. Asked for on a terminal where it is needed.
    #[arg(long, value_name = "SLUG")]
    pub(crate) confirm: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(crate) struct EnvChange {
    /// Its shown name.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Whether it serves real users. Decides the prefix of secrets generated from now on.
    #[arg(long, value_parser = one_of(KINDS, EnvironmentKind::as_str))]
    pub(crate) kind: Option<EnvironmentKind>,
    /// Its place in the list, from 0.
    #[arg(long)]
    pub(crate) position: Option<i64>,
    /// Algorithm of new access tokens. Another one brings a new signing key.
    #[arg(long, value_parser = one_of(ALGORITHMS, SigningAlg::as_str))]
    pub(crate) signing_alg: Option<SigningAlg>,
    /// Never store secret values; true destroys those stored, and then needs --confirm.
    #[arg(long, value_name = "true|false")]
    pub(crate) show_once: Option<bool>,
    /// Days after a secret's end until its stored value is wiped. Fewer days can need --confirm.
    #[arg(long, value_name = "DAYS")]
    pub(crate) wipe_after_days: Option<i64>,
    /// Days after which a secret is overdue, or none.
    #[arg(long, value_name = "DAYS|none")]
    pub(crate) max_age_days: Option<OrNone<i64>>,
    /// Hours by which the deadline guard may extend a deadline at a time, or none.
    #[arg(long, value_name = "HOURS|none")]
    pub(crate) guard_extension_hours: Option<OrNone<i64>>,
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
        assert_eq!(refused("env update staging --max-age-days none"), 0);
        assert_eq!(refused("env update staging --max-age-days never"), 2);
        assert_eq!(refused("env update staging --guard-extension-hours 24"), 0);
        assert_eq!(refused("env update staging --guard-extension-hours none"), 0);
        assert_eq!(refused("env update staging --show-once true --confirm staging"), 0);
        assert_eq!(refused("env update staging --confirm staging"), 2, "nothing to change");
        assert_eq!(refused("env create qa --kind test"), 0);
        assert_eq!(refused("env create qa"), 2, "its kind is never a default");
        assert_eq!(refused("env create qa --kind prod"), 2);
    }
}
