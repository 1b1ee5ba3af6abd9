package results

import (
	"regexp"
	"strings"
)

// This file brings records and manifests up to date that earlier programs wrote with
// the same schema. Nothing here changes a file: see the readers.

// upgrade fills in what a record of an earlier program does not say of its cell.
func (t *Trial) upgrade() {
	if t.Kind == "" {
		t.Kind = kindOf(t)
	}
	if t.Kernel == "" {
		t.Kernel = kernelName(t.GuestKernel)
	}
	if t.Watchdogs == "" && t.Baselines != nil {
		t.Watchdogs = t.Baselines.Setting
	}
}

// kindOf derives what the scenario of an old record is for. Only faults have an
// expected class or a deadline. All scenarios that measure a workload were named so.
func kindOf(t *Trial) Kind {
	switch {
	case t.Expected != "" || t.DeadlineNS > 0 || t.Outcome == Undone || t.Outcome == Detected || t.Outcome == Missed:
		return Fault
	case t.Workload != nil || strings.HasPrefix(t.Scenario, "workload-"):
		return Measured
	}
	return Control
}

// cloudRelease is the release of the kernels that old runs had, as in
// 6.12.118+deb13-cloud-amd64.
var cloudRelease = regexp.MustCompile(`^([0-9]+\.[0-9]+)\..*-cloud-amd64$`)

// kernelName derives the name of the guest kernel from its release; empty if it is
// none of Debian's cloud kernels.
func kernelName(release string) string {
	if m := cloudRelease.FindStringSubmatch(release); m != nil {
		return "cloud-" + m[1]
	}
	return ""
}

// upgradeRun fills in what only the other trials of an old run tell. A suite set the
// watchdogs for all trials alike, but a trial that was invalid before they were armed
// did not record it.
func upgradeRun(trials []Trial) {
	setting := ""
	for i := range trials {
		if trials[i].Watchdogs != "" {
			setting = trials[i].Watchdogs
			break
		}
	}
	if setting == "" {
		return
	}
	for i := range trials {
		trials[i].Watchdogs = setting
	}
}

// legacyArms are the mechanisms that there were before manifests recorded them.
func legacyArms() Arms {
	page := func(view, twin string) ArmInfo { return ArmInfo{PageTrap: true, View: view, TwinOf: twin} }
	return Arms{
		Unwatched:          {},
		"poll":             {},
		"cr3":              {},
		"int3-step":        {View: HostView},
		"int3-altp2m":      {View: Altp2mView, TwinOf: "int3-step"},
		"write-altp2m":     {View: Altp2mView},
		"exec-step":        page(HostView, ""),
		"exec-emulate":     page(HostView, ""),
		"exec-altp2m":      page(Altp2mView, "exec-step"),
		"exec-altp2m-fast": page(Altp2mView, "exec-step"),
	}
}
