//! Randomness from the validated module that also makes the keys. A function and no trait: what a simulation must repeat
//! (order, faults, time) never depends on it.

use aws_lc_rs::rand;

/// `N` unpredictable bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut buffer = [0; N];
    rand::fill(&mut buffer).expect("the module's random generator either works or ends the process");
    buffer
}

/// 128 unpredictable bits as text, for names that must never collide (boots, requests, temporary files).
pub fn identifier() -> String {
    data_encoding::HEXLOWER.encode(&bytes::<16>())
}

#[cfg(test)]
mod tests {
    #[test]
    fn never_twice_the_same() {
        assert_ne!(super::identifier(), super::identifier());
        assert_eq!(super::identifier().len(), 32);
    }
}
