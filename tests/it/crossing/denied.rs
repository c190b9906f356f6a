//! Leg 9: who asks for what the policy refuses is told which rule says so, by the server and through the clients.

use super::World;
use super::appliance::Serving;
use super::goods::mirrored;
use super::high_side;

#[track_caller]
pub fn by_name(world: &World<'_>, serving: &Serving<'_>) {
    let clients = high_side::inside(world, serving);
    for unwelcome in &world.goods.unwelcome {
        let (image, repository) = (&unwelcome.image, mirrored(&unwelcome.image));
        for reference in [&image.tag, &image.digest] {
            let answer = serving.get(&format!("/v2/{repository}/manifests/{reference}")).expect_status(403);
            let error = answer.json()["errors"][0].clone();
            assert_eq!(error["code"], "DENIED", "{error:#}");
            let message = error["message"].as_str().unwrap_or_default();
            assert!(message.contains(unwelcome.rule) && message.contains(unwelcome.reason), "{message}");
        }
    }
    let unwelcome = &world.goods.unwelcome[0];
    let tagged = unwelcome.image.at(serving.address(), &mirrored(&unwelcome.image)).tagged();
    let ran = high_side::run(world, &clients, "crane", &["manifest", &tagged]).failed_saying("DENIED");
    assert!(ran.complaint().contains(unwelcome.rule), "{}", ran.report());
}
