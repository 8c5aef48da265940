//! Second factors on the account page: adding an app with a QR code, removing one, and recovery codes.

use super::{
    account::{self, AccountPage},
    error::status,
    form::{Fields, Form},
    layout::{Layout, Section},
    message::redirect_with,
    page, page_with,
    session::{Fresh, SignedIn, WRONG_CODE},
};
use crate::reply::Reply;
use askama::Template;
use axum::{extract::Path, http::StatusCode, response::Response};
use crossfade_app::{Added, Enrolment};
use crossfade_core::{Code, Problem, second_factor::RecoveryCode};
use qrcode::{Color, EcLevel, QrCode};

/// Width of the white margin of a QR code in modules (ISO/IEC 18004 §9.1).
const QUIET_ZONE: usize = 4;
/// Number of characters of a shared secret in a group, so that it can be typed.
const GROUP: usize = 4;

#[derive(Template)]
#[template(path = "console/factor.html")]
struct FactorPage {
    layout: Layout,
    /// Path that confirms the factor.
    action: String,
    /// Number of modules of a side, with the margin.
    side: usize,
    /// The dark modules, as a path of SVG.
    modules: String,
    /// The shared secret in groups.
    secret: String,
    /// Name of the factor.
    name: String,
    form: Form,
}

#[derive(Template)]
#[template(path = "console/recovery_codes.html")]
struct CodesPage {
    layout: Layout,
    /// The codes, one a line.
    codes: String,
    /// Whether they came with the first factor.
    is_first: bool,
}

/// Returns the side of a QR code in modules, and its dark modules as a path.
fn drawn(text: &str) -> Result<(usize, String), crossfade_app::Error> {
    let code =
        QrCode::with_error_correction_level(text, EcLevel::M).map_err(crossfade_app::Error::internal)?;
    let width = code.width();
    let mut path = String::new();
    for (at, color) in code.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            let (x, y) = (at % width + QUIET_ZONE, at / width + QUIET_ZONE);
            path.push_str(&format!("M{x} {y}h1v1h-1z"));
        }
    }
    Ok((width + 2 * QUIET_ZONE, path))
}

/// Returns a shared secret in groups of four.
fn grouped(text: &str) -> String {
    let groups: Vec<&str> =
        (0..text.len()).step_by(GROUP).filter_map(|at| text.get(at..at + GROUP)).collect();
    groups.join(" ")
}

fn enrolment_page(
    signed: &SignedIn,
    enrolment: &Enrolment,
    form: Form,
) -> Result<FactorPage, crossfade_app::Error> {
    let (side, modules) = drawn(&enrolment.reveal_address())?;
    let layout = signed.layout(Section::Account, "Add second factor");
    Ok(FactorPage {
        layout: layout.crumb("Your account", "/console/account"),
        action: format!("/console/account/factors/{}", enrolment.id),
        side,
        modules,
        secret: grouped(&enrolment.reveal_text()),
        name: enrolment.name.clone(),
        form,
    })
}

fn code_form() -> Form {
    Form::new("", Fields::default().with("code", ""))
}

/// Begins to add a factor, and shows its shared secret.
pub(super) async fn begin(Fresh { signed, fields }: Fresh) -> Reply {
    match signed.app.begin_factor(&signed.session, fields.text("name")).await {
        Ok(enrolment) => Ok(page(&enrolment_page(&signed, &enrolment, code_form())?)),
        Err(error) if error.is_about_input() => {
            let mut shown = AccountPage::load(&signed, None).await?;
            let answer = status(&error.problem);
            shown.factor = Form::new("factor", fields).refused(error.problem);
            Ok(page_with(answer, &shown))
        }
        Err(error) => Err(error.into()),
    }
}

/// Adds the factor with its first code.
pub(super) async fn add(Path(id): Path<String>, Fresh { signed, fields }: Fresh) -> Reply {
    match signed.app.add_factor(&signed.session, &id, fields.text("code"), &signed.visitor).await? {
        Added::Wrong => {
            let enrolment = signed.app.read_enrolment(&signed.session, &id).await?;
            let problem = Problem::new(Code::InvalidBody, WRONG_CODE).with_field("code");
            let shown = enrolment_page(&signed, &enrolment, code_form().refused(problem))?;
            Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &shown))
        }
        right => added(signed, right),
    }
}

/// Returns the page after a factor was added: with the first one, its recovery codes.
pub(super) fn added(mut signed: SignedIn, added: Added) -> Reply {
    match added {
        Added::First { codes, devices } => {
            signed.session.has_factor = true;
            signed.know_browser(&devices)?;
            Ok(page(&codes_page(&signed, &codes, true)))
        }
        Added::Further | Added::Wrong => Ok(to("factor-added")),
    }
}

pub(super) async fn remove(Path(id): Path<String>, Fresh { signed, .. }: Fresh) -> Reply {
    match signed.app.remove_factor(&signed.session, &id, &signed.visitor).await {
        Ok(devices) => {
            signed.know_browser(&devices)?;
            Ok(to("factor-removed"))
        }
        Err(error) => account::refused(&signed, error).await,
    }
}

pub(super) async fn create_codes(Fresh { signed, .. }: Fresh) -> Reply {
    match signed.app.create_recovery_codes(&signed.session).await {
        Ok(codes) => Ok(page(&codes_page(&signed, &codes, false))),
        Err(error) => account::refused(&signed, error).await,
    }
}

fn codes_page(signed: &SignedIn, codes: &[RecoveryCode], is_first: bool) -> CodesPage {
    let layout = signed.layout(Section::Account, "Recovery codes");
    CodesPage {
        layout: layout.crumb("Your account", "/console/account"),
        codes: codes.iter().map(RecoveryCode::reveal_grouped).collect::<Vec<_>>().join("\n"),
        is_first,
    }
}

fn to(done: &'static str) -> Response {
    redirect_with("/console/account", done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_are_rendered() {
        let (side, modules) = drawn("otpauth://totp/Crossfade:ada?secret=GEZDGNBVGY3TQOJQ").unwrap();
        let page = FactorPage {
            layout: Layout::sample(Section::Account, "Add second factor"),
            action: "/console/account/factors/fac_1".into(),
            side,
            modules,
            secret: grouped("GEZDGNBVGY3TQOJQ"),
            name: "<phone>".into(),
            form: code_form(),
        };
        let html = page.render().unwrap();
        assert!(html.contains("GEZD GNBV GY3T QOJQ") && html.contains("&#60;phone&#62;"), "{html}");
        assert!(
            html.contains(&format!("viewBox=\"0 0 {side} {side}\"")) && !html.contains("style="),
            "{html}"
        );
        let layout = Layout::sample(Section::Account, "Recovery codes");
        let codes = CodesPage { layout, codes: "AAAAA-BBBBB".into(), is_first: true }.render().unwrap();
        assert!(codes.contains("AAAAA-BBBBB") && codes.contains("data-shown-once"), "{codes}");
    }

    #[test]
    fn a_qr_code_has_its_three_corners_and_a_margin() {
        let (side, modules) = drawn("otpauth://totp/a?secret=A").unwrap();
        let last = side - QUIET_ZONE - 1;
        for corner in [(4, 4), (last, 4), (4, last)] {
            assert!(modules.contains(&format!("M{} {}h", corner.0, corner.1)), "{corner:?}");
        }
        assert!(!modules.contains(&format!("M{last} {last}h")) || side > 21);
        assert!(!modules.contains("M3 ") && !modules.contains("M0 "));
    }
}
