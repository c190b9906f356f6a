//! Making a data directory: keys, store, certificate, configuration, in this order.
//!
//! Every step looks whether its result is there already and leaves it alone, so that a set-up that was interrupted is
//! continued by the same command and a finished one is never overwritten.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::failure::{Failure, FailureKind};
use crate::config::document;
use crate::store::{Store, StoreError};
use crate::sys::certificate::self_signed;
use crate::sys::clock::{Clock, RealClock};
use crate::sys::dir::{self, Dir, DirError};
use crate::sys::dir_real::RealDir;
use crate::sys::identity::check_name;
use crate::sys::keys::{KeyError, KeyRing};

const CONFIGURATION: &str = "postern.toml";
const TLS: &str = "tls";
const CERTIFICATE: &str = "tls/server.pem";
const KEY: &str = "tls/server.key";

/// What to make.
#[derive(Clone, Debug)]
pub struct SetupOrder {
    pub data_dir: PathBuf,
    /// The host's name where none is given.
    pub name: Option<String>,
    pub listen: SocketAddr,
}

/// What stands there now.
#[derive(Clone, Debug, Serialize)]
pub struct SetupReport {
    /// Whether anything was made; false where all stood there before.
    pub created: bool,
    pub name: String,
    pub device_id: String,
    pub fingerprint: String,
    pub data_dir: PathBuf,
    pub configuration: PathBuf,
    pub certificate: PathBuf,
    /// The address that the configuration made here listens on, or would.
    pub listen: SocketAddr,
}

/// Makes what is missing.
pub fn set_up(order: &SetupOrder) -> Result<SetupReport, Failure> {
    let cannot = |error: DirError| {
        Failure::failed(format!("cannot set up '{}'", order.data_dir.display()))
            .because(&error)
            .next("choose a directory that can be written to with --data")
    };
    let dir: Arc<dyn Dir> = Arc::new(RealDir::create(&order.data_dir).map_err(cannot)?);
    let complete = dir.stat(CONFIGURATION).map_err(cannot)?.is_some();
    if complete && dir.stat("VERSION").map_err(cannot)?.is_none() {
        return Err(Failure::usage(format!(
            "'{}' has a configuration but is no data directory",
            order.data_dir.display()
        ))
        .next("choose an empty directory with --data"));
    }
    let clock: Arc<dyn Clock> = Arc::new(RealClock);
    let keys = keys(order, dir.as_ref(), clock.as_ref())?;
    match Store::create(&dir, &clock, keys.device_id()) {
        Ok(()) | Err(StoreError::Exists) => {}
        Err(error) => return Err(Failure::of(FailureKind::Failed, &error)),
    }
    if !complete {
        certificate(order, dir.as_ref(), &keys.identity().name)?;
        dir::replace(dir.as_ref(), CONFIGURATION, configuration(order.listen).as_bytes()).map_err(cannot)?;
    }
    Ok(SetupReport {
        created: !complete,
        name: keys.identity().name.clone(),
        device_id: keys.device_id().to_string(),
        fingerprint: keys.device_id().fingerprint(),
        configuration: order.data_dir.join(CONFIGURATION),
        certificate: order.data_dir.join(CERTIFICATE),
        data_dir: order.data_dir.clone(),
        listen: order.listen,
    })
}

fn keys(order: &SetupOrder, dir: &dyn Dir, clock: &dyn Clock) -> Result<KeyRing, Failure> {
    let failed = |error: KeyError| Failure::of(FailureKind::Failed, &error);
    if let Some(name) = &order.name {
        check_name(name).map_err(|error| Failure::of(FailureKind::Usage, &error).next("give another --name"))?;
    }
    let keys = match KeyRing::open(dir) {
        Ok(keys) => keys,
        Err(KeyError::Missing) => {
            let name = order.name.clone().or_else(host).unwrap_or_else(|| "postern".to_owned());
            return KeyRing::create(dir, &name, clock.wall()).map_err(failed);
        }
        Err(error) => return Err(failed(error)),
    };
    let is = &keys.identity().name;
    match &order.name {
        Some(name) if name != is => Err(Failure::usage(format!("this data directory is that of '{is}', not '{name}'"))
            .next("a device keeps its name for life; choose another directory with --data for another device")),
        _ => Ok(keys),
    }
}

fn host() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok().filter(|name| !name.is_empty())
}

fn certificate(order: &SetupOrder, dir: &dyn Dir, name: &str) -> Result<(), Failure> {
    let failed = |error: DirError| Failure::failed("cannot keep the certificate").because(&error);
    if dir.stat(CERTIFICATE).map_err(failed)?.is_some() {
        return Ok(());
    }
    let made = self_signed(name, host().as_deref(), order.listen)
        .map_err(|error| Failure::failed("cannot make a certificate").because(&error))?;
    dir.create_dir_all(TLS).map_err(failed)?;
    dir::replace(dir, KEY, made.key.as_bytes()).map_err(failed)?;
    dir::replace(dir, CERTIFICATE, made.certificate.as_bytes()).map_err(failed)
}

/// Paths in it count from the file, so that the directory can be moved.
fn configuration(listen: SocketAddr) -> String {
    document::commented(&[
        ("data_dir", ".".into()),
        ("listen.address", listen.to_string().into()),
        ("tls.certificate", CERTIFICATE.into()),
        ("tls.key", KEY.into()),
    ])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::configuration;
    use crate::config::load::from_text;
    use crate::config::resolved::Overrides;

    #[test]
    fn the_configuration_made_is_a_good_one() {
        let text = configuration("127.0.0.1:5443".parse().unwrap());
        let config = from_text(Some(Path::new("/d/postern.toml")), &text, &Overrides::default()).unwrap();
        assert_eq!(config.effective.data_dir, Path::new("/d"));
        assert_eq!(config.listen.to_string(), "127.0.0.1:5443");
        assert_eq!(config.tls.unwrap().key, Path::new("/d/tls/server.key"));
    }
}
