//! The `kwc` command.

fn main() -> std::process::ExitCode {
    kwc::main()
}
