//! Pushing by single requests, for what no client would do.

use serde_json::{Value, json};

use crate::http::{Endpoint, Response, request_from};
use crate::outside::signing::sha256;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image of one layer, as bytes.
pub struct Image {
    pub layer: Vec<u8>,
    pub manifest: Vec<u8>,
}

impl Image {
    /// `layer_bytes` bytes that differ with `seed`.
    pub fn new(seed: usize, layer_bytes: usize) -> Self {
        let byte =
            |position: usize| u8::try_from((position * 31 + seed * 7 + position / 251) % 251).expect("below 251");
        let layer: Vec<u8> = (0..layer_bytes).map(byte).collect();
        let part = |kind: &str, bytes: &[u8]| json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": sha256(bytes), "size": bytes.len()});
        let manifest: Value = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": part("config.v1+json", b"{}"),
            "layers": [part("layer.v1.tar", &layer)], "annotations": {"seed": seed.to_string()}});
        Self { layer, manifest: serde_json::to_vec(&manifest).expect("plain JSON") }
    }

    pub fn digest(&self) -> String {
        sha256(&self.manifest)
    }

    /// Whole, as a client pushes it: layer in two pieces, config, manifest. The first failure ends it.
    pub fn push(&self, endpoint: &Endpoint, repository: &str, tag: &str) -> std::io::Result<()> {
        let at = open(endpoint, repository)?;
        let (first, second) = self.layer.split_at(self.layer.len() / 2);
        expect(send(endpoint, "PATCH", &at, first)?, 202)?;
        expect(send(endpoint, "PUT", &format!("{at}?digest={}", sha256(&self.layer)), second)?, 201)?;
        let config = format!("/v2/{repository}/blobs/uploads/?digest={}", sha256(b"{}"));
        expect(send(endpoint, "POST", &config, b"{}")?, 201)?;
        self.put(endpoint, repository, tag)
    }

    /// The manifest alone.
    pub fn put(&self, endpoint: &Endpoint, repository: &str, tag: &str) -> std::io::Result<()> {
        let target = format!("/v2/{repository}/manifests/{tag}");
        expect(request_from(endpoint, "PUT", &target, &[("Content-Type", MANIFEST)], &self.manifest)?, 201)?;
        Ok(())
    }

    /// Whether it is there, whole. That it is there and not whole is a failure.
    #[track_caller]
    pub fn is_served(&self, endpoint: &Endpoint, repository: &str, tag: &str) -> bool {
        let get = |target: String| crate::http::get_from(endpoint, &target);
        let manifest = get(format!("/v2/{repository}/manifests/{tag}"));
        if manifest.status == 404 {
            return false;
        }
        assert!(manifest.status == 200 && manifest.body == self.manifest, "{}", manifest.text());
        let layer = get(format!("/v2/{repository}/blobs/{}", sha256(&self.layer)));
        assert!(layer.status == 200 && layer.body == self.layer, "{} {} bytes", layer.status, layer.body.len());
        true
    }
}

/// The address of a new upload.
pub fn open(endpoint: &Endpoint, repository: &str) -> std::io::Result<String> {
    let opened = expect(send(endpoint, "POST", &format!("/v2/{repository}/blobs/uploads/"), b"")?, 202)?;
    Ok(opened.header("location").expect("an upload has an address").to_owned())
}

pub fn send(endpoint: &Endpoint, method: &str, target: &str, body: &[u8]) -> std::io::Result<Response> {
    request_from(endpoint, method, target, &[], body)
}

/// Another status than the one that must come is a failure of the server, not of the wire.
#[track_caller]
fn expect(response: Response, status: u16) -> std::io::Result<Response> {
    Ok(response.expect_status(status))
}
