//! Sizes as people write them: `4GiB`, `700MB`, `4294967295`.

/// Reads a count of bytes, with a binary (`KiB`, `MiB`, `GiB`) or decimal (`KB`, `MB`, `GB`) unit or none.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        other => return Err(format!("unit '{other}' is none of KiB, MiB, GiB, KB, MB, GB")),
    };
    let number: u64 = number.parse().map_err(|_| format!("'{text}' is not a number with a unit, such as 4GiB"))?;
    number.checked_mul(factor).ok_or_else(|| format!("'{text}' is more bytes than can be counted"))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(parse(text).ok(), expected, "{text}");
        check("0", Some(0));
        check("12", Some(12));
        check("4GiB", Some(4 << 30));
        check("700 MB", Some(700_000_000));
        check("64MiB", Some(64 << 20));
        check("", None);
        check("MiB", None);
        check("-1", None);
        check("1TiB", None);
        check("99999999999999999999", None);
        check("99999999999GiB", None);
    }
}
