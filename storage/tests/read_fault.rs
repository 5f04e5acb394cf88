//! A mapped page that cannot be read ends the process, and the last words name the file.
//!
//! A load has no error to return, so without the handler the operator would see a bare "Bus error".

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use millrace_storage::{Disk, RealDisk, mapped_count};

const ROOT: &str = "MILLRACE_READ_FAULT_ROOT";
const NAME: &str = "00000000000000000042.log";

/// Runs in a process of its own, started by the test below: reads a page that somebody has cut off.
#[test]
#[ignore = "ends its process; started by the test that expects it to"]
fn child_reads_a_page_that_is_gone() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let disk = RealDisk::open(Path::new(&root)).unwrap();
    let other = disk.create(Path::new("other"), 8192, 8192).unwrap();
    let file = disk.create(Path::new(NAME), 8192, 8192).unwrap();
    let _other = other.read(0, 8192).unwrap();
    let bytes = file.read(0, 8192).unwrap();
    std::fs::File::options().write(true).open(Path::new(&root).join(NAME)).unwrap().set_len(0).unwrap();
    println!("{}", bytes[5000]);
}

#[test]
fn a_read_fault_names_the_file_and_ends_the_process() {
    let root = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_reads_a_page_that_is_gone", "--ignored", "--nocapture"])
        .env(ROOT, root.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(135), "128 + SIGBUS; it said: {said}");
    assert!(said.contains("read fault (SIGBUS)") && said.contains(NAME), "it said: {said}");
}

#[test]
fn mappings_are_counted_and_their_names_given_back() {
    let root = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(root.path()).unwrap();
    let before = mapped_count();
    let files: Vec<_> =
        (0..100).map(|number| disk.create(Path::new(&number.to_string()), 4096, 4096).unwrap()).collect();
    assert_eq!(mapped_count(), before, "a file is mapped at its first read");
    let slices: Vec<_> = files.iter().map(|file| file.read(0, 1).unwrap()).collect();
    assert_eq!(mapped_count(), before + 100);
    drop(files);
    assert_eq!(mapped_count(), before + 100, "a slice keeps its mapping");
    drop(slices);
    assert_eq!(mapped_count(), before);
}
