//! The command line: what there is to type. Doc comments here are the help texts.

use crate::settings::Settings;
use clap::{Args, Parser, Subcommand, ValueEnum};
use crossfade_core::{TransitionHours, environment::SigningAlg};
use std::path::PathBuf;

/// A self-hosted authority for OAuth 2.0 client secrets.
///
/// Commands that speak to a server go to CROSSFADE_URL with the API token in CROSSFADE_TOKEN.
///
/// Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 not found, 4 not permitted, 5 conflict.
#[derive(Parser)]
#[command(name = "crossfade", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serve the Console, the API and the OAuth endpoints.
    Serve(Settings),
    /// Serve a throwaway, filled instance and play a rotation against it.
    Demo(Demo),
    /// Create the first Owner without a browser.
    Init(Init),
    /// Find what is wrong with an instance, and how to mend it. Changes nothing.
    Doctor(Doctor),
    /// Write a backup to a new file, also while a server runs.
    Backup(BackUp),
    /// Restore a backup into a database without any data.
    Restore(Restore),
    /// Help an Owner from the machine itself.
    #[command(subcommand)]
    Owner(Owner),
    /// API tokens.
    #[command(subcommand)]
    Token(Token),
    /// Clients.
    #[command(subcommand)]
    Client(Client),
    /// Environments.
    #[command(subcommand)]
    Env(Env),
    /// Properties.
    #[command(subcommand)]
    Property(Property),
    /// Secrets: list, rotate, reveal, revoke, extend, roll back.
    #[command(subcommand)]
    Secret(Secret),
    /// The audit trail.
    #[command(subcommand)]
    Audit(Audit),
    /// Print a script that completes commands in a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Args)]
pub(crate) struct Demo {
    /// Address to serve on.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(crate) listen: std::net::SocketAddr,
    /// End after the rotations instead of serving on; exit 0 only if everything happened.
    #[arg(long)]
    pub(crate) quick: bool,
}

#[derive(Args)]
pub(crate) struct Init {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// E-mail address of the Owner.
    #[arg(long)]
    pub(crate) owner_email: String,
    /// Read the password from stdin, up to the end of the first line.
    #[arg(long, required = true)]
    pub(crate) password_stdin: bool,
}

#[derive(Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Print JSON instead of lines.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct BackUp {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// The file to write. It must not be there yet; only you can read it. The master key is not in it.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Print what it holds as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Restore {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// The backup. The master key that it was taken under must be in its place.
    #[arg(long, value_name = "FILE")]
    pub(crate) from: PathBuf,
    /// Print what was restored as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Owner {
    /// Print a one-time link with which a locked-out Owner sets a new password.
    Recover(RecoverOwner),
}

#[derive(Args)]
pub(crate) struct RecoverOwner {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// E-mail address of the Owner.
    #[arg(long)]
    pub(crate) email: String,
}

#[derive(Subcommand)]
pub(crate) enum Token {
    /// Create an API token on this machine and print it, alone, on stdout.
    Create(Box<CreateToken>),
    #[command(flatten)]
    Remote(RemoteToken),
}

#[derive(Args)]
pub(crate) struct CreateToken {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// E-mail address of the user that the token acts for.
    #[arg(long)]
    pub(crate) user: String,
    /// What you will know it by.
    #[arg(long)]
    pub(crate) name: String,
    /// Days until it ends by itself.
    #[arg(long, value_name = "D", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) expires_days: Option<u32>,
    /// Limit it to a permission, such as secret:rotate. Can be repeated.
    #[arg(long, value_name = "PERMISSION")]
    pub(crate) scope: Vec<String>,
}

#[derive(Subcommand)]
pub(crate) enum RemoteToken {
    /// List your API tokens; an Owner sees all.
    List(Remote),
    /// End an API token.
    Delete {
        /// Its id.
        token: String,
        #[command(flatten)]
        remote: Remote,
    },
}

/// Where a remote command goes, and how it answers. As whom it goes stands in CROSSFADE_TOKEN: there is no
/// flag for it, because the arguments of a process are visible to every other.
#[derive(Args)]
pub(crate) struct Remote {
    /// Base URL of the server.
    #[arg(long, env = "CROSSFADE_URL", default_value = "http://127.0.0.1:8080", hide_env_values = true)]
    pub(crate) url: String,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Property {
    /// List properties.
    List(Remote),
    /// Create a property.
    Create {
        /// Its name.
        name: String,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Subcommand)]
pub(crate) enum Env {
    /// List environments.
    List(Remote),
    /// Change the settings of an environment.
    Update {
        /// Its slug.
        environment: String,
        /// Algorithm of new access tokens. Another one brings a new signing key.
        #[arg(long, value_enum)]
        signing_alg: Option<Alg>,
        /// Never store secret values; true wipes those stored.
        #[arg(long)]
        show_once: Option<bool>,
        /// Days after a secret's end until its stored value is wiped.
        #[arg(long)]
        wipe_after_days: Option<i64>,
        /// Days after which a secret is overdue.
        #[arg(long)]
        max_age_days: Option<i64>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Give an environment a new signing key: published now, signing once every cached key set is stale.
    RotateKey {
        /// Its slug.
        environment: String,
        /// Why.
        #[arg(long)]
        reason: Option<String>,
        /// The new key signs at once, before resource servers can have fetched it.
        #[arg(long)]
        immediate: bool,
        /// The old key has leaked: it leaves the key set at once, and every token that it signed ends.
        #[arg(long)]
        compromised: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// List the signing keys of an environment.
    Keys {
        /// Its slug.
        environment: String,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Alg {
    #[value(name = "ES256")]
    Es256,
    #[value(name = "EdDSA")]
    EdDsa,
    #[value(name = "RS256")]
    Rs256,
}

impl From<Alg> for SigningAlg {
    fn from(alg: Alg) -> Self {
        match alg {
            Alg::Es256 => Self::ES256,
            Alg::EdDsa => Self::EdDSA,
            Alg::Rs256 => Self::RS256,
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum Client {
    /// List clients.
    List {
        /// Part of the name, or a whole OAuth client_id.
        #[arg(long)]
        q: Option<String>,
        /// Only those registered in this environment.
        #[arg(long)]
        env: Option<String>,
        /// Only those with a secret older than its environment's maximum age.
        #[arg(long)]
        overdue: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show a client and its registrations.
    Show {
        /// Its id, or a name that exactly one client has.
        client: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Create a client, with a first secret in each environment.
    Create {
        /// Its name.
        name: String,
        /// The property that it belongs to: an id, or a name.
        #[arg(long)]
        property: String,
        /// Environments to register it in, separated by commas.
        #[arg(long, value_delimiter = ',', required = true)]
        env: Vec<String>,
        /// E-mail address of somebody to tell of what concerns it. Can be repeated.
        #[arg(long)]
        owner: Vec<String>,
        /// What it is.
        #[arg(long)]
        description: Option<String>,
        #[command(flatten)]
        value: Destination,
        #[command(flatten)]
        remote: Remote,
    },
}

/// Where a secret value goes. Decided before anything is changed.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Destination {
    /// Write the value to a new file that only you can read.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Print the value on stdout.
    #[arg(long)]
    pub(crate) show: bool,
}

/// A client in an environment.
#[derive(Args)]
pub(crate) struct Place {
    /// The client: its id, or a name that exactly one client has.
    pub(crate) client: String,
    /// The environment.
    #[arg(long)]
    pub(crate) env: String,
}

#[derive(Subcommand)]
pub(crate) enum Secret {
    /// List the secrets of a client in an environment, newest first, without values.
    List {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show the history of rotations, newest first.
    History {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show which secrets are used from where.
    Usage {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        remote: Remote,
    },
    /// Replace the current secret. The old one stays valid for the transition period.
    Rotate(Rotate),
    /// Show the stored value of a secret.
    Reveal {
        #[command(flatten)]
        place: Place,
        /// The secret; the current one when absent.
        #[arg(long)]
        secret: Option<String>,
        /// Why.
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        value: Destination,
        #[command(flatten)]
        remote: Remote,
    },
    /// End the retiring secret now.
    Revoke {
        #[command(flatten)]
        place: Place,
        /// The secret; the retiring one when absent.
        #[arg(long)]
        secret: Option<String>,
        #[command(flatten)]
        end: End,
        #[command(flatten)]
        remote: Remote,
    },
    /// Give the retiring secret longer.
    Extend {
        #[command(flatten)]
        place: Place,
        /// The secret; the retiring one when absent.
        #[arg(long)]
        secret: Option<String>,
        /// The new deadline, such as 2026-11-25T08:00:00Z.
        #[arg(long, value_name = "TIME")]
        until: String,
        /// Why.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Undo the latest rotation: the retiring secret is current again, the newer one is revoked.
    Rollback {
        #[command(flatten)]
        place: Place,
        /// The newer secret has been used, and you know that its callers will fail.
        #[arg(long)]
        acknowledge_in_use: bool,
        #[command(flatten)]
        end: End,
        #[command(flatten)]
        remote: Remote,
    },
}

/// How a secret ends.
#[derive(Args)]
pub(crate) struct End {
    /// Why.
    #[arg(long)]
    pub(crate) reason: String,
    /// It has leaked.
    #[arg(long)]
    pub(crate) compromised: bool,
    /// Also end the tokens issued under it, for introspection.
    #[arg(long)]
    pub(crate) revoke_tokens: bool,
}

#[derive(Args)]
pub(crate) struct Rotate {
    #[command(flatten)]
    pub(crate) place: Place,
    /// How long the old secret stays valid: whole hours up to 168h, or 0 to end it at once.
    #[arg(long, value_parser = transition)]
    pub(crate) transition: TransitionHours,
    /// The client's name, typed. Asked for on a terminal when absent.
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
    /// Why.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// End the secret of a transition that is still running.
    #[arg(long)]
    pub(crate) end_running_transition: bool,
    /// The old secret has leaked. Needs --transition 0; ends a running transition, too.
    #[arg(long)]
    pub(crate) compromised: bool,
    /// Also end, for introspection, the tokens issued under the secrets that end now.
    #[arg(long)]
    pub(crate) revoke_tokens: bool,
    #[command(flatten)]
    pub(crate) value: Destination,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

fn transition(text: &str) -> Result<TransitionHours, String> {
    TransitionHours::parse(text).map_err(|_| "give whole hours from 0 to 168, such as 24h".to_owned())
}

#[derive(Subcommand)]
pub(crate) enum Audit {
    /// Print the audit trail as JSON lines, newest first.
    Export {
        /// From this time on.
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Up to, and not including, this time.
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// Only this action, such as secret.rotated.
        #[arg(long)]
        action: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn no_command_takes_a_secret_as_an_argument() {
        fn walk(command: &clap::Command) {
            for argument in command.get_arguments() {
                assert!(
                    !["password", "token", "value"].contains(&argument.get_long().unwrap_or_default()),
                    "{argument:?}"
                );
            }
            command.get_subcommands().for_each(walk);
        }
        walk(&<Cli as clap::CommandFactory>::command());
    }

    #[test]
    fn rule_9_a_transition_out_of_range_is_wrong_usage() {
        let parse = |transition: &str| {
            Cli::try_parse_from([
                "crossfade",
                "secret",
                "rotate",
                "X",
                "--env",
                "production",
                "--transition",
                transition,
                "--show",
            ])
        };
        for good in ["0", "24h", "168h"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["169h", "-1", "1.5h", "", "1d"] {
            assert_eq!(parse(bad).err().map(|error| error.exit_code()), Some(2), "{bad}");
        }
        let missing =
            Cli::try_parse_from(["crossfade", "secret", "rotate", "X", "--env", "production", "--show"]);
        assert_eq!(missing.err().map(|error| error.exit_code()), Some(2), "there is no default");
        let nowhere = Cli::try_parse_from([
            "crossfade",
            "secret",
            "rotate",
            "X",
            "--env",
            "production",
            "--transition",
            "0",
        ]);
        assert_eq!(
            nowhere.err().map(|error| error.exit_code()),
            Some(2),
            "where the value goes is decided first"
        );
    }
}
