//! What services, methods and messages look like, and messages to and from JSON. Must not call anything but reflection.

use super::reflect;
use crate::answer::MAX_BODY;
use crate::face::Broken;
use crate::http2::Http2;
use bytes::Bytes;
use http::HeaderMap;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions};
use protox::Compiler;
use serde::de::DeserializeSeed;
use shakedown_core::Fail;
use shakedown_core::plan::GrpcSchema;
use shakedown_core::snapshot::Failure;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Names shown at most when one is not known.
const NAMES: usize = 5;

/// The messages of a target's services. Cheap to clone, and the same for all threads.
#[derive(Clone, Debug)]
pub struct Schema {
    types: DescriptorPool,
}

/// A method that can be called.
#[derive(Clone, Debug)]
pub struct Method {
    descriptor: MethodDescriptor,
    input: MessageDescriptor,
    output: MessageDescriptor,
}

impl Schema {
    /// Reads or asks for the schema before load starts, and checks that every one of `calls` (paths) can be called.
    /// `base` is what paths are relative to; `headers` go with reflection, which gets at most `within`.
    ///
    /// # Errors
    /// What is missing or wrong, with what comes near.
    pub async fn load(
        source: &GrpcSchema,
        base: &Path,
        http: &Http2,
        headers: HeaderMap,
        calls: &[String],
        within: Duration,
    ) -> Result<Schema, Fail> {
        let schema = match source {
            GrpcSchema::Proto { file, include } => {
                let include: Vec<PathBuf> = include.iter().map(|i| base.join(i)).collect();
                Schema::proto(&base.join(file), &include)?
            }
            GrpcSchema::Reflection => {
                let services = calls.iter().map(|call| split(call).map(|(service, _)| service)).collect::<Result<Vec<_>, _>>()?;
                let asked = http.handle().before(Instant::now() + within, reflect::ask(http, &headers, &services)).await;
                let late = || Fail::new(format!("the server's reflection did not answer within {within:?}; give a `.proto` file instead"));
                Schema { types: asked.ok_or_else(late)?? }
            }
        };
        for call in calls {
            schema.method(call)?;
        }
        Ok(schema)
    }

    /// Compiles a `.proto` file; its own folder is always one of those its imports are looked for in.
    ///
    /// # Errors
    /// What is wrong with it, with file and place.
    pub fn proto(file: &Path, include: &[PathBuf]) -> Result<Schema, Fail> {
        let own = file.parent().map(Path::to_path_buf).unwrap_or_default();
        let folders = include.iter().cloned().chain([own]);
        let wrong = |e: protox::Error| Fail::new(format!("{}: {}", file.display(), in_full(&e)));
        let mut compiler = Compiler::new(folders).map_err(wrong)?;
        compiler.open_file(file).map_err(wrong)?;
        Ok(Schema { types: compiler.descriptor_pool() })
    }

    /// The method at `/package.Service/Method`.
    ///
    /// # Errors
    /// When there is none (with what comes near), or the client would have to stream.
    pub fn method(&self, path: &str) -> Result<Method, Fail> {
        let (service, method) = split(path)?;
        let Some(found) = self.types.get_service_by_name(service) else {
            let all = self.types.services().map(|s| s.full_name().to_owned());
            return Err(Fail::new(format!("there is no service `{service}`; {}", nearest(service, all))));
        };
        let Some(descriptor) = found.methods().find(|m| m.name() == method) else {
            let all = found.methods().map(|m| m.name().to_owned());
            return Err(Fail::new(format!("service `{service}` has no method `{method}`; {}", nearest(method, all))));
        };
        if descriptor.is_client_streaming() {
            let why = "is streamed to by the client; only unary and server-streaming methods can be called";
            return Err(Fail::new(format!("{service}/{method} {why}")));
        }
        Ok(Method { input: descriptor.input(), output: descriptor.output(), descriptor })
    }
}

impl Method {
    /// The server answers with any number of messages.
    #[must_use]
    pub fn streams(&self) -> bool {
        self.descriptor.is_server_streaming()
    }

    /// A message of the method's input, from JSON (empty is a message without any field set).
    ///
    /// # Errors
    /// Where it does not fit.
    pub fn encode(&self, json: &[u8]) -> Result<Vec<u8>, Fail> {
        let json = if json.is_empty() { b"{}" } else { json };
        let mut text = serde_json::Deserializer::from_slice(json);
        let mut track = serde_path_to_error::Track::new();
        let read = self.input.clone().deserialize(serde_path_to_error::Deserializer::new(&mut text, &mut track));
        let at = || match track.path().to_string() {
            path if path == "." => String::new(),
            path => format!(" at {path}"),
        };
        let name = self.input.full_name();
        let message = read.map_err(|e| Fail::new(format!("the message does not fit {name}{}: {e}", at())))?;
        text.end().map_err(|e| Fail::new(format!("the message is not one JSON object: {e}")))?;
        let encoded = message.encode_to_vec();
        if encoded.len() as u64 > MAX_BODY {
            return Err(Fail::new(format!("the message has {} bytes, more than {MAX_BODY}", encoded.len())));
        }
        Ok(encoded)
    }

    /// A message of the method's output; as JSON (fields at their defaults included) when `json`, else only checked.
    pub(crate) fn decode(&self, message: Bytes, json: bool) -> Result<Vec<u8>, Broken> {
        let wrong = |e: &dyn std::fmt::Display| (Failure::Protocol, format!("a message is no {}: {e}", self.output.full_name()));
        let message = DynamicMessage::decode(self.output.clone(), message).map_err(|e| wrong(&e))?;
        if !json {
            return Ok(Vec::new());
        }
        let mut text = serde_json::Serializer::new(Vec::new());
        let options = SerializeOptions::new().skip_default_fields(false);
        message.serialize_with_options(&mut text, &options).map_err(|e| wrong(&e))?;
        Ok(text.into_inner())
    }
}

/// Service and method of a path.
fn split(path: &str) -> Result<(&str, &str), Fail> {
    let mut parts = path.rsplitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(method), Some(service), Some(_)) if !method.is_empty() && !service.is_empty() => Ok((service, method)),
        _ => Err(Fail::new(format!("`{path}` is no gRPC path; write `/package.Service/Method`"))),
    }
}

/// What comes near a name that is not known.
pub(crate) fn nearest(name: &str, all: impl Iterator<Item = String>) -> String {
    let mut all: Vec<String> = all.collect();
    if all.is_empty() {
        return "there are none".to_owned();
    }
    all.sort_by(|a, b| strsim::jaro_winkler(b, name).total_cmp(&strsim::jaro_winkler(a, name)));
    all.truncate(NAMES);
    format!("the nearest are {}", all.join(", "))
}

fn in_full(e: &dyn std::error::Error) -> String {
    match e.source() {
        Some(cause) if !e.to_string().contains(&cause.to_string()) => format!("{e}: {}", in_full(cause)),
        _ => e.to_string(),
    }
}
