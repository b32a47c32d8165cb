//! Finding and calling NVRTC.

use std::path::Path;

use kwc_nvrtc::{Code, Error, Nvrtc, Options, Search};

use crate::harness::nvrtc;

const TWICE: &str = "extern \"C\" __global__ void twice(float* x) { x[threadIdx.x] *= FACTOR; }\n";

fn options(architecture: &str) -> Options {
    Options { defines: vec![("FACTOR".to_owned(), "2.0f".to_owned())], ..Options::new(architecture) }
}

#[test]
fn a_virtual_architecture_gives_ptx_for_it() {
    for (architecture, target) in [("compute_80", ".target sm_80"), ("compute_90", ".target sm_90")] {
        let output = nvrtc().compile(TWICE, "twice.cu", &options(architecture)).expect("it compiles");
        let Code::Ptx(ptx) = output.code else { panic!("no PTX") };
        assert!(ptx.contains(target) && ptx.contains(".entry twice("), "{ptx}");
        assert!(!ptx.contains('\0') && !ptx.contains("twice.cu"), "{ptx}");
        assert_eq!(output.log, "");
    }
}

#[test]
fn a_real_architecture_gives_a_cubin_and_the_ptx_that_it_is_made_of() {
    let output = nvrtc().compile(TWICE, "twice.cu", &options("sm_80")).expect("it compiles");
    let Code::Cubin(cubin) = output.code else { panic!("no cubin") };
    assert_eq!(cubin.get(..4), Some(&b"\x7fELF"[..]));
    let virtual_one = nvrtc().compile(TWICE, "twice.cu", &options("compute_80")).expect("it compiles");
    let Code::Ptx(ptx) = virtual_one.code else { panic!("no PTX") };
    assert_eq!((output.intermediate, virtual_one.intermediate), (Some(ptx), None));
}

#[test]
fn line_information_names_the_file() {
    let options = Options { line_info: true, ..options("compute_80") };
    let output = nvrtc().compile(TWICE, "twice.cu", &options).expect("it compiles");
    let Code::Ptx(ptx) = output.code else { panic!("no PTX") };
    assert!(ptx.contains("twice.cu\"") && ptx.contains(".loc\t1 1 "), "{ptx}");
}

#[test]
fn a_source_that_does_not_compile_gives_the_compilers_messages() {
    let error = nvrtc().compile("__global__ void k() { 1 }", "wrong.cu", &options("compute_80")).expect_err("no code");
    let Error::Source { log, .. } = &error else { panic!("{error}") };
    assert!(log.contains("wrong.cu(1): error"), "{log}");
}

#[test]
fn an_unknown_architecture_is_refused() {
    let error = nvrtc().compile(TWICE, "twice.cu", &options("compute_1")).expect_err("no code");
    assert!(matches!(&error, Error::Options { options, .. } if options[0].ends_with("compute_1")), "{error}");
}

#[test]
fn zero_bytes_are_refused() {
    let error = nvrtc().compile("\0", "zero.cu", &options("compute_80")).expect_err("no code");
    assert!(matches!(error, Error::ZeroByte("the source")), "{error}");
}

#[test]
fn several_threads_compile_at_once_and_alike() {
    let compile = || nvrtc().compile(TWICE, "twice.cu", &options("compute_80")).expect("it compiles").code;
    let codes = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(compile)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    });
    let first = compile();
    assert!(codes.iter().all(|code| *code == first));
}

#[test]
fn a_variable_that_is_set_but_wrong_is_an_error() {
    let empty = tempfile::tempdir().expect("a temporary directory");
    let file = empty.path().join("text");
    std::fs::write(&file, "no library").expect("it can be written");
    let other = tempfile::tempdir().expect("a temporary directory");
    for value in [other.path(), file.as_path(), Path::new("/there/is/no/such/directory")] {
        // Even where another place has one.
        let search = Search { library: Some(value.into()), toolkit: toolkit(), ..Search::default() };
        let error = search.find().expect_err("no library");
        assert!(matches!(&error, Error::Wrong { variable: "KWC_NVRTC", .. }), "{error}");
        assert!(error.to_string().contains(&*value.to_string_lossy()), "{error}");
    }
}

#[test]
fn every_place_is_reported_if_there_is_none() {
    let empty = tempfile::tempdir().expect("a temporary directory");
    let site = empty.path().join("site-packages");
    let search = Search {
        library: None,
        toolkit: Some(empty.path().into()),
        loader: false,
        site_packages: vec![site.clone()],
        fetched: Some(empty.path().join("cache")),
    };
    let error = search.find().expect_err("no library");
    let text = error.to_string();
    let expected = [empty.path().join("lib64"), empty.path().join("lib"), site, empty.path().join("cache")];
    for place in &expected {
        assert!(text.contains(&*place.to_string_lossy()), "{text}");
    }
    assert!(text.contains("pip install nvidia-cuda-nvrtc") && text.contains("KWC_NVRTC"), "{text}");
}

#[test]
fn it_is_found_as_a_file_in_a_toolkit_and_in_python_packages() {
    let library = nvrtc().path();
    let directory = library.parent().expect("a directory");
    let root = tempfile::tempdir().expect("a temporary directory");
    let link = |to: &str| {
        let to = root.path().join(to);
        std::fs::create_dir_all(to.parent().expect("a directory")).expect("it can be made");
        std::os::unix::fs::symlink(directory, &to).expect("it can be linked");
        to.join(library.file_name().expect("a name"))
    };
    let in_toolkit = link("cuda/targets/x86_64-linux/lib");
    let in_packages = link("site-packages/nvidia/cu13/lib");
    let in_fetched = link(&format!("cache/nvrtc-{}/nvidia/cu13/lib", kwc_nvrtc::VERSION));
    let found = |search: Search| search.find().expect("it is there").path().to_owned();
    assert_eq!(found(Search { library: Some(library.into()), ..Search::default() }), library);
    assert_eq!(found(Search { library: Some(directory.into()), ..Search::default() }), library);
    let toolkit = Some(root.path().join("cuda").into_os_string());
    let site_packages = vec![root.path().join("site-packages")];
    let fetched = Some(root.path().join("cache"));
    assert_eq!(found(Search { fetched: fetched.clone(), ..Search::default() }), in_fetched);
    let search = Search { site_packages: site_packages.clone(), fetched, ..Search::default() };
    assert_eq!(found(search), in_packages, "what was fetched comes last");
    assert_eq!(found(Search { toolkit, site_packages, ..Search::default() }), in_toolkit, "the toolkit comes first");
}

#[test]
fn the_version_is_one_that_makes_cubins() {
    let (major, _) = nvrtc().version();
    assert!((12..20).contains(&major), "{major}");
}

/// A toolkit that has an NVRTC.
fn toolkit() -> Option<std::ffi::OsString> {
    let lib = nvrtc().path().parent()?;
    lib.ends_with("lib").then(|| lib.parent().map(Into::into))?
}

#[test]
fn a_file_that_is_no_library_cannot_be_opened() {
    let error =
        Nvrtc::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml").as_path()).expect_err("no library");
    assert!(matches!(&error, Error::Load { .. }) && error.to_string().contains("Cargo.toml"), "{error}");
}
