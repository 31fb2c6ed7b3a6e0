//! The table of all directives, in the order of the shipped configuration file. A row and nothing else
//! decides how a directive is read, checked, printed, documented and refused.

use base::limits::DATABASES;
use rdb::VersionCheck;

use super::Section::*;
use super::{Change, Directive, Place, Section, Shape, Status, Value};
use crate::config::{
    AppendSync, AtRefusal, BeyondMemory, Config, DebugAccess, EncodingNames, EvictionPolicy, LogLevel,
    OomScoreAdj, SanitizePayload, Supervisor, SyslogFacility,
};

pub static DIRECTIVES: &[Directive] = &[
    // ---- network
    served(
        "bind",
        Network,
        Shape::Bind,
        |c| Value::Words(c.bind.clone()),
        |c, v| c.bind = v.words(),
        "The addresses to listen on, IPv4 or IPv6. `*` is every IPv4 address and `::` every IPv6 address. A \
         leading `-` lets the server start although the address is not available. Bind to the addresses that \
         clients use, and no others: whoever reaches the port can try to log in.",
    ),
    harmless(
        "bind-source-addr",
        Network,
        TEXT_OR_NONE,
        "",
        NO_REPLICATION,
        "The local address from which connections to other servers are made. Unset lets the kernel choose.",
    ),
    served(
        "protected-mode",
        Network,
        Shape::Bool,
        |c| Value::Bool(c.protected_mode),
        |c, v| c.protected_mode = v.bool(),
        "As long as the default user has no password, serve only connections from this machine. Turn it off \
         only where something else keeps strangers away from the port.",
    ),
    served(
        "port",
        Network,
        PORT,
        |c| Value::Integer(c.port),
        |c, v| c.port = v.integer(),
        "The TCP port to listen on. With 0 no TCP port is opened.",
    ),
    served(
        "tcp-backlog",
        Network,
        COUNT,
        |c| Value::Integer(c.tcp_backlog),
        |c, v| c.tcp_backlog = v.integer(),
        "How many connections may wait to be accepted. The kernel silently lowers it to \
         /proc/sys/net/core/somaxconn, so raise that too if many clients connect at the same moment.",
    )
    .fixed(),
    served(
        "unixsocket",
        Network,
        TEXT_OR_NONE,
        |c| Value::Text(c.unixsocket.clone()),
        |c, v| c.unixsocket = v.text(),
        "The path of a Unix socket to listen on as well. Unset opens none.",
    )
    .fixed(),
    served(
        "unixsocketperm",
        Network,
        Shape::Octal(0o777),
        |c| Value::Integer(c.unixsocketperm),
        |c, v| c.unixsocketperm = v.integer(),
        "The file mode of the Unix socket, in octal; 700 lets in only the user that runs the server. With 0 \
         the umask decides.",
    )
    .fixed(),
    served(
        "unixsocketgroup",
        Network,
        TEXT_OR_NONE,
        |c| Value::Text(c.unixsocketgroup.clone()),
        |c, v| c.unixsocketgroup = v.text(),
        "The name of the group that owns the Unix socket. Unset leaves it to the system.",
    )
    .fixed(),
    served(
        "timeout",
        Network,
        COUNT,
        |c| Value::Integer(c.timeout_seconds),
        |c, v| c.timeout_seconds = v.integer(),
        "Close a connection after its client was idle for so many seconds. With 0 idle clients stay. Replicas, \
         blocked clients and subscribers are never closed for this.",
    ),
    served(
        "tcp-keepalive",
        Network,
        COUNT,
        |c| Value::Integer(c.tcp_keepalive_seconds),
        |c, v| c.tcp_keepalive_seconds = v.integer(),
        "Let the kernel probe idle connections every so many seconds, so that dead peers are found and \
         firewalls keep the connection open. It takes about twice that time to close a dead one. 0 is off.",
    ),
    later(
        "socket-mark-id",
        Network,
        Shape::Integer(0, UINT_MAX),
        "0",
        "sockets are not marked",
        "A mark on all sockets of the server, by which the kernel's routing and filter rules can tell them. \
         0 sets none.",
    )
    .fixed(),
    harmless("mptcp", Network, Shape::Bool, "no", "connections use plain TCP", "Listen with Multipath TCP.")
        .fixed(),
    harmless(
        "max-new-connections-per-cycle",
        Network,
        Shape::Integer(1, 1000),
        "10",
        "a thread of its own accepts whoever comes, beside the commands",
        "How many connections are accepted before waiting commands are served.",
    ),
    harmless(
        "max-new-tls-connections-per-cycle",
        Network,
        Shape::Integer(1, 1000),
        "1",
        NO_TLS,
        "How many TLS connections are accepted before waiting commands are served.",
    ),
    later(
        "rdma-port",
        Network,
        PORT,
        "0",
        "RDMA is not served",
        "The port for clients that connect by RDMA. 0 opens none.",
    ),
    harmless(
        "rdma-bind",
        Network,
        TEXT_OR_NONE,
        "",
        "used only with rdma-port",
        "The addresses to listen on for RDMA.",
    ),
    harmless(
        "rdma-rx-size",
        Network,
        Shape::Integer(64 << 10, 16 << 20),
        "1048576",
        "used only with rdma-port",
        "The receive buffer of an RDMA connection, in bytes.",
    )
    .fixed(),
    harmless(
        "rdma-completion-vector",
        Network,
        Shape::Integer(-1, 1024),
        "-1",
        "used only with rdma-port",
        "The completion vector of RDMA connections; -1 chooses one at random.",
    )
    .fixed(),
    // ---- tls
    later(
        "tls-port",
        Tls,
        PORT,
        "0",
        "TLS is not served yet",
        "The port for TLS connections. 0 opens none; set `port 0` to serve TLS only.",
    ),
    harmless(
        "tls-cert-file",
        Tls,
        TEXT_OR_NONE,
        "",
        NO_TLS,
        "The file with the server's certificate, in PEM format.",
    ),
    harmless(
        "tls-key-file",
        Tls,
        TEXT_OR_NONE,
        "",
        NO_TLS,
        "The file with the private key of the server's certificate.",
    ),
    harmless(
        "tls-key-file-pass",
        Tls,
        TEXT_OR_NONE,
        "",
        NO_TLS,
        "The password of the private key, if it has one.",
    )
    .sensitive(),
    harmless(
        "tls-client-cert-file",
        Tls,
        TEXT_OR_NONE,
        "",
        NO_TLS,
        "A certificate of its own for connections that this server makes to others.",
    ),
    harmless(
        "tls-client-key-file",
        Tls,
        TEXT_OR_NONE,
        "",
        NO_TLS,
        "The private key of the certificate for outgoing connections.",
    ),
    harmless(
        "tls-client-key-file-pass",
        Tls,
        TEXT_OR_NONE,
        "",
        NO_TLS,
        "The password of the private key for outgoing connections.",
    )
    .sensitive(),
    harmless(
        "tls-dh-params-file",
        Tls,
        TEXT_OR_NONE,
        "",
        NO_TLS,
        "Parameters for the Diffie-Hellman exchange, which only old TLS versions need.",
    ),
    harmless(
        "tls-ca-cert-file",
        Tls,
        TEXT_OR_NONE,
        "",
        NO_TLS,
        "The file with the authorities that sign the certificates of clients and peers.",
    ),
    harmless(
        "tls-ca-cert-dir",
        Tls,
        TEXT_OR_NONE,
        "",
        NO_TLS,
        "A directory with the authorities that sign the certificates of clients and peers.",
    ),
    harmless(
        "tls-auth-clients",
        Tls,
        Shape::Choice(&["no", "yes", "optional"]),
        "yes",
        NO_TLS,
        "Whether a client must show a certificate, may show one, or is not asked.",
    ),
    harmless(
        "tls-auth-clients-user",
        Tls,
        Shape::Choice(&["CN", "URI", "off"]),
        "off",
        NO_TLS,
        "Log a client in as the user that a field of its certificate names.",
    ),
    harmless("tls-replication", Tls, Shape::Bool, "no", NO_TLS, "Use TLS for the link to the primary."),
    harmless("tls-cluster", Tls, Shape::Bool, "no", NO_TLS, "Use TLS between the nodes of a cluster."),
    harmless(
        "tls-protocols",
        Tls,
        TEXT_OR_NONE,
        "",
        NO_TLS,
        "The TLS versions that are offered, in quotes and separated by spaces.",
    ),
    harmless("tls-ciphers", Tls, TEXT_OR_NONE, "", NO_TLS, "The ciphers that are offered up to TLS 1.2."),
    harmless(
        "tls-ciphersuites",
        Tls,
        TEXT_OR_NONE,
        "",
        NO_TLS,
        "The ciphers that are offered from TLS 1.3 on.",
    ),
    harmless(
        "tls-prefer-server-ciphers",
        Tls,
        Shape::Bool,
        "no",
        NO_TLS,
        "Choose a cipher by the server's order of preference, not the client's.",
    ),
    harmless(
        "tls-session-caching",
        Tls,
        Shape::Bool,
        "yes",
        NO_TLS,
        "Let clients resume a session, which makes connecting again cheaper.",
    ),
    harmless(
        "tls-session-cache-size",
        Tls,
        COUNT,
        "20480",
        NO_TLS,
        "How many sessions are kept; 0 is no limit.",
    ),
    harmless(
        "tls-session-cache-timeout",
        Tls,
        COUNT,
        "300",
        NO_TLS,
        "For how many seconds a session can be resumed.",
    ),
    harmless(
        "tls-auto-reload-interval",
        Tls,
        COUNT,
        "0",
        NO_TLS,
        "Look every so many seconds whether certificates changed on disk. 0 is never.",
    ),
    // ---- general
    served(
        "daemonize",
        General,
        Shape::Bool,
        |c| Value::Bool(c.daemonize),
        |c, v| c.daemonize = v.bool(),
        "Detach from the terminal and run in the background. Leave it off under a supervisor.",
    )
    .fixed(),
    served(
        "supervised",
        General,
        Shape::Choice(&["upstart", "systemd", "auto", "no"]),
        |c| Value::Choice(c.supervised as usize),
        |c, v| c.supervised = Supervisor::ALL[v.choice()],
        "Tell the supervisor when the server is ready: by raising SIGSTOP for upstart, through NOTIFY_SOCKET \
         for systemd, or as the environment says.",
    )
    .fixed(),
    served(
        "pidfile",
        General,
        TEXT_OR_NONE,
        |c| Value::Text(c.pidfile.clone()),
        |c, v| c.pidfile = v.text(),
        "The file into which the process id is written, and which is removed at the end. Unset writes \
         /var/run/redis.pid when running in the background and none otherwise.",
    )
    .fixed(),
    served(
        "loglevel",
        General,
        Shape::Choice(&["debug", "verbose", "notice", "warning"]),
        |c| Value::Choice(c.loglevel as usize),
        |c, v| c.loglevel = LogLevel::ALL[v.choice()],
        "How much is logged: debug for developers, verbose with details that are rarely useful, notice for \
         production, warning for what needs attention.",
    ),
    served(
        "logfile",
        General,
        TEXT,
        |c| Value::Text(c.logfile.clone()),
        |c, v| c.logfile = v.text(),
        "The file to log to. The empty text logs to standard output, or to nowhere in the background.",
    )
    .fixed(),
    harmless(
        "log-format",
        General,
        Shape::Choice(&["legacy", "logfmt", "json"]),
        "legacy",
        "lines are logged in the legacy format",
        "The format of the lines in the log.",
    ),
    harmless(
        "log-timestamp-format",
        General,
        Shape::Choice(&["legacy", "iso8601", "milliseconds"]),
        "legacy",
        "times are logged in the legacy format",
        "The format of times in the log.",
    ),
    served(
        "syslog-enabled",
        General,
        Shape::Bool,
        |c| Value::Bool(c.syslog_enabled),
        |c, v| c.syslog_enabled = v.bool(),
        "Log to the system's logger too.",
    )
    .fixed(),
    served(
        "syslog-ident",
        General,
        TEXT,
        |c| Value::Text(c.syslog_ident.clone()),
        |c, v| c.syslog_ident = v.text(),
        "The name under which the server appears in the system's log.",
    )
    .fixed(),
    served(
        "syslog-facility",
        General,
        Shape::Choice(&[
            "user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
        ]),
        |c| Value::Choice(c.syslog_facility as usize),
        |c, v| c.syslog_facility = SyslogFacility::ALL[v.choice()],
        "The facility used in the system's log.",
    )
    .fixed(),
    served(
        "hide-user-data-from-log",
        General,
        Shape::Bool,
        |c| Value::Bool(c.hide_user_data_from_log),
        |c, v| c.hide_user_data_from_log = v.bool(),
        "Keep keys, values and arguments of clients out of the log, also when a crash is reported: it shows \
         `*redacted*` in their place. What scripts and DEBUG LOG write there is theirs to say.",
    ),
    served(
        "crash-log-enabled",
        General,
        Shape::Bool,
        |c| Value::Bool(c.crash_log_enabled),
        |c, v| c.crash_log_enabled = v.bool(),
        "Log a report when the process crashes. Without it the kernel writes a core file undisturbed.",
    ),
    harmless(
        "crash-memcheck-enabled",
        General,
        Shape::Bool,
        "yes",
        "memory is not tested after a crash",
        "Test the memory after a crash.",
    ),
    served(
        "databases",
        General,
        Shape::Integer(1, DATABASES as i64),
        |c| Value::Integer(c.databases),
        |c, v| c.databases = v.integer(),
        "The number of databases. A connection starts in database 0 and changes with SELECT.",
    )
    .fixed(),
    served(
        "always-show-logo",
        General,
        Shape::Bool,
        |c| Value::Bool(c.always_show_logo),
        |c, v| c.always_show_logo = v.bool(),
        "Show the logo at the start even when the log is not a terminal.",
    )
    .fixed(),
    served(
        "set-proc-title",
        General,
        Shape::Bool,
        |c| Value::Bool(c.set_proc_title),
        |c, v| c.set_proc_title = v.bool(),
        "Show what the server does in the title that `ps` and `top` print.",
    )
    .fixed(),
    served(
        "proc-title-template",
        General,
        Shape::Text(proc_title_template),
        |c| Value::Text(c.proc_title_template.clone()),
        |c, v| c.proc_title_template = v.text(),
        "The title of the process. It can hold {title}, {listen-addr}, {server-mode}, {port}, {tls-port}, \
         {unixsocket} and {config-file}; `{{` stands for a brace.",
    ),
    harmless(
        "locale-collate",
        General,
        TEXT,
        "",
        "nothing compares texts by a locale yet",
        "The locale by which SORT ALPHA and scripts compare texts. Empty takes it from the environment.",
    ),
    harmless(
        "ignore-warnings",
        General,
        TEXT,
        "",
        "no warning stops the start",
        "Names of warnings about the system that do not stop the start.",
    ),
    served(
        "availability-zone",
        General,
        TEXT,
        |c| Value::Text(c.availability_zone.clone()),
        |c, v| c.availability_zone = v.text(),
        "The zone this server runs in, which HELLO tells clients that prefer a near one.",
    ),
    harmless(
        "extended-redis-compatibility",
        General,
        Shape::Bool,
        "no",
        "the server always answers as Redis does",
        "Answer under the name of Redis where clients look at it.",
    ),
    harmless(
        "hash-seed",
        General,
        TEXT_OR_NONE,
        "",
        "the seed of the tables is random",
        "A fixed seed for the tables, so that several servers scan in the same order.",
    )
    .fixed(),
    // ---- snapshotting
    served(
        "save",
        Snapshotting,
        Shape::Save,
        |c| Value::Save(c.save.clone()),
        |c, v| c.save = v.save(),
        "Save the data to disk when, after so many seconds, there were at least so many changes. Several \
         pairs may be given, on one line or on several. `save \"\"` saves never by itself.",
    ),
    served(
        "stop-writes-on-bgsave-error",
        Snapshotting,
        Shape::Bool,
        |c| Value::Bool(c.stop_writes_on_bgsave_error),
        |c, v| c.stop_writes_on_bgsave_error = v.bool(),
        "Refuse writes after a snapshot failed, so that somebody notices. Writes are accepted again as soon \
         as a snapshot succeeds. It has no effect without save points.",
    ),
    served(
        "rdbcompression",
        Snapshotting,
        Shape::Bool,
        |c| Value::Bool(c.rdbcompression),
        |c, v| c.rdbcompression = v.bool(),
        "Compress strings in snapshots. Off saves processor time for a larger file.",
    ),
    served(
        "rdbchecksum",
        Snapshotting,
        Shape::Bool,
        |c| Value::Bool(c.rdbchecksum),
        |c, v| c.rdbchecksum = v.bool(),
        "End snapshots with a checksum, and check it when one is loaded.",
    )
    .fixed(),
    served(
        "sanitize-dump-payload",
        Snapshotting,
        Shape::Choice(&["no", "yes", "clients"]),
        |c| Value::Choice(c.sanitize_dump_payload as usize),
        |c, v| c.sanitize_dump_payload = SanitizePayload::ALL[v.choice()],
        "Whether packed encodings in snapshots and RESTORE payloads are checked in depth: never, always, or \
         only those that clients send. Onefold always checks what could do harm.",
    ),
    served(
        "dbfilename",
        Snapshotting,
        Shape::Text(dump_file_name),
        |c| Value::Text(c.dbfilename.clone()),
        |c, v| c.dbfilename = v.text(),
        "The name of the snapshot's file, inside of `dir`.",
    )
    .protected(),
    harmless(
        "rdb-del-sync-files",
        Snapshotting,
        Shape::Bool,
        "no",
        NO_REPLICATION,
        "Remove snapshots that were made only for replicas, on servers without persistence.",
    ),
    served(
        "dir",
        Snapshotting,
        TEXT,
        |c| Value::Text(c.dir.clone()),
        |c, v| c.dir = inside_of(&c.dir, &v.text()),
        "The working directory, in which snapshots are written and read. One that does not begin with `/` is \
         inside of the one before.",
    )
    .protected()
    .denied_while_loading()
    .takes_effect_again(),
    served(
        "rdb-save-incremental-fsync",
        Snapshotting,
        Shape::Bool,
        |c| Value::Bool(c.rdb_save_incremental_fsync),
        |c, v| c.rdb_save_incremental_fsync = v.bool(),
        "Send a snapshot to the disk bit by bit while it is written, so that its end causes no burst and no \
         memory fills up with unwritten pages.",
    ),
    served(
        "snapshot-memory-limit",
        Snapshotting,
        Shape::Memory(1 << 20, LONG_MAX),
        |c| Value::Bytes(c.snapshot_memory_limit),
        |c, v| c.snapshot_memory_limit = v.bytes(),
        "How much memory all running snapshots may take together, whatever the size of the data; an eighth \
         of maxmemory at most. What commands change before it is saved waits in it for the disk; when a \
         quarter of it is full, commands that write are slowed down; when half of it is, they wait.",
    ),
    served(
        "snapshot-write-rate",
        Snapshotting,
        Shape::Memory(0, LONG_MAX),
        |c| Value::Bytes(c.snapshot_write_rate),
        |c, v| c.snapshot_write_rate = v.bytes(),
        "Bytes that a snapshot writes to the disk in a second at most; 0 means as many as it can. A running \
         one follows at once.",
    ),
    served(
        "rdb-version-check",
        Snapshotting,
        Shape::Choice(&["strict", "relaxed"]),
        |c| Value::Choice(usize::from(c.rdb_version_check == VersionCheck::Relaxed)),
        |c, v| c.rdb_version_check = [VersionCheck::Strict, VersionCheck::Relaxed][v.choice()],
        "Whether a snapshot or a RESTORE payload of an unknown, newer version is refused or tried. What a newer \
         version has added is refused where it comes.",
    ),
    // ---- replication
    later(
        "replicaof",
        Replication,
        Shape::ReplicaOf,
        "",
        "replication is not served yet",
        "The host and the port of the primary whose copy this server is. `no one` makes it a primary.",
    )
    .also(&["slaveof"])
    .fixed(),
    harmless(
        "masterauth",
        Replication,
        TEXT_OR_NONE,
        "",
        NO_REPLICATION,
        "The password with which a replica logs in to its primary.",
    )
    .also(&["primaryauth"])
    .sensitive(),
    harmless(
        "masteruser",
        Replication,
        TEXT_OR_NONE,
        "",
        NO_REPLICATION,
        "The user as which a replica logs in to its primary.",
    )
    .also(&["primaryuser"])
    .sensitive(),
    harmless(
        "replica-serve-stale-data",
        Replication,
        Shape::Bool,
        "yes",
        NO_REPLICATION,
        "Whether a replica that lost its primary, or is still being filled, answers reads.",
    )
    .also(&["slave-serve-stale-data"]),
    harmless(
        "replica-read-only",
        Replication,
        Shape::Bool,
        "yes",
        NO_REPLICATION,
        "Whether a replica refuses writes of clients.",
    )
    .also(&["slave-read-only"]),
    harmless(
        "repl-diskless-sync",
        Replication,
        Shape::Bool,
        "yes",
        NO_REPLICATION,
        "Send a full copy to replicas directly, without a file in between.",
    ),
    harmless(
        "repl-diskless-sync-delay",
        Replication,
        COUNT,
        "5",
        NO_REPLICATION,
        "Wait so many seconds before a full copy is sent, so that several replicas can share it.",
    ),
    harmless(
        "repl-diskless-sync-max-replicas",
        Replication,
        COUNT,
        "0",
        NO_REPLICATION,
        "Start the full copy before the delay is over once so many replicas wait. 0 always waits.",
    ),
    harmless(
        "repl-diskless-load",
        Replication,
        Shape::Choice(&["disabled", "on-empty-db", "swapdb"]),
        "disabled",
        NO_REPLICATION,
        "Whether a replica loads a full copy from the socket, and what becomes of its old data meanwhile.",
    )
    .denied_while_loading(),
    harmless(
        "dual-channel-replication-enabled",
        Replication,
        Shape::Bool,
        "no",
        NO_REPLICATION,
        "Send a full copy and the changes made since over two connections.",
    ),
    harmless(
        "repl-ping-replica-period",
        Replication,
        COUNT_FROM_1,
        "10",
        NO_REPLICATION,
        "A primary pings its replicas every so many seconds.",
    )
    .also(&["repl-ping-slave-period"]),
    served(
        "repl-timeout",
        Replication,
        COUNT_FROM_1,
        |c| Value::Integer(c.repl_timeout_seconds),
        |c, v| c.repl_timeout_seconds = v.integer(),
        "After so many seconds in which a client takes nothing of the dump that it has asked for (SYNC), its \
         connection is closed.",
    ),
    harmless(
        "repl-disable-tcp-nodelay",
        Replication,
        Shape::Bool,
        "no",
        NO_REPLICATION,
        "Let the kernel gather small writes to replicas: less traffic, more delay.",
    ),
    harmless(
        "repl-mptcp",
        Replication,
        Shape::Bool,
        "no",
        NO_REPLICATION,
        "Use Multipath TCP for the link to the primary.",
    )
    .fixed(),
    row(
        "repl-backlog-size",
        Replication,
        Shape::Memory(1, LONG_MAX),
        Place::Field {
            load: |c| Value::Bytes(c.repl_backlog_size),
            store: |c, v| c.repl_backlog_size = v.bytes().max(BACKLOG_LEAST),
        },
        Status::Harmless(NO_REPLICATION),
        "How much of the stream of changes is kept for replicas that come back after an interruption.",
    ),
    harmless(
        "repl-backlog-ttl",
        Replication,
        LONG_COUNT,
        "3600",
        NO_REPLICATION,
        "Drop the kept changes so many seconds after the last replica left. 0 keeps them.",
    ),
    harmless(
        "replica-priority",
        Replication,
        COUNT,
        "100",
        NO_REPLICATION,
        "Sentinel prefers the replica with the lowest number when it needs a new primary; 0 is never chosen.",
    )
    .also(&["slave-priority"]),
    served(
        "propagation-error-behavior",
        Replication,
        Shape::Choice(&["ignore", "panic", "panic-on-replicas"]),
        |c| Value::Choice(c.propagation_error_behavior as usize),
        |c, v| c.propagation_error_behavior = AtRefusal::ALL[v.choice()],
        "What to do when a command from the append-only file fails: it is told in the log, or with panic the \
         file is refused. There are no replicas yet that could panic.",
    ),
    harmless(
        "replica-ignore-disk-write-errors",
        Replication,
        Shape::Bool,
        "no",
        NO_REPLICATION,
        "Whether a replica goes on when it cannot write to its disk.",
    ),
    harmless(
        "replica-announced",
        Replication,
        Shape::Bool,
        "yes",
        NO_REPLICATION,
        "Whether Sentinel tells clients of this replica.",
    ),
    later(
        "min-replicas-to-write",
        Replication,
        COUNT,
        "0",
        "without replication no write could be accepted",
        "Accept writes only while at least so many replicas keep up. 0 does not ask.",
    )
    .also(&["min-slaves-to-write"]),
    harmless(
        "min-replicas-max-lag",
        Replication,
        COUNT,
        "10",
        NO_REPLICATION,
        "A replica keeps up if it was heard of in the last so many seconds.",
    )
    .also(&["min-slaves-max-lag"]),
    harmless(
        "replica-announce-ip",
        Replication,
        TEXT_OR_NONE,
        "",
        NO_REPLICATION,
        "The address under which a replica can be reached, where that is not the one it connects from.",
    )
    .also(&["slave-announce-ip"]),
    harmless(
        "replica-announce-port",
        Replication,
        PORT,
        "0",
        NO_REPLICATION,
        "The port under which a replica can be reached, where that is not the one it listens on.",
    )
    .also(&["slave-announce-port"]),
    harmless(
        "replica-ignore-maxmemory",
        Replication,
        Shape::Bool,
        "yes",
        NO_REPLICATION,
        "Leave eviction to the primary, whose deletions the replica repeats.",
    )
    .also(&["slave-ignore-maxmemory"]),
    served(
        "import-mode",
        Replication,
        Shape::Bool,
        |c| Value::Bool(c.import_mode),
        |c, v| c.import_mode = v.bool(),
        "While data are being imported, expire nothing by the clock. A connection that has said CLIENT \
         IMPORT-SOURCE ON sees keys whose time has passed and removes them itself; to all others they are gone, \
         and go for good when they write to them.",
    ),
    // ---- security
    served(
        "requirepass",
        Security,
        TEXT_OR_NONE,
        |c| Value::Text(c.requirepass.clone()),
        |c, v| c.requirepass = v.text(),
        "The password of the default user, which clients send with AUTH. Passwords can be tried very fast: \
         take a long random one.",
    )
    .sensitive(),
    later(
        "aclfile",
        Security,
        TEXT,
        "",
        "users and their rights are not served yet",
        "The file that defines users and their rights.",
    )
    .fixed(),
    harmless(
        "acl-pubsub-default",
        Security,
        Shape::Choice(&["allchannels", "resetchannels"]),
        "resetchannels",
        "users and their rights are not served yet",
        "Whether a new user may use all channels or none.",
    ),
    harmless(
        "acllog-max-len",
        Security,
        LONG_COUNT,
        "128",
        "users and their rights are not served yet",
        "How many refused accesses ACL LOG remembers.",
    ),
    served(
        "enable-protected-configs",
        Security,
        DEBUG_ACCESS,
        |c| Value::Choice(c.enable_protected_configs as usize),
        |c, v| c.enable_protected_configs = DebugAccess::ALL[v.choice()],
        "Who may set `dir` and `dbfilename` with CONFIG SET: nobody, everybody, or clients on this machine. \
         Whoever may can write files wherever the server may.",
    )
    .fixed(),
    served(
        "enable-debug-command",
        Security,
        DEBUG_ACCESS,
        |c| Value::Choice(c.enable_debug_command as usize),
        |c, v| c.enable_debug_command = DebugAccess::ALL[v.choice()],
        "Who may use DEBUG: nobody, everybody, or clients on this machine.",
    )
    .fixed(),
    harmless(
        "enable-module-command",
        Security,
        DEBUG_ACCESS,
        "no",
        "there is no command MODULE: modules cannot be loaded",
        "Who may use MODULE: nobody, everybody, or clients on this machine.",
    )
    .fixed(),
    // ---- clients
    served(
        "maxclients",
        Clients,
        Shape::Integer(1, UINT_MAX),
        |c| Value::Integer(c.maxclients),
        |c, v| c.maxclients = v.integer(),
        "How many clients may be connected at a time. The limit of open files is raised to suit, or this is \
         lowered to what the limit allows.",
    ),
    served(
        "proto-max-bulk-len",
        Clients,
        Shape::Memory(1 << 20, LONG_MAX),
        |c| Value::Bytes(c.proto_max_bulk_len),
        |c, v| c.proto_max_bulk_len = v.bytes(),
        "The largest single argument of a command, and so the largest string.",
    ),
    served(
        "client-query-buffer-limit",
        Clients,
        Shape::Memory(1 << 20, LONG_MAX),
        |c| Value::Bytes(c.client_query_buffer_limit),
        |c, v| c.client_query_buffer_limit = v.bytes(),
        "The most that one client may have sent without it being a complete command. Beyond it the client is \
         disconnected.",
    ),
    served(
        "client-output-buffer-limit",
        Clients,
        Shape::Limits,
        |c| Value::Limits(c.client_output_limits),
        |c, v| c.client_output_limits = v.limits(),
        "For each class of clients - normal, replica, pubsub - the amount of unread replies at which a client \
         is disconnected: at once at the hard limit, and at the soft limit if it stays above it for so many \
         seconds. Up to 16 KB never count, as in Redis. 0 is no limit.",
    ),
    served(
        "maxmemory-clients",
        Clients,
        Shape::MemoryOrPercent,
        |c| Value::Amount(c.maxmemory_clients),
        |c, v| c.maxmemory_clients = v.amount(),
        "The memory that all clients together may use, or a percentage of maxmemory. Beyond it those that use \
         most are disconnected. 0 is no limit. Redis' default is 0.",
    ),
    served(
        "maxmemory-arguments",
        Clients,
        Shape::MemoryOrPercent,
        |c| Value::Amount(c.maxmemory_arguments),
        |c, v| c.maxmemory_arguments = v.amount(),
        "The memory that large arguments may take together while they arrive, or a percentage of maxmemory. \
         Beyond it the client whose argument takes most is disconnected. 0 is no limit of their own: they \
         count for maxmemory-clients. Not in Redis.",
    ),
    served(
        "tracking-table-max-keys",
        Clients,
        LONG_COUNT,
        |c| Value::Integer(c.tracking_table_max_keys),
        |c, v| c.tracking_table_max_keys = v.integer(),
        "How many keys are remembered for clients that cache; 0 is no limit. Beyond it any keys are forgotten, \
         and their clients told as if these had changed. Whatever the number, all names together may take 256 \
         megabytes, or 256 bytes for each key that is allowed, whichever is more.",
    ),
    later(
        "client-default-resp",
        Clients,
        Shape::Integer(2, 3),
        "2",
        "connections start with protocol 2",
        "The version of the protocol that a connection starts with.",
    )
    .fixed()
    .hidden(),
    // ---- memory
    served(
        "maxmemory",
        Memory,
        Shape::MemoryOrShare,
        |c| Value::Amount(c.maxmemory),
        |c, v| c.maxmemory = v.amount(),
        "The memory that the server may use, with all it needs beside the data; or a percentage of what its \
         control group allows, of the machine's memory if that allows more. When it is used up, keys are \
         evicted as maxmemory-policy says, or commands that need more are refused. 0 is no limit.",
    ),
    served(
        "maxmemory-policy",
        Memory,
        Shape::Choice(&[
            "volatile-lru",
            "volatile-lfu",
            "volatile-random",
            "volatile-ttl",
            "allkeys-lru",
            "allkeys-lfu",
            "allkeys-random",
            "noeviction",
            "volatile-lrm",
            "allkeys-lrm",
        ]),
        |c| Value::Choice(c.maxmemory_policy as usize),
        |c, v| c.maxmemory_policy = EvictionPolicy::ALL[v.choice()],
        "Which keys give way when memory is used up: of all keys, or of those with a time to live, the least \
         recently used (lru), the least frequently used (lfu), the least recently modified (lrm), any, or the soonest to \
         expire. With noeviction commands that need memory are refused.",
    ),
    served(
        "load-beyond-maxmemory",
        Memory,
        Shape::Choice(&["evict", "refuse", "load"]),
        |c| Value::Choice(c.load_beyond_maxmemory as usize),
        |c, v| c.load_beyond_maxmemory = BeyondMemory::ALL[v.choice()],
        "What becomes of a dump, at the start, that takes more memory than maxmemory allows: keys are evicted \
         as maxmemory-policy says, and where it lets none go all is loaded; it is refused; or it is loaded all \
         the same. From an append-only file no key is evicted while it is loaded. Not in Redis, which loads.",
    ),
    served(
        "maxmemory-samples",
        Memory,
        COUNT_FROM_1,
        |c| Value::Integer(c.maxmemory_samples),
        |c, v| c.maxmemory_samples = v.integer(),
        "How many keys are looked at to find one to evict. More is closer to the ideal and costs more time.",
    ),
    served(
        "maxmemory-eviction-tenacity",
        Memory,
        Shape::Integer(0, 100),
        |c| Value::Integer(c.maxmemory_eviction_tenacity),
        |c, v| c.maxmemory_eviction_tenacity = v.integer(),
        "How long eviction may keep clients waiting: 0 hardly, 100 until memory is below the limit.",
    ),
    served(
        "lfu-log-factor",
        Memory,
        COUNT,
        |c| Value::Integer(c.lfu_log_factor),
        |c, v| c.lfu_log_factor = v.integer(),
        "How many accesses it takes to count one up: higher tells apart keys that are used very often.",
    ),
    served(
        "lfu-decay-time",
        Memory,
        COUNT,
        |c| Value::Integer(c.lfu_decay_time),
        |c, v| c.lfu_decay_time = v.integer(),
        "The count of accesses falls by one in so many minutes. 0 is never.",
    ),
    served(
        "active-expire-effort",
        Memory,
        Shape::Integer(1, 10),
        |c| Value::Integer(c.active_expire_effort),
        |c, v| c.active_expire_effort = v.integer(),
        "How much work goes into finding expired keys that nobody asks for, from 1 to 10. More frees memory \
         sooner and costs more processor time.",
    ),
    // ---- lazy freeing
    served(
        "lazyfree-lazy-eviction",
        LazyFreeing,
        Shape::Bool,
        |c| Value::Bool(c.lazyfree_lazy_eviction),
        |c, v| c.lazyfree_lazy_eviction = v.bool(),
        "Log evictions as UNLINK instead of DEL. Here large values are freed in the background in any case.",
    ),
    served(
        "lazyfree-lazy-expire",
        LazyFreeing,
        Shape::Bool,
        |c| Value::Bool(c.lazyfree_lazy_expire),
        |c, v| c.lazyfree_lazy_expire = v.bool(),
        "Log expiries as UNLINK instead of DEL. Here large values are freed in the background in any case.",
    ),
    harmless(
        "lazyfree-lazy-server-del",
        LazyFreeing,
        Shape::Bool,
        "no",
        "large values are always freed in the background",
        "Free values in the background that a command replaces, as RENAME does.",
    ),
    harmless(
        "replica-lazy-flush",
        LazyFreeing,
        Shape::Bool,
        "no",
        NO_REPLICATION,
        "Free the old data in the background when a replica gets a full copy.",
    )
    .also(&["slave-lazy-flush"]),
    harmless(
        "lazyfree-lazy-user-del",
        LazyFreeing,
        Shape::Bool,
        "no",
        "large values are always freed in the background",
        "Let DEL free values in the background, as UNLINK does.",
    ),
    served(
        "lazyfree-lazy-user-flush",
        LazyFreeing,
        Shape::Bool,
        |c| Value::Bool(c.lazyfree_lazy_user_flush),
        |c, v| c.lazyfree_lazy_user_flush = v.bool(),
        "Let FLUSHALL, FLUSHDB and SCRIPT FLUSH free in the background unless they say SYNC.",
    ),
    // ---- threads
    served(
        "io-threads",
        Threads,
        Shape::Integer(0, 256),
        |c| Value::Integer(c.io_threads),
        |c, v| c.io_threads = v.integer(),
        "The number of worker threads. Each has its own connections and runs their commands itself. 0, the \
         default, is one thread for each core.",
    )
    .fixed(),
    harmless(
        "io-threads-do-reads",
        Threads,
        Shape::Bool,
        "no",
        "worker threads always read, run and write",
        "Let threads read requests, not only write replies.",
    ),
    harmless(
        "io-threads-always-active",
        Threads,
        Shape::Bool,
        "no",
        "worker threads are always active",
        "Keep threads busy even when there is little to do.",
    )
    .hidden(),
    harmless(
        "min-io-threads-avoid-copy-reply",
        Threads,
        COUNT,
        "7",
        REPLIES_REFER,
        "From how many threads on replies refer to large values.",
    )
    .hidden(),
    harmless(
        "min-string-size-avoid-copy-reply",
        Threads,
        COUNT,
        "16384",
        REPLIES_REFER,
        "From how many bytes on a reply refers to a value, with one thread.",
    )
    .hidden(),
    harmless(
        "min-string-size-avoid-copy-reply-threaded",
        Threads,
        COUNT,
        "65536",
        REPLIES_REFER,
        "From how many bytes on a reply refers to a value, with several threads.",
    )
    .hidden(),
    harmless(
        "events-per-io-thread",
        Threads,
        COUNT,
        "2",
        "worker threads are always active",
        "How many events it takes to wake another thread.",
    ),
    harmless(
        "prefetch-batch-max-size",
        Threads,
        Shape::Integer(0, 128),
        "16",
        "commands always run in batches of a fixed size",
        "For how many commands at a time keys are fetched ahead from memory.",
    ),
    // ---- kernel
    served(
        "oom-score-adj",
        Kernel,
        Shape::Choice(&["no", "yes", "relative", "absolute"]),
        |c| {
            Value::Choice(
                OomScoreAdj::BY_NAME.iter().position(|how| *how == c.oom_score_adj).expect("all are there"),
            )
        },
        |c, v| c.oom_score_adj = OomScoreAdj::BY_NAME[v.choice()],
        "Whether the server changes how readily the kernel ends it when memory runs out: not at all, by a value \
         (yes or relative), or to a value (absolute).",
    ),
    served(
        "oom-score-adj-values",
        Kernel,
        Shape::Scores,
        |c| Value::Words(c.oom_score_adj_values.clone()),
        |c, v| c.oom_score_adj_values = v.words(),
        "The values for a primary, a replica, and a process that saves in the background; there is no such \
         process here.",
    ),
    harmless(
        "disable-thp",
        Kernel,
        Shape::Bool,
        "yes",
        "huge pages do not hurt a server that never forks",
        "Turn transparent huge pages off for the process.",
    )
    .fixed(),
    harmless(
        "jemalloc-bg-thread",
        Kernel,
        Shape::Bool,
        "yes",
        "memory is returned to the system by the server's own schedule",
        "Let the allocator return memory to the system in a thread of its own.",
    ),
    harmless(
        "server-cpulist",
        Kernel,
        TEXT_OR_NONE,
        "",
        NO_PINNING,
        "The cores for worker threads, as in `0-3,5` or `0-7:2`.",
    )
    .also(&["server_cpulist"])
    .fixed(),
    harmless("bio-cpulist", Kernel, TEXT_OR_NONE, "", NO_PINNING, "The cores for background threads.")
        .also(&["bio_cpulist"])
        .fixed(),
    harmless(
        "aof-rewrite-cpulist",
        Kernel,
        TEXT_OR_NONE,
        "",
        NO_PINNING,
        "The cores for rewriting the append-only file.",
    )
    .also(&["aof_rewrite_cpulist"])
    .fixed(),
    harmless(
        "bgsave-cpulist",
        Kernel,
        TEXT_OR_NONE,
        "",
        NO_PINNING,
        "The cores for saving in the background.",
    )
    .also(&["bgsave_cpulist"])
    .fixed(),
    // ---- append only
    served(
        "appendonly",
        AppendOnly,
        Shape::Bool,
        |c| Value::Bool(c.appendonly),
        |c, v| c.appendonly = v.bool(),
        "Write every change to a log on disk, from which the data are restored at the start. Where there is no \
         such log yet, the snapshot is loaded and the log begins with it.",
    )
    .denied_while_loading(),
    served(
        "appendfilename",
        AppendOnly,
        Shape::Text(append_file_name),
        |c| Value::Text(c.appendfilename.clone()),
        |c, v| c.appendfilename = v.text(),
        "How the names of the append-only files begin.",
    )
    .fixed(),
    served(
        "appenddirname",
        AppendOnly,
        Shape::Text(append_dir_name),
        |c| Value::Text(c.appenddirname.clone()),
        |c, v| c.appenddirname = v.text(),
        "The directory of the append-only files, inside of `dir`.",
    )
    .fixed(),
    served(
        "appendfsync",
        AppendOnly,
        Shape::Choice(&["everysec", "always", "no"]),
        |c| Value::Choice(c.appendfsync as usize),
        |c, v| c.appendfsync = AppendSync::ALL[v.choice()],
        "When changes are forced to the disk: every second, before the reply, or when the system likes.",
    ),
    served(
        "no-appendfsync-on-rewrite",
        AppendOnly,
        Shape::Bool,
        |c| Value::Bool(c.no_appendfsync_on_rewrite),
        |c, v| c.no_appendfsync_on_rewrite = v.bool(),
        "Do not force changes to the disk while a snapshot or a rewrite keeps it busy.",
    ),
    served(
        "auto-aof-rewrite-percentage",
        AppendOnly,
        COUNT,
        |c| Value::Integer(c.auto_aof_rewrite_percentage),
        |c, v| c.auto_aof_rewrite_percentage = v.integer(),
        "Rewrite the append-only file when it grew by so many percent since the last time. 0 is never.",
    ),
    served(
        "auto-aof-rewrite-min-size",
        AppendOnly,
        Shape::Memory(0, LONG_MAX),
        |c| Value::Bytes(c.auto_aof_rewrite_min_size),
        |c, v| c.auto_aof_rewrite_min_size = v.bytes(),
        "Do not rewrite an append-only file that is smaller than this.",
    ),
    served(
        "aof-load-truncated",
        AppendOnly,
        Shape::Bool,
        |c| Value::Bool(c.aof_load_truncated),
        |c, v| c.aof_load_truncated = v.bool(),
        "Load an append-only file whose end is cut off up to its last complete command.",
    ),
    served(
        "aof-load-corrupt-tail-max-size",
        AppendOnly,
        Shape::Memory(0, LONG_MAX),
        |c| Value::Bytes(c.aof_load_corrupt_tail_max_size),
        |c, v| c.aof_load_corrupt_tail_max_size = v.bytes(),
        "Load an append-only file whose last bytes, at most so many, are damaged: they are cut off. 0 refuses \
         such a file.",
    ),
    served(
        "aof-use-rdb-preamble",
        AppendOnly,
        Shape::Bool,
        |c| Value::Bool(c.aof_use_rdb_preamble),
        |c, v| c.aof_use_rdb_preamble = v.bool(),
        "Begin a rewritten append-only file with a snapshot, which is smaller and loads faster. Without, commands \
         are made of a snapshot, for which the largest value has to fit into memory once more.",
    ),
    served(
        "aof-timestamp-enabled",
        AppendOnly,
        Shape::Bool,
        |c| Value::Bool(c.aof_timestamp_enabled),
        |c, v| c.aof_timestamp_enabled = v.bool(),
        "Note the time in the append-only file, so that it can be cut at a point in time.",
    ),
    served(
        "aof-rewrite-incremental-fsync",
        AppendOnly,
        Shape::Bool,
        |c| Value::Bool(c.aof_rewrite_incremental_fsync),
        |c, v| c.aof_rewrite_incremental_fsync = v.bool(),
        "Send a rewritten append-only file to the disk bit by bit while it is written.",
    ),
    served(
        "aof-disable-auto-gc",
        AppendOnly,
        Shape::Bool,
        |c| Value::Bool(c.aof_disable_auto_gc),
        |c, v| c.aof_disable_auto_gc = v.bool(),
        "Keep append-only files that are no longer needed.",
    ),
    // ---- shutdown
    harmless(
        "shutdown-timeout",
        Shutdown,
        COUNT,
        "10",
        "there are no replicas to wait for yet",
        "At a shutdown, wait so many seconds for replicas to catch up. 0 does not wait.",
    ),
    served(
        "shutdown-on-sigint",
        Shutdown,
        Shape::Shutdown,
        |c| Value::Shutdown(c.shutdown_on_sigint),
        |c, v| c.shutdown_on_sigint = v.shutdown(),
        "How to shut down at SIGINT. `default` saves if there are save points; `save` and `nosave` decide \
         otherwise, `now` does not wait for replicas, `force` ends even if saving fails.",
    ),
    served(
        "shutdown-on-sigterm",
        Shutdown,
        Shape::Shutdown,
        |c| Value::Shutdown(c.shutdown_on_sigterm),
        |c, v| c.shutdown_on_sigterm = v.shutdown(),
        "How to shut down at SIGTERM; the same words as for SIGINT.",
    ),
    // ---- scripting
    served(
        "busy-reply-threshold",
        Scripting,
        LONG_COUNT,
        |c| Value::Integer(c.busy_reply_threshold_ms),
        |c, v| c.busy_reply_threshold_ms = v.integer(),
        "After so many milliseconds of a script other clients are told that the server is busy, and SCRIPT KILL, \
         FUNCTION KILL and SHUTDOWN NOSAVE are heard. With 0 they wait until the script ends. One call of a Lua \
         function is not interrupted, however long it takes: a pattern can be such that it never ends.",
    )
    .also(&["lua-time-limit"]),
    served(
        "lua-strict-keys",
        Scripting,
        Shape::Bool,
        |c| Value::Bool(c.lua_strict_keys),
        |c, v| c.lua_strict_keys = v.bool(),
        "Whether every script keeps to the keys that its request names, as those do that say so with the flag \
         `declared-keys`. Such scripts run beside other commands; another key is an error.",
    ),
    served(
        "lua-memory-limit",
        Scripting,
        Shape::Memory(0, LONG_MAX),
        |c| Value::Bytes(c.lua_memory_limit),
        |c, v| c.lua_memory_limit = v.bytes(),
        "How much memory Lua may have, for one script and for all together. A script that needs more gets an \
         error. One of 32 parts of maxmemory at most, but no less than 8 MB. 0 is no limit.",
    ),
    served(
        "script-cache-limit",
        Scripting,
        Shape::Memory(0, LONG_MAX),
        |c| Value::Bytes(c.script_cache_limit),
        |c, v| c.script_cache_limit = v.bytes(),
        "How much memory the texts of scripts may take that EVAL or SCRIPT LOAD brought. The least recently \
         used give way, those that were loaded or asked for by EVALSHA last. An eighth of \
         maxmemory at most. 0 is no limit.",
    ),
    harmless(
        "lua-enable-insecure-api",
        Scripting,
        Shape::Bool,
        "no",
        "scripts have no such functions",
        "Give scripts old functions that can break out of them.",
    )
    .also(&["lua-enable-deprecated-api"])
    .protected()
    .hidden(),
    // ---- cluster
    later(
        "cluster-enabled",
        Cluster,
        Shape::Bool,
        "no",
        "the cluster is not served yet",
        "Run as a node of a cluster.",
    )
    .fixed(),
    harmless(
        "cluster-config-file",
        Cluster,
        TEXT,
        "nodes.conf",
        NO_CLUSTER,
        "The file in which a node keeps what it knows of the cluster. The server writes it itself.",
    )
    .fixed(),
    harmless(
        "cluster-config-save-behavior",
        Cluster,
        Shape::Choice(&["sync", "best-effort"]),
        "sync",
        NO_CLUSTER,
        "Whether a node ends when it cannot write its cluster file.",
    ),
    harmless(
        "cluster-node-timeout",
        Cluster,
        LONG_COUNT,
        "15000",
        NO_CLUSTER,
        "After so many milliseconds of silence a node is taken for failing.",
    ),
    harmless(
        "cluster-port",
        Cluster,
        PORT,
        "0",
        NO_CLUSTER,
        "The port of the cluster bus; 0 is `port` + 10000.",
    )
    .fixed(),
    harmless(
        "cluster-databases",
        Cluster,
        COUNT_FROM_1,
        "1",
        NO_CLUSTER,
        "The number of databases of a cluster.",
    )
    .fixed(),
    harmless(
        "cluster-replica-validity-factor",
        Cluster,
        COUNT,
        "10",
        NO_CLUSTER,
        "A replica whose data are older than this many node timeouts does not take over. 0 always may.",
    )
    .also(&["cluster-slave-validity-factor"]),
    harmless(
        "cluster-migration-barrier",
        Cluster,
        COUNT,
        "1",
        NO_CLUSTER,
        "A primary lends a replica to one that has none only if it keeps at least so many.",
    ),
    harmless(
        "cluster-allow-replica-migration",
        Cluster,
        Shape::Bool,
        "yes",
        NO_CLUSTER,
        "Whether replicas move to primaries that have none.",
    ),
    harmless(
        "cluster-require-full-coverage",
        Cluster,
        Shape::Bool,
        "yes",
        NO_CLUSTER,
        "Refuse commands everywhere as long as some slots are served by nobody.",
    ),
    harmless(
        "cluster-replica-no-failover",
        Cluster,
        Shape::Bool,
        "no",
        NO_CLUSTER,
        "A replica never takes over by itself, only when told to.",
    )
    .also(&["cluster-slave-no-failover"]),
    harmless(
        "cluster-allow-reads-when-down",
        Cluster,
        Shape::Bool,
        "no",
        NO_CLUSTER,
        "Answer reads even while the cluster is down.",
    ),
    harmless(
        "cluster-allow-pubsubshard-when-down",
        Cluster,
        Shape::Bool,
        "yes",
        NO_CLUSTER,
        "Deliver messages of sharded channels even while the cluster is down.",
    ),
    harmless(
        "cluster-link-sendbuf-limit",
        Cluster,
        Shape::Memory(0, u64::MAX),
        "0",
        NO_CLUSTER,
        "Close a link to another node when so much waits to be sent over it. 0 is no limit.",
    ),
    harmless(
        "cluster-preferred-endpoint-type",
        Cluster,
        Shape::Choice(&["ip", "hostname", "unknown-endpoint"]),
        "ip",
        NO_CLUSTER,
        "How nodes are named to clients: by address, by host name, or as the host they know.",
    ),
    harmless(
        "cluster-announce-hostname",
        Cluster,
        Shape::Optional(host_name),
        "",
        NO_CLUSTER,
        "The host name of this node, for clients.",
    ),
    harmless(
        "cluster-announce-human-nodename",
        Cluster,
        Shape::Optional(node_name),
        "",
        NO_CLUSTER,
        "A name of this node for logs.",
    ),
    harmless(
        "cluster-announce-ip",
        Cluster,
        TEXT_OR_NONE,
        "",
        NO_CLUSTER,
        "The address under which other nodes and clients reach this node.",
    ),
    harmless(
        "cluster-announce-client-ipv4",
        Cluster,
        TEXT_OR_NONE,
        "",
        NO_CLUSTER,
        "Another IPv4 address for clients than for nodes.",
    ),
    harmless(
        "cluster-announce-client-ipv6",
        Cluster,
        TEXT_OR_NONE,
        "",
        NO_CLUSTER,
        "Another IPv6 address for clients than for nodes.",
    ),
    harmless(
        "cluster-announce-port",
        Cluster,
        PORT,
        "0",
        NO_CLUSTER,
        "The port under which this node is reached; 0 is `port`.",
    ),
    harmless(
        "cluster-announce-tls-port",
        Cluster,
        PORT,
        "0",
        NO_CLUSTER,
        "The TLS port under which this node is reached; 0 is `tls-port`.",
    ),
    harmless(
        "cluster-announce-client-port",
        Cluster,
        PORT,
        "0",
        NO_CLUSTER,
        "Another port for clients than for nodes.",
    ),
    harmless(
        "cluster-announce-client-tls-port",
        Cluster,
        PORT,
        "0",
        NO_CLUSTER,
        "Another TLS port for clients than for nodes.",
    ),
    harmless(
        "cluster-announce-bus-port",
        Cluster,
        PORT,
        "0",
        NO_CLUSTER,
        "The port under which the cluster bus of this node is reached.",
    ),
    harmless(
        "cluster-blacklist-ttl",
        Cluster,
        LONG_COUNT,
        "60",
        NO_CLUSTER,
        "For so many seconds a forgotten node is not let in again.",
    ),
    harmless(
        "cluster-manual-failover-timeout",
        Cluster,
        COUNT_FROM_1,
        "5000",
        NO_CLUSTER,
        "For so many milliseconds a failover by hand may take.",
    ),
    harmless(
        "cluster-slot-stats-enabled",
        Cluster,
        Shape::Bool,
        "no",
        NO_CLUSTER,
        "Count the processor time and the traffic of each slot.",
    ),
    harmless(
        "cluster-slot-migration-log-max-len",
        Cluster,
        LONG_COUNT,
        "1000",
        NO_CLUSTER,
        "How many finished moves of slots are remembered.",
    ),
    harmless(
        "slot-migration-max-failover-repl-bytes",
        Cluster,
        Shape::Integer(-1, i64::MAX),
        "0",
        NO_CLUSTER,
        "How much may still be on its way when a moved slot is handed over. -1 is no limit.",
    ),
    harmless(
        "cluster-ping-interval",
        Cluster,
        LONG_COUNT,
        "0",
        NO_CLUSTER,
        "The time between two pings to a random node, in milliseconds.",
    )
    .hidden(),
    harmless(
        "cluster-message-gossip-perc",
        Cluster,
        Shape::Integer(1, 100),
        "10",
        NO_CLUSTER,
        "Of how many percent of the nodes each message tells.",
    )
    .hidden(),
    // ---- latency
    served(
        "slowlog-log-slower-than",
        Latency,
        Shape::Integer(-1, i64::MAX),
        |c| Value::Integer(c.slowlog_log_slower_than_us),
        |c, v| c.slowlog_log_slower_than_us = v.integer(),
        "Keep commands in the slow log that take longer than so many microseconds. 0 keeps all, -1 none.",
    )
    .also(&["commandlog-execution-slower-than"]),
    served(
        "slowlog-max-len",
        Latency,
        LONG_COUNT,
        |c| Value::Integer(c.slowlog_max_len),
        |c, v| c.slowlog_max_len = v.integer(),
        "How many commands the slow log keeps. The oldest give way; SLOWLOG RESET frees all.",
    )
    .also(&["commandlog-slow-execution-max-len"]),
    served(
        "commandlog-request-larger-than",
        Latency,
        Shape::Integer(-1, i64::MAX),
        |c| Value::Integer(c.commandlog_request_len),
        |c, v| c.commandlog_request_len = v.integer(),
        "Keep commands whose request takes so many bytes or more, for COMMANDLOG. -1 keeps none.",
    ),
    served(
        "commandlog-large-request-max-len",
        Latency,
        LONG_COUNT,
        |c| Value::Integer(c.commandlog_requests),
        |c, v| c.commandlog_requests = v.integer(),
        "How many commands with large requests are kept. The oldest give way.",
    ),
    served(
        "commandlog-reply-larger-than",
        Latency,
        Shape::Integer(-1, i64::MAX),
        |c| Value::Integer(c.commandlog_reply_len),
        |c, v| c.commandlog_reply_len = v.integer(),
        "Keep commands whose reply takes so many bytes or more, for COMMANDLOG. -1 keeps none.",
    ),
    served(
        "commandlog-large-reply-max-len",
        Latency,
        LONG_COUNT,
        |c| Value::Integer(c.commandlog_replies),
        |c, v| c.commandlog_replies = v.integer(),
        "How many commands with large replies are kept. The oldest give way.",
    ),
    served(
        "latency-monitor-threshold",
        Latency,
        LONG_COUNT,
        |c| Value::Integer(c.latency_monitor_threshold_ms),
        |c, v| c.latency_monitor_threshold_ms = v.integer(),
        "Let LATENCY remember what took at least so many milliseconds. 0 is off.",
    ),
    served(
        "latency-tracking",
        Latency,
        Shape::Bool,
        |c| Value::Bool(c.latency_tracking),
        |c, v| c.latency_tracking = v.bool(),
        "Keep the distribution of times of each command, for INFO latencystats and LATENCY HISTOGRAM.",
    ),
    served(
        "latency-tracking-info-percentiles",
        Latency,
        Shape::Percentiles,
        |c| Value::Percentiles(c.latency_tracking_info_percentiles.clone()),
        |c, v| c.latency_tracking_info_percentiles = v.percentiles(),
        "The percentiles that INFO latencystats prints.",
    ),
    served(
        "hz",
        Latency,
        COUNT,
        |c| Value::Integer(c.hz),
        |c, v| c.hz = v.integer().clamp(1, 500),
        "How often in a second periodic work is done, as expiring keys and closing idle clients: from 1 to \
         500. More makes it smoother and costs processor time.",
    ),
    served(
        "dynamic-hz",
        Latency,
        Shape::Bool,
        |c| Value::Bool(c.dynamic_hz),
        |c, v| c.dynamic_hz = v.bool(),
        "Do periodic work more often than `hz` says while many clients are connected.",
    ),
    // ---- events
    served(
        "notify-keyspace-events",
        Events,
        Shape::Events,
        |c| Value::Integer(c.notify_keyspace_events.into()),
        |c, v| c.notify_keyspace_events = v.integer() as u32,
        "Publish what happens to keys. K publishes under the key's name, E under the event's; the other \
         letters choose the events: g for commands of every type, $ strings, l lists, s sets, h hashes, z \
         sorted sets, t streams, d modules, x expired, e evicted, m missed, n new keys, and A for g$lshzxetd. \
         Nothing is published without K or E.",
    ),
    // ---- encodings
    served(
        "hash-max-listpack-entries",
        Encodings,
        LONG_COUNT,
        |c| Value::Integer(c.thresholds.hash_entries as i64),
        |c, v| c.thresholds.hash_entries = v.integer() as usize,
        "A hash with at most so many fields is kept packed, which takes less memory.",
    )
    .also(&["hash-max-ziplist-entries"]),
    served(
        "hash-max-listpack-value",
        Encodings,
        Shape::Memory(0, LONG_MAX),
        |c| Value::Bytes(c.thresholds.hash_value as u64),
        |c, v| c.thresholds.hash_value = v.bytes() as usize,
        "A hash with a longer field or value than this is not kept packed.",
    )
    .also(&["hash-max-ziplist-value"]),
    served(
        "list-max-listpack-size",
        Encodings,
        Shape::Integer(INT_MIN, INT_MAX),
        |c| Value::Integer(c.thresholds.list_node_size),
        |c, v| c.thresholds.list_node_size = v.integer(),
        "The size of a node of a list: a positive number of elements, or -1 to -5 for 4, 8, 16, 32 or 64 kb.",
    )
    .also(&["list-max-ziplist-size"]),
    served(
        "list-compress-depth",
        Encodings,
        COUNT,
        |c| Value::Integer(c.thresholds.list_compress_depth as i64),
        |c, v| c.thresholds.list_compress_depth = v.integer() as usize,
        "Compress the nodes of a list except so many at each end. 0 compresses none.",
    ),
    served(
        "object-encoding-names",
        Encodings,
        Shape::Choice(&["redis-7.0", "redis-7.2"]),
        |c| Value::Choice(c.object_encoding_names as usize),
        |c, v| c.object_encoding_names = EncodingNames::ALL[v.choice()],
        "Whose names OBJECT ENCODING and DEBUG OBJECT give. Redis 7.0 had no packed lists and no packed sets of \
         names: what is one is called a quicklist or a hashtable there. How values are kept is the same.",
    ),
    served(
        "set-max-intset-entries",
        Encodings,
        LONG_COUNT,
        |c| Value::Integer(c.thresholds.set_ints as i64),
        |c, v| c.thresholds.set_ints = v.integer() as usize,
        "A set of at most so many integers is kept as a sorted array.",
    ),
    served(
        "set-max-listpack-entries",
        Encodings,
        LONG_COUNT,
        |c| Value::Integer(c.thresholds.set_entries as i64),
        |c, v| c.thresholds.set_entries = v.integer() as usize,
        "A set with at most so many members is kept packed.",
    ),
    served(
        "set-max-listpack-value",
        Encodings,
        Shape::Memory(0, LONG_MAX),
        |c| Value::Bytes(c.thresholds.set_value as u64),
        |c, v| c.thresholds.set_value = v.bytes() as usize,
        "A set with a longer member than this is not kept packed.",
    ),
    served(
        "zset-max-listpack-entries",
        Encodings,
        LONG_COUNT,
        |c| Value::Integer(c.thresholds.zset_entries as i64),
        |c, v| c.thresholds.zset_entries = v.integer() as usize,
        "A sorted set with at most so many members is kept packed.",
    )
    .also(&["zset-max-ziplist-entries"]),
    served(
        "zset-max-listpack-value",
        Encodings,
        Shape::Memory(0, LONG_MAX),
        |c| Value::Bytes(c.thresholds.zset_value as u64),
        |c, v| c.thresholds.zset_value = v.bytes() as usize,
        "A sorted set with a longer member than this is not kept packed.",
    )
    .also(&["zset-max-ziplist-value"]),
    served(
        "hll-sparse-max-bytes",
        Encodings,
        Shape::Memory(0, LONG_MAX),
        |c| Value::Bytes(c.hll_sparse_max_bytes as u64),
        |c, v| c.hll_sparse_max_bytes = v.bytes() as usize,
        "A HyperLogLog is kept sparse up to this size, and takes 12 kb beyond it.",
    ),
    served(
        "stream-node-max-bytes",
        Encodings,
        Shape::Memory(0, LONG_MAX),
        |c| Value::Bytes(c.thresholds.stream_node_bytes as u64),
        |c, v| c.thresholds.stream_node_bytes = v.bytes() as usize,
        "The largest node of a stream. 0 is no limit.",
    ),
    served(
        "stream-node-max-entries",
        Encodings,
        LONG_COUNT,
        |c| Value::Integer(c.thresholds.stream_node_entries as i64),
        |c, v| c.thresholds.stream_node_entries = v.integer() as usize,
        "The most entries in a node of a stream. 0 is no limit.",
    ),
    harmless(
        "activerehashing",
        Encodings,
        Shape::Bool,
        "yes",
        "tables grow piece by piece and are never rehashed",
        "Move a growing table to its new place in idle moments too.",
    ),
    // ---- defragmentation
    served(
        "activedefrag",
        Defragmentation,
        Shape::Bool,
        |c| Value::Bool(c.active_defrag),
        |c, v| c.active_defrag = v.bool(),
        "Move values in memory so that pages with holes can be returned to the system.",
    ),
    served(
        "active-defrag-ignore-bytes",
        Defragmentation,
        Shape::Memory(1, LONG_MAX),
        |c| Value::Bytes(c.active_defrag_ignore_bytes),
        |c, v| c.active_defrag_ignore_bytes = v.bytes(),
        "Do nothing as long as no more than this is wasted, or a thirty-second part of `maxmemory`.",
    ),
    served(
        "active-defrag-threshold-lower",
        Defragmentation,
        Shape::Integer(0, 1000),
        |c| Value::Integer(c.active_defrag_threshold_lower),
        |c, v| c.active_defrag_threshold_lower = v.integer(),
        "Start when so many percent are wasted, and stop at a quarter of that.",
    ),
    served(
        "active-defrag-threshold-upper",
        Defragmentation,
        Shape::Integer(0, 1000),
        |c| Value::Integer(c.active_defrag_threshold_upper),
        |c, v| c.active_defrag_threshold_upper = v.integer(),
        "Do the most when so many percent are wasted.",
    ),
    served(
        "active-defrag-cycle-min",
        Defragmentation,
        Shape::Integer(1, 99),
        |c| Value::Integer(c.active_defrag_cycle_min),
        |c, v| c.active_defrag_cycle_min = v.integer(),
        "The percentage of one processor's time to begin with, and while a worker is busy. Waits are not counted.",
    ),
    served(
        "active-defrag-cycle-max",
        Defragmentation,
        Shape::Integer(1, 99),
        |c| Value::Integer(c.active_defrag_cycle_max),
        |c, v| c.active_defrag_cycle_max = v.integer(),
        "The percentage of one processor's time to use at most.",
    ),
    served(
        "active-defrag-cycle-us",
        Defragmentation,
        Shape::Integer(0, 100_000),
        |c| Value::Integer(c.active_defrag_cycle_us),
        |c, v| c.active_defrag_cycle_us = v.integer(),
        "The microseconds of one slice of the work. No key is locked for longer than a part of it.",
    ),
    served(
        "active-defrag-max-scan-fields",
        Defragmentation,
        Shape::Integer(1, i64::MAX),
        |c| Value::Integer(c.active_defrag_max_scan_fields),
        |c, v| c.active_defrag_max_scan_fields = v.integer(),
        "So many elements of a collection at most, about, are looked at before other commands may use it. It is \
         128 even if this is more.",
    ),
    // ---- debugging
    served(
        "key-load-delay",
        Debugging,
        Shape::Integer(INT_MIN, INT_MAX),
        |c| Value::Integer(c.key_load_delay_us),
        |c, v| c.key_load_delay_us = v.integer(),
        "Wait so many microseconds for each key that is loaded; with a negative number, one in so many keys.",
    )
    .hidden(),
    served(
        "rdb-key-save-delay",
        Debugging,
        Shape::Integer(INT_MIN, INT_MAX),
        |c| Value::Integer(c.rdb_key_save_delay_us),
        |c, v| c.rdb_key_save_delay_us = v.integer(),
        "Wait so many microseconds for each key that is saved; with a negative number, one in so many keys.",
    )
    .hidden(),
    harmless(
        "loading-process-events-interval-bytes",
        Debugging,
        Shape::Integer(1024, INT_MAX),
        "2097152",
        "loading never blocks the workers",
        "Serve clients after each so many bytes that are loaded.",
    )
    .hidden(),
    harmless(
        "watchdog-period",
        Debugging,
        COUNT,
        "0",
        "there is no watchdog",
        "Log where the server is when it does not respond for so many milliseconds.",
    )
    .hidden(),
    harmless(
        "use-exit-on-panic",
        Debugging,
        Shape::Bool,
        "no",
        "a panic always aborts",
        "End with exit and not with abort after a panic.",
    )
    .hidden(),
    harmless(
        "req-res-logfile",
        Debugging,
        TEXT_OR_NONE,
        "",
        "requests and replies are not logged",
        "The file for a record of all requests and replies.",
    )
    .fixed()
    .hidden(),
    harmless(
        "enable-debug-assert",
        Debugging,
        Shape::Bool,
        "no",
        "assertions are chosen when the server is built",
        "Check costly assertions.",
    )
    .fixed()
    .hidden(),
    harmless(
        "debug-context",
        Debugging,
        TEXT,
        "",
        "nothing prints it",
        "A text to be printed in reports of crashes.",
    )
    .hidden(),
];

const INT_MAX: i64 = i32::MAX as i64;
const INT_MIN: i64 = i32::MIN as i64;
const UINT_MAX: i64 = u32::MAX as i64;
const LONG_MAX: u64 = i64::MAX as u64;

/// Redis' number.
const BACKLOG_LEAST: u64 = 16 << 10;

const COUNT: Shape = Shape::Integer(0, INT_MAX);
const COUNT_FROM_1: Shape = Shape::Integer(1, INT_MAX);
const LONG_COUNT: Shape = Shape::Integer(0, i64::MAX);
const PORT: Shape = Shape::Integer(0, 65535);
const TEXT: Shape = Shape::Text(any_text);
const TEXT_OR_NONE: Shape = Shape::Optional(any_text);
const DEBUG_ACCESS: Shape = Shape::Choice(&["no", "yes", "local"]);

const REPLIES_REFER: &str = "replies refer to large values whatever is set here";
const NO_REPLICATION: &str = "replication is not served yet";
const NO_TLS: &str = "used only with tls-port";
const NO_CLUSTER: &str = "used only with cluster-enabled";
const NO_PINNING: &str = "threads are not bound to cores";

type Load = fn(&Config) -> Value;
type Store = fn(&mut Config, Value);

const fn served(
    name: &'static str,
    section: Section,
    shape: Shape,
    load: Load,
    store: Store,
    doc: &'static str,
) -> Directive {
    row(name, section, shape, Place::Field { load, store }, Status::Served, doc)
}

const fn harmless(
    name: &'static str,
    section: Section,
    shape: Shape,
    default: &'static str,
    why: &'static str,
    doc: &'static str,
) -> Directive {
    row(name, section, shape, Place::Unserved(default), Status::Harmless(why), doc)
}

const fn later(
    name: &'static str,
    section: Section,
    shape: Shape,
    default: &'static str,
    what: &'static str,
    doc: &'static str,
) -> Directive {
    row(name, section, shape, Place::Unserved(default), Status::Later(what), doc)
}

const fn row(
    name: &'static str,
    section: Section,
    shape: Shape,
    place: Place,
    status: Status,
    doc: &'static str,
) -> Directive {
    Directive {
        name,
        aliases: &[],
        section,
        shape,
        place,
        change: Change::Live,
        status,
        sensitive: false,
        hidden: false,
        denied_while_loading: false,
        takes_effect_again: false,
        doc,
    }
}

impl Directive {
    const fn also(mut self, aliases: &'static [&'static str]) -> Directive {
        self.aliases = aliases;
        self
    }

    const fn fixed(mut self) -> Directive {
        self.change = Change::Fixed;
        self
    }

    const fn protected(mut self) -> Directive {
        self.change = Change::Protected;
        self
    }

    const fn sensitive(mut self) -> Directive {
        self.sensitive = true;
        self
    }

    const fn hidden(mut self) -> Directive {
        self.hidden = true;
        self
    }

    const fn denied_while_loading(mut self) -> Directive {
        self.denied_while_loading = true;
        self
    }

    const fn takes_effect_again(mut self) -> Directive {
        self.takes_effect_again = true;
        self
    }
}

/// A folder as seen from another, by its name alone.
fn inside_of(outer: &[u8], name: &[u8]) -> Vec<u8> {
    if name.is_empty() {
        // Not the folder itself: there is none of that name.
        return Vec::new();
    }
    let outer = if name.starts_with(b"/") { b"/" } else { outer };
    let steps = |path: &[u8]| -> Vec<Vec<u8>> {
        let named = path.split(|byte| *byte == b'/').filter(|step| !step.is_empty() && *step != b".");
        named.map(<[u8]>::to_vec).collect()
    };
    let inner = [steps(outer), steps(name)].concat().join(&b'/');
    match (outer.starts_with(b"/"), inner.is_empty()) {
        (true, _) => [b"/", &inner[..]].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => inner,
    }
}

fn any_text(_: &[u8]) -> Result<(), &'static str> {
    Ok(())
}

fn is_base_name(name: &[u8]) -> bool {
    !name.iter().any(|byte| b"/\\".contains(byte))
}

fn dump_file_name(name: &[u8]) -> Result<(), &'static str> {
    match is_base_name(name) {
        true => Ok(()),
        false => Err("dbfilename can't be a path, just a filename"),
    }
}

fn append_file_name(name: &[u8]) -> Result<(), &'static str> {
    match name {
        [] => Err("appendfilename can't be empty"),
        _ if is_base_name(name) => Ok(()),
        _ => Err("appendfilename can't be a path, just a filename"),
    }
}

fn append_dir_name(name: &[u8]) -> Result<(), &'static str> {
    match name {
        [] => Err("appenddirname can't be empty"),
        _ if is_base_name(name) => Ok(()),
        _ => Err("appenddirname can't be a path, just a dirname"),
    }
}

fn host_name(name: &[u8]) -> Result<(), &'static str> {
    let valid = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.".contains(byte);
    match name {
        _ if name.len() >= 256 => Err("Hostnames must be less than 256 characters"),
        _ if name.iter().all(valid) => Ok(()),
        _ => Err("Hostnames may only contain alphanumeric characters, hyphens or dots"),
    }
}

fn node_name(name: &[u8]) -> Result<(), &'static str> {
    let valid = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
    match name.iter().all(valid) {
        true => Ok(()),
        false => Err("Announced human node name contained invalid character"),
    }
}

/// Every brace begins the name of a known variable or is doubled; a title is not blank.
fn proc_title_template(template: &[u8]) -> Result<(), &'static str> {
    const VARIABLES: [&[u8]; 7] =
        [b"title", b"listen-addr", b"server-mode", b"port", b"tls-port", b"unixsocket", b"config-file"];
    const ERROR: &str = "template format is invalid or contains unknown variables";
    let mut rest = template;
    while let Some(brace) = memchr::memchr(b'{', rest) {
        rest = &rest[brace + 1..];
        if let Some(behind) = rest.strip_prefix(b"{") {
            rest = behind;
            continue;
        }
        let end = memchr::memchr(b'}', rest).ok_or(ERROR)?;
        if !VARIABLES.contains(&&rest[..end]) {
            return Err(ERROR);
        }
        rest = &rest[end + 1..];
    }
    match template.trim_ascii().is_empty() {
        true => Err(ERROR),
        false => Ok(()),
    }
}
