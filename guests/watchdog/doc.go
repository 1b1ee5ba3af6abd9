// Package watchdog reads the reports of the watchdogs of Linux and Xen about a guest. A
// monitor's detection times are compared with theirs.
//
// Linux's watchdogs (soft lockup, hard lockup, RCU stall, hung task, workqueue) report
// in the kernel's log only. A Parser reads the guest's console as it arrives in dom0 and
// returns a Finding for each report. Xen's domain watchdog has no report: it ends the
// domain, and the trial (bench/trial) sees that.
//
// The guest itself tells which watchdogs are armed, and with which thresholds: its PID 1
// (guests/init) arms them according to a Setting, reads the values back, and writes them
// into the kernel's log (Armed). A watchdog that the kernel does not have is therefore
// known to be absent, and does not count as one that has missed a hang.
//
// The console is the guest's and may be hostile. Long lines are cut, only the first
// reports of each detector are kept, and a line with a number out of range is no report.
package watchdog
