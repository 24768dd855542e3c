//! The macro that turns one line into a setting: a typed field, a flag, an environment
//! variable, a key of the file and a line of `--help`.
//!
//! Knows nothing of any particular setting; those stand in `settings.rs`.

use super::value::Kind;

/// What the program knows about one setting.
#[derive(Debug)]
pub struct Setting {
    /// The field's name, which is also the key of the file: `ping_interval_ms`.
    pub key: &'static str,
    /// Under which heading it is shown.
    pub area: &'static str,
    /// What it does, one line a paragraph.
    pub doc: &'static [&'static str],
    /// The value when nobody gives one, as text.
    pub default: &'static str,
    /// How a flag takes it.
    pub kind: Kind,
    /// Whether its value is never shown.
    pub secret: bool,
    /// Says which values are allowed.
    pub allowed: fn() -> String,
    /// Gives the value as it is shown, or `None` when the text is not allowed.
    pub canonical: fn(&str) -> Option<String>,
}

impl Setting {
    /// Gives the flag without its dashes: `ping-interval-ms`.
    pub fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    /// Gives the environment variable: `RALLY_PING_INTERVAL_MS`.
    pub fn variable(&self) -> String {
        format!("RALLY_{}", self.key.to_ascii_uppercase())
    }

    /// Gives the documentation as one line.
    pub fn help(&self) -> String {
        self.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }
}

/// Declares the settings: areas with a heading, and in each lines of
/// `/// doc`, `key: type = "default" in range;` (the range may be left out).
macro_rules! settings {
    ($(
        $(#[doc = $area_doc:literal])+
        $area:ident: $Area:ident = $title:literal {
            $(
                $(#[doc = $doc:literal])+
                $key:ident: $type:ty = $default:literal $(in $range:expr)?;
            )*
        }
    )*) => {
        /// Everything an operator may set, by area.
        #[derive(Debug, Clone)]
        pub struct Settings {
            $($(#[doc = $area_doc])+ pub $area: $Area,)*
        }

        $(
            $(#[doc = $area_doc])+
            #[derive(Debug, Clone)]
            pub struct $Area {
                $($(#[doc = $doc])+ pub $key: $type,)*
            }
        )*

        /// Every setting there is, in the order in which they are shown.
        pub static TABLE: &[Setting] = &[$($(
            Setting {
                key: stringify!($key),
                area: $title,
                doc: &[$($doc),+],
                default: $default,
                kind: <$type as Value>::KIND,
                secret: <$type as Value>::SECRET,
                allowed: || value::allowed::<$type>(settings!(@range $($range)?)),
                canonical: |text| {
                    value::read::<$type>(text, settings!(@range $($range)?)).map(|v| v.show())
                },
            },
        )*)*];

        impl Settings {
            /// Builds the settings from one text a key; `Err` names the key whose text is not allowed.
            pub(super) fn read(text_of: impl Fn(&'static str) -> String) -> Result<Self, &'static str> {
                Ok(Self {
                    $($area: $Area {$(
                        $key: value::read::<$type>(
                            &text_of(stringify!($key)),
                            settings!(@range $($range)?),
                        ).ok_or(stringify!($key))?,
                    )*},)*
                })
            }
        }
    };
    (@range) => { None };
    (@range $range:expr) => { Some($range) };
}
pub(super) use settings;
