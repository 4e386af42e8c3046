//! The two sides of an upgrade, each as far as a gateway has to do with it. `handover` is how they talk.

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::{App, FIRST_POLL, Ground, StartError, failed};
use crate::config::{LoadOptions, Settings};
use crate::gateway::Idle;
use crate::handover::{Absent, Received, Socket, Turn, Waiting, find};
use crate::store::DataLock;

/// Why a gateway goes on as before after SIGQUIT.
#[derive(Debug, PartialEq, Eq)]
pub enum Kept {
    /// There is no successor.
    NobodyWaits,
    /// The hand-over came to nothing.
    Failed(String),
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NobodyWaits => f.write_str(
                "SIGQUIT hands the sockets to a successor, and none waits (luna serve --upgrade): ignored",
            ),
            Self::Failed(why) => write!(f, "the upgrade failed, this process goes on: {why}"),
        }
    }
}

/// A gateway that could serve.
pub struct Successor {
    app: App,
    turn: Turn,
}

impl App {
    /// A gateway with the lock and the sockets of the process before it. Nothing is written and no connection accepted
    /// before [`Successor::serve`].
    ///
    /// # Errors
    /// The first thing that cannot be had. The process before has been told, and goes on.
    pub async fn succeed(
        settings: Settings,
        source: LoadOptions,
        received: Received,
    ) -> Result<Successor, StartError> {
        let Received {
            lock,
            sockets,
            turn,
            ..
        } = received;
        let lock = DataLock::inherit(&settings.store.data_dir, lock)
            .map_err(|e| failed("the data folder cannot be used", e));
        let built = match lock {
            Ok(lock) => {
                let ground = Ground {
                    lock,
                    sockets,
                    waits: true,
                };
                Self::build(settings, Some(source), ground).await
            }
            Err(e) => Err(e),
        };
        match built {
            Ok(app) => Ok(Successor { app, turn }),
            Err(e) => {
                turn.fail(&e.0);
                Err(e)
            }
        }
    }

    /// Gives everything to the successor that waits, if one does. After `Ok` this process has nothing left but its open
    /// connections, for [`finish`](Self::finish); after an error it is as before.
    ///
    /// # Errors
    /// Why it goes on.
    pub async fn hand_over(&self) -> Result<(), Kept> {
        let sock = self.gateway.settings().server.upgrade_sock.clone();
        let waiting = match find(&sock).await {
            Ok(waiting) => waiting,
            Err(Absent::Nobody) => return Err(Kept::NobodyWaits),
            Err(absent) => return Err(Kept::Failed(absent.to_string())),
        };
        log::info!(
            "handing over to process {} (luna {})",
            waiting.pid,
            waiting.version
        );
        let given = self.give(waiting).await;
        if let Err(why) = given {
            self.take_back();
            return Err(Kept::Failed(why));
        }
        // Closed, not unlocked: it is the successor's.
        drop(self.data_lock().take());
        self.life.set_handed_over();
        self.stop.send_replace(true);
        self.running.stop_accepting();
        Ok(())
    }

    async fn give(&self, waiting: Waiting) -> Result<(), String> {
        self.life.set_handing_over(true);
        if let Err(e) = self.usage.hand_over().await {
            waiting.cancel(&e);
            return Err(format!("usage cannot be written: {e}"));
        }
        let keys = Arc::clone(&self.keys);
        let lock = {
            let held = self.data_lock();
            let held = held.as_ref().ok_or("the lock is gone")?;
            held.share().map_err(|e| format!("the lock: {e}"))?
        };
        let sockets = self.copies().map_err(|e| format!("the sockets: {e}"))?;
        let given = tokio::task::spawn_blocking(move || {
            keys.hand_over();
            waiting.give(&lock, &sockets)?.go()
        });
        given.await.map_err(|e| e.to_string())?
    }

    fn take_back(&self) {
        if let Some(lock) = self.data_lock().as_ref() {
            lock.keep();
        }
        self.keys.take_back();
        self.usage.take_over();
        self.life.set_handing_over(false);
    }

    fn copies(&self) -> std::io::Result<Vec<Socket>> {
        let copy = |socket: &Socket| {
            Ok(Socket {
                role: socket.role,
                configured: socket.configured,
                address: socket.address,
                listener: socket.listener.try_clone()?,
            })
        };
        self.sockets.iter().map(copy).collect()
    }

    fn data_lock(&self) -> std::sync::MutexGuard<'_, Option<DataLock>> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After a hand-over: lets what runs end within `grace`, writes the last lines of its journal.
    ///
    /// # Errors
    /// When usage could not be written.
    pub async fn finish(self, grace: Duration) -> Result<(), StartError> {
        self.end(grace, Idle::Keep).await
    }

    /// Serves, with the files as its own.
    fn open(&self) {
        if let Some(lock) = self.data_lock().as_ref() {
            lock.keep();
        }
        self.usage.take_over();
        self.gate.send_replace(true);
    }
}

impl Successor {
    /// Tells the process before that this one is ready, and serves once it has said its last word.
    ///
    /// # Errors
    /// When that one goes on instead.
    pub async fn serve(self) -> Result<App, StartError> {
        let Self { app, turn } = self;
        let mut polled = app.poller.first_round();
        let known = polled.wait_for(|done| *done);
        if tokio::time::timeout(FIRST_POLL, known).await.is_err() {
            log::info!("taking over before the first quota poll has ended");
        }
        let word = tokio::task::spawn_blocking(move || turn.ready()).await;
        match word {
            Ok(Ok(())) => {
                app.open();
                Ok(app)
            }
            Ok(Err(e)) => Err(StartError(e)),
            Err(e) => Err(failed("the last word of the old gateway", e)),
        }
    }
}
