//! Everything by which people come in: the gate, open codes, the thread for their files, and where the
//! door is.

use std::net::SocketAddr;
use std::path::Path;

use super::code::Codes;
use super::failures::Failures;
use super::gate::Gate;
use super::role::Grants;
use super::secret::Secret;
use super::vault::{self, Vault};

/// See the module. Control thread.
pub struct Door {
    /// Tokens.
    pub gate: Gate,
    /// Codes that were made in this run.
    pub codes: Codes,
    /// Who brings wrong ones.
    pub wrong_codes: Failures,
    /// Codes that were left in the state folder, and news of the secret.
    pub vault: Option<Vault>,
    /// Where the rig listens.
    pub listening: Vec<SocketAddr>,
    /// How it is reached there.
    pub scheme: &'static str,
    /// What is wrong, in a sentence for a person.
    pub trouble: Option<String>,
}

impl Door {
    /// No token is good, and there is no code.
    pub fn closed() -> Door {
        Door {
            gate: Gate::new(None, Grants::default()),
            codes: Codes::default(),
            wrong_codes: Failures::default(),
            vault: None,
            listening: Vec::new(),
            scheme: "http",
            trouble: None,
        }
    }

    /// With the secret of a state folder; where that cannot be had, with one that is put there as soon as it
    /// can be.
    pub fn open(
        folder: &Path,
        grants: Grants,
        scheme: &'static str,
        listening: Vec<SocketAddr>,
    ) -> Door {
        if let Err(error) = vault::note_listening(folder, scheme, &listening) {
            log::warn!("`rigd pair` will not know where rigd listens: {error}");
        }
        let opened = Secret::open(folder);
        let trouble = opened.as_ref().err().map(|error| {
            format!(
                "the secret cannot be kept in the state folder {} ({error}): until it is, tokens end with this run",
                folder.display()
            )
        });
        if let Some(trouble) = &trouble {
            log::error!("{trouble}");
        }
        let secret = opened.or_else(|_| Secret::random()).ok();
        let vault = secret.clone().and_then(|secret| {
            let vault = Vault::start(folder.to_owned(), secret, trouble.is_none());
            let vault = vault.inspect_err(|error| {
                log::error!("the secret and codes in the state folder are not looked at: {error}");
            });
            vault.ok()
        });
        Door {
            gate: Gate::new(secret, grants),
            vault,
            listening,
            scheme,
            trouble,
            ..Door::closed()
        }
    }
}
