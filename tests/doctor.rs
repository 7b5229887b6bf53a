//! `rigd doctor` on boxes that are not here: trees of `/proc` and `/sys` in a folder.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rigd::config::Config;
use rigd::doctor::{Finding, Seen, Verdict, examine};

/// A box as its files tell of it.
struct Made(PathBuf);

impl Made {
    fn new(name: &str) -> Made {
        let folder =
            std::env::temp_dir().join(format!("rigd-doctor-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let made = Made(folder);
        made.file(
            "proc/version",
            "Linux version 6.12.1-rt (gcc) #1 SMP PREEMPT_RT",
        );
        made.file("sys/kernel/realtime", "1\n");
        made
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, path: &str, to: impl AsRef<Path>) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(to, path).unwrap();
    }

    fn process(&self, pid: u32, name: &str) {
        self.file(&format!("proc/{pid}/comm"), &format!("{name}\n"));
    }

    /// A USB interface as card 1, at `port` below the controller at interrupt 40.
    fn usb_card(&self, port: &str) {
        self.file(
            "proc/asound/cards",
            " 0 [vc4hdmi        ]: vc4-hdmi - vc4-hdmi\n                      vc4-hdmi\n \
             1 [USB            ]: USB-Audio - Scarlett 2i2 USB\n                      Focusrite\n",
        );
        let pci = "sys/devices/pci0000:00/0000:01:00.0";
        self.file(&format!("{pci}/irq"), "40\n");
        self.usb(&format!("{pci}/usb1"), "xHCI Host Controller", "480", "09");
        let device = format!("{pci}/usb1/{port}");
        self.usb(&device, "Scarlett 2i2 USB", "480", "ef");
        let last = port.rsplit('/').next().unwrap();
        let interface = format!("{device}/{last}:1.0");
        self.file(&format!("{interface}/sound/card1/id"), "USB\n");
        self.link(
            "sys/class/sound/card1",
            self.0.join(format!("{interface}/sound/card1")),
        );
        self.link(
            &format!("{interface}/sound/card1/device"),
            self.0.join(interface),
        );
    }

    fn usb(&self, path: &str, product: &str, speed: &str, class: &str) {
        self.file(&format!("{path}/idVendor"), "1235\n");
        self.file(&format!("{path}/product"), &format!("{product}\n"));
        self.file(&format!("{path}/speed"), &format!("{speed}\n"));
        self.file(&format!("{path}/bDeviceClass"), &format!("{class}\n"));
    }

    fn findings(&self) -> Vec<Finding> {
        examine(&Seen::read(&self.0), &Config::default())
    }

    /// What is said by one check, worst first.
    fn said(&self, check: &str) -> Vec<(Verdict, String, String)> {
        let mut said: Vec<_> = self
            .findings()
            .into_iter()
            .filter(|finding| finding.check == check)
            .map(|finding| {
                (
                    finding.verdict,
                    finding.says,
                    finding.mend.unwrap_or_default(),
                )
            })
            .collect();
        said.sort_by_key(|(verdict, ..)| std::cmp::Reverse(*verdict as u8));
        said
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_box_that_is_well_made_has_nothing_to_mend() {
    let made = Made::new("well");
    made.usb_card("1-2");
    made.process(90, "irq/40-xhci_hcd");
    // Fields 40 and 41: priority 85, FIFO.
    let fields = "S 2 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 -86 0 1 0 5 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 17 1 85 1 0";
    made.file("proc/90/stat", &format!("90 (irq/40-xhci_hcd) {fields}"));
    made.file(
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
        "performance\n",
    );
    made.file(
        "sys/devices/system/clocksource/clocksource0/current_clocksource",
        "arch_sys_counter\n",
    );
    made.file("sys/class/thermal/thermal_zone0/temp", "52300\n");
    made.file("sys/devices/platform/soc/soc:firmware/get_throttled", "0\n");
    let findings = made.findings();
    let bad: Vec<_> = findings
        .iter()
        .filter(|finding| finding.verdict != Verdict::Good)
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
    let said: Vec<&str> = findings
        .iter()
        .map(|finding| finding.says.as_str())
        .collect();
    for part in [
        "52 °C",
        "Scarlett",
        "interrupt 40",
        "priority 85",
        "480 Mbit/s, alone",
    ] {
        assert!(
            said.iter().any(|said| said.contains(part)),
            "{part} in {said:?}"
        );
    }
}

#[test]
fn what_the_system_refuses_is_unfit_and_says_how_to_mend_it() {
    let refused = Seen {
        priority_refused: Some("Operation not permitted".to_owned()),
        memlock_bytes: Some(8 << 20),
        ..Seen::default()
    };
    let findings = examine(&refused, &Config::default());
    for (check, word) in [
        ("rtprio", "LimitRTPRIO=70"),
        ("memlock", "LimitMEMLOCK=infinity"),
    ] {
        let found = findings
            .iter()
            .find(|finding| finding.check == check)
            .unwrap();
        assert_eq!(found.verdict, Verdict::Unfit);
        assert!(found.mend.as_ref().unwrap().contains(word), "{found:?}");
    }
    let mut modest = Config::default();
    (modest.realtime.priority, modest.realtime.lock_memory) = (0, false);
    let findings = examine(&refused, &modest);
    let verdict = |check| {
        findings
            .iter()
            .find(|finding| finding.check == check)
            .unwrap()
            .verdict
    };
    assert_eq!(verdict("rtprio"), Verdict::Advice);
    assert_eq!(verdict("memlock"), Verdict::Advice);
}

#[test]
fn kernels_are_told_apart() {
    let cases = [
        ("SMP PREEMPT_RT", "0", "", Verdict::Good),
        ("SMP PREEMPT_DYNAMIC", "", "quiet", Verdict::Advice),
        (
            "SMP PREEMPT_DYNAMIC",
            "",
            "quiet preempt=full",
            Verdict::Good,
        ),
        ("SMP PREEMPT", "", "", Verdict::Good),
        ("SMP", "", "", Verdict::Unfit),
    ];
    let made = Made::new("kernels");
    for (version, realtime, command_line, verdict) in cases {
        made.file(
            "proc/version",
            &format!("Linux version 6.1 (gcc) #1 {version} Mon"),
        );
        made.file("proc/cmdline", command_line);
        made.file("sys/kernel/realtime", realtime);
        assert_eq!(
            made.said("preemption")[0].0,
            verdict,
            "{version} {command_line}"
        );
    }
}

#[test]
fn slow_clocks_governors_and_heat_are_told() {
    let made = Made::new("slow");
    for (cpu, governor) in [("cpu0", "performance"), ("cpu1", "schedutil")] {
        made.file(
            &format!("sys/devices/system/cpu/{cpu}/cpufreq/scaling_governor"),
            governor,
        );
    }
    assert_eq!(made.said("governor")[0].0, Verdict::Advice);
    made.file(
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor",
        "powersave",
    );
    assert_eq!(made.said("governor")[0].0, Verdict::Unfit);
    made.file(
        "sys/devices/system/clocksource/clocksource0/current_clocksource",
        "hpet\n",
    );
    assert_eq!(made.said("clock")[0].0, Verdict::Advice);
    made.file("sys/class/thermal/thermal_zone0/temp", "45000\n");
    made.file("sys/class/thermal/thermal_zone1/temp", "83000\n");
    assert_eq!(made.said("heat")[0].0, Verdict::Advice);
    let throttled = "sys/devices/platform/soc/soc:firmware/get_throttled";
    for (word, verdict) in [("50005\n", Verdict::Unfit), ("50000\n", Verdict::Advice)] {
        made.file(throttled, word);
        let (said, _, mend) = &made.said("power")[0];
        assert_eq!(*said, verdict);
        assert!(mend.contains("power supply"), "{mend}");
    }
}

#[test]
fn who_holds_the_card_is_named() {
    let made = Made::new("held");
    made.usb_card("1-2");
    made.process(4242, "pipewire");
    made.process(4243, "data-loop.0");
    made.file("proc/4243/status", "Name:\tdata-loop.0\nTgid:\t4242\n");
    made.file(
        "proc/asound/card1/pcm0p/sub0/status",
        "state: RUNNING\nowner_pid   : 4243\n",
    );
    let said = made.said("held");
    assert_eq!(said.len(), 1, "{said:?}");
    let (verdict, says, mend) = &said[0];
    assert_eq!(*verdict, Verdict::Unfit);
    assert!(
        says.contains("Scarlett") && says.contains("pipewire (process 4242)"),
        "{says}"
    );
    assert!(mend.contains("systemctl --user"), "{mend}");
    // Let go: it may still come back.
    made.file("proc/asound/card1/pcm0p/sub0/status", "closed\n");
    assert_eq!(made.said("held")[0].0, Verdict::Advice);
    // By its open files, as root sees them.
    made.link("proc/4242/fd/7", "/dev/snd/pcmC1D0c");
    assert_eq!(made.said("held")[0].0, Verdict::Unfit);
    fs::remove_dir_all(made.0.join("proc/4242")).unwrap();
    made.process(51, "jackd");
    made.link("proc/51/fd/9", "/dev/snd/pcmC1D0p");
    let said = made.said("held");
    assert_eq!(said[0].0, Verdict::Good);
    assert!(said[0].1.contains("--backend jack"), "{said:?}");
}

#[test]
fn neighbours_on_usb_are_named() {
    let made = Made::new("usb");
    made.usb_card("1-1/1-1.2");
    let hub = "sys/devices/pci0000:00/0000:01:00.0/usb1/1-1";
    made.usb(hub, "USB2.0 Hub", "480", "09");
    made.usb(&format!("{hub}/1-1.3"), "Webcam", "480", "ef");
    made.usb(
        "sys/devices/pci0000:00/0000:01:00.0/usb1/1-4",
        "Disk",
        "480",
        "00",
    );
    let (verdict, says, _) = &made.said("usb")[0];
    assert_eq!(*verdict, Verdict::Advice);
    let (near, far) = says.split_once(';').unwrap();
    assert!(near.contains("Webcam") && !near.contains("Disk"), "{says}");
    assert!(far.contains("Disk") && !far.contains("Scarlett"), "{says}");
}

#[test]
fn interrupts_without_a_thread_or_without_priority_are_told() {
    let made = Made::new("irq");
    made.usb_card("1-2");
    made.file("sys/kernel/realtime", "0");
    let said = made.said("irq");
    assert!(said[0].2.contains("threadirqs"), "{said:?}");
    made.process(91, "irq/40-xhci_hcd");
    made.file("proc/91/stat", "91 (irq/40-xhci_hcd) S");
    let said = made.said("irq");
    assert!(said[0].2.contains("chrt -f -p 80 91"), "{said:?}");
}

#[test]
fn a_box_without_a_card_and_with_wireless() {
    let made = Made::new("bare");
    made.file("sys/class/net/wlan0/wireless/status", "");
    made.file("sys/class/net/eth0/address", "");
    assert_eq!(made.said("card")[0].0, Verdict::Unfit);
    let said = made.said("wifi");
    assert_eq!(said.len(), 1);
    assert!(said[0].1.contains("wlan0"), "{said:?}");
    let mut seen = Seen::read(&made.0);
    seen.wireless[0].1 = Some(true);
    let findings = examine(&seen, &Config::default());
    let wifi = findings
        .iter()
        .find(|finding| finding.check == "wifi")
        .unwrap();
    assert_eq!(wifi.verdict, Verdict::Advice);
}
