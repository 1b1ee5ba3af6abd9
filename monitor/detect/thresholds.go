package detect

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Thresholds are the knobs of the detector, all of them.
type Thresholds struct {
	// Spin is how long a vCPU must run in a lock slow path without a switch
	// before that is a hang. A contended kernel spinlock is held for
	// microseconds, rarely for milliseconds.
	Spin time.Duration
	// Hard is how long a vCPU must run in the kernel with interrupts off. The
	// handlers of a healthy kernel take microseconds.
	Hard time.Duration
	// Soft is how long a vCPU must run in the kernel without a switch while
	// another task waits for it. A scheduler's slice is some milliseconds.
	Soft time.Duration
	// SoftSilence is the same where nobody can say whether a task waits.
	SoftSilence time.Duration
	// Stopped is how long a vCPU must stay halted past its timer, or with work in
	// its run queue.
	Stopped time.Duration
	// Starved is how long a vCPU that wants to run must get no time at all from
	// the hypervisor.
	Starved time.Duration
	// Blocked is how long a thread must wait for a sleeping lock.
	Blocked time.Duration
	// IO is how long a thread must wait for I/O while no other wait for I/O ends.
	IO time.Duration
	// Waiting is how long a thread must be in uninterruptible sleep for whatever
	// reason. The kernel's own limit is 120 s (kernel.hung_task_timeout_secs).
	Waiting time.Duration
	// Forkstorm is how long threads must multiply, and ForkstormThreads by how many
	// they must have grown or how many of one name there must be.
	Forkstorm        time.Duration
	ForkstormThreads int64
	// ForkstormRunning is the length of run queue, per online vCPU, from which on
	// it is long.
	ForkstormRunning int64
	// Thrash is how long memory must thrash.
	Thrash time.Duration
	// ThrashFree is the share of memory, in percent, below which free memory is
	// low. Under reclaim it lies between the watermarks, at some percent.
	ThrashFree int64
	// ThrashRefaults is the share of reclaimed pages, in percent, that must have
	// been needed again.
	ThrashRefaults int64
	// ThrashRate is the number of pages needed again, per second, below which
	// nothing thrashes.
	ThrashRate int64
	// Gap is the time between two observations, also in comparison with the usual
	// one, from which on every rule begins anew.
	Gap time.Duration
	// Boot is how long a kernel may take from where it is first looked at to its
	// first process: until then only a panic is a hang. A kernel boots in seconds, on a
	// slow host in tens of them.
	Boot time.Duration
	// Recovered is how long a hang must show no sign before it is over.
	Recovered time.Duration
}

// DefaultThresholds are used where a suite sets none.
func DefaultThresholds() Thresholds {
	var t Thresholds
	for _, k := range t.knobs() {
		k.set(k.Default)
	}
	return t
}

// Threshold describes one knob for suites and people.
type Threshold struct {
	Name     string // ends in _ms for milliseconds, in _percent for a share; else it is a number
	Default  int64
	Min, Max int64
	Summary  string
}

type knob struct {
	Threshold
	duration *time.Duration // or
	number   *int64
}

func (k knob) set(v int64) {
	if k.duration != nil {
		*k.duration = time.Duration(v) * time.Millisecond
		return
	}
	*k.number = v
}

func (k knob) get() int64 {
	if k.duration != nil {
		return k.duration.Milliseconds()
	}
	return *k.number
}

func (t *Thresholds) knobs() []knob {
	const longest = 600_000 // ms: no trial observes for longer
	ms := func(d *time.Duration, name string, def int64, summary string) knob {
		return knob{Threshold{name, def, 1, longest, summary}, d, nil}
	}
	number := func(n *int64, name string, def, least, most int64, summary string) knob {
		return knob{Threshold{name, def, least, most, summary}, nil, n}
	}
	return []knob{
		ms(&t.Spin, "spin_ms", 500, "a vCPU runs in a lock slow path without a switch"),
		ms(&t.Hard, "hard_ms", 500, "a vCPU runs in the kernel with interrupts off"),
		ms(&t.Soft, "soft_ms", 2000, "a vCPU runs in the kernel without a switch while a task waits for it"),
		ms(&t.SoftSilence, "soft_silence_ms", 10_000, "the same with the run queue unreadable"),
		ms(&t.Stopped, "stopped_ms", 700, "a vCPU is halted past its timer or with tasks to run"),
		ms(&t.Starved, "starved_ms", 5000, "a vCPU wants to run and gets no time"),
		ms(&t.Blocked, "blocked_ms", 2500, "a thread waits for a sleeping lock"),
		ms(&t.IO, "io_ms", 2500, "a thread waits for I/O, and none completes"),
		ms(&t.Waiting, "waiting_ms", 30_000, "a thread is in uninterruptible sleep for any reason"),
		ms(&t.Forkstorm, "forkstorm_ms", 1500, "threads multiply"),
		number(&t.ForkstormThreads, "forkstorm_threads", 200, 10, 1_000_000, "threads that came, or are of one name; half if all that came are runnable"),
		number(&t.ForkstormRunning, "forkstorm_running", 20, 2, 100_000, "runnable threads per vCPU that are many"),
		ms(&t.Thrash, "thrash_ms", 2000, "memory thrashes"),
		number(&t.ThrashFree, "thrash_free_percent", 10, 1, 50, "free memory is low below this"),
		number(&t.ThrashRefaults, "thrash_refault_percent", 50, 1, 100, "of the reclaimed pages are needed again"),
		number(&t.ThrashRate, "thrash_refaults", 200, 1, 1_000_000, "pages needed again per second"),
		ms(&t.Gap, "gap_ms", 1000, "a gap in the observations: everything begins anew"),
		ms(&t.Boot, "boot_ms", 60_000, "a guest boots: until then only a panic is a hang"),
		ms(&t.Recovered, "recovered_ms", 1000, "without a sign of it a hang is over"),
	}
}

// ListThresholds describes every threshold, in the order of the rules.
func ListThresholds() []Threshold {
	var t Thresholds
	var list []Threshold
	for _, k := range t.knobs() {
		list = append(list, k.Threshold)
	}
	return list
}

// Set sets the threshold of that name. The error names the valid range.
func (t *Thresholds) Set(name string, value int64) error {
	for _, k := range t.knobs() {
		if k.Name != name {
			continue
		}
		if value < k.Min || value > k.Max {
			return fmt.Errorf("set threshold %s to %d: use %d to %d", name, value, k.Min, k.Max)
		}
		k.set(value)
		return nil
	}
	return fmt.Errorf("set threshold %q: there is none of that name", name)
}

// Get returns the threshold of that name, in the unit that the name says.
func (t *Thresholds) Get(name string) (int64, bool) {
	for _, k := range t.knobs() {
		if k.Name == name {
			return k.get(), true
		}
	}
	return 0, false
}

// SetAll sets several by name. The error joins one for each that is not valid.
func (t *Thresholds) SetAll(values map[string]int64) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		errs = append(errs, t.Set(name, values[name]))
	}
	return errors.Join(errs...)
}
