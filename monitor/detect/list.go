package detect

// Info describes the rule for one class, for people.
type Info struct {
	Class      Class
	Looks      string // what it looks at
	Early      string // on what evidence it fires soon
	Late       string // on what silence it fires late; empty if it never does
	Thresholds []Threshold
}

// List describes the rules by falling severity. Thresholds that all rules share
// are with none of them: see ListThresholds.
func List() []Info {
	list := []Info{
		{Class: ClassPanic, Looks: "panic_cpu, the domain's shutdown reason, functions on the vCPUs' stacks",
			Early: "at once; in the panic code at two samples in a row"},
		{Class: ClassSpin, Looks: "switches, CPU time, registers, callers of a polling vCPU",
			Early: "in one lock slow path at half of the samples, interrupts on, no switch; with them off the class is hard"},
		{Class: ClassHard, Looks: "switches, CPU time, registers, the guest's count of interrupts",
			Early: "in the kernel with interrupts off at every sample, no switch, no interrupt handled"},
		{Class: ClassSoft, Looks: "switches, CPU time, registers, run queue",
			Early: "in the kernel at every sample, no switch, while a task waits or the scheduler has asked",
			Late:  "the same in few functions with the run queue unreadable"},
		{Class: ClassStopped, Looks: "run state, CPU time, run queue, next timer, the guest's clock",
			Early: "halted past its timer, or with tasks to run",
			Late:  "runnable, and the hypervisor gives it no time at all"},
		{Class: ClassForkstorm, Looks: "number of threads, forks, largest group of one name, run queues",
			Early: "threads multiply and go on; or a large group, long run queues and forks that go on",
			Late:  "a group that had multiplied keeps the run queues long for four times as long"},
		{Class: ClassThrash, Looks: "free memory, reclaimed and refaulted pages, stalls, major faults",
			Early: "memory is low, most of what is reclaimed is needed again, and tasks wait for it"},
		{Class: ClassIO, Looks: "threads in uninterruptible sleep, their switches and stacks",
			Early: "waits for I/O, and no wait for I/O ends",
			Late:  "waits so for very long, whatever else goes on"},
		{Class: ClassBlocked, Looks: "threads in uninterruptible sleep, their switches, stacks, locks and owners",
			Early: "waits for a sleeping lock that nobody else gets, and the owner does not wait for I/O",
			Late:  "in uninterruptible sleep for very long, for whatever reason"},
	}
	names := map[Class][]string{
		ClassSpin:      {"spin_ms"},
		ClassHard:      {"hard_ms"},
		ClassSoft:      {"soft_ms", "soft_silence_ms"},
		ClassStopped:   {"stopped_ms", "starved_ms"},
		ClassForkstorm: {"forkstorm_ms", "forkstorm_threads", "forkstorm_running"},
		ClassThrash:    {"thrash_ms", "thrash_free_percent", "thrash_refault_percent", "thrash_refaults"},
		ClassIO:        {"io_ms", "waiting_ms"},
		ClassBlocked:   {"blocked_ms", "waiting_ms"},
	}
	all := ListThresholds()
	for i := range list {
		for _, name := range names[list[i].Class] {
			for _, t := range all {
				if t.Name == name {
					list[i].Thresholds = append(list[i].Thresholds, t)
				}
			}
		}
	}
	return list
}
