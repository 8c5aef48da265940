//! Paths of pages: which ones a reader can be redirected to, and which page a form belongs to.

use crossfade_core::secret::looks_like_secret;

/// All pages behind a sign-in and all public ones, with `*` for an ID, a slug or a tab.
const PAGES: &[&str] = &[
    "/console",
    "/console/access",
    "/console/account",
    "/console/audit",
    "/console/clients",
    "/console/clients/new",
    "/console/clients/*",
    "/console/clients/*/settings",
    "/console/clients/*/environments/*",
    "/console/clients/*/environments/*/credentials",
    "/console/clients/*/environments/*/security",
    "/console/clients/*/environments/*/settings",
    "/console/command-line",
    "/console/environments",
    "/console/environments/*",
    "/console/environments/*/unregistered",
    "/console/leaks",
    "/console/mail",
    "/console/nodes",
    "/console/people",
    "/console/people/*",
    "/console/properties",
    "/console/properties/*",
    "/console/properties/*/limits/*",
    "/console/providers",
    "/console/providers/*",
    "/console/quarantine",
    "/console/sign-in-policy",
    "/console/webhooks",
    "/console/webhooks/*",
    "/docs/api",
    "/docs/errors",
    "/docs/roles",
];

fn matches(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some("*"), Some(part)) if !part.is_empty() => {}
            (Some(own), Some(part)) if own == part => {}
            _ => return false,
        }
    }
}

fn is_page(path: &str) -> bool {
    PAGES.iter().any(|pattern| matches(pattern, path))
}

/// Returns the path and query of one of our pages; `None` for anything else, so that nobody is redirected to another
/// site and only pages open after a sign-in.
pub(super) fn own_page(text: &str) -> Option<&str> {
    let plain = text.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b'\\');
    let path = text.split(['?', '#']).next().unwrap_or_default();
    (plain && is_page(path) && !looks_like_secret(text)).then_some(text)
}

/// Returns the Console page that contains a form: the form's action path, shortened until it is a page.
pub(super) fn page_of(form: &str) -> Option<&str> {
    let mut path = form;
    while !is_page(path) {
        path = path.rsplit_once('/')?.0;
    }
    path.starts_with("/console").then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_led_to_pages_alone() {
        for good in [
            "/console",
            "/console/clients?q=a%20b",
            "/console?x",
            "/console/audit?since=2026-11-24T00:00:00%2B13:00",
            "/console/clients/cl_1/environments/staging/security",
            "/docs/roles",
        ] {
            assert_eq!(own_page(good), Some(good));
        }
        for bad in [
            "",
            "/",
            "//evil.example",
            "https://evil.example/console",
            "/console.evil.example",
            "/consoles",
            "/console/\\evil",
            "/console/\r\nx",
            "/console/é",
            "/console//",
            "/console/clients//settings",
            "/api/v1",
            "/healthz",
            "console",
            "/console/audit/export",
            "/console/audit/export?action=secret.rotated",
            "/console/session",
            "/console/confirm",
            "/console/sign-out",
            "/console/assets/console.js",
            "/console/clients/cl_1/environments/staging/live",
            "/console/account/sessions/end",
        ] {
            assert_eq!(own_page(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_form_belongs_to_the_nearest_page_above_it() {
        for (form, page) in [
            ("/console/people/usr_1/grants/grant_1/delete", "/console/people/usr_1"),
            ("/console/account/tokens/tok_1/delete", "/console/account"),
            ("/console/environments/production/keys", "/console/environments/production"),
            ("/console/clients/cl_1/environments", "/console/clients/cl_1"),
            ("/console/sign-out", "/console"),
        ] {
            assert_eq!(page_of(form), Some(page), "{form}");
        }
        assert_eq!(page_of("/metrics"), None);
    }

    /// A route that is forgotten here would not be found again after a sign-in, or be led to although it is no page.
    #[test]
    fn each_route_that_can_be_read_is_a_page_or_known_as_none() {
        const OTHERS: &[&str] = &[
            "/console/access/export",
            "/console/audit/export",
            "/console/sign-in",
            "/console/sign-in/{provider}",
            "/console/sign-in/callback/{provider}",
            "/console/sign-in/out/{provider}",
            "/console/sign-in/code",
            "/console/link",
            "/console/session",
            "/console/clients/{client}/environments/{environment}/live",
        ];
        let sources = [include_str!("mod.rs"), include_str!("clients/mod.rs")].concat();
        let mut seen = 0;
        for route in sources.split(".route(").skip(1) {
            let Some(path) = route.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next())
            else {
                continue;
            };
            let handlers = route.split_once(',').unwrap().1.trim_start();
            let leads_on = handlers.contains("::back)") || path == "/" || path.contains("{*");
            if !handlers.starts_with("get(") || leads_on || OTHERS.contains(&path) {
                continue;
            }
            let path = path.replace("{tab}", "security");
            let path: Vec<_> =
                path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect();
            assert!(is_page(&path.join("/")), "{path:?}");
            seen += 1;
        }
        assert!(seen >= PAGES.len() - 5, "{seen}");
    }
}
