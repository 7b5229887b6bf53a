//! What a thread asks of the system before its first block: priority, processors, memory that stays.
//! Each may be refused; the log says so once, and what to do.

use std::ffi::CString;
use std::hint::black_box;
use std::io;
use std::num::NonZeroU64;

use rustix::mm::MlockAllFlags;
use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, CpuSet};

use crate::config::Realtime;

/// Stack that is made present before the first block, in bytes; the engine uses a fraction of it.
const STACK_BYTES: usize = 256 * 1024;
/// How late a sleep may end on purpose, so that the system can end several at once, in ns.
const TIMER_SLACK_NS: u64 = 1;

/// Makes the calling thread the realtime thread, before its first block. Never fails: sound with
/// less than it asked for is better than none.
pub fn become_realtime(settings: &Realtime) {
    pin(&settings.cpus);
    touch_stack();
    // Matters without realtime priority only.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(TIMER_SLACK_NS));
    if settings.priority == 0 {
        log::info!("the audio thread has no realtime priority: realtime.priority is 0");
        return;
    }
    match set_fifo(i32::from(settings.priority)) {
        Ok(()) => log::info!(
            "the audio thread has realtime priority {}",
            settings.priority
        ),
        Err(error) => log::warn!(
            "no realtime priority for the audio thread ({error}): sound may stutter when the box \
             is busy; allow it with LimitRTPRIO={0} (systemd) or an rtprio line in \
             /etc/security/limits.d, or set realtime.priority = 0",
            settings.priority
        ),
    }
}

/// The name of whichever thread calls the engine.
pub const THREAD: &str = "rigd-audio";

/// Makes a thread that another library has started the audio thread, in its first block: it keeps
/// the priority that it has.
pub fn settle_in() {
    let name = CString::new(THREAD).unwrap_or_default();
    // For whoever looks at the threads; nothing depends on it.
    let _ = rustix::thread::set_name(&name);
    touch_stack();
}

/// Keeps the calling thread, and those that it starts from now on, to these processors; none named
/// means any. Never fails.
pub fn pin(cpus: &[usize]) {
    if cpus.is_empty() {
        return;
    }
    let mut set = CpuSet::new();
    for cpu in cpus.iter().filter(|cpu| **cpu < CpuSet::MAX_CPU) {
        set.set(*cpu);
    }
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        log::warn!(
            "the processors {cpus:?} cannot be used ({error}), so any are: name ones that this box \
             has in realtime.cpus and realtime.control_cpus"
        );
    }
}

/// Memory comes in pages of the usual size: a huge one is made empty when it is first touched, which
/// takes long, and locks two megabytes where a few kilobytes are used. Main thread, before anything else.
pub fn no_huge_pages() {
    // SAFETY: takes numbers only, and changes nothing but how later page faults are served. A kernel
    // that refuses has none.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}

/// Keeps all memory of the process, present and to come, out of swap, where the system allows it
/// without a limit: under one, memory would be refused later, in the middle of a song. Control
/// side, at the start.
pub fn lock_memory() {
    let advice = "sound may stutter when memory is short; allow it with LimitMEMLOCK=infinity \
                  (systemd) or a memlock line in /etc/security/limits.d, or set \
                  realtime.lock_memory = false";
    if let Some(bytes) = getrlimit(Resource::Memlock).current
        && !may_lock_anything()
    {
        log::warn!("memory is not locked (only {bytes} bytes could be): {advice}");
        return;
    }
    // What comes later is locked page by page as it is used, not in advance: stacks and buffers are
    // mostly larger than their use.
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    match rustix::mm::mlockall(flags) {
        Ok(()) => log::info!("memory is locked"),
        Err(error) => log::warn!("memory is not locked ({error}): {advice}"),
    }
}

/// Whether no limit on locked memory counts for this process.
pub fn may_lock_anything() -> bool {
    rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK))
}

/// Page faults of a growing stack happen here and not in a block.
#[inline(never)]
fn touch_stack() {
    let mut stack = [0_u8; STACK_BYTES];
    black_box(&mut stack);
}

/// Gives the calling thread a realtime priority, 1 to 99.
pub fn set_fifo(priority: i32) -> io::Result<()> {
    let parameter = libc::sched_param {
        sched_priority: priority,
    };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the parameter is a plain value that outlives the call; 0 is the calling thread.
    match unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Scheduling policy (without flags) and priority of the calling thread, as the system says.
pub fn scheduling() -> (i32, i32) {
    let mut parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: 0 is the calling thread, and the parameter outlives the call that writes it.
    let policy = unsafe {
        libc::sched_getparam(0, &raw mut parameter);
        libc::sched_getscheduler(0)
    };
    (
        policy & !libc::SCHED_RESET_ON_FORK,
        parameter.sched_priority,
    )
}
