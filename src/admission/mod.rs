//! The one door through which an image enters, whether it is mirrored or imported.
