//! The command line. The only printer.
