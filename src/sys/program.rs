//! A program of the site that does for one command what this one cannot: it is given bytes and answers with bytes. Its own
//! words, and whatever it asks the person, stay between it and the terminal.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How often a program that runs is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Why a program gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    #[error("the program '{0}' cannot be started")]
    Start(String, #[source] std::io::Error),
    #[error("the program '{0}' ended with {1}")]
    Ended(String, ExitStatus),
    #[error("the program '{0}' had not answered after {1:?} and was ended")]
    Patience(String, Duration),
    #[error("the program '{0}' answered with more than {1} bytes")]
    TooLong(String, usize),
    #[error("cannot talk to the program '{0}'")]
    Pipe(String, #[source] std::io::Error),
}

/// Runs `program` without arguments and without a shell, gives it `input`, and returns what it writes to its standard
/// output: at most `output_bytes_max`, and within `patience`, after which it is ended. It may take as long again to end
/// after it has closed its output.
///
/// # Errors
/// When it cannot be started, says more, takes longer, or ends with anything but 0.
pub fn ask(
    program: &Path,
    input: Vec<u8>,
    output_bytes_max: usize,
    patience: Duration,
) -> Result<Vec<u8>, ProgramError> {
    let name = || program.display().to_string();
    let pipe = |error| ProgramError::Pipe(name(), error);
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| ProgramError::Start(name(), error))?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    // One that reads nothing and ends well has still answered.
    std::thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
    let (said, answer) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.map_or(Ok(0), |stdout| stdout.take(output_bytes_max as u64 + 1).read_to_end(&mut bytes));
        said.send(read.map(|_| bytes))
    });
    let bytes = match answer.recv_timeout(patience) {
        Ok(read) => read.map_err(pipe),
        Err(_) => Err(ProgramError::Patience(name(), patience)),
    };
    let bytes = match bytes {
        Ok(bytes) if bytes.len() > output_bytes_max => Err(ProgramError::TooLong(name(), output_bytes_max)),
        other => other,
    };
    let status = match &bytes {
        Ok(_) => ended(&mut child, patience).map_err(pipe)?,
        Err(_) => None,
    };
    let Some(status) = status else {
        end(&mut child).map_err(pipe)?;
        return Err(bytes.err().unwrap_or(ProgramError::Patience(name(), patience)));
    };
    if !status.success() {
        return Err(ProgramError::Ended(name(), status));
    }
    bytes
}

/// How it ended, where it did within `patience`.
fn ended(child: &mut Child, patience: Duration) -> std::io::Result<Option<ExitStatus>> {
    let mut waited = Duration::ZERO;
    loop {
        let status = child.try_wait()?;
        if status.is_some() || waited >= patience {
            return Ok(status);
        }
        std::thread::sleep(LOOK_EVERY);
        waited += LOOK_EVERY;
    }
}

fn end(child: &mut Child) -> std::io::Result<()> {
    child.kill()?;
    child.wait().map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;
    use std::time::Duration;

    use super::{ProgramError, ask};

    #[expect(clippy::disallowed_methods, reason = "a program that a test writes need not outlive a power cut")]
    fn script(folder: &tempfile::TempDir, body: &str) -> PathBuf {
        let path = folder.path().join("program");
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn asked(body: &str) -> Result<Vec<u8>, ProgramError> {
        let folder = tempfile::tempdir().unwrap();
        let program = script(&folder, body);
        // More than a pipe holds: what is written and what is read must not wait for one another.
        ask(&program, vec![b'a'; 200_000], 200_000, Duration::from_secs(20))
    }

    #[test]
    fn it_is_given_bytes_and_answers_with_bytes() {
        assert_eq!(asked("cat").unwrap().len(), 200_000);
        assert_eq!(asked("echo yes").unwrap(), b"yes\n");
        assert_eq!(asked("exec >&-; sleep 0.1").unwrap(), b"");
    }

    #[test]
    fn one_that_fails_says_too_much_or_is_not_there_has_its_own_reason() {
        assert!(matches!(asked("echo half; exit 3"), Err(ProgramError::Ended(_, status)) if status.code() == Some(3)));
        assert!(matches!(asked("cat; echo more"), Err(ProgramError::TooLong(_, 200_000))));
        assert!(matches!(asked("exec cat /dev/zero"), Err(ProgramError::TooLong(..))));
        let none = ask("/nowhere/to/be/found".as_ref(), Vec::new(), 1, Duration::from_secs(1));
        assert!(matches!(none, Err(ProgramError::Start(..))));
    }

    #[test]
    fn one_that_does_not_come_to_an_end_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        for body in ["exec sleep 600", "exec sleep 600 >&-"] {
            let program = script(&folder, body);
            let asked = ask(&program, Vec::new(), 1, Duration::from_millis(300));
            assert!(matches!(asked, Err(ProgramError::Patience(..))), "{body}: {asked:?}");
        }
    }
}
