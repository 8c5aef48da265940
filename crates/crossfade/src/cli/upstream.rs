//! `crossfade upstream …`

use super::{Place, Remote, values::one_of};
use clap::{Args, Subcommand};
use crossfade_core::upstream::CredentialMethod;
use std::path::PathBuf;

#[derive(Subcommand)]
pub(crate) enum Upstream {
    /// Show which upstream credential a registration has, without its secrets.
    Show {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        remote: Remote,
    },
    /// Set a registration's upstream credential, or confirm it for the servers that the environment has now.
    Set(SetUpstream),
    /// List the clients that are not registered in an environment and that get tokens through it.
    Unregistered {
        /// Slug of the environment.
        env: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Say how the callers of a client go back to the upstream issuer.
    Release {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        remote: Remote,
    },
    /// Test a registration's upstream credential at its issuer, without requesting a token.
    Test {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Args)]
pub(crate) struct SetUpstream {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) change: UpstreamChange,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(crate) struct UpstreamChange {
    /// How the credential is sent. Defaults to client_secret_basic the first time.
    #[arg(long, value_parser = one_of(METHODS, CredentialMethod::as_str))]
    pub(crate) method: Option<CredentialMethod>,
    /// File with the secret that the issuer has now, or - to read it from stdin.
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// File with the secret that the issuer will have, or - to read it from stdin.
    #[arg(long, value_name = "FILE")]
    pub(crate) next_file: Option<PathBuf>,
    /// Remove the secret that the issuer was to have.
    #[arg(long, conflicts_with = "next_file")]
    pub(crate) no_next: bool,
    /// Send the stored secrets to all servers that the environment has now.
    #[arg(long, conflicts_with_all = ["next_file", "no_next"])]
    pub(crate) confirm_servers: bool,
}

const METHODS: [CredentialMethod; 2] =
    [CredentialMethod::ClientSecretBasic, CredentialMethod::ClientSecretPost];

#[cfg(test)]
mod tests {
    use crate::cli::tests::refused;

    #[test]
    fn a_set_says_what_is_set() {
        assert_eq!(refused("upstream set X --env staging"), 2);
        assert_eq!(refused("upstream set X --env staging --secret-file -"), 0);
        assert_eq!(refused("upstream set X --env staging --confirm-servers"), 0);
        assert_eq!(refused("upstream set X --env staging --next-file f --no-next"), 2);
        // A change of the next secret confirms nothing.
        assert_eq!(refused("upstream set X --env staging --next-file f --confirm-servers"), 2);
        assert_eq!(refused("upstream set X --env staging --method none"), 2);
        assert_eq!(refused("upstream show X"), 2);
    }
}
