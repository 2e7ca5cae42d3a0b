//! The facts of a business in words, for the prompt of its worker.

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;

use super::config::{Business, Kind, Zone};
use super::hours::{Days, Hours, Span, State, WEEK};
use crate::browser::Language;
use crate::clock::Timestamp;

/// The clock in a prompt goes in steps of so many minutes: a prompt that stays the same is read from a cache, on a small
/// machine in seconds instead of minutes.
const STEP_MINUTES: i8 = 15;
/// Closed days to come that are named.
const MAX_CLOSED: usize = 8;

impl Business {
    /// What its worker is told, behind the persona. It ends with the date and the time.
    #[must_use]
    pub fn facts(&self, now: Timestamp) -> String {
        let words = Words::of(self.language());
        let at = self.local(now);
        let mut lines = vec![words.head.to_owned()];
        let mut line = |name: &str, text: &str| lines.push(format!("- {name}: {text}"));
        let kind = match self.kind {
            Kind::Blank => String::new(),
            Kind::DentalPractice => format!(" ({})", words.dental_practice),
            Kind::EstateAgency => format!(" ({})", words.estate_agency),
        };
        if let Some(name) = &self.name {
            line(words.name, &format!("{name}{kind}"));
        }
        self.address.iter().for_each(|address| line(words.address, address));
        self.phone.iter().for_each(|phone| line(words.phone, phone));
        if let Some(hours) = &self.hours {
            line(words.hours, &words.week(hours));
            let closed: Vec<String> = hours
                .closed()
                .iter()
                .filter(|days| days.last >= at.date())
                .take(MAX_CLOSED)
                .map(|days| words.days(*days))
                .collect();
            if !closed.is_empty() {
                line(words.closed_on, &closed.join("; "));
            }
        }
        let minute = at.minute() - at.minute() % STEP_MINUTES;
        let day = words.date(at.date(), true);
        let zone = self.time_zone.as_ref().map(|zone| format!(" ({})", zone.name())).unwrap_or_default();
        line(words.now, &format!("{day}, {} {:02}:{minute:02}{zone}", words.about, at.hour()));
        if let Some(hours) = &self.hours {
            line(words.state, &words.state(hours.at(at), at));
        }
        lines.join("\n")
    }

    /// The time on its own clock.
    #[must_use]
    pub fn local(&self, now: Timestamp) -> DateTime {
        let zone = self.time_zone.as_ref().map_or_else(TimeZone::system, |zone: &Zone| zone.zone().clone());
        let at = jiff::Timestamp::from_millisecond(i64::try_from(now.0).unwrap_or(i64::MAX));
        at.unwrap_or(jiff::Timestamp::MAX).to_zoned(zone).datetime()
    }
}

/// How facts are said in a language.
struct Words {
    language: Language,
    head: &'static str,
    name: &'static str,
    dental_practice: &'static str,
    estate_agency: &'static str,
    address: &'static str,
    phone: &'static str,
    hours: &'static str,
    closed_on: &'static str,
    closed: &'static str,
    to: &'static str,
    and: &'static str,
    now: &'static str,
    about: &'static str,
    state: &'static str,
    open_until: &'static str,
    open_always: &'static str,
    closed_until: &'static str,
    closed_now: &'static str,
    today: &'static str,
    weekdays: [&'static str; 7],
    months: [&'static str; 12],
}

static ENGLISH: Words = Words {
    language: Language::English,
    head: "The business that you work for:",
    name: "Name",
    dental_practice: "dental practice",
    estate_agency: "estate agency",
    address: "Address",
    phone: "Telephone",
    hours: "Opening hours",
    closed_on: "Closed also on",
    closed: "closed",
    to: "to",
    and: "and",
    now: "Now it is",
    about: "about",
    state: "At this moment",
    open_until: "the business is open, until",
    open_always: "the business is open",
    closed_until: "the business is closed; it opens",
    closed_now: "the business is closed",
    today: "today",
    weekdays: ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    months: [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
};

static GERMAN: Words = Words {
    language: Language::German,
    head: "Das Unternehmen, für das du arbeitest:",
    name: "Name",
    dental_practice: "Zahnarztpraxis",
    estate_agency: "Immobilienbüro",
    address: "Adresse",
    phone: "Telefon",
    hours: "Öffnungszeiten",
    closed_on: "Geschlossen außerdem",
    closed: "geschlossen",
    to: "bis",
    and: "und",
    now: "Jetzt ist es",
    about: "etwa",
    state: "Gerade",
    open_until: "geöffnet, bis",
    open_always: "geöffnet",
    closed_until: "geschlossen, wieder geöffnet ab",
    closed_now: "geschlossen",
    today: "heute",
    weekdays: ["Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"],
    months: [
        "Januar",
        "Februar",
        "März",
        "April",
        "Mai",
        "Juni",
        "Juli",
        "August",
        "September",
        "Oktober",
        "November",
        "Dezember",
    ],
};

impl Words {
    fn of(language: Language) -> &'static Self {
        match language {
            Language::English => &ENGLISH,
            Language::German => &GERMAN,
        }
    }

    fn weekday(&self, day: Weekday) -> &'static str {
        let n = usize::try_from(day.to_monday_zero_offset()).unwrap_or_default();
        self.weekdays.get(n).copied().unwrap_or_default()
    }

    /// `Monday, 23 November 2026`, `Montag, 23. November 2026`; the year where it is asked for.
    fn date(&self, date: Date, has_year: bool) -> String {
        let month = usize::try_from(date.month()).unwrap_or_default().saturating_sub(1);
        let month = self.months.get(month).copied().unwrap_or_default();
        let dot = match self.language {
            Language::English => "",
            Language::German => ".",
        };
        let year = if has_year { format!(" {}", date.year()) } else { String::new() };
        format!("{}, {}{dot} {month}{year}", self.weekday(date.weekday()), date.day())
    }

    fn days(&self, days: Days) -> String {
        match days.first == days.last {
            true => self.date(days.first, true),
            false => format!("{} {} {}", self.date(days.first, true), self.to, self.date(days.last, true)),
        }
    }

    /// Days that are alike are said together.
    fn week(&self, hours: &Hours) -> String {
        let mut parts: Vec<(Weekday, Weekday, &[Span])> = Vec::new();
        for day in WEEK {
            let spans = hours.of_weekday(day);
            match parts.last_mut() {
                Some((_, last, before)) if *before == spans => *last = day,
                _ => parts.push((day, day, spans)),
            }
        }
        let part = |(first, last, spans): &(Weekday, Weekday, &[Span])| {
            let days = match first == last {
                true => self.weekday(*first).to_owned(),
                false => format!("{} {} {}", self.weekday(*first), self.to, self.weekday(*last)),
            };
            let spans: Vec<String> = spans.iter().map(|span| span.to_string().replace('-', "–")).collect();
            let and = format!(" {} ", self.and);
            format!("{days} {}", if spans.is_empty() { self.closed.to_owned() } else { spans.join(&and) })
        };
        parts.iter().map(part).collect::<Vec<_>>().join("; ")
    }

    fn state(&self, state: State, now: DateTime) -> String {
        let moment = |at: DateTime| {
            let day = if at.date() == now.date() { self.today.to_owned() } else { self.date(at.date(), false) };
            format!("{day} {:02}:{:02}", at.hour(), at.minute())
        };
        match state {
            State::Open(Some(until)) => format!("{} {}", self.open_until, moment(until)),
            State::Open(None) => self.open_always.to_owned(),
            State::Closed(Some(until)) => format!("{} {}", self.closed_until, moment(until)),
            State::Closed(None) => self.closed_now.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Document, NoVariables};

    fn business(toml: &str) -> Business {
        let document = Document::parse_toml("t", toml).unwrap();
        let business = Business::read(&mut document.root(&NoVariables));
        assert_eq!(document.problems(), []);
        business
    }

    fn check(business: &Business, at: &str, expected: &str) {
        let at: jiff::Timestamp = at.parse().unwrap();
        let facts = business.facts(Timestamp(at.as_millisecond().try_into().unwrap()));
        assert_eq!(facts, expected);
    }

    const LIND: &str = "name = 'Dr. Lind'\ntype = 'dental_practice'\nphone = '+49 30 1'\ntime_zone = 'Europe/Berlin'
        closed = ['2026-12-24/2027-01-01', '2026-01-02']
        hours = { monday = ['08:00-12:00', '14:00-18:00'], tuesday = ['08:00-12:00', '14:00-18:00'], friday = ['08:00-13:00'] }";

    #[test]
    fn a_worker_knows_the_business_and_its_clock() {
        check(
            &business(LIND),
            "2026-11-23T08:23:59Z",
            "The business that you work for:\n\
             - Name: Dr. Lind (dental practice)\n\
             - Telephone: +49 30 1\n\
             - Opening hours: Monday to Tuesday 08:00–12:00 and 14:00–18:00; Wednesday to Thursday closed; Friday \
             08:00–13:00; Saturday to Sunday closed\n\
             - Closed also on: Thursday, 24 December 2026 to Friday, 1 January 2027\n\
             - Now it is: Monday, 23 November 2026, about 09:15 (Europe/Berlin)\n\
             - At this moment: the business is open, until today 12:00",
        );
        check(
            &business(&format!("{LIND}\nlanguage = 'de'")),
            "2026-11-24T19:00:00Z",
            "Das Unternehmen, für das du arbeitest:\n\
             - Name: Dr. Lind (Zahnarztpraxis)\n\
             - Telefon: +49 30 1\n\
             - Öffnungszeiten: Montag bis Dienstag 08:00–12:00 und 14:00–18:00; Mittwoch bis Donnerstag geschlossen; \
             Freitag 08:00–13:00; Samstag bis Sonntag geschlossen\n\
             - Geschlossen außerdem: Donnerstag, 24. Dezember 2026 bis Freitag, 1. Januar 2027\n\
             - Jetzt ist es: Dienstag, 24. November 2026, etwa 20:00 (Europe/Berlin)\n\
             - Gerade: geschlossen, wieder geöffnet ab Freitag, 27. November 08:00",
        );
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let known = "The business that you work for:\n- Name: A\n- Now it is: Sunday, 29 March 2026, about";
        // The hour that does not exist where clocks go forward.
        let berlin = business("name = 'A'\ntime_zone = 'Europe/Berlin'");
        check(&berlin, "2026-03-29T00:59:00Z", &format!("{known} 01:45 (Europe/Berlin)"));
        check(&berlin, "2026-03-29T01:00:00Z", &format!("{known} 03:00 (Europe/Berlin)"));
    }
}
