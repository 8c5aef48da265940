//! People: what a provider says of them, and how they are shown.

use super::{Operation, Resource, SCIM_TYPE, ScimType, boolean, invalid, member};
use crate::{
    Problem,
    text::{self, Name},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Maximum number of email addresses of a person.
pub const MAX_EMAILS: usize = 20;
/// Maximum number of characters of a text.
const MAX_CHARACTERS: usize = 200;
/// Maximum number of characters of an `externalId`.
const MAX_EXTERNAL_ID: usize = 255;

/// What a provider says of a person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserBody {
    /// Email address of the account.
    pub user_name: String,
    /// Who the person is at the provider.
    pub external_id: String,
    /// Whether the person has an account.
    pub active: bool,
    /// What is stored beside that.
    pub details: UserDetails,
}

/// What is stored of a person beside what is needed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UserDetails {
    /// Name as the provider shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Parts of the name, by the names of the schema.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub name: Map<String, Value>,
    /// Email addresses, by the names of the schema.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub emails: Vec<Map<String, Value>>,
}

impl UserBody {
    /// Reads a person. `claim` is the claim of the ID token whose value is expected as `externalId`, and `active` holds where the
    /// body does not say it, so that nobody comes back by omission.
    pub fn read(body: &Map<String, Value>, claim: &str, active: bool) -> Result<Self, Problem> {
        let Some(external_id) = member(body, "externalId") else {
            return Err(invalid(
                "externalId",
                &format!("is required: the value of the claim {claim} of the person"),
            ));
        };
        let external_id = line("externalId", external_id, MAX_EXTERNAL_ID)?;
        if external_id.is_empty() {
            return Err(invalid(
                "externalId",
                &format!("is required: the value of the claim {claim} of the person"),
            ));
        }
        let user_name = member(body, "userName").ok_or_else(|| invalid("userName", "is required"))?;
        let user_name = line("userName", user_name, 254)?;
        let user_name = text::email("userName", &user_name)
            .map_err(|_| invalid("userName", "must be an email address such as ada@example.com"))?;
        let mut said = body.iter().filter(|(name, _)| name.eq_ignore_ascii_case("active"));
        let active = match (said.next(), said.next()) {
            (None, _) => active,
            (Some((_, value)), None) => {
                boolean(value).ok_or_else(|| invalid("active", "must be true or false"))?
            }
            (Some(_), Some(_)) => return Err(invalid("active", "must be given once")),
        };
        let details = UserDetails {
            display_name: optional_line("displayName", member(body, "displayName"))?,
            name: match member(body, "name") {
                None => Map::new(),
                Some(Value::Object(parts)) => names(parts)?,
                Some(_) => return Err(invalid("name", "must be an object")),
            },
            emails: match member(body, "emails") {
                None => Vec::new(),
                Some(Value::Array(list)) => emails(list)?,
                Some(value) => emails(std::slice::from_ref(value))?,
            },
        };
        let read = Self { user_name, external_id, active, details };
        read.name()?;
        Ok(read)
    }

    /// Returns the name of the account.
    pub fn name(&self) -> Result<Name, Problem> {
        self.details
            .name_of(&self.user_name)
            .map_err(|_| invalid("displayName", "must be a name of at most 200 visible characters"))
    }
}

impl UserDetails {
    /// Returns the name that the provider says; `None` if it says none.
    pub fn said_name(&self) -> Option<String> {
        let part = |name: &str| self.name.get(name).and_then(Value::as_str).unwrap_or_default();
        let parts = format!("{} {}", part("givenName"), part("familyName"));
        let all = [self.display_name.as_deref().unwrap_or_default(), part("formatted"), parts.trim()];
        all.into_iter().find(|text| !text.trim().is_empty()).map(str::to_owned)
    }

    /// Returns the name of the account of the person with this address.
    pub fn name_of(&self, address: &str) -> Result<Name, Problem> {
        let local = address.split('@').next().filter(|local| !local.trim().is_empty()).unwrap_or(address);
        Name::parse("displayName", &self.said_name().unwrap_or_else(|| local.to_owned()))
    }
}

fn line(attribute: &'static str, value: &Value, longest: usize) -> Result<String, Problem> {
    let Value::String(value) = value else { return Err(invalid(attribute, "must be text")) };
    text::line(attribute, value, longest)
        .map_err(|problem| problem.with(SCIM_TYPE, ScimType::InvalidValue.as_str()))
}

/// Reads a text; an empty one is as good as none.
fn optional_line(attribute: &'static str, value: Option<&Value>) -> Result<Option<String>, Problem> {
    let text = value.map(|value| line(attribute, value, MAX_CHARACTERS)).transpose()?;
    Ok(text.filter(|text| !text.is_empty()))
}

fn names(parts: &Map<String, Value>) -> Result<Map<String, Value>, Problem> {
    let mut read = Map::new();
    for name in ["formatted", "givenName", "familyName"] {
        if let Some(text) = optional_line(name, member(parts, name))? {
            read.insert(name.to_owned(), text.into());
        }
    }
    Ok(read)
}

fn emails(list: &[Value]) -> Result<Vec<Map<String, Value>>, Problem> {
    if list.len() > MAX_EMAILS {
        return Err(invalid("emails", &format!("must contain at most {MAX_EMAILS} addresses")));
    }
    let mut read = Vec::new();
    for email in list {
        let Value::Object(email) = email else { return Err(invalid("emails", "must contain objects")) };
        let Some(value) = optional_line("emails", member(email, "value"))? else { continue };
        let mut object = Map::new();
        object.insert("value".to_owned(), value.into());
        if let Some(kind) = optional_line("emails", member(email, "type"))? {
            object.insert("type".to_owned(), kind.into());
        }
        if let Some(primary) = member(email, "primary") {
            let primary =
                boolean(primary).ok_or_else(|| invalid("emails", "must have primary true or false"))?;
            object.insert("primary".to_owned(), primary.into());
        }
        read.push(object);
    }
    if read.iter().filter(|email| email.get("primary") == Some(&Value::Bool(true))).count() > 1 {
        return Err(invalid("emails", "must have at most one primary address"));
    }
    Ok(read)
}

/// Returns a person as they are shown, without `id`, `groups` and `meta`.
pub fn shown_user(body: &UserBody) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("schemas".to_owned(), json!([Resource::User.urn()]));
    shown.insert("externalId".to_owned(), body.external_id.as_str().into());
    shown.insert("userName".to_owned(), body.user_name.as_str().into());
    if let Ok(Value::Object(details)) = serde_json::to_value(&body.details) {
        shown.extend(details);
    }
    shown.insert("active".to_owned(), body.active.into());
    shown
}

/// Changes a person.
pub fn patch_user(body: &UserBody, operations: &[Operation], claim: &str) -> Result<UserBody, Problem> {
    let mut shown = shown_user(body);
    for operation in operations {
        operation.apply(Resource::User, &mut shown)?;
    }
    UserBody::read(&shown, claim, body.active)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value) -> Result<UserBody, Problem> {
        UserBody::read(body.as_object().unwrap(), "oid", true)
    }

    #[test]
    fn a_person_is_read_and_shown_by_the_names_of_the_schema() {
        let body = json!({
            "schemas": [Resource::User.urn()], "USERNAME": " Ada@Example.com ", "externalId": "a1", "Active": "True",
            "name": {"givenname": "Ada", "familyName": "Lovelace", "honorificPrefix": "Lady"}, "title": "Countess",
            "emails": [{"value": "ada@example.com", "TYPE": "work", "primary": "true", "display": "x"}, {"type": "home"}],
            "password": "canary",
        });
        let ada = read(body).unwrap();
        assert_eq!(ada.name().unwrap().as_str(), "Ada Lovelace");
        let shown = Value::Object(shown_user(&ada));
        assert_eq!(
            shown,
            json!({
                "schemas": [Resource::User.urn()], "externalId": "a1", "userName": "ada@example.com", "active": true,
                "name": {"givenName": "Ada", "familyName": "Lovelace"},
                "emails": [{"value": "ada@example.com", "type": "work", "primary": true}],
            })
        );
        assert_eq!(read(shown).unwrap(), ada, "what is shown can be sent back");
        let bare =
            read(json!({"userName": "ada@example.com", "externalId": "a1", "displayName": ""})).unwrap();
        assert_eq!((bare.name().unwrap().as_str(), bare.active), ("ada", true));
    }

    #[test]
    fn what_a_body_does_not_say_of_activity_stays() {
        let body = json!({"userName": "ada@example.com", "externalId": "a1"});
        for active in [true, false] {
            let read = UserBody::read(body.as_object().unwrap(), "oid", active).unwrap();
            assert_eq!(read.active, active);
        }
    }

    #[test]
    fn a_person_who_cannot_be_stored_is_refused_with_the_attribute() {
        let secret = "crossfade_live_0123456789abcdef";
        for (changes, attribute) in [
            (json!({"externalId": null}), "externalId"),
            (json!({"externalId": ""}), "externalId"),
            (json!({"externalId": 7}), "externalId"),
            (json!({"externalId": "x".repeat(256)}), "externalId"),
            (json!({"userName": null}), "userName"),
            (json!({"userName": "ada"}), "userName"),
            (json!({"userName": "a b@example.com"}), "userName"),
            (json!({"Active": true, "active": false}), "active"),
            (json!({"displayName": secret}), "displayName"),
            (json!({"displayName": "a\u{0}b"}), "displayName"),
            (json!({"displayName": "x".repeat(201)}), "displayName"),
            (json!({"name": "Ada"}), "name"),
            (json!({"name": {"givenName": "x".repeat(150), "familyName": "y".repeat(150)}}), "displayName"),
            (json!({"active": "maybe"}), "active"),
            (json!({"active": null}), "active"),
            (json!({"Active": null}), "active"),
            (json!({"emails": ["ada@example.com"]}), "emails"),
            (json!({"emails": [{"value": "a", "primary": true}, {"value": "b", "primary": true}]}), "emails"),
            (json!({"emails": vec![json!({"value": "a"}); 21]}), "emails"),
        ] {
            let mut body = json!({"userName": "ada@example.com", "externalId": "a1"});
            body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            let refused = read(body).expect_err(&changes.to_string());
            assert_eq!(refused.field.as_deref(), Some(attribute), "{changes}");
            assert!(
                !refused.detail.contains(secret) && refused.detail.contains("Nothing was changed."),
                "{refused}"
            );
            assert_eq!(refused.members[super::super::SCIM_TYPE], "invalidValue");
        }
        let refused = read(json!({"userName": "ada@example.com"})).unwrap_err();
        assert!(refused.detail.contains("claim oid"), "{refused}");
    }
}
