//! The commands under `crossfade drill`.

use super::{
    change_over::source,
    confirm::confirmed,
    http::{Api, segment},
    secrets::Site,
};
use crate::{
    cli::{Drill as Command, ScheduleDrill as Schedule, StopDrill as Stop},
    failure::Failure,
    output::{self, fixed, text, time},
};
use crossfade_authority::Clock;
use crossfade_core::{
    Timestamp,
    api::{Drill, RefusedCaller, ScheduleDrill, StopDrill},
};
use reqwest::Method;

/// Runs the command.
pub(crate) async fn drill(command: Command) -> Result<(), Failure> {
    match command {
        Command::Schedule(args) => schedule(args).await,
        Command::List { place, remote } => {
            let site = Site::find(Api::new(&remote)?, &place).await?;
            shown_drills(&drills(&site).await?, remote.json)
        }
        Command::Stop(args) => stop(args).await,
    }
}

async fn schedule(args: Schedule) -> Result<(), Failure> {
    let site = Site::find(Api::new(&args.remote)?, &args.place).await?;
    let what = format!("refuses the old secret of {} in {} during each window", site.name(), args.place.env);
    let confirm = confirmed(args.confirm, &what)?;
    let starts_at = args.start.map(|start| start.resolve(Clock::system().now()));
    let body = ScheduleDrill {
        // The secret that this command expects to refuse.
        secret_id: site.retiring().await?,
        starts_at: starts_at.map(|time| time.to_string()),
        length_seconds: Some(args.length.into()),
        repeat: Some(args.repeat.into()),
        every_seconds: args.every.map(Into::into),
        confirm_client_name: Some(confirm),
        reason: Some(args.reason),
    };
    let drill: Drill = site.api.send(Method::POST, &format!("{}/drills", site.path), &body).await?;
    site.tell_who_is_left().await;
    output::note(&format!(
        "The old secret {} is refused in these windows. To stop the drill: crossfade drill stop '{}' --env \
        {} --running",
        drill.secret_id,
        args.place.client.replace('\'', r"'\''"),
        args.place.env
    ));
    shown_windows(&drill, args.remote.json)
}

async fn stop(args: Stop) -> Result<(), Failure> {
    let site = Site::find(Api::new(&args.remote)?, &args.place).await?;
    let id = match args.drill {
        Some(id) => segment(&id),
        None => {
            let open = drills(&site).await?.into_iter().find(|drill| !drill.state.is_over());
            let text = format!("{} has no scheduled or running drill in {}.", site.name(), args.place.env);
            open.ok_or_else(|| Failure::conflict(text))?.id.to_string()
        }
    };
    let body = StopDrill { reason: args.reason };
    let drill: Drill = site.api.send(Method::DELETE, &format!("{}/drills/{id}", site.path), &body).await?;
    output::note(&format!("Stopped drill {}. The old secret is accepted again.", drill.id));
    if args.remote.json { output::json(&drill) } else { Ok(()) }
}

async fn drills(site: &Site) -> Result<Vec<Drill>, Failure> {
    site.api.list(&format!("{}/drills", site.path), usize::MAX).await
}

fn shown_windows(drill: &Drill, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(drill);
    }
    let row = |(n, window): (usize, &crossfade_core::drill::Window)| {
        vec![(n + 1).to_string(), time(Some(window.from)), time(Some(window.to))]
    };
    let rows = drill.windows.iter().enumerate().map(row).collect();
    output::table(&[fixed("window"), fixed("refused from"), fixed("accepted from")], rows)
}

fn shown_drills(drills: &[Drill], json: bool) -> Result<(), Failure> {
    if json {
        return output::json(&drills);
    }
    let row = |it: &Drill| {
        let begins: Option<Timestamp> = it.windows.first().map(|window| window.from);
        vec![
            it.id.to_string(),
            it.state.as_str().to_owned(),
            it.secret_id.to_string(),
            time(begins),
            time(Some(it.ends_at)),
            it.windows.len().to_string(),
            it.caller_count.to_string(),
            it.refusal_count.to_string(),
            match it.unrecorded_seconds {
                0 => "-".to_owned(),
                seconds => format!("{seconds}s"),
            },
            it.scheduled_by.name().to_owned(),
            it.reason.clone(),
        ]
    };
    output::table(
        &[
            fixed("id"),
            fixed("state"),
            fixed("secret"),
            fixed("starts"),
            fixed("ends"),
            fixed("windows"),
            fixed("found"),
            fixed("refusals"),
            fixed("unrecorded"),
            text("by"),
            text("reason"),
        ],
        drills.iter().map(row).collect(),
    )?;
    let found: Vec<(&Drill, &RefusedCaller)> =
        drills.iter().flat_map(|drill| drill.callers.iter().map(move |caller| (drill, caller))).collect();
    if found.is_empty() {
        return Ok(());
    }
    let row = |(drill, it): (&Drill, &RefusedCaller)| {
        let [from, agent, instance] =
            source(it.source_ip.as_ref(), it.gathered, it.user_agent.as_ref(), it.instance.as_ref());
        vec![
            drill.id.to_string(),
            from,
            agent,
            instance,
            time(Some(it.first_at)),
            time(Some(it.last_at)),
            it.refusal_count.to_string(),
        ]
    };
    output::data("\n")?;
    output::table(
        &[
            fixed("found by"),
            fixed("from"),
            text("agent"),
            text("instance"),
            fixed("first"),
            fixed("last"),
            fixed("refusals"),
        ],
        found.into_iter().map(row).collect(),
    )
}
