//! The first page of the Console: running transitions with their verdicts, and overdue secrets, on one snapshot.

use crate::{
    app::App,
    clients::{client::ClientQuery, lines::readable},
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
use crossfade_store::{ClientFilter, ClientLine, ClientOrder, Environment, RegistrationLine, Tx};

/// Maximum number of transitions that are read at a time and listed.
const MOST_TRANSITIONS: i64 = 500;
/// Maximum number of reads for principals who can read only few of many.
const MOST_READINGS: usize = 40;
/// Number of transitions that are judged, those that end next.
const MOST_JUDGED: usize = 100;
/// Number of clients with an overdue secret that are read.
const MOST_OVERDUE: &str = "200";
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
        let (one, some) = (first("1"), first(MOST_OVERDUE));
        let (one, some) = (self.cursors.start("overview", &one)?, self.cursors.start("overview", &some)?);
        self.read(async |tx| {
            let now = self.clock.now();
            let principal = &principal.refreshed(tx, now).await?;
            let any = (&ClientFilter::default(), ClientOrder::Name);
            let any = self.client_lines(tx, principal, any, &one).await?;
            let late = (&late, ClientOrder::OldestSecret);
            let late = self.client_lines(tx, principal, late, &some).await?;
            let environments = tx.environments().await?;
            let of = |line| overdue(principal, line, &environments, now);
            let mut overdue: Vec<OverdueSecret> = late.items.iter().flat_map(of).collect();
            overdue.sort_by_key(|it| it.due_at);
            let more_overdue = late.next_cursor.is_some() || overdue.len() > MOST_OVERDUE_SHOWN;
            overdue.truncate(MOST_OVERDUE_SHOWN);
            Ok(Overview {
                now,
                environments: self.all_environments(tx).await?,
                transitions: self.running_transitions(tx, principal, now).await?,
                overdue,
                more_overdue,
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
        let mut transitions = Vec::with_capacity(found.len());
        for (at, line) in found.into_iter().enumerate() {
            // A corrupt row must not hide the others. The deadline guard reports it.
            let assessment = match at < MOST_JUDGED {
                true => self.judge_line(tx, &line, now).await.ok().flatten(),
                false => None,
            };
            transitions.push(RunningTransition { line, assessment });
        }
        Ok(transitions)
    }

    async fn judge_line(
        &self,
        tx: &mut Tx,
        line: &ClientLine,
        now: Timestamp,
    ) -> Result<Option<Assessment>, Error> {
        let Some(it) = line.registrations.first() else { return Ok(None) };
        let Some(registration) = tx.registration(&line.id, &it.environment).await? else { return Ok(None) };
        let Some(transition) = Transition::latest(tx, &registration.id, now).await? else { return Ok(None) };
        let tried = self.node.unflushed_try(&transition.old.rule.id);
        Ok(Some(transition.assess(&registration, None, tried, now)))
    }
}
