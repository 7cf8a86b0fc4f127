//! `cargo xtask bench`: what a packet costs, as ratios that hold on other machines too.
mod cases;
mod fill;
mod instance;
mod interrupt;
mod micro;
mod plan;
mod reasons;
mod stats;

fn main() -> anyhow::Result<()> {
    interrupt::watch()?;
    let args: Vec<String> = std::env::args().collect();
    let rounds = args.get(1).and_then(|word| word.parse().ok()).unwrap_or(9);
    for row in micro::measure(rounds, args.get(2).map_or("", |word| word))? {
        let spread = row.spread();
        println!(
            "{:55} {:7.1} {:7.1} {:7.1} x{:5.2} {:+7.1}",
            row.name, spread.min, spread.median, spread.max, row.ratio, row.over_parse
        );
    }
    Ok(())
}
