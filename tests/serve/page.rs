//! The page in headless Chromium, on a telephone and on a wide screen, in the light and in the dark.

use serde_json::Value;

use crate::chromium::Chromium;
use crate::server::Server;

/// What is seen of the page, once everything is there.
const SEEN: &str = "(() => {
  const page = document.documentElement;
  const inside = e => !e.closest('.scroll, .aloud') || e.matches('.scroll');
  const picture = document.querySelector('#picture img');
  return {
    overflow: page.scrollWidth - page.clientWidth,
    too_wide: [...document.body.querySelectorAll('*')].filter(inside)
      .filter(e => e.getBoundingClientRect().right > page.clientWidth + 1).map(e => e.outerHTML.slice(0, 80)),
    picture: [picture.naturalWidth, picture.naturalHeight, Math.round(picture.getBoundingClientRect().width)],
    alt: picture.alt,
    status: document.getElementById('status').textContent,
    facts: document.getElementById('facts').textContent,
    obstacles: [...document.querySelectorAll('#list tbody tr')].map(row => [...row.cells].map(cell => cell.textContent)),
    none: !document.getElementById('none').hidden,
    areas: document.querySelectorAll('#chart polygon').length,
    points: document.querySelector('#chart polyline').points.length,
    chart_title: document.querySelector('#chart svg title').textContent,
    rows: [...document.querySelectorAll('#parts tbody tr')].map(row => [...row.cells].map(cell => cell.textContent)),
    ink: getComputedStyle(document.body).color, paper: getComputedStyle(document.body).backgroundColor,
    area: getComputedStyle(document.querySelector('#chart .part-2')).fill,
  };
})()";

/// Everything that one frame brings is shown.
const THERE: &str = "document.querySelector('#picture img')?.complete === true \
                     && document.querySelector('#chart polyline') !== null \
                     && document.getElementById('facts').textContent.startsWith('Frame 4,')";

fn look(browser: &mut Chromium, url: &str, width: u32, scheme: &str) -> Value {
    browser.open(url, width, scheme);
    browser.wait_until(THERE);
    let seen = browser.value(SEEN);
    assert!(seen["overflow"].as_i64().unwrap() <= 0, "too wide at {width}: {seen:#}");
    assert_eq!(seen["too_wide"], Value::Array(Vec::new()), "at {width}");
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
    let foreign: Vec<String> = browser
        .requested()
        .into_iter()
        .filter(|address| !address.starts_with(url) && !address.starts_with("data:"))
        .collect();
    assert!(foreign.is_empty(), "from elsewhere: {foreign:?}");
    seen
}

#[test]
fn picture_obstacles_and_chart_are_seen() {
    let Some(mut browser) = Chromium::start() else { return };
    let server = Server::start(5, &[]);
    let url = format!("http://{}/", server.address);
    server.wait_for_the_end();
    let mut papers = Vec::new();
    for (width, scheme) in [(390, "light"), (1280, "light"), (1280, "dark"), (390, "dark")] {
        let seen = look(&mut browser, &url, width, scheme);
        assert_eq!((&seen["picture"][0], &seen["picture"][1]), (&512.into(), &256.into()));
        let drawn = seen["picture"][2].as_u64().unwrap();
        assert!(drawn > u64::from(width) / 2 && drawn <= u64::from(width), "{seen:#}");
        assert!(seen["alt"].as_str().unwrap().starts_with("Picture 4 with a heat map"), "{seen:#}");
        assert_eq!(seen["status"], "The source has ended: 5 frames.");
        assert_eq!((&seen["areas"], &seen["points"]), (&8.into(), &5.into()), "{seen:#}");
        assert!(seen["chart_title"].as_str().unwrap().contains("newest 5 frames"), "{seen:#}");
        let state = server.wait_for_the_end();
        let found = state["obstacles"].as_array().unwrap();
        let listed = seen["obstacles"].as_array().unwrap();
        assert!(!found.is_empty() && listed.len() == found.len() && seen["none"] == false, "{seen:#}");
        for (found, listed) in found.iter().zip(listed) {
            assert_eq!(listed[0], format!("#{}", found["id"]));
            assert_eq!(listed[3], found["area"].to_string());
            assert_eq!(listed[4], found["surroundings"]);
        }
        let rows = seen["rows"].as_array().unwrap();
        assert_eq!((rows.len(), &rows[2][0], &rows[8][0]), (9, &"backbone".into(), &"whole frame".into()));
        let medians: Vec<f64> = rows.iter().map(|row| row[1].as_str().unwrap().parse().unwrap()).collect();
        assert!(medians[2] > 0.0 && medians[8] >= medians[2], "{medians:?}");
        assert_ne!(seen["ink"], seen["paper"]);
        assert_eq!(seen["area"], "rgb(176, 122, 0)", "the style of the chart is let in");
        papers.push(seen["paper"].clone());
    }
    assert!(papers[0] == papers[1] && papers[2] == papers[3] && papers[0] != papers[2], "{papers:?}");
    if let Some(file) = std::env::var_os("SML_SCREENSHOT") {
        look(&mut browser, &url, 1280, "light");
        std::fs::write(file, browser.screenshot()).unwrap();
    }
}

#[test]
fn frames_appear_one_after_the_other_and_a_lost_connection_is_told() {
    let Some(mut browser) = Chromium::start() else { return };
    let server = Server::start(10, &[]);
    let url = format!("http://{}/", server.address);
    browser.open(&url, 1280, "light");
    browser.wait_until("document.querySelector('#picture img') !== null");
    browser.wait_until("document.getElementById('facts').textContent.startsWith('Frame 9,')");
    let pictures = browser.requested().iter().filter(|address| address.contains("/frame.jpg?id=")).count();
    assert!((1..=10).contains(&pictures), "{pictures} pictures");
    assert_eq!(browser.complaints(), [""; 0]);
    drop(server);
    browser.wait_until("document.getElementById('status').textContent.startsWith('Connection lost')");
}
