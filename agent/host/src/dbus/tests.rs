use std::os::unix::net::UnixListener;
use std::thread;

use proptest::prelude::*;

use super::fake::{number, reply, serve, text};
use super::*;

#[test]
fn a_property_is_asked_for_and_refusals_leave_the_bus_usable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bus");
    let listener = UnixListener::bind(&path).unwrap();
    let signal_first = [reply(99, RETURN, &[]), reply(3, RETURN, &number(7))].concat();
    let replies = [
        reply(1, RETURN, &text(":1.7")),
        reply(2, ERROR, &text("no such property")),
        signal_first,
    ];
    let server = thread::spawn(move || serve(&listener, &replies));
    let mut bus = Bus::connect(&path).unwrap();
    let mut property = || bus.property("a.b", "/a/b", "a.b.C", "D");
    let refusal = property().unwrap_err();
    assert!(
        refusal.to_string().contains("no such property"),
        "{refusal}"
    );
    assert_eq!(property().unwrap(), Value::Number(7.0));
    server.join().unwrap();
}

#[test]
fn calls_are_laid_out_as_the_specification_says() {
    let call = Call {
        destination: "d",
        path: "/",
        interface: "i",
        member: "m",
        arguments: &["a", "bc"],
    };
    let message = call.message(5);
    let read = Message::read(&mut &*message).unwrap();
    assert_eq!((read.kind, read.answers), (CALL, None));
    let body = read.body;
    let mut values = body.values();
    assert_eq!((values.text(), values.text()), (Some("a"), Some("bc")));
    assert_eq!(values.text(), None);
}

proptest! {
    #[test]
    fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), little in any::<bool>()) {
        if let Some(first) = bytes.first_mut() {
            *first = if little { LITTLE } else { b'B' };
        }
        if let Ok(message) = Message::read(&mut &*bytes) {
            let body = message.body;
            body.values().variant();
            body.values().array_of_structs();
        }
        Values::new(&bytes, little).reply_serial();
        Values::new(&bytes, little).variant();
    }
}
