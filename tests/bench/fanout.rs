//! One change to many: rigd against a bare tokio-tungstenite server that sends one encoded frame to
//! everybody, with the same clients. And everybody coming back at once.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::Message;

use super::process::Server;
use super::wire::{Socket, answer, block_on, change, config, connect, microseconds, try_connect};

const CROWDS: [usize; 3] = [16, 100, 1000];
/// Changes to each crowd, in turns of the two servers.
const CHANGES: usize = 300;
/// Between two changes: the crowd is at rest again.
const PAUSE: Duration = Duration::from_millis(8);
/// Everyone is told who is here at least so often, by so many there; and what is left is written out.
fn settled(clients: usize) -> Duration {
    Duration::from_millis(1500) + Duration::from_micros(10) * (clients * clients) as u32
}

const STORM: usize = 200;
const STORMS: usize = 5;
/// Who is turned away tries again so much later.
const AGAIN: Duration = Duration::from_millis(100);
const IDLE_CLIENTS: usize = 200;

/// What a dotted client of rigd is sent of a change: the reference sends the same to everybody.
const FRAME: &str = "{\"id\":\"rigd_100000\",\"type\":\"plugin.parameter\",\"timestamp\":\"2026-01-01T00:00:00.000000Z\",\
    \"data\":{\"track_id\":\"mic1\",\"plugin_id\":\"bench\",\"parameter_id\":\"wet_dry\",\"parameter_value\":0.123,\
    \"changed_by\":\"bench\",\"applied_frame\":100000000},\"user_id\":\"bench\",\"session_id\":\"bench\",\"seq\":100000,\
    \"t1_engine_call\":\"2026-01-01T00:00:00.000000Z\"}";

/// Whatever one client says, all others are sent the frame, and the client its own words.
pub fn broadcast_server() {
    block_on(LocalSet::new().run_until(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        eprintln!("broadcast is listening on http://{address}");
        let everybody: Rc<RefCell<Vec<Option<UnboundedSender<Message>>>>> = Rc::default();
        let frame = Message::text(FRAME);
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let (everybody, frame) = (Rc::clone(&everybody), frame.clone());
            spawn_local(async move {
                let Ok(socket) = accept_async_with_config(stream, Some(config())).await else {
                    return;
                };
                let (mut sink, mut stream) = socket.split();
                let (sender, mut waiting) = unbounded_channel();
                let place = everybody.borrow().len();
                everybody.borrow_mut().push(Some(sender));
                let writes = spawn_local(async move {
                    while let Some(message) = waiting.recv().await {
                        if sink.send(message).await.is_err() {
                            break;
                        }
                    }
                });
                while let Some(Ok(message)) = stream.next().await {
                    for (other, sender) in everybody.borrow().iter().enumerate() {
                        let message = if other == place { &message } else { &frame };
                        if let Some(sender) = sender {
                            let _ = sender.send(message.clone());
                        }
                    }
                }
                everybody.borrow_mut()[place] = None;
                writes.abort();
            });
        }
    }));
}

/// The crowd: tasks that count what they hear of one change.
struct Crowd {
    sender: Socket,
    heard: Rc<Heard>,
    size: usize,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

#[derive(Default)]
struct Heard {
    count: Cell<usize>,
    wanted: Cell<usize>,
    /// When the last one had it.
    at: Cell<Option<Instant>>,
    all: Notify,
}

impl Heard {
    /// One more has it. Only a change counts: whatever else comes must not end a round.
    fn one_more(&self) {
        let count = self.count.get() + 1;
        self.count.set(count);
        if count == self.wanted.get() {
            self.at.set(Some(Instant::now()));
            self.all.notify_one();
        }
    }
}

impl Crowd {
    async fn new(server: &Server, size: usize) -> Crowd {
        let heard: Rc<Heard> = Rc::default();
        let sender = connect(server).await;
        let mut tasks = Vec::new();
        for _ in 0..size {
            let mut socket = connect(server).await;
            let heard = Rc::clone(&heard);
            tasks.push(spawn_local(async move {
                while let Some(Ok(message)) = socket.next().await {
                    let is_change = message.to_text().is_ok_and(|text| {
                        text.get(..80)
                            .unwrap_or(text)
                            .contains("\"plugin.parameter\"")
                    });
                    if is_change {
                        heard.one_more();
                    }
                }
            }));
        }
        Crowd {
            sender,
            heard,
            size,
            tasks,
        }
    }

    /// One change: from before it is sent until the last one has it.
    async fn round(&mut self, number: usize) -> Duration {
        self.heard.count.set(0);
        self.heard.wanted.set(self.size);
        let change = change(number);
        let started = Instant::now();
        self.sender.send(change).await.expect("sent");
        self.heard.all.notified().await;
        let heard = self.heard.at.take().expect("the last one has it");
        answer(&mut self.sender).await;
        tokio::time::sleep(PAUSE).await;
        assert_eq!(self.heard.count.get(), self.size, "each has it once");
        heard - started
    }

    fn leave(self) {
        self.tasks.iter().for_each(|task| task.abort());
    }
}

async fn fanout(rigd: &Server, bare: &Server, size: usize) {
    let mut ours = Crowd::new(rigd, size).await;
    let mut theirs = Crowd::new(bare, size).await;
    tokio::time::sleep(settled(size)).await;
    let (mut took, mut bare_took) = (Vec::new(), Vec::new());
    let (mut spent, mut bare_spent) = (0.0, 0.0);
    for number in 0..CHANGES {
        let before = rigd.processor_us();
        took.push(ours.round(number).await);
        spent += rigd.processor_us() - before;
        let before = bare.processor_us();
        bare_took.push(theirs.round(number).await);
        bare_spent += bare.processor_us() - before;
    }
    took.sort();
    bare_took.sort();
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let (ours, bare) = (microseconds(&took, share), microseconds(&bare_took, share));
        let name = format!("{size} clients, {name}");
        println!("{name:<22} {bare:>10.0} {ours:>10.0} {:>8.2}", ours / bare);
    }
    let messages = (CHANGES * size) as f64;
    let (ours_us, bare_us) = (spent / messages, bare_spent / messages);
    println!(
        "{:<22} {bare_us:>10.2} {ours_us:>10.2} {:>8.2}",
        "  processor, each",
        ours_us / bare_us
    );
    ours.leave();
    theirs.leave();
}

/// So many come back at once, and ask for what they have missed. Who is turned away comes again: how often
/// that was is counted.
async fn storm(server: &Server, is_rigd: bool, refused: &Rc<Cell<usize>>) -> Vec<Duration> {
    let started = Instant::now();
    let comers: Vec<_> = (0..STORM)
        .map(|_| {
            let (address, refused) = (server.address.clone(), Rc::clone(refused));
            spawn_local(async move {
                let mut socket = loop {
                    match try_connect(&address).await {
                        Some(socket) => break socket,
                        None => {
                            refused.set(refused.get() + 1);
                            tokio::time::sleep(AGAIN).await;
                        }
                    }
                };
                if is_rigd {
                    let resume =
                        "{\"id\":\"m\",\"type\":\"state.resume\",\"data\":{\"since_seq\":1}}";
                    socket.send(Message::text(resume)).await.expect("sent");
                    answer(&mut socket).await;
                } else {
                    socket.send(change(1)).await.expect("sent");
                    answer(&mut socket).await;
                }
                (started.elapsed(), socket)
            })
        })
        .collect();
    let mut took = Vec::new();
    for comer in comers {
        took.push(comer.await.expect("came back").0);
    }
    took.sort();
    took
}

/// What a client costs that has nothing to say, once everyone has been told who is here.
async fn idle() {
    let rigd = Server::rigd(64);
    // What is touched for the first time is not theirs.
    Crowd::new(&rigd, 2).await.leave();
    tokio::time::sleep(settled(2)).await;
    let before = rigd.memory_kib("VmRSS");
    let crowd = Crowd::new(&rigd, IDLE_CLIENTS - 1).await;
    tokio::time::sleep(settled(IDLE_CLIENTS)).await;
    let each = (rigd.memory_kib("VmRSS") - before) / IDLE_CLIENTS as f64;
    println!("\nMemory: {each:.1} KiB each of {IDLE_CLIENTS} idle clients that know of each other");
    crowd.leave();
}

/// The tables.
pub fn run() {
    block_on(LocalSet::new().run_until(async {
        let rigd = Server::rigd(64);
        let bare = Server::broadcast();
        let mut host = connect(&rigd).await;
        let add = "{\"id\":\"m\",\"type\":\"plugin.add\",\"data\":{\"track_id\":\"mic1\",\"name\":\"Reverb\",\"plugin_id\":\"bench\"}}";
        host.send(Message::text(add)).await.expect("sent");
        answer(&mut host).await;
        drop(host);
        println!("\nOne change to many, µs from sending to the last one (of which rigd waits for a block, 1333 µs at most)");
        println!("{:<22} {:>10} {:>10} {:>8}", "", "bare", "rigd", "ratio");
        for size in CROWDS {
            fanout(&rigd, &bare, size).await;
        }
        println!("\n{STORM} come back at once, ms until so many have what they missed (bare: an answer)");
        let echo = Server::echo();
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let (refused, bare_refused) = (Rc::default(), Rc::default());
        for _ in 0..STORMS {
            ours.extend(storm(&rigd, true, &refused).await);
            theirs.extend(storm(&echo, false, &bare_refused).await);
        }
        ours.sort();
        theirs.sort();
        for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
            let (ours, bare) = (microseconds(&ours, share), microseconds(&theirs, share));
            println!("{name:<22} {:>10.1} {:>10.1} {:>8.2}", bare / 1e3, ours / 1e3, ours / bare);
        }
        println!("{:<22} {:>10} {:>10}", "turned away", bare_refused.get(), refused.get());
        drop((rigd, bare, echo));
        idle().await;
    }));
}
