//! Pictures as an SVG file, in the look of a dark terminal: one is a still, several are an animation by CSS.
//!
//! An element that several pictures have is in the file once, with the times at which it is visible. Where nothing
//! moves, because the viewer wants it so or cannot do it, the file shows the last picture.
mod pieces;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span;

use crate::cli::ctl::svg_file::escape;
use pieces::{BASE, Layer, Piece};

/// Lengths are in tenths of a pixel: the width and the height of a cell.
const CELL: (u32, u32) = (84, 180);
/// From the edges of the window to the cells.
const LEFT: u32 = 160;
const TOP: u32 = 400;
const BOTTOM: u32 = 120;
/// The height of the bar with the caption.
const BAR: u32 = 320;
/// Where the caption begins, behind the three dots.
const CAPTION: u32 = 760;

const FONT: &str = "ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace";
/// The colours of text, and of what is drawn in them.
const STYLE: &str = "\
svg{color:#e6edf3}text{fill:currentColor;white-space:pre}
.r{color:#ff7b72}.g{color:#7ee787}.y{color:#e3b341}.m{color:#d2a8ff}.c{color:#56d4dd}.d{color:#8b949e}.l{color:#ffa198}
.b{font-weight:bold}.f{fill:currentColor}text.i{fill:#0d1117}.s{fill:none;stroke:currentColor;stroke-width:1.2}
";

/// A length, in pixels.
fn pixels(tenths: u32) -> String {
    match tenths % 10 {
        0 => (tenths / 10).to_string(),
        tenth => format!("{}.{tenth}", tenths / 10),
    }
}

/// What is said above a picture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Banner {
    /// Keys that were pressed.
    pub keys: Vec<String>,
    pub caption: String,
}

impl Banner {
    fn pieces(&self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut x = CAPTION;
        let width = |text: &str| Span::raw(text).width() as u32 * CELL.0;
        let text = |x: u32, class: &str, text: &str| {
            format!(
                r#"<text x="{}" y="{}" textLength="{}" lengthAdjust="spacingAndGlyphs" class="{class}">{}</text>"#,
                pixels(x),
                pixels(70 + BASE),
                pixels(width(text)),
                escape(text)
            )
        };
        for (number, key) in (0..).zip(&self.keys) {
            let wide = width(key) + CELL.0 * 2;
            let (left, wide_text) = (pixels(x), pixels(wide));
            let cap =
                format!(r#"<rect class="f y" x="{left}" y="7" width="{wide_text}" height="18" rx="3"/>"#);
            pieces.push(Piece::new(Layer::Fill, 0, number, cap));
            pieces.push(Piece::new(Layer::Mark, 0, number, text(x + CELL.0, "i b", key)));
            x += wide + CELL.0;
        }
        if !self.caption.is_empty() {
            pieces.push(Piece::new(Layer::Mark, 0, u16::MAX, text(x, "b", &self.caption)));
        }
        pieces
    }
}

/// When something is visible: the numbers of the first picture that has it and of the first one after that which has not.
type Times = Vec<(usize, usize)>;
/// Elements that are visible at the same times.
type Groups = BTreeMap<(Layer, Times), String>;

/// The pictures, with the times at which each is shown.
#[derive(Debug)]
pub struct Film {
    columns: u16,
    rows: u16,
    /// When each picture begins, and when the last one ends.
    begins: Vec<Duration>,
    end: Duration,
    pieces: BTreeMap<Piece, Times>,
    /// Those of the last picture.
    last: Vec<Piece>,
}

impl Film {
    pub fn new(area: Rect) -> Self {
        Film {
            columns: area.width,
            rows: area.height,
            begins: Vec::new(),
            end: Duration::ZERO,
            pieces: BTreeMap::new(),
            last: Vec::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.begins.is_empty()
    }

    /// Adds a picture that lasts for this time. If it is the same as the last one, that lasts longer.
    pub fn add(&mut self, buffer: &Buffer, banner: &Banner, lasts: Duration) {
        let mut pieces = pieces::pieces(buffer);
        pieces.extend(banner.pieces());
        self.end += lasts;
        if !self.is_empty() && pieces == self.last {
            return;
        }
        let number = self.begins.len();
        self.begins.push(self.end - lasts);
        for piece in &pieces {
            let times = self.pieces.entry(piece.clone()).or_default();
            match times.last_mut() {
                Some((_, end)) if *end == number => *end += 1,
                _ => times.push((number, number + 1)),
            }
        }
        self.last = pieces;
    }

    /// The file.
    pub fn document(&self, title: &str, description: &str) -> String {
        let width = u32::from(self.columns) * CELL.0 + 2 * LEFT;
        let height = TOP + u32::from(self.rows) * CELL.1 + BOTTOM;
        // The border is drawn inside.
        let [inner_width, inner_height] = [width, height].map(|length| pixels(length - 10));
        let [width, height, bar] = [width, height, BAR].map(pixels);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"{width}\" height=\"{height}\" \
            viewBox=\"0 0 {width} {height}\">\n<title>{}</title>\n",
            escape(title)
        );
        if !description.is_empty() {
            // Writing to a string does not fail.
            let _ = writeln!(svg, "<desc>{}</desc>", escape(description));
        }
        let groups = self.groups();
        let _ = write!(svg, "<style>\n{STYLE}");
        self.animation(&groups, &mut svg);
        svg += "</style>\n";
        let _ = writeln!(
            svg,
            r##"<rect x="0.5" y="0.5" width="{inner_width}" height="{inner_height}" rx="8" fill="#0d1117" stroke="#30363d"/>
<path d="M0 {bar}H{width}" stroke="#30363d"/>
<circle cx="20" cy="16" r="5" fill="#ff5f57"/><circle cx="38" cy="16" r="5" fill="#febc2e"/><circle cx="56" cy="16" r="5" fill="#28c840"/>"##
        );
        if self.begins.len() > 1 {
            let _ = writeln!(
                svg,
                r##"<rect id="time" y="{bar}" width="{width}" height="1.5" fill="#58a6ff" visibility="hidden"/>"##
            );
        }
        let _ = writeln!(svg, r#"<g font-family="{FONT}" font-size="14">"#);
        for (number, ((_, times), elements)) in groups.iter().enumerate() {
            let is_last = times.last().is_some_and(|(_, end)| *end == self.begins.len());
            let hidden = if is_last { "" } else { r#" visibility="hidden""# };
            let _ = match self.is_always(times) {
                true => writeln!(svg, "<g>{elements}\n</g>"),
                false => writeln!(svg, "<g class=\"k{number}\"{hidden}>{elements}\n</g>"),
            };
        }
        svg + "</g>\n</svg>\n"
    }

    fn is_always(&self, times: &[(usize, usize)]) -> bool {
        times == [(0, self.begins.len())]
    }

    /// The elements in the order of drawing: those below the letters first.
    fn groups(&self) -> Groups {
        let mut groups = Groups::new();
        for (piece, times) in &self.pieces {
            let group = groups.entry((piece.layer(), times.clone())).or_default();
            group.push('\n');
            *group += &piece.element;
        }
        groups
    }

    /// The rules that show each group at its times, for viewers that do not ask for less motion.
    fn animation(&self, groups: &Groups, svg: &mut String) {
        if self.begins.len() < 2 {
            return;
        }
        let seconds = self.end.as_secs_f64();
        let percent = |number: usize| {
            let at = self.begins.get(number).copied().unwrap_or(self.end);
            let text = format!("{:.3}", at.as_secs_f64() / seconds * 100.0);
            text.trim_end_matches('0').trim_end_matches('.').to_string() + "%"
        };
        let _ = writeln!(svg, "/* {} pictures in {seconds:.1} seconds */", self.begins.len());
        svg.push_str("@media (prefers-reduced-motion:no-preference){\n");
        let _ = writeln!(svg, "g[class]{{animation:{seconds:.3}s step-end infinite}}");
        let _ = writeln!(svg, "#time{{visibility:visible;animation:time {seconds:.3}s linear infinite}}");
        svg.push_str("@keyframes time{from{transform:scaleX(0)}}\n");
        for (number, ((_, times), _)) in groups.iter().enumerate() {
            if self.is_always(times) {
                continue;
            }
            let _ = write!(svg, "g.k{number}{{animation-name:k{number}}}@keyframes k{number}{{");
            if times.first().is_some_and(|(begin, _)| *begin > 0) {
                svg.push_str("0%{visibility:hidden}");
            }
            for &(begin, end) in times {
                let _ = write!(svg, "{}{{visibility:visible}}", percent(begin));
                if end < self.begins.len() {
                    let _ = write!(svg, "{}{{visibility:hidden}}", percent(end));
                }
            }
            svg.push_str("}\n");
        }
        svg.push_str("}\n");
    }
}

#[cfg(test)]
mod tests {
    use ratatui::style::Style;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn picture(lines: [&str; 2]) -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 20, 2));
        for (row, line) in (0..).zip(lines) {
            buffer.set_string(0, row, line, Style::new());
        }
        buffer
    }

    fn film(pictures: &[[&str; 2]]) -> Film {
        let mut film = Film::new(Rect::new(0, 0, 20, 2));
        pictures.iter().for_each(|lines| film.add(&picture(*lines), &Banner::default(), SECOND));
        film
    }

    /// The rule for the group of an element with this text.
    fn times<'s>(svg: &'s str, text: &str) -> Option<&'s str> {
        let (before, _) = svg.split_once(&format!(">{text}</text>"))?;
        let (_, group) = before.rsplit_once("<g")?;
        let (_, class) = group.split('>').next()?.split_once("class=\"")?;
        let class = class.split('"').next()?;
        let (_, rule) = svg.split_once(&format!("@keyframes {class}{{"))?;
        rule.split_once("}\n").map(|(rule, _)| rule)
    }

    #[test]
    fn one_picture_is_a_still() {
        let svg = film(&[["one", "two"], ["one", "two"]]).document("a <title>", "");
        assert!(svg.contains("<title>a &lt;title&gt;</title>") && svg.contains(">two</text>"), "{svg}");
        for part in ["animation", "keyframes", "hidden", "<desc>", "@media"] {
            assert!(!svg.contains(part), "{part} in {svg}");
        }
    }

    #[test]
    fn a_piece_is_in_the_file_once_and_visible_in_its_pictures() {
        let film = film(&[["always", "a"], ["always", "b"], ["always", "a"], ["always", "c"]]);
        let svg = film.document("t", "what it shows");
        assert!(svg.contains("4 pictures in 4.0 seconds") && svg.contains("<desc>what it shows</desc>"));
        assert_eq!(svg.matches("<text").count(), 4, "{svg}");
        assert_eq!(times(&svg, "always"), None);
        let (visible, hidden) = ("{visibility:visible}", "{visibility:hidden}");
        let a = format!("0%{visible}25%{hidden}50%{visible}75%{hidden}");
        assert_eq!(times(&svg, "a").unwrap(), a);
        assert_eq!(times(&svg, "b").unwrap(), format!("0%{hidden}25%{visible}50%{hidden}"));
        assert_eq!(times(&svg, "c").unwrap(), format!("0%{hidden}75%{visible}"));
        // Without the rules, only the last picture is visible.
        assert_eq!(svg.matches(r#" visibility="hidden">"#).count(), 2, "{svg}");
        let (_, last) =
            svg.split_once(">c</text>").unwrap().0.rsplit_once("<g ").map(|(_, c)| ("", c)).unwrap();
        assert!(!last.contains("hidden"), "{last}");
    }

    #[test]
    fn the_same_picture_again_lasts_longer() {
        let svg = film(&[["a", ""], ["a", ""], ["a", ""], ["b", ""]]).document("t", "");
        assert!(svg.contains("2 pictures in 4.0 seconds"), "{svg}");
        assert_eq!(times(&svg, "a").unwrap(), "0%{visibility:visible}75%{visibility:hidden}");
    }

    #[test]
    fn keys_and_a_caption_are_above_the_picture() {
        let mut film = Film::new(Rect::new(0, 0, 20, 2));
        let banner = Banner { keys: vec!["k".into(), "tab".into()], caption: "a & b".into() };
        film.add(&picture(["x", ""]), &banner, SECOND);
        let svg = film.document("t", "");
        let place = |text: &str| {
            let (before, _) = svg.split_once(&format!(">{text}</text>")).unwrap();
            let (_, x) = before.rsplit_once("<text x=\"").unwrap();
            x.split('"').next().unwrap().parse::<f64>().unwrap()
        };
        assert!(76.0 < place("k") && place("k") < place("tab") && place("tab") < place("a &amp; b"));
        assert_eq!(svg.matches("<rect class=\"f y\"").count(), 2);
    }
}
