//! Label values are enums, so the number of series is bounded by construction.
//!
//! Module names, versions, hosts and user agents go on spans and log events, never on labels.

/// A label as the catalogue describes it.
#[derive(Clone, Copy, Debug)]
pub struct LabelInfo {
    /// The name of the enum behind it: two metrics may use one label name for different sets.
    pub set: &'static str,
    /// The label's name, as it stands in the exposition.
    pub name: &'static str,
    /// What it tells.
    pub about: &'static str,
    /// Each value and its meaning, in declaration order.
    pub values: &'static [(&'static str, &'static str)],
}

/// A closed set of label values.
pub trait Label: Copy + 'static {
    /// How the catalogue describes it.
    const INFO: LabelInfo;
    /// The label's name, as it stands in the exposition.
    const NAME: &'static str = Self::INFO.name;
    /// Every value, in declaration order.
    const ALL: &'static [Self];
    /// The value's text.
    fn as_str(self) -> &'static str;
    /// Position in [`Label::ALL`].
    fn index(self) -> usize;
}

/// Declares a label: an enum whose variants carry their text, each with a doc comment that the
/// reference page repeats.
macro_rules! label {
    ($(#[doc = $about:literal])+ $name:ident = $label:literal {
        $($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)+
    }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[doc = $doc])+ $variant,)+ }

        impl $crate::telemetry::labels::Label for $name {
            const INFO: $crate::telemetry::labels::LabelInfo = $crate::telemetry::labels::LabelInfo {
                set: stringify!($name),
                name: $label,
                about: concat!($($about),+),
                values: &[$(($text, concat!($($doc),+)),)+],
            };
            const ALL: &'static [Self] = &[$(Self::$variant,)+];
            fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
            fn index(self) -> usize { self as usize }
        }

        impl $name {
            /// The value's text, as it stands in metrics, spans and logs.
            pub fn as_str(self) -> &'static str {
                <Self as $crate::telemetry::labels::Label>::as_str(self)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use label;

/// The labels of one metric: none, one, two or three [`Label`]s.
pub trait LabelSet: Copy {
    /// Label names, in the order of [`LabelSet::values`].
    const NAMES: &'static [&'static str];
    /// The labels, in the same order.
    const INFOS: &'static [LabelInfo];
    /// The product of the sizes of the labels: the most series the metric can have.
    const COUNT: usize;
    /// Position of this combination, below [`LabelSet::COUNT`].
    fn index(self) -> usize;
    /// The texts of this combination.
    fn values(self) -> Vec<&'static str>;
}

impl LabelSet for () {
    const NAMES: &'static [&'static str] = &[];
    const INFOS: &'static [LabelInfo] = &[];
    const COUNT: usize = 1;
    fn index(self) -> usize {
        0
    }
    fn values(self) -> Vec<&'static str> {
        Vec::new()
    }
}

impl<A: Label> LabelSet for (A,) {
    const NAMES: &'static [&'static str] = &[A::NAME];
    const INFOS: &'static [LabelInfo] = &[A::INFO];
    const COUNT: usize = A::ALL.len();
    fn index(self) -> usize {
        self.0.index()
    }
    fn values(self) -> Vec<&'static str> {
        vec![self.0.as_str()]
    }
}

impl<A: Label, B: Label> LabelSet for (A, B) {
    const NAMES: &'static [&'static str] = &[A::NAME, B::NAME];
    const INFOS: &'static [LabelInfo] = &[A::INFO, B::INFO];
    const COUNT: usize = A::ALL.len() * B::ALL.len();
    fn index(self) -> usize {
        self.0.index() * B::ALL.len() + self.1.index()
    }
    fn values(self) -> Vec<&'static str> {
        vec![self.0.as_str(), self.1.as_str()]
    }
}

impl<A: Label, B: Label, C: Label> LabelSet for (A, B, C) {
    const NAMES: &'static [&'static str] = &[A::NAME, B::NAME, C::NAME];
    const INFOS: &'static [LabelInfo] = &[A::INFO, B::INFO, C::INFO];
    const COUNT: usize = A::ALL.len() * B::ALL.len() * C::ALL.len();
    fn index(self) -> usize {
        (self.0.index() * B::ALL.len() + self.1.index()) * C::ALL.len() + self.2.index()
    }
    fn values(self) -> Vec<&'static str> {
        vec![self.0.as_str(), self.1.as_str(), self.2.as_str()]
    }
}
