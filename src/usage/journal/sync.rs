//! fdatasync, away from whoever writes: a write must never wait for the disk.

use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

#[derive(Default)]
struct Wanted {
    files: Vec<Arc<File>>,
    end: bool,
}

#[derive(Default)]
struct Board {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

/// The thread that syncs. Dropped, it syncs what is left and ends.
pub(super) struct Syncer {
    board: Arc<Board>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// `told` hears how each sync went, on the thread of the syncer.
    pub(super) fn start(told: impl Fn(io::Result<()>) + Send + 'static) -> io::Result<Self> {
        let board = Arc::new(Board::default());
        let theirs = Arc::clone(&board);
        let thread = std::thread::Builder::new()
            .name("usage-sync".to_owned())
            .spawn(move || run(&theirs, &told))?;
        Ok(Self {
            board,
            thread: Some(thread),
        })
    }

    /// Has the file synced soon. Wishes for one file that come while it is being synced become one.
    pub(super) fn want(&self, file: Arc<File>) {
        let mut wanted = lock(&self.board);
        if !wanted.files.iter().any(|known| Arc::ptr_eq(known, &file)) {
            wanted.files.push(file);
        }
        drop(wanted);
        self.board.changed.notify_one();
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        lock(&self.board).end = true;
        self.board.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed.
            let _ = thread.join();
        }
    }
}

fn lock(board: &Board) -> std::sync::MutexGuard<'_, Wanted> {
    board.wanted.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(board: &Board, told: &impl Fn(io::Result<()>)) {
    loop {
        let files = {
            let wanted = lock(board);
            let waited = board
                .changed
                .wait_while(wanted, |wanted| wanted.files.is_empty() && !wanted.end);
            let mut wanted = waited.unwrap_or_else(PoisonError::into_inner);
            if wanted.files.is_empty() {
                return;
            }
            std::mem::take(&mut wanted.files)
        };
        for file in files {
            told(file.sync_data());
        }
    }
}
