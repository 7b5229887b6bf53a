//! What no file tells: it is tried, or asked of the kernel.

use std::os::fd::AsRawFd;

use rustix::process::{Resource, getrlimit};

use crate::backend::realtime;

/// Asks a wireless interface for its power saving (wireless extensions; `linux/wireless.h`).
const SIOCGIWPOWER: libc::Ioctl = 0x8b2d;

/// Why a thread of this process cannot have a realtime priority; `None`: it can. Tries it.
pub fn priority_refused(priority: u8) -> Option<String> {
    let tried = std::thread::spawn(move || realtime::set_fifo(i32::from(priority))).join();
    match tried {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("the attempt failed".to_owned()),
    }
}

/// How much this process may lock in memory; `None` is no bound.
pub fn memlock_bytes() -> Option<u64> {
    if realtime::may_lock_anything() {
        return None;
    }
    getrlimit(Resource::Memlock).current
}

/// `struct iwreq` with a `struct iw_param` in it.
#[repr(C)]
struct Request {
    name: [u8; 16],
    value: i32,
    fixed: u8,
    disabled: u8,
    flags: u16,
    /// The union's longer members.
    rest: [u8; 8],
}

/// Whether a wireless interface saves power; `None` when it does not tell.
pub fn saves_power(interface: &str) -> Option<bool> {
    let mut request = Request {
        name: [0; 16],
        value: 0,
        fixed: 0,
        disabled: 0,
        flags: 0,
        rest: [0; 8],
    };
    let room = request.name.len() - 1;
    let bytes = interface.as_bytes();
    request
        .name
        .get_mut(..bytes.len().min(room))?
        .copy_from_slice(bytes.get(..room).unwrap_or(bytes));
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").ok()?;
    // SAFETY: the request has the size and the layout that this call reads and writes, and outlives it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGIWPOWER, &raw mut request) };
    (result == 0).then_some(request.disabled == 0)
}
