package watchdog

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// TestForms: the first lines of reports, made from the format strings of Linux's source.
// TestConsoles reads those that the lab can provoke from real consoles.
func TestForms(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		line string
		want Finding
	}{
		{"watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [swapper/1:0]", Finding{Detector: SoftLockup, VCPU: 1,
			Task: "swapper/1:0"}},
		{"watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [a [b]:7]", Finding{Detector: SoftLockup, VCPU: 0,
			Task: "a [b]:7"}},
		{"watchdog: CPU1: Watchdog detected hard LOCKUP on cpu 3", Finding{Detector: HardLockup, VCPU: 3}},
		{"NMI watchdog: Watchdog detected hard LOCKUP on cpu 0", Finding{Detector: HardLockup, VCPU: 0}},
		{"rcu: INFO: rcu_sched self-detected stall on CPU", Finding{Detector: RCUStall, VCPU: -1}},
		{"rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", Finding{Detector: RCUStall, VCPU: -1}},
		{"rcu: INFO: rcu_sched detected expedited stalls on CPUs/tasks: { 1-... } 5 jiffies s: 9 root: 0x2/.",
			Finding{Detector: RCUStall, VCPU: -1}},
		{"INFO: task jbd2/sda1-8:77 blocked for more than 120 seconds.", Finding{Detector: HungTask, VCPU: -1,
			Task: "jbd2/sda1-8:77"}},
		{"INFO: task init:1 <writer> blocked for more than 1 seconds.", Finding{Detector: HungTask, VCPU: -1,
			Task: "init:1"}},
		{"INFO: task init:1 blocked in I/O wait for more than 120 seconds.",
			Finding{Detector: HungTask, VCPU: -1, Task: "init:1"}},
		{"BUG: workqueue lockup - pool cpus=2 node=0 flags=0x0 nice=0 stuck for 33s!", Finding{Detector: Workqueue, VCPU: 2}},
		{"BUG: workqueue lockup - pool 8: cpus=0-1 stuck for 33s!", Finding{Detector: Workqueue, VCPU: -1}},
		{"Kernel panic - not syncing: Fatal exception in interrupt", Finding{Detector: Panic, VCPU: -1}},
	} {
		for _, stamp := range []string{"[   21.500000] ", "[   21.500000][    T1] "} {
			var p Parser
			p.Feed([]byte(stamp+tc.line+"\r\n"), 7)
			want := tc.want
			want.Printk, want.Arrival, want.Text = 21500*time.Millisecond, 7, tc.line
			if got := p.Findings(); len(got) != 1 || got[0] != want {
				t.Errorf("%q: %+v, want %+v", stamp+tc.line, got, want)
			}
		}
	}
}

// TestNoReports: lines that look like reports and are none.
func TestNoReports(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"",
		"[",
		"[    1.000000]",
		"watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [swapper/1:0]", // without a time: of userland
		"hangbench-init: [   21.500000] Kernel panic - not syncing: no",
		"[   21.500000] hangbench: watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [x:1]",
		"[   21.500000] INFO: task x blocked for more than 120 seconds.", // no pid
		"[   21.500000] watchdog: BUG: soft lockup - CPU#x stuck for 22s! [x:1]",
		"[99999999999.500000] Kernel panic - not syncing: x",
		"[9999999999.500000] Kernel panic - not syncing: x",
		"[   21.5000] Kernel panic - not syncing: x",
		"[   21.500000] rcu: \t0-....: (5249 ticks this GP)",
		"[   21.500000] " + mark + " soft-lockup=10 nonsense=3",
		"[   21.500000] " + mark + " soft-lockup=-1",
		"[   21.500000] " + mark + " soft-lockup=999999999",
		"[   21.500000] " + mark + " soft-lockup",
	} {
		var p Parser
		p.Feed([]byte(line+"\n"), 0)
		if len(p.Findings()) != 0 || p.Armed() != nil {
			t.Errorf("%q: %+v, armed %v", line, p.Findings(), p.Armed())
		}
	}
}

func TestStallNamesVCPU(t *testing.T) {
	t.Parallel()
	var p Parser
	p.Feed([]byte("[   21.000000] rcu: INFO: rcu_sched detected stalls on CPUs/tasks:\n"+
		"[   21.000001] rcu: \t1-...0: (1 GPs behind) idle=0d4c/1/0x4000000000000000 softirq=10/10 fqs=2000\n"+
		"[   21.000002] rcu: \t2-...0: (1 GPs behind)\n"), 0)
	if f := p.Findings(); len(f) != 1 || f[0].VCPU != 1 {
		t.Errorf("findings %+v, want one of vCPU 1", f)
	}
	// A number that is none.
	p = Parser{}
	p.Feed([]byte("[   21.000000] rcu: INFO: rcu_sched self-detected stall on CPU\n[   21.000001] rcu: "+
		"\t99999999999999999999-...0: x\n"), 0)
	if f := p.Findings(); len(f) != 1 || f[0].VCPU != -1 {
		t.Errorf("findings %+v, want one of an unknown vCPU", f)
	}
}

// TestPieces: it does not matter how the bytes arrive.
func TestPieces(t *testing.T) {
	t.Parallel()
	text := "[    1.000000] " + Armed{SoftLockup: 10 * time.Second, HungTask: 120 * time.Second}.String() + "\n" +
		"[   21.500000] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [init:1]\r\n" +
		strings.Repeat("x", 3*maxLine) + "[   22.000000] Kernel panic - not syncing: the end of a line\n" +
		"[   23.000000] INFO: task " + strings.Repeat("y", maxLine) + ":1 blocked for more than 120 seconds.\n" +
		"[   24.000000] INFO: task z:1 blocked for more than 120 seconds.\n" +
		"[   25.000000] Kernel panic - not syncing: unfinished"
	var whole Parser
	whole.Feed([]byte(text), 0)
	if n := len(whole.Findings()); n != 2 {
		t.Errorf("%d findings: %+v", n, whole.Findings())
	}
	if want := (Armed{SoftLockup: 10 * time.Second, HungTask: 2 * time.Minute}); !reflect.DeepEqual(whole.Armed(), want) {
		t.Errorf("armed %v, want %v", whole.Armed(), want)
	}
	for _, size := range []int{1, 2, 7, maxLine} {
		var p Parser
		for i := 0; i < len(text); i += size {
			p.Feed([]byte(text[i:min(len(text), i+size)]), 0)
		}
		if !reflect.DeepEqual(p.Findings(), whole.Findings()) || !reflect.DeepEqual(p.Armed(), whole.Armed()) {
			t.Errorf("in pieces of %d bytes: %+v", size, p.Findings())
		}
	}
}

// TestFlood: a guest with endless reports of one detector fills no memory and hides no
// report of another detector. The first reports are kept.
func TestFlood(t *testing.T) {
	t.Parallel()
	var p Parser
	for i := range 1000 {
		p.Feed(fmt.Appendf(nil, "[%5d.000000] INFO: task x:%d blocked for more than 120 seconds.\n", i, i), 0)
	}
	p.Feed([]byte("[ 2000.000000] Kernel panic - not syncing: hung_task: blocked tasks\n"), 0)
	f := p.Findings()
	if len(f) != maxFindings+1 || f[maxFindings].Detector != Panic || f[0].Task != "x:0" {
		t.Errorf("%d findings, the first of %s", len(f), f[0].Task)
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	var p Parser
	if _, ok := p.Clock().Instant(0); ok {
		t.Error("a clock without a line has an offset")
	}
	p.Feed([]byte("[   10.000000] slow\n"), 1_000_000_000_000+10_030_000_000)
	p.Feed([]byte("[   11.000000] fast\n"), 1_000_000_000_000+11_001_000_000)
	p.Feed([]byte("[   12.000000] slow\n"), 1_000_000_000_000+12_500_000_000)
	if ns, ok := p.Clock().Instant(20 * time.Second); !ok || ns != 1_000_000_000_000+20_001_000_000 {
		t.Errorf("20 s of the log are %d (%v): not by the fastest line", ns, ok)
	}
}

// TestWindows: the ranges for the thresholds that are used, worked out by hand
// from the source.
func TestWindows(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		d         Detector
		threshold time.Duration
		naps      bool
		from, to  float64 // s, without slack
	}{
		{SoftLockup, 10 * time.Second, false, 20, 24},
		{SoftLockup, 10 * time.Second, true, 24, 28},
		{SoftLockup, time.Second, false, 2, 3.6},
		{SoftLockup, time.Second, true, 2.4, 4},
		{RCUStall, 21 * time.Second, false, 20.5, 22},
		{HungTask, 120 * time.Second, true, 120, 240},
		{HungTask, time.Second, false, 1, 2},
		{Workqueue, 30 * time.Second, false, 30, 60},
		{Xen, XenTimeout, true, 15, 30},
	} {
		r, ok := Window(tc.d, tc.threshold, tc.naps)
		from, to := time.Duration(tc.from*1e9), time.Duration(tc.to*1e9)+slack
		if !ok || r.From != from || r.To != to {
			t.Errorf("%s with %v: %v (%v), want %.1f to %.1f s", tc.d, tc.threshold, r, ok, tc.from, tc.to)
		}
	}
	if r, ok := Window(Panic, 0, false); ok {
		t.Errorf("a panic has the window %v", r)
	}
}

// TestSoftLockupWindow runs the kernel's algorithm on hangs that begin at every phase of
// its timer and of its clock. The window contains all results, and is no wider.
func TestSoftLockupWindow(t *testing.T) {
	t.Parallel()
	for _, threshold := range []time.Duration{time.Second, 10 * time.Second} {
		for _, naps := range []bool{false, true} {
			period := 2 * threshold / 5
			limit := int64(2 * threshold / time.Second)
			first, last := time.Duration(1<<62), time.Duration(0)
			for clock := time.Duration(0); clock < clockUnit; clock += clockUnit / 97 {
				for age := time.Duration(0); age < period; age += period / 101 {
					// The last look before the hang was at clock, and the hang begins age later.
					mark, touched := int64(clock)/clockUnit, naps
					for look := clock + period; ; look += period {
						now := int64(look) / clockUnit
						if touched {
							mark, touched = now, false
							continue
						}
						if now > mark+limit {
							d := look - clock - age
							first, last = min(first, d), max(last, d)
							break
						}
					}
				}
			}
			w, _ := Window(SoftLockup, threshold, naps)
			if first < w.From || last > w.To {
				t.Errorf("threshold %v, naps %v: fires after %v to %v, predicted %v", threshold, naps, first, last, w)
			}
			if first-w.From > period/50 || w.To-slack-last > period/50 {
				t.Errorf("threshold %v, naps %v: fires after %v to %v, predicted a wide %v", threshold, naps, first, last, w)
			}
		}
	}
}

func FuzzParser(f *testing.F) {
	f.Add([]byte("[   21.500000] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [init:1]\n"), 3)
	f.Add([]byte("[   21.000000] rcu: INFO: rcu_sched self-detected stall on CPU\n[   21.0] rcu: \t0-....: (5249\n"), 9)
	f.Add([]byte("[    1.000000] "+mark+" soft-lockup=10 xen=30\n"), 1)
	f.Add([]byte("[ 9.000000] INFO: task \x1b[2J\xff:1 blocked for more than 120 seconds.\n\n\r\n["), 1000)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		var whole, pieces Parser
		whole.Feed(b, 1)
		size = max(1, size)
		for i := 0; i < len(b); i += min(size, len(b)) {
			pieces.Feed(b[i:min(len(b), i+min(size, len(b)))], 1)
		}
		if !reflect.DeepEqual(whole, pieces) {
			t.Fatalf("in pieces of %d: %+v, whole: %+v", size, pieces, whole)
		}
		if len(whole.line) > maxLine || len(whole.findings) > maxFindings*len(All()) {
			t.Fatalf("%d bytes and %d findings are kept", len(whole.line), len(whole.findings))
		}
		for _, f := range whole.Findings() {
			if !known(f.Detector) || f.VCPU < -1 || f.VCPU > maxVCPU || f.Printk < 0 || !utf8.ValidString(f.Text) ||
				strings.ContainsAny(f.Text+f.Task, "\n\x1b\x00") {
				t.Fatalf("finding %+v", f)
			}
		}
		for d, threshold := range whole.Armed() {
			if !known(d) || threshold < 0 || threshold > maxThreshold {
				t.Fatalf("armed %s with %v", d, threshold)
			}
		}
	})
}

// FuzzArmed: whatever a guest says of its watchdogs, it is refused, or is what PID 1 would
// write.
func FuzzArmed(f *testing.F) {
	f.Add(" hung-task=120 soft-lockup=10 xen=30")
	f.Add("\tpanic=0\u00a0xen=86400")
	f.Add(" soft-lockup=-1 soft-lockup=86401")
	f.Fuzz(func(t *testing.T, s string) {
		a, ok := parseArmed(s)
		if !ok {
			return
		}
		for d, threshold := range a {
			if !known(d) || threshold < 0 || threshold > maxThreshold || threshold%time.Second != 0 {
				t.Fatalf("armed %s with %v", d, threshold)
			}
		}
		rest, marked := strings.CutPrefix(a.String(), mark)
		if again, ok := parseArmed(rest); !marked || !ok || !maps.Equal(again, a) {
			t.Fatalf("%v is written as %q, and read as %v", a, a.String(), again)
		}
	})
}
