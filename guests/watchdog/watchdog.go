package watchdog

import (
	"fmt"
	"slices"
	"time"
)

// Detector is one of the baselines.
type Detector string

const (
	SoftLockup Detector = "soft-lockup" // a vCPU has not scheduled for long
	HardLockup Detector = "hard-lockup" // a vCPU has taken no interrupt for long
	RCUStall   Detector = "rcu-stall"   // a grace period does not end
	HungTask   Detector = "hung-task"   // a task sleeps uninterruptibly for long
	Workqueue  Detector = "workqueue"   // a pool of workers makes no progress
	Panic      Detector = "panic"       // the kernel gives up by itself
	Xen        Detector = "xen"         // the guest has not patted Xen's domain watchdog
)

// All returns the detectors in the order in which tables list them.
func All() []Detector {
	return []Detector{SoftLockup, HardLockup, RCUStall, HungTask, Workqueue, Panic, Xen}
}

// Known reports whether d is one of All.
func Known(d Detector) bool { return slices.Contains(All(), d) }

// Setting is how the watchdogs are set for a trial.
type Setting string

const (
	// Off: nobody looks at them.
	Off Setting = ""
	// Default: Linux's own, as the kernel comes.
	Default Setting = "default"
	// Minimum: Linux's own, with the smallest thresholds that the kernel takes.
	Minimum Setting = "minimum"
	// XenDefault: Linux's own with their defaults, and Xen's, which a process of the
	// guest pats. It ends the guest when it fires: what comes later is not seen.
	XenDefault Setting = "xen"
)

// Settings returns the settings that there are beside Off.
func Settings() []Setting { return []Setting{Default, Minimum, XenDefault} }

// Xen's watchdog with XenDefault, as xenwatchdogd(8) is called in its manual's
// example: armed for XenTimeout, and again every XenSleep.
const (
	XenTimeout = 30 * time.Second
	XenSleep   = 15 * time.Second
)

// Armed says with which threshold each detector of a guest is armed. One that is
// missing is not in that guest.
type Armed map[Detector]time.Duration

// Range is when a detector should have fired, after a fault that it can see,
// both ends included.
type Range struct{ From, To time.Duration }

// Holds reports whether t lies in the range.
func (r Range) Holds(t time.Duration) bool { return t >= r.From && t <= r.To }

// String writes the range in seconds.
func (r Range) String() string { return fmt.Sprintf("%.1f-%.1f s", r.From.Seconds(), r.To.Seconds()) }

const (
	// clockUnit is the unit in which the lockup detectors compare times: 2^30 ns,
	// about a second (get_timestamp of kernel/watchdog.c).
	clockUnit = 1 << 30
	// slack is added to the end of each range: the report takes its time through
	// timer tick, console and log.
	slack = 500 * time.Millisecond
	// A grace period of RCU may have run for graceRun already when the fault lands,
	// or begin up to graceStart later: an idle guest seldom asks for one.
	graceRun   = 500 * time.Millisecond
	graceStart = 5 * time.Second
)

// Window returns when the detector with that threshold fires, if it sees the
// fault at all. Naps says that the vCPU had been idle now and then up to the fault.
// ok is false for those that have no window: Panic is not a matter of time, and of
// HardLockup no armed one was seen.
func Window(d Detector, threshold time.Duration, naps bool) (r Range, ok bool) {
	switch d {
	case SoftLockup:
		// The threshold is half the time after which it fires (watchdog_timer_fn of
		// kernel/watchdog.c). A timer looks five times in that time, and has a mark set
		// each time that the vCPU schedules then: the mark of a busy vCPU is up to one
		// period old. Both are compared in whole units, and differ by more than the
		// time when it fires.
		//
		// A vCPU that leaves the idle loop with its tick stopped forgets the mark
		// (tick_nohz_update_jiffies and tick_nohz_restart_sched_tick of
		// kernel/time/tick-sched.c), and the first look after that sets it anew,
		// however long the vCPU has hung by then: a period later.
		period := 2 * threshold / 5
		units := time.Duration(2*threshold/time.Second) * clockUnit
		r = Range{ceil(units, period) - period, ceil(units+clockUnit, period)}
		if naps {
			r.From, r.To = r.From+period, r.To+period
		}
	case RCUStall:
		r = Range{threshold - graceRun, threshold + graceStart}
	case HungTask:
		// A thread looks once in a threshold whether a task has run since the last time.
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
	// Printk is the time that the kernel's log gives the report, since the guest's
	// boot; -1 without one.
	Printk time.Duration `json:"printk_ns"`
	// Arrival is when the line's end arrived, on the clock that Feed was given.
	Arrival int64  `json:"arrival_ns"`
	VCPU    int    `json:"vcpu"`           // -1 if the report names none
	Task    string `json:"task,omitempty"` // name and pid, as in init:1; empty if the report names none
	Text    string `json:"text"`           // the line, without its time, printable
}
