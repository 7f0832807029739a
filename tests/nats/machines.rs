//! Several machines: each is a network namespace with a link of its own to the server, which can be cut.

use crate::server::{Server, consumer, producer, ringctl, sorted};
use crate::support::namespace::{is_inside, run_in_own_network, this_test};
use crate::support::{Run, Running, seq, wait_until};

/// A network namespace with one link. The process keeps it alive.
struct Machine {
    process: Running,
    link: String,
    /// The server's address as this machine sees it.
    server: String,
}

impl Machine {
    /// The `number`-th machine: it is 10.99.NUMBER.2 and sees the server as 10.99.NUMBER.1.
    fn new(number: u8) -> Self {
        let process = Run::new("unshare").args(&["--net", "sleep", "infinity"]).spawn();
        let pid = process.pid();
        let network = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net"));
        let own = network("self").unwrap();
        wait_until("a network of its own", || network(&pid.to_string()).is_ok_and(|one| one != own));
        let link = format!("machine{number}");
        let machine = Machine { process, link: link.clone(), server: format!("10.99.{number}.1") };
        ip(&format!("link add {link} type veth peer name server netns {pid}"));
        ip(&format!("address add 10.99.{number}.1/24 dev {link}"));
        machine.set_linked(true);
        machine
            .inside("ip")
            .args(&["address", "add", &format!("10.99.{number}.2/24"), "dev", "server"])
            .run()
            .succeeds();
        machine.inside("ip").args(&["link", "set", "server", "up"]).run().succeeds();
        machine
    }

    fn set_linked(&self, linked: bool) {
        ip(&format!("link set {} {}", self.link, if linked { "up" } else { "down" }));
    }

    /// This program on this machine.
    fn inside(&self, program: &str) -> Run {
        Run::new("nsenter").args(&["-t", &self.process.pid().to_string(), "-n", program])
    }

    fn consumer(&self, port: u16, stream: &str, args: &[&str]) -> Run {
        let name = format!("nats://{}:{port}/{stream}", self.server);
        self.inside(env!("CARGO_BIN_EXE_consumer")).arg(name).args(args)
    }
}

fn ip(arguments: &str) {
    Run::new("ip").args(&arguments.split(' ').collect::<Vec<_>>()).run().succeeds();
}

/// Runs the test once more in a network of its own. There, this is a server that all machines reach.
fn server(test: &str) -> Option<Server> {
    if !is_inside() {
        run_in_own_network(test);
        return None;
    }
    Server::start_with(&["-a", "0.0.0.0"])
}

#[test]
fn three_machines_get_each_line_once() {
    let Some(server) = server(this_test!()) else { return };
    let (machines, jobs) = ([1, 2, 3].map(Machine::new), server.name("jobs"));
    ringctl(&["create", &jobs]).run().succeeds();
    let receiving = machines.each_ref().map(|one| one.consumer(server.port(), "jobs", &[]).spawn());
    ringctl(&["wait", &jobs, "--until", "consumers=3", "--timeout", "30s"]).run().succeeds();
    producer(&jobs, &[]).input(seq(10_000)).run().succeeds().quiet();
    let texts = receiving.map(|one| one.end().succeeds().into_text());
    assert!(sorted(&texts.concat()) == (1..=10_000).collect::<Vec<_>>());
}

#[test]
fn an_item_of_a_machine_that_is_cut_off_goes_to_another_machine() {
    let Some(server) = server(this_test!()) else { return };
    let [first, second] = [1, 2].map(Machine::new);
    let jobs = server.name("jobs?ack-wait=1s");
    let worker = |machine: &Machine, script| {
        machine.consumer(server.port(), "jobs?ack-wait=1s", &["-v", "--", "sh", "-c", script]).spawn()
    };
    let cut = worker(&first, "echo first; sleep 8");
    producer(&jobs, &["--item", "x"]).run().succeeds();
    wait_until("a held item", || ringctl(&["inspect", &jobs, "--json"]).run().json()["items_held"] == 1);
    first.set_linked(false);
    // A worker that is gone is no failure of the item.
    assert_eq!(worker(&second, "echo second $RING_ATTEMPT").end().succeeds().text(), "second 1\n");
    first.set_linked(true);
    assert_eq!(cut.end().succeeds().text(), "first\n");
    assert_eq!(consumer(&jobs, &["--drain"]).run().succeeds().quiet().text(), "");
}
