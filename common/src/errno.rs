//! Error numbers as values. The names are errno(3)'s own.

/// An error number, always positive.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($($name:ident)*) => {
        impl Errno {
            $(
                #[doc = concat!("`", stringify!($name), "`, see errno(3).")]
                pub const $name: Self = Self(libc::$name);
            )*

            /// The symbolic name, or `"E?"` for a number this list does not hold.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $(libc::$name => stringify!($name),)*
                    _ => "E?",
                }
            }
        }
    };
}

errnos! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT
    EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC
    ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP
    ENOTBLK ENODATA ETIME EPROTO EBADMSG EOVERFLOW EOPNOTSUPP ENOTSOCK EADDRINUSE ECONNREFUSED
    ECONNRESET EHOSTUNREACH ENETUNREACH ETIMEDOUT ENOTCONN ESTALE EDQUOT ECANCELED
}

impl Errno {
    /// Not an error of the guest: the question cannot be answered without waiting. A technique
    /// whose loop must not wait gives handlers a [`Files`](crate::Files) that says so, sees this
    /// value come back, and runs the handler again where waiting is allowed. Never shown to a guest.
    pub const DEFER: Self = Self(4000);

    /// Splits a raw system call result into value and error.
    ///
    /// # Errors
    /// The error that the kernel put into -4095…-1.
    pub const fn check(raw: isize) -> Result<usize, Self> {
        if raw < 0 && raw >= -4095 {
            #[expect(clippy::cast_possible_truncation, reason = "between 1 and 4095")]
            Err(Self(-raw as i32))
        } else {
            Ok(raw.cast_unsigned())
        }
    }

    /// The value a raw system call would have returned for this error.
    #[must_use]
    pub const fn raw(self) -> isize {
        -(self.0 as isize)
    }
}

impl core::fmt::Debug for Errno {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}

impl core::fmt::Display for Errno {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Errno;

    #[test]
    fn raw_results_are_split_at_4095() {
        assert_eq!(Errno::check(-2), Err(Errno::ENOENT));
        assert_eq!(Errno::check(-4095), Err(Errno(4095)));
        assert_eq!(Errno::check(0), Ok(0));
        assert_eq!(Errno::check(-4096), Ok(usize::MAX - 4095));
        assert_eq!(Errno::ENOENT.raw(), -2);
    }
}
