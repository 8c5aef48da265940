//! Pages for everybody that answers and the Console point to: the meaning of an error code, what a role may.

use crate::{
    Web,
    console::{Sheet, Theme, page},
};
use askama::Template;
use axum::{Router, response::Response, routing::get};
use crossfade_core::{
    Code,
    roles::{Permission, Role},
};

pub(crate) fn router() -> Router<Web> {
    Router::new().route("/docs/errors", get(errors)).route("/docs/roles", get(roles))
}

/// Where the `type` of a problem leads (RFC 9457 §3.1.1).
#[derive(Template)]
#[template(path = "errors.html")]
struct Errors {
    sheet: Sheet,
    codes: &'static [Code],
}

async fn errors(theme: Theme) -> Response {
    page(&Errors { sheet: Sheet { title: "Error codes", theme, wide: true }, codes: Code::ALL })
}

/// The roles, each with what it may: made from the table that decides.
#[derive(Template)]
#[template(path = "roles.html")]
struct Roles {
    sheet: Sheet,
}

async fn roles(theme: Theme) -> Response {
    page(&Roles { sheet: Sheet { title: "Roles", theme, wide: true } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_and_every_role_is_explained() {
        let sheet = || Sheet { title: "x", theme: Theme::System, wide: true };
        let errors = Errors { sheet: sheet(), codes: Code::ALL }.render().unwrap();
        for code in Code::ALL {
            assert!(errors.contains(&format!("id=\"{}\"", code.as_str())), "{code:?}");
        }
        let roles = Roles { sheet: sheet() }.render().unwrap();
        for role in Role::ALL {
            assert!(roles.contains(&format!("id=\"{}\"", role.as_str())), "{role:?}");
        }
        for permission in Permission::ALL {
            assert!(roles.contains(permission.as_str()), "{permission:?}");
        }
    }
}
