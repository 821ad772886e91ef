//! A report: the same blocks as Markdown with plots beside it, and as one page of HTML with plots in it.

use std::fmt::Write as _;
use std::path::Path;

use crate::plot::{Plot, escaped};

/// A part of a report, from top to bottom.
pub(super) enum Block {
    Heading(String),
    Text(String),
    Table {
        head: Vec<String>,
        rows: Vec<Vec<String>>,
    },
    /// What is to be copied as it is.
    Code {
        language: &'static str,
        text: String,
    },
    Plot {
        name: String,
        plot: Plot,
    },
}

/// A report.
pub(super) struct Document {
    title: String,
    blocks: Vec<Block>,
}

const STYLE: &str = "body{font:15px/1.5 sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}\
    table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #ccc;padding:.2rem .6rem;text-align:left}\
    th{background:#f3f3f3}td.bad{color:#b00020;font-weight:bold}pre{background:#f3f3f3;padding:.8rem;overflow:auto}\
    svg{width:100%;height:auto;margin:.5rem 0}";

impl Document {
    pub(super) fn new(title: &str) -> Self {
        Self { title: title.to_owned(), blocks: Vec::new() }
    }

    pub(super) fn heading(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Heading(text.into()));
    }

    pub(super) fn text(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Text(text.into()));
    }

    pub(super) fn table(&mut self, head: &[&str], rows: Vec<Vec<String>>) {
        let head = head.iter().map(|cell| (*cell).to_owned()).collect();
        self.blocks.push(Block::Table { head, rows });
    }

    pub(super) fn code(&mut self, language: &'static str, text: impl Into<String>) {
        self.blocks.push(Block::Code { language, text: text.into() });
    }

    /// A plot that shows something; one of nothing is left out.
    pub(super) fn plot(&mut self, name: &str, plot: Plot) {
        if !plot.is_empty() {
            self.blocks.push(Block::Plot { name: name.to_owned(), plot });
        }
    }

    /// Writes `NAME.md`, its plots `NAME-PLOT.svg`, and `NAME.html` if it is wanted.
    ///
    /// # Errors
    /// One line: the file that cannot be written.
    pub(super) fn write(&self, folder: &Path, name: &str, html: bool) -> Result<(), String> {
        let put = |file: String, text: String| {
            let path = folder.join(file);
            std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
        };
        for block in &self.blocks {
            if let Block::Plot { name: plot, plot: drawn } = block {
                put(format!("{name}-{plot}.svg"), drawn.svg())?;
            }
        }
        put(format!("{name}.md"), self.markdown(name))?;
        if html { put(format!("{name}.html"), self.html()) } else { Ok(()) }
    }

    fn markdown(&self, name: &str) -> String {
        let mut out = format!("# {}\n", self.title);
        for block in &self.blocks {
            out.push('\n');
            match block {
                Block::Heading(text) => {
                    let _ = writeln!(out, "## {text}");
                }
                Block::Text(text) => {
                    let _ = writeln!(out, "{text}");
                }
                Block::Table { head, rows } => {
                    let _ = writeln!(out, "| {} |", head.join(" | "));
                    let _ = writeln!(out, "|{}", " --- |".repeat(head.len()));
                    for row in rows {
                        let cells: Vec<String> =
                            row.iter().map(|cell| cell.replace('|', "\\|")).collect();
                        let _ = writeln!(out, "| {} |", cells.join(" | "));
                    }
                }
                Block::Code { language, text } => {
                    let _ = writeln!(out, "```{language}\n{}\n```", text.trim_end());
                }
                Block::Plot { name: plot, plot: drawn } => {
                    let _ = writeln!(out, "![{}]({name}-{plot}.svg)", drawn.title);
                }
            }
        }
        out
    }

    fn html(&self) -> String {
        let title = escaped(&self.title);
        let mut out = format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
             <style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
        );
        for block in &self.blocks {
            let _ = match block {
                Block::Heading(text) => writeln!(out, "<h2>{}</h2>", escaped(text)),
                Block::Text(text) => writeln!(out, "<p>{}</p>", with_code(text)),
                Block::Code { text, .. } => writeln!(out, "<pre>{}</pre>", escaped(text)),
                Block::Plot { plot, .. } => writeln!(out, "{}", plot.svg()),
                Block::Table { head, rows } => {
                    let head: String =
                        head.iter().map(|cell| format!("<th>{}</th>", escaped(cell))).collect();
                    let rows: String = rows.iter().map(|row| html_row(row)).collect();
                    writeln!(out, "<table><tr>{head}</tr>{rows}</table>")
                }
            };
        }
        out.push_str("</body></html>\n");
        out
    }
}

fn html_row(row: &[String]) -> String {
    let cell = |cell: &String| {
        let class = if cell.starts_with("NOT KEPT") { " class=\"bad\"" } else { "" };
        format!("<td{class}>{}</td>", with_code(cell))
    };
    format!("<tr>{}</tr>\n", row.iter().map(cell).collect::<String>())
}

/// What stands between backquotes, as code.
fn with_code(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in escaped(text).split('`').enumerate() {
        if index % 2 == 1 {
            let _ = write!(out, "<code>{part}</code>");
        } else {
            out.push_str(part);
        }
    }
    out.replace("**", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_the_same_in_both_forms() {
        let mut report = Document::new("A & B");
        report.text("Run `it`.");
        report.table(&["a", "b"], vec![vec!["x|y".to_owned(), "NOT KEPT".to_owned()]]);
        report.code("toml", "A = 1\n");
        report.plot("p", Plot::new("seen", "x", "y").line("l", vec![(0.0, 1.0), (1.0, 2.0)]));
        report.plot("empty", Plot::new("nothing", "x", "y"));
        let markdown = report.markdown("r");
        assert!(markdown.contains("| x\\|y | NOT KEPT |"), "{markdown}");
        assert!(markdown.contains("![seen](r-p.svg)") && !markdown.contains("nothing"));
        let html = report.html();
        assert!(html.contains("<title>A &amp; B</title>") && html.contains("<code>it</code>"));
        assert!(html.contains("class=\"bad\"") && html.contains("<svg"));
    }
}
