//! The commands on a client's page. Each fetches a token, and none contains the secret.

use super::security::Secrets;

impl Secrets {
    /// Returns a command for bash and zsh. The secret is in no argument, because others on the machine could read it.
    pub(super) fn curl(&self) -> String {
        let id = &self.registration.client_id;
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
            "import os\nfrom authlib.integrations.requests_client import OAuth2Session\n\nclient = OAuth2Session(\n    \"{}\", os.environ[\"CLIENT_SECRET\"],\n    token_endpoint_auth_method=\"{}\",\n)\nprint(client.fetch_token(\"{}\", grant_type=\"client_credentials\"))",
            self.registration.client_id,
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
            "import * as oauth from \"oauth4webapi\";\n\nconst issuer = new URL(\"{issuer}\");\nconst as = await oauth.processDiscoveryResponse(\n  issuer, await oauth.discoveryRequest(issuer, {{ algorithm: \"oauth2\"{with} }}));\nconst client = {{ client_id: \"{}\" }};\nconst answer = await oauth.clientCredentialsGrantRequest(\n  as, client, oauth.{class}(process.env.CLIENT_SECRET), new URLSearchParams(){after});\nconsole.log(await oauth.processClientCredentialsResponse(as, client, answer));",
            self.registration.client_id
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
