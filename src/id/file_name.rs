//! The name of a working file.

use std::fmt;

use icu_normalizer::ComposingNormalizerBorrowed;

/// Longest name of a working file, in bytes.
pub const MAX_FILE_NAME_BYTES: usize = 128;
/// Names between its slashes, at most.
const MAX_LEVELS: usize = 3;

/// Names that Windows keeps for devices, whatever follows a full stop.
const DEVICES: &[&str] = &["con", "prn", "aux", "nul", "conin$", "conout$", "clock$"];
/// The same, each followed by one digit.
const NUMBERED_DEVICES: &[&str] = &["com", "lpt"];

/// The name of a working file: `prices.txt`, `letters/2026/May.md`. Model-written, so nothing is taken on trust.
///
/// ```text
/// name    = segment *2( "/" segment )            at most 128 bytes of UTF-8
/// segment = any characters but  / \ : * ? " < > |  controls, invisible ones, and spaces other than U+0020
/// ```
///
/// A segment is not `.` or `..`, begins neither with a space nor, as the first one, with `~`, ends neither with
/// a full stop nor with a space, and is no device of Windows. All this holds for the name as it is written and for
/// its [folded](Self::folded) form, so no look-alike gets through. Working files live in the store and not
/// in a directory; a name that is good here is also good on every disk that one is ever taken out to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(Box<str>);

/// Why a text is not the name of a working file. Says it to whoever chose the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FileNameError {
    /// Nothing, or nothing between two slashes, before the first or after the last one.
    #[error("a file name is relative, like `notes.txt` or `letters/may.txt`, and no part of it is empty")]
    Empty,
    /// More than [`MAX_FILE_NAME_BYTES`].
    #[error("a file name has at most {MAX_FILE_NAME_BYTES} bytes")]
    TooLong,
    /// More than three segments.
    #[error("a file name has at most {MAX_LEVELS} levels")]
    TooDeep,
    /// `.` or `..`.
    #[error("a file name cannot lead elsewhere: `.` and `..` are not allowed")]
    Elsewhere,
    /// A character that some system reads as something else than a name.
    #[error("a file name has no `\\`, `:`, `*`, `?`, `\"`, `<`, `>`, `|`, no control and no invisible characters")]
    Character,
    /// Systems drop or expand it.
    #[error("no part of a file name begins with a space or `~`, or ends with a space or a full stop")]
    Edge,
    /// `CON`, `nul.txt`, `COM1` …
    #[error("the name belongs to a device on some systems; choose another")]
    Device,
}

impl FileName {
    /// Checks the text and keeps it byte for byte.
    ///
    /// # Errors
    /// Says which rule the name breaks.
    pub fn new(text: &str) -> Result<Self, FileNameError> {
        if text.len() > MAX_FILE_NAME_BYTES {
            return Err(FileNameError::TooLong);
        }
        check(text)?;
        check(&fold(text))?;
        Ok(Self(text.into()))
    }

    /// The name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What two names have in common that differ in case or in how their characters are put together:
    /// some disks take them for one file, and so do people.
    #[must_use]
    pub fn folded(&self) -> String {
        fold(&self.0)
    }
}

impl FileName {
    /// Could two files of these names not lie beside each other in every directory? They are one name in other
    /// letters, or one of them would be a folder.
    #[must_use]
    pub fn clashes_with(&self, other: &Self) -> bool {
        let (one, other) = (self.folded(), other.folded());
        let is_below = |one: &str, other: &str| one.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'));
        one == other || is_below(&one, &other) || is_below(&other, &one)
    }

    /// The same with a number: `a (2).txt`, `letters (2)/may.txt`. Another first part for every number, so that
    /// one of them is always free.
    #[must_use]
    pub fn numbered(&self, n: u64) -> Self {
        let split = |at| self.0.split_at(at);
        let (stem, rest) = match (self.0.find('/'), self.0.rfind('.')) {
            (Some(at), _) => split(at),
            (None, Some(at)) if at > 0 => split(at),
            (None, _) => (&*self.0, ""),
        };
        // What becomes too long loses its name: all that counts is that nothing is lost.
        Self::new(&format!("{stem} ({n}){rest}")).unwrap_or_else(|_too_long| Self(format!("restored ({n})").into()))
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Up and down, because some small letters share a capital one.
fn fold(text: &str) -> String {
    let normalizer = ComposingNormalizerBorrowed::new_nfkc();
    let upper = |text: &str| text.chars().flat_map(char::to_uppercase).collect::<String>();
    let lower = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<String>();
    let once = |text: &str| normalizer.normalize(&lower(&upper(text))).into_owned();
    // What is put together may have a case of its own.
    once(&once(&normalizer.normalize(text)))
}

fn check(text: &str) -> Result<(), FileNameError> {
    for (n, segment) in text.split('/').enumerate() {
        if n == MAX_LEVELS {
            return Err(FileNameError::TooDeep);
        }
        check_segment(segment)?;
    }
    if text.starts_with('~') { Err(FileNameError::Edge) } else { Ok(()) }
}

fn check_segment(segment: &str) -> Result<(), FileNameError> {
    if segment.is_empty() {
        Err(FileNameError::Empty)
    } else if segment == "." || segment == ".." {
        Err(FileNameError::Elsewhere)
    } else if segment.chars().any(is_refused) {
        Err(FileNameError::Character)
    } else if segment.starts_with(' ') || segment.ends_with([' ', '.']) {
        Err(FileNameError::Edge)
    } else if is_device(segment) {
        Err(FileNameError::Device)
    } else {
        Ok(())
    }
}

fn is_refused(c: char) -> bool {
    let is_sign = matches!(c, '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
    let is_space = c.is_whitespace() && c != ' ';
    // Soft hyphen, fillers, joiners and marks of direction, variation selectors, tags, private use, no characters.
    let is_invisible = matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{ffff}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}');
    is_sign || is_space || c.is_control() || is_invisible
}

fn is_device(segment: &str) -> bool {
    let lower = segment.to_ascii_lowercase();
    let stem = lower.split('.').next().unwrap_or_default().trim_end_matches(' ');
    let is_numbered = |device: &&str| matches!(stem.strip_prefix(*device).map(str::as_bytes), Some([digit]) if digit.is_ascii_digit());
    DEVICES.contains(&stem) || NUMBERED_DEVICES.iter().any(is_numbered)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(names: &[&str], expected: Result<(), FileNameError>) {
        for name in names {
            assert_eq!(FileName::new(name).map(|_| ()), expected, "{name:?}");
        }
    }

    #[test]
    fn ordinary_names_are_kept_as_they_are() {
        let names = [
            "notes.txt",
            "a",
            "letters/2026/May.md",
            "Preise Frühling.csv",
            "価格.txt",
            "prix à jour",
            "e\u{301}te.txt",
            ".hidden",
            "a.b.c",
            "a~",
            "letters/~x",
            "com.txt",
            "comic",
            "com10.txt",
            "console.md",
            "nullen",
            "lpt",
            "🦷.md",
            "-rf",
            "$HOME",
            "%2e%2e",
            "a'b",
            "(1)",
            "a,b;c",
            "@x#y!",
            "x..y",
        ];
        check(&names, Ok(()));
        assert_eq!(FileName::new("Prix À jour").unwrap().as_str(), "Prix À jour");
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        check(&["", "/", "/etc/passwd", "//x", "a//b", "a/", "letters//", "/.."], Err(FileNameError::Empty));
        check(
            &[".", "..", "../x", "../other/key/file", "a/../../x", "a/..", "a/./b", "./a", "․․/x", "‥/x", "．．/x"],
            Err(FileNameError::Elsewhere),
        );
        check(
            &[
                r"..\x",
                r"\x",
                r"a\b",
                r"C:\x",
                "C:x",
                "c:/x",
                "file:///etc/passwd",
                r"\\server\share",
                r"\\?\x",
                "a.txt:stream",
                "a.txt::$DATA",
                "＼x",
                "C：x",
            ],
            Err(FileNameError::Character),
        );
        check(&["~", "~/.ssh/id_rsa", "~root/x"], Err(FileNameError::Edge));
        check(&["a／../x"], Err(FileNameError::Edge));
        check(&["／etc"], Err(FileNameError::Empty));
        check(&["a/b/c/d", "a/b/c／d"], Err(FileNameError::TooDeep));
    }

    #[test]
    fn names_that_a_system_reads_otherwise_are_refused() {
        check(
            &[
                "a\0",
                "\0",
                "a\0.txt",
                "a\nb",
                "\r",
                "a\tb",
                "\u{1b}[2J",
                "a\u{7f}",
                "a\u{9b}",
                "a\u{85}b",
                "a*",
                "what?",
                "\"a\"",
                "<a>",
                "a|b",
                "fdp.\u{202e}txt",
                "a\u{200b}b",
                "a\u{200d}b",
                "\u{feff}a",
                "a\u{ad}b",
                "a\u{2028}b",
                "a\u{a0}b",
                "a\u{3000}b",
                "a\u{2066}b",
                "a\u{e000}",
                "a\u{ffff}",
                "a\u{e0041}",
                "a\u{10ffff}",
                "a\u{fe0f}",
                "\u{3164}",
                "a\u{fffd}",
                "\u{2800}",
            ],
            Err(FileNameError::Character),
        );
        check(&["a.", "a ", " a", "...", "a/b. ", "a /b", "a./b", "a/ b"], Err(FileNameError::Edge));
    }

    #[test]
    fn devices_are_refused_wherever_and_however_they_are_written() {
        let names = [
            "CON",
            "con",
            "Nul",
            "NUL.txt",
            "nul.tar.gz",
            "aux.h",
            "PRN",
            "COM1",
            "com1.txt",
            "LPT9",
            "com0",
            "letters/con",
            "con/x",
            "con .txt",
            "ＣＯＮ",
            "com¹",
            "LPT³.txt",
            "CONIN$",
            "conout$",
            "ⓝⓤⓛ",
            "ﬀ/aux",
        ];
        check(&names, Err(FileNameError::Device));
    }

    #[test]
    fn huge_names_are_refused() {
        check(&[&"x".repeat(MAX_FILE_NAME_BYTES), &"é".repeat(MAX_FILE_NAME_BYTES / 2)], Ok(()));
        check(
            &[&"x".repeat(MAX_FILE_NAME_BYTES + 1), &"é".repeat(65), &"../".repeat(100_000)],
            Err(FileNameError::TooLong),
        );
    }

    #[test]
    fn names_that_look_alike_are_one_when_folded() {
        let check = |one: &str, other: &str, are_one: bool| {
            let folded = |name| FileName::new(name).unwrap().folded();
            assert_eq!(folded(one) == folded(other), are_one, "{one} {other}");
        };
        check("Notes.TXT", "notes.txt", true);
        check("\u{e9}.txt", "e\u{301}.txt", true);
        check("É.txt", "e\u{301}.txt", true);
        check("ﬁle", "FILE", true);
        check("Straße", "STRASSE", true);
        check("ΟΔΟΣ", "οδος", true);
        check("Å", "\u{212b}", true);
        check("①", "1", true);
        check("a", "b", false);
        check("notes", "notes.txt", false);
        // One looks like the other, but they are letters of two alphabets, and no disk takes one for the other.
        check("a", "а", false);
    }

    #[test]
    fn names_that_cannot_lie_beside_each_other_clash() {
        let check = |one: &str, other: &str, expected: bool| {
            let (one, other) = (FileName::new(one).unwrap(), FileName::new(other).unwrap());
            assert_eq!((one.clashes_with(&other), other.clashes_with(&one)), (expected, expected), "{one} {other}");
        };
        check("a", "A", true);
        check("letters", "Letters/may", true);
        check("letters/may", "letters/june", false);
        check("letters", "letters2/may", false);
        check("a.txt", "a", false);
    }

    #[test]
    fn a_numbered_name_is_a_name() {
        let check = |name: &str, expected: &str| {
            let numbered = FileName::new(name).unwrap().numbered(2);
            assert_eq!(numbered.as_str(), expected);
            assert_eq!(FileName::new(expected), Ok(numbered));
        };
        check("a.txt", "a (2).txt");
        check("a", "a (2)");
        check(".env", ".env (2)");
        check("a.tar.gz", "a.tar (2).gz");
        check("letters/may.txt", "letters (2)/may.txt");
        check(&"x".repeat(125), "restored (2)");
    }

    proptest! {
        #[test]
        fn what_is_taken_never_leaves_and_folds_to_itself(text in "([a-zA-Z]|\\.|/|\\\\|~|:|\\PC|[․．／＼]){0,20}") {
            if let Ok(name) = FileName::new(&text) {
                prop_assert_eq!(name.as_str(), &text);
                let folded = name.folded();
                prop_assert_eq!(&fold(&folded), &folded);
                for text in [text, folded] {
                    prop_assert!(!text.starts_with('/') && !text.contains('\\') && !text.contains(':'), "{:?}", text);
                    prop_assert!(text.split('/').all(|segment| !matches!(segment, "" | "." | "..")), "{:?}", text);
                    let path = std::path::Path::new("/home").join(&text);
                    prop_assert!(path.components().skip(2).all(|part| matches!(part, std::path::Component::Normal(_))));
                }
            }
        }
    }
}
