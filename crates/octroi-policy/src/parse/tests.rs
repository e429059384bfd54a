use super::*;

fn example() -> SourceFile {
    SourceFile {
        name: "p.toml".into(),
        text: include_str!("../../../../policies/bretagne-exemple.toml").into(),
    }
}

#[test]
fn the_example_is_read_whole() {
    let parsed = parse(&[example()]);
    assert_eq!(parsed.findings, []);
    let document = parsed.document;
    assert_eq!((document.source.len(), document.classify.len(), document.test.len()), (5, 14, 13));
    assert_eq!(document.target[0].at.to_string(), "p.toml:114:1");
}
