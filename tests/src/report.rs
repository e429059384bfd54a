//! Tables on the test's output (`cargo test -- --nocapture`, and under every failure).

/// Prints rows of `name value…` in columns below a title.
pub fn table(title: &str, rows: &[(&str, String)]) {
    println!("\n{title}");
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in rows {
        println!("  {name:width$}  {value}");
    }
}
