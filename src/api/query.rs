//! What stands behind the question mark: pages, filters and order of lists, as Harbor's clients write them. Pure.
//!
//! A filter that is not known is refused and not passed over: whoever is shown more than they asked for takes it for the
//! answer.

use crate::limits::{API_PAGE_ENTRIES_COUNT_MAX, URL_BYTES_MAX};

/// In what order a list is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By their numbers, so the oldest first.
    #[default]
    Oldest,
    Newest,
    Name,
    NameDown,
}

/// A text that names have to hold, or to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameFilter {
    text: String,
    is_exact: bool,
}

impl NameFilter {
    /// Whether a name fits.
    pub fn fits(&self, name: &str) -> bool {
        if self.is_exact { name == self.text } else { name.contains(&self.text) }
    }
}

/// What a list is narrowed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// From 1.
    pub page: usize,
    pub page_size: usize,
    pub sort: Sort,
    pub name: Option<NameFilter>,
    pub is_public: Option<bool>,
    pub owner: Option<String>,
    /// The name that HEAD asks about.
    pub project_name: Option<String>,
    /// The repository whose tags are listed, the one tag that is asked for, and the one behind which the page begins.
    pub repository: Option<String>,
    pub tag: Option<String>,
    pub last: Option<String>,
    /// Number of the project that robots or quotas belong to.
    pub project: Option<u64>,
    /// Whether nothing fits: what is asked for does not exist here, such as robots of the whole system.
    pub is_empty: bool,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            page: 1,
            page_size: PAGE_SIZE,
            sort: Sort::default(),
            name: None,
            is_public: None,
            owner: None,
            project_name: None,
            repository: None,
            tag: None,
            last: None,
            project: None,
            is_empty: false,
        }
    }
}

/// Entries on a page where the client leaves it open, as in Harbor.
const PAGE_SIZE: usize = 10;

/// Why a query cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("the parameter '{0}' is not known here: leave it out")]
    Unknown(String),
    #[error("page is a number from 1, and page_size one from 1 to {API_PAGE_ENTRIES_COUNT_MAX}, not '{0}'")]
    Page(String),
    #[error("sort is name, -name, creation_time or -creation_time, not '{0}'")]
    Sort(String),
    #[error("'{name}' cannot be '{value}'")]
    Value { name: &'static str, value: String },
    #[error("q is a list such as 'name=~team,public=true'; '{0}' is not known here")]
    Term(String),
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

impl Query {
    /// Reads the parameters, of which only `known` ones are taken.
    pub fn parse(text: &str, known: &[&str]) -> Result<Self, QueryError> {
        let mut query = Self::default();
        for (key, value) in form_urlencoded::parse(text.as_bytes()) {
            if !known.contains(&key.as_ref()) {
                return Err(QueryError::Unknown(shown(&key)));
            }
            query.take(&key, &value, known)?;
        }
        Ok(query)
    }

    fn take(&mut self, key: &str, value: &str, known: &[&str]) -> Result<(), QueryError> {
        match key {
            "page" => self.page = number(value, usize::MAX / API_PAGE_ENTRIES_COUNT_MAX)?,
            "page_size" => self.page_size = number(value, API_PAGE_ENTRIES_COUNT_MAX)?,
            "sort" => {
                self.sort = match value {
                    "" | "id" | "creation_time" => Sort::Oldest,
                    "-id" | "-creation_time" => Sort::Newest,
                    "name" => Sort::Name,
                    "-name" => Sort::NameDown,
                    other => return Err(QueryError::Sort(shown(other))),
                }
            }
            // Empty filters are no filters.
            _ if value.is_empty() => {}
            "q" => value.split(',').try_for_each(|term| self.term(term.trim(), known))?,
            "name" | "entityname" => self.name = Some(NameFilter { text: value.to_owned(), is_exact: false }),
            "public" => self.is_public = Some(truth("public", value)?),
            "owner" => self.owner = Some(value.to_owned()),
            "project_name" => self.project_name = Some(value.to_owned()),
            "repository" => self.repository = Some(value.to_owned()),
            "tag" => self.tag = Some(value.to_owned()),
            "last" => self.last = Some(value.to_owned()),
            "reference" => self.is_empty |= value != "project",
            "reference_id" => self.project = Some(project("reference_id", value)?),
            // with_detail: there is one form of answers.
            _ => {}
        }
        Ok(())
    }

    fn term(&mut self, term: &str, known: &[&str]) -> Result<(), QueryError> {
        let unknown = || QueryError::Term(shown(term));
        let (key, value) = term.split_once('=').ok_or_else(unknown)?;
        let (is_exact, value) = value.strip_prefix('~').map_or((true, value), |value| (false, value));
        // Robots alone have no `name` beside `q`.
        let of_robots = !known.contains(&"name");
        match key.to_ascii_lowercase().as_str() {
            "name" => self.name = Some(NameFilter { text: value.to_owned(), is_exact }),
            "public" if !of_robots => self.is_public = Some(truth("public", value)?),
            "owner" if !of_robots => self.owner = Some(value.to_owned()),
            "level" if of_robots => self.is_empty |= value != "project",
            "projectid" | "project_id" if of_robots => self.project = Some(project("ProjectID", value)?),
            _ => return Err(unknown()),
        }
        Ok(())
    }
}

fn number(value: &str, max: usize) -> Result<usize, QueryError> {
    let number = value.parse().ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| QueryError::Page(shown(value)))
}

fn truth(name: &'static str, value: &str) -> Result<bool, QueryError> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        other => Err(QueryError::Value { name, value: shown(other) }),
    }
}

fn project(name: &'static str, value: &str) -> Result<u64, QueryError> {
    value.parse().map_err(|_| QueryError::Value { name, value: shown(value) })
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub entries: Vec<T>,
    /// Entries on all pages.
    pub total: usize,
}

impl<T> Page<T> {
    /// The page that `query` asks for, of all entries in the order that it asks for. Each has a number and a name.
    pub fn cut(mut entries: Vec<T>, query: &Query, key: impl Fn(&T) -> (u64, String)) -> Self {
        match query.sort {
            Sort::Oldest | Sort::Newest => entries.sort_by_cached_key(|entry| key(entry).0),
            Sort::Name | Sort::NameDown => entries.sort_by_cached_key(|entry| key(entry).1),
        }
        if matches!(query.sort, Sort::Newest | Sort::NameDown) {
            entries.reverse();
        }
        let total = entries.len();
        let skipped = query.page.saturating_sub(1).saturating_mul(query.page_size);
        Self { entries: entries.into_iter().skip(skipped).take(query.page_size).collect(), total }
    }
}

/// The `Link` header of a page: where the ones before and behind it are (RFC 8288).
pub fn links(path: &str, text: &str, query: &Query, total: usize) -> Option<String> {
    let is_last = query.page.saturating_mul(query.page_size) >= total;
    let before = (query.page > 1).then(|| (query.page - 1, "prev"));
    let behind = (!is_last).then(|| (query.page + 1, "next"));
    let link = |(page, relation): (usize, &str)| {
        let mut address = form_urlencoded::Serializer::new(String::new());
        let others = form_urlencoded::parse(text.as_bytes()).filter(|(key, _)| key != "page" && key != "page_size");
        address.extend_pairs(others);
        address.append_pair("page", &page.to_string()).append_pair("page_size", &query.page_size.to_string());
        format!("<{path}?{}>; rel=\"{relation}\"", address.finish())
    };
    let links: Vec<String> = before.into_iter().chain(behind).map(link).collect();
    let text = links.join(" , ");
    (!text.is_empty() && text.len() <= 2 * URL_BYTES_MAX).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::{Page, Query, QueryError, Sort, links};

    const KNOWN: [&str; 6] = ["page", "page_size", "sort", "q", "name", "public"];

    #[test]
    fn lists_are_cut_and_say_where_the_rest_is() {
        let entries = || (1..=25_u64).collect::<Vec<_>>();
        let check = |text: &str, first: u64, count: usize, expected: &[&str]| {
            let query = Query::parse(text, &KNOWN).unwrap();
            let page = Page::cut(entries(), &query, |number| (*number, format!("n{}", 100 - number)));
            assert_eq!((page.entries[0], page.entries.len(), page.total), (first, count, 25), "{text}");
            let link = links("/api/v2.0/projects", text, &query, page.total).unwrap_or_default();
            for relation in ["prev", "next"] {
                assert_eq!(link.contains(relation), expected.contains(&relation), "{text}: {link}");
            }
        };
        check("", 1, 10, &["next"]);
        check("page=2", 11, 10, &["prev", "next"]);
        check("page=3&sort=-creation_time", 5, 5, &["prev"]);
        check("sort=name&page_size=100", 25, 25, &[]);
        let query = Query::parse("name=a%26b&page=2&page_size=3", &KNOWN).unwrap();
        let link = links("/p", "name=a%26b&page=2&page_size=3", &query, 9).unwrap();
        assert!(link.starts_with("</p?name=a%26b&page=1&page_size=3>; rel=\"prev\" , "), "{link}");
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        let check = |text: &str, error: QueryError| assert_eq!(Query::parse(text, &KNOWN).unwrap_err(), error);
        check("labels=1", QueryError::Unknown("labels".to_owned()));
        for page in ["page=0", "page_size=101", "page=x", "page=-1", "page=99999999999999999999"] {
            let value = page.split_once('=').unwrap().1.to_owned();
            check(page, QueryError::Page(value));
        }
        check("sort=size", QueryError::Sort("size".to_owned()));
        check("q=colour=red", QueryError::Term("colour=red".to_owned()));
        check("q=ProjectID=5", QueryError::Term("ProjectID=5".to_owned()));
        check("public=maybe", QueryError::Value { name: "public", value: "maybe".to_owned() });
    }

    #[test]
    fn filters_as_clients_write_them() {
        let robots = ["page", "page_size", "sort", "q"];
        let query = Query::parse("q=Level%3Dproject%2CProjectID%3D5%2Cname%3D~ci&sort=-name", &robots).unwrap();
        assert_eq!((query.project, query.is_empty, query.sort), (Some(5), false, Sort::NameDown));
        assert!(query.name.unwrap().fits("robot$a+ci-1"));
        assert!(Query::parse("q=Level=system", &robots).unwrap().is_empty);
        let exact = Query::parse("q=name=team-a,public=true", &KNOWN).unwrap();
        assert!(!exact.name.as_ref().unwrap().fits("team-ab") && exact.is_public == Some(true));
        assert!(Query::parse("name=&q=", &KNOWN).unwrap().name.is_none());
    }
}
