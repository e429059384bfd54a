//! The copy's payload: the kept leaves of the original in a fresh JSON object.
//!
//! The facts have forgotten where arrays were, so the payload is walked again,
//! in step with them: the n-th key is the n-th node, the n-th scalar the n-th
//! leaf. The walk trusts the reader that made the facts, and gives up where it
//! does not find what they say.
//!
//! INVARIANT: a key is written only on the way to a kept leaf.

use crate::facts::{Facts, LeafRole, Scalar};
use crate::json::MAX_DEPTH;

/// What becomes of one leaf.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Keep {
    /// Not copied.
    No,
    /// As it is.
    AsIs,
    /// This text in its place.
    Text(String),
    /// This number in its place, as JSON.
    Number(String),
}

/// Why there is no payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unmade {
    /// The facts are not those of the payload.
    Mismatch,
    /// Two kept leaves have one name.
    Collision,
    /// Nothing was kept.
    Nothing,
}

enum Tree<'f> {
    /// By key.
    Object(Vec<(&'f str, Tree<'f>)>),
    Array(Vec<Tree<'f>>),
    Leaf(&'f str),
    /// A text that is to be quoted.
    Text(&'f str),
}

/// The payload of the copy: keys in the order of their bytes, without white space.
pub(super) fn payload(facts: &Facts<'_>, payload: &[u8], keep: &[Keep]) -> Result<Vec<u8>, Unmade> {
    let mut walk = Walk { facts, bytes: payload, keep, at: 0, node: 0, leaf: 0 };
    walk.space();
    let kept = walk.value(0)?;
    if walk.node != facts.nodes.len() || walk.leaf != facts.leaves.len() {
        return Err(Unmade::Mismatch);
    }
    let mut out = Vec::with_capacity(payload.len());
    match hoist(facts, keep, kept.ok_or(Unmade::Nothing)?)? {
        tree @ (Tree::Object(_) | Tree::Array(_)) => write(&tree, &mut out),
        Tree::Leaf(_) | Tree::Text(_) => return Err(Unmade::Nothing),
    }
    Ok(out)
}

struct Walk<'f, 'a> {
    facts: &'f Facts<'a>,
    bytes: &'f [u8],
    keep: &'f [Keep],
    at: usize,
    node: usize,
    leaf: usize,
}

impl<'f> Walk<'f, '_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// The value here, without what is not kept.
    fn value(&mut self, depth: u8) -> Result<Option<Tree<'f>>, Unmade> {
        let (open, close) = match self.peek() {
            Some(b'{') => (b'{', b'}'),
            Some(b'[') => (b'[', b']'),
            Some(b'"') => {
                self.string()?;
                return self.scalar("null");
            }
            _ => {
                while !matches!(self.peek(), None | Some(b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r')) {
                    self.at += 1;
                }
                return self.scalar("null");
            }
        };
        if depth >= MAX_DEPTH {
            return Err(Unmade::Mismatch);
        }
        self.at += 1;
        self.space();
        if self.peek() == Some(close) {
            self.at += 1;
            return self.scalar(if open == b'{' { "{}" } else { "[]" });
        }
        if open == b'{' { self.object(depth + 1) } else { self.array(depth + 1) }
    }

    fn object(&mut self, depth: u8) -> Result<Option<Tree<'f>>, Unmade> {
        let mut kept = Vec::new();
        loop {
            self.string()?;
            let node = self.facts.nodes.get(self.node).ok_or(Unmade::Mismatch)?;
            self.node += 1;
            self.space();
            self.expect(b':')?;
            self.space();
            if let Some(value) = self.value(depth)? {
                kept.push((node.key.as_ref(), value));
            }
            if self.ends(b'}')? {
                kept.sort_unstable_by_key(|(key, _)| *key);
                return Ok((!kept.is_empty()).then_some(Tree::Object(kept)));
            }
        }
    }

    fn array(&mut self, depth: u8) -> Result<Option<Tree<'f>>, Unmade> {
        let mut kept = Vec::new();
        loop {
            kept.extend(self.value(depth)?);
            if self.ends(b']')? {
                return Ok((!kept.is_empty()).then_some(Tree::Array(kept)));
            }
        }
    }

    /// Passes the end of the container, or the comma before what comes next.
    fn ends(&mut self, close: u8) -> Result<bool, Unmade> {
        self.space();
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(true);
        }
        self.expect(b',')?;
        self.space();
        Ok(false)
    }

    fn expect(&mut self, byte: u8) -> Result<(), Unmade> {
        if self.peek() != Some(byte) {
            return Err(Unmade::Mismatch);
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<(), Unmade> {
        self.expect(b'"')?;
        loop {
            match self.peek().ok_or(Unmade::Mismatch)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.expect(b'"')
    }

    fn scalar(&mut self, empty: &'static str) -> Result<Option<Tree<'f>>, Unmade> {
        let (Some(leaf), Some(keep)) = (self.facts.leaves.get(self.leaf), self.keep.get(self.leaf)) else {
            return Err(Unmade::Mismatch);
        };
        self.leaf += 1;
        Ok(match keep {
            Keep::No => None,
            Keep::Text(text) => Some(Tree::Text(text)),
            Keep::Number(number) => Some(Tree::Leaf(number)),
            Keep::AsIs => Some(match &leaf.value {
                Scalar::Empty => Tree::Leaf(empty),
                Scalar::Boolean(true) => Tree::Leaf("true"),
                Scalar::Boolean(false) => Tree::Leaf("false"),
                Scalar::Number(_, text) => Tree::Leaf(text),
                Scalar::Text(text) => Tree::Text(text),
            }),
        })
    }
}

/// Lifts what stands below a data root to the top, where its names begin.
fn hoist<'f>(facts: &'f Facts<'_>, keep: &[Keep], mut tree: Tree<'f>) -> Result<Tree<'f>, Unmade> {
    let mut roots: Vec<Vec<&str>> = Vec::new();
    for (leaf, keep) in facts.leaves.iter().zip(keep) {
        if let (LeafRole::Data { root: root @ 1.. }, true) = (leaf.role, *keep != Keep::No) {
            let mut path: Vec<&str> = facts.path_up(leaf.node).map(|node| node.key.as_ref()).collect();
            path.reverse();
            path.truncate(usize::from(root));
            if !roots.contains(&path) {
                roots.push(path);
            }
        }
    }
    let mut lifted = Vec::new();
    for root in &roots {
        match take(&mut tree, root) {
            Some(Tree::Object(below)) => lifted.push(below),
            Some(Tree::Array(_) | Tree::Leaf(_) | Tree::Text(_)) | None => return Err(Unmade::Collision),
        }
    }
    if let Tree::Object(top) = &mut tree {
        top.extend(lifted.into_iter().flatten());
        top.sort_unstable_by_key(|(key, _)| *key);
        if !top.is_sorted_by(|(one, _), (next, _)| one < next) {
            return Err(Unmade::Collision);
        }
    }
    Ok(tree)
}

/// Takes out the value at that path, and the objects that become empty.
fn take<'f>(tree: &mut Tree<'f>, path: &[&str]) -> Option<Tree<'f>> {
    let (first, rest) = path.split_first()?;
    let Tree::Object(members) = tree else { return None };
    let at = members.binary_search_by_key(first, |(key, _)| key).ok()?;
    if rest.is_empty() {
        return Some(members.remove(at).1);
    }
    let (_, inner) = members.get_mut(at)?;
    let taken = take(inner, rest);
    if matches!(inner, Tree::Object(members) if members.is_empty()) {
        members.remove(at);
    }
    taken
}

fn write(tree: &Tree<'_>, out: &mut Vec<u8>) {
    match tree {
        Tree::Leaf(text) => out.extend_from_slice(text.as_bytes()),
        Tree::Text(text) => quoted(text, out),
        Tree::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Tree::Object(members) => {
            out.push(b'{');
            for (at, (key, value)) in members.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                quoted(key, out);
                out.push(b':');
                write(value, out);
            }
            out.push(b'}');
        }
    }
}

/// Appends a JSON string (RFC 8259 section 7).
fn quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    if text.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        for byte in text.bytes() {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                ..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                _ => out.push(byte),
            }
        }
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
}
