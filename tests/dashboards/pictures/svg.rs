//! As much of SVG as the pictures need. The same things drawn are the same bytes.

use std::fmt::Write as _;

/// What a letter of 10 px is wide on average, in tenths of a pixel.
const LETTER_TENTHS: u32 = 56;

/// A picture that grows.
pub(super) struct Svg {
    width: u32,
    height: u32,
    inside: String,
}

/// Where a text stands at its place.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    pub(super) fn new(width: u32, height: u32) -> Self {
        Self { width, height, inside: String::new() }
    }

    pub(super) fn rectangle(&mut self, at: (u32, u32), size: (u32, u32), style: &str) {
        let ((x, y), (w, h)) = (at, size);
        self.line(&format!(r#"<rect x="{x}" y="{y}" width="{w}" height="{h}" {style}/>"#));
    }

    /// Lines from point to point.
    pub(super) fn path(&mut self, points: &[(u32, u32)], style: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x},{y}")).collect();
        self.line(&format!(r#"<polyline points="{}" {style}/>"#, points.join(" ")));
    }

    /// A text of so many pixels' size, cut where it would be wider than `room`.
    pub(super) fn text(
        &mut self,
        at: (u32, u32),
        anchor: Anchor,
        px: u32,
        room: u32,
        style: &str,
        text: &str,
    ) {
        let (x, y) = at;
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => r#" text-anchor="middle""#,
            Anchor::End => r#" text-anchor="end""#,
        };
        let text = escaped(&cut(text, px, room));
        self.line(&format!(
            r#"<text x="{x}" y="{y}" font-size="{px}"{anchor} {style}>{text}</text>"#
        ));
    }

    fn line(&mut self, line: &str) {
        self.inside.push_str(line);
        self.inside.push('\n');
    }

    /// The file. `title` is what a reader hears who does not see it.
    pub(super) fn end(self, title: &str) -> String {
        let Self { width, height, inside } = self;
        let mut file = String::new();
        let _ = write!(
            file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"system-ui, sans-serif\">\n<title>{}</title>\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#f4f5f5\"/>\n{inside}</svg>\n",
            escaped(title)
        );
        file
    }
}

/// What of a text has room.
fn cut(text: &str, px: u32, room: u32) -> String {
    let most = (room * 100 / (px * LETTER_TENTHS)) as usize;
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[test]
fn a_text_that_has_no_room_is_cut_and_none_breaks_the_file() {
    let mut svg = Svg::new(100, 50);
    svg.text((1, 2), Anchor::End, 10, 28, "fill=\"red\"", "a<b&c>d");
    let file = svg.end("\"a\"");
    assert!(
        file.contains(
            r#"<text x="1" y="2" font-size="10" text-anchor="end" fill="red">a&lt;b&amp;…</text>"#
        ),
        "{file}"
    );
    assert!(file.contains("<title>&quot;a&quot;</title>"), "{file}");
}
