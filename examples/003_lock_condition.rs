//! Text 003, second part: lock, semaphore and condition, each by itself, around a jar of cookies.
//!
//! *What it does.* With a lock: `acquire(); cookies.append(1); print("{}: produced"); release()`. With two semaphores:
//! `semiproduce.acquire(); produce(); semiconsume.release()`. With a condition: the consumer looks into the jar with
//! the lock held, says "Nothing in cookiejar." and waits if it is empty, and takes a cookie.
//!
//! *Right:* each does what its name says. *Wrong:* `if not cookiejar: wait()`: with two consumers the second one
//! wakes up to an empty jar, and `pop(0)` fails; it must be `while`. After an exception between `acquire` and
//! `release` the lock is held for ever, and so it is after `kill -9`. With the semaphores, chance decides which
//! process is next.
//!
//! *Here:* `ringpipe::sync::{Lock, Semaphore, Condition}`, in shared memory, by name. What a lock protects may be
//! anything; here the jar is a file with a cookie in each line. `wait_while` is the loop. Guards release when they
//! are dropped. One Marge is killed while she holds the lock: the next one gets it, and learns that the jar may be
//! half changed (`is_abandoned`).

mod common;

use std::fs;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use clap::Parser;
use common::{Actor, Cast, Part, Result, doze, ensure, perform, say, wait_until};
use ringpipe::sync::{Condition, Lock, Semaphore};

/// Text 003: lock, semaphore and condition around a cookie jar
#[derive(Parser)]
struct Options {
    /// Cookies of each Marge
    #[arg(long, value_name = "N", default_value_t = 3)]
    cookies: u64,
    /// How long a second of the text lasts here
    #[arg(long, value_name = "DUR", default_value = "200ms", value_parser = humantime::parse_duration)]
    second: Duration,
    #[command(flatten)]
    part: Part,
}

/// The number of processes of each kind.
const EACH: u64 = 2;
/// Longest wait for a process.
const START: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let options = Options::parse();
    perform(&options.part, |part| {
        let names = part.name().split(' ').collect::<Vec<_>>();
        match (part.role(), &names[..]) {
            ("marge with lock", [jar, lock]) => bake_with_lock(&options, jar, lock),
            ("clumsy marge", [jar, lock]) => die_with_lock(jar, lock),
            ("marge with semaphores", [jar, mine, theirs]) => bake_in_turn(&options, jar, mine, theirs),
            ("homer with semaphores", [jar, mine, theirs]) => eat_in_turn(&options, jar, mine, theirs),
            ("marge with condition", [jar, condition]) => bake_and_notify(&options, jar, condition),
            ("homer with condition", [jar, condition]) => eat_when_there(&options, jar, condition),
            _ => direct(&options),
        }
    })
}

/// The cookies: lines of a file. A jar knows nothing of locks.
struct Jar<'p>(&'p str);

impl Jar<'_> {
    fn cookies(&self) -> Result<Vec<String>> {
        Ok(fs::read_to_string(self.0)?.lines().map(String::from).collect())
    }

    fn put(&self, cookies: &[String]) -> Result {
        Ok(fs::write(self.0, cookies.iter().map(|cookie| format!("{cookie}\n")).collect::<String>())?)
    }

    fn append(&self, cookie: &str) -> Result {
        self.put(&[self.cookies()?, vec![cookie.into()]].concat())
    }

    /// `cookiejar.pop(0)`.
    fn pop(&self) -> Result<String> {
        let mut cookies = self.cookies()?;
        ensure(!cookies.is_empty(), "pop from an empty jar")?;
        let cookie = cookies.remove(0);
        self.put(&cookies)?;
        Ok(cookie)
    }

    /// Whether there is no cookie. If the file cannot be read, the error comes when a cookie is taken.
    fn is_empty(&self) -> bool {
        self.cookies().is_ok_and(|cookies| cookies.is_empty())
    }

    /// Removes half a cookie.
    fn put_in_order(&self) -> Result {
        let cookies = self.cookies()?;
        self.put(&cookies.into_iter().filter(|cookie| cookie.starts_with("cookie ")).collect::<Vec<_>>())
    }
}

fn direct(options: &Options) -> Result {
    let mut cast = Cast::new();
    let path = cast.file("cookiejar");
    let (jar, name) = (Jar(&path), path.as_str());

    say("Lock");
    jar.put(&[])?;
    let lock = Lock::create(&cast.name("lock"))?;
    let on = format!("{name} {}", lock.name());
    let clumsy = Actor::start("clumsy marge", 1, &on)?;
    wait_until("half a cookie", START, || Ok(!jar.is_empty()))?;
    (1..=EACH).try_for_each(|number| cast.start("marge with lock", number, &on))?;
    say("  kill -9: a process with the lock in hand and half a cookie in the jar");
    clumsy.kill()?;
    cast.wait()?;
    lock.remove()?;
    let baked = jar.cookies()?.len() as u64;
    say(format_args!("  {baked} cookies in the jar"));
    ensure(baked == EACH * options.cookies, "each cookie is in the jar")?;

    say("\nSemaphore");
    jar.put(&[])?;
    let produce = Semaphore::create(&cast.name("semiproduce"), 1, 1)?;
    let consume = Semaphore::create(&cast.name("semiconsume"), 0, 1)?;
    cast.start("marge with semaphores", 1, &format!("{name} {} {}", produce.name(), consume.name()))?;
    cast.start("homer with semaphores", 1, &format!("{name} {} {}", consume.name(), produce.name()))?;
    cast.wait()?;
    produce.remove()?;
    consume.remove()?;
    ensure(jar.is_empty(), "each cookie is eaten")?;

    say("\nCondition");
    let condition = Condition::create(&cast.name("condition"))?;
    let on = format!("{name} {}", condition.name());
    (1..=EACH).try_for_each(|number| cast.start("homer with condition", number, &on))?;
    cast.start("marge with condition", 1, &on)?;
    cast.wait()?;
    condition.remove()?;
    ensure(jar.is_empty(), "each cookie is eaten")
}

fn bake_with_lock(options: &Options, jar: &str, lock: &str) -> Result {
    let (name, mut thread_lock) = (format!("marge-{}", options.part.number()), Lock::open(lock)?);
    for n in 1..=options.cookies {
        let guard = thread_lock.lock()?;
        if guard.is_abandoned() {
            Jar(jar).put_in_order()?;
            say(format_args!("  {name}: the last one died in here; the jar is in order again"));
        }
        Jar(jar).append(&format!("cookie {n} of {name}"))?;
        say(format_args!("  {name}: produced"));
        drop(guard);
        doze(options.second);
    }
    Ok(())
}

/// Puts half a cookie into the jar, and holds the lock until the process is killed.
fn die_with_lock(jar: &str, lock: &str) -> Result {
    let mut lock = Lock::open(lock)?;
    let guard = lock.lock()?;
    Jar(jar).append("coo")?;
    sleep(Duration::from_secs(3600));
    drop(guard);
    Ok(())
}

fn bake_in_turn(options: &Options, jar: &str, produce: &str, consume: &str) -> Result {
    let (semiproduce, semiconsume) = (Semaphore::open(produce)?, Semaphore::open(consume)?);
    for n in 1..=options.cookies {
        let permit = semiproduce.acquire()?;
        sleep(options.second / 2);
        Jar(jar).append(&format!("cookie {n}"))?;
        say(format_args!("  produced cookie {n}"));
        // The permit is used up; the consumer makes the next one.
        permit.forget();
        semiconsume.release()?;
    }
    Ok(())
}

fn eat_in_turn(options: &Options, jar: &str, consume: &str, produce: &str) -> Result {
    let (semiproduce, semiconsume) = (Semaphore::open(produce)?, Semaphore::open(consume)?);
    for _ in 1..=options.cookies {
        let permit = semiconsume.acquire()?;
        say(format_args!("  consumed {}", Jar(jar).pop()?));
        permit.forget();
        semiproduce.release()?;
    }
    Ok(())
}

fn bake_and_notify(options: &Options, jar: &str, condition: &str) -> Result {
    let mut condition = Condition::open(condition)?;
    for n in 1..=EACH * options.cookies {
        // Baking needs no lock.
        sleep(options.second);
        let guard = condition.lock()?;
        Jar(jar).append(&format!("cookie {n}"))?;
        guard.notify_one();
    }
    Ok(())
}

fn eat_when_there(options: &Options, jar: &str, condition: &str) -> Result {
    let (me, mut condition) = (format!("homer-{}", options.part.number()), Condition::open(condition)?);
    for _ in 1..=options.cookies {
        let mut guard = condition.lock()?;
        if Jar(jar).is_empty() {
            say(format_args!("  {me}: Nothing in cookiejar."));
            // A loop, where the text has an if.
            guard = guard.wait_while(|| Jar(jar).is_empty())?;
            say(format_args!("  {me}: Producer added cookie."));
        }
        say(format_args!("  {me}: Consumed {}", Jar(jar).pop()?));
        drop(guard);
    }
    Ok(())
}
