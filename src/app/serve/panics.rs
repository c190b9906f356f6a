//! A broken invariant stops the process: systemd starts it again and the journal replays. A panic that only ended one
//! task would leave a server that looks alive and is not.

use std::backtrace::Backtrace;

/// Name of the threads whose panics stop the process. Those of the index's own threads are the store's to handle.
pub const THREAD_NAME: &str = "postern-serve";

/// From now on a panic on a thread of the server is logged and aborts.
pub fn stop_the_process() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        if thread.name() != Some(THREAD_NAME) {
            before(panic);
            return;
        }
        let backtrace = Backtrace::force_capture();
        tracing::error!(%panic, %backtrace, "a broken invariant stops the server");
        std::process::abort();
    }));
}
