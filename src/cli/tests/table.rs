use crate::cli::table::{fields, table};

#[test]
fn columns_are_as_wide_as_their_widest_cell() {
    let rows = [
        vec!["a".to_owned(), "größer".to_owned(), "x".to_owned()],
        vec!["long".to_owned(), String::new(), String::new()],
    ];
    assert_eq!(
        table(&["A", "B", "C"], &rows),
        "A     B       C\na     größer  x\nlong\n"
    );
}

#[test]
fn no_cell_moves_the_cursor() {
    let text = fields(&[("name", "a\u{1b}[2Jb\r\nc".to_owned())]);
    assert_eq!(text, "name  a?[2Jb??c\n");
}
