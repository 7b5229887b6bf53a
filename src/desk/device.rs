//! What a host asks of the box: reboot, power-off, factory reset; and who may move files. Each is on
//! record, on disk, before it is done. It is done on a thread of its own, one thing at a time.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Instant;

use serde_json::{Value, json};

use super::Desk;
use super::client::{By, ClientId};
use super::settle::Origin;
use crate::care::caretaker::Turn;
use crate::care::{Caretaker, Power};
use crate::protocol::DeviceAsk;
use crate::protocol::views::object;
use crate::provenance::event::{EntityType, Notice, RIG};
use crate::rig::Reject;
use crate::session::{Permission, Reach};

/// Something that is being done to the box.
pub struct Chore {
    origin: Origin,
    ask: DeviceAsk,
    /// On disk before it is done.
    ticket: Option<u64>,
    /// `None` once it is being done.
    turn: Option<Turn>,
    told: Option<Receiver<Result<(), String>>>,
}

/// Its name in the log.
fn operation(ask: DeviceAsk) -> &'static str {
    match ask {
        DeviceAsk::Get => "device.get",
        DeviceAsk::Reboot => "device.reboot",
        DeviceAsk::PowerOff => "device.power_off",
        DeviceAsk::Reset => "device.reset",
    }
}

fn do_it(ask: DeviceAsk, turn: &Turn) -> Result<(), String> {
    match ask {
        DeviceAsk::Get => Ok(()),
        DeviceAsk::Reboot => turn.power(Power::Reboot),
        DeviceAsk::PowerOff => turn.power(Power::Off),
        DeviceAsk::Reset => turn.reset(),
    }
}

impl Desk {
    /// Who looks after the box.
    pub fn entrust(&mut self, caretaker: Caretaker) {
        self.caretaker = Some(caretaker);
    }

    /// Who looks after the box, if somebody does.
    pub fn caretaker(&self) -> Result<Caretaker, Reject> {
        let nobody = || Reject::DeviceFailed("nobody looks after this one".to_owned());
        self.caretaker.clone().ok_or_else(nobody)
    }

    pub(super) fn device(
        &mut self,
        origin: &Origin,
        ask: DeviceAsk,
        now: Instant,
    ) -> Result<(), Reject> {
        let caretaker = self.caretaker()?;
        let settings = caretaker.config().device;
        let may_power = settings.allow_power;
        match ask {
            DeviceAsk::Get => {
                let data = object(json!({
                    "version": env!("CARGO_PKG_VERSION"),
                    "allow_power": may_power,
                    "allow_wifi": settings.allow_wifi,
                    "restore_max_mb": settings.restore_max_mb,
                    "update_max_mb": settings.update_max_mb,
                    "update": caretaker.update(),
                    "success": true,
                }));
                return self.say(origin, &data);
            }
            DeviceAsk::Reboot | DeviceAsk::PowerOff if !may_power => {
                return Err(Reject::TurnedOff {
                    kind: origin.kind.name(origin.dialect),
                    feature: "allow_power under [device]",
                });
            }
            DeviceAsk::Reboot | DeviceAsk::PowerOff | DeviceAsk::Reset => {}
        }
        let turn = caretaker.begin()?;
        let ticket = self.record_device(operation(ask), json!({}), &origin.by, now);
        self.chore = Some(Box::new(Chore {
            origin: origin.clone(),
            ask,
            ticket,
            turn: Some(turn),
            told: None,
        }));
        self.look_after_device(now);
        Ok(())
    }

    /// Begins what is on disk, and answers what is done.
    pub(super) fn look_after_device(&mut self, now: Instant) {
        let Some(chore) = &mut self.chore else { return };
        let is_owed = match (&self.log, chore.ticket) {
            // What a dead disk does not take is not waited for.
            (Some(log), Some(ticket)) => ticket > log.synced() && !log.is_dead(),
            _ => false,
        };
        if is_owed {
            return;
        }
        if let Some(turn) = chore.turn.take() {
            let ask = chore.ask;
            let (tell, told) = sync_channel(1);
            let begun = std::thread::Builder::new()
                .name("rigd-care".to_owned())
                .spawn(move || {
                    let _ = tell.send(do_it(ask, &turn));
                });
            if let Err(error) = begun {
                log::error!("no thread for {}: {error}", operation(ask));
            }
            chore.told = Some(told);
        }
        let answer = match chore.told.as_ref().map(Receiver::try_recv) {
            Some(Err(TryRecvError::Empty)) => return,
            Some(Ok(answer)) => answer,
            _ => Err("it was begun and not finished; try again".to_owned()),
        };
        if let Some(chore) = self.chore.take() {
            self.answer_chore(*chore, answer, now);
        }
    }

    /// rigd ends, and what ends it is most likely the very reboot or power-off that was asked for: whoever
    /// asked is told so while there is a connection. What asks logind for it may be ended before it can tell.
    pub fn answer_last_chore(&mut self, now: Instant) {
        self.look_after_device(now);
        let is_going = |chore: &mut Box<Chore>| {
            chore.turn.is_none() && matches!(chore.ask, DeviceAsk::Reboot | DeviceAsk::PowerOff)
        };
        if let Some(chore) = self.chore.take_if(is_going) {
            self.answer_chore(*chore, Ok(()), now);
        }
    }

    fn answer_chore(&mut self, chore: Chore, answer: Result<(), String>, now: Instant) {
        let Chore {
            origin,
            ask,
            ticket,
            ..
        } = chore;
        if let Err(reason) = answer {
            log::error!("{} was not done: {reason}", operation(ask));
            let details = json!({ "failed": reason });
            self.record_device(operation(ask), details, &origin.by, now);
            self.refuse(&origin, &Reject::DeviceFailed(reason));
            return;
        }
        log::warn!("{}: {} wants it", operation(ask), origin.by.user_id);
        let restarts = ask == DeviceAsk::Reset;
        let data = object(json!({ "restarts": restarts, "success": true }));
        self.give(&origin, None, None, &data, ticket);
        if restarts && let Some(caretaker) = &self.caretaker {
            caretaker.begin_anew();
        }
    }

    /// Puts something about the box on record. The ticket says when it is on disk.
    pub fn record_device(
        &mut self,
        operation: &'static str,
        details: Value,
        by: &Arc<By>,
        now: Instant,
    ) -> Option<u64> {
        let notice = Notice {
            operation,
            entity_type: EntityType::Configuration,
            subject: RIG.to_owned(),
            details,
            person: None,
        };
        self.record_notice(notice, by, true, now)
    }

    /// Lets a visit move files to and from the box, if it may, and if nothing else is being done.
    pub fn admit_to_device(
        &mut self,
        id: ClientId,
        now: Instant,
    ) -> Result<(Turn, Arc<By>), Reject> {
        let (caretaker, by) = self.admit_host(id, now)?;
        Ok((caretaker.begin()?, by))
    }

    /// Lets a visit look at the box, if it may do something to it.
    pub fn admit_host(
        &mut self,
        id: ClientId,
        now: Instant,
    ) -> Result<(Caretaker, Arc<By>), Reject> {
        self.count(id, now)?;
        let client = self.clients.get(&id);
        let client = client.ok_or_else(|| Reject::message("came too late"))?;
        let (user_id, by) = (&client.by.user_id, Arc::clone(&client.by));
        client
            .rights
            .check(user_id, Permission::SessionManage, Reach::Rig)?;
        Ok((self.caretaker()?, by))
    }
}
