//! Who gets to the administration socket: the file's mode lets its owner and, where one is configured, a group connect,
//! and the kernel then says which user is on the other side.
//!
//! Both are needed. A mode can be wrong, as on a volume that somebody else made. And in a user namespace, as the service
//! unit makes one, all users of the machine but root and the server's own look like the same one, 65534: whoever took its
//! word would take everybody's.

use std::path::Path;
use std::sync::Arc;

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, lstat};
use nix::unistd::{Gid, chown, geteuid};

use super::SOCKET;
use crate::app::failure::{Failure, FailureKind};
use crate::http::listener::Listener;
use crate::http::peers::{MayConnect, Peer};
use crate::sys::dir::Dir;
use crate::sys::dir_real::RealDir;
use crate::sys::groups;
use crate::sys::socket_path::SocketPath;

/// What the kernel says of users that it has no number for here, and the user "nobody".
const NOBODY: u32 = 65_534;

/// Where the socket is, and for whom.
#[derive(Clone, Debug, Default)]
pub struct Guard<'c> {
    /// Another place than the data directory.
    pub socket: Option<&'c Path>,
    pub group: Option<&'c str>,
}

impl Guard<'_> {
    /// Binds the socket, for those who may. `told` hears of those who may not.
    pub fn bind(&self, data_dir: &dyn Dir, told: Arc<dyn Fn(Peer) + Send + Sync>) -> Result<Listener, Failure> {
        let listener = match self.socket {
            None => bind(data_dir, SOCKET, self.group)?,
            Some(path) => {
                let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
                else {
                    return Err(Failure::usage(format!("'{}' cannot be a socket", path.display()))
                        .next("write an absolute path to admin.socket in the configuration"));
                };
                bind(&RealDir::open(folder)?, name, self.group)?
            }
        };
        let (own, has_group) = (geteuid().as_raw(), self.group.is_some());
        if own == NOBODY {
            tracing::warn!("this runs as uid {NOBODY}, which is anybody: only root may use the administration socket");
        }
        let may_connect: Arc<MayConnect> = Arc::new(move |peer| {
            let may = may_connect(peer, own, has_group);
            if !may {
                told(peer);
            }
            may
        });
        Ok(listener.only_for(may_connect))
    }
}

/// Whether somebody whom the file's mode let through may administrate.
const fn may_connect(peer: Peer, own: u32, has_group: bool) -> bool {
    match peer {
        Peer::User(NOBODY) | Peer::Unknown | Peer::Address(_) => false,
        Peer::User(user) => user == 0 || user == own || has_group,
    }
}

fn bind(dir: &dyn Dir, name: &str, group: Option<&str>) -> Result<Listener, Failure> {
    let listener = Listener::bind_unix(dir, name)?;
    if let Some(path) = dir.real_path(name) {
        let failed = |error: std::io::Error| Failure::failed("cannot guard the administration socket").because(&error);
        let path = SocketPath::new(&path).map_err(failed)?;
        let mut mode = Mode::S_IRUSR | Mode::S_IWUSR;
        if let Some(group) = group {
            give_to(path.as_path(), group)?;
            mode |= Mode::S_IRGRP | Mode::S_IWGRP;
        }
        fchmodat(AT_FDCWD, path.as_path(), mode, FchmodatFlags::FollowSymlink).map_err(|error| failed(error.into()))?;
    }
    Ok(listener)
}

/// A folder whose group is inherited (mode 2750) has done it already: then nothing is asked of the kernel that a sandbox
/// forbids, and the server need not be in the group.
fn give_to(path: &Path, group: &str) -> Result<(), Failure> {
    let Some(number) = groups::number(group)? else {
        return Err(Failure::usage(format!("there is no group '{group}' in /etc/group"))
            .next("make it with groupadd, or write a group from elsewhere as its number into admin.group"));
    };
    if lstat(path).is_ok_and(|stat| stat.st_gid == number) {
        return Ok(());
    }
    chown(path, None, Some(Gid::from_raw(number))).map_err(|error| {
        Failure::new(FailureKind::Usage, format!("cannot give the administration socket to group '{group}'"))
            .because(&error)
            .next(
                "name a socket in a folder of that group with mode 2750, outside a user namespace; systemd/operators.conf \
                 shows how",
            )
    })
}

#[cfg(test)]
mod tests {
    use super::may_connect;
    use crate::http::peers::Peer;

    #[test]
    fn who_may_administrate() {
        let check = |peer, own, has_group, expected| {
            assert_eq!(may_connect(peer, own, has_group), expected, "{peer} {own} {has_group}");
        };
        check(Peer::User(998), 998, false, true);
        check(Peer::User(0), 998, false, true);
        check(Peer::User(1000), 998, false, false);
        check(Peer::User(1000), 998, true, true);
        for has_group in [false, true] {
            check(Peer::User(65_534), 998, has_group, false);
            check(Peer::User(65_534), 65_534, has_group, false);
            check(Peer::Unknown, 998, has_group, false);
            check(Peer::Address("127.0.0.1".parse().unwrap()), 998, has_group, false);
        }
    }
}
