//! What the server does for each request: one row a command.
//!
//! A row is `Command { arguments } RIGHT => handler(arguments)`. The right is what the client needs
//! in the directory that governs the object; the handler gets it as its second argument, because
//! only it knows which directory that is. `NONE` stands where the right depends on the arguments
//! or none is needed. A command of the wire format without a row does not compile.

use crate::acl::Rights;
use crate::failure::Outcome;
use crate::handler::{
    attributes, data, directory, file, identity, names, resume, search, strided, thirdput, ticket,
    whole, xattr,
};
use crate::session::Session;
use crate::store::Follow::{No, Yes};
use crate::wire::{Code, Request};

macro_rules! commands {
    ($(
        $command:ident { $($arg:ident),* } $right:ident
            => $module:ident.$handler:ident ( $($given:expr),* );
    )*) => {
        /// Runs a request. Its reply is in the outbox afterwards, or the failure says what to send.
        pub(crate) fn run(session: &mut Session, request: Request<'_>) -> Outcome {
            match request {
                $( Request::$command { $($arg),* } => {
                    $module::$handler(session, Rights::$right, $($given),*)
                } )*
            }
        }
    };
}

commands! {
    // Files by descriptor.
    Open { path, flags, mode } NONE => file.open(&path, flags, mode, false);
    Close { fd } NONE => file.close(fd);
    Pread { fd, length, offset } NONE => data.pread(fd, length, offset);
    Pwrite { fd, length, offset } NONE => data.pwrite(fd, length, offset);
    Sread { fd, length, stride_length, stride_skip, offset } NONE
        => strided.sread(fd, length, (stride_length, stride_skip), offset);
    Swrite { fd, length, stride_length, stride_skip, offset } NONE
        => data.swrite(fd, length, (stride_length, stride_skip), offset);
    Fstat { fd } NONE => file.fstat(fd, false);
    Fstatfs { fd } NONE => file.fstatfs(fd);
    Fsync { fd } NONE => file.fsync(fd);
    Ftruncate { fd, length } NONE => file.ftruncate(fd, length);
    Fchmod { fd, mode } NONE => file.fchmod(fd, mode);
    Fchown { fd, uid, gid } NONE => file.fchown((fd, uid, gid));

    // Whole files.
    Getfile { path } READ => whole.getfile(&path);
    Putfile { path, mode, length } WRITE => whole.putfile(&path, mode, length);
    Getstream { path } READ => whole.getstream(&path);
    Putstream { path } WRITE => whole.putstream(&path);
    Thirdput { path, host, target } NONE => thirdput.thirdput(&path, &host, target);
    Md5 { path } READ => whole.hash(b"md5", &path);
    Hash { algorithm, path } READ => whole.hash(&algorithm, &path);
    Setrep { path, count } NONE => names.cannot(Code::InvalidRequest, (path, count));

    // Names.
    Stat { path } LIST => attributes.stat(&path, Yes, false);
    Lstat { path } LIST => attributes.stat(&path, No, false);
    Statfs { path } LIST => attributes.statfs(&path);
    Access { path, mode } NONE => attributes.access(&path, mode);
    Getdir { path } LIST => directory.getdir(&path);
    Getlongdir { path } LIST => directory.getlongdir(&path, false);
    Mkdir { path, mode } NONE => directory.mkdir(&path, mode);
    Rmdir { path } DELETE => directory.rmdir(&path);
    Rmall { path } DELETE => directory.rmall(&path);
    Unlink { path } DELETE => names.unlink(&path);
    Rename { path, target } NONE => names.rename(&path, &target, 0);
    Link { path, target } NONE => names.link(&path, &target);
    Symlink { target, path } WRITE => names.symlink(&target, &path);
    Readlink { path, length } READ => names.readlink(&path, length);
    Chmod { path, mode } WRITE => attributes.chmod(&path, mode);
    Chown { path, uid, gid } WRITE => attributes.chown(&path, Yes, (uid, gid));
    Lchown { path, uid, gid } WRITE => attributes.chown(&path, No, (uid, gid));
    Truncate { path, length } WRITE => attributes.truncate(&path, length);
    Utime { path, atime, mtime } WRITE => attributes.utime(&path, (atime, 0), (mtime, 0), Yes);
    Localpath { path } LIST => names.localpath(&path);

    // Extended attributes.
    Getxattr { path, name } READ => xattr.get(&path, Yes, &name);
    Lgetxattr { path, name } READ => xattr.get(&path, No, &name);
    Fgetxattr { fd, name } NONE => xattr.fget(fd, &name);
    Listxattr { path } READ => xattr.list(&path, Yes);
    Llistxattr { path } READ => xattr.list(&path, No);
    Flistxattr { fd } NONE => xattr.flist(fd);
    Setxattr { path, name, length, flags } WRITE => xattr.set(&path, Yes, &name, (length, flags));
    Lsetxattr { path, name, length, flags } WRITE => xattr.set(&path, No, &name, (length, flags));
    Fsetxattr { fd, name, length, flags } NONE => xattr.fset(fd, &name, (length, flags));
    Removexattr { path, name } WRITE => xattr.remove(&path, Yes, &name);
    Lremovexattr { path, name } WRITE => xattr.remove(&path, No, &name);
    Fremovexattr { fd, name } NONE => xattr.fremove(fd, &name);

    // Identity and access control.
    Whoami { length } NONE => identity.whoami(length);
    Whoareyou { host, length } NONE => thirdput.whoareyou(&host, length);
    Getacl { path } NONE => identity.getacl(&path);
    Setacl { path, subject, rights } ADMIN => identity.setacl(&path, &subject, &rights);
    Resetacl { path, rights } ADMIN => identity.resetacl(&path, &rights);
    Audit { path } ADMIN => identity.audit(&path);
    TicketRegister { subject, seconds, length } NONE
        => ticket.register(&subject, seconds, length);
    TicketModify { ticket, path, rights } NONE => ticket.modify(&ticket, &path, &rights);
    TicketDelete { ticket } NONE => ticket.delete(&ticket);
    TicketList { subject } NONE => ticket.list(&subject);
    TicketGet { ticket } NONE => ticket.get(&ticket);
    Lsalloc { path } LIST => directory.lsalloc(&path);
    Mkalloc { path, size, mode } NONE => directory.mkalloc(&path, size, mode);
    Search { pattern, paths, flags } WRITE => search.search(&pattern, &paths, flags);
    Debug { flag } NONE => identity.debug(&flag);
    JobCreate { length } NONE => names.cannot(Code::InvalidRequest, length);
    JobCommit { id } NONE => names.cannot(Code::InvalidRequest, id);
    JobKill { id } NONE => names.cannot(Code::InvalidRequest, id);
    JobReap { id } NONE => names.cannot(Code::InvalidRequest, id);
    JobStatus { id } NONE => names.cannot(Code::InvalidRequest, id);
    JobWait { id, seconds } NONE => names.cannot(Code::InvalidRequest, (id, seconds));
    Cookie { cookie } NONE => names.cannot(Code::InvalidRequest, cookie);

    // Extensions.
    Xstat { path, follow } LIST => attributes.stat(&path, if follow == 0 { No } else { Yes }, true);
    Xfstat { fd } NONE => file.fstat(fd, true);
    Xopen { path, flags, mode } NONE => file.open(&path, flags, mode, true);
    Xgetlongdir { path } LIST => directory.getlongdir(&path, true);
    Utimens { path, atime, atime_nsec, mtime, mtime_nsec, follow } WRITE => attributes.utime(
        &path, (atime, atime_nsec), (mtime, mtime_nsec), if follow == 0 { No } else { Yes }
    );
    Xcreate { path, flags, mode, mark } NONE => file.create(&path, flags, mode, mark);
    Xmkdir { path, mode, mark } NONE => directory.make_marked(&path, mode, mark);
    Session { key, next } NONE => resume.session(&key, next);
    Renameat2 { path, target, flags } NONE => names.rename(&path, &target, flags);
}
