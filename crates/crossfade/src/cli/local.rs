//! Commands on the machine itself.

use super::{
    RemoteToken,
    values::{backup_file, permission, read_file},
};
use crate::settings::Settings;
use clap::{Args, Subcommand};
use std::path::PathBuf;

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
    /// Create a new instance in an empty database although the master key file exists. Without it such a database is
    /// refused, because a master key belongs to one instance.
    #[arg(long)]
    pub(crate) new_instance: bool,
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
    #[arg(long, value_name = "FILE", value_parser = backup_file())]
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
    #[arg(long, value_name = "FILE", value_parser = read_file())]
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
    /// Print the link as JSON.
    #[arg(long)]
    pub(crate) json: bool,
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
    /// The user that the token acts for: an e-mail address, or an id.
    #[arg(long)]
    pub(crate) user: String,
    /// What you will know it by.
    #[arg(long)]
    pub(crate) name: String,
    /// Days until it ends by itself.
    #[arg(long, value_name = "D", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) expires_days: Option<u32>,
    /// Permission to limit the token to. Repeatable, or separated by commas.
    #[arg(long, value_name = "PERMISSION", value_delimiter = ',', value_parser = permission())]
    pub(crate) scope: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Manual {
    /// Write a page for each command into this directory, which is made when it is missing.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}
