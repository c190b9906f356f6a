//! The `postern` binary.

fn main() -> postern::cli::ExitStatus {
    postern::cli::run()
}
