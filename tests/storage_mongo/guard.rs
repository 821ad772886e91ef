//! Stands before a server that knows no users, and lets nobody in without the password: SCRAM-SHA-256 (RFC
//! 5802, RFC 7677) as MongoDB speaks it, with MongoDB's own refusals.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document, doc};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const SALT: &[u8] = b"salt of the suite";
/// The fewest that the driver takes.
const ROUNDS: u32 = 4_096;
/// Bytes of a message's head: its length, its id, that of what it answers, and its kind.
const HEAD_BYTES: usize = 16;
/// The kind of all messages but those of old clients.
const OP_MSG: i32 = 2_013;
/// Longest message of MongoDB's.
const MAX_MESSAGE_BYTES: usize = 48_000_000;
/// What anybody may say.
const FREE: [&str; 3] = ["hello", "isMaster", "ismaster"];

/// The guard. It is gone when this is dropped.
pub(crate) struct Guard {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The only user, and the keys that stand for the password.
struct User {
    name: String,
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

impl Guard {
    /// Before `server`, a host and port.
    pub(crate) async fn before(server: &str, user: &str, password: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let salted = salted(password);
        let user = User {
            name: user.to_owned(),
            stored_key: Sha256::digest(hmac(&salted, b"Client Key")).into(),
            server_key: hmac(&salted, b"Server Key"),
        };
        let (server, user): (Arc<str>, _) = (server.into(), Arc::new(user));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, user) = (Arc::clone(&server), Arc::clone(&user));
                tokio::spawn(async move { serve(client, &server, &user).await });
            }
        });
        Self { address, task }
    }
}

/// One connection, to its end.
async fn serve(mut client: TcpStream, server: &str, user: &User) -> Option<()> {
    let mut server = TcpStream::connect(server).await.ok()?;
    let mut said = Vec::new();
    let mut is_in = false;
    loop {
        let message = read(&mut client).await?;
        let command = command(&message);
        let name = command.keys().next().cloned().unwrap_or_default();
        let answer = match name.as_str() {
            "saslStart" | "saslContinue" => user.converse(&command, &mut said),
            name if is_in || FREE.contains(&name) => {
                server.write_all(&message).await.ok()?;
                let answer = read(&mut server).await?;
                client.write_all(&answer).await.ok()?;
                continue;
            }
            name => refusal(13, "Unauthorized", &format!("command {name} requires authentication")),
        };
        is_in |= answer.get_bool("done").unwrap_or_default();
        client.write_all(&in_answer_to(&message, &answer)).await.ok()?;
    }
}

impl User {
    /// The next step of the conversation; `said` is what both sides have said so far.
    fn converse(&self, command: &Document, said: &mut Vec<String>) -> Document {
        let no = || refusal(18, "AuthenticationFailed", "Authentication failed.");
        let Ok(payload) = command.get_binary_generic("payload") else { return no() };
        let text = String::from_utf8_lossy(payload).into_owned();
        let (done, answer) = match said.as_slice() {
            [] => match self.begin(&text, said) {
                Some(answer) => (false, answer),
                None => return no(),
            },
            _ => match self.end(&text, said) {
                Some(answer) => (true, answer),
                None => return no(),
            },
        };
        let payload = Binary { subtype: BinarySubtype::Generic, bytes: answer.into_bytes() };
        doc! { "conversationId": 1, "done": done, "payload": payload, "ok": 1.0 }
    }

    fn begin(&self, text: &str, said: &mut Vec<String>) -> Option<String> {
        let bare = text.strip_prefix("n,,")?;
        let (name, nonce) = (part(bare, "n=")?, part(bare, "r=")?);
        let salt = BASE64_STANDARD.encode(SALT);
        let answer = format!("r={nonce}of-the-server,s={salt},i={ROUNDS}");
        said.extend([bare.to_owned(), answer.clone()]);
        (name == self.name).then_some(answer)
    }

    fn end(&self, text: &str, said: &mut Vec<String>) -> Option<String> {
        let (without_proof, proof) = text.rsplit_once(",p=")?;
        let whole = format!("{},{without_proof}", said.join(","));
        said.clear();
        let signature = hmac(&self.stored_key, whole.as_bytes());
        let proof = BASE64_STANDARD.decode(proof).ok()?;
        let key: Vec<u8> = proof.iter().zip(signature).map(|(one, other)| one ^ other).collect();
        let is_right = Sha256::digest(&key)[..] == self.stored_key;
        let answer = BASE64_STANDARD.encode(hmac(&self.server_key, whole.as_bytes()));
        is_right.then(|| format!("v={answer}"))
    }
}

/// The value of one part of a text such as `n=user,r=nonce`.
fn part<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split(',').find_map(|part| part.strip_prefix(name))
}

fn refusal(code: i32, name: &str, said: &str) -> Document {
    doc! { "ok": 0.0, "code": code, "codeName": name, "errmsg": said }
}

/// RFC 2104; a key here is shorter than a block.
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

/// RFC 8018's PBKDF2 for one block.
fn salted(password: &str) -> [u8; 32] {
    let mut last = hmac(password.as_bytes(), &[SALT, &1_u32.to_be_bytes()].concat());
    let mut all = last;
    for _ in 1..ROUNDS {
        last = hmac(password.as_bytes(), &last);
        all.iter_mut().zip(last).for_each(|(byte, more)| *byte ^= more);
    }
    all
}

/// A whole message; `None` at the end of the connection.
async fn read(from: &mut TcpStream) -> Option<Vec<u8>> {
    let length = usize::try_from(from.read_i32_le().await.ok()?).ok()?;
    assert!((HEAD_BYTES..=MAX_MESSAGE_BYTES).contains(&length), "a message of {length} bytes");
    let mut message = vec![0; length];
    message[..4].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
    from.read_exact(&mut message[4..]).await.ok()?;
    Some(message)
}

/// The command of a message: after its head stand four bytes of flags, the kind of the first section, and
/// then that section, a document.
fn command(message: &[u8]) -> Document {
    let kind = i32::from_le_bytes(message[12..HEAD_BYTES].try_into().unwrap());
    assert_eq!(
        (kind, message[HEAD_BYTES + 4]),
        (OP_MSG, 0),
        "the driver's messages are of this form"
    );
    Document::from_reader(&message[HEAD_BYTES + 5..]).unwrap()
}

fn in_answer_to(message: &[u8], answer: &Document) -> Vec<u8> {
    let document = answer.to_vec().unwrap();
    let length = u32::try_from(HEAD_BYTES + 5 + document.len()).unwrap();
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend([0; 4]);
    bytes.extend(&message[4..8]);
    bytes.extend(OP_MSG.to_le_bytes());
    bytes.extend([0; 5]);
    bytes.extend(document);
    bytes
}
