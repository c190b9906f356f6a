//! HTTP/1.1 over a socket file, for talking to a Postern that runs on the same data directory.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::http::{Request, Response};
use bytes::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::body::{Body, BodyError, Incoming};
use crate::sys::socket_path::SocketPath;

/// Why there was no answer over the socket.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("cannot connect to socket '{path}'")]
    Connect {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the request over the socket broke off")]
    Request(#[source] hyper::Error),
}

/// An answer that is being received over a socket.
#[derive(Debug)]
pub struct LocalBody {
    body: Incoming,
}

/// An operation may be silent for long, as while a stick is written; only a connection that breaks is an error.
const SILENCE: Duration = Duration::from_secs(7 * 24 * 3600);

impl LocalBody {
    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        super::body::next_piece(&mut self.body, SILENCE).await
    }
}

/// Sends one request to the server that listens on the socket at `path`.
pub async fn request(path: &Path, request: Request<Body>) -> Result<Response<LocalBody>, LocalError> {
    let failed = |source| LocalError::Connect { path: path.to_owned(), source };
    let reachable = SocketPath::new(path).map_err(failed)?;
    let stream = UnixStream::connect(reachable.as_path()).await.map_err(failed)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(LocalError::Request)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection over the socket ended early");
        }
    });
    let response = sender.send_request(request).await.map_err(LocalError::Request)?;
    Ok(response.map(|body| LocalBody { body }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ::http::{Request, Response};

    use crate::http::listener::Listener;
    use crate::http::server::{Handler, RequestInfo, ServerSettings, serve};
    use crate::http::{Body, Incoming};
    use crate::sys::dir_real::RealDir;

    struct Count;

    impl Handler for Count {
        async fn handle(self: Arc<Self>, request: Request<Incoming>, info: RequestInfo) -> Response<Body> {
            assert_eq!(info.remote, None);
            let (_, body) = request.into_parts();
            let asked = crate::http::body::collect(body, 100, std::time::Duration::from_secs(5)).await.unwrap();
            let (sender, body) = Body::channel(1);
            tokio::task::spawn_blocking(move || {
                for at in 0..asked.len() {
                    sender.send_json_line_blocking(&at).unwrap();
                }
            });
            Response::new(body)
        }
    }

    #[tokio::test]
    async fn lines_come_over_a_socket_file() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = RealDir::open(temporary.path()).unwrap();
        for _ in 0..2 {
            // The second round finds the first one's socket and replaces it.
            let listener = Listener::bind_unix(&dir, "s").unwrap();
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            let task = tokio::spawn(serve(listener, Arc::new(Count), ServerSettings::default(), async {
                drop(stopped.await);
            }));
            let request = Request::post("http://local/").body(Body::full("abc")).unwrap();
            let mut answer = super::request(&temporary.path().join("s"), request).await.unwrap().into_body();
            let mut text = Vec::new();
            while let Some(piece) = answer.next().await.unwrap() {
                text.extend_from_slice(&piece);
            }
            assert_eq!(text, b"0\n1\n2\n");
            drop(answer);
            stop.send(()).unwrap();
            task.await.unwrap();
        }
    }
}
