//! `crossfade webhook …`

use super::{
    Remote,
    times::hours,
    values::{item, new_file, one_of},
};
use clap::{Args, Subcommand};
use crossfade_core::{TransitionHours, webhook::WebhookFormat};
use std::path::PathBuf;

#[derive(Subcommand)]
pub(crate) enum Webhook {
    /// List the webhooks that you can manage.
    List(Remote),
    /// Show a webhook.
    Show {
        /// Webhook ID (wh_…) or name.
        webhook: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Create a webhook for a client, a property or the platform. Its signing secret is shown in the reply only.
    Create(CreateWebhook),
    /// Change, disable or enable a webhook.
    Update(UpdateWebhook),
    /// Delete a webhook and its deliveries.
    Delete {
        /// Webhook ID (wh_…) or name.
        webhook: String,
        /// Webhook name, to confirm. Prompted for on a terminal if omitted.
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Generate a new signing secret. It is shown in the reply only.
    RotateSecret {
        /// Webhook ID (wh_…) or name.
        webhook: String,
        /// Time for which the earlier secret signs as well: whole hours from 0 to 168, such as 24h or 24.
        #[arg(long, value_name = "DURATION", value_parser = hours)]
        overlap: TransitionHours,
        /// End the earlier secret of a running overlap. Without it, the command is refused while two secrets sign.
        #[arg(long)]
        end_running_overlap: bool,
        #[command(flatten)]
        secret: SigningSecret,
        #[command(flatten)]
        remote: Remote,
    },
    /// List the deliveries of a webhook, newest first.
    Deliveries {
        /// Webhook ID (wh_…) or name.
        webhook: String,
        /// Maximum number of deliveries.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        remote: Remote,
    },
    /// Send a delivery again under its ID.
    Replay {
        /// Webhook ID (wh_…) or name.
        webhook: String,
        /// Delivery ID (del_…).
        delivery: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Send a test message to a webhook.
    Test {
        /// Webhook ID (wh_…) or name.
        webhook: String,
        #[command(flatten)]
        remote: Remote,
    },
}

/// Destination of a signing secret, opened before anything is changed.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SigningSecret {
    /// Write the signing secret to a new file that only you can read.
    #[arg(long, value_name = "FILE", value_parser = new_file())]
    pub(crate) output: Option<PathBuf>,
    /// Print the signing secret on stdout.
    #[arg(long)]
    pub(crate) show: bool,
}

#[derive(Args)]
pub(crate) struct CreateWebhook {
    /// Name to recognise the webhook by.
    pub(crate) name: String,
    /// URL to send messages to, or - to read it from stdin, because other users of this machine can read
    /// command-line arguments. Defaults to PagerDuty for that format.
    #[arg(long)]
    pub(crate) to: Option<String>,
    /// Client that the webhook gets messages about (ID, unique name or OAuth client_id).
    #[arg(long, conflicts_with = "property")]
    pub(crate) client: Option<String>,
    /// Property whose clients the webhook gets messages about (ID or name). Without it and without --client,
    /// the webhook gets the messages of the platform.
    #[arg(long)]
    pub(crate) property: Option<String>,
    /// Environment slug. Repeatable. Defaults to all environments.
    #[arg(long, value_delimiter = ',', value_parser = item)]
    pub(crate) env: Vec<String>,
    /// Kind of event, such as secret.rotated. Repeatable. Defaults to all kinds.
    #[arg(long, value_delimiter = ',', value_parser = item)]
    pub(crate) event: Vec<String>,
    /// Form of the messages.
    #[arg(long, default_value = "standard", value_parser = one_of(WebhookFormat::ALL, WebhookFormat::as_str))]
    pub(crate) format: WebhookFormat,
    /// File that holds the integration key of the PagerDuty service.
    #[arg(long, value_name = "FILE")]
    pub(crate) routing_key_file: Option<PathBuf>,
    /// Name of the client or property, to confirm; platform for a webhook of the platform. Prompted for on a
    /// terminal if omitted.
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
    #[command(flatten)]
    pub(crate) secret: SigningSecret,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
pub(crate) struct UpdateWebhook {
    /// Webhook ID (wh_…) or name.
    pub(crate) webhook: String,
    #[command(flatten)]
    pub(crate) change: WebhookChange,
    /// Name of the client or property, to confirm a new URL or routing key, more environments or more events, or to
    /// disable a webhook that is an owner; platform for a webhook of the platform. Prompted for on a terminal if omitted.
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(crate) struct WebhookChange {
    /// New name.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// New URL, or - to read it from stdin.
    #[arg(long)]
    pub(crate) to: Option<String>,
    /// Environment slug. Repeatable. Replaces the current environments.
    #[arg(long, value_delimiter = ',', value_parser = item, conflicts_with = "all_environments")]
    pub(crate) env: Vec<String>,
    /// Get messages about all environments.
    #[arg(long)]
    pub(crate) all_environments: bool,
    /// Kind of event. Repeatable. Replaces the current kinds.
    #[arg(long, value_delimiter = ',', value_parser = item, conflicts_with = "all_events")]
    pub(crate) event: Vec<String>,
    /// Get messages about all kinds of events.
    #[arg(long)]
    pub(crate) all_events: bool,
    /// File that holds a new integration key of the PagerDuty service.
    #[arg(long, value_name = "FILE")]
    pub(crate) routing_key_file: Option<PathBuf>,
    /// Send messages again. Abandoned deliveries are not sent.
    #[arg(long, conflicts_with = "disable")]
    pub(crate) enable: bool,
    /// Send no more messages. Waiting deliveries are abandoned.
    #[arg(long)]
    pub(crate) disable: bool,
}
