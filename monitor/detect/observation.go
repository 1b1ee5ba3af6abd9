package detect

// Observation is what one sample of the guest showed. It is all that a detector
// ever sees. It is also the record of a replay test, one JSON object a line.
type Observation struct {
	TimeNS int64  `json:"time_ns"` // dom0's monotonic clock
	Domain Domain `json:"domain,omitzero"`
	VCPUs  []VCPU `json:"vcpus"`
	// Kernel is what a look at the guest's task list and counters showed; nil in
	// observations without such a look, which costs more than the rest together.
	Kernel *Kernel `json:"kernel,omitempty"`
	// EPT is there in a stream recorded beside a trace of the hypervisor. No rule
	// looks at it.
	EPT *EPT `json:"ept,omitempty"`
}

// EPT counts the guest's EPT violations by what caused them, from the start of
// the trace to the observation.
type EPT struct {
	Permission uint64 `json:"permission"` // denied by what the monitor restricts
	Lazy       uint64 `json:"lazy"`       // an altp2m view filled from the host p2m
	Other      uint64 `json:"other"`      // devices, large pages, anything else
}

// Domain is the state of the guest as a whole, as the hypervisor has it.
type Domain struct {
	Paused   bool   `json:"paused,omitempty"`   // by the toolstack: nothing can be judged
	Shutdown string `json:"shutdown,omitempty"` // "", poweroff, reboot, suspend, crash, watchdog: it has ended itself
}

// VCPU is one vCPU in an Observation.
type VCPU struct {
	Online    bool   `json:"online"`
	Blocked   bool   `json:"blocked,omitempty"` // halted or polling at the moment of the sample
	Running   bool   `json:"running,omitempty"` // on a physical CPU at that moment
	CPUTimeNS uint64 `json:"cpu_time_ns"`       // time run since the guest was made
	// Signals counts the mechanism's signs of life since attach: passes of the
	// switch function, changes of CR3, or the run queue's own count of switches.
	// Only that it grows means anything, not by how much: a mechanism misses some.
	Signals uint64 `json:"signals"`

	// Registers are read only when the vCPU is not blocked and gave no signal
	// since the last sample: reading them stops it for a moment. A vCPU that is
	// blocked though the task in its run queue is not the idle task is read too, and
	// so is one of which Detector.Doubts says that it should not be blocked: it may
	// poll for a paravirtualised lock, which only its stack can tell.
	Sampled      bool   `json:"sampled,omitempty"`
	UserMode     bool   `json:"user_mode,omitempty"`
	RIP          uint64 `json:"rip,omitempty"`
	Symbol       string `json:"symbol,omitempty"` // kernel function that holds RIP, empty outside the kernel
	Offset       uint64 `json:"offset,omitempty"` // of RIP in Symbol
	InterruptsOn bool   `json:"interrupts_on,omitempty"`
	Lock         string `json:"lock,omitempty"` // "rdi = tasklist_lock": a register that points at a named variable
	// Callers are functions whose return addresses stand on the vCPU's kernel
	// stack, innermost first; some may be left over from earlier calls.
	Callers []string `json:"callers,omitempty"`

	// Queue is the vCPU's run queue in the guest; nil if it could not be read.
	Queue *RunQueue `json:"queue,omitempty"`
}

// RunQueue is what the guest's scheduler keeps for one CPU, read from memory
// while the guest runs: the fields need not be of one instant.
type RunQueue struct {
	Switches    uint64 `json:"switches"` // rq.nr_switches
	Running     uint32 `json:"running"`  // rq.nr_running: runnable tasks, the running one included
	ClockNS     uint64 `json:"clock_ns"` // rq.clock
	PID         int32  `json:"pid"`      // of rq.curr; 0 is the idle task
	Comm        string `json:"comm,omitempty"`
	NeedResched bool   `json:"need_resched,omitempty"` // rq.curr has been asked to schedule and has not yet
	Preempt     uint32 `json:"preempt,omitempty"`      // its preempt count; not 0: it may not be preempted
	// TimerNS is when the CPU's next timer is due, on the guest's CLOCK_MONOTONIC
	// (hrtimer_cpu_base.expires_next); 0 if none is, if it could not be read, or if
	// hres_active is not set: without high resolution the kernel leaves it stale.
	TimerNS int64 `json:"timer_ns,omitempty"`
	// Interrupts counts the interrupts that this CPU has handled since boot: the sum
	// of the counters of its irq_stat that stand for maskable interrupts. A CPU that
	// is not idle takes a tick every few milliseconds unless its interrupts are off,
	// so this tells a hard hang from a task that is often seen in the short stretches
	// of entry code with interrupts off. 0 if it could not be read.
	Interrupts uint64 `json:"interrupts,omitempty"`
}

// Kernel is one look at the guest's kernel as a whole.
type Kernel struct {
	// MonotonicNS is the guest's CLOCK_MONOTONIC when it last updated its
	// timekeeping: it lags behind by a tick, or by a nap of an idle guest.
	MonotonicNS int64 `json:"monotonic_ns,omitempty"`
	// Phase is how far the kernel has come (system_state): "booting" until it starts
	// the first process, "running" from then on; empty if it could not be read.
	Phase string `json:"phase,omitempty"`
	// Panicking is the CPU that panics (panic_cpu), -1 for none.
	Panicking int `json:"panicking"`

	Threads uint64 `json:"threads"` // nr_threads
	Forks   uint64 `json:"forks"`   // total_forks, since boot
	Walked  int    `json:"walked"`  // threads met on the walk of the task list
	// Largest group of threads of one name, and its size.
	LargestComm  string `json:"largest_comm,omitempty"`
	LargestCount int    `json:"largest_count,omitempty"`
	// Waiting are threads in uninterruptible sleep, the longest known first is not
	// promised; at most MaxWaiting of WaitingTotal.
	Waiting      []Waiting `json:"waiting,omitempty"`
	WaitingTotal int       `json:"waiting_total,omitempty"`

	Memory Memory `json:"memory,omitzero"`
	// IOSectors counts the sectors of 512 bytes that reads and writes were to move when
	// they were handed to block devices, since boot (PGPGIN and PGPGOUT); what carries
	// no data, as a flush, and what bypasses the block layer is not in it. It is read
	// before the task list is. 0 if it could not be read.
	IOSectors uint64 `json:"io_sectors,omitempty"`
	// Unreadable says what could not be read and why: a detector must not take
	// it for absent.
	Unreadable []string `json:"unreadable,omitempty"`
}

// Phases of a kernel's life.
const (
	PhaseBooting = "booting"
	PhaseRunning = "running"
)

// MaxWaiting bounds Kernel.Waiting.
const MaxWaiting = 32

// Waiting is a thread in uninterruptible sleep (state D). Threads that sleep so
// without counting as load (TASK_NOLOAD: idle kernel threads) are left out.
type Waiting struct {
	PID      int32  `json:"pid"`
	Comm     string `json:"comm"`
	Switches uint64 `json:"switches"` // nvcsw + nivcsw: equal means that it has not run
	IOWait   bool   `json:"io_wait,omitempty"`
	// Stack are functions found on its kernel stack, innermost first, the
	// scheduler's own left out.
	Stack []string `json:"stack,omitempty"`
	// Lock is the sleeping lock it waits for, by name where it has one, and Owner
	// the thread that holds it: "kworker/0:1 (17)".
	Lock  string `json:"lock,omitempty"`
	Owner string `json:"owner,omitempty"`
	// OwnerRunnable says that the owner can run, or does: it need not be stuck.
	OwnerRunnable bool `json:"owner_runnable,omitempty"`
}

// Memory is the guest's memory management in pages and events since boot.
type Memory struct {
	TotalPages uint64 `json:"total_pages"`
	FreePages  uint64 `json:"free_pages"`
	Scanned    uint64 `json:"scanned"`  // pages scanned for reclaim, direct and kswapd
	Stolen     uint64 `json:"stolen"`   // pages reclaimed
	Refaults   uint64 `json:"refaults"` // reclaimed pages that were needed again, file and anonymous
	MajorFault uint64 `json:"major_faults"`
	Stalls     uint64 `json:"stalls"` // allocations that had to reclaim themselves
	OOMKills   uint64 `json:"oom_kills"`
}
