//! An object and its version.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An object with the version that its ETag shows and `If-Match` names.
#[derive(Clone, Debug)]
pub struct Versioned<T> {
    /// The object.
    pub object: T,
    /// Its version: starts at 1 and increases.
    pub version: i64,
}

impl<T> Versioned<T> {
    pub(crate) fn new(object: T, version: i64) -> Self {
        Self { object, version }
    }
}

// A pair in JSON, as remembered responses are stored.
impl<T: Serialize> Serialize for Versioned<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.object, self.version).serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Versioned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (object, version) = Deserialize::deserialize(deserializer)?;
        Ok(Self { object, version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Remembered responses outlive a version of this program.
    #[test]
    fn a_versioned_object_is_stored_as_a_pair() {
        let text = serde_json::to_string(&Versioned::new("name", 3)).unwrap();
        assert_eq!(text, r#"["name",3]"#);
        let read: Versioned<String> = serde_json::from_str(&text).unwrap();
        assert_eq!((read.object.as_str(), read.version), ("name", 3));
    }
}
