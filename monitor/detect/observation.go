package detect

// Observation is one sample of the guest. A detector sees nothing else. A recorded
// stream holds one in JSON on each line.
type Observation struct {
	TimeNS int64  `json:"time_ns"` // dom0's monotonic clock
	Domain Domain `json:"domain,omitzero"`
	VCPUs  []VCPU `json:"vcpus"`
	// Kernel is an inspection of the guest's task list and counters. It costs more than the
	// rest together, so most observations have none: nil.
	Kernel *Kernel `json:"kernel,omitempty"`
	// EPT is set in a stream that was recorded with a trace of the hypervisor. No rule
	// reads it.
	EPT *EPT `json:"ept,omitempty"`
}

// EPT counts the guest's EPT violations by their cause, from the start of the trace
// to the observation.
type EPT struct {
	Permission uint64 `json:"permission"` // access denied by the monitor
	Lazy       uint64 `json:"lazy"`       // an altp2m view lacked an entry that the host p2m has
	Other      uint64 `json:"other"`      // devices, large pages, anything else
}

// Domain is the state of the whole guest by the hypervisor.
type Domain struct {
	Paused   bool   `json:"paused,omitempty"`   // by the toolstack
	Shutdown string `json:"shutdown,omitempty"` // poweroff, reboot, suspend, crash, watchdog; "" while it runs
}

// VCPU is one vCPU in an Observation.
type VCPU struct {
	Online    bool   `json:"online"`
	Blocked   bool   `json:"blocked,omitempty"` // halted or polling when sampled
	Running   bool   `json:"running,omitempty"` // on a physical CPU when sampled
	CPUTimeNS uint64 `json:"cpu_time_ns"`       // time run since the guest was created
	// Signals counts the mechanism's signs of life since attach: calls of the switch
	// function, changes of CR3, or task switches by the run queue's own count. Only its
	// growth has a meaning, not the size of it: a mechanism misses some.
	Signals uint64 `json:"signals"`

	// Registers are read if the vCPU is not blocked and gave no signal since the last
	// sample. Reading them stops the vCPU for a moment. They are also read if the vCPU
	// is blocked while its run queue's current task is not the idle task, and if
	// Detector.Doubts reports it: it may poll for a paravirtualised lock, which only
	// its stack shows.
	Sampled      bool   `json:"sampled,omitempty"`
	UserMode     bool   `json:"user_mode,omitempty"`
	RIP          uint64 `json:"rip,omitempty"`
	Symbol       string `json:"symbol,omitempty"` // kernel function that holds RIP; empty outside the kernel
	Offset       uint64 `json:"offset,omitempty"` // of RIP in Symbol
	InterruptsOn bool   `json:"interrupts_on,omitempty"`
	Lock         string `json:"lock,omitempty"` // "rdi = tasklist_lock": a register that points at a named variable
	// Callers are the functions whose return addresses are on the vCPU's kernel stack,
	// innermost first. Some may be left over from earlier calls.
	Callers []string `json:"callers,omitempty"`

	// Queue is the vCPU's run queue in the guest; nil if it could not be read.
	Queue *RunQueue `json:"queue,omitempty"`
}

// RunQueue is the state of the guest's scheduler for one CPU. It is read from memory
// while the guest runs, so its fields need not be of one instant.
type RunQueue struct {
	Switches    uint64 `json:"switches"` // rq.nr_switches
	Running     uint32 `json:"running"`  // rq.nr_running: runnable tasks, with the running one
	ClockNS     uint64 `json:"clock_ns"` // rq.clock
	PID         int32  `json:"pid"`      // of rq.curr; 0 is the idle task
	Comm        string `json:"comm,omitempty"`
	NeedResched bool   `json:"need_resched,omitempty"` // rq.curr has been asked to schedule and has not done so
	// Schedule is how rq.curr is scheduled.
	Schedule
	Preempt uint32 `json:"preempt,omitempty"` // its preempt count; 0 if it may be preempted
	// TimerNS is the time of the CPU's next timer, on the guest's CLOCK_MONOTONIC
	// (hrtimer_cpu_base.expires_next). It is 0 if there is none, if it could not be
	// read, or if hres_active is not set: without high resolution it is stale.
	TimerNS int64 `json:"timer_ns,omitempty"`
	// Interrupts counts the interrupts that this CPU has handled since boot: the sum of
	// the counters of its irq_stat for maskable interrupts, and of the interrupts that
	// have a number (kstat.irqs_sum); 0 if none could be read. Some count twice. A CPU
	// that is not idle takes a tick every few milliseconds unless its interrupts are off.
	// So the count tells a hard hang from a task that is often sampled in entry code,
	// which has interrupts off for a short time. A CPU that handles one interrupt after
	// the other may do so without ever turning interrupts on: only kstat.irqs_sum grows.
	Interrupts uint64 `json:"interrupts,omitempty"`
}

// Schedule is how the guest's kernel schedules a thread.
type Schedule struct {
	// Policy is the name of its scheduling policy, as in SCHED_FIFO; PolicyStop for the
	// thread of a CPU that goes before all others; empty if it was not read.
	Policy string `json:"policy,omitempty"`
	// Priority is the kernel's own order of threads (task_struct.prio): the smaller goes
	// first. Below 0 is SCHED_DEADLINE, 0 to 99 real time, 100 to 139 nice -20 to 19. A
	// thread that holds a lock may have borrowed it from one that waits for the lock. It
	// has no meaning without Policy.
	Priority int32 `json:"priority,omitempty"`
}

// Values of Schedule.Policy.
const (
	PolicyNormal   = "SCHED_NORMAL"
	PolicyFIFO     = "SCHED_FIFO"
	PolicyRR       = "SCHED_RR"
	PolicyBatch    = "SCHED_BATCH"
	PolicyIdle     = "SCHED_IDLE"
	PolicyDeadline = "SCHED_DEADLINE"
	PolicyExt      = "SCHED_EXT"
	PolicyStop     = "stop"
)

// Kernel is one inspection of the guest's kernel as a whole.
type Kernel struct {
	// MonotonicNS is the guest's CLOCK_MONOTONIC when it last updated its timekeeping.
	// It is old by up to a tick, or by the sleep of an idle guest.
	MonotonicNS int64 `json:"monotonic_ns,omitempty"`
	// Phase is the kernel's system_state: PhaseBooting until it starts the first
	// process, then PhaseRunning; empty if it could not be read.
	Phase string `json:"phase,omitempty"`
	// Panicking is the CPU that panics (panic_cpu); -1 for none.
	Panicking int `json:"panicking"`

	Threads uint64 `json:"threads"` // nr_threads
	Forks   uint64 `json:"forks"`   // total_forks, since boot
	Walked  int    `json:"walked"`  // threads that the walk of the task list has met
	// The largest group of threads of one name, and its size.
	LargestComm  string `json:"largest_comm,omitempty"`
	LargestCount int    `json:"largest_count,omitempty"`
	// Waiting lists threads in uninterruptible sleep, in no particular order, at most
	// MaxWaiting. WaitingTotal counts all.
	Waiting      []Waiting `json:"waiting,omitempty"`
	WaitingTotal int       `json:"waiting_total,omitempty"`
	// Runnable lists threads that wait for a CPU, at most MaxRunnable: first those that
	// have not run since the inspection before. RunnableTotal counts all, and 0 if the
	// inspection did not look for any.
	Runnable      []Runnable `json:"runnable,omitempty"`
	RunnableTotal int        `json:"runnable_total,omitempty"`

	Memory Memory `json:"memory,omitzero"`
	// IOSectors counts the sectors of 512 bytes of the reads and writes that were handed
	// to block devices since boot (PGPGIN and PGPGOUT); 0 if it could not be read. It
	// lacks requests without data, such as a flush, and I/O that bypasses the block
	// layer. It is read before the task list.
	IOSectors uint64 `json:"io_sectors,omitempty"`
	// Disks lists the disks, at most MaxDisks, if a thread waits for I/O and the disks can be
	// read. An entry behind MaxDisks-1 others stands for all the rest.
	Disks []Disk `json:"disks,omitempty"`
	// Grace is the state of RCU's grace periods, if a thread waits for one; else nil.
	Grace *Grace `json:"grace,omitempty"`
	// Unreadable says what could not be read, and why. That is unknown, not absent.
	Unreadable []string `json:"unreadable,omitempty"`
	// Unjudged lists the classes that cannot be judged in this guest.
	Unjudged []Unjudged `json:"unjudged,omitempty"`
}

// Unjudged is a class that cannot be judged in a guest, because its kernel lacks what the
// rule reads.
type Unjudged struct {
	Class Class  `json:"class"`
	Why   string `json:"why"` // what the kernel lacks
}

// Values of Kernel.Phase.
const (
	PhaseBooting = "booting"
	PhaseRunning = "running"
)

// MaxWaiting is the largest length of Kernel.Waiting.
const MaxWaiting = 32

// Waiting is a thread in uninterruptible sleep (state D). Threads that do not count
// as load (TASK_NOLOAD: idle kernel threads) are left out.
type Waiting struct {
	PID      int32  `json:"pid"`
	Comm     string `json:"comm"`
	Switches uint64 `json:"switches"` // nvcsw + nivcsw; it has not run while this stands still
	IOWait   bool   `json:"io_wait,omitempty"`
	// Killable is true if a signal that kills the thread ends the sleep (TASK_WAKEKILL).
	Killable bool `json:"killable,omitempty"`
	// Stack lists the functions on its kernel stack, innermost first, without those of
	// the scheduler.
	Stack []string `json:"stack,omitempty"`
	// Lock is the name of the sleeping lock that it waits for, if the lock has one.
	// Owner is the thread that holds it: "kworker/0:1 (17)". Of a thread that waits for a
	// server in userland it is the server's first thread.
	Lock  string `json:"lock,omitempty"`
	Owner string `json:"owner,omitempty"`
	// OwnerRunnable is true if the owner is runnable or runs. It may release the lock.
	OwnerRunnable bool `json:"owner_runnable,omitempty"`
	// OwnerState says what the owner does: one of the constants Owner...; empty if that
	// could not be read. OwnerIn is the innermost function on the stack of an owner that
	// sleeps.
	OwnerState string `json:"owner_state,omitempty"`
	OwnerIn    string `json:"owner_in,omitempty"`
	// Frozen is the frozen file system that it waits for: "ext4 on xvda".
	Frozen string `json:"frozen,omitempty"`
	// Disk is the disk that it waits for, if that can be told: one of Kernel.Disks.
	Disk string `json:"disk,omitempty"`
}

// Values of Waiting.OwnerState and Grace.ThreadState.
const (
	OwnerRuns    = "runs"    // it is runnable or runs
	OwnerSleeps  = "sleeps"  // a signal or an event wakes it
	OwnerWaits   = "waits"   // it is in uninterruptible sleep
	OwnerStopped = "stopped" // by a signal or a debugger
	OwnerFrozen  = "frozen"  // by its control group, or by a suspend of the whole guest
	OwnerEnds    = "ends"    // it has ended or is about to
)

// MaxDisks is the largest length of Kernel.Disks.
const MaxDisks = 16

// Disk is a block device of the guest as a whole, with its partitions.
type Disk struct {
	Name string `json:"name"`
	// Completed counts the requests that it has completed since boot: reads, writes,
	// discards and flushes (disk_stats.ios). It stands still if the administrator has turned
	// the statistics off (queue/iostats).
	Completed uint64 `json:"completed"`
}

// Grace is the state of RCU's grace periods (rcu_state).
type Grace struct {
	// Seq changes when a grace period begins and when it ends (gp_seq). Its two lowest bits
	// are 0 while none is under way.
	Seq uint64 `json:"seq"`
	// Expedited is the same of expedited grace periods (expedited_sequence).
	Expedited uint64 `json:"expedited,omitempty"`
	// AgeNS is the time since the last grace period began (gp_start), on the guest's clock of
	// ticks; 0 if it could not be read.
	AgeNS int64 `json:"age_ns,omitempty"`
	// Asked is true if RCU's thread has been asked to begin one (RCU_GP_FLAG_INIT).
	Asked bool `json:"asked,omitempty"`
	// Thread is RCU's thread, "rcu_sched (15)", which begins and ends grace periods. Its
	// switches are those of Waiting.Switches, its state is one of the constants Owner...
	Thread         string `json:"thread,omitempty"`
	ThreadSwitches uint64 `json:"thread_switches,omitempty"`
	ThreadState    string `json:"thread_state,omitempty"`
}

// MaxRunnable is the largest length of Kernel.Runnable.
const MaxRunnable = 32

// Runnable is a thread that waits for a CPU: it is runnable, in a run queue, and not on a
// CPU. Threads that a limit on their use of the CPU stops are left out: those of a
// control group that is throttled, and of SCHED_DEADLINE.
type Runnable struct {
	PID      int32  `json:"pid"`
	Comm     string `json:"comm"`
	Switches uint64 `json:"switches"` // nvcsw + nivcsw; it has not run while this stands still
	CPU      int    `json:"cpu"`      // in whose run queue it is
	Schedule
}

// Memory holds the guest's memory in pages, and counters of events since boot.
type Memory struct {
	TotalPages uint64 `json:"total_pages"`
	FreePages  uint64 `json:"free_pages"`
	Scanned    uint64 `json:"scanned"`  // pages scanned for reclaim, direct and kswapd
	Stolen     uint64 `json:"stolen"`   // pages reclaimed
	Refaults   uint64 `json:"refaults"` // reclaimed pages that were needed again, file and anonymous
	MajorFault uint64 `json:"major_faults"`
	Stalls     uint64 `json:"stalls"` // allocations that had to reclaim memory themselves
	OOMKills   uint64 `json:"oom_kills"`
}
