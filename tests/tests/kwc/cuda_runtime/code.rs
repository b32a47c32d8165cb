//! The forms of code: which is taken, what is kept, and what is said where none can be.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use kwc_runtime::Error;
use kwc_runtime::cuda::{self, Attempts, Code, CodeUsed, Cubin, Model};

use super::{SOURCE, assert_runs, code, device, program, ptx, source_only, weights};
use crate::vgpu::{Vgpu, nvrtc};

fn load(code: &Code) -> Result<Model, Error> {
    Model::load(&device(), &program(), code, &weights())
}

/// What was tried where nothing could be loaded.
#[track_caller]
fn attempts(error: Error) -> Attempts {
    let Error::Cuda(error) = error else { panic!("not of CUDA: {error}") };
    let cuda::Error::Code { attempts, device } = *error else { panic!("{error}") };
    assert!(device.contains("sm_80"), "{device}");
    attempts
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_cubin_comes_first_and_a_refused_one_is_no_end() {
    let run = Vgpu::new().body(|| {
        // The virtual GPU takes no cubin; which ones it was offered is in the driver's calls.
        let mut code = code();
        let elf = [b"\x7fELF".as_slice(), &[0; 96]].concat();
        let cubins = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_80a", "odd"];
        let cubin = |arch: &&'static str| Cubin { architecture: (*arch).into(), bytes: elf.clone().into() };
        code.cubins = cubins.iter().map(cubin).collect();
        let mut model = load(&code).unwrap();
        assert_eq!(model.code_used(), &CodeUsed::Ptx { lowered: None });
        assert_runs(&mut model, 3, 0);
    });
    if let Some(run) = run {
        run.assert_clean();
        let refused: u64 = run
            .report
            .calls
            .iter()
            .filter(|call| call.function.starts_with("cuModuleLoad"))
            .map(|call| call.count)
            .sum();
        assert_eq!(refused, 2, "those for sm_80a and sm_80 were offered: {:?}", run.report.calls);
    }
}

#[test]
fn ptx_that_is_too_new_is_taken_as_an_older_version() {
    let run = Vgpu::new().driver("12.0").body(|| {
        let mut model = load(&code()).unwrap();
        assert_eq!(model.code_used(), &CodeUsed::Ptx { lowered: Some("7.0".to_owned()) });
        assert_runs(&mut model, 5, 0);
    });
    if let Some(run) = run {
        run.assert_clean();
    }
}

#[test]
fn refused_ptx_is_compiled_from_source_once() {
    let home = tempfile::tempdir().unwrap();
    let kept = home.path().join("kwc");
    // What is refused: PTX of a later architecture, text that is none, and none at all.
    for (step, refused) in ["later", "text", "none"].into_iter().enumerate() {
        let on = || {
            Vgpu::new()
                .variable("XDG_CACHE_HOME", home.path())
                .variable("REFUSED", refused)
                .variable("STEP", step.to_string())
        };
        let run = on().body(|| {
            let mut code = source_only();
            match std::env::var("REFUSED").unwrap().as_str() {
                "later" => code.ptx = Some(ptx("compute_90").into()),
                "text" => code.ptx = Some("no code at all".into()),
                _ => {}
            }
            let mut model = load(&code).unwrap();
            if std::env::var("STEP").unwrap() == "0" {
                // The virtual GPU takes no cubin, so what it takes is the PTX.
                let CodeUsed::Compiled { architecture, nvrtc: version, kept: Ok(path) } = model.code_used() else {
                    panic!("{:?}", model.code_used())
                };
                assert_eq!((architecture.as_str(), *version), ("compute_80", nvrtc().version()));
                assert!(path.is_file());
            } else {
                assert!(matches!(model.code_used(), CodeUsed::Cached { .. }), "{:?}", model.code_used());
            }
            assert_runs(&mut model, 4, 0);
        });
        if let Some(run) = run {
            run.assert_clean();
            assert_eq!(files(&kept).len(), 1, "{:?}", files(&kept));
        }
    }
}

#[test]
fn damaged_kept_code_is_made_anew() {
    let home = tempfile::tempdir().unwrap();
    let kept = home.path().join("kwc");
    let mut whole = Vec::new();
    let damages: [fn(&mut Vec<u8>); 5] =
        [|_| {}, |bytes| bytes[200] ^= 1, |bytes| bytes.truncate(300), Vec::clear, |bytes| bytes[3] = b'!'];
    for damage in damages {
        let path = files(&kept).into_iter().next();
        if let Some(path) = &path {
            let mut bytes = fs::read(path).unwrap();
            whole.push(bytes.clone());
            damage(&mut bytes);
            fs::write(path, bytes).unwrap();
        }
        let run = Vgpu::new().variable("XDG_CACHE_HOME", home.path()).body(|| {
            let mut model = load(&source_only()).unwrap();
            assert!(matches!(model.code_used(), CodeUsed::Compiled { kept: Ok(_), .. }), "{:?}", model.code_used());
            assert_runs(&mut model, 1, 0);
        });
        if let Some(run) = run {
            run.assert_clean();
        } else {
            return;
        }
    }
    assert!(whole.windows(2).all(|pair| pair[0] == pair[1]), "it is rewritten as it was");
}

#[test]
fn code_is_compiled_where_nothing_can_be_kept() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    for (cache, reason) in [(Some(&file), "can't write to"), (None, "neither XDG_CACHE_HOME nor HOME")] {
        let on = Vgpu::new().variable("REASON", reason);
        let on = match cache {
            Some(file) => on.variable("XDG_CACHE_HOME", file),
            None => on.variable("XDG_CACHE_HOME", "").unset("HOME"),
        };
        let run = on.body(|| {
            let mut model = load(&source_only()).unwrap();
            let CodeUsed::Compiled { kept: Err(why), .. } = model.code_used() else {
                panic!("{:?}", model.code_used())
            };
            assert!(why.contains(&std::env::var("REASON").unwrap()), "{why}");
            assert!(model.code_used().to_string().contains("not kept"), "{}", model.code_used());
            assert_runs(&mut model, 2, 0);
        });
        if let Some(run) = run {
            run.assert_clean();
        }
    }
}

#[test]
fn code_can_be_a_static() {
    const CUBINS: &[Cubin] = &[Cubin::new("sm_90", b"\x7fELF")];
    static CODE: Code = Code {
        source: Cow::Borrowed(SOURCE),
        options: Cow::Borrowed(&[Cow::Borrowed("--std=c++17")]),
        ptx: None,
        cubins: Cow::Borrowed(CUBINS),
    };
    let run = Vgpu::new().body(|| assert_runs(&mut load(&CODE).unwrap(), 2, 0));
    if let Some(run) = run {
        run.assert_clean();
    }
}

#[test]
fn where_nothing_works_every_attempt_is_listed() {
    let home = tempfile::tempdir().unwrap();
    let nowhere = home.path().join("nvrtc");
    let _ = Vgpu::new().variable("XDG_CACHE_HOME", home.path()).variable("KWC_NVRTC", nowhere).body(|| {
        let mut code = source_only();
        code.ptx = Some(".version 7.0\n.target sm_80\n.address_size 64\n".into());
        code.cubins = vec![Cubin::new("sm_90", b"")].into();
        let error = load(&code).unwrap_err();
        let text = error.to_string();
        let attempts = attempts(error);
        let outcomes: Vec<(&str, &str)> =
            attempts.0.iter().map(|attempt| (attempt.way.as_str(), attempt.outcome.as_str())).collect();
        let [cubin, ptx, kept, compiling] = outcomes[..] else { panic!("{text}") };
        assert_eq!(cubin.1, "none is for sm_80, there are those for sm_90");
        assert!(ptx.1.contains("no kernel combine"), "{text}");
        assert!(kept.1.contains("there is none in"), "{text}");
        assert!(compiling.1.contains("KWC_NVRTC"), "{text}");
        assert!(text.contains("pip install nvidia-cuda-nvrtc"), "{text}");
        for (way, _) in outcomes {
            assert!(text.contains(way), "{text}");
        }
    });
}

#[test]
fn source_that_does_not_compile_is_tried_once() {
    let _ = Vgpu::new().body(|| {
        let source = "extern \"C\" __global__ void combine() { unknown(); }";
        let mut program = program();
        program.source_id = kwc_compiler::hash::of(source.as_bytes()).into();
        let code = Code { source: source.into(), ..source_only() };
        let attempts = attempts(Model::load(&device(), &program, &code, &weights()).unwrap_err());
        let compiling: Vec<_> = attempts.0.iter().filter(|attempt| attempt.way.starts_with("compiling")).collect();
        let [attempt] = compiling[..] else { panic!("{attempts}") };
        assert!(attempt.outcome.contains("identifier \"unknown\" is undefined"), "{attempts}");
    });
}

#[test]
fn source_of_another_program_is_refused() {
    let _ = Vgpu::new().body(|| {
        let code = Code { source: "// changed".into(), ..code() };
        let Error::Cuda(error) = load(&code).unwrap_err() else { panic!() };
        let (expected, found) = (program().source_id.to_string(), kwc_compiler::hash::of(b"// changed"));
        assert_eq!(*error, cuda::Error::SourceId { expected, found });
    });
}
