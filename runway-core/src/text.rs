//! Types that are written down as their text.

/// Serializes types by `Display`, or by a method whose answer is serialized as the same text, and reads them back by `FromStr`.
macro_rules! serde_as_text {
    ($($name:ident $(by $text:ident)?),+) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serde_as_text!(@write self, serializer $(, $text)?)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(|error| serde::de::Error::custom(format!("`{text}` {error}")))
            }
        }
    )+};
    (@write $value:ident, $serializer:ident) => { $serializer.collect_str($value) };
    (@write $value:ident, $serializer:ident, $text:ident) => {
        serde::Serialize::serialize(&$value.$text(), $serializer)
    };
}

pub(crate) use serde_as_text;
