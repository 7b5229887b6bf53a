//! An ALSA card, without a server in between.
//!
//! | file | noun |
//! |---|---|
//! | `library.rs` | ALSA's library, loaded at run time |
//! | `cards.rs` | which cards there are, and what they offer |
//! | `sample.rs` | a card's samples and the engine's |

pub mod cards;
pub mod library;
pub mod sample;
