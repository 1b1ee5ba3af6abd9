package detect

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// at is one observation of one vCPU, 100 ms after the one before.
type at struct {
	switches uint64
	ran      int // of the 100 ms, in percent
	blocked  bool
	symbol   string
	irqs     bool
}

const slow = "queued_read_lock_slowpath"

// feed gives a detector the rows and returns the verdict and the number of the
// row that made it, counted from 1; 0 if none did.
func feed(d *Detector, rows ...at) (Verdict, int) {
	var cpu uint64
	for i, r := range rows {
		cpu += uint64(r.ran) * 1e6
		o := Observation{TimeNS: int64(i+1) * 1e8, VCPUs: []VCPU{{
			Online: true, Blocked: r.blocked, CPUTimeNS: cpu, Signals: r.switches,
			Sampled: !r.blocked, Symbol: r.symbol, InterruptsOn: r.irqs, Lock: "rdi = tasklist_lock",
		}}}
		if v, hung := d.Observe(&o); hung {
			return v, i + 1
		}
	}
	return Verdict{}, 0
}

func repeat(n int, r at) []at {
	rows := make([]at, n)
	for i := range rows {
		rows[i] = r
	}
	return rows
}

func TestDetector(t *testing.T) {
	spinning := at{switches: 5, ran: 100, symbol: slow, irqs: true}
	for _, tc := range []struct {
		name  string
		rows  []at
		row   int // of the verdict
		class Class
	}{
		{"spin", append([]at{{switches: 5, ran: 50, symbol: "do_wait"}}, repeat(9, spinning)...), 6, ClassSpin},
		{"interrupts off", append([]at{{switches: 5, ran: 50}}, repeat(9, at{switches: 5, ran: 100, symbol: "native_queued_spin_lock_slowpath.part.0"})...), 6, ClassHard},
		{"idle: halted, no switch", repeat(600, at{switches: 5, blocked: true}), 0, ""},
		{"idle: between two naps", repeat(600, at{switches: 5, ran: 1, symbol: "default_idle"}), 0, ""},
		{"busy: switches all the while", func() []at {
			rows := repeat(100, spinning)
			for i := range rows {
				rows[i].switches = uint64(i)
			}
			return rows
		}(), 0, ""},
		{"user code without a switch", repeat(100, at{switches: 5, ran: 100, symbol: "", irqs: true}), 0, ""},
		{"kernel work without a switch", repeat(100, at{switches: 5, ran: 100, symbol: "clear_page_rep", irqs: true}), 0, ""},
		{"contended for a moment, then on", append(repeat(5, spinning), repeat(50, at{switches: 6, ran: 100, symbol: "vfs_read", irqs: true})...), 0, ""},
		// It runs a tenth of the time: 250 ms of spinning take 25 samples, and one for the start.
		{"kept from running", repeat(100, at{switches: 5, ran: 10, symbol: slow, irqs: true}), 26, ClassSpin},
		{"does not run for 4.9 s", repeat(50, at{switches: 5, symbol: slow, irqs: true}), 0, ""},
		{"every other sample in an interrupt", func() []at {
			rows := append([]at{{switches: 5, ran: 100, symbol: slow}}, repeat(100, spinning)...)
			for i := range rows {
				if i%2 == 0 {
					rows[i].symbol = "rcu_sched_clock_irq"
				}
			}
			return rows
		}(), 6, ClassSpin},
		{"a lock met now and then in long kernel work", func() []at {
			rows := repeat(100, at{switches: 5, ran: 100, symbol: "clear_page_rep", irqs: true})
			for i := range rows {
				if i%3 == 0 {
					rows[i].symbol = slow
				}
			}
			return rows
		}(), 0, ""},
		{"another lock each time", func() []at {
			rows := repeat(100, spinning)
			for i := range rows {
				if i%3 == 0 {
					rows[i].symbol = "queued_write_lock_slowpath"
				}
			}
			return rows
		}(), 0, ""},
	} {
		v, row := feed(NewDetector(DefaultThresholds()), tc.rows...)
		if row != tc.row || v.Class != tc.class {
			t.Errorf("%s: %q at row %d, want %q at row %d", tc.name, v.Class, row, tc.class, tc.row)
			continue
		}
		if row == 0 {
			continue
		}
		all := strings.Join(v.Evidence, "\n")
		for _, want := range []string{"no task switch for ", "_slowpath", "tasklist_lock"} {
			if !strings.Contains(all, want) {
				t.Errorf("%s: evidence lacks %q:\n%s", tc.name, want, all)
			}
		}
		if v.Scope != Full || len(v.VCPUs) != 1 {
			t.Errorf("%s: scope %s, vCPUs %v", tc.name, v.Scope, v.VCPUs)
		}
	}
}

func TestUndecided(t *testing.T) {
	for want, rows := range map[string][]at{
		"vCPU 0: in queued_read_lock_slowpath at 2 of 2 samples, for 200 ms, of which it ran 120 ms": repeat(3, at{ran: 60, symbol: slow}),
		"vCPU 0: in the last sampling period it was halted":                                          repeat(3, at{blocked: true}),
		"vCPU 0: in the last sampling period it switched tasks 7 times":                              {{ran: 60, symbol: slow}, {switches: 7, ran: 60, symbol: slow}},
		"vCPU 0: in the last sampling period it was in vfs_read":                                     repeat(3, at{ran: 60, symbol: "vfs_read"}),
	} {
		d := NewDetector(DefaultThresholds())
		feed(d, rows...)
		if got := d.Undecided(); got[0] != want || strings.Contains(strings.Join(got, "; "), "nothing was judged") {
			t.Errorf("undecided: %q, want %q first", got, want)
		}
	}
}

// TestDetectorScope: one of two vCPUs hangs, then both do.
func TestDetectorScope(t *testing.T) {
	run := func(second VCPU) Verdict {
		d := NewDetector(Thresholds{SpinThresholds: SpinThresholds{Spin: 200 * time.Millisecond}})
		for i := range 20 {
			now := int64(i+1) * 1e8
			hung := VCPU{Online: true, CPUTimeNS: uint64(now), Sampled: true, Symbol: slow, InterruptsOn: true}
			other := second
			if !other.Blocked {
				other.CPUTimeNS = uint64(now)
			}
			if v, ok := d.Observe(&Observation{TimeNS: now, VCPUs: []VCPU{hung, other}}); ok {
				return v
			}
		}
		t.Fatal("no verdict")
		return Verdict{}
	}
	if v := run(VCPU{Online: true, Blocked: true}); v.Scope != Partial || len(v.VCPUs) != 1 {
		t.Errorf("one of two: %s %v", v.Scope, v.VCPUs)
	}
	if v := run(VCPU{Online: true, Sampled: true, Symbol: slow}); v.Scope != Full || len(v.VCPUs) != 2 || v.Class != ClassSpin {
		t.Errorf("both: %s %v %s", v.Scope, v.VCPUs, v.Class)
	}
	if v := run(VCPU{Online: false}); v.Scope != Full {
		t.Errorf("the only one online: %s", v.Scope)
	}
}

// dice makes numbers of the fuzzer's bytes; zeros when they are used up.
type dice struct{ b []byte }

func (d *dice) byte() byte {
	if len(d.b) == 0 {
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

// of returns one of the values.
func (d *dice) of(values ...uint64) uint64 { return values[int(d.byte())%len(values)] }

func (d *dice) name() string {
	return [...]string{"", slow, "vfs_read", "msleep", "default_idle", "io_schedule", "__mutex_lock", "xen_hypercall_hvm", "kthread", "\xff.part.0", "x (3)", "panic"}[int(d.byte())%12]
}

func (d *dice) names() []string {
	var names []string
	for range d.byte() % 4 {
		names = append(names, d.name())
	}
	return names
}

// again repeats an observation a tenth of a second later: hangs are made of such.
func again(o Observation, how byte) Observation {
	o.TimeNS += 1e8
	o.VCPUs = append([]VCPU(nil), o.VCPUs...)
	for i := range o.VCPUs {
		if !o.VCPUs[i].Blocked {
			o.VCPUs[i].CPUTimeNS += 1e8
		}
	}
	if o.Kernel == nil {
		return o
	}
	k := *o.Kernel
	if o.Kernel = &k; how&0x10 != 0 {
		k.Memory.Stolen += 200
		k.Memory.Refaults += 150
		k.Memory.Stalls += 50
	}
	if how&0x20 != 0 {
		k.Threads += 30
		k.Forks += 30
	}
	return o
}

// observation makes one from the last, with few steps to any state.
func (d *dice) observation(last Observation) Observation {
	const huge = 1<<63 + 5
	if how := d.byte(); how&15 != 0 && len(last.VCPUs) > 0 {
		return again(last, how)
	}
	o := Observation{TimeNS: last.TimeNS + int64(d.of(1e8, 1e8, 1e8, 12e8, 1e7, 1e12, 0, 1<<62))}
	flags := d.byte()
	o.Domain.Paused = flags&7 == 7
	if flags>>3 == 31 {
		o.Domain.Shutdown = []string{"crash", "reboot", "suspend", "watchdog", "?"}[d.byte()%5]
	}
	n := len(last.VCPUs)
	if n == 0 || flags&0xf0 == 0x10 {
		n = int(d.byte() % 4)
	}
	for i := range n {
		f := d.byte()
		v := VCPU{Online: f&3 != 3, Blocked: f&4 != 0, Sampled: f&8 != 0, UserMode: f&0x70 == 0x70, InterruptsOn: f&0x10 != 0, Running: f&0x20 != 0}
		if i < len(last.VCPUs) {
			v.CPUTimeNS, v.Signals = last.VCPUs[i].CPUTimeNS, last.VCPUs[i].Signals
		}
		v.CPUTimeNS += d.of(1e8, 1e8, 0, 1e3, huge)
		v.Signals += d.of(0, 0, 0, 1, huge)
		v.RIP, v.Symbol, v.Offset, v.Lock = d.of(huge, 0x401000), d.name(), d.of(0, 7, huge), d.name()
		v.Callers = d.names()
		if f&0x80 == 0 {
			v.Queue = &RunQueue{Switches: d.of(5, 5, 5, 6, huge), Running: uint32(d.of(0, 1, 2, 50, 1<<32-1)), ClockNS: d.of(0, 1, huge), PID: int32(d.of(0, 77, huge)),
				Comm: d.name(), NeedResched: f&1 != 0, TimerNS: int64(d.of(0, 1, 1e9, 1<<63-1, huge)), Interrupts: d.of(0, 9, 9, 9, huge)}
		}
		o.VCPUs = append(o.VCPUs, v)
	}
	if flags&8 == 0 {
		return o
	}
	k := &Kernel{MonotonicNS: int64(d.of(0, uint64(o.TimeNS), uint64(o.TimeNS)-1e9, 5, huge)), Panicking: int(d.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2)) - 1,
		Threads: d.of(60, 300, 0, huge), Forks: d.of(0, 500, 1000, huge), Walked: int(d.of(0, 60, huge)), LargestComm: d.name(), LargestCount: int(d.of(0, 300, huge))}
	for range d.byte() % 80 {
		k.Waiting = append(k.Waiting, Waiting{PID: int32(d.of(1, 2, 3, huge)), Comm: d.name(), Switches: d.of(5, 6), IOWait: flags&0x40 != 0, Stack: d.names(), Lock: d.name(), Owner: d.name()})
	}
	k.WaitingTotal = int(d.of(uint64(len(k.Waiting)), 0, 500, huge))
	k.Memory = Memory{TotalPages: d.of(40000, 0, huge), FreePages: d.of(800, 0, huge), Scanned: d.of(0, 9000, huge), Stolen: d.of(0, 9000, huge), Refaults: d.of(0, 8000, huge),
		MajorFault: d.of(0, 500, huge), Stalls: d.of(0, 500, huge), OOMKills: d.of(0, 1, huge)}
	if flags&0x80 != 0 {
		k.Unreadable = d.names()
	}
	o.Kernel = k
	return o
}

// idle turns an observation into one of a guest that is halted with nothing to do.
func idle(o Observation) Observation {
	o.Domain.Shutdown, o.Kernel = "", nil
	o.VCPUs = append([]VCPU(nil), o.VCPUs...)
	for i := range o.VCPUs {
		v := &o.VCPUs[i]
		v.Blocked, v.Running, v.Sampled = true, false, false
		if v.Queue != nil {
			v.Queue = &RunQueue{Switches: v.Queue.Switches, ClockNS: v.Queue.ClockNS, TimerNS: v.Queue.TimerNS, Interrupts: v.Queue.Interrupts}
		}
	}
	return o
}

// FuzzDetector: no stream of observations panics it, each verdict can be believed,
// there is none while the guest is paused, verdicts and recoveries take turns, and
// a guest that is halted with nothing to do is never hung.
func FuzzDetector(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8})
	for i := range 30 {
		b := make([]byte, 5000)
		r := rand.New(rand.NewPCG(uint64(i), 1))
		for j := range b {
			b[j] = byte(r.Uint32())
			if i%2 == 0 && r.IntN(3) > 0 {
				b[j] = 0
			}
		}
		f.Add(b)
	}
	known := map[Class]bool{}
	for _, r := range List() {
		known[r.Class] = true
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		random, halted := NewDetector(DefaultThresholds()), NewDetector(DefaultThresholds())
		dice := dice{b}
		var o Observation
		on := false
		for len(dice.b) > 0 {
			o = dice.observation(o)
			v, hung := random.Observe(&o)
			if hung {
				if !known[v.Class] || v.Scope != Partial && v.Scope != Full || len(v.Evidence) == 0 || len(v.Evidence) > 200 || v.TimeNS != o.TimeNS {
					t.Fatalf("verdict %+v", v)
				}
				if o.Domain.Paused {
					t.Fatalf("verdict of a paused guest: %+v", v)
				}
				for _, i := range v.VCPUs {
					if i < 0 || i >= len(o.VCPUs) {
						t.Fatalf("verdict about vCPU %d of %d", i, len(o.VCPUs))
					}
				}
				on = true
			}
			if r, over := random.Recovered(); over {
				if !on || hung || r.Class == "" {
					t.Fatalf("recovery %+v", r)
				}
				on = false
			}
			if is := random.hang.Class != ""; is != on {
				t.Fatalf("a hang goes on: %v, want %v", is, on)
			}
			for _, note := range random.Undecided() {
				if note == "" {
					t.Fatal("empty note")
				}
			}
			quiet := idle(o)
			if v, hung := halted.Observe(&quiet); hung {
				t.Fatalf("a halted guest is hung: %+v", v)
			}
		}
	})
}
