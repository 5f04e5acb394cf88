//! The file that names the brokers of a cluster:
//!
//! ```toml
//! cluster_id = "WmVLh2PGTzKBJ_Ht0UmJYw"
//!
//! [[brokers]]
//! id = 1
//! peer = "10.0.0.1:9192"
//! rack = "a"        # may be left out
//! role = "broker"   # or "witness"; may be left out
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use millrace_node::ProducerIds;
use millrace_types::BrokerId;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::members::{Member, MemberRole, Members, PeerAddress};
use super::place::Source;
use crate::error::StartError;

/// The longest file, in bytes: no cluster has as many brokers.
const MAX_FILE: u64 = 1 << 20;
/// The highest number of a broker: producer ids hold it.
const MAX_ID: i32 = ProducerIds::MAX_BROKER;
/// The longest cluster id, in bytes: what a hello between brokers holds.
const MAX_CLUSTER_ID: usize = 255;

/// A file that was read, with the places of what it says.
#[derive(Debug)]
pub(super) struct ClusterFile {
    name: String,
    cluster_id: String,
    brokers: BTreeMap<BrokerId, (Member, String)>,
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<ClusterFile, StartError> {
    let failed = |source| StartError::ClusterFile { path: path.to_owned(), source };
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text)).map_err(failed)?;
    if text.len() as u64 > MAX_FILE {
        return Err(failed(std::io::Error::other(format!("it has more than {MAX_FILE} bytes"))));
    }
    parse(&path.display().to_string(), &text)
}

/// Reads a file's text; `name` says which file it is.
pub(super) fn parse(name: &str, text: &str) -> Result<ClusterFile, StartError> {
    let file = Source { name, text };
    let table = DeTable::parse(text).map_err(|error| StartError::ConfigSyntax {
        place: file.place(&error.span().unwrap_or(0..0)),
        reason: error.message().to_owned(),
    })?;
    let whole = Fields { file, span: 0..0, what: "the file", table: table.get_ref() };
    whole.check_names(&["cluster_id", "brokers"])?;
    let (cluster_id, span) = whole.text("cluster_id")?;
    if cluster_id.is_empty() || cluster_id.len() > MAX_CLUSTER_ID {
        return Err(refused(file, &span, format!("`cluster_id` has 1 to {MAX_CLUSTER_ID} bytes")));
    }
    let mut parsed = ClusterFile { name: name.to_owned(), cluster_id, brokers: BTreeMap::new() };
    for (broker, span) in whole.tables("brokers")? {
        parsed.add(&Fields { file, span, what: "a broker", table: broker })?;
    }
    Ok(parsed)
}

impl ClusterFile {
    fn add(&mut self, fields: &Fields<'_, '_>) -> Result<(), StartError> {
        fields.check_names(&["id", "peer", "rack", "role"])?;
        let file = fields.file;
        let (id, span) = fields.id("id")?;
        let (peer, at) = fields.text("peer")?;
        let bad = |reason: String| refused(file, &at, reason);
        let peer: PeerAddress = peer.parse().map_err(|error| bad(format!("`peer`: {error}")))?;
        if peer.is_wildcard() || peer.port() == 0 {
            return Err(bad(format!("`peer` is {peer}, which no broker can connect to: write its host and its port")));
        }
        let rack = fields.get("rack").map(|_| fields.text("rack")).transpose()?.map(|(rack, _)| rack);
        let role = match fields.get("role").map(|_| fields.text("role")).transpose()? {
            None => MemberRole::Broker,
            Some((role, span)) => match role.as_str() {
                "broker" => MemberRole::Broker,
                "witness" => MemberRole::Witness,
                _ => return Err(refused(file, &span, format!("`role` is `{role}`: write broker or witness"))),
            },
        };
        if let Some((_, place)) = self.brokers.get(&id) {
            return Err(refused(file, &span, format!("broker {id} stands here and at {place}")));
        }
        if let Some((other, (_, place))) = self.brokers.iter().find(|(_, (member, _))| member.peer == peer) {
            return Err(bad(format!("`peer` is {peer}, which is broker {other} at {place}")));
        }
        self.brokers.insert(id, (Member { peer, rack, role }, file.place(&span)));
        Ok(())
    }

    /// The members as broker `me` sees them, which binds `bind` when that is set, and stands in `rack`.
    pub(super) fn members(
        self,
        me: BrokerId,
        bind: Option<PeerAddress>,
        rack: Option<&str>,
    ) -> Result<Members, StartError> {
        let Some((own, place)) = self.brokers.get(&me) else {
            let known: Vec<String> = self.brokers.keys().map(ToString::to_string).collect();
            let known = known.join(", ");
            return Err(contradiction(format!(
                "{}: there is no broker {me}, the number of this one (`node.id`); the file names {known}",
                self.name
            )));
        };
        let bind = bind.unwrap_or_else(|| own.peer.clone());
        let fits = bind == own.peer || (bind.is_wildcard() && bind.port() == own.peer.port());
        if !fits {
            return Err(contradiction(format!(
                "`peer.listener` is {bind}, but other brokers look for broker {me} at {}, as {place} says",
                own.peer
            )));
        }
        if let (Some(set), Some(told)) = (rack, own.rack.as_deref())
            && set != told
        {
            return Err(contradiction(format!("`broker.rack` is {set}, but {place} puts broker {me} into {told}")));
        }
        let brokers = self.brokers.into_iter().map(|(id, (member, _))| (id, member)).collect();
        Ok(Members { cluster_id: self.cluster_id, brokers, bind })
    }
}

fn contradiction(text: String) -> StartError {
    StartError::Contradiction(text)
}

fn refused(file: Source<'_>, span: &Range<usize>, reason: String) -> StartError {
    StartError::ConfigSyntax { place: file.place(span), reason }
}

/// A table of the file.
struct Fields<'a, 'i> {
    file: Source<'a>,
    span: Range<usize>,
    what: &'static str,
    table: &'a DeTable<'i>,
}

impl<'a, 'i> Fields<'a, 'i> {
    fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    fn need(&self, key: &str) -> Result<&'a Spanned<DeValue<'i>>, StartError> {
        self.get(key).ok_or_else(|| refused(self.file, &self.span, format!("{} has no `{key}`", self.what)))
    }

    fn wrong(&self, value: &Spanned<DeValue<'i>>, key: &str, expected: &str) -> StartError {
        let found = value.get_ref().type_str();
        refused(self.file, &value.span(), format!("`{key}` is of type {found}, and must be {expected}"))
    }

    fn text(&self, key: &str) -> Result<(String, Range<usize>), StartError> {
        let value = self.need(key)?;
        match value.get_ref() {
            DeValue::String(text) => Ok((text.to_string(), value.span())),
            _ => Err(self.wrong(value, key, "a string")),
        }
    }

    fn id(&self, key: &str) -> Result<(BrokerId, Range<usize>), StartError> {
        let value = self.need(key)?;
        let DeValue::Integer(number) = value.get_ref() else {
            return Err(self.wrong(value, key, "a number"));
        };
        match i32::from_str_radix(number.as_str(), number.radix()) {
            Ok(id) if (0..=MAX_ID).contains(&id) => Ok((BrokerId(id), value.span())),
            _ => Err(refused(self.file, &value.span(), format!("`{key}` is a number from 0 to {MAX_ID}"))),
        }
    }

    fn tables(&self, key: &str) -> Result<Vec<(&'a DeTable<'i>, Range<usize>)>, StartError> {
        let value = self.need(key)?;
        let DeValue::Array(elements) = value.get_ref() else {
            return Err(self.wrong(value, key, "written as [[brokers]] tables"));
        };
        let table = |element: &'a Spanned<DeValue<'i>>| match element.get_ref() {
            DeValue::Table(table) => Ok((table, element.span())),
            _ => Err(self.wrong(element, key, "written as [[brokers]] tables")),
        };
        elements.iter().map(table).collect()
    }

    /// Refuses a key that is none: it is a slip.
    fn check_names(&self, names: &[&str]) -> Result<(), StartError> {
        match self.table.iter().find(|(key, _)| !names.contains(&&**key.get_ref())) {
            None => Ok(()),
            Some((key, _)) => {
                let reason = format!("{} has no key `{}`; there are {}", self.what, key.get_ref(), names.join(", "));
                Err(refused(self.file, &key.span(), reason))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::chain;

    const THREE: &str = "cluster_id = \"c\"\n[[brokers]]\nid = 1\npeer = \"a.example:9192\"\nrack = \"x\"\n\
                         [[brokers]]\nid = 2\npeer = \"b.example:9192\"\n\
                         [[brokers]]\nid = 3\npeer = \"c.example:9192\"\nrole = \"witness\"\n";

    fn members(text: &str, me: i32, bind: Option<&str>) -> Result<Members, String> {
        let bind = bind.map(|text| text.parse().expect("an address"));
        parse("c.toml", text).and_then(|file| file.members(BrokerId(me), bind, None)).map_err(|error| chain(&error))
    }

    #[test]
    fn names_every_broker() {
        let members = members(THREE, 1, None).expect("valid");
        assert_eq!(members.cluster_id, "c");
        assert_eq!(members.brokers.keys().map(|id| id.0).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(members.address(BrokerId(2)).map(ToString::to_string).as_deref(), Some("b.example:9192"));
        assert_eq!(members.brokers[&BrokerId(1)].rack.as_deref(), Some("x"));
        assert_eq!(members.brokers[&BrokerId(3)].role, MemberRole::Witness);
        assert_eq!(members.bind.to_string(), "a.example:9192");
    }

    #[test]
    fn what_is_bound_may_be_every_interface_and_nothing_else() {
        for bind in [":9192", "0.0.0.0:9192", "[::]:9192", "a.example:9192"] {
            assert_eq!(members(THREE, 1, Some(bind)).expect("fits").bind.to_string(), bind);
        }
        for bind in [":9193", "127.0.0.1:9192", "a.example:9193"] {
            let error = members(THREE, 1, Some(bind)).expect_err("differs");
            assert!(error.contains(bind) && error.contains("c.toml:3:6"), "{error}");
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let broker =
            |fields: &str| format!("cluster_id = \"c\"\n[[brokers]]\nid = 1\npeer = \"a:1\"\n[[brokers]]\n{fields}");
        for (text, expected) in [
            (broker("id = 1\npeer = \"b:1\""), "c.toml:6:6: broker 1 stands here and at c.toml:3:6"),
            (broker("id = 2\npeer = \"a:1\""), "c.toml:7:8: `peer` is a:1, which is broker 1 at c.toml:3:6"),
            (broker("id = 2\npeer = \"b\""), "c.toml:7:8: `peer`: `b` has no port"),
            (broker("id = 2\npeer = \"b:0\""), "c.toml:7:8: `peer` is b:0, which no broker can connect to"),
            (broker("id = 2\npeer = \":1\""), "which no broker can connect to"),
            (broker("id = 2"), "c.toml:5:1: a broker has no `peer`"),
            (broker("id = -2\npeer = \"b:1\""), "c.toml:6:6: `id` is a number from 0"),
            (broker("id = \"2\"\npeer = \"b:1\""), "c.toml:6:6: `id` is of type string, and must be a number"),
            (broker("id = 2\npear = \"b:1\""), "c.toml:7:1: a broker has no key `pear`"),
            (broker("id = 2\npeer = \"b:1\"\nrole = \"boss\""), "c.toml:8:8: `role` is `boss`"),
            ("cluster_id = 1\nbrokers = []".to_owned(), "c.toml:1:14: `cluster_id` is of type integer"),
            ("cluster_id = \"\"\nbrokers = []".to_owned(), "`cluster_id` has 1 to 255 bytes"),
            ("brokers = []".to_owned(), "the file has no `cluster_id`"),
            ("cluster_id = \"c\"\nbrokers = [1]".to_owned(), "c.toml:2:12: `brokers` is of type integer"),
            ("cluster_id = \"c\"\nbroker = []".to_owned(), "c.toml:2:1: the file has no key `broker`"),
            ("cluster_id = ".to_owned(), "c.toml:1:14"),
        ] {
            let error = members(&text, 1, None).expect_err(expected);
            assert!(error.contains(expected), "{expected}: {error}");
        }
        let error = members(THREE, 9, None).expect_err("unknown");
        assert!(error.contains("c.toml: there is no broker 9") && error.contains("1, 2, 3"), "{error}");
        let witness = members(THREE, 3, None).expect("a broker of its own kind");
        assert_eq!(witness.brokers[&BrokerId(3)].role.of_log(), millrace_metadata::BrokerRole::Witness);
    }
}
