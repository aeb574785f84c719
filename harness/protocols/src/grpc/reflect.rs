//! Asks a server what its services look like (grpc.reflection.v1, then v1alpha, which is the same on the wire). One call
//! a question, everything bounded. Must not decide what is called.

use super::{call, frames, outcome};
use crate::answer::Answer;
use crate::face::Progress;
use crate::http2::Http2;
use bytes::Bytes;
use http::HeaderMap;
use prost::Message;
use prost_reflect::DescriptorPool;
use prost_reflect::prost_types::{FileDescriptorProto, FileDescriptorSet};
use shakedown_core::Fail;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Most files of one schema.
const FILES: usize = 1000;
/// Most bytes of them.
const BYTES: usize = 32 << 20;
/// The versions asked for, in turn.
const VERSIONS: [&str; 2] = ["v1", "v1alpha"];

/// `ServerReflectionRequest`.
#[derive(Clone, PartialEq, Message)]
struct Question {
    #[prost(oneof = "About", tags = "3, 4, 7")]
    about: Option<About>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum About {
    #[prost(string, tag = "3")]
    File(String),
    #[prost(string, tag = "4")]
    Symbol(String),
    #[prost(string, tag = "7")]
    Services(String),
}

/// `ServerReflectionResponse`.
#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(oneof = "Said", tags = "4, 6, 7")]
    said: Option<Said>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Said {
    #[prost(message, tag = "4")]
    Files(Files),
    #[prost(message, tag = "6")]
    Services(Services),
    #[prost(message, tag = "7")]
    Error(Trouble),
}

#[derive(Clone, PartialEq, Message)]
struct Files {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    all: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct Services {
    #[prost(message, repeated, tag = "1")]
    all: Vec<Service>,
}

#[derive(Clone, PartialEq, Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Trouble {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// A server that answers questions.
struct Server<'a> {
    http: &'a Http2,
    headers: &'a HeaderMap,
    version: &'static str,
}

/// Why there is no answer to a question.
enum NoAnswer {
    /// The server does not have this version.
    Unimplemented,
    Other(Fail),
}

/// The types of `services` and of everything they use.
pub(crate) async fn ask(http: &Http2, headers: &HeaderMap, services: &[&str]) -> Result<DescriptorPool, Fail> {
    let mut unimplemented = Ok(());
    for version in VERSIONS {
        let server = Server { http, headers, version };
        match server.types(services).await {
            Ok(types) => return Ok(types),
            Err(NoAnswer::Other(e)) => return Err(e),
            Err(NoAnswer::Unimplemented) => {
                unimplemented = Err(Fail::new("the server has no reflection; turn it on, or give a `.proto` file (`grpc: {proto: …}`)"));
            }
        }
    }
    unimplemented.map(|()| DescriptorPool::new())
}

impl Server<'_> {
    async fn types(&self, services: &[&str]) -> Result<DescriptorPool, NoAnswer> {
        let mut files = BTreeMap::new();
        let (mut bytes, mut wanted) = (0, BTreeSet::new());
        for service in services.iter().copied().collect::<BTreeSet<_>>() {
            match self.question(About::Symbol(service.to_owned())).await? {
                Said::Files(found) => take(found, &mut files, &mut bytes, &mut wanted)?,
                Said::Error(e) => return Err(self.unknown(service, &e).await),
                Said::Services(_) => return Err(other("reflection answers what was not asked")),
            }
        }
        // Each question brings at least one new file or ends it; `take` bounds their number.
        while let Some(name) = wanted.pop_first() {
            match self.question(About::File(name.clone())).await? {
                Said::Files(found) => take(found, &mut files, &mut bytes, &mut wanted)?,
                Said::Error(e) => return Err(other(&format!("reflection does not know the file {name}: {}", e.message))),
                Said::Services(_) => return Err(other("reflection answers what was not asked")),
            }
            if !files.contains_key(&name) {
                return Err(other(&format!("reflection was asked for the file {name} and gave others")));
            }
        }
        let set = FileDescriptorSet { file: files.into_values().collect() };
        DescriptorPool::from_file_descriptor_set(set).map_err(|e| other(&format!("reflection gives types that do not fit together: {e}")))
    }

    /// A service is not known: which ones are.
    async fn unknown(&self, service: &str, trouble: &Trouble) -> NoAnswer {
        let all = match self.question(About::Services(String::new())).await {
            Ok(Said::Services(all)) => all.all.into_iter().map(|s| s.name).collect(),
            _ => Vec::new(),
        };
        let near = super::schema::nearest(service, all.into_iter());
        other(&format!("the server's reflection does not know the service `{service}` ({}); {near}", trouble.message))
    }

    async fn question(&self, about: About) -> Result<Said, NoAnswer> {
        let path = format!("/grpc.reflection.{}.ServerReflection/ServerReflectionInfo", self.version);
        let message = frames::frame(&Question { about: Some(about) }.encode_to_vec());
        let progress = Rc::new(Progress::default());
        let mut answer = Answer::new(Rc::clone(&progress), true);
        let mut got = None;
        let asked = call(self.http, &path, self.headers.clone(), message, &progress, &mut answer, |_, message| {
            got.get_or_insert(message);
            Ok(())
        });
        asked.await.map_err(|(_, why)| other(&format!("reflection: {why}")))?;
        match (answer.reply().status, got) {
            // Some servers end the stream with a status of their own once the question is answered.
            (_, Some(message)) => {
                let said = Response::decode(message).map_err(|e| other(&format!("reflection answers with no message of its own: {e}")))?;
                said.said.ok_or_else(|| other("reflection answers with nothing"))
            }
            (Some(outcome::UNIMPLEMENTED), None) => Err(NoAnswer::Unimplemented),
            (status, None) => {
                let why = answer.reply().headers.get("grpc-message").map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
                let status = status.unwrap_or(outcome::UNKNOWN);
                Err(other(&format!("reflection failed with gRPC status {status}: {}", why.unwrap_or_default())))
            }
        }
    }
}

/// Adds files; what they import and nobody has is wanted.
fn take(
    found: Files,
    files: &mut BTreeMap<String, FileDescriptorProto>,
    bytes: &mut usize,
    wanted: &mut BTreeSet<String>,
) -> Result<(), NoAnswer> {
    for file in found.all {
        *bytes += file.len();
        let file = FileDescriptorProto::decode(file).map_err(|e| other(&format!("reflection gives what is no file: {e}")))?;
        wanted.extend(file.dependency.iter().cloned());
        files.insert(file.name().to_owned(), file);
        if files.len() > FILES || *bytes > BYTES {
            return Err(other(&format!("reflection gives more than {FILES} files or {BYTES} bytes")));
        }
    }
    wanted.retain(|name| !files.contains_key(name));
    Ok(())
}

fn other(why: &str) -> NoAnswer {
    NoAnswer::Other(Fail::new(why))
}
