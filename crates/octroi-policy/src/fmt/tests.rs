use expect_test::expect;
use proptest::prelude::*;

use super::*;

const EXAMPLE: &str = include_str!("../../../../policies/bretagne-exemple.toml");

fn formatted(text: &str) -> String {
    format_file(&SourceFile { name: "p.toml".to_owned(), text: text.to_owned() }).unwrap()
}

fn comments(text: &str) -> Vec<String> {
    let all = tokens(text);
    all.iter()
        .filter(|token| token.kind == Kind::Comment)
        .map(|token| token.text.trim_end().to_owned())
        .collect()
}

#[test]
fn the_example_is_written_as_it_should_be() {
    assert!(formatted(EXAMPLE) == EXAMPLE, "it would be changed");
}

#[test]
fn spacing_quotes_lists_and_blank_lines_have_one_form() {
    let text = "

schema='octroi-policy/1'
# Who.
  [[  producer ]]   # a body
siren   =  \"243500139\"#here
name='Rennes \"Métropole\"'
kind = 'metropole'     # aligned
dpo =    \"d@r.example\"   # aligned
[[classify]]


id = \"a\"
when={domain=[ \"energy\",\"water\", ],field = { \"a.b\"={gte=1.5}, c = { exists = true } } , tags = {}}

level = \"internal\"
# between
# two
[[transform]]
id = \"t\"
steps = [ # duties

    { op=\"keep_only\", fields=[\"a\",
  \"b\" # last
    ] },
    # then
 {op = \"round\",field=\"a\",digits=1}]
result . level = 'internal'";
    expect![[r#"
        schema = "octroi-policy/1"

        # Who.
        [[producer]]        # a body
        siren = "243500139"   #here
        name = 'Rennes "Métropole"'
        kind = "metropole"     # aligned
        dpo = "d@r.example"      # aligned

        [[classify]]
        id = "a"
        when = { domain = ["energy", "water"], field = { "a.b" = { gte = 1.5 }, c = { exists = true } }, tags = {} }

        level = "internal"

        # between
        # two
        [[transform]]
        id = "t"
        steps = [ # duties
          { op = "keep_only", fields = [
            "a",
            "b",  # last
          ] },
          # then
          { op = "round", field = "a", digits = 1 },
        ]
        result.level = "internal"
    "#]]
    .assert_eq(&formatted(text));
}

#[test]
fn what_cannot_be_read_is_refused_and_not_guessed() {
    let refused = |text: &str| format_file(&SourceFile { name: "p.toml".to_owned(), text: text.to_owned() });
    for text in ["[[copy]]\nid = ", "[[copy]]\nidentifier = \"a\"\n", "a = 01004\n"] {
        let Err(FormatError::Unreadable { findings }) = refused(text) else { panic!("{text}") };
        assert!(!findings.is_empty());
    }
}

/// The example with other white space: `choose` says how much, token by token.
fn respaced(choices: &[u8]) -> String {
    let mut choices = choices.iter().copied().cycle();
    let mut depth = 0_usize;
    let mut text = String::new();
    for token in Source::new(EXAMPLE).lex() {
        let (kind, span) = (token.kind(), token.span());
        let written = EXAMPLE.get(span.start()..span.end()).unwrap();
        let choice = usize::from(choices.next().unwrap_or_default() % 4);
        if kind == Kind::Whitespace {
            text.push_str([" ", "   ", "\t", " \t "][choice]);
        } else if kind == Kind::Newline {
            text.push_str(["\n", "  \n", "\n\n\n", "\r\n"][choice]);
        } else if kind == Kind::LeftSquareBracket && text.ends_with(['=', ' ', '\t']) {
            depth += 1;
            text.push_str(["[", "[ ", "[\n", "[ # odd\n"][choice]);
        } else if kind == Kind::RightSquareBracket && depth > 0 {
            depth -= 1;
            text.push_str(["]", " ]", "\n]", "]"][choice]);
        } else {
            let separates = matches!(kind, Kind::Comma | Kind::Equals);
            text.push_str(if separates { ["", " ", "", " "][choice] } else { "" });
            text.push_str(written);
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_spacing_is_formatted_once_and_keeps_meaning_and_comments(
        choices in proptest::collection::vec(any::<u8>(), 1..200),
    ) {
        let text = respaced(&choices);
        let once = formatted(&text);
        prop_assert_eq!(comments(&once), comments(&text));
        prop_assert_eq!(&formatted(&once), &once);
        let read = |text: &str| parse(&[SourceFile { name: "p.toml".to_owned(), text: text.to_owned() }]).document;
        prop_assert!(read(&once).placeless() == read(EXAMPLE).placeless());
        prop_assert!(!once.contains("\n\n\n") && !once.contains(" \n") && once.ends_with('\n'));
    }
}
