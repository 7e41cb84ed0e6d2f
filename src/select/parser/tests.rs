#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::super::SelectError;
use super::*;

fn code(text: &str) -> &'static str {
    match parse(text) {
        Ok(_) => "ok",
        Err(SelectError::Refused { code, .. }) => code,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn what_is_wrong_has_its_code() {
    for (text, expected) in [
        ("", "ParseEmptySelect"),
        ("SELECT", "ParseSelectMissingFrom"),
        ("SELECT FROM S3Object", "ParseEmptySelect"),
        ("SELECT * S3Object", "ParseSelectMissingFrom"),
        ("SELECT * FROM", "ParseUnexpectedToken"),
        ("SELECT * FROM table1", "EvaluatorBindingDoesNotExist"),
        ("SELECT *, a FROM S3Object", "ParseAsteriskIsNotAloneInSelectList"),
        ("SELECT a, * FROM S3Object", "ParseAsteriskIsNotAloneInSelectList"),
        ("SELECT a b c FROM S3Object", "ParseUnexpectedToken"),
        ("SELECT a FROM S3Object, S3Object", "MultipleDataSourcesUnsupported"),
        ("SELECT a FROM S3Object GROUP BY a", "UnsupportedSqlStructure"),
        ("SELECT a FROM S3Object s ORDER BY a", "UnsupportedSqlStructure"),
        ("SELECT DISTINCT a FROM S3Object s", "UnsupportedSqlStructure"),
        ("SELECT a, COUNT(*) FROM S3Object s", "UnsupportedSqlStructure"),
        ("SELECT SUM(MAX(a)) FROM S3Object s", "UnsupportedSqlStructure"),
        ("SELECT a FROM S3Object WHERE COUNT(*) > 1", "UnsupportedSqlStructure"),
        ("SELECT SUM(*) FROM S3Object", "ParseUnsupportedCallWithStar"),
        ("SELECT LOWER(*) FROM S3Object", "ParseUnsupportedCallWithStar"),
        ("SELECT SUM(a, b) FROM S3Object", "ParseNonUnaryAgregateFunctionCall"),
        ("SELECT LOWER(a, b) FROM S3Object", "EvaluatorInvalidArguments"),
        ("SELECT FOO(a) FROM S3Object", "UnsupportedFunction"),
        ("SELECT CAST(a AS BLOB) FROM S3Object", "ParseExpectedTypeName"),
        ("SELECT CAST(a, INT) FROM S3Object", "ParseExpectedKeyword"),
        ("SELECT CAST(a AS DECIMAL(2,3)) FROM S3Object", "ParseInvalidTypeParam"),
        ("SELECT DATE_ADD(eon, 1, a) FROM S3Object", "ParseExpectedDatePart"),
        ("SELECT CASE a END FROM S3Object", "ParseExpectedWhenClause"),
        ("SELECT a FROM S3Object LIMIT x", "ParseExpectedNumber"),
        ("SELECT a FROM S3Object LIMIT -1", "EvaluatorNegativeLimit"),
        ("SELECT a FROM S3Object WHERE", "ParseUnexpectedToken"),
        ("SELECT a FROM S3Object WHERE a IS 1", "ParseExpectedKeyword"),
        ("SELECT a FROM S3Object WHERE a IN 1", "ParseExpectedLeftParenValueConstructor"),
        ("SELECT a[*] FROM S3Object", "ParseInvalidPathComponent"),
        ("SELECT 'a FROM S3Object", "LexerInvalidLiteral"),
        ("SELECT 1a FROM S3Object", "LexerInvalidLiteral"),
        ("SELECT a ? b FROM S3Object", "LexerInvalidChar"),
        ("SELECT `[1]` FROM S3Object", "LexerInvalidIONLiteral"),
        ("DELETE FROM S3Object", "ParseUnexpectedToken"),
        ("SELECT s.from, s.\"Select\", _1 FROM s3object[*].a[*].b AS s WHERE NOT a = 1 AND b IS NOT MISSING;", "ok"),
        ("SELECT EXTRACT(year FROM a) x, SUBSTRING(a FROM 2 FOR 3), TRIM(BOTH FROM a) FROM S3Object", "ok"),
        ("SELECT SUM(a) / COUNT(*) + 1 FROM S3Object -- all of it", "ok"),
        ("SELECT * FROM S3Object s WHERE a IN (1, 2) AND b NOT LIKE 'x!%' ESCAPE '!' /* yes */ LIMIT 0", "ok"),
    ] {
        assert_eq!(code(text), expected, "{text}");
    }
}

/// Long chains are flat; nothing recurses as deep as the text is long.
#[test]
fn long_expressions_cost_no_stack() {
    let chain = |piece: &str| format!("SELECT * FROM S3Object WHERE 1{}", piece.repeat(200_000 / piece.len()));
    assert_eq!(code(&chain(" OR 1")), "ok");
    assert_eq!(code(&chain(" AND 1")), "ok");
    assert_eq!(code(&chain("||1")), "ok");
    assert_eq!(code(&chain("+1")), "ok");
    assert_eq!(code(&chain("*1")), "ok");
    assert_eq!(code(&chain("+1*1||1")), "ok");
    for piece in ["(", "- ", "+", "NOT ", "CASE ", "CAST(", "LOWER(", "a[", "1 IN ("] {
        let text = format!("SELECT * FROM S3Object WHERE {}", piece.repeat(200_000 / piece.len()));
        assert_ne!(code(&text), "ok", "{piece}");
    }
    assert_eq!(code(&format!("SELECT {} FROM S3Object", "a,".repeat(1 << 17))), "ExpressionTooLong");
}

proptest! {
    /// Whatever comes, there is an answer.
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*") {
        _ = parse(&text);
    }

    #[test]
    fn any_words_are_read_or_refused(words in prop::collection::vec(prop::sample::select(vec![
        "SELECT", "FROM", "S3Object", "WHERE", "*", ",", ".", "(", ")", "[", "]", "a", "s", "'x'", "1", "NOT", "IN", "LIKE",
        "BETWEEN", "AND", "OR", "IS", "MISSING", "NULL", "CASE", "WHEN", "THEN", "END", "CAST", "AS", "INT", "COUNT", "LIMIT",
        "TRIM", "SUBSTRING", "FROM", "EXTRACT", "year", "||", "+", "-", "=", "\"q\"", "`2007T`",
    ]), 0..30)) {
        _ = parse(&format!("SELECT {} FROM S3Object {}", words.join(" "), words.join(" ")));
    }
}
