//! A small lexer that blanks comments, strings and character literals of Rust source, keeping every line where it is.
//!
//! It knows line and nested block comments, plain, byte, C and raw strings, character literals against lifetimes, and
//! raw identifiers. It does not parse: what is left is code whose braces can be counted and whose tokens can be searched.

/// `text` with the inside of comments and literals replaced by spaces: same length in lines, same columns in characters.
pub(crate) fn blank(text: &str) -> String {
    let mut lexer = Lexer { chars: text.chars().collect(), at: 0, out: String::with_capacity(text.len()) };
    while lexer.at < lexer.chars.len() {
        lexer.step();
    }
    lexer.out
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    out: String,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    /// Copies the next `count` characters as code.
    fn keep(&mut self, count: usize) {
        for _ in 0..count {
            self.out.extend(self.chars.get(self.at));
            self.at += 1;
        }
    }

    /// Replaces the next `count` characters by spaces, line ends apart.
    fn hide(&mut self, count: usize) {
        for _ in 0..count {
            match self.chars.get(self.at) {
                Some('\n') => self.out.push('\n'),
                Some(_) => self.out.push(' '),
                None => {}
            }
            self.at += 1;
        }
    }

    fn step(&mut self) {
        match self.peek(0) {
            '/' if self.peek(1) == '/' => self.line_comment(),
            '/' if self.peek(1) == '*' => self.block_comment(),
            '"' => self.string(),
            '\'' => self.quote(),
            first if first.is_alphabetic() || first == '_' => self.word(),
            first if first.is_ascii_digit() => self.number(),
            _ => self.keep(1),
        }
    }

    fn line_comment(&mut self) {
        while self.at < self.chars.len() && self.peek(0) != '\n' {
            self.hide(1);
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0usize;
        while self.at < self.chars.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => {
                    depth += 1;
                    self.hide(2);
                }
                ('*', '/') => {
                    depth -= 1;
                    self.hide(2);
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.hide(1),
            }
        }
    }

    /// A string with escapes, from its opening quote.
    fn string(&mut self) {
        self.keep(1);
        while self.at < self.chars.len() {
            match self.peek(0) {
                '\\' => self.hide(2),
                '"' => return self.keep(1),
                _ => self.hide(1),
            }
        }
    }

    /// A raw string, from its first `#` or quote: it ends at a quote with as many `#` behind it.
    fn raw_string(&mut self, hashes: usize) {
        self.keep(hashes + 1);
        while self.at < self.chars.len() {
            if self.peek(0) == '"' && (1..=hashes).all(|ahead| self.peek(ahead) == '#') {
                return self.keep(hashes + 1);
            }
            self.hide(1);
        }
    }

    /// A character literal, or the mark of a lifetime.
    fn quote(&mut self) {
        if self.peek(1) == '\\' {
            self.keep(1);
            self.hide(2);
            while self.at < self.chars.len() && self.peek(0) != '\'' {
                self.hide(1);
            }
            self.keep(1);
        } else if self.peek(2) == '\'' {
            self.keep(1);
            self.hide(1);
            self.keep(1);
        } else {
            self.keep(1);
        }
    }

    /// An identifier or keyword, which may be the prefix of a literal.
    fn word(&mut self) {
        let mut length = 0;
        while self.peek(length).is_alphanumeric() || self.peek(length) == '_' {
            length += 1;
        }
        let word: String = self.chars.iter().skip(self.at).take(length).collect();
        self.keep(length);
        let mut hashes = 0;
        while self.peek(hashes) == '#' {
            hashes += 1;
        }
        match word.as_str() {
            "r" | "br" | "cr" if self.peek(hashes) == '"' => self.raw_string(hashes),
            "b" | "c" if self.peek(0) == '"' => self.string(),
            "b" if self.peek(0) == '\'' => self.quote(),
            "r" if hashes == 1 => self.keep(1),
            _ => {}
        }
    }

    /// A number with its suffix, so that `1u8` is one token.
    fn number(&mut self) {
        while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
            self.keep(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::blank;

    #[test]
    fn comments_go_and_lines_stay() {
        assert_eq!(blank("a // b {\nc /* d /* e */ } */ f"), "a       \nc                   f");
        assert_eq!(blank("/* open\nfor ever"), "       \n        ");
    }

    #[test]
    fn strings_are_emptied() {
        assert_eq!(blank(r#"x("a\"b{", 1)"#), r#"x("     ", 1)"#);
        assert_eq!(blank(r##"x(r#"a"b"#, b"c", br"\")"##), r##"x(r#"   "#, b" ", br" ")"##);
    }

    #[test]
    fn a_lifetime_is_no_character() {
        assert_eq!(blank("fn f<'a>(x: &'a str) { '{' }"), "fn f<'a>(x: &'a str) { ' ' }");
        assert_eq!(blank(r"('\'', '\u{7d}', b'}')"), r"('  ', '      ', b' ')");
        assert_eq!(blank("'label: loop { break 'label; }"), "'label: loop { break 'label; }");
    }

    #[test]
    fn raw_identifiers_are_code() {
        assert_eq!(blank("r#type.x"), "r#type.x");
    }

    #[test]
    fn every_line_keeps_its_length() {
        let text = "let a = \"x\n  y\"; // z\n'\u{e9}' /* \u{4e2d}\n*/ b";
        let out = blank(text);
        let lengths = |text: &str| text.lines().map(|line| line.chars().count()).collect::<Vec<_>>();
        assert_eq!(lengths(text), lengths(&out));
    }
}
