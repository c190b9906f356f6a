//! Every bound in one place, with its unit as the last word of its name.
//!
//! A parser of foreign bytes takes its bound from here and from nowhere else, so that one page answers "how large may
//! this become?". Relations between bounds are asserted while compiling.

/// One KiB in bytes.
pub const KIB: usize = 1024;
/// One MiB in bytes.
pub const MIB: usize = 1024 * KIB;

/// Largest manifest or index taken from anywhere. The distribution specification asks for at least 4 MiB.
pub const MANIFEST_BYTES_MAX: usize = 4 * MIB;
/// Manifests that are remembered until the next change, all of them together.
pub const LOOKED_UP_BYTES_MAX: usize = MIB;
/// Largest manifest that is.
pub const LOOKED_UP_ONE_BYTES_MAX: usize = 64 * KIB;
/// Most descriptors (layers, children) that one manifest or index may list.
pub const MANIFEST_DESCRIPTORS_COUNT_MAX: usize = 10_000;
/// Platforms of one image that are shown with what speaks of each.
pub const DESCRIBED_PLATFORMS_COUNT_MAX: usize = 32;
/// Most manifests that belong to one image: its platforms and what speaks of them.
pub const IMAGE_MANIFESTS_COUNT_MAX: usize = 4_096;
/// Largest sum of the sizes of these manifests.
pub const IMAGE_MANIFESTS_BYTES_MAX: usize = 32 * MIB;
/// Deepest nesting of index in index that is followed.
pub const INDEX_DEPTH_COUNT_MAX: usize = 4;
/// Most annotations on one descriptor or manifest.
pub const ANNOTATIONS_COUNT_MAX: usize = 1_000;
/// Longest repository name, as the distribution specification's clients expect.
pub const REPOSITORY_NAME_BYTES_MAX: usize = 255;
/// Longest tag, from the distribution specification.
pub const TAG_BYTES_MAX: usize = 128;
/// Longest media type, from RFC 6838.
pub const MEDIA_TYPE_BYTES_MAX: usize = 255;
/// Longest host and port: a name of the DNS, a colon, five digits.
pub const HOST_BYTES_MAX: usize = 253 + 1 + 5;
/// Largest `oci-layout` file.
pub const LAYOUT_MARKER_BYTES_MAX: usize = KIB;
/// Largest binary that an image is made of.
pub const IMAGE_BINARY_BYTES_MAX: u64 = 1024 * MIB as u64;
/// Most program headers of such a binary.
pub const ELF_SEGMENTS_COUNT_MAX: u16 = 256;
/// Longest revision that an image is labelled with.
pub const REVISION_BYTES_MAX: usize = 128;

/// Largest signed document of one piece of evidence: a Sigstore bundle, a DSSE envelope, a simple signing payload.
pub const EVIDENCE_BYTES_MAX: usize = 4 * MIB;
/// Largest Statement that is signed here: it travels to the server as JSON within one order, and in base64 in its bundle.
pub const ATTESTATION_BYTES_MAX: usize = ADMIN_REQUEST_BYTES_MAX / 2;
/// Most manifests carrying evidence that are looked at for one subject.
pub const EVIDENCE_MANIFESTS_COUNT_MAX: usize = 256;
/// Most signatures (layers) that are looked at in one cosign signature manifest.
pub const EVIDENCE_LAYERS_COUNT_MAX: usize = 256;
/// Most labels of an image that are looked at.
pub const LABELS_COUNT_MAX: usize = 1_000;
/// Bytes of one layer when it is unpacked, as far as it is looked into.
pub const LAYER_UNPACKED_BYTES_MAX: u64 = 16 * 1024 * MIB as u64;
/// What one look into an image, with all its platforms, unpacks before no further layer is begun.
pub const IMAGE_UNPACKED_BYTES_MAX: u64 = 4 * LAYER_UNPACKED_BYTES_MAX;
/// Most entries of one layer that are looked at.
pub const LAYER_ENTRIES_COUNT_MAX: usize = 4_000_000;
/// Longest path in a layer, and largest extended header of an entry.
pub const LAYER_PATH_BYTES_MAX: usize = 4 * KIB;
pub const LAYER_HEADER_BYTES_MAX: usize = MIB;
/// Most paths of one layer about which a rule asks, and most that it takes away.
pub const LAYER_FOUND_COUNT_MAX: usize = 4_096;
pub const LAYER_TAKEN_AWAY_COUNT_MAX: usize = 16_384;
/// Bytes of the paths that one layer takes away, and all layers of an image together.
pub const LAYER_TAKEN_AWAY_BYTES_MAX: usize = 4 * MIB;
pub const IMAGE_TAKEN_AWAY_BYTES_MAX: usize = 8 * MIB;
/// Most directories of one layer that are told from those that it takes away.
pub const LAYER_DIRECTORIES_COUNT_MAX: usize = 65_536;
/// Largest list of users in an image.
pub const IMAGE_USERS_BYTES_MAX: usize = 64 * KIB;
/// Window that a compressed layer may need: 8 MiB, as every decoder supports (RFC 8878, 3.1.1.1.2).
pub const LAYER_WINDOW_LOG_MAX: u32 = 23;
/// Layers of which is remembered what was found in them, and the bytes of that.
pub const LAYERS_REMEMBERED_COUNT_MAX: usize = 1_024;
pub const LAYERS_REMEMBERED_BYTES_MAX: usize = 4 * MIB;
/// Most manifests of unsigned attestations in one index, and documents in one of them, that are looked at.
pub const EVIDENCE_UNSIGNED_COUNT_MAX: usize = 16;
/// Most documents (signatures, envelopes, bundles) that are looked at for one subject.
pub const EVIDENCE_DOCUMENTS_COUNT_MAX: usize = 1_024;
/// Largest sum of the sizes of these documents.
pub const EVIDENCE_TOTAL_BYTES_MAX: usize = 64 * MIB;
/// Most trials of a key on a document, in one evaluation.
pub const EVIDENCE_VERIFICATIONS_COUNT_MAX: usize = 16_384;
/// Most certificates in one list of them: a chain, a trust store.
pub const CERTIFICATES_COUNT_MAX: usize = 64;
/// Most revocation lists of one trust store.
pub const REVOCATION_LISTS_COUNT_MAX: usize = 64;
/// Largest revocation list.
pub const REVOCATION_LIST_BYTES_MAX: usize = MIB;
/// Most entries of transparency logs in one bundle.
pub const LOG_ENTRIES_COUNT_MAX: usize = 8;
/// Most hashes in one proof of inclusion or consistency: a tree of 2^63 leaves needs no more.
pub const PROOF_HASHES_COUNT_MAX: usize = 64;
/// Most time stamps in one bundle.
pub const TIMESTAMPS_COUNT_MAX: usize = 32;
/// Largest time stamp token.
pub const TIMESTAMP_BYTES_MAX: usize = 64 * KIB;
/// Most logs, and most authorities, in one trusted root.
pub const ROOT_MEMBERS_COUNT_MAX: usize = 64;
/// Most signatures on one checkpoint of a log.
pub const CHECKPOINT_SIGNATURES_COUNT_MAX: usize = 64;
/// Most values in one CBOR document.
pub const CBOR_ITEMS_COUNT_MAX: usize = 1_024;
/// Deepest nesting of a CBOR document.
pub const CBOR_DEPTH_COUNT_MAX: usize = 8;
/// Most steps of a path into an attestation, and deepest nesting of conditions.
pub const CONDITION_DEPTH_COUNT_MAX: usize = 32;
/// Most values that one path leads to.
pub const CONDITION_VALUES_COUNT_MAX: usize = 65_536;
/// Largest policy in YAML, most values in it, and how deep they are nested.
pub const YAML_BYTES_MAX: usize = POLICY_BYTES_MAX;
pub const YAML_NODES_COUNT_MAX: usize = 10_000;
pub const YAML_DEPTH_COUNT_MAX: usize = 64;
/// Largest file that is verified whole by hand: it is held in memory.
pub const ARTIFACT_BYTES_MAX: usize = 256 * MIB;
/// Largest piece of TUF metadata.
pub const TUF_METADATA_BYTES_MAX: usize = MIB;
/// Most roots that one update may lead through.
pub const TUF_ROOTS_COUNT_MAX: usize = 256;
/// Most targets of one update.
pub const TUF_TARGETS_COUNT_MAX: usize = 256;
/// Most checks that a verdict lists under one rule.
pub const VERDICT_CHECKS_COUNT_MAX: usize = 256;
/// Most subjects one in-toto Statement may name.
pub const STATEMENT_SUBJECTS_COUNT_MAX: usize = 4_096;

/// Largest trust policy file.
pub const POLICY_BYTES_MAX: usize = MIB;
/// Most rules in one trust policy.
pub const POLICY_RULES_COUNT_MAX: usize = 1_000;
/// Most cases in one table that tests a policy.
pub const POLICY_CASES_COUNT_MAX: usize = 1_000;
/// Most keys in one trust policy.
pub const POLICY_KEYS_COUNT_MAX: usize = 1_000;
/// Most values in one list of a trust policy.
pub const POLICY_LIST_COUNT_MAX: usize = 1_000;
/// Longest name of a rule or key in a trust policy.
pub const POLICY_NAME_BYTES_MAX: usize = 128;
/// Largest module of Rego, and the longest line of one.
pub const REGO_BYTES_MAX: usize = 64 * KIB;
pub const REGO_LINE_BYTES_MAX: usize = 1_024;
/// Most rules and functions in one module, and over how many others one of them may lead.
pub const REGO_RULES_COUNT_MAX: usize = 256;
pub const REGO_DEPTH_COUNT_MAX: usize = 16;
/// Most statements in one module: each may be a loop around those behind it.
pub const REGO_STATEMENTS_COUNT_MAX: usize = 512;
/// Deepest nesting of brackets in one module: each pair doubles the time in which it is read.
pub const REGO_NESTING_COUNT_MAX: usize = 8;
/// Most steps that one evaluation may take.
pub const REGO_STEPS_COUNT_MAX: u64 = 1_000_000;
/// Longest time of one, which only what copies a large input again and again needs: steps are all alike to the engine.
pub const REGO_SECONDS_MAX: u64 = 30;
/// Most regular expressions of one module that are kept ready.
pub const REGO_REGEX_KEPT_COUNT_MAX: usize = 64;
/// Most reasons of a denial that are told.
pub const REGO_REASONS_COUNT_MAX: usize = 8;
/// Most memory that one regular expression may take when it is read.
pub const REGO_REGEX_BYTES_MAX: usize = MIB;
/// Largest object of trust: a trusted root, a key, certificates, revocation lists. It travels to the server as JSON.
pub const TRUST_OBJECT_BYTES_MAX: usize = ADMIN_REQUEST_BYTES_MAX / 4 * 3;
/// Longest name of one.
pub const TRUST_OBJECT_NAME_BYTES_MAX: usize = 64;
/// Most of them.
pub const TRUST_OBJECTS_COUNT_MAX: usize = 256;
/// Images that are named of those that another trust would judge otherwise; all are counted.
pub const IMPACT_LINES_COUNT_MAX: usize = 1_000;
/// Largest configuration file.
pub const CONFIG_BYTES_MAX: usize = MIB;

/// Largest signed identity file of a device.
pub const IDENTITY_BYTES_MAX: usize = 64 * KIB;
/// Longest name of a device.
pub const DEVICE_NAME_BYTES_MAX: usize = 64;
/// Largest private key file.
pub const PRIVATE_KEY_BYTES_MAX: usize = 4 * KIB;
/// A signature that a program writes: RSA of 8192 bits has 1 KiB.
pub const SIGNATURE_BYTES_MAX: usize = 4 * KIB;
/// A public key in PEM that a command is given.
pub const PUBLIC_KEY_BYTES_MAX: usize = 16 * KIB;
/// Largest DSSE envelope made by a device of ours (seal, receipt, identity, checkpoint).
pub const ENVELOPE_BYTES_MAX: usize = 8 * MIB;

/// Largest document of projects, principals and their rights.
pub const ACCESS_DOCUMENT_BYTES_MAX: usize = 32 * MIB;
/// Most projects.
pub const PROJECTS_COUNT_MAX: usize = 10_000;
/// Most users, and most robots.
pub const ACCOUNTS_COUNT_MAX: usize = 20_000;
/// Longest name of a project or an account.
pub const ACCOUNT_NAME_BYTES_MAX: usize = 64;
/// Most rights that one account is granted.
pub const GRANTS_COUNT_MAX: usize = 1_000;
/// Longest pattern of project names.
pub const PROJECT_PATTERN_BYTES_MAX: usize = 255;
/// Largest body of a request of the API for projects and robots.
pub const API_BODY_BYTES_MAX: usize = 64 * KIB;
/// Largest body of a review: as much as an API server of Kubernetes takes for one object and the one before it.
pub const REVIEW_BODY_BYTES_MAX: usize = 4 * MIB;
/// Most images that one review looks at, and longest list in a reviewed object.
pub const REVIEW_IMAGES_COUNT_MAX: usize = 256;
/// Reviews under way at the same time; further ones wait.
pub const REVIEWS_COUNT_MAX: usize = 2;
/// Most entries on one page of that API.
pub const API_PAGE_ENTRIES_COUNT_MAX: usize = 100;
/// Longest description of a project or a robot.
pub const DESCRIPTION_BYTES_MAX: usize = 1_024;
/// Shortest password of a person (NIST SP 800-63B asks for 8, 15 without a second factor).
pub const PASSWORD_LETTERS_MIN: usize = 12;
/// Longest password that is looked at.
pub const PASSWORD_BYTES_MAX: usize = 1_024;
/// Largest certificate of a client that is looked into.
pub const CERTIFICATE_BYTES_MAX: usize = 64 * KIB;
/// Most names of a certificate, and of certificates that stand for one user.
pub const CERTIFICATE_NAMES_COUNT_MAX: usize = 64;
/// Longest of them.
pub const CERTIFICATE_NAME_BYTES_MAX: usize = 512;
/// Longest `Authorization` header that is looked at.
pub const AUTHORIZATION_BYTES_MAX: usize = 8 * KIB;
/// Most scopes of one token.
pub const SCOPES_COUNT_MAX: usize = 64;
/// Largest form that a token is asked for with.
pub const TOKEN_FORM_BYTES_MAX: usize = 16 * KIB;
/// Names and passwords whose verification is remembered.
pub const VERIFIED_COUNT_MAX: usize = 4_096;
/// Sessions of people who manage over HTTP, all of them and those of one.
pub const SESSIONS_COUNT_MAX: usize = 1_024;
pub const SESSIONS_OF_ONE_COUNT_MAX: usize = 8;
/// Longest notice that is shown before signing in.
pub const NOTICE_BYTES_MAX: usize = 16 * KIB;
/// Pairs of accounts and addresses whose failed attempts are remembered; likewise buckets of rates.
pub const ATTEMPTS_COUNT_MAX: usize = 65_536;

/// Bytes of blob content that one chunk of a transfer bundle holds, before compression.
pub const CHUNK_BYTES: usize = MIB;
/// Largest chunk that a reader accepts, before compression.
pub const CHUNK_BYTES_MAX: usize = 4 * MIB;
/// Largest stored (compressed) form of a chunk: zstd's own worst case is well below this.
pub const CHUNK_STORED_BYTES_MAX: usize = CHUNK_BYTES_MAX + CHUNK_BYTES_MAX / 128 + 64 * KIB;
/// Largest table of a whole set.
pub const SET_TABLE_BYTES_MAX: usize = 64 * MIB;
/// Largest seal beside a table.
pub const SEAL_BYTES_MAX: usize = 64 * KIB;
/// Most volumes in a set.
pub const VOLUMES_COUNT_MAX: usize = 999;
/// Most images named by one set.
pub const SET_IMAGES_COUNT_MAX: usize = 100_000;
/// Largest volume: what fits on FAT32.
pub const VOLUME_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024 - 1;
/// Smallest volume that can be asked for. A set may need more for its table and largest chunk, and says so.
pub const VOLUME_BYTES_MIN: u64 = 32 * KIB as u64;
/// Largest `volume.json`.
pub const VOLUME_HEAD_BYTES_MAX: usize = KIB;
/// Smallest chunk of a transfer bundle, and the unit of its size.
pub const CHUNK_BYTES_MIN: usize = 4 * KIB;
/// Most devices that one set is sealed for.
pub const SEAL_RECEIVERS_COUNT_MAX: usize = 64;
/// Longest name of a series.
pub const SERIES_BYTES_MAX: usize = 64;
/// Most tags of one image in a set.
pub const IMAGE_TAGS_COUNT_MAX: usize = 10_000;
/// Most companions (signatures, attestations, SBOMs) of one image in a set.
pub const COMPANIONS_COUNT_MAX: usize = 10_000;
/// Largest signed receipt.
pub const RECEIPT_BYTES_MAX: usize = 64 * MIB;
/// Most entries of a medium's directory that are looked at.
pub const MEDIUM_ENTRIES_COUNT_MAX: usize = 100_000;

/// Largest frame of the journal (a group of events under one checksum).
pub const JOURNAL_FRAME_BYTES_MAX: usize = 64 * MIB;
/// Size at which a journal segment is closed and the next one begins.
pub const JOURNAL_SEGMENT_BYTES: u64 = 64 * MIB as u64;
/// Most commands that one group of the journal takes in.
pub const JOURNAL_GROUP_COMMANDS_COUNT_MAX: usize = 256;
/// Bytes of events at which a group takes in no further command.
pub const JOURNAL_GROUP_BYTES: usize = 4 * MIB;
/// Most bytes of events that one transaction may make.
pub const TRANSACTION_BYTES_MAX: usize = JOURNAL_FRAME_BYTES_MAX - JOURNAL_GROUP_BYTES;
/// Longest free text in an event: a reason, an origin, the name of a series.
pub const JOURNAL_TEXT_BYTES_MAX: usize = 512;
/// Longest reason of a recorded refusal; the rest is cut off.
pub const REFUSAL_TEXT_BYTES_MAX: usize = 2 * KIB;
/// Bytes of newer rows that are kept in memory before they go into the index together.
pub const INDEX_OVERLAY_BYTES: usize = MIB;
/// Bytes of rows that are gathered while the index is made anew.
pub const INDEX_REBUILD_BYTES: usize = 4 * MIB;
/// Most findings that a check of the store lists.
pub const CHECK_FINDINGS_COUNT_MAX: usize = 1_000;
/// Snapshots of the index that are kept: one that turns out to be damaged has another before it.
pub const SNAPSHOTS_KEPT_COUNT: usize = 2;
/// Events after which the next one is written, when the store has nothing else to do.
pub const SNAPSHOT_EVENTS_COUNT: u64 = 10_000;
/// A signed checkpoint of the journal.
pub const CHECKPOINT_BYTES_MAX: usize = 16 * KIB;
/// Checkpoints that are kept before the oldest are thinned out.
pub const CHECKPOINTS_KEPT_COUNT: usize = 1_000;
/// What does not hold in a journal, in one report.
pub const AUDIT_PROBLEMS_COUNT_MAX: usize = 100;
/// The list of what the files of a backup hashed to, beside its content.
pub const BACKUP_SUMS_BYTES_MAX: usize = 64 * MIB;
/// The marker of a restore, with what survived elsewhere.
pub const RESTORED_BYTES_MAX: usize = 16 * MIB;
/// Content that is lacking, in one report.
pub const LACKING_COUNT_MAX: usize = 1_000;
/// Free space below which only what gives something up is still committed.
pub const DISK_FREE_BYTES_MIN: u64 = 8 * MIB as u64;
/// Size at which a page of the index is split; sled wants values well below 16 KiB.
pub const INDEX_PAGE_BYTES: usize = 4 * KIB;
/// Largest single row of the index.
pub const INDEX_ROW_BYTES_MAX: usize = 8 * KIB;

/// Manifests that wait in one repository to be signed.
pub const STAGED_COUNT_MAX: usize = 256;
/// Most tags of pushes before that one of them keeps: they stand in one row of the index.
pub const STAGED_TAGS_COUNT_MAX: usize = 16;
/// Most accounts that see one of them.
pub const STAGED_PRINCIPALS_COUNT_MAX: usize = 8;
/// How long one waits; less than the grace that a sweep gives its bytes, unless that was configured to be short.
pub const STAGED_SECONDS_MAX: i64 = 24 * 60 * 60;
/// Repositories of which it is remembered where they changed last.
pub const CHANGED_REPOSITORIES_COUNT_MAX: usize = 4_096;
/// Verdicts about what is here that are remembered; about 200 bytes each.
pub const KEPT_VERDICTS_COUNT_MAX: usize = 8_192;
/// A verdict that looked at certificates holds this long at most: they and their revocation lists have ends of their own.
pub const CERTIFICATE_VERDICT_SECONDS_MAX: i64 = 300;
/// Manifests that are looked at to find one by which another, or a blob, is covered.
pub const COVERING_COUNT_MAX: usize = 1_000;
/// Manifests that are remembered as parts of indexes that the deny list names.
pub const REVOKED_PARTS_COUNT_MAX: usize = 100_000;
/// Manifests whose standing has changed that one event of the journal names.
pub const STANDING_CHANGES_COUNT_MAX: usize = 200;

/// Entries on one page of a tag listing, catalog or referrers answer when the client asks for none or for more.
pub const LISTING_ENTRIES_COUNT_MAX: usize = 1_000;
/// Size at which a page of a referrers answer ends: every entry brings its annotations along.
pub const REFERRERS_PAGE_BYTES: usize = 4 * MIB;
/// Referrers that are looked at for one page when a filter leaves most of them out.
pub const REFERRERS_LOOKED_AT_COUNT_MAX: usize = 5_000;
/// Most contents that one event of a sweep condemns or gives up.
pub const SWEEP_DIGESTS_COUNT_MAX: usize = 1_000;
/// Records of the access log that wait for one place where they are kept, where the configuration says no other number.
pub const ACCESS_LOG_QUEUE_COUNT_MAX: usize = 4_096;
/// Records of the access log that are written or sent together.
pub const ACCESS_LOG_BATCH_COUNT_MAX: usize = 4_096;
/// Days of the access log that are kept, where the configuration says no other number.
pub const ACCESS_LOG_DAYS_COUNT_MAX: usize = 90;
/// Bytes of the access log that are kept, where the configuration says no other number.
pub const ACCESS_LOG_BYTES_MAX: u64 = 1024 * MIB as u64;
/// A file of the access log takes at most this part of all: so much goes at once when there is no room.
pub const ACCESS_LOG_PARTS_COUNT_MIN: u64 = 8;
/// Bytes of records that are sent together over one connection.
pub const ACCESS_LOG_SEND_BYTES: usize = 64 * KIB;
/// Bytes that were handed to a connection and may not have arrived: the kernel takes no more, since it is told so.
pub const DELIVERY_UNCONFIRMED_BYTES_MAX: usize = 128 * KIB;
/// Largest request body on the administration socket.
pub const ADMIN_REQUEST_BYTES_MAX: usize = MIB;
/// Largest line of an answer on the administration socket: a listing of everything that the store holds.
pub const ADMIN_ANSWER_LINE_BYTES_MAX: usize = 64 * MIB;
/// Piece in which a stored file is read and sent.
pub const BODY_CHUNK_BYTES: usize = 256 * KIB;
/// Largest `/etc/hosts` that is read; some sites block thousands of names there.
pub const HOSTS_BYTES_MAX: usize = 4 * MIB;
/// Largest `/etc/group` that is read.
pub const GROUPS_BYTES_MAX: usize = 4 * MIB;
/// Largest `/etc/resolv.conf` that is read.
pub const RESOLV_CONF_BYTES_MAX: usize = 64 * KIB;
/// Name servers that are asked, as resolv.conf(5) has it.
pub const NAME_SERVERS_COUNT_MAX: usize = 3;
/// Largest `ndots` and `attempts` of `resolv.conf` that count, as resolv.conf(5) has it.
pub const NAME_NDOTS_COUNT_MAX: usize = 15;
pub const NAME_ATTEMPTS_COUNT_MAX: usize = 5;
/// Answers of name servers that are remembered, each for as long as the server said.
pub const NAME_CACHE_COUNT_MAX: u64 = 64;
/// That a name does not exist is remembered this long at most: whoever added it wants to go on.
pub const NAME_MISSING_SECONDS_MAX: u64 = 5;
/// Addresses of one name that are tried.
pub const NAME_ADDRESSES_COUNT_MAX: usize = 16;
/// Most redirects that are followed for one request to an upstream.
pub const REDIRECTS_COUNT_MAX: usize = 5;
/// Largest answer of a token service.
pub const TOKEN_RESPONSE_BYTES_MAX: usize = 64 * KIB;
/// Longest `WWW-Authenticate` header that is looked at.
pub const CHALLENGE_BYTES_MAX: usize = 8 * KIB;
/// Largest answer of a registry that says why it refuses.
pub const ERROR_BODY_BYTES_MAX: usize = 64 * KIB;
/// Longest text of it that is shown; the rest is cut off.
pub const ERROR_TEXT_BYTES_MAX: usize = 2 * KIB;
/// All text of the `Warning` headers of one answer (distribution specification, "Warnings").
pub const WARNING_BYTES_MAX: usize = 4 * KIB;
/// Manifests and evidence of one image that are held in memory until it is judged.
pub const GATHERED_BYTES_MAX: usize = 64 * MIB;
/// Ranges of one request that are answered as parts; more are answered with the whole content. As many as zstd:chunked
/// clients ask for at once.
pub const RANGES_COUNT_MAX: usize = 1_024;
/// Repositories in which a blob is looked for when a mount names none.
pub const MOUNT_REPOSITORIES_COUNT_MAX: usize = 10_000;
/// Upload sessions that are open at the same time.
pub const UPLOAD_SESSIONS_COUNT_MAX: usize = 256;
/// Of these, how many one address may have: more than any client opens, and not all.
pub const UPLOAD_SESSIONS_PER_CLIENT_COUNT_MAX: usize = 64;
/// Bodies of uploads that are received at the same time; further ones wait.
pub const UPLOAD_BODIES_COUNT_MAX: usize = 32;
/// Time in which an upload session must hear of its client.
pub const UPLOAD_SESSION_IDLE_SECONDS_MAX: u64 = 60 * 60;
/// Time in which the next piece of a pushed body must come.
pub const UPLOAD_BODY_IDLE_SECONDS_MAX: u64 = 60;
/// Bytes of a pushed body that must come in as much time, so that a few slow clients do not hold every place.
pub const UPLOAD_BODY_BYTES_MIN: u64 = 16 * KIB as u64;
/// Manifests that may speak of one subject by a push: fewer than are looked at when it is judged, or a pusher could make
/// an image unfit to be judged.
pub const REFERRERS_COUNT_MAX: usize = EVIDENCE_MANIFESTS_COUNT_MAX - 16;
/// Longest path and query of a request.
pub const URL_BYTES_MAX: usize = 16 * KIB;
/// All headers of a request over HTTP/2. A request for as many ranges as are answered fits well.
pub const REQUEST_HEADERS_BYTES_MAX: u32 = 64 * 1024;
/// What is read of an HTTP/1.1 connection at once; the head of a request must fit.
pub const HTTP1_BUFFER_BYTES_MAX: usize = 408 * KIB;
/// Largest blob that is taken from an upstream or a push.
pub const BLOB_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;

const _: () = assert!(CHUNK_BYTES <= CHUNK_BYTES_MAX);
const _: () = assert!(MANIFEST_BYTES_MAX <= IMAGE_MANIFESTS_BYTES_MAX);
const _: () = assert!(EVIDENCE_MANIFESTS_COUNT_MAX <= IMAGE_MANIFESTS_COUNT_MAX);
const _: () = assert!(EVIDENCE_BYTES_MAX <= EVIDENCE_TOTAL_BYTES_MAX);
const _: () = assert!(MANIFEST_BYTES_MAX <= JOURNAL_FRAME_BYTES_MAX);
const _: () = assert!(INDEX_PAGE_BYTES + INDEX_ROW_BYTES_MAX < 16 * KIB);
const _: () = assert!(CHUNK_BYTES.is_multiple_of(CHUNK_BYTES_MIN) && CHUNK_BYTES_MAX.is_multiple_of(CHUNK_BYTES_MIN));
const _: () = assert!(VOLUME_BYTES_MIN > 2 * CHUNK_BYTES_MIN as u64);
const _: () = assert!(3 * REFUSAL_TEXT_BYTES_MAX < INDEX_ROW_BYTES_MAX);
