//! The administrative client on tokio.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::ResponseKind;
use millrace_types::{ErrorCode, Offset};
use tokio::sync::oneshot;

use super::{
    ClusterDescription, ConfigChange, ConfigEntry, GroupDescription, GroupListing, NewTopic, Outcomes, Resource,
    TopicDescription,
};
use crate::config::ClientConfig;
use crate::core::Random;
use crate::core::admin::{AdminCore, AdminEvent, AdminRequest, LookupKey, build, coordinator_of, read};
use crate::core::call::CallId;
use crate::core::cluster::Target;
use crate::core::lookup::Told;
use crate::error::{ClientError, Result};
use crate::model::{FoundOffset, OffsetAndMetadata, OffsetSpec, TopicPartition};
use crate::net::{Front, Host, seed};

/// The core and who waits for it.
struct AdminFront {
    core: AdminCore,
    calls: BTreeMap<CallId, oneshot::Sender<Result<ResponseKind>>>,
    lookups: BTreeMap<LookupKey, oneshot::Sender<Told>>,
}

impl Front for AdminFront {
    type Machine = AdminCore;

    fn machine(&mut self) -> &mut AdminCore {
        &mut self.core
    }

    fn deliver(&mut self, event: AdminEvent) {
        // A receiver that is gone has lost interest: nothing is left to do.
        match event {
            AdminEvent::Call(id, result) => {
                if let Some(waiting) = self.calls.remove(&id) {
                    let _gone = waiting.send(*result);
                }
            }
            AdminEvent::Lookup(id, told) => {
                if let Some(waiting) = self.lookups.remove(&id) {
                    let _gone = waiting.send(told);
                }
            }
        }
    }
}

/// Administers a cluster. Clones share one connection set, which ends with the last of them.
#[derive(Clone)]
pub struct Admin {
    host: Arc<Host<AdminFront>>,
    timeout: Duration,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl Admin {
    /// A client with this configuration. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The configuration contradicts itself. That no broker can be reached shows at the first call.
    #[expect(clippy::unused_async, reason = "the signature says that a runtime is needed")]
    pub async fn connect(config: ClientConfig) -> Result<Self> {
        let core = AdminCore::new(config.clone(), Random::new(seed()))?;
        let front = AdminFront { core, calls: BTreeMap::new(), lookups: BTreeMap::new() };
        Ok(Self { host: Host::start(front, &config), timeout: config.request_timeout })
    }

    /// Creates topics; `validate_only` checks and changes nothing.
    ///
    /// # Errors
    /// No broker answered in time. What is wrong with one topic is its own outcome.
    pub async fn create_topics(&self, topics: &[NewTopic], validate_only: bool) -> Result<Outcomes<String, ()>> {
        read::topics(self.call(Target::Any, AdminRequest::CreateTopics(topics, validate_only)).await?)
    }

    /// Deletes topics.
    ///
    /// # Errors
    /// No broker answered in time. What is wrong with one topic is its own outcome.
    pub async fn delete_topics(&self, topics: &[&str]) -> Result<Outcomes<String, ()>> {
        read::topics(self.call(Target::Any, AdminRequest::DeleteTopics(topics)).await?)
    }

    /// All topics, by name.
    ///
    /// # Errors
    /// No broker answered in time.
    pub async fn list_topics(&self) -> Result<Vec<TopicDescription>> {
        let (_, topics) = read::metadata(self.call(Target::Any, AdminRequest::Metadata(None)).await?)?;
        Ok(topics.into_iter().filter_map(|(_, topic)| topic.ok()).collect())
    }

    /// These topics.
    ///
    /// # Errors
    /// No broker answered in time. What is wrong with one topic is its own outcome.
    pub async fn describe_topics(&self, topics: &[&str]) -> Result<Outcomes<String, TopicDescription>> {
        Ok(read::metadata(self.call(Target::Any, AdminRequest::Metadata(Some(topics))).await?)?.1)
    }

    /// Gives topics more partitions: (topic, total number afterwards).
    ///
    /// # Errors
    /// No broker answered in time. What is wrong with one topic is its own outcome.
    pub async fn create_partitions(&self, topics: &[(&str, i32)], validate_only: bool) -> Result<Outcomes<String, ()>> {
        read::topics(self.call(Target::Any, AdminRequest::CreatePartitions(topics, validate_only)).await?)
    }

    /// Deletes the records below an offset per partition (-1: all); answers the log start offsets afterwards.
    ///
    /// # Errors
    /// The client is closed. What is wrong with one partition is its own outcome.
    pub async fn delete_records(
        &self,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<Outcomes<TopicPartition, Offset>> {
        let told = self.lookup(|core, now| core.delete_records(now, offsets)).await?;
        Ok(told.into_iter().map(|(partition, told)| (partition, told.map(|found| found.offset))).collect())
    }

    /// The cluster: id and brokers.
    ///
    /// # Errors
    /// No broker answered in time.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription> {
        Ok(read::metadata(self.call(Target::Any, AdminRequest::Metadata(Some(&[]))).await?)?.0)
    }

    /// The configuration of resources. That of a broker is asked from the broker itself.
    ///
    /// # Errors
    /// No broker answered in time. What is wrong with one resource is its own outcome.
    pub async fn describe_configs(&self, resources: &[Resource]) -> Result<Outcomes<Resource, Vec<ConfigEntry>>> {
        let mut outcomes = Vec::with_capacity(resources.len());
        for (target, resources) in self.by_target(resources.iter().map(|resource| (resource, resource.clone()))).await?
        {
            let response = self.call(target, AdminRequest::DescribeConfigs(&resources)).await?;
            outcomes.extend(read::configs(&resources, response)?);
        }
        Ok(outcomes)
    }

    /// Changes the configuration of resources. That of a broker is changed at the broker itself.
    ///
    /// # Errors
    /// No broker answered in time. What is wrong with one resource is its own outcome.
    pub async fn alter_configs(
        &self,
        changes: &[(Resource, Vec<ConfigChange>)],
        validate_only: bool,
    ) -> Result<Outcomes<Resource, ()>> {
        let mut outcomes = Vec::with_capacity(changes.len());
        for (target, changes) in self.by_target(changes.iter().map(|change| (&change.0, change.clone()))).await? {
            let response = self.call(target, AdminRequest::AlterConfigs(&changes, validate_only)).await?;
            let resources: Vec<Resource> = changes.into_iter().map(|(resource, _)| resource).collect();
            outcomes.extend(read::altered(&resources, response)?);
        }
        Ok(outcomes)
    }

    /// All groups of all brokers, by id.
    ///
    /// # Errors
    /// A broker did not answer in time, or is not reached: `COORDINATOR_NOT_AVAILABLE`, with its number.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>> {
        let brokers = self.brokers().await?;
        let mut groups = Vec::new();
        for broker in brokers {
            let listed = self.call(Target::Broker(broker), AdminRequest::ListGroups).await;
            // Some broker has answered, and has named this one: it is this one that is away, with the groups that it keeps.
            let listed = listed.map_err(|error| match error {
                ClientError::NoBroker { reason, .. } => {
                    let message =
                        format!("broker {broker} is not reached, and the groups that it keeps are not known: {reason}");
                    ClientError::broker_with("ListGroups", ErrorCode::CoordinatorNotAvailable, Some(&message))
                }
                other => other,
            });
            groups.extend(read::groups(listed?)?);
        }
        groups.sort_by(|a, b| a.group.cmp(&b.group));
        groups.dedup_by(|a, b| a.group == b.group);
        Ok(groups)
    }

    /// These groups.
    ///
    /// # Errors
    /// The client is closed. What is wrong with one group is its own outcome.
    pub async fn describe_groups(&self, groups: &[&str]) -> Result<Outcomes<String, GroupDescription>> {
        let mut outcomes = Vec::with_capacity(groups.len());
        for group in groups {
            let answer = self.call(coordinator_of(group), AdminRequest::DescribeGroup(group)).await;
            let coordinator = self.host.peek(|front, _| front.core.coordinator(group)).unwrap_or(-1);
            outcomes.push(((*group).to_owned(), answer.and_then(|response| read::group(response, coordinator))));
        }
        Ok(outcomes)
    }

    /// Deletes groups without members.
    ///
    /// # Errors
    /// The client is closed. What is wrong with one group is its own outcome.
    pub async fn delete_groups(&self, groups: &[&str]) -> Result<Outcomes<String, ()>> {
        let mut outcomes = Vec::with_capacity(groups.len());
        for group in groups {
            let answer = self.call(coordinator_of(group), AdminRequest::DeleteGroup(group)).await;
            outcomes.push(((*group).to_owned(), answer.and_then(read::deleted_group)));
        }
        Ok(outcomes)
    }

    /// The offsets a group has committed.
    ///
    /// # Errors
    /// The coordinator refused or did not answer in time.
    pub async fn group_offsets(&self, group: &str) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>> {
        read::committed(self.call(coordinator_of(group), AdminRequest::GroupOffsets(group)).await?)
    }

    /// Commits offsets for a group without members.
    ///
    /// # Errors
    /// The coordinator did not answer in time. What is wrong with one partition is its own outcome.
    pub async fn alter_group_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
    ) -> Result<Outcomes<TopicPartition, ()>> {
        read::partitions(self.call(coordinator_of(group), AdminRequest::AlterGroupOffsets(group, offsets)).await?)
    }

    /// Deletes committed offsets of partitions that no member is subscribed to.
    ///
    /// # Errors
    /// The coordinator refused or did not answer in time. What is wrong with one partition is its own outcome.
    pub async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Outcomes<TopicPartition, ()>> {
        let request = AdminRequest::DeleteGroupOffsets(group, partitions);
        read::partitions(self.call(coordinator_of(group), request).await?)
    }

    /// The offsets that `specs` name.
    ///
    /// # Errors
    /// The client is closed. What is wrong with one partition is its own outcome.
    pub async fn offsets(
        &self,
        specs: &BTreeMap<TopicPartition, OffsetSpec>,
    ) -> Result<Outcomes<TopicPartition, FoundOffset>> {
        Ok(self.lookup(|core, now| core.offsets(now, specs)).await?.into_iter().collect())
    }

    /// Waits until every partition of `topic` has a leader, at most `timeout`.
    ///
    /// # Errors
    /// The topic is not there, or a leader is missing, after that time.
    pub async fn wait_for_topic(&self, topic: &str, timeout: Duration) -> Result<TopicDescription> {
        let end = tokio::time::Instant::now() + timeout;
        let mut pause = Duration::from_millis(10);
        loop {
            let described = self.describe_topics(&[topic]).await?.into_iter().next().map(|(_, described)| described);
            let missing = match described {
                Some(Ok(described)) if described.partitions.iter().all(|partition| partition.leader >= 0) => {
                    return Ok(described);
                }
                Some(Err(error)) if !error.is_retriable() => return Err(error),
                Some(Err(error)) => Some(error),
                Some(Ok(_)) | None => None,
            };
            if tokio::time::Instant::now() + pause >= end {
                return Err(ClientError::timeout("waiting for the topic's leaders", missing));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }

    /// Closes the connections; calls under way fail.
    #[expect(clippy::unused_async, reason = "closing may have to wait for brokers in a later version of the protocol")]
    pub async fn close(self) {
        self.host.with(|front, now| front.core.close(now));
        self.host.shut();
    }

    /// The brokers' numbers, which the core learns by the way.
    async fn brokers(&self) -> Result<BTreeSet<i32>> {
        let cluster = self.describe_cluster().await?;
        self.host.peek(|front, _| front.core.learn_brokers(&cluster.brokers));
        Ok(cluster.brokers.iter().map(|broker| broker.id).collect())
    }

    /// Items by the broker that has to be asked about their resources.
    async fn by_target<'a, T>(&self, items: impl Iterator<Item = (&'a Resource, T)>) -> Result<Vec<(Target, Vec<T>)>> {
        let mut any = Vec::new();
        let mut brokers: BTreeMap<i32, Vec<T>> = BTreeMap::new();
        for (resource, item) in items {
            match resource {
                Resource::Broker(Some(broker)) => brokers.entry(*broker).or_default().push(item),
                _ => any.push(item),
            }
        }
        if !brokers.is_empty() {
            let known = self.brokers().await?;
            if let Some(missing) = brokers.keys().find(|broker| !known.contains(broker)) {
                return Err(ClientError::config(format!("there is no broker {missing}")));
            }
        }
        let brokers = brokers.into_iter().map(|(broker, items)| (Target::Broker(broker), items));
        Ok([(Target::Any, any)].into_iter().chain(brokers).filter(|(_, items)| !items.is_empty()).collect())
    }

    async fn call(&self, target: Target, request: AdminRequest<'_>) -> Result<ResponseKind> {
        let (send, receive) = oneshot::channel();
        let request = build(request, self.timeout);
        self.host.with(|front, now| {
            let id = front.core.call(now, target, request);
            front.calls.insert(id, send);
        });
        receive.await.unwrap_or(Err(ClientError::Closed))
    }

    async fn lookup(&self, begin: impl FnOnce(&mut AdminCore, millrace_types::Now) -> LookupKey) -> Result<Told> {
        let (send, receive) = oneshot::channel();
        self.host.with(|front, now| {
            let id = begin(&mut front.core, now);
            front.lookups.insert(id, send);
        });
        receive.await.map_err(|_| ClientError::Closed)
    }
}
