//! The `[business]` section.

use std::sync::LazyLock;

use jiff::tz::{TimeZone, TimeZoneDatabase};
use strsim::jaro_winkler;

use super::hours::{Days, Hours, Span};
use crate::browser::Language;
use crate::document::{Section, Severity};

/// Longest text of a fact, in characters: every message pays for it.
const MAX_CHARS: usize = 200;
/// Closed days at most.
const MAX_CLOSED: usize = 100;

/// Time zones that come with the program, so that a machine without any knows them, and all machines the same.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// What is known of a business.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Business {
    /// What it is called.
    pub name: Option<String>,
    /// What it does.
    pub kind: Kind,
    /// Where it is.
    pub address: Option<String>,
    /// For people who would rather speak.
    pub phone: Option<String>,
    /// Whose clock it goes by; `None`: the one of the machine.
    pub time_zone: Option<Zone>,
    /// In which language it speaks first; `None`: English.
    pub language: Option<Language>,
    /// When it is open, if that is known.
    pub hours: Option<Hours>,
}

/// What a business does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Anything else.
    #[default]
    Blank,
    /// Dentists.
    DentalPractice,
    /// People who sell and let homes.
    EstateAgency,
}

impl Kind {
    /// All of them, by the words of the configuration.
    pub const ALL: [(&'static str, Self); 3] =
        [("blank", Self::Blank), ("dental_practice", Self::DentalPractice), ("estate_agency", Self::EstateAgency)];

    /// The word of the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("blank", |(word, _)| word)
    }
}

/// A time zone of the IANA database, by its name.
#[derive(Debug, Clone)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl Zone {
    /// Finds one.
    ///
    /// # Errors
    /// What is wrong with the name, and the nearest that there is.
    pub fn new(name: &str) -> Result<Self, String> {
        let found = Self::names().find(|known| known.eq_ignore_ascii_case(name));
        let zone = found.as_ref().and_then(|known| ZONES.get(known).ok());
        match (found, zone) {
            (Some(name), Some(zone)) => Ok(Self { name, zone }),
            _ => {
                let near = |known: &String| jaro_winkler(&known.to_lowercase(), &name.to_lowercase());
                let nearest = Self::names().max_by(|a, b| near(a).total_cmp(&near(b)));
                let nearest = nearest.filter(|known| near(known) > 0.8);
                let meant = nearest.map(|known| format!("; did you mean {known:?}?")).unwrap_or_default();
                Err(format!("{name:?} is no time zone of the IANA database, as in \"Europe/Berlin\"{meant}"))
            }
        }
    }

    /// Names of places, in order.
    pub fn names() -> impl Iterator<Item = String> {
        let names = ZONES.available().map(|name| name.as_str().to_owned());
        names
            .filter(|name| name == "UTC" || name.contains('/') && !name.starts_with("Etc/") && !name.starts_with("US/"))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn zone(&self) -> &TimeZone {
        &self.zone
    }
}

impl Business {
    /// Takes the section's keys. Problems are noted there.
    pub fn read(section: &mut Section<'_>) -> Self {
        let kinds = Kind::ALL;
        let languages = Language::ALL.map(|language| (language.code(), language));
        let kind = section.take_choice("type", &kinds).unwrap_or_default();
        let (name, address) = (section.take_parsed("name", fact), section.take_parsed("address", fact));
        Self {
            name,
            kind,
            address,
            phone: section.take_parsed("phone", fact),
            time_zone: section.take_parsed("time_zone", Zone::new),
            language: section.take_choice("language", &languages),
            hours: read_hours(section),
        }
    }

    /// In which language it speaks first.
    #[must_use]
    pub fn language(&self) -> Language {
        self.language.unwrap_or(Language::English)
    }
}

fn fact(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err("it is empty".to_owned()),
        1..=MAX_CHARS if text.chars().any(char::is_control) => Err("it is more than one line".to_owned()),
        1..=MAX_CHARS => Ok(text.to_owned()),
        _ => Err(format!("it is longer than {MAX_CHARS} characters, and it is sent with every message")),
    }
}

/// `None`: nothing is said of it. A day that is not named is closed.
fn read_hours(section: &mut Section<'_>) -> Option<Hours> {
    let mut closed = section.take_parsed_list("closed", |text| text.parse::<Days>());
    if closed.len() > MAX_CLOSED {
        let help = Some(
            "leave out those that are over; several days in a row are one, as in \"2026-12-24/2027-01-01\"".to_owned(),
        );
        section.problem(Severity::Error, "closed", format!("there are more than {MAX_CLOSED}"), help);
        closed.truncate(MAX_CLOSED);
    }
    let mut hours = section.take_section("hours")?;
    let span = |text: &str| text.parse::<Span>();
    let week = [
        hours.take_parsed_list("monday", span),
        hours.take_parsed_list("tuesday", span),
        hours.take_parsed_list("wednesday", span),
        hours.take_parsed_list("thursday", span),
        hours.take_parsed_list("friday", span),
        hours.take_parsed_list("saturday", span),
        hours.take_parsed_list("sunday", span),
    ];
    match Hours::new(week, closed) {
        Ok(hours) => Some(hours),
        Err((day, span)) => {
            const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
            let day = DAYS.get(day).copied().unwrap_or_default();
            let help = Some("join the two, or let one begin when the other ends".to_owned());
            hours.problem(Severity::Error, day, format!("{span} overlaps the one before it"), help);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Document, NoVariables};

    fn read(toml: &str) -> (Business, Vec<String>) {
        let document = Document::parse_toml("t", toml).unwrap();
        let mut section = document.root(&NoVariables);
        let business = Business::read(&mut section);
        section.finish();
        (business, document.problems().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn everything_can_be_said() {
        let (business, problems) = read(
            "name = 'Dr. Lind'\ntype = 'dental_practice'\naddress = 'Seestr. 1'\nphone = '+49 30 1'\n\
             time_zone = 'europe/berlin'\nlanguage = 'de'\nclosed = ['2026-12-24']\n\
             hours.monday = ['14:00-18:00', '08:00-12:00']",
        );
        assert_eq!(problems, [""; 0]);
        assert_eq!((business.kind, business.language()), (Kind::DentalPractice, Language::German));
        assert_eq!(business.time_zone.unwrap().name(), "Europe/Berlin");
        let hours = business.hours.unwrap();
        let monday: Vec<String> = hours.of_weekday(jiff::civil::Weekday::Monday).iter().map(Span::to_string).collect();
        assert_eq!(monday, ["08:00-12:00", "14:00-18:00"]);
        assert_eq!(read("").0, Business::default());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_what_was_meant() {
        let check = |toml: &str, expected: &str| {
            let (_, problems) = read(toml);
            assert!(problems.len() == 1 && problems[0].contains(expected), "{toml}: {problems:?}");
        };
        check("\ntime_zone = 'Europe/Berlln'", "t:2");
        check("time_zone = 'Europe/Berlln'", "did you mean \"Europe/Berlin\"?");
        check("type = 'dentist'", "is not one of blank, dental_practice, estate_agency");
        check("name = \"a\\nb\"", "more than one line");
        check("phone = ' '", "it is empty");
        check("hours.monday = ['8-12']", "as in \"08:00-12:30\"");
        check("hours.friday = ['08:00-12:00', '11:00-13:00']", "11:00-13:00 overlaps the one before it");
        check("hours.mondy = []", "monday");
        check("closed = ['Christmas']", "is no day");
        check("language = 'fr'", "is not one of en, de");
    }

    #[test]
    fn zones_that_people_live_in_are_known_without_the_machine() {
        let names: Vec<String> = Zone::names().collect();
        for name in ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC"] {
            assert!(names.iter().any(|known| known == name), "{name}");
        }
        assert!(names.len() > 300);
    }
}
