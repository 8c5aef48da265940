//! The commands under `crossfade sign-in-policy`.

use super::http::Api;
use crate::{
    cli::SignInPolicy as Command,
    failure::Failure,
    output::{self, fixed, time},
};
use crossfade_core::api::{SignInPolicy, UpdateSignInPolicy};
use reqwest::Method;

const PATH: &str = "/sign-in-policy";

/// Runs the command.
pub(crate) async fn sign_in_policy(command: Command) -> Result<(), Failure> {
    match command {
        Command::Show(remote) => shown(&Api::new(&remote)?.get(PATH).await?, remote.json),
        Command::Update { second_factor, reason, remote } => {
            let body = UpdateSignInPolicy { second_factor: Some(second_factor), reason };
            shown(&Api::new(&remote)?.send(Method::PATCH, PATH, &body).await?, remote.json)
        }
    }
}

fn shown(policy: &SignInPolicy, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(policy);
    }
    let at = |at: Option<_>| at.map_or_else(|| "never".to_owned(), |at| time(Some(at)));
    let row = vec![
        policy.second_factor.as_str().to_owned(),
        policy.missing_count.to_string(),
        at(policy.told_at),
        at(policy.tokens_refused_from),
    ];
    let columns =
        [fixed("second factor"), fixed("without one"), fixed("notified"), fixed("tokens refused from")];
    output::table(&columns, vec![row])
}
