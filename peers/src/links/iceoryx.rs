//! iceoryx2: publish-subscribe over chunks of shared memory that change hands, without overflow, so that the
//! publisher waits for the subscriber. In one variant the subscriber polls, as in iceoryx2's own benchmark;
//! in the other it sleeps on an event that follows each message, as its documentation advises for users that do
//! not want to poll.

use iceoryx2::node::{Node, NodeBuilder};
use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::port::update_connections::UpdateConnections;
use iceoryx2::prelude::{BackpressureStrategy, LogLevel, ServiceName, ipc, set_log_level};
use iceoryx2::sample::Sample;
use iceoryx2::service::port_factory::{PortFactory as _, event, publish_subscribe};

use super::patience::until;
use crate::peer::{About, Kind, Peer, Receiver, Sender, Work};

/// The subscriber polls.
pub struct IceoryxPolling;

impl Peer for IceoryxPolling {
    const ABOUT: About = About {
        name: "iceoryx2 polling",
        version: "0.10.0",
        kind: Kind::SharedMemory,
        waits: "polls; naps when full",
        remark: "broadcast: subscribers do not compete",
    };
    type Host = Link;
    type Sender = Publishes;
    type Receiver = Subscribes;

    fn refuses(work: &Work) -> Option<&'static str> {
        refuses(work)
    }

    fn host(name: &str, work: &Work) -> Link {
        Link::open(name, work)
    }

    fn sender(name: &str, work: &Work) -> Publishes {
        Publishes::open(Link::open(name, work), work, false)
    }

    fn receiver(name: &str, work: &Work) -> Subscribes {
        Subscribes::open(Link::open(name, work), false)
    }
}

/// The subscriber sleeps until an event says that there is something.
pub struct IceoryxEvent;

impl Peer for IceoryxEvent {
    const ABOUT: About =
        About { name: "iceoryx2 event", waits: "sleeps; naps when full", ..IceoryxPolling::ABOUT };
    type Host = Link;
    type Sender = Publishes;
    type Receiver = Subscribes;

    fn refuses(work: &Work) -> Option<&'static str> {
        refuses(work)
    }

    fn host(name: &str, work: &Work) -> Link {
        Link::open(name, work)
    }

    fn sender(name: &str, work: &Work) -> Publishes {
        Publishes::open(Link::open(name, work), work, true)
    }

    fn receiver(name: &str, work: &Work) -> Subscribes {
        Subscribes::open(Link::open(name, work), true)
    }
}

fn refuses(work: &Work) -> Option<&'static str> {
    match work {
        Work { receivers: 2.., .. } => Some("broadcast only"),
        Work { senders: 2.., .. } => Some("one producer as driven here"),
        Work { batch: 2.., .. } => Some("no batches"),
        _ => None,
    }
}

/// The services of a link. They exist as long as one process holds them.
pub struct Link {
    messages: publish_subscribe::PortFactory<ipc::Service, [u8], ()>,
    events: event::PortFactory<ipc::Service>,
    // Dropped last.
    _node: Node<ipc::Service>,
}

impl Link {
    fn open(name: &str, work: &Work) -> Link {
        set_log_level(LogLevel::Error);
        let node = NodeBuilder::new().create::<ipc::Service>().expect("a node");
        let name: ServiceName = name.try_into().expect("a link's name fits a service's");
        let messages = node
            .service_builder(&name)
            .publish_subscribe::<[u8]>()
            .enable_safe_overflow(false)
            .history_size(0)
            .subscriber_max_buffer_size(work.depth)
            .max_publishers(1)
            .max_subscribers(1)
            .open_or_create()
            .expect("both ends want the same service");
        let events =
            node.service_builder(&name).event().open_or_create().expect("both ends want the same service");
        Link { messages, events, _node: node }
    }
}

pub struct Publishes {
    publisher: Publisher<ipc::Service, [u8], ()>,
    notifier: Option<Notifier<ipc::Service>>,
    /// Whether the subscriber has answered the greeting.
    greeted: bool,
    // Dropped last.
    link: Link,
}

impl Publishes {
    fn open(link: Link, work: &Work, with_events: bool) -> Publishes {
        let publisher = link
            .messages
            .publisher_builder()
            .initial_max_slice_len(work.size)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()
            .expect("a publisher");
        let notifier = with_events.then(|| link.events.notifier_builder().create().expect("a notifier"));
        Publishes { publisher, notifier, greeted: false, link }
    }

    /// What is published before there is a subscriber is lost, and so is what does not fit before the
    /// subscriber has received for the first time. Therefore a greeting goes first, and the subscriber
    /// answers it by opening a notifier, which is seen here.
    fn greet(&mut self) {
        if self.greeted {
            return;
        }
        until(|| self.link.messages.dynamic_config().number_of_subscribers() == 1);
        self.publisher.update_connections().expect("a connection");
        let greeting = self.publisher.loan_slice(1).expect("a chunk for the greeting");
        let sent = greeting.send().expect("a link that is in order");
        self.announce(sent);
        let notifiers = 1 + usize::from(self.notifier.is_some());
        until(|| self.link.events.dynamic_config().number_of_notifiers() == notifiers);
        self.greeted = true;
    }

    fn announce(&self, sent: usize) {
        assert_eq!(sent, 1, "one subscriber got the message");
        if let Some(notifier) = &self.notifier {
            notifier.notify().expect("a listener that can be woken");
        }
    }
}

impl Sender for Publishes {
    fn send(&mut self, message: &[u8]) {
        self.greet();
        let sample = self.publisher.loan_slice_uninit(message.len()).expect("a chunk per message that fits");
        let sent = sample.write_from_slice(message).send().expect("a link that is in order");
        self.announce(sent);
    }

    fn send_in_place(&mut self, size: usize, fill: impl FnOnce(&mut [u8])) {
        self.greet();
        let mut sample = self.publisher.loan_slice_uninit(size).expect("a chunk per message that fits");
        // SAFETY: the chunk lies in a mapped file, whose bytes are all initialised.
        fill(unsafe { sample.payload_mut().assume_init_mut() });
        // SAFETY: as above.
        let sent = unsafe { sample.assume_init() }.send().expect("a link that is in order");
        self.announce(sent);
    }
}

pub struct Subscribes {
    subscriber: Subscriber<ipc::Service, [u8], ()>,
    listener: Option<Listener<ipc::Service>>,
    /// The answer to the greeting.
    answer: Option<Notifier<ipc::Service>>,
    link: Link,
}

impl Subscribes {
    fn open(link: Link, with_events: bool) -> Subscribes {
        // The listener first: it must not miss the event of the first message.
        let listener = with_events.then(|| link.events.listener_builder().create().expect("a listener"));
        let subscriber = link.messages.subscriber_builder().create().expect("a subscriber");
        Subscribes { subscriber, listener, answer: None, link }
    }

    fn next(&mut self) -> Sample<ipc::Service, [u8], ()> {
        if self.answer.is_none() {
            drop(self.wait());
            self.answer = Some(self.link.events.notifier_builder().create().expect("a notifier"));
        }
        self.wait()
    }

    fn wait(&self) -> Sample<ipc::Service, [u8], ()> {
        let mut next = None;
        let mut arrived = || {
            next = self.subscriber.receive().expect("a link that is in order");
            next.is_some()
        };
        match &self.listener {
            None => until(arrived),
            Some(listener) => {
                while !arrived() {
                    listener.blocking_wait(|_| {}).expect("a listener that can sleep");
                }
            }
        }
        next.expect("waited for it")
    }
}

impl Receiver for Subscribes {
    fn receive(&mut self, message: &mut [u8]) {
        message.copy_from_slice(self.next().payload());
    }

    fn receive_in_place(&mut self, _size: usize, look: impl FnOnce(&[u8])) {
        look(self.next().payload());
    }
}
