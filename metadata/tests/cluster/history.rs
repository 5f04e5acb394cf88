//! What was chosen, and what clients were told: invariants I14 to I17.

use std::collections::BTreeMap;

use millrace_metadata::{Change, Command, CommandResult, Entry, Image, Local, TopicRecord, apply};
use millrace_types::ErrorCode;

use crate::world::Violated;

/// A command, from its client's side.
#[derive(Debug)]
struct Asked {
    at: u64,
    host: usize,
    name: String,
    command: Command,
    /// The greatest epoch that any client had been told before.
    floor: u64,
    answer: Option<(u64, u64, CommandResult)>,
}

pub(crate) struct History {
    /// The chosen entries from epoch 1, with the state after each.
    chosen: Vec<(Entry, Image)>,
    asked: BTreeMap<u64, Asked>,
    told: u64,
    rest: u64,
}

fn violated(invariant: &'static str, text: String) -> Result<(), Violated> {
    Err(Violated { invariant, text })
}

impl History {
    pub(crate) const fn new() -> Self {
        Self { chosen: Vec::new(), asked: BTreeMap::new(), told: 0, rest: u64::MAX }
    }

    pub(crate) fn next_ticket(&self) -> u64 {
        self.asked.len() as u64 + 1
    }

    pub(crate) const fn last(&self) -> u64 {
        self.chosen.len() as u64
    }

    pub(crate) fn state(&self, epoch: u64) -> Option<&Image> {
        Some(&self.chosen.get(epoch.checked_sub(1)? as usize)?.1)
    }

    /// I14, I15, I16: entries are durable at a broker.
    pub(crate) fn applied(&mut self, after: &Image, entries: &[Entry]) -> Result<(), Violated> {
        let first = after.epoch() - entries.len() as u64 + 1;
        for (epoch, entry) in (first..).zip(entries) {
            match self.chosen.get(epoch as usize - 1) {
                Some((known, _)) if known == entry => {}
                Some((known, _)) => return violated("I14", format!("epoch {epoch} is {entry:?}, and was {known:?}")),
                None => {
                    let mut image =
                        self.chosen.last().map_or_else(|| Image::new(Local::default()), |one| one.1.clone());
                    if image.epoch() + 1 != epoch {
                        return violated("I14", format!("epoch {epoch} was applied before the one in front of it"));
                    }
                    if let Err(error) = apply(&mut image, entry) {
                        return violated("I15", format!("epoch {epoch} does not apply: {error}"));
                    }
                    self.chosen.push((entry.clone(), image));
                }
            }
        }
        self.replaced(after)
    }

    /// I15, I16: a broker has this state, durably.
    pub(crate) fn replaced(&self, image: &Image) -> Result<(), Violated> {
        if let Err(text) = image.check() {
            return violated("I16", text);
        }
        match self.state(image.epoch()) {
            Some(known) if known.hash() == image.hash() => {}
            Some(known) => {
                return violated("I15", format!("epoch {}: {} and {}", image.epoch(), image.hash(), known.hash()));
            }
            None => return violated("I14", format!("epoch {} was chosen by nobody", image.epoch())),
        }
        let known = self.state(image.epoch()).expect("just looked at");
        if known.acceptors() != image.acceptors() || known.proposal() != image.proposal() {
            return violated("I15", format!("epoch {}: other acceptors or another owner", image.epoch()));
        }
        Ok(())
    }

    pub(crate) fn asked(&mut self, at: u64, ticket: u64, host: usize, name: String, command: Command) {
        self.asked.insert(ticket, Asked { at, host, name, command, floor: self.told, answer: None });
    }

    pub(crate) fn answered(&mut self, at: u64, ticket: u64, epoch: u64, result: CommandResult) {
        self.told = self.told.max(epoch);
        let asked = self.asked.get_mut(&ticket).expect("it was asked");
        assert!(asked.answer.is_none(), "{ticket} is answered twice");
        asked.answer = Some((at, epoch, result));
    }

    pub(crate) const fn begin_rest(&mut self, now: u64) {
        self.rest = now;
    }

    /// A command of the end that has no answer, or none but "not known".
    pub(crate) fn late(&self) -> Option<String> {
        let asked = self.asked.iter().filter(|(_, asked)| asked.at >= self.rest);
        asked
            .filter(|(_, asked)| asked.answer.as_ref().is_none_or(|(_, epoch, _)| *epoch == 0))
            .map(|(ticket, asked)| format!("{ticket} at broker {} has the answer {:?}", asked.host + 1, asked.answer))
            .next()
    }

    /// I17: every answer is explained by the epochs, and nothing was done twice.
    pub(crate) fn check(&self) -> Result<(), Violated> {
        for (ticket, asked) in &self.asked {
            if self.effects(*ticket) > 1 {
                return violated("I17", format!("{ticket} was carried out {} times", self.effects(*ticket)));
            }
            if let Some((_, epoch, result)) = &asked.answer
                && *epoch > 0
                && let Err(text) = self.explain(*ticket, asked, *epoch, result)
            {
                return violated("I17", format!("{ticket} {asked:?}: {text}"));
            }
        }
        Ok(())
    }

    /// How many changes carry the mark of a command.
    fn effects(&self, ticket: u64) -> usize {
        let mark = ticket.to_string();
        let carries = |change: &&Change| match change {
            Change::CreateTopic(TopicRecord { overrides, .. }) | Change::SetTopicConfig { overrides, .. } => {
                overrides.get("retention.ms") == Some(&mark)
            }
            _ => false,
        };
        self.chosen.iter().flat_map(|(entry, _)| &entry.changes).filter(carries).count()
    }

    fn explain(&self, ticket: u64, asked: &Asked, epoch: u64, result: &CommandResult) -> Result<(), String> {
        let Some(after) = self.state(epoch) else { return Err("its epoch was never chosen".to_owned()) };
        if epoch < asked.floor {
            return Err(format!("epoch {} had been told before it was asked", asked.floor));
        }
        let blank = Image::new(Local::default());
        let before = self.state(epoch - 1).unwrap_or(&blank);
        let changes = &self.chosen[epoch as usize - 1].0.changes;
        let there = |image: &Image| image.topic(&asked.name).is_some();
        let created = changes.iter().any(|one| matches!(one, Change::CreateTopic(topic) if topic.name == asked.name));
        let deleted = changes.iter().any(|one| matches!(one, Change::DeleteTopic { .. }));
        let (ok, effect) = match result {
            CommandResult::CreatedTopics(items) => match &items[0].1 {
                Ok(topic) => {
                    let by_this = |change: &Change| matches!(change, Change::CreateTopic(one) if one.id == topic.id);
                    (changes.iter().any(by_this), true)
                }
                Err(error) if error.code == ErrorCode::TopicAlreadyExists => {
                    (there(before) || there(after) || created, false)
                }
                Err(error) => return Err(format!("unexpected: {error}")),
            },
            CommandResult::DeletedTopics(items) => match &items[0].1 {
                Ok(topic) => {
                    let by_this = |change: &Change| matches!(change, Change::DeleteTopic { id } if *id == topic.id);
                    return if changes.iter().any(by_this) { Ok(()) } else { Err("no such deletion".to_owned()) };
                }
                Err(_) => (!there(before) || !there(after) || deleted, false),
            },
            CommandResult::SetConfigs(items) => match &items[0].1 {
                Ok(()) => (self.effects(ticket) == 1, true),
                Err(_) => (!there(before) || !there(after) || deleted, false),
            },
            _ => return Ok(()),
        };
        if !ok {
            return Err("the state says otherwise".to_owned());
        }
        if effect != (self.effects(ticket) == 1) {
            return Err("it was answered as the other of done and refused".to_owned());
        }
        if effect && epoch <= asked.floor {
            return Err(format!("its entry is not behind epoch {}, which had been told", asked.floor));
        }
        let _ = &asked.command;
        Ok(())
    }
}
