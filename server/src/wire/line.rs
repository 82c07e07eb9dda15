//! Reading lines and exact bodies from one stream, and sending a header and its data as one.
//!
//! [`Reader`] owns the buffer: what arrived behind a line stays in it, so requests or replies that
//! were sent ahead are found without another system call. Bodies larger than the buffer are read
//! straight into their place.
//!
//! ```text
//!   buffer:  | consumed | start … end: arrived, not yet asked for | free |
//! ```

use std::io::{self, IoSlice, Read, Write};

use super::{MAX_LINE, number};

/// Size of the buffer: many requests sent ahead, or one small body.
const BUFFER: usize = 64 << 10;

/// Why there is no line.
#[derive(Debug)]
pub enum LineError {
    /// The peer closed the connection, between two lines.
    Closed,
    /// The line is longer than the protocol allows.
    TooLong,
    /// A line was expected to hold one number, and does not.
    NotANumber,
    /// The stream failed, or ended within a line or a body.
    Io(io::Error),
}

impl std::fmt::Display for LineError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => f.write_str("the peer closed the connection"),
            Self::TooLong => write!(f, "the peer sent a line of more than {MAX_LINE} bytes"),
            Self::NotANumber => f.write_str("the peer sent a line that is no number"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for LineError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<LineError> for io::Error {
    fn from(error: LineError) -> Self {
        match error {
            LineError::Io(error) => error,
            LineError::Closed => Self::new(io::ErrorKind::UnexpectedEof, error),
            LineError::TooLong | LineError::NotANumber => {
                Self::new(io::ErrorKind::InvalidData, error)
            }
        }
    }
}

/// A buffered reader of lines and bodies.
#[derive(Debug)]
pub struct Reader<R> {
    inner: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl<R> Reader<R> {
    /// Wraps a stream.
    #[must_use]
    pub fn new(inner: R) -> Self {
        Self { inner, buffer: vec![0; BUFFER].into_boxed_slice(), start: 0, end: 0 }
    }

    /// The stream.
    #[must_use]
    pub const fn get_ref(&self) -> &R {
        &self.inner
    }

    /// The stream, to write to it or to set options. Reading from it directly loses data.
    pub const fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// What has arrived and was not asked for yet.
    #[must_use]
    pub fn buffered(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Tells whether [`Reader::read_line`] would return without reading from the stream.
    #[must_use]
    pub fn has_line(&self) -> bool {
        self.buffered().contains(&b'\n')
    }

    /// Drops `n` bytes of what is buffered.
    fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }
}

impl<R: Read> Reader<R> {
    /// Reads a line, without its end and without any `\r`.
    ///
    /// # Errors
    /// [`LineError::Closed`] at the end of the stream, [`LineError::TooLong`], or the stream's own
    /// error. After an error the stream is out of step.
    pub fn read_line(&mut self) -> Result<&[u8], LineError> {
        let mut searched = 0;
        let length = loop {
            let buffered = self.buffered();
            let fresh = buffered.get(searched..).unwrap_or_default();
            if let Some(found) = fresh.iter().position(|byte| *byte == b'\n') {
                break searched + found;
            }
            searched = buffered.len();
            // `\r` does not count; a buffer full of them is refused too.
            let full = searched == self.buffer.len();
            let long = searched > MAX_LINE && significant(buffered) > MAX_LINE;
            if full || long {
                return Err(LineError::TooLong);
            }
            if self.fill()? == 0 {
                let within = io::ErrorKind::UnexpectedEof;
                return Err(if searched == 0 { LineError::Closed } else { within_error(within) });
            }
        };
        let (start, mut end) = (self.start, self.start + length);
        self.consume(length + 1);
        let line = self.buffer.get_mut(start..end).unwrap_or_default();
        if line.contains(&b'\r') {
            end = start + remove_returns(line);
        }
        let line = self.buffer.get(start..end).unwrap_or_default();
        if line.len() > MAX_LINE { Err(LineError::TooLong) } else { Ok(line) }
    }

    /// Reads a line that holds one number: the first line of every reply.
    ///
    /// # Errors
    /// As [`Reader::read_line`], or [`LineError::NotANumber`].
    pub fn read_number(&mut self) -> Result<i64, LineError> {
        let line = self.read_line()?;
        number::words(line).next().and_then(number::parse).ok_or(LineError::NotANumber)
    }

    /// Reads a body of exactly `into.len()` bytes.
    ///
    /// # Errors
    /// The stream's own error, or `UnexpectedEof`.
    pub fn read_exact_into(&mut self, into: &mut [u8]) -> io::Result<()> {
        let ready = self.take_buffered(into);
        let rest = into.get_mut(ready..).unwrap_or_default();
        if rest.is_empty() { Ok(()) } else { self.inner.read_exact(rest) }
    }

    /// Reads what has arrived, at least one byte unless the stream has ended (0).
    ///
    /// # Errors
    /// The stream's own error.
    pub fn read_some(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.take_buffered(into) {
            0 if !into.is_empty() => retry(|| self.inner.read(into)),
            ready => Ok(ready),
        }
    }

    /// Throws the next `n` bytes away.
    ///
    /// # Errors
    /// The stream's own error, or `UnexpectedEof`.
    pub fn skip(&mut self, n: u64) -> io::Result<()> {
        let mut rest = n;
        while rest > 0 {
            if self.start == self.end && self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let step = self.buffered().len().min(usize::try_from(rest).unwrap_or(usize::MAX));
            self.consume(step);
            rest -= u64::try_from(step).unwrap_or(rest);
        }
        Ok(())
    }

    fn take_buffered(&mut self, into: &mut [u8]) -> usize {
        let n = self.buffered().len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..n), self.buffered().get(..n)) {
            to.copy_from_slice(from);
        }
        self.consume(n);
        n
    }

    /// Reads once into the free part of the buffer; 0 is the end of the stream.
    fn fill(&mut self) -> io::Result<usize> {
        if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let free = self.buffer.get_mut(self.end..).unwrap_or_default();
        let n = retry(|| self.inner.read(free))?;
        self.end += n;
        Ok(n)
    }
}

fn within_error(kind: io::ErrorKind) -> LineError {
    LineError::Io(kind.into())
}

fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn significant(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte != b'\r').count()
}

/// Moves all bytes but `\r` to the front and returns how many they are.
fn remove_returns(line: &mut [u8]) -> usize {
    let mut kept = 0;
    for i in 0..line.len() {
        if line.get(i) != Some(&b'\r') {
            line.swap(i, kept);
            kept += 1;
        }
    }
    kept
}

/// Sends a header and its data without copying them together, in one system call where the
/// stream takes all of it.
///
/// # Errors
/// The stream's own error, or `WriteZero`.
pub fn send(to: &mut impl Write, head: &[u8], data: &[u8]) -> io::Result<()> {
    let mut slices = [IoSlice::new(head), IoSlice::new(data)];
    let mut rest = &mut slices[..];
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match to.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => IoSlice::advance_slices(&mut rest, n),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A stream that gives its bytes in pieces of a chosen size.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(into.len()).min(self.1);
            into[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn lines_and_bodies_in_turn() {
        for step in [1, 2, 7, 1000] {
            let mut reader = Reader::new(Drip(b"5\r\nhello-12\n\nrest", step));
            assert_eq!(reader.read_number().unwrap(), 5);
            let mut body = [0; 5];
            reader.read_exact_into(&mut body).unwrap();
            assert_eq!(&body, b"hello");
            assert_eq!(reader.read_number().unwrap(), -12);
            assert_eq!(reader.read_line().unwrap(), b"");
            reader.skip(3).unwrap();
            assert!(matches!(reader.read_line(), Err(LineError::Io(_))));
            assert!(reader.skip(2).is_err());
        }
        assert!(matches!(Reader::new(Drip(b"", 1)).read_line(), Err(LineError::Closed)));
    }

    #[test]
    fn the_limit_of_a_line() {
        let mut line = vec![b'x'; MAX_LINE];
        line.extend_from_slice(b"\r\n");
        assert_eq!(Reader::new(Drip(&line, 100)).read_line().unwrap().len(), MAX_LINE);
        line.insert(0, b'x');
        for step in [1, 100, 5000] {
            assert!(matches!(Reader::new(Drip(&line, step)).read_line(), Err(LineError::TooLong)));
        }
        let endless = vec![b'\r'; 3 * BUFFER];
        assert!(matches!(Reader::new(Drip(&endless, 999)).read_line(), Err(LineError::TooLong)));
    }

    #[test]
    fn sending_survives_short_writes() {
        struct Narrow(Vec<u8>);
        impl Write for Narrow {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let n = bytes.len().min(3);
                self.0.extend_from_slice(&bytes[..n]);
                Ok(n)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut narrow = Narrow(Vec::new());
        send(&mut narrow, b"header\n", b"data and more").unwrap();
        send(&mut narrow, b"", b"").unwrap();
        assert_eq!(narrow.0, b"header\ndata and more");
    }

    proptest! {
        #[test]
        fn any_mix_comes_out_as_it_went_in(
            parts in proptest::collection::vec(("[a-z ]{0,50}", proptest::collection::vec(any::<u8>(), 0..5000)), 0..40),
            step in 1_usize..9000,
        ) {
            let mut stream = Vec::new();
            for (line, body) in &parts {
                stream.extend_from_slice(line.as_bytes());
                stream.push(b'\n');
                stream.extend_from_slice(body);
            }
            let mut reader = Reader::new(Drip(&stream, step));
            for (line, body) in &parts {
                prop_assert_eq!(reader.read_line().unwrap(), line.as_bytes());
                let mut got = vec![0; body.len()];
                reader.read_exact_into(&mut got).unwrap();
                prop_assert_eq!(&got, body);
            }
            prop_assert!(matches!(reader.read_line(), Err(LineError::Closed)));
        }
    }
}
