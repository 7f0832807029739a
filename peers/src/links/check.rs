//! Each carrier carries, between two processes: every message arrives once, in order, as it was sent, and
//! the host leaves nothing behind.
//!
//! The sender is this test's own executable, started again with [`SENDS`] set.

use std::process::{Command, Stdio, exit};
use std::sync::mpsc::{RecvTimeoutError, Sender as Done, channel};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use super::{boost, cloudtoid, iceoryx, ipc_channel, ipmpsc, que};
use crate::peer::{Peer, Receiver, Sender, Work};

/// Set in the sending process: the name of the link, then size, batch and whether it is in place.
const SENDS: &str = "RINGPIPE_PEERS_SENDS";

/// Sizes of the messages; the last is a large one.
const SIZES: [usize; 5] = [8, 64, 1024, 16384, LARGE];
const LARGE: usize = 1 << 20;

fn messages(size: usize) -> u64 {
    let told = env::var("RINGPIPE_PEERS_MESSAGES").ok().and_then(|count| count.parse().ok());
    let messages = told.unwrap_or(10_000);
    if size == LARGE { messages / 100 } else { messages }
}

fn work(size: usize, batch: usize, in_place: bool) -> Work {
    let depth = if size == LARGE { 4 } else { (256 * 1024 / size).clamp(64, 4096) };
    Work { size, depth, batch, in_place, senders: 1, receivers: 1 }
}

/// Word `index` of message `number`: no two neighbours in time or place agree.
fn word(number: u64, index: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(index as u32 % 64) ^ index
}

fn fill(message: &mut [u8], number: u64) {
    for (index, bytes) in message.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        *bytes = word(number, index as u64).to_le_bytes();
    }
}

fn is_message(message: &[u8], number: u64) -> bool {
    let words = message.as_chunks::<8>().0;
    words.iter().enumerate().all(|(index, bytes)| u64::from_le_bytes(*bytes) == word(number, index as u64))
}

fn send_all<P: Peer>(name: &str, work: &Work) {
    let mut sender = P::sender(name, work);
    let mut buffer = vec![0; work.batch * work.size];
    let mut number = 0;
    while number < messages(work.size) {
        if work.in_place {
            sender.send_in_place(work.size, |slot| fill(slot, number));
            number += 1;
            continue;
        }
        let now = (messages(work.size) - number).min(work.batch as u64) as usize;
        let batch = &mut buffer[..now * work.size];
        for message in batch.chunks_exact_mut(work.size) {
            fill(message, number);
            number += 1;
        }
        if work.batch == 1 { sender.send(batch) } else { sender.send_batch(batch, work.size) }
    }
    // As when the process is killed: what a dropped end tidies up is the host's to find.
    std::mem::forget(sender);
}

/// Receives all messages, and answers how many were not what was sent.
fn receive_all<P: Peer>(name: &str, work: &Work) -> u64 {
    let mut receiver = P::receiver(name, work);
    let mut buffer = vec![0; work.batch * work.size];
    let (mut number, mut wrong) = (0, 0);
    while number < messages(work.size) {
        let mut check = |message: &[u8]| {
            wrong += u64::from(!is_message(message, number));
            number += 1;
        };
        if work.in_place {
            receiver.receive_in_place(work.size, check);
        } else if work.batch == 1 {
            receiver.receive(&mut buffer);
            check(&buffer);
        } else {
            let count = receiver.receive_batch(&mut buffer, work.size);
            buffer[..count * work.size].chunks_exact(work.size).for_each(check);
        }
    }
    wrong
}

/// Ends this process, and with it the test, if a message is lost and the other end waits for it.
fn watchdog() -> Done<()> {
    let (done, waits) = channel();
    thread::spawn(move || {
        if waits.recv_timeout(Duration::from_secs(120)).is_err_and(|error| error == RecvTimeoutError::Timeout)
        {
            eprintln!("nothing arrives any more");
            exit(1);
        }
    });
    done
}

/// Carries all sizes in all ways that `P` does not refuse, and answers how many messages were wrong.
fn carry<P: Peer>(test: &str) -> u64 {
    let _done = watchdog();
    if let Ok(told) = env::var(SENDS) {
        let mut told = told.split(' ');
        let mut next = || told.next().expect("told by the parent");
        let name = next();
        let work = work(next().parse().unwrap(), next().parse().unwrap(), next() == "true");
        if P::refuses(&work).is_some() {
            // Another size of this carrier was meant.
            return 0;
        }
        send_all::<P>(name, &work);
        // The parent hangs up when it has received everything.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        exit(0);
    }
    let mut wrong = 0;
    for size in SIZES {
        for (batch, in_place) in [(1, false), (64, false), (1, true)] {
            let work = work(size, batch, in_place);
            if let Some(why) = P::refuses(&work) {
                eprintln!("{} {work:?}: {why}", P::ABOUT.name);
                continue;
            }
            let name = format!("peers-check-{test}-{}-{size}-{batch}-{in_place}", std::process::id());
            let host = P::host(&name, &work);
            let mut sends = Command::new(env::current_exe().unwrap())
                .args(["--exact", &format!("links::check::{test}"), "--nocapture"])
                .env(SENDS, format!("{name} {size} {batch} {in_place}"))
                .stdin(Stdio::piped())
                .spawn()
                .unwrap();
            let start = Instant::now();
            wrong += receive_all::<P>(&name, &work);
            let rate = messages(work.size) as f64 / start.elapsed().as_secs_f64();
            eprintln!("{} {size} B, batch {batch}, in place {in_place}: {rate:.0}/s", P::ABOUT.name);
            drop(sends.stdin.take());
            assert!(sends.wait().unwrap().success());
            drop(host);
            assert_eq!(left(&name), [""; 0]);
        }
    }
    wrong
}

/// What bears the link's name in the folders that carriers use.
fn left(name: &str) -> Vec<String> {
    let entries = ["/dev/shm", "/tmp"].into_iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|entry| entry.contains(name)).collect()
}

/// One that has a type for each size.
macro_rules! sizes {
    ($peer:path, $test:expr) => {{
        use $peer as Link;
        carry::<Link<1>>($test)
            + carry::<Link<8>>($test)
            + carry::<Link<128>>($test)
            + carry::<Link<2048>>($test)
            + carry::<Link<131072>>($test)
    }};
}

macro_rules! carries {
    ($($test:ident: $peer:ty),+ $(,)?) => {
        $(#[test]
        fn $test() {
            assert_eq!(carry::<$peer>(stringify!($test)), 0);
        })+
    };
}

carries! {
    boost_carries: boost::Boost,
    cloudtoid_carries: cloudtoid::Cloudtoid,
    iceoryx_polling_carries: iceoryx::IceoryxPolling,
    iceoryx_event_carries: iceoryx::IceoryxEvent,
    ipc_channel_carries: ipc_channel::IpcChannel,
    ipmpsc_carries: ipmpsc::Ipmpsc,
}

#[cfg(feature = "zmq")]
carries! { zeromq_carries: super::zeromq::ZeroMq }

#[test]
fn ringfire_carries() {
    assert_eq!(sizes!(super::ringfire::Ringfire, "ringfire_carries"), 0);
}

#[test]
fn shaq_spsc_carries() {
    assert_eq!(sizes!(super::shaq_spsc::ShaqSpsc, "shaq_spsc_carries"), 0);
}

#[test]
fn shaq_mpmc_carries() {
    assert_eq!(sizes!(super::shaq_mpmc::ShaqMpmc, "shaq_mpmc_carries"), 0);
}

#[test]
fn shmem_ipc_carries() {
    assert_eq!(sizes!(super::shmem_ipc::ShmemIpc, "shmem_ipc_carries"), 0);
}

/// As many messages arrive as were sent, though some of them may be wrong: why que is no yardstick.
#[test]
fn que_delivers_the_right_number() {
    let test = "que_delivers_the_right_number";
    let wrong = carry::<que::Que<1, 4096>>(test)
        + carry::<que::Que<8, 4096>>(test)
        + carry::<que::Que<128, 256>>(test)
        + carry::<que::Que<2048, 64>>(test);
    eprintln!("que: {wrong} wrong messages");
}
