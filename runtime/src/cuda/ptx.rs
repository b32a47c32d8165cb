//! The version that a PTX text asks for.
//!
//! NVRTC writes its own version, which older drivers refuse. A text that uses nothing newer is the same under the oldest
//! version that knows its target; one that does use something newer is refused again, by name of the instruction.

/// The text under the oldest PTX version that knows its target, and that version. `None` where that would not lower it.
pub(super) fn lowered(ptx: &str) -> Option<(String, &'static str)> {
    let (start, version) = directive(ptx, ".version")?;
    let (_, target) = directive(ptx, ".target")?;
    let oldest = oldest(target.split(',').next()?.trim())?;
    if number(oldest)? >= number(version)? {
        return None;
    }
    let text = format!("{}{oldest}{}", &ptx[..start], &ptx[start + version.len()..]);
    Some((text, oldest))
}

/// The rest of the line of a directive, and where it starts.
fn directive<'p>(ptx: &'p str, name: &str) -> Option<(usize, &'p str)> {
    let mut start = 0;
    for line in ptx.split_inclusive('\n') {
        if let Some(rest) = line.trim_start().strip_prefix(name) {
            let value = rest.trim();
            return Some((start + line.find(value)?, value));
        }
        start += line.len();
    }
    None
}

fn number(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// From the release notes of the PTX ISA.
fn oldest(target: &str) -> Option<&'static str> {
    Some(match target {
        "sm_80" => "7.0",
        "sm_86" => "7.1",
        "sm_87" => "7.4",
        "sm_89" | "sm_90" => "7.8",
        "sm_90a" => "8.0",
        "sm_100" | "sm_100a" => "8.6",
        "sm_120" | "sm_120a" => "8.7",
        "sm_103" | "sm_103a" | "sm_121" | "sm_121a" => "8.8",
        _ => return None,
    })
}
