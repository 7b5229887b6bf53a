//! Which ports there must be, and what they are called: a pure function of the tracks.

use std::collections::BTreeSet;

use crate::rig::state::{Input, port_channels};

/// The master's ports.
pub const MASTER: [&str; 2] = ["master_L", "master_R"];

/// A port that must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The engine's channel that it feeds.
    pub channel: usize,
    /// Without the client's name.
    pub name: String,
    /// The device's channel that belongs to it, from 1.
    pub device: u8,
}

/// The ports of these tracks: `<track>`, or `<track>_L` and `<track>_R`. A name that is taken gets
/// an underscore behind it.
pub fn wishes(inputs: &[Input]) -> Vec<Wish> {
    let mut taken: BTreeSet<String> = MASTER.map(str::to_owned).into();
    let mut wishes = Vec::new();
    for input in inputs {
        let channels = port_channels(input.place).map(usize::from);
        let [left, right] = channels;
        let sides = if input.first == input.last {
            vec![("", left, input.first)]
        } else {
            vec![("_L", left, input.first), ("_R", right, input.last)]
        };
        for (side, channel, device) in sides {
            let mut name = format!("{}{side}", input.track_id);
            while !taken.insert(name.clone()) {
                name.push('_');
            }
            wishes.push(Wish {
                channel,
                name,
                device,
            });
        }
    }
    wishes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(place: u8, track_id: &str, first: u8, last: u8) -> Input {
        Input {
            place,
            track_id: track_id.to_owned(),
            first,
            last,
        }
    }

    fn names(inputs: &[Input]) -> Vec<(usize, String, u8)> {
        wishes(inputs)
            .into_iter()
            .map(|wish| (wish.channel, wish.name, wish.device))
            .collect()
    }

    #[test]
    fn ports_are_named_after_tracks() {
        let got = names(&[input(1, "mic1", 1, 1), input(3, "line", 3, 4)]);
        assert_eq!(
            got,
            [
                (2, "mic1".to_owned(), 1),
                (6, "line_L".to_owned(), 3),
                (7, "line_R".to_owned(), 4)
            ]
        );
    }

    #[test]
    fn no_two_ports_have_one_name() {
        let got = names(&[
            input(0, "line", 1, 2),
            input(1, "line_L", 3, 3),
            input(2, "master_R", 4, 4),
        ]);
        let names: Vec<&str> = got.iter().map(|(_, name, _)| name.as_str()).collect();
        assert_eq!(names, ["line_L", "line_R", "line_L_", "master_R_"]);
    }
}
