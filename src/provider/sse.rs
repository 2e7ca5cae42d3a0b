//! Server-Sent Events out of bytes, as the WHATWG HTML standard §9.2.6 reads them.
//!
//! The ids and reconnection times of that standard do not exist here: an answer to a POST is never resumed.

/// Largest event, and largest line: beyond it nobody speaks to us in good faith.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Event {
    /// The `event:` field; empty when there was none.
    pub(super) name: String,
    /// The `data:` fields, joined by line feeds.
    pub(super) data: String,
}

/// An event grew beyond [`MAX_EVENT_BYTES`]. The parser is of no use afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLarge;

/// Takes bytes as they arrive. However they are cut, the events are the same.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    /// Ends with a line feed for every `data:` field, so that an empty field still counts as data.
    data: String,
    name: String,
    is_past_first_line: bool,
    /// The last byte was CR: a following LF belongs to it.
    is_after_cr: bool,
}

impl Parser {
    /// Adds the events that these bytes complete to `events`, also when an error follows them.
    ///
    /// # Errors
    /// [`TooLarge`], at the same byte however the stream was cut.
    pub(super) fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), TooLarge> {
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if std::mem::take(&mut self.is_after_cr) && first == b'\n' {
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            let (head, tail) = rest.split_at(end.unwrap_or(rest.len()));
            self.line.extend_from_slice(head);
            if self.line.len() + self.data.len() > MAX_EVENT_BYTES {
                return Err(TooLarge);
            }
            let Some((terminator, tail)) = tail.split_first() else { break };
            self.is_after_cr = *terminator == b'\r';
            rest = tail;
            events.extend(self.end_line());
        }
        Ok(())
    }

    /// Takes the line in; a blank one completes the event, if there is any data.
    fn end_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        let mut line = line.as_slice();
        if !std::mem::replace(&mut self.is_past_first_line, true) {
            line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        }
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            let mut data = std::mem::take(&mut self.data);
            // Without a `data:` field there is no line feed to take away, and no event.
            data.pop()?;
            return Some(Event { name, data });
        }
        // Only whole lines are decoded, so a character cut in two by the network is whole again.
        let line = String::from_utf8_lossy(line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            // A comment (no field name) or a field that means nothing to us.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> (Vec<Event>, Result<(), TooLarge>) {
        let (mut parser, mut events) = (Parser::default(), Vec::new());
        for piece in pieces {
            if let Err(error) = parser.push(piece, &mut events) {
                return (events, Err(error));
            }
        }
        (events, Ok(()))
    }

    fn check(text: &str, expected: &[(&str, &str)]) {
        let (events, result) = parse([text.as_bytes()]);
        let events: Vec<_> = events.iter().map(|event| (event.name.as_str(), event.data.as_str())).collect();
        assert_eq!((events.as_slice(), result), (expected, Ok(())), "{text:?}");
    }

    #[test]
    fn reads_events_as_the_standard_says() {
        check("data: a\n\n", &[("", "a")]);
        check("event: ping\ndata: {}\n\n", &[("ping", "{}")]);
        check("data: a\rdata: b\r\ndata: c\n\r\n", &[("", "a\nb\nc")]);
        check("data:a\n\ndata:  b\n\n", &[("", "a"), ("", " b")]);
        check(": comment\n\ndata: x\n: more\n\n", &[("", "x")]);
        check("\u{feff}data: x\n\n", &[("", "x")]);
        check("data: x\n\n\u{feff}data: y\n\n", &[("", "x")]);
        check("id: 7\nretry: 5\nfoo\ndata: x\n\n", &[("", "x")]);
        check("data\n\n", &[("", "")]);
        check("data\ndata\n\n", &[("", "\n")]);
    }

    #[test]
    fn an_event_without_data_is_none_and_leaves_no_name_behind() {
        check("event: ping\n\ndata: x\n\n", &[("", "x")]);
    }

    #[test]
    fn an_event_without_its_blank_line_is_not_reported() {
        check("data: a\n\ndata: b\n", &[("", "a")]);
    }

    #[test]
    fn a_line_or_an_event_without_end_is_refused() {
        let line = vec![b'x'; MAX_EVENT_BYTES + 1];
        assert_eq!(parse([line.as_slice()]).1, Err(TooLarge));
        let field = format!("data: {}\n", "x".repeat(1000)).repeat(MAX_EVENT_BYTES / 1000 + 1);
        assert_eq!(parse([field.as_bytes()]).1, Err(TooLarge));
    }

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let pieces: Vec<&[u8]> = vec![
            b"data: ",
            b"data:",
            b"data",
            b"event: e",
            b":",
            b"\n",
            b"\r",
            b"\r\n",
            b"\n\n",
            b"\r\n\r\n",
            b"\xEF\xBB\xBF",
            "größe €".as_bytes(),
            b"\xF0\x9F\x98\x80",
            b"\xFF",
            b"\xC3",
            b" ",
            b"x",
        ];
        prop::collection::vec(prop::sample::select(pieces), 0..60).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_cut_of_the_bytes_gives_the_same_events(bytes in stream(), cuts in prop::collection::vec(1_usize..9, 1..40)) {
            let mut rest = bytes.as_slice();
            let mut pieces = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, tail) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = tail;
            }
            prop_assert_eq!(parse(pieces), parse([bytes.as_slice()]));
        }

        #[test]
        fn data_without_line_ends_arrives_unchanged(data in "[^\r\n]{0,80}") {
            let (events, result) = parse([format!("data: {data}\n\n").as_bytes()]);
            prop_assert_eq!(result, Ok(()));
            prop_assert_eq!(events, vec![Event { name: String::new(), data }]);
        }
    }
}
