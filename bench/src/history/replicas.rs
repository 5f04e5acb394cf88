//! Whether the replicas of each partition hold the same bytes, once all brokers have stopped in order.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::faults::damage::{segments_of, used};
use super::network::Node;

/// What the replicas of a partition differ in: records are the same bytes on all, whatever segments they are in.
///
/// # Errors
/// A folder or file cannot be read.
pub(crate) fn differing(folders: &[(Node, PathBuf)]) -> io::Result<Vec<String>> {
    let mut logs: BTreeMap<String, Vec<(Node, Vec<PathBuf>)>> = BTreeMap::new();
    for (broker, data) in folders {
        for partition in std::fs::read_dir(data.join("topics"))? {
            let partition = partition?;
            let files = segments_of(&partition.path())?;
            let name = partition.file_name().to_string_lossy().into_owned();
            logs.entry(name).or_default().push((*broker, files));
        }
    }
    let mut found = Vec::new();
    for (partition, replicas) in logs {
        found.extend(compare(&partition, &replicas, folders.len())?);
    }
    Ok(found)
}

fn compare(partition: &str, replicas: &[(Node, Vec<PathBuf>)], brokers: usize) -> io::Result<Option<String>> {
    let starts: Vec<_> = replicas.iter().map(|(_, files)| files.first().and_then(|file| file.file_name())).collect();
    if starts.windows(2).any(|pair| pair[0] != pair[1]) {
        // Each deletes what it need not keep in its own time.
        return Ok(None);
    }
    let Some(((first, files), others)) = replicas.split_first() else { return Ok(None) };
    let log = read(files)?;
    if replicas.len() != brokers && !log.is_empty() {
        return Ok(Some(format!("{partition}: {} of {brokers} brokers hold a log", replicas.len())));
    }
    for (other, files) in others {
        let theirs = read(files)?;
        if theirs != log {
            let same = log.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
            let sizes = format!("{} and {} bytes, the first {same} the same", log.len(), theirs.len());
            return Ok(Some(format!("{partition}: brokers {first} and {other} hold {sizes}")));
        }
    }
    Ok(None)
}

/// The batches of a log.
fn read(files: &[PathBuf]) -> io::Result<Vec<u8>> {
    let mut log = Vec::new();
    for path in files {
        batches(path, &mut log)?;
    }
    Ok(log)
}

fn batches(path: &Path, log: &mut Vec<u8>) -> io::Result<()> {
    let file = File::open(path)?;
    let used = used(&file)?;
    file.take(used).read_to_end(log)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch of 70 bytes.
    fn batch(byte: u8) -> Vec<u8> {
        let mut batch = vec![byte; 70];
        batch[8..12].copy_from_slice(&58_i32.to_be_bytes());
        batch
    }

    fn told(replicas: &[&[(&str, Vec<u8>)]]) -> Vec<String> {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("millrace-replicas-{}-{number}", std::process::id()));
        let folders: Vec<(Node, PathBuf)> =
            (1..).zip(replicas).map(|(id, _)| (id, root.join(id.to_string()))).collect();
        for ((_, folder), files) in folders.iter().zip(replicas) {
            let partition = folder.join("topics/t-0");
            std::fs::create_dir_all(&partition).unwrap();
            for (name, bytes) in *files {
                std::fs::write(partition.join(name), bytes).unwrap();
            }
        }
        let found = differing(&folders).unwrap();
        std::fs::remove_dir_all(root).unwrap();
        found
    }

    #[test]
    fn the_same_batches_in_other_segments_are_the_same_log() {
        let both = [batch(1), batch(2)].concat();
        let spare = [batch(2), vec![0; 100]].concat();
        assert_eq!(told(&[&[("00.log", both)], &[("00.log", batch(1)), ("05.log", spare)]]), [""; 0]);
    }

    #[test]
    fn other_bytes_and_fewer_are_told() {
        let other = told(&[&[("00.log", batch(1))], &[("00.log", batch(2))]]);
        assert_eq!(other, ["t-0: brokers 1 and 2 hold 70 and 70 bytes, the first 0 the same"]);
        let fewer = told(&[&[("00.log", [batch(1), batch(2)].concat())], &[("00.log", batch(1))]]);
        assert_eq!(fewer, ["t-0: brokers 1 and 2 hold 140 and 70 bytes, the first 70 the same"]);
    }

    #[test]
    fn a_log_that_begins_elsewhere_is_not_compared() {
        assert_eq!(told(&[&[("00.log", batch(1))], &[("05.log", batch(2))]]), [""; 0]);
    }
}
