//! `crossfade token list` and `delete`.

use super::http::{Api, segment};
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
            let tokens: Vec<Token> = Api::new(&remote)?.list("/tokens", usize::MAX).await?;
            if remote.json {
                return output::json(&tokens);
            }
            let row = |it: Token| {
                vec![
                    it.id.to_string(),
                    it.name,
                    it.user_id.to_string(),
                    it.scope.map_or_else(|| "all".to_owned(), |words| words.join(" ")),
                    time(it.expires_at),
                    time(it.last_used_at),
                ]
            };
            output::table(
                &[
                    fixed("id"),
                    text("name"),
                    fixed("user"),
                    text("scope"),
                    fixed("expires"),
                    fixed("last used"),
                ],
                tokens.into_iter().map(row).collect(),
            )
        }
        RemoteToken::Delete { token, remote } => {
            Api::new(&remote)?.delete(&format!("/tokens/{}", segment(&token))).await?;
            output::note(&format!("The token {token} has ended."));
            Ok(())
        }
    }
}
