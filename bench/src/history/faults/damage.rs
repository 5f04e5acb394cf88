//! Damage to the segments of a broker.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::super::draw::Draw;

/// Position of a batch's length, and the bytes before what it counts.
const LENGTH_AT: usize = 8;
const BEFORE_LENGTH_ENDS: u64 = 12;
/// Bytes of the header of a batch.
const HEADER_BYTES: usize = 61;

/// What is done to a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// One bit is another.
    Flip,
    /// It ends before its end.
    Truncate,
    /// All of it is zeros.
    Zero,
    /// The end of it is zeros.
    Tail,
}

/// Bytes that the end of a log may lack.
const TAIL_BYTES_MAX: u64 = 4_096;

/// A segment's file and how many bytes of it are batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The file.
    pub(crate) path: PathBuf,
    /// Bytes of batches.
    pub(crate) used: u64,
}

/// Segments that hold batches, in a broker's folder: the sealed ones, or of each log the one that is appended to.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn segments(data: &Path, are_sealed: bool) -> io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    for partition in std::fs::read_dir(data.join("topics"))? {
        let mut files = segments_of(&partition?.path())?;
        let last = files.split_off(files.len().saturating_sub(1));
        for path in if are_sealed { files } else { last } {
            let used = used(&File::open(&path)?)?;
            if used > 0 {
                found.push(Segment { path, used });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// The files of a log's segments, in their order.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn segments_of(partition: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(partition)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    files.sort();
    Ok(files)
}

/// Bytes of whole batches at the beginning of a file.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn used(file: &File) -> io::Result<u64> {
    let size = file.metadata()?.len();
    let mut at = 0;
    let mut header = [0; HEADER_BYTES];
    while at + HEADER_BYTES as u64 <= size {
        file.read_exact_at(&mut header, at)?;
        let length = header[LENGTH_AT..].first_chunk().map_or(0, |bytes| i32::from_be_bytes(*bytes));
        let next = at + BEFORE_LENGTH_ENDS + u64::try_from(length).unwrap_or(0);
        if length <= 0 || next > size {
            break;
        }
        at = next;
    }
    Ok(at)
}

/// Damages a segment, and says how.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn inflict(damage: Damage, segment: &Segment, draw: &mut Draw) -> io::Result<String> {
    let file = OpenOptions::new().read(true).write(true).open(&segment.path)?;
    let place = draw.below(segment.used);
    let said = match damage {
        Damage::Flip => {
            let mut byte = [0];
            file.read_exact_at(&mut byte, place)?;
            let bit = draw.below(8);
            file.write_all_at(&[byte[0] ^ 1 << bit], place)?;
            format!("bit {bit} of byte {place} flipped")
        }
        Damage::Truncate => {
            file.set_len(place)?;
            format!("cut to {place} bytes")
        }
        Damage::Zero => {
            let zeros = vec![0; usize::try_from(segment.used).unwrap_or(usize::MAX)];
            file.write_all_at(&zeros, 0)?;
            "zeroed".to_owned()
        }
        Damage::Tail => {
            let lost = 1 + place % segment.used.min(TAIL_BYTES_MAX);
            let zeros = vec![0; usize::try_from(lost).unwrap_or(usize::MAX)];
            file.write_all_at(&zeros, segment.used - lost)?;
            format!("the last {lost} bytes zeroed")
        }
    };
    file.sync_all()?;
    Ok(format!("{said} of {} in {}", segment.used, segment.path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a partition of three segments of one batch each.
    fn folder() -> PathBuf {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let data = std::env::temp_dir().join(format!("millrace-damage-{}-{number}", std::process::id()));
        let partition = data.join("topics/t-0");
        std::fs::create_dir_all(&partition).unwrap();
        for (name, spare) in [("00.log", 0), ("05.log", 0), ("09.log", 4096)] {
            let mut bytes = vec![7; 100];
            bytes[8..12].copy_from_slice(&88_i32.to_be_bytes());
            bytes.resize(100 + spare, 0);
            std::fs::write(partition.join(name), bytes).unwrap();
        }
        std::fs::write(partition.join("00.index"), "").unwrap();
        data
    }

    #[test]
    fn the_last_segment_is_not_sealed() {
        let data = folder();
        let found = segments(&data, true).unwrap();
        let names: Vec<_> = found.iter().map(|segment| segment.path.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["00.log", "05.log"]);
        assert!(found.iter().all(|segment| segment.used == 100));
        let last = segments(&data, false).unwrap();
        assert_eq!(last, [Segment { path: data.join("topics/t-0/09.log"), used: 100 }], "without its spare room");
        std::fs::remove_dir_all(data).unwrap();
    }

    #[test]
    fn each_damage_does_what_it_says() {
        let data = folder();
        let segment = segments(&data, true).unwrap().remove(0);
        let before = std::fs::read(&segment.path).unwrap();
        let mut draw = Draw::new(1, 0);
        inflict(Damage::Flip, &segment, &mut draw).unwrap();
        let flipped = std::fs::read(&segment.path).unwrap();
        let bits: u32 = before.iter().zip(&flipped).map(|(a, b)| (a ^ b).count_ones()).sum();
        assert_eq!(bits, 1);
        inflict(Damage::Tail, &segment, &mut draw).unwrap();
        let torn = std::fs::read(&segment.path).unwrap();
        assert!(torn.len() == 100 && torn[99] == 0, "the end is gone");
        inflict(Damage::Zero, &segment, &mut draw).unwrap();
        assert_eq!(std::fs::read(&segment.path).unwrap(), [0; 100]);
        inflict(Damage::Truncate, &segment, &mut draw).unwrap();
        assert!(std::fs::read(&segment.path).unwrap().len() < 100);
        std::fs::remove_dir_all(data).unwrap();
    }
}
