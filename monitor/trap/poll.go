package trap

// polling traps nothing. The signal is the run queues' own count of switches, which
// the session reads at every sample anyway.
func polling() Mechanism {
	return Mechanism{
		Name:  "poll",
		Traps: "nothing: reads each run queue's own count of switches from guest memory at every sample",
		Miss:  "nothing that the guest's kernel counts; all that a guest without readable kernel does",
		Needs: "the guest kernel's symbols and types",
		Polls: true,
		New:   func(Host) Trap { return Nothing{} },
	}
}
