//! How far long work is: a bar on a terminal, a line now and then elsewhere. Always on standard error.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::output::Output;
use crate::progress::Progress;
use crate::sys::clock::{Clock, RealClock};

/// Without a terminal, a step that takes longer than this says so again and again.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The right kind of progress for where standard error leads.
pub fn on_standard_error(output: Output) -> Box<dyn Progress> {
    if io::stderr().is_terminal() {
        return Box::new(Bars { current: Mutex::new(None) });
    }
    Box::new(Lines { output, clock: RealClock, last: Mutex::new(RealClock.running()) })
}

struct Bars {
    current: Mutex<Option<(String, ProgressBar)>>,
}

impl Progress for Bars {
    fn step(&self, what: &str, done: u64, total: u64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_none_or(|(shown, _)| shown != what) {
            if let Some((_, finished)) = current.take() {
                finished.finish_and_clear();
            }
            let bar = ProgressBar::new(total).with_style(style(total)).with_message(what.to_owned());
            *current = Some((what.to_owned(), bar));
        }
        if let Some((_, bar)) = current.as_ref() {
            bar.set_length(total.max(done));
            bar.set_position(done);
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        if let Some((_, bar)) = self.current.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }
}

fn style(total: u64) -> ProgressStyle {
    let template = match total {
        0 => "{msg} {spinner} {binary_bytes}",
        _ => "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {eta}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

struct Lines {
    output: Output,
    clock: RealClock,
    /// When something was said last.
    last: Mutex<Duration>,
}

impl Progress for Lines {
    fn step(&self, what: &str, done: u64, total: u64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.running();
        if now.saturating_sub(*last) < LINE_EVERY {
            return;
        }
        *last = now;
        drop(last);
        match done.saturating_mul(100).checked_div(total) {
            Some(percent) => self.output.note(&format!("{what}: {percent} %\n")),
            None => self.output.note(&format!("{what}: {done}\n")),
        }
    }
}
