//! What was read of this box: plain data, so that every check can be tried on a box that is not here.

use std::fs;
use std::path::{Path, PathBuf};

use super::usb::Usb;

/// Programs that may take a sound card for themselves.
const SERVERS: [&str; 5] = ["jackd", "jackdbus", "pipewire", "pulseaudio", "wireplumber"];
/// Scheduling classes in which a thread is ahead of all ordinary ones: FIFO and round-robin.
const REALTIME_CLASSES: [u32; 2] = [1, 2];

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Why the audio thread cannot have the priority that the settings ask for; `None`: it can.
    pub priority_refused: Option<String>,
    /// Bytes that may be locked in memory; `None` is no bound.
    pub memlock_bytes: Option<u64>,
    /// `/proc/version`.
    pub kernel: String,
    /// `/proc/cmdline`.
    pub command_line: String,
    /// Whether the kernel says that it is a realtime one.
    pub is_realtime_kernel: bool,
    /// What the kernel reads time from.
    pub clocksource: Option<String>,
    /// Governor of each processor that changes its speed.
    pub governors: Vec<String>,
    /// The hottest thermal zone, in °C.
    pub hottest_c: Option<f64>,
    /// A Raspberry Pi's word on its power and heat.
    pub throttled: Option<u32>,
    /// Sound cards, as ALSA numbers them.
    pub cards: Vec<Card>,
    /// Sound servers that run.
    pub servers: Vec<Process>,
    /// Wireless interfaces, and whether they save power, if that is known.
    pub wireless: Vec<(String, Option<bool>)>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

/// A sound card.
#[derive(Clone, Debug, Default)]
pub struct Card {
    /// ALSA's number.
    pub number: u32,
    /// ALSA's short name.
    pub id: String,
    /// For a person.
    pub name: String,
    /// Who has its sound open.
    pub holders: Vec<Process>,
    /// Its interrupts.
    pub interrupts: Vec<Interrupt>,
    /// Where on USB it is, if it is.
    pub usb: Option<Usb>,
}

/// An interrupt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupt {
    /// Its number.
    pub number: u32,
    /// The thread that serves it, if one does, and its realtime priority (0: none).
    pub thread: Option<(u32, u32)>,
}

impl Seen {
    /// Reads what files under `root` tell: `proc` and `sys` are below it.
    pub fn read(root: &Path) -> Seen {
        let processes = Processes::read(&root.join("proc"));
        let sys = root.join("sys");
        let servers = processes.named(&SERVERS);
        Seen {
            kernel: text(&root.join("proc/version")),
            command_line: text(&root.join("proc/cmdline")),
            is_realtime_kernel: text(&sys.join("kernel/realtime")) == "1",
            clocksource: some(text(
                &sys.join("devices/system/clocksource/clocksource0/current_clocksource"),
            )),
            governors: entries(&sys.join("devices/system/cpu"))
                .iter()
                .filter_map(|cpu| some(text(&cpu.join("cpufreq/scaling_governor"))))
                .collect(),
            hottest_c: entries(&sys.join("class/thermal"))
                .iter()
                .filter_map(|zone| text(&zone.join("temp")).parse::<f64>().ok())
                .map(|millidegrees| millidegrees / 1000.0)
                .max_by(f64::total_cmp),
            throttled: throttled(&sys),
            cards: cards(root, &processes),
            servers,
            wireless: entries(&sys.join("class/net"))
                .iter()
                .filter(|net| net.join("wireless").exists() || net.join("phy80211").exists())
                .map(|net| (file_name(net), None))
                .collect(),
            ..Seen::default()
        }
    }
}

fn throttled(sys: &Path) -> Option<u32> {
    let word = text(&sys.join("devices/platform/soc/soc:firmware/get_throttled"));
    u32::from_str_radix(word.trim_start_matches("0x"), 16).ok()
}

fn cards(root: &Path, processes: &Processes) -> Vec<Card> {
    let list = text(&root.join("proc/asound/cards"));
    let interrupts = text(&root.join("proc/interrupts"));
    let lines = list.lines().filter_map(|line| {
        // " 1 [Scarlett       ]: USB-Audio - Scarlett 2i2 USB"
        let (number, rest) = line.split_once('[')?;
        let (id, rest) = rest.split_once(']')?;
        let name = rest.split_once(" - ").map_or(rest, |(_, name)| name);
        Some(Card {
            number: number.trim().parse().ok()?,
            id: id.trim().to_owned(),
            name: name.trim().to_owned(),
            ..Card::default()
        })
    });
    lines
        .map(|card| {
            let number = card.number;
            let device = root.join(format!("sys/class/sound/card{number}/device"));
            let device = fs::canonicalize(device).ok();
            let numbers = device.as_deref().map(|device| wires(device, &interrupts));
            Card {
                holders: processes.holders(root, number),
                interrupts: numbers
                    .unwrap_or_default()
                    .into_iter()
                    .map(|number| processes.interrupt(number))
                    .collect(),
                usb: device.as_deref().and_then(Usb::read),
                ..card
            }
        })
        .collect()
}

/// The interrupts of a device, or of the nearest thing above it that has any.
fn wires(device: &Path, interrupts: &str) -> Vec<u32> {
    for above in device.ancestors() {
        let messages: Vec<u32> = entries(&above.join("msi_irqs"))
            .iter()
            .filter_map(|entry| file_name(entry).parse().ok())
            .collect();
        if !messages.is_empty() {
            return messages;
        }
        match text(&above.join("irq")).parse() {
            Ok(0) | Err(_) => {}
            Ok(number) => return vec![number],
        }
        // Of a device that is not on PCI, the kernel's table knows the driver by name.
        let driver = fs::read_link(above.join("driver")).map(|driver| file_name(&driver));
        let of_driver: Vec<u32> = driver
            .iter()
            .flat_map(|driver| interrupts.lines().map(move |line| (driver, line)))
            .filter(|(driver, line)| line.split_whitespace().any(|word| word == driver.as_str()))
            .filter_map(|(_, line)| line.split(':').next()?.trim().parse().ok())
            .collect();
        if !of_driver.is_empty() {
            return of_driver;
        }
    }
    Vec::new()
}

/// What runs.
struct Processes {
    proc: PathBuf,
    list: Vec<Process>,
}

impl Processes {
    fn read(proc: &Path) -> Processes {
        let list = entries(proc)
            .iter()
            .filter_map(|entry| {
                let pid = file_name(entry).parse().ok()?;
                let name = some(text(&entry.join("comm")))?;
                Some(Process { pid, name })
            })
            .collect();
        Processes {
            proc: proc.to_owned(),
            list,
        }
    }

    fn named(&self, names: &[&str]) -> Vec<Process> {
        let is_one = |process: &&Process| names.contains(&process.name.as_str());
        self.list.iter().filter(is_one).cloned().collect()
    }

    /// Who has a card's sound open: as ALSA says, which everybody may read, and as the open files say,
    /// which only their owner and root may.
    fn holders(&self, root: &Path, card: u32) -> Vec<Process> {
        let mut pids: Vec<u32> = Vec::new();
        for pcm in entries(&root.join(format!("proc/asound/card{card}"))) {
            for sub in entries(&pcm) {
                let status = text(&sub.join("status"));
                let owner = status
                    .lines()
                    .find_map(|line| line.strip_prefix("owner_pid")?.split(':').nth(1));
                pids.extend(owner.and_then(|pid| pid.trim().parse::<u32>().ok()));
            }
        }
        let prefix = format!("/dev/snd/pcmC{card}D");
        for process in &self.list {
            let files = entries(&self.proc.join(process.pid.to_string()).join("fd"));
            let mut open = files.iter().filter_map(|file| fs::read_link(file).ok());
            if open.any(|to| to.to_string_lossy().starts_with(&prefix)) {
                pids.push(process.pid);
            }
        }
        // ALSA may name a thread; its process is who has to go.
        let mut holders: Vec<Process> = pids.iter().map(|pid| self.process_of(*pid)).collect();
        holders.sort();
        holders.dedup();
        holders
    }

    fn process_of(&self, thread: u32) -> Process {
        let status = text(&self.proc.join(format!("{thread}/status")));
        let pid = status
            .lines()
            .find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
            .unwrap_or(thread);
        Process {
            pid,
            name: text(&self.proc.join(format!("{pid}/comm"))),
        }
    }

    fn interrupt(&self, number: u32) -> Interrupt {
        let prefix = format!("irq/{number}-");
        let thread = self
            .list
            .iter()
            .find(|process| process.name.starts_with(&prefix))
            .map(|process| (process.pid, self.priority(process.pid)));
        Interrupt { number, thread }
    }

    /// The realtime priority of a thread; 0 for an ordinary one.
    fn priority(&self, pid: u32) -> u32 {
        let stat = text(&self.proc.join(format!("{pid}/stat")));
        let fields: Vec<&str> = match stat.rsplit_once(')') {
            Some((_, fields)) => fields.split_whitespace().collect(),
            None => return 0,
        };
        // Fields 40 and 41 of proc(5); the first two are in front of the bracket.
        let field = |number: usize| fields.get(number - 3).and_then(|field| field.parse().ok());
        match (field(40), field(41)) {
            (Some(priority), Some(class)) if REALTIME_CLASSES.contains(&class) => priority,
            _ => 0,
        }
    }
}

/// What a file holds, without the space around it; "" where it cannot be read.
pub fn text(path: &Path) -> String {
    fs::read_to_string(path)
        .map(|text| text.trim_matches(['\0', ' ', '\n']).to_owned())
        .unwrap_or_default()
}

/// What is in a folder, in the order of names; nothing where it cannot be read.
pub fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(found) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = found.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// The last part of a path.
pub fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
