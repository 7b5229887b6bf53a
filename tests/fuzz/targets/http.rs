//! Whatever comes over TCP: raw, as the body of a pairing, or as frames behind a WebSocket's handshake. The
//! server answers or closes, and serves the next one.
#![no_main]

#[path = "../../common/mod.rs"]
mod common;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use common::{Bench, generous};
use libfuzzer_sys::fuzz_target;
use rigd::server::{Settings, Shared, listen};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;
use tokio::time::timeout;

const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

struct Rig {
    runtime: Runtime,
    tasks: LocalSet,
    address: SocketAddr,
}

impl Rig {
    fn new() -> Rig {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("TCP");
        let address = listener.local_addr().expect("bound");
        let settings = Settings {
            allowed_origins: Vec::new(),
            message_bytes: 4096,
            connections: 64,
            connects_per_minute: 1e9,
            access_point: None,
        };
        let desk = Rc::new(RefCell::new(Bench::new(generous()).desk));
        let tasks = LocalSet::new();
        tasks.spawn_local(listen(listener, Shared::new(desk, settings, None)));
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        Rig {
            runtime,
            tasks,
            address,
        }
    }

    fn send(&self, head: &str, body: &[u8]) -> Vec<u8> {
        let talk = async {
            let mut stream = TcpStream::connect(self.address).await.expect("it accepts");
            // It may close before it has read everything.
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(body).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = timeout(ANSWER_WITHIN, stream.read_to_end(&mut answer))
                .await
                .expect("it answers or closes");
            answer
        };
        self.tasks.block_on(&self.runtime, talk)
    }
}

thread_local! {
    static RIG: Rig = Rig::new();
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    RIG.with(|rig| match first % 3 {
        0 => drop(rig.send("", rest)),
        1 => {
            let head = format!(
                "POST /api/pair HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                rest.len()
            );
            let answer = rig.send(&head, rest);
            // Who ends its half of the connection may be answered, or not any more; let in it never is.
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "a made-up code is refused");
        }
        _ => {
            let answer = rig.send(UPGRADE, rest);
            // A reset may overtake what was said: it closes with bytes unread.
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        }
    });
});
