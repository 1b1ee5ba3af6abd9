package trial

import (
	"context"
	"time"

	"hangbench/guests/beat"
	"hangbench/monitor/trap"
	"hangbench/scenarios/inject"
	"hangbench/scenarios/outcome"
)

// Env is the surroundings of a trial: the control domain, the guest, whoever watches
// the guest, and whoever wants to know how the trial goes on.
type Env struct {
	Host  Host
	Guest Guest
	// Watcher is the observer whose first report is the trial's verdict and ends the
	// trial. It is attached for the monitored windows only. It is nil in a trial of
	// mechanism none.
	Watcher Observer
	// Beside are observers that watch for the whole trial, in the windows with the
	// Watcher and in those without. Their reports are recorded and do not end the trial.
	Beside []Observer
	Log    Log
}

// Clock is the one clock of a trial: dom0's monotonic clock. In the lab it is virtual.
type Clock interface {
	// Now returns nanoseconds since some fixed instant. It never goes back.
	Now() int64
	// Sleep waits for d, or until ctx ends and returns ctx's error.
	Sleep(ctx context.Context, d time.Duration) error
}

// Host is the control domain.
type Host interface {
	Clock
	// Kind is lab or xen.
	Kind() string
	// CPUTime returns the CPU time that the control domain has used, in nanoseconds.
	CPUTime() (int64, error)
	// Trace starts to count the EPT violations of the guest, which the mechanism
	// watches or will watch.
	Trace(m trap.Mechanism) (Tracer, error)
}

// Tracer counts EPT violations until it is stopped.
type Tracer interface {
	Stop() (Violations, error)
}

// Violations are EPT violations of the guest by cause, from the hypervisor's trace.
type Violations struct {
	Trapped   uint64 // denied by the permission that the monitor set
	Lazy      uint64 // altp2m view filled from the host p2m
	MMIO      uint64 // emulated device, or nothing there
	Superpage uint64 // large page split for execution
	Residual  uint64 // none of these
	Lost      uint64 // trace records of any kind that Xen dropped
}

// Guest is the guest of a trial.
type Guest interface {
	inject.Machine
	// Facts returns what is known of the guest and does not change.
	Facts() Facts
	// Page is the page on which the guest counts its heartbeats and its work. While the
	// guest is saved it stays as it was. A guest that is restored has another one.
	Page() *beat.Page
	// Locate returns where a vCPU is, from outside.
	Locate(vcpu int) (outcome.Place, error)
	// Console returns what the guest has written to its console since the last call, at
	// most some kilobytes of it. The bytes are valid until the next call. A trial calls
	// it only if it listens to the guest's watchdogs.
	Console() ([]byte, error)
}

// Facts are what is known of a guest and does not change.
type Facts struct {
	Name    string // of the domain
	Domid   int
	Release string // of the kernel, as uname -r prints it
	CPUs    int    // vCPUs that have a heartbeat
}

// Log is told how a trial goes on.
type Log interface {
	// Progress is told what the trial does now.
	Progress(stage string)
	// Injected is told when the fault landed (T0), on the trial's clock.
	Injected(t0 int64)
	// Removed is told when the fault had been removed, on the trial's clock. It is not
	// called for a fault that is removed because the trial broke off.
	Removed(at int64)
}
