//! One message to the desk, and its answer. The desk forgets the visit when this is dropped, however
//! that comes about.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::reply::{Frame, Refusal, empty, json_answer, refusal, silent};
use crate::care::Caretaker;
use crate::care::caretaker::Turn;
use crate::desk::ClientId;
use crate::protocol::Kind;
use crate::rig::Reject;
use crate::server::Shared;
use crate::server::http::Answer;
use crate::session::{By, Role};

/// An answer waits for the engine, a debounced batch, the disk or the log: all of them bounded, and
/// together well below this.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// See the module.
pub struct Visit {
    id: ClientId,
    shared: Rc<Shared>,
}

impl Visit {
    /// Lets somebody in.
    pub fn begin(
        shared: &Rc<Shared>,
        address: IpAddr,
        token: Option<&str>,
    ) -> Result<Visit, Refusal> {
        let id = shared.desk.borrow_mut().visit(address, token);
        Ok(Visit {
            id: id.map_err(|reject| refusal(&reject))?,
            shared: Rc::clone(shared),
        })
    }

    /// What all visits share.
    pub fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    /// It waits for news, if not too many do.
    pub fn begin_poll(&self) -> Result<(), Refusal> {
        let begun = self.shared.desk.borrow_mut().begin_poll(self.id);
        begun.map_err(|reject| refusal(&reject))
    }

    /// Lets it move files to and from the box, if it may.
    pub fn admit_to_device(&self, now: Instant) -> Result<(Turn, Arc<By>), Reject> {
        let mut desk = self.shared.desk.borrow_mut();
        desk.admit_to_device(self.id, now)
    }

    /// Lets it look at the box, if it may do something to it.
    pub fn admit_host(&self, now: Instant) -> Result<(Caretaker, Arc<By>), Reject> {
        self.shared.desk.borrow_mut().admit_host(self.id, now)
    }

    /// Says something; everything that comes of it at once.
    pub async fn ask(&mut self, text: &str) -> Result<Vec<Utf8Bytes>, Refusal> {
        self.say(text);
        let mut frames = vec![self.next().await?];
        while let Some(frame) = self.take() {
            frames.push(frame);
        }
        Ok(frames)
    }

    /// Whoever asks may do something, if not this.
    pub fn is_known(&self) -> bool {
        let mut desk = self.shared.desk.borrow_mut();
        let role = desk.client(self.id).map(|client| client.rights.role);
        role.is_some_and(|role| role != Role::Nobody)
    }

    /// The answer's data, with the number of the change if it was one.
    pub async fn data(&mut self, text: &str) -> Result<Answer, Refusal> {
        let frames = self.ask(text).await?;
        let frame = Frame::read(&frames[0])?.check(self.is_known())?;
        let body = match frame.seq {
            Some(seq) if !frame.data.get().contains("\"seq\"") => {
                let mut data: Map<String, Value> =
                    serde_json::from_str(frame.data.get()).unwrap_or_default();
                data.insert("seq".to_owned(), seq.into());
                Value::Object(data).to_string()
            }
            _ => frame.data.get().to_owned(),
        };
        Ok(json_answer(StatusCode::OK, body))
    }

    /// Every plugin's parameters.
    pub async fn all_parameters(&mut self, text: &str) -> Result<Answer, Refusal> {
        #[derive(Deserialize)]
        struct Plugin<'a> {
            plugin_id: String,
            #[serde(borrow)]
            parameters: &'a RawValue,
        }
        #[derive(Deserialize)]
        struct Track<'a> {
            #[serde(borrow)]
            plugins: Vec<Plugin<'a>>,
        }
        #[derive(Deserialize)]
        struct Snapshot<'a> {
            seq: u64,
            #[serde(borrow)]
            tracks: Vec<Track<'a>>,
        }
        let frames = self.ask(text).await?;
        let frame = Frame::read(&frames[0])?.check(self.is_known())?;
        let snapshot: Snapshot<'_> =
            serde_json::from_str(frame.data.get()).map_err(|_| silent())?;
        let plugins = snapshot.tracks.into_iter().flat_map(|track| track.plugins);
        let parameters: BTreeMap<String, &RawValue> = plugins
            .map(|plugin| (plugin.plugin_id, plugin.parameters))
            .collect();
        let body = json!({ "parameters": parameters, "seq": snapshot.seq, "success": true });
        Ok(json_answer(StatusCode::OK, body.to_string()))
    }

    /// Any message; the reply is the body. An `ack` that was asked for is awaited and stands in it as
    /// `ack`, changes that are told again as `changes`.
    pub async fn message(&mut self, text: &str) -> Result<Answer, Refusal> {
        #[derive(Deserialize)]
        struct Asked {
            #[serde(default, rename = "type")]
            kind: Value,
            #[serde(default)]
            requires_ack: Value,
        }
        let asked = serde_json::from_str::<Asked>(text).ok();
        let kind = asked
            .as_ref()
            .and_then(|asked| Kind::parse(asked.kind.as_str()?));
        if kind.is_some_and(|(kind, _)| kind == Kind::UserCursorUpdate) {
            self.say(text);
            return match self.take() {
                Some(frame) => {
                    Frame::read(&frame)?.check(self.is_known())?;
                    Err(silent())
                }
                None => Ok(empty()),
            };
        }
        let mut frames = self.ask(text).await?;
        Frame::read(&frames[0])?.check(self.is_known())?;
        if frames.len() == 1 && !asked.is_some_and(|asked| asked.requires_ack == true) {
            return Ok(json_answer(StatusCode::OK, frames.remove(0)));
        }
        let mut reply: Map<String, Value> = serde_json::from_str(&frames[0]).unwrap_or_default();
        if frames.len() == 1 {
            frames.push(self.next().await?);
        }
        let mut changes = Vec::new();
        for frame in frames.drain(1..) {
            let frame: Value = serde_json::from_str(&frame).unwrap_or_default();
            if frame["type"] == "ack" {
                reply.insert("ack".to_owned(), frame);
            } else {
                changes.push(frame);
            }
        }
        if !changes.is_empty() {
            reply.insert("changes".to_owned(), changes.into());
        }
        Ok(json_answer(
            StatusCode::OK,
            Value::Object(reply).to_string(),
        ))
    }

    fn say(&self, text: &str) {
        let mut desk = self.shared.desk.borrow_mut();
        desk.receive(self.id, text, Instant::now());
        self.shared.nudge.notify_one();
    }

    fn take(&self) -> Option<Utf8Bytes> {
        let mut desk = self.shared.desk.borrow_mut();
        desk.next_frame(self.id)?.into_text().ok()
    }

    /// The next frame, when it is there.
    async fn next(&self) -> Result<Utf8Bytes, Refusal> {
        let next = poll_fn(|cx| {
            if let Some(frame) = self.take() {
                return Poll::Ready(Ok(frame));
            }
            let mut desk = self.shared.desk.borrow_mut();
            let Some(client) = desk.client(self.id) else {
                return Poll::Ready(Err(silent()));
            };
            if let Some(why) = client.ends {
                let reject = Reject::AuthFailed(why.to_owned());
                return Poll::Ready(Err(refusal(&reject)));
            }
            client.outbox.set_waker(cx.waker());
            Poll::Pending
        });
        match timeout(ANSWER_WITHIN, next).await {
            Ok(next) => next,
            Err(_) => Err(silent()),
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.shared.desk.borrow_mut().disconnect(self.id);
    }
}
