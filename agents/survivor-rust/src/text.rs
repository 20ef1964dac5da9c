//! Numbers as people read them.

/// In tenths, which is as much as a person reads.
pub fn seconds(ns: i64) -> String {
    let tenths = ns / 100_000_000;
    format!("{}.{} s", tenths / 10, tenths.abs() % 10)
}

/// Like 2024-01-01T00:00:00.000Z. Days are counted from 1 March of year 0, so that a leap day is the last of its year.
pub fn time(ns: i64) -> String {
    let ms = ns.div_euclid(1_000_000);
    let days = ms.div_euclid(86_400_000) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153; // 0 is March
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + i64::from(month >= 10);
    let of_day = ms.rem_euclid(86_400_000);
    format!(
        "{year:04}-{:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        (month + 2) % 12 + 1,
        of_day / 3_600_000,
        of_day / 60_000 % 60,
        of_day / 1_000 % 60,
        of_day % 1_000
    )
}
