//! `proto` of a target: the file that describes its gRPC messages, and everything it imports, so that all of it is
//! hashed into the plan. Must not understand messages: whoever sends them does.

use crate::ask;
use crate::cx::Cx;
use shakedown_core::plan::GrpcSchema;
use shakedown_core::tree::{Node, Tree};
use std::collections::BTreeSet;
use std::path::Path;

/// Largest proto file.
const MAX_PROTO: usize = 4 << 20;
/// Most files one target's messages may be spread over.
const MAX_FILES: usize = 1000;
/// Imports everybody has: they come with the compiler.
const WELL_KNOWN: &str = "google/protobuf/";

/// Decodes a file, or a file and the folders of its imports.
pub fn decode(node: &Node, cx: &mut Cx) -> GrpcSchema {
    let (file, include) = match node.tree {
        Tree::Map(_) => {
            let mut f = node.fields("proto", &mut cx.p);
            let file = f.need("file", &mut cx.p);
            let include = f.take("include").map(|n| ask::texts(n, "include", &mut cx.p)).unwrap_or_default();
            f.finish(&mut cx.p);
            (file, include.into_iter().map(|(text, _)| text).collect())
        }
        _ => (Some(node), Vec::new()),
    };
    let Some((node, file)) = file.and_then(|n| Some((n, n.string("proto", &mut cx.p)?))) else { return GrpcSchema::default() };
    read(node, &file, &include, cx);
    GrpcSchema::Proto { file, include }
}

/// Reads the file and what it imports, each once.
fn read(node: &Node, file: &str, include: &[String], cx: &mut Cx) {
    let own = Path::new(file).parent().map(|p| p.to_string_lossy().into_owned()).unwrap_or_default();
    let folders: Vec<&str> = std::iter::once(own.as_str()).chain(include.iter().map(String::as_str)).collect();
    let mut seen = BTreeSet::from([file.to_owned()]);
    let mut open = vec![file.to_owned()];
    while let Some(path) = open.pop() {
        let Some(bytes) = cx.read(node, &path, MAX_PROTO) else { return };
        let Ok(text) = std::str::from_utf8(&bytes) else {
            cx.p.hint(&node.span, format!("`{path}` is not a text"), "a .proto file is wanted, not a compiled one");
            return;
        };
        for import in imports(text).into_iter().filter(|i| !i.starts_with(WELL_KNOWN)) {
            let whole = |folder: &&str| Path::new(folder).join(import).to_string_lossy().into_owned();
            let found = folders.iter().map(whole).find(|p| cx.source.files.read(cx.resolve(p).as_ref()).is_ok());
            let Some(found) = found else {
                let hint = "imports are looked for in the file's own folder and in proto: {file, include: [FOLDER]}";
                cx.p.hint(&node.span, format!("`{path}` imports `{import}`, which is not there"), hint);
                continue;
            };
            if seen.insert(found.clone()) {
                open.push(found);
            }
        }
        if seen.len() > MAX_FILES {
            cx.p.hint(&node.span, format!("`{file}` imports more than {MAX_FILES} files"), "give a target the messages it needs only");
            return;
        }
    }
}

/// The paths of `import "…";`, `import public "…";` and `import weak "…";`, comments left out.
fn imports(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut start = true;
    while let Some(c) = rest.chars().next() {
        if let Some(comment) = rest.strip_prefix("//") {
            rest = comment.find('\n').map_or("", |end| &comment[end..]);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.find("*/").map_or("", |end| &comment[end + 2..]);
        } else if let Some(import) = rest.strip_prefix("import").filter(|_| start) {
            let path = import.trim_start().trim_start_matches("public").trim_start_matches("weak").trim_start();
            let quoted = path.strip_prefix(['"', '\'']).and_then(|p| p.split_once(['"', '\'']));
            found.extend(quoted.map(|(path, _)| path));
            rest = quoted.map_or(import, |(_, after)| after);
            start = false;
        } else if let Some(quoted) = rest.strip_prefix(['"', '\'']) {
            // A text elsewhere may hold anything; an escaped quote in it does not end it.
            let mut escaped = false;
            let end = quoted.char_indices().find(|(_, q)| {
                let ends = *q == c && !escaped;
                escaped = *q == '\\' && !escaped;
                ends
            });
            rest = end.map_or("", |(i, _)| &quoted[i + 1..]);
        } else {
            start = if c.is_whitespace() { start } else { matches!(c, ';' | '{' | '}') };
            rest = &rest[c.len_utf8()..];
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::imports;

    #[test]
    fn imports_are_found_and_nothing_else() {
        let text = "// import \"no.proto\";\nsyntax = \"proto3\"; /* import \"neither.proto\"; */\nimport \"a.proto\";import public 'b/c.proto';\n\
                    import weak \"d.proto\" ;\npackage important; option x = \"; import \\\"e.proto\\\";\";\nmessage M { string import_id = 1; }\n";
        assert_eq!(imports(text), ["a.proto", "b/c.proto", "d.proto"]);
        for broken in ["import", "import \"", "import \"x", "/*", "//", "\"", "import public", "\u{e4}import"] {
            assert!(imports(broken).is_empty(), "{broken}");
        }
    }
}
