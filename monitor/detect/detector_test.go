package detect

import (
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
		d := NewDetector(Thresholds{Spin: 200 * time.Millisecond})
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

// FuzzDetector: no stream of observations panics it, and a guest that is always
// halted is never hung.
func FuzzDetector(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, idle := NewDetector(DefaultThresholds()), NewDetector(DefaultThresholds())
		for i := 0; i+8 <= len(b); i += 8 {
			o := Observation{TimeNS: int64(b[i])<<24 | int64(b[i+1])<<32}
			for range b[i+2] % 4 {
				o.VCPUs = append(o.VCPUs, VCPU{
					Online: b[i+3]&1 != 0, Blocked: b[i+3]&2 != 0, Sampled: b[i+3]&4 != 0,
					CPUTimeNS: uint64(b[i+4]) << 30, Signals: uint64(b[i+5] & 1), Symbol: slow,
				})
			}
			if v, hung := d.Observe(&o); hung && (len(v.VCPUs) == 0 || v.Class == "" || len(v.Evidence) == 0) {
				t.Errorf("empty verdict %+v", v)
			}
			for j := range o.VCPUs {
				o.VCPUs[j].Blocked = true
			}
			if v, hung := idle.Observe(&o); hung {
				t.Errorf("a halted guest is hung: %+v", v)
			}
		}
	})
}
