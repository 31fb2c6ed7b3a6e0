//! A Redis or Valkey of its own for each test that compares with one. It must never outlive the test, nor
//! fail it where the server is not installed.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A running server, one connection to it and the directory of its dump; all end when it is dropped.
pub struct Peer {
    child: Child,
    /// Kept open, so that the server's log has a reader's end.
    _log: BufReader<ChildStdout>,
    connection: BufReader<TcpStream>,
    dir: PathBuf,
}

impl Peer {
    /// Starts `program`, with `dump` as the file it loads. None, with a line on the terminal, where it is not
    /// installed.
    pub fn start(program: &str, test: &str, dump: Option<&[u8]>, arguments: &[&str]) -> Option<Peer> {
        let port = free_port();
        let dir = std::env::temp_dir().join(format!("onefold-rdb-{}-{port}", std::process::id()));
        fs::create_dir_all(&dir).expect("the directory for temporary files can be written");
        if let Some(bytes) = dump {
            fs::write(dir.join("dump.rdb"), bytes).expect("the directory for temporary files can be written");
        }
        let spawned = Command::new(program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"])
            .args([
                "--enable-debug-command",
                "yes",
                "--appendonly",
                "no",
                "--dbfilename",
                "dump.rdb",
                "--dir",
            ])
            .arg(&dir)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = spawned else {
            eprintln!("SKIPPED: {test}: {program} is not installed, nothing was compared");
            fs::remove_dir_all(&dir).ok();
            return None;
        };
        let mut log = BufReader::new(child.stdout.take().expect("stdout was asked for as a pipe"));
        wait_until_ready(&mut log);
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server says that it accepts");
        Some(Peer { child, _log: log, connection: BufReader::new(stream), dir })
    }

    /// The reply to one command: a bulk's or a status' bytes, an integer's digits, an error's text, an
    /// array's count; empty for null.
    pub fn call(&mut self, arguments: &[&[u8]]) -> Vec<u8> {
        self.write(arguments);
        self.read_reply()
    }

    /// One command, whatever it replies.
    pub fn send(&mut self, arguments: &[&[u8]]) {
        self.write(&[b"CLIENT", b"REPLY", b"SKIP"]);
        self.write(arguments);
    }

    fn write(&mut self, arguments: &[&[u8]]) {
        let mut request = format!("*{}\r\n", arguments.len()).into_bytes();
        for argument in arguments {
            request.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            request.extend_from_slice(argument);
            request.extend_from_slice(b"\r\n");
        }
        self.connection.get_mut().write_all(&request).expect("the server reads");
    }

    /// The elements of an array reply.
    pub fn call_all(&mut self, arguments: &[&[u8]]) -> Vec<Vec<u8>> {
        let reply = self.call(arguments);
        let text = String::from_utf8(reply).expect("the reply is text");
        let count: usize = text.parse().expect("the reply is an array");
        (0..count).map(|_| self.read_reply()).collect()
    }

    /// The file of a SAVE.
    pub fn save(&mut self) -> Vec<u8> {
        assert_eq!(self.call(&[b"SAVE"]), b"OK");
        fs::read(self.dir.join("dump.rdb")).expect("SAVE wrote the file")
    }

    fn read_reply(&mut self) -> Vec<u8> {
        let mut line = String::new();
        self.connection.read_line(&mut line).expect("the server replies");
        let text = line.trim_end();
        let Some(len) = text.strip_prefix('$') else { return text.as_bytes()[1..].to_vec() };
        let Ok(len) = len.parse::<usize>() else { return Vec::new() };
        let mut bulk = vec![0; len + 2];
        self.connection.read_exact(&mut bulk).expect("the server sends the whole bulk");
        bulk.truncate(len);
        bulk
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Failing here leaves a server or a file behind at worst; the test's own verdict stands.
        self.child.kill().ok();
        self.child.wait().ok();
        fs::remove_dir_all(&self.dir).ok();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has free ports");
    listener.local_addr().expect("a bound socket has an address").port()
}

fn wait_until_ready(log: &mut impl BufRead) {
    let mut line = String::new();
    while !line.contains("Ready to accept connections") {
        line.clear();
        let len = log.read_line(&mut line).expect("the server's log is text");
        assert!(len > 0, "the server ended before it was ready");
    }
}
