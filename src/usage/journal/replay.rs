//! Reading journals: all of them at start, and those of other processes again and again while they grow.
//!
//! Lines are written in order and a file only grows, so what a stop or a power cut leaves behind is a whole part followed by
//! at most one torn part: a line without its end, or (after a power cut) a stretch of zero bytes. That is cut off. Anything
//! else that cannot be read was not our doing, and is refused rather than guessed at.
//!
//! In an upgrade the process before this one still writes its journal while this one reads it. Who writes a journal holds a
//! lock on it: as long as that is held the file is neither cut nor removed, and what looks torn is about to become whole.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::StoreError;

use super::super::dayfile::Refused;
use super::line::{Header, Line, MAX_LINE, VERSION};
use super::{id_of_name, path};

const BUFFER: usize = 256 * 1024;

/// A torn end that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Cut {
    pub(super) path: PathBuf,
    /// Length of the whole part.
    pub(super) keep: u64,
    /// Bytes after it.
    pub(super) torn: u64,
}

/// How far a journal has been read: to the end of its last good line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Tail {
    /// Bytes up to there.
    offset: u64,
    /// Lines up to there, with the header.
    lines: u64,
    /// Of the last line; 0 before the first.
    pub(in super::super) seq: u64,
    /// Bytes that were in the file, with what was not a good line.
    seen: u64,
}

/// How far each journal has been read.
pub(in super::super) type Tails = BTreeMap<Arc<str>, Tail>;

/// Hands each line of each journal in the folder to `each`. Returns how far each journal was read, and the torn
/// ends, which are left to [`cut`]. Memory does not depend on the length of the files.
pub(in super::super) fn replay(
    dir: &Path,
    mut each: impl FnMut(&str, &Line<'_>),
) -> Result<(Tails, Vec<Cut>), Refused> {
    let mut tails = Tails::new();
    let mut cuts = Vec::new();
    for id in list(dir)? {
        let mut tail = Tail::default();
        // Without it: a running gateway has just finished with it, and this is `luna usage --offline`.
        if let Some(cut) = read_on(dir, &id, &mut tail, &mut each)? {
            cuts.extend(cut);
            tails.insert(id, tail);
        }
    }
    Ok((tails, cuts))
}

/// Adds the journals to `tails` that are in the folder and that are not `ours`.
pub(in super::super) fn discover(
    dir: &Path,
    tails: &mut Tails,
    ours: impl Fn(&str) -> bool,
) -> Result<(), Refused> {
    for id in list(dir)? {
        if !ours(&id) {
            tails.entry(id).or_default();
        }
    }
    Ok(())
}

/// Hands on what has been appended to these journals since. Lines that were handed on are never handed on again, also
/// after an error; the error is the first.
pub(in super::super) fn follow(
    dir: &Path,
    tails: &mut Tails,
    mut each: impl FnMut(&str, &Line<'_>),
) -> Result<(), Refused> {
    let mut first = Ok(());
    for (id, tail) in tails {
        first = first.and(read_on(dir, id, tail, &mut each).map(drop));
    }
    first
}

/// Removes a journal of another process if that has ended and everything in it has been read. True when it is gone.
pub(in super::super) fn remove_read(dir: &Path, id: &str, tail: &Tail) -> std::io::Result<bool> {
    let path = path(dir, id);
    let file = match OpenOptions::new().read(true).write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    // Held until the file is gone: whoever has just made it looks whether it is still there once the lock is had.
    if !writer_has_ended(&file) || file.metadata()?.len() > tail.seen {
        return Ok(false);
    }
    std::fs::remove_file(&path)?;
    Ok(true)
}

/// Takes the lock of a journal, if nobody writes it any more.
fn writer_has_ended(file: &File) -> bool {
    match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(error)) => {
            log::debug!("a journal cannot be locked: {error}");
            false
        }
    }
}

/// The journals in the folder, in the order of their names.
fn list(dir: &Path) -> Result<Vec<Arc<str>>, Refused> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io("list", dir, error)),
    };
    let mut ids = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| io("list", dir, error))?;
        let name = entry.file_name();
        ids.extend(name.to_str().and_then(id_of_name).map(Arc::from));
    }
    ids.sort();
    Ok(ids)
}

/// Reads a journal from `tail` on, and moves that. `None` when there is no such file.
fn read_on(
    dir: &Path,
    id: &str,
    tail: &mut Tail,
    each: &mut impl FnMut(&str, &Line<'_>),
) -> Result<Option<Option<Cut>>, Refused> {
    let path = path(dir, id);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io("read", &path, error)),
    };
    if tail.offset > 0 {
        file.seek(SeekFrom::Start(tail.offset))
            .map_err(|error| io("read", &path, error))?;
    }
    let mut reader = Reader {
        path: &path,
        input: BufReader::with_capacity(BUFFER, file),
        line: Vec::new(),
        offset: tail.offset,
        number: tail.lines,
        good: *tail,
    };
    let read = reader.read(id, each);
    *tail = reader.good;
    if read.is_ok() {
        tail.seen = reader.offset;
    }
    read.map(Some)
}

/// Cuts torn ends off. Best effort: the files are not written again, and a second replay comes to the same end.
pub(in super::super) fn cut(cuts: &[Cut]) {
    for cut in cuts {
        let file = OpenOptions::new().write(true).open(&cut.path);
        let done = file.and_then(|file| {
            if !writer_has_ended(&file) || file.metadata()?.len() != cut.keep + cut.torn {
                return Ok(false);
            }
            file.set_len(cut.keep)?;
            Ok(true)
        });
        let path = cut.path.display();
        match done {
            Ok(true) => log::warn!(
                "{path}: the last {} bytes are torn (a stop in the middle of a write) and are cut off; the whole lines before count",
                cut.torn
            ),
            Ok(false) => log::debug!("{path} is still being written"),
            Err(error) => log::warn!("{path} has a torn end and could not be cut: {error}"),
        }
    }
}

fn io(doing: &'static str, path: &Path, source: std::io::Error) -> Refused {
    Refused::Io(StoreError::Io {
        doing,
        path: path.to_owned(),
        source,
    })
}

/// One journal being read.
struct Reader<'a> {
    path: &'a Path,
    input: BufReader<File>,
    line: Vec<u8>,
    /// Where `line` begins.
    offset: u64,
    /// Of `line`, from 1.
    number: u64,
    /// To the end of the last good line.
    good: Tail,
}

/// What stands where a line should be.
struct Bad {
    offset: u64,
    number: u64,
    what: String,
    /// Without its end, or with zero bytes in it.
    torn: bool,
}

impl Reader<'_> {
    fn read(
        &mut self,
        id: &str,
        each: &mut impl FnMut(&str, &Line<'_>),
    ) -> Result<Option<Cut>, Refused> {
        let mut bad: Option<Bad> = None;
        while self.next()? {
            let whole = self.line.last() == Some(&b'\n');
            let found = if !whole {
                Err("it has no end".to_owned())
            } else if self.number == 1 {
                self.header(id)?.map(|()| None)
            } else {
                self.numbered().map(Some)
            };
            match (found, &bad) {
                (Ok(line), None) => {
                    if let Some(line) = &line {
                        each(id, line);
                    }
                    self.good = Tail {
                        offset: self.offset + self.line.len() as u64,
                        lines: self.number,
                        seq: line.map_or(0, |line| line.seq),
                        seen: 0,
                    };
                }
                // A good line after a bad one: no stop leaves that.
                (Ok(_), Some(bad)) => return Err(self.damaged(bad)),
                (Err(what), None) => {
                    bad = Some(Bad {
                        offset: self.offset,
                        number: self.number,
                        what,
                        torn: !whole || self.line.contains(&0),
                    });
                }
                (Err(_), Some(_)) => {}
            }
            self.offset += self.line.len() as u64;
        }
        match bad {
            None => Ok(None),
            Some(bad) if bad.torn => Ok(Some(Cut {
                path: self.path.to_owned(),
                keep: bad.offset,
                torn: self.offset - bad.offset,
            })),
            Some(bad) => Err(self.damaged(&bad)),
        }
    }

    /// False at the end of the file.
    fn next(&mut self) -> Result<bool, Refused> {
        self.line.clear();
        self.number += 1;
        let mut input = (&mut self.input).take(MAX_LINE);
        let read = input.read_until(b'\n', &mut self.line);
        read.map(|bytes| bytes > 0)
            .map_err(|error| io("read", self.path, error))
    }

    fn numbered(&self) -> Result<Line<'_>, String> {
        let line = Line::parse(&self.line)?;
        if line.seq <= self.good.seq {
            return Err(format!("seq {} follows seq {}", line.seq, self.good.seq));
        }
        Ok(line)
    }

    /// The outer error is for good, the inner one may be a torn end.
    fn header(&self, id: &str) -> Result<Result<(), String>, Refused> {
        let header: Header<'_> = match serde_json::from_slice(&self.line) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if header.version != VERSION {
            return Err(Refused::Damaged(format!(
                "{}: written by another version of Luna (journal version {}, this one reads {VERSION}): start that \
                 version once and stop it, which takes the journal in, or move the file away to start without its \
                 counts; it is left as it is",
                self.path.display(),
                header.version
            )));
        }
        if header.journal != id {
            return Ok(Err(format!(
                "it says journal {:?}, its name says {id:?}",
                header.journal
            )));
        }
        Ok(Ok(()))
    }

    fn damaged(&self, bad: &Bad) -> Refused {
        Refused::Damaged(format!(
            "{}:{}: damaged usage journal: {}: mend or remove that line (each line is one request), or move the file \
             away to start without the requests that are only in it; it is left as it is",
            self.path.display(),
            bad.number,
            bad.what
        ))
    }
}
