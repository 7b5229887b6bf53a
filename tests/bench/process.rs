//! A server in a process of its own: rigd itself, or the bare echo that it is compared with.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A running server; killed at the end.
pub struct Server {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub address: String,
    folder: Option<std::path::PathBuf>,
}

impl Server {
    /// rigd with generous limits, on a free port.
    pub fn rigd(block: u32) -> Server {
        let folder = std::env::temp_dir().join(format!("rigd-bench-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let settings =
            "[limits]\nmessages_per_s = 1000000\nmessage_burst = 1000000\nconnections = 4096\n";
        std::fs::write(folder.join("rigd.toml"), settings).expect("a settings file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_rigd"));
        command.args([
            "serve",
            "--backend",
            "null",
            "--listen",
            "127.0.0.1:0",
            "--block",
            &block.to_string(),
        ]);
        command.arg("--state-dir").arg(&folder);
        let mut server = Server::start(command);
        server.folder = Some(folder);
        server
    }

    /// rigd with the karaoke rig on a JACK server.
    pub fn rigd_on_jack(server: &str) -> Server {
        let folder = std::env::temp_dir().join(format!("rigd-bench-jack-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let settings = "preset = \"karaoke\"\n[limits]\nmessages_per_s = 1000000\nmessage_burst = 1000000\n\
                        operations_per_s = 100000\n";
        std::fs::write(folder.join("rigd.toml"), settings).expect("a settings file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_rigd"));
        command.args(["serve", "--backend", "jack", "--listen", "127.0.0.1:0"]);
        command.arg("--state-dir").arg(&folder);
        command.env("JACK_DEFAULT_SERVER", server);
        let mut server = Server::start(command);
        server.folder = Some(folder);
        server
    }

    /// The bare echo: this program again.
    pub fn echo() -> Server {
        Server::this_program(&["echo-server"])
    }

    /// The bare broadcast: this program again; `when`: `at-once`, or `held` until a block has ended.
    pub fn broadcast(when: &str) -> Server {
        Server::this_program(&["broadcast-server", when])
    }

    fn this_program(arguments: &[&str]) -> Server {
        let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
        command.args(arguments);
        Server::start(command)
    }

    fn start(mut command: Command) -> Server {
        let mut child = command
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let address = lines
            .find_map(|line| Some(line.ok()?.split_once("http://")?.1.trim().to_owned()))
            .expect("the server says where it listens");
        std::thread::spawn(move || lines.for_each(drop));
        Server {
            child,
            address,
            folder: None,
        }
    }

    /// Its process.
    pub fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// Processor time that its threads have had so far, in µs.
    pub fn processor_us(&self) -> f64 {
        processor_us(self.child.id())
    }

    /// The same of the threads of a name.
    pub fn thread_us(&self, name: &str) -> f64 {
        threads_us(self.child.id(), |other| other == name)
    }

    /// A line of `/proc/PID/status`, in KiB.
    pub fn memory_kib(&self, name: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
            .unwrap_or(f64::NAN)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// Processor time that the threads of a process have had so far, in µs.
pub fn processor_us(pid: u32) -> f64 {
    threads_us(pid, |_| true)
}

/// The same of those threads whose names are wanted.
fn threads_us(pid: u32, is_wanted: impl Fn(&str) -> bool) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
    let tasks = tasks.into_iter().flatten().flatten();
    let of = |path: std::path::PathBuf| {
        let name = std::fs::read_to_string(path.join("comm")).ok()?;
        let schedstat = std::fs::read_to_string(path.join("schedstat")).ok()?;
        let spent = schedstat.split(' ').next()?.parse::<f64>().ok()?;
        is_wanted(name.trim()).then_some(spent)
    };
    tasks.filter_map(|task| of(task.path())).sum::<f64>() / 1000.0
}
