//! The home page: the built-in one, or a template in the part of Go's syntax that Athens's own page
//! uses.

use std::path::PathBuf;

/// The largest template, in bytes.
const TEMPLATE_BYTES_MAX: u64 = 1024 * 1024;

const BUILT_IN: &str = include_str!("home.html");

/// Renders the home page.
#[derive(Clone, Debug)]
pub struct HomePage {
    /// The template; the built-in page is shown where the file is missing.
    pub template: PathBuf,
    /// Shown as `{{ .NoSumPatterns }}`.
    pub no_sum_patterns: String,
}

impl HomePage {
    /// The page for a client that calls us `host`, as `scheme://host`.
    pub fn render(&self, host: &str) -> String {
        let template = self.read().unwrap_or_else(|| BUILT_IN.to_owned());
        let values = [("Host", host), ("NoSumPatterns", self.no_sum_patterns.as_str())];
        match render(&template, &values) {
            Ok(page) => page,
            Err(reason) => {
                tracing::error!(template = %self.template.display(), reason,
                    "the home page's template is refused: the built-in page is shown");
                render(BUILT_IN, &values).unwrap_or_default()
            }
        }
    }

    fn read(&self) -> Option<String> {
        let length = match std::fs::metadata(&self.template) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => return self.unreadable(&error),
        };
        if length > TEMPLATE_BYTES_MAX {
            return self.unreadable(&"larger than 1 MiB");
        }
        std::fs::read_to_string(&self.template)
            .or_else(|error| self.unreadable(&error).ok_or(()))
            .ok()
    }

    fn unreadable(&self, error: &dyn std::fmt::Display) -> Option<String> {
        tracing::error!(template = %self.template.display(), %error,
            "the home page's template cannot be read: the built-in page is shown");
        None
    }
}

/// `{{ .Name }}` and `{{ if .Name }}…{{ else }}…{{ end }}`, nested; values are HTML-escaped.
fn render(template: &str, values: &[(&str, &str)]) -> Result<String, &'static str> {
    let mut page = String::with_capacity(template.len());
    // Whether each enclosing branch is shown.
    let mut branches: Vec<bool> = Vec::new();
    let mut rest = template;
    while let Some((text, tail)) = rest.split_once("{{") {
        let (action, tail) = tail.split_once("}}").ok_or("an action is not closed")?;
        emit(&mut page, &branches, text);
        let action = action.trim_matches(|c: char| c == '-' || c.is_whitespace());
        let words: Vec<&str> = action.split_whitespace().collect();
        match words.as_slice() {
            ["if", name] => branches.push(!value(values, name)?.is_empty()),
            ["else"] => {
                let last = branches.last_mut().ok_or("else without if")?;
                *last = !*last;
            }
            ["end"] => drop(branches.pop().ok_or("end without if")?),
            [name] => {
                let escaped = escape(value(values, name)?);
                emit(&mut page, &branches, &escaped);
            }
            _ => return Err("an action other than {{ .Name }}, if, else, end"),
        }
        rest = tail;
    }
    if !branches.is_empty() {
        return Err("if without end");
    }
    page.push_str(rest);
    Ok(page)
}

fn emit(page: &mut String, branches: &[bool], text: &str) {
    if branches.iter().all(|shown| *shown) {
        page.push_str(text);
    }
}

fn value<'a>(values: &[(&str, &'a str)], name: &str) -> Result<&'a str, &'static str> {
    let name = name.strip_prefix('.').ok_or("a name without its dot")?;
    let found = values.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value).ok_or("a name other than .Host and .NoSumPatterns")
}

/// Text as it may stand in HTML, between tags and in an attribute.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: &[(&str, &str)] = &[("Host", "http://a<b"), ("NoSumPatterns", "")];

    #[test]
    fn values_are_escaped_and_branches_follow_emptiness() {
        let template =
            "{{.Host}} {{ if .NoSumPatterns }}x{{ else }}y{{ end }}{{- if .Host -}}z{{end}}";
        assert_eq!(render(template, VALUES).unwrap(), "http://a&lt;b yz");
    }

    #[test]
    fn a_template_we_cannot_read_is_an_error_never_a_panic() {
        for bad in
            ["{{", "{{ range .X }}", "{{ .Other }}", "{{ if .Host }}", "{{ end }}", "{{ else }}"]
        {
            assert!(render(bad, VALUES).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_built_in_page_renders() {
        let page = HomePage { template: "/nonexistent".into(), no_sum_patterns: "a/*".into() };
        let html = page.render("https://proxy.example");
        assert!(html.contains("GOPROXY=https://proxy.example"), "{html}");
        assert!(html.contains("GONOSUMDB=a/*"), "{html}");
    }
}
