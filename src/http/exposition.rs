//! `/metrics`: OpenMetrics with exemplars for who asks for it, Prometheus's classic text for everybody else.

use bytes::Bytes;
use dipylon_middleware::body::Body;
use dipylon_middleware::render::whole;
use dipylon_middleware::telemetry::{Telemetry, openmetrics};
use dipylon_middleware::{Error, ErrorKind};
use http::header::{ACCEPT, VARY};
use http::{HeaderMap, HeaderValue, Response};
use prometheus::{Encoder as _, TEXT_FORMAT, TextEncoder};

/// What is asked for by its media type; scrapers that know it prefer it.
const OPENMETRICS: &str = "application/openmetrics-text";
/// What else they take, in order of how closely they name the classic text.
const CLASSIC: [&str; 3] = ["text/plain", "text/*", "*/*"];

/// The page in the form that the client prefers.
///
/// # Errors
/// `Internal` where the classic text cannot be written.
pub(super) fn page(headers: &HeaderMap, telemetry: &Telemetry) -> Result<Response<Body>, Error> {
    let mut page = if wants_openmetrics(headers) {
        whole(openmetrics::CONTENT_TYPE, Bytes::from(telemetry.openmetrics()))
    } else {
        let mut text = Vec::new();
        TextEncoder::new().encode(&telemetry.registry.gather(), &mut text).map_err(|error| {
            Error::new(ErrorKind::Internal, format!("cannot write the metrics: {error}"))
        })?;
        whole(TEXT_FORMAT, text)
    };
    page.headers_mut().append(VARY, HeaderValue::from_static("accept"));
    Ok(page)
}

/// Whether it is named, and liked at least as much as the classic text.
fn wants_openmetrics(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<(String, f64)> =
        values.flat_map(|value| value.split(',')).filter_map(range).collect();
    let liked = |name: &str| {
        let named = ranges.iter().filter(|(range, _)| range == name).map(|(_, quality)| *quality);
        named.reduce(f64::max)
    };
    let classic = CLASSIC.iter().find_map(|name| liked(name)).unwrap_or(0.0);
    liked(OPENMETRICS).is_some_and(|quality| quality > 0.0 && quality >= classic)
}

/// A media range and how much it is liked; nothing for a version of OpenMetrics that we do not write.
fn range(text: &str) -> Option<(String, f64)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next()?.to_ascii_lowercase();
    let mut quality = 1.0;
    for parameter in parts {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match key.trim().to_ascii_lowercase().as_str() {
            "q" => quality = value.trim().parse().unwrap_or(0.0),
            "version" if name == OPENMETRICS && value.trim().trim_matches('"') != "1.0.0" => {
                return None;
            }
            _ => {}
        }
    }
    Some((name, quality))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(accept: &[&'static str]) -> bool {
        let values = accept.iter().map(|value| (ACCEPT, HeaderValue::from_static(value)));
        wants_openmetrics(&values.collect())
    }

    #[test]
    fn openmetrics_is_for_who_names_it_and_likes_nothing_more() {
        // As Prometheus 2.42 and 3.x ask.
        assert!(wants(&["application/openmetrics-text;version=1.0.0,\
                         application/openmetrics-text;version=0.0.1;q=0.75,\
                         text/plain;version=0.0.4;q=0.5,*/*;q=0.1"]));
        assert!(wants(&["application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,\
             */*;q=0.1"]));
        assert!(wants(&["application/openmetrics-text"]));
        assert!(wants(&["text/plain;q=0.4", "Application/OpenMetrics-Text ; Version=\"1.0.0\""]));
        for classic in [
            &[][..],
            &["*/*"],
            &["text/html,application/xhtml+xml,*/*;q=0.8"],
            &["text/plain, application/openmetrics-text;q=0.9"],
            &["application/openmetrics-text;q=0"],
            &["application/openmetrics-text;q=many"],
            &["application/openmetrics-text;version=0.0.1"],
            &["application/*"],
        ] {
            assert!(!wants(classic), "{classic:?}");
        }
    }
}
