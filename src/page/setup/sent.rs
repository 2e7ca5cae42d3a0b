//! What a form of the setup sent, as the operations take it.

use std::fmt;

use crate::admin::setup::{
    AlertsAnswer, BusinessAnswer, ChannelAnswer, HoursAnswer, ModelAnswer, ModelSource, UpdatesAnswer,
};

/// Days of a week.
pub(super) const DAYS: usize = 7;
/// Spans of a day that a form has room for at least.
pub(super) const SPANS: usize = 2;
/// Spans of a day at most.
const MAX_SPANS: usize = 12;

/// Names and values. Among them may be a key or a password, so it is not printed.
#[derive(Default)]
pub(super) struct Sent(Vec<(String, String)>);

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sent(…)")
    }
}

/// A time is missing, or is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadHours;

impl Sent {
    pub(super) fn new(fields: Vec<(String, String)>) -> Self {
        Self(fields)
    }

    /// Was anything sent?
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of this name; empty, if there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.trim())
    }

    fn given(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    pub(super) fn business(&self) -> BusinessAnswer {
        BusinessAnswer {
            name: self.given("name"),
            kind: self.given("type"),
            language: self.given("language"),
            address: self.given("address"),
            phone: self.given("phone"),
        }
    }

    /// The times of `from-0-1` and `to-0-1` are the second span of a Monday.
    pub(super) fn hours(&self) -> Result<HoursAnswer, BadHours> {
        let span = |day: usize, n: usize| {
            let (from, to) = (self.text(&format!("from-{day}-{n}")), self.text(&format!("to-{day}-{n}")));
            match (from.is_empty(), to.is_empty()) {
                (true, true) => Ok(None),
                // A field for times knows no 24:00.
                (false, false) => Ok(Some(format!("{from}-{}", if to == "00:00" { "24:00" } else { to }))),
                _ => Err(BadHours),
            }
        };
        let day = |day: usize| (0..MAX_SPANS).filter_map(|n| span(day, n).transpose()).collect::<Result<Vec<_>, _>>();
        let week = (0..DAYS).map(day).collect::<Result<Vec<_>, _>>()?;
        if week.iter().flatten().any(|span| span.parse::<crate::business::Span>().is_err()) {
            return Err(BadHours);
        }
        let closed = self.text("closed").split([',', ';', '\n']).map(str::trim).filter(|days| !days.is_empty());
        let closed = closed.map(str::to_owned).collect();
        // No time at all is not closed for ever: nothing is known.
        let week = Some(week).filter(|week| week.iter().any(|day| !day.is_empty()));
        Ok(HoursAnswer { time_zone: self.given("time_zone"), week, closed })
    }

    /// `None`: nothing was chosen.
    pub(super) fn model(&self) -> Option<ModelAnswer> {
        let source = match self.text("source") {
            "openai" => ModelSource::OpenAi,
            "anthropic" => ModelSource::Anthropic,
            "server" => ModelSource::Server,
            "demo" => ModelSource::Demo,
            _ => return None,
        };
        let key = match source {
            ModelSource::Server => self.given("server-key"),
            _ => self.given("key"),
        };
        // One that was chosen of another server's list means nothing here.
        let is_of_list = self.text("model-of") == model_of(self.text("source"), self.text("address"));
        let model = self.given("model").filter(|_| is_of_list);
        Some(ModelAnswer { source, address: self.given("address"), key, model })
    }

    pub(super) fn channel(&self) -> ChannelAnswer {
        ChannelAnswer { title: self.given("title") }
    }

    pub(super) fn alerts(&self) -> AlertsAnswer {
        AlertsAnswer {
            email: self.given("email"),
            server: self.given("server"),
            port: self.given("port").and_then(|port| port.parse().ok()),
            security: self.given("security"),
            user: self.given("user"),
            password: self.given("password"),
        }
    }

    pub(super) fn updates(&self) -> UpdatesAnswer {
        UpdatesAnswer { auto: self.text("auto") == "yes", window: self.given("window") }
    }
}

/// Whose list of models a form shows.
pub(super) fn model_of(source: &str, address: &str) -> String {
    if source == "server" { format!("{source} {address}") } else { source.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(fields: &[(&str, &str)]) -> Sent {
        Sent::new(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn hours_are_read_day_by_day() {
        let fields = [("from-0-0", "08:00"), ("to-0-0", "12:00"), ("from-0-1", "14:00"), ("to-0-1", "00:00")];
        let hours = sent(&[&fields[..], &[("closed", "2026-12-24, 2026-12-31"), ("from-6-0", "")]].concat()).hours();
        let hours = hours.unwrap();
        let week = hours.week.unwrap();
        assert_eq!(week[0], ["08:00-12:00", "14:00-24:00"]);
        assert!(week[1..].iter().all(Vec::is_empty) && week.len() == DAYS);
        assert_eq!(hours.closed, ["2026-12-24", "2026-12-31"]);
        assert_eq!(sent(&[("from-0-0", "")]).hours().unwrap().week, None, "nothing is known");
        for bad in [
            [("from-0-0", "08:00"), ("to-0-0", "")],
            [("from-0-0", "12:00"), ("to-0-0", "08:00")],
            [("from-0-0", "x"), ("to-0-0", "y")],
        ] {
            assert_eq!(sent(&bad).hours(), Err(BadHours), "{bad:?}");
        }
    }

    #[test]
    fn a_key_goes_where_it_was_typed_for() {
        let both = [("key", "sk-1"), ("server-key", "k2")];
        let key = |source| sent(&[&[("source", source)], &both[..]].concat()).model().unwrap().key;
        assert_eq!((key("openai").as_deref(), key("server").as_deref()), (Some("sk-1"), Some("k2")));
        assert!(sent(&[("source", "")]).model().is_none());
        let model = |source, address| {
            let fields = [("model-of", "server box:1"), ("model", "m"), ("source", source), ("address", address)];
            sent(&fields).model().unwrap().model
        };
        assert_eq!(
            (model("server", "box:1").as_deref(), model("server", "box:2"), model("openai", "box:1")),
            (Some("m"), None, None)
        );
    }
}
