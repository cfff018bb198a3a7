//! The system calls that std lacks, as safe functions: poll, epoll, an accept and a connect
//! that do not block, a longer listen backlog, a higher limit of open descriptors, sealed memory,
//! and one request to the allocator.
//!
//! This is the only file with `unsafe`. It knows neither HTTP nor who calls it.
//! A function that can fail turns the C convention (-1 and `errno`) into an `io::Result`.
//! Note: `notes/poller.md`. Source of the numbers: the Linux and POSIX man pages named beside them.

#[cfg(not(target_os = "linux"))]
pub use super::portable::{accept, connect, raise_descriptor_limit, seal, send_sealed};
#[cfg(target_os = "linux")]
pub(crate) use linux::{EPOLLEXCLUSIVE, EpollEvent, Op, epoll_create, epoll_ctl, epoll_wait};
#[cfg(target_os = "linux")]
pub use linux::{accept, connect, raise_descriptor_limit, seal, send_sealed};

use std::ffi::c_void;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
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

/// Whether the system is short of something, so that the same call may succeed later:
/// descriptors (EMFILE, ENFILE) or memory (ENOBUFS, ENOMEM).
pub fn is_shortage(error: &io::Error) -> bool {
    const ENOBUFS: i32 = if cfg!(target_os = "linux") { 105 } else { 55 };
    matches!(error.raw_os_error(), Some(12 | 23 | 24 | ENOBUFS))
}

/// A timeout as poll(2) and epoll_wait(2) want it: whole milliseconds, -1 for ever.
/// Rounded up: rounded down, a wait for the last half millisecond would return at once,
/// again and again, and the loop would spin.
fn milliseconds(timeout: Option<Duration>) -> i32 {
    match timeout {
        None => -1,
        Some(t) => i32::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX),
    }
}

fn check(result: i32) -> io::Result<i32> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Reading would not block: the bit of poll(2) and of epoll(7), on every system.
pub(crate) const IN: u32 = 0x001;
/// Writing would not block.
pub(crate) const OUT: u32 = 0x004;

/// `struct pollfd` of poll(2).
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct PollFd {
    pub fd: RawFd,
    pub events: i16,  // asked for
    pub revents: i16, // the kernel's answer
}

#[cfg(target_os = "linux")]
type Nfds = std::ffi::c_ulong;
#[cfg(not(target_os = "linux"))]
type Nfds = std::ffi::c_uint;

unsafe extern "C" {
    #[link_name = "poll"]
    fn c_poll(fds: *mut PollFd, nfds: Nfds, timeout: i32) -> i32;
    fn listen(fd: RawFd, backlog: i32) -> i32;
    fn setsockopt(fd: RawFd, level: i32, name: i32, value: *const c_void, length: u32) -> i32;
}

/// How many are ready, by the result of a wait. One that a signal interrupted brought nothing.
fn ready(result: i32) -> io::Result<usize> {
    match check(result) {
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(0),
        result => result.map(|n| n as usize),
    }
}

/// poll(2): fills in `revents` and returns how many are not zero.
pub(crate) fn poll(fds: &mut [PollFd], timeout: Option<Duration>) -> io::Result<usize> {
    // SAFETY: the pointer and the length describe one exclusive slice of the C layout.
    ready(unsafe { c_poll(fds.as_mut_ptr(), fds.len() as Nfds, milliseconds(timeout)) })
}

/// listen(2) once more on a listening socket changes its backlog. std asks for 128, which
/// a burst of a thousand clients overflows; the kernel caps the wish at `somaxconn`.
pub fn listen_backlog(listener: &TcpListener, backlog: i32) -> io::Result<()> {
    // SAFETY: no memory is passed, and `listener` keeps the descriptor open.
    check(unsafe { listen(listener.as_raw_fd(), backlog) }).map(drop)
}

/// SOL_SOCKET and SO_LINGER.
#[cfg(target_os = "linux")]
const SO_LINGER: (i32, i32) = (1, 13);
#[cfg(not(target_os = "linux"))]
const SO_LINGER: (i32, i32) = (0xffff, 0x80);

/// When the socket is closed, the peer gets a reset, not an orderly end: lingering for no time,
/// see SO_LINGER in socket(7).
pub fn reset_on_close(stream: &TcpStream) -> io::Result<()> {
    let (on_and_seconds, (level, name)) = ([1_i32, 0], SO_LINGER);
    let (value, length) = (on_and_seconds.as_ptr().cast(), size_of_val(&on_and_seconds) as u32);
    // SAFETY: two ints are the C layout of `struct linger`, and they outlive the call.
    check(unsafe { setsockopt(stream.as_raw_fd(), level, name, value, length) }).map(drop)
}

/// The calls that Linux adds.
#[cfg(target_os = "linux")]
mod linux {
    use super::{check, milliseconds, ready};
    use std::ffi::{c_char, c_long, c_ulong, c_void};
    use std::fs::File;
    use std::io::{self, Read};
    use std::net::{SocketAddr, SocketAddrV6, TcpListener, TcpStream};
    use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
    use std::os::unix::fs::FileExt;
    use std::ptr;
    use std::time::Duration;

    /// `struct epoll_event` of epoll_ctl(2): packed on x86-64 only.
    #[cfg_attr(target_arch = "x86_64", repr(C, packed))]
    #[cfg_attr(not(target_arch = "x86_64"), repr(C))]
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct EpollEvent {
        pub events: u32,
        pub data: u64, // given back as it is: the owner's token
    }

    /// Of several epolls that watch one socket, wake one, not all (since Linux 4.5).
    pub(crate) const EPOLLEXCLUSIVE: u32 = 1 << 28;

    /// How epoll_ctl(2) changes the watch on a descriptor. (Closing its last copy removes it too.)
    pub(crate) enum Op {
        Add = 1,
        Remove = 2,
        Modify = 3,
    }

    const AF_INET: u16 = 2;
    const AF_INET6: u16 = 10;
    const EPERM: i32 = 1;
    const ENOSYS: i32 = 38;
    const EINPROGRESS: i32 = 115;
    const RLIMIT_NOFILE: i32 = 7;
    // MIPS and SPARC number these two differently from every other Linux.
    #[cfg(any(target_arch = "mips", target_arch = "mips64", target_arch = "sparc64"))]
    compile_error!("sys.rs does not know this machine's SOCK_STREAM and SOCK_NONBLOCK");
    #[cfg(all(target_env = "musl", target_pointer_width = "32"))]
    compile_error!("sys.rs takes off_t for a C long, but here it has 64 bits");
    const SOCK_STREAM: i32 = 1;
    const SOCK_NONBLOCK: i32 = 0o4000;
    /// The same value as EPOLL_CLOEXEC.
    const SOCK_CLOEXEC: i32 = 0o2000000;
    /// epoll_pwait2(2) has this number on every machine (since Linux 5.11). Called by number,
    /// since a C library from before then lacks it, and linking with it would fail.
    const EPOLL_PWAIT2: c_long = 441;

    /// `struct sockaddr_in` of ip(7) and `struct sockaddr_in6` of ipv6(7) in one: an IPv4 address
    /// stands where IPv6 has its flow information. Ports and addresses in network byte order.
    #[derive(Default)]
    #[repr(C)]
    struct SockAddr {
        family: u16,
        port: [u8; 2],
        v4: [u8; 4],
        v6: [u8; 16],
        scope: u32,
    }

    const SOCK_ADDR: u32 = size_of::<SockAddr>() as u32;

    unsafe extern "C" {
        fn epoll_create1(flags: i32) -> RawFd;
        #[link_name = "epoll_ctl"]
        fn c_epoll_ctl(epoll: RawFd, op: i32, fd: RawFd, event: *mut EpollEvent) -> i32;
        #[link_name = "epoll_wait"]
        fn c_epoll_wait(epoll: RawFd, events: *mut EpollEvent, most: i32, timeout: i32) -> i32;
        fn syscall(number: c_long, ...) -> c_long;
        fn socket(domain: i32, kind: i32, protocol: i32) -> RawFd;
        #[link_name = "connect"]
        fn c_connect(fd: RawFd, addr: *const SockAddr, len: u32) -> i32;
        fn accept4(fd: RawFd, addr: *mut SockAddr, len: *mut u32, flags: i32) -> RawFd;
        /// `struct rlimit` is the soft limit and the hard one.
        fn getrlimit(resource: i32, limit: *mut [c_ulong; 2]) -> i32;
        fn setrlimit(resource: i32, limit: *const [c_ulong; 2]) -> i32;
        fn memfd_create(name: *const c_char, flags: u32) -> RawFd;
        fn fcntl(fd: RawFd, command: i32, ...) -> i32;
        fn send(fd: RawFd, bytes: *const u8, length: usize, flags: i32) -> isize;
        fn sendfile(to: RawFd, from: RawFd, at: *mut c_long, most: usize) -> isize;
        fn mmap(
            at: *mut c_void,
            length: usize,
            protection: i32,
            flags: i32,
            fd: RawFd,
            offset: c_long,
        ) -> *mut c_void;
        fn munmap(at: *mut c_void, length: usize) -> i32;
        fn madvise(at: *mut c_void, length: usize, advice: i32) -> i32;
    }

    /// Takes over a descriptor that a system call has just returned, or its error.
    fn own(fd: RawFd) -> io::Result<OwnedFd> {
        let fd = check(fd)?;
        // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    pub(crate) fn epoll_create() -> io::Result<OwnedFd> {
        // SAFETY: no memory is passed.
        own(unsafe { epoll_create1(SOCK_CLOEXEC) })
    }

    /// epoll_ctl(2): from now on `events` on `fd` are told, marked with `data`.
    pub(crate) fn epoll_ctl(
        epoll: &OwnedFd,
        op: Op,
        fd: BorrowedFd,
        events: u32,
        data: usize,
    ) -> io::Result<()> {
        let mut event = EpollEvent { events, data: data as u64 };
        let (epoll, fd) = (epoll.as_raw_fd(), fd.as_raw_fd());
        // SAFETY: `event` outlives the call, and both descriptors are open.
        check(unsafe { c_epoll_ctl(epoll, op as i32, fd, &mut event) }).map(drop)
    }

    /// epoll_pwait2(2): writes what is ready to the front of `events`, returns how many. Where
    /// the kernel, or a sandbox round it, refuses it, epoll_wait(2) waits for whole milliseconds.
    pub(crate) fn epoll_wait(
        epoll: &OwnedFd,
        events: &mut [EpollEvent],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let (epoll, first) = (epoll.as_raw_fd(), events.as_mut_ptr());
        let most = i32::try_from(events.len()).unwrap_or(i32::MAX);
        // `struct __kernel_timespec`: seconds and nanoseconds, 64 bits each on every machine.
        let fine = timeout.map(|t| [t.as_secs().min(i64::MAX as u64), t.subsec_nanos().into()]);
        let fine = fine.as_ref().map_or(ptr::null(), ptr::from_ref);
        let no_mask = ptr::null::<u8>();
        // SAFETY: the kernel writes at most `most` entries into the exclusive slice; what `fine`
        // points to outlives the call.
        let n = unsafe { syscall(EPOLL_PWAIT2, epoll, first, most, fine, no_mask, 0_usize) };
        match ready(n as i32) {
            Err(e) if matches!(e.raw_os_error(), Some(ENOSYS | EPERM)) => {
                // SAFETY: as above.
                ready(unsafe { c_epoll_wait(epoll, first, most, milliseconds(timeout)) })
            }
            result => result,
        }
    }

    /// connect(2) on a new non-blocking socket: returns at once. The socket becomes writable
    /// when the handshake has ended, well or badly; `TcpStream::take_error` then says which.
    pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        let port = address.port().to_be_bytes();
        let (family, v4, v6, scope) = match address {
            SocketAddr::V4(a) => (AF_INET, a.ip().octets(), [0; 16], 0),
            SocketAddr::V6(a) => {
                (AF_INET6, a.flowinfo().to_be_bytes(), a.ip().octets(), a.scope_id())
            }
        };
        let addr = SockAddr { family, port, v4, v6, scope };
        let kind = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
        // SAFETY: no memory is passed.
        let stream = TcpStream::from(own(unsafe { socket(family.into(), kind, 0) })?);
        // SAFETY: the pointer and the length describe `addr`, which outlives the call.
        match check(unsafe { c_connect(stream.as_raw_fd(), &addr, SOCK_ADDR) }) {
            Err(e) if e.raw_os_error() != Some(EINPROGRESS) => Err(e),
            _ => Ok(stream),
        }
    }

    /// accept4(2): the next client, as a non-blocking socket at once. std's accept would need a
    /// second system call for that, and a third for TCP_NODELAY, which a client's socket has
    /// from its listener.
    pub fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        let (mut addr, mut len) = (SockAddr::default(), SOCK_ADDR);
        let flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
        // SAFETY: the kernel writes at most `len` bytes, the size of `addr`, which outlives the call.
        let fd = unsafe { accept4(listener.as_raw_fd(), &mut addr, &mut len, flags) };
        let stream = TcpStream::from(own(fd)?);
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

    /// A file in memory with this content, and its length, which is expected to be `length`:
    /// memfd_create(2), sealed with fcntl(2), so that nobody can change it any more.
    pub fn seal(mut content: impl Read, length: u64) -> io::Result<(File, u64)> {
        const CLOEXEC_AND_ALLOW_SEALING: u32 = 1 | 2;
        const F_ADD_SEALS: i32 = 1033;
        /// F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE.
        const SEALS: i32 = 1 | 2 | 4 | 8;
        // SAFETY: the name ends in a NUL and outlives the call.
        let fd = own(unsafe { memfd_create(c"".as_ptr(), CLOEXEC_AND_ALLOW_SEALING) })?;
        let mut file = File::from(fd);
        // Only faster: without them the file has pages of the usual size.
        let _ = use_huge_pages(&file, length as usize);
        let length = io::copy(&mut content, &mut file)?;
        file.set_len(length)?;
        // SAFETY: no memory is passed.
        check(unsafe { fcntl(file.as_raw_fd(), F_ADD_SEALS, SEALS) })?;
        Ok((file, length))
    }

    /// Gives a new memory file huge pages for as much of its length as fills them: sendfile(2) looks
    /// up each page that it sends. MADV_COLLAPSE of madvise(2), since Linux 6.1.
    fn use_huge_pages(file: &File, length: usize) -> io::Result<()> {
        const HUGE_PAGE: usize = 2 * 1024 * 1024;
        const PROT_NONE: i32 = 0;
        const PROT_READ: i32 = 1;
        const MAP_SHARED_FIXED: i32 = 0x01 | 0x10;
        const MAP_PRIVATE_ANONYMOUS: i32 = 0x02 | 0x20;
        const MADV_COLLAPSE: i32 = 25;
        let size = length - length % HUGE_PAGE;
        if size == 0 {
            return Ok(());
        }
        file.set_len(size as u64)?;
        // A huge page is made of pages that exist: one is enough.
        (0..size).step_by(HUGE_PAGE).try_for_each(|at| file.write_all_at(&[0], at as u64))?;
        let (whole, fd) = (size + HUGE_PAGE, file.as_raw_fd());
        // SAFETY: a new range, with room to begin at a multiple of a huge page.
        let range =
            unsafe { mmap(ptr::null_mut(), whole, PROT_NONE, MAP_PRIVATE_ANONYMOUS, -1, 0) };
        if range.addr() == usize::MAX {
            return Err(io::Error::last_os_error());
        }
        let begin = range.wrapping_byte_add(range.addr().wrapping_neg() % HUGE_PAGE);
        // SAFETY: `size` bytes from `begin` lie in the range, which nobody else knows, and nothing
        // is read from it or written to it before it is given back.
        unsafe {
            // After a failure another thread's memory may lie in the range: it is not given back.
            if mmap(begin, size, PROT_READ, MAP_SHARED_FIXED, fd, 0).addr() == usize::MAX {
                return Err(io::Error::last_os_error());
            }
            madvise(begin, size, MADV_COLLAPSE);
            check(munmap(range, whole)).map(drop)
        }
    }

    /// Sends the bytes, with word that more follows at once: send(2), MSG_MORE. Or, if there are
    /// none, at most so many of a sealed file's from this position on, without a copy: sendfile(2).
    pub fn send_sealed(
        socket: BorrowedFd,
        bytes: &[u8],
        file: &File,
        at: u64,
        most: usize,
    ) -> io::Result<usize> {
        const MORE_AND_NOSIGNAL: i32 = 0x8000 | 0x4000;
        let mut at = c_long::try_from(at).map_err(io::Error::other)?;
        let (socket, file) = (socket.as_raw_fd(), file.as_raw_fd());
        let n = match bytes {
            // SAFETY: `at` outlives the call.
            [] => unsafe { sendfile(socket, file, &mut at, most) },
            // SAFETY: the pointer and the length describe `bytes`.
            _ => unsafe { send(socket, bytes.as_ptr(), bytes.len(), MORE_AND_NOSIGNAL) },
        };
        usize::try_from(n).map_err(|_| io::Error::last_os_error())
    }

    /// Raises the soft limit of open descriptors to the hard one and returns it: a shell's 1024
    /// is meant for programs that still use select(2), which this project does not.
    pub fn raise_descriptor_limit() -> io::Result<u64> {
        let mut limit = [0; 2];
        // SAFETY: `limit` has the C layout and outlives both calls.
        check(unsafe { getrlimit(RLIMIT_NOFILE, &mut limit) })?;
        let [soft, hard] = limit;
        if soft < hard {
            // SAFETY: as above.
            check(unsafe { setrlimit(RLIMIT_NOFILE, &[hard, hard]) })?;
        }
        #[allow(clippy::useless_conversion)] // c_ulong has 32 bits on some machines
        Ok(hard.into())
    }
}
