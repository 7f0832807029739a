//! Text 002: a condition variable. The producer makes goods up to 5, wakes all consumers, and waits; consumers with
//! money for 7 compete for the goods, and wake the producer when nothing is left.
//!
//! What it prints:
//!
//! | text | here |
//! |---|---|
//! | 生产了1个，现在有{0}个 | produced 1, now there are {0} |
//! | 已达到5个，不再生产 | there are 5, no more is produced |
//! | 没货了，{0}通知生产者 | nothing left, {0} tells the producer |
//! | {0}消费了1个, 剩余{1}个 | {0} consumed 1, {1} left |
//! | {0}没钱了-回老家 | {0} has no money left - goes home |
//!
//! *Right:* `wait` releases the lock, `notify_all` wakes all waiters, and a consumer takes the lock anew for each
//! purchase, so that all may compete. *Wrong:* the producer holds the lock while it sleeps a second for each piece,
//! and consumers starve meanwhile; `if num <= 0: wait()` instead of `while`, so that of two consumers one takes from
//! an empty shelf; consumers look at `money` without the lock, and two spend the same coin; and no process ends the
//! producer. (`cargo run --example naive -- lock-while-producing` and `-- if-not-while`.)
//!
//! *Here:* `Discipline::Monitor` with `wake_at: 5` and `resume_at: 0` keeps the text's rhythm: consumers that found
//! nothing go on at 5, and the producer goes on at 0. No lock is held while something is made, and a woken consumer
//! looks again. The money is a second ring, with a coin in each of 7 items: no coin is spent twice, and if a consumer
//! is killed during a purchase, the others get both coin and goods. When the consumers have gone home, the ring is
//! closed, and the producer ends.
//!
//! ```sh
//! ringctl create goods --sync monitor --wake-at 5 --resume-at 0
//! seq 100 | producer goods --delay 1s & consumer goods -n 7; ringctl rm goods
//! ```

mod common;

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use clap::Parser;
use common::{Cast, Part, Result, ensure, perform, say};
use ringpipe::{Discipline, Error, Ring, RingOptions, Thresholds};

/// Text 002: produce up to 5, notify all, wait; consumers with a budget compete
#[derive(Parser)]
struct Options {
    /// How long a second of the text lasts here
    #[arg(long, value_name = "DUR", default_value = "300ms", value_parser = humantime::parse_duration)]
    second: Duration,
    /// Coins of all consumers together
    #[arg(long, value_name = "N", default_value_t = 7)]
    money: u64,
    /// Consumers
    #[arg(long, value_name = "N", default_value_t = 2)]
    consumers: u64,
    #[command(flatten)]
    part: Part,
}

/// The producer makes goods up to this number.
const LEVEL: u64 = 5;

fn main() -> ExitCode {
    let options = Options::parse();
    perform(&options.part, |part| match part.role() {
        "producer" => produce(&options),
        "consumer" => consume(&options),
        _ => direct(&options),
    })
}

fn direct(options: &Options) -> Result {
    let mut cast = Cast::new();
    let (name, purse) = (cast.name("goods"), cast.name("money"));
    let money = RingOptions::new().capacity(options.money.max(2)).create(&purse)?;
    let monitor = Discipline::Monitor(Thresholds { wake_at: LEVEL, resume_at: Some(0) });
    let goods = RingOptions::new().capacity(8).sync(monitor).create(&name)?;
    let mut mint = money.producer()?.typed::<u64>();
    (1..=options.money).try_for_each(|coin| mint.send(&coin))?;
    drop(mint);
    let both = format!("{name} {purse}");
    cast.start("producer", 1, &both)?;
    (1..=options.consumers).try_for_each(|number| cast.start("consumer", number, &both))?;
    cast.wait_for("consumer")?;
    goods.close();
    cast.wait()?;
    let bought = goods.snapshot()?.totals.acknowledged;
    let left = goods.snapshot()?.ready;
    goods.remove()?;
    money.remove()?;
    say(format_args!("\n{bought} bought with {} coins; {left} left on the shelf", options.money));
    ensure(bought == options.money, "as many goods as coins")
}

/// The goods and the money.
fn rings(part: &Part) -> Result<(Ring, Ring)> {
    let (goods, money) = part.name().split_once(' ').ok_or("two names are expected")?;
    Ok((Ring::open(goods)?, Ring::open(money)?))
}

fn produce(options: &Options) -> Result {
    let (goods, _) = rings(&options.part)?;
    let mut shelf = goods.producer()?.typed::<u64>();
    for piece in 1.. {
        // In the text the lock is held here, and no other thread can do anything.
        sleep(options.second);
        let before = goods.snapshot()?.ready;
        let there = match shelf.try_send(&piece) {
            Ok(()) => before + 1,
            // The shelf is full: `send` waits until nothing is left.
            Err(Error::Full) => match shelf.send(&piece) {
                Ok(()) => 1,
                Err(Error::Closed) => break,
                Err(error) => return Err(error.into()),
            },
            Err(Error::Closed) => break,
            Err(error) => return Err(error.into()),
        };
        say(format_args!("produced 1, now there are {there}"));
        if there >= LEVEL {
            say(format_args!("there are {LEVEL}, no more is produced"));
        }
    }
    Ok(())
}

fn consume(options: &Options) -> Result {
    let me = format!("consumer-{}", options.part.number());
    let (goods, money) = rings(&options.part)?;
    let (mut shelf, mut purse) = (goods.consumer()?.typed::<u64>(), money.consumer()?.typed::<u64>());
    loop {
        let coin = match purse.recv() {
            Ok(coin) => coin,
            Err(Error::Ended) => break,
            Err(error) => return Err(error.into()),
        };
        if goods.snapshot()?.ready == 0 {
            say(format_args!("nothing left, {me} tells the producer"));
        }
        let piece = shelf.recv()?;
        // First in, first out: all before this piece are gone.
        let left = goods.snapshot()?.totals.sent - *piece;
        say(format_args!("{me} consumed 1, {left} left"));
        piece.ack();
        coin.ack();
        sleep(options.second);
    }
    say(format_args!("{me} has no money left - goes home"));
    Ok(())
}
