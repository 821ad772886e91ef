//! Signed notes: how the checksum database signs its tree heads. Follows golang/mod `sumdb/note`.
//!
//! A note is text that ends in a newline, then a blank line, then a line for each signature: `—
//! <name> <base64 of 4 bytes of key hash and the signature>`. Only Ed25519 keys (algorithm 1) exist
//! so far.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

/// Name of the public checksum database of the Go project.
pub const PUBLIC_DATABASE_NAME: &str = "sum.golang.org";
/// Verifier key of the public checksum database, as the go command has it built in.
pub const PUBLIC_DATABASE: &str =
    "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";

/// Longest note in bytes.
pub const MAX_NOTE_BYTES: usize = 1_000_000;
/// Most signatures of a note, so that a long list of them costs no time.
pub const MAX_SIGNATURES: usize = 100;

/// The algorithm byte before an Ed25519 key.
const ED25519: u8 = 1;
const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// A key or a note that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// Not of the form `<name>+<8 hex digits>+<base64>`.
    #[error("malformed key: want `<name>+<8 hex digits>+<base64>`; copy the database's key again")]
    MalformedKey,
    /// A kind of key this gateway does not know.
    #[error("key of unknown algorithm {0}: only Ed25519 (1) is known")]
    UnknownAlgorithm(u8),
    /// The hash in the key is not that of its name and bytes: a typing error.
    #[error("key does not match its own hash; copy the database's key again")]
    KeyHash,
    /// The note is no note.
    #[error("malformed note: {0}")]
    MalformedNote(&'static str),
    /// The note is over the limit.
    #[error("note is over {MAX_NOTE_BYTES} bytes")]
    TooLarge,
    /// A known key's signature does not fit the text.
    #[error("signature of key {name}+{hash:08x} does not fit the note")]
    InvalidSignature {
        /// Name of the key.
        name: String,
        /// Hash of the key.
        hash: u32,
    },
    /// No known key has signed the note.
    #[error("note is not signed by a known key")]
    NotSigned,
}

/// The public half of a key: checks signatures.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    hash: u32,
    key: VerifyingKey,
}

impl Verifier {
    /// Reads `<name>+<hash>+<base64 of the algorithm byte and the key>`.
    ///
    /// # Errors
    /// [`NoteError::MalformedKey`], [`NoteError::KeyHash`], [`NoteError::UnknownAlgorithm`].
    pub fn parse(verifier_key: &str) -> Result<Self, NoteError> {
        let mut parts = verifier_key.splitn(3, '+');
        let (name, hash, bytes) = key_parts(&mut parts)?;
        if hash != key_hash(name, &bytes) {
            return Err(NoteError::KeyHash);
        }
        let key = VerifyingKey::from_bytes(&ed25519_bytes(&bytes)?)
            .map_err(|_| NoteError::MalformedKey)?;
        Ok(Self { name: name.to_owned(), hash, key })
    }

    /// Name of the key, which is that of its database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The four bytes that tell keys of one name apart.
    pub fn key_hash(&self) -> u32 {
        self.hash
    }

    /// Whether `signature` (64 bytes) is one of this key for `text`.
    pub fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.key.verify_strict(text, &signature).is_ok())
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode_key(&self.name, self.hash, self.key.as_bytes()))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The secret half of a key: signs. For tests and for a database of one's own.
pub struct Signer {
    name: String,
    hash: u32,
    key: SigningKey,
}

impl Signer {
    /// Reads `PRIVATE+KEY+<name>+<hash of the public key>+<base64 of the algorithm byte and the
    /// seed>`.
    ///
    /// # Errors
    /// [`NoteError::MalformedKey`], [`NoteError::KeyHash`], [`NoteError::UnknownAlgorithm`].
    pub fn parse(signer_key: &str) -> Result<Self, NoteError> {
        let public = signer_key.strip_prefix("PRIVATE+KEY+").ok_or(NoteError::MalformedKey)?;
        let (name, hash, bytes) = key_parts(&mut public.splitn(3, '+'))?;
        let key = SigningKey::from_bytes(&ed25519_bytes(&bytes)?);
        if hash != key_hash(name, &tagged(key.verifying_key().as_bytes())) {
            return Err(NoteError::KeyHash);
        }
        Ok(Self { name: name.to_owned(), hash, key })
    }

    /// The signature line for `text`, with its newline.
    fn line(&self, text: &str) -> String {
        let mut bytes = self.hash.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.key.sign(text.as_bytes()).to_bytes());
        format!("{SIGNATURE_PREFIX}{} {}\n", self.name, STANDARD.encode(bytes))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({}+{:08x})", self.name, self.hash)
    }
}

/// Makes the signer key and the verifier key of a database from a secret seed.
///
/// `name` must have neither spaces nor `+`: a key with such a name is refused when it is parsed.
pub fn generate(name: &str, seed: [u8; 32]) -> (String, String) {
    let public = SigningKey::from_bytes(&seed).verifying_key();
    let hash = key_hash(name, &tagged(public.as_bytes()));
    let signer_key = format!("PRIVATE+KEY+{}", encode_key(name, hash, &seed));
    (signer_key, encode_key(name, hash, public.as_bytes()))
}

/// A text that a known key has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The signed text with its final newline.
    pub text: String,
    /// Names of the known keys that signed it, at least one.
    pub signed_by: Vec<String>,
}

impl Note {
    /// Reads a note and checks the signatures of the known keys; those of others are ignored.
    ///
    /// # Errors
    /// [`NoteError::NotSigned`] when no known key signed it, [`NoteError::InvalidSignature`] when
    /// one did and the text is another, [`NoteError::MalformedNote`] and [`NoteError::TooLarge`]
    /// when it is no note.
    pub fn open(bytes: &[u8], known: &[Verifier]) -> Result<Self, NoteError> {
        let (text, signatures) = split(bytes)?;
        let mut signed_by: Vec<&Verifier> = Vec::new();
        for (count, line) in signatures.split_terminator('\n').enumerate() {
            if count >= MAX_SIGNATURES {
                return Err(NoteError::MalformedNote("too many signatures"));
            }
            let (name, hash, signature) = signature_parts(line)?;
            let Some(verifier) =
                known.iter().find(|known| known.hash == hash && known.name == name)
            else {
                continue;
            };
            if signed_by.contains(&verifier) {
                continue;
            }
            if !verifier.verify(text.as_bytes(), &signature) {
                return Err(NoteError::InvalidSignature { name: name.to_owned(), hash });
            }
            signed_by.push(verifier);
        }
        if signed_by.is_empty() {
            return Err(NoteError::NotSigned);
        }
        let signed_by = signed_by.into_iter().map(|verifier| verifier.name.clone()).collect();
        Ok(Self { text: text.to_owned(), signed_by })
    }
}

/// Signs a text. It is given a final newline if it has none; it should have no other control
/// characters, since no reader would open the note.
pub fn sign(text: &str, signers: &[Signer]) -> String {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let text = format!("{text}{end}");
    let lines: String = signers.iter().map(|signer| signer.line(&text)).collect();
    format!("{text}\n{lines}")
}

/// The signed text and the lines of signatures, both with their final newline.
fn split(bytes: &[u8]) -> Result<(&str, &str), NoteError> {
    if bytes.len() > MAX_NOTE_BYTES {
        return Err(NoteError::TooLarge);
    }
    let note = str::from_utf8(bytes).map_err(|_| NoteError::MalformedNote("not UTF-8"))?;
    if note.bytes().any(|byte| byte < b' ' && byte != b'\n') {
        return Err(NoteError::MalformedNote("control characters"));
    }
    let (text, signatures) =
        note.rsplit_once("\n\n").ok_or(NoteError::MalformedNote("no blank line"))?;
    if !signatures.ends_with('\n') {
        return Err(NoteError::MalformedNote("no signature line"));
    }
    // The newline that ends the text is the first of the two that were split off.
    Ok((note.get(..=text.len()).unwrap_or(text), signatures))
}

/// Name, key hash and signature of one line.
fn signature_parts(line: &str) -> Result<(&str, u32, Vec<u8>), NoteError> {
    let malformed = || NoteError::MalformedNote("bad signature line");
    let line = line.strip_prefix(SIGNATURE_PREFIX).ok_or_else(malformed)?;
    let (name, encoded) = line.split_once(' ').ok_or_else(malformed)?;
    let bytes = STANDARD.decode(encoded).map_err(|_| malformed())?;
    let (hash, signature) = bytes.split_first_chunk().ok_or_else(malformed)?;
    if !is_valid_name(name) || signature.is_empty() {
        return Err(malformed());
    }
    Ok((name, u32::from_be_bytes(*hash), signature.to_vec()))
}

fn is_valid_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == '+' || c.is_whitespace())
}

/// Name, hash and decoded key of the last three parts of an encoded key.
fn key_parts<'a>(
    parts: &mut impl Iterator<Item = &'a str>,
) -> Result<(&'a str, u32, Vec<u8>), NoteError> {
    let mut next = || parts.next().ok_or(NoteError::MalformedKey);
    let (name, hash, key) = (next()?, next()?, next()?);
    let is_hash = hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let key = STANDARD.decode(key).map_err(|_| NoteError::MalformedKey)?;
    if !is_valid_name(name) || !is_hash || key.is_empty() {
        return Err(NoteError::MalformedKey);
    }
    let hash = u32::from_str_radix(hash, 16).map_err(|_| NoteError::MalformedKey)?;
    Ok((name, hash, key))
}

/// The 32 bytes after the algorithm byte of an Ed25519 key.
fn ed25519_bytes(key: &[u8]) -> Result<[u8; 32], NoteError> {
    match key.split_first() {
        Some((&ED25519, bytes)) => bytes.try_into().map_err(|_| NoteError::MalformedKey),
        Some((&other, _)) => Err(NoteError::UnknownAlgorithm(other)),
        None => Err(NoteError::MalformedKey),
    }
}

fn tagged(key: &[u8; 32]) -> Vec<u8> {
    [&[ED25519], &key[..]].concat()
}

fn key_hash(name: &str, tagged_key: &[u8]) -> u32 {
    let hash: [u8; 32] = Sha256::new()
        .chain_update(name)
        .chain_update("\n")
        .chain_update(tagged_key)
        .finalize()
        .into();
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

fn encode_key(name: &str, hash: u32, key: &[u8; 32]) -> String {
    format!("{name}+{hash:08x}+{}", STANDARD.encode(tagged(key)))
}
