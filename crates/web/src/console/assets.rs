//! Style, scripts and the icon, embedded. Their URL contains a hash of their content, so they can be cached forever and
//! are fetched again after an upgrade.

use crate::document::{is_known, tag, version};
use axum::{
    extract::RawQuery,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use std::sync::LazyLock;

/// A file used by pages.
pub(crate) struct Asset {
    path: &'static str,
    content_type: &'static str,
    content: &'static str,
    version: LazyLock<String>,
    tag: LazyLock<HeaderValue>,
}

macro_rules! asset {
    ($(#[$doc:meta])* $name:ident = $path:literal, $type:literal, [$($file:literal),+]) => {
        $(#[$doc])*
        pub(crate) static $name: Asset = Asset {
            path: $path,
            content_type: $type,
            content: concat!($(include_str!(concat!("assets/", $file))),+),
            version: LazyLock::new(|| version($name.content.as_bytes())),
            tag: LazyLock::new(|| tag($name.content.as_bytes())),
        };
    };
}

asset! {
    /// The style of every page.
    STYLE = "/console/assets/console.css", "text/css; charset=utf-8",
    ["tokens.css", "base.css", "frame.css", "controls.css", "content.css", "secret.css", "crossfade.css", "clients.css", "touch.css"]
}
asset! {
    /// The custom elements and related code, as one module.
    SCRIPT = "/console/assets/console.js", "text/javascript; charset=utf-8",
    ["base.js", "dialogs.js", "passkeys.js", "secret-field.js", "time.js", "search.js", "live-region.js", "keys.js", "link.js", "clients.js"]
}
asset! {
    /// The icon of a browser's tab.
    MARK = "/console/assets/mark.svg", "image/svg+xml", ["mark.svg"]
}

impl Asset {
    /// Returns its route.
    pub(crate) fn path(&self) -> &'static str {
        self.path
    }

    /// Returns its URL, with the hash of its content.
    pub(crate) fn url(&self) -> String {
        format!("{}?v={}", self.path, *self.version)
    }

    /// Returns the file. Cached forever only under the URL with the hash of this content.
    pub(crate) fn serve(&self, RawQuery(query): &RawQuery, headers: &HeaderMap) -> Response {
        let asked = query.as_deref().and_then(|query| query.strip_prefix("v="));
        let kept = match asked == Some(self.version.as_str()) {
            true => "public, max-age=31536000, immutable",
            false => "no-cache",
        };
        let tag = self.tag.clone();
        let is_known = is_known(headers, &tag);
        let headers = [
            (header::ETAG, tag),
            (header::CONTENT_TYPE, HeaderValue::from_static(self.content_type)),
            (header::CACHE_CONTROL, HeaderValue::from_static(kept)),
        ];
        match is_known {
            true => (StatusCode::NOT_MODIFIED, headers).into_response(),
            false => (headers, self.content).into_response(),
        }
    }
}
