//! The shape of the responses this client reads: where their arrays are, per version (Kafka's message definitions).

use kafka_protocol::messages::ApiKey;

/// Shape of one response.
pub(super) struct Schema {
    /// First version with compact lengths and tagged fields (KIP-482).
    pub(super) flexible_from: i16,
    /// The fields in order.
    pub(super) fields: &'static [Field],
}

/// A field, or a run of fields of fixed length.
pub(super) struct Field {
    from: i16,
    to: i16,
    /// Number of a tagged field.
    pub(super) tag: Option<u32>,
    /// What it holds.
    pub(super) kind: Kind,
}

/// What a field holds.
pub(super) enum Kind {
    /// So many bytes.
    Fixed(usize),
    /// A string, or null.
    Text,
    /// Bytes, or null.
    Bytes,
    /// An array of numbers of so many bytes each.
    Numbers(usize),
    /// An array of structs, or null.
    Array(&'static [Field]),
    /// A struct.
    Struct(&'static [Field]),
}

impl Field {
    /// Whether `version` has the field.
    pub(super) fn has(&self, version: i16) -> bool {
        (self.from..=self.to).contains(&version)
    }
}

const fn always(kind: Kind) -> Field {
    Field { from: 0, to: i16::MAX, tag: None, kind }
}

const fn from(from: i16, kind: Kind) -> Field {
    Field { from, to: i16::MAX, tag: None, kind }
}

const fn between(from: i16, to: i16, kind: Kind) -> Field {
    Field { from, to, tag: None, kind }
}

const fn tagged(from: i16, tag: u32, kind: Kind) -> Field {
    Field { from, to: i16::MAX, tag: Some(tag), kind }
}

use Kind::{Array, Bytes, Fixed, Numbers, Struct, Text};

const ENDPOINTS: Kind = Array(&[always(Fixed(4)), always(Text), always(Fixed(4)), always(Text)]);

const PRODUCE: &[Field] = &[
    always(Array(&[
        always(Text),
        always(Array(&[
            always(Fixed(22)),
            from(5, Fixed(8)),
            from(8, Array(&[always(Fixed(4)), always(Text)])),
            from(8, Text),
            tagged(10, 0, Struct(&[always(Fixed(8))])),
        ])),
    ])),
    always(Fixed(4)),
    tagged(10, 0, ENDPOINTS),
];

const FETCH: &[Field] = &[
    always(Fixed(4)),
    from(7, Fixed(6)),
    always(Array(&[
        between(0, 12, Text),
        from(13, Fixed(16)),
        always(Array(&[
            always(Fixed(22)),
            from(5, Fixed(8)),
            always(Array(&[always(Fixed(16))])),
            from(11, Fixed(4)),
            always(Bytes),
            tagged(12, 0, Struct(&[always(Fixed(12))])),
            tagged(12, 1, Struct(&[always(Fixed(8))])),
            tagged(12, 2, Struct(&[always(Fixed(12))])),
        ])),
    ])),
    tagged(16, 0, ENDPOINTS),
];

const LIST_OFFSETS: &[Field] =
    &[from(2, Fixed(4)), always(Array(&[always(Text), always(Array(&[always(Fixed(22)), from(4, Fixed(4))]))]))];

const METADATA: &[Field] = &[
    from(3, Fixed(4)),
    always(Array(&[always(Fixed(4)), always(Text), always(Fixed(4)), always(Text)])),
    from(2, Text),
    always(Fixed(4)),
    always(Array(&[
        always(Fixed(2)),
        always(Text),
        from(10, Fixed(16)),
        always(Fixed(1)),
        always(Array(&[
            always(Fixed(10)),
            from(7, Fixed(4)),
            always(Numbers(4)),
            always(Numbers(4)),
            from(5, Numbers(4)),
        ])),
        from(8, Fixed(4)),
    ])),
    between(8, 10, Fixed(4)),
];

const COMMITTED: &[Field] =
    &[always(Text), always(Array(&[always(Fixed(12)), from(5, Fixed(4)), always(Text), always(Fixed(2))]))];

const OFFSET_FETCH: &[Field] = &[
    from(3, Fixed(4)),
    between(0, 7, Array(COMMITTED)),
    between(2, 7, Fixed(2)),
    from(8, Array(&[always(Text), always(Array(COMMITTED)), always(Fixed(2))])),
];

const FIND_COORDINATOR: &[Field] = &[
    from(1, Fixed(4)),
    between(0, 3, Fixed(2)),
    between(1, 3, Text),
    between(0, 3, Fixed(4)),
    between(0, 3, Text),
    between(0, 3, Fixed(4)),
    from(4, Array(&[always(Text), always(Fixed(4)), always(Text), always(Fixed(6)), always(Text)])),
];

const JOIN_GROUP: &[Field] = &[
    from(2, Fixed(4)),
    always(Fixed(6)),
    from(7, Text),
    always(Text),
    always(Text),
    from(9, Fixed(1)),
    always(Text),
    always(Array(&[always(Text), from(5, Text), always(Bytes)])),
];

const LEAVE_GROUP: &[Field] =
    &[from(1, Fixed(4)), always(Fixed(2)), from(3, Array(&[always(Text), always(Text), always(Fixed(2))]))];

const SYNC_GROUP: &[Field] = &[from(1, Fixed(4)), always(Fixed(2)), from(5, Text), from(5, Text), always(Bytes)];

const DESCRIBE_GROUPS: &[Field] = &[
    from(1, Fixed(4)),
    always(Array(&[
        always(Fixed(2)),
        always(Text),
        always(Text),
        always(Text),
        always(Text),
        always(Array(&[always(Text), from(4, Text), always(Text), always(Text), always(Bytes), always(Bytes)])),
        from(3, Fixed(4)),
    ])),
];

const LIST_GROUPS: &[Field] =
    &[from(1, Fixed(4)), always(Fixed(2)), always(Array(&[always(Text), always(Text), from(4, Text)]))];

const FEATURES: Kind = Array(&[always(Text), always(Fixed(4))]);

const API_VERSIONS: &[Field] = &[
    always(Fixed(2)),
    always(Array(&[always(Fixed(6))])),
    from(1, Fixed(4)),
    tagged(3, 0, FEATURES),
    tagged(3, 1, Fixed(8)),
    tagged(3, 2, FEATURES),
    tagged(3, 3, Fixed(1)),
];

const CREATE_TOPICS: &[Field] = &[
    always(Fixed(4)),
    always(Array(&[
        always(Text),
        from(7, Fixed(16)),
        always(Fixed(2)),
        always(Text),
        tagged(5, 0, Fixed(2)),
        from(5, Fixed(6)),
        from(5, Array(&[always(Text), always(Text), always(Fixed(3))])),
    ])),
];

const DELETE_TOPICS: &[Field] =
    &[from(1, Fixed(4)), always(Array(&[always(Text), from(6, Fixed(16)), always(Fixed(2)), from(5, Text)]))];

const DELETE_RECORDS: &[Field] =
    &[always(Fixed(4)), always(Array(&[always(Text), always(Array(&[always(Fixed(14))]))]))];

const OFFSET_FOR_LEADER_EPOCH: &[Field] =
    &[always(Fixed(4)), always(Array(&[always(Text), always(Array(&[always(Fixed(18))]))]))];

const DESCRIBE_CONFIGS: &[Field] = &[
    always(Fixed(4)),
    always(Array(&[
        always(Fixed(2)),
        always(Text),
        always(Fixed(1)),
        always(Text),
        always(Array(&[
            always(Text),
            always(Text),
            always(Fixed(3)),
            always(Array(&[always(Text), always(Text), always(Fixed(1))])),
            from(3, Fixed(1)),
            from(3, Text),
        ])),
    ])),
];

const ALTER_CONFIGS: &[Field] =
    &[always(Fixed(4)), always(Array(&[always(Fixed(2)), always(Text), always(Fixed(1)), always(Text)]))];

const CREATE_PARTITIONS: &[Field] = &[always(Fixed(4)), always(Array(&[always(Text), always(Fixed(2)), always(Text)]))];

const DELETE_GROUPS: &[Field] = &[always(Fixed(4)), always(Array(&[always(Text), always(Fixed(2))]))];

const OFFSET_COMMIT: &[Field] =
    &[from(3, Fixed(4)), always(Array(&[always(Text), always(Array(&[always(Fixed(6))]))]))];

const HEARTBEAT: &[Field] = &[from(1, Fixed(4)), always(Fixed(2))];

const INIT_PRODUCER_ID: &[Field] = &[always(Fixed(16))];

const OFFSET_DELETE: &[Field] = &[always(Fixed(6)), always(Array(&[always(Text), always(Array(&[always(Fixed(6))]))]))];

/// The schema of the responses of `api`, `None` for what this client never asks.
pub(super) fn schema(api: ApiKey) -> Option<Schema> {
    let (flexible_from, fields) = match api {
        ApiKey::Produce => (9, PRODUCE),
        ApiKey::Fetch => (12, FETCH),
        ApiKey::ListOffsets => (6, LIST_OFFSETS),
        ApiKey::Metadata => (9, METADATA),
        ApiKey::OffsetCommit => (8, OFFSET_COMMIT),
        ApiKey::OffsetFetch => (6, OFFSET_FETCH),
        ApiKey::FindCoordinator => (3, FIND_COORDINATOR),
        ApiKey::JoinGroup => (6, JOIN_GROUP),
        ApiKey::Heartbeat => (4, HEARTBEAT),
        ApiKey::LeaveGroup => (4, LEAVE_GROUP),
        ApiKey::SyncGroup => (4, SYNC_GROUP),
        ApiKey::DescribeGroups => (5, DESCRIBE_GROUPS),
        ApiKey::ListGroups => (3, LIST_GROUPS),
        ApiKey::ApiVersions => (3, API_VERSIONS),
        ApiKey::CreateTopics => (5, CREATE_TOPICS),
        ApiKey::DeleteTopics => (4, DELETE_TOPICS),
        ApiKey::DeleteRecords => (2, DELETE_RECORDS),
        ApiKey::InitProducerId => (2, INIT_PRODUCER_ID),
        ApiKey::OffsetForLeaderEpoch => (4, OFFSET_FOR_LEADER_EPOCH),
        ApiKey::DescribeConfigs => (4, DESCRIBE_CONFIGS),
        ApiKey::IncrementalAlterConfigs => (1, ALTER_CONFIGS),
        ApiKey::CreatePartitions => (2, CREATE_PARTITIONS),
        ApiKey::DeleteGroups => (2, DELETE_GROUPS),
        ApiKey::OffsetDelete => (i16::MAX, OFFSET_DELETE),
        _ => return None,
    };
    Some(Schema { flexible_from, fields })
}
