package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// await fails the test unless good becomes true within a minute.
func await(t *testing.T, what string, good func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !good(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// shared returns memory that this process and its children share.
func shared(t *testing.T) []byte {
	t.Helper()
	b, err := unix.Mmap(-1, 0, beat.Size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(b); err != nil {
			t.Error(err)
		}
	})
	return b
}

// end kills a child and reaps it.
func end(t *testing.T, pid int) {
	t.Helper()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Error(err)
	}
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); !errors.Is(err, unix.EINTR) {
			if err != nil {
				t.Error(err)
			}
			return
		}
	}
}

// TestQueue: a process of the queue reads its blocks in turn and counts each, and ends with
// the error of a block that cannot be read.
func TestQueue(t *testing.T) {
	t.Parallel()
	runtime.LockOSThread() // the children end with this thread
	defer runtime.UnlockOSThread()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, make([]byte, 4*blockBytes), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page, err := beat.New(shared(t))
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{f.Fd(), &make([]byte, blockBytes)[0], page.WorkCounter(3), blockBytes, 3 * blockBytes, blockBytes}
	pid, err := forkLoop(readBlock, unsafe.Pointer(r))
	if err != nil {
		t.Fatal(err)
	}
	await(t, "100 blocks", func() bool { return page.Count(3).Work >= 100 })
	end(t, pid)
	if n := page.Total(beat.MaxCPUs).Work; n != page.Count(3).Work || r.at != blockBytes {
		t.Errorf("%d units, %d of them on vCPU 3; the child's place in this process is %d", n, page.Count(3).Work, r.at)
	}
	for _, at := range []uintptr{blockBytes, 2 * blockBytes, blockBytes} {
		if r.at != at || readBlock(unsafe.Pointer(r)) != 0 {
			t.Errorf("the next block is at %d, want %d", r.at, at)
		}
	}
	r.fd = ^uintptr(0)
	if pid, err = forkLoop(readBlock, unsafe.Pointer(r)); err != nil {
		t.Fatal(err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil || unix.Errno(status.ExitStatus()) != unix.EBADF {
		t.Errorf("a child that cannot read ends with %#x, %v", status, err)
	}
}

// TestFutexes: the two processes of a pair go on until their locks are crossed, then never
// again, and go on when the locks are released by force.
func TestFutexes(t *testing.T) {
	t.Parallel()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b := shared(t)
	p, counter := (*pair)(unsafe.Pointer(&b[0])), (*uint64)(unsafe.Pointer(&b[64]))
	first := &firstOfPair{p, counter}
	for _, child := range []struct {
		step func(unsafe.Pointer) unix.Errno
		s    unsafe.Pointer
	}{{partner, unsafe.Pointer(p)}, {firstPartner, unsafe.Pointer(first)}} {
		pid, err := forkLoop(child.step, child.s)
		if err != nil {
			t.Fatal(err)
		}
		defer end(t, pid)
	}
	goOn := func(what string) {
		t.Helper()
		from := atomic.LoadUint64(counter)
		await(t, what, func() bool { return atomic.LoadUint64(counter) >= from+5 })
	}
	goOn("the pair works")
	p.cross(true)
	last, same := uint64(0), 0
	await(t, "the pair deadlocks", func() bool {
		n := atomic.LoadUint64(counter)
		if atomic.LoadUint32(&p.a) == 0 || atomic.LoadUint32(&p.b) == 0 || n != last {
			last, same = n, 0
		}
		same++
		return same == 100
	})
	p.cross(false)
	goOn("the pair works again")
}

// TestCrossOther: only the work with futexes can deadlock.
func TestCrossOther(t *testing.T) {
	t.Parallel()
	s := supervisorOn(t)
	s.page.SetActive(beat.Busy.Name)
	s.page.Ask(beat.Deadlock)
	if err := s.look(); err != nil || !strings.Contains(s.page.Complaint(), "name the work futexes") {
		t.Errorf("%v, complaint %q", err, s.page.Complaint())
	}
}

// TestSilence: the heartbeats and the workload are stopped for a time, and go on.
func TestSilence(t *testing.T) {
	t.Parallel()
	s := supervisorOn(t)
	script := "trap 'echo on; exit' CONT; echo ready; while :; do sleep 0.01; done"
	var out [2]strings.Builder
	for i := range out {
		cmd := exec.Command("sh", "-c", script)
		cmd.Stdout = &out[i]
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			s.beaters = append(s.beaters, cmd)
		} else {
			s.workers = append(s.workers, cmd)
		}
	}
	time.Sleep(200 * time.Millisecond) // the traps are set, or the processes do not end
	if err := s.silence(20 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for i, cmd := range append(s.beaters, s.workers...) {
		if err := cmd.Wait(); err != nil || out[i].String() != "ready\non\n" {
			t.Errorf("process %d: %v, %q", i, err, out[i].String())
		}
	}
}

// TestCountTimers checks it against /proc/interrupts of Linux 6.12 in a Xen guest.
func TestCountTimers(t *testing.T) {
	t.Parallel()
	const text = "           CPU0       CPU1       \n" +
		"  4:         50         51  xen-percpu    -virq      timer0\n" +
		" 10:          7          7  xen-percpu    -ipi       resched0\n" +
		"LOC:        100        200   Local timer interrupts\n" +
		"ERR:          9\n"
	if n := countTimers([]byte(text)); n != 401 {
		t.Errorf("%d interrupts of timers, want 401", n)
	}
	if n := countTimers([]byte("timer\n\n:timer x\n")); n != 0 {
		t.Errorf("%d interrupts in a text without numbers", n)
	}
	if n, err := timerTicks(); err != nil || n == 0 {
		t.Errorf("this machine has had %d interrupts of timers, %v", n, err)
	}
}

// TestCompile: a program of a build writes the hash of its part under its name only.
func TestCompile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, n := range []string{"0", "1", "0"} {
		if err := compile([]string{n, filepath.Join(dir, n)}); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if a, b := read("0"), read("1"); len(a) != 32 || len(b) != 32 || a == b {
		t.Errorf("results %x and %x", a, b)
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) != 2 {
		t.Errorf("%v: %v, want two files", all, err)
	}
	for _, args := range [][]string{nil, {"0"}, {"x", dir + "/x"}, {"-1", dir + "/x"}, {"0", dir + "/no/x"}} {
		if err := compile(args); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}

// TestKernelPoller: the kernel's thread finds operations that no system call tells it of.
func TestKernelPoller(t *testing.T) {
	t.Parallel()
	if size := unsafe.Sizeof(ringParams{}); size != 120 {
		t.Fatalf("struct io_uring_params has %d bytes, want 120", size)
	}
	r, err := openRing(0)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 * ringEntries {
		if err := r.do(); err != nil {
			t.Fatalf("operation %d: %v", n, err)
		}
	}
}

// TestTick: the kernel refuses a pace of its clocks that is out of range, and this clock
// keeps its own.
func TestTick(t *testing.T) {
	t.Parallel()
	if err := setTick(1); err == nil {
		t.Error("a tick of a microsecond was taken")
	}
}

// TestRunner: the program that dom0 names runs until a run fails, and each run before counts.
func TestRunner(t *testing.T) {
	t.Parallel()
	s := supervisorOn(t)
	if err := runner(s.page, 0); err == nil || s.page.Count(0).Work != 0 {
		t.Errorf("without a program: %v", err)
	}
	file := filepath.Join(t.TempDir(), "f")
	for _, tc := range []struct {
		command []string
		units   uint64
		want    string
	}{
		{[]string{"/bin/sh", "-c", "echo >>" + file + "; test $(wc -l <" + file + ") -lt 4"}, 3,
			"run /bin/sh: exit status 1"},
		{[]string{"/no/such/program"}, 0, "no such file"},
	} {
		before := s.page.Count(1).Work
		if err := s.page.SetCommand(tc.command); err != nil {
			t.Fatal(err)
		}
		err := runner(s.page, 1)
		n := s.page.Count(1).Work - before
		if err == nil || !strings.Contains(err.Error(), tc.want) || n != tc.units {
			t.Errorf("%q: %v after %d units, want %q after %d", tc.command, err, n, tc.want, tc.units)
		}
	}
}
