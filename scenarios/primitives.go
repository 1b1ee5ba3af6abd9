package scenarios

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"hangbench/guests/beat"
	"hangbench/scenarios/inject"
)

// Primitive is one way to break a guest that a suite can declare. A new one is an entry
// here and an injector: the suites' parser, the list of faults and its page follow.
type Primitive struct {
	// Do is the key in a suite. Several entries may have it: the name of the first argument,
	// which is required, then tells them apart, or else the word that is its value.
	Do    string
	Args  []Arg
	Does  string // what is done to the guest
	Undo  string // how it is removed
	Needs string // what the kernel must have; the trial is invalid otherwise
	Final bool   // it cannot be removed
	// Confirmed says how the primitive itself makes sure that it has taken effect. The trial is
	// invalid otherwise. Without it a control's work must show the effect.
	Confirmed string
	// Departs: the guest ends, or has no domain until the primitive is removed. Only a control
	// can have it.
	Departs bool

	// leaves: the injector confirms what was done, and nothing removes it. A guest may go on
	// nevertheless.
	leaves bool
	// check says what is wrong with arguments each of which is right by itself: the name
	// of one, and a clause. It is nil if nothing can be.
	check func(args) (name, says string)
	// vcpus is how many vCPUs the guest must have. It is nil if one is enough.
	vcpus func(args) int
	// atLeast is how long a control must go on. It is nil if any time will do.
	atLeast func(args) time.Duration
	// lasts is how long what is done lasts, if it ends by itself and nothing removes it. It is
	// nil if nothing ends so.
	lasts func(args) time.Duration
	make  func(args, beat.Workload) inject.Fault
}

// Arg is an argument of a Primitive.
type Arg struct {
	Name    string
	Meaning string
	Example string
	Default string // empty: the argument is required
	// Words are the values that the argument may have. If there are none it is a whole
	// number from Min to Max, or a symbol of the kernel if both are 0.
	Words    []string
	Min, Max int64
}

// args are the arguments of a primitive by name, those with a default included.
type args map[string]string

// number returns an argument that is a number.
func (a args) number(name string) int64 {
	n, _ := strconv.ParseInt(a[name], 10, 64) // the argument has been checked
	return n
}

// symbolPattern matches names of kernel variables and functions.
var symbolPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]{0,99}$`)

// symbol is an argument that is a symbol of the kernel.
func symbol(name, meaning, example string) Arg {
	return Arg{Name: name, Meaning: meaning, Example: example}
}

const (
	hookable = "the function, which begins with a hook of the function tracer or may be called by pointer"
	tracer   = "the function, which begins with a hook of the function tracer"
	asWaiter = "the holder is taken out of the lock, and the guest starts the processes of its work once more: " +
		"one that takes and releases the lock wakes the waiters"
	unlocked = "the lock is released; a waiter that has halted is taken from the table of halted ones and woken"
	never    = "it is not: add final: true"
	nothing  = "nothing"
	suspend  = "support for being saved by Xen"
	ended    = "the guest has ended"
	told     = "the toolstack says that it is done"
)

// word is an argument that is one word. It tells primitives with equal arguments apart.
func word(name, meaning, is string) Arg {
	return Arg{Name: name, Meaning: meaning, Example: is, Words: []string{is}}
}

// undone returns the request that undoes another one of PID 1. It returns false for one
// that a suite cannot ask for.
func undone(r beat.Request) (by beat.Request, ok bool) {
	switch r {
	case beat.Bomb, beat.Limited, beat.Thrash, beat.Hoard, beat.Realtime:
		return beat.Kill, true
	case beat.Deadlock:
		return beat.Unlock, true
	case beat.Stop:
		return beat.Continue, true
	case beat.Freeze:
		return beat.Thaw, true
	case beat.LongChildren:
		return beat.ShortChildren, true
	case beat.FreezeDisk:
		return beat.ThawDisk, true
	case beat.StopServer:
		return beat.ContinueServer, true
	}
	return "", false
}

// Primitives returns every primitive, in the order in which they are listed.
func Primitives() []Primitive {
	return slices.Concat(holds(), functions(), outsides())
}

// holds are the primitives that hold a lock.
func holds() []Primitive {
	vcpu := func(name string) Arg {
		return Arg{Name: name, Meaning: "number of the vCPU, from 0", Example: "1", Max: 7}
	}
	return []Primitive{
		{
			Do:    "hold",
			Args:  []Arg{symbol("spinlock", "variable that is a spinlock, or begins with one", "inode_hash_lock"), capArg()},
			Does:  "the lock looks taken by nobody, from a moment at which it is free: who asks for it spins",
			Undo:  unlocked,
			Needs: "the variable, and the type qspinlock",
			make:  func(a args, _ beat.Workload) inject.Fault { return a.slowed(inject.HoldSpinLock(a["spinlock"])) },
		},
		{
			Do:    "hold",
			Args:  []Arg{symbol("percpu", "per-CPU variable that begins with a spinlock", "hrtimer_bases"), vcpu("cpu")},
			Does:  "the same with the lock of one vCPU",
			Undo:  unlocked,
			Needs: "the variable, and the type qspinlock",
			vcpus: func(a args) int { return int(a.number("cpu")) + 1 },
			make: func(a args, _ beat.Workload) inject.Fault {
				return inject.HoldPerCPU(a["percpu"], int(a.number("cpu")))
			},
		},
		{
			Do:    "hold",
			Args:  []Arg{vcpu("runqueue")},
			Does:  "the same with the lock of a vCPU's run queue, which every task switch and every tick takes",
			Undo:  unlocked,
			Needs: "the field rq.__lock or rq.lock, and the type qspinlock",
			vcpus: func(a args) int { return int(a.number("runqueue")) + 1 },
			make:  func(a args, _ beat.Workload) inject.Fault { return inject.HoldRunQueue(int(a.number("runqueue"))) },
		},
		{
			Do:    "hold",
			Args:  []Arg{symbol("rwlock", "variable that is a spinning reader-writer lock", "tasklist_lock"), capArg()},
			Does:  "the lock looks taken for writing by nobody: who asks for it spins",
			Undo:  "the writer's byte is cleared, as its unlock does",
			Needs: "the variable, and the types rwlock_t and qrwlock",
			make:  func(a args, _ beat.Workload) inject.Fault { return a.slowed(inject.HoldRWLock(a["rwlock"])) },
		},
		{
			Do:    "hold",
			Args:  []Arg{symbol("sequence", "variable that is a sequence count or lock, or begins with one", "rename_lock")},
			Does:  "the count looks as if a writer were at work, from a moment at which none is: readers spin",
			Undo:  "the count becomes even, between two writers",
			Needs: "the variable",
			make:  func(a args, _ beat.Workload) inject.Fault { return inject.HoldSequence(a["sequence"]) },
		},
		{
			Do:    "hold",
			Args:  []Arg{symbol("mutex", "variable that is a mutex", "cgroup_mutex")},
			Does:  "the mutex looks owned by kthreadd, from a moment at which it is free: who asks for it sleeps",
			Undo:  asWaiter,
			Needs: "the variables and kthreadd_task, and the field mutex.owner",
			make:  func(a args, _ beat.Workload) inject.Fault { return inject.HoldMutex(a["mutex"], beat.Again) },
		},
		{
			Do:    "hold",
			Args:  []Arg{symbol("rwsem", "variable that is a sleeping reader-writer semaphore", "namespace_sem")},
			Does:  "the semaphore looks taken for writing by kthreadd, from a moment at which it is free: its users sleep",
			Undo:  asWaiter,
			Needs: "the variables and kthreadd_task; rw_semaphore.count and .owner, which real-time kernels lack",
			make:  func(a args, _ beat.Workload) inject.Fault { return inject.HoldRWSem(a["rwsem"], beat.Again) },
		},
		{
			Do:    "hold",
			Args:  []Arg{symbol("semaphore", "variable that is a counting semaphore", "console_sem")},
			Does:  "all that is left of the semaphore is taken by nobody: who asks for it sleeps",
			Undo:  asWaiter,
			Needs: "the variable, and the field semaphore.count",
			make:  func(a args, _ beat.Workload) inject.Fault { return inject.HoldSemaphore(a["semaphore"], beat.Again) },
		},
	}
}

// functions are the primitives that change a function of the kernel.
func functions() []Primitive {
	return []Primitive{
		{
			Do: "loop",
			Args: []Arg{
				symbol("function", "function that never gets past its first instruction", "kernel_wait4"),
				{Name: "interrupts", Meaning: "whether the loop leaves interrupts on", Default: "on", Example: "off",
					Words: []string{"on", "off"}},
				{Name: "preemption", Meaning: "whether the scheduler may take a task from the loop, in a kernel with preemption",
					Default: "off", Example: "on", Words: []string{"on", "off"}},
				capArg(),
			},
			Does: "the function loops at its first instruction. In a kernel with preemption it counts as in place when all " +
				"vCPUs that the work uses are in the loop, unless preemption stays on",
			Undo:  "the first bytes are put back; a task in the loop goes on as if it had just called the function",
			Needs: hookable,
			check: func(a args) (name, says string) {
				if a["interrupts"] == "off" && a["preemption"] == "on" {
					return "preemption", "preemption is on and interrupts are off, which leaves nothing to preempt by: remove one"
				}
				return "", ""
			},
			make: func(a args, w beat.Workload) inject.Fault {
				if a["interrupts"] == "off" {
					return a.slowed(inject.MaskedLoopIn(a["function"]))
				}
				return a.slowed(inject.LoopIn(a["function"], shareOf(a, w)))
			},
		},
		{
			Do: "skip",
			Args: []Arg{
				symbol("function", "function that returns at once", "rcu_gp_kthread_wake"),
				{Name: "returns", Meaning: "value that it returns; of no matter for a function without one", Default: "0",
					Example: "-12", Min: -128, Max: 127},
			},
			Does:  "the function returns the value and does nothing",
			Undo:  "the function is put back; what it has not done meanwhile it does not make up for",
			Needs: hookable,
			make: func(a args, _ beat.Workload) inject.Fault {
				return inject.Skip(a["function"], int8(a.number("returns")))
			},
		},
		{
			Do: "delay",
			Args: []Arg{
				symbol("function", "function each of whose calls takes longer", "vfs_open"),
				{Name: "ms", Meaning: "how much longer, in milliseconds", Example: "1500", Min: 1, Max: 600_000},
				{Name: "wait", Meaning: "spin: the vCPU computes; sleep: the task sleeps, which the function must be allowed to do",
					Default: "spin", Example: "sleep", Words: []string{"spin", "sleep"}},
			},
			Does: "each call waits first, in code that is written over a function which runs only to start another kernel " +
				"(machine_kexec): that name is then on the stack of who waits",
			Undo:  "the call is put back; who waits goes on when the time is over",
			Needs: tracer + ", and a frequency of the time-stamp counter",
			make: func(a args, _ beat.Workload) inject.Fault {
				return inject.Delay(a["function"], time.Duration(a.number("ms"))*time.Millisecond, inject.Wait(a["wait"]))
			},
		},
		{
			Do: "forget",
			Args: []Arg{
				symbol("call", "function that is not called, as one that wakes a task", "wake_up_new_task"),
				symbol("function", "function that forgets to call it", "kernel_clone"),
			},
			Does:  "one function leaves out its calls of another",
			Undo:  "the calls are put back; what was left out meanwhile nobody makes up for",
			Needs: "1 to 8 calls, in the first 4096 bytes of the function",
			make: func(a args, _ beat.Workload) inject.Fault {
				return inject.SkipCalls(a["function"], a["call"])
			},
		},
		{
			Do: "forget",
			Args: []Arg{
				symbol("unlock", "variable that is a spinlock", "cdev_lock"),
				symbol("function", "function that takes and releases the lock", "chrdev_open"),
				{Name: "by", Meaning: "function that it calls to release the lock", Default: "_raw_spin_unlock",
					Example: "_raw_spin_unlock_irqrestore"},
			},
			Does:  "the function forgets once to release the lock: who asks for it after that spins",
			Undo:  unlocked,
			Needs: "the lock and the type qspinlock; 1 to 8 calls that release it, in the first 4096 bytes of the function",
			make: func(a args, _ beat.Workload) inject.Fault {
				return inject.ForgetUnlock(inject.Release{Lock: a["unlock"], Function: a["function"], Unlock: a["by"]})
			},
		},
		{
			Do:   "forget",
			Args: []Arg{symbol("interrupts", "function that leaves interrupts off", "chacha_block_generic")},
			Does: "the function turns interrupts off and leaves them off, as after a lost local_irq_restore: they stay off " +
				"until the kernel returns to a program or switches tasks",
			Undo:  "the function turns interrupts on, until every vCPU has them on; then its first bytes are put back",
			Needs: hookable,
			make:  func(a args, _ beat.Workload) inject.Fault { return inject.LoseInterrupts(a["interrupts"]) },
		},
		{
			Do: "timer", Final: true,
			Args:  []Arg{symbol("lost", "function that sets a vCPU's timer", "xen_vcpuop_set_next_event")},
			Does:  "the function returns success and sets nothing: a vCPU that halts is not woken by its timer",
			Undo:  never,
			Needs: hookable,
			make:  func(a args, _ beat.Workload) inject.Fault { return inject.LoseTimer(a["lost"]) },
		},
		{
			Do:   "timer",
			Args: []Arg{symbol("storm", "function that sets a vCPU's timer", "xen_vcpuop_set_next_event")},
			Does: "the function sets the timer for at once, whatever time it is given: interrupts come without a pause",
			Undo: "the first instruction is put back; the timer is set as before from the next time on",
			Needs: "the function, whose first argument is the time from now, and which begins with a hook of the function " +
				"tracer or may be called by pointer",
			make: func(a args, _ beat.Workload) inject.Fault { return inject.StormTimer(a["storm"]) },
		},
		{
			Do: "crash", Final: true,
			Args:  []Arg{symbol("function", "function that executes an undefined instruction", "kernel_wait4")},
			Does:  "the function executes an undefined instruction, at which the kernel panics",
			Undo:  never,
			Needs: hookable + "; the variable panic_on_oops",
			make:  func(a args, _ beat.Workload) inject.Fault { return inject.CrashIn(a["function"]) },
		},
		{
			Do: "oops", leaves: true,
			Args: []Arg{
				symbol("function", "function in which a task is killed; PID 1 and interrupts must not call it", "chrdev_open"),
				{Name: "restart", Meaning: "whether PID 1 starts the processes of the work once more", Default: "off",
					Example: "on", Words: []string{"on", "off"}},
			},
			Does: "the next task that calls the function is killed there, with whatever locks it holds, and the kernel goes " +
				"on (panic_on_oops is 0). It counts as in place when the kernel has counted the oops",
			Undo:  "it is not: add final: true, unless class is none",
			Needs: hookable + "; the variables panic_on_oops and die_counter",
			make: func(a args, _ beat.Workload) inject.Fault {
				return inject.OopsIn(a["function"], a["restart"] == "on")
			},
		},
	}
}

// shareOf is how many vCPUs a loop takes in a kernel with preemption.
func shareOf(a args, w beat.Workload) inject.Share {
	switch {
	case a["preemption"] == "on":
		return inject.NoVCPU
	case w.Last:
		return inject.OneVCPU
	}
	return inject.AllVCPUs
}

// outsides are the primitives that need nothing of the kernel.
func outsides() []Primitive {
	return []Primitive{
		{
			Do:    "disk",
			Args:  []Arg{word("completes", "what it still completes", "none")},
			Does:  "the disk takes requests and completes none",
			Undo:  "it completes them",
			Needs: nothing,
			make:  func(args, beat.Workload) inject.Fault { return inject.StallDisk() },
		},
		{
			Do: "disk",
			Args: []Arg{{Name: "ms", Meaning: "how much longer each request takes, in milliseconds", Example: "1000", Min: 1,
				Max: 600_000}},
			Does:    "each request of the disk takes longer",
			Undo:    "requests take as long as before",
			Needs:   nothing,
			atLeast: func(a args) time.Duration { return 5 * time.Duration(a.number("ms")) * time.Millisecond },
			make: func(a args, _ beat.Workload) inject.Fault {
				return inject.SlowDisk(time.Duration(a.number("ms")) * time.Millisecond)
			},
		},
		{
			Do:    "disk",
			Args:  []Arg{word("completes", "what it still completes", "errors")},
			Does:  "the disk completes each request at once, with an error",
			Undo:  "it reads and writes as before",
			Needs: nothing,
			make:  func(args, beat.Workload) inject.Fault { return inject.FailDisk() },
		},
		{
			Do: "ask",
			Args: []Arg{{Name: "request", Example: "bomb",
				Words: []string{"bomb", "limited", "thrash", "hoard", "realtime", "stop", "freeze", "deadlock", "hush",
					"longkids", "fsfreeze", "stopserv"},
				Meaning: "bomb: a fork bomb of at most 256 processes; limited: one in a control group that permits 16; thrash: a " +
					"process that locks memory until the others' no longer fits; hoard: one that keeps files in memory until then; " +
					"realtime: a task of SCHED_FIFO on every vCPU that computes, with nothing left to others; " +
					"stop: the processes of the work are stopped; freeze: they are put into a control group that is frozen; " +
					"deadlock: the two processes of the work futexes take their locks in opposite order, and the kernel is healthy; " +
					fmt.Sprintf("hush: for %d s nothing of the userland runs, not even the heartbeat, and no timer is set",
						int(beat.HushTime.Seconds())) + "; longkids: the children of the work vfork live on; fsfreeze: the file " +
					"system of the work writes is frozen; stopserv: the server of the work fuse is stopped"}},
			Does: "the guest's PID 1 does what it is asked to",
			Undo: "it ends what it has started, continues what it has stopped or frozen, or releases the locks; hush ends by " +
				"itself",
			Needs: "for limited and freeze, control groups of version 2 (CONFIG_CGROUPS)",
			atLeast: func(a args) time.Duration {
				if beat.Request(a["request"]) != beat.LongChildren {
					return 0
				}
				return 40 * time.Second // longer than the monitor gives a wait of an unknown reason
			},
			lasts: func(a args) time.Duration {
				if beat.Request(a["request"]) != beat.Hush {
					return 0
				}
				return beat.HushTime
			},
			make: func(a args, _ beat.Workload) inject.Fault {
				do := beat.Request(a["request"])
				undo, ok := undone(do)
				if !ok { // it ends by itself
					undo = ""
				}
				return inject.Asked("PID 1 asked for "+a["request"], do, undo)
			},
		},
		{
			Do:        "ask",
			Args:      []Arg{word("request", "what PID 1 is asked for", "offline")},
			Does:      "the guest's PID 1 takes the last vCPU offline",
			Undo:      "it brings it online",
			Needs:     "support for vCPUs that come and go",
			Confirmed: "Xen counts one vCPU less",
			vcpus:     func(args) int { return 2 },
			make:      func(args, beat.Workload) inject.Fault { return inject.Offline() },
		},
		{
			Do: "toolstack",
			Args: []Arg{{Name: "cap", Meaning: "percent of one physical CPU that all vCPUs together may use", Example: "5",
				Min: 1, Max: 99}},
			Does:  "the hypervisor gives the guest little time (xl sched-credit2)",
			Undo:  "the limit is removed",
			Needs: nothing,
			make:  func(a args, _ beat.Workload) inject.Fault { return inject.Capped(int(a.number("cap"))) },
		},
		{
			Do:    "toolstack",
			Args:  []Arg{word("command", "what is done from outside", "pause")},
			Does:  "the guest is paused from outside",
			Undo:  "it is unpaused",
			Needs: nothing,
			make:  func(args, beat.Workload) inject.Fault { return inject.Paused() },
		},
		{
			Do:        "toolstack",
			Args:      []Arg{{Name: "vcpus", Meaning: "how many vCPUs the guest keeps", Example: "1", Min: 1, Max: 7}},
			Does:      "vCPUs are taken from the guest (xl vcpu-set)",
			Undo:      "they are given back",
			Needs:     "support for vCPUs that come and go",
			Confirmed: "Xen counts so many vCPUs",
			vcpus:     func(a args) int { return int(a.number("vcpus")) + 1 },
			make:      func(a args, _ beat.Workload) inject.Fault { return inject.Unplugged(int(a.number("vcpus"))) },
		},
		{
			Do: "toolstack",
			Args: []Arg{{Name: "memory_mib", Meaning: "how much memory the guest keeps, in MiB", Example: "128", Min: 32,
				Max: 4095}},
			Does:      "the guest gives memory back (xl mem-set)",
			Undo:      "it takes it again",
			Needs:     "Xen's balloon driver",
			Confirmed: "Xen counts no more than 2 MiB above that",
			make:      func(a args, _ beat.Workload) inject.Fault { return inject.Ballooned(int(a.number("memory_mib"))) },
		},
		{
			Do:        "toolstack",
			Args:      []Arg{word("command", "what is done from outside", "checkpoint")},
			Does:      "the guest is saved and goes on in its domain (xl save -c)",
			Undo:      "there is nothing to undo",
			Needs:     suspend,
			Confirmed: "the toolstack says that the guest is saved",
			make:      func(args, beat.Workload) inject.Fault { return inject.Checkpointed() },
		},
		{
			Do: "toolstack", Departs: true,
			Args: []Arg{
				word("command", "what is done from outside", "save"),
				{Name: "later_s", Meaning: "by how much the guest's wall clock is later when it comes back, in seconds",
					Default: "0", Example: "3600", Max: 86_400},
			},
			Does: "the guest is saved and its domain destroyed (xl save). Its monitor must notice that, and end without a " +
				"verdict",
			Undo: "the guest is restored in another domain (xl restore). It must go on there, at first without a monitor. " +
				"Then the monitor is attached",
			Needs:     suspend,
			Confirmed: "the toolstack says that the guest is saved",
			make: func(a args, _ beat.Workload) inject.Fault {
				return inject.Saved(time.Duration(a.number("later_s")) * time.Second)
			},
		},
		{
			Do: "toolstack", Departs: true,
			Args:      []Arg{word("command", "what is done from outside", "shutdown")},
			Does:      "the guest is asked to power off (xl shutdown). Its domain is kept, and watched",
			Undo:      ended,
			Needs:     nothing,
			Confirmed: "Xen says that the guest has powered off",
			make:      func(args, beat.Workload) inject.Fault { return inject.EndedBy(inject.PowerOff) },
		},
		{
			Do: "toolstack", Departs: true,
			Args:      []Arg{word("command", "what is done from outside", "reboot")},
			Does:      "the guest is asked to reboot (xl reboot). Its domain is kept, and watched",
			Undo:      ended,
			Needs:     nothing,
			Confirmed: "Xen says that the guest has asked for a reboot",
			make:      func(args, beat.Workload) inject.Fault { return inject.EndedBy(inject.Reboot) },
		},
		{
			Do: "dom0",
			Args: []Arg{{Name: "cap", Meaning: "percent of one physical CPU that dom0 may use", Example: "10", Min: 1,
				Max: 99}},
			Does:      "the hypervisor gives dom0, and so the monitor, little time (xl sched-credit2)",
			Undo:      "the limit is removed",
			Needs:     nothing,
			Confirmed: told,
			make:      func(a args, _ beat.Workload) inject.Fault { return inject.CappedControl(int(a.number("cap"))) },
		},
		{
			Do: "dom0",
			Args: []Arg{{Name: "memory_mib", Meaning: "how much memory programs in dom0 can still get, in MiB", Example: "16",
				Min: 8, Max: 65_536}},
			Does:      "memory of dom0 is used until little is left",
			Undo:      "the memory is given back",
			Needs:     nothing,
			Confirmed: "the memory has been written to",
			make:      func(a args, _ beat.Workload) inject.Fault { return inject.FilledControl(int(a.number("memory_mib"))) },
		},
		{
			Do:        "dom0",
			Args:      []Arg{word("builds", "what is built", "guests")},
			Does:      "another guest is built and destroyed, again and again, which takes Xen's lock on domains",
			Undo:      "the last one is destroyed",
			Needs:     nothing,
			Confirmed: "one has been built and destroyed",
			make:      func(args, beat.Workload) inject.Fault { return inject.OthersBuilt() },
		},
	}
}

// Example is the primitive with the arguments that it must have, as a suite says it.
func (p Primitive) Example() string {
	var all []string
	for _, a := range p.Args {
		if a.Default == "" {
			all = append(all, a.Name+": "+a.Example)
		}
	}
	return "{" + strings.Join(all, ", ") + "}"
}

// Doings returns the keys of the primitives, each once.
func Doings() []string {
	var all []string
	for _, p := range Primitives() {
		if !slices.Contains(all, p.Do) {
			all = append(all, p.Do)
		}
	}
	return all
}

// Arguments returns the names of the arguments that the primitives with a key may have,
// each once.
func Arguments(do string) []string {
	var all []string
	for _, p := range Primitives() {
		for _, a := range p.Args {
			if p.Do == do && !slices.Contains(all, a.Name) {
				all = append(all, a.Name)
			}
		}
	}
	return all
}
