//! `crossfade token list` and `delete`.

use super::{
    http::{Api, segment},
    names::Names,
};
use crate::{
    cli::RemoteToken,
    failure::Failure,
    output::{self, fixed, text, time},
};
use crossfade_core::api::Token;

/// Runs the command.
pub(crate) async fn token(command: RemoteToken) -> Result<(), Failure> {
    match command {
        RemoteToken::List(remote) => {
            let api = Api::new(&remote)?;
            let tokens: Vec<Token> = api.list("/tokens", usize::MAX).await?;
            if remote.json {
                return output::json(&tokens);
            }
            let (mut names, mut rows) = (Names::new(&api), Vec::new());
            names.learn_own().await?;
            for it in tokens {
                let client = match &it.client_id {
                    Some(client) => names.name(client.as_str()).await,
                    None => "all".to_owned(),
                };
                rows.push(vec![
                    it.id.to_string(),
                    it.name,
                    names.name(it.user_id.as_str()).await,
                    it.scope.map_or_else(|| "all".to_owned(), |words| words.join(" ")),
                    client,
                    it.environment.unwrap_or_else(|| "all".to_owned()),
                    time(it.expires_at),
                    time(it.last_used_at),
                ]);
            }
            output::table(
                &[
                    fixed("id"),
                    text("name"),
                    text("user"),
                    text("scope"),
                    text("client"),
                    text("environment"),
                    fixed("expires"),
                    fixed("last used"),
                ],
                rows,
            )
        }
        RemoteToken::Delete { token, remote } => {
            Api::new(&remote)?.delete(&format!("/tokens/{}", segment(&token))).await?;
            output::note(&format!("Deleted the token {token}."));
            Ok(())
        }
    }
}
