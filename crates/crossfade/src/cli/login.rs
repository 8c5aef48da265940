//! `crossfade login`, `logout` and `profile`.

use super::values::permission;
use crate::profiles::ProfileName;
use clap::{Args, Subcommand};
use crossfade_core::login::{MAX_DAYS, USUAL_DAYS};

#[derive(Args)]
pub(crate) struct Login {
    /// Base URL of the server. Defaults to the URL of --profile, then of the current profile, then to
    /// http://127.0.0.1:8080.
    #[arg(long, env = "CROSSFADE_URL", hide_env_values = true)]
    pub(crate) url: Option<String>,
    /// Profile to write. Defaults to the profile of this URL, then to the host of the URL.
    #[arg(long, value_name = "PROFILE")]
    pub(crate) profile: Option<ProfileName>,
    /// Name to recognise the token by. Defaults to the name of this machine.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Days until the token expires. The browser asks again.
    #[arg(long, value_name = "DAYS", default_value_t = USUAL_DAYS, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_DAYS)))]
    pub(crate) expires_days: u32,
    /// Permission that the token is limited to. Repeatable. Defaults to all your permissions.
    #[arg(long, value_name = "PERMISSION", value_parser = permission())]
    pub(crate) scope: Vec<String>,
    /// Print the address and ask for a code, for a machine without a browser.
    #[arg(long)]
    pub(crate) no_browser: bool,
    /// Allow an http:// URL of another machine. The API token is sent unencrypted, and anyone on the network
    /// path can read it.
    #[arg(long)]
    pub(crate) insecure_http: bool,
}

#[derive(Args)]
pub(crate) struct Logout {
    /// Profile to sign out. Defaults to the current profile.
    #[arg(long, value_name = "PROFILE")]
    pub(crate) profile: Option<ProfileName>,
    /// Delete the profile even if the server cannot be reached. Its token stays valid until it expires.
    #[arg(long)]
    pub(crate) forget: bool,
    /// Allow an http:// URL of another machine. The API token is sent unencrypted, and anyone on the network
    /// path can read it.
    #[arg(long)]
    pub(crate) insecure_http: bool,
}

#[derive(Subcommand)]
pub(crate) enum Profile {
    /// List the profiles. The current one is marked.
    List {
        /// Print JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Make a profile the current one.
    Use {
        /// Name of the profile.
        profile: ProfileName,
    },
}
