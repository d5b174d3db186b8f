use super::*;
use duj_api::queue::{ItemsKey, Row};
use proptest::prelude::*;

fn queue(count: Option<u32>, items: QueueItems) -> Queue {
    Queue { count, items: Some(Arc::new(items)), ..Queue::default() }
}

fn of_key() -> QueueItems {
    QueueItems {
        config_map_key_ref: Some(ItemsKey { name: "c".into(), key: "k".into() }),
        ..QueueItems::default()
    }
}

/// Procs as `row.step name=value …`.
fn told(items: &Items) -> Vec<String> {
    let procs = 0..items.total_procs();
    procs
        .map(|proc| {
            let Place { row, step, variables } = items.place(proc);
            variables.iter().fold(format!("{row}.{step}"), |told, (name, value)| {
                format!("{told} {name}={value}")
            })
        })
        .collect()
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn a_count_alone_is_that_many_steps() {
    assert_eq!(told(&Items::read(None, None).unwrap()), ["0.0"]);
    assert_eq!(told(&Items::read(Some(&Queue::default()), None).unwrap()), ["0.0"]);
    assert_eq!(told(&Items::read(Some(&Queue::of(3)), None).unwrap()), ["0.0", "0.1", "0.2"]);
    let most = Items::read(Some(&Queue::of(MOST_PROCS)), None).unwrap();
    assert_eq!(most.total_procs(), MOST_PROCS);
    assert!(Items::read(Some(&Queue::of(MOST_PROCS + 1)), None).is_err());
}

#[test]
fn values_are_items_and_keep_their_number_in_a_slice() {
    let values = texts(&["a b", "c,d", "e"]);
    let list = QueueItems { values, ..QueueItems::default() };
    let read = |count, list| told(&Items::read(Some(&queue(count, list)), None).unwrap());
    assert_eq!(read(None, list.clone()), ["0.0 Item=a b", "1.0 Item=c,d", "2.0 Item=e"]);
    let slice = Some("[1:]".to_owned());
    let sliced = QueueItems { slice, ..list.clone() };
    assert_eq!(read(Some(2), sliced), ["1.0 Item=c,d", "1.1 Item=c,d", "2.0 Item=e", "2.1 Item=e"]);
    let named = QueueItems { variables: texts(&["x", "y"]), ..list };
    assert_eq!(read(None, named), ["0.0 x=a y=b", "1.0 x=c y=d", "2.0 x=e y="]);
}

#[test]
fn rows_have_their_own_names() {
    let row = |a: &str, b: &str| Row([("a".into(), a.into()), ("b".into(), b.into())].into());
    let rows = vec![row("1", "x y"), row("2", "")];
    let items = Items::read(Some(&queue(None, QueueItems { rows, ..QueueItems::default() })), None);
    assert_eq!(told(&items.unwrap()), ["0.0 a=1 b=x y", "1.0 a=2 b="]);
}

#[test]
fn texts_are_lines_or_words() {
    let text = "# a\r\n\n  b, c d  \n\t\nlast";
    let lines = Items::read(Some(&queue(None, of_key())), Some(text)).unwrap();
    assert_eq!(told(&lines), ["0.0 Item=# a", "1.0 Item=b, c d", "2.0 Item=last"]);
    let words = QueueItems { splitting: Some(Splitting::Words), ..of_key() };
    let words = Items::read(Some(&queue(None, words)), Some(text)).unwrap();
    let items: Vec<_> = (0..6).map(|proc| words.place(proc).variables[0].1.to_owned()).collect();
    assert_eq!(items, ["#", "a", "b", "c", "d", "last"]);
}

#[test]
fn what_makes_no_procs_or_too_many_says_so() {
    let read = |count, items, text| Items::read(Some(&queue(count, items)), text).unwrap_err();
    assert_eq!(read(None, of_key(), None), "its items have not been read yet");
    assert_eq!(read(None, of_key(), Some(" \n ")), "it has no items, so the job has no procs");
    let beyond = QueueItems { slice: Some("[5:]".into()), ..of_key() };
    assert_eq!(
        read(None, beyond, Some("a\nb")),
        "the slice '[5:]' takes none of its 2 items, so the job has no procs"
    );
    assert!(read(Some(60_000), of_key(), Some("a\nb")).starts_with("it makes 120000 procs"));
}

#[test]
fn slices_are_pythons() {
    let list = ["a", "b", "c", "d", "e"];
    for (slice, kept) in [
        ("[:]", "abcde"),
        ("[1:]", "bcde"),
        ("[:2]", "ab"),
        ("[-2:]", "de"),
        ("[:-2]", "abc"),
        ("[::2]", "ace"),
        ("[1:4:2]", "bd"),
        ("[1:4:]", "bcd"),
        ("[-10:10]", "abcde"),
        ("[+1:3]", "bc"),
        ("[3:1]", ""),
        ("[9:]", ""),
        ("[::999999999]", "a"),
    ] {
        let found = Kept::of(Some(slice), list.len()).unwrap();
        let items: String = (0..found.len).map(|at| list[found.row(at)]).collect();
        assert_eq!(items, kept, "{slice}");
    }
    for refused in ["", "1:2", "[2]", "[]", "[::0]", "[::-1]", "[a:b]", "[1:2:3:4]", "[ 1:2]"] {
        assert!(Kept::of(Some(refused), 5).is_err(), "{refused}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: duj_tally::cases(ProptestConfig::default().cases), ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_read_beyond_the_items(text in "[ab,# \t\r\n$()é]{0,40}", slice in "\\[-?[0-9]{0,2}:-?[0-9]{0,2}(:[1-9])?\\]", count in 1u32..4) {
        let list = QueueItems { slice: Some(slice), variables: texts(&["x", "y", "z"]), ..of_key() };
        if let Ok(items) = Items::read(Some(&queue(Some(count), list)), Some(&text)) {
            let lines = text.lines().count();
            let mut before = None;
            for proc in 0..items.total_procs() {
                let place = items.place(proc);
                prop_assert!((place.row as usize) < lines);
                prop_assert!(before < Some((place.row, place.step)));
                prop_assert_eq!(place.variables.len(), 3);
                before = Some((place.row, place.step));
            }
        }
    }
}
