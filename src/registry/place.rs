//! From a repository as a client names it to one of ours.

use super::Registry;
use super::error::RegistryError;
use super::route::Place;
use crate::access::{Action, Caller};
use crate::oci::name::RepositoryName;

/// A repository here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Located {
    pub(super) repository: RepositoryName,
    /// Whether an upstream stands behind it.
    pub(super) is_mirrored: bool,
    /// Whether it holds anything now.
    pub(super) is_held: bool,
}

impl Registry {
    /// Finds the repository that a client means. Nothing is dialled: a registry that is not configured is only looked
    /// for on the disk, where an import may have put it.
    ///
    /// Whether `caller` may pull there is decided by the name alone, before anything is looked for: a denial tells nothing
    /// of what is there.
    pub(super) fn locate(&self, place: &Place, caller: &Caller) -> Result<Located, RegistryError> {
        self.find(place, Some(caller))
    }

    /// The repository that the same name would be pulled from by somebody who may pull anything.
    pub(super) fn locate_for_push(&self, place: &Place) -> Result<Located, RegistryError> {
        self.find(place, None)
    }

    /// The repository that a pull of `path` would be answered from, if it holds anything. `namespace` is the registry that is
    /// mirrored, none for what is called by this registry's own name. Without a `caller` as somebody who may pull anything.
    pub fn repository_of(
        &self,
        namespace: Option<&str>,
        path: &RepositoryName,
        caller: Option<&Caller>,
    ) -> Result<Option<RepositoryName>, RegistryError> {
        let place = Place { path: path.clone(), namespace: namespace.map(str::to_owned) };
        match self.find(&place, caller) {
            Ok(located) => Ok(Some(located.repository).filter(|_| located.is_held)),
            Err(RegistryError::NamespaceUnknown(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn find(&self, place: &Place, caller: Option<&Caller>) -> Result<Located, RegistryError> {
        match &place.namespace {
            Some(namespace) => {
                let unknown = || RegistryError::NamespaceUnknown(namespace.chars().take(200).collect());
                let own = self.mirror.as_ref().and_then(|mirror| mirror.upstream_name(namespace));
                let component = own.unwrap_or_else(|| namespace_component(namespace));
                self.look_at(below(&component, &place.path).ok_or_else(unknown)?, caller)
            }
            None => {
                let located = self.look_at(place.path.clone(), caller);
                if located.as_ref().is_ok_and(|located| located.is_held || located.is_mirrored) {
                    return located;
                }
                let rooted = self.settings.root_namespace.as_ref().and_then(|root| below(root, &place.path));
                match rooted.map(|repository| self.look_at(repository, caller)) {
                    Some(Ok(rooted)) if rooted.is_held || rooted.is_mirrored => Ok(rooted),
                    _ => located,
                }
            }
        }
    }

    fn look_at(&self, repository: RepositoryName, caller: Option<&Caller>) -> Result<Located, RegistryError> {
        if let Some(caller) = caller {
            self.access.decide(caller, &repository, Action::Pull)?;
        }
        let is_mirrored = self.mirror.as_ref().is_some_and(|mirror| mirror.covers(&repository));
        let is_held = !self.store.manifests(&repository, None, 1)?.is_empty();
        Ok(Located { repository, is_mirrored, is_held })
    }

    /// What to say when a repository has not what was asked for.
    pub(super) fn unknown_place(place: &Place, located: &Located) -> Option<RegistryError> {
        if located.is_held || located.is_mirrored {
            return None;
        }
        place.namespace.as_ref().map(|namespace| RegistryError::NamespaceUnknown(namespace.chars().take(200).collect()))
    }
}

fn below(component: &str, path: &RepositoryName) -> Option<RepositoryName> {
    format!("{component}/{path}").parse().ok()
}

/// The first component of the repositories of a registry: its host, with `_` before a port, because a name can hold no
/// colon.
pub fn namespace_component(namespace: &str) -> String {
    namespace.replace(':', "_").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::{below, namespace_component};

    #[test]
    fn a_registry_with_a_port_has_a_name_here() {
        let check = |namespace: &str, expected: Option<&str>| {
            let name = below(&namespace_component(namespace), &"a/b".parse().unwrap());
            assert_eq!(name.as_ref().map(|name| name.as_str()), expected, "{namespace}");
        };
        check("docker.io", Some("docker.io/a/b"));
        check("Registry.Example:5000", Some("registry.example_5000/a/b"));
        for not_a_name in ["", "../..", "[::1]:5000", "a b", "-"] {
            check(not_a_name, None);
        }
    }
}
