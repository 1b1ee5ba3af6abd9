package agent

import (
	"errors"

	"hangbench/bench/dom0/recovery"
	"hangbench/bench/plan"
	"hangbench/bench/price"
	"hangbench/bench/reach"
	"hangbench/scenarios/suites"
)

const (
	// Port is the serial port on which jobs arrive.
	Port = "/dev/ttyS1"
	// GuestName is the name of the guest that Job.Guest makes.
	GuestName = "guest"
)

// Job is a request to the agent. Exactly one of its fields is set, but Record may
// be set beside Trial.
type Job struct {
	// Guest makes a guest and keeps it. The answer is Ready, once the guest's
	// heartbeat runs.
	Guest *suites.Guest `json:"guest,omitempty"`
	// Trial runs one trial on the guest that was made. The answer is a results.Trial.
	Trial *plan.Trial `json:"trial,omitempty"`
	// Record asks for the observations of the trial's monitor too. They follow the
	// record in a message of their own (wire.KindStream): a dom0.Recording.
	Record bool `json:"record,omitempty"`
	// Measure measures monitors on the guest that was made. See MeasureJob for the
	// answer.
	Measure *MeasureJob `json:"measure,omitempty"`
	// Inspect reads the kernel of the guest that was made. The answer is a dom0.Inspection.
	Inspect bool `json:"inspect,omitempty"`
	// Exec runs a program in dom0, as long as it takes. What it writes comes as it is
	// written (wire.KindStdout, wire.KindStderr). The answer is an Exit.
	Exec []string `json:"exec,omitempty"`
	// Stop ends the program of Exec that runs: with SIGTERM, and with SIGKILL if it does not
	// end. It has no answer of its own.
	Stop bool `json:"stop,omitempty"`
}

// MeasureJob is a measurement on the guest. Exactly one of its fields is set.
type MeasureJob struct {
	Event  *price.EventJob  `json:"event,omitempty"`  // the answer is an event.Report
	Misses *price.MissesJob `json:"misses,omitempty"` // the answer is a misses.Report
	Sites  *reach.Job       `json:"sites,omitempty"`  // the answer is a reach.Report
	Kill   *KillJob         `json:"kill,omitempty"`   // the answer is a []recovery.Killed
}

// KillJob kills monitors that watch the guest through a driver.
type KillJob struct {
	recovery.KillJob
	Driver string `json:"driver"` // one of dom0.Drivers
}

// count returns how many of the values are true.
func count(set ...bool) int {
	n := 0
	for _, s := range set {
		if s {
			n++
		}
	}
	return n
}

// errJob means that a job has no task, or more than one.
var errJob = errors.New("a job has exactly one task, and only a trial is recorded")

func (j *Job) check() error {
	if count(j.Guest != nil, j.Trial != nil, j.Measure != nil, j.Inspect, len(j.Exec) > 0, j.Stop) != 1 {
		return errJob
	}
	if j.Record && j.Trial == nil {
		return errJob
	}
	if m := j.Measure; m != nil && count(m.Event != nil, m.Misses != nil, m.Sites != nil, m.Kill != nil) != 1 {
		return errJob
	}
	return nil
}

// Exit is the end of the program of Job.Exec.
type Exit struct {
	// Status is the exit status; 128 and the signal's number if a signal ended the
	// program, as a shell has it.
	Status int `json:"status"`
}

// Mark is the line that the agent writes behind each Ready. It is no message: the
// harness saves the machine when it sees it.
const Mark = "@hb-ready"

// Ready is the message of an agent that waits for a job.
type Ready struct {
	Xen    string `json:"xen"`             // version of the hypervisor
	Kernel string `json:"kernel"`          // release of dom0's kernel
	Guest  string `json:"guest,omitempty"` // release of the guest's kernel, once there is a guest
	// UpNS is dom0's monotonic clock in nanoseconds.
	UpNS int64 `json:"up_ns"`
}

// Progress names the stage of a job that the agent is in.
type Progress struct {
	Stage string `json:"stage"`
	UpNS  int64  `json:"up_ns"`
}

// Failure is the reason why a job could not be done.
type Failure struct {
	Error string `json:"error"`
	// Console is the end of the guests' consoles, when there is a guest.
	Console string `json:"console,omitempty"`
	// NoProgram means that dom0 has no program that Job.Exec could run: a mistake of
	// the user.
	NoProgram bool `json:"no_program,omitempty"`
}
