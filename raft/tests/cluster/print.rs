//! Events and messages in a line each.

use std::fmt::Display;

use millrace_raft::{
    Configuration, Effect, Envelope, FetchBody, FetchRequest, FetchResponse, Message, Record, ReplicaKey,
};

pub(crate) fn list<T: Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// What an effect tells, where that is worth a line.
pub(crate) fn effect(of: ReplicaKey, effect: &Effect, role: &str, talkative: bool) -> Option<String> {
    Some(match effect {
        Effect::Leadership { epoch, leader: Some(leader) } if *leader == of => format!("{of} leads epoch {epoch}"),
        Effect::Leadership { epoch, leader: Some(leader) } => format!("{of} follows {leader} in epoch {epoch}"),
        Effect::Leadership { epoch, leader: None } => format!("{of} {role} in epoch {epoch}"),
        Effect::HighWatermark(offset) => format!("{of} high watermark {offset}"),
        Effect::InSync(keys) if keys.is_empty() => return None,
        Effect::InSync(keys) => format!("{of} in sync [{}]", list(keys)),
        Effect::Truncate { to, epoch } => format!("{of} cuts its log to {to}, epochs above {epoch} go"),
        Effect::Reset { start, .. } => format!("{of} begins anew at {start}"),
        Effect::Recovered => format!("{of} has recovered"),
        Effect::Configured(configuration) => format!("{of} configuration {}", self::configuration(configuration)),
        Effect::ChangeRefused(_) => format!("{of} refuses the change"),
        Effect::TransferRefused { to } => format!("{of} does not hand over to {to}"),
        Effect::RaiseLogStart { start } => format!("{of} log start {start}"),
        Effect::Append { from, upto } => format!("{of} appends {from}..{upto}"),
        Effect::Put { records, .. } if talkative => {
            format!("{of} puts {}", records.iter().map(record).collect::<Vec<_>>().join(", "))
        }
        Effect::Put { .. } | Effect::Send { .. } | Effect::Serve { .. } => return None,
    })
}

fn record(record: &Record) -> String {
    match record {
        Record::Term { epoch, voted_for: Some(voted_for) } => format!("epoch {epoch} vote for {voted_for}"),
        Record::Term { epoch, voted_for: None } => format!("epoch {epoch} no vote"),
        Record::Epoch(marker) => format!("marker {marker}"),
        Record::Trunc { to, epoch } => format!("cut to {to} epoch {epoch}"),
        Record::Reset { start, .. } => format!("reset to {start}"),
        Record::Configuration(configuration) => format!("configuration {}", self::configuration(configuration)),
        Record::Volatile(volatile) => format!("volatile {volatile}"),
        Record::Recovering(recovering) => format!("recovering {recovering}"),
        Record::WitnessEnd(end) => format!("witness end {end}"),
    }
}

fn configuration(configuration: &Configuration) -> String {
    let voters: Vec<ReplicaKey> = configuration.voters.iter().map(|voter| voter.key).collect();
    let id = configuration.id;
    let learners_text = list(&configuration.learners);
    let learners = if configuration.learners.is_empty() { "" } else { " learners " };
    let voters = list(&voters);
    format!("{}.{}.{} voters [{voters}]{learners}{learners_text}", id.generation, id.epoch, id.version)
}

/// A message on its way.
pub(crate) fn message(envelope: &Envelope) -> String {
    let (from, to) = (envelope.from.key, envelope.to);
    let text = match &envelope.message {
        Message::Vote(request) => {
            let kind = if request.pre { "pre-vote" } else { "vote" };
            let transfer = request.transfer.map_or_else(String::new, |from| format!(" as successor of {from}"));
            format!("{kind}? epoch {} position {}{transfer}", request.epoch, request.position)
        }
        Message::VoteResponse(response) => {
            let kind = if response.pre { "pre-vote" } else { "vote" };
            let unclean = if response.recovering { ", recovering" } else { "" };
            match response.vote {
                Ok(()) => format!("{kind} granted in epoch {}{unclean}", response.asked),
                Err(denial) => format!("{kind} denied in epoch {}: {denial:?}", response.epoch),
            }
        }
        Message::BeginEpoch(begin) => format!("begin epoch {}", begin.epoch),
        Message::EndEpoch(end) => format!("end epoch {} successors [{}]", end.epoch, list(&end.successors)),
        Message::Fenced(fenced) => format!("fenced, epoch {}", fenced.epoch),
        Message::Fetch(request) => fetch(request),
        Message::FetchResponse(response) => answer(response),
        Message::Ack(ack) => {
            format!("ack {}{}", ack.acknowledged, if ack.recovering { ", recovering" } else { "" })
        }
        Message::Repair(request) => format!("repair? {} to {}", request.from, request.upto),
        Message::RepairResponse(response) => format!("repair from {}", response.from),
    };
    format!("{from} -> {to}: {text}")
}

fn fetch(request: &FetchRequest) -> String {
    let recovering = if request.recovering { ", recovering" } else { "" };
    let (position, acknowledged) = (request.position, request.acknowledged);
    format!("fetch epoch {} from {position} ack {acknowledged}{recovering}", request.epoch)
}

fn answer(response: &FetchResponse) -> String {
    match &response.body {
        FetchBody::NotLeader => format!("not leader, epoch {}", response.epoch),
        FetchBody::Diverging { epoch, end } => format!("diverging, epoch {epoch} ends at {end}"),
        FetchBody::Reset { start, .. } => format!("reset to {start}"),
        FetchBody::Records { upto, markers, .. } => {
            let from = response.position.offset;
            let markers = if markers.is_empty() { String::new() } else { format!(" epochs [{}]", list(markers)) };
            format!("records {from}..{upto}{markers} high watermark {}", response.high_watermark)
        }
    }
}
