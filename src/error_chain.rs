//! How an error is written into one line of a log.

use std::error::Error;

/// An error and its causes, the outermost first.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::chain;
    use crate::dsse::{Envelope, EnvelopeError};

    #[test]
    fn every_level_is_said_once() {
        let error = Envelope::parse(b"{", 10).unwrap_err();
        let EnvelopeError::Json(cause) = &error else { panic!("{error}") };
        assert_eq!(chain(&error), format!("envelope is not valid JSON of its kind: {cause}"));
    }
}
