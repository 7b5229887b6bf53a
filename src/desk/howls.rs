//! What `feedback` effects do by themselves, told to everyone as it changes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rigd_rt::Report;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::Desk;
use super::settle::{hash, own};
use crate::protocol::views;

/// Of one plugin it is told at most this often.
const EVERY: Duration = Duration::from_millis(100);

/// What clients still have to hear, by plugin.
#[derive(Default)]
pub struct Howls(HashMap<String, News>);

#[derive(Default)]
struct News {
    is_dirty: bool,
    sent: Option<Instant>,
}

impl News {
    fn is_due(&self, now: Instant) -> bool {
        self.is_dirty && self.sent.is_none_or(|sent| now >= sent + EVERY)
    }
}

impl Howls {
    /// Something is to be told of a plugin.
    pub fn mark(&mut self, plugin_id: &str) {
        match self.0.get_mut(plugin_id) {
            Some(news) => news.is_dirty = true,
            None => {
                let news = News {
                    is_dirty: true,
                    sent: None,
                };
                self.0.insert(plugin_id.to_owned(), news);
            }
        }
    }

    /// When the next is to be told, of those that have to wait.
    pub fn due(&self) -> Option<Instant> {
        let waiting = self.0.values().filter(|news| news.is_dirty);
        waiting.filter_map(|news| Some(news.sent? + EVERY)).min()
    }
}

impl Desk {
    /// A `feedback` effect says something of itself.
    pub(super) fn note_howl(&mut self, slot: u8, report: &Report) {
        // One that was just removed has no plugin any more.
        if let Some(plugin_id) = self.state.howl_reported(slot, report) {
            self.howls.mark(plugin_id);
        }
    }

    /// Tells everyone who may know.
    pub(super) fn send_howls(&mut self, now: Instant) {
        for (plugin_id, news) in &mut self.howls.0 {
            if !news.is_due(now) {
                continue;
            }
            *news = News {
                is_dirty: false,
                sent: Some(now),
            };
            let Some((track, plugin)) = self.state.plugin(plugin_id) else {
                continue;
            };
            let mut data = views::howl(&plugin.howl);
            data.insert("track_id".to_owned(), json!(track.id));
            data.insert("plugin_id".to_owned(), Value::from(plugin_id.as_str()));
            let mut frame: Option<Utf8Bytes> = None;
            for client in self.clients.values_mut() {
                if !client.hears() {
                    continue;
                }
                let frame = match &frame {
                    Some(frame) => frame.clone(),
                    None => frame.insert(own("plugin.notches", client, &data)).clone(),
                };
                let key = hash(&("notches", plugin_id));
                client.outbox.news(Message::Text(frame), Some(key));
            }
        }
        self.howls
            .0
            .retain(|_, news| news.is_dirty || news.sent.is_some_and(|sent| now < sent + EVERY));
    }
}
