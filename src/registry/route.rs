//! From method, path and query to what is asked for. Pure, and the only reader of foreign paths.

use ::http::Method;
use percent_encoding::percent_decode_str;

use crate::limits::{LISTING_ENTRIES_COUNT_MAX, URL_BYTES_MAX};
use crate::oci::digest::{Algorithm, Digest};
use crate::oci::name::{NameError, Reference, RepositoryName, Tag};

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/v2/`: is this a registry?
    Base,
    /// `/healthz`, for a supervisor.
    Health,
    Catalog(Page),
    Manifest {
        place: Place,
        reference: Reference,
    },
    Blob {
        place: Place,
        digest: Digest,
    },
    /// An upload begins: with content of a known digest, as a mount, or in pieces.
    StartUpload {
        place: Place,
        digest: Option<Digest>,
        /// Content to take over from a repository, or from any where none is named.
        mount: Option<(Digest, Option<RepositoryName>)>,
        algorithm: Algorithm,
    },
    /// Something happens to an upload that is under way.
    Upload {
        place: Place,
        session: String,
        action: UploadAction,
    },
    PutManifest {
        place: Place,
        reference: Reference,
        /// Further tags (`?tag=`), where the reference is a digest.
        tags: Vec<Tag>,
    },
    DeleteManifest {
        place: Place,
        reference: Reference,
    },
    DeleteBlob {
        place: Place,
        digest: Digest,
    },
    Tags {
        place: Place,
        page: Page,
    },
    Referrers {
        place: Place,
        subject: Digest,
        artifact_types: Vec<String>,
        page: Page,
    },
}

impl Route {
    /// Whether it is a part of a push.
    pub const fn is_push(&self) -> bool {
        matches!(self, Self::StartUpload { .. } | Self::Upload { .. } | Self::PutManifest { .. })
    }

    /// Whether it takes away what a push brought.
    pub const fn is_delete(&self) -> bool {
        matches!(self, Self::DeleteManifest { .. } | Self::DeleteBlob { .. })
    }
}

/// What happens to an upload session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadAction {
    Append,
    Finish(Digest),
    Status,
    Cancel,
}

/// A repository as the client names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub path: RepositoryName,
    /// The registry that a client means when it asks a mirror (`ns`).
    pub namespace: Option<String>,
}

/// Which part of a listing is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Entries asked for; `None` where the client leaves it open.
    pub count: Option<usize>,
    /// The entry after which to begin.
    pub last: Option<String>,
}

/// Why a request asks for nothing that there is.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("there is nothing under this path; the distribution API begins at /v2/")]
    NoSuchPath,
    #[error("this method is not supported here")]
    Method,
    #[error(
        "a token is asked for with GET and 'Authorization: Basic', or with a form of grant_type=password, username and password"
    )]
    Grant,
    #[error("an upload ends with the digest of its content: add ?digest=")]
    NoDigest,
    #[error("digest algorithm '{0}' is not supported (sha256 and sha512 are)")]
    Algorithm(String),
    #[error("one request moves at most {TAGS_COUNT_MAX} tags")]
    TooManyTags,
    #[error("the address is longer than {URL_BYTES_MAX} bytes")]
    TooLong,
    #[error(transparent)]
    Name(NameError),
    #[error(transparent)]
    Reference(NameError),
    #[error("'{0}' is not a number of entries")]
    Count(String),
}

/// Longest list of artifact types that one request may filter by.
const ARTIFACT_TYPES_COUNT_MAX: usize = 64;

/// Most tags that one manifest is pushed under at once.
const TAGS_COUNT_MAX: usize = 16;

/// Reads a request line.
pub fn route(method: &Method, path: &str, query: Option<&str>) -> Result<Route, RouteError> {
    if path.len() + query.map_or(0, str::len) > URL_BYTES_MAX {
        return Err(RouteError::TooLong);
    }
    let path = percent_decode_str(path).decode_utf8().map_err(|_| RouteError::NoSuchPath)?;
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    if path == "/healthz" {
        return if is_read { Ok(Route::Health) } else { Err(RouteError::Method) };
    }
    let rest = match path.strip_prefix("/v2") {
        Some("" | "/") => return if is_read { Ok(Route::Base) } else { Err(RouteError::Method) },
        Some(rest) => rest.strip_prefix('/').ok_or(RouteError::NoSuchPath)?,
        None => return Err(RouteError::NoSuchPath),
    };
    let query = Query::parse(query.unwrap_or_default());
    if rest == "_catalog" {
        return if is_read { Ok(Route::Catalog(query.page()?)) } else { Err(RouteError::Method) };
    }
    let named = Named::split(rest).ok_or(RouteError::NoSuchPath)?;
    named.route(method, query)
}

/// `<name>/<kind>/<last>`, where the name may hold any of the words that stand for a kind.
struct Named<'a> {
    name: &'a str,
    kind: &'a str,
    last: &'a str,
}

impl<'a> Named<'a> {
    fn split(rest: &'a str) -> Option<Self> {
        if let Some((name, session)) = rest.rsplit_once("/blobs/uploads")
            && let Some(last) = session.strip_prefix('/').or_else(|| session.is_empty().then_some(""))
            && !last.contains('/')
        {
            return Some(Self { name, kind: "uploads", last });
        }
        let (before, last) = rest.rsplit_once('/')?;
        let (name, kind) = before.rsplit_once('/')?;
        matches!(kind, "manifests" | "blobs" | "tags" | "referrers").then_some(Self { name, kind, last })
    }

    fn route(&self, method: &Method, query: Query) -> Result<Route, RouteError> {
        match (self.kind, method) {
            (_, &Method::GET | &Method::HEAD) if self.kind != "uploads" => self.read(query),
            ("uploads", _) => self.upload(method, query),
            ("manifests", &Method::PUT) => self.put_manifest(query),
            ("manifests", &Method::DELETE) => {
                let reference = self.last.parse().map_err(RouteError::Reference)?;
                Ok(Route::DeleteManifest { place: self.place(&query)?, reference })
            }
            ("blobs", &Method::DELETE) => {
                Ok(Route::DeleteBlob { place: self.place(&query)?, digest: parse_digest(self.last)? })
            }
            _ => Err(RouteError::Method),
        }
    }

    fn place(&self, query: &Query) -> Result<Place, RouteError> {
        Ok(Place { path: self.name.parse().map_err(RouteError::Name)?, namespace: query.namespace.clone() })
    }

    fn upload(&self, method: &Method, query: Query) -> Result<Route, RouteError> {
        let place = self.place(&query)?;
        let digest = query.digest.as_deref().map(parse_digest).transpose()?;
        let session = || self.last.chars().take(SESSION_LETTERS_MAX).collect();
        let action = match (method, self.last.is_empty()) {
            (&Method::POST, true) => {
                let algorithm = match query.digest_algorithm.as_deref() {
                    None => Algorithm::Sha256,
                    Some("sha256") => Algorithm::Sha256,
                    Some("sha512") => Algorithm::Sha512,
                    Some(other) => return Err(RouteError::Algorithm(other.chars().take(40).collect())),
                };
                let mount = query.mount.as_deref().map(parse_digest).transpose()?;
                // A source that is no name holds nothing, and a mount that fails is an ordinary upload.
                let mount = match query.from {
                    None => mount.map(|digest| (digest, None)),
                    Some(from) => mount.zip(from.parse().ok()).map(|(digest, from)| (digest, Some(from))),
                };
                return Ok(Route::StartUpload { place, digest, mount, algorithm });
            }
            (&Method::PATCH, false) => UploadAction::Append,
            (&Method::PUT, false) => UploadAction::Finish(digest.ok_or(RouteError::NoDigest)?),
            (&Method::GET | &Method::HEAD, false) => UploadAction::Status,
            (&Method::DELETE, false) => UploadAction::Cancel,
            _ => return Err(RouteError::Method),
        };
        Ok(Route::Upload { place, session: session(), action })
    }

    fn put_manifest(&self, query: Query) -> Result<Route, RouteError> {
        let place = self.place(&query)?;
        if query.tags.len() > TAGS_COUNT_MAX {
            return Err(RouteError::TooManyTags);
        }
        let tags = query.tags.iter().map(|tag| tag.parse().map_err(RouteError::Reference)).collect::<Result<_, _>>()?;
        Ok(Route::PutManifest { place, reference: self.last.parse().map_err(RouteError::Reference)?, tags })
    }

    fn read(&self, query: Query) -> Result<Route, RouteError> {
        let path = self.name.parse().map_err(RouteError::Name)?;
        let digest = || parse_digest(self.last);
        let page = query.page();
        let place = Place { path, namespace: query.namespace };
        match self.kind {
            "manifests" => Ok(Route::Manifest { place, reference: self.last.parse().map_err(RouteError::Reference)? }),
            "blobs" => Ok(Route::Blob { place, digest: digest()? }),
            "tags" if self.last == "list" => Ok(Route::Tags { place, page: page? }),
            "referrers" => {
                let (subject, artifact_types) = (digest()?, query.artifact_types);
                Ok(Route::Referrers { place, subject, artifact_types, page: page? })
            }
            _ => Err(RouteError::NoSuchPath),
        }
    }
}

/// What is looked at of a session's id; ours are shorter.
const SESSION_LETTERS_MAX: usize = 64;

fn parse_digest(text: &str) -> Result<Digest, RouteError> {
    text.parse().map_err(|error| RouteError::Reference(NameError::Digest(error)))
}

#[derive(Default)]
struct Query {
    digest: Option<String>,
    mount: Option<String>,
    from: Option<String>,
    digest_algorithm: Option<String>,
    tags: Vec<String>,
    namespace: Option<String>,
    count: Option<String>,
    last: Option<String>,
    artifact_types: Vec<String>,
}

impl Query {
    /// `+` stays a plus: nothing asked for here holds a blank, but media types hold `+json`, and some clients forget to
    /// escape it.
    fn parse(text: &str) -> Self {
        let mut query = Self::default();
        for pair in text.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Ok(value) = percent_decode_str(value).decode_utf8() else { continue };
            let value = value.into_owned();
            match key {
                "ns" if !value.is_empty() => query.namespace = Some(value),
                "n" => query.count = Some(value),
                "digest" => query.digest = Some(value),
                "mount" => query.mount = Some(value),
                "from" => query.from = Some(value),
                "digest-algorithm" => query.digest_algorithm = Some(value),
                "tag" if query.tags.len() <= TAGS_COUNT_MAX => query.tags.push(value),
                "last" if !value.is_empty() => query.last = Some(value),
                "artifactType" if !value.is_empty() && query.artifact_types.len() < ARTIFACT_TYPES_COUNT_MAX => {
                    query.artifact_types.push(value);
                }
                _ => {}
            }
        }
        query
    }

    fn page(&self) -> Result<Page, RouteError> {
        let count = match &self.count {
            None => None,
            Some(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => Some(
                text.parse().map_or(LISTING_ENTRIES_COUNT_MAX, |count: usize| count.min(LISTING_ENTRIES_COUNT_MAX)),
            ),
            Some(text) => return Err(RouteError::Count(text.chars().take(40).collect())),
        };
        Ok(Page { count, last: self.last.clone() })
    }
}

#[cfg(test)]
mod tests {
    use ::http::Method;

    use super::{Page, Place, Route, RouteError, UploadAction, route};
    use crate::oci::digest::{Algorithm, Digest};

    fn get(target: &str) -> Result<Route, RouteError> {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        route(&Method::GET, path, query)
    }

    fn place(path: &str, namespace: Option<&str>) -> Place {
        Place { path: path.parse().unwrap(), namespace: namespace.map(str::to_owned) }
    }

    #[test]
    fn every_route_of_the_api() {
        let digest = Digest::of(b"");
        let check = |target: &str, expected: Route| assert_eq!(get(target).unwrap(), expected, "{target}");
        let manifest = |path: &str, namespace, reference: &str| Route::Manifest {
            place: place(path, namespace),
            reference: reference.parse().unwrap(),
        };
        check("/v2", Route::Base);
        check("/v2/", Route::Base);
        check("/healthz", Route::Health);
        check("/v2/a/manifests/v1", manifest("a", None, "v1"));
        check("/v2/library/nginx/manifests/1.27?ns=docker.io", manifest("library/nginx", Some("docker.io"), "1.27"));
        check("/v2/a/manifests/v1?ns=registry.example%3A5000", manifest("a", Some("registry.example:5000"), "v1"));
        let digest_text = digest.to_string();
        check(&format!("/v2/a/manifests/{digest_text}"), manifest("a", None, &digest_text));
        let escaped = digest_text.replace(':', "%3A");
        check(&format!("/v2/a/blobs/{escaped}"), Route::Blob { place: place("a", None), digest });
        // A repository may be named like a part of the path.
        check("/v2/blobs/manifests/manifests/tags", manifest("blobs/manifests", None, "tags"));
        check("/v2/tags/list/tags/list", Route::Tags { place: place("tags/list", None), page: Page::default() });
        let page = Page { count: Some(0), last: Some("v1".into()) };
        check("/v2/a/tags/list?n=0&last=v1", Route::Tags { place: place("a", None), page: page.clone() });
        check("/v2/_catalog?n=0&last=v1", Route::Catalog(page));
        check("/v2/_catalog?n=99999999999999999999", Route::Catalog(Page { count: Some(1000), last: None }));
        let artifact_types = vec!["a/b+json".to_owned(), "c/d+json".to_owned()];
        check(
            &format!("/v2/a/referrers/{digest_text}?artifactType=a%2Fb%2Bjson&artifactType=c/d+json"),
            Route::Referrers { place: place("a", None), subject: digest, artifact_types, page: Page::default() },
        );
    }

    #[test]
    fn what_is_no_route() {
        let check = |target: &str, expected: fn(&RouteError) -> bool| {
            let error = get(target).unwrap_err();
            assert!(expected(&error), "{target}: {error:?}");
        };
        for target in ["/", "/v1/", "/v2x/", "/v2/a", "/v2/a/b/c", "/v2/a/tags/all", "/v2//", "/v2/%ff/tags/list"] {
            check(target, |error| matches!(error, RouteError::NoSuchPath));
        }
        for target in ["/v2/A/tags/list", "/v2/../etc/manifests/v1", "/v2/a//b/tags/list"] {
            check(target, |error| matches!(error, RouteError::Name(_)));
        }
        for target in ["/v2/a/manifests/.x", "/v2/a/blobs/v1", "/v2/a/referrers/sha256:00", "/v2/a/manifests/a:b"] {
            check(target, |error| matches!(error, RouteError::Reference(_)));
        }
        let long = "x".repeat(crate::limits::URL_BYTES_MAX);
        check(&format!("/v2/a/tags/list?last={long}"), |error| matches!(error, RouteError::TooLong));
        check(&format!("/v2/{long}/tags/list"), |error| matches!(error, RouteError::TooLong));
        check("/v2/a/tags/list?n=-1", |error| matches!(error, RouteError::Count(_)));
    }

    #[test]
    fn how_content_is_pushed() {
        let digest = Digest::of(b"");
        let check = |method: Method, target: &str, expected: Result<Route, RouteError>| {
            let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
            assert_eq!(route(&method, path, query), expected, "{method} {target}");
        };
        let start =
            |digest, mount, algorithm| Ok(Route::StartUpload { place: place("a/b", None), digest, mount, algorithm });
        let upload = |action| Ok(Route::Upload { place: place("a/b", None), session: "s".into(), action });
        let uploads = "/v2/a/b/blobs/uploads/";
        check(Method::POST, uploads, start(None, None, Algorithm::Sha256));
        check(Method::POST, "/v2/a/b/blobs/uploads", start(None, None, Algorithm::Sha256));
        check(Method::POST, &format!("{uploads}?digest-algorithm=sha512"), start(None, None, Algorithm::Sha512));
        check(Method::POST, &format!("{uploads}?digest={digest}"), start(Some(digest), None, Algorithm::Sha256));
        let mount = Some((digest, Some("c".parse().unwrap())));
        check(Method::POST, &format!("{uploads}?mount={digest}&from=c"), start(None, mount, Algorithm::Sha256));
        let anywhere = Some((digest, None));
        check(Method::POST, &format!("{uploads}?mount={digest}"), start(None, anywhere, Algorithm::Sha256));
        check(Method::POST, &format!("{uploads}?mount={digest}&from=../c"), start(None, None, Algorithm::Sha256));
        check(Method::POST, &format!("{uploads}?mount={digest}&from="), start(None, None, Algorithm::Sha256));
        check(Method::PATCH, &format!("{uploads}s"), upload(UploadAction::Append));
        check(Method::GET, &format!("{uploads}s"), upload(UploadAction::Status));
        check(Method::DELETE, &format!("{uploads}s"), upload(UploadAction::Cancel));
        check(Method::PUT, &format!("{uploads}s?digest={digest}"), upload(UploadAction::Finish(digest)));
        check(Method::PUT, &format!("{uploads}s"), Err(RouteError::NoDigest));
        check(Method::POST, &format!("{uploads}s"), Err(RouteError::Method));
        check(Method::PATCH, &format!("{uploads}../../x"), Err(RouteError::NoSuchPath));
        let put = |tags: &[&str]| {
            let tags = tags.iter().map(|tag| tag.parse().unwrap()).collect();
            Ok(Route::PutManifest { place: place("a", None), reference: digest.to_string().parse().unwrap(), tags })
        };
        check(Method::PUT, &format!("/v2/a/manifests/{digest}?tag=x&tag=y"), put(&["x", "y"]));
        let manifest = |reference: &str| {
            Ok(Route::DeleteManifest { place: place("a", None), reference: reference.parse().unwrap() })
        };
        check(Method::DELETE, "/v2/a/manifests/v1", manifest("v1"));
        check(Method::DELETE, &format!("/v2/a/manifests/{digest}"), manifest(&digest.to_string()));
        let blob = Ok(Route::DeleteBlob { place: place("a", None), digest });
        check(Method::DELETE, &format!("/v2/a/blobs/{digest}"), blob);
        check(Method::DELETE, "/v2/a/tags/list", Err(RouteError::Method));
        check(Method::OPTIONS, "/v2/a/manifests/v1", Err(RouteError::Method));
        check(Method::POST, "/v2/", Err(RouteError::Method));
    }
}
