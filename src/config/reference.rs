//! The reference page, made from the declarations.

use super::key::{Catalogue, KeyInfo, TableInfo};

/// What stands above the tables.
const INTRODUCTION: &str = "\
# Configuration

This page is made from the program's own declarations; `DIPYLON_BLESS=1 cargo test --test config`
writes it anew. `dipylon check` prints the configuration in force with the origin of each value.

## Where a value comes from

1. The built-in default.
2. The file given with `-config_file`, else `athens.toml` in the working directory if it exists.
   Letter case of keys does not matter. Unknown keys are ignored with a warning.
3. The environment, which wins. A variable that is set and empty counts as the empty text.

An Athens file and Athens's variables work unchanged. Besides the variable listed, each of Athens's
keys answers to its long name, which wins: `ATHENS_`, the tables' names in capitals, and the
variable, joined with `_`. So `Storage.S3.Region` is first looked for in
`ATHENS_STORAGE_S3_AWS_REGION`, then in `AWS_REGION`.

Keys marked † are, or may hold, credentials. Append `_FILE` to their variable to name a file with
the value; one line end at its end is cut. Both set at once is an error. What is secret is never
printed; credentials within URLs are cut out of what is.

In variables, whole numbers may be written as Go writes them (`16`, `0x10`, `0o20`, `1_000`); the
booleans are `1 t T TRUE true True 0 f F FALSE false False`; lists are split on commas and not
trimmed; maps are `name:value,name=value`. Durations are whole seconds.

Every wrong value is reported at once, and the program exits with 1. Of the tables under `Storage`,
`SingleFlight` and `Index`, only the one in use has to be complete.
";

/// The page as Markdown.
pub(super) fn page(catalogue: &Catalogue) -> String {
    let mut page = INTRODUCTION.to_owned();
    for table in &catalogue.tables {
        push_table(&mut page, table);
    }
    page
}

fn push_table(page: &mut String, table: &TableInfo) {
    let title = match table.path.as_str() {
        "" => "Top level".to_owned(),
        path => format!("`[{path}]`"),
    };
    page.push_str(&format!("\n## {title}\n\n{}\n", table.doc));
    if table.keys.is_empty() {
        return;
    }
    page.push_str("\n| key | variable | default | accepted | meaning |\n|---|---|---|---|---|\n");
    for key in &table.keys {
        page.push_str(&row(key));
    }
}

fn row(key: &KeyInfo) -> String {
    let name = key.path.rsplit('.').next().unwrap_or_default();
    let mark = if key.file_variables.is_empty() { "" } else { " †" };
    let accepted = key.accepted.split_once(' ').map_or("", |(_, rest)| rest);
    let needed = if key.required { "; not empty" } else { "" };
    let (variable, default) = (&key.variable, cell(&key.default));
    let (accepted, doc) = (cell(accepted), cell(&key.doc));
    format!("| `{name}`{mark} | `{variable}` | `{default}` | {accepted}{needed} | {doc} |\n")
}

/// A text within a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
