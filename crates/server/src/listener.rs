//! Listening sockets: opened as the configuration says, described for INFO. Accepts, and never decides who
//! may stay.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use engine::config::Config;
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{SocketFlags, sockopt};
use socket2::{Domain, SockAddr, Socket, Type};

/// A socket that accepts connections.
pub struct Listener {
    socket: Arc<OwnedFd>,
    place: Place,
}

/// The way to close a listener that its worker has, while there is one.
#[derive(Debug)]
pub struct Door(Weak<OwnedFd>);

impl Door {
    /// Whoever connects from now on is refused, and so is who has not been accepted.
    pub fn close(&self) {
        if let Some(socket) = self.0.upgrade() {
            // Where this is not possible the end of the process does it.
            let _ = rustix::net::shutdown(&*socket, rustix::net::Shutdown::Both);
        }
    }

    pub fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

enum Place {
    Tcp,
    Unix(PathBuf),
}

/// An accepted connection on its way to its worker.
#[derive(Debug)]
pub struct NewConnection {
    pub socket: OwnedFd,
    /// As CLIENT LIST shows it: `127.0.0.1:50000`, `[::1]:50000`, `/path:0`.
    pub peer: String,
    pub local: String,
    pub unix: bool,
    /// From this machine.
    pub loopback: bool,
}

/// Opens all that the configuration asks for. The error's text is the line that Redis logs.
pub fn bind(config: &Config) -> io::Result<Vec<Listener>> {
    let mut listeners = bind_tcp(config)?;
    if !config.unixsocket.is_empty() {
        let bound = bind_unix(config).map_err(|error| in_words("Failed opening Unix socket", &error))?;
        listeners.push(bound);
    }
    Ok(listeners)
}

/// Opens the TCP sockets alone: what `Message::Listeners` carries when the port changes.
pub fn bind_tcp(config: &Config) -> io::Result<Vec<Listener>> {
    bind_addresses(config, Sharing::Refused)
}

/// The same beside this process' own listeners at the same port, which are closed afterwards: the addresses
/// change.
pub fn rebind_tcp(config: &Config) -> io::Result<Vec<Listener>> {
    bind_addresses(config, Sharing::Allowed)
}

/// Whether a socket may be opened at an address where another one that allows it listens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Refused,
    Allowed,
}

fn bind_addresses(config: &Config, sharing: Sharing) -> io::Result<Vec<Listener>> {
    if config.port == 0 {
        return Ok(Vec::new());
    }
    let mut listeners = Vec::new();
    for address in &config.bind {
        let address = String::from_utf8_lossy(address);
        let (optional, address) = match address.strip_prefix('-') {
            Some(address) => (true, address),
            None => (false, address.as_ref()),
        };
        match bind_address(config, address, sharing) {
            Ok(listener) => listeners.push(listener),
            Err(error) if may_be_skipped(&error, optional) => {}
            Err(error) => {
                let text = format!("Could not create server TCP listening socket {address}:{}", config.port);
                return Err(in_words(&text, &error));
            }
        }
    }
    Ok(listeners)
}

/// Lines of INFO server: `listener0:name=tcp,bind=127.0.0.1,port=6379`.
pub fn describe(config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    if config.port != 0 {
        let addresses =
            config.bind.iter().map(|address| format!(",bind={}", String::from_utf8_lossy(address)));
        lines.push(format!("listener0:name=tcp{},port={}", addresses.collect::<String>(), config.port));
    }
    if !config.unixsocket.is_empty() {
        let path = String::from_utf8_lossy(&config.unixsocket);
        lines.push(format!("listener{}:name=unix,bind={path}", lines.len()));
    }
    lines
}

impl Listener {
    pub fn door(&self) -> Door {
        Door(Arc::downgrade(&self.socket))
    }

    pub fn is_unix(&self) -> bool {
        matches!(self.place, Place::Unix(_))
    }

    /// The next connection that waits; it does not block.
    pub fn accept(&self) -> io::Result<NewConnection> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::accept_with(&self.socket, flags)?;
        match &self.place {
            Place::Tcp => accepted_tcp(socket),
            Place::Unix(path) => {
                let name = format!("{}:0", path.display());
                Ok(NewConnection { socket, peer: name.clone(), local: name, unix: true, loopback: true })
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl NewConnection {
    /// What every TCP connection gets. Failures are of no consequence: the peer may be gone already.
    pub fn set_options(&self, config: &Config) {
        if self.unix {
            return;
        }
        let _ = sockopt::set_tcp_nodelay(&self.socket, true);
        if config.tcp_keepalive_seconds > 0 {
            let _ = keep_alive(&self.socket, config.tcp_keepalive_seconds as u64);
        }
    }
}

/// An unanswered probe after so many seconds, and two more in the time as long: then the peer counts as gone.
fn keep_alive(socket: &OwnedFd, seconds: u64) -> rustix::io::Result<()> {
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(seconds))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs((seconds / 3).max(1)))?;
    sockopt::set_tcp_keepcnt(socket, 3)
}

fn accepted_tcp(socket: OwnedFd) -> io::Result<NewConnection> {
    let peer = SocketAddr::try_from(rustix::net::getpeername(&socket)?.ok_or(Errno::NOTCONN)?)?;
    let local = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
    let loopback = peer.ip().to_canonical().is_loopback();
    Ok(NewConnection { socket, peer: peer.to_string(), local: local.to_string(), unix: false, loopback })
}

/// Binds to the first of an address' places that can be had.
fn bind_address(config: &Config, address: &str, sharing: Sharing) -> io::Result<Listener> {
    bind_any(config, &resolve(address, config.port as u16)?, sharing)
}

fn bind_any(config: &Config, targets: &[SocketAddr], sharing: Sharing) -> io::Result<Listener> {
    let mut bound = Err(unknown());
    for target in targets {
        bound = bind_to(config, *target, sharing);
        if bound.is_ok() {
            break;
        }
    }
    bound
}

fn bind_to(config: &Config, target: SocketAddr, sharing: Sharing) -> io::Result<Listener> {
    let domain = if target.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::STREAM, None)?;
    if target.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    if sharing == Sharing::Allowed {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    socket.bind(&target.into()).map_err(|error| in_words("bind", &error))?;
    // Set only now, it lets a later `rebind_tcp` share the address, and no other program take it by mistake.
    sockopt::set_socket_reuseport(&socket, true)?;
    socket.listen(config.tcp_backlog as i32).map_err(|error| in_words("listen", &error))?;
    socket.set_nonblocking(true)?;
    Ok(Listener { socket: Arc::new(socket.into()), place: Place::Tcp })
}

/// The places of an address as `bind` takes it: a number, `*`, `::*`, or a name.
fn resolve(address: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let address = match address {
        "*" => "0.0.0.0",
        "::*" => "::",
        other => other,
    };
    let found = std::net::ToSocketAddrs::to_socket_addrs(&(address, port));
    Ok(of_one_protocol(found.map_err(|_| unknown())?.collect()))
}

fn unknown() -> io::Error {
    io::Error::other("Name or service not known")
}

/// A name that has places in both protocols means those that clients try first.
fn of_one_protocol(mut found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    if found.iter().any(SocketAddr::is_ipv4) {
        found.retain(SocketAddr::is_ipv4);
    }
    found
}

/// An address that the machine does not have, if it is optional; a protocol that it does not speak, in any
/// case.
fn may_be_skipped(error: &io::Error, optional: bool) -> bool {
    match code(error) {
        Some(Errno::ADDRNOTAVAIL) => optional,
        Some(code) => [
            Errno::NOPROTOOPT,
            Errno::PROTONOSUPPORT,
            Errno::SOCKTNOSUPPORT,
            Errno::PFNOSUPPORT,
            Errno::AFNOSUPPORT,
        ]
        .contains(&code),
        None => false,
    }
}

/// An error of the system with what was being done.
#[derive(Debug)]
struct InWords {
    text: String,
    code: Option<i32>,
}

impl std::fmt::Display for InWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for InWords {}

fn in_words(what: &str, error: &io::Error) -> io::Error {
    let code = code(error).map(Errno::raw_os_error);
    // The standard library adds `(os error 98)`, which Redis' lines do not have.
    let reason = error.to_string();
    let reason = reason.split(" (os error").next().unwrap_or(&reason);
    io::Error::new(error.kind(), InWords { text: format!("{what}: {reason}"), code })
}

fn code(error: &io::Error) -> Option<Errno> {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<InWords>());
    inner.map_or(error.raw_os_error(), |inner| inner.code).map(Errno::from_raw_os_error)
}

/// The socket appears under its name with its mode set: it is made under another name first.
fn bind_unix(config: &Config) -> io::Result<Listener> {
    let path = Path::new(std::ffi::OsStr::from_bytes(&config.unixsocket));
    let len = config.unixsocket.len();
    if len >= UNIX_PATH_LEN {
        let text = format!("unix socket path too long ({len}), must be under {UNIX_PATH_LEN}");
        return Err(io::Error::other(text));
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let temporary = bind_beside(&socket, &config.unixsocket).map_err(|error| in_words("bind", &error))?;
    let opened = open_unix(&socket, config, &temporary, path);
    if opened.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    opened?;
    Ok(Listener { socket: Arc::new(socket.into()), place: Place::Unix(path.to_owned()) })
}

/// Bytes of a unix socket's name, with the zero at its end.
const UNIX_PATH_LEN: usize = 108;

/// Binds to a name of the same length that is not in use: the last character is another one.
fn bind_beside(socket: &Socket, path: &[u8]) -> io::Result<PathBuf> {
    let mut name = path.to_vec();
    let last = name.len() - 1;
    let mut result = Err(io::Error::from(io::ErrorKind::AddrInUse));
    for letter in (b'0'..=b'9').filter(|letter| *letter != path[last]) {
        name[last] = letter;
        let candidate = PathBuf::from(std::ffi::OsStr::from_bytes(&name));
        result = socket.bind(&SockAddr::unix(&candidate)?).map(|()| candidate);
        if !result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse) {
            break;
        }
    }
    result
}

fn open_unix(socket: &Socket, config: &Config, temporary: &Path, path: &Path) -> io::Result<()> {
    if config.unixsocketperm > 0 {
        rustix::fs::chmod(temporary, Mode::from_raw_mode(config.unixsocketperm as u32))?;
    }
    if !config.unixsocketgroup.is_empty() {
        let group = group_id(&config.unixsocketgroup)?;
        std::os::unix::fs::chown(temporary, None, Some(group)).map_err(|error| in_words("chown", &error))?;
    }
    socket.listen(config.tcp_backlog as i32).map_err(|error| in_words("listen", &error))?;
    socket.set_nonblocking(true)?;
    std::fs::rename(temporary, path)
}

/// The number of a group by its name, as the system's list of groups has it: `name:password:number:members`.
fn group_id(name: &[u8]) -> io::Result<u32> {
    let list = std::fs::read("/etc/group").map_err(|error| in_words("/etc/group", &error))?;
    let group = list.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let is_named = fields.next() == Some(name);
        is_named.then(|| std::str::from_utf8(fields.nth(1)?).ok()?.parse().ok()).flatten()
    });
    group.ok_or_else(|| io::Error::other(format!("there is no group '{}'", String::from_utf8_lossy(name))))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn config(addresses: &[&str], port: u16) -> Config {
        let bind = addresses.iter().map(|address| address.as_bytes().to_vec()).collect();
        Config { bind, port: i64::from(port), ..Config::default() }
    }

    fn free_port() -> u16 {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        socket.local_addr().expect("it has an address").port()
    }

    #[test]
    fn addresses() {
        let check = |addresses: &[&str], expected: Result<usize, &str>| {
            let port = free_port();
            let bound = bind(&config(addresses, port));
            let expected = expected.map_err(|text| {
                format!("Could not create server {}", text.replace("PORT", &port.to_string()))
            });
            assert_eq!(
                bound.map(|all| all.len()).map_err(|error| error.to_string()),
                expected,
                "{addresses:?}"
            );
        };
        check(&[], Ok(0));
        check(&["127.0.0.1"], Ok(1));
        check(&["127.0.0.1", "127.0.0.2"], Ok(2));
        check(&["localhost"], Ok(1));
        check(&["-192.0.2.1", "127.0.0.1"], Ok(1));
        check(
            &["192.0.2.1"],
            Err("TCP listening socket 192.0.2.1:PORT: bind: Cannot assign requested address"),
        );
        check(
            &["no.such.name.invalid"],
            Err("TCP listening socket no.such.name.invalid:PORT: Name or service not known"),
        );
    }

    #[test]
    fn places_of_a_name() {
        let check = |found: &[&str], expected: &[&str]| {
            let parse = |texts: &[&str]| -> Vec<SocketAddr> {
                texts.iter().map(|text| text.parse().expect("an address")).collect()
            };
            assert_eq!(of_one_protocol(parse(found)), parse(expected), "{found:?}");
        };
        check(&["[::1]:1", "127.0.0.1:1", "127.0.0.2:1"], &["127.0.0.1:1", "127.0.0.2:1"]);
        check(&["[::1]:1", "[::2]:1"], &["[::1]:1", "[::2]:1"]);
        check(&[], &[]);
    }

    #[test]
    fn the_first_place_that_can_be_had_is_taken() {
        let port = free_port();
        let places = ["192.0.2.1", "127.0.0.1", "127.0.0.2"]
            .map(|address| SocketAddr::new(address.parse().expect("an address"), port));
        let bound = bind_any(&config(&[], port), &places, Sharing::Refused).expect("the second is free");
        let local = rustix::net::getsockname(&bound).expect("it is bound");
        assert_eq!(SocketAddr::try_from(local).expect("it is no path"), places[1]);
        let error = bind_any(&config(&[], port), &places[..1], Sharing::Refused).err().expect("no other");
        assert_eq!(error.to_string(), "bind: Cannot assign requested address");
    }

    #[test]
    fn a_port_in_use_is_named() {
        let port = free_port();
        let config = config(&["*"], port);
        let _first = bind(&config).expect("the port is free");
        let error = bind(&config).err().expect("the port is taken").to_string();
        let expected =
            format!("Could not create server TCP listening socket *:{port}: bind: Address already in use");
        assert_eq!(error, expected);
    }

    #[test]
    fn addresses_can_be_opened_again_beside_the_old_ones() {
        let port = free_port();
        let _first = bind(&config(&["*"], port)).expect("the port is free");
        let narrower = config(&["127.0.0.1"], port);
        assert!(bind_tcp(&narrower).is_err(), "nobody takes a port by mistake");
        let _second = rebind_tcp(&narrower).expect("this process may");
        let _third = rebind_tcp(&config(&["*"], port)).expect("and back");
    }

    #[test]
    fn a_unix_socket_replaces_what_was_there_and_has_its_mode() {
        let folder = std::env::temp_dir().join(format!("onefold-listener-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("server.sock");
        std::fs::write(&path, "left over").expect("a file");
        let unixsocket = path.as_os_str().as_bytes().to_vec();
        let config = Config { port: 0, unixsocket, unixsocketperm: 0o700, ..Config::default() };
        let listeners = bind(&config).expect("bound");
        assert_eq!(listeners.len(), 1);
        let mode = std::fs::metadata(&path).expect("it exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let names = std::fs::read_dir(&folder).expect("a folder").count();
        assert_eq!(names, 1, "only the socket stays");
        std::os::unix::net::UnixStream::connect(&path).expect("it listens under its name");
        assert_eq!(describe(&config), [format!("listener0:name=unix,bind={}", path.display())]);
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn groups_have_numbers() {
        assert_eq!(group_id(b"root").expect("every system has it"), 0);
        let error = group_id(b"no such group").expect_err("a group of that name");
        assert_eq!(error.to_string(), "there is no group 'no such group'");
        assert!(group_id(b"").is_err());
    }

    #[test]
    fn described_for_info() {
        let config = config(&["127.0.0.1", "-::1"], 7000);
        assert_eq!(describe(&config), ["listener0:name=tcp,bind=127.0.0.1,bind=-::1,port=7000"]);
    }
}
