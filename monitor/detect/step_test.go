package detect

import (
	"slices"
	"testing"
	"time"
)

func TestFull(t *testing.T) {
	t.Parallel()
	on, off := VCPU{Online: true}, VCPU{}
	for _, tc := range []struct {
		name     string
		vcpus    []VCPU
		affected []bool
		want     Scope
	}{
		{"both", []VCPU{on, on}, []bool{true, true}, Full},
		{"one of two", []VCPU{on, on}, []bool{false, true}, Partial},
		{"none", []VCPU{on, on}, []bool{false, false}, Partial},
		{"none is online", []VCPU{off, off}, []bool{false, false}, Partial},
		{"the only one online", []VCPU{off, on}, []bool{false, true}, Full},
		{"one that is offline", []VCPU{on, off}, []bool{false, true}, Partial},
		{"one that is offline, alone", []VCPU{off, off}, []bool{false, true}, Full},
		{"no vCPU", nil, nil, Partial},
	} {
		s := step{vcpus: tc.vcpus, affected: tc.affected}
		if got := s.scope(); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestQueues(t *testing.T) {
	t.Parallel()
	vcpu := func(online bool, running uint32) VCPU {
		return VCPU{Online: online, Queue: &RunQueue{Running: running}}
	}
	unread := VCPU{Online: true}
	for _, tc := range []struct {
		name              string
		vcpus             []VCPU
		online            int
		running, shortest uint64
		ok                bool
	}{
		{"two", []VCPU{vcpu(true, 7), vcpu(true, 3)}, 2, 10, 3, true},
		{"one offline", []VCPU{vcpu(false, 1), vcpu(true, 3)}, 1, 3, 3, true},
		{"one unread", []VCPU{vcpu(true, 1), unread}, 2, 0, 0, false},
		{"none online", []VCPU{vcpu(false, 1)}, 0, 0, 0, false},
	} {
		s := step{vcpus: tc.vcpus, online: tc.online}
		if running, shortest, ok := s.queues(); running != tc.running || shortest != tc.shortest || ok != tc.ok {
			t.Errorf("%s: %d, %d, %v", tc.name, running, shortest, ok)
		}
	}
}

func TestSpan(t *testing.T) {
	t.Parallel()
	var p span
	for i, want := range []bool{false, false, false, true, true} { // four samples at least
		p.extend(int64(100+i), true)
		if got := p.lasts(int64(100+i), 3*time.Nanosecond); got != want || p.samples != i+1 || p.sinceNS != 100 {
			t.Errorf("%d: %v, span %+v", i, got, p)
		}
	}
	if !p.lasts(105, 5) || p.lasts(105, 6) {
		t.Errorf("span %+v at 105", p)
	}
	if p.extend(106, false); p != (span{}) {
		t.Errorf("span %+v has not ended", p)
	}
}

// TestAlive: the signs by which a vCPU was not in one piece of kernel code.
func TestAlive(t *testing.T) {
	t.Parallel()
	queue := func(switches uint64) *RunQueue { return &RunQueue{Switches: switches} }
	was := VCPU{CPUTimeNS: 100, Signals: 5, Queue: queue(70)}
	stuck := VCPU{Sampled: true, Symbol: "f", CPUTimeNS: 101, Signals: 5, Queue: queue(70)}
	for _, tc := range []struct {
		name   string
		change func(now, was *VCPU)
		want   string
	}{
		{"none", func(now, was *VCPU) {}, ""},
		{"no queue", func(now, was *VCPU) { now.Queue = nil }, ""},
		{"no queue before", func(now, was *VCPU) { was.Queue = nil }, ""},
		{"module", func(now, was *VCPU) { now.Symbol, now.RIP = "", 1<<63 }, ""},
		{"signals", func(now, was *VCPU) { now.Signals = 7 }, "it switched tasks 2 times"},
		{"switches", func(now, was *VCPU) { now.Queue = queue(73) }, "it switched tasks 3 times"},
		{"signals and switches", func(now, was *VCPU) { now.Signals, now.Queue = 9, queue(73) }, "it switched tasks 4 times"},
		{"halted", func(now, was *VCPU) { now.Blocked = true }, "it was halted"},
		{"not sampled", func(now, was *VCPU) { now.Sampled = false }, "its registers were not read"},
		{"user mode", func(now, was *VCPU) { now.UserMode = true }, "it ran outside the kernel"},
		{"no symbol", func(now, was *VCPU) { now.Symbol, now.RIP = "", 1<<63-1 }, "it ran outside the kernel"},
		{"not run", func(now, was *VCPU) { now.CPUTimeNS = 100 }, "it did not run"},
	} {
		now, was := stuck, was
		tc.change(&now, &was)
		if got := alive(&now, &was).String(); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
	if got := (reason{text: becauseIn, symbol: "f"}).String(); got != "it was in f" {
		t.Errorf("%q", got)
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	vcpu := func(n uint64) *VCPU { return &VCPU{Queue: &RunQueue{Interrupts: n}} }
	for _, tc := range []struct {
		name     string
		now, was *VCPU
		n        uint64
		known    bool
	}{
		{"some", vcpu(9), vcpu(4), 5, true},
		{"none", vcpu(9), vcpu(9), 0, true},
		{"not read", vcpu(0), vcpu(4), 0, false},
		{"not read before", vcpu(9), vcpu(0), 0, false},
		{"no queue", &VCPU{}, vcpu(4), 0, false},
		{"no queue before", vcpu(9), &VCPU{}, 0, false},
	} {
		if n, known := interrupted(tc.now, tc.was); n != tc.n || known != tc.known {
			t.Errorf("%s: %d, %v", tc.name, n, known)
		}
	}
}

func TestInKernel(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		v    VCPU
		want bool
	}{
		{VCPU{Sampled: true, Symbol: "f"}, true},
		{VCPU{Sampled: true, RIP: 1 << 63}, true},
		{VCPU{Sampled: true, RIP: 1<<63 - 1}, false},
		{VCPU{Sampled: true, Symbol: "f", UserMode: true}, false},
		{VCPU{Symbol: "f", RIP: 1 << 63}, false},
	} {
		if got := inKernel(&tc.v); got != tc.want {
			t.Errorf("%+v: %v", tc.v, got)
		}
	}
}

func TestFew(t *testing.T) {
	t.Parallel()
	var f few
	for _, name := range []string{"a", "b", "a", "c", "d", "e", "f", "g", "h"} {
		if !f.add(name) {
			t.Errorf("there is no place for %s in %s", name, &f)
		}
	}
	if f.add("i") || !f.add("h") || !f.add("a") {
		t.Errorf("a full set %s", &f)
	}
	if got := f.String(); got != "a, b, c, d, e, f, g, h" {
		t.Errorf("%q", got)
	}
}

// TestFunctions: to which kinds the functions of the kernel belong.
func TestFunctions(t *testing.T) {
	t.Parallel()
	kinds := map[string]func(symbol string) bool{
		"entry": entryCode, "idle": idleCode, "spin": lockSlowPath, "panic": isPanic, "lock": sleepingLock, "io": ioWait,
	}
	for _, tc := range []struct {
		symbol string
		want   []string
	}{
		{"", nil},
		{"vfs_read", nil},
		{"do_entry_", nil},
		{"entry_SYSCALL_64", []string{"entry"}},
		{"exc_page_fault", []string{"entry"}},
		{"native_irq_return_iret", []string{"entry"}},
		{"default_idle", []string{"idle"}},
		{"default_idle.part.0", []string{"idle"}},
		{"default_idle_x", nil},
		{"cpuidle_enter_state", []string{"idle"}},
		{"intel_idle_irq", []string{"idle"}},
		{"native_queued_spin_lock_slowpath.part.0", []string{"spin"}},
		{"queued_write_lock_slowpath", []string{"spin"}},
		{"xen_qlock_wait", []string{"spin"}},
		{"rwsem_down_write_slowpath", []string{"lock"}},
		{"vpanic", []string{"panic"}},
		{"panic_print", nil},
		{"__mutex_lock.constprop.0", []string{"lock"}},
		{"__down_common", []string{"lock"}},
		{"down", []string{"lock"}},
		{"downgrade_write", nil},
		{"mutex_lock_io", []string{"lock"}},
		{"io_schedule_timeout", []string{"io"}},
		{"bit_wait_io", []string{"io"}},
		{"blk_mq_get_tag", []string{"io"}},
		{"submit_bio_wait.isra.0", []string{"io"}},
		{"submit_bio", nil},
	} {
		var got []string
		for kind, is := range kinds {
			if is(tc.symbol) {
				got = append(got, kind)
			}
		}
		if slices.Sort(got); !slices.Equal(got, tc.want) {
			t.Errorf("%q: %q, want %q", tc.symbol, got, tc.want)
		}
	}
}
