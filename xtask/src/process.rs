//! Runs other programs: streams what they print, and ends them and their children when they take too long.
//! Must never end a process that it did not start.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Runs a command with our own standard output. An error says how it ended.
pub fn run(command: &mut Command, limit: Duration) -> Result<(), String> {
    let child = spawn(command)?;
    verdict(command, finish(child, limit, |_| {})?)
}

/// Runs a command and passes each line of its standard output on; true when it ended well.
pub fn lines(command: &mut Command, limit: Duration, mut each: impl FnMut(&str)) -> Result<bool, String> {
    let child = spawn(command.stdout(Stdio::piped()))?;
    let status = finish(child, limit, |child| {
        let Some(output) = child.stdout.take() else { return };
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            each(&String::from_utf8_lossy(&line));
        }
    })?;
    Ok(status.success())
}

/// All that a command prints to its standard output, if it ends well.
pub fn output(command: &mut Command) -> Option<Vec<u8>> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then_some(output.stdout)
}

/// Where the program of this name is in PATH.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|candidate| is_program(candidate))
}

pub fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

fn spawn(command: &mut Command) -> Result<Child, String> {
    command.stdin(Stdio::null()).spawn().map_err(|error| format!("{}: {error}", name_of(command)))
}

fn name_of(command: &Command) -> String {
    let program = Path::new(command.get_program());
    program.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn verdict(command: &Command, status: ExitStatus) -> Result<(), String> {
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", name_of(command))) }
}

/// Waits for a child while another thread watches the clock: the reading side may be blocked on its output.
fn finish(mut child: Child, limit: Duration, read: impl FnOnce(&mut Child)) -> Result<ExitStatus, String> {
    let (done, watched) = mpsc::channel::<()>();
    let pid = child.id();
    let watch = std::thread::spawn(move || {
        let late = watched.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
        if late {
            eprintln!("xtask: no end after {} s; ending process {pid}", limit.as_secs());
            kill_tree(pid);
        }
        late
    });
    read(&mut child);
    let status = child.wait();
    drop(done);
    let late = watch.join().unwrap_or(false);
    if late {
        return Err(format!("took longer than {} s", limit.as_secs()));
    }
    status.map_err(|error| error.to_string())
}

/// Ends a child with all its descendants: a test runner's servers would otherwise hold our pipe open.
fn kill_tree(pid: u32) {
    let mut pids = vec![pid];
    let mut next = 0;
    while let Some(&parent) = pids.get(next) {
        pids.extend(children(parent));
        next += 1;
    }
    let arguments = pids.iter().map(u32::to_string);
    let _ = Command::new("kill").arg("-KILL").args(arguments).stderr(Stdio::null()).status();
}

fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
    let tasks = tasks.into_iter().flatten().filter_map(Result::ok);
    let texts = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    texts
        .flat_map(|text| text.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn lines_and_status_are_passed_on() {
        let mut seen = Vec::new();
        let ended_well = lines(Command::new("sh").args(["-c", "echo one; echo two; exit 3"]), LONG, |line| {
            seen.push(line.to_string());
        });
        assert_eq!((ended_well, seen), (Ok(false), vec!["one".to_string(), "two".to_string()]));
    }

    #[test]
    fn a_late_child_is_ended_with_its_children() {
        let mut command = Command::new("sh");
        let ended =
            lines(command.args(["-c", "sleep 1000 & sleep 1000"]), Duration::from_millis(100), |_| {});
        assert_eq!(ended, Err("took longer than 0 s".to_string()));
    }
}
