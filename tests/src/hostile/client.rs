//! A client that behaves as its attack says.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::{Attack, Manner, Verdict};
use crate::processes::pause;

/// More than a request may take: half a minute until there is room for its body, half a minute until that has come, and what a query may
/// take, waiting included.
const TIMEOUT: Duration = Duration::from_secs(120);
/// What is sent at once, at most.
const PIECE_BYTES: usize = 64 << 10;

impl Attack {
    /// Makes it, and returns what came of it; `None` when nobody waited for an answer.
    pub fn launch(&self, web: &str) -> Option<Result<Verdict, String>> {
        match self.manner {
            Manner::Waits => Some(self.ask(web)),
            Manner::Leaves(after) => {
                drop(self.send(web).inspect(|_| pause(after)));
                None
            }
            Manner::Stalls(time) => {
                if let Ok(mut stream) = self.send(web) {
                    // Whether there is a beginning yet or not.
                    drop(stream.read(&mut [0; 1_024]));
                    pause(time);
                }
                None
            }
            Manner::Crowd(clients, after) => {
                let crowd: Vec<_> = (0..clients).map(|_| self.send(web)).collect();
                pause(after);
                drop(crowd);
                None
            }
        }
    }

    /// Whether it is one whole request, whose sender waits for the answer.
    pub fn is_asked_whole(&self) -> bool {
        self.manner == Manner::Waits && self.shape != "broken HTTP"
    }

    fn ask(&self, web: &str) -> Result<Verdict, String> {
        let mut answer = Vec::new();
        let read = self
            .send(web)
            .and_then(|mut stream| stream.read_to_end(&mut answer));
        match read {
            // Whoever still writes when it is refused may see its connection reset before the refusal.
            Err(error) if answer.is_empty() && is_cut(&error) && self.is_no_request() => {
                Ok(Verdict::Cut)
            }
            Ok(0) if self.is_no_request() => Ok(Verdict::Cut),
            Err(error) if answer.is_empty() => Err(error.to_string()),
            _ => Verdict::of(&answer),
        }
    }

    /// Whether HTTP itself refuses it.
    fn is_no_request(&self) -> bool {
        ["broken HTTP", "too long for a head", "many selectors"].contains(&self.shape)
    }

    fn send(&self, web: &str) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(web)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        // In pieces: the kernel gives the processor to nobody else while it copies one.
        let mut pieces = self.request.chunks(PIECE_BYTES);
        match pieces.try_for_each(|piece| stream.write_all(piece)) {
            // The answer may be there all the same.
            Err(error) if !is_cut(&error) => Err(error),
            _ => Ok(stream),
        }
    }
}

fn is_cut(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}
