//! Reads an SVG file of recorded pictures, and checks on the way that it is well-formed and has nothing but pictures.

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

const ELEMENTS: [&str; 9] = ["svg", "title", "desc", "style", "rect", "path", "circle", "g", "text"];

/// A text with its place, in pixels.
#[derive(Debug, Default)]
pub struct Text {
    pub x: f64,
    pub y: f64,
    pub text: String,
    /// Whether it is in the last picture.
    pub is_last: bool,
}

#[derive(Debug, Default)]
pub struct Svg {
    pub texts: Vec<Text>,
    pub title: String,
    pub description: String,
    style: String,
}

/// The name of an element, whose attributes are well-formed.
fn name(element: &BytesStart) -> String {
    let name = String::from_utf8(element.name().as_ref().to_vec()).unwrap();
    assert!(ELEMENTS.contains(&name.as_str()), "an element {name}");
    element.attributes().for_each(|attribute| assert!(attribute.is_ok(), "{attribute:?}"));
    name
}

fn attribute(element: &BytesStart, name: &str) -> Option<String> {
    let found = element.attributes().map(|attribute| attribute.expect("an attribute"));
    let found = found.filter(|attribute| attribute.key.as_ref() == name.as_bytes()).last()?;
    Some(String::from_utf8(found.value.into_owned()).unwrap())
}

impl Svg {
    pub fn read(file: &str) -> Svg {
        let mut reader = Reader::from_str(file);
        let mut svg = Svg::default();
        // The open elements, and whether each is hidden.
        let mut open: Vec<(String, bool)> = Vec::new();
        let mut content = String::new();
        loop {
            let event = reader.read_event().unwrap_or_else(|error| panic!("{error} in {file}"));
            match event {
                Event::Eof => break,
                Event::Start(element) => {
                    let name = name(&element);
                    let is_hidden = attribute(&element, "visibility").is_some();
                    if name == "text" {
                        let number = |name: &str| attribute(&element, name).unwrap().parse().unwrap();
                        let is_last = open.iter().all(|(_, is_hidden)| !is_hidden);
                        svg.texts.push(Text { x: number("x"), y: number("y"), is_last, ..Text::default() });
                    }
                    open.push((name, is_hidden));
                    content.clear();
                }
                Event::Empty(element) => {
                    name(&element);
                }
                Event::Text(text) => content += &text.xml_content(XmlVersion::default()).unwrap(),
                Event::GeneralRef(name) => {
                    let name = name.decode().unwrap();
                    content += quick_xml::escape::resolve_xml_entity(&name).expect("an entity of XML");
                }
                Event::End(_) => {
                    let (name, _) = open.pop().expect("checked by the reader");
                    match name.as_str() {
                        "text" => svg.texts.last_mut().unwrap().text = content.clone(),
                        "title" => svg.title = content.clone(),
                        "desc" => svg.description = content.clone(),
                        "style" => svg.style = content.clone(),
                        _ => {}
                    }
                    content.clear();
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(open.is_empty(), "not closed: {open:?}");
        svg
    }

    /// The number of pictures and the seconds of an animation.
    pub fn length(&self) -> Option<(usize, f64)> {
        let (_, rest) = self.style.split_once("/* ")?;
        let words: Vec<&str> = rest.split(' ').collect();
        let [pictures, "pictures", "in", seconds, "seconds", ..] = words[..] else { panic!("{words:?}") };
        Some((pictures.parse().unwrap(), seconds.parse().unwrap()))
    }

    pub fn is_animated(&self) -> bool {
        self.style.contains("animation")
    }

    /// Whether any picture has a text with this part.
    pub fn has(&self, part: &str) -> bool {
        self.texts.iter().any(|text| text.text.contains(part))
    }

    /// The rows of the last picture without lines and trailing blanks; the caption is not one of them.
    pub fn last_rows(&self) -> Vec<String> {
        let mut rows: Vec<String> = Vec::new();
        let mut texts: Vec<&Text> = self.texts.iter().filter(|text| text.is_last && text.y > 40.0).collect();
        texts.sort_by(|one, other| (one.y, one.x).partial_cmp(&(other.y, other.x)).unwrap());
        for text in texts {
            let row = ((text.y - 53.0) / 18.0).round() as usize;
            let column = ((text.x - 16.0) / 8.4).round() as usize;
            rows.resize(rows.len().max(row + 1), String::new());
            let before = rows[row].chars().count();
            assert!(before <= column, "{text:?} covers {:?}", rows[row]);
            rows[row] += &(" ".repeat(column - before) + &text.text);
        }
        rows
    }
}
