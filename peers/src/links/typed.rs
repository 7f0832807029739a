//! Messages of queues whose message type is fixed when they are compiled.

/// A message of this number of words. Bytes, because nothing says that a message lies aligned.
pub type Message<const WORDS: usize> = [[u8; 8]; WORDS];

/// Why a queue of these messages cannot carry those of `size` bytes.
pub fn refuses_size<const WORDS: usize>(size: usize) -> Option<&'static str> {
    (size != WORDS * 8).then_some("message size not compiled in")
}

/// One message.
pub fn message<const WORDS: usize>(bytes: &[u8]) -> &Message<WORDS> {
    &messages(bytes)[0]
}

/// A batch of messages.
pub fn messages<const WORDS: usize>(bytes: &[u8]) -> &[Message<WORDS>] {
    bytes.as_chunks().0.as_chunks().0
}

/// Room for a batch of messages.
pub fn messages_mut<const WORDS: usize>(bytes: &mut [u8]) -> &mut [Message<WORDS>] {
    bytes.as_chunks_mut().0.as_chunks_mut().0
}

/// The bytes of messages that lie in one piece.
pub fn bytes<const WORDS: usize>(messages: &[Message<WORDS>]) -> &[u8] {
    messages.as_flattened().as_flattened()
}

/// The bytes of messages that lie in one piece.
pub fn bytes_mut<const WORDS: usize>(messages: &mut [Message<WORDS>]) -> &mut [u8] {
    messages.as_flattened_mut().as_flattened_mut()
}
