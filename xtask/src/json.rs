//! JSON, read: what Prometheus, Toxiproxy and the `go` command answer. Only the standard library is used here.

use std::collections::BTreeMap;

/// Arrays and objects within one another; the answers that are read here have six.
const MAX_DEPTH: usize = 64;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    /// One value, and nothing behind it.
    ///
    /// # Errors
    /// One line: what is wrong, and where.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut all = Self::parse_all(text)?;
        match (all.pop(), all.is_empty()) {
            (Some(one), true) => Ok(one),
            _ => Err("want one value of JSON".to_owned()),
        }
    }

    /// Values that stand one after the other, as the `go` command prints them.
    ///
    /// # Errors
    /// One line: what is wrong, and where.
    pub(crate) fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        let mut reader = Reader { text, at: 0 };
        let mut all = Vec::new();
        reader.space();
        while reader.at < text.len() {
            all.push(reader.value(0).ok_or_else(|| format!("no JSON from byte {} on", reader.at))?);
            reader.space();
        }
        Ok(all)
    }

    /// The value under a name; `Null`, where there is none.
    pub(crate) fn get(&self, name: &str) -> &Self {
        match self {
            Self::Object(fields) => fields.get(name).unwrap_or(&Self::Null),
            _ => &Self::Null,
        }
    }

    /// The elements; none, where this is no array.
    pub(crate) fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number, also one that is written as a text: Prometheus does so.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn take(&mut self, word: &str) -> Option<()> {
        self.rest().starts_with(word).then(|| self.at += word.len())
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        self.space();
        if depth > MAX_DEPTH {
            return None;
        }
        match self.rest().chars().next()? {
            '{' => self.object(depth),
            '[' => self.array(depth),
            '"' => Some(Json::Text(self.string()?)),
            't' => self.take("true").map(|()| Json::Bool(true)),
            'f' => self.take("false").map(|()| Json::Bool(false)),
            'n' => self.take("null").map(|()| Json::Null),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        self.take("{")?;
        let mut fields = BTreeMap::new();
        self.space();
        if self.take("}").is_some() {
            return Some(Json::Object(fields));
        }
        loop {
            self.space();
            let name = self.string()?;
            self.space();
            self.take(":")?;
            fields.insert(name, self.value(depth + 1)?);
            self.space();
            if self.take(",").is_none() {
                return self.take("}").map(|()| Json::Object(fields));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<Json> {
        self.take("[")?;
        let mut items = Vec::new();
        self.space();
        if self.take("]").is_some() {
            return Some(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space();
            if self.take(",").is_none() {
                return self.take("]").map(|()| Json::Array(items));
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        self.take("\"")?;
        let mut text = String::new();
        loop {
            let next = self.rest().chars().next()?;
            self.at += next.len_utf8();
            match next {
                '"' => return Some(text),
                '\\' => text.push(self.escaped()?),
                other => text.push(other),
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        let next = self.rest().chars().next()?;
        self.at += next.len_utf8();
        Some(match next {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => {
                let first = self.unit()?;
                if (0xD800..0xDC00).contains(&first) {
                    self.take("\\u")?;
                    let second = self.unit()?.checked_sub(0xDC00)?;
                    return char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + second);
                }
                char::from_u32(first)?
            }
            other => other,
        })
    }

    fn unit(&mut self) -> Option<u32> {
        let unit = u32::from_str_radix(self.rest().get(..4)?, 16).ok()?;
        self.at += 4;
        Some(unit)
    }

    fn number(&mut self) -> Option<Json> {
        let rest = self.rest();
        let end = rest.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'));
        let word = &rest[..end.unwrap_or(rest.len())];
        let number = word.parse().ok()?;
        self.at += word.len();
        Some(Json::Number(number))
    }
}

/// A text of JSON.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_written() {
        let read = Json::parse(
            r#" {"a": [1, -2.5e1, "x\n\"\u00e4\ud83d\ude00"], "b": {"c": null, "d": true}} "#,
        );
        let read = read.unwrap();
        assert_eq!(read.get("a").items()[1].number(), Some(-25.0));
        assert_eq!(read.get("a").items()[2].text(), Some("x\n\"ä😀"));
        assert_eq!(*read.get("b").get("c"), Json::Null);
        assert_eq!(*read.get("b").get("d"), Json::Bool(true));
        assert_eq!(*read.get("nothing"), Json::Null);
        assert_eq!(Json::Text("1.5".to_owned()).number(), Some(1.5));
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        for wrong in ["", "{", "[1,]", "{\"a\" 1}", "\"a", "tru", "1 2", "\"\\ud800x\""] {
            assert!(Json::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Json::parse(&"[".repeat(100)).is_err());
        assert_eq!(Json::parse_all("{}\n{}\n").unwrap().len(), 2);
    }

    #[test]
    fn texts_are_escaped() {
        assert_eq!(quoted("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000a\"");
    }
}
