//! TCP connections that are begun without waiting for the other side.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// Begins a connection to this address. `TcpStream::take_error` says that it has failed since, and `peer_addr` succeeds
/// once it is made.
///
/// # Errors
/// The error of the system, such as a refusal that is known at once.
pub fn begin(address: &SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: a system call without memory.
    let socket = Errno::result(unsafe { libc::socket(family, kind, 0) })?;
    // SAFETY: a new descriptor of this process.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    match connect(&socket, address) {
        Ok(()) | Err(Errno::EINPROGRESS | Errno::EINTR) => Ok(socket.into()),
        Err(error) => Err(error.into()),
    }
}

fn connect(socket: &OwnedFd, address: &SocketAddr) -> Result<(), Errno> {
    let call = |address: *const libc::sockaddr, size: usize| {
        // SAFETY: the address is a local of the caller, of this size; the kernel reads it.
        unsafe { libc::connect(socket.as_raw_fd(), address, size as libc::socklen_t) }
    };
    let connected = match address {
        SocketAddr::V4(address) => {
            let address = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                sin_zero: [0; 8],
            };
            call((&raw const address).cast(), mem::size_of_val(&address))
        }
        SocketAddr::V6(address) => {
            let address = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: address.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            };
            call((&raw const address).cast(), mem::size_of_val(&address))
        }
    };
    Errno::result(connected).map(drop)
}

/// Lets the queue of a listener take one connection that is not accepted yet, and no more.
#[cfg(test)]
pub fn shorten(listener: &std::net::TcpListener) {
    // SAFETY: a system call without memory.
    Errno::result(unsafe { libc::listen(listener.as_raw_fd(), 0) }).unwrap();
}
