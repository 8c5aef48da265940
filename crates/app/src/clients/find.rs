//! Finds a client by what a person typed.

use crate::error::Error;
use crossfade_core::{ClientId, Problem};
use crossfade_store::{Client, Tx};

/// Maximum number of clients of one name, in as many properties, among which the one is looked for.
const MAX_NAMESAKES: i64 = 1000;
/// Maximum number of IDs that a refusal names.
const MAX_TOLD: usize = 5;

/// Returns the client with this ID or this exact name, among those that `may_choose` accepts. A name that several of them
/// have is refused with their IDs. `field` is where it was typed.
pub(crate) async fn find_client(
    tx: &mut Tx,
    field: &'static str,
    typed: &str,
    may_choose: impl Fn(&Client) -> bool,
) -> Result<Client, Error> {
    let typed = typed.trim();
    let mut found: Vec<Client> = match ClientId::parse(typed) {
        Ok(id) => tx.client(&id).await?.into_iter().collect(),
        Err(_) => tx.clients_called(typed, MAX_NAMESAKES).await?,
    };
    found.retain(|client| client.id.as_str() == typed || client.name.is_typed_as(typed));
    found.retain(may_choose);
    if found.len() > 1 {
        let ids: Vec<&str> = found.iter().take(MAX_TOLD).map(|client| client.id.as_str()).collect();
        let more = if found.len() > MAX_TOLD { ", …" } else { "" };
        let what = format!(
            "is the name of {} clients. Enter the ID of one of them instead: {}{more}",
            found.len(),
            ids.join(", ")
        );
        return Err(Problem::invalid(field, &what).into());
    }
    found.pop().ok_or_else(|| Problem::invalid(field, "must be the ID or the unique name of a client").into())
}
