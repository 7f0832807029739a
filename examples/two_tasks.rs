//! Two asynchronous tasks on one thread: one sends into a ring, the other receives as a stream.
//!
//! The tasks may as well be in two processes, and the other side may be a process without tasks, such as the command
//! `consumer`. The ring is short, so the sender's `await` waits for room again and again: back-pressure without a
//! thread that blocks.
//!
//! `cargo run --features tokio --example two_tasks`

use futures_util::StreamExt;
use ringpipe::{AsyncConsumer, AsyncProducer, RingOptions};

const ITEMS: u64 = 1000;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    let ring =
        RingOptions::new().capacity(16).create(&format!("ringpipe-two-tasks-{}", std::process::id()))?;
    let both = tokio::try_join!(send(ring.async_producer()?), receive(ring.async_consumer()?));
    ring.remove()?;
    let ((), sum) = both?;
    println!("{ITEMS} items through 16 slots, their sum is {sum}");
    if sum != ITEMS * (ITEMS + 1) / 2 {
        return Err("an item is missing".into());
    }
    Ok(())
}

async fn send(mut producer: AsyncProducer) -> Result {
    for number in 1..=ITEMS {
        producer.send(&number.to_le_bytes()).await?;
    }
    // The producer is dropped here, so the other task's stream ends when all items were received.
    Ok(())
}

async fn receive(mut consumer: AsyncConsumer) -> Result<u64> {
    let mut sum = 0;
    // The stream copies and acknowledges each item; `recv().await` lends it until it is acknowledged.
    while let Some(item) = consumer.next().await {
        sum += u64::from_le_bytes(item?.try_into().map_err(|_| "an item is not 8 bytes long")?);
    }
    Ok(sum)
}
