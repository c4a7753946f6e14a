use super::*;
use proptest::prelude::*;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn matches(selector: &str, pairs: &[(&str, &str)]) -> bool {
    selector.parse::<Selector>().unwrap_or_else(|error| panic!("{selector}: {error}")).matches(&labels(pairs))
}

#[test]
fn every_operator_on_a_present_and_an_absent_label() {
    for (selector, present, absent) in [
        ("a == 'x1'", true, false),
        ("a == \"other\"", false, false),
        ("a != 'x1'", false, true),
        ("a contains 'x'", true, false),
        ("a starts with 'x'", true, false),
        ("a ends with '1'", true, false),
        ("a ends with 'x'", false, false),
        ("a in {'x1', 'x2'}", true, false),
        ("a in {}", false, false),
        ("a not in {'x1',}", false, true),
        ("a not in {}", true, true),
        ("has(a)", true, false),
        ("!has(a)", false, true),
        ("all()", true, true),
        ("global( )", true, true),
        ("", true, true),
        (" \t", true, true),
    ] {
        assert_eq!(matches(selector, &[("a", "x1")]), present, "{selector} present");
        assert_eq!(matches(selector, &[("b", "x1")]), absent, "{selector} absent");
    }
}

#[test]
fn spelling_that_the_language_allows() {
    for selector in [
        "a=='1'",
        "  a\t==  '1'  ",
        "a startswith '1'",
        "a starts\twith'1'",
        "a notin {'2'}",
        "a in{'1'}",
        "has( a )",
        "!!has(a)",
        "! ! has(a)",
        "(a == '1')",
        "all() && all ( == '1' || has(a)",
        "projectcalico.org/zone-a_b != ''",
    ] {
        let parsed = selector.parse::<Selector>();
        // The one that is wrong on purpose: `all` and `(` belong together.
        if selector.contains("all (") {
            assert!(parsed.is_err(), "{selector}");
        } else {
            assert!(
                parsed.unwrap_or_else(|e| panic!("{selector}: {e}")).matches(&labels(&[("a", "1")])),
                "{selector}"
            );
        }
    }
    assert!(matches("has == 'x' && in in {'y'} && not == 'z'", &[("has", "x"), ("in", "y"), ("not", "z")]));
}

#[test]
fn not_binds_tighter_than_and_and_that_tighter_than_or() {
    assert!(matches("has(a) || has(b) && has(c)", &[("a", "")]));
    assert!(!matches("(has(a) || has(b)) && has(c)", &[("a", "")]));
    assert!(matches("!has(a) && has(b)", &[("b", "")]));
    assert!(!matches("!(has(a) || has(b))", &[("b", "")]));
}

#[test]
fn what_is_no_selector_says_where() {
    for (selector, offset) in [
        ("a", 1),
        ("a = 'x'", 2),
        ("a == x", 5),
        ("a == 'x", 5),
        ("a == 'x' & b == 'y'", 9),
        ("a == 'x' | b == 'y'", 9),
        ("a == 'x' b", 9),
        ("(a == 'x'", 9),
        ("a in 'x'", 5),
        ("a in {'x' 'y'}", 10),
        ("a in {,}", 6),
        ("a containsx 'y'", 2),
        ("a inx {'y'}", 2),
        ("has()", 4),
        ("has(a", 5),
        ("== 'x'", 0),
        ("a == 'x' &&", 11),
        ("a\n== 'x'", 1),
        ("ä == 'x'", 0),
    ] {
        let error = selector.parse::<Selector>().expect_err(selector);
        assert_eq!(error.offset, offset, "{selector}: {error}");
    }
}

#[test]
fn depth_and_length_are_bounded() {
    let nested = |depth: usize| format!("{}has(a){}", "(".repeat(depth), ")".repeat(depth));
    assert!(nested(Selector::DEPTH_MAX).parse::<Selector>().is_ok());
    assert!(nested(Selector::DEPTH_MAX + 1).parse::<Selector>().is_err());
    // Negations do not nest: they cancel.
    let negated = format!("{}has(a)", "!".repeat(Selector::LENGTH_MAX - 6));
    assert_eq!(negated.parse::<Selector>(), "has(a)".parse());
    let long = format!("a == '{}'", "x".repeat(Selector::LENGTH_MAX));
    assert!(long.parse::<Selector>().is_err());
    assert!(format!("{} == ''", "a".repeat(512)).parse::<Selector>().is_ok());
    assert!(format!("{} == ''", "a".repeat(513)).parse::<Selector>().is_err());
}

fn expressions() -> impl Strategy<Value = Expression> {
    let text = || "[ab']{0,2}";
    let label = || "[ab]";
    let set = || proptest::collection::vec(text(), 0..3);
    let test = prop_oneof![
        text().prop_map(Test::Contains),
        text().prop_map(Test::EndsWith),
        text().prop_map(Test::Equals),
        set().prop_map(Test::In),
        text().prop_map(Test::NotEquals),
        set().prop_map(Test::NotIn),
        text().prop_map(Test::StartsWith),
    ];
    let leaf = prop_oneof![
        Just(Expression::All),
        label().prop_map(Expression::Has),
        (label(), test).prop_map(|(label, test)| Expression::Test { label, test }),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let several = || proptest::collection::vec(inner.clone(), 2..4);
        let not = |expression| match expression {
            // Two negations cancel in the text.
            Expression::Not(inner) => *inner,
            other => Expression::Not(Box::new(other)),
        };
        prop_oneof![
            several().prop_map(Expression::And),
            several().prop_map(Expression::Or),
            inner.clone().prop_map(not),
        ]
    })
}

proptest! {
    #[test]
    fn a_printed_selector_reads_back_as_itself(expression in expressions()) {
        let selector = Selector(expression);
        prop_assert_eq!(selector.to_string().parse::<Selector>(), Ok(selector));
    }

    #[test]
    fn no_text_panics(text in ".{0,60}") {
        _ = text.parse::<Selector>();
    }

    #[test]
    fn no_soup_of_tokens_panics_and_whatever_is_read_prints_and_reads_back(
        tokens in proptest::collection::vec(
            prop_oneof![
                Just("a"), Just("has("), Just("all("), Just("("), Just(")"), Just("=="), Just("!="), Just("!"),
                Just("&&"), Just("||"), Just("in"), Just("not"), Just("{"), Just("}"), Just(","), Just("'x'"),
                Just("\"y\""), Just("starts"), Just("with"), Just("contains"), Just(" ")
            ],
            0..16,
        )
    ) {
        if let Ok(selector) = tokens.concat().parse::<Selector>() {
            prop_assert_eq!(selector.to_string().parse::<Selector>(), Ok(selector));
        }
    }
}
