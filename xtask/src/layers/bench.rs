//! The rows of the benches, by the calls that make them.

/// The rows of these benches: a call whose first argument is the group has a row's name as its second, a
/// literal or the name of a layer. Rows whose name is neither are none of a layer.
pub(super) fn rows(benches: &str) -> Vec<String> {
    let code = code(benches);
    code.match_indices("(group, ").filter_map(|(at, call)| row(&code[at + call.len()..])).collect()
}

/// Whether a row is about a layer: it has its name, or begins with it.
pub(super) fn is_about(row: &str, name: &str) -> bool {
    row.strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(", ") || rest.starts_with(" and "))
}

/// Without comments, however rustfmt has broken its lines.
fn code(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    lines.collect::<Vec<_>>().join(" ").replace("( ", "(")
}

fn row(argument: &str) -> Option<String> {
    if let Some(name) = argument.strip_prefix("LayerName::") {
        let end = name.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(name.len());
        return Some(snake_case(&name[..end]));
    }
    let literal = argument.strip_prefix("&format!(").unwrap_or(argument).strip_prefix('"')?;
    literal.split_once('"').map(|(name, _)| name.to_owned())
}

/// `RateLimit` as `rate_limit`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}
