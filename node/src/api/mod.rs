//! One file per API key: decode, decide, call other cores, answer.
//!
//! A handler gets a [`Context`] and the request's body and returns a [`Step`]: the response, no response, or a
//! [`Waiting`] that is resumed with each answer to the calls it made. Handlers keep no state of their own between
//! requests; what a connection remembers is in its [`Session`](crate::connection::Session).

mod alter_configs;
mod alter_partition_reassignments;
mod alter_replica_log_dirs;
mod api_versions;
mod authorized;
mod config_resource;
mod context;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_quorum;
mod describe_topic_partitions;
mod elect_leaders;
mod features;
mod fetch;
mod find_coordinator;
mod groups;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leaders;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod lookup;
mod metadata;
mod metadata_call;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod step;
mod sync_group;
mod table;
#[cfg(test)]
mod tests;

pub use context::Context;
pub use step::{Resume, Step, Waiting};
pub use table::{APIS, Api, api};
