//! Asking the running agent: a socket in its runtime directory that only root may use. One line of
//! JSON is the question, one line the answer.
use crate::lease::Id;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    fs, io,
    io::{BufRead as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
};

/// What keeps a question from being asked or answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers.
    #[error("no agent runs here: nobody answers at {} (start it with `gateway run`)", .0.display())]
    NotRunning(PathBuf),
    /// The socket.
    #[error("{}", path.display())]
    Socket {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What came is no answer.
    #[error("the agent's answer makes no sense: is it of another version?")]
    Answer(#[source] serde_json::Error),
}

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Connections between TLS and DTLS, and what became of earlier ones.
    Connections,
    /// The allow-list file has changed: put it into force.
    Sync,
    /// What the kernel's allow-list should be.
    Grants,
    /// Entries of the allow-list whose time is over.
    Over,
    /// All leases.
    Leases,
    /// The end of a lease.
    Revoke(Id),
}

const NAME: &str = "agent.sock";
/// Longest question, in bytes.
const QUESTION: u64 = 4096;
const PATIENCE: Duration = Duration::from_secs(5);

/// Listens for questions, in the place of whoever did before.
///
/// # Errors
/// [`Error::Socket`].
pub fn listen(runtime: &Path) -> Result<UnixListener, Error> {
    let path = runtime.join(NAME);
    let error = |source| Error::Socket { path: path.clone(), source };
    fs::create_dir_all(runtime).map_err(error)?;
    // under its own name only once nobody but root can use it
    let next = runtime.join(format!("{NAME}.new"));
    let _ = fs::remove_file(&next);
    let socket = UnixListener::bind(&next).map_err(error)?;
    fs::set_permissions(&next, fs::Permissions::from_mode(0o600)).map_err(error)?;
    fs::rename(&next, &path).map_err(error)?;
    Ok(socket)
}

/// Reads the one question of a client; nothing if it asks for what there is not.
pub async fn question(client: &mut UnixStream) -> Option<Question> {
    let mut line = String::new();
    let mut reader = BufReader::new(client.take(QUESTION));
    tokio::time::timeout(PATIENCE, reader.read_line(&mut line)).await.ok()?.ok()?;
    serde_json::from_str(&line).ok()
}

/// Answers it. A client that has gone away is no failure.
pub async fn answer(client: &mut UnixStream, answer: &Value) {
    let line = format!("{answer}\n");
    let _ = tokio::time::timeout(PATIENCE, client.write_all(line.as_bytes())).await;
}

/// Asks the running agent.
///
/// # Errors
/// [`Error::NotRunning`] where nobody answers, else see [`Error`].
pub fn ask(runtime: &Path, question: Question) -> Result<Value, Error> {
    let path = runtime.join(NAME);
    let mut line = String::new();
    let silent = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
    talk(&path, question, &mut line).map_err(|source| {
        let path = path.clone();
        if silent.contains(&source.kind()) {
            Error::NotRunning(path)
        } else {
            Error::Socket { path, source }
        }
    })?;
    serde_json::from_str(&line).map_err(Error::Answer)
}

fn talk(path: &Path, question: Question, line: &mut String) -> io::Result<()> {
    let mut agent = std::os::unix::net::UnixStream::connect(path)?;
    agent.set_read_timeout(Some(PATIENCE))?;
    agent.write_all(format!("{}\n", serde_json::to_string(&question)?).as_bytes())?;
    io::BufReader::new(agent).read_line(line).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_question_is_answered_and_silence_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let silence = ask(folder.path(), Question::Connections).unwrap_err().to_string();
        assert!(silence.starts_with("no agent runs here"), "{silence}");
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _inside = runtime.enter();
        let first = listen(folder.path()).unwrap();
        let second = listen(folder.path()).unwrap();
        drop(first);
        let mode = fs::metadata(folder.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let server = runtime.spawn(async move {
            let (mut client, _) = second.accept().await.unwrap();
            assert_eq!(question(&mut client).await, Some(Question::Connections));
            answer(&mut client, &json!({ "live": 1 })).await;
        });
        assert_eq!(ask(folder.path(), Question::Connections).unwrap(), json!({ "live": 1 }));
        runtime.block_on(server).unwrap();
    }

    #[test]
    fn nonsense_gets_no_answer() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            for text in ["", "{}\n", "\"secrets\"\n", "\u{0}\n"] {
                let (mut ours, mut theirs) = UnixStream::pair().unwrap();
                theirs.write_all(text.as_bytes()).await.unwrap();
                drop(theirs);
                assert_eq!(question(&mut ours).await, None, "{text:?}");
            }
        });
    }
}
