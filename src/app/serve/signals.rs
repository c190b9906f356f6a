//! SIGTERM and SIGINT end the server in order, a second one at once; SIGHUP loads the certificate anew.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::Ending;
use crate::app::failure::Failure;
use crate::http::tls::ServerTls;

/// Listens from now on.
pub fn listen(ending: watch::Sender<Ending>, tls: Option<ServerTls>) -> Result<(), Failure> {
    let failed = |error| Failure::failed("cannot listen to signals").because(&error);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {
                    reload(tls.as_ref());
                    continue;
                }
            }
            ending.send_modify(|ending| *ending = ending.asked_again());
        }
    });
    Ok(())
}

/// On an error the certificate in use stays.
fn reload(tls: Option<&ServerTls>) {
    match tls.map(ServerTls::reload) {
        None => tracing::info!("there is no certificate to load anew"),
        Some(Ok(())) => tracing::info!("certificate loaded anew"),
        Some(Err(error)) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(%error, cause, "the certificate was not loaded anew; the one in use stays");
        }
    }
}
