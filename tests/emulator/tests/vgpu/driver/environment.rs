//! The environment variables, and which PTX a driver of a version takes.

use kwc_emulator::driver::device::Architecture;
use kwc_emulator::driver::environment::{SettingError, Settings, Version};
use kwc_emulator::driver::errors::Code;
use kwc_emulator::driver::module::Head;
use kwc_emulator::options::Checks;

fn settings(variables: &[(&str, &str)]) -> Result<Settings, SettingError> {
    Settings::from_lookup(|name| {
        variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn without_variables() {
    let settings = settings(&[]).unwrap();
    assert_eq!(settings.options.architecture, Architecture::Sm80);
    assert_eq!(settings.options.checks, Checks { initialised: true, races: true, synchronisation: true });
    assert!(!settings.options.counters);
    assert_eq!(settings.options.seed, 0);
    assert!(settings.options.threads >= 1);
    assert_eq!(settings.trace, None);
    assert_eq!(settings.version.number(), 13_050);
}

#[test]
fn with_variables() {
    let settings = settings(&[
        ("VGPU_ARCH", "sm_90"),
        ("VGPU_CHECK", "races, initialised"),
        ("VGPU_SEED", "18446744073709551615"),
        ("VGPU_THREADS", "3"),
        ("VGPU_TRACE", "a/folder"),
        ("VGPU_DRIVER_VERSION", "12.8"),
    ])
    .unwrap();
    assert_eq!(settings.options.architecture, Architecture::Sm90);
    assert_eq!(settings.options.checks, Checks { initialised: true, races: true, synchronisation: false });
    assert!(settings.options.counters, "on where a trace is written");
    assert_eq!(settings.options.seed, u64::MAX);
    assert_eq!(settings.options.threads, 3);
    assert_eq!(settings.trace.as_deref(), Some("a/folder".as_ref()));
    assert_eq!(settings.version.number(), 12_080);
}

#[test]
fn values_of_their_own() {
    assert_eq!(settings(&[("VGPU_CHECK", "none")]).unwrap().options.checks, Checks::NONE);
    assert_eq!(settings(&[("VGPU_CHECK", "all")]).unwrap().options.checks, Checks::ALL);
    assert!(settings(&[("VGPU_COUNTERS", "on")]).unwrap().options.counters);
    assert!(!settings(&[("VGPU_COUNTERS", "off"), ("VGPU_TRACE", "x")]).unwrap().options.counters);
    assert_eq!(settings(&[("VGPU_ARCH", "")]).unwrap().options.architecture, Architecture::Sm80, "empty is unset");
}

#[test]
fn values_that_can_not_be() {
    for (variable, value) in [
        ("VGPU_ARCH", "sm_75"),
        ("VGPU_ARCH", "80"),
        ("VGPU_CHECK", "race"),
        ("VGPU_CHECK", "all,none"),
        ("VGPU_COUNTERS", "yes"),
        ("VGPU_SEED", "-1"),
        ("VGPU_SEED", "18446744073709551616"),
        ("VGPU_THREADS", "0"),
        ("VGPU_THREADS", "1025"),
        ("VGPU_DRIVER_VERSION", "12"),
        ("VGPU_DRIVER_VERSION", "12.10"),
        ("VGPU_DRIVER_VERSION", "14.0"),
    ] {
        let error = settings(&[(variable, value)]).unwrap_err();
        assert_eq!((error.variable, error.value.as_str()), (variable, value));
        assert!(error.to_string().starts_with(&format!("{variable}={value}: expected ")), "{error}");
    }
}

#[test]
fn the_ptx_of_driver_versions() {
    // From the release notes of the PTX ISA.
    for ((major, minor), ptx) in [
        ((11, 0), (7, 0)),
        ((11, 8), (7, 8)),
        ((12, 0), (8, 0)),
        ((12, 5), (8, 5)),
        ((12, 6), (8, 5)),
        ((12, 8), (8, 7)),
        ((12, 9), (8, 8)),
        ((13, 0), (9, 0)),
        ((13, 5), (9, 5)),
    ] {
        assert_eq!(Version { major, minor }.ptx(), ptx, "CUDA {major}.{minor}");
    }
}

#[test]
fn the_head_of_a_text() {
    let text =
        "//\n// Cuda compilation tools\n//\n\n.version 8.7\n.target sm_90a, texmode_independent\n.address_size 64\n";
    let head = Head::of(text);
    assert_eq!(head.version, Some((8, 7, 5)));
    assert_eq!(head.target, Some(("sm_90a", 6)));
    assert_eq!(Head::of("no PTX"), Head::default());
    assert_eq!(Head::of(".version nine\n.target"), Head::default());
}

#[test]
fn ptx_that_is_too_new() {
    let check = |text: &str, version: (u32, u32), architecture| {
        let version = Version { major: version.0, minor: version.1 };
        Head::of(text).check(version, architecture).map_err(|failure| failure.code)
    };
    let text = ".version 8.7\n.target sm_80\n";
    assert_eq!(check(text, (12, 8), Architecture::Sm80), Ok(()));
    assert_eq!(check(text, (12, 7), Architecture::Sm80), Err(Code::UnsupportedPtxVersion));
    assert_eq!(check(text, (12, 8), Architecture::Sm90), Ok(()), "PTX runs on newer parts");
    let text = ".version 7.8\n.target sm_89\n";
    assert_eq!(check(text, (13, 5), Architecture::Sm86), Err(Code::InvalidPtx));
    assert_eq!(check(text, (13, 5), Architecture::Sm89), Ok(()));
    let text = ".version 8.0\n.target sm_90a\n";
    assert_eq!(check(text, (13, 5), Architecture::Sm90), Ok(()));
    assert_eq!(check(text, (13, 5), Architecture::Sm89), Err(Code::InvalidPtx));
    let message = Head::of(text).check(Version::NEWEST, Architecture::Sm80).unwrap_err().message;
    assert!(message.starts_with("line 2: "), "{message}");
}
