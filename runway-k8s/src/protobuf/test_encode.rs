//! Encodes protobuf messages as an API server does, for tests.

/// Encodes a message from the numbers and the values of its fields.
pub(crate) fn encode_message(fields: &[(u8, TestField)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, field) in fields {
        let key = u64::from(*number) << 3;
        match field {
            TestField::Varint(value) => {
                put_varint(&mut bytes, key);
                put_varint(&mut bytes, *value);
            }
            TestField::Bytes(value) => {
                put_varint(&mut bytes, key | 2);
                put_varint(&mut bytes, value.len() as u64);
                bytes.extend(value);
            }
            TestField::Fixed64 => {
                put_varint(&mut bytes, key | 1);
                bytes.extend([7; 8]);
            }
            TestField::Fixed32 => {
                put_varint(&mut bytes, key | 5);
                bytes.extend([7; 4]);
            }
        }
    }
    bytes
}

pub(crate) enum TestField {
    Varint(u64),
    Bytes(Vec<u8>),
    Fixed64,
    Fixed32,
}

pub(crate) fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

pub(crate) fn string(text: &str) -> TestField {
    TestField::Bytes(text.as_bytes().to_vec())
}

pub(crate) fn int(number: i64) -> TestField {
    TestField::Varint(number.cast_unsigned())
}

pub(crate) fn nested(fields: &[(u8, TestField)]) -> TestField {
    TestField::Bytes(encode_message(fields))
}

pub(crate) fn time(seconds: i64) -> TestField {
    nested(&[(1, int(seconds)), (2, int(0))])
}

pub(crate) fn map_entry(key: &str, value: TestField) -> TestField {
    nested(&[(1, string(key)), (2, value)])
}

/// Encodes an object in its envelope.
pub(crate) fn in_envelope(fields: &[(u8, TestField)]) -> Vec<u8> {
    let kind = nested(&[(1, string("v1")), (2, string("Kind"))]);
    let envelope = [(1, kind), (2, nested(fields)), (3, string("")), (4, string(""))];
    [b"k8s\0".to_vec(), encode_message(&envelope)].concat()
}

/// Encodes a watch event.
pub(crate) fn watch_event(kind: &str, object: &[(u8, TestField)]) -> Vec<u8> {
    encode_message(&[(1, string(kind)), (2, nested(&[(1, TestField::Bytes(in_envelope(object)))]))])
}
