//! People and groups as a provider reads them.

use crate::app::App;
use crossfade_core::{
    ProviderId, ScimGroupId, Timestamp,
    scim::{Resource, shown_group, shown_user},
};
use crossfade_store::{ScimGroupRow, ScimMemberRow, ScimUserRow};
use serde_json::{Map, Value, json};

/// A resource and its version.
#[derive(Clone, PartialEq, Debug)]
pub struct ScimResource {
    /// The resource as it is shown.
    pub shown: Value,
    /// Its URI.
    pub location: String,
    /// Its ETag.
    pub tag: String,
}

/// Returns the ETag of a version.
fn tag(version: i64) -> String {
    format!("W/\"{version}\"")
}

impl App {
    /// Returns the base URL at which a provider provisions.
    pub(crate) fn scim_url(&self, provider: &ProviderId) -> String {
        format!("{}/scim/v2/{provider}", self.admin_url)
    }

    fn complete(
        &self,
        mut shown: Map<String, Value>,
        (of, provider, id): (Resource, &ProviderId, &str),
        (created_at, updated_at, version): (Timestamp, Timestamp, i64),
    ) -> ScimResource {
        let location = format!("{}/{}/{id}", self.scim_url(provider), of.endpoint());
        shown.insert("id".to_owned(), id.into());
        let meta = json!({
            "resourceType": of.name(), "created": created_at, "lastModified": updated_at, "location": location, "version": tag(version),
        });
        shown.insert("meta".to_owned(), meta);
        ScimResource { shown: Value::Object(shown), location, tag: tag(version) }
    }

    /// Returns a person with their groups.
    pub(super) fn scim_user_shown(
        &self,
        row: &ScimUserRow,
        groups: &[(ScimGroupId, String)],
    ) -> ScimResource {
        let mut shown = shown_user(&row.body);
        if !groups.is_empty() {
            let base = self.scim_url(&row.provider_id);
            let group = |(id, name): &(ScimGroupId, String)| json!({"value": id, "display": name, "$ref": format!("{base}/Groups/{id}")});
            shown.insert("groups".to_owned(), groups.iter().map(group).collect());
        }
        let times = (row.created_at, row.updated_at, row.version);
        self.complete(shown, (Resource::User, &row.provider_id, row.id.as_str()), times)
    }

    /// Returns a group with its members, if they were read.
    pub(super) fn scim_group_shown(&self, row: &ScimGroupRow, members: &[ScimMemberRow]) -> ScimResource {
        let mut shown = shown_group(&row.body);
        if !members.is_empty() {
            let base = self.scim_url(&row.provider_id);
            let member =
                |it: &ScimMemberRow| json!({"value": it.id, "$ref": format!("{base}/Users/{}", it.id)});
            shown.insert("members".to_owned(), members.iter().map(member).collect());
        }
        let times = (row.created_at, row.updated_at, row.version);
        self.complete(shown, (Resource::Group, &row.provider_id, row.id.as_str()), times)
    }
}
