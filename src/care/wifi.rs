//! Wi-Fi: what networks there are, and joining one, by NetworkManager's `nmcli`. A password goes to it by its
//! standard input, so that no list of processes shows it; and into no log, no record and no error.

use std::fs;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde::Serialize;

/// What the network that was entered is called among NetworkManager's.
const PROFILE: &str = "rigd-wifi";
/// And until the box has joined it.
const TRIED: &str = "rigd-wifi-tried";
/// How long joining may take, addresses included, in seconds.
const JOINED_WITHIN_S: &str = "45";
/// How long anything else may take.
const DONE_WITHIN_S: &str = "15";
/// What stands in each of its questions for a password.
const ASKS_FOR_PASSWORD: &str = "to access the wireless network";
/// What it may say before it is taken for one that asks without end.
const SAID_BYTES_MAX: usize = 16 * 1024;
/// Networks that are told of: the strongest ones.
const NETWORKS_MAX: usize = 64;
/// What the file of the box's own network may hold.
const POINT_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of a network's name.
pub const NAME_BYTES_MAX: usize = 32;

/// A network in reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// How well it is heard, of a hundred.
    pub signal: u8,
    /// Whether it takes a password.
    pub is_open: bool,
}

/// The box's own network, while there is no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessPoint {
    /// The box's address there.
    pub address: IpAddr,
    /// Its name.
    pub name: String,
    /// What was in reach before it was there: one radio cannot be heard and listen.
    pub networks: Vec<Network>,
}

impl AccessPoint {
    /// As the file tells it that is there as long as the network is: the address, the name, and a line for
    /// each network in reach as `nmcli -t -f SSID,SIGNAL,SECURITY` has it.
    pub fn read(file: &Path) -> Option<AccessPoint> {
        if fs::metadata(file).ok()?.len() > POINT_BYTES_MAX {
            return None;
        }
        let text = fs::read_to_string(file).ok()?;
        let mut lines = text.splitn(3, '\n');
        Some(AccessPoint {
            address: lines.next()?.trim().parse().ok()?,
            name: lines.next()?.to_owned(),
            networks: networks(lines.next().unwrap_or_default()),
        })
    }
}

/// What is joined, or was tried last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Joining {
    /// None since rigd was started.
    #[default]
    None,
    /// It takes up to a minute.
    Joining {
        /// Which.
        network: String,
    },
    /// It is joined, and will be again when it is in reach.
    Joined {
        /// Which.
        network: String,
    },
    /// It is not joined, and forgotten.
    Failed {
        /// Which.
        network: String,
        /// Why.
        reason: String,
    },
}

/// Why a name or a password cannot be one: the field, and the reason.
pub fn check(name: &str, password: &str) -> Result<(), (&'static str, &'static str)> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(("network", "must be the name of a network, of 1 to 32 bytes"));
    }
    let is_key = password.len() == 64 && password.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_phrase = (8..=63).contains(&password.len())
        && password.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if password.is_empty() || is_phrase || is_key {
        return Ok(());
    }
    let reason = "must have 8 to 63 letters, digits and signs of ASCII, or be empty for a network without one";
    Err(("password", reason))
}

/// The networks in reach, and the one that the box is in. Takes seconds.
pub fn look() -> Result<(Vec<Network>, Option<String>), String> {
    let listed = ask(&["-t", "-f", "SSID,SIGNAL,SECURITY", "device", "wifi", "list"])?;
    let seen = ["device", "wifi", "list", "--rescan", "no"];
    let present = ask(&[&["-t", "-f", "ACTIVE,SSID"][..], &seen].concat())?;
    let present = present
        .lines()
        .map(fields)
        .find(|fields| fields[0] == "yes")
        .and_then(|fields| fields.into_iter().nth(1));
    Ok((networks(&listed), present))
}

/// Joins a network, and remembers it in the place of the one that was entered before. Takes up to a minute.
/// When it cannot be joined, everything is as it was.
pub fn join(name: &str, password: &str) -> Result<(), String> {
    // What a rigd has left that was ended meanwhile.
    let _ = ask(&["connection", "delete", "id", TRIED]);
    let mut add = vec![
        "connection",
        "add",
        "type",
        "wifi",
        "con-name",
        TRIED,
        "ifname",
        "*",
        "autoconnect",
        "no",
        "ssid",
        name,
        "wifi.hidden",
        "yes",
    ];
    if !password.is_empty() {
        // WPA3 too, where both sides can.
        add.extend(["wifi-sec.key-mgmt", "wpa-psk", "wifi-sec.psk-flags", "0"]);
    }
    ask(&add)?;
    let joined = go_up(password).and_then(|()| {
        let _ = ask(&["connection", "delete", "id", PROFILE]);
        let keep = [
            "connection",
            "modify",
            "id",
            TRIED,
            "connection.id",
            PROFILE,
            "connection.autoconnect",
            "yes",
            "connection.autoconnect-priority",
            "20",
            "connection.autoconnect-retries",
            "0",
        ];
        ask(&keep)
    });
    joined.map(drop).map_err(|reason| {
        let _ = ask(&["connection", "delete", "id", TRIED]);
        match password {
            "" => reason,
            password => reason.replace(password, "…"),
        }
    })
}

/// Brings up what is tried. NetworkManager would try a wrong password until the time is over: it asks for
/// another one after each try, and nmcli answers with the same. So it is asked for here, and given once.
fn go_up(password: &str) -> Result<(), String> {
    let up = [
        "-w",
        JOINED_WITHIN_S,
        "--ask",
        "connection",
        "up",
        "id",
        TRIED,
    ];
    let mut asked = nmcli(&up)?;
    let mut input = asked.stdin.take();
    if let Some(pipe) = &mut input {
        // What does not read it says why itself.
        let _ = writeln!(pipe, "{password}");
    }
    let mut said = Vec::new();
    let mut piece = [0; 512];
    let mut output = asked.stdout.take();
    // It is open as long as it may be asked again: at the end of its input, nmcli takes the answer of before.
    while let Some(count) = output.as_mut().and_then(|pipe| pipe.read(&mut piece).ok()) {
        if count == 0 {
            break;
        }
        said.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&said);
        if text.matches(ASKS_FOR_PASSWORD).count() > 1 || said.len() > SAID_BYTES_MAX {
            let _ = asked.kill();
            let _ = asked.wait();
            return Err("the password is wrong".to_owned());
        }
    }
    drop(input);
    ended(asked).map(drop)
}

/// What nmcli says to it. `Err` says what to do.
fn ask(arguments: &[&str]) -> Result<String, String> {
    let within = ["-w", DONE_WITHIN_S];
    ended(nmcli(&[&within, arguments].concat())?)
}

/// Starts nmcli.
fn nmcli(arguments: &[&str]) -> Result<Child, String> {
    Command::new("nmcli")
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|_| {
            "this box has no NetworkManager (nmcli), which joins Wi-Fi networks; set the network up by what it has"
                .to_owned()
        })
}

/// Waits for its end: what it has said.
fn ended(asked: Child) -> Result<String, String> {
    let answer = asked
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    if answer.status.success() {
        return Ok(String::from_utf8_lossy(&answer.stdout).into_owned());
    }
    Err(refused(&answer))
}

/// What NetworkManager, or who stands before it, has said.
fn refused(answer: &Output) -> String {
    let said = String::from_utf8_lossy(&answer.stderr);
    let said = said.trim().lines().next().unwrap_or_default();
    let said: String = said
        .trim_start_matches("Error: ")
        .chars()
        .take(200)
        .collect();
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let advice = if has(&["Secrets were required", "secrets were required", "psk"]) {
        "the password is wrong"
    } else if has(&["could not be found", "No network with SSID", "supplicant"]) {
        "the network is not in reach, or does not let the box in"
    } else if has(&["Timeout expired"]) {
        "it took too long: the password may be wrong, or the network too far away"
    } else if has(&["IP configuration", "DHCP"]) {
        "the network gives the box no address"
    } else if has(&[
        "not authorized",
        "Not authorized",
        "Insufficient privileges",
    ]) {
        "rigd's user may not do that; its package brings a rule for polkit, which polkitd must be installed for"
    } else if has(&["not running", "could not connect"]) {
        "NetworkManager does not run on this box"
    } else if has(&["No suitable device", "No Wi-Fi device"]) {
        "this box has no Wi-Fi that could be used"
    } else {
        "NetworkManager does not do it"
    };
    format!("{advice} ({said})")
}

/// Networks as nmcli lists them, the strongest of each name, the strongest first.
fn networks(listed: &str) -> Vec<Network> {
    let mut networks: Vec<Network> = Vec::new();
    for line in listed.lines() {
        let [name, signal, security] = &fields(line)[..] else {
            continue;
        };
        if name.is_empty() || networks.iter().any(|network| network.name == *name) {
            continue;
        }
        networks.push(Network {
            name: name.clone(),
            signal: signal.parse().unwrap_or(0).min(100),
            is_open: security.is_empty() || security == "--",
        });
    }
    networks.sort_by_key(|network| u8::MAX - network.signal);
    networks.truncate(NETWORKS_MAX);
    networks
}

/// A line of `nmcli -t`: fields with `:` between them, `\` before what means itself.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (letter, fields.last_mut()) {
            (':', _) => fields.push(String::new()),
            ('\\', Some(field)) => field.extend(letters.next()),
            (letter, Some(field)) => field.push(letter),
            (_, None) => {}
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nmcli_lists_is_understood() {
        let listed = "Home:40:WPA2\n:90:WPA2\nCaf\\:e\\\\:70:\nHome:80:WPA2\nbroken\n";
        let found = networks(listed);
        let names: Vec<_> = found
            .iter()
            .map(|n| (n.name.as_str(), n.signal, n.is_open))
            .collect();
        assert_eq!(names, [("Caf:e\\", 70, true), ("Home", 40, false)]);
    }

    #[test]
    fn the_boxs_own_network_is_told_by_a_file() {
        let file = std::env::temp_dir().join(format!("rigd-point-{}", uuid::Uuid::new_v4()));
        assert_eq!(AccessPoint::read(&file), None);
        fs::write(&file, "10.42.0.1\nrig-AB12\nHome:40:WPA2\n").unwrap();
        let point = AccessPoint::read(&file).unwrap();
        assert_eq!(
            (point.address.to_string().as_str(), point.name.as_str()),
            ("10.42.0.1", "rig-AB12")
        );
        assert_eq!(point.networks[0].name, "Home");
        fs::write(&file, "no address\nrig\n").unwrap();
        assert_eq!(AccessPoint::read(&file), None);
        fs::remove_file(file).unwrap();
    }

    #[test]
    fn what_cannot_be_a_name_or_a_password_is_refused() {
        assert_eq!(check("Home", ""), Ok(()));
        assert_eq!(check("Home", "12345678"), Ok(()));
        assert_eq!(check("Home", &"a".repeat(64)), Ok(()));
        for bad in ["1234567", "1234567\n", "pässword1", &"z".repeat(64)] {
            assert_eq!(check("Home", bad).unwrap_err().0, "password", "{bad}");
        }
        for bad in ["", "a\nb", &"x".repeat(33)] {
            assert_eq!(check(bad, "").unwrap_err().0, "network", "{bad}");
        }
    }

    #[test]
    fn a_refusal_says_whose_it_is_and_what_would_help() {
        use std::os::unix::process::ExitStatusExt;
        let said = |text: &str| {
            refused(&Output {
                status: std::process::ExitStatus::from_raw(1),
                stdout: Vec::new(),
                stderr: text.as_bytes().to_vec(),
            })
        };
        let wrong = said(
            "Error: Connection activation failed: Secrets were required, but not provided.\nHint: x\n",
        );
        assert!(wrong.starts_with("the password is wrong"), "{wrong}");
        let late = said("Error: Timeout expired (45 seconds)");
        assert!(late.starts_with("it took too long"), "{late}");
        assert!(said("Error: NetworkManager is not running.").contains("does not run"));
        assert!(said("Error: not authorized to control networking.").contains("polkit"));
    }
}
