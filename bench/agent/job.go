package agent

import (
	"hangbench/bench/plan"
	"hangbench/scenarios/suites"
)

const (
	// Port is the serial port on which jobs come.
	Port = "/dev/ttyS1"
	// GuestName is the name of the guest that Job.Guest makes.
	GuestName = "guest"
)

// Job is what the harness asks for: exactly one of its fields is set, and Record
// only beside Trial.
type Job struct {
	// Guest makes a guest and keeps it. The agent is ready again when it beats.
	Guest *suites.Guest `json:"guest,omitempty"`
	// Trial runs one trial on the guest made before.
	Trial *plan.Trial `json:"trial,omitempty"`
	// Record asks for what the trial's monitor observed, in a message of its own
	// (wire.KindStream) behind the record: a dom0.Recording.
	Record bool `json:"record,omitempty"`
	// Look reads the kernel of the guest made before. The answer is a dom0.Sight.
	Look bool `json:"look,omitempty"`
	// Exec runs a program in dom0.
	Exec []string `json:"exec,omitempty"`
}

// Output is what came of Job.Exec.
type Output struct {
	Text   string `json:"text"`   // standard output and error together, the first MiB
	Status int    `json:"status"` // exit status
}

// Mark is the line the agent writes behind Ready. It is no message; it is where
// the harness has the machine saved.
const Mark = "@hb-ready"

// Ready is what the agent says when it waits for a job.
type Ready struct {
	Xen    string `json:"xen"`             // version of the hypervisor
	Kernel string `json:"kernel"`          // dom0's kernel release
	Guest  string `json:"guest,omitempty"` // release of the guest's kernel, once there is one
	// UpNS is dom0's monotonic clock.
	UpNS int64 `json:"up_ns"`
}

// Progress says what the agent does now.
type Progress struct {
	Stage string `json:"stage"`
	UpNS  int64  `json:"up_ns"`
}

// Failure says why a job could not be done.
type Failure struct {
	Error string `json:"error"`
	// Console is the end of the guest's console, when there is a guest.
	Console string `json:"console,omitempty"`
}
