//! A multipart form that is read as it comes (RFC 7578, RFC 2046 §5.1), in memory that does not depend on
//! its length.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use dipylon_middleware::error::Error;
use memchr::memmem::Finder;

use super::pace::Paced;
use super::route::bad;

/// Longest head of a part in bytes.
pub const MAX_PART_HEAD_BYTES: usize = 8 * 1024;
/// Parts of one form.
pub const MAX_PARTS: usize = 16;
/// Longest boundary, in bytes, as in RFC 2046.
const MAX_BOUNDARY_BYTES: usize = 70;
/// Blanks behind a boundary.
const MAX_PADDING_BYTES: usize = 256;
/// Bytes before the first part that are passed over.
const MAX_PREAMBLE_BYTES: usize = 4 * 1024;

/// Bytes behind the last part that are passed over.
const MAX_EPILOGUE_BYTES: usize = 4 * 1024;

/// A form, part by part.
pub(super) struct Form {
    body: Paced,
    delimiter: Arc<Finder<'static>>,
    /// What came and was not handed out yet.
    buffer: BytesMut,
    at: At,
    parts: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before the first delimiter.
    Preamble,
    /// Within a part.
    Part,
    /// Behind a delimiter.
    Delimiter,
    /// Behind the last one.
    End,
}

/// The boundary that a `Content-Type` names.
///
/// # Errors
/// `BadRequest` where it is no form, or has none.
pub(super) fn boundary_of(content_type: &str) -> Result<String, Error> {
    let mut parameters = content_type.split(';').map(str::trim);
    if !parameters.next().is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/form-data")) {
        return Err(bad("a save is a form: want Content-Type multipart/form-data"));
    }
    let boundary = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
    });
    match boundary {
        Some(text) if (1..=MAX_BOUNDARY_BYTES).contains(&text.len()) => Ok(text.to_owned()),
        _ => Err(bad("the form's Content-Type has no boundary of 1 to 70 characters")),
    }
}

impl Form {
    /// The form that a body holds.
    pub(super) fn new(body: Paced, boundary: &str) -> Self {
        let delimiter = format!("\r\n--{boundary}");
        // A form may begin with its first boundary: as if a line had ended before.
        let buffer = BytesMut::from("\r\n");
        let delimiter = Arc::new(Finder::new(delimiter.as_bytes()).into_owned());
        Self { body, delimiter, buffer, at: At::Preamble, parts: 0 }
    }

    /// The name of the next part, or `None` at the end. What is left of the part before is passed over.
    ///
    /// # Errors
    /// `BadRequest` where the form is malformed, cut or too slow.
    pub(super) async fn next_part(&mut self) -> Result<Option<String>, Error> {
        let mut passed = 0;
        while self.at == At::Preamble || self.at == At::Part {
            let is_preamble = self.at == At::Preamble;
            let Some(chunk) = self.until_delimiter().await? else { break };
            passed += chunk.len();
            if is_preamble && passed > MAX_PREAMBLE_BYTES {
                return Err(bad("the form does not begin with its boundary"));
            }
        }
        if self.at == At::End || self.is_last().await? {
            self.at = At::End;
            return Ok(None);
        }
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(bad(&format!("the form has more than {MAX_PARTS} parts")));
        }
        let head = self.head().await?;
        self.at = At::Part;
        name_of(&head).map(Some)
    }

    /// The next bytes of the part, or `None` at its end.
    ///
    /// # Errors
    /// `BadRequest` where the form is cut or too slow.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        if self.at != At::Part {
            return Ok(None);
        }
        self.until_delimiter().await
    }

    /// Reads what follows the last boundary, so that the connection can be used again.
    ///
    /// # Errors
    /// `BadRequest` where there is more than a little, or it is cut.
    pub(super) async fn finish(mut self) -> Result<(), Error> {
        let mut passed = self.buffer.len();
        while let Some(chunk) = self.body.next().await? {
            passed += chunk.len();
            if passed > MAX_EPILOGUE_BYTES {
                return Err(bad("there is too much behind the form's last boundary"));
            }
        }
        Ok(())
    }

    async fn until_delimiter(&mut self) -> Result<Option<Bytes>, Error> {
        let length = self.delimiter.needle().len();
        loop {
            match self.delimiter.find(&self.buffer) {
                Some(0) => {
                    let _ = self.buffer.split_to(length);
                    self.at = At::Delimiter;
                    return Ok(None);
                }
                Some(at) => return Ok(Some(self.buffer.split_to(at).freeze())),
                None => {}
            }
            // The last bytes may be the beginning of a delimiter.
            let sure = self.buffer.len().saturating_sub(length - 1);
            if sure > 0 {
                return Ok(Some(self.buffer.split_to(sure).freeze()));
            }
            self.fill().await?;
        }
    }

    /// Behind a delimiter: whether it was the last one. Takes the end of its line.
    async fn is_last(&mut self) -> Result<bool, Error> {
        loop {
            if self.buffer.starts_with(b"--") {
                return Ok(true);
            }
            let line = self.buffer.windows(2).position(|pair| pair == b"\r\n");
            if let Some(end) = line {
                let padding = self.buffer.split_to(end + 2);
                let is_blank = padding[..end].iter().all(|byte| matches!(byte, b' ' | b'\t'));
                return if is_blank { Ok(false) } else { Err(bad("a boundary's line has more")) };
            }
            if self.buffer.len() > MAX_PADDING_BYTES {
                return Err(bad("a boundary's line does not end"));
            }
            self.fill().await?;
        }
    }

    async fn head(&mut self) -> Result<Bytes, Error> {
        loop {
            // A part may have no head: then the empty line comes at once.
            if self.buffer.starts_with(b"\r\n") {
                return Ok(self.buffer.split_to(2).freeze());
            }
            let end = self.buffer.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                return Ok(self.buffer.split_to(end + 4).freeze());
            }
            if self.buffer.len() > MAX_PART_HEAD_BYTES {
                return Err(bad(&format!("a part's head is over {MAX_PART_HEAD_BYTES} bytes")));
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), Error> {
        let chunk = self.body.next().await?;
        let chunk = chunk.ok_or_else(|| bad("the form ends before its last boundary"))?;
        self.buffer.extend_from_slice(&chunk);
        Ok(())
    }
}

/// The form name in a part's head.
fn name_of(head: &[u8]) -> Result<String, Error> {
    let text = std::str::from_utf8(head).map_err(|_| bad("a part's head is no text"))?;
    let disposition = text.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    let mut parameters = disposition.unwrap_or_default().split(';').map(str::trim);
    let is_form = parameters.next().is_some_and(|kind| kind.eq_ignore_ascii_case("form-data"));
    let name = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("name").then(|| value.trim().trim_matches('"').to_owned())
    });
    name.filter(|_| is_form).ok_or_else(|| bad("a part has no name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dipylon_middleware::error::ErrorKind;
    use http_body_util::{BodyExt as _, StreamBody};
    use hyper::body::Frame;

    /// A form whose bytes come `size` at a time.
    fn form(text: &[u8], size: usize) -> Form {
        let chunks: Vec<_> = text.chunks(size).map(Bytes::copy_from_slice).collect();
        let frames = chunks.into_iter().map(|chunk| Ok(Frame::data(chunk)));
        let body = StreamBody::new(futures::stream::iter(frames)).boxed_unsync();
        Form::new(Paced::new(body, u64::MAX).unwrap(), "b")
    }

    async fn parts(mut form: Form) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let mut parts = Vec::new();
        while let Some(name) = form.next_part().await? {
            let mut bytes = Vec::new();
            while let Some(chunk) = form.chunk().await? {
                assert!(!chunk.is_empty());
                bytes.extend_from_slice(&chunk);
            }
            parts.push((name, bytes));
        }
        form.finish().await?;
        Ok(parts)
    }

    const HEAD: &str = "Content-Disposition: form-data; name=";

    fn sample() -> Vec<u8> {
        format!(
            "--b\r\n{HEAD}\"one\"; filename=\"one\"\r\nContent-Type: x/y\r\n\r\n\r\n-\r\n--\r\n--c\
             \r\n--b \t\r\n{HEAD}two\r\n\r\n\r\n--b\r\n{HEAD}\"three\"\r\n\r\n\r\n\r\n--b--\r\nend"
        )
        .into_bytes()
    }

    #[tokio::test]
    async fn a_form_is_read_however_it_is_cut() {
        let want = [("one", "\r\n-\r\n--\r\n--c"), ("two", ""), ("three", "\r\n")]
            .map(|(name, bytes)| (name.to_owned(), bytes.as_bytes().to_vec()));
        for size in 1..=sample().len() {
            assert_eq!(parts(form(&sample(), size)).await.unwrap(), want, "in pieces of {size}");
        }
    }

    #[tokio::test]
    async fn a_form_that_ends_too_early_is_refused() {
        let whole = sample();
        let end = whole.len() - "\r\nend".len();
        for length in 0..end {
            let error = parts(form(&whole[..length], 7)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadRequest, "cut at {length}");
        }
    }

    #[tokio::test]
    async fn what_a_part_does_not_take_is_passed_over() {
        let mut form = form(&sample(), 5);
        let mut names = Vec::new();
        while let Some(name) = form.next_part().await.unwrap() {
            names.push(name);
        }
        assert_eq!(names, ["one", "two", "three"]);
    }

    #[tokio::test]
    async fn heads_parts_and_what_lies_around_them_have_limits() {
        let long = "x".repeat(MAX_PART_HEAD_BYTES + 100);
        let many = format!("--b\r\n{HEAD}a\r\n\r\n\r\n").repeat(MAX_PARTS + 1);
        for (text, words) in [
            (format!("--b\r\n{HEAD}{long}"), "a part's head"),
            ("--b\r\nX: y\r\n\r\n\r\n--b--\r\n".to_owned(), "no name"),
            (many, "more than 16 parts"),
            (format!("{long}\r\n--b--\r\n"), "does not begin"),
            (format!("--b--\r\n{long}"), "behind the form"),
            (format!("--b{long}\r\n"), "boundary's line"),
        ] {
            let error = parts(form(text.as_bytes(), 1_000)).await.unwrap_err();
            assert!(error.message().contains(words), "{error}");
        }
    }

    #[test]
    fn the_boundary_is_that_of_the_content_type() {
        assert_eq!(boundary_of("multipart/form-data; boundary=abc").unwrap(), "abc");
        let quoted = "Multipart/Form-Data; charset=x; Boundary=\"a b\"";
        assert_eq!(boundary_of(quoted).unwrap(), "a b");
        for bad in
            ["multipart/form-data", "text/plain; boundary=a", "", "multipart/form-data; boundary="]
        {
            assert!(boundary_of(bad).is_err(), "{bad}");
        }
    }
}
