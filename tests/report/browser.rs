//! Pages in headless Chromium: what a reader's browser makes of them, on a telephone and on a wide screen.
//!
//! The page is shown in frames of these widths (a window cannot be as narrow as a telephone), with a script put into it
//! that waits for every picture and then tells what it sees. Chromium writes that down as the DOM of the outer page.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

/// Widths in CSS pixels.
const WIDTHS: [u32; 2] = [390, 1280];
const PATIENCE: Duration = Duration::from_secs(120);
/// Starts of Chromium before a test gives up: on a busy machine it sometimes ends without having written a page.
const STARTS: usize = 4;
/// One Chromium at a time: each takes several processes and hundreds of megabytes.
static TURN: Mutex<()> = Mutex::new(());

/// What the page tells of itself at one width.
#[derive(Debug, Deserialize)]
pub struct Seen {
    pub width: u32,
    /// Pixels by which the content is wider than the window, and what sticks out.
    pub overflow: i64,
    pub too_wide: Vec<String>,
    pub images: usize,
    /// `alt` of images that did not load.
    pub broken: Vec<String>,
    /// Images and drawings that say nothing to readers who do not see them.
    pub silent: usize,
    pub headings: Vec<String>,
    /// Errors of scripts, failed resources, violations of the page's own policy, and all that is on the console.
    pub errors: Vec<String>,
    /// Addresses of everything that was fetched, but for what lies in the page itself.
    pub fetched: Vec<String>,
    pub title: String,
}

/// Collects what goes wrong from the start.
const WATCH: &str = "<script>window.wrong = [];
addEventListener('error', e => wrong.push(e.message || 'not loaded: ' + (e.target.src || e.target.href)), true);
addEventListener('securitypolicyviolation', e => wrong.push(e.violatedDirective + ': ' + e.blockedURI));
</script>";

/// Tells the frame's parent what is seen, when all is there.
const TELL: &str = "<script>addEventListener('load', async () => {
  const images = [...document.images];
  images.forEach(image => image.loading = 'eager');
  // Of a picture that is refused, decoding never ends.
  const patience = new Promise(done => setTimeout(done, 5000));
  await Promise.race([patience, Promise.all(images.map(image => image.decode().catch(() => {})))]);
  const page = document.documentElement;
  const inside = e => !e.closest('.scroll, .aloud') || e.matches('.scroll');
  const wide = [...document.body.querySelectorAll('*')].filter(inside)
    .filter(e => e.getBoundingClientRect().right > page.clientWidth + 1);
  const named = e => e.alt || e.querySelector('title')?.textContent.trim();
  parent.postMessage(JSON.stringify({
    width: innerWidth, overflow: page.scrollWidth - page.clientWidth,
    too_wide: wide.slice(0, 9).map(e => e.tagName + '.' + e.getAttribute('class') + ' ' + e.textContent.slice(0, 40)),
    images: images.length, broken: images.filter(i => i.naturalWidth === 0).map(i => i.alt),
    silent: [...document.querySelectorAll('img, svg')].filter(e => !named(e)).length,
    headings: [...document.querySelectorAll('h1, h2, h3')].map(h => h.textContent), errors: wrong,
    fetched: performance.getEntriesByType('resource').map(e => e.name).filter(name => !name.startsWith('data:')),
    title: document.title,
  }), '*');
});</script>";

/// Loads a page from its file and tells what is seen at each width; `None`, with a message, where no Chromium is.
/// `SML_REQUIRE_BROWSER=1` makes that a failure.
pub fn look_at(page: &Path) -> Option<Vec<Seen>> {
    let Some(chromium) = chromium() else {
        let required = std::env::var_os("SML_REQUIRE_BROWSER").is_some_and(|value| value == "1");
        assert!(!required, "there is no Chromium in PATH and SML_REQUIRE_BROWSER=1");
        println!("skipped: there is no Chromium in PATH to look at {}", page.display());
        return None;
    };
    let html = std::fs::read_to_string(page).unwrap();
    let folder = page.parent().unwrap();
    std::fs::write(folder.join("watched.html"), watched(&html)).unwrap();
    let frame =
        |width: &u32| format!("<iframe src=\"watched.html\" width=\"{width}\" height=\"900\"></iframe>");
    let frames: String = WIDTHS.iter().map(frame).collect();
    let outer = format!(
        "<!doctype html><meta charset=\"utf-8\"><style>iframe {{ border: 0 }}</style><pre></pre><script>
         const told = [];
         addEventListener('message', e => {{
           told.push(JSON.parse(e.data));
           const text = JSON.stringify(told);
           document.querySelector('pre').textContent = text.replace(/[<>&]/g, c => '\\\\u00' + c.charCodeAt(0).toString(16));
         }});</script>{frames}"
    );
    std::fs::write(folder.join("frames.html"), outer).unwrap();
    let (dom, log) = dom_and_log(&chromium, &folder.join("frames.html"));
    let told = dom.split_once("<pre>").and_then(|(_, rest)| rest.split_once("</pre>"));
    let told = told.unwrap_or_else(|| panic!("Chromium tells nothing: {dom}\n{log}")).0;
    let mut seen: Vec<Seen> =
        serde_json::from_str(told).unwrap_or_else(|error| panic!("{error} in {told:?}: {log}"));
    seen.sort_by_key(|seen| seen.width);
    assert_eq!(seen.iter().map(|seen| seen.width).collect::<Vec<_>>(), WIDTHS, "{seen:#?}");
    // Whatever a page writes to the console is an error here: these pages have nothing to say.
    let console: Vec<String> =
        log.lines().filter(|line| line.contains(":CONSOLE")).map(str::to_owned).collect();
    seen.iter_mut().for_each(|seen| seen.errors.extend(console.clone()));
    Some(seen)
}

/// The page with the scripts, which its own policy would not let in.
fn watched(html: &str) -> String {
    let html = html.replacen("default-src 'none';", "default-src 'none'; script-src 'unsafe-inline';", 1);
    let (before, after) = html.split_once("<title>").unwrap();
    let (inner, end) = after.rsplit_once("</body>").unwrap();
    format!("{before}{WATCH}<title>{inner}{TELL}</body>{end}")
}

/// DOM and log of a page, of the first start that wrote a page.
fn dom_and_log(chromium: &Path, page: &Path) -> (String, String) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut last = (String::new(), String::new());
    for _ in 0..STARTS {
        last = start(chromium, page);
        if last.0.contains("</pre>") {
            break;
        }
    }
    last
}

/// DOM and log of one start.
fn start(chromium: &Path, page: &Path) -> (String, String) {
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new(chromium);
    command.args([
        "--headless",
        "--disable-gpu",
        // Shared memory is small in containers; a page that does not fit ends Chromium without a word.
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--enable-logging=stderr",
        "--window-size=1400,1000",
        "--virtual-time-budget=20000",
        "--dump-dom",
    ]);
    if is_root() {
        command.arg("--no-sandbox");
    }
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    command.arg(format!("file://{}", page.canonicalize().unwrap().display()));
    let (out, err) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    command.stdin(Stdio::null()).stdout(out.reopen().unwrap()).stderr(err.reopen().unwrap());
    let mut child = command.spawn().unwrap();
    let start = Instant::now();
    let text = |file: &tempfile::NamedTempFile| {
        String::from_utf8_lossy(&std::fs::read(file.path()).unwrap()).into_owned()
    };
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("Chromium did not end within {PATIENCE:?}: {}", text(&err));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    (text(&out), text(&err))
}

/// Chromium refuses to sandbox itself for root.
fn is_root() -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata("/proc/self").is_ok_and(|myself| myself.uid() == 0)
    }
    #[cfg(not(unix))]
    false
}

fn chromium() -> Option<PathBuf> {
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|path| path.is_file())
}

/// Asserts what holds for every page at every width.
pub fn assert_sound(seen: &[Seen]) {
    for seen in seen {
        assert!(seen.overflow <= 0 && seen.too_wide.is_empty(), "too wide at {}: {seen:#?}", seen.width);
        assert!(seen.broken.is_empty(), "not loaded: {:?}", seen.broken);
        assert_eq!(seen.silent, 0, "pictures without a text");
        assert!(seen.errors.is_empty(), "{:?}", seen.errors);
        let foreign: Vec<&String> = seen.fetched.iter().filter(|url| !url.starts_with("file:")).collect();
        assert!(foreign.is_empty(), "from the network: {foreign:?}");
    }
}
