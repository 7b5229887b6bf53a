//! ALSA's library, loaded when it is first asked for: rigd runs where it is not installed.
//!
//! The crate `alsa` calls functions that it expects to be linked. They are here, by name: each jumps to
//! where the library has its own, which is known once the library is loaded. A function that is called and
//! not listed is an error when rigd is linked, so the list is complete.

use std::arch::naked_asm;
use std::ffi::{CStr, c_int, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

/// As the dynamic linker knows it; the number is that of its binary interface.
const NAME: &CStr = c"libasound.so.2";

/// Loads the library once. Every other thing in [`super`] may be used after that only. `Err` says what
/// is missing.
pub fn load() -> Result<(), &'static str> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    match LOADED.get_or_init(resolve) {
        Ok(()) => Ok(()),
        Err(missing) => Err(missing),
    }
}

fn resolve() -> Result<(), String> {
    // SAFETY: the name is a string; ALSA's library does nothing but set itself up.
    let library = unsafe { libc::dlopen(NAME.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if library.is_null() {
        return Err(last_error());
    }
    for (place, name) in PLACES.iter().zip(TEXTS) {
        // SAFETY: the library is never closed, and the name ends with NUL.
        let function = unsafe { libc::dlsym(library, name.as_ptr().cast()) };
        if function.is_null() {
            return Err(last_error());
        }
        place.store(function.cast(), Ordering::Release);
    }
    silence(library)
}

/// What goes wrong is said by rigd, with what to do; the library would write to stderr, even on the audio
/// thread.
fn silence(library: *mut c_void) -> Result<(), String> {
    type Handler = extern "C" fn();
    extern "C" fn say_nothing() {}

    // SAFETY: as above.
    let function = unsafe { libc::dlsym(library, c"snd_lib_error_set_handler".as_ptr()) };
    if function.is_null() {
        return Err(last_error());
    }
    // SAFETY: that is its type, but for the handler's arguments, which this one does not look at; the
    // caller takes them away again.
    unsafe {
        let set: unsafe extern "C" fn(Handler) -> c_int = std::mem::transmute(function);
        set(say_nothing);
    }
    Ok(())
}

fn last_error() -> String {
    // SAFETY: there was an error, of this thread, so this is a string until the next call.
    let error = unsafe { libc::dlerror() };
    if error.is_null() {
        return "it cannot be loaded".to_owned();
    }
    // SAFETY: as above.
    let error = unsafe { CStr::from_ptr(error) };
    error.to_string_lossy().into_owned()
}

/// What is called before the library is loaded: that is a mistake in rigd.
extern "C" fn not_loaded() -> ! {
    std::process::abort()
}

macro_rules! functions {
    ($($name:ident)*) => {
        const TEXTS: &[&str] = &[$(concat!(stringify!($name), "\0")),*];
        $(
            #[unsafe(no_mangle)]
            #[unsafe(naked)]
            unsafe extern "C" fn $name() {
                #[cfg(target_arch = "x86_64")]
                naked_asm!(
                    "jmp qword ptr [rip + {places} + {offset}]",
                    places = sym PLACES,
                    offset = const offset(concat!(stringify!($name), "\0")),
                );
                #[cfg(target_arch = "aarch64")]
                naked_asm!(
                    "adrp x16, {places}",
                    "add x16, x16, :lo12:{places}",
                    "ldr x16, [x16, #{offset}]",
                    "br x16",
                    places = sym PLACES,
                    offset = const offset(concat!(stringify!($name), "\0")),
                );
            }
        )*
    };
}

/// Where the functions are, in the order of `TEXTS`.
static PLACES: [AtomicPtr<()>; TEXTS.len()] =
    [const { AtomicPtr::new(not_loaded as *mut ()) }; TEXTS.len()];

/// Of a function's place, in bytes.
const fn offset(name: &str) -> usize {
    let mut at = 0;
    while !is_same(TEXTS[at].as_bytes(), name.as_bytes()) {
        at += 1;
    }
    at * size_of::<AtomicPtr<()>>()
}

const fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

functions! {
    snd_card_get_index
    snd_card_get_longname
    snd_card_get_name
    snd_card_next
    snd_ctl_card_info
    snd_ctl_card_info_free
    snd_ctl_card_info_get_card
    snd_ctl_card_info_get_components
    snd_ctl_card_info_get_driver
    snd_ctl_card_info_get_id
    snd_ctl_card_info_get_longname
    snd_ctl_card_info_get_mixername
    snd_ctl_card_info_get_name
    snd_ctl_card_info_malloc
    snd_ctl_close
    snd_ctl_open
    snd_ctl_pcm_info
    snd_ctl_pcm_next_device
    snd_mixer_attach
    snd_mixer_close
    snd_mixer_elem_get_type
    snd_mixer_elem_next
    snd_mixer_find_selem
    snd_mixer_first_elem
    snd_mixer_handle_events
    snd_mixer_load
    snd_mixer_open
    snd_mixer_poll_descriptors
    snd_mixer_poll_descriptors_count
    snd_mixer_poll_descriptors_revents
    snd_mixer_selem_ask_capture_dB_vol
    snd_mixer_selem_ask_capture_vol_dB
    snd_mixer_selem_ask_playback_dB_vol
    snd_mixer_selem_ask_playback_vol_dB
    snd_mixer_selem_channel_name
    snd_mixer_selem_get_capture_dB_range
    snd_mixer_selem_get_capture_switch
    snd_mixer_selem_get_capture_volume
    snd_mixer_selem_get_capture_volume_range
    snd_mixer_selem_get_enum_item
    snd_mixer_selem_get_enum_item_name
    snd_mixer_selem_get_enum_items
    snd_mixer_selem_get_id
    snd_mixer_selem_get_playback_dB_range
    snd_mixer_selem_get_playback_switch
    snd_mixer_selem_get_playback_volume
    snd_mixer_selem_get_playback_volume_range
    snd_mixer_selem_has_capture_channel
    snd_mixer_selem_has_capture_switch
    snd_mixer_selem_has_capture_volume
    snd_mixer_selem_has_playback_channel
    snd_mixer_selem_has_playback_switch
    snd_mixer_selem_has_playback_volume
    snd_mixer_selem_id_get_index
    snd_mixer_selem_id_get_name
    snd_mixer_selem_id_set_index
    snd_mixer_selem_id_set_name
    snd_mixer_selem_id_sizeof
    snd_mixer_selem_is_capture_mono
    snd_mixer_selem_is_enum_capture
    snd_mixer_selem_is_enum_playback
    snd_mixer_selem_is_enumerated
    snd_mixer_selem_is_playback_mono
    snd_mixer_selem_register
    snd_mixer_selem_set_capture_dB
    snd_mixer_selem_set_capture_dB_all
    snd_mixer_selem_set_capture_switch
    snd_mixer_selem_set_capture_switch_all
    snd_mixer_selem_set_capture_volume
    snd_mixer_selem_set_capture_volume_all
    snd_mixer_selem_set_capture_volume_range
    snd_mixer_selem_set_enum_item
    snd_mixer_selem_set_playback_dB
    snd_mixer_selem_set_playback_dB_all
    snd_mixer_selem_set_playback_switch
    snd_mixer_selem_set_playback_switch_all
    snd_mixer_selem_set_playback_volume
    snd_mixer_selem_set_playback_volume_all
    snd_mixer_selem_set_playback_volume_range
    snd_mixer_wait
    snd_pcm_avail
    snd_pcm_avail_delay
    snd_pcm_avail_update
    snd_pcm_bytes_to_frames
    snd_pcm_close
    snd_pcm_delay
    snd_pcm_drain
    snd_pcm_drop
    snd_pcm_dump
    snd_pcm_dump_hw_setup
    snd_pcm_dump_sw_setup
    snd_pcm_format_little_endian
    snd_pcm_format_physical_width
    snd_pcm_format_silence_16
    snd_pcm_format_width
    snd_pcm_frames_to_bytes
    snd_pcm_get_chmap
    snd_pcm_get_params
    snd_pcm_hw_free
    snd_pcm_hw_params
    snd_pcm_hw_params_any
    snd_pcm_hw_params_can_pause
    snd_pcm_hw_params_can_resume
    snd_pcm_hw_params_copy
    snd_pcm_hw_params_current
    snd_pcm_hw_params_dump
    snd_pcm_hw_params_free
    snd_pcm_hw_params_get_access
    snd_pcm_hw_params_get_buffer_size
    snd_pcm_hw_params_get_buffer_size_max
    snd_pcm_hw_params_get_buffer_size_min
    snd_pcm_hw_params_get_buffer_time
    snd_pcm_hw_params_get_buffer_time_max
    snd_pcm_hw_params_get_buffer_time_min
    snd_pcm_hw_params_get_channels
    snd_pcm_hw_params_get_channels_max
    snd_pcm_hw_params_get_channels_min
    snd_pcm_hw_params_get_format
    snd_pcm_hw_params_get_period_size
    snd_pcm_hw_params_get_period_size_max
    snd_pcm_hw_params_get_period_size_min
    snd_pcm_hw_params_get_period_time
    snd_pcm_hw_params_get_period_time_max
    snd_pcm_hw_params_get_period_time_min
    snd_pcm_hw_params_get_periods
    snd_pcm_hw_params_get_periods_max
    snd_pcm_hw_params_get_periods_min
    snd_pcm_hw_params_get_rate
    snd_pcm_hw_params_get_rate_max
    snd_pcm_hw_params_get_rate_min
    snd_pcm_hw_params_get_rate_resample
    snd_pcm_hw_params_malloc
    snd_pcm_hw_params_set_access
    snd_pcm_hw_params_set_buffer_size
    snd_pcm_hw_params_set_buffer_size_max
    snd_pcm_hw_params_set_buffer_size_min
    snd_pcm_hw_params_set_buffer_size_near
    snd_pcm_hw_params_set_buffer_time
    snd_pcm_hw_params_set_buffer_time_max
    snd_pcm_hw_params_set_buffer_time_min
    snd_pcm_hw_params_set_buffer_time_near
    snd_pcm_hw_params_set_channels
    snd_pcm_hw_params_set_channels_near
    snd_pcm_hw_params_set_format
    snd_pcm_hw_params_set_period_size
    snd_pcm_hw_params_set_period_size_max
    snd_pcm_hw_params_set_period_size_min
    snd_pcm_hw_params_set_period_size_near
    snd_pcm_hw_params_set_period_time
    snd_pcm_hw_params_set_period_time_max
    snd_pcm_hw_params_set_period_time_min
    snd_pcm_hw_params_set_period_time_near
    snd_pcm_hw_params_set_periods
    snd_pcm_hw_params_set_periods_max
    snd_pcm_hw_params_set_periods_min
    snd_pcm_hw_params_set_periods_near
    snd_pcm_hw_params_set_rate
    snd_pcm_hw_params_set_rate_near
    snd_pcm_hw_params_set_rate_resample
    snd_pcm_hw_params_supports_audio_ts_type
    snd_pcm_hw_params_test_access
    snd_pcm_hw_params_test_channels
    snd_pcm_hw_params_test_format
    snd_pcm_hw_params_test_rate
    snd_pcm_info
    snd_pcm_info_free
    snd_pcm_info_get_card
    snd_pcm_info_get_device
    snd_pcm_info_get_id
    snd_pcm_info_get_name
    snd_pcm_info_get_stream
    snd_pcm_info_get_subdevice
    snd_pcm_info_get_subdevice_name
    snd_pcm_info_get_subdevices_avail
    snd_pcm_info_get_subdevices_count
    snd_pcm_info_malloc
    snd_pcm_info_set_device
    snd_pcm_info_set_stream
    snd_pcm_info_set_subdevice
    snd_pcm_link
    snd_pcm_mmap_begin
    snd_pcm_mmap_commit
    snd_pcm_open
    snd_pcm_pause
    snd_pcm_poll_descriptors
    snd_pcm_poll_descriptors_count
    snd_pcm_poll_descriptors_revents
    snd_pcm_prepare
    snd_pcm_query_chmaps
    snd_pcm_readi
    snd_pcm_readn
    snd_pcm_recover
    snd_pcm_reset
    snd_pcm_resume
    snd_pcm_set_chmap
    snd_pcm_start
    snd_pcm_state
    snd_pcm_status
    snd_pcm_status_dump
    snd_pcm_status_get_audio_htstamp
    snd_pcm_status_get_avail
    snd_pcm_status_get_avail_max
    snd_pcm_status_get_delay
    snd_pcm_status_get_htstamp
    snd_pcm_status_get_overrange
    snd_pcm_status_get_state
    snd_pcm_status_get_trigger_htstamp
    snd_pcm_status_set_audio_htstamp_config
    snd_pcm_status_sizeof
    snd_pcm_sw_params
    snd_pcm_sw_params_current
    snd_pcm_sw_params_dump
    snd_pcm_sw_params_free
    snd_pcm_sw_params_get_avail_min
    snd_pcm_sw_params_get_boundary
    snd_pcm_sw_params_get_start_threshold
    snd_pcm_sw_params_get_stop_threshold
    snd_pcm_sw_params_get_tstamp_mode
    snd_pcm_sw_params_get_tstamp_type
    snd_pcm_sw_params_malloc
    snd_pcm_sw_params_set_avail_min
    snd_pcm_sw_params_set_start_threshold
    snd_pcm_sw_params_set_stop_threshold
    snd_pcm_sw_params_set_tstamp_mode
    snd_pcm_sw_params_set_tstamp_type
    snd_pcm_unlink
    snd_pcm_wait
    snd_pcm_writei
    snd_pcm_writen
    snd_strerror
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_where_the_library_has_them() {
        if let Err(missing) = load() {
            eprintln!("SKIP: {missing}");
            return;
        }
        assert!(PLACES.iter().all(|place| {
            let function = place.load(Ordering::Relaxed);
            function != not_loaded as *mut ()
        }));
        // Through the crate, and back with an argument and a result.
        let error = alsa::Error::new("snd_pcm_open", libc::EBUSY);
        assert!(error.to_string().contains("busy"), "{error}");
        assert!(alsa::Card::from_str(c"no such card").is_err());
    }
}
