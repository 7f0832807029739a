//! Pictures of real rings, on screens of many sizes.

use super::*;
use crate::RingOptions;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

/// A ring with an item that is ready, one that is held, and one that is being written.
fn with_model(what: &str, capacity: u64, test: impl FnOnce(&Model)) {
    let name = format!("watch-view-{what}-{}", std::process::id());
    let ring = RingOptions::new().capacity(capacity).create(&name).unwrap();
    let (mut producer, mut other) = (ring.producer().unwrap(), ring.producer().unwrap());
    let mut consumer = ring.consumer().unwrap();
    producer.send(b"first").unwrap();
    producer.send(b"sec\xffond\n").unwrap();
    let held = consumer.recv().unwrap();
    let reserved = other.reserve(5).unwrap();
    let mut model = Model::new((*ring).clone()).unwrap();
    assert!(model.look_again().unwrap());
    test(&model);
    drop((held, reserved));
    ring.remove().unwrap();
}

/// As `ringctl watch` has it.
const GUIDE: Guide = Guide {
    keys: &[("q", "quit"), ("?", "help"), ("space", "pause"), ("↑ ↓", "scroll"), ("+ -", "pace")],
    help: "q: quit. Any other key closes this.",
};

fn choices(colours: bool) -> Choices {
    let interval = Duration::from_millis(100);
    Choices::new(Theme::new(colours), interval, &GUIDE)
}

fn drawn(model: &Model, choices: Choices, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| frame.render_widget(Screen::new(model, choices), frame.area())).unwrap();
    terminal.backend().to_string()
}

#[test]
fn a_small_ring_shows_what_each_slot_holds() {
    with_model("boxes", 4, |model| {
        let picture = drawn(model, choices(true), 80, 24);
        for part in
            ["READING", "READY", "WRITING", "FREE", "#0", "#1", "sec\\xffond\\n", "next in", "next out"]
        {
            assert!(picture.contains(part), "no {part} in\n{picture}");
        }
        let pid = format!("by {}", std::process::id());
        assert!(picture.contains(&pid), "{picture}");
        assert!(picture.contains("items") && picture.contains("room"), "{picture}");
    });
}

#[test]
fn any_size_can_be_drawn_on() {
    for (what, capacity) in [("tiny", 4), ("few", 8), ("many", 1024), ("buckets", 1 << 14)] {
        with_model(what, capacity, |model| {
            for width in [1, 2, 3, 7, 8, 9, 13, 20, 40, 80, 109, 110, 200] {
                for height in (1..12).chain([24, 60]) {
                    let help = (height % 2 == 0).then_some(height / 2);
                    drawn(model, Choices { help, back: 7, ..choices(help.is_some()) }, width, height);
                }
            }
        });
    }
}

#[test]
fn the_processes_of_a_command_are_listed_in_its_order_on_any_size() {
    with_model("extras", 8, |model| {
        let pid = std::process::id();
        let sizes = [1, 5, 6, 7, 8, 13, 20, 40, 80, 120];
        for (width, height) in sizes.into_iter().flat_map(|width| (1..15).map(move |height| (width, height)))
        {
            let status = Some(Line::raw("sent 2 · done 0"));
            let extras = Extras { status, order: &[7, pid], selected: Some(pid), fates: HashMap::new() };
            let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
            Screen::new(model, choices(true)).with(extras).render(buffer.area, &mut buffer);
            let picture = crate::cli::ctl::picture::text::text(&buffer, false);
            assert_eq!(picture.contains("sent 2"), width >= 6 && height >= 3, "{width}x{height}\n{picture}");
            if width >= 20 && height >= 10 {
                assert_eq!(picture.matches('▸').count(), 3, "{width}x{height}\n{picture}");
            }
        }
    });
}

#[test]
fn a_tiny_screen_still_shows_the_slots_and_what_happens() {
    with_model("20x5", 8, |model| {
        let picture = drawn(model, choices(false), 20, 5);
        assert!(picture.contains("TRW") && picture.contains("What happens"), "{picture}");
    });
}

#[test]
fn a_large_ring_is_a_row_of_heat_that_says_its_scale() {
    with_model("heat", 1 << 14, |model| {
        let picture = drawn(model, choices(true), 80, 24);
        assert!(picture.contains("16,384") && picture.contains("a cell is 32 slots"), "{picture}");
    });
}

#[test]
fn without_colours_nothing_is_coloured() {
    with_model("plain", 8, |model| {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 24));
        Screen::new(model, choices(false)).render(buffer.area, &mut buffer);
        let coloured = |cell: &&ratatui::buffer::Cell| cell.fg != ratatui::style::Color::Reset;
        assert_eq!(buffer.content.iter().find(coloured), None);
        Screen::new(model, choices(true)).render(buffer.area, &mut buffer);
        assert!(buffer.content.iter().any(|cell| coloured(&cell)));
    });
}

/// To other participants, a consumer that leaves while a guard is leaked looks as if it was killed.
#[test]
fn a_death_is_shown_with_what_was_held_also_after_its_traces_are_gone() {
    let name = format!("watch-view-death-{}", std::process::id());
    let ring = RingOptions::new().capacity(4).create(&name).unwrap();
    ring.producer().unwrap().send(b"first").unwrap();
    let mut consumer = ring.consumer().unwrap();
    std::mem::forget(consumer.recv().unwrap());
    let mut model = Model::new((*ring).clone()).unwrap();
    drop(consumer);
    for reaped in [false, true] {
        if reaped {
            ring.repair();
        }
        assert!(model.look_again().unwrap());
        for (width, height) in [(80, 24), (120, 40)] {
            let picture = drawn(&model, choices(false), width, height);
            assert!(picture.contains("died, had item 0"), "{picture}");
            assert!(picture.contains(", 1 died"), "{picture}");
        }
    }
    let deaths = model.events.iter().filter(|event| event.text.contains(" died")).count();
    assert_eq!(deaths, 1, "{:?}", model.events);
    ring.remove().unwrap();
}

#[test]
fn nothing_is_cut_while_there_is_room() {
    with_model("whole", 8, |model| {
        for (width, height) in [(80, 24), (120, 40)] {
            let picture = drawn(model, choices(false), width, height);
            let rows: Vec<&str> = picture.lines().map(|row| row.trim_matches('"').trim_end()).collect();
            for part in ["▲ next out", "no consumers asleep", "came so far", "pace"] {
                assert!(picture.contains(part), "no {part} in\n{picture}");
            }
            let command = &model.watched.last.snapshot.participants[0].command;
            let cards = rows.iter().filter(|row| row.ends_with(command.as_str())).count();
            assert_eq!(cards, 3, "{picture}");
            // The words of all sentences, which may be on several lines.
            let words: Vec<&str> = rows.iter().flat_map(|row| row.split_whitespace()).collect();
            // The smaller screen has no room for all of them.
            let shown = if height < 40 { 1 } else { model.events.len() };
            for event in model.events.iter().rev().take(shown) {
                let said: Vec<&str> = event.text.split_whitespace().collect();
                assert!(words.windows(said.len()).any(|some| some == said), "{said:?} in\n{picture}");
            }
        }
    });
}

#[test]
fn a_small_screen_stays_readable() {
    with_model("40x12", 8, |model| {
        let picture = drawn(model, choices(false), 40, 12);
        for part in ["TRW", "asleep", "Processes 3 came", "What happens", " q  quit", " ?  help"] {
            assert!(picture.contains(part), "no {part} in\n{picture}");
        }
    });
}

#[test]
fn the_help_scrolls_until_its_last_line_is_shown() {
    with_model("help", 4, |model| {
        for (width, height) in [(80, 24), (40, 12), (30, 6)] {
            let last = help::last_top(choices(false), Rect::new(0, 0, width, height));
            let page = |top| drawn(model, Choices { help: Some(top), ..choices(false) }, width, height);
            assert!(last > 0 && page(0).contains("more"), "{}", page(0));
            assert!(page(last).contains("closes"), "{}", page(last));
            assert_eq!(page(last), page(u16::MAX), "no further");
        }
        assert_eq!(help::last_top(choices(false), Rect::new(0, 0, 120, 60)), 0);
    });
}
