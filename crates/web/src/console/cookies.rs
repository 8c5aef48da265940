//! Cookies, as far as the Console needs them (RFC 6265).

use axum::http::{HeaderMap, header};

/// The value of the cookie `name`. Where it is sent twice there is no telling which is ours, so there is none.
pub(crate) fn read(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(own, _)| *own == name)
        .map(|(_, value)| value.to_owned());
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_and_a_doubled_one_is_none() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::COOKIE, value.parse().unwrap());
            }
            super::read(&headers, "a")
        };
        assert_eq!(read(&["a=1"]), Some("1".into()));
        assert_eq!(read(&["b=2; a=1; aa=3"]), Some("1".into()));
        assert_eq!(read(&["b=2", "a=1"]), Some("1".into()));
        assert_eq!(read(&["a=1; a=2"]), None);
        assert_eq!(read(&["a=1", "a=1"]), None);
        assert_eq!(read(&["A=1", "x a=1"]), None);
        assert_eq!(read(&[]), None);
    }
}
