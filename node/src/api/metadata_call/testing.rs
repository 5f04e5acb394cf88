//! A host for the admin APIs: it runs one handler at a time and answers its metadata commands on the spot.

use std::sync::Arc;

use bytes::BytesMut;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::{Decodable, Request, StrBytes};
use millrace_metadata::{Broker, BrokerRole, Command, Endpoint, Entry, Image, TopicIds, apply, plan};
use millrace_types::{BrokerId, ErrorCode};

use crate::api::{Context, Resume, Step, Waiting, api};
use crate::call::{Answer, Call, ConnectionId};
use crate::connection::{Origin, Outbox, Session};
use crate::testing::{DIRECTORY, LISTENER, World};
use crate::wire::Frame;

/// What becomes of the commands a handler sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    /// They are carried out.
    Works,
    /// They come back with this code.
    Gone(ErrorCode),
    /// They are never answered; the deadline passes.
    Silent,
}

/// A broker, seen through its admin APIs.
pub(crate) struct Admin {
    pub(crate) world: World,
    pub(crate) store: Store,
    /// The listener by which requests come in.
    pub(crate) listener: &'static str,
    /// Commands that the handlers have sent.
    pub(crate) commands: usize,
    ids: TopicIds,
}

impl Admin {
    pub(crate) fn new(config: &[(&str, &str)]) -> Self {
        let world = World::with_config(1, config);
        Self { world, store: Store::Works, listener: LISTENER, commands: 0, ids: TopicIds::new(99) }
    }

    pub(crate) fn image(&self) -> Arc<Image> {
        self.world.shared.directory.image()
    }

    /// Registers a further broker.
    pub(crate) fn broker(&mut self, id: i32) {
        let endpoint = Endpoint { listener: LISTENER.to_owned(), host: format!("broker-{id}.test"), port: 9092 };
        let broker = Broker {
            id: BrokerId(id),
            rack: Some("r".to_owned()),
            endpoints: vec![endpoint],
            directory: DIRECTORY,
            incarnation: 1,
            role: BrokerRole::Data,
        };
        self.world.change(Command::RegisterBroker(broker));
    }

    /// Publishes the image after `entry`.
    pub(crate) fn apply(&self, entry: &Entry) {
        let mut image = Image::clone(&self.image());
        apply(&mut image, entry).expect("the entry applies");
        self.world.shared.directory.publish_image(Arc::new(image));
    }

    /// Sends a request at `version` and reads its response back.
    pub(crate) fn request<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let mut body = BytesMut::new();
        request.encode(&mut body, version).expect("the request is encoded");
        let served = api(R::KEY).expect("the API is served");
        assert!((served.min..=served.max).contains(&version), "version {version} is not served");
        let origin = Origin { listener: Arc::from(self.listener), client_host: Arc::from("127.0.0.1") };
        let mut session = Session::new(ConnectionId(1), origin);
        let mut outbox = Outbox::default();
        let shared = Arc::clone(&self.world.shared);
        let mut cx = Context {
            now: self.world.now,
            directory: &shared.directory,
            settings: &shared.settings,
            session: &mut session,
            version,
            client_id: "test",
            shared: &shared,
            out: &mut outbox,
        };
        let frame = match (served.handle)(&mut cx, body.freeze()).expect("the request is handled") {
            Step::Reply(frame) => frame,
            Step::Wait(waiting) => self.wait(&mut cx, waiting),
            Step::Silent | Step::Close(_) => panic!("an admin request is answered"),
        };
        let mut bytes = frame.to_bytes();
        let response = R::Response::decode(&mut bytes, version).expect("the response is decoded");
        assert!(bytes.is_empty(), "nothing follows the response");
        response
    }

    fn wait(&mut self, cx: &mut Context<'_>, mut waiting: Box<dyn Waiting>) -> Frame {
        let calls = std::mem::take(&mut cx.out.calls);
        for (token, call) in calls {
            let Call::Metadata(command) = call else { panic!("admin requests ask the metadata store alone") };
            self.commands += 1;
            let Some(answer) = self.carry_out(command) else { continue };
            let stray = waiting.resume(cx, token + 1_000, Answer::Gone(ErrorCode::UnknownServerError));
            assert!(matches!(stray, Ok(Resume::Wait)), "the answer to another call is none of its own");
            if let Resume::Reply(frame) = waiting.resume(cx, token, answer).expect("the response is written") {
                return frame;
            }
        }
        assert!(waiting.deadline() > cx.now.instant && waiting.deadline() < millrace_types::Instant::NEVER);
        match waiting.expire(cx).expect("the response is written") {
            Resume::Reply(frame) => frame,
            Resume::Wait | Resume::Silent | Resume::Close(_) => panic!("a request that expires is answered"),
        }
    }

    fn carry_out(&mut self, command: Command) -> Option<Answer> {
        match self.store {
            Store::Works => {
                let planned = plan(&self.image(), &mut self.ids, command);
                if let Some(entry) = &planned.entry {
                    self.apply(entry);
                }
                Some(Answer::Metadata(planned.result))
            }
            Store::Gone(code) => Some(Answer::Gone(code)),
            Store::Silent => None,
        }
    }
}

/// A topic's name as the codec has it.
pub(crate) fn topic(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// A text as the codec has it.
pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
