//! What the Console shows of a registration: its secrets, their history and their callers, on one snapshot after one
//! flush of the evidence.

use crate::{
    app::App,
    clients::frame::{ClientFrame, FrameRows},
    drills::list::drills_of,
    error::{Error, unavailable},
    frame::{
        cursor::{ListQuery, Start},
        principal::Principal,
        targets::{RegistrationPath, Site},
    },
    people::abilities::Abilities,
    registrations::registration::{shown_registration, tokens_end},
    secrets::{
        list::RotationLine,
        seen::{is_seen_by_owner, may_see, shown_seen},
    },
};
use crossfade_core::{
    Operation, Timestamp,
    api::{self, ChangeOver, Page},
    rotation::SecretState,
};
use crossfade_store::Tx;
use std::collections::BTreeSet;

/// Which part of the history is asked for.
#[derive(Clone, Debug, Default)]
pub struct HistoryQuery {
    /// Limit and cursor. A cursor is valid only for the order that it was issued for.
    pub list: ListQuery,
    /// Whether the oldest rotation comes first.
    pub oldest_first: bool,
    /// Maximum number of callers.
    pub callers: String,
}

/// The state of a registration.
#[derive(Clone, Debug)]
pub struct Security {
    /// Time of the snapshot.
    pub now: Timestamp,
    /// What every page of the client shows.
    frame: FrameRows,
    /// The registration.
    pub registration: api::Registration,
    /// Its version.
    pub version: i64,
    /// Its valid secrets: the current one and the retiring one.
    pub secrets: Vec<api::Secret>,
    /// A page of its rotations.
    pub history: Page<RotationLine>,
    /// Its latest rotation.
    pub latest: Option<RotationLine>,
    /// The drills of the transitions among these rotations.
    pub drills: Vec<api::Drill>,
    /// Its callers, by secret.
    pub usage: Page<api::Usage>,
    /// Its latest change-over; `None` if it was never rotated.
    pub change_over: Option<ChangeOver>,
    /// Callers that were refused lately with a secret of the shown rotations that is not the one of the latest change-over.
    pub refused_earlier: Vec<api::RefusedCaller>,
    /// When the last token that can have been issued by now expires, for a resource server that validates offline.
    pub last_token_ends_at: Timestamp,
    /// Whether an owner of the client has marked the latest transition as seen.
    pub seen_by_owner: bool,
}

impl App {
    /// Returns the state of a registration, which can be up to 1 second old but not older than the last change of its
    /// client, of its environment or of itself, the frame of the page, and what the principal can do about the registration. Fails if a transition runs and the evidence to judge it by cannot be stored.
    pub async fn read_security(
        &self,
        principal: &Principal,
        path: RegistrationPath<'_>,
        query: &HistoryQuery,
    ) -> Result<(ClientFrame, Security, Abilities), Error> {
        let order = if query.oldest_first { "rotations, oldest first" } else { "rotations" };
        let history = self.cursors.start(path.list(order), &query.list)?;
        let latest = ListQuery { limit: Some("1".to_owned()), cursor: None };
        let latest = self.cursors.start(path.list("rotations"), &latest)?;
        let callers = ListQuery { limit: Some(query.callers.clone()), cursor: None };
        let callers = self.cursors.start(path.list("usage"), &callers)?;
        // What is used while evidence is being written down is not judged, so that the answer is of the time before.
        let before = self.clock.now();
        // The turn of the account covers the wait for a reading that another request computes.
        let _turn_of_account = self.reads.account_turn(principal.user()).await?;
        let access = async |tx: &mut Tx, principal: &Principal, site: Site| {
            let see = may_see(tx, principal, &site).await?;
            let may = Abilities { see, ..Abilities::of(principal, site.object()) };
            let versions = [site.client.version, site.environment.version];
            // Never an older one, because the person who has just said so sees the page next.
            let latest = tx.latest_rotations(&[&site.registration.id]).await?;
            let seen = tx.seen_by(&latest.iter().map(|rotation| &rotation.id).collect::<Vec<_>>()).await?;
            let owners = site.client.owners.clone();
            let key = (site.registration.id, site.registration.version, versions);
            Ok((key, (seen, owners), principal.clone(), may))
        };
        let ((registration, version, versions), (mut seen, owners), principal, may) =
            self.view(Operation::ReadChangeOver, principal, path, access).await?;
        let principal = &principal;
        let compute = async || {
            let _turn = self.reads.turn().await?;
            let stored = match self.node.changes.failing() {
                Some(fault) => Err(unavailable(fault).into()),
                None => self.store_for_judgement().await,
            };
            self.view(Operation::ReadChangeOver, principal, path, async |tx, _, site: Site| {
                let read =
                    self.security(tx, &site, (&history, query.oldest_first), (&latest, &callers), before);
                let read = read.await?;
                if read.secrets.iter().any(|it| it.state == SecretState::Retiring) {
                    stored?;
                }
                Ok(read)
            })
            .await
        };
        let key = (registration, format!("{query:?} {versions:?}"), version);
        let mut read = self.securities.get(key, || self.clock.now(), compute).await?;
        if let Some(latest) = &mut read.latest {
            let rows = seen.remove(&latest.rotation.id).unwrap_or_default();
            read.seen_by_owner = is_seen_by_owner(&rows, &owners);
            latest.rotation.seen = rows.into_iter().map(shown_seen).collect();
        }
        Ok((read.frame.shown(self, principal), read, may))
    }

    async fn security(
        &self,
        tx: &mut Tx,
        site: &Site,
        (history, oldest_first): (&Start<'_>, bool),
        (latest, callers): (&Start<'_>, &Start<'_>),
        before: Timestamp,
    ) -> Result<Security, Error> {
        let now = self.clock.now();
        let history = self.rotation_lines(tx, site, (history, oldest_first), now).await?;
        let latest = self.rotation_lines(tx, site, (latest, false), now).await?.items.pop();
        let outgoing = history.items.iter().chain(&latest).map(|line| &line.rotation.outgoing_secret.id);
        let outgoing: BTreeSet<_> = outgoing.cloned().collect();
        let valid = tx.valid_secrets_of(&site.registration.id, now).await?;
        let change_over = self.change_over(tx, site, None, None, before).await?;
        Ok(Security {
            now,
            frame: FrameRows::load(self, tx, site.client.clone()).await?,
            registration: shown_registration(self, &site.registration, &site.environment),
            version: site.registration.version,
            secrets: valid.iter().map(|row| self.shown_secret(row, now)).collect(),
            drills: drills_of(tx, site, &outgoing.into_iter().collect::<Vec<_>>(), now).await?,
            usage: self.usage(tx, site, None, callers, now).await?,
            refused_earlier: change_over.as_ref().map(|it| it.refused_earlier.clone()).unwrap_or_default(),
            change_over,
            last_token_ends_at: tokens_end(&site.registration, now),
            // Read with the permissions of each reader, so that a mark is shown on the next page.
            seen_by_owner: false,
            history,
            latest,
        })
    }
}
