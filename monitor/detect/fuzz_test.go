package detect

import (
	"math/rand/v2"
	"testing"
)

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
	names := [...]string{"", slow, "vfs_read", "msleep", "default_idle", "io_schedule", "__mutex_lock",
		"xen_hypercall_hvm", "kthread", "\xff.part.0", "x (3)", "panic", "__wait_rcu_gp", "request_wait_answer"}
	return names[int(d.byte())%len(names)]
}

func (d *dice) state() string {
	states := [...]string{"", OwnerRuns, OwnerSleeps, OwnerWaits, OwnerStopped, OwnerFrozen, OwnerEnds, "?"}
	return states[int(d.byte())%len(states)]
}

func (d *dice) names() []string {
	var names []string
	for range d.byte() % 4 {
		names = append(names, d.name())
	}
	return names
}

func (d *dice) schedule() Schedule {
	policies := [...]string{"", PolicyNormal, PolicyFIFO, PolicyRR, PolicyIdle, PolicyDeadline, PolicyStop, "?"}
	return Schedule{policies[int(d.byte())%len(policies)], int32(d.of(120, 50, 98, 0, 1<<32-1, 1<<31))}
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
	if how&0x30 == 0x30 {
		k.Memory.Stolen, k.Memory.Stalls = o.Kernel.Memory.Stolen, k.Memory.Stalls+50
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
		v := VCPU{Online: f&3 != 3, Blocked: f&4 != 0, Sampled: f&8 != 0, UserMode: f&0x70 == 0x70,
			InterruptsOn: f&0x10 != 0, Running: f&0x20 != 0}
		if i < len(last.VCPUs) {
			v.CPUTimeNS, v.Signals = last.VCPUs[i].CPUTimeNS, last.VCPUs[i].Signals
		}
		v.CPUTimeNS += d.of(1e8, 1e8, 0, 1e3, huge)
		v.Signals += d.of(0, 0, 0, 1, huge)
		v.RIP, v.Symbol, v.Offset, v.Lock = d.of(huge, 0x401000), d.name(), d.of(0, 7, huge), d.name()
		v.Callers = d.names()
		if f&0x80 == 0 {
			v.Queue = &RunQueue{Switches: d.of(5, 5, 5, 6, huge), Running: uint32(d.of(0, 1, 2, 50, 1<<32-1)),
				ClockNS: d.of(0, 1, huge), PID: int32(d.of(0, 77, huge)),
				Comm: d.name(), NeedResched: f&1 != 0, TimerNS: int64(d.of(0, 1, 1e9, 1<<63-1, huge)),
				Interrupts: d.of(0, 9, 9, 9, huge), Preempt: uint32(d.of(0, 1<<16, huge)), Schedule: d.schedule()}
		}
		o.VCPUs = append(o.VCPUs, v)
	}
	if flags&8 == 0 {
		return o
	}
	k := &Kernel{MonotonicNS: int64(d.of(0, uint64(o.TimeNS), uint64(o.TimeNS)-1e9, 5, huge)),
		Panicking: int(d.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2)) - 1,
		Threads:   d.of(60, 300, 0, huge), Forks: d.of(0, 500, 1000, huge), Walked: int(d.of(0, 60, huge)),
		LargestComm: d.name(), LargestCount: int(d.of(0, 300, huge))}
	for range d.byte() % 80 {
		k.Waiting = append(k.Waiting, Waiting{PID: int32(d.of(1, 2, 3, huge)), Comm: d.name(), Switches: d.of(5, 6),
			IOWait: flags&0x40 != 0, Stack: d.names(), Lock: d.name(), Owner: d.name(), Killable: flags&0x20 != 0,
			OwnerState: d.state(), OwnerIn: d.name(), Disk: d.name()})
		if d.byte() > 200 {
			k.Waiting[len(k.Waiting)-1].Frozen = d.name()
		}
	}
	for range d.byte() % (2 * MaxDisks) {
		k.Disks = append(k.Disks, Disk{Name: d.name(), Completed: d.of(0, 5, 6, huge)})
	}
	if d.byte()&1 != 0 {
		k.Grace = &Grace{Seq: d.of(4, 4, 5, huge), Expedited: d.of(4, 8), AgeNS: int64(d.of(0, 5e9, huge)),
			Asked: d.byte()&1 != 0, Thread: d.name(), ThreadSwitches: d.of(5, 6), ThreadState: d.state()}
	}
	k.WaitingTotal = int(d.of(uint64(len(k.Waiting)), 0, 500, huge))
	for range d.byte() % 80 {
		k.Runnable = append(k.Runnable, Runnable{PID: int32(d.of(1, 2, 3, 77, huge)), Comm: d.name(), Switches: d.of(5, 6),
			CPU: int(d.of(0, 0, 1, 2, huge)), Schedule: d.schedule()})
	}
	k.RunnableTotal = int(d.of(uint64(len(k.Runnable)), 0, 500, huge))
	k.Memory = Memory{TotalPages: d.of(40000, 0, huge), FreePages: d.of(800, 0, huge),
		Scanned: d.of(0, 9000, huge), Stolen: d.of(0, 9000, huge), Refaults: d.of(0, 8000, huge),
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
			v.Queue = &RunQueue{Switches: v.Queue.Switches, ClockNS: v.Queue.ClockNS, TimerNS: v.Queue.TimerNS,
				Interrupts: v.Queue.Interrupts}
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
				if !known[v.Class] || v.Scope != Partial && v.Scope != Full || len(v.Evidence) == 0 ||
					len(v.Evidence) > 200 || v.TimeNS != o.TimeNS {
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
