//! Where on USB a sound card is, and who is beside it.

use std::path::{Path, PathBuf};

use super::seen::{entries, file_name, text};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usb {
    /// Mbit/s: 12, 480, 5000 …
    pub speed_mbps: f64,
    /// Others on the hub that it is plugged into, if that is a hub of its own.
    pub on_hub: Vec<String>,
    /// Others on the same controller, behind other ports.
    pub on_controller: Vec<String>,
}

impl Usb {
    /// Of a card's device; `None` when it is not on USB.
    pub fn read(device: &Path) -> Option<Usb> {
        let mut chain = device.ancestors().filter(|above| is_device(above));
        let mine = chain.next()?.to_owned();
        let above: Vec<PathBuf> = chain.map(Path::to_owned).collect();
        let root = above.last()?;
        let others = |below: &Path| -> Vec<PathBuf> {
            let mut found = Vec::new();
            collect(below, &mut found);
            found.retain(|other| *other != mine);
            found
        };
        let near = match above.first() {
            Some(hub) if hub != root => others(hub),
            _ => Vec::new(),
        };
        let mut far = others(root);
        far.retain(|other| !near.contains(other));
        let names = |devices: &[PathBuf]| devices.iter().map(|device| name(device)).collect();
        Some(Usb {
            speed_mbps: text(&mine.join("speed")).parse().unwrap_or(0.0),
            on_hub: names(&near),
            on_controller: names(&far),
        })
    }
}

fn is_device(path: &Path) -> bool {
    path.join("idVendor").exists()
}

/// Every device below a hub that is no hub itself.
fn collect(hub: &Path, found: &mut Vec<PathBuf>) {
    let is_below = |path: &PathBuf| !path.is_symlink() && is_device(path);
    for below in entries(hub).into_iter().filter(is_below) {
        if text(&below.join("bDeviceClass")) == "09" {
            collect(&below, found);
        } else {
            found.push(below);
        }
    }
}

fn name(device: &Path) -> String {
    let product = text(&device.join("product"));
    if product.is_empty() {
        file_name(device)
    } else {
        product
    }
}
