package monitor

// Observation is what one sample of the guest showed. It is all that a detector
// ever sees.
type Observation struct {
	TimeNS int64             `json:"time_ns"` // dom0's monotonic clock
	VCPUs  []VCPUObservation `json:"vcpus"`
}

// VCPUObservation is one vCPU in an Observation.
type VCPUObservation struct {
	Online    bool   `json:"online"`
	Blocked   bool   `json:"blocked"`     // halted or polling at the moment of the sample
	CPUTimeNS uint64 `json:"cpu_time_ns"` // time run since the guest was made
	Switches  uint64 `json:"switches"`    // passes of the switch function seen since attach

	// Registers are read only when the vCPU is not blocked and has not switched
	// since the last sample: reading them stops it for a moment.
	Sampled      bool   `json:"sampled,omitempty"`
	RIP          uint64 `json:"rip,omitempty"`
	Symbol       string `json:"symbol,omitempty"` // kernel function that holds RIP, empty outside the kernel
	Offset       uint64 `json:"offset,omitempty"` // of RIP in Symbol
	InterruptsOn bool   `json:"interrupts_on,omitempty"`
	Lock         string `json:"lock,omitempty"` // "rdi = tasklist_lock": a register that points at a named lock
}
