//! The list of environments, in their order.

use crate::console::{
    clients::belongs_to_form,
    environment::EnvironmentBadge,
    error::status,
    form::{Fields, Form},
    layout::{Layout, Section},
    message::redirect_with,
    page, page_with,
    session::{SignedIn, Submitted},
};
use crate::reply::{Refused, Reply};
use askama::Template;
use crossfade_app::{Input, Numbers};
use crossfade_core::{
    api,
    api::CreateEnvironment,
    environment::{EnvironmentKind, SigningAlg},
    roles::Permission,
};

#[derive(Template)]
#[template(path = "console/environments/list.html")]
struct ListPage {
    layout: Layout,
    environments: Vec<(EnvironmentBadge, api::Environment, Numbers)>,
    may_manage: bool,
    create: Form,
}

async fn load(signed: &SignedIn) -> Result<ListPage, Refused> {
    let environments = signed.app.read_environment_list(signed.principal()).await?;
    let fields =
        Fields::default().with("slug", "").with("name", "").with("kind", "test").with("signing_alg", "ES256");
    Ok(ListPage {
        layout: signed.layout(Section::Environments, "Environments"),
        environments: environments
            .into_iter()
            .enumerate()
            .map(|(at, (it, numbers))| (EnvironmentBadge::new(&it.name, it.kind, at), it, numbers))
            .collect(),
        may_manage: signed.principal().may_somewhere(Permission::EnvironmentManage),
        create: Form::new("create", fields),
    })
}

pub(in crate::console) async fn show(signed: SignedIn) -> Reply {
    let mut shown = load(&signed).await?;
    let done = match signed.said() {
        "created" => Some("The environment was created with its own signing key."),
        "deleted" => Some("The environment was deleted."),
        _ => None,
    };
    shown.layout = shown.layout.done(done);
    Ok(page(&shown))
}

pub(super) fn kind(fields: &Fields) -> EnvironmentKind {
    if fields.text("kind") == "live" { EnvironmentKind::Live } else { EnvironmentKind::Test }
}

pub(super) fn algorithm(fields: &Fields) -> Option<SigningAlg> {
    let all = [SigningAlg::ES256, SigningAlg::EdDSA, SigningAlg::RS256];
    all.into_iter().find(|it| it.as_str() == fields.text("signing_alg"))
}

pub(in crate::console) async fn create(Submitted { signed, fields }: Submitted) -> Reply {
    let body = CreateEnvironment {
        slug: fields.text("slug").to_owned(),
        name: fields.text("name").to_owned(),
        kind: kind(&fields),
        signing_alg: algorithm(&fields),
    };
    match signed.app.create_environment(&signed.request(), Input::Value(body)).await {
        Ok(_) => Ok(redirect_with("/console/environments", "created")),
        Err(error) if belongs_to_form(&error.problem) => {
            let mut shown = load(&signed).await?;
            let answer = status(&error.problem);
            shown.create = Form::new("create", fields).refused(error.problem);
            Ok(page_with(answer, &shown))
        }
        Err(error) => Err(error.into()),
    }
}
