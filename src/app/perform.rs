//! Having an operation carried out: by this process where nobody else holds the data directory, otherwise by the server
//! that does.

use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Runtime;

use super::admin::SOCKET;
use super::admin::client::{self, SendError};
use super::appliance::{Appliance, OpenError};
use super::execute::execute;
use super::failure::Failure;
use super::operation::Operation;
use crate::config::Config;
use crate::progress::Progress;
use crate::sys::clock::{Clock, RealClock};

/// For how long a data directory may be in use by something that does not answer.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What a command runs on.
pub(super) fn runtime(config: &Config) -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .max_blocking_threads(config.memory.blocking_threads_count_max)
        .thread_name("postern-command")
        .build()
        .map_err(|error| Failure::failed("cannot start").because(&error))
}

/// Carries out `operation` on the data directory of `config`.
pub fn perform(config: Config, operation: Operation, progress: &dyn Progress) -> Result<Value, Failure> {
    let runtime = runtime(&config)?;
    let _entered = runtime.enter();
    let clock = RealClock;
    let written = &config.effective;
    let socket = written.admin.socket.clone().unwrap_or_else(|| written.data_dir.join(SOCKET));
    // Members of the group cannot open the data directory, and need not.
    let roles = written.admin.role.iter().map(|role| &role.socket);
    let of_groups = (written.admin.group.is_some() || !written.admin.role.is_empty()).then_some(&socket);
    for socket in of_groups.into_iter().chain(roles) {
        match runtime.block_on(client::send(socket, &operation, progress)) {
            Ok(outcome) => return Ok(outcome),
            Err(SendError::Failed(failure)) => return Err(failure),
            Err(SendError::NobodyThere(_)) => {}
        }
    }
    let give_up_at = clock.running() + PATIENCE;
    loop {
        match Appliance::open(config.clone()) {
            Ok(appliance) => return execute(&appliance, operation, progress),
            Err(OpenError::Failed(failure)) => return Err(failure),
            Err(OpenError::InUse) => {}
        }
        match runtime.block_on(client::send(&socket, &operation, progress)) {
            Ok(outcome) => return Ok(outcome),
            // A server that is about to listen, or a command that is about to end.
            Err(SendError::NobodyThere(_)) if clock.running() < give_up_at => std::thread::sleep(LOOK_AGAIN),
            Err(SendError::NobodyThere(failure) | SendError::Failed(failure)) => return Err(failure),
        }
    }
}
