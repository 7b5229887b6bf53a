//! The settings, read again while rigd runs: what can be in effect at once is, and the rest is named.

use std::sync::mpsc;
use std::time::Duration;

use super::control::Resettled;
use crate::backend::keeper::Change;
use crate::cli::Failure;
use crate::config::Config;
use crate::reload::{self, Plan};
use crate::server::tls::Tls;

/// How long a reload waits for the backend.
const BACKEND_CHANGES_WITHIN: Duration = Duration::from_secs(10);

/// The settings, read again. Main thread.
pub struct Reload<'a> {
    /// In effect.
    pub config: Config,
    pub read_again: &'a dyn Fn() -> Result<Config, Failure>,
    pub control: mpsc::Sender<Resettled>,
    /// Of the certificate that is shown.
    pub fingerprint: Option<String>,
    pub backend: mpsc::Sender<Change>,
}

impl Reload<'_> {
    /// Reads them, and tells systemd so.
    pub fn reload(&mut self) {
        let mut begins = vec![sd_notify::NotifyState::Reloading];
        begins.extend(sd_notify::NotifyState::monotonic_usec_now());
        let _ = sd_notify::notify(&begins);
        match (self.read_again)() {
            Ok(wanted) => self.follow(&wanted),
            Err(faults) => log::error!("the settings stay as they were: {faults}"),
        }
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    }

    /// The certificate, if it is another one by now: they are renewed under the same name. One that
    /// cannot be used leaves the old one.
    fn read_certificate(&mut self, plan: &mut Plan, then: &mut Config) -> Option<Tls> {
        match Tls::open(&then.tls, &then.state_dir) {
            Ok(tls) => {
                let tls = tls.filter(|tls| self.fingerprint.as_ref() != Some(&tls.fingerprint))?;
                log::info!(
                    "the certificate is another one: its SHA-256 fingerprint is {}",
                    tls.fingerprint
                );
                self.fingerprint = Some(tls.fingerprint.clone());
                Some(tls)
            }
            Err(error) => {
                log::error!("the certificate stays as it was: {error}");
                then.tls = self.config.tls.clone();
                plan.at_once.retain(|name| !name.starts_with("tls."));
                None
            }
        }
    }

    fn follow(&mut self, wanted: &Config) {
        let (mut plan, mut then) = reload::plan(&self.config, wanted);
        let tls = self.read_certificate(&mut plan, &mut then);
        if !plan.restart.is_empty() {
            let names = plan.restart.join(", ");
            log::warn!(
                "changed in the settings, and without effect until rigd is started anew: {names}"
            );
        }
        if plan.at_once.is_empty() && plan.sound.is_empty() && tls.is_none() {
            log::info!("the settings were read again: nothing that could change now has");
            return;
        }
        let _ = self.control.send(Resettled {
            config: then.clone(),
            tls,
        });
        if !plan.at_once.is_empty() {
            log::info!("in effect: {}", plan.at_once.join(", "));
        }
        let before = std::mem::replace(&mut self.config, then.clone());
        if plan.sound.is_empty() {
            return;
        }
        let (done, is_done) = mpsc::sync_channel(1);
        let change = Change {
            from: before.clone(),
            to: then,
            done,
        };
        let names = plan.sound.join(", ");
        log::info!("the sound is opened again for {names}");
        if self.backend.send(change).is_err() {
            log::error!("the backend's thread has ended: start rigd anew");
            return;
        }
        match is_done.recv_timeout(BACKEND_CHANGES_WITHIN) {
            Ok(Ok(())) => log::info!("in effect: {names}"),
            Ok(Err(reason)) => {
                log::error!("without effect: {names}. {reason}");
                let config = &mut self.config;
                (config.audio, config.jack, config.alsa) = (before.audio, before.jack, before.alsa);
                config.mixer = before.mixer;
                (config.realtime.priority, config.realtime.cpus) =
                    (before.realtime.priority, before.realtime.cpus);
            }
            Err(_) => log::warn!("the backend takes its time; rigd does not wait for it"),
        }
    }
}
