//! Encodes protobuf messages as an API server does, for tests.

/// Encodes a message from the numbers and the values of its fields.
pub(crate) fn message(fields: &[(u8, Field)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, field) in fields {
        let key = u64::from(*number) << 3;
        match field {
            Field::Number(value) => {
                put(&mut bytes, key);
                put(&mut bytes, *value);
            }
            Field::Bytes(value) => {
                put(&mut bytes, key | 2);
                put(&mut bytes, value.len() as u64);
                bytes.extend(value);
            }
            Field::Fixed64 => {
                put(&mut bytes, key | 1);
                bytes.extend([7; 8]);
            }
            Field::Fixed32 => {
                put(&mut bytes, key | 5);
                bytes.extend([7; 4]);
            }
        }
    }
    bytes
}

pub(crate) enum Field {
    Number(u64),
    Bytes(Vec<u8>),
    Fixed64,
    Fixed32,
}

pub(crate) fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

pub(crate) fn text(text: &str) -> Field {
    Field::Bytes(text.as_bytes().to_vec())
}

pub(crate) fn number(number: i64) -> Field {
    Field::Number(number.cast_unsigned())
}

pub(crate) fn nested(fields: &[(u8, Field)]) -> Field {
    Field::Bytes(message(fields))
}

pub(crate) fn time(seconds: i64) -> Field {
    nested(&[(1, number(seconds)), (2, number(0))])
}

pub(crate) fn entry(key: &str, value: Field) -> Field {
    nested(&[(1, text(key)), (2, value)])
}

/// Encodes an object in its envelope.
pub(crate) fn packed(fields: &[(u8, Field)]) -> Vec<u8> {
    let kind = nested(&[(1, text("v1")), (2, text("Kind"))]);
    let envelope = [(1, kind), (2, nested(fields)), (3, text("")), (4, text(""))];
    [b"k8s\0".to_vec(), message(&envelope)].concat()
}

/// Encodes a watch event.
pub(crate) fn change(kind: &str, object: &[(u8, Field)]) -> Vec<u8> {
    message(&[(1, text(kind)), (2, nested(&[(1, Field::Bytes(packed(object)))]))])
}
