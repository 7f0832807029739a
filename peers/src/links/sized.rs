//! Carriers whose message type is fixed when they are compiled: one variant for each size that is measured.
//!
//! The variant is chosen again in each call. It never changes, so that the branch is predicted.

use crate::peer::{Receiver, Sender, Work};

/// A carrier of messages of one size. What its functions do is said at [`crate::peer::Peer`].
pub trait OneSize {
    type Host;
    type Sender: Sender;
    type Receiver: Receiver;

    fn host(name: &str, work: &Work) -> Self::Host;
    fn sender(name: &str, work: &Work) -> Self::Sender;
    fn receiver(name: &str, work: &Work) -> Self::Receiver;
}

/// Makes one carrier of `$link<SIZE>`, or `$link<SIZE, DEPTH>`, for each size given. `carries` tells whether a
/// size is among them; `host`, `SizedSender::open` and `SizedReceiver::open` choose by the size of the work.
macro_rules! by_size {
    ($host:ty, $link:ident: $($variant:ident = $size:literal $(by $depth:literal)?),+ $(,)?) => {
        fn carries(size: usize) -> bool {
            matches!(size, $($size)|+)
        }

        fn host(name: &str, work: &$crate::peer::Work) -> $host {
            match work.size {
                $($size => $link::<$size $(, $depth)?>::host(name, work),)+
                _ => unreachable!("refused"),
            }
        }

        pub enum SizedSender {
            $($variant(<$link<$size $(, $depth)?> as $crate::links::sized::OneSize>::Sender)),+
        }

        impl SizedSender {
            fn open(name: &str, work: &$crate::peer::Work) -> Self {
                match work.size {
                    $($size => SizedSender::$variant($link::<$size $(, $depth)?>::sender(name, work)),)+
                    _ => unreachable!("refused"),
                }
            }
        }

        impl $crate::peer::Sender for SizedSender {
            fn send(&mut self, message: &[u8]) {
                match self { $(SizedSender::$variant(end) => end.send(message)),+ }
            }

            fn send_batch(&mut self, messages: &[u8], size: usize) {
                match self { $(SizedSender::$variant(end) => end.send_batch(messages, size)),+ }
            }

            fn send_in_place(&mut self, size: usize, fill: impl FnOnce(&mut [u8])) {
                match self { $(SizedSender::$variant(end) => end.send_in_place(size, fill)),+ }
            }
        }

        pub enum SizedReceiver {
            $($variant(<$link<$size $(, $depth)?> as $crate::links::sized::OneSize>::Receiver)),+
        }

        impl SizedReceiver {
            fn open(name: &str, work: &$crate::peer::Work) -> Self {
                match work.size {
                    $($size => SizedReceiver::$variant($link::<$size $(, $depth)?>::receiver(name, work)),)+
                    _ => unreachable!("refused"),
                }
            }
        }

        impl $crate::peer::Receiver for SizedReceiver {
            fn receive(&mut self, message: &mut [u8]) {
                match self { $(SizedReceiver::$variant(end) => end.receive(message)),+ }
            }

            fn receive_batch(&mut self, messages: &mut [u8], size: usize) -> usize {
                match self { $(SizedReceiver::$variant(end) => end.receive_batch(messages, size)),+ }
            }

            fn receive_in_place(&mut self, size: usize, look: impl FnOnce(&[u8])) {
                match self { $(SizedReceiver::$variant(end) => end.receive_in_place(size, look)),+ }
            }
        }
    };
}
pub(crate) use by_size;

/// One message as the array that a typed queue carries.
pub fn array<const SIZE: usize>(message: &[u8]) -> &[u8; SIZE] {
    message.try_into().expect("every message of a run has one size")
}

/// A batch of messages as the arrays that a typed queue carries.
pub fn arrays<const SIZE: usize>(messages: &[u8]) -> &[[u8; SIZE]] {
    messages.as_chunks().0
}
