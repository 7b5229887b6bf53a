//! Messages over real sockets: rigd against a bare tokio-tungstenite echo with the same client.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, accept_async_with_config, client_async_with_config};

use super::process::Server;

const BLOCK: u32 = 64;
const PERIOD: Duration = Duration::from_nanos(64 * 1_000_000_000 / 48_000);
const LATENCY_MESSAGES: usize = 3000;
const MESSAGES: usize = 200_000;
/// Rounds, of which the middle one by its ratio counts.
const ROUNDS: usize = 7;
const IDLE_CLIENTS: usize = 200;

pub type Socket = WebSocketStream<TcpStream>;

pub fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4096)
        .write_buffer_size(0)
}

/// Sends back what it gets; one task a connection, one thread.
pub fn echo_server() {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        eprintln!(
            "echo is listening on http://{}",
            listener.local_addr().expect("bound")
        );
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                let Ok(mut socket) = accept_async_with_config(stream, Some(config())).await else {
                    return;
                };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() && socket.send(message).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
}

pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(future)
}

pub async fn connect(server: &Server) -> Socket {
    try_connect(&server.address).await.expect("a WebSocket")
}

/// `None`: the server is too busy for one more.
pub async fn try_connect(address: &str) -> Option<Socket> {
    let stream = TcpStream::connect(address).await.ok()?;
    stream.set_nodelay(true).expect("TCP");
    let url = format!("ws://{address}/ws");
    let connected = client_async_with_config(url, stream, Some(config())).await;
    Some(connected.ok()?.0)
}

pub fn change(id: usize) -> Message {
    let value = (id % 1000) as f64 / 1000.0;
    Message::text(format!(
        "{{\"id\":\"m{id}\",\"type\":\"plugin.parameter\",\"timestamp\":\"2026-01-01T00:00:00.000Z\",\"data\":{{\"track_id\":\
         \"mic1\",\"plugin_id\":\"bench\",\"parameter_id\":\"wet_dry\",\"parameter_value\":{value}}},\"user_id\":\"bench\",\
         \"session_id\":\"bench\"}}"
    ))
}

/// The next message that answers one of ours.
pub async fn answer(socket: &mut Socket) -> Utf8Bytes {
    loop {
        let message = socket.next().await.expect("open").expect("a frame");
        if let Message::Text(text) = message
            && text.contains("\"id\":\"m")
        {
            return text;
        }
    }
}

async fn latencies(socket: &mut Socket) -> Vec<Duration> {
    let mut took = Vec::with_capacity(LATENCY_MESSAGES);
    for id in 0..LATENCY_MESSAGES {
        // Not in step with the blocks.
        tokio::time::sleep(Duration::from_micros(1000 + (id as u64 * 7919) % 1300)).await;
        let started = Instant::now();
        socket.send(change(id)).await.expect("sent");
        answer(socket).await;
        took.push(started.elapsed());
    }
    took.sort();
    took
}

/// So many messages over a connection, with so many on their way at any time.
async fn pipeline(socket: &mut Socket, messages: usize, window: usize) {
    let (mut sent, mut answered) = (0, 0);
    while answered < messages {
        while sent < messages && sent - answered < window {
            socket.feed(change(sent)).await.expect("sent");
            sent += 1;
        }
        socket.flush().await.expect("sent");
        answer(socket).await;
        answered += 1;
    }
}

/// Messages each second, and the server's processor time for one in µs.
#[derive(Clone, Copy)]
struct Rate {
    per_second: f64,
    processor_us: f64,
}

async fn rate(server: &Server, connections: usize, window: usize) -> Rate {
    let mut sockets = Vec::new();
    for _ in 0..connections {
        sockets.push(connect(server).await);
    }
    let each = MESSAGES / connections;
    let before_us = server.processor_us();
    let started = Instant::now();
    let tasks: Vec<_> = sockets
        .into_iter()
        .map(|mut socket| tokio::spawn(async move { pipeline(&mut socket, each, window).await }))
        .collect();
    for task in tasks {
        task.await.expect("the client ends");
    }
    let messages = (each * connections) as f64;
    Rate {
        per_second: messages / started.elapsed().as_secs_f64(),
        processor_us: (server.processor_us() - before_us) / messages,
    }
}

pub fn microseconds(sorted: &[Duration], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6
}

/// The tables.
pub fn run() {
    block_on(async {
        let started = Instant::now();
        let rigd = Server::rigd(BLOCK);
        let ready = started.elapsed();
        let mut host = connect(&rigd).await;
        let add = "{\"id\":\"m\",\"type\":\"plugin.add\",\"data\":{\"track_id\":\"mic1\",\"name\":\"Reverb\",\"plugin_id\":\"bench\"}}";
        host.send(Message::text(add)).await.expect("sent");
        let first = answer(&mut host).await;
        let sounding = started.elapsed();
        assert!(first.contains("\"applied_frame\":"), "{first}");
        println!(
            "\nStart: listening after {:.0} ms, first change applied after {:.0} ms",
            ms(ready),
            ms(sounding)
        );

        let rest_kib = rigd.memory_kib("VmRSS");
        let mut idle = Vec::new();
        for _ in 0..IDLE_CLIENTS {
            let mut socket = connect(&rigd).await;
            socket.next().await.expect("open").expect("the status");
            idle.push(socket);
        }
        let each_kib = (rigd.memory_kib("VmRSS") - rest_kib) / IDLE_CLIENTS as f64;
        println!(
            "Memory: {:.1} MiB resident at rest (locked: {:.1} MiB), {each_kib:.1} KiB an idle client",
            rest_kib / 1024.0,
            rigd.memory_kib("VmLck") / 1024.0,
        );
        drop(idle);

        let echo = Server::echo();
        let mut bare = connect(&echo).await;
        let echoed = latencies(&mut bare).await;
        let applied = latencies(&mut host).await;
        let period = PERIOD.as_secs_f64() * 1e6;
        println!("\nMessage to answer, µs ({BLOCK} frames are {period:.0} µs)");
        println!(
            "{:<6} {:>8} {:>8} {:>26}",
            "", "echo", "rigd", "1.5 periods + 1.3 echo"
        );
        for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
            let (bare, ours) = (microseconds(&echoed, share), microseconds(&applied, share));
            println!(
                "{name:<6} {bare:>8.0} {ours:>8.0} {:>26.0}",
                1.5 * period + 1.3 * bare
            );
        }
        drop((bare, host));

        println!("\nMessages each second, answered: connections × messages on their way in each");
        println!(
            "{:<14} {:>10} {:>10} {:>8} {:>28}",
            "", "echo", "rigd", "ratio", "processor time, µs: echo, rigd"
        );
        for (connections, window) in [(1, 512), (1, 2048), (16, 64), (16, 128)] {
            // In turns, since these machines are noisy.
            let mut rounds = Vec::new();
            for _ in 0..ROUNDS {
                let bare = rate(&echo, connections, window).await;
                rounds.push((bare, rate(&rigd, connections, window).await));
            }
            let ratio = |(bare, ours): &(Rate, Rate)| ours.per_second / bare.per_second;
            rounds.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
            let (bare, ours) = rounds[ROUNDS / 2];
            println!(
                "{:<14} {:>10.0} {:>10.0} {:>8.2} {:>17.2} {:>10.2}",
                format!("{connections} × {window}"),
                bare.per_second,
                ours.per_second,
                ratio(&rounds[ROUNDS / 2]),
                bare.processor_us,
                ours.processor_us,
            );
        }
    });
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
