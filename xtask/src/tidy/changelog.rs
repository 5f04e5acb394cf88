//! CHANGELOG.md exists and starts with what is not released.

use super::{Project, Violation};

const PATH: &str = "CHANGELOG.md";

/// Reports a change log that is missing or has no place for the next change.
pub(crate) fn check(project: &Project) -> Option<Violation> {
    let message = fault(project.text(PATH))?.to_owned();
    Some(Violation { check: "changelog", subject: PATH.to_owned(), line: 0, measure: None, message })
}

fn fault(text: Option<&str>) -> Option<&'static str> {
    let Some(text) = text else { return Some("the file is missing") };
    let first = text.lines().find(|line| line.starts_with("## "));
    (first != Some("## Unreleased")).then_some("its first section must be `## Unreleased`")
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn the_first_section_is_the_unreleased_one() {
        assert_eq!(fault(Some("# Changes\n\n## Unreleased\n- x\n\n## 0.1.0\n")), None);
        assert!(fault(Some("# Changes\n\n## 0.1.0\n\n## Unreleased\n")).is_some());
        assert!(fault(None).is_some());
    }
}
