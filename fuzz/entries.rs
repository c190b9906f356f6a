//! One entry for each parser of foreign bytes, shared by the fuzz targets beside this file and by the bounded run in
//! `tests/it/fuzz_short.rs`. An entry must come back whatever the bytes are; what it accepts must read back the same.

use std::collections::BTreeMap;

use postern::access::{AccessDocument, authorization, scope, token as access_token};
use postern::api::query::links;
use postern::api::request::{MemberRequest, ProjectRequest, RobotRequest, parse_quota, parse_renewal};
use postern::api::route::route as api_route;
use postern::api::sessions::parse_sign_in;
use postern::app::operation::Operation;
use postern::bundle::format::canonical;
use postern::bundle::format::chunk::{Packer, Unpacker};
use postern::bundle::format::container::{self, BLOCK_BYTES};
use postern::bundle::format::seal::{Seal, UnverifiedSeal, table_digest};
use postern::bundle::format::table::{Blob, Chunk, ChunkDigest, Image, SetTable, Volume};
use postern::bundle::format::volume::{FileName, SetId, VolumeHead};
use postern::bundle::receipt::Receipt;
use postern::config::load::from_text;
use postern::config::resolved::Overrides;
use postern::device_id::DeviceId;
use postern::dsse::Envelope;
use postern::http::certificate_names::names_of;
use postern::http::network::Network;
use postern::image_layout::{elf, marker};
use postern::limits::{
    API_PAGE_ENTRIES_COUNT_MAX, CHUNK_BYTES, ENVELOPE_BYTES_MAX, ERROR_TEXT_BYTES_MAX, LISTING_ENTRIES_COUNT_MAX,
};
use postern::oci::descriptor::Platform;
use postern::oci::digest::Digest;
use postern::oci::error_body;
use postern::oci::manifest::Manifest;
use postern::oci::media_type::{OCI_INDEX, OCI_MANIFEST};
use postern::oci::name::{ImageReference, Reference, RepositoryName, Tag};
use postern::oci::remote_name::RemoteName;
use postern::oci::signature_tag;
use postern::registry::range::{Requested, requested};
use postern::registry::route::{Route, UploadAction, route};
use postern::registry::uploads::content_range;
use postern::sys::keys::Identity;
use postern::sys::mac::MacKey;
use postern::upstream::push::listing;
use postern::upstream::token;
use postern::verify::condition::{Condition, Operand, Operator, Path};
use postern::verify::cosign_legacy::keyless_material;
use postern::verify::evaluate::{Question, evaluate};
use postern::verify::evidence::{Evidence, EvidenceContent, EvidenceItem, NotationForm};
use postern::verify::key::PublicKey;
use postern::verify::pattern::Pattern;
use postern::verify::statement::Statement;
use postern::verify::{Outcome, TrustPolicy, strict_json};

#[path = "entries/policies.rs"]
mod policies;
#[path = "entries/reviews.rs"]
mod reviews;
#[path = "entries/signatures.rs"]
mod signatures;

use policies::{
    BINARY_AUTHORIZATION, CASES, CONTAINERS, KYVERNO, REGO, json_with_lines, layer_of_an_image, policy, policy_cases,
    rego_module, sample_layer, yaml_document,
};
use reviews::{ADMISSION_REVIEW, PROVIDER_REQUEST, admission_review, pod_image};
use signatures::{
    checkpoint, code_certificate, distinguished_name, notation_cose, notation_jws, sigstore_bundle, time_stamp,
    trusted_root, tuf,
};

/// A parser, and inputs that it accepts, from which mutations begin.
pub struct Entry {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every parser that bytes from outside can reach.
pub const ENTRIES: &[Entry] = &[
    Entry { name: "digest", run: digest, seeds: || texts(&[SHA256, "sha512:00"]) },
    Entry {
        name: "name",
        run: name,
        seeds: || texts(&["a.b/c/d:1.27", "a@sha256:00", "sha256-00.sig", "a__b--c.d/e"]),
    },
    Entry { name: "manifest", run: manifest, seeds: || texts(&[MANIFEST, INDEX]) },
    Entry {
        name: "remote_name",
        run: remote_name,
        seeds: || texts(&["registry.example:5000/a/b:1.0", "[::1]:5000/a:b", "localhost/a:b"]),
    },
    Entry { name: "platform", run: platform, seeds: || texts(&["linux/amd64", "linux/arm/v7"]) },
    Entry { name: "layout_marker", run: layout_marker, seeds: || texts(&[r#"{"imageLayoutVersion":"1.0.0"}"#]) },
    Entry { name: "elf", run: elf_header, seeds: || vec![sample_elf(2, 62), sample_elf(1, 40)] },
    Entry {
        name: "error_body",
        run: error_answer,
        seeds: || texts(&[r#"{"errors":[{"code":"DENIED","message":"no","detail":{}},{"code":"A"}]}"#]),
    },
    Entry {
        name: "location",
        run: location,
        seeds: || texts(&["/v2/a/blobs/uploads/1?_state=x", "https://other:5000/upload", "//other/x#y", "?z", "w"]),
    },
    Entry { name: "listing", run: referrers_list, seeds: || texts(&[INDEX]) },
    Entry { name: "envelope", run: envelope, seeds: || texts(&[ENVELOPE]) },
    Entry {
        name: "identity",
        run: identity,
        seeds: || {
            let golden = include_bytes!("../bundles/golden/v1/sender.json").to_vec();
            vec![wrapped("application/vnd.postern.identity.v1+json", IDENTITY), golden]
        },
    },
    Entry { name: "statement", run: statement, seeds: || texts(&[STATEMENT]) },
    Entry { name: "strict_json", run: strict, seeds: || texts(&[STATEMENT, "[1,-2.5e3,\"\\u00e9\",null,true,{}]"]) },
    Entry { name: "policy", run: policy, seeds: || texts(&[POLICY]) },
    Entry { name: "public_key", run: public_key, seeds: || texts(&[KEY]) },
    Entry { name: "pattern", run: pattern, seeds: || texts(&["a*b**?\na/b/c", "***********\naaaaaaaaaaaaaaaab"]) },
    Entry { name: "volume_head", run: volume_head, seeds: || vec![sample_head()] },
    Entry { name: "set_table", run: set_table, seeds: || vec![sample_table().to_bytes()] },
    Entry { name: "seal", run: seal, seeds: || vec![sample_seal()] },
    Entry { name: "chunk", run: chunk, seeds: || vec![sample_chunk(b"content"), sample_chunk(&[7; 5_000])] },
    Entry { name: "container", run: container_header, seeds: || vec![container::header("seal.json", 1_234).to_vec()] },
    Entry {
        name: "range",
        run: range,
        seeds: || texts(&["bytes=0-99", "bytes=5-", "bytes=-7", "bytes=0-1,4-5", "bytes=90-,-1, 3-3"]),
    },
    Entry {
        name: "authorization",
        run: authorization_header,
        seeds: || texts(&["Basic YW5uYTpwYXNz", "Bearer a.b.c", "basic cm9ib3QkYStjaTpzZWNyZXQ="]),
    },
    Entry {
        name: "scope",
        run: scopes,
        seeds: || texts(&["repository:a/b:pull,push registry:catalog:*", "repository(plugin):a:5000/b:delete"]),
    },
    Entry { name: "bearer_token", run: bearer_token, seeds: || texts(&["eyJhbGciOiJIUzI1NiJ9.e30.c2ln", "..", "a"]) },
    Entry {
        name: "certificate_names",
        run: certificate,
        seeds: || vec![include_bytes!("seeds/certificate.der").to_vec()],
    },
    Entry { name: "access_document", run: access_document, seeds: || texts(&[ACCESS]) },
    Entry {
        name: "content_range",
        run: content_range_of_a_piece,
        seeds: || texts(&["0-99", "bytes 100-18446744073709551615/*"]),
    },
    Entry { name: "network", run: network, seeds: || texts(&["10.0.0.0/8", "fd00::/8", "127.0.0.1/32"]) },
    Entry {
        name: "route",
        run: path,
        seeds: || {
            texts(&[
                "/v2/a/b/manifests/1.0?ns=docker.io",
                "/v2/a/blobs/sha256:00",
                "/v2/a/tags/list?n=3&last=x%20",
                "/v2/a/referrers/sha256:00?artifactType=a&artifactType=b",
                "/v2/a/b/blobs/uploads/?mount=sha256:00&from=c/d&digest-algorithm=sha512",
                "/v2/a/blobs/uploads/0123?digest=sha256:00",
                "/v2/a/manifests/sha256:00?tag=a&tag=b",
                "/v2/_catalog?n=99&last=a/b",
            ])
        },
    },
    Entry {
        name: "api_route",
        run: api_path,
        seeds: || {
            texts(&[
                "/api/v2.0/projects/team-a/members/3?page=2&page_size=100&entityname=a",
                "/api/v2.0/projects?name=team&sort=-name&public=true&q=name=~a,owner=b",
                "/api/v2.0/robots?q=Level%3Dproject%2CProjectID%3D5",
                "/api/v2.0/quotas/?reference=project&reference_id=18446744073709551615",
            ])
        },
    },
    Entry {
        name: "api_request",
        run: api_request,
        seeds: || {
            texts(&[
                r#"{"project_name":"a","public":true,"metadata":{"public":"true","auto_scan":"false"},"storage_limit":-1}"#,
                r#"{"role_id":2,"member_user":{"username":"anna","user_id":3},"member_group":{}}"#,
                r#"{"name":"ci","duration":30,"level":"project","permissions":[{"kind":"project","namespace":"a","access":[{"resource":"repository","action":"push"}]}]}"#,
                r#"{"hard":{"storage":1}}"#,
                r#"{"username":"anna","password":"x","code":"287082","notice_acknowledged":true}"#,
            ])
        },
    },
    Entry {
        name: "challenge",
        run: challenge,
        seeds: || texts(&["Bearer realm=\"https://a/t\",service=\"a\",scope=\"repository:b:pull\", Basic realm=x"]),
    },
    Entry { name: "receipt", run: receipt, seeds: || vec![sample_receipt()] },
    Entry { name: "evidence", run: evidence, seeds: || texts(&[SIMPLE_SIGNING, &format!("e{ENVELOPE}"), BUNDLE]) },
    Entry { name: "sigstore_bundle", run: sigstore_bundle, seeds: || vec![KEYLESS_BUNDLE.to_vec(), b"{}".to_vec()] },
    Entry { name: "trusted_root", run: trusted_root, seeds: || vec![TRUSTED_ROOT.to_vec()] },
    Entry { name: "checkpoint", run: checkpoint, seeds: || vec![CHECKPOINT.to_vec()] },
    Entry { name: "timestamp", run: time_stamp, seeds: || vec![TIMESTAMP.to_vec()] },
    Entry {
        name: "code_certificate",
        run: code_certificate,
        seeds: || vec![include_bytes!("seeds/certificate.der").to_vec()],
    },
    Entry { name: "notation_jws", run: notation_jws, seeds: || vec![NOTATION_JWS.to_vec()] },
    Entry { name: "notation_cose", run: notation_cose, seeds: || vec![NOTATION_COSE.to_vec()] },
    Entry { name: "distinguished_name", run: distinguished_name, seeds: || texts(&["C=US, ST=WA, O=a\\, b, CN=c"]) },
    Entry { name: "tuf", run: tuf, seeds: || texts(&[TUF_ROOT]) },
    Entry {
        name: "condition",
        run: condition,
        seeds: || texts(&["a.b[0].\"c.d\"[].e|{\"a\":{\"b\":[{\"c.d\":[{\"e\":\"1h30m\"}]}]}}|2h"]),
    },
    Entry { name: "yaml", run: yaml_document, seeds: || texts(&[KYVERNO, "a: [1, {b: 'c'}]\n---"]) },
    Entry { name: "kyverno", run: policy, seeds: || texts(&[KYVERNO]) },
    Entry { name: "rego", run: rego_module, seeds: || texts(&[REGO]) },
    Entry { name: "admission_review", run: admission_review, seeds: || texts(&[ADMISSION_REVIEW, PROVIDER_REQUEST]) },
    Entry {
        name: "pod_image",
        run: pod_image,
        seeds: || texts(&["nginx", "registry.example:5000/apps/web:2@sha256:00"]),
    },
    Entry {
        name: "located_json",
        run: json_with_lines,
        seeds: || texts(&[CONTAINERS, "[1,-2.5e3,\"\\u00e9\",null,{}]"]),
    },
    Entry { name: "binary_authorization", run: policy, seeds: || texts(&[BINARY_AUTHORIZATION]) },
    Entry {
        name: "layer",
        run: layer_of_an_image,
        seeds: || vec![sample_layer(), include_bytes!("seeds/layer.tar.gz").to_vec()],
    },
    Entry { name: "policy_cases", run: policy_cases, seeds: || texts(&[CASES]) },
    Entry { name: "containers_policy", run: policy, seeds: || texts(&[CONTAINERS]) },
    Entry { name: "cosign_annotations", run: cosign_annotations, seeds: || texts(&[COSIGN_BUNDLE]) },
    Entry { name: "config", run: config, seeds: || texts(&[CONFIG]) },
    Entry { name: "operation", run: operation, seeds: || texts(&[OPERATION, r#"{"operation":"status"}"#]) },
    Entry {
        name: "token",
        run: token_answer,
        seeds: || texts(&[r#"{"token":"a","access_token":"a","expires_in":300}"#]),
    },
];

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

const SHA256: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

const ACCESS: &str = r#"{"version":1,"projects":{"a":{"kind":"mirror","visibility":"public","anonymous_networks":["10.0.0.0/8"],"quota_bytes_max":5}},"users":{"u":{"name":"anna","password":{"algorithm":"pbkdf2-hmac-sha-256","iterations":1,"salt":"","derived":""},"grants":[{"role":"admin","projects":"*"}]}},"robots":{"r":{"project":"a","name":"ci","secret":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","role":"pusher","expires":"2026-01-01T00:00:00Z"}}}"#;
const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"a/b","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"annotations":{"a":"b"}}],"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"annotations":{"c":"d"}}"#;

const INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"platform":{"architecture":"arm","os":"linux","variant":"v7","os.version":"1"}}]}"#;

const ENVELOPE: &str =
    r#"{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"keyid":"k","sig":"AAECAw=="}]}"#;

const IDENTITY: &str =
    r#"{"created":"2026-01-01T00:00:00Z","device":"a","keys":{},"name":"low side","suite":"p384-sha384"}"#;

const STATEMENT: &str = r#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"a","digest":{"sha256":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}}],"predicateType":"https://slsa.dev/provenance/v1","predicate":{"buildDefinition":{"buildType":"t"},"runDetails":{"builder":{"id":"b"}}}}"#;

const KEY: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt\n6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==\n-----END PUBLIC KEY-----\n";

const POLICY: &str = r#"version = 1
default = "deny"

[keys.release]
pem = """
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt
6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==
-----END PUBLIC KEY-----
"""

[[rule]]
name = "apps"
repositories = ["apps/**", "docker.io/library/*"]
[rule.signature]
keys = ["release"]
count = 1
[[rule.attestation]]
type = "https://slsa.dev/provenance/v1"
keys = ["release"]
builders = ["https://ci.example/*"]
"#;

/// The first letter says what kind of evidence the rest is.
const SIMPLE_SIGNING: &str = r#"s{"critical":{"identity":{"docker-reference":"a/b"},"image":{"docker-manifest-digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},"type":"cosign container image signature"},"optional":null}"#;

const BUNDLE: &str = r#"b{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"k"}},"dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AAECAw==","keyid":""}]}}"#;

const CONFIG: &str = r#"data_dir = "."
offline = true
listen.address = "[::1]:5000"
[[upstream]]
name = "a.example"
url = "https://a.example"
[[retention]]
name = "few"
repositories = ["**"]
keep_semver_newest = 3
"#;

const OPERATION: &str = r#"{"operation":"bundle_plan","references":["a/b:c"],"platforms":["linux/arm64"],"receiver":"high","series":"weekly","volume_bytes_max":4294967295,"medium":"/media/stick"}"#;

fn wrapped(payload_type: &str, payload: &str) -> Vec<u8> {
    let payload = payload.as_bytes().to_vec();
    Envelope { payload_type: payload_type.to_owned(), payload, key_id: None, signature: vec![0; 64] }.to_json()
}

fn sample_head() -> Vec<u8> {
    VolumeHead::new(SetId::of_statement(b"set"), 1, 3).to_bytes()
}

fn sample_table() -> SetTable {
    let blob = |content: &[u8], manifest: Option<&str>| Blob {
        digest: Digest::of(content),
        size: 4_096,
        manifest: manifest.map(str::to_owned),
        chunks: vec![Chunk { stored: 100, sha256: ChunkDigest::of(b"stored") }],
    };
    let image = Image {
        repository: "low/app".parse().expect("a repository name"),
        digest: Digest::of(b"root"),
        original: "registry.example/app".parse().expect("a repository name"),
        tags: vec!["v1".parse().expect("a tag")],
        platforms: vec!["linux/amd64".to_owned()],
        companions: Vec::new(),
    };
    let blobs = vec![blob(b"layer", None), blob(b"root", Some(OCI_MANIFEST))];
    SetTable::new(4_096, vec![image], blobs, vec![Volume { chunks: 2 }])
}

fn sample_seal() -> Vec<u8> {
    let device = DeviceId::of_public_key(b"key");
    let table = table_digest(&sample_table().to_bytes());
    let seal = Seal::new(device.clone(), device, ("default", 1), jiff::Timestamp::UNIX_EPOCH, (table, 1));
    let payload = String::from_utf8(canonical::to_bytes(&seal)).expect("JSON is UTF-8");
    wrapped("application/vnd.postern.seal.v1+json", &payload)
}

/// The statement of the golden bundle's receipt, without its signature.
fn sample_receipt() -> Vec<u8> {
    let file = include_bytes!("../bundles/golden/v1/receipt.json");
    Envelope::parse(file, ENVELOPE_BYTES_MAX).expect("the golden receipt is an envelope").payload
}

fn sample_chunk(content: &[u8]) -> Vec<u8> {
    Packer::new().expect("a compressor").pack(content).expect("content packs")
}

fn text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}

fn digest(bytes: &[u8]) {
    if let Ok(digest) = text(bytes).parse::<Digest>() {
        assert_eq!(digest.to_string(), text(bytes));
    }
    if let Some(digest) = Digest::from_key(bytes) {
        assert!(bytes.starts_with(&digest.to_key()));
    }
}

fn name(bytes: &[u8]) {
    let text = text(bytes);
    if let Ok(name) = text.parse::<RepositoryName>() {
        assert!(!name.as_str().split('/').any(|part| part.is_empty() || part == "." || part == ".."));
    }
    if let Ok(tag) = text.parse::<Tag>()
        && let Some((subject, kind)) = signature_tag::parse(&tag)
    {
        assert_eq!(kind.tag_for(&subject), tag);
    }
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string(), text);
    }
    let _ = text.parse::<ImageReference>();
    let _ = text.parse::<postern::device_id::DeviceId>();
}

fn manifest(bytes: &[u8]) {
    for media_type in [OCI_MANIFEST, OCI_INDEX, ""] {
        if let Ok(manifest) = Manifest::parse(bytes, media_type) {
            assert_eq!(manifest.digest, Digest::of(bytes));
            assert!(manifest.edges().count() <= manifest.parts.len() + 1);
        }
    }
}

fn remote_name(bytes: &[u8]) {
    if let Ok(name) = text(bytes).parse::<RemoteName>() {
        assert_eq!(name.to_string(), text(bytes));
        let _ = name.is_loopback();
        let address = format!("https://{}/v2/{}/", name.registry(), name.repository());
        let uri: http::Uri = address.parse().expect("a name that is taken makes an address");
        assert_eq!(uri.authority().expect("it has a host").as_str(), name.registry());
    }
}

fn platform(bytes: &[u8]) {
    if let Ok(platform) = text(bytes).parse::<Platform>() {
        assert_eq!(platform.to_string(), text(bytes));
    }
}

fn layout_marker(bytes: &[u8]) {
    let _ = marker::check(bytes);
}

/// The header at the beginning, and whatever follows as program headers.
fn elf_header(bytes: &[u8]) {
    if let Ok(header) = elf::parse(bytes) {
        let at = usize::try_from(header.table_at_bytes).unwrap_or(usize::MAX);
        let table = at.checked_add(header.table_bytes).and_then(|end| bytes.get(at..end));
        let _ = header.check_static(table.unwrap_or(bytes));
    }
}

fn sample_elf(class: u8, machine: u8) -> Vec<u8> {
    let mut bytes = vec![0; 64 + 56];
    bytes[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, 1, 1]);
    (bytes[16], bytes[18], bytes[24]) = (3, machine, 1);
    let (table, size) = if class == 1 { ((28, 52), (42, 32)) } else { ((32, 64), (54, 56)) };
    (bytes[table.0], bytes[size.0], bytes[size.0 + 2]) = (table.1, size.1, 1);
    bytes[usize::from(table.1)] = 1;
    assert!(elf::parse(&bytes).is_ok(), "the sample is a program");
    bytes
}

fn error_answer(bytes: &[u8]) {
    if let Some(text) = error_body::text(bytes) {
        assert!(!text.is_empty() && text.len() <= ERROR_TEXT_BYTES_MAX && !text.contains(char::is_control));
    }
}

/// What is added to is in it afterwards, and everything that was in it still is.
fn referrers_list(bytes: &[u8]) {
    let referrer = Manifest::parse(MANIFEST.as_bytes(), OCI_MANIFEST).expect("the sample is a manifest");
    let Ok(Some(longer)) = listing::added(Some(bytes), &referrer) else { return };
    let before = Manifest::parse(bytes, OCI_INDEX).expect("only a list is added to");
    let after = Manifest::parse(&longer, OCI_INDEX).expect("a longer list is a list");
    assert!(after.parts.starts_with(&before.parts) && after.parts.len() == before.parts.len() + 1);
    assert_eq!(listing::added(Some(&longer), &referrer).ok(), Some(None));
}

/// Where an upload is sent never leaves TLS.
fn location(bytes: &[u8]) {
    let from = "https://registry.example/v2/a/blobs/uploads/".parse().expect("an address");
    if let Ok(next) = postern::http::client::next_uri(&from, text(bytes)) {
        assert_eq!(next.scheme_str(), Some("https"));
    }
}

fn envelope(bytes: &[u8]) {
    if let Ok(envelope) = Envelope::parse(bytes, ENVELOPE_BYTES_MAX) {
        let again = Envelope::parse(&envelope.to_json(), ENVELOPE_BYTES_MAX).expect("what was written reads back");
        assert_eq!(again.signed_bytes(), envelope.signed_bytes());
    }
}

fn identity(bytes: &[u8]) {
    let _ = Identity::parse_and_verify(bytes);
}

fn statement(bytes: &[u8]) {
    let _ = Statement::parse(bytes);
}

fn strict(bytes: &[u8]) {
    if let Ok(value) = strict_json::parse(bytes) {
        assert_eq!(serde_json::from_slice::<serde_json::Value>(bytes).ok(), Some(value));
    }
}

fn public_key(bytes: &[u8]) {
    if let Ok(key) = PublicKey::parse_pem(text(bytes)) {
        assert!(!key.verifies(b"message", bytes));
    }
}

/// The first line is the pattern, the rest is the value.
fn pattern(bytes: &[u8]) {
    let (pattern, value) = text(bytes).split_once('\n').unwrap_or_default();
    let matches = Pattern::new(pattern).matches(value);
    assert!(matches == (pattern == value) || pattern.contains(['*', '?']));
}

fn volume_head(bytes: &[u8]) {
    if let Ok(head) = VolumeHead::parse(bytes) {
        assert_eq!(head.to_bytes(), bytes);
    }
    let _ = FileName::parse(text(bytes));
}

fn set_table(bytes: &[u8]) {
    if let Ok(table) = SetTable::parse(bytes) {
        assert_eq!(table.to_bytes(), bytes);
    }
}

fn seal(bytes: &[u8]) {
    if let Ok(seal) = UnverifiedSeal::parse(bytes) {
        assert!(seal.claims().sequence > 0);
    }
}

fn chunk(bytes: &[u8]) {
    let mut unpacker = Unpacker::new().expect("a decompressor");
    for expected in [0, 7, 5_000, CHUNK_BYTES] {
        if let Ok(content) = unpacker.unpack(bytes, expected) {
            assert_eq!(content.len(), expected);
        }
    }
}

fn container_header(bytes: &[u8]) {
    let mut block = [0; BLOCK_BYTES];
    let length = bytes.len().min(BLOCK_BYTES);
    block[..length].copy_from_slice(&bytes[..length]);
    if let Ok(size) = container::parse_size(&block, 10_000) {
        assert!(size <= 10_000);
        assert_eq!(container::check(&block, "seal.json", size).is_ok(), block == container::header("seal.json", size));
    }
}

/// Whatever is asked for lies inside, and together is no more than there is.
fn range(bytes: &[u8]) {
    for size_bytes in [0, 1, 100, u64::MAX] {
        let spans = match requested(Some(text(bytes)), size_bytes) {
            Requested::Whole | Requested::Unsatisfiable => continue,
            Requested::Part(span) => vec![span],
            Requested::Parts(spans) => spans,
        };
        assert!(spans.iter().all(|span| span.len_bytes > 0 && span.len_bytes <= size_bytes - span.offset_bytes));
        let sum: Option<u64> = spans.iter().try_fold(0, |sum: u64, span| sum.checked_add(span.len_bytes));
        assert!(sum.is_some_and(|sum| sum <= size_bytes));
    }
}

/// However long a list that is asked for, however many tags are to move, what comes out has its bounds.
fn path(bytes: &[u8]) {
    let (path, query) = match text(bytes).split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text(bytes), None),
    };
    use http::Method;
    for method in [Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::PUT, Method::DELETE] {
        let Ok(route) = route(&method, path, query) else { continue };
        match &route {
            Route::Catalog(page) | Route::Tags { page, .. } | Route::Referrers { page, .. } => {
                assert!(page.count.is_none_or(|count| count <= LISTING_ENTRIES_COUNT_MAX));
            }
            Route::PutManifest { tags, .. } => assert!(tags.len() <= 16),
            Route::Upload { session, .. } => assert!(session.len() <= 256),
            _ => {}
        }
        // Whoever only reads asks at the most how far an upload is.
        let asks = matches!(route, Route::Upload { action: UploadAction::Status, .. });
        let changes = (route.is_push() || route.is_delete()) && !asks;
        assert!(!changes || !matches!(method, Method::GET | Method::HEAD));
    }
}

/// Pages have their bounds, and nothing is changed by what only asks.
fn api_path(bytes: &[u8]) {
    let (path, query) = match text(bytes).split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text(bytes), None),
    };
    use http::Method;
    for method in [Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::PUT, Method::DELETE] {
        let Ok(route) = api_route(&method, path, query) else { continue };
        assert!(route.query.page > 0 && (1..=API_PAGE_ENTRIES_COUNT_MAX).contains(&route.query.page_size));
        assert!(!route.endpoint.takes_body() || !matches!(method, Method::GET | Method::HEAD | Method::DELETE));
        let total = bytes.len();
        if let Some(links) = links(path, query.unwrap_or_default(), &route.query, total) {
            assert!(links.contains("rel="));
        }
    }
}

/// No robot is more than a maintainer, and what is refused says what it is.
fn api_request(bytes: &[u8]) {
    match RobotRequest::parse_new(bytes) {
        Ok(robot) => {
            assert!(robot.role <= postern::access::Role::Maintainer);
            let _ = robot.duration();
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let _ = RobotRequest::parse_change(bytes, 7);
    let _ = MemberRequest::parse(bytes);
    let _ = parse_quota(bytes);
    let _ = parse_renewal(bytes);
    let _ = parse_sign_in(bytes);
    if let Ok(project) = ProjectRequest::parse(bytes) {
        assert!(project.storage.is_none_or(|bound| bound.0 != Some(0)));
    }
}

/// What was read of a header is never printed, and holds no more than the header did.
fn authorization_header(bytes: &[u8]) {
    match authorization::parse(bytes) {
        Ok(authorization::Credentials::Basic { name, password }) => {
            assert!(!name.is_empty() && name.len() + password.len() < bytes.len());
            assert!(!name.contains(char::is_control));
        }
        Ok(authorization::Credentials::Bearer(token)) => assert!(token.len() < bytes.len()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Scopes that were read are written and read again as the same.
fn scopes(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for one in scope::parse(text) {
        assert_eq!(scope::parse(&one.to_string()), [one]);
    }
}

/// Nobody makes a token without the key.
fn bearer_token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    assert!(access_token::verify(&MacKey::generate(), text, jiff::Timestamp::UNIX_EPOCH).is_err());
}

fn certificate(bytes: &[u8]) {
    for name in names_of(bytes) {
        assert!(name.contains(':') && !name.contains(char::is_control));
    }
}

fn access_document(bytes: &[u8]) {
    let Ok(document) = AccessDocument::parse(bytes) else { return };
    let written = document.to_json().expect("what was read can be written");
    assert_eq!(AccessDocument::parse(&written).expect("what was written is read"), document);
}

fn content_range_of_a_piece(bytes: &[u8]) {
    if let Some((first, last)) = content_range(text(bytes)) {
        assert!(first <= last);
        assert_eq!(content_range(&format!("{first}-{last}")), Some((first, last)));
    }
}

fn network(bytes: &[u8]) {
    let _ = text(bytes).parse::<Network>();
}

fn challenge(bytes: &[u8]) {
    assert!(token::challenges(text(bytes)).len() <= bytes.len());
}

fn token_answer(bytes: &[u8]) {
    if let Ok(token) = token::parse(bytes) {
        assert!(token.seconds <= 3_600 && !token.value.is_empty());
    }
}

/// No mutation can make a signature by a key whose private half is nowhere, so whatever this is, it must not pass.
fn evidence(bytes: &[u8]) {
    let (Some((kind, content)), Ok(manifest)) =
        (bytes.split_first(), Manifest::parse(MANIFEST.as_bytes(), OCI_MANIFEST))
    else {
        return;
    };
    let content = match kind {
        b's' => EvidenceContent::CosignSignature {
            payload: content.to_vec(),
            annotations: BTreeMap::from([("dev.cosignproject.cosign/signature".to_owned(), "AAECAw==".to_owned())]),
        },
        b'e' => EvidenceContent::Envelope { bytes: content.to_vec(), annotations: BTreeMap::new() },
        b'j' => EvidenceContent::Notation { bytes: content.to_vec(), form: NotationForm::Jws },
        b'c' => EvidenceContent::Notation { bytes: content.to_vec(), form: NotationForm::Cose },
        b'u' => EvidenceContent::Unsigned(content.to_vec()),
        _ => EvidenceContent::SigstoreBundle(content.to_vec()),
    };
    let mut evidence = Evidence::default();
    evidence.add(EvidenceItem { manifest: manifest.digest, digest: Digest::of(bytes), content });
    let local = "apps/web".parse().expect("a repository name");
    let question = Question {
        local: &local,
        original: None,
        tags: &[],
        target: &manifest,
        target_bytes: MANIFEST.as_bytes(),
        images: &[],
    };
    let policy = TrustPolicy::parse(POLICY.as_bytes()).expect("the sample policy is a policy");
    assert_eq!(evaluate(&policy, &question, &evidence, jiff::Timestamp::UNIX_EPOCH).outcome(), Outcome::Failed);
}

const KEYLESS_BUNDLE: &[u8] = include_bytes!("seeds/keyless_bundle.json");
const TRUSTED_ROOT: &[u8] = include_bytes!("seeds/trusted_root.json");
const CHECKPOINT: &[u8] = include_bytes!("seeds/checkpoint.txt");
const TIMESTAMP: &[u8] = include_bytes!("seeds/timestamp.der");
const NOTATION_JWS: &[u8] = include_bytes!("seeds/notation.jws");
const NOTATION_COSE: &[u8] = include_bytes!("seeds/notation.cose");
const TUF_ROOT: &str = r#"{"signatures":[{"keyid":"a","sig":"00"}],"signed":{"_type":"root","version":1,"expires":"2030-01-01T00:00:00Z","keys":{"a":{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"00"}}},"roles":{"root":{"keyids":["a"],"threshold":1},"timestamp":{"keyids":["a"],"threshold":1},"snapshot":{"keyids":["a"],"threshold":1},"targets":{"keyids":["a"],"threshold":1}}}}"#;
const COSIGN_BUNDLE: &str = r#"{"SignedEntryTimestamp":"AAAA","Payload":{"body":"eyJraW5kIjoiZHNzZSIsImFwaVZlcnNpb24iOiIwLjAuMSJ9","integratedTime":1,"logIndex":1,"logID":"00"}}"#;

/// A path, a document and a value, with bars between them.
fn condition(bytes: &[u8]) {
    let mut parts = text(bytes).splitn(3, '|');
    let (Some(path), Some(document), Some(value)) = (parts.next(), parts.next(), parts.next()) else { return };
    let (Ok(path), Ok(document)) = (Path::parse(path), serde_json::from_str::<serde_json::Value>(document)) else {
        return;
    };
    for operator in Operator::names().filter_map(Operator::named) {
        let values = vec![Operand::Text(Pattern::new(value))];
        let condition = Condition { path: path.clone(), operator, values, message: None };
        let found = path.find(&document).is_some();
        assert!(condition.check(&document).is_err() || found, "a path that leads nowhere satisfied {operator:?}");
    }
}

fn cosign_annotations(bytes: &[u8]) {
    let annotation = |name: &str, value: &str| (format!("dev.sigstore.cosign/{name}"), value.to_owned());
    let annotations = BTreeMap::from([annotation("certificate", ""), annotation("bundle", text(bytes))]);
    assert!(keyless_material(&annotations).is_none());
    let annotations = BTreeMap::from([annotation("certificate", text(bytes)), annotation("bundle", text(bytes))]);
    let _ = keyless_material(&annotations);
}

fn config(bytes: &[u8]) {
    let _ = from_text(None, text(bytes), &Overrides::default());
}

fn operation(bytes: &[u8]) {
    if let Ok(operation) = serde_json::from_slice::<Operation>(bytes) {
        let again = serde_json::to_vec(&operation).expect("an operation serialises");
        assert_eq!(serde_json::from_slice::<Operation>(&again).ok(), Some(operation));
    }
}

fn receipt(bytes: &[u8]) {
    let _ = Receipt::claimed_receiver(bytes);
    let _ = Receipt::claimed_receiver(&wrapped("application/vnd.postern.receipt.v1+json", text(bytes)));
}
