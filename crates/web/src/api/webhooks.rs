//! `/webhooks`.

use super::{
    call::{Call, Ids},
    reply::{created, done, ok, page, tagged},
    schema::{Schemas, Shape, nothing},
};
use crate::reply::Reply;
use crossfade_app::WebhookPath;
use crossfade_core::{api, webhook::WebhookFormat};

pub(super) async fn list(call: Call) -> Reply {
    let webhooks = call.app.list_webhooks(&call.principal, &call.list(&[])?).await?;
    page(&call.uri, &webhooks)
}

pub(super) fn list_shape(schemas: &mut Schemas) -> Shape {
    schemas.list::<api::Webhook>(&[])
}

pub(super) async fn create(call: Call) -> Reply {
    tagged(created, &call.app.create_webhook(&call.request(), call.input()?).await?)
}

pub(super) fn create_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.tagged::<api::Webhook>(201);
    let example = api::CreateWebhook {
        name: "Rotations".into(),
        url: Some("https://hooks.example.com/crossfade".into()),
        environments: vec!["production".into()],
        events: vec!["secret.rotated".into(), "secret.expired".into()],
        format: WebhookFormat::Standard,
        confirm_name: "platform".into(),
        ..api::CreateWebhook::default()
    };
    schemas.reads(shape, &example)
}

pub(super) async fn read(Ids(webhook): Ids<String>, call: Call) -> Reply {
    tagged(ok, &call.app.read_webhook(&call.principal, WebhookPath(&webhook)).await?)
}

pub(super) fn read_shape(schemas: &mut Schemas) -> Shape {
    schemas.tagged::<api::Webhook>(200)
}

pub(super) async fn update(Ids(webhook): Ids<String>, call: Call) -> Reply {
    tagged(ok, &call.app.update_webhook(&call.request(), WebhookPath(&webhook), call.input()?).await?)
}

pub(super) fn update_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.tagged::<api::Webhook>(200);
    schemas.reads(shape, &api::UpdateWebhook { enabled: Some(false), ..api::UpdateWebhook::default() })
}

pub(super) async fn delete(Ids(webhook): Ids<String>, call: Call) -> Reply {
    done(call.app.delete_webhook(&call.request(), WebhookPath(&webhook), call.deletion()).await?)
}

pub(super) fn delete_shape(_: &mut Schemas) -> Shape {
    nothing(204)
}

pub(super) async fn rotate_secret(Ids(webhook): Ids<String>, call: Call) -> Reply {
    tagged(ok, &call.app.rotate_webhook_secret(&call.request(), WebhookPath(&webhook), call.input()?).await?)
}

pub(super) fn rotate_secret_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.tagged::<api::Webhook>(200);
    schemas.reads(shape, &api::RotateWebhookSecret { overlap_hours: Some(24.into()), ..Default::default() })
}

pub(super) async fn test(Ids(webhook): Ids<String>, call: Call) -> Reply {
    created(&call.app.test_webhook(&call.request(), WebhookPath(&webhook), call.optional_input()).await?)
}

pub(super) fn test_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.answers::<api::WebhookDelivery>(201);
    Shape { body_optional: true, ..schemas.reads(shape, &api::TestWebhook {}) }
}

pub(super) async fn list_deliveries(Ids(webhook): Ids<String>, call: Call) -> Reply {
    let query = call.list(&[])?;
    let deliveries = call.app.list_deliveries(&call.principal, WebhookPath(&webhook), &query).await?;
    page(&call.uri, &deliveries)
}

pub(super) fn list_deliveries_shape(schemas: &mut Schemas) -> Shape {
    schemas.list::<api::WebhookDelivery>(&[])
}

pub(super) async fn replay(Ids((webhook, delivery)): Ids<(String, String)>, call: Call) -> Reply {
    let path = WebhookPath(&webhook);
    ok(&call.app.replay_delivery(&call.request(), path, &delivery, call.optional_input()).await?)
}

pub(super) fn replay_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.answers::<api::WebhookDelivery>(200);
    Shape { body_optional: true, ..schemas.reads(shape, &api::ReplayDelivery {}) }
}
