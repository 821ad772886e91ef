//! Where a redirect leads, and when it is not followed.

use dipylon_middleware::{Error, ErrorKind};
use http::header;
use http::uri::{PathAndQuery, Scheme, Uri};

use super::http_client::Response;

/// The URL to ask next, or `None` when the answer is the final one.
///
/// # Errors
/// `UpstreamFailed` for a target that is no http(s) URL, and for a step from https to http.
pub(crate) fn redirect_target(
    from: &Uri,
    response: &Response,
    place: &str,
) -> Result<Option<Uri>, Error> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let refused = |why: &str| {
        Error::new(ErrorKind::UpstreamFailed, format!("{place}: upstream redirects {why}"))
    };
    let location = response
        .headers()
        .get(header::LOCATION)
        .ok_or_else(|| refused("without a Location"))?
        .to_str()
        .map_err(|_| refused("to a malformed Location"))?;
    let target = resolve(from, location).ok_or_else(|| refused("to a malformed Location"))?;
    if from.scheme() == Some(&Scheme::HTTPS) && target.scheme() != Some(&Scheme::HTTPS) {
        return Err(refused("from https to http, which is not followed"));
    }
    Ok(Some(target))
}

/// Resolves `location` against the URL that answered with it (RFC 3986 §5.2, for http and https).
/// Credentials written into a location are not sent, and so are cut off.
fn resolve(from: &Uri, location: &str) -> Option<Uri> {
    let location = location.split('#').next()?;
    let absolute = if has_scheme(location) {
        location.to_owned()
    } else if let Some(rest) = location.strip_prefix("//") {
        format!("{}://{rest}", from.scheme_str()?)
    } else {
        let (path, query) = match location.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (location, None),
        };
        let path = match path {
            "" => from.path().to_owned(),
            path if path.starts_with('/') => path.to_owned(),
            path => {
                let directory = &from.path()[..=from.path().rfind('/')?];
                without_dots(&format!("{directory}{path}"))
            }
        };
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}://{}{path}{query}", from.scheme_str()?, from.authority()?)
    };
    let uri: Uri = absolute.parse().ok()?;
    let mut parts = uri.into_parts();
    let known = [Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&parts.scheme.as_ref());
    if !known {
        return None;
    }
    let authority = parts.authority?;
    let host = authority.as_str().rsplit('@').next()?;
    parts.authority = Some(host.parse().ok().filter(|_| !host.is_empty())?);
    parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    Uri::from_parts(parts).ok()
}

/// Whether a location is a whole URL; a `://` may also stand in a relative one's query.
fn has_scheme(location: &str) -> bool {
    location.split_once("://").is_some_and(|(scheme, _)| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        !scheme.is_empty() && scheme.chars().all(allowed)
    })
}

/// Takes `.` and `..` out of an absolute path.
fn without_dots(path: &str) -> String {
    let mut elements: Vec<&str> = Vec::new();
    for element in path.split('/').skip(1) {
        match element {
            "." => {}
            ".." => drop(elements.pop()),
            element => elements.push(element),
        }
    }
    format!("/{}", elements.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_resolved_against_the_url_that_sent_them() {
        let from: Uri = "https://mirror.test:1/a/b/@v/list?x=1".parse().unwrap();
        let table = [
            ("https://store.test/x?sig=1#f", Some("https://store.test/x?sig=1")),
            ("https://user:pw@store.test/x", Some("https://store.test/x")),
            ("//store.test/x", Some("https://store.test/x")),
            ("/x/y", Some("https://mirror.test:1/x/y")),
            ("v1.0.0.zip", Some("https://mirror.test:1/a/b/@v/v1.0.0.zip")),
            ("../c?y=2", Some("https://mirror.test:1/a/b/c?y=2")),
            ("/x?next=https://b.test", Some("https://mirror.test:1/x?next=https://b.test")),
            ("?y=2", Some("https://mirror.test:1/a/b/@v/list?y=2")),
            ("https://store.test", Some("https://store.test/")),
            ("ftp://store.test/x", None),
            ("file:///etc/passwd", None),
            ("https://", None),
            ("https:///x", None),
        ];
        for (location, want) in table {
            let got = resolve(&from, location).map(|uri| uri.to_string());
            assert_eq!(got.as_deref(), want, "{location}");
        }
    }
}
