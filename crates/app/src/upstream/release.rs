//! The way back: how the callers of a client go back to the issuer that its environment is in front of.

use super::credential::{audit, upstream_of};
use crate::{
    app::App,
    error::Error,
    frame::{
        idempotency::Repeatable,
        request::{NoInput, Request},
        targets::{RegistrationPath, Site},
    },
};
use crossfade_core::{
    Operation, api::UpstreamRelease, audit::Event, secret::SecretOrigin, upstream::Upstream,
};

impl Repeatable for UpstreamRelease {}

impl App {
    /// Says how the callers of a client go back to the upstream issuer. Nothing is done, and no secret is in it.
    pub async fn release_upstream_credential(
        &self,
        request: &Request<'_>,
        path: RegistrationPath<'_>,
        input: NoInput<'_>,
    ) -> Result<UpstreamRelease, Error> {
        let operation = Operation::ReleaseUpstreamCredential;
        self.change(operation, request, path, async |act, _, site: Site| {
            act.matches_list()?;
            input.check()?;
            let upstream = upstream_of(&site)?;
            // The issuer knows those that were learned, of which there can be two.
            let valid = act.tx.valid_secrets_of(&site.registration.id, act.now).await?;
            let is_ours = valid.is_empty() || valid.iter().any(|it| it.origin == SecretOrigin::Generated);
            let rotated = is_ours && act.tx.newest_rotation_number(&site.registration.id).await? > 0;
            audit(act, &site, &Event::UpstreamReleaseRead { rotated }).await?;
            Ok(release(&site, upstream, rotated))
        })
        .await
    }
}

fn release(site: &Site, upstream: &Upstream, rotated: bool) -> UpstreamRelease {
    // Not its name, which can be anything, also for a shell.
    let (client, environment) = (&site.client.id, &site.environment.slug);
    let token_endpoint =
        upstream.servers.first().map(|server| server.token_endpoint.clone()).unwrap_or_default();
    let command = upstream.kind.sets_given();
    let mut steps = Vec::new();
    if rotated {
        steps.push(
            "The issuer does not know the secrets that callers have now, because Crossfade made them. Do not undo the route \
            before each caller has a secret that the issuer accepts."
                .to_owned(),
        );
    } else {
        steps.push(format!(
            "No secret of this client was rotated here. Callers that still have the issuer\u{2019}s own secret only need the \
            route: undo it, or set their token endpoint to {token_endpoint}. Callers that have the first secret of Crossfade \
            also need the steps below."
        ));
    }
    if command.is_some() {
        let seal = match site.environment.show_once {
            true => {
                "Put the current secret of Crossfade, which is not stored here, into the variable SECRET."
                    .to_owned()
            }
            false => format!(
                "Put the current secret of Crossfade into the variable SECRET. You get it with crossfade secret reveal \
                {client} --env {environment} --output FILE."
            ),
        };
        steps.push(seal);
        steps.push(
            "Set it as the next upstream secret with crossfade upstream set and --next-file. Requests then succeed before and \
            after the issuer knows it."
                .to_owned(),
        );
        steps.push(
            "Set it at the issuer with the command. Replace the words in capitals, and check the command against the \
            documentation of your version."
                .to_owned(),
        );
    } else {
        steps.push(upstream.kind.new_secret().to_owned());
        steps.push(
            "If the issuer then refuses the earlier secret, set the new one as the next upstream secret first, with crossfade \
            upstream set and --next-file. Give the new secret to each caller."
                .to_owned(),
        );
    }
    steps.push(format!(
        "Undo the route, or set the token endpoint of each caller to {token_endpoint}. The page of the secrets shows the callers \
        that still come here."
    ));
    steps.push(
        "Delete the client here when no caller is left. Its upstream credential is deleted with it, and stays valid at the \
        issuer."
            .to_owned(),
    );
    UpstreamRelease { rotated, token_endpoint, steps, command: command.map(str::to_owned) }
}
