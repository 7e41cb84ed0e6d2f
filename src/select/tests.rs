//! Queries over objects in memory, read a few bytes at a time.

#![allow(clippy::unwrap_used)]

use std::io::{self, Read, Write as _};
use std::ops::Range;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

/// An object whose reads are short.
struct Memory {
    bytes: Vec<u8>,
    piece: usize,
}

struct Short {
    bytes: io::Cursor<Vec<u8>>,
    piece: usize,
}

impl Read for Short {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(self.piece);
        self.bytes.read(&mut buffer[..len])
    }
}

impl Source for Memory {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn open(&self, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        let bytes = self.bytes[range.start as usize..range.end as usize].to_vec();
        Ok(Box::new(Short { bytes: io::Cursor::new(bytes), piece: self.piece }))
    }
}

#[derive(Clone)]
struct Query {
    request: Request,
    bytes: Vec<u8>,
    piece: usize,
}

const JSON: Output = Output::Json { record_delimiter: String::new() };

fn query(sql: &str, bytes: impl AsRef<[u8]>) -> Query {
    let request = Request {
        expression: sql.into(),
        input: Input::Csv(CsvInput { header: FileHeader::Use, ..CsvInput::default() }),
        compression: Compression::None,
        output: Output::Csv(CsvOutput::default()),
        range: None,
        now: 1_700_000_000_123,
    };
    Query { request, bytes: bytes.as_ref().to_vec(), piece: 7 }
}

impl Query {
    fn csv(mut self, change: impl FnOnce(&mut CsvInput)) -> Self {
        if let Input::Csv(options) = &mut self.request.input {
            change(options);
        }
        self
    }

    fn json(mut self) -> Self {
        self.request.input = Input::Json { lines: true };
        self
    }

    fn output(mut self, output: Output) -> Self {
        self.request.output = output;
        self
    }

    fn range(mut self, start: Option<u64>, end: Option<u64>) -> Self {
        self.request.range = Some(ScanRange { start, end });
        self
    }

    fn run(self) -> Result<String> {
        let mut select = Prepared::new(self.request)?.over(Arc::new(Memory { bytes: self.bytes, piece: self.piece }));
        let mut answer = Vec::new();
        loop {
            match select.step()? {
                Step::Records(records) => answer.extend_from_slice(&records),
                Step::Idle => {}
                Step::End => break,
            }
        }
        assert_eq!(select.step().unwrap(), Step::End);
        assert_eq!(select.counters().returned.load(Ordering::Relaxed), answer.len() as u64);
        Ok(String::from_utf8(answer).unwrap())
    }

    fn answer(self) -> String {
        self.run().unwrap()
    }

    fn code(self) -> &'static str {
        match self.run() {
            Err(SelectError::Refused { code, .. }) => code,
            other => panic!("{other:?}"),
        }
    }
}

const PEOPLE: &str = "name,age,City\nAnn,30,\"Paris, F\"\nBob,4,Rome\n#Carl,9,Oslo\n\nDora,,Bonn\n";

#[test]
fn a_table_with_a_header() {
    let ask = |sql| query(sql, PEOPLE).answer();
    assert_eq!(ask("SELECT * FROM S3Object"), "Ann,30,\"Paris, F\"\nBob,4,Rome\nDora,,Bonn\n");
    assert_eq!(ask("SELECT s.City, s._1 FROM S3Object s WHERE s.age > 5"), "\"Paris, F\",Ann\n");
    assert_eq!(ask("SELECT NAME FROM S3Object WHERE _2 <> '' AND CAST(_2 AS INT) = 4"), "Bob\n");
    assert_eq!(ask("SELECT S3Object.name FROM s3object LIMIT 1"), "Ann\n");
    assert_eq!(ask("SELECT COUNT(*), MAX(CAST(NULLIF(age, '') AS INT)) FROM S3Object"), "3,30\n");
    assert_eq!(ask("SELECT name FROM S3Object LIMIT 0"), "");
    assert_eq!(ask("SELECT name || '-' || city FROM S3Object s WHERE city LIKE '%o%'"), "Bob-Rome\nDora-Bonn\n");
    let json = query("SELECT name, age + 1 AS older, _9 FROM S3Object WHERE age <> ''", PEOPLE).output(JSON);
    assert_eq!(json.answer(), "{\"name\":\"Ann\",\"older\":31}{\"name\":\"Bob\",\"older\":5}");
    let code = |sql| query(sql, PEOPLE).code();
    assert_eq!(code("SELECT nobody FROM S3Object"), "MissingHeaders");
    assert_eq!(code("SELECT \"city\" FROM S3Object"), "MissingHeaders");
    assert_eq!(code("SELECT CAST(age AS INT) FROM S3Object"), "CastFailed");
    assert_eq!(code("SELECT SUM(name) FROM S3Object"), "CastFailed");
    assert_eq!(code("SELECT a FROM S3Object[*].b"), "InvalidKeyPath");
    assert_eq!(query("SELECT a FROM S3Object", "a,a\n1,2\n").code(), "AmbiguousFieldName");
}

#[test]
fn a_table_without_a_header() {
    let none = |sql| query(sql, "a,b\n1,2,3\n").csv(|csv| csv.header = FileHeader::None);
    assert_eq!(none("SELECT _2, _3 FROM S3Object").answer(), "b,\n2,3\n");
    assert_eq!(
        none("SELECT * FROM S3Object").output(JSON).answer(),
        r#"{"_1":"a","_2":"b"}{"_1":"1","_2":"2","_3":"3"}"#
    );
    assert_eq!(none("SELECT s FROM S3Object s LIMIT 1").output(JSON).answer(), r#"{"s":{"_1":"a","_2":"b"}}"#);
    assert_eq!(none("SELECT a FROM S3Object").code(), "MissingHeaders");
    let ignored = query("SELECT * FROM S3Object", "a,b\n1,2\n").csv(|csv| csv.header = FileHeader::Ignore);
    assert_eq!(ignored.answer(), "1,2\n");
    assert_eq!(query("SELECT * FROM S3Object", "").answer(), "");
    assert_eq!(query("SELECT COUNT(*) FROM S3Object", "").answer(), "0\n");
    assert_eq!(query("SELECT SUM(a), AVG(a), MIN(a), COUNT(a) FROM S3Object", "a\n").answer(), ",,,0\n");
}

#[test]
fn tables_of_any_punctuation() {
    let odd = |csv: &mut CsvInput| {
        csv.header = FileHeader::None;
        csv.field_delimiter = "::".into();
        csv.record_delimiter = "\r\n|".into();
        csv.quote = "ع".into();
        csv.escape = "\\".into();
        csv.comment = "%".into();
    };
    let bytes = "a::عb::\\عcع\r\n|%no\r\n|d::e\r\nf\r\n|";
    assert_eq!(
        query("SELECT _1, _2 FROM S3Object", bytes).csv(odd).output(JSON).answer(),
        "{\"_1\":\"a\",\"_2\":\"b::عc\"}{\"_1\":\"d\",\"_2\":\"e\\r\\nf\"}"
    );
    let quoted = "a,\"b\nc\"\nd,e";
    let none = |bytes, allowed| {
        query("SELECT * FROM S3Object", bytes)
            .csv(|csv| {
                csv.header = FileHeader::None;
                csv.quoted_delimiters = allowed;
            })
            .output(JSON)
    };
    assert_eq!(none(quoted, true).answer(), r#"{"_1":"a","_2":"b\nc"}{"_1":"d","_2":"e"}"#);
    assert_eq!(none(quoted, false).answer(), r#"{"_1":"a","_2":"b"}{"_1":"c\""}{"_1":"d","_2":"e"}"#);
    assert_eq!(none("\u{feff}a,b\r\nc,d\r\n", false).answer(), r#"{"_1":"a","_2":"b"}{"_1":"c","_2":"d"}"#);
    assert_eq!(query("SELECT * FROM S3Object", b"a\n\xff\n").code(), "InvalidTextEncoding");
    let bad = |change: fn(&mut CsvInput)| query("SELECT * FROM S3Object", "a").csv(change).code();
    assert_eq!(bad(|csv| csv.quote = "\"\"".into()), "InvalidRequestParameter");
    assert_eq!(bad(|csv| csv.field_delimiter = "\n".into()), "InvalidRequestParameter");
    assert_eq!(bad(|csv| csv.field_delimiter = String::new()), "InvalidRequestParameter");
    assert_eq!(bad(|csv| csv.comment = "##".into()), "InvalidRequestParameter");
}

#[test]
fn answers_of_any_punctuation() {
    let options = CsvOutput {
        field_delimiter: ";".into(),
        record_delimiter: "\r\n".into(),
        quote: "'".into(),
        escape: "\\".into(),
        quote_always: false,
    };
    let ask = |options| query("SELECT * FROM S3Object", "a,b\n1;2,it's\n\\,x").output(Output::Csv(options)).answer();
    assert_eq!(ask(options.clone()), "'1;2';'it\\'s'\r\n\\;x\r\n");
    assert_eq!(ask(CsvOutput { quote_always: true, ..options }), "'1;2';'it\\'s'\r\n'\\\\';'x'\r\n");
}

#[test]
fn documents() {
    let nested = r#"{ "Rules": [ {"id": "1"}, {"expr": "y > x"}, {"id": "2", "expr": "z = DEBUG"} ], "more": [[1], 2] }
        { "created": "June 27", "modified": "July 6" }"#;
    let ask = |sql| query(sql, nested).json().output(JSON).answer();
    assert_eq!(ask("SELECT id FROM S3Object[*].Rules[*].id"), r#"{"id":"1"}{}{"id":"2"}{}"#);
    assert_eq!(ask("SELECT id FROM S3Object[*].Rules[*].id WHERE id IS NOT MISSING"), r#"{"id":"1"}{"id":"2"}"#);
    assert_eq!(ask("SELECT d.created FROM S3Object[*] d"), r#"{}{"created":"June 27"}"#);
    assert_eq!(ask("SELECT _1.modified FROM S3Object[*]"), r#"{}{"modified":"July 6"}"#);
    assert_eq!(ask("SELECT s.rules[1].expr FROM S3Object s"), r#"{"expr":"y > x"}{}"#);
    assert_eq!(ask("SELECT s.\"rules\" FROM S3Object s"), "{}{}");
    assert_eq!(ask("SELECT * FROM S3Object[*].rules[2] s"), r#"{"id":"2","expr":"z = DEBUG"}{}"#);
    assert_eq!(ask("SELECT * FROM S3Object.more[*][*] s"), r#"{"_1":1}{"_1":2}{}"#);
    assert_eq!(ask("SELECT COUNT(*) FROM S3Object[*].Rules[*] s WHERE s.expr IS NOT NULL"), r#"{"_1":2}"#);
    assert_eq!(ask("SELECT s.more FROM S3Object s LIMIT 1"), r#"{"more":[[1],2]}"#);
    assert_eq!(ask("SELECT * FROM S3Object.Rules[0].id.x[3]"), "{}{}");
    assert_eq!(ask("SELECT s.Rules[0]['id'] FROM S3Object s LIMIT 1"), r#"{"id":"1"}"#);
    // As CSV, what is null or missing is nothing, and objects are JSON.
    let ask = |sql| query(sql, r#"{"a":null,"b":{"c":[1,"x"]},"d":1.50,"e":1e2}"#).json().answer();
    assert_eq!(ask("SELECT * FROM S3Object"), ",\"{\"\"c\"\":[1,\"\"x\"\"]}\",1.50,100.0\n");
    assert_eq!(
        ask("SELECT s.a IS NULL, s.x IS NULL, s.a IS MISSING, s.x IS MISSING FROM S3Object s"),
        "true,true,false,true\n"
    );
}

#[test]
fn documents_that_are_none() {
    for bytes in [
        "{",
        "[1",
        "{\"a\"}",
        "{\"a\":1 \"b\":2}",
        "[1,]",
        "[,1]",
        "{\"a\":tru}",
        "\"\\x\"",
        "\"\\ud800\"",
        "01",
        "1.",
        "-",
        "nul",
        "{'a':1}",
        "[1}",
        "\"a",
        "x",
    ] {
        assert_eq!(query("SELECT * FROM S3Object", bytes).json().code(), "JSONParsingError", "{bytes}");
    }
    let deep = "[".repeat(1 << 20);
    for sql in ["SELECT * FROM S3Object", "SELECT * FROM S3Object.a", "SELECT * FROM S3Object[*][0]"] {
        let deep = Query { piece: 1 << 16, ..query(sql, &deep).json() };
        assert_eq!(deep.code(), "JSONParsingError");
    }
    assert_eq!(query("SELECT * FROM S3Object", b"{\"a\":\"\xff\"}").json().code(), "InvalidTextEncoding");
}

/// The examples of the SQL reference, and what they leave open.
#[test]
fn functions() {
    let row = r#"{"n":null,"i":7,"d":2.5,"s":"Some Text","z":"  x ","t":"2010-01-01T00:00Z","b":true,"l":[1,2]}"#;
    let ask = |expr: &str| {
        let answer = query(&format!("SELECT {expr} FROM S3Object r"), row).json().run();
        answer.map(|answer| answer.trim_end_matches('\n').to_owned())
    };
    for (expr, expected) in [
        ("COALESCE(n, missing, 'x')", "x"),
        ("NULLIF(1, 2)", "1"),
        ("NULLIF(1, 1.0)", ""),
        ("CHAR_LENGTH('aع')", "2"),
        ("LOWER('AbÉ') || UPPER('cd')", "abéCD"),
        ("SUBSTRING('123456789', 0)", "123456789"),
        ("SUBSTRING('123456789' FROM 1)", "123456789"),
        ("SUBSTRING('123456789', -4, 6)", "1"),
        ("SUBSTRING('123456789', 5 , 9223372036854775807)", "56789"),
        ("SUBSTRING('1234567890' FROM 2 FOR 3)", "234"),
        ("TRIM('       foobar         ')", "foobar"),
        ("'<' || TRIM(LEADING FROM z) || '>' || TRIM(TRAILING FROM z) || '<'", "<x >  x<"),
        ("TRIM(BOTH '12' FROM '1112211foobar22211122')", "foobar"),
        ("CASE i WHEN 7 THEN 'seven' ELSE 'other' END", "seven"),
        ("CASE WHEN i > 9 THEN 'big' WHEN n THEN 'null' END", ""),
        ("CAST(i AS FLOAT)", "7.0"),
        ("CAST('2010T' AS TIMESTAMP)", "2010T"),
        ("CAST(d AS DECIMAL(3, 0))", "2"),
        ("-i * 2 + 10 % 4 - 6 / 4", "-13"),
        ("i * d", "17.5"),
        ("i + n", ""),
        ("1 = '1'", "true"),
        ("'b' > 'a' AND NOT 2 < 1", "true"),
        ("n = n", ""),
        ("n = 1 OR true", "true"),
        ("n = 1 AND false", "false"),
        ("i IN (1, 7)", "true"),
        ("i IN (1, n)", ""),
        ("i NOT IN [1, 2]", "true"),
        ("i BETWEEN 7 AND 8", "true"),
        ("i NOT BETWEEN 8 AND n", "true"),
        ("s LIKE 'S%_ext'", "true"),
        ("'10%' LIKE '10!%' ESCAPE '!'", "true"),
        ("l = l", "true"),
        ("b", "true"),
        ("l[1] + l[0]", "3"),
        ("DATE_ADD(month, 1, t)", "2010-02-01T00:00Z"),
        ("DATE_DIFF(day, t, `2010-01-03T`)", "2"),
        ("EXTRACT(YEAR FROM TO_TIMESTAMP(t))", "2010"),
        ("TO_STRING(TO_TIMESTAMP(t), 'yyyy/MM/dd')", "2010/01/01"),
        ("TO_TIMESTAMP(t) < `2011T`", "true"),
        ("UTCNOW()", "2023-11-14T22:13:20.123Z"),
        ("`1.5` + `2`", "3.5"),
    ] {
        assert_eq!(ask(expr).unwrap(), expected, "{expr}");
    }
    for (expr, expected) in [
        ("i / 0", "ExternalEvalException"),
        ("s + 1", "CastFailed"),
        ("9223372036854775807 + 1", "IntegerOverflow"),
        ("i AND true", "EvaluatorInvalidArguments"),
        ("i LIKE 'x'", "LikeInvalidInputs"),
        ("s LIKE '!' ESCAPE '!'", "EvaluatorLikePatternInvalidEscapeSequence"),
        ("SUBSTRING(s, 1, -1)", "EvaluatorInvalidArguments"),
        ("TO_TIMESTAMP(s)", "EvaluatorInvalidArguments"),
        ("TO_STRING(`2010T`, 'Q')", "EvaluatorInvalidTimestampFormatPatternSymbol"),
        ("CAST(s AS BOOL)", "CastFailed"),
    ] {
        match ask(expr) {
            Err(SelectError::Refused { code, .. }) => assert_eq!(code, expected, "{expr}"),
            other => panic!("{expr}: {other:?}"),
        }
    }
}

#[test]
fn aggregates() {
    let rows = "{\"a\":3}{\"a\":4}{\"a\":null}{}{\"a\":\"5\"}{\"a\":0.5}";
    let ask = |sql| query(sql, rows).json().answer();
    assert_eq!(
        ask("SELECT COUNT(*), COUNT(a), SUM(a), MIN(a), MAX(a), AVG(a) FROM S3Object"),
        "6,4,12.5,0.5,5,3.125\n"
    );
    assert_eq!(ask("SELECT SUM(a) * 2 AS twice FROM S3Object s WHERE s.a > 3"), "18\n");
    assert_eq!(ask("SELECT COUNT(*) FROM S3Object LIMIT 0"), "");
    assert_eq!(query("SELECT AVG(a) FROM S3Object", "{\"a\":1}{\"a\":2}").json().answer(), "1.5\n");
}

#[test]
fn records_are_bounded() {
    let long = "x".repeat(MAX_RECORD + 1);
    let wide = |query: Query| Query { piece: 1 << 16, ..query };
    let none = |bytes: &str, quoted| {
        wide(query("SELECT _1 FROM S3Object", bytes)).csv(|csv| {
            csv.header = FileHeader::None;
            csv.quoted_delimiters = quoted;
        })
    };
    assert_eq!(none(&long, false).code(), "OverMaxRecordSize");
    assert_eq!(none(&format!("\"{long}"), true).code(), "OverMaxRecordSize");
    assert_eq!(none(&long[1..], false).answer().len(), MAX_RECORD + 1);
    let json = |sql, bytes: &str| wide(query(sql, bytes).json());
    assert_eq!(json("SELECT * FROM S3Object", &format!("\"{long}\"")).code(), "OverMaxRecordSize");
    assert_eq!(
        json("SELECT * FROM S3Object", &format!("[{}1]", "1,".repeat(MAX_RECORD / 2))).code(),
        "OverMaxRecordSize"
    );
    assert_eq!(json("SELECT * FROM S3Object", &format!("{{\"{long}\":1}}")).code(), "OverMaxRecordSize");
    // A document may be longer than its rows.
    let rows = format!("{{\"skip\":\"{long}\",\"rows\":[{}{{\"a\":1}}]}}", "{\"a\":2},".repeat(MAX_RECORD / 4));
    assert_eq!(json("SELECT COUNT(*) FROM S3Object.rows[*]", &rows).answer(), format!("{}\n", MAX_RECORD / 4 + 1));
    // And so may the answer be: a record of it must not.
    let half = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_RECORD / 2));
    assert_eq!(json("SELECT s.a, s.a FROM S3Object s", &half).code(), "OverMaxRecordSize");
    assert_eq!(json("SELECT CHAR_LENGTH(s.a || s.a || s.a) FROM S3Object s", &half).code(), "OverMaxRecordSize");
    assert_eq!(json("SELECT s.a FROM S3Object s", &half.repeat(5)).answer().len(), 5 * (MAX_RECORD / 2 + 1));
}

#[test]
fn messages_are_of_whole_records_and_a_bounded_size() {
    let line = format!("{}\n", "x".repeat(999));
    let prepared = Prepared::new(query("SELECT * FROM S3Object", "").csv(|csv| csv.header = FileHeader::None).request);
    let mut select = prepared.unwrap().over(Arc::new(Memory { bytes: line.repeat(1000).into_bytes(), piece: 9999 }));
    let (mut count, mut bytes) = (0, 0);
    while let Step::Records(records) = select.step().unwrap() {
        assert!(records.len() < MESSAGE + 1000 && records.len().is_multiple_of(1000));
        (count, bytes) = (count + 1, bytes + records.len());
    }
    assert_eq!((count, bytes), (1_000_000_usize.div_ceil(MESSAGE), 1_000_000));
    assert_eq!(select.counters().scanned.load(Ordering::Relaxed), 1_000_000);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn compressed_objects() {
    for (compression, compress) in
        [(Compression::Gzip, gzip as fn(&[u8]) -> Vec<u8>), (Compression::Bzip2, bzip2 as fn(&[u8]) -> Vec<u8>)]
    {
        // Files that were put one behind the other are one.
        let bytes = [compress(b"a\n1\n"), compress(b"2\n")].concat();
        let ask = |bytes: &[u8]| {
            let mut query = query("SELECT a FROM S3Object", bytes);
            query.request.compression = compression;
            query
        };
        assert_eq!(ask(&bytes).answer(), "1\n2\n");
        assert_eq!(ask(&bytes[..bytes.len() - 6]).code(), "TruncatedInput");
        assert_eq!(ask(b"this is no compressed file").code(), "InvalidCompressionFormat");
        assert_eq!(ask(&bytes).range(Some(0), None).code(), "UnsupportedScanRangeInput");
        let mut broken = compress(&b"123456789\n".repeat(1000));
        let middle = broken.len() / 2;
        broken[middle] ^= 0xff;
        assert!(matches!(ask(&broken).code(), "InvalidCompressionFormat" | "TruncatedInput"));
    }
}

#[test]
fn scan_ranges() {
    let bytes = "n\n11\n22\n33\n44\n";
    let ask = |start, end| query("SELECT n FROM S3Object", bytes).range(start, end).answer();
    assert_eq!(ask(Some(0), Some(2)), "11\n");
    assert_eq!(ask(Some(0), Some(4)), "11\n");
    assert_eq!(ask(Some(0), Some(5)), "11\n22\n");
    assert_eq!(ask(Some(5), Some(5)), "22\n");
    assert_eq!(ask(Some(6), Some(10)), "33\n");
    assert_eq!(ask(Some(6), None), "33\n44\n");
    assert_eq!(ask(None, Some(6)), "33\n44\n");
    assert_eq!(ask(None, Some(99)), "11\n22\n33\n44\n");
    let code = |start, end| query("SELECT n FROM S3Object", bytes).range(start, end).code();
    assert_eq!(code(Some(14), None), "InvalidScanRange");
    assert_eq!(code(Some(5), Some(4)), "InvalidScanRange");
    assert_eq!(code(None, Some(0)), "InvalidScanRange");
    let quoted = query("SELECT n FROM S3Object", bytes).csv(|csv| csv.quoted_delimiters = true);
    assert_eq!(quoted.range(Some(0), None).code(), "UnsupportedScanRangeInput");
    let mut document = query("SELECT n FROM S3Object", "{}").json();
    document.request.input = Input::Json { lines: false };
    assert_eq!(document.range(Some(0), None).code(), "UnsupportedScanRangeInput");
}

#[test]
fn what_the_store_cannot_read_is_no_fault_of_the_object() {
    struct Broken;
    impl Source for Broken {
        fn size(&self) -> u64 {
            10
        }
        fn open(&self, _: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
            Ok(Box::new(self.take_error()))
        }
    }
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other(StorageFault("too few shards".into())))
        }
    }
    impl Broken {
        fn take_error(&self) -> Failing {
            Failing
        }
    }
    for compression in [Compression::None, Compression::Gzip, Compression::Bzip2] {
        let mut request = query("SELECT * FROM S3Object", "").request;
        request.compression = compression;
        let mut select = Prepared::new(request).unwrap().over(Arc::new(Broken));
        assert!(matches!(select.step(), Err(SelectError::Storage(_))), "{compression:?}");
    }
}

#[test]
#[cfg(not(feature = "select-parquet"))]
fn parquet_is_not_always_built() {
    let mut query = query("SELECT * FROM S3Object", "PAR1");
    query.request.input = Input::Parquet;
    assert!(matches!(query.run(), Err(SelectError::NotBuilt(_))));
}

#[cfg(feature = "select-parquet")]
mod parquet_files {
    use ::parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
    use ::parquet::file::properties::WriterProperties;
    use ::parquet::file::reader::FileReader as _;
    use ::parquet::file::serialized_reader::SerializedFileReader;
    use ::parquet::file::writer::SerializedFileWriter;
    use ::parquet::schema::parser::parse_message_type;

    use super::*;

    /// Two row groups of three rows each.
    fn file() -> Vec<u8> {
        let schema = "message m { REQUIRED INT64 id; OPTIONAL BYTE_ARRAY name (UTF8); REQUIRED DOUBLE x; \
                      REQUIRED INT32 day (DATE); REQUIRED INT32 price (DECIMAL(9,2)); }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let properties = WriterProperties::builder().set_compression(::parquet::basic::Compression::SNAPPY).build();
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
        for group in 0..2_i64 {
            let mut rows = writer.next_row_group().unwrap();
            let ids = [group * 3 + 1, group * 3 + 2, group * 3 + 3];
            let mut column = rows.next_column().unwrap().unwrap();
            column.typed::<Int64Type>().write_batch(&ids, None, None).unwrap();
            column.close().unwrap();
            let mut column = rows.next_column().unwrap().unwrap();
            let names = [ByteArray::from("Ann"), ByteArray::from("Bob")];
            column.typed::<ByteArrayType>().write_batch(&names, Some(&[1, 0, 1]), None).unwrap();
            column.close().unwrap();
            let mut column = rows.next_column().unwrap().unwrap();
            column.typed::<DoubleType>().write_batch(&[0.5, 1.5, 2.5], None, None).unwrap();
            column.close().unwrap();
            for _ in 0..2 {
                let mut column = rows.next_column().unwrap().unwrap();
                column.typed::<Int32Type>().write_batch(&[0, 1, -199], None, None).unwrap();
                column.close().unwrap();
            }
            rows.close().unwrap();
        }
        writer.into_inner().unwrap()
    }

    fn ask(sql: &str) -> Query {
        let mut query = query(sql, file());
        query.request.input = Input::Parquet;
        query
    }

    #[test]
    fn rows_are_read() {
        assert_eq!(
            ask("SELECT * FROM S3Object LIMIT 3").answer(),
            "1,Ann,0.5,1970-01-01T,0.00\n2,,1.5,1970-01-02T,0.01\n3,Bob,2.5,1969-06-16T,-1.99\n"
        );
        assert_eq!(ask("SELECT s.x, s.ID FROM S3Object s WHERE s.name = 'Ann'").answer(), "0.5,1\n0.5,4\n");
        assert_eq!(ask("SELECT _1, _2 FROM S3Object WHERE id = 6").answer(), "6,Bob\n");
        assert_eq!(ask("SELECT COUNT(*), SUM(price), MAX(day) FROM S3Object").answer(), "6,-3.96,1970-01-02T\n");
        assert_eq!(ask("SELECT nobody FROM S3Object").code(), "MissingHeaders");
        let reader = SerializedFileReader::new(bytes::Bytes::from(file())).unwrap();
        let (second, _) = reader.metadata().row_group(1).column(0).byte_range();
        assert_eq!(ask("SELECT id FROM S3Object").range(Some(0), Some(second - 1)).answer(), "1\n2\n3\n");
        assert_eq!(ask("SELECT id FROM S3Object").range(Some(second), None).answer(), "4\n5\n6\n");
    }

    #[test]
    fn what_is_no_such_file_is_refused() {
        let whole = file();
        for bytes in [&whole[..whole.len() / 2], b"PAR1", b"", b"no such file at all PAR1"] {
            assert_eq!(Query { bytes: bytes.to_vec(), ..ask("SELECT * FROM S3Object") }.code(), "ParquetParsingError");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// Whatever the bytes, there is an answer or an error.
        #[test]
        fn broken_files_end_the_query(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = file();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            _ = Query { bytes, ..ask("SELECT * FROM S3Object") }.run();
        }
    }
}

/// Fields with everything in them that CSV must escape.
fn field() -> impl Strategy<Value = String> {
    "[a,\"\n\r#\\\\ع ]{0,6}"
}

fn table() -> impl Strategy<Value = Vec<Vec<String>>> {
    prop::collection::vec(prop::collection::vec(field(), 1..4), 0..8)
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "\\PC{0,8}".prop_map(Into::into),
        "[\\x00-\\x1f\"\\\\]{0,4}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map("[a-d]{1,3}", inner, 0..4)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// What is written as CSV is read again as it was, however the bytes come.
    #[test]
    fn csv_is_read_as_it_was_written(table in table(), piece in 1_usize..20, backslash in any::<bool>()) {
        let escape = if backslash { "\\" } else { "\"" };
        let mut writer = Writer::new(Output::Csv(CsvOutput {
            quote_always: true,
            escape: escape.into(),
            ..CsvOutput::default()
        }));
        for record in &table {
            writer.begin();
            for field in record {
                writer.field("", &Value::String(field.clone())).unwrap();
            }
            writer.end();
        }
        let query = Query { piece, ..query("SELECT * FROM S3Object", writer.take()) }
            .csv(|csv| {
                csv.header = FileHeader::None;
                csv.quoted_delimiters = true;
                csv.escape = escape.into();
            })
            .output(Output::Json { record_delimiter: "\n".into() });
        let mut expected = String::new();
        for record in &table {
            let fields: Vec<String> = record
                .iter()
                .enumerate()
                .map(|(at, field)| {
                    let mut text = String::new();
                    Value::String(field.clone()).write_json(&mut text);
                    format!("\"_{}\":{text}", at + 1)
                })
                .collect();
            expected += &format!("{{{}}}\n", fields.join(","));
        }
        prop_assert_eq!(query.answer(), expected);
    }

    /// JSON is what another reader and writer of it say it is.
    #[test]
    fn json_is_read_as_it_was_written(values in prop::collection::vec(json(), 0..5), piece in 1_usize..20) {
        let bytes = values.iter().map(|value| value.to_string() + "\n").collect::<String>();
        let answer = Query { piece, ..query("SELECT s FROM S3Object s", bytes) }
            .json()
            .output(Output::Json { record_delimiter: "\n".into() })
            .answer();
        let read: Vec<serde_json::Value> =
            answer.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["s"].clone()).collect();
        prop_assert_eq!(read, values);
    }

    /// Every record is in exactly one of the ranges that an object is cut into.
    #[test]
    fn ranges_divide_an_object(
        lines in prop::collection::vec("[a-z]{0,5}", 1..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        wide in any::<bool>(),
        as_json in any::<bool>(),
    ) {
        let delimiter = if wide && !as_json { "\r\n" } else { "\n" };
        let line = |line: &String| if as_json { format!("\"{line}\"") } else { line.clone() };
        let bytes = lines.iter().map(|text| line(text) + delimiter).collect::<String>();
        let whole = query("SELECT * FROM S3Object", &bytes).csv(|csv| {
            csv.header = FileHeader::None;
            csv.record_delimiter = delimiter.into();
        });
        let whole = if as_json { whole.json() } else { whole };
        let mut starts: Vec<u64> = cuts.iter().map(|cut| cut.index(bytes.len()) as u64).collect();
        starts.push(0);
        starts.sort_unstable();
        starts.dedup();
        let mut together = String::new();
        for (at, start) in starts.iter().enumerate() {
            let end = starts.get(at + 1).map(|next| next - 1);
            together += &whole.clone().range(Some(*start), end).answer();
        }
        prop_assert_eq!(together, whole.answer());
    }

    /// Any query over any bytes ends, with an answer or with an error.
    #[test]
    fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..200), sql in prop::sample::select(vec![
        "SELECT * FROM S3Object", "SELECT s.a FROM S3Object[*].x[1].y[*] s", "SELECT SUM(_1) FROM S3Object",
    ])) {
        _ = query(sql, &bytes).run();
        _ = query(sql, &bytes).csv(|csv| csv.quoted_delimiters = true).run();
        _ = query(sql, &bytes).json().run();
    }
}
