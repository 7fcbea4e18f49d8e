//! The binary form of the few messages that travel as datagrams, with the bytes of MLS as they are: a byte for the
//! message, then its fields; numbers big-endian, lengths and counts in 16 bits, a byte 0 or 1 before what may be absent.

use super::{
    Blob, ChangeId, ChangeKind, ClientBody, ClientMessage, DeliveryEvent, DeliveryRequest,
    EntryKind, Identity, LogEntry, PendingChange, RemovalReason, ServerBody, ServerMessage,
};

const SUBMIT: u8 = 1;
const LEAVE: u8 = 2;
const ENTRY: u8 = 3;
const PENDING_CHANGED: u8 = 4;

const REASONS: [RemovalReason; 4] =
    [RemovalReason::Left, RemovalReason::Gone, RemovalReason::Rejoins, RemovalReason::Moderator];

/// Why bytes are no message in binary form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one message in binary form")]
pub struct MalformedBinary;

impl ClientMessage {
    /// The binary form. `None`: this message has none, or is too long for it.
    pub fn to_binary(&self) -> Option<Vec<u8>> {
        let ClientBody::Delivery(request) = &self.body else { return None };
        let mut out = Writer::default();
        match request {
            DeliveryRequest::Submit { proposals, commit, welcome, group_info } => {
                out.byte(SUBMIT);
                out.option(self.id, Writer::number);
                out.list(proposals, |out, proposal| out.bytes(proposal));
                out.bytes(commit);
                out.option(welcome.as_ref(), |out, welcome| out.bytes(welcome));
                out.bytes(group_info);
            }
            DeliveryRequest::Leave => {
                out.byte(LEAVE);
                out.option(self.id, Writer::number);
            }
            _ => return None,
        }
        out.finish()
    }

    /// Reads the binary form.
    ///
    /// # Errors
    /// [`MalformedBinary`].
    pub fn from_binary(bytes: &[u8]) -> Result<Self, MalformedBinary> {
        let mut reader = Reader(bytes);
        let message = Self::read(&mut reader).filter(|_| reader.0.is_empty());
        message.ok_or(MalformedBinary)
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let kind = reader.byte()?;
        let id = reader.option(Reader::number)?;
        let request = match kind {
            SUBMIT => DeliveryRequest::Submit {
                proposals: reader.list(Reader::blob)?,
                commit: reader.blob()?,
                welcome: reader.option(Reader::blob)?,
                group_info: reader.blob()?,
            },
            LEAVE => DeliveryRequest::Leave,
            _ => return None,
        };
        Some(Self { id, ..Self::event(request) })
    }
}

impl ServerMessage {
    /// The binary form. `None`: this message has none, or is too long for it.
    pub fn to_binary(&self) -> Option<Vec<u8>> {
        let (None, ServerBody::Delivery(event)) = (self.re, &self.body) else { return None };
        let mut out = Writer::default();
        match event {
            DeliveryEvent::Entry { entry } => {
                out.byte(ENTRY);
                out.number(entry.seq);
                out.number(entry.epoch);
                out.byte(u8::from(entry.kind == EntryKind::Commit));
                out.option(entry.sender.as_ref(), Writer::identity);
                out.bytes(&entry.message);
            }
            DeliveryEvent::PendingChanged { added, resolved } => {
                out.byte(PENDING_CHANGED);
                out.list(added, Writer::change);
                out.list(resolved, |out, change| out.number(change.0));
            }
            _ => return None,
        }
        out.finish()
    }

    /// Reads the binary form.
    ///
    /// # Errors
    /// [`MalformedBinary`].
    pub fn from_binary(bytes: &[u8]) -> Result<Self, MalformedBinary> {
        let mut reader = Reader(bytes);
        let message = Self::read(&mut reader).filter(|_| reader.0.is_empty());
        message.ok_or(MalformedBinary)
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let event = match reader.byte()? {
            ENTRY => DeliveryEvent::Entry {
                entry: LogEntry {
                    seq: reader.number()?,
                    epoch: reader.number()?,
                    kind: if reader.flag()? { EntryKind::Commit } else { EntryKind::Proposal },
                    sender: reader.option(Reader::identity)?,
                    message: reader.blob()?,
                },
            },
            PENDING_CHANGED => DeliveryEvent::PendingChanged {
                added: reader.list(Reader::change)?,
                resolved: reader.list(|reader| reader.number().map(ChangeId))?,
            },
            _ => return None,
        };
        Some(Self::event(event))
    }
}

#[derive(Default)]
struct Writer {
    out: Vec<u8>,
    /// Something is longer than its length can say.
    overflown: bool,
}

impl Writer {
    fn finish(self) -> Option<Vec<u8>> {
        (!self.overflown).then_some(self.out)
    }

    fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }

    fn number(&mut self, number: u64) {
        self.out.extend_from_slice(&number.to_be_bytes());
    }

    fn length(&mut self, length: usize) {
        match u16::try_from(length) {
            Ok(length) => self.out.extend_from_slice(&length.to_be_bytes()),
            Err(_) => self.overflown = true,
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.out.extend_from_slice(bytes);
    }

    fn identity(&mut self, identity: &Identity) {
        self.bytes(identity.as_str().as_bytes());
    }

    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn list<T>(&mut self, values: &[T], write: impl Fn(&mut Self, &T)) {
        self.length(values.len());
        for value in values {
            write(self, value);
        }
    }

    fn change(&mut self, change: &PendingChange) {
        self.number(change.id.0);
        self.number(change.age_ms);
        match &change.kind {
            ChangeKind::Add { identity, name, key_package } => {
                self.byte(0);
                self.identity(identity);
                self.bytes(name.as_bytes());
                self.bytes(key_package);
            }
            ChangeKind::Remove { leaf, identity, reason, proposal } => {
                self.byte(1);
                self.number(u64::from(*leaf));
                self.identity(identity);
                self.byte(*reason as u8);
                self.option(proposal.as_ref(), |out, proposal| out.bytes(proposal));
            }
            ChangeKind::Proposal { proposal } => {
                self.byte(2);
                self.bytes(proposal);
            }
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    fn length(&mut self) -> Option<usize> {
        Some(usize::from(u16::from_be_bytes(self.take(2)?.try_into().ok()?)))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    fn blob(&mut self) -> Option<Blob> {
        self.bytes().map(Blob::from)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn identity(&mut self) -> Option<Identity> {
        self.text().map(Identity::new)
    }

    /// `None`: it cannot be read.
    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.flag()? { read(self).map(Some) } else { Some(None) }
    }

    fn list<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        // Nothing is reserved for a count that may be a lie.
        (0..self.length()?).map(|_| read(self)).collect()
    }

    fn change(&mut self) -> Option<PendingChange> {
        let id = ChangeId(self.number()?);
        let age_ms = self.number()?;
        let kind = match self.byte()? {
            0 => ChangeKind::Add {
                identity: self.identity()?,
                name: self.text()?,
                key_package: self.blob()?,
            },
            1 => ChangeKind::Remove {
                leaf: u32::try_from(self.number()?).ok()?,
                identity: self.identity()?,
                reason: *REASONS.get(usize::from(self.byte()?))?,
                proposal: self.option(Self::blob)?,
            },
            2 => ChangeKind::Proposal { proposal: self.blob()? },
            _ => return None,
        };
        Some(PendingChange { id, age_ms, kind })
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    fn changes() -> Vec<PendingChange> {
        let change = |id, kind| PendingChange { id: ChangeId(id), age_ms: id * 7, kind };
        let (identity, blob) = (Identity::new("bob"), Blob::from(vec![9; 300]));
        let mut changes = vec![
            change(
                1,
                ChangeKind::Add {
                    identity: identity.clone(),
                    name: "Bób".to_owned(),
                    key_package: blob.clone(),
                },
            ),
            change(2, ChangeKind::Proposal { proposal: blob.clone() }),
        ];
        changes.extend((3..).zip(REASONS).map(|(id, reason)| {
            let proposal = (reason == RemovalReason::Moderator).then(|| blob.clone());
            change(
                id,
                ChangeKind::Remove { leaf: 70_000, identity: identity.clone(), reason, proposal },
            )
        }));
        changes
    }

    fn server_messages() -> Vec<ServerMessage> {
        let entry = |kind, sender| LogEntry {
            seq: 1 << 40,
            epoch: 7,
            kind,
            sender,
            message: Blob::from(vec![1; 2_000]),
        };
        vec![
            ServerMessage::event(DeliveryEvent::Entry { entry: entry(EntryKind::Commit, None) }),
            ServerMessage::event(DeliveryEvent::Entry {
                entry: entry(EntryKind::Proposal, Some(Identity::new("alice"))),
            }),
            ServerMessage::event(DeliveryEvent::PendingChanged {
                added: changes(),
                resolved: vec![ChangeId(8), ChangeId(u64::MAX)],
            }),
        ]
    }

    fn client_messages() -> Vec<ClientMessage> {
        let blob = |byte| Blob::from(vec![byte; 5]);
        let submit = |welcome| DeliveryRequest::Submit {
            proposals: vec![blob(1), Blob::default()],
            commit: blob(2),
            welcome,
            group_info: blob(3),
        };
        vec![
            ClientMessage::request(4, submit(Some(blob(5)))),
            ClientMessage::event(submit(None)),
            ClientMessage::request(u64::MAX, DeliveryRequest::Leave),
        ]
    }

    #[test]
    fn messages_come_back_as_they_were_and_cut_ones_are_refused() {
        for message in server_messages() {
            let bytes = message.to_binary().unwrap();
            assert_eq!(ServerMessage::from_binary(&bytes), Ok(message));
            for cut in 0..bytes.len() {
                assert_eq!(ServerMessage::from_binary(&bytes[..cut]), Err(MalformedBinary));
            }
            let longer = [&bytes[..], &[0]].concat();
            assert_eq!(ServerMessage::from_binary(&longer), Err(MalformedBinary));
        }
        for message in client_messages() {
            let bytes = message.to_binary().unwrap();
            assert_eq!(ClientMessage::from_binary(&bytes), Ok(message));
            for cut in 0..bytes.len() {
                assert_eq!(ClientMessage::from_binary(&bytes[..cut]), Err(MalformedBinary));
            }
        }
    }

    #[test]
    fn what_is_urgent_has_a_binary_form_and_the_rest_has_none() {
        use crate::datagrams::Urgency;
        for message in server_messages() {
            assert_ne!(message.urgency(), Urgency::Ordinary);
        }
        for message in client_messages() {
            assert_ne!(message.urgency(), Urgency::Ordinary);
        }
        let ack = ClientMessage::event(DeliveryRequest::Ack { epoch: 1, external_pub: None });
        assert_eq!((ack.urgency(), ack.to_binary()), (Urgency::Ordinary, None));
        let long = DeliveryEvent::Entry {
            entry: LogEntry {
                seq: 0,
                epoch: 0,
                kind: EntryKind::Commit,
                sender: None,
                message: Blob::from(vec![0; 70_000]),
            },
        };
        assert_eq!(ServerMessage::event(long).to_binary(), None);
    }

    /// Bytes that were changed at random are refused, or are another message: nothing panics.
    #[test]
    fn changed_bytes_are_refused_or_another_message() {
        let mut rng = StdRng::seed_from_u64(11);
        let known: Vec<_> = (server_messages().iter().map(ServerMessage::to_binary))
            .chain(client_messages().iter().map(ClientMessage::to_binary))
            .flatten()
            .collect();
        for round in 0..20_000 {
            let mut bytes = known[round % known.len()].clone();
            bytes.truncate(rng.random_range(1..400));
            for _ in 0..rng.random_range(0..4) {
                let place = rng.random_range(0..bytes.len());
                bytes[place] = rng.random();
            }
            if let Ok(message) = ServerMessage::from_binary(&bytes) {
                assert_eq!(message.to_binary().as_deref(), Some(&bytes[..]));
            }
            if let Ok(message) = ClientMessage::from_binary(&bytes) {
                assert_eq!(message.to_binary().as_deref(), Some(&bytes[..]));
            }
        }
    }
}
