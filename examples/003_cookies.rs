//! Text 003, first part: a queue of 10 between Marge, who bakes cookies, and Homer, who eats them.
//!
//! *What it does.* Each Marge bakes a cookie every `idnum` seconds and puts it into `queue.Queue(maxsize = 10)`,
//! which blocks while it is full; each Homer looks every 0.1 seconds, does nothing when the queue is empty, and
//! prints what he got otherwise. The sides run at different rates, which is what the queue is for.
//!
//! *Right:* the queue hides lock and conditions; no other code touches them. *Wrong:* `get()` blocks and so never
//! raises `queue.Empty`: `get_nowait()` or `get(timeout=...)` is meant. And Homer's loop never ends: he does not
//! learn that Marge has gone.
//!
//! *Here:* the default discipline, and all three ways to get, one for each Homer: `recv` blocks, `recv_timeout` waits
//! for a while, `try_recv` answers `Empty` at once. When every Marge has gone and the jar is empty, each of the three
//! answers `Ended`.
//!
//! ```sh
//! ringctl create cookiejar --capacity 10
//! yes cookie | producer cookiejar -n 20 --rate 10 & consumer cookiejar --timeout 1s
//! ```

mod common;

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use clap::Parser;
use common::{Cast, Part, Result, ensure, perform, say};
use ringpipe::{Error, RingOptions};

/// Text 003: Marge puts cookies into a queue of 10, Homer gets them
#[derive(Parser)]
struct Options {
    /// Cookies of each Marge
    #[arg(long, value_name = "N", default_value_t = 5)]
    messages: u64,
    /// How long a second of the text lasts here
    #[arg(long, value_name = "DUR", default_value = "200ms", value_parser = humantime::parse_duration)]
    second: Duration,
    #[command(flatten)]
    part: Part,
}

/// The number of Marges, and of Homers. Each Homer gets cookies in another way.
const EACH: u64 = 3;

fn main() -> ExitCode {
    let options = Options::parse();
    perform(&options.part, |part| match part.role() {
        "marge" => marge(&options, part.number()),
        "homer" => homer(&options, part.number() - 1),
        _ => direct(&options),
    })
}

fn direct(options: &Options) -> Result {
    let mut cast = Cast::new();
    let name = cast.name("cookiejar");
    let jar = RingOptions::new().capacity(10).expected_producers(EACH as u32).create(&name)?;
    for number in 1..=EACH {
        cast.start("homer", number, &name)?;
        cast.start("marge", number, &name)?;
    }
    cast.wait()?;
    let totals = jar.snapshot()?.totals;
    jar.remove()?;
    say(format_args!("\n{} cookies baked, {} eaten", totals.sent, totals.acknowledged));
    let wanted = EACH * options.messages;
    ensure(totals.sent == wanted && totals.acknowledged == wanted, "every cookie is eaten")
}

fn marge(options: &Options, idnum: u64) -> Result {
    let mut cookiejar = options.part.ring()?.producer()?.typed::<u64>();
    for _ in 0..options.messages {
        sleep(options.second * idnum as u32);
        cookiejar.send(&idnum)?;
    }
    Ok(())
}

fn homer(options: &Options, idnum: u64) -> Result {
    let mut cookiejar = options.part.ring()?.consumer()?.typed::<u64>();
    let mut looks = 0;
    let (how, mut passed) = (["blocks", "waits half a second", "does not wait"][idnum as usize], 0);
    loop {
        sleep(options.second / 10);
        looks += 1;
        let cookie = match idnum {
            0 => cookiejar.recv(),
            1 => cookiejar.recv_timeout(options.second / 2),
            _ => cookiejar.try_recv(),
        };
        match cookie {
            Ok(cookie) => {
                say(format_args!("consumer  {}  got =>  {}", idnum + 1, *cookie));
                cookie.ack();
            }
            Err(Error::Empty | Error::TimedOut) => passed += 1, // except queue.Empty: pass
            Err(Error::Ended) => break,
            Err(error) => return Err(error.into()),
        }
    }
    say(format_args!("consumer  {}  whose get {how}: {passed} of {looks} looks found nothing", idnum + 1));
    Ok(())
}
