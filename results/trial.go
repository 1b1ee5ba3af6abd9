package results

// Schema is the version of the Trial record. It changes when a field changes
// its meaning, not when one is added.
const Schema = 1

// Outcome is the result of a trial.
type Outcome string

const (
	// a fault was injected and a verdict followed; Class tells whether it is the right one
	Detected   Outcome = "detected"
	Missed     Outcome = "missed"      // a fault was injected and no verdict followed before the deadline
	FalseAlarm Outcome = "false_alarm" // a verdict without a fault, or before the fault
	Undone     Outcome = "undone"      // a bounded fault was undone and the guest went on before any verdict
	Clean      Outcome = "clean"       // no fault and no verdict
	Invalid    Outcome = "invalid"     // the ground truth was not confirmed: counted and shown, never averaged
)

// EPT counts EPT violations seen by the hypervisor's trace during a trial's
// monitored window (attach to detach; of several windows, in all of them), by class. Total is the sum of the
// others.
type EPT struct {
	Total      uint64 `json:"total"`      // sum of all classes
	Permission uint64 `json:"permission"` // on a trapped frame, delivered to the monitor as an event
	Lazy       uint64 `json:"lazy"`       // altp2m view had no entry yet: copied from the host p2m, never delivered
	MMIO       uint64 `json:"mmio"`       // emulated or unbacked frame
	Superpage  uint64 `json:"superpage"`  // entry of a large page split or propagated
	Suppressed uint64 `json:"suppressed"` // on a trapped frame, but resolved by Xen without an event
	Residual   uint64 `json:"residual"`   // none of the above
	TraceLost  uint64 `json:"trace_lost"` // trace records the hypervisor had to drop; not part of Total
}

// Add adds the counts of another window.
func (e *EPT) Add(o EPT) {
	e.Total += o.Total
	e.Permission += o.Permission
	e.Lazy += o.Lazy
	e.MMIO += o.MMIO
	e.Superpage += o.Superpage
	e.Suppressed += o.Suppressed
	e.Residual += o.Residual
	e.TraceLost += o.TraceLost
}

// Events counts what the monitor's ring delivered.
type Events struct {
	Delivered uint64 `json:"delivered"` // memory-access, breakpoint or register events
	Steps     uint64 `json:"steps"`     // single-step events
	RingFull  uint64 `json:"ring_full"` // times the ring was seen without a free slot
	// Signals are the task switches the mechanism saw, Switches those the guest's
	// own run queues counted meanwhile (0: unreadable). What was missed is the
	// difference, most of it on purpose where passes are limited.
	Signals  uint64 `json:"signals"`
	Switches uint64 `json:"switches"`
	Samples  uint64 `json:"samples"` // observations of the guest by the monitor
	// Inspections are those of Samples that walked the guest's task list.
	Inspections uint64 `json:"looks"`
	Strange     uint64 `json:"strange,omitempty"` // events that no trap explains
}

// Add adds the counts of another window.
func (e *Events) Add(o Events) {
	e.Delivered += o.Delivered
	e.Steps += o.Steps
	e.RingFull += o.RingFull
	e.Signals += o.Signals
	e.Switches += o.Switches
	e.Samples += o.Samples
	e.Inspections += o.Inspections
	e.Strange += o.Strange
}

// Guest is the ground truth of the guest's own progress.
type Guest struct {
	// ProgressRatio is the workload's progress rate with the monitor attached
	// over the rate just before, in paired windows of equal length of dom0's
	// clock. 1 means no cost, 0 that the guest stood still. For mechanism none it
	// is the price of the trace that counts EPT violations, which the others pay
	// too. Absent when a verdict cut the windows short. In a trial with a Workload it
	// is that of its windows, all of them with the trace. A monitor makes no guest faster;
	// chance can do so in a short window, by less than the tag's maximum.
	ProgressRatio *float64 `json:"progress_ratio,omitempty" max:"1000"`
	// Dom0BeforeNS and Dom0DuringNS are the CPU time of the control domain in the
	// paired windows without and with the monitor, and PairedNS is how long each was.
	// They are absent when a verdict cut the windows short. The trial's own looks are in
	// both; the first also has what dom0 does after a lab was restored, so that it is no
	// measure of the second.
	Dom0BeforeNS int64  `json:"dom0_before_ns,omitempty"`
	Dom0DuringNS int64  `json:"dom0_during_ns,omitempty"`
	PairedNS     int64  `json:"paired_ns,omitempty"`
	BeatsBefore  uint64 `json:"beats_before"` // heartbeats in the window before attach
	BeatsDuring  uint64 `json:"beats_during"` // heartbeats in the monitored window before injection
	BeatsHung    uint64 `json:"beats_hung"`   // heartbeats in the ground-truth window after injection
	BeatsAfter   uint64 `json:"beats_after"`  // heartbeats after detach: the guest still makes progress
	// WorkDuring and WorkHung are the units of work done by the workload in the
	// windows of BeatsDuring and BeatsHung; 0 if it does none.
	WorkDuring uint64 `json:"work_during,omitempty"`
	WorkHung   uint64 `json:"work_hung,omitempty"`
	// Ended is how a guest that was asked to end itself has done so, in Xen's words: poweroff
	// or reboot. It is saved of a guest that was saved and restored in another domain.
	Ended string `json:"ended,omitempty"`
	// SilentVCPUs are the vCPUs whose heartbeat had stopped at the end of the
	// ground-truth window.
	SilentVCPUs []int `json:"silent_vcpus,omitempty"`
}

// Alarm is a time during which a monitor called the guest hung.
type Alarm struct {
	Class   string `json:"class"`            // class of the hang
	StartNS int64  `json:"start_ns"`         // from the beginning of the monitored window
	EndNS   *int64 `json:"end_ns,omitempty"` // also from there; absent if the alarm lasted until the monitor was detached
}

// Trial is one repetition of a cell. All times are nanoseconds of dom0's
// monotonic clock.
type Trial struct {
	Schema int    `json:"schema"`                // version of the record: 1
	Suite  string `json:"suite"`                 // name of the suite
	Trial  int    `json:"trial" max:"100000000"` // index in the plan, from 0
	Block  int    `json:"block" max:"100000000"` // repetition the trial belongs to, from 0
	Host   string `json:"host"`                  // kind of host: lab or xen
	Cell
	// Seed moves the fault. The plan draws it from the run's seed, one for all trials of a
	// block, guest and scenario.
	Seed uint64 `json:"seed" max:"any"`

	Outcome  Outcome  `json:"outcome"`                  // what the trial came to
	Reason   string   `json:"reason,omitempty"`         // why the outcome is invalid, in one sentence
	Class    string   `json:"class,omitempty"`          // class of the verdict, absent without one
	Scope    string   `json:"scope,omitempty"`          // partial or full
	Expected string   `json:"expected_class,omitempty"` // right class of the fault; absent for controls
	Evidence []string `json:"evidence,omitempty"`       // observations that led to the verdict, a sentence each

	DetectNS   *int64 `json:"detect_ns,omitempty"`   // T_D: verdict minus T0
	DeadlineNS int64  `json:"deadline_ns,omitempty"` // time after T0 at which a miss is censored; 0 for controls
	HangNS     *int64 `json:"hang_ns,omitempty"`     // last sign of life minus T0: the instant ground truth stopped
	// UndoneNS is when a bounded fault had been undone, and ResumedNS when the guest
	// was first seen to go on after that, both from T0. The heartbeat tells: a guest
	// that went on is seen a heartbeat and a look later. Absent if it never did.
	UndoneNS  *int64 `json:"undone_ns,omitempty"`
	ResumedNS *int64 `json:"resumed_ns,omitempty"`
	// AllClearNS is when the monitor said that the hang is over, from when the fault
	// had been removed. Absent if it never did, gave no verdict, or the guest did not go on.
	AllClearNS *int64 `json:"all_clear_ns,omitempty"`
	// Alarms are the times during which the monitor called the guest hung, in order,
	// from its first verdict to its word that the hang is over.
	Alarms []Alarm `json:"alarms,omitempty"`
	// NeighbourAlarms are those about a neighbour, which were false.
	NeighbourAlarms []Alarm `json:"neighbour_alarms,omitempty"`
	// length of the monitored window, attach to detach; of several, their sum
	WindowNS int64 `json:"window_ns"`
	// the guest went on after the fault was removed; absent if there is no way back
	Recovered *bool  `json:"recovered,omitempty"`
	BackedOut string `json:"backed_out,omitempty"` // why the monitor removed its trap before the end
	// BackOutNS is the time from when the guest was first seen to stand still, of the
	// monitor's doing, to when the trap was removed; absent if the monitor did not back out.
	BackOutNS *int64 `json:"back_out_ns,omitempty"`

	EPT    EPT    `json:"ept"`
	Events Events `json:"events"`
	Guest  Guest  `json:"guest"`
	// Workload is what a workload got done with and without the monitor, of a trial
	// that measures one.
	Workload *Workload `json:"workload,omitempty"`
	// Effect is what became of a fault whose effect nobody knew before. Of such a trial the
	// outcome is detected or missed if a part of the guest hung or all of it, or it crashed;
	// else false_alarm or clean.
	Effect *Effect `json:"effect,omitempty"`
	// Console is the end of what the guest's console said during the trial, as
	// [CleanConsole] makes it. It is absent if the guest was silent, or its console is
	// not logged.
	Console string `json:"console,omitempty" printable:"-"`
	// Findings are the reports of others that watched the same guest: the watchdogs of
	// Linux and Xen, and external monitors. Each observer has one.
	Findings []Finding `json:"findings,omitempty"`
}
