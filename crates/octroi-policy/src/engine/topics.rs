//! MQTT topic filters in a trie: one walk finds every filter that matches.
//! The walk visits no more nodes than the policy wrote, whatever the topic.
//!
//! A filter is a name for itself here: what it is used for is the caller's.

/// A filter has no more levels than that: the walk is recursive.
pub(crate) const LEVELS_MAX: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Topics {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    /// Sorted by head and level.
    children: Vec<Child>,
    plus: Option<u32>,
    /// The filter that ends here.
    ends: Option<u32>,
    /// The filter that goes on from here with `#`.
    rest: Option<u32>,
}

#[derive(Debug)]
struct Child {
    head: u64,
    level: Box<str>,
    node: u32,
}

/// The first eight bytes: most levels differ there, and numbers compare at once.
pub(crate) fn head(level: &str) -> u64 {
    level.bytes().take(8).fold(0, |head, byte| head << 8 | u64::from(byte))
}

impl Node {
    fn find(&self, head: u64, level: &str) -> Result<usize, usize> {
        self.children.binary_search_by(|child| child.head.cmp(&head).then_with(|| (*child.level).cmp(level)))
    }
}

impl Topics {
    /// Adds a filter under a key; the same filter twice keeps the first key.
    /// The first key is returned; `None`: no filter of MQTT, or too deep.
    pub(crate) fn insert(&mut self, filter: &str, key: u32) -> Option<u32> {
        let levels = filter.split('/');
        if filter.is_empty() || levels.clone().count() > LEVELS_MAX {
            return None;
        }
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = 0;
        let mut levels = levels.peekable();
        while let Some(level) = levels.next() {
            if level == "#" {
                levels.peek().is_none().then_some(())?;
                return Some(*self.nodes.get_mut(at)?.rest.get_or_insert(key));
            }
            if level != "+" && level.contains(['+', '#']) {
                return None;
            }
            at = self.child(at, level)?;
        }
        Some(*self.nodes.get_mut(at)?.ends.get_or_insert(key))
    }

    fn child(&mut self, at: usize, level: &str) -> Option<usize> {
        let new = u32::try_from(self.nodes.len()).ok()?;
        let node = self.nodes.get_mut(at)?;
        let child = if level == "+" {
            *node.plus.get_or_insert(new)
        } else {
            let head = head(level);
            match node.find(head, level) {
                Ok(found) => node.children.get(found)?.node,
                Err(place) => {
                    node.children.insert(place, Child { head, level: level.into(), node: new });
                    new
                }
            }
        };
        if child == new {
            self.nodes.push(Node::default());
        }
        usize::try_from(child).ok()
    }

    /// Calls `found` with the key of every filter that matches.
    pub(crate) fn matches(&self, topic: &str, found: &mut impl FnMut(u32)) {
        let Some(root) = self.nodes.first() else { return };
        // A filter that begins with a wildcard does not match `$…` [MQTT-4.7.2-1].
        let wild = !topic.starts_with('$');
        if wild {
            root.rest.iter().for_each(|key| found(*key));
        }
        self.step(root, topic, wild, found);
    }

    fn step(&self, node: &Node, rest: &str, wild: bool, found: &mut impl FnMut(u32)) {
        let slash = rest.bytes().position(|byte| byte == b'/').and_then(|slash| rest.split_at_checked(slash));
        let (level, rest) = match slash {
            Some((level, rest)) => (level, rest.strip_prefix('/')),
            None => (rest, None),
        };
        let literal = node.find(head(level), level).ok();
        let literal = literal.and_then(|place| node.children.get(place)).map(|child| child.node);
        for child in literal.into_iter().chain(node.plus.filter(|_| wild)) {
            let Some(child) = usize::try_from(child).ok().and_then(|child| self.nodes.get(child)) else {
                continue;
            };
            // `a/#` matches `a` too.
            child.rest.iter().for_each(|key| found(*key));
            match rest {
                Some(rest) => self.step(child, rest, true, found),
                None => child.ends.iter().for_each(|key| found(*key)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(filters: &[&str], topic: &str, expected: &[&str]) {
        let mut topics = Topics::default();
        for (key, filter) in (0..).zip(filters) {
            assert_eq!(topics.insert(filter, key), Some(key));
        }
        let mut found = Vec::new();
        topics.matches(topic, &mut |key| found.push(filters[key as usize]));
        found.sort_unstable();
        assert_eq!(found, expected, "{topic}");
    }

    #[test]
    fn a_topic_finds_every_filter_that_matches_it() {
        let filters = ["#", "+", "+/+", "a/#", "a/+/c", "a/b", "a/b/c", "$SYS/#", "/#", "a//c"];
        check(&filters, "a", &["#", "+", "a/#"]);
        check(&filters, "a/b", &["#", "+/+", "a/#", "a/b"]);
        check(&filters, "a/b/c", &["#", "a/#", "a/+/c", "a/b/c"]);
        check(&filters, "a//c", &["#", "a/#", "a/+/c", "a//c"]);
        check(&filters, "/x", &["#", "+/+", "/#"]);
        check(&filters, "$SYS/x", &["$SYS/#"]);
        check(&filters, "$other", &[]);
    }

    #[test]
    fn what_is_no_filter_is_not_taken() {
        let mut topics = Topics::default();
        for filter in ["", "a/#/b", "a+", "a/b#", &"a/".repeat(64)] {
            assert_eq!(topics.insert(filter, 0), None, "{filter}");
        }
    }
}
