//! Just enough of DER (X.690) to write certificates and time stamps with.

/// A value with its tag.
pub fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    match content.len() {
        length @ 0..=127 => der.push(u8::try_from(length).expect("below 128")),
        length => {
            let bytes = length.to_be_bytes();
            let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
            der.push(0x80 | u8::try_from(bytes.len()).expect("a length of few bytes"));
            der.extend_from_slice(bytes);
        }
    }
    der.extend_from_slice(content);
    der
}

pub fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tagged(0x30, &parts.concat())
}

/// A set, in the order that DER demands.
pub fn set(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut parts = parts.to_vec();
    parts.sort();
    tagged(0x31, &parts.concat())
}

/// A tag of the context that holds other values.
pub fn context(number: u8, content: &[u8]) -> Vec<u8> {
    tagged(0xa0 | number, content)
}

pub fn octets(content: &[u8]) -> Vec<u8> {
    tagged(0x04, content)
}

/// A whole number of bits.
pub fn bits(content: &[u8]) -> Vec<u8> {
    tagged(0x03, &[&[0], content].concat())
}

pub fn integer(value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let used = bytes.iter().take_while(|byte| **byte == 0).count().min(7);
    let sign: &[u8] = if bytes[used] & 0x80 == 0 { &[] } else { &[0] };
    tagged(0x02, &[sign, &bytes[used..]].concat())
}

pub fn yes() -> Vec<u8> {
    tagged(0x01, &[0xff])
}

pub fn text(value: &str) -> Vec<u8> {
    tagged(0x0c, value.as_bytes())
}

/// `2026-11-01T12:00:00Z`, as certificates write it before 2050.
pub fn utc_time(time: &str) -> Vec<u8> {
    tagged(0x17, &generalized(time).as_bytes()[2..])
}

/// The same as time stamps write it.
pub fn generalized_time(time: &str) -> Vec<u8> {
    tagged(0x18, generalized(time).as_bytes())
}

fn generalized(time: &str) -> String {
    time.chars().filter(|character| character.is_ascii_digit() || *character == 'Z').collect()
}

pub fn oid(dotted: &str) -> Vec<u8> {
    let mut arcs = dotted.split('.').map(|arc| arc.parse::<u64>().expect("numbers"));
    let (first, second) = (arcs.next().expect("a first arc"), arcs.next().expect("a second arc"));
    let mut content = Vec::new();
    for arc in std::iter::once(first * 40 + second).chain(arcs) {
        let mut groups = vec![u8::try_from(arc & 0x7f).expect("seven bits")];
        let mut rest = arc >> 7;
        while rest > 0 {
            groups.push(0x80 | u8::try_from(rest & 0x7f).expect("seven bits"));
            rest >>= 7;
        }
        content.extend(groups.iter().rev());
    }
    tagged(0x06, &content)
}
