//! The program's commands beside a server, or instead of one, and what they say.

use serde_json::Value;

use crate::server::Server;

/// What a command that must succeed says.
pub fn succeeds(server: &Server, arguments: &[&str]) -> String {
    let output = server.command(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Why a command that must fail does.
pub fn fails(server: &Server, arguments: &[&str]) -> String {
    let output = server.command(arguments).output().unwrap();
    assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The same of one that says it in JSON.
pub fn json(server: &Server, arguments: &[&str]) -> Value {
    serde_json::from_str(&succeeds(server, arguments)).unwrap()
}
