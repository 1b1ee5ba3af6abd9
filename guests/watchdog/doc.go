// Package watchdog reads what the detectors that Linux and Xen ship say of a
// guest: the baselines beside which a monitor's detection time means something.
//
// Linux's watchdogs (soft lockup, hard lockup, RCU stall, hung task, workqueue)
// have one way out, the kernel's log. A Parser takes the guest's console as it
// arrives in dom0 and returns a Finding for each report. Xen's domain watchdog
// says nothing: it ends the domain, and the trial (bench/trial) sees that.
//
// Which of them are armed, and with which thresholds, is read from the guest
// itself: its PID 1 (guests/init) sets them as a Setting says and writes the
// values that it reads back into the kernel's log (Armed). So a watchdog that a
// kernel was built without is known to be absent, and is not counted as one that
// missed. That line also ties the two clocks together: see Clock.
//
// The console is the guest's, so it is hostile: lines are cut, reports are
// counted and forgotten beyond a limit, and numbers out of range are no reports.
package watchdog
