package watchdog

import (
	"slices"
	"time"
)

// Detector is one of the watchdogs of Linux and Xen.
type Detector string

const (
	SoftLockup Detector = "soft-lockup" // a vCPU has not switched tasks for long
	HardLockup Detector = "hard-lockup" // a vCPU has taken no interrupt for long
	RCUStall   Detector = "rcu-stall"   // a grace period does not end
	HungTask   Detector = "hung-task"   // a task sleeps uninterruptibly for long
	Workqueue  Detector = "workqueue"   // a pool of workers makes no progress
	Panic      Detector = "panic"       // the kernel has panicked
	Xen        Detector = "xen"         // the guest has not armed Xen's domain watchdog again
)

// All returns the detectors in the order in which tables list them.
func All() []Detector {
	return []Detector{SoftLockup, HardLockup, RCUStall, HungTask, Workqueue, Panic, Xen}
}

// Known reports whether d is one of All.
func known(d Detector) bool { return slices.Contains(All(), d) }

// Setting selects how the watchdogs are armed for a trial.
type Setting string

const (
	// Off: their reports are not read.
	Off Setting = ""
	// Default: Linux's watchdogs, with the kernel's thresholds.
	Default Setting = "default"
	// Minimum: Linux's watchdogs, with the smallest thresholds that the kernel takes.
	Minimum Setting = "minimum"
	// XenDefault: Linux's watchdogs as with Default, and Xen's, which a process of the
	// guest arms again and again. When Xen's fires it ends the guest, so later reports
	// are missing.
	XenDefault Setting = "xen"
)

// Settings returns all settings except Off.
func Settings() []Setting { return []Setting{Default, Minimum, XenDefault} }

// With XenDefault, Xen's watchdog is armed for XenTimeout, and again every XenSleep:
// the values in the example of xenwatchdogd(8).
const (
	XenTimeout = 30 * time.Second
	XenSleep   = 15 * time.Second
)

// GraceEvery is how often each vCPU of a guest whose watchdogs are listened to makes RCU
// begin a grace period, unless one is under way.
const GraceEvery = time.Second

// Armed maps the armed detectors of a guest to their thresholds. A guest does not have
// the others.
type Armed map[Detector]time.Duration

// Range is the time from a fault until a detector that can see the fault fires: From at
// the earliest, To at the latest.
type Range struct{ From, To time.Duration }

const (
	// clockUnit is the unit in which the lockup detectors compare times: 2^30 ns,
	// about a second (get_timestamp of kernel/watchdog.c).
	clockUnit = 1 << 30
	// slack is added to the end of each range, for the way of a report through timer
	// tick, log and console.
	slack = 500 * time.Millisecond
	// At the fault, a grace period of RCU may have run for up to graceRun. Otherwise one
	// begins up to GraceEvery later, if a vCPU still runs.
	graceRun = 500 * time.Millisecond
)

// Window returns the range of times after which the detector with that threshold fires,
// if it sees the fault at all. naps is set if the vCPU was idle now and then before the
// fault. ok is false for a detector without a range: Panic does not depend on time, and
// no guest had HardLockup armed.
func Window(d Detector, threshold time.Duration, naps bool) (r Range, ok bool) {
	switch d {
	case SoftLockup:
		// The detector fires after twice the threshold (watchdog_timer_fn of
		// kernel/watchdog.c). A timer runs five times in that time. Each time it starts
		// work that sets a time stamp, so the time stamp of a busy vCPU is up to one period
		// old. The detector fires when the present time and the time stamp, both in whole
		// units, differ by more than the time.
		//
		// When a vCPU leaves the idle loop with its tick stopped, its time stamp is reset
		// (tick_nohz_update_jiffies and tick_nohz_restart_sched_tick of
		// kernel/time/tick-sched.c). The next run of the timer then sets the time stamp,
		// also if the vCPU hangs already, so the detector fires one period later.
		period := 2 * threshold / 5
		units := time.Duration(2*threshold/time.Second) * clockUnit
		r = Range{ceil(units, period) - period, ceil(units+clockUnit, period)}
		if naps {
			r.From, r.To = r.From+period, r.To+period
		}
	case RCUStall:
		r = Range{threshold - graceRun, threshold + GraceEvery}
	case HungTask:
		// Once in a threshold, a thread checks which tasks have not run since its last check.
		r = Range{threshold, 2 * threshold}
	case Workqueue:
		r = Range{threshold, 2 * threshold}
	case Xen:
		r = Range{threshold - XenSleep, threshold}
	default:
		return Range{}, false
	}
	r.To += slack
	return r, true
}

// ceil returns the smallest multiple of step that is not below d.
func ceil(d, step time.Duration) time.Duration { return (d + step - 1) / step * step }

// Finding is one report of a detector.
type Finding struct {
	Detector Detector `json:"detector"`
	// Printk is the report's time in the kernel's log, since the guest's boot. It is -1
	// without one.
	Printk time.Duration `json:"printk_ns"`
	// Arrival is the time in ns at which the end of the line arrived, on the clock of
	// Feed.
	Arrival int64  `json:"arrival_ns"`
	VCPU    int    `json:"vcpu"`           // -1 if the report names no vCPU
	Task    string `json:"task,omitempty"` // name and pid, such as init:1; empty if the report names no task
	Text    string `json:"text"`           // the line without its time, printable
}
