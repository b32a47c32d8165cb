//! The `vgpu` command, built beside the tests so that they can run themselves under it.

fn main() -> std::process::ExitCode {
    kwc_emulator::command::main()
}
