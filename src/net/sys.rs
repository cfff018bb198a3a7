//! The system calls that std lacks, as safe functions: poll, epoll, an accept and a connect
//! that do not block, a longer listen backlog, a higher limit of open descriptors; and one word
//! to the allocator.
//!
//! This is the only file with `unsafe`. It knows neither HTTP nor who calls it.
//! Every function turns the C convention (-1 and `errno`) into an `io::Result`.
//! Note: `notes/poller.md`. Source of the numbers: the Linux and POSIX man pages named beside them.

#[cfg(target_os = "linux")]
pub use linux::{Epoll, EpollEvent, accept, connect, epoll, raise_descriptor_limit};
#[cfg(not(target_os = "linux"))]
pub use portable::{accept, connect, raise_descriptor_limit};
#[cfg(unix)]
pub use unix::{PollFd, listen_backlog, poll, poll_flags};

use std::time::Duration;

/// Has the allocator return the memory that is free. By itself glibc's heap shrinks at its end
/// only: one small block that lives on there keeps all that was freed before it (malloc_trim(3)).
/// Takes microseconds if there is little to return. Other allocators are left alone.
pub fn return_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(keep: usize) -> i32;
        }
        // SAFETY: it returns only pages that nothing allocated lies on.
        unsafe { malloc_trim(0) };
        // It leaves out the end of a thread's own heap, which is returned when something large is
        // freed there.
        drop(std::hint::black_box(Vec::<u8>::with_capacity(100 * 1024)));
    }
}

/// A timeout as poll(2) and epoll_wait(2) want it: whole milliseconds, -1 for ever.
/// Rounded up: rounded down, a wait for the last half millisecond would return at once,
/// again and again, and the loop would spin.
#[cfg(unix)]
fn milliseconds(timeout: Option<Duration>) -> i32 {
    match timeout {
        None => -1,
        Some(t) => i32::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX),
    }
}

/// Whether the system is short of something, so that the same call may succeed later:
/// descriptors (EMFILE, ENFILE) or memory (ENOBUFS, ENOMEM).
pub fn is_shortage(error: &std::io::Error) -> bool {
    let codes: &[i32] = if cfg!(windows) {
        &[10024, 10055]
    } else if cfg!(target_os = "linux") {
        &[12, 23, 24, 105]
    } else {
        &[12, 23, 24, 55]
    };
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

#[cfg(unix)]
fn check(result: i32) -> std::io::Result<i32> {
    if result == -1 { Err(std::io::Error::last_os_error()) } else { Ok(result) }
}

/// What any Unix has.
#[cfg(unix)]
mod unix {
    use super::{check, milliseconds};
    use std::io;
    use std::net::TcpListener;
    use std::os::fd::{AsRawFd, RawFd};
    use std::time::Duration;

    /// `struct pollfd` of poll(2).
    #[repr(C)]
    #[derive(Debug, Clone, Copy)]
    pub struct PollFd {
        /// The descriptor asked about; a negative one is skipped by the kernel.
        pub fd: RawFd,
        /// What is asked.
        pub events: i16,
        /// What the kernel answers.
        pub revents: i16,
    }

    /// The bits of `events` and `revents`; the same values on Linux, the BSDs and macOS.
    pub mod poll_flags {
        /// Reading would not block.
        pub const IN: i16 = 0x001;
        /// Writing would not block.
        pub const OUT: i16 = 0x004;
        /// An error is pending on the socket.
        pub const ERR: i16 = 0x008;
        /// The peer hung up.
        pub const HUP: i16 = 0x010;
        /// The descriptor is not open.
        pub const NVAL: i16 = 0x020;
    }

    #[cfg(target_os = "linux")]
    type Nfds = std::ffi::c_ulong;
    #[cfg(not(target_os = "linux"))]
    type Nfds = std::ffi::c_uint;

    unsafe extern "C" {
        #[link_name = "poll"]
        fn c_poll(fds: *mut PollFd, nfds: Nfds, timeout: i32) -> i32;
        #[link_name = "listen"]
        fn c_listen(fd: RawFd, backlog: i32) -> i32;
    }

    /// poll(2): fills in `revents` and returns how many are not zero.
    pub fn poll(fds: &mut [PollFd], timeout: Option<Duration>) -> io::Result<usize> {
        // SAFETY: the pointer and the length describe one exclusive slice of the C layout.
        let n = unsafe { c_poll(fds.as_mut_ptr(), fds.len() as Nfds, milliseconds(timeout)) };
        check(n).map(|n| n as usize)
    }

    /// listen(2) once more on a listening socket changes its backlog. std asks for 128, which
    /// a burst of a thousand clients overflows; the kernel caps the wish at `somaxconn`.
    pub fn listen_backlog(listener: &TcpListener, backlog: i32) -> io::Result<()> {
        // SAFETY: no memory is passed, and `listener` keeps the descriptor open.
        check(unsafe { c_listen(listener.as_raw_fd(), backlog) }).map(drop)
    }
}

/// What Linux adds.
#[cfg(target_os = "linux")]
mod linux {
    use super::{check, milliseconds};
    use std::ffi::{c_int, c_long};
    use std::io;
    use std::net::{SocketAddr, SocketAddrV6, TcpListener, TcpStream};
    use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::time::Duration;

    /// `struct epoll_event` of epoll_ctl(2): packed on x86-64 only.
    #[cfg_attr(target_arch = "x86_64", repr(C, packed))]
    #[cfg_attr(not(target_arch = "x86_64"), repr(C))]
    #[derive(Clone, Copy)]
    pub struct EpollEvent {
        /// A set of the bits in [`epoll`].
        pub events: u32,
        /// Whatever the owner of the interest wants to find again.
        pub data: u64,
    }

    /// The bits of [`EpollEvent::events`].
    pub mod epoll {
        /// Reading would not block.
        pub const IN: u32 = 0x001;
        /// Writing would not block.
        pub const OUT: u32 = 0x004;
        /// An error is pending on the socket.
        pub const ERR: u32 = 0x008;
        /// The peer hung up.
        pub const HUP: u32 = 0x010;
        /// Of several epolls that watch one socket, wake one, not all (since Linux 4.5).
        pub const EXCLUSIVE: u32 = 1 << 28;
    }

    const EPOLL_CLOEXEC: i32 = 0o2000000;
    const EPOLL_CTL_ADD: i32 = 1;
    const EPOLL_CTL_DEL: i32 = 2;
    const EPOLL_CTL_MOD: i32 = 3;
    const AF_INET: u16 = 2;
    const AF_INET6: u16 = 10;
    const EPERM: i32 = 1;
    const ENOSYS: i32 = 38;
    const EINPROGRESS: i32 = 115;
    const RLIMIT_NOFILE: i32 = 7;
    // MIPS and SPARC number these two differently from every other Linux.
    #[cfg(any(target_arch = "mips", target_arch = "mips64", target_arch = "sparc64"))]
    compile_error!("sys.rs does not know this machine's SOCK_STREAM and SOCK_NONBLOCK");
    const SOCK_STREAM: i32 = 1;
    const SOCK_NONBLOCK: i32 = 0o4000;
    const SOCK_CLOEXEC: i32 = 0o2000000;

    /// `struct sockaddr_in` of ip(7); port and address in network byte order.
    #[repr(C)]
    struct SockAddrIn {
        family: u16,
        port: u16,
        addr: [u8; 4],
        zero: [u8; 8],
    }

    /// `struct sockaddr_in6` of ipv6(7).
    #[repr(C)]
    struct SockAddrIn6 {
        family: u16,
        port: u16,
        flowinfo: u32,
        addr: [u8; 16],
        scope_id: u32,
    }

    /// `struct sockaddr_storage` of socket(7): room for any address, with the fields of the two
    /// above. An IPv4 address stands where IPv6 has its flow information.
    #[derive(Default)]
    #[repr(C, align(8))]
    struct SockAddrStorage {
        family: u16,
        port: [u8; 2],
        v4: [u8; 4],
        v6: [u8; 16],
        scope: u32,
        rest: [[u8; 20]; 5],
    }

    /// `struct rlimit` of getrlimit(2).
    #[repr(C)]
    struct RLimit {
        soft: std::ffi::c_ulong,
        hard: std::ffi::c_ulong,
    }

    unsafe extern "C" {
        fn epoll_create1(flags: i32) -> RawFd;
        fn epoll_ctl(epfd: RawFd, op: i32, fd: RawFd, event: *mut EpollEvent) -> i32;
        fn epoll_wait(epfd: RawFd, events: *mut EpollEvent, max: i32, timeout: i32) -> i32;
        fn syscall(number: c_long, ...) -> c_long;
        fn socket(domain: i32, kind: i32, protocol: i32) -> RawFd;
        #[link_name = "connect"]
        fn c_connect(fd: RawFd, addr: *const std::ffi::c_void, len: u32) -> i32;
        fn accept4(fd: RawFd, addr: *mut SockAddrStorage, len: *mut u32, flags: i32) -> RawFd;
        fn getrlimit(resource: i32, limit: *mut RLimit) -> i32;
        fn setrlimit(resource: i32, limit: *const RLimit) -> i32;
    }

    /// `struct __kernel_timespec`: 64 bits each, on every machine.
    #[repr(C)]
    struct Timespec {
        seconds: i64,
        nanoseconds: i64,
    }

    /// epoll_pwait2(2) has this number on every machine (since Linux 5.11). Called by number,
    /// since a C library from before then lacks it, and linking with it would fail.
    const EPOLL_PWAIT2: c_long = 441;
    /// Lowered when the kernel, or a sandbox round it, refuses epoll_pwait2.
    static WAITS_FOR_FRACTIONS: AtomicBool = AtomicBool::new(true);

    /// An epoll instance; closed when dropped.
    #[derive(Debug)]
    pub struct Epoll(OwnedFd);

    impl Epoll {
        /// epoll_create1(2).
        pub fn new() -> io::Result<Self> {
            // SAFETY: no memory is passed.
            let fd = check(unsafe { epoll_create1(EPOLL_CLOEXEC) })?;
            // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
            Ok(Epoll(unsafe { OwnedFd::from_raw_fd(fd) }))
        }

        /// Asks to be told of `events` on `fd`, marked with `data`.
        pub fn add(&self, fd: BorrowedFd, events: u32, data: u64) -> io::Result<()> {
            self.control(EPOLL_CTL_ADD, fd, events, data)
        }

        /// Changes what is asked.
        pub fn modify(&self, fd: BorrowedFd, events: u32, data: u64) -> io::Result<()> {
            self.control(EPOLL_CTL_MOD, fd, events, data)
        }

        /// Asks no more. (Closing the last copy of a descriptor does so too.)
        pub fn remove(&self, fd: BorrowedFd) -> io::Result<()> {
            self.control(EPOLL_CTL_DEL, fd, 0, 0)
        }

        fn control(&self, op: i32, fd: BorrowedFd, events: u32, data: u64) -> io::Result<()> {
            let mut event = EpollEvent { events, data };
            // SAFETY: `event` outlives the call, and both descriptors are open.
            check(unsafe { epoll_ctl(self.0.as_raw_fd(), op, fd.as_raw_fd(), &mut event) })
                .map(drop)
        }

        /// epoll_wait(2): writes what is ready to the front of `events`, returns how many. A
        /// timeout with fractions of a millisecond is kept where the kernel can, or rounded up.
        pub fn wait(
            &self,
            events: &mut [EpollEvent],
            timeout: Option<Duration>,
        ) -> io::Result<usize> {
            if let Some(timeout) = timeout
                && timeout.subsec_nanos() % 1_000_000 != 0
                && WAITS_FOR_FRACTIONS.load(Relaxed)
            {
                match self.wait_fine(events, timeout) {
                    Err(e) if matches!(e.raw_os_error(), Some(ENOSYS | EPERM)) => {
                        WAITS_FOR_FRACTIONS.store(false, Relaxed);
                    }
                    result => return result,
                }
            }
            let max = i32::try_from(events.len()).unwrap_or(i32::MAX);
            // SAFETY: the kernel writes at most `max` entries into the exclusive slice.
            let n = unsafe {
                epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), max, milliseconds(timeout))
            };
            check(n).map(|n| n as usize)
        }

        fn wait_fine(&self, events: &mut [EpollEvent], timeout: Duration) -> io::Result<usize> {
            let timeout = Timespec {
                seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
                nanoseconds: timeout.subsec_nanos().into(),
            };
            let max = c_int::try_from(events.len()).unwrap_or(c_int::MAX);
            // SAFETY: as in `wait`; `timeout` outlives the call; a null signal mask is no mask.
            let n = unsafe {
                syscall(
                    EPOLL_PWAIT2,
                    self.0.as_raw_fd(),
                    events.as_mut_ptr(),
                    max,
                    &raw const timeout,
                    std::ptr::null::<std::ffi::c_void>(),
                    0_usize,
                )
            };
            check(n as i32).map(|n| n as usize)
        }
    }

    /// connect(2) on a new non-blocking socket: returns at once. The socket becomes writable
    /// when the handshake has ended, well or badly; `TcpStream::take_error` then says which.
    pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        let family = if address.is_ipv4() { AF_INET } else { AF_INET6 };
        // SAFETY: no memory is passed.
        let fd =
            check(unsafe { socket(family.into(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) })?;
        // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
        let stream = TcpStream::from(unsafe { OwnedFd::from_raw_fd(fd) });
        let result = match address {
            SocketAddr::V4(a) => {
                let c = SockAddrIn {
                    family,
                    port: a.port().to_be(),
                    addr: a.ip().octets(),
                    zero: [0; 8],
                };
                // SAFETY: the pointer and the size describe `c`, which outlives the call.
                unsafe { c_connect(fd, (&raw const c).cast(), size_of_val(&c) as u32) }
            }
            SocketAddr::V6(a) => {
                let c = SockAddrIn6 {
                    family,
                    port: a.port().to_be(),
                    flowinfo: a.flowinfo().to_be(),
                    addr: a.ip().octets(),
                    scope_id: a.scope_id(),
                };
                // SAFETY: as above.
                unsafe { c_connect(fd, (&raw const c).cast(), size_of_val(&c) as u32) }
            }
        };
        match check(result) {
            Err(e) if e.raw_os_error() != Some(EINPROGRESS) => Err(e),
            _ => Ok(stream),
        }
    }

    /// accept4(2): the next client, as a non-blocking socket at once. std's accept would need a
    /// second system call for that, and a third for TCP_NODELAY, which a client's socket has
    /// from its listener.
    pub fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        let (mut addr, mut len) = (SockAddrStorage::default(), 128);
        let flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
        // SAFETY: the kernel writes at most `len` bytes, the size of `addr`, which outlives the call.
        let fd = check(unsafe { accept4(listener.as_raw_fd(), &mut addr, &mut len, flags) })?;
        // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
        let stream = TcpStream::from(unsafe { OwnedFd::from_raw_fd(fd) });
        let port = u16::from_be_bytes(addr.port);
        // To ask for the name afterwards would be one more call, and a client that has reset the
        // connection by then has none.
        let peer = match addr.family {
            AF_INET => (addr.v4, port).into(),
            AF_INET6 => SocketAddrV6::new(addr.v6.into(), port, 0, addr.scope).into(),
            _ => return Err(io::ErrorKind::AddrNotAvailable.into()),
        };
        Ok((stream, peer))
    }

    /// Raises the soft limit of open descriptors to the hard one and returns it: a shell's 1024
    /// is meant for programs that still use select(2), which this project does not.
    pub fn raise_descriptor_limit() -> io::Result<u64> {
        let mut limit = RLimit { soft: 0, hard: 0 };
        // SAFETY: `limit` has the C layout and outlives both calls.
        check(unsafe { getrlimit(RLIMIT_NOFILE, &mut limit) })?;
        if limit.soft < limit.hard {
            let raised = RLimit { soft: limit.hard, hard: limit.hard };
            // SAFETY: as above.
            check(unsafe { setrlimit(RLIMIT_NOFILE, &raised) })?;
            limit.soft = limit.hard;
        }
        #[allow(clippy::useless_conversion)] // c_ulong has 32 bits on some machines
        Ok(limit.soft.into())
    }
}

/// The nearest that plain std offers elsewhere.
#[cfg(not(target_os = "linux"))]
mod portable {
    use std::io;
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::time::Duration;

    /// The next client, as a non-blocking socket.
    pub fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = listener.accept()?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok((stream, peer))
    }

    /// Blocks, but for a moment only: a refusal on a local network comes at once.
    pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_millis(250))?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }

    /// Not known here: the caller keeps the limit it has.
    pub fn raise_descriptor_limit() -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn only_missing_descriptors_and_memory_are_a_shortage() {
        let is = |code| is_shortage(&std::io::Error::from_raw_os_error(code));
        let found: Vec<i32> = (0..200).filter(|&code| is(code)).collect();
        let [enomem, enfile, emfile] = [12, 23, 24];
        let enobufs = if cfg!(target_os = "linux") { 105 } else { 55 };
        if cfg!(unix) {
            assert_eq!(found, [enomem, enfile, emfile, enobufs]);
        }
        assert!(!is_shortage(&std::io::ErrorKind::NotConnected.into()));
    }

    #[test]
    fn a_client_is_named_by_its_own_address() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(host) else {
                eprintln!("SKIPPED: this machine has no {host}");
                continue;
            };
            let address = listener.local_addr().expect("it is bound");
            let client = TcpStream::connect(address).expect("it is taken");
            let (_, peer) = accept(&listener).expect("somebody is there");
            assert_eq!(peer, client.local_addr().expect("it is connected"));
        }
    }
}
