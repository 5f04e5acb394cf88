//! The producer id and its epoch: asked for once, raised by the client itself when a partition starts over (KIP-360).

use kafka_protocol::messages::{InitProducerIdRequest, RequestKind, ResponseKind};
use millrace_types::{ErrorCode, Instant};

use super::ProducerCore;
use super::queue::Identity;
use crate::core::call::CallId;
use crate::core::cluster::Target;
use crate::error::{ClientError, Result};

/// What is known of the producer's identity.
#[derive(Debug)]
pub(super) struct Identities {
    enabled: bool,
    current: Option<Identity>,
    asking: Option<CallId>,
}

impl Identities {
    pub(super) fn new(enabled: bool) -> Self {
        Self { enabled, current: None, asking: None }
    }

    /// The identity to stamp with: `None` while it is not known, `Some(None)` when batches are not stamped.
    pub(super) fn stamp(&self) -> Option<Option<Identity>> {
        if self.enabled { self.current.map(Some) } else { Some(None) }
    }

    pub(super) fn enabled(&self) -> bool {
        self.enabled
    }

    /// A partition has used up `spent`: the next stamps carry a higher epoch, or another producer id when there is no
    /// higher one.
    pub(super) fn raise(&mut self, spent: Option<Identity>) {
        if spent.is_none() || self.current != spent {
            return;
        }
        self.current = self.current.and_then(|current| {
            current.epoch.checked_add(1).filter(|epoch| *epoch < i16::MAX).map(|epoch| Identity { epoch, ..current })
        });
    }

    /// The brokers do not accept the identity any more.
    pub(super) fn renew(&mut self) {
        self.current = None;
    }
}

impl ProducerCore {
    /// Asks for a producer id when one is needed.
    pub(super) fn identify(&mut self, now: Instant) {
        let identities = &self.identities;
        let needed = identities.enabled && identities.current.is_none() && identities.asking.is_none();
        if !needed || self.accumulator.outstanding.is_empty() || self.fatal.is_some() {
            return;
        }
        let request =
            InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(i32::MAX);
        let deadline = now.after(self.config.delivery_timeout);
        let request = RequestKind::InitProducerId(request);
        self.identities.asking = Some(self.calls.begin(&self.cluster, Target::Any, request, deadline, None));
        self.calls.advance(now, &mut self.cluster);
    }

    /// Takes the answer in. A refusal makes the producer useless; a time-out is tried again for later batches.
    pub(super) fn identified(&mut self, now: Instant, result: Result<ResponseKind>) {
        self.identities.asking = None;
        let identity = match result {
            Ok(ResponseKind::InitProducerId(response)) => match ErrorCode::from_code(response.error_code) {
                ErrorCode::None => Ok(Identity { id: response.producer_id.0, epoch: response.producer_epoch }),
                code => Err(ClientError::broker("InitProducerId", code)),
            },
            Ok(_) => Err(ClientError::protocol("InitProducerId", "an answer to something else")),
            Err(error) => Err(error),
        };
        match identity {
            Ok(identity) => self.identities.current = Some(identity),
            Err(error) if error.is_retriable() => {}
            Err(error) => self.fail_everything(now, &error),
        }
    }
}
