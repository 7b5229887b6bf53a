//! The mixer of the card `Dummy`.

use rigd::backend::alsa::audible::wake;
use rigd::backend::alsa::mixer::{apply, controls};
use rigd::config::mixer::{Dial, Dials};
use rigd::config::{Alsa, Mixer};

use super::card::cards_here;

fn set(card: &str, dials: &[&str]) -> Result<(), String> {
    let mut mixer = Mixer {
        card: card.to_owned(),
        ..Mixer::default()
    };
    mixer.set.0 = dials
        .iter()
        .map(|dial| Dial::parse(dial).unwrap())
        .collect();
    apply(&mixer, &Alsa::default()).map_err(|failure| failure.message)
}

#[test]
fn controls_are_shown_and_set_by_name() {
    let Some(_here) = cards_here() else { return };
    let find = |name: &str| {
        let all = controls("Dummy").unwrap();
        all.into_iter()
            .find(|control| control.name == name)
            .unwrap()
    };
    for (dial, percent) in [
        ("Master = 100%", 100.0),
        ("Master = 50%", 50.0),
        ("Master playback = 0%", 0.0),
    ] {
        set("Dummy", &[dial]).unwrap();
        let level = find("Master").playback.unwrap();
        assert!(
            (level.percent.unwrap() - percent).abs() < 1.0,
            "{dial}: {level:?}"
        );
    }
    let [_, least, most] = find("Master").playback.unwrap().db.unwrap();
    assert!(least < -20.0 && most >= 0.0, "{least} {most}");
    set("Dummy", &["Master = -6dB", "Mic capture = off"]).unwrap();
    let [now, ..] = find("Master").playback.unwrap().db.unwrap();
    assert!((now + 6.0).abs() < 0.5, "{now}");
    assert_eq!(find("Mic").capture.unwrap().is_on, Some(false));
    set("Dummy", &["Mic capture = on"]).unwrap();
    assert_eq!(find("Mic").capture.unwrap().is_on, Some(true));
}

#[test]
fn a_card_that_comes_up_mute_is_made_audible_unless_told_otherwise() {
    let Some(_here) = cards_here() else { return };
    let percent = |name: &str| {
        let all = controls("Dummy").unwrap();
        let control = all.into_iter().find(|control| control.name == name);
        control.unwrap().playback.unwrap().percent.unwrap()
    };
    let db = || {
        let all = controls("Dummy").unwrap();
        let master = all.into_iter().find(|control| control.name == "Master");
        master.unwrap().playback.unwrap().db.unwrap()[0]
    };
    let settings = |audible: bool, dials: &[&str]| Mixer {
        audible,
        set: Dials(
            dials
                .iter()
                .map(|dial| Dial::parse(dial).unwrap())
                .collect(),
        ),
        ..Mixer::default()
    };
    let mute = || set("Dummy", &["Master = 0%", "Mic = 0%"]).unwrap();
    for left_alone in [settings(false, &[]), settings(true, &["Master = 0%"])] {
        mute();
        wake(&left_alone, "hw:CARD=Dummy,DEV=0");
        assert_eq!(percent("Master"), 0.0);
    }
    wake(&settings(true, &[]), "hw:CARD=Dummy,DEV=0");
    assert!(db().abs() < 0.5, "{}", db());
    assert_eq!(
        percent("Mic"),
        0.0,
        "a microphone's way to the loudspeakers"
    );
    set("Dummy", &["Master = -20dB"]).unwrap();
    wake(&settings(true, &[]), "hw:CARD=Dummy,DEV=0");
    assert!((db() + 20.0).abs() < 0.5, "turned down, not mute: {}", db());
    wake(&settings(true, &[]), "hw:CARD=Nowhere,DEV=0");
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let Some(_here) = cards_here() else { return };
    let said = set("Dummy", &["Wobble = on"]).unwrap_err();
    assert!(said.contains("Wobble") && said.contains("Master"), "{said}");
    let said = set("Dummy", &["Master = Loud"]).unwrap_err();
    assert!(
        said.contains("Loud") && said.contains("no choice"),
        "{said}"
    );
    let said = set("Nowhere", &["Master = on"]).unwrap_err();
    assert!(
        said.contains("Nowhere") && said.contains("rigd devices"),
        "{said}"
    );
    assert_eq!(set("Nowhere", &[]), Ok(()), "nothing is wanted");
}
