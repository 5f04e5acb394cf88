//! One Rust file: its text, its code without comments and literals, and which of its lines are tests.

use super::lexer;

/// A Rust file as the checks see it.
#[derive(Debug)]
pub(crate) struct Source {
    /// Path from the root.
    pub(crate) path: String,
    /// The lines as written.
    pub(crate) lines: Vec<String>,
    /// The lines with comments, strings and characters blanked.
    pub(crate) code: Vec<String>,
    /// Whether the whole file is test code.
    pub(crate) is_test: bool,
    /// For each line whether it belongs to an item under `#[cfg(test)]`.
    test_lines: Vec<bool>,
    /// Names of modules declared as `#[cfg(test)] mod name;`.
    test_modules: Vec<String>,
}

impl Source {
    /// Lexes `text`.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code: Vec<String> = lexer::blank(text).lines().map(str::to_owned).collect();
        let (test_lines, test_modules) = test_items(&code);
        let lines = text.lines().map(str::to_owned).collect();
        Self { path: path.to_owned(), lines, code, is_test: is_test_path(path), test_lines, test_modules }
    }

    /// Whether line `index` (from 0) is test code.
    pub(crate) fn is_test_line(&self, index: usize) -> bool {
        self.is_test || self.test_lines.get(index).copied().unwrap_or(false)
    }

    /// Lines that are no test code.
    pub(crate) fn lines_without_tests(&self) -> usize {
        (0..self.lines.len()).filter(|index| !self.is_test_line(*index)).count()
    }

    /// Whether the path starts with one of the prefixes.
    pub(crate) fn is_below(&self, prefixes: &[&str]) -> bool {
        prefixes.iter().any(|prefix| self.path.starts_with(prefix))
    }
}

/// Marks files that a `#[cfg(test)] mod name;` of their parent declares, and all below them.
pub(crate) fn mark_test_modules(sources: &mut [Source]) {
    let mut roots = Vec::new();
    for source in sources.iter() {
        let folder = module_folder(&source.path);
        roots.extend(source.test_modules.iter().map(|name| format!("{folder}/{name}")));
    }
    for source in sources {
        let stem = source.path.trim_end_matches(".rs");
        source.is_test |= roots.iter().any(|root| stem == root || stem.starts_with(&format!("{root}/")));
    }
}

/// The folder in which the modules of the file `path` stand.
fn module_folder(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
    match name {
        "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
        _ => path.trim_end_matches(".rs").to_owned(),
    }
}

/// Whether a path names test code by its place or name.
fn is_test_path(path: &str) -> bool {
    let mut parts = path.split('/').rev();
    let name = parts.next().unwrap_or_default();
    let by_name = name == "tests.rs" || name.ends_with("_test.rs") || name.ends_with("_tests.rs");
    by_name || parts.any(|part| matches!(part, "tests" | "fuzz" | "benches"))
}

/// Which lines belong to items under `#[cfg(test)]`, and the modules so declared without a body.
fn test_items(code: &[String]) -> (Vec<bool>, Vec<String>) {
    let mut marked = vec![false; code.len()];
    let mut modules = Vec::new();
    for (start, line) in code.iter().enumerate() {
        let attribute: String = line.split_whitespace().collect();
        if marked.get(start) == Some(&true) || !attribute.starts_with("#[cfg(test)]") {
            continue;
        }
        let (end, has_body) = item_end(code, start);
        for mark in marked.iter_mut().take(end + 1).skip(start) {
            *mark = true;
        }
        if !has_body {
            let item: String = code.iter().take(end + 1).skip(start).map(|line| format!("{line} ")).collect();
            let mut words = item.split(|c: char| !c.is_alphanumeric() && c != '_').skip_while(|word| *word != "mod");
            modules.extend(words.nth(1).map(str::to_owned));
        }
    }
    (marked, modules)
}

/// Last line of the item that starts at line `start`, and whether it ends in a braced body.
pub(crate) fn item_end(code: &[String], start: usize) -> (usize, bool) {
    let mut braces = 0i64;
    let mut others = 0i64;
    for (index, line) in code.iter().enumerate().skip(start) {
        for c in line.chars() {
            match c {
                '{' => braces += 1,
                '}' => {
                    braces -= 1;
                    if braces <= 0 && others == 0 {
                        return (index, true);
                    }
                }
                '(' | '[' => others += 1,
                ')' | ']' => others -= 1,
                ';' if braces == 0 && others == 0 => return (index, false),
                _ => {}
            }
        }
    }
    (code.len().saturating_sub(1), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { \"}\"; }\n}\nfn c() {}\n";

    #[test]
    fn an_inline_test_module_is_found() {
        let source = Source::new("x/src/a.rs", TEXT);
        let marks: Vec<bool> = (0..6).map(|index| source.is_test_line(index)).collect();
        assert_eq!(marks, [false, true, true, true, true, false]);
        assert_eq!(source.lines_without_tests(), 2);
    }

    #[test]
    fn a_declared_test_module_marks_its_file_and_what_is_below() {
        let parent = Source::new("x/src/a.rs", "#[cfg(test)]\nmod suite;\nfn c() {}\n");
        assert_eq!(parent.lines_without_tests(), 1);
        let names = ["x/src/a/suite.rs", "x/src/a/suite/deep.rs", "x/src/a/suited.rs", "x/src/suite.rs"];
        let mut sources = vec![parent];
        sources.extend(names.map(|name| Source::new(name, "")));
        mark_test_modules(&mut sources);
        assert_eq!(sources.iter().map(|s| s.is_test).collect::<Vec<_>>(), [false, true, true, false, false]);
    }

    #[test]
    fn test_files_are_known_by_place_and_name() {
        for path in ["broker/tests/kill.rs", "storage/src/log/tests.rs", "node/src/x_test.rs", "storage/fuzz/a.rs"] {
            assert!(is_test_path(path), "{path}");
        }
        assert!(!is_test_path("broker/src/attests.rs"));
    }
}
