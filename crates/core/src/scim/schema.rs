//! The attributes of people and groups: what is stored, shown, filtered by and changed.

use serde_json::{Value, json};

/// A kind of resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resource {
    /// A person.
    User,
    /// A group of people.
    Group,
}

/// Type of an attribute (RFC 7643 §2.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Text.
    Text,
    /// True or false.
    Boolean,
    /// A time.
    Time,
    /// A URI or the ID of a resource.
    Reference,
    /// An object of attributes.
    Complex,
}

/// An attribute.
#[derive(PartialEq, Eq, Debug)]
pub struct Attribute {
    /// Name.
    pub name: &'static str,
    /// Type.
    pub kind: Kind,
    /// Whether it has a list of values.
    pub is_list: bool,
    /// Whether a provider can set it.
    pub is_writable: bool,
    /// Whether a resource needs it.
    pub is_required: bool,
    /// Whether letters of different case are different.
    pub is_exact: bool,
    /// Whether no two resources have the same value.
    pub is_unique: bool,
    /// Kind of resource that a reference leads to.
    pub refers_to: &'static str,
    /// What it is, in a sentence.
    pub description: &'static str,
    /// Attributes of its object.
    pub subs: &'static [Attribute],
}

const TEXT: Attribute = Attribute {
    name: "",
    kind: Kind::Text,
    is_list: false,
    is_writable: true,
    is_required: false,
    is_exact: false,
    is_unique: false,
    refers_to: "uri",
    description: "",
    subs: &[],
};

const READ_ONLY: Attribute = Attribute { is_writable: false, is_exact: true, ..TEXT };

const ID: Attribute = Attribute {
    name: "id",
    is_unique: true,
    description: "ID that Crossfade gives the resource.",
    ..READ_ONLY
};

const META: Attribute = Attribute {
    name: "meta",
    kind: Kind::Complex,
    description: "What kind of resource it is, and when it changed.",
    subs: &[
        Attribute { name: "resourceType", description: "Kind of the resource.", ..READ_ONLY },
        Attribute { name: "created", kind: Kind::Time, description: "When it was created.", ..READ_ONLY },
        Attribute {
            name: "lastModified",
            kind: Kind::Time,
            description: "When it was last changed.",
            ..READ_ONLY
        },
        Attribute {
            name: "location",
            kind: Kind::Reference,
            description: "URI of the resource.",
            ..READ_ONLY
        },
        Attribute { name: "version", description: "ETag of the resource.", ..READ_ONLY },
    ],
    ..READ_ONLY
};

static USER: &[Attribute] = &[
    ID,
    Attribute {
        name: "externalId",
        is_required: true,
        is_exact: true,
        is_unique: true,
        description: "Who the person is at the provider: the value of the claim that external_id_claim of the provider names.",
        ..TEXT
    },
    Attribute {
        name: "userName",
        is_required: true,
        is_unique: true,
        description: "Email address of the person, in one of the domains of the provider.",
        ..TEXT
    },
    Attribute { name: "displayName", description: "Name of the person, and of the account.", ..TEXT },
    Attribute {
        name: "name",
        kind: Kind::Complex,
        description: "Parts of the name. Without displayName, they make up the name of the account.",
        subs: &[
            Attribute { name: "formatted", description: "Whole name.", ..TEXT },
            Attribute { name: "givenName", description: "Given name.", ..TEXT },
            Attribute { name: "familyName", description: "Family name.", ..TEXT },
        ],
        ..TEXT
    },
    Attribute {
        name: "emails",
        kind: Kind::Complex,
        is_list: true,
        description: "Email addresses. Stored and returned; userName alone is the address of the account.",
        subs: &[
            Attribute { name: "value", description: "Email address.", ..TEXT },
            Attribute { name: "type", description: "Purpose, such as work.", ..TEXT },
            Attribute {
                name: "primary",
                kind: Kind::Boolean,
                description: "Whether it is the main one.",
                ..TEXT
            },
        ],
        ..TEXT
    },
    Attribute {
        name: "active",
        kind: Kind::Boolean,
        description: "Whether the person has an account. Setting it to false deletes the account.",
        ..TEXT
    },
    Attribute {
        name: "groups",
        kind: Kind::Complex,
        is_list: true,
        description: "Groups of the person. Changed by changing the groups.",
        subs: &[
            Attribute { name: "value", description: "ID of the group.", ..READ_ONLY },
            Attribute { name: "display", description: "Name of the group.", ..READ_ONLY },
            Attribute {
                name: "$ref",
                kind: Kind::Reference,
                refers_to: "Group",
                description: "URI of the group.",
                ..READ_ONLY
            },
        ],
        ..READ_ONLY
    },
    META,
];

static GROUP: &[Attribute] = &[
    ID,
    Attribute { name: "externalId", is_exact: true, description: "ID of the group at the provider.", ..TEXT },
    Attribute {
        name: "displayName",
        is_required: true,
        is_unique: true,
        description: "Name of the group, which the roles by group of the provider are compared with.",
        ..TEXT
    },
    Attribute {
        name: "members",
        kind: Kind::Complex,
        is_list: true,
        description: "People in the group. Groups cannot be members.",
        subs: &[
            Attribute { name: "value", is_exact: true, description: "ID of the person.", ..TEXT },
            Attribute {
                name: "$ref",
                kind: Kind::Reference,
                refers_to: "User",
                description: "URI of the person. Ignored in requests.",
                ..TEXT
            },
        ],
        ..TEXT
    },
    META,
];

/// Names that RFC 7643 knows and Crossfade does not keep. A change of them is no mistake.
const NOT_KEPT: &[&str] = &[
    "schemas",
    "nickName",
    "profileUrl",
    "title",
    "userType",
    "preferredLanguage",
    "locale",
    "timezone",
    "password",
    "phoneNumbers",
    "ims",
    "photos",
    "addresses",
    "entitlements",
    "roles",
    "x509Certificates",
    "name.middleName",
    "name.honorificPrefix",
    "name.honorificSuffix",
    "emails.display",
    "groups.type",
    "members.display",
    "members.type",
    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
];

impl Resource {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::User, Self::Group];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
        }
    }

    /// Returns the last part of the path of its list.
    pub fn endpoint(self) -> &'static str {
        match self {
            Self::User => "Users",
            Self::Group => "Groups",
        }
    }

    /// Returns the URN of its schema.
    pub fn urn(self) -> &'static str {
        match self {
            Self::User => "urn:ietf:params:scim:schemas:core:2.0:User",
            Self::Group => "urn:ietf:params:scim:schemas:core:2.0:Group",
        }
    }

    /// Returns its attributes.
    pub fn attributes(self) -> &'static [Attribute] {
        match self {
            Self::User => USER,
            Self::Group => GROUP,
        }
    }

    /// Returns the name of an attribute without the URN of this schema before it.
    pub fn without_urn(self, name: &str) -> &str {
        let urn = self.urn();
        match name.get(..urn.len()) {
            Some(start) if start.eq_ignore_ascii_case(urn) => {
                name.get(urn.len() + 1..).filter(|_| name[urn.len()..].starts_with(':')).unwrap_or(name)
            }
            _ => name,
        }
    }

    /// Whether the name is one of those that RFC 7643 knows and that are not kept, or begins with one.
    pub fn keeps_not(self, name: &str) -> bool {
        let name = self.without_urn(name);
        NOT_KEPT.iter().any(|own| match name.get(..own.len()) {
            Some(start) if start.eq_ignore_ascii_case(own) => {
                name[own.len()..].is_empty() || name[own.len()..].starts_with(['.', '[', ':'])
            }
            _ => false,
        })
    }
}

impl Attribute {
    /// Returns the attribute with this name among others. Names have no case (RFC 7643 §2.1).
    pub fn find(among: &'static [Attribute], name: &str) -> Option<&'static Attribute> {
        among.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
    }

    /// Returns its description as the schema shows it (RFC 7643 §7).
    pub fn shown(&self) -> Value {
        let kind = match self.kind {
            Kind::Text => "string",
            Kind::Boolean => "boolean",
            Kind::Time => "dateTime",
            Kind::Reference => "reference",
            Kind::Complex => "complex",
        };
        let mut shown = json!({
            "name": self.name,
            "type": kind,
            "multiValued": self.is_list,
            "description": self.description,
            "required": self.is_required,
            "mutability": if self.is_writable { "readWrite" } else { "readOnly" },
            "returned": if self.name == "id" { "always" } else { "default" },
            "uniqueness": if self.is_unique { "server" } else { "none" },
        });
        match self.kind {
            Kind::Complex => shown["subAttributes"] = self.subs.iter().map(Self::shown).collect(),
            Kind::Text => shown["caseExact"] = self.is_exact.into(),
            Kind::Reference => {
                shown["caseExact"] = true.into();
                shown["referenceTypes"] = json!([self.refers_to]);
            }
            Kind::Boolean | Kind::Time => {}
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_found_without_its_case_and_its_schema() {
        let user = Resource::User;
        let found = Attribute::find(user.attributes(), "USERNAME").unwrap();
        assert_eq!(found.name, "userName");
        let urn = "URN:ietf:params:scim:schemas:core:2.0:User:emails";
        assert_eq!(user.without_urn(urn), "emails");
        assert_eq!(user.without_urn("userName"), "userName");
        assert!(user.keeps_not("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department"));
        assert!(user.keeps_not("phoneNumbers[type eq \"work\"].value") && user.keeps_not("Title"));
        assert!(user.keeps_not("URN:ietf:params:scim:schemas:extension:enterprise:2.0:User"));
        assert!(user.keeps_not("name.honorificPrefix") && user.keeps_not("schemas"));
        for slip in
            ["activ", "userName", "titles", "urn:ietf:params:scim:schemas:core:2.0:Usr:active", user.urn()]
        {
            assert!(!user.keeps_not(slip), "{slip}");
        }
    }
}
