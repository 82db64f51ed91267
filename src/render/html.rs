//! Parts of web pages that the pages of this crate share.
//!
//! Every text from outside goes through [`escape`]: names of files, scores and classes may hold anything.

/// The style of every page: light and dark, wide and narrow, on paper.
const STYLE: &str = include_str!("report.css");

/// A whole page. `head` is more for its head, `body` what follows the heading; both are HTML, `title` and
/// `introduction` are not.
pub(super) fn page(title: &str, introduction: &str, head: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n{head}<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n{}</header>\n{body}</body>\n</html>\n",
        paragraph("", introduction)
    )
}

/// A paragraph, unless the text is empty. `attributes` begin with a space.
pub(super) fn paragraph(attributes: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("<p{attributes}>{}</p>\n", escape(text)) }
}

/// A cell of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cell {
    pub(super) text: String,
    /// The best of its column: bold, and said aloud.
    pub(super) best: bool,
}

impl Cell {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), best: false }
    }
}

/// A table whose first column heads its rows. It scrolls by itself where the page is too narrow. Empty without rows.
pub(super) fn table(caption: &str, heads: &[&str], rows: &[(String, Vec<Cell>)]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let caption = escape(caption);
    let heads: String =
        heads.iter().map(|head| format!("<th scope=\"col\">{}</th>", breakable(head))).collect();
    let rows: String = rows
        .iter()
        .map(|(name, cells)| {
            let cells: String = cells.iter().map(cell).collect();
            format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", breakable(name))
        })
        .collect();
    // A region that scrolls must be reachable by the keyboard.
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\"><table>\n\
         <caption><span>{caption}</span></caption>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

/// A name that may go on in the next line where its parts meet, so that it leaves room for numbers.
pub(super) fn breakable(name: &str) -> String {
    escape(name).replace('+', "+<wbr>").replace('/', "/<wbr>")
}

fn cell(Cell { text, best }: &Cell) -> String {
    let text = escape(text);
    match best {
        true => format!("<td class=\"best\">{text}<span class=\"aloud\"> best</span></td>"),
        false => format!("<td>{text}</td>"),
    }
}

/// Names with values. Empty without any.
pub(super) fn facts<'a>(facts: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let items: String = facts
        .into_iter()
        .map(|(name, value)| format!("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(value)))
        .collect();
    if items.is_empty() { items } else { format!("<dl>\n{items}</dl>\n") }
}

/// The colours of classes, by their names. Empty without any.
pub(super) fn legend<'a>(classes: impl IntoIterator<Item = (&'a str, [u8; 3])>) -> String {
    let items: String = classes
        .into_iter()
        .map(|(name, [r, g, b])| {
            let name = escape(name);
            format!("<li><span style=\"background:#{r:02x}{g:02x}{b:02x}\"></span>{name}</li>\n")
        })
        .collect();
    if items.is_empty() {
        items
    } else {
        format!("<ul class=\"legend\" aria-label=\"Colours of the prediction\">\n{items}</ul>\n")
    }
}

/// Pictures in a row, `figures` of them as HTML.
pub(super) fn strip(figures: &[String]) -> String {
    format!(
        "<div class=\"strip\" style=\"--pictures:{}\">\n{}</div>\n",
        figures.len().max(1),
        figures.concat()
    )
}

/// Text as HTML, in elements and in quoted attributes. Control characters, and those that turn the direction of what
/// follows, would let a name disturb its surroundings: each becomes U+FFFD.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' => escaped.push(letter),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => escaped.push('\u{fffd}'),
            _ if letter.is_control() => escaped.push('\u{fffd}'),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// A path as a link (RFC 3986): whatever means something else in a link is written as its bytes. The leading `./`
/// keeps it below the page's folder, and a name with a colon from being read as a scheme.
pub(super) fn link(path: &str) -> String {
    let mut link = String::from("./");
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                link.push(char::from(byte));
            }
            _ => link.push_str(&format!("%{byte:02X}")),
        }
    }
    link
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Panics unless every element is closed, in order.
    pub(crate) fn assert_well_formed(html: &str) {
        let mut open = Vec::new();
        for tag in html.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').unwrap_or_else(|| panic!("a tag does not end: {tag}"));
            let name = tag.split([' ', '\n']).next().unwrap();
            match name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name)),
                None if tag.ends_with('/') || ["!doctype", "meta", "img", "input", "wbr"].contains(&name) => {
                }
                None => open.push(name),
            }
        }
        assert_eq!(open, [""; 0]);
    }

    #[test]
    fn texts_are_harmless() {
        assert_eq!(escape("<a href='x'>&\"\n"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;\n");
        assert_eq!(escape("a\0b\u{1b}c\u{202e}d\u{2067}é"), "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}é");
    }

    #[test]
    fn links_stay_below_the_page() {
        assert_eq!(link("a b/é#?.png"), "./a%20b/%C3%A9%23%3F.png");
        assert_eq!(link("javascript:1"), "./javascript%3A1");
    }

    #[test]
    fn the_best_is_not_told_by_colour_alone() {
        let rows = [("a".to_owned(), vec![Cell { text: "1".into(), best: true }, Cell::plain("2")])];
        let html = table("c", &["", "x", "y"], &rows);
        assert!(
            html.contains("<td class=\"best\">1<span class=\"aloud\"> best</span></td><td>2</td>"),
            "{html}"
        );
        assert_eq!(table("c", &["x"], &[]), "");
    }
}
