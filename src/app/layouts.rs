//! Image layouts: assembling Postern's own image, and pushing what a layout holds. Neither touches a data directory, so
//! nothing of it is sent to a server that runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::appliance::check_fips;
use super::failure::{Failure, FailureKind};
use super::kinds::Kind as _;
use super::perform::runtime;
use crate::config::Config;
use crate::config::file::Upstream;
use crate::image_layout::assemble::{self, Assembled, Binary, Particulars};
use crate::image_layout::{Layout, LayoutError};
use crate::oci::descriptor::Platform;
use crate::oci::remote_name::RemoteName;
use crate::progress::Progress;
use crate::sys::dir::{Dir as _, DirError};
use crate::sys::dir_real::RealDir;
use crate::upstream::Credentials;
use crate::upstream::push::{self, Destination, OutgoingError, OutgoingReport, Way};

/// An image of Postern to make.
#[derive(Clone, Debug)]
pub struct AssembleOrder {
    /// Directory of the layout: empty, or not there yet.
    pub output: PathBuf,
    pub binaries: Vec<(Platform, PathBuf)>,
    pub particulars: Particulars,
}

/// Makes it.
pub fn assemble(order: &AssembleOrder, progress: &dyn Progress) -> Result<Assembled, Failure> {
    let binaries = order.binaries.iter().map(|(platform, path)| open_binary(platform, path));
    let binaries = binaries.collect::<Result<Vec<_>, Failure>>()?;
    let dir = RealDir::create(&order.output)?;
    assemble::assemble(&dir, &binaries, &order.particulars, progress).map_err(|error| {
        let failure = Failure::new(error.kind(), format!("no image was made in '{}'", order.output.display()));
        let next_step = match &error {
            LayoutError::NotEmpty => "name another directory with --output, or remove this one",
            LayoutError::Platform(_) | LayoutError::PlatformTwice(_) => "name each platform once, as it is listed here",
            LayoutError::Binary { .. } | LayoutError::OtherMachine { .. } => {
                "name the static binary that was built for this platform"
            }
            _ => "remove the directory, then run the same command again",
        };
        failure.because(&error).next(next_step)
    })
}

/// The file, by whatever links lead to it.
fn open_binary(platform: &Platform, path: &Path) -> Result<Binary, Failure> {
    let shown = path.display().to_string();
    let failed = |error: DirError| {
        Failure::usage(format!("cannot read the binary for {platform}"))
            .because(&error)
            .next("name a file that is there, as PLATFORM=FILE")
    };
    let io = |source| failed(DirError { operation: "find", path: shown.clone(), source });
    let real = path.canonicalize().map_err(io)?;
    let (Some(parent), Some(name)) = (real.parent(), real.file_name().and_then(|name| name.to_str())) else {
        return Err(io(std::io::ErrorKind::IsADirectory.into()));
    };
    let file = RealDir::open(parent).and_then(|dir| dir.open(name)).map_err(failed)?;
    Ok(Binary { platform: platform.clone(), file, path: shown })
}

/// A push to make.
#[derive(Clone, Debug)]
pub struct PushOrder {
    pub layout: PathBuf,
    /// Which image of the layout, where it holds several.
    pub name: Option<String>,
    pub destination: RemoteName,
    pub ca_file: Option<PathBuf>,
    pub credentials: Option<Credentials>,
    pub plain_http: bool,
    pub dry_run: bool,
}

/// Pushes it.
pub fn push(config: &Config, order: &PushOrder, progress: &dyn Progress) -> Result<OutgoingReport, Failure> {
    check_fips(config.effective.fips)?;
    let failed = |error: OutgoingError| {
        let next_step = next_step(&error);
        Failure::new(error.kind(), format!("'{}' was not pushed", order.destination)).because(&error).next(next_step)
    };
    let layout = |error: LayoutError| failed(error.into());
    let dir = RealDir::open(&order.layout).map_err(|error| {
        let kind = if error.is_not_found() { FailureKind::Usage } else { FailureKind::Failed };
        Failure::of(kind, &error).next("name the directory of an image layout")
    })?;
    let opened = Layout::open(Arc::new(dir)).map_err(layout)?;
    let plan = opened.plan(order.name.as_deref()).map_err(layout)?;
    if config.effective.offline {
        return Err(failed(OutgoingError::Offline));
    }
    let way = way(&config.effective.upstream, order);
    let runtime = runtime(config)?;
    runtime
        .block_on(async {
            let destination = Destination::find(&order.destination, &way).await?;
            push::push(&opened, &plan, &destination, order.dry_run, progress).await
        })
        .map_err(failed)
}

/// As the configuration says for this registry, where it mirrors it; what stands on the command line wins. What is
/// configured for an address with TLS is never used without.
fn way(upstreams: &[Upstream], order: &PushOrder) -> Way {
    let registry = order.destination.registry();
    let is_meant = |upstream: &&Upstream| {
        let host = upstream.url.split("://").nth(1).and_then(|rest| rest.split('/').next());
        let names = upstream.namespaces.iter().map(String::as_str).chain([upstream.name.as_str()]).chain(host);
        names.into_iter().any(|name| name.eq_ignore_ascii_case(registry))
    };
    if order.plain_http {
        let (ca_file, credentials) = (order.ca_file.clone(), order.credentials.clone());
        return Way { url: Some(format!("http://{registry}")), ca_file, credentials };
    }
    let configured = upstreams.iter().find(is_meant);
    let configured = configured.map_or_else(Way::default, |upstream| Way {
        url: Some(upstream.url.clone()),
        ca_file: upstream.ca_file.clone(),
        credentials: Credentials::of(upstream.username.as_ref(), upstream.password_file.as_ref()),
    });
    Way {
        url: configured.url,
        ca_file: order.ca_file.clone().or(configured.ca_file),
        credentials: order.credentials.clone().or(configured.credentials),
    }
}

const fn next_step(error: &OutgoingError) -> &'static str {
    match error {
        OutgoingError::Settings { .. } => "mend --ca-file, or the address",
        OutgoingError::Offline => "push from a machine that is not declared offline",
        OutgoingError::Unreachable { .. } => {
            "look at the address, and at --ca-file or --plain-http; what was sent is not sent again"
        }
        OutgoingError::Access { .. } | OutgoingError::Denied { .. } => "name --username and --password-file",
        OutgoingError::Refused { .. } => "whoever runs the registry decides who may push there, and what",
        OutgoingError::Layout(LayoutError::SeveralImages { .. } | LayoutError::NoSuchImage(_)) => {
            "name one of them with --name"
        }
        OutgoingError::Layout(LayoutError::NoLayout | LayoutError::NoImage) => "name the directory of an image layout",
        OutgoingError::Layout(_) => "make the layout again, or copy it again from where it was made",
        OutgoingError::Listing { .. } => "look at what stands under this tag; the image itself is there",
        OutgoingError::NotNow { .. }
        | OutgoingError::Status { .. }
        | OutgoingError::Place { .. }
        | OutgoingError::Body { .. } => "run the same command again; what was sent is not sent again",
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{PushOrder, way};
    use crate::config::file::Upstream;
    use crate::upstream::Credentials;
    use crate::upstream::push::Way;

    #[test]
    fn a_registry_that_is_mirrored_is_reached_as_it_is_configured() {
        let upstream = Upstream {
            name: "docker.io".to_owned(),
            url: "https://registry-1.docker.io/path".to_owned(),
            namespaces: vec!["index.docker.io".to_owned()],
            ca_file: Some("ca.pem".into()),
            username: Some("u".to_owned()),
            password_file: Some("p".into()),
        };
        let configured = Way {
            url: Some(upstream.url.clone()),
            ca_file: upstream.ca_file.clone(),
            credentials: Some(Credentials { user: "u".to_owned(), password_file: "p".into() }),
        };
        let check = |destination: &str, ca_file: Option<&str>, plain_http: bool, expected: &Way| {
            let order = PushOrder {
                layout: PathBuf::new(),
                name: None,
                destination: destination.parse().unwrap(),
                ca_file: ca_file.map(PathBuf::from),
                credentials: None,
                plain_http,
                dry_run: false,
            };
            assert_eq!(way(std::slice::from_ref(&upstream), &order), *expected, "{destination}");
        };
        for registry in ["docker.io", "Index.docker.io", "registry-1.docker.io"] {
            check(&format!("{registry}/a:b"), None, false, &configured);
        }
        check("docker.io/a:b", Some("x"), false, &Way { ca_file: Some("x".into()), ..configured });
        check("docker.io.example/a:b", None, false, &Way::default());
        let plain = |registry: &str| Way { url: Some(format!("http://{registry}")), ..Way::default() };
        check("other/a:b", None, true, &plain("other"));
        check("docker.io/a:b", None, true, &plain("docker.io"));
    }
}
