//! Retention rules, and the sweep that gives the bytes back.
