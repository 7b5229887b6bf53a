//! A file on its way out, piece by piece: neither the file nor a client that reads slowly is waited for on
//! the control thread, and no more than two pieces are in memory.

use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::timeout;

/// What is read at a time.
const PIECE_BYTES: usize = 64 * 1024;
/// A client that has taken nothing for so long gets no more.
const PATIENCE: Duration = Duration::from_secs(30);

/// See the module.
pub struct Download {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
}

impl Download {
    /// Of a file, from where it stands to its end. `kept` is dropped when all of it is read, before the
    /// client has it.
    pub fn begin(file: File, kept: impl Send + 'static) -> io::Result<Download> {
        let left = file.metadata()?.len();
        let (sender, pieces) = mpsc::channel(1);
        spawn_local(async move {
            let (mut file, mut unread, mut kept) = (file, left, Some(kept));
            while unread > 0 {
                let Ok((back, piece)) = spawn_blocking(move || read(file)).await else {
                    return;
                };
                file = back;
                // What has become shorter than it was has no more to give.
                unread = match &piece {
                    Ok(piece) if !piece.is_empty() => unread.saturating_sub(piece.len() as u64),
                    _ => 0,
                };
                if unread == 0 {
                    kept = None;
                }
                if !matches!(timeout(PATIENCE, sender.send(piece)).await, Ok(Ok(()))) {
                    return;
                }
            }
            drop(kept);
        });
        Ok(Download { pieces, left })
    }
}

fn read(mut file: File) -> (File, io::Result<Bytes>) {
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    let read = (&mut file).take(PIECE_BYTES as u64).read_to_end(&mut piece);
    (file, read.map(|_| piece.into()))
}

impl Body for Download {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.pieces.poll_recv(cx).map(|piece| match piece {
            Some(Ok(piece)) if piece.is_empty() => Some(Err(io::ErrorKind::UnexpectedEof.into())),
            Some(Ok(piece)) => {
                self.left = self.left.saturating_sub(piece.len() as u64);
                Some(Ok(Frame::data(piece)))
            }
            Some(Err(error)) => Some(Err(error)),
            None => Some(Err(io::ErrorKind::UnexpectedEof.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
