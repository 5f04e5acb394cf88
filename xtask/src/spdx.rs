//! Licence expressions as crates write them: `OR`, `AND`, `WITH`, parentheses, and the old `/` for `OR`.

/// Whether an expression can be fulfilled with the licences that `allowed` accepts.
///
/// # Errors
/// A text that is no licence expression.
pub(crate) fn satisfied(expression: &str, allowed: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = text.split_whitespace().peekable();
    let result = either(&mut words, allowed)?;
    match words.next() {
        None => Ok(result),
        Some(word) => Err(format!("`{word}` is not expected in `{expression}`")),
    }
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words<'_>, allowed: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let mut result = both(words, allowed)?;
    while words.next_if_eq(&"OR").is_some() {
        result |= both(words, allowed)?;
    }
    Ok(result)
}

fn both(words: &mut Words<'_>, allowed: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let mut result = one(words, allowed)?;
    while words.next_if_eq(&"AND").is_some() {
        result &= one(words, allowed)?;
    }
    Ok(result)
}

fn one(words: &mut Words<'_>, allowed: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    match words.next() {
        Some("(") => {
            let result = either(words, allowed)?;
            words.next_if_eq(&")").map(|_| result).ok_or_else(|| "a parenthesis is not closed".to_owned())
        }
        Some(word) if word != ")" => match words.next_if_eq(&"WITH").and_then(|_| words.next()) {
            Some(exception) => Ok(allowed(&format!("{word} WITH {exception}"))),
            None => Ok(allowed(word)),
        },
        _ => Err("a licence is missing".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::satisfied;

    fn ok(expression: &str) -> bool {
        satisfied(expression, &|id| matches!(id, "MIT" | "Apache-2.0" | "Apache-2.0 WITH LLVM-exception")).unwrap()
    }

    #[test]
    fn one_allowed_choice_is_enough() {
        assert!(ok("MIT") && ok("GPL-3.0 OR MIT") && ok("GPL-3.0/MIT") && !ok("GPL-3.0"));
    }

    #[test]
    fn all_of_an_and_are_needed() {
        assert!(ok("(GPL-2.0 OR MIT) AND Apache-2.0") && !ok("MIT AND GPL-2.0") && !ok("MIT AND (GPL-2.0 OR X)"));
        assert!(ok("GPL-2.0 AND X OR MIT"), "AND binds closer");
    }

    #[test]
    fn an_exception_is_part_of_the_licence() {
        assert!(ok("Apache-2.0 WITH LLVM-exception") && !ok("MIT WITH LLVM-exception"));
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for text in ["", "MIT OR", "(MIT", "MIT MIT", "AND )"] {
            assert!(satisfied(text, &|_| true).is_err(), "{text}");
        }
    }
}
