//! Clients that tests create.

use serde_json::{Value, json};

/// A client that was created for a test.
#[derive(Clone, Debug)]
pub struct Client {
    pub id: String,
    pub name: String,
    pub registrations: Vec<Registration>,
}

/// One of its registrations, with its first secret.
#[derive(Clone, Debug)]
pub struct Registration {
    pub environment: String,
    pub client_id: String,
    pub secret_id: String,
    pub secret: String,
}

impl Registration {
    pub fn read(json: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            environment: text(&json["environment"]),
            client_id: text(&json["client_id"]),
            secret_id: text(&json["secret"]["id"]),
            secret: text(&json["secret"]["value"]),
        }
    }
}

impl Client {
    /// Its registration in an environment.
    pub fn registration(&self, environment: &str) -> &Registration {
        self.registrations.iter().find(|it| it.environment == environment).unwrap()
    }

    /// `/clients/{client}/environments/{environment}` and what follows.
    pub fn path(&self, environment: &str, rest: &str) -> String {
        format!("/clients/{}/environments/{environment}{rest}", self.id)
    }

    /// The least that a rotation needs.
    pub fn rotation(&self, hours: impl Into<Value>) -> Value {
        json!({"transition_hours": hours.into(), "confirm_client_name": self.name})
    }
}
