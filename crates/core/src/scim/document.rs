//! What this server can do, for providers that ask (RFC 7644 §4).

use super::{LIST_SCHEMA, MAX_RESULTS, Resource};
use serde_json::{Value, json};

/// Returns what the server can do, below this base URL.
pub fn service_provider_config(base: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": {"supported": true},
        "bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": true, "maxResults": MAX_RESULTS},
        "changePassword": {"supported": false},
        "sort": {"supported": false},
        "etag": {"supported": true},
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Provisioning token",
            "description": "Token that an Owner creates for the provider, sent as Authorization: Bearer.",
            "primary": true,
        }],
        "meta": {"resourceType": "ServiceProviderConfig", "location": format!("{base}/ServiceProviderConfig")},
    })
}

fn resource_type(of: Resource, base: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
        "id": of.name(),
        "name": of.name(),
        "endpoint": format!("/{}", of.endpoint()),
        "description": match of { Resource::User => "People", Resource::Group => "Groups of people" },
        "schema": of.urn(),
        "schemaExtensions": [],
        "meta": {"resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{}", of.name())},
    })
}

fn schema(of: Resource, base: &str) -> Value {
    // Every resource has id, externalId and meta, and its schema describes its other attributes (RFC 7643 §3.1).
    let attributes =
        of.attributes().iter().filter(|it| it.name != "meta" && it.name != "id" && it.name != "externalId");
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
        "id": of.urn(),
        "name": of.name(),
        "description": match of { Resource::User => "A person", Resource::Group => "A group of people" },
        "attributes": attributes.map(|it| it.shown()).collect::<Vec<_>>(),
        "meta": {"resourceType": "Schema", "location": format!("{base}/Schemas/{}", of.urn())},
    })
}

/// Returns one document of a list of `ResourceTypes` or `Schemas`; `None` if there is none.
pub fn document(list: &str, id: &str, base: &str) -> Option<Value> {
    let of = |named: fn(Resource) -> &'static str| {
        Resource::ALL.into_iter().find(|of| named(*of).eq_ignore_ascii_case(id))
    };
    match list {
        "ResourceTypes" => of(Resource::name).map(|of| resource_type(of, base)),
        "Schemas" => of(Resource::urn).map(|of| schema(of, base)),
        _ => None,
    }
}

/// Returns the list of `ResourceTypes` or of `Schemas`.
pub fn documents(list: &str, base: &str) -> Value {
    let build = if list == "Schemas" { schema } else { resource_type };
    let all: Vec<Value> = Resource::ALL.into_iter().map(|of| build(of, base)).collect();
    json!({
        "schemas": [LIST_SCHEMA], "totalResults": all.len(), "startIndex": 1, "itemsPerPage": all.len(), "Resources": all,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_document_is_found_by_the_id_that_its_list_says() {
        for list in ["ResourceTypes", "Schemas"] {
            let all = documents(list, "https://auth.example.com/scim");
            let all = all["Resources"].as_array().unwrap();
            assert_eq!(all.len(), 2);
            for one in all {
                let id = one["id"].as_str().unwrap();
                assert_eq!(document(list, id, "https://auth.example.com/scim").as_ref(), Some(one));
                assert!(one["meta"]["location"].as_str().unwrap().ends_with(id));
            }
            assert_eq!(document(list, "Other", ""), None);
        }
        let config = service_provider_config("");
        assert_eq!(
            (&config["bulk"]["supported"], &config["patch"]["supported"]),
            (&false.into(), &true.into())
        );
    }

    #[test]
    fn the_reference_lists_every_attribute() {
        let reference = include_str!("../../../../docs/reference/scim.md");
        for of in Resource::ALL {
            let (_, part) = reference.split_once(&format!("\n## {}\n", of.name())).unwrap();
            let part = part.split("\n## ").next().unwrap();
            let mut expected = Vec::new();
            for attribute in of.attributes() {
                let subs = attribute.subs.iter().map(|sub| (format!("{}.{}", attribute.name, sub.name), sub));
                for (name, it) in [(attribute.name.to_owned(), attribute)].into_iter().chain(subs) {
                    let who = match (it.is_writable, it.is_required) {
                        (false, _) => "server",
                        (true, true) => "provider, required",
                        (true, false) => "provider",
                    };
                    expected.push(format!("| `{name}` | {who} | {} |", it.description));
                }
            }
            let rows: Vec<&str> = part.lines().filter(|line| line.starts_with("| `")).collect();
            assert_eq!(rows, expected);
        }
    }
}
