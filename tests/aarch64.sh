#!/usr/bin/env bash
# Builds the library, the commands and all tests for aarch64 and runs them under emulation, on a Debian-like x86_64
# machine, as root. docs/reliability/aarch64.md says what that shows and what it does not.
#
#   tests/aarch64.sh                    each process by itself on an emulated processor (qemu-user)
#   tests/aarch64.sh system 4k          an emulated machine with Debian's arm64 kernel, 4 KiB pages
#   tests/aarch64.sh system 16k         the same with 16 KiB pages
#   tests/aarch64.sh system 4k kills    these parts only; their names are below
#   tests/aarch64.sh -d DIR ...         keeps the Debian tree, the build and the logs in DIR, not in target/aarch64
#
# It prints a line with result and time for each part, and exits with 1 if one failed, with 2 if it cannot run. Compiler,
# libraries, emulators and kernels are Debian's: the first run fetches several hundred megabytes of packages. What it changes outside of DIR,
# an entry of binfmt_misc, is gone when it ends; all mounts are in a namespace of its own.
#
#   RINGPIPE_SUITE=sid      the Debian suite; its Rust must be new enough
#   RINGPIPE_MIRROR=URL     the mirror; by default the one from which apt takes Debian's packages here
set -euo pipefail

# name | where: u qemu-user, s emulated machine | seconds | test binary | environment | filters
# A name before /main.rs or .rs in tests/ is the test binary's; `lib` is the library's own.
#
# Not run: models and house, which depend on no processor. Under the other disciplines library leaves out modules that
# choose theirs themselves, as its own test of that name does.
alike="--skip bounds:: --skip repairs:: --skip disciplines:: --skip golden:: --skip liveness:: --skip tasks:: --skip waits::"
parts="
unit        | us | 1200 | lib        | |
library     | us | 3000 | library    | RINGPIPE_HOSTILE_CASES=300 | --skip under_every_discipline
semaphore   | us | 3000 | library    | RINGPIPE_TEST_SYNC=semaphore RINGPIPE_HOSTILE_CASES=100 | $alike
polling     | us | 3000 | library    | RINGPIPE_TEST_SYNC=polling RINGPIPE_HOSTILE_CASES=100 | $alike
monitor     | us | 3000 | library    | RINGPIPE_TEST_SYNC=monitor RINGPIPE_HOSTILE_CASES=100 | $alike
primitives  | us | 1200 | primitives | RINGPIPE_PRIMITIVES_KILLS=10 |
commands    | us | 3000 | commands   | RINGPIPE_SIGNALS=10 RINGPIPE_INPUTS=5 RINGPIPE_WAITERS=3 |
hostile     | us | 1200 | hostile    | RINGPIPE_FUZZ_SECONDS=2 RINGPIPE_CORRUPTION=10s |
races       | us | 1200 | deaths     | RINGPIPE_RACES=5 | races
storm       | us | 2400 | deaths     | RINGPIPE_STORM_KILLS=200 RINGPIPE_WAKEUPS=8 RINGPIPE_RECOVERIES=3 | storm
syscalls    | s  | 3000 | deaths     | RINGPIPE_SYSCALLS=few | syscalls
kills       | s  | 6000 | deaths     | RINGPIPE_KILLS=few | kills
"

# Tests that are left out, and why.
skipped_by_user='
attaching::the_table_tells  compares the start time in /proc/self/stat, which qemu-user invents, with that of others
prefaulting                 MADV_POPULATE_WRITE is EINVAL
'
skipped_by_system='
'

say() { printf 'aarch64: %s\n' "$*" >&2; }
refuse() {
    say "$*"
    exit 2
}

usage() {
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

here=$(cd "$(dirname "$0")/.." && pwd)
directory=$here/target/aarch64
if [ "${1:-}" = -d ]; then
    [ $# -ge 2 ] || usage
    mkdir -p "$2"
    directory=$(cd "$2" && pwd)
    shift 2
fi
mode=${1:-user}
pages=
case $mode in
user) [ $# -eq 0 ] || shift ;;
system)
    pages=${2:-}
    case $pages in 4k | 16k) shift 2 ;; *) usage ;; esac ;;
*) usage ;;
esac

[ "$(id -u)" = 0 ] || refuse "only root can make a Debian tree and mount it"
[ "$(uname -sm)" = "Linux x86_64" ] || refuse "this machine is $(uname -sm), not Linux x86_64"
for command in mmdebstrap unshare chroot mount timeout; do
    command -v "$command" >/dev/null || refuse "no $command here: apt-get install mmdebstrap util-linux coreutils"
done

root=$directory/root
logs=$directory/logs/$mode${pages:+-$pages}
target=aarch64-unknown-linux-gnu
binfmt=$directory/binfmt_misc
mkdir -p "$directory"/{build,registry,machine,binfmt_misc} "$logs"

# All that follows runs in a mount and a PID namespace that end with it. This process stays outside of the latter, to take
# back what it registered however that ended. A job in the background would ignore INT.
again=(-d "$directory" "$mode" ${pages:+"$pages"} "$@")
case ${RINGPIPE_AARCH64_STAGE:-} in
'')
    RINGPIPE_AARCH64_STAGE=outside exec env --default-signal=INT,HUP,TERM,QUIT \
        unshare --mount --propagation private bash "$0" "${again[@]}" ;;
outside)
    exec 9>"$directory/lock"
    flock -n 9 || refuse "another run uses $directory"
    export RINGPIPE_AARCH64_ENTRY=ringpipe-aarch64-$$
    if [ "$mode" = user ]; then
        mount -t binfmt_misc binfmt_misc "$binfmt" || refuse "this kernel has no binfmt_misc"
        for entry in "$binfmt"/ringpipe-aarch64-*; do
            # Left by a run that was killed.
            [ ! -e "$entry" ] || [ -e "/proc/${entry##*-}" ] || echo -1 >"$entry"
        done
        trap '[ ! -e "$binfmt/$RINGPIPE_AARCH64_ENTRY" ] || echo -1 >"$binfmt/$RINGPIPE_AARCH64_ENTRY"' EXIT
    fi
    RINGPIPE_AARCH64_STAGE=inside unshare --pid --fork --kill-child --mount-proc bash "$0" "${again[@]}" &
    trap 'kill -KILL $!; exit 130' INT HUP TERM QUIT
    code=0
    wait $! || code=$?
    exit $code ;;
esac

# Says what it does, runs it with its output in a log, and ends if it fails.
step() {
    local name=$1 start=$SECONDS
    shift
    if "$@" >"$logs/$name.log" 2>&1 </dev/null; then
        [ $((SECONDS - start)) -lt 2 ] || printf '%-12s %6d s  done\n' "$name" $((SECONDS - start))
    else
        printf '%-12s %6d s  FAILED, see %s\n' "$name" $((SECONDS - start)) "$logs/$name.log"
        exit 1
    fi
}

# A Debian tree with what builds for aarch64 and what emulates it; kept.
make_root() {
    [ ! -e "$directory/root.made" ] || return 0
    local mirror=${RINGPIPE_MIRROR:-} packages=rustc,cargo,gcc,libc6-dev,ca-certificates
    packages+=,libstd-rust-dev:arm64,gcc-aarch64-linux-gnu,libc6-dev-arm64-cross,qemu-user,qemu-system-arm,cpio
    if [ -z "$mirror" ]; then
        mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Created-By: Packages' |
            grep -v -e security -e updates | sort -u | head -n 1)
    fi
    [ -n "$mirror" ] || { echo "apt names no mirror of Debian: give RINGPIPE_MIRROR" && return 1; }
    rm -rf --one-file-system "$root"
    # A mirror that stands still, or a clock that is ahead: the lists are as good as they were.
    mmdebstrap --mode=root --variant=apt --dpkgopt=force-unsafe-io --architectures=amd64,arm64 --include="$packages" \
        --aptopt='Acquire::Check-Valid-Until "false"' "${RINGPIPE_SUITE:-sid}" "$root" "$mirror"
    touch "$directory/root.made"
}

mounts() {
    mkdir -p "$root"/{source,build,machine,cargo/registry}
    mount --bind "$here" "$root/source"
    mount -o remount,ro,bind "$root/source"
    mount --bind "$directory/build" "$root/build"
    mount --bind "$directory/machine" "$root/machine"
    mount --bind "$registry" "$root/cargo/registry"
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    mkdir "$root"/dev/{pts,shm}
    mknod -m 666 "$root/dev/null" c 1 3
    mknod -m 666 "$root/dev/zero" c 1 5
    mknod -m 666 "$root/dev/full" c 1 7
    mknod -m 666 "$root/dev/urandom" c 1 9
    mknod -m 666 "$root/dev/tty" c 5 0
    ln -s /proc/self/fd "$root/dev/fd"
    ln -s pts/ptmx "$root/dev/ptmx"
    mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$root/dev/pts"
    mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    [ ! -e /etc/resolv.conf ] || cp -L /etc/resolv.conf "$root/etc/resolv.conf"
}

# Runs a command in the Debian tree, as the first process of a PID namespace that ends with it.
inside() {
    unshare --pid --fork --kill-child --mount --mount-proc="$root/proc" chroot "$root" \
        /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        HOME=/root LANG=C.UTF-8 RUST_BACKTRACE=1 RINGPIPE_TEST_SLOWER=10 "$@"
}

# Without debug information, which the emulated machine would have to hold in memory.
build() {
    inside CARGO_HOME=/cargo CARGO_TARGET_DIR=/build CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0 \
        CARGO_BUILD_JOBS="${CARGO_BUILD_JOBS:-$(nproc)}" \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
        sh -c "cd /source && cargo test --no-run --locked $offline --features tokio --target $target"
}

# The path in the tree of a test binary, as cargo said when it built it.
binary() {
    local source=tests/$1/main.rs
    [ "$1" != lib ] || source=src/lib.rs
    sed -n "s,.*Executable .*$source (\(.*\)).*,\1,p" "$logs/build.log" | tail -n 1
}

# The kernel starts aarch64 programs by qemu-user while this is registered. The interpreter stays open (F), and passes
# argv[0] on (P), as its name asks.
register() {
    local machine='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
    local mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    ln -sf root/usr/bin/qemu-aarch64 "$directory/qemu-aarch64-binfmt-P"
    printf ':%s:M::%s:%s:%s:PF' "$RINGPIPE_AARCH64_ENTRY" "$machine" "$mask" "$directory/qemu-aarch64-binfmt-P" \
        >"$binfmt/register"
}

# Prints a part's line: from its log, its exit code and its seconds.
report() {
    local name=$1 code=$2 seconds=$3 result
    local counts
    counts=$(sed -n 's/^test result: [a-zA-Z]*\. \([0-9]* passed; [0-9]* failed; [0-9]* ignored\).*/\1/p' \
        "$logs/$name.log" | tail -n 1)
    case $code in
    0) result="passed: ${counts:-no test ran}" ;;
    124 | 137) result="FAILED: too slow, see $logs/$name.log" ;;
    *) result="FAILED: ${counts:-exit code $code}, see $logs/$name.log" ;;
    esac
    [ "$code" = 0 ] && [ -n "$counts" ] || failed=1
    printf '%-12s %6d s  %s\n' "$name" "$seconds" "$result"
}

# Calls $1 for each part that is meant: name, seconds, binary, environment, filters.
each_part() {
    local call=$1 letter=$2 name where limit test environment filters path known=" "
    while IFS='|' read -r name where limit test environment filters; do
        read -r name where limit test <<<"$name $where $limit $test"
        [ -n "$name" ] || continue
        known+="$name "
        [[ $where == *$letter* ]] || continue
        [ -z "$wanted" ] || [[ " $wanted " == *" $name "* ]] || continue
        path=$(binary "$test")
        [ -n "$path" ] || refuse "the build has no test binary $test"
        "$call" "$name" "$limit" "$path" "$environment" "$filters $(skips "$letter")"
    done <<<"$parts"
    for name in $wanted; do
        [[ $known == *" $name "* ]] || refuse "no part $name; there are:$known"
    done
}

skips() {
    local name why list=$skipped_by_user
    [ "$1" = u ] || list=$skipped_by_system
    while read -r name why; do [ -z "$name" ] || printf -- '--skip %s ' "$name"; done <<<"$list"
}

run_user() {
    local name=$1 limit=$2 path=$3 environment=$4 filters=$5 start=$SECONDS code=0
    # Debian's timeout ends at once where the process 1 is its own: a shell takes that number.
    # shellcheck disable=SC2086
    inside $environment sh -c 'timeout "$@"; exit $?' sh -k 10 "$limit" "$path" $filters \
        >"$logs/$name.log" 2>&1 </dev/null || code=$?
    report "$name" $code $((SECONDS - start))
}

# The kernel with pages of this size, and the few programs that tests start, from the mirror that the tree's apt knows.
fetch_machine() {
    [ ! -e "$directory/machine/$pages/made" ] || return 0
    # shellcheck disable=SC2016
    inside sh -euxc '
        flavour=arm64
        [ "$1" = 4k ] || flavour=arm64-$1
        rm -rf "/machine/$1"
        mkdir -p "/machine/$1"
        cd "/machine/$1"
        apt-get update -qq
        # The first names the second, in which the kernel is.
        image=$(apt-cache depends "linux-image-$flavour:arm64" | sed -n "s/.*Depends: \(linux-image-[0-9][^ :]*\).*/\1/p" |
            head -n 1)
        apt-get download -qq "linux-binary-${image#linux-image-}:arm64" busybox-static:arm64 bash:arm64 libtinfo6:arm64
        dpkg-deb --fsys-tarfile linux-binary-*.deb | tar -x --wildcards "./usr/lib/modules/*/vmlinuz"
        mv usr/lib/modules/*/vmlinuz vmlinuz
        rm -r usr linux-binary-*.deb
        for package in *.deb; do dpkg-deb -x "$package" programs; done
        touch made' sh "$pages"
}

# What the machine starts with: the programs, the C library, the tests and what they read, and a list of what to run.
make_initramfs() {
    local machine=$directory/machine/$pages tree=$directory/machine/tree libraries=usr/lib/aarch64-linux-gnu
    rm -rf --one-file-system "$tree"
    mkdir -p "$tree"/{dev,proc,sys,tmp,etc,root,source,"build/$target/debug/deps","$libraries"}
    ln -s usr/bin "$tree/bin"
    ln -s usr/lib "$tree/lib"
    cp -r "$machine"/programs/usr/* "$tree/usr/"
    cp -L "$root/$libraries"/{ld-linux-aarch64.so.1,libc.so.6,libm.so.6,libgcc_s.so.1} "$tree/$libraries/"
    ln -sf aarch64-linux-gnu/ld-linux-aarch64.so.1 "$tree/usr/lib/ld-linux-aarch64.so.1"
    echo root:x:0:0::/root:/bin/sh >"$tree/etc/passwd"
    cp -r "$here"/{Cargo.toml,README.md,src,tests,examples,fuzz} "$tree/source/"
    cp "$directory/build/$target/debug"/{producer,consumer,ringctl} "$tree/build/$target/debug/"
    ln -s usr/bin/busybox "$tree/init"
    echo ::sysinit:/parts.sh >"$tree/etc/inittab"
    {
        cat <<'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /tmp
ln -s /proc/self/fd /dev/fd
ip link set lo up
export HOME=/root PATH=/bin RUST_BACKTRACE=1 RINGPIPE_TEST_SLOWER=10
echo "@kernel $(uname -r) with pages of $(sed -n 's/KernelPageSize: *//p' /proc/self/smaps | head -n 1)"
part() {
    echo "@part $1"
    start=$(date +%s) code=0
    env $4 timeout -k 10 "$2" "$3" $5 </dev/null 2>&1 || code=$?
    echo
    echo "@end $1 $code $(($(date +%s) - start))"
}
cd /source
END
        each_part write_part s
        echo 'echo @all'
        echo 'poweroff -f'
    } >"$tree/parts.sh"
    chmod +x "$tree/parts.sh"
    inside sh -c 'cd /machine/tree && find . | cpio --quiet -o -H newc' >"$machine/initramfs"
}

write_part() {
    cp -u "$directory/$3" "$directory/machine/tree$3"
    printf "part '%s' %s '%s' '%s' '%s'\n" "$@"
}

# Boots it, and takes its console apart.
run_machine() {
    local line name=console ended=
    rm -f "$logs"/*.part.log
    : >"$logs/console.log"
    while IFS= read -r line; do
        line=${line%$'\r'}
        set -- $line
        case $line in
        "@kernel "*) printf 'machine      %6d s  booted: %s\n' $SECONDS "${line#@}" ;;
        "@part "*) name=$2 && : >"$logs/$name.log" ;;
        "@end "*) report "$2" "$3" "$4" && name=console ;;
        "@all") ended=yes ;;
        *) printf '%s\n' "$line" >>"$logs/$name.log" ;;
        esac
    done < <(inside qemu-system-aarch64 -M virt -cpu max -accel tcg,thread=multi -smp "$(nproc)" -m 4G -nic none \
        -display none -serial stdio -monitor none -no-reboot -kernel "/machine/$pages/vmlinuz" \
        -initrd "/machine/$pages/initramfs" -append "console=ttyAMA0 loglevel=3 panic=-1" </dev/null)
    if [ -z "$ended" ]; then
        say "the machine ended before its last part, see $logs/$name.log"
        failed=1
    fi
}

wanted=$*
failed=0
registry=$directory/registry
offline=
if command -v cargo >/dev/null; then
    step fetch cargo fetch --locked --manifest-path "$here/Cargo.toml"
    registry=${CARGO_HOME:-$HOME/.cargo}/registry
    offline=--offline
fi
step debian make_root
mounts
step build build
case $mode in
user)
    register
    each_part run_user u ;;
system)
    step packages fetch_machine
    step initramfs make_initramfs
    run_machine ;;
esac
exit $failed
