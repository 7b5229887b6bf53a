//! A desk with an engine that the test moves by hand: groups are taken and reported, no sound is made.
#![allow(dead_code, reason = "not every test needs all of it")]

use std::time::Instant;

use rigd::backend::Format;
use rigd::config::{Config, Features, Limits};
use rigd::desk::{ClientId, Desk, Fixed};
use rigd::rig::state::{MicFeed, Wiring};
use rigd::rig::{State, Track};
use rigd::ring::{EngineEnds, rings};
use rigd::session::Role;
use rigd_rt::{Command, Inbox, Outbox, Report};
use serde_json::Value;

pub fn format() -> Format {
    Format {
        backend: "null",
        sample_rate_hz: 48_000,
        block_frames: 64,
        device_channels: 2,
        file_channels: 2,
        latency_in_ms: 0.0,
        latency_out_ms: 0.0,
    }
}

pub fn generous() -> Limits {
    let mut limits = Config::default().limits;
    limits.messages_per_s = 10_000;
    limits.message_burst = 100_000;
    limits.operations_per_s = 1000;
    limits.batches_per_s = 1000;
    limits
}

pub struct Bench {
    pub desk: Desk,
    pub engine: EngineEnds,
    pub frame: u64,
    pub now: Instant,
    /// Commands that the engine took, group by group.
    pub taken: Vec<Vec<Command>>,
}

impl Bench {
    pub fn new(limits: Limits) -> Bench {
        let wiring = Wiring::new(&format(), MicFeed::InOrder);
        let tracks = Config::default()
            .tracks
            .iter()
            .map(Track::from_settings)
            .collect();
        let state = State::new(tracks, wiring, 1 << 20);
        let fixed = Fixed {
            epoch: "test".to_owned(),
            limits,
            anonymous: Role::Host,
            features: Vec::new(),
            switches: Features::default(),
            log_messages: false,
        };
        let (control, engine) = rings();
        let mut desk = Desk::new(fixed, state);
        desk.attach(control, format(), MicFeed::InOrder);
        let mut bench = Bench {
            desk,
            engine,
            frame: 0,
            now: Instant::now(),
            taken: Vec::new(),
        };
        bench.run_engine();
        bench.taken.clear();
        bench
    }

    /// The engine takes everything that is there, and computes a block.
    pub fn run_engine(&mut self) {
        let mut newest = None;
        while let Some(Command::Group { id, len, .. }) = self.engine.commands.pop() {
            let group = (0..len)
                .map(|_| self.engine.commands.pop().expect("groups come whole"))
                .collect();
            self.taken.push(group);
            newest = Some(id);
        }
        if let Some(group) = newest {
            assert!(self.engine.reports.push(Report::Applied {
                group,
                frame: self.frame
            }));
        }
        self.frame += 64;
        self.engine.reports.push(Report::Pulse {
            frame: self.frame,
            mended: 0,
        });
        self.desk.tick(self.now);
    }

    pub fn connect(&mut self) -> ClientId {
        let id = self.desk.connect("test".to_owned(), "127.0.0.1");
        let hello = self.heard(id);
        assert_eq!(hello.len(), 1);
        assert_eq!(hello[0]["type"], "connection.status");
        id
    }

    pub fn say(&mut self, client: ClientId, message: Value) {
        self.desk.receive(client, &message.to_string(), self.now);
    }

    /// Says something, lets the engine run, and returns what that client heard.
    pub fn ask(&mut self, client: ClientId, message: Value) -> Vec<Value> {
        self.say(client, message);
        self.run_engine();
        self.heard(client)
    }

    /// Everything that waits for a client, but for who is here.
    pub fn heard(&mut self, client: ClientId) -> Vec<Value> {
        let mut heard = self.heard_all(client);
        heard.retain(|message| message["type"] != "session.presence");
        heard
    }

    /// Everything that waits for a client.
    pub fn heard_all(&mut self, client: ClientId) -> Vec<Value> {
        let mut heard = Vec::new();
        while let Some(frame) = self.desk.next_frame(client) {
            heard.push(serde_json::from_str(frame.to_text().expect("text")).expect("JSON"));
        }
        heard
    }

    pub fn pass_ms(&mut self, ms: u64) {
        self.now += std::time::Duration::from_millis(ms);
    }
}
