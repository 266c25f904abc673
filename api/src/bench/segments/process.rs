//! The engine in this process: idle, while events flow in, while ten editors ask, and when a day turns.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actors::model::{IdentNo, MemberNo, Offset, PartitionId, Position, Time};
use cdp::audience::bench::{NOW, fill, plan, queries};
use cdp::audience::{Change, Engine};
use cdp::rule::Plan;
use parking_lot::{Mutex, MutexGuard};

use super::super::table::{Table, Times};
use super::super::{BenchError, BenchOptions};
use super::{Answers, Asked, THREADS, repeat, say};

/// Events that are given to the engine at once: as the product does it.
const CHUNK: u32 = 512;
/// Between two chunks of a given rate, as between two rounds in the product.
const ROUND: Duration = Duration::from_millis(15);
/// Who edits a rule asks this often: at each letter.
const EDITOR_EVERY: Duration = Duration::from_millis(100);
/// People who edit at the same time.
const EDITORS: usize = 10;
/// Members whose day turns.
const EXPIRING: u32 = 1_000_000;
/// Noon to midnight.
const MIDNIGHT: Time = Time(NOW.0 + 43_200_000);
/// A rule that ends for everybody at midnight, of an event that no question is about.
const TODAY: &str = r#"{"event":"visit","within":"1d"}"#;

/// Fills an engine and measures it.
pub(super) fn run(options: &BenchOptions, table: &mut Table) -> Result<Answers, BenchError> {
    say(format_args!(
        "filling the engine with {} members",
        options.members
    ));
    let begun = Instant::now();
    let mut engine = fill(options.members, THREADS);
    table.row("in process: members", engine.universe() as f64, "");
    let took = begun.elapsed().as_secs_f64();
    table.row("  filled with attributes, tags, events in", took, "s");
    say("asking, idle");
    let mut answers = idle(options, &mut engine)?;
    memory(&engine, table);
    let engine = Mutex::new(engine);
    if options.rate > 0 {
        say(format_args!("asking at {} events/s", options.rate));
        loaded(options, &engine, &mut answers, table)?;
    }
    say("ten editors");
    editors(options, &engine, table)?;
    say("midnight");
    midnight(options, &engine, table)?;
    backfill(options, &engine, table);
    Ok(answers)
}

fn idle(options: &BenchOptions, engine: &mut Engine) -> Result<Answers, BenchError> {
    let mut answers = Answers::new();
    for (key, _, plans) in queries() {
        let plans: Vec<&Plan> = plans.iter().map(|plan| &**plan).collect();
        let begun = Instant::now();
        let count = ask(engine, &plans, NOW)?;
        let first = begun.elapsed();
        let idle = repeat(options.queries, || ask(engine, &plans, NOW).map(drop))?;
        let asked = Asked {
            count,
            first,
            idle,
            loaded: Times::default(),
        };
        answers.insert(key, asked);
    }
    Ok(answers)
}

fn memory(engine: &Engine, table: &mut Table) {
    let memory = engine.memory();
    for (what, bytes) in [
        ("people and fragments", memory.people),
        ("attributes", memory.attributes),
        ("tags", memory.tags),
        ("events of measures", memory.measures),
        ("computed columns", memory.derived),
        ("all", memory.total()),
    ] {
        table.row(format!("  memory: {what}"), bytes as f64 / 1e6, "MB");
    }
}

/// The count of one plan, or of the intersection of several by way of their overlap.
fn ask(engine: &mut Engine, plans: &[&Plan], now: Time) -> Result<u64, BenchError> {
    let answer = match plans {
        [one] => engine.count(one, now).map(|counted| counted.count),
        several => engine
            .overlap(several, now)
            .map(|regions| regions.last().copied().unwrap_or_default()),
    };
    answer.map_err(|missing| BenchError::Part(format!("a question lacks history: {missing:?}")))
}

/// As the product asks: what is new is made in slices, with others let in between.
fn ask_shared(engine: &Mutex<Engine>, plans: &[&Plan]) -> Result<Duration, BenchError> {
    let begun = Instant::now();
    loop {
        let mut engine = engine.lock();
        let now = engine.now();
        match engine.warm(plans, now) {
            Ok(true) => MutexGuard::unlock_fair(engine),
            _ => {
                ask(&mut engine, plans, now)?;
                return Ok(begun.elapsed());
            }
        }
    }
}

/// What feeds the engine: its thread, in the product.
struct Feed<'a> {
    engine: &'a Mutex<Engine>,
    members: u32,
    stop: AtomicBool,
    /// Events given.
    given: AtomicU64,
    /// The longest that a chunk waited for the engine, in microseconds.
    waited_us: AtomicU64,
}

/// Offsets of events that are given while measuring; those of the filling lie below.
static OFFSETS: AtomicU64 = AtomicU64::new(1 << 40);

impl<'a> Feed<'a> {
    fn new(engine: &'a Mutex<Engine>, members: u32) -> Feed<'a> {
        Feed {
            engine,
            members: members.max(1),
            stop: AtomicBool::new(false),
            given: AtomicU64::new(0),
            waited_us: AtomicU64::new(0),
        }
    }

    /// Gives events until it is stopped, so many a second, or as many as possible, and lets the engine tick as the
    /// product does.
    fn run(&self, rate: Option<u32>) {
        let begun = Instant::now();
        let mut given = 0u64;
        while !self.stop.load(Ordering::Relaxed) {
            let due = match rate {
                Some(rate) => (begun.elapsed().as_secs_f64() * f64::from(rate)) as u64,
                None => given + u64::from(CHUNK) * 16,
            };
            while given < due {
                let count = (due - given).min(CHUNK.into()) as u32;
                let asked = Instant::now();
                let mut engine = self.engine.lock();
                let waited = asked.elapsed().as_micros() as u64;
                self.waited_us.fetch_max(waited, Ordering::Relaxed);
                (0..count).for_each(|_| give(&mut engine, self.members));
                given += u64::from(count);
                self.given.store(given, Ordering::Relaxed);
            }
            let mut engine = self.engine.lock();
            let now = engine.now();
            engine.tick(now);
            engine.take_transitions();
            drop(engine);
            if rate.is_some() {
                std::thread::sleep(ROUND);
            }
        }
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One event of a random member: it bought or scanned.
fn give(engine: &mut Engine, members: u32) {
    let offset = OFFSETS.fetch_add(1, Ordering::Relaxed);
    let roll = offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    event(
        engine,
        (roll % u64::from(members)) as u32,
        offset,
        match roll & 3 {
            0 => "buy",
            _ => "scan",
        },
    );
}

fn event(engine: &mut Engine, member: u32, offset: u64, name: &str) {
    let time = engine.now();
    engine.apply(Change::Event {
        fragment: IdentNo(member),
        position: Position {
            partition: PartitionId(1),
            offset: Offset(offset),
        },
        time,
        name,
        properties: Some(r#"{"amount":4200}"#),
        place: None,
        brand: actors::model::BrandId(0),
    });
}

fn loaded(
    options: &BenchOptions,
    engine: &Mutex<Engine>,
    answers: &mut Answers,
    table: &mut Table,
) -> Result<(), BenchError> {
    let feed = Feed::new(engine, options.members);
    let seconds = Duration::from_secs(options.seconds.max(1).into());
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| feed.run(Some(options.rate)));
        let mut done = || -> Result<(), BenchError> {
            while begun.elapsed() < seconds {
                for (key, _, plans) in queries() {
                    let plans: Vec<&Plan> = plans.iter().map(|plan| &**plan).collect();
                    let took = ask_shared(engine, &plans)?;
                    answers.entry(key).or_default().loaded.push(took);
                }
            }
            Ok(())
        };
        let result = done();
        feed.stop();
        result
    })?;
    let reached = feed.given.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    table.row(
        format!(
            "  at {} k/s while one asks without a pause: reached",
            options.rate / 1_000
        ),
        reached / 1e3,
        "k/s",
    );
    Ok(())
}

/// How many events a second the engine takes alone, and while ten people edit rules.
fn editors(
    options: &BenchOptions,
    engine: &Mutex<Engine>,
    table: &mut Table,
) -> Result<(), BenchError> {
    let seconds = Duration::from_secs(u64::from(options.seconds / 2).max(2));
    for editors in [0, EDITORS] {
        let feed = Feed::new(engine, options.members);
        let begun = Instant::now();
        let mut times = std::thread::scope(|scope| {
            scope.spawn(|| feed.run(None));
            let asking: Vec<_> = (0..editors)
                .map(|editor| scope.spawn(move || edit(engine, editor, begun + seconds)))
                .collect();
            let mut times = Times::default();
            let mut failed = None;
            for one in asking {
                match one.join() {
                    Ok(Ok(one)) => times.extend(one),
                    Ok(Err(error)) => failed = Some(error),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            std::thread::sleep(seconds.saturating_sub(begun.elapsed()));
            feed.stop();
            failed.map_or(Ok(times), Err)
        })?;
        let rate = feed.given.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
        let who = match editors {
            0 => "alone".to_owned(),
            n => format!("while {n} editors ask"),
        };
        table.row(format!("  events taken in, {who}"), rate / 1e3, "k/s");
        if editors > 0 {
            table.times("  an editor's question then", &mut times, "");
        }
    }
    Ok(())
}

fn edit(engine: &Mutex<Engine>, editor: usize, until: Instant) -> Result<Times, BenchError> {
    let (mut times, queries) = (Times::default(), queries());
    for (_, _, plans) in queries.iter().cycle().skip(editor * 3) {
        if Instant::now() >= until {
            break;
        }
        let plans: Vec<&Plan> = plans.iter().map(|plan| &**plan).collect();
        times.push(ask_shared(engine, &plans)?);
        std::thread::sleep(EDITOR_EVERY);
    }
    Ok(times)
}

/// A million members leave a live segment because the day turns, while events flow in.
fn midnight(
    options: &BenchOptions,
    engine: &Mutex<Engine>,
    table: &mut Table,
) -> Result<(), BenchError> {
    let today = plan(TODAY);
    let members = options.members.min(EXPIRING);
    {
        let mut engine = engine.lock();
        for measure in engine.measure_wanted(&today) {
            let series = engine.measure_builder(measure);
            engine.measure_install(series);
        }
        for member in 0..members {
            event(&mut engine, member, u64::from(member), "visit");
        }
        engine.segment_put("today", 1, today);
        engine.drain_transitions();
    }
    let feed = Feed::new(engine, options.members);
    let rate = options.rate.max(1);
    let (mut slices, mut left, mut turned) =
        (Times::default(), HashSet::<MemberNo>::new(), Duration::ZERO);
    std::thread::scope(|scope| {
        scope.spawn(|| feed.run(Some(rate)));
        let begun = Instant::now();
        let mut more = true;
        while more {
            let slice = Instant::now();
            let mut engine = engine.lock();
            more = engine.tick(MIDNIGHT);
            for it in engine.take_transitions() {
                left.insert(it.member);
            }
            MutexGuard::unlock_fair(engine);
            slices.push(slice.elapsed());
        }
        turned = begun.elapsed();
        feed.stop();
    });
    table.row("  midnight: members whose day turns", left.len() as f64, "");
    table.row(
        "  midnight: all segments and columns are right after",
        turned.as_secs_f64() * 1e3,
        "ms",
    );
    table.row("  midnight: longest slice", slices.ms(1.0), "ms");
    table.row(
        "  midnight: events waited at most",
        feed.waited_us.load(Ordering::Relaxed) as f64 / 1e3,
        "ms",
    );
    Ok(())
}

/// How fast a measure takes a history.
fn backfill(options: &BenchOptions, engine: &Mutex<Engine>, table: &mut Table) {
    let plan = plan(
        r#"{"event":"buy","where":[{"attr":"amount","op":"gt","value":100}],"agg":"sum","field":"amount","op":"gt","value":0}"#,
    );
    let builder = {
        let engine = engine.lock();
        let measure = engine.measure_wanted(&plan).into_iter().next();
        measure.map(|measure| engine.measure_builder(measure))
    };
    let Some(mut series) = builder else {
        return;
    };
    let events = options.events.min(2_000_000);
    let begun = Instant::now();
    for number in 0..events {
        let position = Position {
            partition: PartitionId(1),
            offset: Offset(number),
        };
        let fragment = IdentNo((number % u64::from(options.members.max(1))) as u32);
        series.offer(
            fragment,
            position,
            "buy",
            NOW,
            Some(r#"{"amount":4200,"sku":"A"}"#),
        );
    }
    let rate = events as f64 / begun.elapsed().as_secs_f64();
    table.goal(
        "  a new measure takes events, one thread",
        rate / 1e6,
        "M/s",
        ">= 2, then 5",
    );
}
