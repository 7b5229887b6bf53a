//! A long message goes out in pieces (fragments, RFC 6455 section 5.4). The WebSocket's own buffer keeps the room
//! that the largest frame ever took, for each client; so no frame is large, however long a message is.

use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Bytes, Message};

/// The longest piece. Most messages are shorter than that and go out whole.
pub const PIECE_BYTES: usize = 1024;

/// What is still to go out of one message.
#[derive(Default)]
pub struct Pieces {
    rest: Bytes,
}

impl Pieces {
    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The first piece of a message: all of it, unless it is a long text.
    pub fn begin(&mut self, message: Message) -> Message {
        match message {
            Message::Text(text) if text.len() > PIECE_BYTES => {
                self.rest = text.into();
                self.cut(OpCode::Data(Data::Text))
            }
            short => short,
        }
    }

    /// The next piece of the message that was begun.
    pub fn next(&mut self) -> Option<Message> {
        (!self.is_empty()).then(|| self.cut(OpCode::Data(Data::Continue)))
    }

    fn cut(&mut self, opcode: OpCode) -> Message {
        let mut end = self.rest.len().min(PIECE_BYTES);
        // Between two characters: it need not be, but then every piece is text.
        while self.rest.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
            end -= 1;
        }
        let piece = self.rest.split_to(end);
        let is_last = self.is_empty();
        if is_last {
            // An empty slice would hold on to the whole message.
            self.rest = Bytes::new();
        }
        Message::Frame(Frame::message(piece, opcode, is_last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<Message> {
        let mut pieces = Pieces::default();
        let mut all = vec![pieces.begin(Message::text(text))];
        all.extend(std::iter::from_fn(|| pieces.next()));
        assert!(pieces.is_empty());
        all
    }

    #[test]
    fn a_short_message_goes_out_as_it_is() {
        for length in [0, 1, PIECE_BYTES] {
            let text = "x".repeat(length);
            assert_eq!(pieces(&text), [Message::text(text)]);
        }
    }

    #[test]
    fn a_long_one_in_short_pieces_of_whole_characters() {
        for text in [
            "x".repeat(PIECE_BYTES + 1),
            "x€".repeat(5000),
            "𝄞".repeat(PIECE_BYTES),
        ] {
            let mut whole = Vec::new();
            let pieces = pieces(&text);
            let last = pieces.len() - 1;
            for (number, piece) in pieces.into_iter().enumerate() {
                let Message::Frame(frame) = piece else {
                    panic!("{piece} is no piece");
                };
                let opcode = if number == 0 {
                    Data::Text
                } else {
                    Data::Continue
                };
                assert_eq!(frame.header().opcode, OpCode::Data(opcode));
                assert_eq!(frame.header().is_final, number == last);
                assert!(frame.payload().len() <= PIECE_BYTES);
                assert!(std::str::from_utf8(frame.payload()).is_ok());
                whole.extend_from_slice(frame.payload());
            }
            assert_eq!(whole, text.as_bytes());
        }
    }
}
