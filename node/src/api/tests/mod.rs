//! The APIs of the data path, spoken to in their own protocol.

mod delete_records;
mod fetch;
mod fetch_consumer;
mod fetch_session;
mod followers;
mod init_producer_id;
mod leaders;
mod list_offsets;
mod produce;
