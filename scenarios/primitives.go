package scenarios

import (
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
	// Do is the key in a suite. Several entries may have it: the first argument, which is
	// required, then tells them apart.
	Do    string
	Args  []Arg
	Does  string // what is done to the guest
	Undo  string // how it is removed
	Needs string // what the kernel must have; the trial is invalid otherwise

	// check says what is wrong with arguments each of which is right by itself: the name
	// of one, and a clause. It is nil if nothing can be.
	check func(args) (name, says string)
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

func function(meaning, example string) Arg {
	return Arg{Name: "function", Meaning: meaning, Example: example}
}

const (
	hookable = "the function, which begins with a hook of the function tracer or may be called by pointer"
	asWaiter = "the holder is taken out of the lock, and the guest starts the processes of its work once more: " +
		"one that takes and releases the lock wakes the waiters"
)

// Primitives returns every primitive, in the order in which they are listed.
func Primitives() []Primitive {
	return []Primitive{
		{
			Do:    "hold",
			Args:  []Arg{{Name: "spinlock", Meaning: "variable that is or begins with a spinlock", Example: "inode_hash_lock"}},
			Does:  "the lock looks taken by nobody, from a moment at which it is free: who asks for it spins",
			Undo:  "the lock is released; a waiter that has halted is taken from the table of halted ones and woken",
			Needs: "the variable, and the type qspinlock",
			make:  func(a args, _ beat.Workload) inject.Fault { return inject.HoldSpinLock(a["spinlock"]) },
		},
		{
			Do:    "hold",
			Args:  []Arg{{Name: "rwlock", Meaning: "variable that is a spinning reader-writer lock", Example: "tasklist_lock"}},
			Does:  "the lock looks taken for writing by nobody: who asks for it spins",
			Undo:  "the writer's byte is cleared, as its unlock does",
			Needs: "the variable, and the types rwlock_t and qrwlock",
			make:  func(a args, _ beat.Workload) inject.Fault { return inject.HoldRWLock(a["rwlock"]) },
		},
		{
			Do:    "hold",
			Args:  []Arg{{Name: "mutex", Meaning: "variable that is a mutex", Example: "cgroup_mutex"}},
			Does:  "the mutex looks owned by kthreadd, from a moment at which it is free: who asks for it sleeps",
			Undo:  asWaiter,
			Needs: "the variables and kthreadd_task, and the field mutex.owner",
			make:  func(a args, _ beat.Workload) inject.Fault { return inject.HoldMutex(a["mutex"], beat.Again) },
		},
		{
			Do:   "hold",
			Args: []Arg{{Name: "rwsem", Meaning: "variable that is a reader-writer semaphore", Example: "namespace_sem"}},
			Does: "the semaphore looks taken for writing by kthreadd, from a moment at which it is free: who asks for it " +
				"sleeps",
			Undo: asWaiter,
			Needs: "the variables and kthreadd_task, and the fields rw_semaphore.count and .owner, which real-time kernels " +
				"lack",
			make: func(a args, _ beat.Workload) inject.Fault { return inject.HoldRWSem(a["rwsem"], beat.Again) },
		},
		{
			Do: "loop",
			Args: []Arg{
				function("function that never gets past its first instruction", "kernel_wait4"),
				{Name: "interrupts", Meaning: "whether the loop leaves interrupts on", Default: "on", Example: "off",
					Words: []string{"on", "off"}},
				{Name: "preemption", Meaning: "whether the scheduler may take a task from the loop, in a kernel with preemption",
					Default: "off", Example: "on", Words: []string{"on", "off"}},
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
				switch {
				case a["interrupts"] == "off":
					return inject.MaskedLoopIn(a["function"])
				case a["preemption"] == "on":
					return inject.LoopIn(a["function"], inject.NoVCPU)
				case w.Last:
					return inject.LoopIn(a["function"], inject.OneVCPU)
				}
				return inject.LoopIn(a["function"], inject.AllVCPUs)
			},
		},
		{
			Do: "skip",
			Args: []Arg{
				function("function that returns at once", "rcu_gp_kthread_wake"),
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
				function("function each of whose calls takes longer", "vfs_open"),
				{Name: "ms", Meaning: "how much longer, in milliseconds", Example: "1500", Min: 1, Max: 600_000},
				{Name: "wait", Meaning: "spin: the vCPU computes; sleep: the task sleeps, which the function must be allowed to do",
					Default: "spin", Example: "sleep", Words: []string{"spin", "sleep"}},
			},
			Does: "each call waits first, in code that is written over a function which runs only to start another kernel " +
				"(machine_kexec): that name is then on the stack of who waits",
			Undo:  "the call is put back; who waits goes on when the time is over",
			Needs: "the function, with the place of the function tracer's call, and a frequency of the time-stamp counter",
			make: func(a args, _ beat.Workload) inject.Fault {
				return inject.Delay(a["function"], time.Duration(a.number("ms"))*time.Millisecond, inject.Wait(a["wait"]))
			},
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
