//! The checks: what was read → what that means for sound, and how to mend it. Pure.

use super::seen::{Card, Seen};
use super::{Finding, Verdict};
use crate::config::Config;

/// Bytes that must be lockable: rigd with its delay memory, and room.
const MEMLOCK_BYTES: u64 = 256 << 20;
/// A Raspberry Pi slows down from 80 °C on; others not much later.
const HOT_C: f64 = 78.0;
/// A device at full speed, behind a hub at high speed, waits for the hub's translator.
const FULL_SPEED_MBPS: f64 = 12.0;
/// Clocks that are read by a system call, or slowly.
const SLOW_CLOCKS: [&str; 4] = ["hpet", "acpi_pm", "jiffies", "refined-jiffies"];

/// One check.
type Check = fn(&Seen, &Config) -> Vec<Finding>;

/// All of them, in the order in which they are shown.
const CHECKS: [Check; 12] = [
    priority, memory, preemption, clock, governor, heat, power, card, holders, interrupts, usb,
    wireless,
];

/// Everything that can be said of a box.
pub fn examine(seen: &Seen, config: &Config) -> Vec<Finding> {
    CHECKS
        .iter()
        .flat_map(|check| check(seen, config))
        .collect()
}

fn good(check: &'static str, says: impl Into<String>) -> Vec<Finding> {
    vec![finding(check, Verdict::Good, says, None)]
}

fn bad(
    check: &'static str,
    verdict: Verdict,
    says: impl Into<String>,
    mend: impl Into<String>,
) -> Vec<Finding> {
    vec![finding(check, verdict, says, Some(mend.into()))]
}

fn finding(
    check: &'static str,
    verdict: Verdict,
    says: impl Into<String>,
    mend: Option<String>,
) -> Finding {
    Finding {
        check,
        verdict,
        says: says.into(),
        mend,
    }
}

fn priority(seen: &Seen, config: &Config) -> Vec<Finding> {
    let asked = config.realtime.priority;
    if asked == 0 {
        return bad(
            "rtprio",
            Verdict::Advice,
            "the settings ask for no realtime priority",
            "set realtime.priority to 70",
        );
    }
    match &seen.priority_refused {
        None => good(
            "rtprio",
            format!("the audio thread may have SCHED_FIFO priority {asked}"),
        ),
        Some(reason) => bad(
            "rtprio",
            Verdict::Unfit,
            format!("the audio thread may not have SCHED_FIFO priority {asked} ({reason})"),
            format!(
                "LimitRTPRIO={asked} in rigd's unit (systemd), or the line \"@audio - rtprio {asked}\" in \
                 /etc/security/limits.d/audio.conf, the user in the group audio, and a new login"
            ),
        ),
    }
}

fn memory(seen: &Seen, config: &Config) -> Vec<Finding> {
    if !config.realtime.lock_memory {
        return bad(
            "memlock",
            Verdict::Advice,
            "the settings do not lock rigd's memory",
            "set realtime.lock_memory = true",
        );
    }
    match seen.memlock_bytes {
        None => good("memlock", "rigd may lock all its memory"),
        Some(bytes) => bad(
            "memlock",
            if bytes < MEMLOCK_BYTES {
                Verdict::Unfit
            } else {
                Verdict::Advice
            },
            format!(
                "only {} MiB may be locked, so rigd locks none: swapped-out memory is a dropout",
                bytes >> 20
            ),
            "LimitMEMLOCK=infinity in rigd's unit (systemd), or the line \"@audio - memlock unlimited\" in \
             /etc/security/limits.d/audio.conf, and a new login",
        ),
    }
}

fn preemption(seen: &Seen, _: &Config) -> Vec<Finding> {
    let has = |word: &str| seen.kernel.split_whitespace().any(|part| part == word);
    let is_full = seen
        .command_line
        .split_whitespace()
        .any(|part| part == "preempt=full");
    if seen.is_realtime_kernel || has("PREEMPT_RT") {
        return good("preemption", "a realtime kernel (PREEMPT_RT)");
    }
    if has("PREEMPT_DYNAMIC") && !is_full {
        return bad(
            "preemption",
            Verdict::Advice,
            "the kernel could be preempted everywhere and was not told to",
            "add preempt=full to the kernel's command line, or install a realtime kernel \
             (linux-image-rt-amd64, linux-image-rt-arm64)",
        );
    }
    if has("PREEMPT") || is_full {
        return good("preemption", "a preemptible kernel");
    }
    bad(
        "preemption",
        Verdict::Unfit,
        "the kernel lets itself be interrupted in few places: dropouts at small blocks",
        "install a realtime kernel (linux-image-rt-amd64, linux-image-rt-arm64), or use blocks of 512 \
         frames and more",
    )
}

fn clock(seen: &Seen, _: &Config) -> Vec<Finding> {
    match seen.clocksource.as_deref() {
        None => Vec::new(),
        Some(clock) if SLOW_CLOCKS.contains(&clock) => bad(
            "clock",
            Verdict::Advice,
            format!("time is read from {clock}, which is slow and a system call"),
            "look in the kernel's log for why it gave a better one up (often tsc); in a virtual machine \
             choose its own clock (kvm-clock)",
        ),
        Some(clock) => good("clock", format!("time is read from {clock}")),
    }
}

fn governor(seen: &Seen, _: &Config) -> Vec<Finding> {
    let mut others: Vec<&str> = seen.governors.iter().map(String::as_str).collect();
    others.retain(|governor| *governor != "performance");
    others.sort_unstable();
    others.dedup();
    if others.is_empty() {
        return good("governor", "the processors keep their speed");
    }
    let verdict = if others.contains(&"powersave") {
        Verdict::Unfit
    } else {
        Verdict::Advice
    };
    bad(
        "governor",
        verdict,
        format!(
            "the processors change their speed ({}): a block may begin on a slow one",
            others.join(", ")
        ),
        "cpupower frequency-set -g performance, or write performance to \
         /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor at each start",
    )
}

fn heat(seen: &Seen, _: &Config) -> Vec<Finding> {
    match seen.hottest_c {
        None => Vec::new(),
        Some(hottest) if hottest >= HOT_C => bad(
            "heat",
            Verdict::Advice,
            format!("{hottest:.0} °C: the processor is about to slow down"),
            "a heat sink, a fan, or more air around the box",
        ),
        Some(hottest) => good("heat", format!("{hottest:.0} °C at the most")),
    }
}

fn power(seen: &Seen, _: &Config) -> Vec<Finding> {
    const NOW: u32 = 0xf;
    const SINCE_START: u32 = 0xf_0000;
    const VOLTAGE: u32 = 0x1_0001;
    let Some(word) = seen.throttled else {
        return Vec::new();
    };
    let mend = if word & VOLTAGE != 0 {
        "a stronger power supply and a shorter, thicker cable"
    } else {
        "a heat sink, a fan, or more air around the box"
    };
    if word & NOW != 0 {
        let says = "the board slows down now: too little voltage, or too hot";
        return bad("power", Verdict::Unfit, says, mend);
    }
    if word & SINCE_START != 0 {
        let says = "since its start the board has slowed down once or more";
        return bad("power", Verdict::Advice, says, mend);
    }
    good("power", "voltage and heat have been well since the start")
}

/// How a card is called here.
fn called(card: &Card) -> String {
    format!("card {} \"{}\"", card.number, card.name)
}

fn card(seen: &Seen, _: &Config) -> Vec<Finding> {
    if seen.cards.is_empty() {
        return bad(
            "card",
            Verdict::Unfit,
            "there is no sound card",
            "plug an audio interface in; of one that is plugged in, look at lsusb and the kernel's log, \
             and on a Raspberry Pi at the dtoverlay line of a HAT",
        );
    }
    let cards: Vec<String> = seen.cards.iter().map(called).collect();
    good("card", cards.join(", "))
}

fn holders(seen: &Seen, _: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for card in &seen.cards {
        for holder in &card.holders {
            let (says, pid) = (called(card), holder.pid);
            findings.extend(match holder.name.as_str() {
                "jackd" | "jackdbus" => good(
                    "held",
                    format!("{says} is held by a JACK server: start rigd with --backend jack"),
                ),
                name if name.starts_with("rigd") => {
                    good("held", format!("{says} is held by rigd itself"))
                }
                name => bad(
                    "held",
                    Verdict::Unfit,
                    format!("{says} is held by {name} (process {pid}): rigd cannot open it"),
                    release(name),
                ),
            });
        }
    }
    let is_idle = |pid: u32| {
        let mut holders = seen.cards.iter().flat_map(|card| &card.holders);
        !holders.any(|holder| holder.pid == pid)
    };
    for server in &seen.servers {
        let is_jack = server.name.starts_with("jack");
        if !is_jack && is_idle(server.pid) {
            findings.extend(bad(
                "held",
                Verdict::Advice,
                format!(
                    "{} runs (process {}) and may take a card before rigd does",
                    server.name, server.pid
                ),
                release(&server.name),
            ));
        }
    }
    if findings.is_empty() {
        return good(
            "held",
            "no other program has a card or is likely to take one",
        );
    }
    findings
}

fn release(name: &str) -> String {
    match name {
        "pipewire" | "wireplumber" => {
            "systemctl --user disable --now pipewire.socket pipewire.service wireplumber.service"
                .into()
        }
        "pulseaudio" => {
            "systemctl --user disable --now pulseaudio.socket pulseaudio.service".into()
        }
        name => format!("end {name}, or let it use another card"),
    }
}

fn interrupts(seen: &Seen, _: &Config) -> Vec<Finding> {
    let has_threads = seen.is_realtime_kernel
        || seen
            .command_line
            .split_whitespace()
            .any(|part| part == "threadirqs");
    let mut findings = Vec::new();
    for card in &seen.cards {
        for interrupt in &card.interrupts {
            let number = interrupt.number;
            let says = format!("interrupt {number} of {}", called(card));
            findings.extend(match interrupt.thread {
                None if has_threads => continue,
                None => bad(
                    "irq",
                    Verdict::Advice,
                    format!("{says} has no thread, so every other interrupt may hold it up"),
                    "add threadirqs to the kernel's command line",
                ),
                // What the kernel gives every interrupt; the card's should be ahead of the others.
                Some((pid, priority)) if priority <= 50 => bad(
                    "irq",
                    Verdict::Advice,
                    format!("{says} has priority {priority}, like every other"),
                    format!(
                        "chrt -f -p 80 {pid} (at each start; the package rtirq-init does that)"
                    ),
                ),
                Some((_, priority)) => good("irq", format!("{says} has priority {priority}")),
            });
        }
    }
    findings
}

fn usb(seen: &Seen, _: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for card in &seen.cards {
        let Some(usb) = &card.usb else { continue };
        let (says, speed) = (called(card), usb.speed_mbps);
        let beside = usb.on_controller.join(", ");
        let beside = if beside.is_empty() {
            "alone on its controller".to_owned()
        } else {
            format!("its controller also serves {beside}")
        };
        if usb.on_hub.is_empty() {
            findings.extend(good("usb", format!("{says}: {speed} Mbit/s, {beside}")));
            continue;
        }
        let verdict = if speed <= FULL_SPEED_MBPS {
            "at full speed, so they wait for one another"
        } else {
            "and shares its bandwidth"
        };
        findings.extend(bad(
            "usb",
            Verdict::Advice,
            format!(
                "{says}: {speed} Mbit/s, on one hub with {} {verdict}; {beside}",
                usb.on_hub.join(", ")
            ),
            "plug the audio interface straight into the box, and cameras, disks and dongles elsewhere (on \
             some boards all sockets are one hub)",
        ));
    }
    findings
}

fn wireless(seen: &Seen, _: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, saves_power) in &seen.wireless {
        findings.extend(match saves_power {
            Some(true) => bad(
                "wifi",
                Verdict::Advice,
                format!("{name} saves power: a phone's first touch after a pause may take 100 ms and more"),
                format!(
                    "iw dev {name} set power_save off, or wifi.powersave = 2 in NetworkManager's \
                     configuration"
                ),
            ),
            Some(false) => good("wifi", format!("{name} does not save power")),
            None => bad(
                "wifi",
                Verdict::Unknown,
                format!("{name} does not tell whether it saves power"),
                format!("iw dev {name} get power_save"),
            ),
        });
    }
    findings
}
