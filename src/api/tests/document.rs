//! `docs/openapi.yaml` describes what is answered, all of it and nothing more.

use std::collections::BTreeSet;

use crate::api::route::ROUTES;

const DOCUMENT: &str = include_str!("../../../docs/openapi.yaml");

/// Method and path of each operation, with the names of its parameters in the query. The document is read by its
/// indentation, which is that of every one of its kind: paths by two, methods by four.
fn described() -> BTreeSet<(String, String, BTreeSet<String>)> {
    let mut found = BTreeSet::new();
    let (mut path, mut operation): (String, Option<(String, BTreeSet<String>)>) = (String::new(), None);
    let paths = DOCUMENT.split_once("\npaths:\n").expect("the document has paths").1;
    let paths = paths.split_once("\ncomponents:\n").expect("components come behind the paths").0;
    for line in paths.lines().chain(["  /:"]) {
        let text = line.trim_start();
        let depth = line.len() - text.len();
        if depth <= 4
            && let Some((method, parameters)) = operation.take()
        {
            found.insert((method, path.clone(), parameters));
        }
        match depth {
            2 => path = text.trim_end_matches(':').to_owned(),
            4 if text != "parameters:" && !text.starts_with("servers:") => {
                let method = text.trim_end_matches(':').to_ascii_uppercase();
                assert!(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"].contains(&method.as_str()), "{line}");
                operation = Some((method, BTreeSet::new()));
            }
            _ => {
                if let Some(name) = text.strip_prefix("- $ref: '#/components/parameters/query_")
                    && let Some((_, parameters)) = &mut operation
                {
                    parameters.insert(name.trim_end_matches('\'').to_owned());
                }
            }
        }
    }
    found
}

#[test]
fn every_route_stands_in_the_document_and_the_other_way_round() {
    let answered: BTreeSet<_> = ROUTES
        .iter()
        .map(|row| {
            let parameters = row.parameters.iter().map(|name| (*name).to_owned()).collect();
            (row.method.to_owned(), row.template.to_owned(), parameters)
        })
        .collect();
    let described = described();
    let only = |one: &BTreeSet<_>, other: &BTreeSet<_>| one.difference(other).cloned().collect::<Vec<_>>();
    assert_eq!(only(&answered, &described), [], "answered, and not described");
    assert_eq!(only(&described, &answered), [], "described, and not answered");
}

#[test]
fn what_the_document_points_at_is_there() {
    let components = DOCUMENT.split_once("\ncomponents:\n").expect("the document has components").1;
    let (mut kind, mut there) = ("", BTreeSet::new());
    for line in components.lines() {
        let text = line.trim_start();
        let name = text.split(':').next().expect("a line has a beginning");
        match line.len() - text.len() {
            2 => kind = name,
            4 => drop(there.insert(format!("{kind}/{name}"))),
            _ => {}
        }
    }
    let pointed = DOCUMENT.split("'#/components/").skip(1).map(|rest| rest.split('\'').next().unwrap_or_default());
    let missing: Vec<&str> = pointed.clone().filter(|name| !there.contains(*name)).collect();
    assert!(missing.is_empty() && pointed.count() > 100, "{missing:?}");
}
