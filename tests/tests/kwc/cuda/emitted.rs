//! What is emitted for CUDA: PTX of no newer version than needed, messages of NVRTC brought home, snapshots.
//!
//! Every file in `cases/cuda` is a spec of one feature. To add a case, drop a file and accept its snapshot, which shows the
//! spec beside its kernels' constants and entry points, what is launched, and the Rust around it. Its first line may be
//! `# f32`.

use std::fmt::Write as _;
use std::fs;

use kwc_compiler::emit::cuda::fault::faults;
use kwc_compiler::emit::{self, CodeForm, ptx};
use kwc_compiler::pipeline::{self, CudaNetwork, NVRTC_OPTIONS};
use kwc_compiler::plan::cuda::Options;
use kwc_program::cuda::Precision;

use crate::golden::{checked, package};
use crate::vgpu::nvrtc;

fn network(path: &std::path::Path, precision: Precision) -> CudaNetwork {
    pipeline::cuda(&checked(path), &Options { precision, ..Options::default() }).unwrap()
}

/// PTX as NVRTC writes it.
fn compile(source: &str) -> Result<String, kwc_nvrtc::Error> {
    let mut options = kwc_nvrtc::Options::new("compute_80");
    options.more = NVRTC_OPTIONS.map(str::to_owned).into();
    match nvrtc().compile(source, emit::cuda::SOURCE_FILE, &options)?.code {
        kwc_nvrtc::Code::Ptx(ptx) => Ok(ptx),
        kwc_nvrtc::Code::Cubin(_) => panic!("compute_80 makes PTX"),
    }
}

/// What is launched, one line a launch.
fn launches(network: &CudaNetwork) -> String {
    let program = &network.planned.program;
    let mut text = String::new();
    for variant in program.variants.iter() {
        let _ = writeln!(text, "batches to {}, arena {}", variant.batch, variant.arena);
        for launch in variant.launches.iter() {
            let kernel = &program.kernels[launch.kernel.0 as usize];
            let grid: Vec<String> = launch
                .grid
                .iter()
                .map(|extent| format!("({} + {} B) / {}", extent.fixed, extent.per_sample, extent.divisor))
                .collect();
            let arguments: Vec<String> = launch.arguments.iter().map(|argument| format!("{argument:?}")).collect();
            let (layer, symbol, threads) = (&launch.layer, &kernel.symbol, kernel.threads);
            let _ = writeln!(text, "  {layer}: {symbol} <<<{}, {threads}, {}>>>", grid.join(", "), kernel.shared_bytes);
            let _ = writeln!(text, "    {}", arguments.join(", "));
        }
    }
    text
}

/// The kernels without the device code that they share.
fn kernels(network: &CudaNetwork) -> String {
    let first = network.lines.first().map_or(1, |lines| lines.start);
    network.source.lines().skip(first - 1).collect::<Vec<_>>().join("\n")
}

/// The Rust without the tables.
fn rust(network: &CudaNetwork) -> String {
    let form = CodeForm::Files { ptx: true, cubins: &["sm_80".to_owned()] };
    let code = emit::pretty(emit::cuda_model(&network.planned.program, form).unwrap()).unwrap();
    code.split("/// The Program: constant tables.").next().unwrap().to_owned()
}

#[test]
fn emitted_networks_are_as_the_snapshots_show() {
    let folder = package().join("cases/cuda");
    let mut names: Vec<String> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(!names.is_empty());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots/cuda");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for name in names {
        let spec = fs::read_to_string(folder.join(&name)).unwrap();
        let precision = if spec.starts_with("# f32\n") { Precision::F32 } else { Precision::F16 };
        let network = network(&folder.join(&name), precision);
        compile(&network.source).unwrap_or_else(|error| panic!("{name}: {error}"));
        let parts = [spec.trim_end().to_owned(), launches(&network), kernels(&network), rust(&network)];
        let shown = parts.join(&format!("\n{}\n", "-".repeat(80)));
        settings.bind(|| insta::assert_snapshot!(name.trim_end_matches(".yaml"), shown));
    }
}

/// Kernels and how often each range of batches launches them.
fn summary(network: &CudaNetwork) -> String {
    let program = &network.planned.program;
    let ranges: Vec<String> = program
        .variants
        .iter()
        .map(|variant| format!("to {}: {} launches, arena {}", variant.batch, variant.launches.len(), variant.arena))
        .collect();
    let mut text = format!("weights {}, counters {}\n{}\n", program.weight_bytes, program.counters, ranges.join("\n"));
    for (index, kernel) in program.kernels.iter().enumerate() {
        let launches = program.variants.iter().map(|variant| {
            let launches = variant.launches.iter().filter(|launch| launch.kernel.0 as usize == index);
            launches.count().to_string()
        });
        let launches = launches.collect::<Vec<_>>().join(" ");
        let (symbol, threads, shared) = (&kernel.symbol, kernel.threads, kernel.shared_bytes);
        let _ = writeln!(text, "{symbol:<22} {threads:>4} threads {shared:>6} B  launched {launches}");
    }
    text
}

/// Their kernels are compiled, and their resources looked at, by `resources`.
#[test]
fn networks_of_the_paper_launch_what_the_snapshots_show() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots/cuda/networks");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for name in ["resnet18", "resnet50", "mobilenetv2_100", "convnext_tiny"] {
        let network = network(&package().join(format!("../specs/{name}.yaml")), Precision::F16);
        settings.bind(|| insta::assert_snapshot!(name, summary(&network)));
    }
}

#[test]
fn lines_of_kernels_are_where_the_source_has_them() {
    let network = network(&package().join("cases/emit/dynamic.yaml"), Precision::F32);
    let lines: Vec<&str> = network.source.lines().collect();
    assert_eq!(network.lines.len(), network.planned.program.kernels.len());
    for (range, kernel) in network.lines.iter().zip(network.planned.program.kernels.iter()) {
        let text = lines[range.start - 1..range.end - 1].join("\n");
        assert!(text.starts_with("// "), "{text}");
        assert_eq!(text.matches("__global__").count(), 1, "{text}");
        assert!(text.contains(&format!(" {}(", kernel.symbol)), "{text}");
    }
}

#[test]
fn errors_of_nvrtc_name_the_kernel_and_its_layers() {
    let network = network(&package().join("cases/emit/dynamic.yaml"), Precision::F32);
    let shown = |source: &str| {
        let log = match compile(source) {
            Err(kwc_nvrtc::Error::Source { log, .. }) => log,
            other => panic!("{other:?}"),
        };
        faults(&log, source, &network.lines, &network.planned)
    };
    let place = network.planned.program.kernels.iter().position(|k| k.symbol.starts_with("conv_f32")).unwrap();
    let symbol = network.planned.program.kernels[place].symbol.to_string();
    // In the kernel itself: its threads aren't there.
    let range = &network.lines[place];
    let mut lines: Vec<String> = network.source.lines().map(str::to_owned).collect();
    let line = range.start + lines[range.start..].iter().position(|line| line.contains("THREADS =")).unwrap();
    lines[line] = "  static constexpr int THREADS = nothing;".to_owned();
    let found = shown(&lines.join("\n"));
    let fault = &found[0];
    assert_eq!(fault.message, "identifier \"nothing\" is undefined");
    assert_eq!(fault.line, Some((line + 1, lines[line].clone())));
    let stem = fault.kernel.as_ref().unwrap();
    assert_eq!(stem.symbol, symbol);
    let layers = network.planned.program.variants.iter().flat_map(|v| v.launches.iter());
    let mut layers: Vec<&str> = layers.filter(|l| l.kernel.0 as usize == place).map(|l| &*l.layer).collect();
    layers.dedup();
    assert_eq!(stem.layers, layers);
    // In device code that is instantiated for it: a constant has another name.
    let mut lines: Vec<String> = network.source.lines().map(str::to_owned).collect();
    lines[line] = "  static constexpr int OTHERS = 64;".to_owned();
    let found = shown(&lines.join("\n"));
    assert!(found.iter().any(|fault| fault.kernel.as_ref().is_some_and(|stem| stem.symbol == symbol)), "{found:#?}");
    // Of the assembler, which knows entry points only.
    let log =
        format!("ptxas error   : Entry function '{symbol}' uses too much shared data (0x1f400 bytes, 0xc000 max)");
    let found = faults(&log, &network.source, &network.lines, &network.planned);
    assert_eq!((found.len(), &found[0].kernel.as_ref().unwrap().symbol), (1, &symbol));
}

#[test]
fn ptx_asks_for_the_version_that_it_needs() {
    let version = |body: &str| {
        let text = format!(
            "//\n.version 9.5\n.target sm_80\n.address_size 64\n\n.visible .entry a(\n\t.param .u64 a_param_0\n)\n{{\n{body}\n}}\n"
        );
        let lowered = ptx::lowered(&text).unwrap();
        let (major, minor) = lowered.version;
        assert_eq!(
            lowered.text,
            text.replace(".version 9.5", &format!(".version {major}.{minor}")),
            "nothing else changes"
        );
        (lowered.version, lowered.newer.into_iter().collect::<Vec<_>>().join(" "))
    };
    let old = "\t.reg .pred %p<3>;\n\tmov.u32 %r1, %tid.x;\n\t// .version 8.0 elect.sync\n$L__BB0_1:\n\t@%p1 bra.uni $L__BB0_1;\n\
               \t{.reg .b16 l, h;\n mov.b32 {l, h}, %r3;}\n\tcp.async.cg.shared.global [%r1], [%rd1], 16, %r2;\n\
               \tmma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1, %f2}, {%r1}, {%r2}, {%f3};\n\tret;";
    assert_eq!(version(old), ((7, 0), String::new()));
    assert_eq!(version("\tld.global.L2::128B.u32 %r1, [%rd1];"), ((7, 4), ".L2::128B".to_owned()));
    assert_eq!(
        version("\tmov.u32 %r1, %clusterid.x;\n\telect.sync %r2|%p1, 1;"),
        ((8, 0), "%clusterid elect".to_owned())
    );
    // A word that no list has may be of any version.
    assert_eq!(version("\tfrobnicate.b32 %r1, %r2;"), ((9, 5), "frobnicate".to_owned()));
    assert!(ptx::lowered(".version 6.5\n.target sm_75\n").is_none());
    assert!(ptx::lowered(".target sm_80\n").is_none());
}

#[test]
fn ptx_of_every_feature_is_of_the_first_version() {
    for name in ["dynamic", "ports"] {
        for precision in [Precision::F16, Precision::F32] {
            let network = network(&package().join(format!("cases/emit/{name}.yaml")), precision);
            let lowered = ptx::lowered(&compile(&network.source).unwrap()).unwrap();
            assert_eq!((lowered.version, lowered.newer.len()), (ptx::BASE, 0), "{name}: {:?}", lowered.newer);
        }
    }
}
