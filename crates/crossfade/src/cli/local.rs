//! Commands on the machine itself.

use super::{
    RemoteToken,
    values::{backup_file, new_file, one_environment, permission, read_file},
};
use crate::settings::Settings;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct Demo {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(crate) listen: std::net::SocketAddr,
    /// Exit after the rotations instead of serving. Exit status 0 only if every step succeeded.
    #[arg(long)]
    pub(crate) quick: bool,
}

#[derive(Args)]
pub(crate) struct Init {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Email address of the Owner.
    #[arg(long)]
    pub(crate) owner_email: String,
    /// Read the password from the first line of stdin.
    #[arg(long, required = true)]
    pub(crate) password_stdin: bool,
    /// Create a new instance in an empty database even if the master key file exists. Refused otherwise,
    /// because a master key belongs to one instance.
    #[arg(long)]
    pub(crate) new_instance: bool,
}

#[derive(Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct BackUp {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// File to create, readable only by you. Must not exist yet. Does not contain the master key.
    #[arg(long, value_name = "FILE", value_parser = backup_file())]
    pub(crate) output: PathBuf,
    /// Print a summary of the backup as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Restore {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Backup file to restore. Its master key must already be in place.
    #[arg(long, value_name = "FILE", value_parser = read_file())]
    pub(crate) from: PathBuf,
    /// Print a summary of the restored data as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Quarantine {
    /// Show why the instance is in quarantine, and what its database holds as valid. Changes nothing.
    Show(ShowQuarantine),
    /// End the quarantine. Works while a server is running.
    ///
    /// Everything that crossfade quarantine show lists is valid again, except what --except names. Access
    /// tokens issued before are inactive.
    Release(ReleaseQuarantine),
}

#[derive(Args)]
pub(crate) struct ShowQuarantine {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Print JSON instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct ReleaseQuarantine {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Reason, recorded in the audit trail.
    #[arg(long)]
    pub(crate) reason: String,
    /// ID of a client or registration to disable, or of an API token, account or grant to end, instead of
    /// releasing it. Repeatable or comma-separated.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub(crate) except: Vec<String>,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Mail {
    /// Show the mail server, how many messages wait, where messages are sent from, and whether sending is held.
    /// Changes nothing.
    Show(ShowMail),
    /// Send a test message, and print what the mail server answers. Works while a server is running.
    ///
    /// Run the command with the mail settings of the server. The message is sent immediately and is never queued.
    /// Exit status 1: the mail server did not accept the message.
    Test(TestMail),
    /// Send messages from the place that the database is in now. Works while a server is running.
    ///
    /// Sending is held when the database is in another place than before, because it may be a copy. Messages
    /// that were queued in the earlier place are not sent.
    Release(ReleaseMail),
}

#[derive(Args)]
pub(crate) struct ShowMail {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct TestMail {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Email address to send to.
    #[arg(long, value_name = "EMAIL")]
    pub(crate) to: String,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct ReleaseMail {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Reason, recorded in the audit trail.
    #[arg(long)]
    pub(crate) reason: String,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Keys {
    /// List the master keys and data keys, and what each holds. Never shows a key. Changes nothing.
    List(KeysArgs),
    /// List the valid secrets whose digests need an old verifier key. Changes nothing.
    ///
    /// A secret leaves the list when it is used while a server runs, or when it is rotated.
    Secrets(KeysArgs),
    /// Create a data key for new values and one for new digests. A running server uses them within seconds.
    ///
    /// The digest of a secret moves to the newest key when the secret is used.
    Create(KeysArgs),
    /// Delete an old data key that holds nothing.
    Delete {
        /// ID of the data key, as listed.
        id: String,
        #[command(flatten)]
        keys: KeysArgs,
    },
    /// Seal the keys of the instance under a new master key. Works while a server is running.
    ///
    /// Creates a key on the first line of the master key file. If the first key there does not seal
    /// everything yet, uses that key and creates none.
    Rotate(KeysArgs),
}

#[derive(Args)]
pub(crate) struct KeysArgs {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Owner {
    /// Print a one-time link that lets a locked-out Owner set a new password.
    Recover(RecoverOwner),
}

#[derive(Args)]
pub(crate) struct RecoverOwner {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Email address of the Owner.
    #[arg(long)]
    pub(crate) email: String,
    /// Also remove the Owner's second factors, and end their sessions and API tokens.
    #[arg(long)]
    pub(crate) remove_factors: bool,
    /// New file for the link, readable only by you. Defaults to stdout.
    #[arg(long, value_name = "FILE", value_parser = new_file())]
    pub(crate) output: Option<PathBuf>,
    /// Print the link as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Token {
    /// Create an API token on the server machine and print only the token, or write it to a file.
    Create(Box<CreateToken>),
    #[command(flatten)]
    Remote(RemoteToken),
}

#[derive(Args)]
pub(crate) struct CreateToken {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// User the token acts for: email address or user ID.
    #[arg(long)]
    pub(crate) user: String,
    /// Name to recognise the token by.
    #[arg(long)]
    pub(crate) name: String,
    /// Days until the token expires.
    #[arg(long, value_name = "D", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) expires_days: Option<u32>,
    /// Permission to limit the token to. Repeatable or comma-separated.
    #[arg(long, value_name = "PERMISSION", value_delimiter = ',', value_parser = permission())]
    pub(crate) scope: Vec<String>,
    /// Client to limit the token to, in one environment: its ID (cl_…) or its unique name.
    ///
    /// Without --scope, the token can read this registration and rotate its secret, and nothing else. It
    /// receives the value of each secret that it generates if its user can reveal secrets there.
    #[arg(long, requires = "env")]
    pub(crate) client: Option<String>,
    /// Environment of --client.
    #[arg(long, requires = "client", value_parser = one_environment)]
    pub(crate) env: Option<String>,
    /// New file for the token, readable only by you. Defaults to stdout.
    #[arg(long, value_name = "FILE", value_parser = new_file())]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Manual {
    /// Directory to write one page per command to. Created if missing.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}
