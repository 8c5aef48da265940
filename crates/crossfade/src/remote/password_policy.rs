//! The commands under `crossfade password-policy`.

use super::{http::Api, names::Names};
use crate::{
    cli::PasswordPolicy as Command,
    failure::Failure,
    output::{self, fixed, text},
};
use crossfade_core::api::{PasswordPolicy, UpdatePasswordPolicy};
use reqwest::Method;

const PATH: &str = "/password-policy";

/// Runs the command.
pub(crate) async fn password_policy(command: Command) -> Result<(), Failure> {
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
            let body = UpdatePasswordPolicy {
                passwords: args.change.passwords,
                break_glass: (!accounts.is_empty()).then_some(accounts),
            };
            shown(&api, api.send(Method::PATCH, PATH, &body).await?, args.remote.json).await
        }
    }
}

async fn shown(api: &Api, policy: PasswordPolicy, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(&policy);
    }
    let (mut names, mut owners) = (Names::new(api), Vec::new());
    for account in &policy.break_glass {
        owners.push(names.name(account.as_str()).await);
    }
    let owners = if owners.is_empty() { "-".to_owned() } else { owners.join(", ") };
    let row = vec![policy.passwords.as_str().to_owned(), owners];
    output::table(&[fixed("passwords"), text("break glass")], vec![row])
}
