//! Clients that push at the same time: the same layer, and the same tag.

use tempfile::TempDir;

use super::wire::Image;
use super::{ADMIT, OPEN, appliance};
use crate::http::get_from;

/// Builders, and how often each pushes.
const BUILDERS: usize = 3;
const ROUNDS: usize = 6;

#[test]
fn two_clients_push_the_same_image_at_once() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let appliance = appliance(folder.path(), OPEN, ADMIT);
    let serving = appliance.serve();
    let image = Image::new(1, 3_000_000);
    std::thread::scope(|scope| {
        for repository in ["a", "a", "b"] {
            let (image, endpoint) = (&image, &serving.endpoint);
            scope.spawn(move || image.push(endpoint, repository, "v1").expect("each of them goes through"));
        }
    });
    for repository in ["a", "b"] {
        assert!(image.is_served(&serving.endpoint, repository, "v1"), "{repository}");
    }
    let uploads = std::fs::read_dir(appliance.data().join("uploads")).map_or(0, Iterator::count);
    assert_eq!(uploads, 0, "nothing of those who came second is left");
}

/// Whoever pulls meanwhile gets one of the images, whole. At the end all are there by digest, and the tag is the last of one
/// of the builders.
#[test]
fn three_builders_push_to_one_tag() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let appliance = appliance(folder.path(), OPEN, ADMIT);
    let serving = appliance.serve();
    let images: Vec<Image> = (0..BUILDERS * ROUNDS).map(|seed| Image::new(seed, 20_000)).collect();
    let endpoint = &serving.endpoint;
    let one_of = |body: &[u8]| images.iter().position(|image| image.manifest == body);
    std::thread::scope(|scope| {
        let builders: Vec<_> = images
            .chunks(ROUNDS)
            .map(|own| {
                scope.spawn(move || {
                    for image in own {
                        image.push(endpoint, "app", "latest").expect("each of them goes through");
                    }
                })
            })
            .collect();
        while builders.iter().any(|builder| !builder.is_finished()) {
            let tagged = get_from(endpoint, "/v2/app/manifests/latest");
            if tagged.status == 200 {
                let image = &images[one_of(&tagged.body).expect("one of the images, byte for byte")];
                assert!(image.is_served(endpoint, "app", &image.digest()));
            }
        }
    });
    for image in &images {
        assert!(image.is_served(endpoint, "app", &image.digest()));
    }
    let last = one_of(&get_from(endpoint, "/v2/app/manifests/latest").body).expect("one of the images");
    assert_eq!(last % ROUNDS, ROUNDS - 1, "a builder's own pushes are in its order");
}
