//! The command line, nothing else.

use std::process::ExitCode;

/// The control plane makes and drops many small things: a quarter less processor time for each message
/// than with the C library's (cargo bench -- wire). The audio thread allocates nothing.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    rigd::backend::realtime::no_huge_pages();
    rigd::cli::main()
}
