use std::fs;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use super::*;

const LONG: Duration = Duration::from_secs(30);

fn wait_ready(line: &str, ready: Ready) -> bool {
    let session = Session::new().unwrap();
    session.start(&Program::shell(line).ready(ready)).unwrap().wait_ready(LONG).unwrap()
}

#[test]
fn a_process_is_ready_when_its_condition_is_met() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ready");
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap().to_string();
    let has = |text: &'static str| -> Condition<str> { Arc::new(move |line: &str| line == text) };
    let slept = "sleep 0.05; ";
    let cases = [
        ("", Ready::Started),
        ("echo a; echo ready; ", Ready::Stdout(has("ready"))),
        ("echo ready >&2; ", Ready::Stderr(has("ready"))),
        (&format!("touch {}; ", file.display()), Ready::File(file.clone())),
        ("", Ready::Tcp(address)),
        ("echo >&7; ", Ready::Descriptor(7)),
        ("exec 7>&-; ", Ready::Descriptor(7)),
        ("", Ready::When(Arc::new(|pid| *pid > 0))),
    ];
    for (step, ready) in cases {
        assert!(wait_ready(&format!("{slept}{step}exec sleep 1000"), ready.clone()), "{step} {ready:?}");
    }
    fs::remove_file(&file).unwrap();
    for ready in [Ready::printed("ready"), Ready::File(file), Ready::Tcp("127.0.0.1:1".into())] {
        assert!(!wait_ready("true", ready.clone()), "{ready:?}");
    }
}

#[test]
fn numbers_of_descriptors_are_from_3_up_and_differ() {
    let session = Session::new().unwrap();
    let program = || Program::shell("true");
    let folder = session.folder().join("logs");
    let both = program().ready(Ready::Descriptor(7)).log(7, &folder);
    let wrong = [-1, 0, 1, 2]
        .into_iter()
        .flat_map(|number| [program().ready(Ready::Descriptor(number)), program().log(number, &folder)]);
    for program in wrong.chain([both]) {
        let error = session.start(&program).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{program:?}");
        assert!(error.to_string().contains("; expected "), "{error}");
    }
    let right = session.start(&program().ready(Ready::Descriptor(7)).log(8, &folder)).unwrap();
    assert_eq!(right.name(), "sh-1");
}

#[test]
fn a_process_that_does_not_become_ready_is_given_up() {
    let session = Session::new().unwrap();
    let program = Program::shell("exec sleep 1000").ready(Ready::Descriptor(3));
    let mut process = session.start(&program).unwrap();
    assert!(!process.wait_ready(Duration::from_millis(20)).unwrap());
    assert_eq!(process.ended().unwrap(), None);
}

#[test]
fn processes_run_in_the_folder_with_their_input_and_their_output() {
    let session = Session::new().unwrap();
    let program = Program::shell("pwd; cat; echo $COLOUR >&2").named("echo").env("COLOUR", "red");
    let first = session.start(&program.clone().stdin("hello\n")).unwrap();
    let second = session.start(&program).unwrap();
    for process in [&first, &second] {
        assert_eq!(process.wait(LONG).unwrap(), Some(Ended::Code(0)));
        assert_eq!(process.stderr().text().unwrap(), "red\n");
    }
    let folder = session.folder().display().to_string();
    assert_eq!(first.stdout().text().unwrap(), format!("{folder}\nhello\n"));
    assert_eq!(second.stdout().path(), session.folder().join("echo-2.stdout"));
    assert_eq!(second.stdout().text().unwrap(), format!("{folder}\n"));
    let folder = session.folder().to_owned();
    drop(session);
    assert!(!folder.exists());
}

#[test]
fn a_process_and_its_children_write_to_a_descriptor() {
    let session = Session::new().unwrap();
    let folder = session.folder().join("logs");
    // Whatever numbers the descriptors of this process have, each is the right one in the new process.
    for number in 3..40 {
        let other = if number == 39 { 3 } else { number + 1 };
        let line = format!("echo {number} >&{number}; (echo child >&{number}); echo ready >&{other}; cat");
        // dash knows numbers of one digit only.
        let program = Program::new("bash")
            .args(["-c", &line])
            .named("p")
            .ready(Ready::Descriptor(other))
            .log(number, &folder);
        let mut process = session.start(&program).unwrap();
        assert!(process.wait_ready(LONG).unwrap());
        assert_eq!(process.wait(LONG).unwrap(), Some(Ended::Code(0)));
        let log = process.log().unwrap();
        assert_eq!(log.text().unwrap(), format!("{number}\nchild\n"));
        assert_eq!(log.path(), folder.join(format!("{}.fd.log", process.name())));
    }
}

#[test]
fn a_suspended_process_continues() {
    let session = Session::new().unwrap();
    let program = Program::shell("while :; do echo .; sleep 0.01; done").ready(Ready::printed("."));
    let mut process = session.start(&program).unwrap();
    assert!(process.wait_ready(LONG).unwrap());
    process.stop().unwrap();
    let stopped = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
        // While its child has not executed its program, the shell waits for it in state D; the child is suspended then.
        stat.rsplit(')').next().unwrap().trim_start().starts_with(['T', 'D'])
    };
    let settled = |condition: &dyn Fn() -> bool| {
        let start = std::time::Instant::now();
        while !condition() {
            assert!(start.elapsed() < LONG);
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    settled(&stopped);
    let written = process.stdout().bytes().unwrap().len();
    process.resume().unwrap();
    settled(&|| process.stdout().bytes().unwrap().len() > written);
    process.terminate().unwrap();
    assert_eq!(process.wait(LONG).unwrap(), Some(Ended::Signal(15)));
    assert!(process.signal(1000).is_err());
    process.kill().unwrap();
}

#[test]
fn a_process_with_little_memory_is_refused_more() {
    let session = Session::new().unwrap();
    let go = session.folder().join("go");
    let line =
        "echo ready; while [ ! -e go ]; do sleep 0.01; done; x=$(head -c 30000000 /dev/zero | tr '\\0' x)";
    let mut process = session.start(&Program::shell(line).ready(Ready::printed("ready"))).unwrap();
    assert!(process.wait_ready(LONG).unwrap());
    process.limit_memory(20 << 20).unwrap();
    fs::write(go, "").unwrap();
    assert_ne!(process.wait(LONG).unwrap(), Some(Ended::Code(0)));
    let mut free = session.start(&Program::shell(line).ready(Ready::printed("ready"))).unwrap();
    assert!(free.wait_ready(LONG).unwrap());
    assert_eq!(free.wait(LONG).unwrap(), Some(Ended::Code(0)));
}

#[test]
fn the_processes_of_a_session_are_counted_until_they_end() {
    let session = Session::new().unwrap();
    let process = session.start(&Program::shell("sleep 1000; true")).unwrap();
    let start = std::time::Instant::now();
    while session.survivors().len() < 2 {
        assert!(start.elapsed() < LONG);
    }
    assert!(session.survivors().contains(&process.id()));
    session.kill().unwrap();
    assert_eq!(session.survivors(), Vec::<u32>::new());
    assert!(session.start(&Program::new("/does/not/exist")).is_err());
}
