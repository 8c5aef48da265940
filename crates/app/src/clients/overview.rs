//! The first page of the Console: running transitions with their verdicts, and overdue secrets, on one snapshot.

use crate::{
    app::App,
    clients::{lines::readable, query::ClientQuery},
    error::Error,
    frame::{cursor::ListQuery, principal::Principal},
    secrets::transition::Transition,
};
use crossfade_core::{
    ClientId, Operation, SecretId, Timestamp, api,
    change_over::Assessment,
    environment::Slug,
    roles::{Object, Permission},
    rotation::{due_at, is_overdue},
    text::Name,
};
use crossfade_store::{
    ClientFilter, ClientLine, ClientOrder, Environment, RefusedUpstream, Registration, RegistrationLine, Tx,
};

/// Maximum number of transitions that are read at a time and listed.
const MOST_TRANSITIONS: i64 = 500;
/// Maximum number of reads for principals who can read only few of many.
const MOST_READINGS: usize = 40;
/// Number of transitions that are judged, those that end next.
const MOST_JUDGED: usize = 100;
/// Number of clients with an overdue secret that are read.
const MOST_OVERDUE: &str = "200";
/// Number of clients without an owner that are counted for principals who cannot read every client.
const MOST_OWNERLESS: &str = "20";
/// Number of refused upstream credentials that are read. Those that the principal cannot read are left out of them.
const MOST_REFUSED: i64 = 500;
/// Number of refused upstream credentials that are returned.
const MOST_REFUSED_SHOWN: usize = 20;
/// Number of overdue secrets that are returned.
const MOST_OVERDUE_SHOWN: usize = 20;

/// What needs attention among the clients that the principal can read.
#[derive(Clone, Debug)]
pub struct Overview {
    /// Time of the snapshot.
    pub now: Timestamp,
    /// All environments.
    pub environments: Vec<api::Environment>,
    /// Running transitions, the one that ends next first.
    pub transitions: Vec<RunningTransition>,
    /// Overdue secrets, the one that is overdue longest first.
    pub overdue: Vec<OverdueSecret>,
    /// Whether there are more.
    pub more_overdue: bool,
    /// Upstream credentials that issuers refuse, the one that is refused longest first.
    pub refused_upstream: Vec<RefusedUpstream>,
    /// Number of clients without an owner, and whether there may be more.
    pub ownerless: (u64, bool),
    /// Whether the principal can read any client at all.
    pub has_clients: bool,
}

/// A running transition.
#[derive(Clone, Debug)]
pub struct RunningTransition {
    /// The client, with the registration in question alone.
    pub line: ClientLine,
    /// The verdict; `None` if there are too many transitions, or a stored row is corrupt.
    pub assessment: Option<Assessment>,
}

/// A secret older than its environment's policy allows, and not about to be replaced.
#[derive(Clone, Debug)]
pub struct OverdueSecret {
    /// The client.
    pub client: ClientId,
    /// Its name.
    pub name: Name,
    /// The environment.
    pub environment: Slug,
    /// When the secret was generated.
    pub created_at: Timestamp,
    /// When it was due for rotation.
    pub due_at: Timestamp,
    /// Whether the principal can rotate it.
    pub may_rotate: bool,
}

fn overdue(
    principal: &Principal,
    line: &ClientLine,
    environments: &[Environment],
    now: Timestamp,
) -> Vec<OverdueSecret> {
    let of = |it: &RegistrationLine| {
        let environment = environments.iter().find(|environment| environment.slug == it.environment)?;
        let created_at = it.current_since.filter(|_| it.retiring_until.is_none())?;
        let due_at =
            due_at(created_at, environment.max_age_days).filter(|due| is_overdue(Some(*due), now))?;
        let object = Object::Registration(&line.property_id, &line.id, &it.environment);
        Some(OverdueSecret {
            client: line.id.clone(),
            name: line.name.clone(),
            environment: it.environment.clone(),
            created_at,
            due_at,
            may_rotate: principal.may(Permission::SecretRotate, object),
        })
    };
    line.registrations.iter().filter_map(of).collect()
}

/// Returns the deadline of the retiring secret, and its id.
fn ends(line: &RegistrationLine) -> Option<(Timestamp, SecretId)> {
    Some((line.retiring_until?, line.retiring.clone()?))
}

impl App {
    /// Returns what needs attention. Empty for a principal who can read no client.
    pub async fn read_overview(&self, principal: &Principal) -> Result<Overview, Error> {
        // Evidence is flushed for those alone who may read any of it.
        let principal = &self.read(async |tx| principal.refreshed(tx, self.clock.now()).await).await?;
        let _turns = self.costly(Operation::ListClients, principal).await?;
        if principal.may_somewhere(Permission::ClientRead) {
            self.store_evidence().await;
        }
        let late = ClientQuery { overdue: Some("true".into()), ..ClientQuery::default() }.filter(self)?;
        let first = |limit: &str| ListQuery { limit: Some(limit.to_owned()), cursor: None };
        let lone = ClientQuery { ownerless: Some("true".into()), ..ClientQuery::default() }.filter(self)?;
        let (one, some, few) = (first("1"), first(MOST_OVERDUE), first(MOST_OWNERLESS));
        let (one, some) = (self.cursors.start("overview", &one)?, self.cursors.start("overview", &some)?);
        let few = self.cursors.start("overview", &few)?;
        self.read(async |tx| {
            let now = self.clock.now();
            let principal = &principal.refreshed(tx, now).await?;
            let any = (&ClientFilter::default(), ClientOrder::Name);
            let any = self.client_lines(tx, principal, any, &one).await?;
            let late = (&late, ClientOrder::OldestSecret);
            let late = self.client_lines(tx, principal, late, &some).await?;
            let ownerless = match principal.may(Permission::ClientRead, Object::Platform) {
                true => (tx.ownerless_clients().await?.unsigned_abs(), false),
                false => {
                    let lone = (&lone, ClientOrder::Name);
                    let found = self.client_lines(tx, principal, lone, &few).await?;
                    (found.items.len() as u64, found.next_cursor.is_some())
                }
            };
            let environments = tx.environments().await?;
            let of = |line| overdue(principal, line, &environments, now);
            let mut overdue: Vec<OverdueSecret> = late.items.iter().flat_map(of).collect();
            overdue.sort_by_key(|it| it.due_at);
            let more_overdue = late.next_cursor.is_some() || overdue.len() > MOST_OVERDUE_SHOWN;
            overdue.truncate(MOST_OVERDUE_SHOWN);
            let mut refused_upstream = tx.refused_upstream_credentials(MOST_REFUSED).await?;
            refused_upstream.retain(|it| {
                let object = Object::Registration(&it.property_id, &it.client_id, &it.environment);
                principal.may(Permission::ClientRead, object)
            });
            refused_upstream.truncate(MOST_REFUSED_SHOWN);
            Ok(Overview {
                now,
                refused_upstream,
                environments: self.all_environments(tx).await?,
                transitions: self.running_transitions(tx, principal, now).await?,
                overdue,
                more_overdue,
                ownerless,
                has_clients: !any.items.is_empty(),
            })
        })
        .await
    }

    async fn running_transitions(
        &self,
        tx: &mut Tx,
        principal: &Principal,
        now: Timestamp,
    ) -> Result<Vec<RunningTransition>, Error> {
        let (mut found, mut after) = (Vec::new(), None);
        for _ in 0..MOST_READINGS {
            let lines = tx.transitions(now, after.as_ref(), MOST_TRANSITIONS).await?;
            let last = lines.last().filter(|_| lines.len() as i64 == MOST_TRANSITIONS);
            after = last.and_then(|line| line.registrations.first()).and_then(ends);
            let readable = lines.into_iter().filter_map(|line| readable(principal, line));
            found.extend(readable.filter(|line| !line.registrations.is_empty()));
            if after.is_none() || found.len() as i64 >= MOST_TRANSITIONS {
                break;
            }
        }
        found.truncate(MOST_TRANSITIONS as usize);
        let judged = &found[..found.len().min(MOST_JUDGED)];
        let mut assessments = match self.judge_lines(tx, judged, now).await {
            Ok(assessments) => assessments,
            Err(_) => self.judge_each_line(tx, judged, now).await,
        };
        assessments.resize(found.len(), None);
        let transition = |(line, assessment)| RunningTransition { line, assessment };
        Ok(found.into_iter().zip(assessments).map(transition).collect())
    }

    /// Judges the transition of each line, with a fixed number of statements.
    async fn judge_lines(
        &self,
        tx: &mut Tx,
        lines: &[ClientLine],
        now: Timestamp,
    ) -> Result<Vec<Option<Assessment>>, Error> {
        let clients: Vec<_> = lines.iter().map(|line| &line.id).collect();
        let of_clients = tx.registrations_of(&clients).await?;
        let registration = |line: &ClientLine| {
            let environment = &line.registrations.first()?.environment;
            of_clients.get(&line.id)?.iter().find(|it| it.environment == *environment)
        };
        let registrations: Vec<Option<&Registration>> = lines.iter().map(registration).collect();
        let ids: Vec<_> = registrations.iter().flatten().map(|it| &it.id).collect();
        let transitions = Transition::latest_of(tx, &ids, now).await?;
        let judge = |registration: &Registration| {
            let transition = transitions.get(&registration.id)?;
            let tried = self.node.unflushed_try(&transition.old.rule.id);
            Some(transition.assess(registration, None, tried, now))
        };
        Ok(registrations.into_iter().map(|it| it.and_then(judge)).collect())
    }

    /// Judges each line on its own, because a corrupt row must not hide the others. The deadline guard reports it.
    async fn judge_each_line(
        &self,
        tx: &mut Tx,
        lines: &[ClientLine],
        now: Timestamp,
    ) -> Vec<Option<Assessment>> {
        let mut assessments = Vec::with_capacity(lines.len());
        for line in lines {
            let judged = self.judge_lines(tx, std::slice::from_ref(line), now).await;
            assessments.push(judged.ok().and_then(|mut judged| judged.pop().flatten()));
        }
        assessments
    }
}
