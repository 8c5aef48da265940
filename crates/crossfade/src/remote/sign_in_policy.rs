//! The commands under `crossfade sign-in-policy`.

use super::{http::Api, names::Names};
use crate::{
    cli::SignInPolicy as Command,
    failure::Failure,
    output::{self, fixed, text, time},
};
use crossfade_core::api::{SignInPolicy, UpdateSignInPolicy};
use reqwest::Method;

const PATH: &str = "/sign-in-policy";

/// Runs the command.
pub(crate) async fn sign_in_policy(command: Command) -> Result<(), Failure> {
    match command {
        Command::Show(remote) => {
            let api = Api::new(&remote)?;
            shown(&api, api.get(PATH).await?, remote.json).await
        }
        Command::Update(args) => {
            let api = Api::new(&args.remote)?;
            let mut accounts = Vec::new();
            for owner in &args.change.break_glass {
                accounts.push(api.find_user(owner).await?);
            }
            let body = UpdateSignInPolicy {
                second_factor: args.change.second_factor,
                passwords: args.change.passwords,
                break_glass: (!accounts.is_empty()).then_some(accounts),
                reason: args.reason,
            };
            shown(&api, api.send(Method::PATCH, PATH, &body).await?, args.remote.json).await
        }
    }
}

async fn shown(api: &Api, policy: SignInPolicy, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(&policy);
    }
    let (mut names, mut owners) = (Names::new(api), Vec::new());
    for account in &policy.break_glass {
        owners.push(names.name(account.as_str()).await);
    }
    let owners = if owners.is_empty() { "-".to_owned() } else { owners.join(", ") };
    let at = |at: Option<_>| at.map_or_else(|| "never".to_owned(), |at| time(Some(at)));
    let row = vec![
        policy.second_factor.as_str().to_owned(),
        policy.missing_count.to_string(),
        at(policy.told_at),
        at(policy.tokens_refused_from),
        policy.passwords.as_str().to_owned(),
        owners,
    ];
    let columns = [
        fixed("second factor"),
        fixed("without one"),
        fixed("notified"),
        fixed("tokens refused from"),
        fixed("passwords"),
        text("break glass"),
    ];
    output::table(&columns, vec![row])
}
