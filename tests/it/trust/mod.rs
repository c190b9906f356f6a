//! Whom an appliance trusts and what it says itself: signing, versioned trust, updates, and keyless images of an instance of
//! our own.

mod sign;
