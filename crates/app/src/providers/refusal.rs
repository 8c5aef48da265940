//! Why a sign-in with a provider failed: the word for the trail, and the sentence for the person.

use crossfade_core::provider::TokenFault;
use crossfade_outbound::{ProviderFailure, VerifyFailure};

/// Why a sign-in with a provider failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// The browser has not begun it, or too long ago.
    State,
    /// The answer is of another issuer (RFC 9207).
    MixUp,
    /// The provider did not sign the person in. Its word.
    Declined(String),
    /// The provider cannot be asked.
    Unreachable(String),
    /// Too many sign-ins wait for the provider.
    Busy,
    /// The provider refused Crossfade.
    Refused(String),
    /// The provider does not follow the standards.
    Malformed(String),
    /// The token is wrong.
    Token(TokenFault),
    /// The provider does not name an email address.
    NoAddress,
    /// The provider has not verified the email address.
    Unverified,
    /// No account is created for the domain.
    Domain,
    /// Another account has the email address.
    AddressTaken,
    /// The person is another one than before.
    OtherPerson,
    /// The identity belongs to another account.
    OtherAccount,
    /// The account is linked with another identity of the provider.
    AlreadyLinked,
    /// The provider has deactivated the person by provisioning.
    NotActive,
    /// The session has ended since.
    SessionEnded,
}

impl Refusal {
    /// Returns the word for the trail.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::State => "provider_state",
            Self::MixUp => "provider_mix_up",
            Self::Declined(_) => "provider_declined",
            Self::Unreachable(_) => "provider_unreachable",
            Self::Busy => "provider_busy",
            Self::Refused(_) => "provider_refused",
            Self::Malformed(_) => "provider_malformed",
            Self::Token(fault) => fault.as_str(),
            Self::NoAddress => "address_missing",
            Self::Unverified => "address_unverified",
            Self::Domain => "address_domain",
            Self::AddressTaken => "address_taken",
            Self::OtherPerson => "other_person",
            Self::OtherAccount => "other_account",
            Self::AlreadyLinked => "already_linked",
            Self::NotActive => "not_active",
            Self::SessionEnded => "session_ended",
        }
    }

    /// Returns the HTTP status of the page.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Unreachable(_) | Self::Refused(_) | Self::Malformed(_) => 502,
            Self::Busy => 503,
            _ => 403,
        }
    }

    /// Whether the provider or Crossfade's registration there is at fault, so that an operator must know.
    pub(crate) fn is_of_provider(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(_)
                | Self::Busy
                | Self::Refused(_)
                | Self::Malformed(_)
                | Self::Token(_)
                | Self::MixUp
        )
    }

    /// Returns what is known of the cause, for the log.
    pub(crate) fn cause(&self) -> &str {
        match self {
            Self::Declined(what) | Self::Unreachable(what) | Self::Refused(what) | Self::Malformed(what) => {
                what
            }
            Self::Token(fault) => fault.sentence(),
            _ => self.word(),
        }
    }

    /// Returns the sentences for the person.
    pub(crate) fn sentence(&self, provider: &str) -> String {
        let unchanged = "Nothing was changed.";
        match self {
            Self::State => format!(
                "This sign-in was not begun in this browser, or it took longer than 10 minutes. {unchanged} Begin again."
            ),
            Self::MixUp => {
                format!("The answer came from another issuer than {provider}. {unchanged} Begin again.")
            }
            Self::Declined(word) => format!("{provider} did not sign you in: {word}. {unchanged}"),
            Self::Unreachable(_) => format!(
                "{provider} cannot be reached. {unchanged} Try again later, or sign in with a password if you have one."
            ),
            Self::Busy => {
                format!("Too many people are signing in with {provider} now. {unchanged} Try again.")
            }
            Self::Refused(_) => format!(
                "{provider} refused the sign-in of Crossfade. {unchanged} Ask an Owner to check the client secret and the \
                redirect URI."
            ),
            Self::Malformed(_) => format!(
                "{provider} gave an answer that is not valid. {unchanged} Ask an Owner to check its settings."
            ),
            Self::Token(fault) => {
                format!("{provider} gave a token that is refused. {} {unchanged}", fault.sentence())
            }
            Self::NoAddress => format!(
                "{provider} does not say what your email address is, which a new account needs. {unchanged} Ask an Owner."
            ),
            Self::Unverified => format!(
                "{provider} has not verified your email address, so no account is created. {unchanged} Verify it there, and \
                sign in again."
            ),
            Self::Domain => format!(
                "You have no account here that is linked with {provider}, and none is created for your email domain. \
                {unchanged} Ask someone who manages people."
            ),
            Self::AddressTaken => format!(
                "An account here already has your email address. {unchanged} Sign in to it as before, and link {provider} on \
                your account page."
            ),
            Self::OtherPerson => format!(
                "You signed in to {provider} as another person than the one who is signed in here. {unchanged}"
            ),
            Self::OtherAccount => {
                format!("This account of {provider} is linked with another account here. {unchanged}")
            }
            Self::AlreadyLinked => format!(
                "Your account is linked with another account of {provider} already. {unchanged} Unlink that one first."
            ),
            Self::NotActive => format!(
                "{provider} has deactivated your account here. {unchanged} Ask whoever manages people there."
            ),
            Self::SessionEnded => {
                format!(
                    "Your session has ended, or another person signed in since. {unchanged} Sign in and try again."
                )
            }
        }
    }
}

impl From<ProviderFailure> for Refusal {
    fn from(failure: ProviderFailure) -> Self {
        let text = failure.to_string();
        match failure {
            ProviderFailure::Unreachable(_) => Self::Unreachable(text),
            ProviderFailure::Busy => Self::Busy,
            ProviderFailure::Refused(_) => Self::Refused(text),
            ProviderFailure::Malformed(_) => Self::Malformed(text),
        }
    }
}

impl From<VerifyFailure> for Refusal {
    fn from(failure: VerifyFailure) -> Self {
        match failure {
            VerifyFailure::Token(fault) => Self::Token(fault),
            VerifyFailure::Provider(failure) => failure.into(),
        }
    }
}

impl From<TokenFault> for Refusal {
    fn from(fault: TokenFault) -> Self {
        Self::Token(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_refusal_has_its_own_word_and_names_what_did_not_change() {
        let mut all = vec![
            Refusal::State,
            Refusal::MixUp,
            Refusal::Declined("access_denied".into()),
            Refusal::Unreachable("no connection".into()),
            Refusal::Busy,
            Refusal::Refused("status 401".into()),
            Refusal::Malformed("no JSON object".into()),
            Refusal::NoAddress,
            Refusal::Unverified,
            Refusal::Domain,
            Refusal::AddressTaken,
            Refusal::OtherPerson,
            Refusal::OtherAccount,
            Refusal::AlreadyLinked,
            Refusal::NotActive,
            Refusal::SessionEnded,
        ];
        all.extend(TokenFault::ALL.iter().map(|fault| Refusal::Token(*fault)));
        let words: HashSet<_> = all.iter().map(Refusal::word).collect();
        assert_eq!(words.len(), all.len());
        let guide = include_str!("../../../../docs/guide/single-sign-on.md");
        for refusal in all {
            assert!(refusal.sentence("Example").contains("Nothing was changed."), "{refusal:?}");
            assert!((400..600).contains(&refusal.status()) && !refusal.cause().is_empty());
            assert!(
                guide.contains(&format!("`{}`", refusal.word())),
                "the guide explains {}",
                refusal.word()
            );
        }
    }
}
