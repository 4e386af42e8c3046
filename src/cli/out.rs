//! Printing. Whoever reads may have gone: `luna keys list | head -1` ends quietly.

use std::io::{self, ErrorKind, Write};

use super::failure::Failure;

/// Prints a result on standard output. A closed pipe is no failure; a full disk is.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    match write(&mut io::stdout().lock(), text) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("the output cannot be written: {e}")))
        }
        _ => Ok(()),
    }
}

/// Prints what is shown only once, so that not even a closed pipe passes unnoticed. `lost` says
/// what to do then.
pub(super) fn print_once(text: &str, lost: &str) -> Result<(), Failure> {
    write(&mut io::stdout().lock(), text)
        .map_err(|e| Failure::new(format!("the output cannot be written: {e}; {lost}")))
}

/// One line for the person at the terminal, on standard error. Nobody can be told when that fails.
pub(super) fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

fn write(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Foreign text for a terminal: no character that moves its cursor or changes its colours.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}
