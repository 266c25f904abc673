#!/usr/bin/env python3
"""Counts the same segments over the same members with tributary, polars, DuckDB and chDB, two threads each.

    tributary bench segments --members 10000000                  runs this script beside its own figures
    python3 tests/bench/segments_peers.py --columns DIR          only this, on what `bench segments --export DIR` wrote

Loads the columns into each peer's own tables in memory, one peer at a time in a process of its own, asks the same questions
there, and prints one table of medians in milliseconds, or JSON. A peer that is not installed, takes too long or is killed is
named (`pip install numpy polars duckdb chdb`). A peer
whose count differs is marked: then one of the two is wrong.

Peers count events per question; tributary keeps a column per window and says beside it what the first time took.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

THREADS = 2
os.environ.setdefault("POLARS_MAX_THREADS", str(THREADS))
DAY = 86_400_000
# Members of one file: what is made of Python objects at once.
PART = 500_000
# What DuckDB takes before it writes to disk; polars and chDB have no such limit, and are named if they are killed.
MEMORY_GB = 8


# Exit status of a step whose library is not there.
MISSING = 3


def skipped(what, why):
    print(f"SKIPPED: {what} because {why}", file=sys.stderr)


def timed(ask, runs):
    """The answer, and the median of the runs behind the first, in milliseconds; for two seconds at most, but thrice."""
    answer = ask()
    times = []
    while len(times) < runs and (len(times) < 3 or sum(times) < 2e3):
        begun = time.perf_counter()
        ask()
        times.append((time.perf_counter() - begun) * 1e3)
    return answer, statistics.median(times)


def write(folder):
    """The columns as Parquet files of some members, and of some events: what is in memory at once has a bound."""
    import numpy as np
    import polars as pl

    words = json.loads((folder / "words.json").read_text())
    read = lambda name: np.load(folder / f"{name}.npy", mmap_mode="r")

    def words_of(codes, names):
        return pl.Series(names, dtype=pl.Enum(names)).gather(pl.Series(codes.astype("u4")))

    columns = {name: read(name) for name in ["level", "city", "channel", "gender", "vip", "flags", "age", "points", "spent",
                                             "birthday", "registered", "interests_len", "interest"]}
    cities, told = [f"city{n}" for n in range(300)], 0
    all_members = len(columns["gender"])
    with open(folder / "nickname.txt") as nicknames:
        for part, begin in enumerate(range(0, all_members, PART)):
            end = min(begin + PART, all_members)
            one = {name: of[begin:end] for name, of in columns.items() if name != "interest"}
            lengths = one["interests_len"].astype("i8")
            interest = pl.Series(columns["interest"][told:told + int(lengths.sum())])
            told += int(lengths.sum())
            rows = pl.Series(np.repeat(np.arange(begin, end, dtype="u4"), lengths))
            lists = pl.DataFrame({"member": rows, "interest": interest})
            lists = lists.group_by("member", maintain_order=True).agg("interest")
            flags = one["flags"]
            members = pl.DataFrame({
                "member": np.arange(begin, end, dtype="u4"),
                "level": words_of(one["level"], words["level"]),
                "city": words_of(one["city"], cities),
                "channel": words_of(one["channel"], words["channel"]),
                "gender": pl.Series([None, "m", "f"], dtype=pl.Enum(["m", "f"])).gather(pl.Series(one["gender"].astype("u4"))),
                "vip": one["vip"].astype(bool),
                "age": np.array(one["age"]),
                "points": np.array(one["points"]),
                "spent": np.array(one["spent"]),
                "birthday": pl.Series(np.array(one["birthday"])).cast(pl.Date),
                "registered": pl.Series(np.array(one["registered"])).cast(pl.Datetime("ms")),
                "nickname": [next(nicknames).rstrip("\n") for _ in range(begin, end)],
                **{f"flag{n}": (flags >> n & 1).astype(bool) for n in range(words["flags"])},
            })
            members = members.join(lists, on="member", how="left", maintain_order="left").rename({"interest": "interests"})
            members.write_parquet(folder / f"m_{part:05}.parquet")
    events = {name: read(f"event_{name}") for name in ["member", "buy", "time", "amount"]}
    for part, begin in enumerate(range(0, len(events["member"]), PART * 4)):
        some = {name: np.array(of[begin:begin + PART * 4]) for name, of in events.items()}
        some["buy"] = some["buy"].astype(bool)
        pl.DataFrame(some).write_parquet(folder / f"e_{part:05}.parquet")


def days(now, n):
    """The first instant of a window of n days, in UTC."""
    return (now // DAY - (n - 1)) * DAY


def sql(now, dialect):
    """The questions in SQL. Only where dialects differ is there a choice."""
    d90, d180 = days(now, 90), days(now, 180)
    within = lambda since: f"time >= {since} AND time <= {now}"
    count = "SELECT count(*) FROM m WHERE "
    click = dialect == "chdb"
    any_of = "hasAny(interests, [3, 17, 29])" if click else "list_has_any(interests, [3, 17, 29]::UTINYINT[])"
    holds = (lambda text: f"position(nickname, '{text}') > 0") if click else (lambda text: f"contains(nickname, '{text}')")
    no_case = "positionCaseInsensitiveUTF8(nickname, 'xin9') > 0" if click else "contains(lower(nickname), 'xin9')"
    stamp = (lambda day: f"toDateTime64('{day} 00:00:00', 3, 'UTC')") if click else (lambda day: f"TIMESTAMP '{day}'")
    day = (lambda day: f"toDate32('{day}')") if click else (lambda day: f"DATE '{day}'")
    return {
        "enums": count + "level = 'gold' AND channel = 'app' AND city IN ('city1', 'city2', 'city3')",
        "bitmaps": count + "vip AND flag0 AND flag3 AND NOT flag5 AND age BETWEEN 25 AND 40",
        "nested": count + "(level = 'gold' OR (vip AND points >= 50000)) AND (channel IN ('app', 'mini') OR flag2) "
                          "AND age BETWEEN 25 AND 40 AND (gender IS NULL OR gender <> 'm')",
        "ranges": count + "age BETWEEN 25 AND 40 AND points BETWEEN 10000 AND 60000 AND spent >= 1000000",
        "or10": count + "level = 'gold' OR channel = 'app' OR vip OR flag7 OR flag9 OR flag11 OR age = 20 OR age = 30 "
                        "OR age = 40 OR city = 'city9'",
        "not": count + "gender IS NULL AND level <> 'basic' AND NOT flag1",
        "contains": count + holds("阳光"),
        "case": count + no_case,
        "has_any": count + any_of,
        "dates": count + f"registered >= {stamp('2025-06-01')} AND registered < {stamp('2026-01-01')} "
                         f"AND birthday < {day('1995-01-01')}",
        "behaviour": f"SELECT count(*) FROM (SELECT member FROM e WHERE buy AND {within(d90)} "
                     "GROUP BY member HAVING count(*) >= 2)",
        "sum": f"SELECT count(*) FROM m WHERE level = 'gold' AND member IN (SELECT member FROM e WHERE buy "
               f"AND {within(d180)} GROUP BY member HAVING sum(amount) >= 30000)",
        "absence": f"SELECT (SELECT count(*) FROM m) - (SELECT count(DISTINCT member) FROM e WHERE NOT buy AND {within(d90)})",
        "sequence": f"SELECT count(DISTINCT s.member) FROM (SELECT member, time FROM e WHERE NOT buy AND {within(d180)}) s "
                    f"JOIN (SELECT member, time FROM e WHERE buy AND {within(d180)}) b ON s.member = b.member "
                    f"WHERE b.time > s.time AND b.time - s.time <= {7 * DAY}",
        "overlap": "SELECT c FROM (SELECT level = 'gold' AS a, age BETWEEN 25 AND 40 AS b, flag0 AS f, count(*) AS c "
                   "FROM m GROUP BY 1, 2, 3) WHERE a AND b AND f",
    }


def polars_questions(folder, now):
    import polars as pl

    members = pl.read_parquet(folder / "m_*.parquet").rechunk()
    events = pl.read_parquet(folder / "e_*.parquet").rechunk()
    c, m = pl.col, members.lazy()
    d90, d180 = days(now, 90), days(now, 180)
    number = lambda frame: lambda: frame.select(pl.len()).collect().item()
    count = lambda which: number(m.filter(which))
    within = lambda buy, since: events.lazy().filter((c("buy") if buy else ~c("buy")) & c("time").is_between(since, now))
    gold, app, age = c("level") == "gold", c("channel") == "app", c("age").is_between(25, 40)
    spent = within(True, d180).group_by("member").agg(c("amount").sum()).filter(c("amount") >= 30000)
    pairs = within(False, d180).join(within(True, d180), on="member", suffix="_b").filter(
        (c("time_b") > c("time")) & (c("time_b") - c("time") <= 7 * DAY)).select("member").unique()
    absent = within(False, d90).select(c("member").n_unique())
    groups = m.group_by(gold.alias("x"), age.alias("y"), c("flag0").alias("z")).len().filter(c("x") & c("y") & c("z"))
    import datetime as dt
    return {
        "enums": count(gold & app & c("city").is_in(["city1", "city2", "city3"])),
        "bitmaps": count(c("vip") & c("flag0") & c("flag3") & ~c("flag5") & age),
        "nested": count((gold | (c("vip") & (c("points") >= 50000))) & (app | (c("channel") == "mini") | c("flag2")) & age
                        & (c("gender").is_null() | (c("gender") != "m"))),
        "ranges": count(age & c("points").is_between(10000, 60000) & (c("spent") >= 1000000)),
        "or10": count(gold | app | c("vip") | c("flag7") | c("flag9") | c("flag11") | (c("age") == 20) | (c("age") == 30)
                      | (c("age") == 40) | (c("city") == "city9")),
        "not": count(c("gender").is_null() & (c("level") != "basic") & ~c("flag1")),
        "contains": count(c("nickname").str.contains("阳光", literal=True)),
        "case": count(c("nickname").str.to_lowercase().str.contains("xin9", literal=True)),
        "has_any": count(c("interests").list.contains(3) | c("interests").list.contains(17) | c("interests").list.contains(29)),
        "dates": count((c("registered") >= dt.datetime(2025, 6, 1)) & (c("registered") < dt.datetime(2026, 1, 1))
                       & (c("birthday") < dt.date(1995, 1, 1))),
        "behaviour": number(within(True, d90).group_by("member").len().filter(c("len") >= 2)),
        "sum": number(m.filter(gold).join(spent, on="member", how="semi")),
        "absence": lambda: len(members) - absent.collect().item(),
        "sequence": number(pairs),
        "overlap": lambda: groups.collect()["len"].item(),
    }


def duckdb_questions(folder, now):
    import duckdb

    db = duckdb.connect(config={"threads": THREADS, "memory_limit": f"{MEMORY_GB}GB", "temp_directory": str(folder / "duckdb")})
    enums = {"level": None, "city": None, "channel": None, "gender": None}
    for name in enums:
        db.execute(f"CREATE TYPE t_{name} AS ENUM (SELECT DISTINCT {name}::VARCHAR FROM '{folder}/m_*.parquet' "
                   f"WHERE {name} IS NOT NULL ORDER BY 1)")
    casts = ", ".join(f"{name}::VARCHAR::t_{name} AS {name}" for name in enums)
    db.execute(f"CREATE TABLE m AS SELECT * REPLACE ({casts}) FROM '{folder}/m_*.parquet'")
    db.execute(f"CREATE TABLE e AS SELECT * FROM '{folder}/e_*.parquet'")
    ask = lambda text: lambda: db.execute(text).fetchone()[0]
    return {key: ask(text) for key, text in sql(now, "duckdb").items()}


def chdb_questions(folder, now):
    from chdb import session

    db = session.Session()
    db.query(f"SET max_threads = {THREADS}")
    words = {"level": "LowCardinality(String)", "city": "LowCardinality(String)", "channel": "LowCardinality(String)",
             "gender": "LowCardinality(Nullable(String))"}
    plain = ["member", "vip", "age", "points", "spent", "birthday", "registered", "nickname", *(f"flag{n}" for n in range(20))]
    casts = ", ".join([f"CAST({name}, '{kind}') AS {name}" for name, kind in words.items()]
                      + [f"assumeNotNull({name}) AS {name}" for name in plain])
    events = ", ".join(f"assumeNotNull({name}) AS {name}" for name in ["member", "buy", "time", "amount"])
    db.query("CREATE DATABASE IF NOT EXISTS bench")
    db.query("USE bench")
    db.query(f"CREATE TABLE m ENGINE = MergeTree ORDER BY member AS SELECT * REPLACE ({casts}) "
             f"FROM file('{folder}/m_*.parquet', Parquet)")
    db.query(f"CREATE TABLE e ENGINE = MergeTree ORDER BY member AS SELECT {events} FROM file('{folder}/e_*.parquet', Parquet)")
    db.query("OPTIMIZE TABLE m FINAL")
    db.query("OPTIMIZE TABLE e FINAL")
    ask = lambda text: lambda: int(str(db.query(text, "CSV")).strip().strip('"'))
    return {key: ask(text) for key, text in sql(now, "chdb").items()}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--columns", required=True, type=Path, help="the folder of `tributary bench segments --export`")
    options.add_argument("--runs", type=int, default=15, help="of each question in each peer")
    options.add_argument("--json", action="store_true", help="counts and medians by peer and question")
    options.add_argument("--seconds", type=int, default=1_200, help="for each peer, with loading")
    options.add_argument("--step", choices=["write", *PEERS], help=argparse.SUPPRESS)
    options = options.parse_args()
    told = json.loads((options.columns / "answers.json").read_text())
    if options.step:
        try:
            return write(options.columns) if options.step == "write" else ask(
                options.step, options.columns, told["now_ms"], options.runs)
        except ImportError as missing:
            skipped(options.step, str(missing))
            sys.exit(MISSING)
    results = measure(options.columns, told["now_ms"], options.runs, options.seconds)
    if options.json:
        print(json.dumps(results))
        return
    print(f"{told['members']} members, {THREADS} threads, medians in ms; ! = another count")
    print(f"{'':<42}{'count':>10}{'tributary':>11}{'p99':>9}{'first':>10}" + "".join(f"{peer:>16}" for peer in results))
    for answer in told["answers"]:
        line = f"{answer['what']:<42}{answer['count']:>10}{answer['p50_ms']:>11.2f}{answer['p99_ms']:>9.2f}{answer['first_ms']:>10.1f}"
        for peer in results.values():
            told = peer.get(answer["key"])
            line += f"{'-':>16}" if told is None else f"{told['ms']:>15.2f}" + (" " if told["count"] == answer["count"] else "!")
        print(line)


PEERS = {"polars": polars_questions, "duckdb": duckdb_questions, "chdb": chdb_questions}


def measure(folder, now, runs, seconds):
    """Counts and medians by peer and question. Each peer has a process of its own, one after the other, and a time."""
    if step(["--step", "write"], folder, now, runs, seconds, "all peers") is None:
        return {}
    results = {}
    for peer in PEERS:
        for line in step(["--step", peer], folder, now, runs, seconds, peer) or []:
            told = json.loads(line)
            results.setdefault(told["peer"], {})[told["key"]] = {"count": told["count"], "ms": told["ms"]}
    return results


def step(what, folder, now, runs, seconds, who):
    """Lines of a step; what was told before it was ended counts. `None`: it told nothing and has failed."""
    command = [sys.executable, __file__, "--columns", str(folder), "--runs", str(runs), *what]
    begun = time.perf_counter()
    print(f"… {who}: {what[-1]}", file=sys.stderr, flush=True)
    with tempfile.TemporaryFile("w+") as told:
        try:
            code = subprocess.run(command, stdout=told, timeout=seconds).returncode
            why = {0: None, MISSING: "it is not installed", -9: "it was killed (SIGKILL): the memory was not enough"}.get(
                code, f"it ended with exit status {code}")
        except subprocess.TimeoutExpired:
            code, why = None, f"it took more than {seconds} s"
        if why:
            skipped(f"{who}, {what[-1]}, after {time.perf_counter() - begun:.0f} s", why)
        told.seek(0)
        lines = [line for line in told.read().splitlines() if line.endswith("}")]
    return lines if lines or code == 0 else None


def ask(peer, folder, now, runs):
    """Asks one peer all questions, and tells each answer as it comes."""
    name = f"{peer} {__import__(peer).__version__}"
    for key, question in PEERS[peer](folder, now).items():
        try:
            count, ms = timed(question, runs)
            print(json.dumps({"peer": name, "key": key, "count": count, "ms": ms}), flush=True)
        except Exception as error:  # A peer that cannot answer one question still answers the others.
            skipped(f"{peer}, {key}", str(error).splitlines()[0])


if __name__ == "__main__":
    main()
