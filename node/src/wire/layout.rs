//! The shapes of requests, read once from `request_layouts.txt`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

const TEXT: &str = include_str!("request_layouts.txt");

/// The versions that have a field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Versions {
    pub(super) min: i16,
    pub(super) max: i16,
}

impl Versions {
    const ALL: Self = Self { min: 0, max: i16::MAX };

    pub(super) fn contain(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }
}

/// What a field holds.
#[derive(Debug)]
pub(super) enum Type {
    /// So many bytes.
    Fixed(usize),
    /// A string, which may be null.
    String,
    /// Bytes, which may be null.
    Bytes,
    /// An array, which may be null.
    Array(Box<Type>),
    /// The struct at this place of the same request's structs.
    Struct(usize),
    /// The same behind a byte that says whether it is there: -1 means not.
    Optional(usize),
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) kind: Type,
    pub(super) versions: Versions,
}

#[derive(Debug)]
pub(super) struct Struct {
    pub(super) name: String,
    /// From this version lengths are compact and tagged fields follow.
    pub(super) flexible_from: i16,
    pub(super) fields: Vec<Field>,
    pub(super) tagged: BTreeMap<u32, Field>,
}

/// One request: its structs, the outermost last.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) structs: Vec<Struct>,
    pub(super) root: usize,
}

static LAYOUTS: LazyLock<BTreeMap<i16, Layout>> = LazyLock::new(|| {
    #[allow(clippy::expect_used)]
    parse(TEXT).expect("request_layouts.txt is part of the program, and its test reads it")
});

/// The layout of the requests of an API.
pub(super) fn of(api: i16) -> Option<&'static Layout> {
    LAYOUTS.get(&api)
}

/// The keys of all APIs that have a layout.
#[cfg(test)]
pub(super) fn keys() -> Vec<i16> {
    LAYOUTS.keys().copied().collect()
}

fn parse(text: &str) -> Option<BTreeMap<i16, Layout>> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut blocks: Vec<(i16, &str, Vec<&str>)> = Vec::new();
    for line in lines {
        if let Some(head) = line.strip_prefix("api ") {
            let (key, root) = head.split_once(' ')?;
            blocks.push((key.parse().ok()?, root, Vec::new()));
        } else {
            blocks.last_mut()?.2.push(line);
        }
    }
    blocks.into_iter().map(|(key, root, lines)| Some((key, parse_request(root, &lines)?))).collect()
}

fn parse_request(root: &str, lines: &[&str]) -> Option<Layout> {
    let heads = lines.iter().filter(|line| !line.starts_with(' '));
    let names: Vec<&str> = heads.filter_map(|line| line.split(' ').next()).collect();
    let mut structs: Vec<Struct> = Vec::with_capacity(names.len());
    for line in lines {
        if let Some(field) = line.strip_prefix("  ") {
            let holder = structs.last_mut()?;
            let field = parse_field(field, &names)?;
            match field.name.strip_prefix("tag ") {
                Some(tag) => drop(holder.tagged.insert(tag.parse().ok()?, field)),
                None => holder.fields.push(field),
            }
        } else {
            let mut words = line.split(' ');
            let name = words.next()?.to_owned();
            let flexible_from = match words.nth(1) {
                Some(from) => from.strip_suffix('+')?.parse().ok()?,
                None => i16::MAX,
            };
            structs.push(Struct { name, flexible_from, fields: Vec::new(), tagged: BTreeMap::new() });
        }
    }
    Some(Layout { root: names.iter().position(|name| *name == root)?, structs })
}

fn parse_field(line: &str, names: &[&str]) -> Option<Field> {
    let (name, rest) = line.split_once(": ")?;
    let (kind, versions) = match rest.split_once(' ') {
        Some((kind, versions)) => (kind, parse_versions(versions)?),
        None => (rest, Versions::ALL),
    };
    Some(Field { name: name.to_owned(), kind: parse_type(kind, names)?, versions })
}

fn parse_type(kind: &str, names: &[&str]) -> Option<Type> {
    if let Some(element) = kind.strip_prefix('[') {
        return Some(Type::Array(Box::new(parse_type(element.strip_suffix(']')?, names)?)));
    }
    let place = |name: &str| names.iter().position(|known| *known == name);
    if let Some(name) = kind.strip_prefix('?') {
        return place(name).map(Type::Optional);
    }
    match kind {
        "str" => Some(Type::String),
        "bytes" => Some(Type::Bytes),
        _ => match kind.parse() {
            Ok(size) => Some(Type::Fixed(size)),
            Err(_) => place(kind).map(Type::Struct),
        },
    }
}

fn parse_versions(text: &str) -> Option<Versions> {
    if let Some(min) = text.strip_suffix('+') {
        return Some(Versions { min: min.parse().ok()?, max: i16::MAX });
    }
    let (min, max) = text.split_once("..")?;
    Some(Versions { min: if min.is_empty() { 0 } else { min.parse().ok()? }, max: max.parse().ok()? })
}
