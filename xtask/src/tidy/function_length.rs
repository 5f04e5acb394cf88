//! A function has at most 70 lines, from its `fn` to its closing brace; test functions are not counted.

use super::Violation;
use super::source::{Source, item_end};

const FUNCTION_LINES_MAX: usize = 70;

/// Reports functions that are too long.
pub(crate) fn check(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, line) in source.code.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        if source.is_test_line(index) {
            continue;
        }
        let (end, has_body) = item_end(&source.code, index);
        let lines = end - index + 1;
        if has_body && lines > FUNCTION_LINES_MAX {
            found.push(Violation {
                check: "function",
                subject: format!("{}::{name}", source.path),
                line: index + 1,
                measure: Some(lines),
                message: format!("`{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}: give its steps names"),
            });
        }
    }
    found
}

/// The name behind `fn` when the line declares a function.
fn function_name(line: &str) -> Option<&str> {
    let at = line.match_indices("fn ").map(|(at, _)| at).find(|at| {
        let before = line.get(..*at).unwrap_or_default();
        before.is_empty() || before.ends_with(|c: char| c.is_whitespace())
    })?;
    let rest = line.get(at + 3..)?.trim_start();
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    rest.get(..end).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(text: &str) -> Vec<(String, Option<usize>)> {
        check(&Source::new("a.rs", text)).into_iter().map(|v| (v.subject, v.measure)).collect()
    }

    #[test]
    fn names_are_found_behind_qualifiers() {
        assert_eq!(function_name("    pub(crate) const fn a<T>(x: T) {"), Some("a"));
        assert_eq!(function_name("fn b() {"), Some("b"));
        assert_eq!(function_name("type F = fn(u8) -> u8;"), None);
        assert_eq!(function_name("let defn = 1;"), None);
    }

    #[test]
    fn a_long_function_is_reported_with_its_length() {
        let body = "    x;\n".repeat(69);
        assert_eq!(measure(&format!("fn long(\n) {{\n{body}}}\n")), [("a.rs::long".to_owned(), Some(72))]);
        let body = "    x;\n".repeat(68);
        assert_eq!(measure(&format!("fn fits() {{\n{body}}}\n")), []);
    }

    #[test]
    fn a_declaration_without_a_body_has_no_length() {
        let text = format!("trait T {{\n    fn a(&self, x: [u8; 2]) -> u8;\n{}}}\n", "    fn b();\n".repeat(90));
        assert_eq!(measure(&text), []);
    }

    #[test]
    fn tests_may_be_long() {
        let text = format!("#[cfg(test)]\nmod tests {{\nfn a() {{\n{}}}\n}}\n", "x;\n".repeat(100));
        assert_eq!(measure(&text), []);
    }
}
