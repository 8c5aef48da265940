//! Parses what an Owner says of a provider.

use crate::{
    app::App,
    error::Error,
    frame::{act::Act, principal::Principal},
    keys::place::SealPlace,
    people::{
        giving::{may_give, may_give_role},
        grants::grant_from,
    },
};
use crossfade_core::{
    Problem, ProviderId,
    api::{CreateGrant, GroupGrant},
    provider::{ClientAuthentication, MAX_GROUP_GRANTS, MAX_LISTED, MAX_NAME, MAX_TEXT, domain},
    secret::looks_like_secret,
    text,
};
use zeroize::Zeroizing;

/// Parses a `client_id`.
pub(super) fn client_id(text: &str) -> Result<String, Problem> {
    let text = text::line("client_id", text, MAX_TEXT)?;
    match text.is_empty() {
        true => Err(Problem::invalid("client_id", "is required")),
        false => Ok(text),
    }
}

/// Parses a client secret. Any text is possible that fits into a form.
pub(super) fn client_secret(text: &str) -> Result<Zeroizing<String>, Problem> {
    if text.is_empty() || text.len() > MAX_TEXT || text.chars().any(char::is_control) {
        let what = format!("must be 1 to {MAX_TEXT} bytes without control characters");
        return Err(Problem::invalid("client_secret", &what));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

/// Requires a client secret for an authentication with one, and refuses one without.
pub(super) fn check_secret(authentication: ClientAuthentication, is_set: bool) -> Result<(), Problem> {
    match (authentication, is_set) {
        (ClientAuthentication::None, true) => {
            Err(Problem::invalid("client_secret", "must be omitted when client_authentication is none"))
        }
        (ClientAuthentication::None, false) | (_, true) => Ok(()),
        (_, false) => {
            Err(Problem::invalid("client_secret", "is required unless client_authentication is none"))
        }
    }
}

/// Parses a word: visible ASCII characters without quotes and backslashes.
pub(super) fn word(field: &'static str, text: &str) -> Result<String, Problem> {
    let text = text.trim();
    let is_plain = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    if !(1..=MAX_NAME).contains(&text.len()) || !text.bytes().all(is_plain) || looks_like_secret(text) {
        let what = format!("must be 1 to {MAX_NAME} visible ASCII characters without quotes and backslashes");
        return Err(Problem::invalid(field, &what));
    }
    Ok(text.to_owned())
}

/// Parses a list of words, each once.
pub(super) fn words(field: &'static str, list: &[String]) -> Result<Vec<String>, Problem> {
    if list.len() > MAX_LISTED {
        return Err(Problem::invalid(field, &format!("must contain at most {MAX_LISTED} entries")));
    }
    let mut words: Vec<String> = Vec::new();
    for text in list {
        let word = word(field, text)?;
        if !words.contains(&word) {
            words.push(word);
        }
    }
    Ok(words)
}

/// Parses scopes. `openid` makes a request one of OpenID Connect.
pub(super) fn scopes(list: &[String]) -> Result<Vec<String>, Problem> {
    let mut scopes = words("scopes", list)?;
    if !scopes.iter().any(|scope| scope == "openid") {
        scopes.insert(0, "openid".to_owned());
    }
    Ok(scopes)
}

/// Parses domains, each once.
pub(super) fn domains(list: &[String]) -> Result<Vec<String>, Problem> {
    if list.len() > MAX_LISTED {
        return Err(Problem::invalid("domains", &format!("must contain at most {MAX_LISTED} entries")));
    }
    let mut domains: Vec<String> = Vec::new();
    for text in list {
        let must = "must contain only domains such as example.com";
        let domain = domain(text).ok_or_else(|| Problem::invalid("domains", must))?;
        if !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    Ok(domains)
}

/// Parses the roles that groups give. The principal must be able to grant each of them (rule 24).
pub(super) async fn group_grants(
    act: &mut Act<'_>,
    principal: &Principal,
    list: &[GroupGrant],
) -> Result<Vec<GroupGrant>, Error> {
    const FIELD: &str = "group_grants";
    if list.len() > MAX_GROUP_GRANTS {
        return Err(
            Problem::invalid(FIELD, &format!("must contain at most {MAX_GROUP_GRANTS} entries")).into()
        );
    }
    let mut parsed: Vec<GroupGrant> = Vec::new();
    for entry in list {
        let group = text::line(FIELD, &entry.group, MAX_NAME)?;
        if group.is_empty() || group.len() > MAX_NAME {
            return Err(Problem::invalid(FIELD, "must name a group in each entry").into());
        }
        let body = grant_of(entry);
        let grant = match grant_from(act, &body).await {
            Ok(grant) => grant,
            Err(mut error) => {
                // The list is the member of the body; its sentence names the member inside.
                error.problem.field = Some(FIELD.to_owned());
                error.problem.detail = format!("{FIELD} contains an entry whose {}", error.problem.detail);
                return Err(error);
            }
        };
        may_give_role(principal, grant.role)?;
        may_give(act.tx, principal, &grant).await?;
        let environments = grant.environments.map(|list| list.iter().map(ToString::to_string).collect());
        let entry = GroupGrant { group, environments, ..entry.clone() };
        if !parsed.contains(&entry) {
            parsed.push(entry);
        }
    }
    Ok(parsed)
}

/// Returns an entry as a request for a grant.
pub(super) fn grant_of(entry: &GroupGrant) -> CreateGrant {
    CreateGrant {
        role: entry.role,
        property_id: entry.property_id.clone(),
        client_id: entry.client_id.clone(),
        environments: entry.environments.clone(),
    }
}

impl App {
    /// Parses the issuer of a provider.
    pub(super) fn issuer_of_provider(&self, text: &str) -> Result<String, Problem> {
        let issuer = self.providers.issuer(text).map_err(|what| Problem::invalid("issuer", &what))?;
        match looks_like_secret(&issuer) || issuer.len() > MAX_TEXT {
            true => Err(Problem::invalid("issuer", "must be the identifier of an issuer, without a secret")),
            false => Ok(issuer),
        }
    }

    /// Seals the client secret of a provider.
    pub(super) fn seal_of_provider(&self, id: &ProviderId, secret: &str) -> Result<Vec<u8>, Error> {
        self.vault.seal(&SealPlace::Provider { id }, secret.as_bytes())
    }
}
