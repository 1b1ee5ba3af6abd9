package scenarios

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"hangbench/guests/beat"
	"hangbench/guests/stress"
	"hangbench/scenarios/inject"
)

// Sign is how a guest shows by itself, to its own heartbeat and work counters,
// that a fault has taken.
type Sign string

const (
	// Silent: the heartbeat of the vCPUs in question stands still.
	Silent Sign = "silent"
	// Stuck: no unit of the workload's work is finished any more. Heartbeats may
	// go on.
	Stuck Sign = "stuck"
	// Slow: the workload's work falls below a tenth of what it was; below half, of a
	// disturbance or a bounded fault.
	Slow Sign = "slow"
	// Ended: the guest ends itself, and its heartbeat with it.
	Ended Sign = "ended"
	// Held: the workload's work stands still for a while and goes on by itself: the
	// monitor that held the guest up has let go of it.
	Held Sign = "held"
)

// VCPUs says which vCPUs a fault is to stop.
type VCPUs string

const (
	// Every vCPU stops.
	Every VCPUs = "every"
	// First: vCPU 0 stops; others may wait for it sooner or later.
	First VCPUs = "first"
	// OnlyLast stops, the others go on.
	OnlyLast VCPUs = "only-last"
)

// Scenario is one thing to try.
type Scenario struct {
	ID      string
	Summary string // one line for people
	// Workload runs from before the monitor attaches until after it detaches.
	Workload beat.Workload
	// Stress is a workload that is measured with and without the monitor, by a control
	// that does nothing else; stress.None of all others.
	Stress stress.Workload
	// Class is the class of the verdict that is right; empty for a control.
	Class string
	// Fault brings the fault in; nil for a control.
	Fault func(inject.Target) (*inject.Injection, error)
	// Sign is the fault's ground truth, VCPUs whose heartbeat it is about if it is
	// Silent. Of a control, the sign that Disturb has.
	Sign  Sign
	VCPUs VCPUs
	// Final says that there is no way back from the fault.
	Final bool
	// OfMonitor says that the fault is the monitor's own. Only a mechanism whose
	// answers must lift its trap (monitor.Mechanism.Lifts) can have it.
	OfMonitor bool
	// MinVCPUs is how many vCPUs the guest must have; 0 means one.
	MinVCPUs int
	// Disturb does something to the guest of a control that is no hang, however
	// much it looks like one, for so long as Disturbed says.
	Disturb   func(inject.Target) (*inject.Injection, error)
	Disturbed time.Duration
}

// Control reports whether the scenario has no fault.
func (s Scenario) Control() bool { return s.Fault == nil }

// Programs is the set of programs that the guest must have; empty for none.
func (s Scenario) Programs() string {
	if s.Stress.Stressor() == "" {
		return ""
	}
	return stress.Set
}

// Lasting says why the fault cannot be undone after a time of one's choice; it
// is empty if it can.
func (s Scenario) Lasting() string {
	switch {
	case s.Control():
		return "has no fault"
	case s.Final:
		return "has no way back"
	case s.OfMonitor:
		return "ends by itself, when the monitor lets go"
	}
	return ""
}

// Partial reports whether the fault leaves some vCPUs alone.
func (s Scenario) Partial() bool { return s.VCPUs == OnlyLast }

// disturbed is long enough for a detector to take it for a hang: a multiple of
// every threshold and of the heartbeat.
const disturbed = 4 * time.Second

const (
	// long is as much as the slowest of the rules about work and disks take, and
	// more.
	long = 10 * time.Second
	// slowRequest is less than half of what a guest may wait for one request.
	slowRequest = time.Second
)

// All returns every scenario, in the order in which tables list them.
func All() []Scenario {
	hold := func(lock string) func(inject.Target) (*inject.Injection, error) {
		return func(t inject.Target) (*inject.Injection, error) { return inject.HoldRWLock(t, lock) }
	}
	loop := func(function string) func(inject.Target) (*inject.Injection, error) {
		return func(t inject.Target) (*inject.Injection, error) { return inject.LoopIn(t, function) }
	}
	mask := func(function string) func(inject.Target) (*inject.Injection, error) {
		return func(t inject.Target) (*inject.Injection, error) { return inject.MaskedLoopIn(t, function) }
	}
	forget := func(releases ...inject.Release) func(inject.Target) (*inject.Injection, error) {
		return func(t inject.Target) (*inject.Injection, error) { return inject.ForgetUnlock(t, releases...) }
	}
	spin := func(lock string) func(inject.Target) (*inject.Injection, error) {
		return func(t inject.Target) (*inject.Injection, error) { return inject.HoldSpinLock(t, lock) }
	}
	cdev := inject.Release{Lock: "cdev_lock", Function: "chrdev_open", Unlock: "_raw_spin_unlock"}
	super := inject.Release{Lock: "sb_lock", Function: "user_get_super", Unlock: "_raw_spin_unlock"}
	asked := func(what string, do, undo beat.Errand) func(inject.Target) (*inject.Injection, error) {
		return func(t inject.Target) (*inject.Injection, error) { return inject.Asked(t, what, do, undo) }
	}
	return []Scenario{
		{
			ID:       "spinlock-deadlock",
			Summary:  "tasklist_lock is held for writing for ever: who forks, exits or waits spins in the kernel",
			Workload: beat.Idle,
			Class:    "spin",
			Fault:    hold("tasklist_lock"),
			Sign:     Silent, VCPUs: Every,
		},
		{
			ID:       "spinlock-deadlock-partial",
			Summary:  "file_systems_lock is held for writing for ever: only the last vCPU's task wants it, and spins",
			Workload: beat.Files,
			Class:    "spin",
			Fault:    hold("file_systems_lock"),
			Sign:     Silent, VCPUs: OnlyLast, MinVCPUs: 2,
		},
		{
			ID:       "spinlock-devices",
			Summary:  "cdev_lock, a plain spinlock, is held for ever: who opens a device spins in the kernel with interrupts on",
			Workload: beat.Devices,
			Class:    "spin",
			Fault:    spin("cdev_lock"),
			Sign:     Silent, VCPUs: Every,
		},
		{
			ID:       "spinlock-forks",
			Summary:  "pidmap_lock is held for ever: who forks or exits spins in the kernel with interrupts off",
			Workload: beat.Forks,
			Class:    "hard",
			Fault:    spin("pidmap_lock"),
			Sign:     Silent, VCPUs: Every,
		},
		{
			ID:       "spinlock-tick",
			Summary:  "jiffies_lock is held for ever: the timer interrupt that advances the kernel's time spins",
			Workload: beat.Idle,
			Class:    "hard",
			Fault:    spin("jiffies_lock"),
			Sign:     Silent, VCPUs: First,
		},
		{
			ID:       "spinlock-abba",
			Summary:  "of two locks each vCPU took one, does not release it, and asks for the other",
			Workload: beat.Crossed,
			Class:    "spin",
			Fault:    forget(cdev, super),
			Sign:     Silent, VCPUs: Every, MinVCPUs: 2,
		},
		{
			ID:       "missing-unlock",
			Summary:  "opening a device once forgets to release cdev_lock: who opens one after that spins in the kernel",
			Workload: beat.Devices,
			Class:    "spin",
			Fault:    forget(cdev),
			Sign:     Silent, VCPUs: Every,
		},
		{
			ID:       "irq-restore-lost",
			Summary:  "the last vCPU's task computes in the kernel, with interrupts left off by a function it calls",
			Workload: beat.Kernel,
			Class:    "hard",
			Fault: func(t inject.Target) (*inject.Injection, error) {
				return inject.LoseInterrupts(t, "chacha_block_generic")
			},
			Sign: Silent, VCPUs: OnlyLast,
		},
		{
			// With one vCPU the kernel has no paravirtual spinlocks, and the waiter spins
			// with interrupts off for ever. With more, it halts after a while.
			ID:       "spinlock-irqoff",
			Summary:  "the lock of vCPU 0's run queue is held for ever: it spins with interrupts off, and so does who wants its queue",
			Workload: beat.Idle,
			Class:    "hard",
			Fault:    func(t inject.Target) (*inject.Injection, error) { return inject.HoldRunQueue(t, 0) },
			Sign:     Silent, VCPUs: First,
		},
		{
			ID:       "hard-lockup",
			Summary:  "wait4 loops in the kernel with interrupts off: whoever calls it never leaves its vCPU",
			Workload: beat.Idle,
			Class:    "hard",
			Fault:    mask("kernel_wait4"),
			Sign:     Silent, VCPUs: Every,
		},
		{
			ID:       "hard-lockup-partial",
			Summary:  "reading /proc/filesystems loops in the kernel with interrupts off: only the last vCPU's task does",
			Workload: beat.Files,
			Class:    "hard",
			Fault:    mask("filesystems_proc_show"),
			Sign:     Silent, VCPUs: OnlyLast, MinVCPUs: 2,
		},
		{
			ID:       "soft-lockup",
			Summary:  "wait4 loops in the kernel with interrupts on: whoever calls it never leaves its vCPU",
			Workload: beat.Idle,
			Class:    "soft",
			Fault:    loop("kernel_wait4"),
			Sign:     Silent, VCPUs: Every,
		},
		{
			ID:       "soft-lockup-partial",
			Summary:  "reading /proc/filesystems loops in the kernel with interrupts on: only the last vCPU's task does",
			Workload: beat.Files,
			Class:    "soft",
			Fault:    loop("filesystems_proc_show"),
			Sign:     Silent, VCPUs: OnlyLast, MinVCPUs: 2,
		},
		{
			ID:       "mutex-deadlock",
			Summary:  "rtnl_mutex is owned for ever: who configures the network sleeps and cannot be killed",
			Workload: beat.Mutex,
			Class:    "blocked",
			Fault: func(t inject.Target) (*inject.Injection, error) {
				return inject.HoldMutex(t, "rtnl_mutex", beat.Pass)
			},
			Sign: Stuck,
		},
		{
			ID:       "fork-bomb",
			Summary:  "processes that fork for ever, up to a limit, leave others next to no time",
			Workload: beat.Busy,
			Class:    "forkstorm",
			Fault:    asked("fork bomb", beat.Bomb, beat.Kill),
			Sign:     Slow,
		},
		{
			ID:       "io-stall",
			Summary:  "the disk's backend in dom0 completes no request any more: who reads or writes sleeps and cannot be killed",
			Workload: beat.Disk,
			Class:    "io",
			Fault:    inject.StallDisk,
			Sign:     Stuck,
		},
		{
			ID:       "memory-thrash",
			Summary:  "a process locks memory until that of others no longer fits: they find it on the disk, piece by piece",
			Workload: beat.Pages,
			Class:    "thrash",
			Fault:    asked("memory locked", beat.Thrash, beat.Kill),
			Sign:     Slow,
		},
		{
			ID:       "lost-timer",
			Summary:  "timers are not set any more: vCPUs halt and nothing wakes them; there is no way back",
			Workload: beat.Idle,
			Class:    "stopped",
			Fault: func(t inject.Target) (*inject.Injection, error) {
				return inject.LoseTimer(t, "xen_vcpuop_set_next_event")
			},
			Sign: Silent, VCPUs: Every, Final: true,
		},
		{
			ID:       "panic",
			Summary:  "wait4 executes an undefined instruction, and the kernel panics of it; there is no way back",
			Workload: beat.Idle,
			Class:    "panic",
			Fault:    func(t inject.Target) (*inject.Injection, error) { return inject.CrashIn(t, "kernel_wait4") },
			Sign:     Ended, Final: true,
		},
		{
			ID:       "monitor-livelock",
			Summary:  "the monitor answers who meets its trap and does not lift it: the guest meets it again and again, until that is noticed",
			Workload: beat.Busy,
			Class:    "monitor-livelock",
			Fault:    inject.Mishandled,
			Sign:     Held, OfMonitor: true,
		},
		{
			ID:       "panic-loop",
			Summary:  "the kernel panics, does not tell the hypervisor, and loops for ever; there is no way back",
			Workload: beat.Idle,
			Class:    "panic",
			Fault: func(t inject.Target) (*inject.Injection, error) {
				return inject.PanicLoop(t, "kernel_wait4", "xen_panic_event")
			},
			Sign: Silent, VCPUs: Every, Final: true,
		},
		{
			ID:       "panic-reboot",
			Summary:  "the kernel panics, does not tell the hypervisor, and reboots at once; there is no way back",
			Workload: beat.Idle,
			Class:    "panic",
			Fault: func(t inject.Target) (*inject.Injection, error) {
				return inject.PanicReboot(t, "kernel_wait4", "xen_panic_event")
			},
			Sign: Ended, Final: true,
		},
		{
			ID:       "control-idle",
			Summary:  "no fault; nothing runs but the heartbeat",
			Workload: beat.Idle,
		},
		{
			ID:       "control-busy",
			Summary:  "no fault; every vCPU computes and switches tasks without a pause",
			Workload: beat.Busy,
		},
		{
			ID:       "control-uneven",
			Summary:  "no fault; the last vCPU computes and switches tasks without a pause, the others are idle",
			Workload: beat.Uneven,
		},
		{
			ID:       "control-syscalls",
			Summary:  "no fault; a task of every vCPU makes system calls without a pause",
			Workload: beat.Syscalls,
		},
		{
			ID:       "control-forks",
			Summary:  "no fault; a task of every vCPU forks, one child at a time, without a pause",
			Workload: beat.Forks,
		},
		{
			ID:       "control-memory",
			Summary:  "no fault; a task of every vCPU allocates, touches and frees memory without a pause",
			Workload: beat.Memory,
		},
		{
			ID:       "control-disk",
			Summary:  "no fault; a task of every vCPU reads and writes its disk without a pause",
			Workload: beat.Disk,
		},
		{
			ID:       "control-pages",
			Summary:  "no fault; a task of every vCPU goes round in memory that fits, with swap space at hand",
			Workload: beat.Pages,
		},
		{
			ID:       "control-mutex",
			Summary:  "no fault; a task of every vCPU takes and leaves rtnl_mutex",
			Workload: beat.Mutex,
		},
		{
			ID:       "control-kernel-work",
			Summary:  "no fault; the last vCPU's task computes in the kernel for a minute at a time, and lets others run",
			Workload: beat.Kernel,
		},
		{
			ID:        "control-slow-disk",
			Summary:   "no fault; the disk takes a second for each request for a while",
			Workload:  beat.Disk,
			Disturb:   func(t inject.Target) (*inject.Injection, error) { return inject.SlowDisk(t, slowRequest) },
			Sign:      Slow,
			Disturbed: long,
		},
		{
			ID:        "control-limited-bomb",
			Summary:   "no fault; a fork bomb runs for a while in a control group that may have few processes",
			Workload:  beat.Busy,
			Disturb:   asked("limited fork bomb", beat.Limited, beat.Kill),
			Sign:      Slow,
			Disturbed: long,
		},
		{
			ID:        "control-pause",
			Summary:   "no fault; the guest is paused from outside for a while",
			Workload:  beat.Idle,
			Disturb:   inject.Paused,
			Sign:      Silent,
			Disturbed: disturbed,
		},
		{
			ID:        "control-stopped-task",
			Summary:   "no fault; a task of every vCPU is stopped by a signal for a while",
			Workload:  beat.Sleeper,
			Disturb:   asked("tasks stopped", beat.Stop, beat.Continue),
			Sign:      Stuck,
			Disturbed: disturbed,
		},
		{
			ID:        "control-time-jump",
			Summary:   "no fault; the guest's wall clock is set an hour forward, and back later",
			Workload:  beat.Idle,
			Disturb:   asked("wall clock set", beat.Later, beat.Earlier),
			Disturbed: disturbed,
		},
		{
			ID:      "workload-null",
			Summary: "measured: a process that wakes every 10 ms and sleeps again; what it costs is the measuring's own",
			Stress:  stress.Null,
		},
		{
			ID:      "workload-cpu",
			Summary: "measured: stress-ng computes on every vCPU",
			Stress:  stress.CPU,
		},
		{
			ID:      "workload-switch",
			Summary: "measured: stress-ng switches between two processes by way of a pipe, on every vCPU",
			Stress:  stress.Switch,
		},
		{
			ID:      "workload-fork",
			Summary: "measured: stress-ng forks processes that end at once, on every vCPU",
			Stress:  stress.Fork,
		},
		{
			ID:      "workload-syscall",
			Summary: "measured: stress-ng makes system calls that do next to nothing, on every vCPU",
			Stress:  stress.Syscall,
		},
		{
			ID:      "workload-fault",
			Summary: "measured: stress-ng touches pages for the first time, on every vCPU",
			Stress:  stress.Fault,
		},
		{
			ID:      "workload-disk",
			Summary: "measured: stress-ng writes to a file on the guest's disk, past the page cache, on every vCPU",
			Stress:  stress.Disk,
		},
	}
}

// Find returns the scenario of that id.
func Find(id string) (Scenario, error) {
	all := All()
	i := slices.IndexFunc(all, func(s Scenario) bool { return s.ID == id })
	if i < 0 {
		var ids []string
		for _, s := range all {
			ids = append(ids, s.ID)
		}
		return Scenario{}, fmt.Errorf("there is no scenario %q; there are %s", id, strings.Join(ids, ", "))
	}
	return all[i], nil
}
