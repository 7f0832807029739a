use super::*;

/// A directory with these files, which looks like the root of a machine.
fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

const MIB: u64 = 1 << 20;
const MOUNTS_2: &str = "\
22 27 0:20 / /proc rw,nosuid shared:12 - proc proc rw
31 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate
";
const MOUNTS_1: &str = "\
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 master:3 - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

fn exceeded(machine: &tempfile::TempDir, len: u64) -> Option<(String, u64, u64)> {
    let limit = exceeded_under(machine.path(), len)?;
    Some((limit.file.to_str().unwrap().to_string(), limit.bytes, limit.left))
}

#[test]
fn in_version_2_the_tightest_of_the_enclosing_groups_counts() {
    let machine = machine(&[
        ("proc/self/cgroup", "0::/work.slice/job\n"),
        ("proc/self/mountinfo", MOUNTS_2),
        // The root group has no such files.
        ("sys/fs/cgroup/cgroup.procs", ""),
        ("sys/fs/cgroup/work.slice/memory.max", "104857600\n"),
        ("sys/fs/cgroup/work.slice/memory.current", "52428800\n"),
        ("sys/fs/cgroup/work.slice/memory.stat", "anon 1\nfile 9\ninactive_file 0\nactive_file 0\n"),
        ("sys/fs/cgroup/work.slice/job/memory.max", "max\n"),
        ("sys/fs/cgroup/work.slice/job/memory.current", "1048576\n"),
        ("sys/fs/cgroup/other/memory.max", "4096\n"),
        ("sys/fs/cgroup/other/memory.current", "4096\n"),
    ]);
    assert_eq!(exceeded(&machine, 49 * MIB), None);
    let file = "/sys/fs/cgroup/work.slice/memory.max".to_string();
    assert_eq!(exceeded(&machine, 51 * MIB), Some((file, 100 * MIB, 50 * MIB)));
    fs::write(machine.path().join("sys/fs/cgroup/work.slice/job/memory.max"), "2097152\n").unwrap();
    let file = "/sys/fs/cgroup/work.slice/job/memory.max".to_string();
    assert_eq!(exceeded(&machine, 51 * MIB), Some((file, 2 * MIB, MIB)));
    assert_eq!(exceeded(&machine, MIB / 2), None);
}

#[test]
fn in_version_1_the_memory_controller_is_found_among_the_others() {
    let machine = machine(&[
        ("proc/self/cgroup", "9:name=systemd:/\n4:cpuset,memory:/work/job\n3:cpu:/other\n0::/\n"),
        ("proc/self/mountinfo", MOUNTS_1),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ("sys/fs/cgroup/memory/memory.usage_in_bytes", "123456789\n"),
        ("sys/fs/cgroup/memory/work/memory.limit_in_bytes", "104857600\n"),
        ("sys/fs/cgroup/memory/work/memory.usage_in_bytes", "52428800\n"),
        ("sys/fs/cgroup/memory/work/memory.use_hierarchy", "1\n"),
        (
            "sys/fs/cgroup/memory/work/memory.stat",
            "inactive_file 0\ntotal_inactive_file 20971520\ntotal_active_file 10485760\n",
        ),
        ("sys/fs/cgroup/memory/work/job/memory.limit_in_bytes", "9223372036854771712\n"),
        ("sys/fs/cgroup/memory/work/job/memory.usage_in_bytes", "1048576\n"),
    ]);
    assert_eq!(exceeded(&machine, 79 * MIB), None, "caches of files are dropped when there is need");
    let file = "/sys/fs/cgroup/memory/work/memory.limit_in_bytes".to_string();
    assert_eq!(exceeded(&machine, 81 * MIB), Some((file, 100 * MIB, 80 * MIB)));
    // Without hierarchies, a group's limit covers only its own processes.
    fs::write(machine.path().join("sys/fs/cgroup/memory/work/memory.use_hierarchy"), "0\n").unwrap();
    assert_eq!(exceeded(&machine, 81 * MIB), None);
    // The own group's limit counts even if it does not apply to the groups below.
    let own = machine.path().join("sys/fs/cgroup/memory/work/job");
    fs::write(own.join("memory.use_hierarchy"), "0\n").unwrap();
    fs::write(own.join("memory.limit_in_bytes"), "2097152\n").unwrap();
    assert_eq!(exceeded(&machine, 2 * MIB).map(|limit| limit.1), Some(2 * MIB));
}

#[test]
fn free_swap_space_counts_as_far_as_the_group_may_have_it() {
    let two = machine(&[
        ("proc/self/cgroup", "0::/job\n"),
        ("proc/self/mountinfo", MOUNTS_2),
        ("proc/meminfo", "MemFree:  1 kB\nSwapFree:    40960 kB\n"),
        ("sys/fs/cgroup/job/memory.max", "10485760\n"),
        ("sys/fs/cgroup/job/memory.current", "0\n"),
        ("sys/fs/cgroup/job/memory.swap.max", "20971520\n"),
        ("sys/fs/cgroup/job/memory.swap.current", "10485760\n"),
    ]);
    assert_eq!(exceeded(&two, 19 * MIB), None);
    assert_eq!(exceeded(&two, 21 * MIB).unwrap().2, 20 * MIB);
    fs::write(two.path().join("sys/fs/cgroup/job/memory.swap.max"), "max\n").unwrap();
    assert_eq!(exceeded(&two, 49 * MIB), None);
    assert_eq!(exceeded(&two, 51 * MIB).unwrap().2, 50 * MIB);

    let one = machine(&[
        ("proc/self/cgroup", "4:memory:/job\n"),
        ("proc/self/mountinfo", MOUNTS_1),
        ("proc/meminfo", "SwapFree:    40960 kB\n"),
        ("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "10485760\n"),
        ("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "0\n"),
        ("sys/fs/cgroup/memory/job/memory.memsw.limit_in_bytes", "20971520\n"),
        ("sys/fs/cgroup/memory/job/memory.memsw.usage_in_bytes", "0\n"),
    ]);
    assert_eq!(exceeded(&one, 19 * MIB), None);
    assert_eq!(exceeded(&one, 21 * MIB).unwrap().2, 20 * MIB);
}

#[test]
fn groups_are_found_under_mounts_whose_root_is_below_the_top_and_nowhere_else() {
    let limited = |mounts: &str, group: &str, place: &str| {
        let machine = machine(&[
            ("proc/self/cgroup", &format!("0::{group}\n")),
            ("proc/self/mountinfo", mounts),
            (&format!("{place}/memory.max"), "4096\n"),
            (&format!("{place}/memory.current"), "0\n"),
        ]);
        exceeded(&machine, MIB).is_some()
    };
    let container = "35 31 0:32 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
    assert!(limited(container, "/docker/abc", "sys/fs/cgroup"));
    assert!(limited(container, "/docker/abc/inner", "sys/fs/cgroup/inner"));
    assert!(limited(container, "/docker/abc/inner", "sys/fs/cgroup"));
    assert!(!limited(container, "/docker/abcd", "sys/fs/cgroup"));
    assert!(!limited(container, "/", "sys/fs/cgroup"));
    // The namespace begins below the own group, or next to it.
    assert!(!limited(MOUNTS_2, "/../other", "sys/fs/cgroup"));
    assert!(limited(MOUNTS_2, "/", "sys/fs/cgroup"));
    let odd = "35 31 0:32 / /mnt/a\\040b\\134c rw - cgroup2 none rw\n";
    assert!(limited(odd, "/x", "mnt/a b\\c/x"));
    // Of two mounts, the one that shows more groups counts.
    let both = format!("{}{MOUNTS_2}", "35 31 0:32 /x /mnt rw - cgroup2 none rw\n");
    assert!(limited(&both, "/x/y", "sys/fs/cgroup/x"));
}

#[test]
fn a_file_that_cannot_be_read_is_no_limit() {
    let files = [
        ("proc/self/cgroup", "0::/job\n"),
        ("proc/self/mountinfo", MOUNTS_2),
        ("sys/fs/cgroup/job/memory.max", "4096\n"),
        ("sys/fs/cgroup/job/memory.current", "0\n"),
    ];
    assert!(exceeded(&machine(&files), MIB).is_some());
    for without in 0..files.len() {
        let rest: Vec<_> = (0..files.len()).filter(|&n| n != without).map(|n| files[n]).collect();
        assert_eq!(exceeded(&machine(&rest), MIB), None);
        for nonsense in ["", "\n\n", ":", "a - b\n - cgroup2\n", "-1\n", "0::\n"] {
            let mut files = files;
            files[without].1 = nonsense;
            assert_eq!(exceeded(&machine(&files), MIB), None, "{nonsense:?} in {}", files[without].0);
        }
    }
}
