//! Errors of rings, producers and consumers.

use super::{Row, refuses};

/// Rows files with rings, producers and consumers: the text, the line, the hint.
const RINGS: &[Row] = &[
    (
        "[ring.jobs]\ncapactiy = 4\n[process.p]\nrun = \"true\"\n",
        r#"2:1: unknown key "capactiy"; expected a long option of ringctl create without its dashes"#,
        r#"did you mean "capacity"?"#,
    ),
    (
        "[ring.jobs]\nfrob = 4\n[process.p]\nrun = \"true\"\n",
        r#"2:1: unknown key "frob"; expected a long option of ringctl create without its dashes"#,
        "ringctl create --help lists its options",
    ),
    (
        "[ring.jobs]\n[consumer.c]\njobbs = 4\n",
        r#"3:1: unknown key "jobbs"; expected one of ring, run, items, count, env, cwd, stdin, ready, history, after, after-end, background, stop, output-limit, or a long option of consumer without its dashes"#,
        r#"did you mean "jobs"?"#,
    ),
    (
        "[ring.jobs]\n[consumer.c]\nlog = \"x\"\n",
        r#"3:1: unknown key "log"; expected one of ring, run, items, count, env, cwd, stdin, ready, history, after, after-end, background, stop, output-limit, or a long option of consumer without its dashes"#,
        "a run writes the history itself",
    ),
    (
        "[ring.jobs]\n[consumer.c]\nhold = true\n",
        r#"3:1: unknown key "hold"; expected one of ring, run, items, count, env, cwd, stdin, ready, history, after, after-end, background, stop, output-limit, or a long option of consumer without its dashes"#,
        "the process that holds the item would outlive the consumer",
    ),
    (
        "[ring.jobs]\n[producer.p]\nitems = 1\nfrobnicate = 4\n",
        r#"4:1: unknown key "frobnicate"; expected one of ring, items, size, count, env, cwd, stdin, ready, history, after, after-end, background, stop, output-limit, or a long option of producer without its dashes"#,
        "producer --help lists its options",
    ),
    (
        "[ring.jobs]\n[ring.j]\njson = true\n",
        r#"3:1: unknown key "json"; expected a long option of ringctl create without its dashes"#,
        "only the output for people and scripts depends on this option",
    ),
    (
        "[ring.jobs]\n[process.p]\nrun = \"x\"\ncwd = \"{ring.job}\"\n",
        r#"4:7: cwd: there is no ring "job"; expected jobs"#,
        r#"did you mean "jobs"?"#,
    ),
    (
        "[ring.jobs]\n[process.p]\nrun = [\"x\", \"--of={rng.jobs}\"]\n",
        "3:19: run: there is no placeholder {rng.jobs}; expected one of {ring.NAME}, {port.NAME}, {dir}, {file}, {n}, {seed}",
        "did you mean {ring.jobs}? Braces that stand for themselves are doubled: {{rng.jobs}}",
    ),
    (
        "[ring.jobs]\n[process.p]\nrun = '''\nawk '{ print }'\nawk '{print}''''\n",
        "5:6: run: there is no placeholder {print}; expected one of {ring.NAME}, {port.NAME}, {dir}, {file}, {n}, {seed}",
        "Braces that stand for themselves are doubled: {{print}}",
    ),
    (
        "[ring.jobs]\n[producer.p]\nitem = [\"{}\", \"{N}\"]\n",
        "3:16: item: there is no placeholder {N}; expected one of {ring.NAME}, {port.NAME}, {dir}, {file}, {n}, {seed}",
        "Braces that stand for themselves are doubled: {{N}}",
    ),
    (
        "[ring.jobs]\n[process.p]\nrun = \"x\"\n[expect.sha256]\n\"{dr}/x\" = \"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"\n",
        "5:2: {dr}/x: there is no placeholder {dr}; expected one of {ring.NAME}, {port.NAME}, {dir}, {file}, {n}, {seed}",
        "did you mean {dir}? Braces that stand for themselves are doubled: {{dr}}",
    ),
    (
        "[process.p]\nrun = \"x\"\n[producer.p]\nitems = 1\n[ring.jobs]\n",
        r#"3:11: two programs have the name "p"; expected different names of processes, producers and consumers"#,
        "",
    ),
    (
        "[ring.jobs]\ncapacity = \"many\"\n[process.p]\nrun = \"true\"\n",
        "2:12: jobs: invalid value 'many' for capacity: this is not a count; expected a whole decimal number such as 1000 or 1_000",
        "ringctl create --help tells more",
    ),
    (
        "[ring.jobs]\ncapacity = 1\n[process.p]\nrun = \"true\"\n",
        "2:12: jobs: bad capacity 1: expected 2 to 16777216 slots, a power of two",
        "ringctl create --help tells more",
    ),
    (
        "[ring.jobs]\nexclusive = 1\n[process.p]\nrun = \"true\"\n",
        "2:13: exclusive: this is a whole number; expected true or false",
        "",
    ),
    (
        "[ring.jobs]\nfixed = 8\n[producer.p]\nitems = 1\nsize = 8\n",
        r#"2:1: "p" writes a history, and a ring of fixed items has none; expected programs of your own at ring "jobs", or no fixed"#,
        "",
    ),
    (
        "[ring.a]\n[ring.jobs]\nfixed = 8\n[consumer.c]\nring = \"jobs\"\n[producer.p]\nring = \"a\"\nitems = 1\n",
        r#"3:1: "c" writes a history, and a ring of fixed items has none; expected programs of your own at ring "jobs", or no fixed"#,
        "",
    ),
    (
        "[ring.jobs]\nfixed = 8\nslot-size = 8\n[process.p]\nrun = \"true\"\n",
        "2:1: jobs: the argument fixed cannot be used with slot-size",
        "ringctl create --help tells more",
    ),
    (
        "[ring.jobs]\nfixed = 0\n[process.p]\nrun = \"true\"\n",
        "2:9: jobs: invalid value '0' for fixed: no ring has such items; expected 1 byte to 1G, such as 8, 64 or 4K",
        "ringctl create --help tells more",
    ),
    (
        "[ring.jobs]\ncapacity = [1]\n[process.p]\nrun = \"true\"\n",
        "2:12: capacity: this is a list; expected a text or a number",
        "",
    ),
    (
        "[ring.jobs]\nexclusive = true\nparticipants = 4\n[process.p]\nrun = \"true\"\n",
        "2:1: jobs: the argument exclusive cannot be used with participants",
        "ringctl create --help tells more",
    ),
    (
        "[ring.jobs]\nwake-at = 4\n[process.p]\nrun = \"true\"\n",
        "2:11: jobs: wake-at and resume-at are thresholds of a monitor; expected sync monitor with them",
        "ringctl create --help tells more",
    ),
    (
        "[ring.jobs]\nsync = \"none\"\n[process.p]\nrun = \"true\"\n",
        "2:8: jobs: invalid value 'none' for sync; expected adaptive, semaphore, polling, monitor",
        "ringctl create --help tells more",
    ),
    (
        "[ring.\"a.b\"]\n[process.p]\nrun = \"true\"\n",
        r#"1:7: "a.b" is no name here; expected letters, digits, - and _"#,
        "",
    ),
    ("[producer.p]\nitems = 1\n", "1:11: p: there is no ring; expected a table such as [ring.jobs]", ""),
    (
        "[ring.a]\n[ring.b]\n[producer.p]\nitems = 1\n",
        "3:11: p: the ring is missing; expected ring = NAME, one of a, b",
        "",
    ),
    (
        "[ring.jobs]\n[producer.p]\nring = \"jbos\"\nitems = 1\n",
        r#"3:8: ring: there is no ring "jbos"; expected jobs"#,
        r#"did you mean "jobs"?"#,
    ),
    (
        "[ring.jobs]\n[producer.p]\n",
        "2:11: p: the producer has nothing to send; expected items = NUMBER, item = TEXT or stdin = ...",
        "",
    ),
    (
        "[ring.jobs]\n[producer.p]\nitems = 1\nstdin = \"x\"\n",
        "4:1: items and stdin exclude each other; expected one of items, item, stdin",
        "",
    ),
    (
        "[ring.jobs]\n[producer.p]\nitem = [\"a\", \"b\"]\nitems = 1\n",
        "4:1: item and items exclude each other; expected one of items, item, stdin",
        "",
    ),
    (
        "[ring.jobs]\n[producer.p]\nstdin = \"x\"\nsize = 4\n",
        "4:1: size has no meaning here; expected size beside items",
        "",
    ),
    (
        "[ring.jobs]\n[producer.p]\nitems = 0\n",
        "3:9: items: the number is too small or too large; expected a whole number from 1 up",
        "",
    ),
    (
        "[ring.jobs]\n[producer.p]\nitems = 1\nsize = \"x\"\n",
        r#"4:8: size: "x" is not understood; expected a number of bytes such as 64 or "1K", or a range such as "10..1000""#,
        "",
    ),
    (
        "[ring.jobs]\n[producer.p]\nitems = 1\nrate = 0\n",
        "4:8: p: invalid value '0' for rate: a rate of 0 never sends anything; expected items per time above 0, such as 1000, 1000/s, 90/m or 0.5/h",
        "producer --help tells more",
    ),
    (
        "[ring.jobs]\n[producer.p]\nitems = 1\nrate = true\n",
        "4:8: rate: this is true or false; expected a text or a number",
        "",
    ),
    (
        "[ring.jobs]\n[producer.p]\nitems = 1\nnull = true\nraw = true\n",
        "4:1: p: the argument null cannot be used with raw",
        "producer --help tells more",
    ),
    (
        "[ring.jobs]\n[producer.p]\nitems = 1\non-full = \"explode\"\n",
        "4:11: p: invalid value 'explode' for on-full; expected block, fail, drop-newest, drop-oldest",
        "producer --help tells more",
    ),
    (
        "[ring.jobs]\n[producer.p]\nitems = 1\ndelay = \"2s..1s\"\n",
        "4:9: p: invalid value '2s..1s' for delay: the first duration is longer than the second; expected a duration such as 250ms, or MIN..MAX such as 10ms..2s",
        "producer --help tells more",
    ),
    (
        "[ring.jobs]\n[consumer.c]\njobs = 4\n",
        "3:1: jobs is an option of workers; expected run = [COMMAND, ...] beside it",
        "",
    ),
    (
        "[ring.jobs]\n[consumer.c]\nrun = \"x\"\njobs = 0\n",
        "4:8: c: invalid value '0' for jobs: expected 1 to 4096, or a share of the processors such as 100%",
        "consumer --help tells more",
    ),
    (
        "[ring.jobs]\n[consumer.c]\nrun = \"x\"\nshell = true\n",
        r#"4:1: shell has no meaning here; expected run = "a line for /bin/sh" instead"#,
        "",
    ),
    (
        "[ring.jobs]\n[consumer.c]\nrun = \"x\"\nmax-wait = \"1s\"\n",
        "2:11: c: the following required arguments were not provided: max-items",
        "consumer --help tells more",
    ),
    (
        "[ring.jobs]\n[consumer.c]\nrun = \"x\"\ndead-letter = \"failed\"\n",
        r#"4:15: dead-letter: there is no ring "failed"; expected jobs"#,
        "",
    ),
    (
        "[ring.jobs]\n[consumer.c]\nrun = \"x\"\nack = \"write\"\n",
        "4:1: c: the argument ack cannot be used with run",
        "consumer --help tells more",
    ),
    (
        "[ring.jobs]\n[consumer.c]\nrun = \"x\"\ncoprocess = \"word\"\n",
        "4:13: c: invalid value 'word' for coprocess; expected line, length",
        "consumer --help tells more",
    ),
    (
        "[ring.jobs]\n[consumer.c]\nitems = \"x\"\n",
        "3:9: items: this is a text; expected a whole number from 1 up",
        "",
    ),
    (
        "[ring.jobs]\n[consumer.c]\ntimeout = \"1s\"\nno-wait = true\n",
        "3:1: c: the argument timeout cannot be used with no-wait",
        "consumer --help tells more",
    ),
];

#[test]
fn a_wrong_ring_producer_or_consumer_is_refused_with_its_place_and_the_expected_form() {
    refuses("", RINGS);
}
