//! The list of exceptions: sorted, each with a reason, and it may only shrink.
//!
//! A line is `check subject limit reason`; the subject is a path or `path::item` as the fault names it. For checks
//! with a length the limit is that length, else `-`: a longer item fails, a shorter one asks for a lower limit. A waiver that
//! nothing needs is a fault. Lines that start with `#` are comments.

use super::Violation;

/// Where the list stands.
pub(crate) const PATH: &str = "xtask/waivers.txt";
/// A reason is more than a word.
const REASON_CHARS_MIN: usize = 15;

struct Waiver<'a> {
    line: usize,
    check: &'a str,
    subject: &'a str,
    limit: Option<usize>,
    used: bool,
}

/// Takes the waived faults out of `violations` and adds the faults of the list itself.
pub(crate) fn apply(text: &str, violations: Vec<Violation>) -> Vec<Violation> {
    let (mut waivers, mut faults) = parse(text);
    for violation in violations {
        let waiver = waivers.iter_mut().find(|w| w.check == violation.check && w.subject == violation.subject);
        let Some(waiver) = waiver else {
            faults.push(violation);
            continue;
        };
        waiver.used = true;
        match (violation.measure, waiver.limit) {
            (Some(measure), Some(limit)) if measure < limit => {
                faults.push(fault(waiver.line, format!("{} has {measure} by now: lower its limit", waiver.subject)));
            }
            (Some(measure), Some(limit)) if measure == limit => {}
            (None, None) => {}
            _ => faults.push(violation),
        }
    }
    let unused = waivers.iter().filter(|waiver| !waiver.used);
    faults.extend(unused.map(|w| fault(w.line, format!("nothing needs `{} {}`: remove it", w.check, w.subject))));
    faults
}

fn parse(text: &str) -> (Vec<Waiver<'_>>, Vec<Violation>) {
    let mut waivers = Vec::new();
    let mut faults = Vec::new();
    let mut previous = "";
    for (index, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line <= previous {
            faults.push(fault(index + 1, "the list must be sorted, without doubles".to_owned()));
        }
        previous = line;
        match parse_line(index + 1, line) {
            Some(waiver) => waivers.push(waiver),
            None => {
                faults.push(fault(index + 1, "a line is `check subject limit reason`, the reason a sentence".into()))
            }
        }
    }
    (waivers, faults)
}

fn parse_line(number: usize, line: &str) -> Option<Waiver<'_>> {
    let mut words = line.splitn(4, ' ');
    let (check, subject, limit, reason) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let limit = if limit == "-" { None } else { Some(limit.parse().ok()?) };
    let has_reason = reason.chars().count() >= REASON_CHARS_MIN;
    has_reason.then_some(Waiver { line: number, check, subject, limit, used: false })
}

fn fault(line: usize, message: String) -> Violation {
    Violation { check: "waivers", subject: PATH.to_owned(), line, measure: None, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(measure: usize) -> Violation {
        Violation {
            check: "function",
            subject: "a.rs::f".to_owned(),
            line: 3,
            measure: Some(measure),
            message: String::new(),
        }
    }

    fn checks(text: &str, violations: Vec<Violation>) -> Vec<(&'static str, usize)> {
        apply(text, violations).into_iter().map(|violation| (violation.check, violation.line)).collect()
    }

    const WAIVER: &str = "function a.rs::f 80 a table that reads best in one piece\n";

    #[test]
    fn a_waiver_holds_exactly_its_length() {
        assert_eq!(checks(WAIVER, vec![long(80)]), []);
        assert_eq!(checks(WAIVER, vec![long(81)]), [("function", 3)], "it may not grow");
        assert_eq!(checks(WAIVER, vec![long(75)]), [("waivers", 1)], "it follows when the item shrinks");
    }

    #[test]
    fn an_unused_waiver_is_a_fault() {
        assert_eq!(checks(WAIVER, vec![]), [("waivers", 1)]);
        assert_eq!(checks("# only a comment\n", vec![]), []);
    }

    #[test]
    fn a_line_without_reason_waives_nothing() {
        assert_eq!(checks("function a.rs::f 80 why\n", vec![long(80)]), [("waivers", 1), ("function", 3)]);
    }

    #[test]
    fn the_list_is_sorted() {
        let text = "size b.rs 501 one table of all error codes\nsize a.rs 501 one table of all error codes\n";
        let size = |path: &str| Violation { check: "size", subject: path.to_owned(), measure: Some(501), ..long(1) };
        assert_eq!(checks(text, vec![size("a.rs"), size("b.rs")]), [("waivers", 2)]);
    }
}
