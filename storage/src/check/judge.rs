//! What a recovery did, and what the files hold, as findings.

use std::path::Path;

use millrace_types::Offset;

use super::segment::{Scanned, Sidecar};
use super::{Finding, LogCheck, Severity};
use crate::recovery::{Known, Recovery, Rot};
use crate::segment::{FileKind, file_name};

/// Adds what the recovery of a log came to.
pub(super) fn recovery(check: &mut LogCheck, dir: &Path, known: &Known, recovery: &Recovery) {
    let end = check.end;
    for hole in &recovery.holes {
        let next_start = "goes on with the segment as it is, looks at all of it, replaces what is damaged by what other \
                          replicas hold, and refuses to read it until then";
        check.findings.push(damage(hole, next_start.to_owned()));
    }
    if let Some(rot) = &recovery.damaged {
        let next_start = format!(
            "fetches again from offset {} on where there are other replicas; else serves what lies below, takes no \
             writes, cuts nothing",
            rot.offset
        );
        check.findings.push(damage(rot, next_start));
        return;
    }
    let mut add = |severity, offset, what: String, next_start: String| {
        let file = dir.to_owned();
        check.findings.push(Finding { severity, file, position: None, offset: Some(offset), what, next_start });
    };
    if recovery.flush.is_some() {
        let what = format!("offsets {} to {} are whole and not known to be flushed", known.flushed.unwrap_or(0), end);
        add(Severity::Recovery, known.flushed.unwrap_or(0), what, "flushes them, cuts nothing of them".to_owned());
    }
    if recovery.suffix_lost {
        let what = "records were acknowledged from a page cache that is lost; some behind the end may be missing";
        add(Severity::Recovery, end, what.to_owned(), format!("goes on from offset {end}"));
    }
    if let Some(cut) = &recovery.cut {
        let next_start = match cut.bytes {
            0 => format!("ends the log at offset {end}; there is nothing behind it to cut"),
            bytes => format!("cuts {bytes} bytes, none of which was known to be flushed; the log ends at offset {end}"),
        };
        check.findings.push(Finding {
            severity: Severity::Recovery,
            file: cut.file.clone(),
            position: Some(cut.position),
            offset: Some(cut.to),
            what: cut.reason.clone(),
            next_start,
        });
    } else if !recovery.records.is_empty() {
        let what = "leader epochs are known that begin behind the end of the log".to_owned();
        add(Severity::Recovery, end, what, "drops them, which loses no record".to_owned());
    }
}

fn damage(rot: &Rot, next_start: String) -> Finding {
    let what = format!("{}; offsets {} to {} were flushed", rot.reason, rot.offset, rot.flushed.saturating_sub(1));
    Finding {
        severity: Severity::Damage,
        file: rot.file.clone(),
        position: Some(rot.position),
        offset: Some(rot.offset),
        what,
        next_start,
    }
}

/// Adds what is wrong with the segments and was not met by the recovery, which trusts what was flushed.
pub(super) fn segments(check: &mut LogCheck, known: &Known, recovery: &Recovery, segments: &[Scanned]) {
    // Behind this offset the recovery has judged.
    let judged = if recovery.damaged.is_some() { known.flushed.unwrap_or(0) } else { check.end };
    for segment in segments.iter().filter(|segment| segment.base < judged) {
        let due = segment.following.unwrap_or(Offset::MAX).min(judged);
        let reported = recovery.damaged.iter().chain(&recovery.holes).any(|rot| rot.file == segment.file);
        if segment.next < due && !reported {
            check.findings.push(Finding {
                severity: Severity::Damage,
                file: segment.file.clone(),
                position: Some(segment.position),
                offset: Some(segment.next),
                what: segment.bad.as_ref().map_or_else(|| "the file ends".to_owned(), |bad| bad.reason.clone()),
                next_start: format!(
                    "does not read it, since it was flushed; consumers fail at offsets from {} to {due}",
                    segment.next
                ),
            });
        }
        if segment.following.is_some_and(|following| following <= judged) {
            check.findings.extend(sidecar(segment));
        }
    }
}

/// What is wrong with the sidecar of a sealed segment.
fn sidecar(segment: &Scanned) -> Option<Finding> {
    let rebuilt = "reads the segment and writes the file again";
    let (severity, what, next_start) = match &segment.sidecar {
        Sidecar::Good => return None,
        Sidecar::Missing => (Severity::Recovery, "the index of a sealed segment is missing", rebuilt),
        Sidecar::Unreadable(why) => (Severity::Recovery, why.as_str(), rebuilt),
        Sidecar::Wrong(why) => {
            (Severity::Damage, why.as_str(), "trusts it; remove the file, and the next start writes it again")
        }
    };
    Some(Finding {
        severity,
        file: segment.file.with_file_name(file_name(segment.base, FileKind::Index)),
        position: None,
        offset: Some(segment.base),
        what: what.to_owned(),
        next_start: next_start.to_owned(),
    })
}
