package monitor

import (
	"time"

	"hangbench/monitor/detect"
	"hangbench/monitor/driver"
	"hangbench/monitor/trap"
)

// Config configures a session. Driver, Mechanism, Site, Symbols, Thresholds, Sample and
// Now must be set.
type Config struct {
	Driver    driver.Driver
	Mechanism trap.Mechanism
	// Site is where the guest's kernel can be trapped.
	Site    trap.Site
	Symbols Symbols
	// Kernel reads the guest's kernel. It is nil if the kernel cannot be read.
	Kernel Kernel
	// Journal, if set, stores every change in the guest before the session makes it.
	Journal    Journal
	Thresholds detect.Thresholds
	// Sample is the mean time between two observations. The times differ by up to an
	// eighth of it.
	Sample time.Duration
	// Inspect is the time between two inspections of the guest's kernel, which walk its
	// task list; 0 means DefaultInspect.
	Inspect time.Duration
	// Passes is how often in a sampling period the trap may stop each vCPU; after that
	// the trap stays open until the next period. It bounds the monitor's price: a
	// detector needs to know that a vCPU switches tasks, not how often. And a guest
	// that is stopped at every switch can livelock, because its timers expire faster
	// than it switches. 0 means DefaultPasses; a negative number means no limit.
	Passes int
	// Now returns the time of dom0's monotonic clock in nanoseconds.
	Now func() int64
	// Record, if set, gets every observation. It must not keep it.
	Record func(*detect.Observation)
	// Report, if set, gets every verdict and every end of a hang. It runs in the
	// session's goroutine and must not block.
	Report func(News)
}

// DefaultPasses is the default of Config.Passes: one pass that the trap follows to
// its end, and one that opens the trap.
const DefaultPasses = 2

// DefaultInspect is the default of Config.Inspect.
const DefaultInspect = 500 * time.Millisecond

// News is one report of a session. Exactly one of its fields is set.
type News struct {
	Verdict   *detect.Verdict
	Recovered *detect.Recovery
}

// Symbols names addresses of the guest's kernel.
type Symbols interface {
	// Function returns the function that holds addr and addr's offset in it.
	Function(addr uint64) (name string, offset uint64, ok bool)
	// Data returns the name of the variable that starts at addr.
	Data(addr uint64) (name string, ok bool)
}

// Kernel reads the guest's kernel. Package linux has one for Linux. It omits what
// it cannot read and never fails as a whole.
type Kernel interface {
	// RunQueue fills q with the run queue of a CPU. It returns false if the run queue
	// cannot be read.
	RunQueue(cpu int, q *detect.RunQueue) bool
	// Inspect fills k anew with the kernel's clock, counters and threads. Its time is
	// bounded, whatever the guest's memory holds.
	Inspect(k *detect.Kernel)
	// Callers appends to names the functions whose return addresses stand on the
	// stack at rsp, innermost first.
	Callers(names []string, rsp uint64) []string
}

// Journal keeps what a session changes in a guest. It outlives the session's
// process and dies with the guest. A monitor that is killed cannot clean up; whoever
// recovers the guest reads in the journal what to undo.
type Journal interface {
	// Write replaces the journal's text. It returns when the text is stored: the
	// session writes a change down before it makes it.
	Write(trap.Changes) error
	// Clear empties the journal: there is nothing left to undo.
	Clear() error
}
