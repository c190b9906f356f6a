//! A private Sigstore instance: an authority, a log of certificates, two logs of signatures, one of each generation, and an
//! authority for time stamps. It signs for whoever asks, and writes the trusted root that says so.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::der::{bits, context, generalized_time, integer, octets, oid, sequence, set, tagged, text, utc_time, yes};

/// When the instance began, and when everything was signed.
const BEGIN: &str = "2026-10-01T00:00:00Z";
const SIGNED: &str = "2026-11-01T12:00:05Z";
const SIGNED_SECONDS: i64 = 1_793_534_405;
const NOT_BEFORE: &str = "2026-11-01T12:00:00Z";
const NOT_AFTER: &str = "2026-11-01T12:10:00Z";
const FAR: &str = "2036-10-01T00:00:00Z";
/// What the first log was given before and after.
const NEIGHBOURS: [&[u8]; 4] = [b"first", b"second", b"fourth", b"fifth"];

const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";
const TIME_STAMPING: &str = "1.3.6.1.5.5.7.3.8";
const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
const SHA256: &str = "2.16.840.1.101.3.4.2.1";

pub fn sha256(content: &[u8]) -> [u8; 32] {
    Sha256::digest(content).into()
}

/// A key on P-256.
pub struct Key(EcdsaKeyPair);

impl Key {
    pub fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key"))
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec()
    }

    /// SubjectPublicKeyInfo.
    pub fn spki(&self) -> Vec<u8> {
        let algorithm = sequence(&[oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7")]);
        sequence(&[algorithm, bits(self.0.public_key().as_ref())])
    }

    fn identifier(&self) -> [u8; 32] {
        sha256(&self.spki())
    }
}

/// Who signs, as the authority found out.
#[derive(Clone, Debug)]
pub struct Who {
    pub issuer: String,
    pub subject: String,
}

/// Which generation of the log an entry is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// With a promise (SET), which makes the time authentic.
    First,
    /// Without: a time stamp does that.
    Second,
}

/// The whole instance.
pub struct Instance {
    authority: Key,
    /// From the lowest to the root. Made once: a signature on P-256 is another one each time.
    authorities: [Vec<u8>; 2],
    certificate_log: Key,
    logs: [Key; 2],
    time_root: Key,
    time_authority: Key,
    time_authorities: [Vec<u8>; 2],
}

const LOG_NAMES: [&str; 2] = ["log1.instance.example", "log2.instance.example"];

impl Instance {
    pub fn new() -> Self {
        let (root, authority, time_root, time_authority) = (Key::new(), Key::new(), Key::new(), Key::new());
        Self {
            authorities: [intermediate(&authority, &root), authority_certificate(&root, "root")],
            authority,
            certificate_log: Key::new(),
            logs: [Key::new(), Key::new()],
            time_authorities: [
                time_signer(&time_authority, &time_root),
                authority_certificate(&time_root, "time root"),
            ],
            time_root,
            time_authority,
        }
    }

    /// The certificate by which time is stamped.
    pub fn time_signer(&self) -> &[u8] {
        &self.time_authorities[0]
    }

    /// The one that issued it.
    pub fn time_root(&self) -> &[u8] {
        &self.time_authorities[1]
    }

    /// The root of whoever signs.
    pub fn root(&self) -> &[u8] {
        &self.authorities[1]
    }

    /// What the issuer of the time signer says of its certificates (RFC 5280, section 5.1): these `serials` are revoked.
    pub fn time_revocation_list(&self, serials: &[u64]) -> Vec<u8> {
        let revoked: Vec<Vec<u8>> =
            serials.iter().map(|serial| sequence(&[integer(*serial), utc_time(SIGNED)])).collect();
        let revoked = if revoked.is_empty() { Vec::new() } else { sequence(&revoked) };
        let extensions = [
            extension("2.5.29.35", false, &sequence(&[tagged(0x80, &self.time_root.identifier()[..20])])),
            extension("2.5.29.20", false, &integer(1)),
        ];
        let content = sequence(&[
            integer(1),
            sequence(&[oid(ECDSA_SHA256)]),
            name("time root"),
            utc_time(SIGNED),
            utc_time(FAR),
            revoked,
            context(0, &sequence(&extensions)),
        ]);
        sequence(&[content.clone(), sequence(&[oid(ECDSA_SHA256)]), bits(&self.time_root.sign(&content))])
    }

    /// Signs `payload` in Notation's form: an envelope of JWS with a time stamp, the certificate behind which has ended long ago.
    pub fn sign_for_notation(&self, payload: &[u8]) -> Vec<u8> {
        let key = Key::new();
        let protected = json!({
            "alg": "ES256", "cty": "application/vnd.cncf.notary.payload.v1+json",
            "crit": ["io.cncf.notary.signingScheme"], "io.cncf.notary.signingScheme": "notary.x509",
            "io.cncf.notary.signingTime": SIGNED,
        });
        let protected = BASE64URL_NOPAD.encode(protected.to_string().as_bytes());
        let payload = BASE64URL_NOPAD.encode(payload);
        let signature = two_numbers(&key.sign(format!("{protected}.{payload}").as_bytes()));
        let leaf = self.leaf(&Who { issuer: "nobody".to_owned(), subject: "somebody".to_owned() }, &key);
        let [intermediate, root] = &self.authorities;
        let chain = [&leaf, intermediate, root].map(|der| BASE64.encode(der));
        let envelope = json!({
            "payload": payload, "protected": protected, "signature": BASE64URL_NOPAD.encode(&signature),
            "header": {
                "x5c": chain,
                "io.cncf.notary.timestampSignature": BASE64.encode(&self.stamp(&signature)),
            },
        });
        serde_json::to_vec(&envelope).expect("plain JSON")
    }

    /// `trusted_root.json`.
    pub fn trusted_root(&self) -> Value {
        let log = |key: &Key, url: String| {
            json!({
                "baseUrl": url, "hashAlgorithm": "SHA2_256",
                "publicKey": {"rawBytes": BASE64.encode(&key.spki()), "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                              "validFor": {"start": BEGIN}},
                "logId": {"keyId": BASE64.encode(&key.identifier())},
            })
        };
        let authority = |chain: &[Vec<u8>]| {
            let certificates: Vec<Value> = chain.iter().map(|der| json!({"rawBytes": BASE64.encode(der)})).collect();
            json!({
                "subject": {"organization": "instance.example", "commonName": "instance"},
                "uri": "https://ca.instance.example",
                "certChain": {"certificates": certificates}, "validFor": {"start": BEGIN},
            })
        };
        let logs = self.logs.iter().zip(LOG_NAMES).map(|(key, name)| log(key, format!("https://{name}")));
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": logs.collect::<Vec<_>>(),
            "ctlogs": [log(&self.certificate_log, "https://ct.instance.example".to_owned())],
            "certificateAuthorities": [authority(&self.authorities)],
            "timestampAuthorities": [authority(&self.time_authorities)],
        })
    }

    /// A certificate for the key of whoever signs, in the log of certificates.
    fn leaf(&self, who: &Who, key: &Key) -> Vec<u8> {
        let mut extensions = vec![
            key_usage(0x80),
            usage(CODE_SIGNING, false),
            extension("2.5.29.17", true, &sequence(&[tagged(0x86, who.subject.as_bytes())])),
            extension("1.3.6.1.4.1.57264.1.1", false, who.issuer.as_bytes()),
            extension("1.3.6.1.4.1.57264.1.8", false, &text(&who.issuer)),
        ];
        let content = Content { serial: 77, issuer: "intermediate", subject: None, begin: NOT_BEFORE, end: NOT_AFTER };
        let logged = content.encode(&key.spki(), &extensions);
        extensions.push(extension("1.3.6.1.4.1.11129.2.4.2", false, &octets(&self.sct_list(&logged))));
        certificate(&content, &key.spki(), &extensions, &self.authority)
    }

    /// RFC 6962, sections 3.2 and 3.3.
    fn sct_list(&self, logged: &[u8]) -> Vec<u8> {
        let time = (u64::try_from(SIGNED_SECONDS).expect("after 1970") * 1_000).to_be_bytes();
        let length = u32::try_from(logged.len()).expect("a small certificate").to_be_bytes();
        let issuer = sha256(&self.authority.spki());
        let signed = [&[0, 0], time.as_slice(), &[0, 1], &issuer, &length[1..], logged, &[0, 0]].concat();
        let signature = self.certificate_log.sign(&signed);
        let log = self.certificate_log.identifier();
        let sct = [&[0], log.as_slice(), &time, &[0, 0], &[4, 3], &counted(&signature)].concat();
        counted(&counted(&sct))
    }

    /// Signs `statement`, and returns the bundle.
    pub fn sign(&self, who: &Who, statement: &[u8], generation: Generation) -> Value {
        const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
        let key = Key::new();
        let leaf = self.leaf(who, &key);
        let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), statement.len());
        let encoded = [head.as_bytes(), statement].concat();
        let signature = key.sign(&encoded);
        let envelope = json!({
            "payload": BASE64.encode(statement), "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": BASE64.encode(&signature)}],
        });
        let body = match generation {
            Generation::First => {
                let pem = pem::encode_config(
                    &pem::Pem::new("CERTIFICATE", leaf.clone()),
                    pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
                );
                json!({"apiVersion": "0.0.1", "kind": "dsse", "spec": {
                    "envelopeHash": {"algorithm": "sha256", "value": HEXLOWER.encode(&sha256(envelope.to_string().as_bytes()))},
                    "payloadHash": {"algorithm": "sha256", "value": HEXLOWER.encode(&sha256(statement))},
                    "signatures": [{"signature": BASE64.encode(&signature), "verifier": BASE64.encode(pem.as_bytes())}],
                }})
            }
            // What signers upload to the second generation is the hash of what they signed.
            Generation::Second => json!({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": {
                "data": {"algorithm": "SHA2_256", "digest": BASE64.encode(&sha256(&encoded))},
                "signature": {"content": BASE64.encode(&signature), "verifier": {
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256", "x509Certificate": {"rawBytes": BASE64.encode(&leaf)},
                }},
            }}}),
        };
        let stamps = match generation {
            Generation::First => json!([]),
            Generation::Second => json!([{"signedTimestamp": BASE64.encode(&self.stamp(&signature))}]),
        };
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": {"rawBytes": BASE64.encode(&leaf)},
                "tlogEntries": [self.entry(body.to_string().as_bytes(), generation)],
                "timestampVerificationData": {"rfc3161Timestamps": stamps},
            },
            "dsseEnvelope": envelope,
        })
    }

    /// The entry as the log returns it: third of five.
    fn entry(&self, body: &[u8], generation: Generation) -> Value {
        let (key, name) = match generation {
            Generation::First => (&self.logs[0], LOG_NAMES[0]),
            Generation::Second => (&self.logs[1], LOG_NAMES[1]),
        };
        let contents = [NEIGHBOURS[0], NEIGHBOURS[1], body, NEIGHBOURS[2], NEIGHBOURS[3]];
        let leaves: Vec<[u8; 32]> = contents.iter().map(|content| sha256(&[&[0], *content].concat())).collect();
        let root = BASE64.encode(&tree(&leaves));
        // The first generation numbers its trees; by that verifiers tell one from the other.
        let tree = if generation == Generation::First { " - 4711" } else { "" };
        let signed = format!("{name}{tree}\n{}\n{root}\n", leaves.len());
        let hint = &key.identifier()[..4];
        let line = BASE64.encode(&[hint, &key.sign(signed.as_bytes())].concat());
        let hashes: Vec<String> = path(2, &leaves).iter().map(|hash| BASE64.encode(hash)).collect();
        let kind = match generation {
            Generation::First => json!({"kind": "dsse", "version": "0.0.1"}),
            Generation::Second => json!({"kind": "hashedrekord", "version": "0.0.2"}),
        };
        let mut entry = json!({
            "logIndex": "2", "logId": {"keyId": BASE64.encode(&key.identifier())}, "kindVersion": kind,
            "inclusionProof": {
                "logIndex": "2", "rootHash": root, "treeSize": leaves.len().to_string(), "hashes": hashes,
                "checkpoint": {"envelope": format!("{signed}\n\u{2014} {name} {line}\n")},
            },
            "canonicalizedBody": BASE64.encode(body),
        });
        if generation == Generation::First {
            entry["integratedTime"] = json!(SIGNED_SECONDS.to_string());
            let promised = format!(
                r#"{{"body":"{}","integratedTime":{SIGNED_SECONDS},"logID":"{}","logIndex":2}}"#,
                BASE64.encode(body),
                HEXLOWER.encode(&key.identifier()),
            );
            entry["inclusionPromise"] = json!({"signedEntryTimestamp": BASE64.encode(&key.sign(promised.as_bytes()))});
        }
        entry
    }

    /// A server's answer with a time stamp over `message` (RFC 3161).
    fn stamp(&self, message: &[u8]) -> Vec<u8> {
        let hash = sequence(&[oid(SHA256)]);
        let info = sequence(&[
            integer(1),
            oid("1.3.6.1.4.1.57264.2"),
            sequence(&[hash.clone(), octets(&sha256(message))]),
            integer(4_711),
            generalized_time(SIGNED),
        ]);
        let [signer, _] = &self.time_authorities;
        let attribute = |kind: &str, value: Vec<u8>| sequence(&[oid(kind), set(&[value])]);
        let named = sequence(&[sequence(&[sequence(&[octets(&sha256(signer))])])]);
        let attributes = set(&[
            attribute("1.2.840.113549.1.9.3", oid("1.2.840.113549.1.9.16.1.4")),
            attribute("1.2.840.113549.1.9.4", octets(&sha256(&info))),
            attribute("1.2.840.113549.1.9.16.2.47", named),
        ]);
        let signature = self.time_authority.sign(&attributes);
        // In the message the set has another tag than where it is signed.
        let carried = [&[0xa0], &attributes[1..]].concat();
        let info_of_signer = sequence(&[
            integer(1),
            sequence(&[name("time root"), integer(5)]),
            hash.clone(),
            carried,
            sequence(&[oid(ECDSA_SHA256)]),
            octets(&signature),
        ]);
        let data = sequence(&[
            integer(3),
            set(&[hash]),
            sequence(&[oid("1.2.840.113549.1.9.16.1.4"), context(0, &octets(&info))]),
            context(0, signer),
            set(&[info_of_signer]),
        ]);
        let token = sequence(&[oid("1.2.840.113549.1.7.2"), context(0, &data)]);
        sequence(&[sequence(&[integer(0)]), token])
    }
}

/// What a certificate says beside its key and its extensions.
struct Content {
    serial: u64,
    issuer: &'static str,
    subject: Option<&'static str>,
    begin: &'static str,
    end: &'static str,
}

impl Content {
    fn encode(&self, spki: &[u8], extensions: &[Vec<u8>]) -> Vec<u8> {
        sequence(&[
            context(0, &integer(2)),
            integer(self.serial),
            sequence(&[oid(ECDSA_SHA256)]),
            name(self.issuer),
            sequence(&[utc_time(self.begin), utc_time(self.end)]),
            self.subject.map_or_else(|| sequence(&[]), name),
            spki.to_vec(),
            context(3, &sequence(extensions)),
        ])
    }
}

fn certificate(content: &Content, spki: &[u8], extensions: &[Vec<u8>], by: &Key) -> Vec<u8> {
    let content = content.encode(spki, extensions);
    let signature = by.sign(&content);
    sequence(&[content, sequence(&[oid(ECDSA_SHA256)]), bits(&signature)])
}

fn intermediate(key: &Key, root: &Key) -> Vec<u8> {
    let extensions = [authority_extensions(key, Some(0)), vec![usage(CODE_SIGNING, false)]].concat();
    let content = Content { serial: 2, issuer: "root", subject: Some("intermediate"), begin: BEGIN, end: FAR };
    certificate(&content, &key.spki(), &extensions, root)
}

fn time_signer(key: &Key, root: &Key) -> Vec<u8> {
    let extensions = [key_usage(0x80), usage(TIME_STAMPING, true)];
    let content = Content { serial: 5, issuer: "time root", subject: Some("time"), begin: BEGIN, end: FAR };
    certificate(&content, &key.spki(), &extensions, root)
}

fn authority_certificate(key: &Key, called: &'static str) -> Vec<u8> {
    let content = Content { serial: 1, issuer: called, subject: Some(called), begin: BEGIN, end: FAR };
    certificate(&content, &key.spki(), &authority_extensions(key, None), key)
}

fn authority_extensions(key: &Key, path_length: Option<u64>) -> Vec<Vec<u8>> {
    let constraints = [Some(yes()), path_length.map(integer)].into_iter().flatten().collect::<Vec<_>>();
    vec![
        // Signs certificates and lists.
        key_usage(0x06),
        extension("2.5.29.19", true, &sequence(&constraints)),
        extension("2.5.29.14", false, &octets(&key.identifier()[..20])),
    ]
}

fn name(common: &str) -> Vec<u8> {
    let part = |kind: &str, value: &str| set(&[sequence(&[oid(kind), text(value)])]);
    sequence(&[part("2.5.4.10", "instance.example"), part("2.5.4.3", common)])
}

fn extension(kind: &str, is_critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if is_critical { yes() } else { Vec::new() };
    sequence(&[oid(kind), critical, octets(value)])
}

fn key_usage(usages: u8) -> Vec<u8> {
    let unused = u8::try_from(usages.trailing_zeros()).expect("at most eight bits");
    extension("2.5.29.15", true, &tagged(0x03, &[unused, usages]))
}

fn usage(kind: &str, is_critical: bool) -> Vec<u8> {
    extension("2.5.29.37", is_critical, &sequence(&[oid(kind)]))
}

/// A signature on P-256 as JWS has it: its numbers one after the other (RFC 7518, section 3.4).
fn two_numbers(der: &[u8]) -> Vec<u8> {
    let (mut fixed, mut rest) = (Vec::new(), &der[2..]);
    for _ in 0..2 {
        let (number, behind) = rest[2..].split_at(usize::from(rest[1]));
        let digits = number.strip_prefix(&[0]).unwrap_or(number);
        fixed.extend(std::iter::repeat_n(0, 32 - digits.len()).chain(digits.iter().copied()));
        rest = behind;
    }
    fixed
}

/// Behind its length in two bytes.
fn counted(content: &[u8]) -> Vec<u8> {
    [&u16::try_from(content.len()).expect("short").to_be_bytes(), content].concat()
}

fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    sha256(&[&[1], left.as_slice(), right].concat())
}

/// The root of a tree (RFC 6962, section 2.1).
fn tree(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [only] => *only,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node(&tree(left), &tree(right))
        }
    }
}

/// What leads from a leaf to it (section 2.1.1).
fn path(index: usize, leaves: &[[u8; 32]]) -> Vec<[u8; 32]> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let split = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(split);
    let (mut hashes, other) =
        if index < split { (path(index, left), tree(right)) } else { (path(index - split, right), tree(left)) };
    hashes.push(other);
    hashes
}
