//! The methods `address` and `hostname`: the client is known by where it connects from.
//!
//! # Safety
//! `getnameinfo` and `getaddrinfo` of the C library know the host's way to look up names. Only the
//! first needs unsafe code here; the second comes with the standard library.

#![expect(unsafe_code, reason = "getnameinfo has no safe wrapper in the standard library")]

use std::ffi::CStr;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use super::Dialogue;

/// Longest host name, as `NI_MAXHOST` has it.
const MAX_HOST: usize = 1025;

/// The peer's address.
pub(super) fn address(dialogue: &mut Dialogue<'_>) -> Vec<u8> {
    dialogue.say(b"yes");
    dialogue.peer.ip().to_canonical().to_string().into_bytes()
}

/// The peer's host name, if the lookup works and the name leads back to the address.
pub(super) fn host_name(dialogue: &mut Dialogue<'_>) -> Option<Vec<u8>> {
    let address = dialogue.peer.ip().to_canonical();
    let name = look_up(address).filter(|name| leads_to(name, address));
    dialogue.say(if name.is_some() { b"yes" } else { b"no" });
    name.map(String::into_bytes)
}

/// Anybody can give his address any name; only the name's owner can make it point there.
fn leads_to(name: &str, address: IpAddr) -> bool {
    let found = (name, 0).to_socket_addrs();
    found.is_ok_and(|mut all| all.any(|one| one.ip().to_canonical() == address))
}

fn look_up(address: IpAddr) -> Option<String> {
    let mut host = [0_u8; MAX_HOST];
    let found = match SocketAddr::new(address, 0) {
        SocketAddr::V4(v4) => {
            let raw = libc::sockaddr_in {
                sin_family: u16::try_from(libc::AF_INET).ok()?,
                sin_port: 0,
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            name_of(&raw, &mut host)
        }
        SocketAddr::V6(v6) => {
            let raw = libc::sockaddr_in6 {
                sin6_family: u16::try_from(libc::AF_INET6).ok()?,
                sin6_port: 0,
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            name_of(&raw, &mut host)
        }
    };
    let name = CStr::from_bytes_until_nul(&host).ok()?;
    found.then(|| name.to_str().ok().map(str::to_owned)).flatten()
}

/// Calls `getnameinfo`; `T` must be a `sockaddr_in` or a `sockaddr_in6`.
fn name_of<T>(address: &T, host: &mut [u8]) -> bool {
    let (Ok(length), Ok(room)) = (u32::try_from(size_of::<T>()), u32::try_from(host.len())) else {
        return false;
    };
    // SAFETY: `address` is a complete socket address of `length` bytes, `host` has `room` bytes;
    // the call writes a string with its zero byte there or fails, and keeps neither.
    let status = unsafe {
        libc::getnameinfo(
            std::ptr::from_ref(address).cast(),
            length,
            host.as_mut_ptr().cast(),
            room,
            std::ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    status == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_address_has_a_name_that_leads_back() {
        let address: IpAddr = "127.0.0.1".parse().unwrap();
        let name = look_up(address).expect("127.0.0.1 should have a name in /etc/hosts");
        assert!(leads_to(&name, address), "{name}");
        assert!(!leads_to(&name, "203.0.113.7".parse().unwrap()));
    }
}
