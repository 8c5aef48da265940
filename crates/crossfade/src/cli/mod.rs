//! The command line: what there is to type. Doc comments here are the help texts.

mod access;
mod audit;
mod change_over;
mod clients;
mod drills;
mod environments;
mod examples;
mod local;
mod login;
mod messages;
mod nodes;
mod operations;
mod properties;
mod providers;
mod registrations;
mod secrets;
mod sign_in_policy;
mod times;
mod tokens;
mod upstream;
mod users;
mod values;
mod webhooks;

#[cfg(test)]
pub(crate) use self::operations::command;
use self::values::new_file;
pub(crate) use self::{
    access::{Access, ListAccess},
    audit::{Audit, Failures, Filters, Verify},
    change_over::{Series, Watch},
    clients::{Client, CreateClient, UpdateClient},
    drills::{Drill, ScheduleDrill, StopDrill},
    environments::{CreateEnv, Env, EnvChange, RotateKey, UpdateEnv},
    examples::{examples, program},
    local::{
        BackUp, CreateToken, Demo, Doctor, Init, Keys, KeysArgs, Mail, Manual, Owner, Quarantine,
        RecoverOwner, ReleaseMail, ReleaseQuarantine, Restore, ShowMail, ShowQuarantine, TestMail, Token,
    },
    login::{Login, Logout, Profile},
    messages::{ClientMessages, Messages},
    nodes::Node,
    operations::lacking,
    properties::{Limits, Property, PropertyPlace},
    providers::{CreateProvider, Provider, ProviderChange, ProvisioningToken, UpdateProvider},
    registrations::{Registration, RegistrationChange, UpdateRegistration},
    secrets::{End, Revoke, Rotate, Secret},
    sign_in_policy::SignInPolicy,
    times::Moment,
    tokens::RemoteToken,
    upstream::{SetUpstream, Upstream},
    users::{CreateGrant, CreateUser, Grant, User},
    webhooks::{CreateWebhook, SigningSecret, UpdateWebhook, Webhook},
};
use crate::{profiles::ProfileName, settings::Settings};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// A self-hosted authority for OAuth 2.0 client secrets.
///
/// Sign in with crossfade login. Remote commands use the profile that it writes. For a program, set
/// CROSSFADE_URL and an API token in CROSSFADE_TOKEN.
///
/// Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 not found, 4 not permitted, 5 conflict,
/// 6 not reached within --timeout, 7 audit trail consistent but not proven, 8 nothing rotated (with
/// --exit-code), 9 nothing rotated and the current secret not used (with --exit-code), 10 a valid secret
/// was identified (with --exit-code), 130 interrupted on a terminal.
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
    /// Serve a temporary instance with sample data and run a rotation against it.
    Demo(Demo),
    /// Create the first Owner without a browser.
    Init(Init),
    /// Check an instance for problems and suggest fixes. Changes nothing.
    Doctor(Doctor),
    /// Write a backup to a new file. Works while a server is running.
    Backup(BackUp),
    /// Restore a backup into an empty database.
    Restore(Restore),
    /// Show and release a quarantine on the server machine.
    #[command(subcommand)]
    Quarantine(Quarantine),
    /// Show and test mail, and release what is held, on the server machine.
    #[command(subcommand)]
    Mail(Mail),
    /// List and rotate the master keys on the server machine.
    #[command(subcommand)]
    Keys(Keys),
    /// Recover a locked-out Owner on the server machine.
    #[command(subcommand)]
    Owner(Owner),
    /// Sign in with the browser. Writes an API token to a profile.
    Login(Login),
    /// Sign out: delete the API token of a profile, and the profile.
    Logout(Logout),
    /// List profiles, and choose the current one.
    #[command(subcommand)]
    Profile(Profile),
    /// Manage API tokens.
    #[command(subcommand)]
    Token(Token),
    /// Manage clients.
    #[command(subcommand)]
    Client(Client),
    /// Manage a client's registration in one environment.
    #[command(subcommand)]
    Registration(Registration),
    /// Manage environments.
    #[command(subcommand)]
    Env(Env),
    /// Manage properties.
    #[command(subcommand)]
    Property(Property),
    /// Manage webhooks: URLs that get messages about rotations, deadlines and drills.
    #[command(subcommand)]
    Webhook(Webhook),
    /// Manage upstream credentials, with which Crossfade authenticates at another issuer.
    #[command(subcommand)]
    Upstream(Upstream),
    /// List the nodes.
    #[command(subcommand)]
    Node(Node),
    /// Manage users: people, and programs that use API tokens.
    #[command(subcommand)]
    User(User),
    /// Manage the OpenID Connect providers with which people sign in.
    #[command(subcommand)]
    Provider(Provider),
    /// Manage whom the instance asks for a second factor, and who can sign in with a password.
    #[command(subcommand)]
    SignInPolicy(SignInPolicy),
    /// Manage the messages that you get, and your time zone.
    #[command(subcommand)]
    Messages(Messages),
    /// Review who holds which role, and why.
    #[command(subcommand)]
    Access(Access),
    /// Manage the roles that users hold.
    #[command(subcommand)]
    Grant(Grant),
    /// Manage secrets: list, rotate, reveal, revoke, extend, roll back.
    #[command(subcommand)]
    Secret(Secret),
    /// Manage drills: short windows that refuse the old secret, to find its remaining callers.
    #[command(subcommand)]
    Drill(Drill),
    /// Read and export the audit trail.
    #[command(subcommand)]
    Audit(Audit),
    /// Show your account, your roles and the limits of your token.
    Whoami(Remote),
    /// Print the manual page, or write one page per command.
    Man(Manual),
    /// Print a shell completion script.
    Completions {
        /// Shell to generate the script for.
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// Whether the command speaks to a server.
    pub(crate) fn is_remote(&self) -> bool {
        match self {
            Self::Serve(_)
            | Self::Demo(_)
            | Self::Init(_)
            | Self::Doctor(_)
            | Self::Backup(_)
            | Self::Restore(_)
            | Self::Quarantine(_)
            | Self::Mail(_)
            | Self::Keys(_)
            | Self::Audit(Audit::Verify(_))
            | Self::Owner(_)
            | Self::Profile(_)
            | Self::Token(Token::Create(_))
            | Self::Man(_)
            | Self::Completions { .. } => false,
            Self::Login(_)
            | Self::Logout(_)
            | Self::Token(Token::Remote(_))
            | Self::Client(_)
            | Self::Registration(_)
            | Self::Env(_)
            | Self::Property(_)
            | Self::Webhook(_)
            | Self::Upstream(_)
            | Self::Node(_)
            | Self::User(_)
            | Self::Provider(_)
            | Self::SignInPolicy(_)
            | Self::Messages(_)
            | Self::Access(_)
            | Self::Grant(_)
            | Self::Secret(_)
            | Self::Drill(_)
            | Self::Audit(_)
            | Self::Whoami(_) => true,
        }
    }
}

/// The server a remote command talks to, and its output format. The API token comes only from a profile or
/// from CROSSFADE_TOKEN, because other processes can read command-line arguments.
#[derive(Args)]
pub(crate) struct Remote {
    /// Base URL of the server. Defaults to the URL of the profile, and with CROSSFADE_TOKEN to
    /// http://127.0.0.1:8080.
    #[arg(long, env = "CROSSFADE_URL", hide_env_values = true)]
    pub(crate) url: Option<String>,
    /// Profile to use instead of CROSSFADE_TOKEN. Without either, the current profile is used.
    #[arg(long, value_name = "PROFILE")]
    pub(crate) profile: Option<ProfileName>,
    /// Allow an http:// URL of another machine. The API token is sent unencrypted, and anyone on the network
    /// path can read it.
    #[arg(long)]
    pub(crate) insecure_http: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Destination of a secret value, opened before anything is changed.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Destination {
    /// Write the value to a new file that only you can read.
    #[arg(long, value_name = "FILE", value_parser = new_file())]
    pub(crate) output: Option<PathBuf>,
    /// Print the value on stdout.
    #[arg(long)]
    pub(crate) show: bool,
}

/// Destination of a new secret's value, opened before anything is changed.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct NewValue {
    /// Write the value to a new file that only you can read. Refused if you do not have permission to reveal
    /// it.
    #[arg(long, value_name = "FILE", value_parser = new_file())]
    pub(crate) output: Option<PathBuf>,
    /// Print the value on stdout. Refused if you do not have permission to reveal it.
    #[arg(long)]
    pub(crate) show: bool,
    /// Do not receive the value. An account with secret:reveal can reveal it if the environment stores
    /// values.
    #[arg(long)]
    pub(crate) no_value: bool,
}

/// A client in an environment.
#[derive(Args)]
pub(crate) struct Place {
    /// Client: its ID (cl_…), its unique name, or one of its OAuth client_ids.
    pub(crate) client: String,
    /// Environment slug, such as production.
    #[arg(long, value_parser = values::one_environment)]
    pub(crate) env: String,
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

    /// The exit status that a command line is refused with; 0 where it is understood.
    #[track_caller]
    pub(super) fn refused(line: &str) -> i32 {
        let words = std::iter::once("crossfade").chain(line.split(' '));
        Cli::try_parse_from(words).err().map_or(0, |error| error.exit_code())
    }
}
