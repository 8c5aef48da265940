//! What providers send by SCIM 2.0: filters, and changes of people and groups.

use crossfade_core::scim::{
    Filter, GroupBody, Resource, UserBody, patch_group, patch_user, read_patch, shown_user,
};
use serde_json::{Map, Value, json};

fn ada() -> UserBody {
    let ada = json!({
        "userName": "ada@example.com", "externalId": "a1", "displayName": "Ada",
        "name": {"givenName": "Ada", "familyName": "Lovelace"},
        "emails": [{"value": "ada@example.com", "type": "work", "primary": true}],
    });
    let ada = ada.as_object().cloned().unwrap_or_default();
    UserBody::read(&ada, "sub", true).expect("a person is read")
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let input = String::from_utf8_lossy(data);
    let (ada, input) = (ada(), &*input);
    filter(&ada, input);
    let Ok(Value::Object(body)) = serde_json::from_str(input) else { return };
    people(&ada, input, &body);
    let group = GroupBody { name: "Staff".to_owned(), external_id: None };
    if let Ok(operations) = read_patch(Resource::Group, &body)
        && let Ok((changed, _)) = patch_group(&group, &operations)
    {
        assert!(!changed.name.is_empty(), "{input}");
    }
    let _ = GroupBody::read(&body);
}

/// A filter and its contrary divide the people.
fn filter(ada: &UserBody, input: &str) {
    for of in Resource::ALL {
        let Ok(found) = Filter::parse(of, input) else { continue };
        let shown = Value::Object(shown_user(ada));
        let is_found = found.matches(&shown);
        // The contrary can be a byte or a bracket too long.
        if let Ok(contrary) = Filter::parse(of, &format!("not ({input})")) {
            assert_ne!(contrary.matches(&shown), is_found, "{input}");
        }
    }
}

/// Nobody's activity changes by a change that does not name it, and what is read is shown as it would be read.
fn people(ada: &UserBody, input: &str, body: &Map<String, Value>) {
    let changed = match read_patch(Resource::User, body) {
        Ok(operations) => patch_user(ada, &operations, "sub").ok(),
        Err(_) => None,
    };
    for read in [changed, UserBody::read(body, "sub", true).ok()].into_iter().flatten() {
        let shown = shown_user(&read);
        assert_eq!(UserBody::read(&shown, "sub", !read.active).ok().as_ref(), Some(&read), "{input}");
        // Not escaped, so that an escaped name counts as well.
        let names_it = Value::Object(body.clone()).to_string().to_ascii_lowercase().contains("active");
        assert!(read.active || names_it, "{input}");
    }
}
