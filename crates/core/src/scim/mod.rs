//! Provisioning by SCIM 2.0 (RFC 7643, RFC 7644): what a provider can say of people and groups, and how it is read.
//!
//! `schema` lists the attributes, `filter` and `path` read what names them, `patch` changes a resource, `user` and `group` read
//! and show resources, and `document` says what this server can do.

mod document;
mod filter;
mod group;
mod patch;
mod path;
mod schema;
mod user;

pub use document::{document, documents, service_provider_config};
pub use filter::{Equal, Filter};
pub use group::{GroupBody, MAX_MEMBERS, MemberChange, patch_group, shown_group};
pub use patch::{MAX_OPERATIONS, Operation, read_patch};
pub use path::Path;
pub use schema::{Attribute, Kind, Resource};
pub use user::{MAX_EMAILS, UserBody, patch_user, shown_user};

use crate::{Code, Problem};
use serde_json::{Map, Value};

/// Maximum number of bytes of a request body: thousands of members of a group.
pub const MAX_BODY: usize = 1024 * 1024;
/// Maximum number of resources in one response.
pub const MAX_RESULTS: usize = 200;
/// Maximum number of people and of groups that one provider can provision.
pub const MAX_RESOURCES: i64 = 100_000;

/// Schema of a list (RFC 7644 §3.4.2).
pub const LIST_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
/// Schema of a refusal (RFC 7644 §3.12).
pub const ERROR_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:Error";
/// Schema of a change of some attributes (RFC 7644 §3.5.2).
pub const PATCH_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// Why a request is refused, as far as the standard has a word for it (RFC 7644 §3.12).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScimType {
    /// The filter is malformed, or names an attribute that cannot be filtered by.
    InvalidFilter,
    /// The list is too long.
    TooMany,
    /// Another resource or account has the value.
    Uniqueness,
    /// The attribute cannot be changed.
    Mutability,
    /// The request is malformed.
    InvalidSyntax,
    /// The path is malformed, or names an unknown attribute.
    InvalidPath,
    /// The path names nothing.
    NoTarget,
    /// The value is missing or not valid.
    InvalidValue,
}

impl ScimType {
    /// Returns the word as it is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidFilter => "invalidFilter",
            Self::TooMany => "tooMany",
            Self::Uniqueness => "uniqueness",
            Self::Mutability => "mutability",
            Self::InvalidSyntax => "invalidSyntax",
            Self::InvalidPath => "invalidPath",
            Self::NoTarget => "noTarget",
            Self::InvalidValue => "invalidValue",
        }
    }

    /// Returns a refusal with this word and this sentence.
    pub fn refuse(self, detail: impl Into<String>) -> Problem {
        let code = match self {
            Self::InvalidFilter => Code::InvalidQuery,
            Self::Uniqueness => Code::NameTaken,
            Self::InvalidSyntax => Code::InvalidJson,
            _ => Code::InvalidBody,
        };
        Problem::new(code, detail).with(SCIM_TYPE, self.as_str())
    }
}

/// Member of a problem that contains the word of the standard.
pub const SCIM_TYPE: &str = "scim_type";

/// Refuses a value of an attribute.
pub(crate) fn invalid(attribute: &str, predicate: &str) -> Problem {
    ScimType::InvalidValue
        .refuse(format!("{attribute} {predicate}. Nothing was changed."))
        .with_field(attribute)
}

/// Returns a member of an object. Names of attributes have no case (RFC 7643 §2.1).
pub(crate) fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let found = object
        .get(name)
        .or_else(|| object.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value));
    found.filter(|value| !value.is_null())
}

/// Reads a boolean. Some providers send it as text.
pub(crate) fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Leaves only the attributes of a resource that a request asked for (RFC 7644 §3.9). `schemas`, `id` and `meta` always stay.
pub fn project(shown: &mut Value, wanted: Option<&str>, unwanted: Option<&str>, of: Resource) {
    let Some(object) = shown.as_object_mut() else { return };
    let listed = |text: &str| -> Vec<(String, Option<String>)> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names
            .map(|name| {
                let name = of.without_urn(name).to_lowercase();
                match name.split_once('.') {
                    Some((attribute, sub)) => (attribute.to_owned(), Some(sub.to_owned())),
                    None => (name, None),
                }
            })
            .collect()
    };
    if let Some(wanted) = wanted.map(listed).filter(|list| !list.is_empty()) {
        object.retain(|name, value| {
            if is_always_shown(name) {
                return true;
            }
            let of_name: Vec<_> =
                wanted.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, sub)| sub).collect();
            if of_name.is_empty() {
                return false;
            }
            if of_name.iter().all(|sub| sub.is_some()) {
                let keeps = |sub: &str| {
                    of_name.iter().flat_map(|it| it.as_deref()).any(|own| own.eq_ignore_ascii_case(sub))
                };
                retain_subs(value, &keeps);
            }
            true
        });
    } else if let Some(unwanted) = unwanted.map(listed) {
        object.retain(|name, value| {
            let of_name: Vec<_> = unwanted
                .iter()
                .filter(|(own, _)| own.eq_ignore_ascii_case(name))
                .map(|(_, sub)| sub)
                .collect();
            if is_always_shown(name) || of_name.is_empty() {
                return true;
            }
            let drops = |sub: &str| {
                of_name.iter().flat_map(|it| it.as_deref()).any(|own| own.eq_ignore_ascii_case(sub))
            };
            retain_subs(value, &|sub| !drops(sub));
            of_name.iter().all(|sub| sub.is_some())
        });
    }
}

fn is_always_shown(name: &str) -> bool {
    ["schemas", "id", "meta"].contains(&name)
}

fn retain_subs(value: &mut Value, keeps: &dyn Fn(&str) -> bool) {
    match value {
        Value::Object(object) => object.retain(|name, _| keeps(name)),
        Value::Array(list) => list.iter_mut().for_each(|value| retain_subs(value, keeps)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_attributes_that_were_asked_for_are_shown() {
        let whole = json!({
            "schemas": [], "id": "su_1", "userName": "ada@example.com", "active": true,
            "name": {"givenName": "Ada", "familyName": "Lovelace"}, "meta": {},
        });
        let shown = |wanted, unwanted| {
            let mut shown = whole.clone();
            project(&mut shown, wanted, unwanted, Resource::User);
            shown
        };
        assert_eq!(shown(None, None), whole);
        assert_eq!(shown(Some(""), None), whole);
        let wanted = "USERNAME,urn:ietf:params:scim:schemas:core:2.0:User:name.givenName";
        let expected = json!({"schemas": [], "id": "su_1", "userName": "ada@example.com", "name": {"givenName": "Ada"}, "meta": {}});
        assert_eq!(shown(Some(wanted), None), expected);
        let left = shown(None, Some("id, active, name.familyName, userName"));
        assert_eq!(left, json!({"schemas": [], "id": "su_1", "name": {"givenName": "Ada"}, "meta": {}}));
    }

    #[test]
    fn a_boolean_can_be_text() {
        for (value, expected) in [
            (json!(true), Some(true)),
            (json!("True"), Some(true)),
            (json!("False"), Some(false)),
            (json!("false"), Some(false)),
            (json!("no"), None),
            (json!(0), None),
        ] {
            assert_eq!(boolean(&value), expected, "{value}");
        }
    }
}
