//! The checks of `demo --quick`: that the Console shows everything that the demo promises.

use super::{
    cast::{CLIENTS, Fate, PEOPLE},
    past::{Present, email},
};
use crate::{
    failure::Failure,
    output,
    remote::{Api, form_encode},
};
use crossfade_core::{
    api::{AuditEvent, ChangeOver, Client, Property, Rotation, User},
    rotation::EndedAs,
};
use reqwest::{StatusCode, redirect::Policy};
use std::time::Duration;

/// Fails at the first missing thing.
pub(super) async fn check(api: &Api, url: &str, password: &str, present: &Present) -> Result<(), Failure> {
    let clients: Vec<Client> = api.list("/clients", usize::MAX).await?;
    let properties: Vec<Property> = api.list("/properties", usize::MAX).await?;
    expect(clients.len() == 40 && properties.len() == 6, "40 clients in 6 properties")?;

    let overdue: Vec<Client> = api.list("/clients?overdue=true", usize::MAX).await?;
    let expected = CLIENTS.iter().filter(|seed| seed.fate == Fate::Overdue).count();
    expect(expected >= 5 && overdue.len() == expected, "the planned number of overdue secrets")?;

    let mut verdicts = Vec::new();
    for seed in &CLIENTS {
        let Fate::Transition(transition) = seed.fate else { continue };
        let (client, ..) = present.of(seed.name)?;
        let path = format!("/clients/{client}/environments/production/change-over");
        let change: ChangeOver = api.get(&path).await?;
        output::data(&format!("  {:<16} {}\n", seed.name, change.summary))?;
        expect(change.verdict == transition.verdict, &format!("{} with its planned verdict", seed.name))?;
        verdicts.push(change.verdict);
    }
    verdicts.sort_by_key(|verdict| verdict.as_str());
    verdicts.dedup();
    expect(verdicts.len() >= 4, "transitions with different verdicts")?;

    let mut endings = Vec::new();
    for seed in &CLIENTS {
        let (client, ..) = present.of(seed.name)?;
        let path = format!("/clients/{client}/environments/production/rotations");
        let rotations: Vec<Rotation> = api.list(&path, usize::MAX).await?;
        endings.extend(rotations.into_iter().map(|it| (it.ended_as, it.compromised)));
    }
    let has = |ended_as| endings.iter().any(|(it, _)| *it == ended_as);
    expect(endings.len() > 80, "months of rotations")?;
    expect(
        [EndedAs::Retiring, EndedAs::Expired, EndedAs::Revoked, EndedAs::RolledBack].into_iter().all(has)
            && endings.iter().any(|(_, compromised)| *compromised),
        "rotations that ended in every way",
    )?;
    let told: Vec<AuditEvent> = api
        .list(&format!("/audit-events?{}", form_encode("action", "transition.deadline_near")), 100)
        .await?;
    expect(!told.is_empty(), "a warning of the deadline guard")?;

    let users: Vec<User> = api.list("/users", usize::MAX).await?;
    expect(users.len() == PEOPLE.len() + 2, "an account for each role and a program")?;
    for name in PEOPLE.iter().map(|(name, _)| email(name)).chain([super::OWNER.to_owned()]) {
        signs_in(url, &name, password).await?;
    }
    output::data("  every account signs in\n")
}

/// Signs in as a browser does.
async fn signs_in(url: &str, email: &str, password: &str) -> Result<(), Failure> {
    let unanswered =
        |error: reqwest::Error| Failure::failed(format!("The server does not respond: {error}."));
    let http =
        reqwest::Client::builder().no_proxy().redirect(Policy::none()).timeout(Duration::from_secs(30));
    let http = http.build().map_err(unanswered)?;
    let form = [("email", email), ("password", password), ("to", "/console")];
    let answer = http.post(format!("{url}/console/sign-in")).form(&form).send().await.map_err(unanswered)?;
    let cookies: Vec<_> = answer
        .headers()
        .get_all("set-cookie")
        .iter()
        .filter_map(|it| it.to_str().ok()?.split(';').next().map(str::to_owned))
        .collect();
    let cookies = cookies.join("; ");
    let page =
        http.get(format!("{url}/console")).header("cookie", cookies).send().await.map_err(unanswered)?;
    expect(page.status() == StatusCode::OK, &format!("{email} signs in"))
}

fn expect(holds: bool, what: &str) -> Result<(), Failure> {
    match holds {
        true => Ok(()),
        false => Err(Failure::failed(format!("The demo data is incomplete. Expected: {what}."))),
    }
}
