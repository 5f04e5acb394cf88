//! The administrator: makes the topics of the run, then creates, deletes and re-creates others, and moves partitions.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, MetadataRequest,
    MetadataResponse, TopicName,
};
use kafka_protocol::protocol::{Decodable, StrBytes};
use millrace_types::{ErrorCode, Instant, Offset};

use super::moves::{self, Moves};
use super::raw::{Raw, Reply};
use super::{Client, Context, Wire};
use crate::dice::Dice;
use crate::history::Part;
use crate::invariant::metadata;
use crate::options::{Options, TopicOptions};

const CREATE: i16 = 5;
const DELETE: i16 = 4;
const METADATA: i16 = 9;

/// What is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Doing {
    /// A topic that the run needs.
    Found(String),
    Create(String),
    Delete(String),
    Look,
    Move,
    ListMoves,
}

/// The administrator.
#[derive(Debug)]
pub struct Admin {
    raw: Raw,
    /// Topics of the run that are not acknowledged yet.
    to_found: Vec<TopicOptions>,
    /// Number of brokers that hold replicas, and the fewest replicas of a partition.
    brokers: u64,
    replicas_min: u64,
    doing: Option<Doing>,
    /// Topics that come and go, and whether each is there; one whose state is not known is left alone.
    churned: BTreeMap<String, bool>,
    names: u64,
    next: Instant,
    every: u64,
    moves: Moves,
    dice: Dice,
}

impl Admin {
    /// Makes the topics of the run and then others.
    #[must_use]
    pub fn new(options: &Options, mut dice: Dice) -> Self {
        let every = dice.pick(&[20_000, 200_000, 1_000_000]);
        Self {
            raw: Raw::new(options.cluster.brokers),
            to_found: options.topics.clone(),
            brokers: options.data_brokers() as u64,
            replicas_min: options.replicas_min(),
            doing: None,
            churned: BTreeMap::new(),
            names: 0,
            next: Instant::ZERO,
            every,
            moves: Moves::new(options),
            dice,
        }
    }

    /// Whether the topics of the run are there.
    #[must_use]
    pub fn has_founded(&self) -> bool {
        self.to_found.is_empty()
    }

    fn begin(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(topic) = self.to_found.last() {
            let request = create(topic.name, (topic.partitions, topic.replicas as u64), &configs(topic));
            self.doing = Some(Doing::Found(topic.name.to_owned()));
            self.raw.ask(cx.now, CREATE, &request);
            return true;
        }
        if self.begin_move(cx) {
            return true;
        }
        if cx.calm || self.next > cx.now.instant {
            return false;
        }
        self.next = cx.now.instant.after(Duration::from_micros(1 + self.dice.below(self.every)));
        let known = self.dice.below(self.churned.len() as u64 + 1);
        let known = usize::try_from(known).ok().and_then(|at| self.churned.iter().nth(at));
        let known = known.map(|(name, there)| (name.clone(), *there));
        let doing = match known {
            _ if self.dice.chance(30) => Doing::Look,
            Some((name, true)) => Doing::Delete(name),
            Some((name, false)) => Doing::Create(name),
            None if self.names < 30 => {
                self.names += 1;
                Doing::Create(format!("churn-{}", self.names))
            }
            None => Doing::Look,
        };
        match &doing {
            Doing::Create(name) | Doing::Found(name) => {
                cx.history.churned.entry(name.clone()).or_default().deleted = false;
                let partitions = i32::try_from(self.dice.between(1, 2)).unwrap_or(1);
                let replicas = if self.brokers == 1 { 1 } else { self.dice.between(self.replicas_min, self.brokers) };
                self.raw.ask(cx.now, CREATE, &create(name, (partitions, replicas), &[]));
            }
            Doing::Delete(name) => {
                cx.history.churned.entry(name.clone()).or_default().created = false;
                let names = vec![TopicName(StrBytes::from_string(name.clone()))];
                let request = DeleteTopicsRequest::default().with_topic_names(names).with_timeout_ms(2_000);
                self.raw.ask(cx.now, DELETE, &request);
            }
            Doing::Look | Doing::Move | Doing::ListMoves => {
                self.raw.ask(cx.now, METADATA, &MetadataRequest::default().with_topics(None));
            }
        }
        self.doing = Some(doing);
        true
    }

    /// Moves something, or asks what is under way.
    fn begin_move(&mut self, cx: &Context<'_>) -> bool {
        if cx.calm && self.moves.asks(cx.now.instant) {
            self.raw.ask(cx.now, moves::LIST, &Moves::list());
            self.doing = Some(Doing::ListMoves);
            return true;
        }
        if cx.calm {
            return false;
        }
        let others: Vec<String> =
            self.churned.iter().filter(|(_, is_there)| **is_there).map(|(name, _)| name.clone()).collect();
        let Some((version, request)) = self.moves.draw(cx.now.instant, &mut self.dice, &others) else { return false };
        if self.dice.chance(10) {
            self.raw.ask(cx.now, moves::LIST, &Moves::list());
            self.doing = Some(Doing::ListMoves);
        } else {
            self.raw.ask(cx.now, version, &request);
            self.doing = Some(Doing::Move);
        }
        true
    }

    fn finish(&mut self, cx: &mut Context<'_>, doing: Doing, reply: Reply) {
        let body = match reply {
            Reply::Body(body) => Some(body),
            Reply::Unknown => None,
        };
        match doing {
            Doing::Found(name) => {
                let code = body.and_then(created);
                if matches!(code, Some(ErrorCode::None | ErrorCode::TopicAlreadyExists)) {
                    self.to_found.retain(|topic| topic.name != name);
                    cx.history.churned.entry(name).or_default().created = true;
                }
            }
            Doing::Create(name) => match body.and_then(created) {
                Some(ErrorCode::None) => {
                    cx.history.churned.entry(name.clone()).or_default().created = true;
                    self.churned.insert(name, true);
                }
                _ => drop(self.churned.remove(&name)),
            },
            Doing::Delete(name) => match body.and_then(deleted) {
                Some(ErrorCode::None) => {
                    cx.history.churned.entry(name.clone()).or_default().deleted = true;
                    self.churned.insert(name, false);
                }
                _ => drop(self.churned.remove(&name)),
            },
            // Whatever came of it: what is named in the end is where the partitions have to be.
            Doing::Move => {}
            Doing::ListMoves => body.into_iter().for_each(|body| self.moves.listed(cx.calm, body)),
            Doing::Look => {
                if let Some(mut body) = body
                    && let Ok(response) = MetadataResponse::decode(&mut body, METADATA)
                {
                    look(cx, &response);
                }
            }
        }
    }
}

/// Compares what a Metadata response lists with what was acknowledged.
fn look(cx: &mut Context<'_>, response: &MetadataResponse) {
    // One of several brokers may be cut off, and shows what it knows.
    if cx.options.is_cluster() {
        return;
    }
    let there: Vec<String> =
        response.topics.iter().filter_map(|topic| Some(topic.name.as_ref()?.to_string())).collect();
    let names: Vec<String> = cx.history.churned.keys().cloned().collect();
    for name in names {
        let exists = there.contains(&name);
        let result = metadata::check(cx.history, &name, exists);
        cx.history.check(result);
    }
}

fn created(mut body: Bytes) -> Option<ErrorCode> {
    let response = CreateTopicsResponse::decode(&mut body, CREATE).ok()?;
    response.topics.first().map(|topic| ErrorCode::from_code(topic.error_code))
}

fn deleted(mut body: Bytes) -> Option<ErrorCode> {
    let response = DeleteTopicsResponse::decode(&mut body, DELETE).ok()?;
    response.responses.first().map(|topic| ErrorCode::from_code(topic.error_code))
}

fn create(name: &str, (partitions, replicas): (i32, u64), configs: &[(&'static str, String)]) -> CreateTopicsRequest {
    let config = |(key, value): &(&'static str, String)| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_static_str(key))
            .with_value(Some(StrBytes::from_string(value.clone())))
    };
    let topic = CreatableTopic::default()
        .with_name(TopicName(StrBytes::from_string(name.to_owned())))
        .with_num_partitions(partitions)
        .with_replication_factor(i16::try_from(replicas).unwrap_or(1))
        .with_configs(configs.iter().map(config).collect());
    CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(2_000)
}

fn configs(topic: &TopicOptions) -> Vec<(&'static str, String)> {
    let mut configs = vec![
        ("flush.messages", topic.flush_messages.to_string()),
        ("flush.ms", topic.flush_ms.to_string()),
        ("segment.bytes", topic.segment_bytes.to_string()),
        ("index.interval.bytes", topic.index_interval_bytes.to_string()),
        ("retention.ms", "-1".to_owned()),
        ("file.delete.delay.ms", "100".to_owned()),
    ];
    if topic.replicas > 1 {
        configs.push(("min.insync.replicas", topic.min_in_sync.to_string()));
        configs.push(("ack.policy", if topic.quorum { "quorum" } else { "isr" }.to_owned()));
        configs.push(("unclean.recovery.strategy", if topic.manual { "manual" } else { "unanimous" }.to_owned()));
    }
    configs
}

impl Client for Admin {
    fn wire(&mut self) -> &mut dyn Wire {
        &mut self.raw
    }

    fn work(&mut self, cx: &mut Context<'_>) -> bool {
        let mut busy = false;
        if let Some(reply) = self.raw.reply()
            && let Some(doing) = self.doing.take()
        {
            self.finish(cx, doing, reply);
            busy = true;
        }
        if self.raw.is_free() && self.doing.is_none() {
            busy |= self.begin(cx);
        }
        busy
    }

    fn wake(&self) -> Instant {
        if self.doing.is_some() { Instant::NEVER } else { self.next.min(self.moves.next()) }
    }

    fn missing(&mut self, _ends: &BTreeMap<Part, Offset>) -> Option<String> {
        let moves = || (!self.moves.are_settled()).then(|| "administrator: partitions are being moved".to_owned());
        self.doing.as_ref().map(|doing| format!("administrator: {doing:?}")).or_else(moves)
    }
}
