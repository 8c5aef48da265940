//! Clients that are not registered in an environment in front of another issuer, and whose requests it passes on.

use crate::{PageStart, StoreError, Tx, Value, catalogue::statements, db::Row};
use crossfade_core::{
    OauthClientId, Timestamp,
    environment::Slug,
    unregistered::{PassedMethod, PassedRequests},
};
use std::collections::BTreeMap;

/// The `client_id` of the row of all clients that are not kept by name. A client has none that is empty.
const SUM: &str = "";

/// Requests that were passed on, as stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnregisteredClient {
    /// The client; `None` for all that are not kept by name.
    pub client_id: Option<OauthClientId>,
    /// Its requests.
    pub requests: PassedRequests,
}

impl UnregisteredClient {
    /// Returns its sort key: the clients with the latest tokens come first, and the sum comes last.
    pub fn key(&self) -> (i64, String) {
        (last_token(&self.requests), self.client_id.as_ref().map_or(SUM, OauthClientId::as_str).to_owned())
    }
}

statements! {
    OF = "SELECT u.client_id, u.first_seen_at, u.last_seen_at, u.last_token_at, u.accepted_count, u.refused_count, u.failed_count, u.last_status, u.methods, u.sources
          FROM unregistered_clients u JOIN (VALUES {rows:2}) AS v ON u.environment = v.column1 AND u.client_id = v.column2";
    COUNT = "SELECT CAST(COUNT(*) AS BIGINT) AS clients FROM unregistered_clients WHERE environment = $1 AND client_id <> ''";
    SET = "INSERT INTO unregistered_clients (environment, client_id, first_seen_at, last_seen_at, last_token_at, accepted_count, refused_count, failed_count, last_status, methods, sources)
           VALUES {rows:11}
           ON CONFLICT (environment, client_id) DO UPDATE SET first_seen_at = excluded.first_seen_at, last_seen_at = excluded.last_seen_at,
               last_token_at = excluded.last_token_at, accepted_count = excluded.accepted_count, refused_count = excluded.refused_count,
               failed_count = excluded.failed_count, last_status = excluded.last_status, methods = excluded.methods, sources = excluded.sources";
    LIST = "SELECT client_id, first_seen_at, last_seen_at, last_token_at, accepted_count, refused_count, failed_count, last_status, methods, sources
            FROM unregistered_clients
            WHERE environment = $4 AND (CAST($1 AS BIGINT) IS NULL OR last_token_at < $1 OR (last_token_at = $1 AND client_id > $2))
            ORDER BY last_token_at DESC, client_id LIMIT $3";
    DELETE = "DELETE FROM unregistered_clients WHERE environment = $1 AND client_id = $2";
    DELETE_OF = "DELETE FROM unregistered_clients WHERE environment = $1";
    DELETE_OLD = "DELETE FROM unregistered_clients WHERE (client_id <> '' AND last_token_at < $1) OR (client_id = '' AND last_seen_at < $1)";
    DELETE_REGISTERED = "DELETE FROM unregistered_clients WHERE EXISTS (
                             SELECT 1 FROM registrations r WHERE r.environment = unregistered_clients.environment AND r.oauth_client_id = unregistered_clients.client_id)";
}

fn last_token(requests: &PassedRequests) -> i64 {
    requests.last_token_at.map_or(0, Timestamp::as_micros)
}

fn unregistered(row: &Row) -> Result<UnregisteredClient, StoreError> {
    let methods: Vec<String> = row.parsed("methods", |text| serde_json::from_str(text).ok())?;
    let last_token_at = row.int("last_token_at")?;
    Ok(UnregisteredClient {
        client_id: match row.text("client_id")?.as_str() {
            SUM => None,
            text => Some(OauthClientId::parse(text).map_err(|_| row.corrupt("client_id"))?),
        },
        requests: PassedRequests {
            first_seen_at: row.time("first_seen_at")?,
            last_seen_at: row.time("last_seen_at")?,
            last_token_at: (last_token_at > 0).then(|| Timestamp::from_micros(last_token_at)),
            accepted: row.int("accepted_count")?,
            refused: row.int("refused_count")?,
            failed: row.int("failed_count")?,
            last_status: row.opt_int("last_status")?.and_then(|status| u16::try_from(status).ok()),
            // A method that a later program knows is left out.
            methods: methods.iter().filter_map(|text| PassedMethod::parse(text)).collect(),
            sources: row.parsed("sources", |text| serde_json::from_str(text).ok())?,
        },
    })
}

fn args(environment: &Slug, client_id: &str, requests: &PassedRequests) -> Vec<Value> {
    let methods: Vec<_> = requests.methods.iter().map(|method| method.as_str()).collect();
    vec![
        environment.as_str().into(),
        client_id.into(),
        requests.first_seen_at.into(),
        requests.last_seen_at.into(),
        last_token(requests).into(),
        requests.accepted.into(),
        requests.refused.into(),
        requests.failed.into(),
        requests.last_status.map(i64::from).into(),
        serde_json::json!(methods).to_string().into(),
        serde_json::json!(requests.sources).to_string().into(),
    ]
}

impl Tx {
    /// Adds requests that were passed on. A client is kept by name if the issuer gave it a token, and at most `max_clients`
    /// are; all others are added to the sum.
    pub async fn add_unregistered_clients(
        &mut self,
        environment: &Slug,
        clients: BTreeMap<OauthClientId, PassedRequests>,
        others: Option<PassedRequests>,
        max_clients: usize,
    ) -> Result<(), StoreError> {
        let names = clients.keys().map(OauthClientId::as_str).chain([SUM]);
        let keys: Vec<_> = names.map(|name| vec![environment.as_str().into(), name.into()]).collect();
        let mut stored = BTreeMap::new();
        for row in self.look_up(OF, &keys).await? {
            let UnregisteredClient { client_id, requests } = unregistered(&row)?;
            stored.insert(client_id, requests);
        }
        let count = self.one(COUNT, vec![environment.as_str().into()]).await?.int("clients")?;
        let mut room = max_clients.saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
        let (mut rows, mut sum) = (Vec::new(), others);
        for (client_id, requests) in clients {
            let before = stored.remove(&Some(client_id.clone()));
            if before.is_none() && (!requests.is_proven() || room == 0) {
                add(&mut sum, requests.unnamed());
                continue;
            }
            if before.is_none() {
                room -= 1;
            }
            let mut after = before;
            add(&mut after, requests);
            rows.extend(after.map(|after| args(environment, client_id.as_str(), &after)));
        }
        if let Some(sum) = sum {
            let mut after = stored.remove(&None);
            add(&mut after, sum.unnamed());
            rows.extend(after.map(|after| args(environment, SUM, &after)));
        }
        self.many(SET, &rows).await.map(drop)
    }

    /// Returns a page of the clients of an environment that are not registered, those with the latest tokens first. The sum
    /// of all that are not kept by name comes last. The sort key is [`UnregisteredClient::key`].
    pub async fn unregistered_clients(
        &mut self,
        environment: &Slug,
        page: &PageStart,
    ) -> Result<Vec<UnregisteredClient>, StoreError> {
        let mut args = page.args();
        args.push(environment.as_str().into());
        self.rows(LIST, args).await?.iter().map(unregistered).collect()
    }

    /// Deletes a client that is registered now.
    pub async fn delete_unregistered_client(
        &mut self,
        environment: &Slug,
        client_id: &OauthClientId,
    ) -> Result<(), StoreError> {
        self.execute(DELETE, vec![environment.as_str().into(), client_id.as_str().into()]).await.map(drop)
    }

    /// Deletes all clients of an environment that are not registered.
    pub async fn delete_unregistered_clients(&mut self, environment: &Slug) -> Result<(), StoreError> {
        self.execute(DELETE_OF, vec![environment.as_str().into()]).await.map(drop)
    }

    /// Deletes the clients that got no token since `before`, the sums without a request since then, and the clients that are
    /// registered by now.
    pub async fn forget_unregistered_clients(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        let old = self.execute(DELETE_OLD, vec![before.into()]).await?;
        Ok(old + self.execute(DELETE_REGISTERED, vec![]).await?)
    }
}

fn add(to: &mut Option<PassedRequests>, requests: PassedRequests) {
    match to {
        Some(own) => own.merge(requests),
        None => *to = Some(requests),
    }
}
