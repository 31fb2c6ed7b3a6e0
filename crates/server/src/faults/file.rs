//! A dump file alone, large enough that it is written out while it grows: which steps fail it, and what the
//! log says.

use std::path::Path;

use rdb::{ValueRef, WriteOptions, write_record, write_select_db};

use super::{Fault, FaultyDisk, Met, Step, count_keys, with_each_fault};
use crate::dumpfile::{DumpFile, DumpOptions, SaveError};

const OPTIONS: DumpOptions = DumpOptions { checksum: true, incremental_sync: true };
/// Records in the room that is filled late, and in the whole file: enough for several rounds of writing out.
const LATE: usize = 5;
const RECORDS: usize = 9;
const RECORD_LEN: usize = 1_700_000;

/// Writes records and between them one whose value comes last, from its end to its beginning.
fn write(disk: &'static FaultyDisk, byte: u8) -> Result<u64, SaveError> {
    let mut dump = DumpFile::create(disk, OPTIONS)?;
    write_select_db(&mut dump.buffer, 0);
    let record = |key: usize| {
        let mut out = Vec::new();
        let value = vec![byte; RECORD_LEN];
        let options = WriteOptions { compress: false };
        write_record(&mut out, key.to_string().as_bytes(), None, ValueRef::Bytes(&value), &options);
        out
    };
    dump.append(&record(0))?;
    let late: Vec<u8> = (1..=LATE).flat_map(record).collect();
    let start = dump.reserve(late.len() as u64)?;
    dump.append(&record(LATE + 1))?;
    for (index, piece) in late.chunks(1 << 20).enumerate().rev() {
        dump.fill(start + (index << 20) as u64, piece)?;
    }
    (LATE + 2..RECORDS).try_for_each(|key| dump.append(&record(key)))?;
    dump.commit(12, Path::new("dump.rdb"))
}

fn check_whole(disk: &FaultyDisk, byte: u8) {
    let dump = disk.dump();
    assert_eq!(count_keys(&dump), RECORDS as i64);
    assert_eq!(dump[RECORD_LEN / 2], byte, "it is another file");
    assert_eq!(disk.names(), ["dump.rdb"]);
}

#[test]
fn a_file_is_whole_or_is_not_there() {
    let disk = FaultyDisk::new("file");
    write(disk, b'a').expect("nothing fails");
    let mut byte = b'b';
    let met = with_each_fault(|fault| {
        let old = disk.dump();
        disk.plan(&[fault]);
        let written = write(disk, byte);
        let met = disk.met().first().copied();
        let harmful = met.is_some_and(|met| met.harmful);
        assert_eq!(written.is_err(), harmful, "{met:?}: {written:?}");
        let in_place = met
            .is_none_or(|Met { step, .. }| !harmful || matches!(step, Step::OpenFolder | Step::SyncFolder));
        if in_place {
            check_whole(disk, byte);
        } else {
            assert!(disk.dump() == old, "{met:?} changes the old dump");
            assert_eq!(disk.names(), ["dump.rdb"], "{met:?}");
        }
        // The next file differs.
        byte = if byte == b'z' { b'a' } else { byte + 1 };
        met
    });
    for step in [
        Step::Create,
        Step::Write,
        Step::BeginWriteOut,
        Step::FinishWriteOut,
        Step::DropCache,
        Step::Sync,
        Step::Rename,
        Step::OpenFolder,
        Step::SyncFolder,
    ] {
        assert!(met.iter().any(|met| met.step == step), "{step:?} is never done");
    }
    println!("{} faults", met.len());
    std::fs::remove_dir_all(&disk.folder).expect("it is there");
}

#[test]
fn the_log_says_which_step_failed_and_why() {
    let disk = FaultyDisk::new("reasons");
    let folder = disk.folder.display().to_string();
    let temporary = format!("temp-{}.rdb", std::process::id());
    let check = |step: Step, number: i32, expected: String| {
        disk.plan(&[Fault::First(step, number)]);
        let error = write(disk, b'a').expect_err("a step fails");
        assert_eq!(error.to_string(), expected);
    };
    check(
        Step::Create,
        libc::EROFS,
        format!(
            "Failed opening the temp RDB file {temporary} (in server root dir {folder}) for saving: Read-only \
             file system"
        ),
    );
    check(
        Step::Rename,
        libc::EACCES,
        format!(
            "Error moving temp DB file {folder}/{temporary} on the final destination dump.rdb (in server root \
             dir {folder}): Permission denied"
        ),
    );
    for (step, number, operation, reason) in [
        (Step::Write, libc::ENOSPC, "write", "No space left on device"),
        (Step::BeginWriteOut, libc::EIO, "sync_file_range", "Input/output error"),
        (Step::FinishWriteOut, libc::EDQUOT, "sync_file_range", "Disk quota exceeded"),
        (Step::Sync, libc::EIO, "fsync", "Input/output error"),
        (Step::OpenFolder, libc::EMFILE, "fsyncFileDir", "Too many open files"),
        (Step::SyncFolder, libc::EIO, "fsyncFileDir", "Input/output error"),
    ] {
        check(step, number, format!("Write error saving DB on disk({operation}): {reason}"));
    }
    std::fs::remove_dir_all(&disk.folder).expect("it is there");
}

#[test]
fn a_write_may_take_few_bytes_but_not_none() {
    let disk = FaultyDisk::new("short");
    write(disk, b'a').expect("nothing fails");
    let whole = disk.dump();
    for at_once in [1 << 20, 100_003, 65_536] {
        disk.plan(&[Fault::First(Step::Write, libc::EINTR)]);
        disk.plan.lock().at_once = at_once;
        write(disk, b'a').expect("short writes are gone on with");
        assert_eq!(disk.met().first().map(|met| met.error), Some(libc::EINTR));
        assert!(disk.dump() == whole, "{at_once} bytes at a time");
    }
    std::fs::remove_dir_all(&disk.folder).expect("it is there");
}
