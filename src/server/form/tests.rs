#![allow(clippy::unwrap_used)]

use http_body_util::{BodyExt as _, StreamBody};
use proptest::prelude::*;

use super::*;
use crate::server::body::BodyFault;

fn delimiter(boundary: &str) -> Result<Delimiter, FormFault> {
    Delimiter::of(Some(&format!("multipart/form-data; boundary={boundary}").parse().unwrap()))
}

type Outcome = Result<(Vec<(String, String)>, Option<String>, Vec<u8>), FormFault>;

/// Reads a form that comes in pieces of `len` bytes.
async fn parse(form: &[u8], len: usize, allowed: RangeInclusive<u64>) -> Outcome {
    let pieces: Vec<Result<Frame<Bytes>, BrokenBody>> =
        form.chunks(len).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect();
    let body = StreamBody::new(futures_util::stream::iter(pieces));
    let form = read(body, delimiter("XX").unwrap()).await?;
    let fields = form.fields.iter().map(|field| (field.sent_name.clone(), field.value.clone())).collect();
    let file_name = form.file_name.clone();
    let (file, verdict) = form.file(allowed);
    match file.collect().await {
        Ok(bytes) => {
            assert_eq!(verdict.get(), None);
            Ok((fields, file_name, bytes.to_bytes().to_vec()))
        }
        Err(fault) => {
            assert_eq!(verdict.get(), Some(&fault));
            Err(fault)
        }
    }
}

fn run(form: &[u8], len: usize) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(parse(form, len, 0..=u64::MAX))
}

/// The same whatever the pieces are.
fn all(form: &[u8]) -> Outcome {
    let whole = run(form, form.len().max(1));
    for len in [1, 2, 3, 7, 64] {
        assert_eq!(run(form, len), whole, "in pieces of {len}");
    }
    whole
}

fn part(name: &str, value: &str) -> String {
    format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

fn file(content: &str) -> String {
    format!(
        "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\n{content}\r\n"
    )
}

#[test]
fn fields_and_file_come_apart() {
    let form =
        part("key", "a\r\nb") + &part("Empty", "") + &file("con\r\n--Xtent\r\n") + &part("submit", "x") + "--XX--\r\n";
    let (fields, name, content) = all(form.as_bytes()).unwrap();
    assert_eq!(fields, [("key".to_owned(), "a\r\nb".to_owned()), ("Empty".to_owned(), String::new())]);
    assert_eq!((name.as_deref(), content.as_slice()), (Some("a.txt"), &b"con\r\n--Xtent\r\n"[..]));
    // An empty file, blanks behind the boundary, a line's end before the first one, none behind the last.
    let form = format!("\r\n{}--XX--", file("").replacen("--XX\r\n", "--XX \t\r\n", 1));
    assert_eq!(all(form.as_bytes()).unwrap().2, b"");
}

#[test]
fn what_is_no_form_or_ends_as_none_is_malformed() {
    let whole = part("key", "k") + &file("content") + "--XX--\r\n";
    assert!(all(whole.as_bytes()).is_ok());
    for end in 1..whole.len() - 2 {
        assert_eq!(run(&whole.as_bytes()[..end], 1000), Err(FormFault::Malformed), "{:?}", &whole[..end]);
    }
    for form in [
        String::new(),
        "preamble\r\n".to_owned() + &whole,
        whole.replace("form-data", "attachment"),
        whole.replace("Content-Disposition", "X"),
        whole.replacen("name=\"key\"", "title=\"key\"", 1),
        whole.replacen("name=\"key\"", "name=\"key\"; name=\"other\"", 1),
        whole.replacen("name=\"key\"", "name=\"key", 1),
        whole.replacen("name=\"key\"", "name=\"\"", 1),
        whole.replacen("--XX\r\n", "--XXX\r\n", 1),
        whole.replace("--XX--\r\n", "--XXX--\r\n"),
        whole.replace("--XX--\r\n", "--XX-\r\n"),
        whole.clone() + "garbage",
        whole.clone() + "--XX\r\n",
    ] {
        assert_eq!(all(form.as_bytes()), Err(FormFault::Malformed), "{form:?}");
    }
    let mut not_text = whole.clone().into_bytes();
    let at = whole.find("\r\n\r\nk\r\n").unwrap() + 4;
    not_text[at] = 0xff;
    assert_eq!(all(&not_text), Err(FormFault::Malformed));
}

#[test]
fn there_is_one_file() {
    assert_eq!(all((part("key", "k") + "--XX--\r\n").as_bytes()), Err(FormFault::NoFile));
    assert_eq!(all((file("a") + &file("b") + "--XX--\r\n").as_bytes()), Err(FormFault::SeveralFiles));
    // A name alone makes a file, whatever else is said of the part; curl and others name every part.
    let named = part("key\"; filename=\"key", "k") + &file("a") + "--XX--";
    assert_eq!(all(named.as_bytes()).unwrap().0, [("key".to_owned(), "k".to_owned())]);
}

#[test]
fn fields_have_20_kilobytes() {
    let form = |len: usize| part("x", &"a".repeat(len)) + &file("content") + "--XX--\r\n";
    let overhead = form(0).find("content").unwrap();
    let most = MAX_FIELDS - overhead;
    assert_eq!(run(form(most).as_bytes(), 1000).unwrap().2, b"content");
    assert_eq!(run(form(most).as_bytes(), 1 << 20).unwrap().2, b"content");
    for len in [1000, 1 << 20] {
        assert_eq!(run(form(most + 1).as_bytes(), len), Err(FormFault::FieldsTooLong));
        assert_eq!(run(form(1 << 20).as_bytes(), len), Err(FormFault::FieldsTooLong));
    }
    let many: String = (0..1000).map(|i| part(&i.to_string(), "")).collect();
    assert_eq!(run(many.as_bytes(), 1000), Err(FormFault::FieldsTooLong));
    let endless = format!("--XX\r\nContent-Disposition: {}", "x".repeat(1 << 20));
    assert_eq!(run(endless.as_bytes(), 1000), Err(FormFault::FieldsTooLong));
    // Behind the file nothing is kept, so that only the headers are bounded.
    let after = |name: &str, value: &str| file("a") + &part(name, value) + "--XX--\r\n";
    assert!(run(after("x", &"a".repeat(1 << 20)).as_bytes(), 1000).is_ok());
    assert_eq!(run(after(&"x".repeat(9000), "").as_bytes(), 1000), Err(FormFault::Malformed));
}

#[tokio::test]
async fn the_file_has_as_many_bytes_as_allowed() {
    let form = file("0123456789") + "--XX--\r\n";
    for (allowed, fault) in [
        (10..=10, None),
        (0..=9, Some(FormFault::FileTooLarge { size: 10, max: 9 })),
        (11..=20, Some(FormFault::FileTooSmall { size: 10, min: 11 })),
    ] {
        assert_eq!(parse(form.as_bytes(), 1000, allowed).await.err(), fault);
    }
    // It is known too large before its end has come.
    assert_eq!(
        parse(&form.as_bytes()[..form.len() - 15], 1, 0..=3).await,
        Err(FormFault::FileTooLarge { size: 4, max: 3 })
    );
}

#[tokio::test]
async fn a_broken_connection_is_no_end() {
    let begun = part("key", "k") + &file("content");
    let pieces = [Ok(Frame::data(Bytes::from(begun))), Err(BrokenBody(BodyFault::Incomplete))];
    let form = read(StreamBody::new(futures_util::stream::iter(pieces)), delimiter("XX").unwrap()).await.unwrap();
    let (file, verdict) = form.file(0..=100);
    assert!(file.collect().await.is_err());
    assert_eq!(verdict.get().unwrap().refusal().code, "IncompleteBody");
}

#[test]
fn boundaries_are_bounded() {
    for good in ["x", "\"a b\"", "----WebKitFormBoundaryW0DET1iaBMeAOBg3", &"x".repeat(70), "x; charset=utf-8"] {
        assert!(delimiter(good).is_ok(), "{good}");
    }
    for bad in ["", "\"\"", "\"a ", "\"a \"", "\"a\tb\"", &"x".repeat(71), "x; boundary=y", "é", "<x>"] {
        assert_eq!(delimiter(bad), Err(FormFault::Malformed), "{bad}");
    }
    for kind in ["multipart/form-data", "multipart/form-data-2; boundary=x"] {
        assert_eq!(Delimiter::of(Some(&kind.parse().unwrap())), Err(FormFault::Malformed));
    }
    assert!(is_form(Some(&HeaderValue::from_static(" Multipart/Form-Data; boundary=x"))));
    assert!(!is_form(Some(&HeaderValue::from_static("multipart/mixed"))) && !is_form(None));
}

#[test]
fn names_are_read_as_browsers_write_them() {
    for (disposition, name, file_name) in [
        ("form-data; name=file; filename=a.txt", "file", Some("a.txt")),
        ("form-data; name=\"a%22b\"", "a%22b", None),
        ("form-data; name=\"a\\\"b\"; filename=\"C:\\dir\\a.txt\"", "a\"b", Some("C:\\dir\\a.txt")),
        ("form-data; name=\"a;b=c\";filename=\"\"", "a;b=c", Some("")),
        ("form-data; name=\"ü\"; filename*=utf-8''x", "ü", None),
    ] {
        let head = PartHead::parse(format!("A: b\r\ncontent-disposition: {disposition}").as_bytes()).unwrap();
        assert_eq!((head.name.as_str(), head.file_name.as_deref()), (name, file_name), "{disposition}");
    }
}

proptest! {
    /// Whatever a file's bytes are, but for the delimiter itself, and however they are cut, they come out as they were.
    #[test]
    fn a_file_comes_through_whole(
        words in proptest::collection::vec(
            prop_oneof![Just("\r\n--X"), Just("\r\n--"), Just("\r\n"), Just("\r"), Just("-"), Just("X"), Just("a"), Just("\n")],
            0..60,
        ),
        len in 1_usize..40,
    ) {
        let content = words.concat();
        prop_assume!(!format!("\r\n{content}\r\n").contains("\r\n--XX"));
        let form = part("key", "k") + &file(&content) + "--XX--\r\n";
        prop_assert_eq!(run(form.as_bytes(), len).unwrap().2, content.as_bytes());
    }

    /// Nothing makes it panic or go on for ever.
    #[test]
    fn anything_is_answered(
        words in proptest::collection::vec(
            prop_oneof![
                Just("--XX"), Just("\r\n"), Just("--"), Just(" "), Just("Content-Disposition: form-data; name="), Just("\"file\""),
                Just("\"key\""), Just("; filename="), Just("a"), Just("\u{fc}"), Just(":"),
            ],
            0..40,
        ),
        len in 1_usize..20,
    ) {
        let form = words.concat();
        let _ = run(form.as_bytes(), len);
    }
}
