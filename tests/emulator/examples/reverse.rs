//! A program to run under `vgpu`: reverses numbers in blocks of 256, with cudarc and NVRTC. Its kernel lacks a barrier;
//! with the argument `fixed` it has it.
#![expect(clippy::print_stdout, reason = "it says what came out")]

use std::error::Error;

use cudarc::driver::{CudaContext, LaunchConfig, PushKernelArg as _};
use cudarc::nvrtc::Ptx;
use kwc_nvrtc::{Code, Nvrtc, Options};

fn main() -> Result<(), Box<dyn Error>> {
    let mut options = Options::new("compute_80");
    options.line_info = true;
    if std::env::args().any(|argument| argument == "fixed") {
        options.defines.push(("BARRIER".to_owned(), "1".to_owned()));
    }
    // Where NVRTC isn't installed, it is fetched to where the tests have it: `tmp` in the target directory.
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(3).ok_or("this program is in no target directory")?;
    let nvrtc = Nvrtc::find_or_fetch(&target.join("tmp/nvrtc"))?;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/reverse.cu");
    let Code::Ptx(ptx) = nvrtc.compile(include_str!("reverse.cu"), path, &options)?.code else {
        return Err("compute_80 makes PTX".into());
    };

    let stream = CudaContext::new(0)?.default_stream();
    let kernel = stream.context().load_module(Ptx::from_src(ptx))?.load_function("reverse")?;
    let mut numbers = stream.clone_htod(&(0..1024).collect::<Vec<i32>>())?;
    let shape = LaunchConfig { grid_dim: (4, 1, 1), block_dim: (256, 1, 1), shared_mem_bytes: 0 };
    #[expect(unsafe_code, reason = "launching is unsafe")]
    // SAFETY: the kernel's only parameter is a pointer to as many numbers as there are threads.
    unsafe { stream.launch_builder(&kernel).arg(&mut numbers).launch(shape) }?;
    let reversed = stream.clone_dtoh(&numbers)?;

    let right =
        reversed.chunks(256).zip(0..).filter(|(block, n)| block.iter().copied().rev().eq(256 * n..256 * (n + 1)));
    println!("{} of 4 blocks are right", right.count());
    Ok(())
}
