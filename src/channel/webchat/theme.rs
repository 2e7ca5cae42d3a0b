//! The business's colour, made readable: whatever colour is configured, text on it and text in it
//! has a contrast of at least 4.5:1 (WCAG 2.2, 1.4.3).

use std::fmt;

/// An sRGB colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Colour {
    red: u8,
    green: u8,
    blue: u8,
}

/// Why a text is not a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a colour like `#1f6feb` or `#18f`")]
pub(super) struct NotAColour;

/// Used when none is configured.
const DEFAULT: Colour = Colour { red: 0x2f, green: 0x4f, blue: 0xd8 };
const BLACK: Colour = Colour { red: 0, green: 0, blue: 0 };
const WHITE: Colour = Colour { red: 0xff, green: 0xff, blue: 0xff };
/// The least favourable surfaces of `chat.css` that coloured text stands on.
const LIGHT_SURFACE: Colour = Colour { red: 0xee, green: 0xf0, blue: 0xf4 };
const DARK_SURFACE: Colour = Colour { red: 0x26, green: 0x2a, blue: 0x34 };
const READABLE: f64 = 4.5;

impl Colour {
    /// Reads `#rrggbb` or `#rgb`.
    ///
    /// # Errors
    /// When it is anything else.
    pub(super) fn parse(text: &str) -> Result<Self, NotAColour> {
        let digits = text.strip_prefix('#').filter(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
        let digits = digits.ok_or(NotAColour)?;
        let number = u32::from_str_radix(digits, 16).ok().ok_or(NotAColour)?;
        let [_, red, green, blue] = match digits.len() {
            6 => number.to_be_bytes(),
            3 => {
                let doubled = |shift: u32| ((number >> shift) & 0xf) * 0x11;
                (doubled(8) << 16 | doubled(4) << 8 | doubled(0)).to_be_bytes()
            }
            _ => return Err(NotAColour),
        };
        Ok(Self { red, green, blue })
    }

    /// WCAG 2.2, "relative luminance".
    fn luminance(self) -> f64 {
        let linear = |channel: u8| {
            let c = f64::from(channel) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(self.red) + 0.7152 * linear(self.green) + 0.0722 * linear(self.blue)
    }

    /// From 1 to 21.
    fn contrast(self, other: Self) -> f64 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// `step` sixteenths of the way to `other`.
    fn towards(self, other: Self, step: u16) -> Self {
        let mix = |from: u8, to: u8| {
            let sixteenths = u16::from(from) * 16_u16.saturating_sub(step) + u16::from(to) * step;
            u8::try_from(sixteenths / 16).unwrap_or(u8::MAX)
        };
        Self { red: mix(self.red, other.red), green: mix(self.green, other.green), blue: mix(self.blue, other.blue) }
    }

    /// The nearest shade, on the way to `end`, that can be read on `surface`.
    fn readable_on(self, surface: Self, end: Self) -> Self {
        (0..=16).map(|step| self.towards(end, step)).find(|c| c.contrast(surface) >= READABLE).unwrap_or(end)
    }

    /// Black or white, whichever is easier to read on it. One of them always reaches 4.58:1.
    fn ink(self) -> Self {
        if self.contrast(WHITE) >= self.contrast(BLACK) { WHITE } else { BLACK }
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.red, self.green, self.blue)
    }
}

/// The colours of one entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Theme {
    pub(super) accent: Colour,
    pub(super) on_accent: Colour,
    light_text: Colour,
    dark_text: Colour,
}

impl Theme {
    pub(super) fn new(accent: Option<Colour>) -> Self {
        let accent = accent.unwrap_or(DEFAULT);
        Self {
            accent,
            on_accent: accent.ink(),
            light_text: accent.readable_on(LIGHT_SURFACE, BLACK),
            dark_text: accent.readable_on(DARK_SURFACE, WHITE),
        }
    }

    /// `theme.css`: what `chat.css` leaves open.
    pub(super) fn css(&self) -> String {
        let Self { accent, on_accent, light_text, dark_text } = self;
        format!(
            ":root {{ --accent: {accent}; --on-accent: {on_accent}; --accent-text: {light_text}; }}\n\
             @media (prefers-color-scheme: dark) {{ :root {{ --accent-text: {dark_text}; }} }}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_read_in_both_lengths() {
        let check = |text, expected: Option<&str>| {
            assert_eq!(Colour::parse(text).ok().map(|c| c.to_string()).as_deref(), expected, "{text}");
        };
        check("#1F6feb", Some("#1f6feb"));
        check("#18f", Some("#1188ff"));
        for text in ["1f6feb", "#1f6fe", "#1f6febff", "#", "#ggg", "red", "#+12345", "#12;}"] {
            check(text, None);
        }
    }

    #[test]
    fn every_accent_can_be_read() {
        for text in ["#000", "#fff", "#ffef00", "#777", "#808080", "#2f4fd8", "#f00", "#0f0", "#00f", "#767676"] {
            let theme = Theme::new(Some(Colour::parse(text).unwrap()));
            let check = |a: Colour, b: Colour| assert!(a.contrast(b) >= READABLE, "{text}: {a} on {b}");
            check(theme.on_accent, theme.accent);
            check(theme.light_text, LIGHT_SURFACE);
            check(theme.dark_text, DARK_SURFACE);
        }
    }
}
