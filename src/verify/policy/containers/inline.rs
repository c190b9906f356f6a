//! The content of key files, put into the policy that names them.

use data_encoding::BASE64;
use serde_json::Value;

use super::requirement::FILES;
use crate::verify::strict_json;

/// Why it could not be put in; `E` is why a file could not be read.
#[derive(Debug)]
pub enum InlineError<E> {
    Json(serde_json::Error),
    Read(E),
}

/// The document of `text` with everything that names a file replaced by that file's content, which `read` gives.
pub fn inline<E>(text: &str, read: &dyn Fn(&str) -> Result<Vec<u8>, E>) -> Result<Value, InlineError<E>> {
    let mut document = strict_json::parse(text.as_bytes()).map_err(InlineError::Json)?;
    replace(&mut document, read).map_err(InlineError::Read)?;
    Ok(document)
}

/// As deep as the parser reads, and no deeper.
fn replace<E>(value: &mut Value, read: &dyn Fn(&str) -> Result<Vec<u8>, E>) -> Result<(), E> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|item| replace(item, read)),
        Value::Object(fields) => {
            for (key, instead) in FILES {
                if let Some(named) = fields.remove(key) {
                    fields.insert(instead.to_owned(), content(named, read)?);
                }
            }
            fields.values_mut().try_for_each(|field| replace(field, read))
        }
        _ => Ok(()),
    }
}

/// A path, or a list of them; anything else stays and is refused when the policy is read.
fn content<E>(named: Value, read: &dyn Fn(&str) -> Result<Vec<u8>, E>) -> Result<Value, E> {
    Ok(match named {
        Value::String(path) => Value::String(BASE64.encode(&read(&path)?)),
        Value::Array(paths) => paths.into_iter().map(|path| content(path, read)).collect::<Result<_, _>>()?,
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{InlineError, inline};

    #[test]
    fn files_become_their_content() {
        let read = |path: &str| if path == "absent" { Err(path.to_owned()) } else { Ok(path.as_bytes().to_vec()) };
        let text = r#"{"default": [{"type": "reject"}], "transports": {"docker": {"a": [
            {"type": "sigstoreSigned", "keyPath": "abc"},
            {"type": "sigstoreSigned", "keyPaths": ["abc", "d"]},
            {"type": "sigstoreSigned", "fulcio": {"caPath": "abc"}, "rekorPublicKeyPath": "d"}]}}}"#;
        let expected = json!([
            {"type": "sigstoreSigned", "keyData": "YWJj"},
            {"type": "sigstoreSigned", "keyDatas": ["YWJj", "ZA=="]},
            {"type": "sigstoreSigned", "fulcio": {"caData": "YWJj"}, "rekorPublicKeyData": "ZA=="},
        ]);
        assert_eq!(inline(text, &read).unwrap()["transports"]["docker"]["a"], expected);
        assert!(
            matches!(inline(&text.replace("abc", "absent"), &read), Err(InlineError::Read(path)) if path == "absent")
        );
        assert!(matches!(inline("{\"a\": 1, \"a\": 2}", &read), Err(InlineError::Json(_))));
    }
}
