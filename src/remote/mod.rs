//! The phone remote: one page, built into the binary from the plain files beside this one.
//!
//! No framework and no build step: what is here is what the browser gets. Everything is served
//! from the rig itself, so the page works without an internet and under a strict
//! `Content-Security-Policy` (`default-src 'self'`: no inline script, no inline style).
//!
//! `rigd-client.js` is for other people's pages and programs too; its top tells how.
//!
//! A new file needs a line in [`ASSETS`]; the tests below name what is missing.

/// One file of the page.
#[derive(Debug)]
pub struct Asset {
    /// The path of the URL, with its slash.
    pub path: &'static str,
    /// For the `Content-Type` header.
    pub content_type: &'static str,
    /// The file.
    pub body: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! asset {
    ($path:literal, $content_type:expr, $file:literal) => {
        Asset {
            path: $path,
            content_type: $content_type,
            body: include_bytes!($file),
        }
    };
}

/// Every file of the page.
pub static ASSETS: &[Asset] = &[
    asset!("/", HTML, "index.html"),
    asset!("/wifi", HTML, "wifi.html"),
    asset!("/remote.css", CSS, "remote.css"),
    asset!("/icon.svg", SVG, "icon.svg"),
    asset!("/remote.js", JS, "remote.js"),
    asset!("/rigd-client.js", JS, "rigd-client.js"),
    asset!("/rigd-line.js", JS, "rigd-line.js"),
    asset!("/rig-state.js", JS, "rig-state.js"),
    asset!("/units.js", JS, "units.js"),
    asset!("/slider.js", JS, "slider.js"),
    asset!("/plugin-card.js", JS, "plugin-card.js"),
    asset!("/track-card.js", JS, "track-card.js"),
    asset!("/meters.js", JS, "meters.js"),
    asset!("/rights.js", JS, "rights.js"),
    asset!("/people.js", JS, "people.js"),
    asset!("/joining.js", JS, "joining.js"),
    asset!("/device.js", JS, "device.js"),
    asset!("/updating.js", JS, "updating.js"),
    asset!("/wifi.js", JS, "wifi.js"),
    asset!("/portal.js", JS, "portal.js"),
    asset!("/view.js", JS, "view.js"),
];

/// The asset at a URL's path (without query), if there is one.
pub fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: [&str; 2] = ["/", "/wifi"];
    /// By what one page is opened from another network's window.
    const OWN_NAME: &str = "http://rig.local/";

    fn text(path: &str) -> &'static str {
        let asset = find(path).unwrap_or_else(|| panic!("{path} is not served"));
        std::str::from_utf8(asset.body).unwrap_or_else(|_| panic!("{path} is not UTF-8"))
    }

    /// What stands between `before` and the next `"`, everywhere in `text`.
    fn quoted_after<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
        text.split(before)
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect()
    }

    #[test]
    fn everything_that_the_page_refers_to_is_served() {
        let mut references = Vec::new();
        for page in PAGES.map(text) {
            references.extend(quoted_after(page, "src=\""));
            references.extend(quoted_after(page, "href=\""));
        }
        references.retain(|path| *path != OWN_NAME);
        assert!(references.contains(&"/remote.js"), "{references:?}");
        for path in references {
            assert!(
                find(path).is_some(),
                "a page refers to {path}, which is not served"
            );
        }
    }

    #[test]
    fn every_module_that_a_script_imports_is_served_and_preloaded() {
        let page = text("/");
        for asset in ASSETS.iter().filter(|asset| asset.content_type == JS) {
            for import in quoted_after(text(asset.path), "from \".") {
                assert!(
                    find(import).is_some(),
                    "{} imports {import}, which is not served",
                    asset.path
                );
                let preload = format!("<link rel=\"modulepreload\" href=\"{import}\">");
                assert!(
                    page.contains(&preload),
                    "index.html does not preload {import}"
                );
            }
        }
    }

    #[test]
    fn nothing_needs_more_than_a_strict_content_security_policy() {
        for page in PAGES.map(text) {
            assert!(!page.contains("style="), "an inline style");
            assert!(!page.contains("<style"), "an inline style sheet");
            for rest in page.split(" on").skip(1) {
                let after = rest.trim_start_matches(|letter: char| letter.is_ascii_lowercase());
                assert!(
                    !after.starts_with('='),
                    "an inline handler: {}",
                    &rest[..20]
                );
            }
            assert_eq!(
                page.matches("<script").count(),
                page.matches("<script type=\"module\" src=").count()
            );
        }
        for path in ["/", "/remote.css"] {
            assert!(!text(path).contains("//"), "{path} names another host");
        }
    }

    #[test]
    fn paths_are_exact() {
        assert_eq!(find("/").map(|asset| asset.content_type), Some(HTML));
        for path in [
            "",
            "/index.html",
            "/remote.js/",
            "/../Cargo.toml",
            "/mod.rs",
        ] {
            assert!(find(path).is_none(), "{path:?} is served");
        }
    }
}
