//! A blocking client for tests: sends requests or raw bytes, returns replies as values. Never interprets a
//! reply and never reconnects; what it cannot do is a panic that says so, except in the `try_` methods.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use resp::{Decoder, Value};

/// Panics if a reply is anything but `OK`.
pub fn ok(reply: Value) {
    assert_eq!(reply, Value::Simple(b"OK".to_vec()));
}

/// An error's text; panics if a reply is none.
pub fn error(reply: Value) -> String {
    match reply {
        Value::Error(text) => String::from_utf8_lossy(&text).into_owned(),
        other => panic!("{other:?} is no error"),
    }
}

pub struct Client {
    stream: Stream,
    /// Received, not yet returned.
    input: Vec<u8>,
    decoder: Decoder,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Client {
    pub fn connect(address: impl ToSocketAddrs) -> Self {
        Self::try_connect(address).expect("a server listens at the address")
    }

    pub fn try_connect(address: impl ToSocketAddrs) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Self::new(Stream::Tcp(stream))
    }

    pub fn connect_unix(path: impl AsRef<Path>) -> Self {
        Self::try_connect_unix(path).expect("a server listens at the path")
    }

    pub fn try_connect_unix(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::new(Stream::Unix(UnixStream::connect(path)?))
    }

    fn new(stream: Stream) -> io::Result<Self> {
        let client = Self { stream, input: Vec::new(), decoder: Decoder::default() };
        client.stream.set_timeouts(Some(TIMEOUT))?;
        Ok(client)
    }

    /// How long a read or a write may take; 10 s by default. `None`: as long as it wants.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.stream.set_timeouts(timeout).expect("a timeout above zero");
    }

    /// Sends one request and reads one reply.
    pub fn call<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Value {
        self.try_call(arguments).unwrap_or_else(|error| panic!("{}: {error}", shown(arguments)))
    }

    pub fn try_call<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<Value> {
        self.try_send_raw(&encode(arguments))?;
        self.try_read_value()
    }

    /// As `call`, with the arguments in one line, separated by blanks.
    pub fn run(&mut self, line: &str) -> Value {
        self.call(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// Sends all requests at once, then reads as many replies. The replies must fit the socket's buffers.
    pub fn pipeline<A: AsRef<[u8]>>(&mut self, requests: &[Vec<A>]) -> Vec<Value> {
        let bytes: Vec<u8> = requests.iter().flat_map(|request| encode(request)).collect();
        self.send_raw(&bytes);
        requests.iter().map(|_| self.read_value()).collect()
    }

    /// Sends one request and reads nothing.
    pub fn send<A: AsRef<[u8]>>(&mut self, arguments: &[A]) {
        self.send_raw(&encode(arguments));
    }

    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.try_send_raw(bytes).expect("the server takes the bytes");
    }

    pub fn try_send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// The next reply or push.
    pub fn read_value(&mut self) -> Value {
        self.try_read_value().expect("the server answers")
    }

    /// Fails with `UnexpectedEof` when the server closed, `InvalidData` when it sent what is no RESP.
    pub fn try_read_value(&mut self) -> io::Result<Value> {
        loop {
            let next = self.decoder.next(&self.input);
            let next = next.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if let Some((value, len)) = next {
                self.input.drain(..len);
                return Ok(value);
            }
            self.receive()?;
        }
    }

    /// Reads `len` bytes as they are.
    pub fn read_raw(&mut self, len: usize) -> Vec<u8> {
        while self.input.len() < len {
            self.receive().expect("the server sends enough bytes");
        }
        self.input.drain(..len).collect()
    }

    /// Reads until the server closes the connection, and returns what it sent before.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        loop {
            match self.receive() {
                Ok(()) => {}
                Err(error) if is_close(&error) => return std::mem::take(&mut self.input),
                Err(error) => panic!("the server does not close the connection: {error}"),
            }
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut chunk = [0; CHUNK];
        let len = loop {
            let read = match &mut self.stream {
                Stream::Tcp(stream) => stream.read(&mut chunk),
                Stream::Unix(stream) => stream.read(&mut chunk),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.input.extend_from_slice(&chunk[..len]);
        Ok(())
    }
}

impl Stream {
    fn set_timeouts(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(timeout)?;
                stream.set_write_timeout(timeout)
            }
            Self::Unix(stream) => {
                stream.set_read_timeout(timeout)?;
                stream.set_write_timeout(timeout)
            }
        }
    }
}

/// A request as it goes over the wire.
pub fn encode<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut reply = resp::Reply::default();
    reply.array(arguments.len());
    arguments.iter().for_each(|argument| reply.bulk(argument.as_ref()));
    reply.buf
}

fn is_close(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}

fn shown<A: AsRef<[u8]>>(arguments: &[A]) -> String {
    let text = |argument: &A| argument.as_ref().escape_ascii().to_string();
    arguments.iter().map(text).collect::<Vec<_>>().join(" ")
}

const TIMEOUT: Duration = Duration::from_secs(10);
const CHUNK: usize = 16 * 1024;
