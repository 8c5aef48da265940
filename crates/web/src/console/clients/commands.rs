//! The commands on a client's page. Each fetches a token, and none contains the secret.

use super::security::Secrets;

/// Returns a word for a shell, in quotes if it needs them.
fn shell_word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~%+".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

/// Returns a string literal of Python and JavaScript. A client_id has only visible ASCII characters and spaces.
fn literal(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Secrets {
    /// Returns the issuer of the tokens: in front of another issuer, that one.
    pub(super) fn issuer(&self) -> &str {
        let upstream = self.environment.upstream.as_ref().and_then(|upstream| upstream.server(None));
        upstream.map_or(&self.environment.issuer, |server| &server.issuer)
    }

    /// Returns the client_id as forms and Basic carry it (RFC 6749 §2.3.1).
    fn encoded_id(&self) -> String {
        let id = self.registration.client_id.as_str();
        shell_word(&form_urlencoded::byte_serialize(id.as_bytes()).collect::<String>())
    }

    /// Returns a command for bash and zsh. The secret is in no argument, because others on the machine could read it.
    pub(super) fn curl(&self) -> String {
        let id = self.encoded_id();
        let (first, of) = match self.method() {
            "client_secret_post" => (
                format!("  --data client_id={id} \\\n"),
                "'data-urlencode = \"client_secret=%s\"\\n'".to_owned(),
            ),
            _ => (String::new(), format!("'user = \"%s:%s\"\\n' {id}")),
        };
        format!(
            "# The secret is read from the file ./client-secret\ncurl --fail-with-body {} \\\n{first}  --config <(printf {of} \"$(cat ./client-secret)\") \\\n  --data grant_type=client_credentials",
            self.token_endpoint()
        )
    }

    pub(super) fn python(&self) -> String {
        format!(
            "import os\nfrom authlib.integrations.requests_client import OAuth2Session\n\nclient = OAuth2Session(\n    {}, os.environ[\"CLIENT_SECRET\"],\n    token_endpoint_auth_method=\"{}\",\n)\nprint(client.fetch_token(\"{}\", grant_type=\"client_credentials\"))",
            literal(self.registration.client_id.as_str()),
            self.method(),
            self.token_endpoint()
        )
    }

    /// Returns a program for Node. The library requires HTTPS unless it is told to allow http, as on a local machine.
    pub(super) fn node(&self) -> String {
        let issuer = &self.environment.issuer;
        let (with, after) = match issuer.starts_with("http:") {
            true => (", [oauth.allowInsecureRequests]: true", ",\n  { [oauth.allowInsecureRequests]: true }"),
            false => ("", ""),
        };
        let class =
            if self.method() == "client_secret_post" { "ClientSecretPost" } else { "ClientSecretBasic" };
        format!(
            "import * as oauth from \"oauth4webapi\";\n\nconst issuer = new URL(\"{issuer}\");\nconst as = await oauth.processDiscoveryResponse(\n  issuer, await oauth.discoveryRequest(issuer, {{ algorithm: \"oauth2\"{with} }}));\nconst client = {{ client_id: {} }};\nconst answer = await oauth.clientCredentialsGrantRequest(\n  as, client, oauth.{class}(process.env.CLIENT_SECRET), new URLSearchParams(){after});\nconsole.log(await oauth.processClientCredentialsResponse(as, client, answer));",
            literal(self.registration.client_id.as_str())
        )
    }

    fn method(&self) -> &'static str {
        use crossfade_core::registration::AuthMethod::{ClientSecretBasic, ClientSecretPost};
        match self.registration.token_endpoint_auth_methods.first() {
            Some(ClientSecretPost) => "client_secret_post",
            Some(ClientSecretBasic) | None => "client_secret_basic",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_of_another_issuer_cannot_leave_its_word() {
        assert_eq!(shell_word("0oa1b2c3"), "0oa1b2c3");
        assert_eq!(shell_word("a*b"), "'a*b'");
        assert_eq!(shell_word("a'; rm -rf ~ #"), "'a'\\''; rm -rf ~ #'");
        assert_eq!(literal("a\"; import os \\"), "\"a\\\"; import os \\\\\"");
    }
}
