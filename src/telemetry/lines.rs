//! The writer of the log: a bounded queue and a thread, so that neither a full disk nor a reader that stands
//! still ends the process or holds up its work.
//!
//! A line that finds the queue full, or that cannot be written, is lost and counted. As soon as lines are
//! written again, a line of the log says how many were lost.
//!
//! `tracing-appender` has such a thread too, but its queue is bounded by lines, not by bytes, and its guard
//! reports with `eprintln!`, which waits for the lock of the very stderr that stands still.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Bytes of lines that wait for the reader.
const CAPACITY: usize = 1 << 20;

/// Pause before another attempt to write to a reader that takes nothing at the moment (`O_NONBLOCK`).
const PAUSE: Duration = Duration::from_millis(50);

/// A handle of the queue; clones share the queue. As a [`Write`], takes one line with each call, and never
/// fails or waits.
#[derive(Clone)]
pub struct LogLines(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    capacity: usize,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Vec<u8>>,
    /// Sum of the lengths of `waiting`.
    bytes: usize,
    /// Whether the thread has taken a line and has not finished it.
    is_writing: bool,
    /// Whether lines wait, because another part of the process has the terminal.
    is_held: bool,
    lost: Lost,
}

/// Lines that were lost and not yet reported.
#[derive(Default)]
struct Lost {
    lines: u64,
    /// Description of the last failed write; `None` when lines were lost only because the queue was full.
    error: Option<String>,
}

/// Standard error without the standard library's lock, which a blocked write would hold against every other
/// thread.
struct UnlockedStderr;

impl Write for UnlockedStderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(nix::unistd::write(io::stderr(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LogLines {
    /// Starts the thread that writes to stderr. The thread is never joined: a blocked write has no end, and
    /// the end of the process is its end.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn to_stderr() -> io::Result<Self> {
        Self::with_output(UnlockedStderr, CAPACITY)
    }

    fn with_output(out: impl Write + Send + 'static, capacity: usize) -> io::Result<Self> {
        let lines = LogLines(Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new(), capacity }));
        let writing = lines.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || writing.write_to(out))?;
        Ok(lines)
    }

    /// Takes a text that must not be lost because of the lines before it, such as the error that ends a
    /// command. To be called a few times in a process: the queue's limit does not apply.
    pub fn say(&self, text: &str) {
        self.push(text.as_bytes(), usize::MAX);
    }

    /// Waits until everything is written, for at most `limit`. Returns whether everything is written.
    pub fn flush(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut queue = self.queue();
        while !queue.waiting.is_empty() || queue.is_writing {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            let woken = self.0.changed.wait_timeout(queue, left);
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Lets the lines wait, or lets them go on.
    pub(super) fn hold(&self, is_held: bool) {
        self.queue().is_held = is_held;
        self.0.changed.notify_all();
    }

    fn push(&self, line: &[u8], capacity: usize) {
        let mut queue = self.queue();
        if queue.bytes.saturating_add(line.len()) > capacity {
            queue.lost.lines += 1;
            return;
        }
        queue.bytes += line.len();
        queue.waiting.push_back(line.to_vec());
        self.0.changed.notify_all();
    }

    /// Writes lines for ever.
    fn write_to(&self, mut out: impl Write) {
        let mut torn = false;
        loop {
            let line = self.next();
            let written = write_line(&mut out, &line, &mut torn);
            if let Some(Lost { lines, error }) = self.report_due(written.err()) {
                let cause = error.as_deref().unwrap_or("its reader stood still");
                tracing::warn!(lines, cause, "lines of the log are missing here: they could not be written");
            }
            // Last, so that `flush` waits for the report as well.
            self.queue().is_writing = false;
            self.0.changed.notify_all();
        }
    }

    fn next(&self) -> Vec<u8> {
        let mut queue = self.queue();
        loop {
            if !queue.is_held
                && let Some(line) = queue.waiting.pop_front()
            {
                queue.bytes -= line.len();
                queue.is_writing = true;
                return line;
            }
            queue = self.0.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Notes a failed write. Returns the lost lines once a line is written and the queue has space: a slow
    /// reader gets one report for many lost lines.
    fn report_due(&self, failed: Option<io::Error>) -> Option<Lost> {
        let mut queue = self.queue();
        if let Some(error) = failed {
            queue.lost.lines += 1;
            queue.lost.error = Some(error.to_string());
            return None;
        }
        let is_due = queue.lost.lines > 0 && queue.bytes <= self.0.capacity / 2;
        is_due.then(|| std::mem::take(&mut queue.lost))
    }

    /// Ignores a poisoned lock, because no holder of the lock can panic between two changes of the value.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a whole line. `torn` is whether an earlier failure has left a part of a line without its end.
fn write_line(out: &mut impl Write, line: &[u8], torn: &mut bool) -> io::Result<()> {
    if *torn {
        write_waiting(out, b"\n", &mut false)?;
        *torn = false;
    }
    write_waiting(out, line, torn)
}

/// Writes all bytes. Sets `begun` when an error comes after some of them.
fn write_waiting(out: &mut impl Write, mut bytes: &[u8], begun: &mut bool) -> io::Result<()> {
    let mut any = false;
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                any = true;
                bytes = bytes.get(count..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Somebody else has made the file non-blocking; this thread exists to wait.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::park_timeout(PAUSE),
            Err(error) => {
                *begun = any;
                return Err(error);
            }
        }
    }
    Ok(())
}

impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line, self.0.capacity);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for LogLines {
    type Writer = LogLines;

    fn make_writer(&'w self) -> LogLines {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// An output whose writes have the results that the test gives, one for each write.
    struct Scripted {
        results: Receiver<io::Result<usize>>,
        written: SyncSender<Vec<u8>>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = self.results.recv().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
            self.written.send(bytes[..count].to_vec()).unwrap();
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn scripted(capacity: usize) -> (LogLines, SyncSender<io::Result<usize>>, Receiver<Vec<u8>>) {
        let (give, results) = sync_channel(100);
        let (written, take) = sync_channel(100);
        (LogLines::with_output(Scripted { results, written }, capacity).unwrap(), give, take)
    }

    #[test]
    fn a_reader_that_stands_still_holds_up_no_writer_and_costs_bounded_memory() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut lines = LogLines::with_output(writer, 1000).unwrap();
        let line = [b'x'; 100];
        let mut written = 0;
        let mut write = |lines: &mut LogLines| {
            lines.write_all(&line).unwrap();
            written += 1;
        };
        // Fewer lines at a time than the queue holds, until the pipe is full: none is lost meanwhile.
        while lines.flush(Duration::from_secs(1)) {
            (0..5).for_each(|_| write(&mut lines));
        }
        // More than the queue holds.
        (0..100).for_each(|_| write(&mut lines));
        assert!(lines.queue().bytes <= 1000);
        let lost = lines.queue().lost.lines;
        assert!(lost > 0);
        assert!(!lines.flush(Duration::from_millis(10)), "nobody reads");
        lines.say("the end");
        let mut read = Vec::new();
        while !read.ends_with(b"the end") {
            let mut part = [0; 4096];
            let count = reader.read(&mut part).unwrap();
            read.extend_from_slice(&part[..count]);
        }
        assert!(lines.flush(LIMIT));
        assert_eq!(read.len() as u64, (written - lost) * 100 + 7);
    }

    #[test]
    fn a_line_that_cannot_be_written_is_lost_and_counted_and_the_next_one_stands_alone() {
        let (mut lines, give, take) = scripted(CAPACITY);
        give.send(Ok(2)).unwrap();
        give.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        lines.write_all(b"one\n").unwrap();
        assert_eq!(take.recv_timeout(LIMIT).unwrap(), b"on");
        assert!(lines.flush(LIMIT));
        assert_eq!(lines.queue().lost.lines, 1);
        // A reader that takes nothing at the moment loses nothing.
        give.send(Ok(1)).unwrap();
        give.send(Err(io::ErrorKind::WouldBlock.into())).unwrap();
        give.send(Ok(100)).unwrap();
        lines.write_all(b"two\n").unwrap();
        let whole = [take.recv_timeout(LIMIT).unwrap(), take.recv_timeout(LIMIT).unwrap()].concat();
        assert_eq!(whole, b"\ntwo\n");
        assert!(lines.flush(LIMIT));
        assert_eq!(lines.queue().lost.lines, 0, "reported");
    }

    #[test]
    fn a_slow_reader_gets_one_report_when_the_queue_has_space_again() {
        let (mut lines, give, take) = scripted(100);
        lines.write_all(&[b'a'; 60]).unwrap();
        // The thread has the first line in hand, and waits for the word to write it.
        while !lines.queue().is_writing {
            thread::yield_now();
        }
        for _ in 0..3 {
            lines.write_all(&[b'b'; 30]).unwrap();
        }
        lines.write_all(&[b'c'; 30]).unwrap();
        assert_eq!(lines.queue().lost.lines, 1);
        give.send(Ok(100)).unwrap();
        take.recv_timeout(LIMIT).unwrap();
        give.send(Ok(100)).unwrap();
        take.recv_timeout(LIMIT).unwrap();
        // 30 of 100 bytes still wait when the second line is written: the loss is reported then.
        drop(give);
        assert!(lines.flush(LIMIT));
        assert_eq!(lines.queue().lost.lines, 0);
    }
}
