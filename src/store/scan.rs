//! Reading the journal back: every frame, every link of the chain, and what is wrong with it.
//!
//! Bad bytes with a sound frame behind them are damage. Bad bytes at the very end are the torn rest of a write that
//! nobody was told of. It changes nothing; who may cut what is decided in [`super::recover`].

use std::fmt;
use std::sync::Arc;

use super::event::{self, Body, EventError, EventHead};
use super::frame::{BLOCK_BYTES, FRAME_HEAD_BYTES, FrameHead, SegmentHead};
use super::journal::{Place, Tail, previous_of, segment_path};
use super::layout;
use super::packed::{self, Opened};
use super::record::Position;
use crate::limits::KIB;
use crate::oci::digest::Digest;
use crate::sys::dir::{Dir, DirError, File, read_exact_at};

const ZEROS_STEP_BYTES: usize = 64 * KIB;

/// One event as it stands in the journal.
#[derive(Debug)]
pub struct Event {
    pub head: EventHead,
    /// None where the kind is unknown and may be skipped.
    pub body: Option<Body>,
    pub hash: Digest,
}

impl Event {
    /// Where the journal stands after it.
    pub fn position(&self) -> Position {
        Position {
            journal_id: self.head.journal.clone(),
            epoch: self.head.epoch,
            sequence: self.head.sequence,
            hash: self.hash,
        }
    }
}

/// Something that cannot be explained by a power cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub place: Place,
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Where reading begins.
#[derive(Debug)]
pub enum Start<'a> {
    Beginning,
    /// Behind the frame at `place`, whose last event must be the one at `position`.
    After {
        place: &'a Place,
        position: &'a Position,
    },
}

/// Takes in the events of one frame.
type Visit<'a, E> = dyn FnMut(&Place, Vec<Event>) -> Result<(), E> + 'a;

/// What a scan has found.
#[derive(Debug)]
pub struct Scanned {
    /// The last sound position; none where there is no sound event.
    pub position: Option<Position>,
    /// Where the last sound event's frame begins.
    pub place: Option<Place>,
    /// The end; none where the last segment cannot be read.
    pub tail: Option<Tail>,
    pub damage: Option<Damage>,
    /// A last segment whose making was cut short. It holds nothing.
    pub unborn_segment: Option<String>,
}

/// The journal cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum ScanError<E: std::error::Error + 'static> {
    #[error("the journal has no segment: restore it from a backup")]
    Missing,
    /// There is no such frame, or another one stands there.
    #[error("the journal has no such place")]
    NoSuchPlace,
    #[error(transparent)]
    Event(EventError),
    #[error(transparent)]
    Dir(#[from] DirError),
    #[error(transparent)]
    Visit(E),
}

/// What a scan knows while it runs.
struct Scan<'a> {
    dir: &'a dyn Dir,
    position: Option<Position>,
    place: Option<Place>,
}

/// A segment while it is read.
struct Segment {
    name: String,
    file: Arc<dyn File>,
    len_bytes: u64,
    head: SegmentHead,
    /// It has ended long ago: nothing in it can be torn.
    is_packed: bool,
}

/// What stands at an offset.
enum Found {
    Frame {
        head: FrameHead,
        payload: Vec<u8>,
    },
    /// Nothing but zeros, or the end of the file.
    End,
    Bad,
}

/// The names of all segments, in order; those of compressed ones too, as if they were not.
pub fn segments(dir: &dyn Dir) -> Result<Vec<String>, DirError> {
    let entries = dir.list(layout::JOURNAL)?;
    let mut names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
    for name in &mut names {
        if let Some(plain) = name.strip_suffix(packed::SUFFIX) {
            *name = plain.to_owned();
        }
    }
    names.retain(|name| name.ends_with(".log"));
    names.dedup();
    Ok(names)
}

/// Reads the journal from `start` to its end or to the first damage, and shows the events of each sound frame together.
pub fn scan<E: std::error::Error + 'static>(
    dir: &dyn Dir,
    start: &Start<'_>,
    visit: &mut Visit<'_, E>,
) -> Result<Scanned, ScanError<E>> {
    let mut names = segments(dir)?;
    let mut scan = Scan { dir, position: None, place: None };
    if let Start::After { place, position } = start {
        names.retain(|name| *name >= place.segment);
        if !scan.is_standing(&names, place, position)? {
            scan.step_over(&mut names, place, position)?;
        }
    }
    let last = names.last().cloned().ok_or(ScanError::Missing)?;
    let mut scanned = Scanned { position: None, place: None, tail: None, damage: None, unborn_segment: None };
    for name in names {
        let is_last = name == last;
        let segment = match scan.open(&name)? {
            Some(segment) => segment,
            None if is_last && scan.position.is_some() && scan.is_unborn(&name)? => {
                scanned.unborn_segment = Some(name);
                break;
            }
            None => {
                scanned.damage = Some(damage(&name, 0, "the header of the segment is not readable"));
                break;
            }
        };
        let begin = match start {
            Start::After { place, position } if place.segment == name => {
                scan.stand_at(&segment, place, position).ok_or(ScanError::NoSuchPlace)?
            }
            _ => BLOCK_BYTES as u64,
        };
        match scan.segment(&segment, begin, is_last, visit)? {
            Ok(tail) => scanned.tail = Some(tail),
            Err(damage) => {
                scanned.damage = Some(damage);
                break;
            }
        }
    }
    scanned.position = scan.position;
    scanned.place = scan.place;
    Ok(scanned)
}

fn damage(segment: &str, offset_bytes: u64, what: &str) -> Damage {
    Damage { place: Place { segment: segment.to_owned(), offset_bytes }, what: what.to_owned() }
}

impl Segment {
    fn read(&self, offset_bytes: u64) -> Result<Found, DirError> {
        let failed = |source| DirError { operation: "read", path: segment_path(&self.name), source };
        if offset_bytes + FRAME_HEAD_BYTES as u64 > self.len_bytes {
            return Ok(Found::End);
        }
        let mut bytes = [0; FRAME_HEAD_BYTES];
        read_exact_at(self.file.as_ref(), &mut bytes, offset_bytes).map_err(failed)?;
        let Some(head) = FrameHead::parse(&bytes, self.head.salt) else {
            return Ok(if self.is_zero_from(offset_bytes).map_err(failed)? { Found::End } else { Found::Bad });
        };
        if offset_bytes + (FRAME_HEAD_BYTES + head.payload_bytes) as u64 > self.len_bytes {
            return Ok(Found::Bad);
        }
        let mut payload = vec![0; head.payload_bytes];
        read_exact_at(self.file.as_ref(), &mut payload, offset_bytes + FRAME_HEAD_BYTES as u64).map_err(failed)?;
        Ok(if head.matches(&bytes, &payload) { Found::Frame { head, payload } } else { Found::Bad })
    }

    fn is_zero_from(&self, offset_bytes: u64) -> std::io::Result<bool> {
        let zeros = vec![0; ZEROS_STEP_BYTES];
        let mut buffer = zeros.clone();
        let mut at = offset_bytes;
        loop {
            match self.file.read_at(&mut buffer, at)? {
                0 => return Ok(true),
                count if buffer[..count] != zeros[..count] => return Ok(false),
                count => at += count as u64,
            }
        }
    }

    /// Whether any sound frame stands behind `offset_bytes`.
    fn has_frame_behind(&self, offset_bytes: u64) -> Result<bool, DirError> {
        let mut at = offset_bytes + BLOCK_BYTES as u64;
        while at + FRAME_HEAD_BYTES as u64 <= self.len_bytes {
            let mut bytes = [0; FRAME_HEAD_BYTES];
            let failed = |source| DirError { operation: "read", path: segment_path(&self.name), source };
            read_exact_at(self.file.as_ref(), &mut bytes, at).map_err(failed)?;
            let may_be = FrameHead::parse(&bytes, self.head.salt).is_some();
            if may_be && matches!(self.read(at)?, Found::Frame { .. }) {
                return Ok(true);
            }
            at += BLOCK_BYTES as u64;
        }
        Ok(false)
    }
}

impl Scan<'_> {
    fn open(&self, name: &str) -> Result<Option<Segment>, DirError> {
        let Opened { file: Some(file), is_packed } = packed::open(self.dir, name)? else { return Ok(None) };
        let failed = |source| DirError { operation: "read", path: segment_path(name), source };
        let len_bytes = file.len_bytes().map_err(failed)?;
        let mut block = vec![0; BLOCK_BYTES];
        if len_bytes < BLOCK_BYTES as u64 {
            return Ok(None);
        }
        match read_exact_at(file.as_ref(), &mut block, 0) {
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => return Ok(None),
            read => read.map_err(failed)?,
        }
        let head = SegmentHead::parse(&block);
        Ok(head.map(|head| Segment { name: name.to_owned(), file, len_bytes, head, is_packed }))
    }

    /// Whether the frame that reading is to begin behind is there and whole.
    fn is_standing(&mut self, names: &[String], place: &Place, position: &Position) -> Result<bool, DirError> {
        if names.first() != Some(&place.segment) {
            return Ok(false);
        }
        let segment = self.open(&place.segment)?;
        Ok(segment.is_some_and(|segment| self.stand_at(&segment, place, position).is_some()))
    }

    /// The frame is lost. The segment that says of itself that it follows its last event is as good a beginning.
    fn step_over<E: std::error::Error + 'static>(
        &mut self,
        names: &mut Vec<String>,
        place: &Place,
        position: &Position,
    ) -> Result<(), ScanError<E>> {
        let follows = |segment: Segment| {
            segment.head.first_sequence == position.sequence + 1
                && previous_of(&segment.head) == Some(position.hash)
                && segment.head.journal_id == position.journal_id
        };
        let mut found = None;
        for (at, name) in names.iter().enumerate().filter(|(_, name)| **name != place.segment) {
            if self.open(name)?.is_some_and(follows) {
                found = Some(at);
                break;
            }
        }
        names.drain(..found.ok_or(ScanError::NoSuchPlace)?);
        self.position = Some(position.clone());
        self.place = Some(place.clone());
        Ok(())
    }

    /// Whether a segment without a header holds nothing behind it either, so that it was never in use.
    fn is_unborn(&self, name: &str) -> Result<bool, DirError> {
        let Opened { file: Some(file), is_packed: false } = packed::open(self.dir, name)? else { return Ok(false) };
        let failed = |source| DirError { operation: "read", path: segment_path(name), source };
        let len_bytes = file.len_bytes().map_err(failed)?;
        let head = SegmentHead { salt: 0, epoch: 0, first_sequence: 0, journal_id: String::new(), previous: None };
        let segment = Segment { name: name.to_owned(), file, len_bytes, head, is_packed: false };
        segment.is_zero_from(BLOCK_BYTES as u64).map_err(failed)
    }

    /// Checks that the frame at `place` ends with `position`, and says where the next one begins.
    fn stand_at(&mut self, segment: &Segment, place: &Place, position: &Position) -> Option<u64> {
        let Ok(Found::Frame { head, payload }) = segment.read(place.offset_bytes) else { return None };
        let last = lines(&payload).last()?;
        let sequence = head.first_sequence + u64::from(head.event_count) - 1;
        if sequence != position.sequence || Digest::of(last) != position.hash {
            return None;
        }
        self.position = Some(position.clone());
        self.place = Some(place.clone());
        Some(place.offset_bytes + head.frame_bytes())
    }

    /// Reads one segment; the inner error is damage.
    fn segment<E: std::error::Error + 'static>(
        &mut self,
        segment: &Segment,
        begin: u64,
        is_last: bool,
        visit: &mut Visit<'_, E>,
    ) -> Result<Result<Tail, Damage>, ScanError<E>> {
        if begin == BLOCK_BYTES as u64
            && let Err(what) = self.check_segment(segment)
        {
            return Ok(Err(damage(&segment.name, 0, what)));
        }
        let mut at = begin;
        let mut last_frame_at = self.place.as_ref().filter(|place| place.segment == segment.name);
        let mut last_frame_at = last_frame_at.take().map(|place| place.offset_bytes);
        loop {
            let found = match segment.read(at) {
                Ok(found) => found,
                // A sector that cannot be read is damage like any other: what stands in the index is still served.
                Err(error) => {
                    let what = format!("bytes that cannot be read: {}", error.source);
                    return Ok(Err(damage(&segment.name, at, &what)));
                }
            };
            let (head, payload) = match found {
                Found::Frame { head, payload } => (head, payload),
                Found::Bad if !is_last || segment.is_packed || segment.has_frame_behind(at)? => {
                    return Ok(Err(damage(&segment.name, at, "bytes that are no frame, with frames behind them")));
                }
                found => {
                    let is_torn = matches!(found, Found::Bad);
                    let head = segment.head.clone();
                    let segment = segment.name.clone();
                    return Ok(Ok(Tail { segment, head, offset_bytes: at, is_torn, last_frame_at }));
                }
            };
            let place = Place { segment: segment.name.clone(), offset_bytes: at };
            let events = match self.events(&head, &payload) {
                Ok(events) => events,
                Err(Broken::Event(error)) => return Err(ScanError::Event(error)),
                Err(Broken::Chain(what)) => return Ok(Err(Damage { place, what })),
            };
            let position = events.last().map(Event::position);
            visit(&place, events).map_err(ScanError::Visit)?;
            self.position = position;
            self.place = Some(place);
            last_frame_at = Some(at);
            at += head.frame_bytes();
        }
    }

    fn check_segment(&self, segment: &Segment) -> Result<(), &'static str> {
        match &self.position {
            None if segment.head.first_sequence != 1 => Err("the segments before this one are missing"),
            None => Ok(()),
            Some(position) if segment.head.journal_id != position.journal_id => {
                Err("the segment belongs to another journal")
            }
            Some(position)
                if segment.head.first_sequence != position.sequence + 1
                    || previous_of(&segment.head) != Some(position.hash) =>
            {
                Err("the segment does not follow the one before it; events are missing between them")
            }
            Some(_) => Ok(()),
        }
    }

    /// The events of a frame, each checked to follow the one before.
    fn events(&self, frame: &FrameHead, payload: &[u8]) -> Result<Vec<Event>, Broken> {
        let mut sequence = self.position.as_ref().map_or(0, |position| position.sequence);
        let mut previous = self.position.as_ref().map(|position| position.hash);
        let mut events = Vec::new();
        for line in lines(payload) {
            let (head, body) = match event::parse(line) {
                Err(EventError::Json(error)) => {
                    return Err(Broken::Chain(format!("an event is not readable: {error}")));
                }
                parsed => parsed.map_err(Broken::Event)?,
            };
            if head.sequence != sequence + 1 || head.previous != previous {
                return Err(Broken::Chain(format!("event {} does not follow event {sequence}", head.sequence)));
            }
            if self.position.as_ref().is_some_and(|position| position.journal_id != head.journal) {
                return Err(Broken::Chain(format!("event {} belongs to another journal", head.sequence)));
            }
            let hash = Digest::of(line);
            sequence = head.sequence;
            previous = Some(hash);
            events.push(Event { head, body, hash });
        }
        let first = events.first().map(|event| event.head.sequence);
        if first != Some(frame.first_sequence) || events.len() as u64 != u64::from(frame.event_count) {
            return Err(Broken::Chain("the frame does not hold the events that it announces".to_owned()));
        }
        Ok(events)
    }
}

enum Broken {
    Event(EventError),
    Chain(String),
}

fn lines(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    payload.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}
