//! What can be asked of the driver and of the device: versions, names, attributes, errors.

use std::ffi::c_char;

use super::arguments::{Buffer, Out};
use super::attributes;
use super::environment::{Settings, Version};
use super::errors::{Answer, Code};
use super::state::Device;

/// `cuInit`
pub fn initialise(flags: u32) -> Answer {
    if flags != 0 {
        return Err(Code::InvalidValue.because("cuInit takes no flags"));
    }
    match Device::initialise() {
        Ok(_) => Ok(()),
        Err(failure) => {
            // There is no log yet that could say it.
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("vgpu: {}\n", failure.message));
            Err(failure)
        }
    }
}

/// `cuDriverGetVersion`: works before `cuInit` too.
pub fn driver_version(version: Out<i32>) -> Answer {
    let chosen = match Device::get() {
        Ok(device) => device.settings.version,
        Err(_) => Settings::from_environment().map_or(Version::NEWEST, |settings| settings.version),
    };
    version.set(i32::try_from(chosen.number()).unwrap_or(i32::MAX))
}

fn known(number: i32) -> Answer<Code> {
    Code::from_number(number).ok_or_else(|| Code::InvalidValue.because(format!("there is no error {number}")))
}

/// `cuGetErrorName`
pub fn error_name(number: i32, name: Out<*const c_char>) -> Answer {
    let code = known(number).inspect_err(|_| name.set_if_wanted(std::ptr::null()))?;
    name.set(code.name().as_ptr())
}

/// `cuGetErrorString`
pub fn error_text(number: i32, text: Out<*const c_char>) -> Answer {
    let code = known(number).inspect_err(|_| text.set_if_wanted(std::ptr::null()))?;
    text.set(code.text().as_ptr())
}

/// `cuDeviceGetCount`
pub fn count(_: &Device, count: Out<i32>) -> Answer {
    count.set(1)
}

/// `cuDeviceGet`
pub fn get(_: &Device, ordinal: Out<i32>, number: i32) -> Answer {
    Device::check_ordinal(number)?;
    ordinal.set(number)
}

fn write_text(buffer: Buffer, size: i32, text: &str) -> Answer {
    let size = usize::try_from(size).unwrap_or(0);
    if buffer.write(text, size) == 0 {
        return Err(Code::InvalidValue.because("a buffer without room"));
    }
    Ok(())
}

/// `cuDeviceGetName`
pub fn name(device: &Device, buffer: Buffer, size: i32, ordinal: i32) -> Answer {
    Device::check_ordinal(ordinal)?;
    write_text(buffer, size, device.settings.options.architecture.part().name)
}

/// `cuDeviceGetPCIBusId`: domain, bus, device, function.
pub fn bus_id(_: &Device, buffer: Buffer, size: i32, ordinal: i32) -> Answer {
    Device::check_ordinal(ordinal)?;
    write_text(buffer, size, "0000:01:00.0")
}

/// `cuDeviceGetAttribute`
pub fn attribute(device: &Device, value: Out<i32>, attribute: i32, ordinal: i32) -> Answer {
    Device::check_ordinal(ordinal)?;
    match attributes::attribute(device.settings.options.architecture, attribute) {
        Some(found) => value.set(found),
        None => Err(Code::InvalidValue.because(format!("there is no attribute {attribute} of devices"))),
    }
}

/// `cuDeviceComputeCapability`
pub fn capability(device: &Device, major: Out<i32>, minor: Out<i32>, ordinal: i32) -> Answer {
    attribute(device, major, 75, ordinal)?;
    attribute(device, minor, 76, ordinal)
}

/// `cuDeviceTotalMem_v2`: bytes.
pub fn total_memory(device: &Device, size: Out<usize>, ordinal: i32) -> Answer {
    Device::check_ordinal(ordinal)?;
    size.set(device.settings.options.architecture.part().memory as usize)
}

/// `cuDeviceGetUuid`, `cuDeviceGetUuid_v2`: the same for all devices of an architecture.
pub fn uuid(device: &Device, uuid: Out<[u8; 16]>, ordinal: i32) -> Answer {
    Device::check_ordinal(ordinal)?;
    let mut bytes = *b"virtual GPU sm__";
    if let (Some(end), Ok(number)) = (bytes.last_mut(), u8::try_from(device.settings.options.architecture.number())) {
        *end = number;
    }
    uuid.set(bytes)
}

/// `cuDeviceGetProperties`: the old form of some attributes.
pub fn properties(device: &Device, properties: Out<[i32; 14]>, ordinal: i32) -> Answer {
    Device::check_ordinal(ordinal)?;
    // Threads of a block, its sizes, those of a grid, shared and constant memory, lanes, pitch, registers, clock,
    // alignment.
    let numbers = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];
    let architecture = device.settings.options.architecture;
    properties.set(numbers.map(|number| attributes::attribute(architecture, number).unwrap_or(0)))
}

/// `cuDeviceCanAccessPeer`: there is no other device.
pub fn can_access_peer(_: &Device, can: Out<i32>, ordinal: i32, peer: i32) -> Answer {
    Device::check_ordinal(ordinal)?;
    Device::check_ordinal(peer)?;
    can.set(0)
}

/// `cuProfilerStart`, `cuProfilerStop`: everything is always profiled.
pub fn profile(device: &Device) -> Answer {
    device.state().current().map(|_| ())
}
