//! Having an operation carried out: by this process where nobody else holds the data directory, otherwise by the server
//! that does.

use serde_json::Value;

use super::admin;
use super::appliance::{Appliance, OpenError};
use super::execute::execute;
use super::failure::Failure;
use super::operation::Operation;
use crate::config::Config;
use crate::progress::Progress;

/// Carries out `operation` on the data directory of `config`.
pub fn perform(config: Config, operation: Operation, progress: &dyn Progress) -> Result<Value, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .thread_name("postern-command")
        .build()
        .map_err(|error| Failure::failed("cannot start").because(&error))?;
    let _entered = runtime.enter();
    let data_dir = config.effective.data_dir.clone();
    match Appliance::open(config) {
        Ok(appliance) => execute(&appliance, operation, progress),
        Err(OpenError::InUse) => runtime.block_on(admin::client::send(&data_dir, &operation, progress)),
        Err(OpenError::Failed(failure)) => Err(failure),
    }
}
