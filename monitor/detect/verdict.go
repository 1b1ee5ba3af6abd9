package detect

// Class is a kind of hang. The file of each rule declares the classes that the
// rule finds.
type Class string

// ClassMonitor is a livelock that the monitor caused: the monitor itself stopped
// the guest, noticed, and released it. monitor.Session makes this verdict; no rule
// does.
const ClassMonitor Class = "monitor-livelock"

// Scope tells whether all online vCPUs hang or only some.
type Scope string

const (
	Partial Scope = "partial"
	Full    Scope = "full"
)

// Verdict says that the guest hangs, in which way, and on what evidence.
type Verdict struct {
	TimeNS   int64 // time of the observation, on dom0's monotonic clock
	Class    Class
	VCPUs    []int // that hang; nil for classes about threads or the whole guest
	Scope    Scope
	Evidence []string // one fact each, for people
}

// Recovery says that a hang is over. Its times are on dom0's monotonic clock.
type Recovery struct {
	TimeNS int64 // of the observation that made it certain
	Class  Class // of the hang
	HungNS int64 // TimeNS of the hang's first verdict
	CalmNS int64 // of the first observation without a sign of the hang
}
