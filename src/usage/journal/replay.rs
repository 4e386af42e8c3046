//! Reading journals at start.
//!
//! Lines are written in order and a file only grows, so what a stop or a power cut leaves behind is a whole part followed by
//! at most one torn part: a line without its end, or (after a power cut) a stretch of zero bytes. That is cut off. Anything
//! else that cannot be read was not our doing, and is refused rather than guessed at.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::StoreError;

use super::super::dayfile::Refused;
use super::line::{Header, Line, MAX_LINE, VERSION};
use super::{Marks, id_of_name};

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

/// Hands each line of each journal in the folder to `each`. Returns the last sequence number of each journal, and the torn
/// ends, which are left to [`cut`]. Memory does not depend on the length of the files.
pub(in super::super) fn replay(
    dir: &Path,
    mut each: impl FnMut(&str, &Line<'_>),
) -> Result<(Marks, Vec<Cut>), Refused> {
    let mut marks = Marks::new();
    let mut cuts = Vec::new();
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((marks, cuts)),
        Err(error) => return Err(io("list", dir, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| io("list", dir, error))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort();
    for name in &names {
        let Some(id) = id_of_name(name) else { continue };
        let path = dir.join(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            // A running gateway has just finished with it, and this is `luna usage --offline`.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(io("read", &path, error)),
        };
        let mut reader = Reader {
            path: &path,
            input: BufReader::with_capacity(BUFFER, file),
            line: Vec::new(),
            offset: 0,
            number: 0,
            seq: 0,
        };
        cuts.extend(reader.read(id, &mut each)?);
        marks.insert(Arc::from(id), reader.seq);
    }
    Ok((marks, cuts))
}

/// Cuts torn ends off. Best effort: the files are not written again, and a second replay comes to the same end.
pub(in super::super) fn cut(cuts: &[Cut]) {
    for cut in cuts {
        log::warn!(
            "{}: the last {} bytes are torn (a stop in the middle of a write) and are cut off; the whole lines before count",
            cut.path.display(),
            cut.torn
        );
        let file = OpenOptions::new().write(true).open(&cut.path);
        if let Err(error) = file.and_then(|file| file.set_len(cut.keep)) {
            log::warn!("{} could not be cut: {error}", cut.path.display());
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
    /// Of the last good line.
    seq: u64,
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
                (Ok(Some(line)), None) => {
                    each(id, &line);
                    self.seq = line.seq;
                }
                (Ok(None), None) => {}
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
        if line.seq <= self.seq {
            return Err(format!("seq {} follows seq {}", line.seq, self.seq));
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
