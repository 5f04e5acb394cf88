//! The grammar of file names in a partition's directory.

use millrace_types::Offset;

/// What a file of a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileKind {
    /// Record batches.
    Log,
    /// The index sidecar of a sealed segment.
    Index,
    /// The producer state at an offset.
    Snapshot,
}

impl FileKind {
    const fn extension(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Index => "index",
            Self::Snapshot => "snapshot",
        }
    }
}

/// `offset` in twenty digits, so that names sort as offsets do, and the kind's extension.
pub(crate) fn file_name(offset: Offset, kind: FileKind) -> String {
    format!("{offset:020}.{}", kind.extension())
}

/// The offset and kind a name stands for; `None` for any other name.
pub(crate) fn parse_file_name(name: &str) -> Option<(Offset, FileKind)> {
    let (digits, extension) = name.split_once('.')?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let kind = [FileKind::Log, FileKind::Index, FileKind::Snapshot].into_iter().find(|k| k.extension() == extension)?;
    Some((digits.parse().ok()?, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for kind in [FileKind::Log, FileKind::Index, FileKind::Snapshot] {
            for offset in [0, 17, i64::MAX] {
                assert_eq!(parse_file_name(&file_name(offset, kind)), Some((offset, kind)));
            }
        }
        assert_eq!(file_name(17, FileKind::Log), "00000000000000000017.log");
    }

    #[test]
    fn other_names_are_not_taken() {
        for name in
            ["", "17.log", "00000000000000000017.log.tmp", "0000000000000000001x.log", "99999999999999999999.log"]
        {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
    }
}
