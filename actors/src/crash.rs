//! Named places where a test can end the process, slow it down or make a thread panic. Nothing at all without the feature
//! `failpoints`.
//!
//! `FAILPOINTS="log-after-write=3*off->return"` aborts the process, as a kill does, when the place is passed for the fourth
//! time; `panic` and `sleep(200)` do what they say. The tests of crashes find the names in the sources, so a new place is
//! tested from its first day.

/// A place. Its action `return` aborts the process.
#[inline]
pub fn point(name: &'static str) {
    #[cfg(not(feature = "failpoints"))]
    let _ = name;
    #[cfg(feature = "failpoints")]
    fail::fail_point!(name, |_| std::process::abort());
}

/// A record is decided. Action `return(text)` aborts the process if one of its parts holds the text.
#[inline]
pub fn record(parts: [&[u8]; 2]) {
    #[cfg(not(feature = "failpoints"))]
    let _ = parts;
    #[cfg(feature = "failpoints")]
    fail::fail_point!("record", |text| {
        let text = text.unwrap_or_default();
        let holds = |part: &&[u8]| {
            part.windows(text.len().max(1))
                .any(|at| at == text.as_bytes())
        };
        if !text.is_empty() && parts.iter().any(holds) {
            std::process::abort();
        }
    });
}

/// Reads `FAILPOINTS` from the environment. First thing in `main`; without it no place acts.
pub fn arm() {
    // Ends with the process: the scenario would disarm everything when dropped.
    #[cfg(feature = "failpoints")]
    std::mem::forget(fail::FailScenario::setup());
}
