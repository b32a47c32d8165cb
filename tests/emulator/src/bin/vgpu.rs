//! The `vgpu` command.

fn main() -> std::process::ExitCode {
    kwc_emulator::command::main()
}
