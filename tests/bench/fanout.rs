//! One change to many: rigd against a bare tokio-tungstenite server that sends one encoded frame to
//! everybody, and against the same server where each change waits for the end of a block in another thread,
//! as rigd's wait for the sound; with the same clients. And everybody coming back at once.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
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

/// A block of 64 frames.
const BLOCK: Duration = Duration::from_nanos(1_333_333);

/// Who said it, and what.
type Said = (usize, Message);

/// Another thread, which has what it is given handed back at the end of each block.
fn held_for_a_block() -> (std::sync::mpsc::Sender<Said>, UnboundedReceiver<Said>) {
    let (give, given) = std::sync::mpsc::channel();
    let (back, come_back) = unbounded_channel();
    std::thread::spawn(move || {
        rigd::backend::realtime::become_realtime(&rigd::config::Config::default().realtime);
        let mut next = Instant::now();
        loop {
            next += BLOCK;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            for said in given.try_iter() {
                if back.send(said).is_err() {
                    return;
                }
            }
        }
    });
    (give, come_back)
}

/// Whatever one client says, all others are sent the frame, and the client its own words; `is_held`: once a
/// block has ended.
pub fn broadcast_server(is_held: bool) {
    block_on(LocalSet::new().run_until(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        eprintln!("broadcast is listening on http://{address}");
        let everybody: Rc<RefCell<Vec<Option<UnboundedSender<Message>>>>> = Rc::default();
        let frame = Message::text(FRAME);
        let tell = {
            let everybody = Rc::clone(&everybody);
            move |(place, message): Said| {
                for (other, sender) in everybody.borrow().iter().enumerate() {
                    let message = if other == place { &message } else { &frame };
                    if let Some(sender) = sender {
                        let _ = sender.send(message.clone());
                    }
                }
            }
        };
        let (give, mut come_back) = held_for_a_block();
        if is_held {
            let tell = tell.clone();
            spawn_local(async move {
                while let Some(said) = come_back.recv().await {
                    tell(said);
                }
            });
        }
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let (everybody, tell, give) = (Rc::clone(&everybody), tell.clone(), give.clone());
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
                    if is_held {
                        let _ = give.send((place, message));
                    } else {
                        tell((place, message));
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

/// A server, its crowd, and what its changes took.
struct Measured<'a> {
    server: &'a Server,
    crowd: Crowd,
    took: Vec<Duration>,
    spent_us: f64,
}

impl Measured<'_> {
    async fn new(server: &Server, size: usize) -> Measured<'_> {
        Measured {
            server,
            crowd: Crowd::new(server, size).await,
            took: Vec::new(),
            spent_us: 0.0,
        }
    }

    async fn round(&mut self, number: usize) {
        let before = self.server.processor_us();
        self.took.push(self.crowd.round(number).await);
        self.spent_us += self.server.processor_us() - before;
    }
}

/// `servers`: bare, held for a block, rigd.
async fn fanout(servers: [&Server; 3], size: usize) {
    let [bare, held, rigd] = servers;
    let mut all = [
        Measured::new(bare, size).await,
        Measured::new(held, size).await,
        Measured::new(rigd, size).await,
    ];
    tokio::time::sleep(settled(size)).await;
    for number in 0..CHANGES {
        for measured in &mut all {
            measured.round(number).await;
        }
    }
    all.iter_mut().for_each(|measured| measured.took.sort());
    let row = |name: &str, [bare, held, ours]: [f64; 3], decimals: usize| {
        println!(
            "{name:<22} {bare:>10.decimals$} {held:>10.decimals$} {ours:>10.decimals$} {:>8.2} {:>8.2}",
            ours / bare,
            ours / held
        );
    };
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let name = format!("{size} clients, {name}");
        row(
            &name,
            all.each_ref().map(|one| microseconds(&one.took, share)),
            0,
        );
    }
    let messages = (CHANGES * size) as f64;
    row(
        "  processor, each",
        all.each_ref().map(|one| one.spent_us / messages),
        2,
    );
    all.into_iter().for_each(|one| one.crowd.leave());
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
        let bare = Server::broadcast("at-once");
        let held = Server::broadcast("held");
        let mut host = connect(&rigd).await;
        let add = "{\"id\":\"m\",\"type\":\"plugin.add\",\"data\":{\"track_id\":\"mic1\",\"name\":\"Reverb\",\"plugin_id\":\"bench\"}}";
        host.send(Message::text(add)).await.expect("sent");
        answer(&mut host).await;
        drop(host);
        println!("\nOne change to many, µs from sending to the last one (held: the bare broadcast, once a block has ended)");
        println!("{:<22} {:>10} {:>10} {:>10} {:>8} {:>8}", "", "bare", "held", "rigd", "to bare", "to held");
        for size in CROWDS {
            fanout([&bare, &held, &rigd], size).await;
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
        drop((rigd, bare, held, echo));
        idle().await;
    }));
}
